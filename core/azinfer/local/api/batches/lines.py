"""Lines of a batch: what is asked in each, and what may be wrong with it.

Source: "Getting started with Azure OpenAI batch deployments", the input format and the table
"Resolve error codes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.registry import Registry
from azinfer.local.wire.body import Json
from azinfer.local.wire.json import read_json

_MOST = 100_000
_MOST_ERRORS = 100
_BATCH_TYPES = ("globalbatch", "datazonebatch")
ENDPOINTS = ("chat/completions", "embeddings", "responses")


class LineError(Exception):
    """Something is wrong with a line, so that the batch cannot begin.

    Args:
        code: The service's code for it.
        message: What is wrong, for the caller to read.
        param: The field that is wrong.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch."""

    custom_id: str
    model: str
    body: Json


def endpoint_of(url: Any) -> str | None:
    """The operation that a URL names, with or without `/v1`; None where it is none."""
    path = url.removeprefix("/v1").strip("/") if isinstance(url, str) else None
    return path if path in ENDPOINTS else None


def numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, counted from 1."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield number, text


def line_of(text: bytes, endpoint: str) -> Line:
    """Read one line.

    Raises:
        LineError: It is no request of this endpoint.
    """
    try:
        told = read_json(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, Mapping):
        raise LineError("invalid_json_line", "This line is not parseable as valid JSON.")
    if endpoint_of(told.get("url")) != endpoint:
        message = f"The URL {told.get('url')!r} is not that of the batch, /{endpoint}."
        raise LineError("url_mismatch", message, "url")
    custom_id, body = told.get("custom_id"), told.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise LineError("invalid_request", "'custom_id' must be a text.", "custom_id")
    if told.get("method") != "POST":
        raise LineError("invalid_request", "'method' must be POST.", "method")
    if not isinstance(body, dict):
        raise LineError("invalid_request", "'body' must be an object.", "body")
    model = body.get("model")
    if not isinstance(model, str):
        raise LineError("model_not_found", "'body.model' must name a deployment.", "body.model")
    return Line(custom_id, model, body)


class LineCheck:
    """Checks the lines of one file, one by one and against each other.

    Args:
        endpoint: What the batch asks for.
        registry: The deployments there are.
        strict: Whether a deployment must be of a batch type.

    Attributes:
        count: How many lines there were so far.
        errors: What is wrong with them, in the form that batches tell; the first hundred.
    """

    def __init__(self, endpoint: str, registry: Registry, strict: bool) -> None:
        self.count = 0
        self.errors: list[Json] = []
        self._endpoint, self._registry, self._strict = endpoint, registry, strict
        self._ids: set[str] = set()
        self._deployment: LocalDeployment | None = None

    def add(self, number: int, text: bytes) -> None:
        """Check one more line."""
        self.count += 1
        if self.count > _MOST:
            return
        try:
            self._check(line_of(text, self._endpoint))
        except LineError as error:
            if len(self.errors) < _MOST_ERRORS:
                self.errors.append(told_of(error, number))

    def end(self) -> None:
        """Check what can be told only of the whole."""
        if not self.count:
            self.errors = [told_of(LineError("empty_file", "The input file is empty."), None)]
        if self.count > _MOST:
            error = LineError("too_many_tasks", f"A batch may have {_MOST} requests at most.")
            self.errors = [told_of(error, None)]

    def _check(self, line: Line) -> None:
        if line.custom_id in self._ids:
            message = f"The custom_id {line.custom_id!r} was used before."
            raise LineError("duplicate_custom_id", message, "custom_id")
        self._ids.add(line.custom_id)
        found = self._registry.get(line.model)
        if found is None:
            message = f"No deployment is called {line.model!r}."
            raise LineError("model_not_found", message, "body.model")
        if self._strict and found.capacity_type.casefold() not in _BATCH_TYPES:
            message = (
                f"The deployment {found.name} is {found.capacity_type}; batches need a GlobalBatch "
                "or DataZoneBatch deployment."
            )
            raise LineError("invalid_request", message, "body.model")
        if self._deployment not in (None, found):
            message = f"The deployment {line.model!r} is not that of the lines before."
            raise LineError("model_mismatch", message, "body.model")
        self._deployment = found


def told_of(error: LineError, number: int | None) -> Json:
    """An error as batches tell it."""
    return {"code": error.code, "message": str(error), "param": error.param, "line": number}
