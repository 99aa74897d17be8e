"""The two keys of an endpoint: either opens it, and each may be renewed while the other is used."""

from __future__ import annotations

import hmac
import secrets

NAMES = ("Key1", "Key2")


class Keys:
    """The two keys that requests may bear.

    Args:
        first: The first; left out, a new one.
        second: The second; left out, a new one.
    """

    def __init__(self, first: str | None = None, second: str | None = None) -> None:
        self._first = {"Key1": first or _new(), "Key2": second or _new()}
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


def _new() -> str:
    return secrets.token_urlsafe(24)
