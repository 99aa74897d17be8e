"""Network failures as errors of azinfer."""

from __future__ import annotations

from azinfer.core.deadline import Deadline
from azinfer.core.errors import (
    APIConnectionError,
    ConfigurationError,
    InferenceError,
)


def network_error(error: Exception, deadline: Deadline) -> InferenceError:
    """Our error for one of a socket, httpx, httpx2 or aiohttp, told by the names of its classes."""
    cause = error.__cause__
    if isinstance(cause, Exception) and type(cause).__module__.startswith("aiohttp."):
        error = cause  # httpx-aiohttp calls every broken connection a time-out
    names = {kind.__name__ for kind in type(error).__mro__}
    said = str(error) or type(error).__name__
    if names & {"UnsupportedProtocol", "InvalidURL"}:
        return ConfigurationError(f"the request cannot be sent: {said}")
    if isinstance(error, TimeoutError) or "TimeoutException" in names:
        kind = next((name for name in _SILENCES if name in names), "ReadTimeout")
        limits = {"ConnectTimeout": deadline.timeout.connect}
        return deadline.silence(_SILENCES[kind], limits.get(kind, deadline.timeout.read))
    if "CERTIFICATE_VERIFY_FAILED" in said:
        said += "; for a company's own CA set SSL_CERT_FILE"
    elif names & {"ConnectFailedError", "ConnectError", "ClientConnectorError"}:
        said += "; is the endpoint right, and is there a network?"
    return APIConnectionError(f"the connection failed: {said}")


_SILENCES = {
    "ConnectTimeout": "no connection opened",
    "PoolTimeout": "no connection was free",
    "WriteTimeout": "the request could not be sent",
    "ReadTimeout": "the service sent nothing",
}
