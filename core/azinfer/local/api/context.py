"""One request on its way through the API: its values, and how its body is read."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from azinfer.local.api.exchange_recorder import RequestTrace
from azinfer.local.api.request_body import read_content
from azinfer.local.api.unknown_fields import describe_unknown
from azinfer.local.resource.rate_limits import Admission
from azinfer.local.resource.state import ResourceState
from azinfer.local.turns import take_turn
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json, check_extras
from azinfer.local.wire.json import read_json
from azinfer.local.wire.surfaces import DEPLOYMENTS, V1
from azinfer.local.worker_threads import run_in_worker

_LARGEST_BODY = 32 * 1024 * 1024
# The most bytes of a request without a key: a form with a key or a secret.
_LARGEST_FORM, _MOST_FIELDS = 64 * 1024, 20
# Bodies up to here are read at once; of longer ones only some each time that the loop turns.
_QUICK_BODY = 8 * 1024
# Larger bodies are read outside the event loop.
_SHORT_BODY, _MOST_VALUES = 128 * 1024, 1_000_000


def new_id() -> str:
    """Return the id of a new request."""
    return os.urandom(16).hex()


@dataclass(slots=True)
class RequestContext:
    """A request, and what is known about it while it is answered.

    Attributes:
        state: The state of the endpoint.
        http: The HTTP request.
        surface: The surface that it came through.
        id: The request id, which the response repeats in `apim-request-id`.
        trace: Facts for the request log.
        admission: The admission by a deployment; None before it and for requests without one.
        has_client: Whether a client waits for the response, so that work stops when it leaves.
        headers: The first value of each header, by its name in lower case.
    """

    state: ResourceState
    http: Request
    surface: str
    id: str = field(default_factory=new_id)
    trace: RequestTrace = field(default_factory=RequestTrace)
    admission: Admission | None = None
    has_client: bool = True
    headers: Mapping[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Headers are looked up often, and starlette searches and decodes them each time.
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in reversed(self.http.scope["headers"])
        }

    @property
    def api_version(self) -> str | None:
        """The `api-version` of the query."""
        if not self.http.scope["query_string"]:
            return None
        return self.http.query_params.get("api-version")

    async def read_content(self, limit: int = _LARGEST_BODY) -> bytes:
        """Return the bytes of the body.

        Raises:
            ErrorResponse: The body has more than `limit` bytes, or arrives too slowly.
        """
        return await read_content(self.http, limit)

    async def read_json(self) -> Json:
        """Return the body as a JSON object.

        Raises:
            ErrorResponse: The body is too large or not a JSON object, or, in strict mode, its
                content type is not JSON.
        """
        self.trace.body = content = await self.read_content()
        if len(content) > _QUICK_BODY:
            await take_turn()
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.state.strict and kind != "application/json":
            raise errors.not_json(self.surface, content.decode(errors="replace"))
        # Each value takes a byte, so only a long body is counted.
        if len(content) > _MOST_VALUES and _count_values(content) > _MOST_VALUES:
            raise errors.malformed_body(f"The body has more than {_MOST_VALUES} values.")
        try:
            if len(content) <= _SHORT_BODY:
                body = read_json(content)
            else:
                body = await run_in_worker(read_json, content)
        except (ValueError, RecursionError) as error:
            raise errors.malformed_body(f"The body is not valid JSON: {error}.") from None
        if not isinstance(body, dict):
            raise errors.malformed_body("The body must be a JSON object.")
        return body

    async def read_body(self, known: frozenset[str]) -> Json:
        """Return the body as a JSON object without null fields.

        Args:
            known: The fields that the operation accepts.

        Raises:
            ErrorResponse: The body is too large, not a JSON object, or has fields that are
                refused.
        """
        body = await self.read_json()
        header = self.headers.get("extra-parameters")
        fields = {name: value for name, value in body.items() if value is not None}
        checked = check_extras(fields, self.surface, header, self.state.strict, known)
        if header is None or self.surface in (V1, DEPLOYMENTS):
            self.point_out(checked.keys() - known, known)
        return checked

    def point_out(self, extras: Collection[str], known: Collection[str]) -> None:
        """Give a hint if fields of the body are unknown: in the log and in a header.

        Args:
            extras: The fields.
            known: The fields that the operation accepts.
        """
        if extras:
            path = self.http.scope["path"]
            self.trace.hint = describe_unknown(self.state, sorted(extras), known, path)


Operation = Callable[[RequestContext], Awaitable[Response]]


async def refuse_slowly(state: ResourceState, http: Request) -> None:
    """Log a wrong credential of a request, and wait before its refusal."""
    client = http.client.host if http.client else "an unknown address"
    await state.authenticator.failed_attempts.add(client, http.method, http.url.path)


async def read_form(http: Request) -> dict[str, str]:
    """Return the fields of a small form, which anyone may send.

    Raises:
        ErrorResponse: The form is too large, has too many fields, or arrives too slowly.
    """
    content = await read_content(http, _LARGEST_FORM)
    try:
        return dict(parse_qsl(content.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise errors.malformed_body(f"The form has more than {_MOST_FIELDS} fields.") from None


def _count_values(content: bytes) -> int:
    """Return about how many values a JSON text has."""
    return sum(content.count(sign) for sign in (b",", b"[", b"{"))
