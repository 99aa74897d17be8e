"""Sealed texts: a resource sends them encrypted, and only the same resource can read them.

Signatures of thinking and encrypted reasoning are such texts. Another resource, or the same one
after a restart, cannot read them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class Seal:
    """The secret of one resource."""

    def __repr__(self) -> str:
        return "Seal(…)"

    def close(self, text: str) -> str:
        """Return a text encrypted, each time differently."""
        return self._fernet.encrypt(text.encode(errors="surrogatepass")).decode()

    def open(self, sealed: object) -> str | None:
        """Return the original text; None if this resource did not seal it."""
        from cryptography.fernet import InvalidToken

        if not isinstance(sealed, str):
            return None
        try:
            return self._fernet.decrypt(sealed).decode(errors="surrogatepass")
        except (InvalidToken, ValueError):
            return None

    @cached_property
    def _fernet(self) -> Fernet:
        # Imported at the first use: most endpoints seal nothing.
        from cryptography.fernet import Fernet

        return Fernet(Fernet.generate_key())
