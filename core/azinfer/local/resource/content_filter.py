"""Content filters: word lists in place of a real filter.

They do not understand meaning: they miss the same thing in other words, and find words in
harmless sentences. They exist so that programs can be tested with refused
prompts, cut answers and annotations in the service's own words, without Azure.

Source: "Content filtering" and "Content streaming" of Azure OpenAI (categories, severities,
annotations, the error of a blocked prompt, `finish_reason` of a blocked answer, the chunks of
the asynchronous filter).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Literal

from azinfer.local.wire.options import Options

Json = dict[str, Any]
Action = Literal["block", "annotate", "off"]
_SEVERITIES = ("safe", "low", "medium", "high")
_GRADED = ("hate", "self_harm", "sexual", "violence")
# Categories without a severity, and where they are looked for.
_DETECTED = {
    "jailbreak": ("prompt",),
    "indirect_attack": ("prompt",),
    "profanity": ("prompt", "completion"),
    "protected_material_text": ("completion",),
    "protected_material_code": ("completion",),
}
CATEGORIES = (*_GRADED, *_DETECTED)
_LONG = 4096
# Scripts that put no space between words.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"


@dataclass(frozen=True, slots=True)
class ContentFilter:
    """What a deployment's content filter finds, and what happens then.

    Attributes:
        name: The name of the policy, as deployments list it.
        words: For each category the words or phrases to find, and their severity:
            `"low"`, `"medium"` or `"high"`. Categories with severities are `"hate"`,
            `"self_harm"`, `"sexual"` and `"violence"`; those that are only detected are
            `"jailbreak"` and `"indirect_attack"` (of prompts), `"protected_material_text"` and
            `"protected_material_code"` (of answers) and `"profanity"`.
        blocklists: Words or phrases that are always blocked, by the id of their list.
        threshold: The lowest severity that is blocked; below it,
            words are only annotated.
        thresholds: Thresholds of single categories.
        prompt: What happens to prompts: `"block"` what is found, only `"annotate"` it, or
            `"off"`.
        completion: What happens to answers, likewise.
        mode: `"blocking"` sends a stream only as far as it is checked;
            `"asynchronous"` sends it at once, and reports the results later in chunks of their
            own.
        spelling: How the error of a blocked prompt is written: as Azure OpenAI does
            (`"innererror"`), as its OpenAPI document does (`"inner_error"`) or as models of
            others do (`"flat"`).

    Raises:
        ConfigurationError: There is an unknown category, severity or mode.

    Example:
        >>> policy = ContentFilter("Strict", {"violence": {"sword": "high"}})
        >>> policy.prompt
        'block'
    """

    name: str = "Microsoft.DefaultV2"
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    blocklists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _: KW_ONLY
    threshold: str = "medium"
    thresholds: Mapping[str, str] = field(default_factory=dict)
    prompt: Action = "block"
    completion: Action = "block"
    mode: Literal["blocking", "asynchronous"] = "blocking"
    spelling: Literal["innererror", "inner_error", "flat"] = "innererror"
    _blocked: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(Options({each.name: getattr(self, each.name) for each in fields(self)}))
        blocked = [word for words in self.blocklists.values() for word in words]
        for category, graded in self.words.items():
            blocked += [
                word for word, severity in graded.items() if self._is_blocked(category, severity)
            ]
        object.__setattr__(self, "_blocked", tuple(blocked))

    @classmethod
    def from_wire(cls, value: Any, where: str = "content_filter") -> ContentFilter:
        """Make a filter from a name, or from a table of the attributes.

        Raises:
            ConfigurationError: There is an unknown or invalid field.
        """
        table = {"name": value} if isinstance(value, str) else value
        settings = Options.of(table, where, [each.name for each in fields(cls) if each.init])
        _check(settings)
        return cls(**{name: value for name, value in settings.values.items() if value is not None})

    @property
    def active(self) -> bool:
        """Whether it looks for anything."""
        return bool(self.words or self.blocklists)

    def results(self, text: str, source: Literal["prompt", "completion"]) -> Json:
        """Return the annotations of a text; empty if the filter is off for this source."""
        action = self.prompt if source == "prompt" else self.completion
        if not self.active or action == "off":
            return {}
        blocks = action == "block"
        results: Json = {}
        for category in CATEGORIES:
            words = self.words.get(category, {})
            if category in _DETECTED and (not words or source not in _DETECTED[category]):
                continue
            hits = [severity for word, severity in words.items() if _pattern([word]).search(text)]
            worst = max(hits, key=_SEVERITIES.index, default="safe")
            filtered = blocks and self._is_blocked(category, worst)
            result = {"severity": worst} if category in _GRADED else {"detected": bool(hits)}
            results[category] = {"filtered": filtered, **result}
        if self.blocklists:
            results["custom_blocklists"] = self._blocklist_results(text, blocks)
        return results

    def stream_filter(self, late: bool = False) -> StreamingFilter:
        """Return the filter of one answer while it is written.

        Args:
            late: Whether to send the answer at once, before it is checked.
        """
        cuts = self.completion == "block" and not late
        return StreamingFilter(self, self._blocked if cuts else ())

    def _is_blocked(self, category: str, severity: str) -> bool:
        threshold = self.thresholds.get(category, self.threshold)
        return _SEVERITIES.index(severity) >= _SEVERITIES.index(threshold)

    def _blocklist_results(self, text: str, blocks: bool) -> Json:
        details = [
            {"id": name, "filtered": blocks and _pattern(words).search(text) is not None}
            for name, words in self.blocklists.items()
        ]
        return {"filtered": any(each["filtered"] for each in details), "details": details}


class StreamingFilter:
    """One answer on its way through a filter.

    Attributes:
        blocked: Whether the answer ends here.
    """

    def __init__(self, content_filter: ContentFilter, terms: Sequence[str]) -> None:
        self.blocked = False
        self._filter = content_filter
        self._terms = terms
        self._before: list[str] = []
        self._base = 0
        self._text = ""
        self._out = 0
        # A term is recognized by the character after it; until then no part of it may be sent.
        self._held_back = max(map(len, terms)) + 1 if terms else 0
        self._checked = 0

    def feed(self, text: str) -> str:
        """Add a part of the answer; return the text that may be sent now."""
        if self.blocked:
            return ""
        self._text += text
        if self._held_back:
            start = max(0, len(self._text) - len(text) - self._held_back)
            if match := _pattern(self._terms, last=False).search(self._text, start):
                return self._block(match)
        return self._release(len(self._text) - self._held_back)

    def flush(self) -> str:
        """Handle the end of the answer; return the text that may still be sent."""
        start = max(0, len(self._text) - self._held_back - 1)
        if self._held_back and not self.blocked:
            match = _pattern(self._terms).search(self._text, start)
            return self._block(match) if match else self._release(len(self._text))
        return ""

    def results(self) -> Json:
        """Return the annotations of the answer so far."""
        text = "".join([*self._before, self._text])
        return self._filter.results(text, "completion")

    def annotations(self, every: int) -> Json:
        """Return the annotations of an asynchronous filter after every `every` characters.

        Returns:
            The results and the offsets that they are for; empty if no annotation is due.
        """
        length = self._base + len(self._text)
        if length - self._checked < every:
            return {}
        begin, self._checked = self._checked, length
        results = self.results()
        self.blocked = is_blocked(results)
        offsets = {"check_offset": begin, "start_offset": begin, "end_offset": length}
        return {"content_filter_results": results, "content_filter_offsets": offsets}

    def _block(self, match: re.Match[str]) -> str:
        self.blocked = True
        self._text = self._text[: match.end()]
        return self._release(len(self._text[: match.start()].rstrip()))

    def _release(self, end: int) -> str:
        begin, self._out = self._out, max(self._out, end)
        passed = self._text[begin : self._out]
        if self._out > _LONG:
            # Text that was sent long ago is kept apart, so a long text is not copied each time.
            gone = self._out - 1
            self._before.append(self._text[:gone])
            self._text = self._text[gone:]
            self._out, self._base = 1, self._base + gone
        return passed


def is_blocked(results: Json) -> bool:
    """Return whether any result blocks the text."""
    return any(result["filtered"] for result in results.values())


def _pattern(words: Sequence[str], last: bool = True) -> re.Pattern[str]:
    """Return a pattern that finds whole words.

    Args:
        words: Words and phrases.
        last: Whether the text is complete; otherwise a word at its end may continue.
    """
    end = r"(?!\w)" if last else r"(?=\W)"
    alternatives = []
    for word in words:
        before = "" if re.match(f"[{_UNSPACED}]", word) else r"(?<!\w)"
        after = "" if re.search(f"[{_UNSPACED}]$", word) else end
        alternatives.append(before + re.escape(word) + after)
    # re keeps the newest 512 patterns compiled.
    return re.compile("|".join(alternatives) or "(?!)", re.IGNORECASE)


def _check(settings: Options) -> None:
    for name, choices in _CHOICES.items():
        if (chosen := settings.text(name)) is not None and chosen not in choices:
            raise settings.error(name, f"must be one of {choices}, not {chosen!r}")
    graded = {"threshold": settings.text("threshold") or "medium"}
    graded |= _check_categories(settings, "thresholds")
    for category, words in _check_categories(settings, "words").items():
        _check_terms(settings, f"words.{category}", words)
        graded |= words
    for name, severity in graded.items():
        if severity not in _SEVERITIES[1:]:
            raise settings.error(name, f"must be one of {_SEVERITIES[1:]}, not {severity!r}")
    for name, words in (settings.table("blocklists") or {}).items():
        _check_terms(settings, f"blocklists.{name}", words)


def _check_categories(settings: Options, name: str) -> Mapping[str, Any]:
    table = settings.table(name) or {}
    for category in table:
        if category not in CATEGORIES:
            reason = f"is not a category; choose from {CATEGORIES}"
            raise settings.error(f"{name}.{category}", reason)
    return table


def _check_terms(settings: Options, name: str, words: Any) -> None:
    listed = isinstance(words, Mapping | list | tuple)
    if listed and all(isinstance(word, str) and word for word in words):
        return
    raise settings.error(name, "must be a list of words that are not empty")


_CHOICES = {
    "prompt": ("block", "annotate", "off"),
    "completion": ("block", "annotate", "off"),
    "mode": ("blocking", "asynchronous"),
    "spelling": ("innererror", "inner_error", "flat"),
}
