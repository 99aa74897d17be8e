"""Bodies of errors: the facts in them, in whatever dialect and however deep they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from azinfer.core.errors import Detail
from azinfer.core.json_text import json_text

Json = Mapping[str, Any]

_DEEPEST = 6  # objects and texts with JSON inside one another
_LONGEST_TEXT = 20_000  # characters of a text that are looked at
_MOST_STARTS = 8  # brackets of a text at which JSON may begin
_MOST_DETAILS = 100
_MESSAGES = ("message", "Message", "msg", "errorMessage", "error_description", "faultstring")
_TITLES = ("detail", "title", "reason", "description", "fault")
_CODES = ("code", "Code", "errorCode", "errorcode", "statusCode")
# What one error has inside; LiteLLM's proxy keeps the service's own fields apart.
_INSIDE = ("error", "fault", "detail", "provider_specific_fields", "innererror", "inner_error")
# Python writes errors inside a printed dictionary as calls, which are not literals.
_CALL_IN_REPR = r"""\b[A-Za-z_][\w.]*\(('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")?,?\)"""
_BRACKET = re.compile(r"[{[]")
_CODE_LIKE = r"[A-Za-z][\w.-]*"
_STRING = r'"((?:[^"\\]|\\.)*)'
# An answer has one of these fields; an error under the status 200 has none of them.
_ANSWERS = frozenset({"choices", "data", "output", "content", "value", "model_name"})


@dataclass(slots=True)
class ErrorFacts:
    """What the body of an error says.

    Attributes:
        message: The sentence in it, without the JSON around it; empty if the text has none.
        codes: Its codes, outermost first.
        types: Its types, outermost first.
        param: The field of the request that caused it.
        details: The fields that caused it, if several are listed.
        filter_results: What a content filter found, by category.
        status: The HTTP status that the body names, for errors under another status.
        request_id: The service's id of the request.
    """

    message: str = ""
    codes: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    param: str | None = None
    details: tuple[Detail, ...] = ()
    filter_results: Json = field(default_factory=dict)
    status: int | None = None
    request_id: str | None = None


def is_error(raw: Any) -> bool:
    """Return True if a body under the status 200 is an error instead of an answer."""
    root = _object(raw)
    if root.get("error"):
        return True
    if not isinstance(raw, dict) or _ANSWERS & raw.keys():
        return False
    if "error" in (raw.get("object"), raw.get("type")) or raw.get("detail") or raw.get("fault"):
        return True
    return bool(_sentence(raw)) and any(map(_is_code, (_status(raw), *map(raw.get, _CODES))))


def read_error(body: bytes) -> ErrorFacts:
    """Return the facts in the body of an error."""
    text = json_text(body)
    try:
        parsed = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        parsed = _plain(text)
    facts = ErrorFacts()
    layers = list(_layers(parsed))
    for layer in layers:
        _add(facts, layer)
    if not facts.message:
        sentences = (_sentence(layer) for layer in layers if not isinstance(layer, str))
        facts.message = next(filter(None, sentences), "")
    return facts


def _layers(value: Any, depth: int = 0) -> Iterator[Json | str]:
    """Return each object of an error and what is inside it, outermost first.

    A text is a layer of its own if no JSON is in it.
    """
    inside = _json_inside(value) if isinstance(value, str) else value
    if inside is None and isinstance(value, str):
        yield value
    elif _are_details(inside):
        yield {"detail": inside}
    elif depth < _DEEPEST and (layer := _object(inside)):
        yield layer
        for part in _parts(layer):
            yield from _layers(part, depth + 1)


def _parts(layer: Json) -> Iterator[Any]:
    """Return what is inside one object of an error, but no sentences."""
    for name in (*_MESSAGES, *_INSIDE, "errors"):
        part = layer.get(name)
        if isinstance(part, str):
            part = _json_inside(part)
        elif name == "detail" and _are_details(part):
            continue  # they belong to the object itself
        if part is not None:
            yield part


def _add(facts: ErrorFacts, layer: Json | str) -> None:
    """Add the facts of one layer; where two layers have the same fact, the outer one counts."""
    if isinstance(layer, str):
        facts.message = facts.message or layer
        return
    codes = [str(layer[name]) for name in _CODES if _is_code(layer.get(name))]
    kind, error = layer.get("type"), layer.get("error")
    sentence = "" if isinstance(error, Mapping) and error else _sentence(layer)
    if isinstance(error, str) and sentence and sentence != error:
        codes += [error] * bool(re.fullmatch(_CODE_LIKE, error))
    if kind == "error" and isinstance(error, Mapping):  # as Anthropic writes it
        codes += filter(None, [_string(error.get("type"))])
    facts.codes += codes
    facts.types += [kind] if isinstance(kind, str) and kind not in ("", "error") else []
    details = tuple(_details(layer))
    facts.message = facts.message or sentence or _join_details(details)
    facts.details = details or facts.details
    facts.param = facts.param or _param(layer)
    facts.filter_results = facts.filter_results or _filter_results(layer)
    facts.status = facts.status or _status(layer)
    facts.request_id = facts.request_id or _string(layer.get("request_id"))


def _sentence(layer: Json) -> str:
    """Return the text of an error that is a sentence and not JSON."""
    for name in (*_MESSAGES, *_TITLES, "error"):
        text = layer.get(name)
        if isinstance(text, str) and text.strip():
            if _json_inside(text) is None:
                return text[:_LONGEST_TEXT]
            if name in _MESSAGES:
                return ""  # the JSON in the text has the sentence
    return ""


def _json_inside(text: str) -> Any:
    """Return the JSON, or the printed Python value, in a text, or None."""
    text = text[:_LONGEST_TEXT]
    start, end = -1, len(text.rstrip())
    for _ in range(_MOST_STARTS):
        bracket = _BRACKET.search(text, start + 1)
        if bracket is None:
            return None
        start = bracket.start()
        size = _balanced_length(text, start)
        value = _parse_value(text[start : start + size])
        if _has_error(value, is_whole=start == 0 and size == end):
            return value
        start += size - 1 if value is not None else 0
    return None


def _balanced_length(text: str, start: int) -> int:
    """Return the length of the JSON or Python value that begins at a bracket."""
    depth, quote, at = 0, "", start
    for match in re.finditer(r"\\.|[\[\](){}'\"]", text[start:]):
        mark, at = match[0], match.end()
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote = mark
        elif mark in "[({":
            depth += 1
        elif mark in "])}":
            depth -= 1
        if depth == 0 and not quote:
            break
    return at


def _parse_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        pass
    for source in (text, re.sub(_CALL_IN_REPR, lambda call: call[1] or "None", text)):
        try:
            return ast.literal_eval(source)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _has_error(value: Any, *, is_whole: bool) -> bool:
    """Return True if a value inside a text is an error, and not a part of the sentence."""
    layer = _object(value)
    if is_whole:
        whole = ("error", "detail", "details", "errors", "fault", *_MESSAGES, *_CODES)
        return any(layer.get(name) for name in whole)
    error = layer.get("error")
    if _are_details(value) or (isinstance(error, Mapping) and error):
        return True
    names = (*_CODES, "status", "type", "error", "detail", "param")
    has_message = any(isinstance(layer.get(name), str) for name in _MESSAGES)
    return has_message and any(layer.get(name) for name in names)


def _are_details(value: Any) -> bool:
    """Return True if a value is a list of the fields that a service refused."""
    first = value[0] if isinstance(value, list | tuple) and value else None
    return isinstance(first, Mapping) and "loc" in first and "msg" in first


def _is_code(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _details(layer: Json) -> Iterator[Detail]:
    value = layer.get("detail") or layer.get("details")
    items = value if isinstance(value, list | tuple) else [value]
    for item in items[:_MOST_DETAILS]:
        if isinstance(item, Mapping):
            message = item.get("msg") or item.get("message") or layer.get("message") or ""
            yield Detail(_loc(item), str(message), item.get("input"))


def _loc(detail: Json) -> tuple[str, ...]:
    """Return the place that a detail names: a list of names, or one."""
    loc = detail.get("loc")
    if isinstance(loc, list | tuple):
        return tuple(map(str, loc))
    return (str(loc),) if _is_code(loc) else ()


def _join_details(details: tuple[Detail, ...]) -> str:
    texts = (f"{'.'.join(each.loc)}: {each.message}" for each in details if each.message)
    return "; ".join(text.removeprefix(": ") for text in texts)


def _param(layer: Json) -> str | None:
    if param := _string(layer.get("param")):
        return param
    for detail in _details(layer):
        if names := [part for part in detail.loc if part != "body"]:
            return ".".join(names)
    return None


def _status(layer: Json) -> int | None:
    for name in ("status", "statusCode", *_CODES):
        value: Any = layer.get(name)
        if _is_code(value) and re.fullmatch("[45][0-9][0-9]", str(value)):
            return int(value)
    return None


def _filter_results(layer: Json) -> Json:
    # Both spellings are in use: Azure OpenAI sends `innererror.content_filter_result`, and its
    # OpenAPI document declares `inner_error.content_filter_results`.
    # The Responses API has a list of them: for the prompt, for the answer.
    listed = layer.get("content_filters")
    for each in (layer, *(listed if isinstance(listed, list) else ())):
        for key in ("content_filter_result", "content_filter_results"):
            results = each.get(key) if isinstance(each, Mapping) else None
            if isinstance(results, Mapping) and results:
                return results
    return {}


def _object(value: Any) -> Json:
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, Mapping) else {}


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _plain(body: bytes) -> Any:
    """Return the text of a body that is not plain JSON: text, HTML, JSON cut or within text."""
    text = body[:_LONGEST_TEXT].decode(errors="replace")
    if text.lstrip().startswith("<"):
        return re.sub(r"<[^>]*>|\s+", " ", text)
    if _json_inside(text) is not None:
        return text
    if message := re.search(rf'"(?:{"|".join(_MESSAGES)})"\s*:\s*{_STRING}', text):
        code = re.search(rf'"code"\s*:\s*(?:{_STRING}|(\d+))', text)
        cut = {"message": _unescape(message[1])}
        return {**cut, "code": code[1] or code[2]} if code else cut
    return text[:2000]


def _unescape(text: str) -> str:
    """Return the text of a JSON string that may be cut."""
    try:
        return str(msgspec.json.decode(f'"{text}"'))
    except ValueError:
        return text
