"""Content filters: lists of words that stand for what a real filter would find.

They are word lists and nothing more: they decide nothing about meaning, miss what is said in
other words and find what is said innocently. They are there so that programs meet refused
prompts, cut answers and annotations in the service's own words before they meet them on Azure.

Source: "Content filtering" and "Content streaming" of Azure OpenAI (categories, severities,
annotations, the error of a blocked prompt, `finish_reason` of a blocked answer, the chunks of
the asynchronous filter).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from azinfer.local.wire.options import Options

Json = dict[str, Any]
Action = Literal["block", "annotate", "off"]
_SEVERITIES = ("safe", "low", "medium", "high")
_GRADED = ("hate", "self_harm", "sexual", "violence")
# What is found or not, without a severity, and where it is looked for.
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
    """What a deployment's content filter finds, and what it does then.

    Attributes:
        name: The name of the policy, as deployments list it.
        words: For each category the words, or phrases, that it finds and their severity:
            `"low"`, `"medium"` or `"high"`. Categories with severities are `"hate"`,
            `"self_harm"`, `"sexual"` and `"violence"`; those that are only detected are
            `"jailbreak"` and `"indirect_attack"` (of prompts), `"protected_material_text"` and
            `"protected_material_code"` (of answers) and `"profanity"`.
        blocklists: Lists of words or phrases that are always blocked, by the id of the list.
        threshold: The severity from which on a prompt or an answer is blocked; below it,
            words are only annotated.
        thresholds: Thresholds of single categories.
        prompt: What happens to prompts: `"block"` what is found, only `"annotate"` it, or
            `"off"`.
        completion: What happens to answers, likewise.
        mode: `"blocking"` holds a stream back until it is known to be harmless;
            `"asynchronous"` lets it go on at once and tells in chunks of their own, later,
            what was found.
        spelling: How the error of a blocked prompt is written: as Azure OpenAI does
            (`"innererror"`), as its OpenAPI document does (`"inner_error"`) or as models of
            others do (`"flat"`).

    Raises:
        ConfigurationError: A category, a severity or a choice is none.
    """

    name: str = "Microsoft.DefaultV2"
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    blocklists: Mapping[str, Sequence[str]] = field(default_factory=dict)
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
            blocked += [word for word, severity in graded.items() if self._cuts(category, severity)]
        object.__setattr__(self, "_blocked", tuple(blocked))

    @classmethod
    def from_wire(cls, told: Any, where: str = "content_filter") -> ContentFilter:
        """Make one of a name, or of a table of the attributes.

        Raises:
            ConfigurationError: It has another field, or a wrong one.
        """
        given = {"name": told} if isinstance(told, str) else told
        settings = Options.of(given, where, [each.name for each in fields(cls) if each.init])
        _check(settings)
        return cls(**{name: value for name, value in settings.values.items() if value is not None})

    @property
    def active(self) -> bool:
        """Whether it looks for anything."""
        return bool(self.words or self.blocklists)

    def results(self, text: str, source: Literal["prompt", "completion"]) -> Json:
        """What it finds in a text, as annotations tell it; empty where it does not look."""
        action = self.prompt if source == "prompt" else self.completion
        if not self.active or action == "off":
            return {}
        blocks = action == "block"
        found: Json = {}
        for category in CATEGORIES:
            words = self.words.get(category, {})
            if category in _DETECTED and (not words or source not in _DETECTED[category]):
                continue
            hits = [severity for word, severity in words.items() if _pattern([word]).search(text)]
            worst = max(hits, key=_SEVERITIES.index, default="safe")
            filtered = blocks and self._cuts(category, worst)
            told = {"severity": worst} if category in _GRADED else {"detected": bool(hits)}
            found[category] = {"filtered": filtered, **told}
        if self.blocklists:
            found["custom_blocklists"] = self._listed(text, blocks)
        return found

    def passing(self, late: bool = False) -> StreamingFilter:
        """A look at one answer while it is written.

        Args:
            late: Whether nothing of it is held back.
        """
        cuts = self.completion == "block" and not late
        return StreamingFilter(self, self._blocked if cuts else ())

    def _cuts(self, category: str, severity: str) -> bool:
        threshold = self.thresholds.get(category, self.threshold)
        return _SEVERITIES.index(severity) >= _SEVERITIES.index(threshold)

    def _listed(self, text: str, blocks: bool) -> Json:
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
        self._said = ""
        self._out = 0
        # A term is known when the sign after it is; until then none of it may go out.
        self._held = max(map(len, terms)) + 1 if terms else 0
        self._checked = 0

    def take(self, text: str) -> str:
        """What may go out once this was written."""
        if self.blocked:
            return ""
        self._said += text
        if self._held:
            start = max(0, len(self._said) - len(text) - self._held)
            if found := _pattern(self._terms, last=False).search(self._said, start):
                return self._cut(found)
        return self._until(len(self._said) - self._held)

    def end(self) -> str:
        """What may still go out at the end."""
        start = max(0, len(self._said) - self._held - 1)
        if self._held and not self.blocked:
            found = _pattern(self._terms).search(self._said, start)
            return self._cut(found) if found else self._until(len(self._said))
        return ""

    def results(self) -> Json:
        """What was found so far, or in all of it at the end."""
        said = "".join([*self._before, self._said])
        return self._filter.results(said, "completion")

    def late(self, every: int) -> Json:
        """What an asynchronous filter tells once `every` characters went out since it last did.

        Returns:
            What it found, and the offsets between which it looked; empty where nothing is due.
        """
        length = self._base + len(self._said)
        if length - self._checked < every:
            return {}
        begin, self._checked = self._checked, length
        found = self.results()
        self.blocked = is_blocked(found)
        offsets = {"check_offset": begin, "start_offset": begin, "end_offset": length}
        return {"content_filter_results": found, "content_filter_offsets": offsets}

    def _cut(self, found: re.Match[str]) -> str:
        self.blocked = True
        self._said = self._said[: found.end()]
        return self._until(len(self._said[: found.start()].rstrip()))

    def _until(self, end: int) -> str:
        begin, self._out = self._out, max(self._out, end)
        passed = self._said[begin : self._out]
        if self._out > _LONG:
            # What went out long ago is only counted; a long text is not copied again and again.
            gone = self._out - 1
            self._before.append(self._said[:gone])
            self._said = self._said[gone:]
            self._out, self._base = 1, self._base + gone
        return passed


def is_blocked(results: Json) -> bool:
    """Whether anything that was found is to be blocked."""
    return any(found["filtered"] for found in results.values())


def _pattern(words: Sequence[str], last: bool = True) -> re.Pattern[str]:
    """What finds any of some words as words of their own.

    Args:
        words: Words and phrases.
        last: Whether the text ends where it ends; else a word at its end may go on.
    """
    end = r"(?!\w)" if last else r"(?=\W)"
    told = []
    for word in words:
        before = "" if re.match(f"[{_UNSPACED}]", word) else r"(?<!\w)"
        after = "" if re.search(f"[{_UNSPACED}]$", word) else end
        told.append(before + re.escape(word) + after)
    # re keeps the newest 512 patterns compiled.
    return re.compile("|".join(told) or "(?!)", re.IGNORECASE)


def _check(settings: Options) -> None:
    for name, choices in _CHOICES.items():
        if (chosen := settings.text(name)) is not None and chosen not in choices:
            raise settings.wrong(name, f"is {chosen!r}; there are {choices}")
    graded = {"threshold": settings.text("threshold") or "medium"}
    graded |= _check_categories(settings, "thresholds")
    for category, words in _check_categories(settings, "words").items():
        _check_terms(settings, f"words.{category}", words)
        graded |= words
    for name, severity in graded.items():
        if severity not in _SEVERITIES[1:]:
            raise settings.wrong(name, f"is {severity!r}; there are {_SEVERITIES[1:]}")
    for name, words in (settings.table("blocklists") or {}).items():
        _check_terms(settings, f"blocklists.{name}", words)


def _check_categories(settings: Options, name: str) -> Mapping[str, Any]:
    table = settings.table(name) or {}
    for category in table:
        if category not in CATEGORIES:
            raise settings.wrong(f"{name}.{category}", f"is no category; there are {CATEGORIES}")
    return table


def _check_terms(settings: Options, name: str, words: Any) -> None:
    listed = isinstance(words, Mapping | list | tuple)
    if listed and all(isinstance(word, str) and word for word in words):
        return
    raise settings.wrong(name, "must be words that are not empty")


_CHOICES = {
    "prompt": ("block", "annotate", "off"),
    "completion": ("block", "annotate", "off"),
    "mode": ("blocking", "asynchronous"),
    "spelling": ("innererror", "inner_error", "flat"),
}
