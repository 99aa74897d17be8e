"""Tool calls: which tool answers a message, and what the engine is asked for to fill it in.

Small models cannot choose a tool and many templates know none. So the endpoint chooses, by
likeness of the message to each tool's description, and the engine only writes the arguments,
held to the tool's schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from azinfer.local.api.chat.request import ChatRequest
from azinfer.local.engines.base import Prompt, last_text
from azinfer.local.engines.schema import validation
from azinfer.local.wire.body import Json

Similarity = Callable[[str, Sequence[str]], Awaitable[list[float]]]

# With all-MiniLM-L6-v2, tests/benchmarks/calling.py: 17 of 18 messages get the right tool, or
# rightly none.
_LIKE_ENOUGH = 0.17
# A message may say much that asks for nothing, so a sentence of it must be nearer.
_CLEARLY_LIKE, _MOST_CALLS = 0.35, 8
_LONGEST_SPAN, _MOST_SPANS = 6, 300
_COMMON = frozenset(
    """a an and are as at be by do does for from get give has have how i in is it me my of on or
    please so tell that the this to use using was what when where which who will with you your
    returns return value values function tool call answer""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is to be made.

    Attributes:
        function: The tool's function, as the request has it.
        text: What asks for it, which has its arguments.
    """

    function: Json
    text: str


async def chosen(request: ChatRequest, likeness: Similarity | None) -> list[Call]:
    """The calls to make; none for an answer in words."""
    functions: list[Json] = [tool["function"] for tool in request.tools]
    if request.tool_choice == "none" or not functions:
        return []
    roles = [message["role"] for message in request.messages]
    text = last_text(_asked(request.messages))
    if request.tool_choice == "named":
        return [Call(each, text) for each in functions if each["name"] == request.named_tool][:1]
    # What tools answered since the user spoke is to be told now, unless a call is required.
    if request.tool_choice == "auto" and "tool" in roles[_last(roles, "user") + 1 :]:
        return []
    named = [each for each in functions if _says(text, each["name"])]
    if named and request.parallel:
        return [Call(each, text) for each in named]
    calls = await _by_sentence(functions, text, likeness) if request.parallel else []
    if len(calls) > 1:
        return calls
    found, score = await _nearest(functions, text, likeness)
    wanted = score >= _LIKE_ENOUGH or request.tool_choice == "required"
    return [Call(found, text)] if wanted else []


async def _by_sentence(
    functions: Sequence[Json], text: str, likeness: Similarity | None
) -> list[Call]:
    """A call for each sentence that clearly asks for one."""
    sentences = [each for each in re.split(r"(?<=[.?!;])\s+|\n+", text) if each]
    calls = []
    for sentence in sentences[:_MOST_CALLS] if len(sentences) > 1 else ():
        found, score = await _nearest(functions, sentence, likeness)
        if score >= _CLEARLY_LIKE:
            calls.append(Call(found, sentence))
    return calls


async def _nearest(
    functions: Sequence[Json], text: str, likeness: Similarity | None
) -> tuple[Json, float]:
    """The tool whose description is nearest to a text, and how near; the first where none is."""
    if likeness is None:
        scores = _shared_words(text, [_described(each) for each in functions])
    else:
        # Names are no sentences, and say little to a model of sentences.
        told = [each.get("description") or _described(each) for each in functions]
        scores = await likeness(text, told)
    best = max(scores)
    return functions[scores.index(best) if best >= _LIKE_ENOUGH else 0], best


def asking_for(prompt: Prompt, call: Call, copied: bool = False) -> Prompt:
    """What to ask the engine for the arguments of one call.

    Args:
        prompt: The conversation.
        call: The call.
        copied: Whether texts and numbers may only be what the user said, for models that are
            too small to say anything better.
    """
    schema: Json = call.function.get("parameters") or {"type": "object", "properties": {}}
    if copied:
        schema = said_alone(schema, call.text)
    said = (
        f"Fill in the arguments of {_described(call.function)}, from the user's message, as JSON."
    )
    messages = [{"role": "system", "content": said}, {"role": "user", "content": call.text}]
    return replace(prompt, messages=messages, json_schema=schema, temperature=0.0, stop=())


def said_alone(schema: Json, text: str) -> Json:
    """A schema of a tool whose texts, numbers and choices are those that a message has in it.

    What a message has none of, and what is more than a property of a simple type, stays as it
    is.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    narrowed = {name: _said_alone(each, text) for name, each in properties.items()}
    return {**schema, "properties": narrowed}


def _said_alone(schema: Any, text: str) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind not in ("string", "integer", "number"):
        return schema
    if "enum" in schema:
        found = [each for each in schema["enum"] if _says(text, str(each))]
    elif kind == "string":
        found = _spans(text)
    else:
        read: Callable[[str], float] = int if kind == "integer" else float
        numbers = re.findall(r"-?\d+" if kind == "integer" else r"-?\d+(?:\.\d+)?", text)
        found = [read(each) for each in dict.fromkeys(numbers)]
    kept = [each for each in found if validation.verify(each, schema) is None]
    return {"enum": kept} if kept else schema


def _says(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None


def _spans(text: str) -> list[str]:
    """Runs of words of a text, without the signs around them, up to so many."""
    words = [(each.start(), each.end()) for each in re.finditer(r"\S+", text)]
    spans: dict[str, None] = {}
    for length in range(1, _LONGEST_SPAN + 1):
        for first, last in zip(words, words[length - 1 :], strict=False):
            span = text[first[0] : last[1]].strip(".,;:!?()[]{}\"'\u201c\u201d")
            if span and len(spans) < _MOST_SPANS:
                spans[span] = None
    return list(spans)


def _last(roles: Sequence[str], role: str) -> int:
    """Where a role was last; -1 where it never was."""
    return max((at for at, each in enumerate(roles) if each == role), default=-1)


def _asked(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [message for message in messages if message["role"] == "user"] or list(messages[-1:])


def _described(function: Mapping[str, Any]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", function["name"])
    return f"{words}: {function.get('description') or ''}".strip(": ")


def _shared_words(text: str, descriptions: Sequence[str]) -> list[float]:
    """Likeness by the words that a message and a description share, for want of an embedding."""
    asked = _words(text)
    return [
        len(asked & told) / math.sqrt(len(asked) * len(told)) if asked and told else 0.0
        for told in map(_words, descriptions)
    ]


def _words(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return {word.rstrip("s") for word in words if word not in _COMMON}
