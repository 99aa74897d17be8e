"""One request on its way through the API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from azinfer.local.api.exchange_recorder import Trace
from azinfer.local.resource.rate_limits import Admission
from azinfer.local.wire import errors

if TYPE_CHECKING:
    from azinfer.local.resource.state import Service

_LARGEST_BODY = 32 * 1024 * 1024


@dataclass(slots=True)
class Asked:
    """A request whose credential was right.

    Attributes:
        http: The request.
        surface: The surface it came through.
        id: The id that its answer tells.
        trace: What is found out about it, for the request log.
        admission: How a deployment let it in, once one did; its answer tells the headers.
    """

    http: Request
    surface: str
    id: str
    trace: Trace = field(default_factory=Trace)
    admission: Admission | None = None


Operation = Callable[["Service", Asked], Awaitable[Response]]


async def parts_of(http: Request, most: int) -> AsyncGenerator[bytes]:
    """The parts of a request's body as they come.

    Raises:
        Refusal: They are more than so many bytes.
    """
    told = http.headers.get("content-length", "0")
    if told.isdigit() and int(told) > most:
        raise errors.too_large(most)
    size = 0
    async for part in http.stream():
        size += len(part)
        if size > most:
            raise errors.too_large(most)
        yield part
