"""Files: uploaded, listed, downloaded and deleted.

Source: "Files - Upload", "- List", "- Get", "- Get content", "- Delete" of the Azure OpenAI REST
API.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import FileResponse, Response

from azinfer.local.api.context import RequestContext
from azinfer.local.api.pagination import read_page
from azinfer.local.api.request_body import read_parts
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request
from azinfer.local.wire.json import AsciiResponse

_LARGEST = 200 * 1024 * 1024
# The bytes of an upload and the characters of its fields that the request log keeps.
_NOTED, _FIELD = 64 * 1024, 1000
_PURPOSES = ("assistants", "batch", "evals", "fine-tune")
# Two weeks and thirty days, in seconds.
_SHORTEST, _LONGEST = 1_209_600, 2_592_000


async def upload(context: RequestContext) -> Response:
    """Answer `POST files`."""
    kind = context.http.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise errors.not_multipart(kind)
    parser = MultiPartParser(
        context.http.headers, _read_upload(context), max_files=1, max_fields=20
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        raise errors.malformed_body(f"The body is not a valid multipart form: {error}.") from None
    context.trace.form = {_short(name): _facts(value) for name, value in form.multi_items()}
    try:
        return AsciiResponse(await _store_upload(context, form))
    finally:
        await form.close()


async def _read_upload(context: RequestContext) -> AsyncGenerator[bytes]:
    """Yield the parts of an upload as they arrive; the request log keeps the first of them."""
    async for part in read_parts(context.http, _LARGEST):
        context.trace.body += part[: max(0, _NOTED - len(context.trace.body))]
        yield part


def _facts(value: str | UploadFile) -> Any:
    """Return the log's facts about one field of an upload."""
    if isinstance(value, str):
        return _short(value)
    kind = value.content_type
    return {
        "filename": _short(value.filename or ""),
        "content_type": None if kind is None else _short(kind),
        "bytes": value.size,
    }


def _short(text: str) -> str:
    return text if len(text) <= _FIELD else f"{text[:_FIELD]}…"


async def _store_upload(context: RequestContext, form: FormData) -> Json:
    file, facts = form.get("file"), _upload_facts(form, context.surface)
    if not isinstance(file, UploadFile):
        message = "Missing required parameter: 'file'."
        raise bad_request(context.surface, message, "file", "missing_required_parameter")
    store = context.state.store
    if not store.has_room(file.size or 0):
        message = f"The files would be over {store.most_bytes} bytes; delete some first."
        raise bad_request(context.surface, message, "file", "storage_quota_exceeded")
    file_id, part = context.state.store.begin_file()
    try:
        await asyncio.to_thread(_copy, file.file, part)
        return context.state.store.end_file(file_id, {"filename": file.filename or "file", **facts})
    finally:
        part.unlink(missing_ok=True)


async def list_files(context: RequestContext) -> Response:
    """Answer `GET files`."""
    query = context.http.query_params
    read = functools.partial(
        context.state.store.files_page,
        oldest_first=query.get("order") == "asc",
        purpose=query.get("purpose"),
    )
    return AsciiResponse(read_page(read, context, most=10_000, usual=10_000))


async def get(context: RequestContext) -> Response:
    """Answer `GET files/{id}`."""
    return AsciiResponse(_find_file(context))


async def content(context: RequestContext) -> Response:
    """Answer `GET files/{id}/content`."""
    file = _find_file(context)
    return FileResponse(
        context.state.store.path(file["id"]),
        media_type="application/octet-stream",
        filename=file["filename"],
    )


async def delete(context: RequestContext) -> Response:
    """Answer `DELETE files/{id}`."""
    file = _find_file(context)
    if batch := context.state.store.user_of(file["id"]):
        message = f"The file {file['id']} is the input of {batch}, which has not ended."
        raise bad_request(context.surface, message, "file_id")
    context.state.store.remove_file(file["id"])
    return AsciiResponse({"id": file["id"], "object": "file", "deleted": True})


def _find_file(context: RequestContext) -> Json:
    name = context.http.path_params["file"]
    file = context.state.store.file(name)
    if file is None:
        raise errors.unknown_id(f"No such File object: {name}", "id")
    return file


def _upload_facts(form: FormData, surface: str) -> Json:
    """Return an upload's facts about the file.

    Raises:
        ErrorResponse: A field is not valid; the error names it.
    """
    purpose = form.get("purpose")
    if purpose not in _PURPOSES:
        message = f"Invalid value: {purpose!r}. Supported values are: {_PURPOSES}."
        raise bad_request(surface, message, "purpose")
    facts: Json = {"purpose": purpose, "status": "processed"}
    # Clients write the fields of an object with brackets, the service's documents with a dot.
    seconds = form.get("expires_after[seconds]", form.get("expires_after.seconds"))
    anchor = form.get("expires_after[anchor]", form.get("expires_after.anchor"))
    if seconds is not None or anchor is not None:
        facts["expires_after"] = read_expiry(seconds, anchor, "expires_after", surface)
    return facts


def read_expiry(seconds: Any, anchor: Any, field: str, surface: str) -> int:
    """Return the seconds after which a file expires.

    Raises:
        ErrorResponse: The time is not a number, is too short or too long, or does not count from
            the file's creation.
    """
    if anchor != "created_at":
        message = f"Invalid value: {anchor!r}. Supported values are: 'created_at'."
        raise bad_request(surface, message, f"{field}.anchor")
    text = str(seconds)
    if not (text.isascii() and text.isdigit() and _SHORTEST <= int(text[:9]) <= _LONGEST):
        message = (
            f"Invalid '{field}.seconds': expected an integer from {_SHORTEST} to {_LONGEST}, "
            f"got {text!r}."
        )
        raise bad_request(surface, message, f"{field}.seconds")
    return int(text)


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, 1024 * 1024)
        file.flush()
        os.fsync(file.fileno())
