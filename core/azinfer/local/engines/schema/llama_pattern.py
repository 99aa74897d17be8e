"""Regular expressions in the form that llama.cpp turns into a grammar without losing any of it.

Its converter copies most of a pattern into the grammar unchanged. An escape that the grammar does
not know makes it silently drop the whole pattern, and a quote or a backslash would end
the JSON string that the pattern is part of. So patterns are written again: over the characters of
JSON text, with only the escapes that are known on both sides.
Source: `common/json-schema-to-grammar.cpp` and `src/llama-grammar.cpp` of llama.cpp.
"""

from __future__ import annotations

import json

from azinfer.local.engines.schema.regex import (
    Alternatives,
    Characters,
    Part,
    Repetition,
    Sequence,
)

_ESCAPED, _ESCAPED_IN_CLASS = frozenset('^$.[]|(){}*+?\\-"'), frozenset('[]\\-"')
# Characters that a JSON string cannot contain: controls, the quote, the backslash.
_FORBIDDEN = (("\x00", "\x1f"), ('"', '"'), ("\\", "\\"))
# The most further repetitions of patterns without an end: a small model would never stop.
_MOST_REPEATED = 60


def to_llama(part: Part, most: int = _MOST_REPEATED) -> str:
    """Return a pattern for llama.cpp, whose texts all match a regular expression.

    Args:
        part: The regular expression.
        most: How often a repetition without a bound repeats beyond its fewest.

    Raises:
        ValueError: No JSON string can match a part of it.
    """
    match part:
        case Characters():
            return _characters(part)
        case Repetition(inner, low, high):
            last = low + most if high is None else high
            return f"({to_llama(inner, most)}){{{low},{last}}}"
        case Sequence(parts):
            return "".join(to_llama(each, most) for each in parts)
        case Alternatives(parts):
            return f"({'|'.join(to_llama(each, most) for each in parts)})"


def bounds(part: Part, most: int = _MOST_REPEATED) -> tuple[int, int]:
    """Return the fewest and the most characters of a text that `to_llama` lets through."""
    match part:
        case Characters():
            return 1, 1
        case Repetition(inner, low, high):
            fewest, longest = bounds(inner, most)
            return low * fewest, (low + most if high is None else high) * longest
        case Sequence(parts):
            each = [bounds(inner, most) for inner in parts]
            return sum(low for low, _ in each), sum(high for _, high in each)
        case Alternatives(parts):
            each = [bounds(inner, most) for inner in parts]
            return min(low for low, _ in each), max(high for _, high in each)


def fit(part: Part, shortest: int, longest: int | None) -> str | None:
    """Return a pattern for llama.cpp whose texts also have a length between two bounds.

    Returns:
        The pattern, or None if the lengths cannot be guaranteed.
    """
    if isinstance(part, Repetition) and isinstance(part.part, Characters):
        high = part.low + _MOST_REPEATED if part.high is None else part.high
        if part.high is None:
            high = max(high, shortest)
        high = high if longest is None else min(high, longest)
        low = max(part.low, shortest)
        return to_llama(Repetition(part.part, low, high)) if low <= high else None
    for most in (_MOST_REPEATED, 30, 15, 8, 4, 2, 1, 0):
        low, high = bounds(part, most)
        if low >= shortest and (longest is None or high <= longest):
            return to_llama(part, most)
    return None


def _characters(part: Characters) -> str:
    if part.negated:
        ranges = "".join(_range(low, high) for low, high in _without_forbidden(part.ranges))
        return f'[^\\"\\\\\\x00-\\x1F\\x7F{ranges}]'
    if len(part.ranges) == 1 and part.ranges[0][0] == part.ranges[0][1]:
        return _literal(part.ranges[0][0])
    allowed = _without_forbidden(part.ranges)
    if not allowed:
        singles = [low for low, high in part.ranges if low == high]
        if not singles:
            raise ValueError("no JSON text has the characters of one of its classes")
        return f"({'|'.join(map(_literal, singles))})"
    # A class that begins with ^ would be a negated one.
    allowed.sort(key=lambda pair: pair[0] == "^")
    if allowed[0][0] == "^":
        return _literal("^")
    return f"[{''.join(_range(low, high) for low, high in allowed)}]"


def _without_forbidden(ranges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return ranges without the characters that JSON text has only in escapes."""
    left = [(ord(low), ord(high)) for low, high in ranges]
    for first, last in ((ord(low), ord(high)) for low, high in _FORBIDDEN):
        left = [
            piece
            for low, high in left
            for piece in ((low, min(high, first - 1)), (max(low, last + 1), high))
            if piece[0] <= piece[1]
        ]
        left = list(dict.fromkeys(left))
    return [(chr(low), chr(high)) for low, high in left]


def _literal(character: str) -> str:
    """Return the pattern of a character in JSON text."""
    text = json.dumps(character, ensure_ascii=False)[1:-1]
    return "".join(f"\\{each}" if each in _ESCAPED else each for each in text)


def _range(low: str, high: str) -> str:
    return _in_class(low) if low == high else f"{_in_class(low)}-{_in_class(high)}"


def _in_class(character: str) -> str:
    return f"\\{character}" if character in _ESCAPED_IN_CLASS else character
