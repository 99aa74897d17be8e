"""HTTP/1.1, sans I/O: how a request is written, and how the answers on a connection are read.

Source: RFC 9112, sections 3 to 9; what a service sends is parsed by httptools.
"""

from __future__ import annotations

import re

import httptools

from azinfer.core.errors import APIConnectionError, ConfigurationError
from azinfer.core.network.request import Request

_LARGEST_HEAD = 100 * 1024  # bytes; so much may come without anything of a body
# How long a request is and where it ends is not for its headers to say a second time.
_OURS = frozenset({"connection", "content-length", "expect", "transfer-encoding", "upgrade"})
_FIELD = re.compile(r"[!#$%&'*+.^_`|~\w-]+: [\t -~]*", re.ASCII)


def written(request: Request, target: str, host: str) -> bytes:
    """A request as it is sent.

    Args:
        request: The request.
        target: Its URL's path and query.
        host: What the Host header says, unless the caller set it.

    Raises:
        ConfigurationError: A header cannot be sent.
    """
    fields = []
    for name, value in request.headers:
        field = f"{name}: {value}"
        if not _FIELD.fullmatch(field):
            # Its value may be a secret.
            raise ConfigurationError(
                f"the header {name!r} cannot be sent: it has line breaks, or other than ASCII"
            )
        if name.lower() in _OURS:
            raise ConfigurationError(f"the header {name!r} cannot be sent: leave it to the client")
        fields.append(field)
    if request.body:
        fields.insert(0, f"Content-Length: {len(request.body)}")
    if not any(name.lower() == "host" for name, _ in request.headers):
        fields.insert(0, f"Host: {host}")
    head = "\r\n".join((f"{request.method} {target} HTTP/1.1", *fields, "\r\n"))
    return head.encode("ascii") + request.body


class Answers:
    """Reads the answers that come on one connection, one after the other.

    Attributes:
        status: The status of the answer that is being read; 0 before its head is whole.
        headers: Its headers, by their names in lower case.
        parts: What came of its body and was not taken yet.
        ended: Whether all of it came.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._stray = False
        self._reset()
        self.ended = True

    def expect(self) -> None:
        """Make ready for the answer to the next request.

        Raises:
            APIConnectionError: Something came before it was asked for.
        """
        if self._stray:
            raise _failed("the service sent what nobody asked for")
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.ended = False
        self._besides = 0  # bytes that came since the last of a body
        self._kept = False

    @property
    def reusable(self) -> bool:
        """Whether the connection can serve another request."""
        return self.ended and self._kept and not self._stray

    def feed(self, data: bytes) -> None:
        """Read further bytes.

        Raises:
            APIConnectionError: They are no HTTP.
        """
        if self._besides > _LARGEST_HEAD:
            raise _failed(f"the answer's head, or its tail, is longer than {_LARGEST_HEAD} bytes")
        self._besides += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._stray = True
            if not self.ended:
                raise _failed(f"the answer is no HTTP/1.1 ({error})") from None

    def eof(self) -> None:
        """Hear that no more bytes come.

        Raises:
            APIConnectionError: The answer is not whole.
        """
        self._stray = True
        if not self.status:
            raise _failed("the service closed it without an answer")
        if not self.ended and self.headers.keys() & {"content-length", "transfer-encoding"}:
            raise _failed("the service closed it in the middle of its answer")
        self.ended = True

    def taken(self) -> list[bytes]:
        """What came of the body since this was asked last."""
        parts, self.parts = self.parts, []
        return parts

    def on_message_begin(self) -> None:
        """An answer begins: to no request, if the one that was asked for is whole."""
        self._stray = self._stray or self.ended

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came, or what stands after a body in chunks, which says nothing."""
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        """A head is whole: that of the answer, or one that only announces it."""
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
        elif not self.status:
            self.status = status

    def on_body(self, data: bytes) -> None:
        """A part of the body came."""
        self._besides = 0
        if self.status and not self.ended:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self.status and not self.ended:
            self.ended, self._kept = True, self._parser.should_keep_alive()


def _failed(why: str) -> APIConnectionError:
    return APIConnectionError(f"the connection failed: {why}")
