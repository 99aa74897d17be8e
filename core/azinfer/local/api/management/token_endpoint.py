"""The token endpoint: the routes of Entra ID that issue tokens, for credentials of azure-identity.

Any tenant and client is accepted whose secret is a key of the endpoint.

Sources: "Microsoft identity platform and the OAuth 2.0 client credentials flow", "OpenID Connect
on the Microsoft identity platform", "Microsoft Entra authentication and authorization error
codes".
"""

from __future__ import annotations

import datetime

from starlette.responses import Response

from azinfer.local.api.context import RequestContext, read_form, refuse_slowly
from azinfer.local.resource.auth.tokens import DEFAULT_SUFFIX
from azinfer.local.wire.errors import ErrorResponse
from azinfer.local.wire.json import AsciiResponse


async def configuration(context: RequestContext) -> Response:
    """Answer the OpenID configuration, from which clients learn where tokens are."""
    base = f"{str(context.http.base_url).rstrip('/')}/{context.http.path_params['tenant']}"
    return AsciiResponse(
        {
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
        }
    )


async def token(context: RequestContext) -> Response:
    """Answer a request of the client credentials flow."""
    context.trace.secret = True
    form = await read_form(context.http)
    if form.get("grant_type") != "client_credentials":
        raise _error(
            "unsupported_grant_type",
            70003,
            f"The app requested an unsupported grant type '{form.get('grant_type', '')}'; this "
            "endpoint knows client_credentials.",
        )
    if not context.state.authenticator.keys.opens(form.get("client_secret", "")):
        await refuse_slowly(context.state, context.http)
        raise _error(
            "invalid_client",
            7000215,
            "Invalid client secret provided. The secret is one of the endpoint's keys.",
            401,
        )
    scope = form.get("scope", "")
    if not scope.endswith(DEFAULT_SUFFIX) or " " in scope:
        raise _error(
            "invalid_scope",
            1002012,
            f"The provided value for scope {scope} is not valid. Client credential flows must "
            f"have a scope value with {DEFAULT_SUFFIX} suffixed to the resource identifier.",
        )
    issuer = context.state.authenticator.issuer
    await issuer.load()
    issued = issuer.issue(scope, context.http.path_params["tenant"], form.get("client_id", ""))
    lifetime = int(issuer.lifetime)
    return AsciiResponse(
        {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": issued.token,
        },
        headers={"cache-control": "no-store"},
    )


def _error(error: str, code: int, message: str, status: int = 400) -> ErrorResponse:
    now = datetime.datetime.now(datetime.UTC)
    body = {
        "error": error,
        "error_description": f"AADSTS{code}: {message}",
        "error_codes": [code],
        "timestamp": f"{now:%Y-%m-%d %H:%M:%SZ}",
    }
    return ErrorResponse(status, body)
