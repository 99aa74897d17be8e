"""Regular expressions of JSON Schema: parsed, simplified, and turned into examples.

It supports what engines can enforce: alternatives, groups, repetitions and character classes.
Lookarounds and backreferences are refused.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

_CLASSES = {
    "d": [("0", "9")],
    "w": [("a", "z"), ("A", "Z"), ("0", "9"), ("_", "_")],
    "s": [(" ", " ")],
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_LIKED = "axA1 -_.:/@+"
_MOST, _LONGEST, _MOST_MEMORY = 1000, 2000, 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Characters:
    """One character inside some ranges, or outside them."""

    ranges: list[tuple[str, str]]
    negated: bool = False

    def allows(self, character: str) -> bool:
        """Return whether it is one of them."""
        is_inside = any(low <= character <= high for low, high in self.ranges)
        return is_inside is not self.negated


@dataclass(frozen=True, slots=True)
class Repetition:
    """A part, from `low` to `high` times; None for any number."""

    part: Part
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class Sequence:
    """Parts one after another."""

    parts: list[Part]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several parts."""

    parts: list[Part]


Part = Characters | Repetition | Sequence | Alternatives


def parse(pattern: str) -> Part:
    """Read a regular expression.

    Raises:
        ValueError: The pattern is not a valid regular expression, or no engine can enforce it.
    """
    if len(pattern) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    try:
        re.compile(pattern)
        reader = _Reader(pattern.removeprefix("^"))
        part = reader.alternatives()
    except (re.error, OverflowError) as error:
        raise ValueError(f"is not a valid regular expression ({error})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if reader.rest:
        raise ValueError(f"has {reader.rest[:1]!r} in a place where no engine supports it")
    compile_linear(pattern)
    return part


class LinearPattern(Protocol):
    """A regular expression whose search takes time in proportion to the text."""

    def search(self, text: str) -> object | None:
        """Return a match anywhere in a text, or None."""
        ...


@functools.lru_cache(maxsize=256)
def compile_linear(pattern: str) -> LinearPattern:
    """Return a regular expression of a caller, which can be searched for without danger.

    Python's `re` may need exponential time for it; RE2 never does.

    Raises:
        ValueError: RE2 cannot read it, or it needs too much memory.
    """
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MOST_MEMORY
    try:
        # RE2 has another escape for a code of four digits.
        text = re.sub(r"\\(?:u([0-9a-fA-F]{4})|.)", _rewrite_escape, pattern, flags=re.DOTALL)
        return cast(LinearPattern, re2.compile(text, options))
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0] if error.args else ""
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        raise ValueError(f"cannot be searched for in bounded time ({reason})") from None


def _rewrite_escape(match: re.Match[str]) -> str:
    return match[0] if match[1] is None else f"\\x{{{match[1]}}}"


def found_in(pattern: str, text: str) -> bool:
    """Return whether a regular expression matches anywhere in a text, in linear time."""
    # RE2 reads UTF-8, which has no halves of surrogate pairs.
    readable = text.encode("utf-8", "replace").decode()
    return compile_linear(pattern).search(readable) is not None


def example_length(part: Part, more: int = 0) -> int:
    """Return how long the text is that `example` makes, without making it."""
    match part:
        case Characters():
            return 1
        case Repetition(inner, low, high):
            count = low + more if high is None else min(low + more, high)
            return example_length(inner, more) * count
        case Sequence(parts):
            return sum(example_length(each, more) for each in parts)
        case Alternatives(parts):
            return example_length(parts[0], more)


def example(part: Part, more: int = 0) -> str:
    """Return a text that matches a regular expression.

    Args:
        part: The expression.
        more: The repetitions to add to the fewest that are allowed.
    """
    match part:
        case Characters():
            known = (character for character in _LIKED if part.allows(character))
            return next(known, None) or part.ranges[0][0]
        case Repetition(inner, low, high):
            count = low + more if high is None else min(low + more, high)
            return example(inner, more) * count
        case Sequence(parts):
            return "".join(example(each, more) for each in parts)
        case Alternatives(parts):
            return example(parts[0], more)


class _Reader:
    """The part of a regular expression that remains to be read."""

    def __init__(self, rest: str) -> None:
        self.rest = rest

    def alternatives(self) -> Part:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Alternatives(parts)

    def _sequence(self) -> Part:
        parts: list[Part] = []
        while self.rest and self.rest[0] not in "|)":
            if self.rest == "$" or self.rest.startswith(("$|", "$)")):
                self._next()
                continue
            parts.append(self._quantify(self._one()))
        return parts[0] if len(parts) == 1 else Sequence(parts)

    def _one(self) -> Part:
        character = self._next()
        special: dict[str, Callable[[], Part]] = {
            "(": self._group,
            "[": self._class,
            "\\": self._escape,
            ".": lambda: Characters([("\x00", "\x1f")], negated=True),
        }
        if character in special:
            return special[character]()
        if character in "^$":
            raise ValueError(f"has {character!r} inside it, where no engine supports it")
        return Characters([(character, character)])

    def _quantify(self, part: Part) -> Part:
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self._take(sign):
                self._take("?")
                return Repetition(part, low, high)
        counted = re.match(r"\{(\d+)(,?)(\d*)\}\??", self.rest)
        if counted is None:
            return part
        self.rest = self.rest[counted.end() :]
        low, high = int(counted[1]), int(counted[3]) if counted[3] else None
        if max(low, high or 0) > _MOST:
            raise ValueError(f"repeats more than {_MOST} times")
        return Repetition(part, low, high if counted[2] else low)

    def _group(self) -> Part:
        named = re.match(r"\?(?::|P<\w+>|<\w+>)", self.rest)
        if self.rest.startswith("?") and named is None:
            raise ValueError(f"has '({self.rest[:3]}', which no engine supports")
        self.rest = self.rest[named.end() :] if named else self.rest
        part = self.alternatives()
        self._take(")")
        return part

    def _escape(self) -> Characters:
        name = self._next()
        if name.lower() in _CLASSES:
            return Characters(_CLASSES[name.lower()], negated=name.isupper())
        if name.isalnum() and name not in _CONTROLS and name not in "ux":
            raise ValueError(f"has '\\{name}', which no engine supports")
        character = self._read_code(4 if name == "u" else 2) if name in "ux" else name
        character = _CONTROLS.get(name, character)
        return Characters([(character, character)])

    def _read_code(self, digits: int) -> str:
        code, self.rest = self.rest[:digits], self.rest[digits:]
        return chr(int(code, 16))

    def _class(self) -> Part:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        while not (ranges and self._take("]")):
            low = self._member()
            if len(low) > 1 or not re.match(r"-[^\]]", self.rest):
                ranges += low
                continue
            self._next()
            ranges.append((low[0][0], self._member()[0][1]))
        return Characters(ranges, negated)

    def _member(self) -> list[tuple[str, str]]:
        character = self._next()
        if character != "\\":
            return [(character, character)]
        escaped = self._escape()
        if escaped.negated:
            raise ValueError("has a negated class inside a class, which no engine supports")
        return escaped.ranges

    def _next(self) -> str:
        character, self.rest = self.rest[:1], self.rest[1:]
        return character

    def _take(self, sign: str) -> bool:
        matches = self.rest.startswith(sign)
        self.rest = self.rest[len(sign) :] if matches else self.rest
        return matches
