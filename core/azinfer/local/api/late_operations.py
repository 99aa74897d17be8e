"""Operations whose modules are loaded at their first request.

Loading all operations took as long as the web server, and a program uses few of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from starlette.responses import Response

from azinfer.local.api.context import Operation, RequestContext


def late(path: str) -> Operation:
    """Return an operation whose module is loaded when it is first called.

    Args:
        path: The operation below `azinfer.local.api`, for example `"messages.operation.create"`.
    """
    module, _, name = f"azinfer.local.api.{path}".rpartition(".")

    loaded: Operation | None = None

    async def operate(context: RequestContext) -> Response:
        nonlocal loaded
        if loaded is None:
            loaded = cast(Operation, getattr(import_module(module), name))
        return await loaded(context)

    return operate
