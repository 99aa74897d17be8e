"""A tour: named steps that use another package's client on an endpoint.

Each script beside this one is run in a process of its own, `python openai_tour.py URL KEY REPORT`,
because such clients bring warnings, patches and versions that other tests should not meet.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

ASK = "How is the weather in New York?"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": PARAMETERS,
}
TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}
USER: list[Any] = [{"role": "user", "content": ASK}]
Step = Callable[[str, str], Any]


def take(packages: list[str], steps: Mapping[str, Step]) -> None:
    """Take each step and write down how it went.

    Args:
        packages: Whose versions to print.
        steps: By name, what is given the URL and the key, sync or async.
    """
    url, key, report = sys.argv[1:]
    went: dict[str, str | None] = {}
    for name, step in steps.items():
        try:
            result = step(url, key)
            if inspect.isawaitable(result):
                asyncio.run(_await(result))
            went[name] = None
        except Exception:
            went[name] = traceback.format_exc()
    versions = {name: version(name) for name in packages}
    Path(report).write_text(json.dumps({"versions": versions, "steps": went}), "utf-8")


async def failure_of(work: Awaitable[Any]) -> Any:
    """Return the error that some work ends with.

    Raises:
        AssertionError: It ends without one.
    """
    try:
        await work
    except Exception as error:
        return error
    raise AssertionError("no error was raised")


async def _await(expected: Any) -> Any:
    return await expected
