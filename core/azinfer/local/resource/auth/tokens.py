"""Bearer tokens: a local issuer in the form of Entra ID, and credentials that use it.

Sources: "Microsoft identity platform and the OAuth 2.0 client credentials flow" (the request,
the answer and the errors of the token route), "OpenID Connect on the Microsoft identity
platform" (the document that clients read first), "Access tokens" (the claims).
"""

from __future__ import annotations

import importlib
import secrets
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from azinfer.local.wire.surfaces import (
    ANTHROPIC,
    ARM,
    COHERE,
    DEPLOYMENTS,
    MODELS,
    PROJECT,
    SERVERLESS,
    V1,
)
from azinfer.local.worker_threads import run_in_worker

_COGNITIVE = "https://cognitiveservices.azure.com"
_FOUNDRY = "https://ai.azure.com"
_MACHINE_LEARNING = "https://ml.azure.com"
_ARM = ("https://management.azure.com", "https://management.core.windows.net")
# The audiences of tokens on each surface, the usual one first. The root of the endpoint stands
# for serverless endpoints and for resources, so it accepts those of both.
AUDIENCES = {
    MODELS: (_COGNITIVE,),
    V1: (_COGNITIVE, _FOUNDRY),
    DEPLOYMENTS: (_COGNITIVE,),
    SERVERLESS: (_MACHINE_LEARNING, _COGNITIVE),
    ANTHROPIC: (_FOUNDRY, _COGNITIVE),
    COHERE: (_FOUNDRY, _COGNITIVE),
    PROJECT: (_FOUNDRY,),
    ARM: _ARM,
}
DEFAULT_SUFFIX = "/.default"


class BadTokenError(Exception):
    """A token that is refused; the reason is `"invalid"`, `"expired"` or `"audience"`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AccessToken(NamedTuple):
    """A token in the form of the Azure SDKs' credentials.

    Attributes:
        token: The text of the token.
        expires_on: The second since 1970 at which it ends.
    """

    token: str
    expires_on: int


class Issuer:
    """Issues tokens that only this endpoint accepts, and checks them.

    Args:
        now: Returns seconds since 1970.
        lifetime: The seconds for which its tokens are valid.
    """

    def __init__(self, now: Callable[[], float], lifetime: float) -> None:
        self.lifetime = lifetime
        self._now = now
        self._secret = secrets.token_bytes(32)
        self._loaded = False

    async def load(self) -> None:
        """Load the library of tokens, which would stop the event loop for a tenth of a second."""
        if not self._loaded:
            await run_in_worker(importlib.import_module, "jwt")
            self._loaded = True

    def issue(self, scope: str, tenant: str = "local", client: str = "local") -> AccessToken:
        """Return a token for the audience of a scope such as `"https://ai.azure.com/.default"`."""
        import jwt  # with the library of certificates, and most requests come with a key

        issued = int(self._now())
        expires = int(issued + self.lifetime)
        claims = {
            "aud": scope.removesuffix(DEFAULT_SUFFIX),
            "iss": f"https://sts.windows.net/{tenant}/",
            "iat": issued,
            "nbf": issued,
            "exp": expires,
            "appid": client,
            "tid": tenant,
            "uti": uuid.uuid4().hex,
            "ver": "1.0",
        }
        return AccessToken(jwt.encode(claims, self._secret, "HS256"), expires)

    def check(self, token: str, surface: str) -> None:
        """Raise unless a token is valid for a surface.

        Raises:
            BadTokenError: The token is not valid for it.
        """
        import jwt

        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                ["HS256"],
                # Times are compared below, by the clock of the endpoint.
                options={
                    "require": ["exp", "nbf", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except jwt.InvalidTokenError:
            raise BadTokenError("invalid") from None
        if not claims["nbf"] <= self._now() < claims["exp"]:
            raise BadTokenError("expired")
        if claims["aud"].rstrip("/") not in AUDIENCES[surface]:
            raise BadTokenError("audience")


class LocalCredential:
    """A credential for the endpoint, to use in place of one of azure-identity.

    Only the scope affects its tokens.
    """

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def __repr__(self) -> str:
        return "LocalCredential(…)"

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> Any:
        """Return an `AccessToken` for a scope, such as `"https://ai.azure.com/.default"`."""
        return self._issuer.issue(*scopes)

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def __enter__(self) -> LocalCredential:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncLocalCredential:
    """The same for async clients."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def __repr__(self) -> str:
        return "AsyncLocalCredential(…)"

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: Any,
    ) -> Any:
        """Return an `AccessToken` for a scope, such as `"https://ai.azure.com/.default"`."""
        return self._issuer.issue(*scopes)

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""

    async def __aenter__(self) -> AsyncLocalCredential:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
