"""The environment of clients: the variables of an endpoint, and how each shell sets them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Literal, get_args

from azinfer.core.errors import ConfigurationError
from azinfer.local.cli.option_errors import OptionError

Shell = Literal["sh", "fish", "powershell", "dotenv"]
SHELLS: tuple[str, ...] = get_args(Shell)


def client_variables(url: str, key: str, ca_file: str | None) -> dict[str, str]:
    """Return the variables that clients read: ours, Azure SDKs' and the OpenAI SDK's.

    Args:
        url: The endpoint's address.
        key: Its key.
        ca_file: The authorities that clients must trust; None for plain HTTP.
    """
    variables = {
        "AZURE_AI_ENDPOINT": url,
        "AZURE_AI_API_KEY": key,
        "AZURE_OPENAI_ENDPOINT": url,
        "AZURE_OPENAI_API_KEY": key,
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "OPENAI_API_KEY": key,
    }
    if ca_file is not None:
        # Python's ssl module reads the first, the package requests the second.
        variables |= {"SSL_CERT_FILE": ca_file, "REQUESTS_CA_BUNDLE": ca_file}
    return variables


def check_shell(shell: str) -> None:
    """Raise if a shell is unknown."""
    if shell not in SHELLS:
        raise OptionError(f"unknown shell {shell!r}; choose from {', '.join(SHELLS)}")


def format_variables(variables: Mapping[str, str], shell: str) -> str:
    """Return the lines that set variables in a shell.

    Args:
        variables: The variables and their values.
        shell: One of `SHELLS`.

    Raises:
        ConfigurationError: The shell is unknown, or a value has control characters.
    """
    check_shell(shell)
    for name, value in variables.items():
        if not value.isprintable():
            raise ConfigurationError(f"{name} has control characters, which shells cannot set")
    return "\n".join(_LINES[shell](name, value) for name, value in variables.items())


def current_shell(environ: Mapping[str, str]) -> str:
    """Return the user's shell, as far as the environment shows it."""
    if environ.get("SHELL", "").endswith("fish"):
        return "fish"
    return "powershell" if "PSModulePath" in environ and "SHELL" not in environ else "sh"


def _fish(name: str, value: str) -> str:
    escaped = re.sub(r"(['\\])", r"\\\1", value)
    return f"set -gx {name} '{escaped}'"


def _powershell(name: str, value: str) -> str:
    # PowerShell reads typographic quotation marks as plain ones.
    escaped = re.sub("(['\u2018-\u201b])", r"\1\1", value)
    return f"$env:{name} = '{escaped}'"


def _dotenv(name: str, value: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]*", value):
        return f"{name}={value}"
    escaped = re.sub(r"(['\\])", r"\\\1", value)
    return f"{name}='{escaped}'"


_LINES = {
    "sh": lambda name, value: f"export {name}={shlex.quote(value)}",
    "fish": _fish,
    "powershell": _powershell,
    "dotenv": _dotenv,
}
