"""The two keys of an endpoint: either opens it, and each may be renewed while the other is used."""

from __future__ import annotations

import hmac
import secrets

from azinfer.core.errors import ConfigurationError

NAMES = ("Key1", "Key2")


class Keys:
    """The two keys that requests may bear.

    Args:
        first: The first; left out, a new one.
        second: The second; left out, a new one.

    Raises:
        ConfigurationError: A key is none that a header can bear.
    """

    def __init__(self, first: str | None = None, second: str | None = None) -> None:
        given = {"Key1": first, "Key2": second}
        self._first = {name: _new() if key is None else checked(key) for name, key in given.items()}
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
        """Make a new key of one of `NAMES`; the old one opens nothing from now on."""
        self._values = {**self._values, name: _new()}

    def reset(self) -> None:
        """Take the keys that there were at first."""
        self._values = self._first

    def opens(self, given: str) -> bool:
        """Whether a text is one of the keys, in a time that does not tell how much of it is."""
        text = given.strip().encode()
        return any([hmac.compare_digest(text, key.encode()) for key in self._values.values()])  # noqa: C419


def checked(key: str) -> str:
    """A key, if a header can bear it.

    Raises:
        ConfigurationError: It cannot.
    """
    if not (key and key.isascii() and key.isprintable() and key == key.strip()):
        raise ConfigurationError("a key is at least one visible sign of ASCII, no space around it")
    return key


def _new() -> str:
    return secrets.token_urlsafe(24)
