"""The packages that real models need, in extras of their own."""

from __future__ import annotations

import importlib.util

from azinfer.core.errors import missing_extra


def check_installed(*modules: str, extra: str = "models") -> None:
    """Raise if a module that real models need is not installed; none is imported.

    Args:
        *modules: Modules of packages in the extra.
        extra: The extra that installs them.

    Raises:
        ModuleNotFoundError: One is missing; the message says how to install it.
    """
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise missing_extra(extra, ModuleNotFoundError(name=name))
