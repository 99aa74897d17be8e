"""Failures of sockets and HTTP libraries as errors of azinfer."""

from __future__ import annotations

from azinfer.core.deadline import Deadline
from azinfer.core.errors import (
    APIConnectionError,
    ConfigurationError,
)
from azinfer.core.interruptions import is_interruption
from azinfer.core.network.upload import Upload

_LIBRARIES = frozenset(
    {"httpx", "httpx2", "httpcore", "httpcore2", "h11", "aiohttp", "httpx_aiohttp", "anyio"}
)
# What reads a caller's file and calls a caller's function, in the middle of a request.
_CALLBACKS = (Upload.__iter__.__code__,)


def _is_known(error: Exception) -> bool:
    """Return True for errors of sockets and HTTP libraries."""
    if is_interruption(error, _CALLBACKS):
        return False
    kinds = (kind.__module__.partition(".")[0] for kind in type(error).__mro__)
    return isinstance(error, OSError) or not _LIBRARIES.isdisjoint(kinds)


def network_error(error: Exception, deadline: Deadline) -> Exception:
    """Return our error for one of a socket, httpx, httpx2 or aiohttp.

    Any other error is returned as it is, so that nothing is sent again for it: what a signal
    handler or a caller's function raises in the middle of a request, whatever its class.

    The names of its classes decide, so that none of these libraries is imported for it.

    Args:
        error: What was raised.
        deadline: The limits of the request, for the message of a timeout.
    """
    if not _is_known(error):
        return error
    cause = error.__cause__
    if isinstance(cause, Exception) and type(cause).__module__.startswith("aiohttp."):
        error = cause  # httpx-aiohttp reports every broken connection as a timeout
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error) or type(error).__name__
    if names & {"UnsupportedProtocol", "InvalidURL"}:
        return ConfigurationError(f"the request cannot be sent: {message}")
    if isinstance(error, TimeoutError) or "TimeoutException" in names:
        kind = next((name for name in _TIMEOUTS if name in names), "ReadTimeout")
        limits = {"ConnectTimeout": deadline.timeout.connect}
        expired = deadline.silence_error(_TIMEOUTS[kind], limits.get(kind, deadline.timeout.read))
        expired.unsent = kind in ("ConnectTimeout", "PoolTimeout")
        return expired
    if "CERTIFICATE_VERIFY_FAILED" in message:
        message += "; for a company's own certificate authority, set SSL_CERT_FILE"
    elif names & _CONNECT_FAILURES:
        message += "; check the endpoint and the network"
    failed = APIConnectionError(f"the connection failed: {message}")
    failed.unsent = bool(names & _CONNECT_FAILURES)
    return failed


_CONNECT_FAILURES = {"ConnectFailedError", "ConnectError", "ClientConnectorError"}
_TIMEOUTS = {
    "ConnectTimeout": "no connection was established",
    "PoolTimeout": "no connection was free",
    "WriteTimeout": "the request could not be sent",
    "ReadTimeout": "the service sent nothing",
}
