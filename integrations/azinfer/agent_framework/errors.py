"""Errors that are azinfer's and Agent Framework's at once, so that code for either catches them."""

from __future__ import annotations

from typing import Any

from agent_framework import exceptions as theirs

from azinfer import core as ours

# The framework's names for the kinds of errors, the same in each of its families.
_KINDS: dict[type[ours.InferenceError], str] = {
    ours.AuthenticationError: "InvalidAuthException",
    ours.PermissionDeniedError: "InvalidAuthException",
    ours.ContentFilterError: "ContentFilterException",
    ours.BadRequestError: "InvalidRequestException",
    ours.DeploymentNotFoundError: "InvalidRequestException",
    ours.ConfigurationError: "InvalidRequestException",
    ours.InvalidResponseError: "InvalidResponseException",
    ours.InferenceError: "Exception",
}
_BOTH: dict[tuple[str, type], type[ours.InferenceError]] = {}


def _join(family: str, kind: type[ours.InferenceError], base: type) -> None:
    name, body = f"{family}{kind.__name__}", {"__doc__": kind.__doc__, "__module__": __name__}
    _BOTH[family, kind] = globals()[name] = type(name, (kind, base), body)


_join("Setting", ours.ConfigurationError, theirs.SettingNotFoundError)
for _kind in (getattr(ours, _name) for _name in ours.__all__):
    if isinstance(_kind, type) and issubclass(_kind, ours.InferenceError):
        _base = next(_KINDS[each] for each in _kind.__mro__ if each in _KINDS)
        for _family in ("ChatClient", "Integration"):
            _join(_family, _kind, getattr(theirs, f"{_family}{_base}"))


class TranslatedErrors:
    """Raises an error of its block as one that is also the framework's, with ours as its cause.

    Args:
        family: `"ChatClient"`, `"Integration"` (embeddings) or `"Setting"` (constructors).
    """

    def __init__(self, family: str) -> None:
        self._family = family

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ours.InferenceError):
            keys = ((self._family, each) for each in type(error).__mro__)
            kind = next(_BOTH[key] for key in keys if key in _BOTH)
            both: Any = kind.__new__(kind, error.message)
            both.__dict__.update(error.__dict__)
            raise both from error


CHAT_ERRORS, EMBEDDING_ERRORS = TranslatedErrors("ChatClient"), TranslatedErrors("Integration")
SETTING_ERRORS = TranslatedErrors("Setting")
