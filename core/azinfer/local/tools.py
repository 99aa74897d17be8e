"""Tool calls: which tool answers a message, and what the engine is asked for to fill it in.

Small models cannot choose a tool and many templates know none. So the endpoint chooses, by
likeness of the message to each tool's description, and the engine only writes the arguments,
held to the tool's schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from azinfer.local.engines import Prompt, last_text
from azinfer.local.requests import ChatRequest, Json

Likeness = Callable[[str, Sequence[str]], Awaitable[list[float]]]

# Fitted on 18 messages with all-MiniLM-L6-v2: 14 of them got the right tool, or rightly none.
_LIKE_ENOUGH = 0.17
_COMMON = frozenset(
    """a an and are as at be by do does for from get give has have how i in is it me my of on or
    please so tell that the this to use using was what when where which who will with you your
    returns return value values function tool call answer""".split()  # noqa: SIM905
)


async def chosen(request: ChatRequest, likeness: Likeness | None) -> list[Json]:
    """The tools to call, as the functions of the request; none for an answer in words."""
    functions: list[Json] = [tool["function"] for tool in request.tools]
    if request.tool_choice == "none" or not functions:
        return []
    if request.tool_choice == "named":
        return [each for each in functions if each["name"] == request.named_tool][:1]
    # What the tools answered is to be told now, unless another call is required.
    if request.messages[-1]["role"] == "tool" and request.tool_choice == "auto":
        return []
    text = last_text(_asked(request.messages))
    scores = await (likeness or _shared_words)(text, [_described(each) for each in functions])
    best = max(scores)
    if best < _LIKE_ENOUGH:
        return functions[:1] if request.tool_choice == "required" else []
    found = functions[scores.index(best)]
    named = [each for each in functions if re.search(rf"\b{re.escape(each['name'])}\b", text)]
    return named if named and request.parallel else [found]


def asking_for(prompt: Prompt, function: Mapping[str, Any]) -> Prompt:
    """What to ask the engine for the arguments of one call."""
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    said = f"Fill in the arguments of {_described(function)}, from the user's message, as JSON."
    asked = [{"role": "system", "content": said}, *_asked(prompt.messages)[-1:]]
    return replace(prompt, messages=asked, json_schema=schema, temperature=0.0, stop=())


def _asked(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [message for message in messages if message["role"] == "user"] or list(messages[-1:])


def _described(function: Mapping[str, Any]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", function["name"])
    return f"{words}: {function.get('description') or ''}".strip(": ")


async def _shared_words(text: str, descriptions: Sequence[str]) -> list[float]:
    """Likeness by the words that a message and a description share, for want of an embedding."""
    asked = _words(text)
    return [
        len(asked & told) / math.sqrt(len(asked) * len(told)) if asked and told else 0.0
        for told in map(_words, descriptions)
    ]


def _words(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return {word.rstrip("s") for word in words if word not in _COMMON}
