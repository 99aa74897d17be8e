"""Everything that touches a socket; the rest of azinfer sees `Transport` and `AsyncTransport`."""

from azinfer.core.network.request import Request
from azinfer.core.network.transport import AsyncTransport, OpenResponse, Transport

__all__ = ["AsyncTransport", "OpenResponse", "Request", "Transport"]
