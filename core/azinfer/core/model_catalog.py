"""Facts about models, as data: one row per model, each fact with its source and its date.

The rows are in `model_catalog.json`, which is read when the first model is looked up and not
before. A fact for which no trustworthy source was found is empty, and the code behaves as for an
unknown model there. What the service or the caller says always wins over a row.

To add a model, add a line to `"models"`: its family (a key of `"families"`), its facts, and as
`"source"` a key of `"sources"`; facts that come from elsewhere are named under its own
`"sources"`. Date suffixes, publishers and capacity types need no rows of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

# The operations that a model answers.
Wire = Literal["chat", "responses", "messages", "embeddings", "cohere-embed", "rerank"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # one object for each row
class Source:
    """Where a fact was read.

    Attributes:
        name: What the page is called.
        url: Its address.
        date: The page's own date, or the day on which it was read.
    """

    name: str
    url: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # one object for each row
class ModelFacts:
    """What is known about a model; None (or empty) where no trustworthy source was found.

    Attributes:
        name: The model's id, as its maker spells it.
        maker: Who makes it, for example `"OpenAI"`.
        family: Which parameters it takes, a key of `parameters_of_families()`.
        context_window: Tokens in and out of one answer.
        max_input: Tokens in, where that is less than the window.
        max_output: Tokens out.
        tools: Whether it calls tools.
        tools_on_chat: Where chat completions take tools under a condition only: `"never"`, or
            `"without reasoning"` (with a `reasoning_effort` of `"none"`).
        json_schema: Whether the service makes an answer follow a JSON Schema.
        reasoning: Whether it thinks before it answers.
        reasoning_back: Whether it wants its earlier reasoning back in a tool loop.
        inputs: What it reads: `"text"`, `"image"`, `"audio"`.
        outputs: What it writes: `"text"`, `"audio"`, `"embedding"`.
        wires: The operations that it is known to answer.
        dimensions: The length of its vectors where none is asked for.
        dimension_choices: The lengths it can be asked for; empty where it takes no
            `dimensions`, None where unknown.
        batch_size: Most texts in one embeddings request.
        batch_tokens: Most tokens in one embeddings request.
        retires: The day it retires, for example `"2027-04-14"`.
        sources: Where each fact was read, by the fact's name.
    """

    name: str
    maker: str
    family: str
    context_window: int | None = None
    max_input: int | None = None
    max_output: int | None = None
    tools: bool | None = None
    tools_on_chat: Literal["never", "without reasoning"] | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    reasoning_back: bool | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    wires: tuple[Wire, ...] = ()
    dimensions: int | None = None
    dimension_choices: range | tuple[int, ...] | None = None
    batch_size: int | None = None
    batch_tokens: int | None = None
    retires: str | None = None
    sources: Mapping[str, Source]


UNKNOWN_MODEL = ModelFacts(name="", maker="", family="", sources={})
_NO_FACTS = frozenset({"family", "aliases", "source", "sources", "dimension_range"})

# Patterns as text, compiled when they are first used, so that importing azinfer stays fast.
_VERSION = (
    r"[-_@:](?:20\d\d-\d\d-\d\d|20\d\d[01]\d[0-3]\d|\d{4}|v\d{1,2}|latest|preview)"
    r"(?![^-_@:/ ])"
)
_FINE_TUNED = r"\.ft-.*"  # as Azure names them: gpt-4o-2024-08-06.ft-0123abcd
_TOKEN = r"[^-_@:/ ]+"


def find(name: str | None, *, is_model_id: bool = False) -> ModelFacts | None:
    """Return the row of a model, or None if it has no row.

    A name is found in any case, with its publisher (`"openai/gpt-5"`), with a version
    (`"gpt-4o-2024-08-06"`), and with the words that names of deployments often add
    (`"GPT-4.1-PTU"`, `"eu-gpt-4.1"`). Words around a model's name that say nothing to us
    (`"contoso-gpt-4.1"`) are left out only where the name is a model's id for certain.

    Args:
        name: What the model or the deployment is called.
        is_model_id: Whether the caller (`model_id=`) or the service said that this is a model,
            and not only what a deployment is called.
    """
    return _find(name, is_model_id) if name else None


def family_of(name: str | None, *, is_model_id: bool = False) -> str | None:
    """Return the family of a model, also of one without a row, or None where it is unknown.

    Args:
        name: What the model or the deployment is called, for example `"gpt-4.1"`.
        is_model_id: As for `find`.
    """
    return _family_of(name, is_model_id) if name else None


def unasked_usage_of(
    name: str | None, *, is_model_id: bool = False
) -> Literal["each", "last"] | None:
    """Return on which chunks of a stream a model reports its usage without being asked.

    Source: "Tutorial: Get started with DeepSeek-R1 reasoning model" and the recordings in the
    tests of azure-ai-inference, for the models and serverless surfaces.

    Args:
        name: What the model or the deployment is called.
        is_model_id: As for `find`.

    Returns:
        `"each"` chunk, the `"last"` of a choice, or None where it must be asked for.
    """
    row = find(name, is_model_id=is_model_id)
    family = family_of(name, is_model_id=is_model_id)
    by_name = _catalog()["unasked_usage"]
    unasked: Literal["each", "last"] | None = by_name.get(row.name if row else "")
    return unasked or by_name.get(family)


def rows() -> Iterator[ModelFacts]:
    """Return all rows, one after the other."""
    return map(_row, _catalog()["models"])


def parameters_of_families() -> Mapping[str, Mapping[str, Any]]:
    """Return what each family of models takes, in the words of `Profile`."""
    families: Mapping[str, Mapping[str, Any]] = _catalog()["families"]
    return families


@cache
def _catalog() -> dict[str, Any]:
    """Read the data; once, and not at import."""
    import msgspec

    data: dict[str, Any] = msgspec.json.decode(
        Path(__file__).with_name("model_catalog.json").read_bytes()
    )
    return data


@cache
def _names() -> dict[str, str]:
    """Return the key of each row by every name and alias of it, in lower case."""
    models = _catalog()["models"].items()
    return {
        each.casefold(): name for name, row in models for each in (name, *row.get("aliases", ()))
    }


@cache
def _decorations() -> frozenset[str]:
    """Return the words that names of deployments add, and that are in no model's name."""
    return frozenset(_catalog()["decorations"])


@cache
def _row(name: str) -> ModelFacts:
    catalog = _catalog()
    raw = catalog["models"][name]
    facts = {key: value for key, value in raw.items() if key not in _NO_FACTS}
    if "dimension_range" in raw:
        facts["dimension_choices"] = range(raw["dimension_range"][0], raw["dimension_range"][1] + 1)
    elsewhere = {
        "dimension_choices" if at == "dimension_range" else at: key
        for at, key in raw.get("sources", {}).items()
    }
    sources = {at: Source(**catalog["sources"][elsewhere.get(at, raw["source"])]) for at in facts}
    facts = {at: tuple(value) if isinstance(value, list) else value for at, value in facts.items()}
    maker = catalog["families"][raw["family"]]["family"]
    return ModelFacts(name=name, maker=maker, family=raw["family"], sources=sources, **facts)


@lru_cache(maxsize=1024)
def _find(name: str, is_model_id: bool) -> ModelFacts | None:
    known = _names()
    bare = re.sub(_FINE_TUNED, "", _without_publisher(name.casefold(), is_model_id))
    if bare in known:
        return _row(known[bare])
    # The longest of the models that the name contains is meant: gpt-4.1-mini, and not gpt-4.1.
    tokens = [(each.start(), each.end()) for each in re.finditer(_TOKEN, bare)]
    spans = [(start, end) for start, _ in tokens for _, end in tokens if end > start]
    for start, end in sorted(spans, key=lambda span: span[0] - span[1]):
        if bare[start:end] in known:
            version = re.compile(_VERSION).match(bare, end)
            after = bare[version.end() if version else end :]
            # Before a certain id any word may stand; a word after it may make it another model's.
            words = re.findall(_TOKEN, after if is_model_id else f"{bare[:start]} {after}")
            return _row(known[bare[start:end]]) if _decorations().issuperset(words) else None
    return None


def _without_publisher(name: str, is_model_id: bool) -> str:
    publisher, slash, bare = name.rpartition("/")
    known = all(each in _catalog()["publishers"] for each in publisher.split("/"))
    return bare if slash and (known or is_model_id) else name


@lru_cache(maxsize=1024)
def _family_of(name: str, is_model_id: bool) -> str | None:
    row = _find(name, is_model_id)
    if row is not None:
        return row.family
    bare = _without_publisher(name.casefold(), is_model_id)
    starts = [each.start() for each in re.finditer(_TOKEN, bare)] if is_model_id else [0]
    rules = _catalog()["names"]
    return next(
        (rule[1] for start in starts for rule in rules if re.match(rule[0], bare[start:])), None
    )
