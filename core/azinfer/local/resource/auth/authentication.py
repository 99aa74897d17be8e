"""Who may ask: a key in any of its headers, or a bearer token for the surface."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

from starlette.requests import cookie_parser

from azinfer.local.resource.auth.keys import Keys
from azinfer.local.resource.auth.tokens import AUDIENCES, BadTokenError, Issuer
from azinfer.local.wire import auth_errors
from azinfer.local.wire.surfaces import ANTHROPIC, LOGIN

_KEY_HEADERS = ("api-key", "ocp-apim-subscription-key")
_ANTHROPIC_KEY_HEADERS = (*_KEY_HEADERS, "x-api-key")


class Authenticator:
    """The keys and the tokens that open an endpoint.

    Args:
        keys: The two keys.
        issuer: Whose tokens are taken too.

    Attributes:
        cookie: The name of the cookie by which its own page in a browser is known; one for each
            process, for browsers share cookies among the ports of a host.
        session: What that cookie holds.
    """

    def __init__(self, keys: Keys, issuer: Issuer) -> None:
        self.keys = keys
        self.issuer = issuer
        self.cookie = f"azinfer-{secrets.token_hex(4)}"
        self.session = secrets.token_urlsafe(24)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from the endpoint's own page, where the key was given.

        A cookie alone is not enough: browsers tell which site a request was made by, and other
        programs have keys.
        """
        given = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        own = headers.get("sec-fetch-site") in ("same-origin", "none")
        return own and hmac.compare_digest(given.encode(), self.session.encode())

    def check(self, headers: Mapping[str, str], surface: str) -> None:
        """Return if a request bears what opens a surface.

        A key opens every surface, in strict mode too, so that a clone needs no tokens; Azure
        Resource Manager and projects take tokens alone.

        Raises:
            ErrorResponse: It does not.
        """
        if surface == LOGIN or self.knows(headers):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        names = _ANTHROPIC_KEY_HEADERS if surface == ANTHROPIC else _KEY_HEADERS
        keys = [headers.get(name, "") for name in names]
        # All are compared, whichever is right.
        if any([self.keys.opens(each) for each in (*keys, token) if each]):  # noqa: C419
            return
        if not token:
            raise auth_errors.bad_key(surface)
        try:
            self.issuer.check(token, surface)
        except BadTokenError as error:
            audience = AUDIENCES[surface][0]
            raise auth_errors.bad_token(surface, error.reason, audience) from None
