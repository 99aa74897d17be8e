"""Authentication: a key in any of its headers, or a bearer token for the surface."""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Mapping

from starlette.requests import cookie_parser

from azinfer.local.resource.auth.failed_attempts import FailedAttempts
from azinfer.local.resource.auth.keys import Keys
from azinfer.local.resource.auth.tokens import AUDIENCES, BadTokenError, Issuer
from azinfer.local.wire import auth_errors
from azinfer.local.wire.surfaces import ANTHROPIC, LOGIN

_MOST_PAGE_TOKENS = 100
_KEY_HEADERS = ("api-key", "ocp-apim-subscription-key")
_ANTHROPIC_KEY_HEADERS = (*_KEY_HEADERS, "x-api-key")


class Authenticator:
    """Checks the keys and tokens of requests.

    Args:
        keys: The two keys.
        issuer: The issuer whose tokens are accepted.
        failed_attempts: The record of wrong credentials.

    Attributes:
        cookie: The name of the cookie of a browser that is logged in; different in each
            process, because browsers share cookies among the ports of a host.
        session: The value of that cookie.
    """

    def __init__(self, keys: Keys, issuer: Issuer, failed_attempts: FailedAttempts) -> None:
        self.keys = keys
        self.issuer = issuer
        self.failed_attempts = failed_attempts
        self.cookie = f"azinfer-{secrets.token_hex(4)}"
        self.session = secrets.token_urlsafe(24)
        self._page_tokens: deque[str] = deque(maxlen=_MOST_PAGE_TOKENS)

    def issue_page_token(self) -> str:
        """Return a token that opens the page once, for an address that people click on.

        A key in an address would stay in the browser's history and in logs.
        """
        self._page_tokens.append(token := secrets.token_urlsafe(24))
        return token

    def redeem_page_token(self, token: str) -> bool:
        """Use up a token of the page; return False if it is unknown or was used before."""
        matches = [
            each for each in self._page_tokens if hmac.compare_digest(each.encode(), token.encode())
        ]
        for each in matches:
            self._page_tokens.remove(each)
        return bool(matches)

    def has_credential(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request has a credential, right or wrong."""
        return any(headers.get(name) for name in (*_KEY_HEADERS, "authorization"))

    def knows_browser(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request comes from the endpoint's own page after a login with the key.

        A cookie alone is not enough: browsers also send which site made the request, and other
        programs use keys.
        """
        cookies = headers.get("cookie")
        if not cookies:
            return False
        cookie = cookie_parser(cookies).get(self.cookie, "")
        same_site = headers.get("sec-fetch-site") in ("same-origin", "none")
        return same_site and hmac.compare_digest(cookie.encode(), self.session.encode())

    async def check(self, headers: Mapping[str, str], surface: str) -> None:
        """Raise unless a request has a credential for a surface.

        A key opens every surface, in strict mode too, so a fresh clone needs no tokens; Azure
        itself accepts only tokens for Resource Manager and projects.

        Raises:
            ErrorResponse: The credential is missing or wrong.
        """
        if surface == LOGIN or self.knows_browser(headers):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        names = _ANTHROPIC_KEY_HEADERS if surface == ANTHROPIC else _KEY_HEADERS
        keys = [headers.get(name, "") for name in names]
        # All are compared, so the time does not show which one is right.
        if any([self.keys.opens(each) for each in (*keys, token) if each]):  # noqa: C419
            return
        if not token:
            raise auth_errors.bad_key(surface)
        await self.issuer.load()
        try:
            self.issuer.check(token, surface)
        except BadTokenError as error:
            audience = AUDIENCES[surface][0]
            raise auth_errors.bad_token(surface, error.reason, audience) from None
