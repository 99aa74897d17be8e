"""HTTP/1.1 without I/O: requests become bytes, and bytes become responses.

Source: RFC 9112, sections 3 to 9. httptools parses what a service sends.
"""

from __future__ import annotations

import re

import httptools

from azinfer.core.errors import APIConnectionError, ConfigurationError
from azinfer.core.network.request import REQUEST_ID, Request, SharedHeaders
from azinfer.core.redaction import SecretBytes

_LARGEST_HEAD = 100 * 1024  # bytes that may come before a body, or between its parts
# Headers that only this module may set: they decide where a request ends.
_FRAMING = frozenset({"connection", "content-length", "expect", "transfer-encoding", "upgrade"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~\w-]+", re.ASCII)
_VALUE = re.compile(r"[\t -~]*", re.ASCII)


def encode_request(request: Request, target: str, host: str) -> bytes:
    """Return the bytes of a request.

    Args:
        request: The request.
        target: Path and query of its URL.
        host: The value of the Host header, unless the caller set one.

    Raises:
        ConfigurationError: A header cannot be sent.
    """
    headers, body = request.headers, request.body
    lines = headers.lines or _encode_headers(headers)
    start = f"{request.method} {target} HTTP/1.1\r\n"
    if "host" not in headers.names:
        start += f"Host: {host}\r\n"
    if body or request.method == "POST":
        start += f"Content-Length: {len(body)}\r\n"
    if request.request_id and REQUEST_ID not in headers.names:
        start += f"{REQUEST_ID}: {request.request_id}\r\n"
    whole = (start.encode("ascii"), lines, body if isinstance(body, bytes) else b"")
    return SecretBytes(b"".join(whole))


def _encode_headers(headers: SharedHeaders) -> bytes:
    """Return headers as they are sent, with the blank line behind them, and keep that form.

    Raises:
        ConfigurationError: One of them cannot be sent.
    """
    if not _FRAMING.isdisjoint(headers.names):
        framing = next(name for name, _ in headers.pairs if name.lower() in _FRAMING)
        raise ConfigurationError(f"the header {framing!r} cannot be set: only the client sets it")
    if (unfit := _unfit(headers)) is not None:
        raise ConfigurationError(
            f"the header {unfit!r} cannot be sent: its value has line breaks or "
            "characters outside ASCII"
        )
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.pairs])
    headers.lines = SecretBytes(f"{lines}\r\n".encode("ascii"))
    return headers.lines


def _unfit(headers: SharedHeaders) -> str | None:
    """Return the name of the first header that cannot be sent.

    It raises nothing itself: a value may be a secret, and tracebacks may show variables.
    """
    for name, value in headers.pairs:
        printable = value.isascii() and (value.isprintable() or _VALUE.fullmatch(value))
        if not printable or not _NAME.fullmatch(name):
            return name
    return None


class ResponseParser:
    """Parses the responses that come on one connection, one after the other.

    Attributes:
        status: The status of the present response; 0 until its head is complete.
        headers: Its headers, by their names in lower case.
        parts: The parts of its body that came and were not taken yet.
        ended: Whether the response is complete.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._stray = False
        self._reset()
        self.ended = True

    def expect(self) -> None:
        """Prepare for the response to the next request.

        Raises:
            APIConnectionError: The service sent something before that request.
        """
        if self._stray:
            raise _connection_error("the service sent a response to no request")
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.ended = False
        self._besides = 0  # bytes that came since the last part of a body
        self._kept = False

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent on the connection."""
        return self.ended and self._kept and not self._stray

    def feed(self, data: bytes) -> None:
        """Parse further bytes.

        Raises:
            APIConnectionError: The bytes are not HTTP/1.1.
        """
        if self._besides > _LARGEST_HEAD:
            raise _connection_error(f"the response has more than {_LARGEST_HEAD} bytes of headers")
        self._besides += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._stray = True
            if not self.ended:
                raise _connection_error(f"the response is not valid HTTP/1.1 ({error})") from None

    def eof(self) -> None:
        """Handle the end of the bytes.

        Raises:
            APIConnectionError: The response is not complete.
        """
        self._stray = True
        if not self.status:
            raise _connection_error("the service closed it without a response")
        if not self.ended and self.headers.keys() & {"content-length", "transfer-encoding"}:
            raise _connection_error("the service closed it in the middle of a response")
        self.ended = True

    def take_parts(self) -> list[bytes]:
        """Return the parts of the body that came since the last call."""
        parts, self.parts = self.parts, []
        return parts

    def on_message_begin(self) -> None:
        """Handle the start of a response; after a complete one it belongs to no request."""
        self._stray = self._stray or self.ended

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a header; trailers, which come after a body in chunks, are ignored."""
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """Handle the end of a head: that of the response, or of a 1xx before it."""
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
        elif not self.status:
            self.status = status

    def on_body(self, data: bytes) -> None:
        """Handle a part of the body."""
        self._besides = 0
        if self.status and not self.ended:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        """Handle the end of a response."""
        if self.status and not self.ended:
            self.ended, self._kept = True, self._parser.should_keep_alive()


def _connection_error(why: str) -> APIConnectionError:
    return APIConnectionError(f"the connection failed: {why}")
