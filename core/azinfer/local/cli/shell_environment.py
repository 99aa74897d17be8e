"""The environment of clients: what leads them to an endpoint, and how a shell says it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Literal, get_args

from azinfer.core.errors import ConfigurationError

Shell = Literal["sh", "fish", "powershell", "dotenv"]
SHELLS: tuple[str, ...] = get_args(Shell)


def variables(url: str, key: str, ca_file: str | None) -> dict[str, str]:
    """What clients read: our own, those of Azure's SDKs and of the OpenAI SDK.

    Args:
        url: The endpoint's address.
        key: Its key.
        ca_file: The authorities that clients must trust; None for plain HTTP.
    """
    told = {
        "AZURE_AI_ENDPOINT": url,
        "AZURE_AI_API_KEY": key,
        "AZURE_OPENAI_ENDPOINT": url,
        "AZURE_OPENAI_API_KEY": key,
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "OPENAI_API_KEY": key,
    }
    if ca_file is not None:
        # The ssl module and what rests on it reads the one, requests the other.
        told |= {"SSL_CERT_FILE": ca_file, "REQUESTS_CA_BUNDLE": ca_file}
    return told


def rendered(told: Mapping[str, str], shell: str) -> str:
    """Lines that set these variables, for a shell to read.

    Raises:
        ConfigurationError: The shell is unknown, or a value has a line break or the like.
    """
    if shell not in SHELLS:
        raise ConfigurationError(f"shell {shell!r} is unknown; there are {', '.join(SHELLS)}")
    for name, value in told.items():
        if not value.isprintable():
            raise ConfigurationError(f"{name} has characters that no line of a shell can have")
    return "\n".join(_LINES[shell](name, value) for name, value in told.items())


def shell_of(environ: Mapping[str, str]) -> str:
    """The shell that somebody uses, as far as the environment tells."""
    if environ.get("SHELL", "").endswith("fish"):
        return "fish"
    return "powershell" if "PSModulePath" in environ and "SHELL" not in environ else "sh"


def _fish(name: str, value: str) -> str:
    escaped = re.sub(r"(['\\])", r"\\\1", value)
    return f"set -gx {name} '{escaped}'"


def _powershell(name: str, value: str) -> str:
    # It takes these quotation marks for the plain one.
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
