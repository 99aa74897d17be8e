"""Tool selection: which tools to call for a message, and the prompts for their arguments.

Small models cannot choose a tool, and many chat templates have no tools. So the endpoint chooses
by the similarity of the message to each tool's description, and the engine only writes the
arguments, as JSON of the tool's schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from azinfer.local.api.chat.request import ChatRequest
from azinfer.local.engines.base import Prompt, last_text
from azinfer.local.wire.body import Json

Similarity = Callable[[str, Sequence[str]], Awaitable[list[float]]]

# With all-MiniLM-L6-v2, tests/benchmarks/calling.py: 17 of 18 messages get the right tool, or no
# tool where that is right.
_SIMILAR_ENOUGH = 0.17
# A long message may request nothing, so one sentence of it must be more similar.
_CLEARLY_SIMILAR, _MOST_CALLS = 0.35, 8
_LONGEST_SPAN, _MOST_SPANS = 6, 300
_LONGEST_TEXT, _DECIMAL = 50_000, r"-?\d{1,18}(?:\.\d{1,18})?"
_COMMON = frozenset(
    """a an and are as at be by do does for from get give has have how i in is it me my of on or
    please so tell that the this to use using was what when where which who will with you your
    returns return value values function tool call answer""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call to make.

    Attributes:
        function: The tool's function, as the request has it.
        text: The text that requests it and has its arguments.
    """

    function: Json
    text: str


async def select_calls(request: ChatRequest, similarity: Similarity | None) -> list[Call]:
    """Return the calls to make; empty for an answer in words."""
    functions: list[Json] = [tool["function"] for tool in request.tools]
    if request.tool_choice == "none" or not functions:
        return []
    roles = [message["role"] for message in request.messages]
    text = last_text(_user_messages(request.messages))[:_LONGEST_TEXT]
    if request.tool_choice == "named":
        return [Call(each, text) for each in functions if each["name"] == request.named_tool][:1]
    # After the results of tools the answer is in words, unless a call is required.
    if request.tool_choice == "auto" and "tool" in roles[_last(roles, "user") + 1 :]:
        return []
    named = [each for each in functions if _contains(text, each["name"])]
    if named and request.parallel:
        return [Call(each, text) for each in named]
    calls = await _by_sentence(functions, text, similarity) if request.parallel else []
    if len(calls) > 1:
        return calls
    function, score = await _nearest(functions, text, similarity)
    wanted = score >= _SIMILAR_ENOUGH or request.tool_choice == "required"
    return [Call(function, text)] if wanted else []


async def _by_sentence(
    functions: Sequence[Json], text: str, similarity: Similarity | None
) -> list[Call]:
    """Return a call for each sentence that clearly requests one."""
    sentences = [each for each in re.split(r"(?<=[.?!;])\s+|\n+", text) if each]
    calls = []
    for sentence in sentences[:_MOST_CALLS] if len(sentences) > 1 else ():
        function, score = await _nearest(functions, sentence, similarity)
        if score >= _CLEARLY_SIMILAR:
            calls.append(Call(function, sentence))
    return calls


async def _nearest(
    functions: Sequence[Json], text: str, similarity: Similarity | None
) -> tuple[Json, float]:
    """Return the tool that is most similar to a text, and how much; the first if none is."""
    if similarity is None:
        scores = _shared_words(text, [_describe(each) for each in functions])
    else:
        # Names are not sentences, and mean little to a model of sentences.
        descriptions = [each.get("description") or _describe(each) for each in functions]
        scores = await similarity(text, descriptions)
    best = max(scores)
    return functions[scores.index(best) if best >= _SIMILAR_ENOUGH else 0], best


def arguments_prompt(prompt: Prompt, call: Call, copies: bool = False) -> Prompt:
    """Return the prompt for the arguments of one call.

    Args:
        prompt: The conversation.
        call: The call.
        copies: Whether texts and numbers may only be what the user said, for models that are
            too small to write better ones.
    """
    schema: Json = call.function.get("parameters") or {"type": "object", "properties": {}}
    if copies:
        schema = restrict_to_text(schema, call.text[:_LONGEST_TEXT])
    instruction = (
        f"Fill in the arguments of {_describe(call.function)}, from the user's message, as JSON."
    )
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": call.text}]
    return replace(prompt, messages=messages, json_schema=schema, temperature=0.0, stop=())


def restrict_to_text(schema: Json, text: str) -> Json:
    """Return a tool's schema, restricted to the texts, numbers and choices of a message.

    Properties without a match in the message, and those of other types, stay unchanged.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    narrowed = {name: _restrict_property(each, text) for name, each in properties.items()}
    return {**schema, "properties": narrowed}


def _restrict_property(schema: Any, text: str) -> Any:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind not in ("string", "integer", "number"):
        return schema
    if "enum" in schema:
        values = [each for each in schema["enum"] if _contains(text, str(each))]
    elif kind == "string":
        values = _spans(text)
    else:
        read: Callable[[str], float] = int if kind == "integer" else float
        numbers = re.findall(r"-?\d{1,18}" if kind == "integer" else _DECIMAL, text)
        values = [read(each) for each in dict.fromkeys(numbers)][:_MOST_SPANS]
    from azinfer.local.engines.schema import validation

    valid = [each for each in values if validation.verify(each, schema) is None]
    return {"enum": valid} if valid else schema


def _contains(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) is not None


def _spans(text: str) -> list[str]:
    """Return the short sequences of words in a text, without punctuation around them."""
    words = [(each.start(), each.end()) for each in re.finditer(r"\S+", text)]
    spans: dict[str, None] = {}
    for length in range(1, _LONGEST_SPAN + 1):
        for first, last in zip(words, words[length - 1 :], strict=False):
            span = text[first[0] : last[1]].strip(".,;:!?()[]{}\"'\u201c\u201d")
            if span and len(spans) < _MOST_SPANS:
                spans[span] = None
    return list(spans)


def _last(roles: Sequence[str], role: str) -> int:
    """Return the index of the last message with a role; -1 if it has no message."""
    return max((at for at, each in enumerate(roles) if each == role), default=-1)


def _user_messages(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [message for message in messages if message["role"] == "user"] or list(messages[-1:])


def _describe(function: Mapping[str, Any]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", function["name"])
    return f"{words}: {function.get('description') or ''}".strip(": ")


def _shared_words(text: str, descriptions: Sequence[str]) -> list[float]:
    """Return similarities by shared words, for endpoints without an embedding model."""
    text_words = _words(text)
    return [
        len(text_words & words) / math.sqrt(len(text_words) * len(words))
        if text_words and words
        else 0.0
        for words in map(_words, descriptions)
    ]


def _words(text: str) -> set[str]:
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return {word.rstrip("s") for word in words if word not in _COMMON}
