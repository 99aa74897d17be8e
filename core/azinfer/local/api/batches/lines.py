"""Lines of a batch: parsed and checked.

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
    """A line is not valid, so the batch cannot begin.

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


def find_endpoint(url: Any) -> str | None:
    """Return the operation that a URL names, with or without `/v1`; None if it is unknown."""
    path = url.removeprefix("/v1").strip("/") if isinstance(url, str) else None
    return path if path in ENDPOINTS else None


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, with their numbers from 1."""
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield number, text


def parse_line(text: bytes, endpoint: str) -> Line:
    """Return the request of one line.

    Raises:
        LineError: The line is not a valid request of this endpoint.
    """
    try:
        request = read_json(text)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, Mapping):
        raise LineError("invalid_json_line", "This line is not parseable as valid JSON.")
    if find_endpoint(request.get("url")) != endpoint:
        message = f"The URL {request.get('url')!r} is not that of the batch, /{endpoint}."
        raise LineError("url_mismatch", message, "url")
    custom_id, body = request.get("custom_id"), request.get("body")
    if not isinstance(custom_id, str) or not custom_id:
        raise LineError("invalid_request", "'custom_id' must be a text.", "custom_id")
    if request.get("method") != "POST":
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
        endpoint: The operation of the batch.
        registry: The deployments.
        strict: Whether a deployment must be of a batch type.

    Attributes:
        count: The number of lines so far.
        errors: The first hundred errors, in the form of batches.
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
            self._check(parse_line(text, self._endpoint))
        except LineError as error:
            if len(self.errors) < _MOST_ERRORS:
                self.errors.append(error_entry(error, number))

    def end(self) -> None:
        """Check what needs all lines."""
        if not self.count:
            self.errors = [error_entry(LineError("empty_file", "The input file is empty."), None)]
        if self.count > _MOST:
            error = LineError("too_many_tasks", f"A batch may have {_MOST} requests at most.")
            self.errors = [error_entry(error, None)]

    def _check(self, line: Line) -> None:
        if line.custom_id in self._ids:
            message = f"The custom_id {line.custom_id!r} was used before."
            raise LineError("duplicate_custom_id", message, "custom_id")
        self._ids.add(line.custom_id)
        deployment = self._registry.get(line.model)
        if deployment is None:
            message = f"No deployment is called {line.model!r}."
            raise LineError("model_not_found", message, "body.model")
        if self._strict and deployment.capacity_type.casefold() not in _BATCH_TYPES:
            message = (
                f"The deployment {deployment.name} is {deployment.capacity_type}; batches need a "
                "GlobalBatch or DataZoneBatch deployment."
            )
            raise LineError("invalid_request", message, "body.model")
        if self._deployment not in (None, deployment):
            message = f"The deployment {line.model!r} is not that of the lines before."
            raise LineError("model_mismatch", message, "body.model")
        self._deployment = deployment


def error_entry(error: LineError, number: int | None) -> Json:
    """Return an error in the form of batches."""
    return {"code": error.code, "message": str(error), "param": error.param, "line": number}
