"""A body that is read from a file while it is sent, and never whole in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias

from azinfer.core.errors import ConfigurationError

Progress: TypeAlias = Callable[[int, int], None]  # bytes that are done, and all of them
_PIECE = 256 * 1024


class Upload:
    """A multipart form with one file; each attempt reads the file anew.

    Args:
        source: The file, or its bytes.
        filename: The file's name.
        fields: The form's other fields.
        on_progress: Called with the bytes of the file that were sent, and its size.

    Raises:
        ConfigurationError: The file cannot be read.
    """

    def __init__(
        self,
        source: bytes | Path,
        filename: str,
        fields: Mapping[str, str],
        on_progress: Progress | None = None,
    ) -> None:
        import secrets  # slow to import, and few programs upload

        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._source, self._on_progress = source, on_progress
        form = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        quoted = filename.replace("\\", "\\\\").replace('"', '\\"')
        # As browsers write them. Source: WHATWG HTML, "Multipart form data".
        quoted = quoted.replace("\r", "%0D").replace("\n", "%0A")
        self._head = (
            f'{form}--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{quoted}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        with self._open() as file:
            self.size = file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return len(self._head) + self.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in pieces.

        Raises:
            ConfigurationError: The file has changed since the request began.
        """
        yield self._head
        with self._open() as file:
            sent = 0
            while piece := file.read(min(_PIECE, self.size - sent)):
                yield piece
                sent += len(piece)
                if self._on_progress is not None:
                    self._on_progress(sent, self.size)
        if sent < self.size:
            raise ConfigurationError(f"{self._source!s} became shorter while it was sent")
        yield self._tail

    def _open(self) -> BinaryIO:
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        try:
            return self._source.open("rb")
        except OSError as error:
            raise ConfigurationError(f"{self._source} cannot be read: {error.strerror}") from None


async def next_piece(pieces: Iterator[bytes]) -> bytes:
    """Return the next piece of an upload, read in a thread; empty at the end."""
    import asyncio

    def read() -> tuple[bytes, Exception | None]:
        try:
            return next(pieces, b""), None
        except Exception as error:
            # asyncio would replace a TimeoutError of a thread by one without its traceback.
            return b"", error

    piece, error = await asyncio.to_thread(read)
    if error is not None:
        raise error
    return piece
