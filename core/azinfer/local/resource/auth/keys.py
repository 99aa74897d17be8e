"""The two keys of an endpoint: each opens it, and one can be renewed while the other is used."""

from __future__ import annotations

import hmac
import secrets

from azinfer.core.errors import ConfigurationError

NAMES = ("Key1", "Key2")


class Keys:
    """The two keys of an endpoint.

    Args:
        first: The first key; by default a new one.
        second: The second key; by default a new one.

    Raises:
        ConfigurationError: A key cannot be sent in a header.
    """

    def __init__(self, first: str | None = None, second: str | None = None) -> None:
        keys = {"Key1": first, "Key2": second}
        self._first = {
            name: _new() if key is None else check_key(key) for name, key in keys.items()
        }
        self._values = self._first

    def __repr__(self) -> str:
        return "Keys(…)"

    @property
    def first(self) -> str:
        """The first key, as it is now."""
        return self._values["Key1"]

    @property
    def second(self) -> str:
        """The second key, as it is now."""
        return self._values["Key2"]

    def renew(self, name: str) -> None:
        """Replace the key with one of `NAMES`; the old key is not accepted any more."""
        self._values = {**self._values, name: _new()}

    def reset(self) -> None:
        """Restore the initial keys."""
        self._values = self._first

    def opens(self, text: str) -> bool:
        """Return whether a text is one of the keys, compared in constant time."""
        data = text.strip().encode()
        return any([hmac.compare_digest(data, key.encode()) for key in self._values.values()])  # noqa: C419


def check_key(key: str) -> str:
    """Return a key, or raise if a header cannot contain it.

    Raises:
        ConfigurationError: The key is empty, or has spaces around it or other than ASCII letters.
    """
    if not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise ConfigurationError("a key must be ASCII text without spaces around it, and not empty")
    return key


def _new() -> str:
    return secrets.token_urlsafe(24)
