"""Which names hide a secret, and what of a client may be pickled."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

from azinfer.core.errors import ConfigurationError

if TYPE_CHECKING:
    pass

# Azure Functions and Logic Apps take their keys as `code` and `sig`.
_IN_NAME = r"(?i)key|token|secret|signature|cookie|authorization|password|^(?:code|sig)$"


def pickleable_credential(credential: Any) -> Any:
    """A credential as a pickle may hold it: by its name alone, or None where it has none.

    Named are `"entra"`, `"env:NAME"` and functions of a module.
    """
    if isinstance(credential, str):
        return credential if credential == "entra" or credential.startswith("env:") else None
    if not isinstance(credential, FunctionType):  # methods and partials bring their values along
        return None
    try:
        pickle.dumps(credential)
    except (pickle.PicklingError, AttributeError):  # a lambda, or a function inside another
        return None
    return credential


def is_secret_name(name: str) -> bool:
    """Whether a header, or an item of a query, is named like a secret."""
    return re.search(_IN_NAME, name) is not None


def without_secrets(url: str) -> str:
    """A URL as it may be shown: without the items of its query that are named like secrets."""
    base, _, query = url.partition("?")
    items = query.partition("#")[0].split("&")
    shown = "&".join(item for item in items if not is_secret_name(unquote(item.partition("=")[0])))
    return f"{base}?{shown}" if shown else base


def refuse_to_pickle_secrets(names: Iterable[str]) -> None:
    """Refuse to pickle headers, or items of a query, that are named like secrets.

    Raises:
        ConfigurationError: There is one.
    """
    for name in names:
        if is_secret_name(name):
            refuse_to_pickle(f"{name!r}, which looks like a secret")


def refuse_to_pickle(what: str) -> NoReturn:
    """Raise the error for a client that cannot be pickled without writing a secret.

    Args:
        what: What the client has, for example "a key".

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(
        f"a client that was given {what} is not pickled, so that no secret is written anywhere: "
        "set the key in the environment, or pass credential='env:NAME' (the variable that holds "
        "it), 'entra', or a module's function that returns a token"
    )
