"""Content filters: lists of words that stand for what a real filter would find.

They decide nothing about meaning. They are there so that programs meet refused prompts, cut
answers and annotations in the service's own words before they meet them on Azure.

Source: "Content filtering" of Azure OpenAI (categories, severities, annotations, the error of a
blocked prompt, `finish_reason` of a blocked answer).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from azinfer.core.errors import ConfigurationError

Json = dict[str, Any]
_SEVERITIES = ("safe", "low", "medium", "high")
CATEGORIES = ("hate", "self_harm", "sexual", "violence")


@dataclass(frozen=True, slots=True)
class ContentFilter:
    """What a deployment's content filter finds, and what it does then.

    Attributes:
        name: The name of the policy, as deployments list it.
        words: For each category (`"hate"`, `"self_harm"`, `"sexual"`, `"violence"`) the words
            that it finds and their severity: `"low"`, `"medium"` or `"high"`.
        blocklists: Lists of words that are always blocked, by the id of the list.
        threshold: The severity from which on a prompt or an answer is blocked; below it,
            words are only annotated.
        spelling: How the error of a blocked prompt is written: as Azure OpenAI does
            (`"innererror"`), as its OpenAPI document does (`"inner_error"`) or as models of
            others do (`"flat"`).

    Raises:
        ConfigurationError: A category or severity is none.
    """

    name: str = "Microsoft.DefaultV2"
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    blocklists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    threshold: str = "medium"
    spelling: Literal["innererror", "inner_error", "flat"] = "innererror"

    def __post_init__(self) -> None:
        severities = [self.threshold]
        for category, words in self.words.items():
            if category not in CATEGORIES:
                raise ConfigurationError(f"{category!r} is no category; there are {CATEGORIES}")
            severities += words.values()
        for severity in severities:
            if severity not in _SEVERITIES[1:]:
                raise ConfigurationError(f"{severity!r} is no severity; there are {_SEVERITIES}")

    @property
    def active(self) -> bool:
        """Whether it looks for anything."""
        return bool(self.words or self.blocklists)

    def results(self, text: str) -> Json:
        """What it finds in a text, as annotations tell it."""
        said = {word.casefold() for word in re.findall(r"\w+", text)}
        found: Json = {}
        for category in CATEGORIES:
            words = self.words.get(category, {})
            hits = [severity for word, severity in words.items() if word.casefold() in said]
            worst = max(hits, key=_SEVERITIES.index, default="safe")
            filtered = _SEVERITIES.index(worst) >= _SEVERITIES.index(self.threshold)
            found[category] = {"filtered": filtered, "severity": worst}
        if self.blocklists:
            details = [
                {"id": name, "filtered": any(word.casefold() in said for word in words)}
                for name, words in self.blocklists.items()
            ]
            blocked = any(each["filtered"] for each in details)
            found["custom_blocklists"] = {"filtered": blocked, "details": details}
        return found


def is_blocked(results: Json) -> bool:
    """Whether anything that was found is to be blocked."""
    return any(found["filtered"] for found in results.values())
