"""Errors as the command line reports them: with its options, and with what to do next."""

from __future__ import annotations

import re

from azinfer.core import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    DeploymentNotFoundError,
    InferenceError,
)
from azinfer.local.cli.network_checks import connection_advice, key_advice

# Messages of `azinfer.core` and of the local endpoint name arguments of Python.
_OPTIONS = {
    "allowed_hosts": "--allow-host",
    "credential": "--key",
    "data": "--data",
    "endpoint": "--endpoint",
    "host": "--host",
    "https": "--https",
    "key": "--key",
    "key2": "--key2",
    "model": "--model",
    "port": "--port",
    "surface": "--surface",
}
_NOT_FOUND = 404
_PATH_ADVICE = (
    "check the path of --endpoint: pass the address alone, or one that ends with /openai/v1, "
    "/models or /openai/deployments/NAME"
)


def describe(error: Exception) -> str:
    """Return the message of an error in the words of the command line, with advice."""
    advice = advice_for(error) if isinstance(error, InferenceError) else ""
    message = in_options(str(error))
    return f"{message}\n  → {advice}" if advice else message


def in_options(message: str) -> str:
    """Return a message with options in place of Python arguments: `--port 1` for `port=1`."""

    def option(match: re.Match[str]) -> str:
        return _OPTIONS[match[1]] + (" " if match[2] else "")

    message = message.replace(", or allow_http=True if the network is yours", "")
    return re.sub(rf"(?<![-\w.?&/])({'|'.join(_OPTIONS)})=(?=([\w'\"]?))", option, message)


def advice_for(error: InferenceError) -> str:
    """Return what to do about an error, as `azinfer doctor` says it; empty if unknown."""
    if isinstance(error, APIConnectionError) and error.endpoint:
        return connection_advice(error.endpoint)
    if isinstance(error, AuthenticationError) and error.endpoint:
        return key_advice(error.endpoint)
    missing_path = isinstance(error, APIStatusError) and error.status == _NOT_FOUND
    if missing_path and not isinstance(error, DeploymentNotFoundError):
        return _PATH_ADVICE
    return ""
