"""Operations whose modules are loaded at their first request.

Most programs use chats and little else, and loading all operations took as long as the web server.
"""

from __future__ import annotations

from importlib import import_module

from starlette.responses import Response

from azinfer.local.api.context import Operation, RequestContext


def late(path: str) -> Operation:
    """Return an operation whose module is loaded when it is first called.

    Args:
        path: The operation below `azinfer.local.api`, for example `"messages.operation.create"`.
    """
    module, _, name = f"azinfer.local.api.{path}".rpartition(".")

    async def operate(context: RequestContext) -> Response:
        operation: Operation = getattr(import_module(module), name)
        return await operation(context)

    return operate
