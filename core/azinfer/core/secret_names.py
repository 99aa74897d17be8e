"""Which names belong to secrets, and which credentials may be pickled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import FunctionType
from typing import Any, NoReturn
from urllib.parse import unquote

from azinfer.core.errors import ConfigurationError

# The keys of Azure Functions and Logic Apps are called `code` and `sig`.
_IN_NAME = r"(?i)key|token|secret|signature|cookie|authorization|password|^(?:code|sig)$"


def pickleable_credential(credential: Any) -> Any:
    """Return a credential that a pickle may contain, because it is only a name, or else None.

    Names are `"entra"`, `"env:NAME"` and functions of a module.
    """
    if isinstance(credential, str):
        return credential if credential == "entra" or credential.startswith("env:") else None
    if not isinstance(credential, FunctionType):  # methods and partials would include their values
        return None
    import pickle  # slow to import, and few clients are pickled

    try:
        pickle.dumps(credential)
    except (pickle.PicklingError, AttributeError):  # a lambda, or a function inside another
        return None
    return credential


def is_secret_name(name: str) -> bool:
    """Return True if a header, or an item of a query, has a name like a secret's."""
    return re.search(_IN_NAME, name) is not None


def without_secret_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers whose names are not like a secret's."""
    return {name: value for name, value in headers.items() if not is_secret_name(name)}


def without_secrets(url: str) -> str:
    """Return a URL without user, password, fragment, and what its query names like a secret."""
    base, _, query = url.partition("#")[0].partition("?")
    base = re.sub(r"//[^/]*@", "//", base)
    items = query.split("&")
    shown = "&".join(item for item in items if not is_secret_name(unquote(item.partition("=")[0])))
    return f"{base}?{shown}" if shown else base


def refuse_to_pickle_secrets(names: Iterable[str]) -> None:
    """Check that no header, or item of a query, has a name like a secret's.

    Raises:
        ConfigurationError: One has.
    """
    for name in names:
        if is_secret_name(name):
            refuse_to_pickle(f"the header or parameter {name!r}")


def refuse_to_pickle(what: str) -> NoReturn:
    """Raise the error for a client that cannot be pickled without writing a secret.

    Args:
        what: What the client has, for example "a key".

    Raises:
        ConfigurationError: Always.
    """
    raise ConfigurationError(
        f"a client with {what} cannot be pickled, because its secret would be written to a file: "
        "set the key in the environment, or pass credential='env:NAME' (the name of its "
        "variable), 'entra', or a function of a module that returns a token"
    )
