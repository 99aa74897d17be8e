"""Files of a resource: uploaded and downloaded in pieces, listed and deleted.

Source: "Files" of the Azure OpenAI v1 REST reference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from azinfer.core import lazy
from azinfer.core.arguments import refuse
from azinfer.core.attempts import CallAttempts
from azinfer.core.calls import Call
from azinfer.core.completions import Json
from azinfer.core.decoding import decode_json, invalid_response
from azinfer.core.endpoints import path_segment
from azinfer.core.errors import ConfigurationError, InferenceError, InvalidResponseError
from azinfer.core.json_fields import as_count
from azinfer.core.network import OpenResponse, Progress, Upload
from azinfer.core.surfaces import FILES

T = TypeVar("T")
_LISTED = "client.files.list()"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that is stored on the resource.

    Attributes:
        id: Its id.
        filename: Its name.
        purpose: What it is for, for example `"batch"`.
        size: Its size in bytes.
        status: `"processed"` once it can be used.
        created_at: Seconds since 1970; None where the service does not say.
        raw: The object as the service sent it.
    """

    id: str
    filename: str
    purpose: str
    size: int
    status: str
    created_at: int | None
    raw: Json = field(default_factory=dict, repr=False, compare=False)


def decode_file(raw: Any) -> File:
    """Return the file that an object describes.

    Raises:
        InvalidResponseError: It does not describe a file.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("id"), str):
        raise invalid_response("no id of a file", raw)
    created = raw.get("created_at")
    return File(
        id=raw["id"],
        filename=str(raw.get("filename") or ""),
        purpose=str(raw.get("purpose") or ""),
        size=as_count(raw.get("bytes")),
        status=str(raw.get("status") or "").lower(),
        created_at=created if isinstance(created, int) else None,
        raw=raw,
    )


def resource_call(
    client: lazy.Operations, operation: str, path: str, read: Any, **more: Any
) -> CallAttempts[Any]:
    """Return the attempts of a call about a file or a batch of a resource.

    Args:
        client: The client of the resource.
        operation: `"files"` or `"batches"`.
        path: What follows it, with the query.
        read: Returns the value for the response's JSON.
        **more: The call's body, upload or method, and what it creates.
    """
    target = client._target(operation, None, None, None)
    base, _, query = target.url().partition("?")
    own, _, wanted = path.partition("?")
    joined = "&".join(filter(None, (query, wanted)))
    url = f"{base}{own}?{joined}" if joined else f"{base}{own}"

    def value(data: bytes, headers: Any, routing: Any) -> Any:
        return read(decode_json(data, headers))

    body = more.pop("body", None)
    call: Call[Any] = Call(target, body, value, url=url, **more)
    return CallAttempts(client._leg(call), client._rules(None))


def upload_of(
    source: bytes | str | Path,
    purpose: str,
    filename: str | None,
    expires_after: int | None,
    on_progress: Progress | None,
) -> Upload:
    """Return the form that uploads a file."""
    if isinstance(source, str):
        source = Path(source)
    if not isinstance(source, bytes | Path):
        refuse("source", source, "the path of a file, or its bytes")
    for name, text in (("purpose", purpose), ("filename", filename)):
        if text is not None and not isinstance(text, str):
            refuse(name, text, "a text")
    if on_progress is not None and not callable(on_progress):
        refuse("on_progress", on_progress, "a function")
    name = filename or (source.name if isinstance(source, Path) else "")
    if not name:
        raise ConfigurationError("bytes have no name: pass filename=, for example 'batch.jsonl'")
    fields = {"purpose": purpose}
    if expires_after is not None:
        fields |= {
            "expires_after[seconds]": str(expires_after),
            "expires_after[anchor]": "created_at",
        }
    return Upload(source, name, fields, on_progress)


def id_segment(name: str, value: Any) -> str:
    """Return the id of a file or a batch as one segment of a path.

    Args:
        name: The argument, for an error.
        value: The id.

    Raises:
        ConfigurationError: It is not an id.
    """
    if not isinstance(value, str) or not value.strip():
        refuse(name, value, "the id of one, as `list` shows it")
    return path_segment(value)


def list_all(client: Any, operation: str, decode: Callable[[Any], T]) -> Iterator[T]:
    """Yield all entries of a list of the resource, page by page."""
    path: str | None = ""
    while path is not None:
        page: Json = client._run(resource_call(client, operation, path, dict))
        yield from map(decode, page.get("data") or ())
        path = _next_page(page, path)


async def list_all_async(
    client: Any, operation: str, decode: Callable[[Any], T]
) -> AsyncIterator[T]:
    """Yield all entries of a list of the resource, page by page."""
    path: str | None = ""
    while path is not None:
        page: Json = await client._run(resource_call(client, operation, path, dict))
        for entry in page.get("data") or ():
            yield decode(entry)
        path = _next_page(page, path)


def _next_page(page: Json, path: str) -> str | None:
    """Return the path of the next page of a list, or None at its end.

    Args:
        page: A page of the list.
        path: The path that it was read from.

    Raises:
        InvalidResponseError: The next page is the same one again, so that the list would not end.
    """
    entries = page.get("data") or ()
    if not (page.get("has_more") and entries):
        return None
    last = entries[-1]["id"]
    if path == (following := f"?after={last}"):
        raise InvalidResponseError(f"the list begins again after {last!r}; nothing more is read")
    return following


class Files:
    """`client.files` of a sync client.

    Example:
        `client.files.upload("batch.jsonl", on_progress=lambda sent, size: print(sent / size))`
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def upload(
        self,
        source: bytes | str | Path,
        *,
        purpose: str = "batch",
        filename: str | None = None,
        expires_after: int | None = None,
        on_progress: Progress | None = None,
    ) -> File:
        """Upload a file in pieces, without reading all of it into memory.

        Args:
            source: The file's path, or its bytes.
            purpose: What it is for: `"batch"`, `"assistants"`, `"fine-tune"`, …
            filename: Its name on the service; by default that of the path.
            expires_after: Seconds after which the service deletes it.
            on_progress: Called with the bytes that were sent and the size of the file; it
                begins at 0 again if the request is sent again.
        """
        upload = upload_of(source, purpose, filename, expires_after, on_progress)
        file: File = self._client._run(
            resource_call(self._client, FILES, "", decode_file, upload=upload, creates=_LISTED)
        )
        return file

    def list(self) -> Iterator[File]:
        """Yield the files of the resource, page by page."""
        return list_all(self._client, FILES, decode_file)

    def get(self, file_id: str) -> File:
        """Return the description of a file."""
        path = f"/{id_segment('file_id', file_id)}"
        file: File = self._client._run(resource_call(self._client, FILES, path, decode_file))
        return file

    def content(self, file_id: str) -> Iterator[bytes]:
        """Yield the content of a file, in pieces as they come.

        Raises:
            InferenceError: It cannot be read, or the download broke off, which is not repeated.
        """
        client, attempts = self._client, _content_call(self._client, file_id)
        while True:
            request, deadline = client._next(attempts)
            try:
                response = client._transport.open(request, deadline)
                if response.status >= 300:
                    body = b"".join(response.parts)
                    raise attempts.error_of(response.status, response.headers, body)
                break
            except InferenceError as error:
                wait = attempts.wait_after(error)
            client._clock.sleep(wait)
        try:
            yield from response.parts
        except InferenceError as error:
            raise attempts.with_context(error) from None
        finally:
            response.parts.close()

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        path = f"/{id_segment('file_id', file_id)}"
        self._client._run(resource_call(self._client, FILES, path, bool, method="DELETE"))


class AsyncFiles:
    """`client.files` of an async client; the same, awaited."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def upload(
        self,
        source: bytes | str | Path,
        *,
        purpose: str = "batch",
        filename: str | None = None,
        expires_after: int | None = None,
        on_progress: Progress | None = None,
    ) -> File:
        """Upload a file in pieces; the same as `Files.upload`, awaited."""
        upload = upload_of(source, purpose, filename, expires_after, on_progress)
        call = resource_call(self._client, FILES, "", decode_file, upload=upload, creates=_LISTED)
        file: File = await self._client._run(call)
        return file

    def list(self) -> AsyncIterator[File]:
        """Yield the files of the resource, page by page."""
        return list_all_async(self._client, FILES, decode_file)

    async def get(self, file_id: str) -> File:
        """Return the description of a file."""
        path = f"/{id_segment('file_id', file_id)}"
        file: File = await self._client._run(resource_call(self._client, FILES, path, decode_file))
        return file

    async def content(self, file_id: str) -> AsyncIterator[bytes]:
        """Yield the content of a file; the same as `Files.content`, awaited."""
        client, attempts = self._client, _content_call(self._client, file_id)
        response: OpenResponse
        while True:
            request, deadline = await client._next(attempts)
            try:
                response = await client._transport.open(request, deadline)
                if response.status >= 300:
                    body = b"".join([part async for part in response.parts])
                    raise attempts.error_of(response.status, response.headers, body)
                break
            except InferenceError as error:
                wait = attempts.wait_after(error)
            await client._clock.asleep(wait)
        try:
            async for part in response.parts:
                yield part
        except InferenceError as error:
            raise attempts.with_context(error) from None
        finally:
            await response.aclose()

    async def delete(self, file_id: str) -> None:
        """Delete a file."""
        path = f"/{id_segment('file_id', file_id)}"
        await self._client._run(resource_call(self._client, FILES, path, bool, method="DELETE"))


def _content_call(client: lazy.Operations, file_id: str) -> CallAttempts[Any]:
    return resource_call(client, FILES, f"/{id_segment('file_id', file_id)}/content", bytes)
