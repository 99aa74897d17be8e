"""The catalog of models: what its rows say, how a name finds its row, and a second opinion."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import model_catalog
from azinfer.core.model_catalog import (
    ModelFacts,
    family_of,
    find,
    parameters_of_families,
    rows,
    unasked_usage_of,
)


@cache
def _second_opinion() -> dict[str, dict[str, Any]]:
    """Azure's text models in the map that litellm ships, by their ids."""
    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).with_name("model_prices_and_context_window_backup.json")
    results: dict[str, dict[str, Any]] = {}
    for key, entry in json.loads(path.read_bytes()).items():
        azure = entry.get("litellm_provider") in ("azure", "azure_ai")
        if azure and entry.get("mode") in ("chat", "responses"):
            results.setdefault(key.rpartition("/")[2], entry)
    return results


def _window(row: ModelFacts, theirs: int) -> int | None:
    """Our number of tokens that is nearest to theirs, who say input or both together."""
    ours = [tokens for tokens in (row.context_window, row.max_input) if tokens]
    return min(ours, key=lambda tokens: abs(tokens - theirs), default=None)


def test_nearly_every_text_model_of_azure_has_a_family() -> None:
    names = _second_opinion()
    unknown = [name for name in names if family_of(name, is_model_id=True) is None]
    assert len(names) >= 156
    assert len(unknown) <= len(names) - 150 * len(names) // 156, unknown
    assert set(unknown) <= {"container"}  # a price of the code interpreter, and no model


def test_no_reasoning_model_counts_as_a_classic_one() -> None:
    reasoning = [
        name for name, entry in _second_opinion().items() if entry.get("supports_reasoning")
    ]
    assert len(reasoning) > 100
    for name in reasoning:
        row = find(name, is_model_id=True)
        assert family_of(name, is_model_id=True) != "openai", name
        assert row is None or row.reasoning is not False, name


@pytest.mark.parametrize("name", ["gpt-6-astra", "gpt-6.1-sol", "gpt-6-luna", "gpt-chat-latest"])
def test_new_reasoning_models_take_max_completion_tokens_only(name: str) -> None:
    row = find(name)
    assert row is not None
    assert row.reasoning
    assert parameters_of_families()[row.family]["token_limit"] == "max_completion_tokens"


def test_windows_that_differ_from_the_second_opinion_have_a_source_of_ours() -> None:
    without_source = []
    for name, entry in _second_opinion().items():
        row, theirs = find(name, is_model_id=True), entry.get("max_input_tokens")
        if row and theirs and (ours := _window(row, theirs)) and abs(ours - theirs) > 0.2 * theirs:
            source = row.sources["context_window"]
            if "litellm" in source.url.casefold() or "microsoft.com" not in source.url:
                without_source.append(name)
    assert len(without_source) <= 5, without_source


def test_most_windows_agree_with_the_second_opinion() -> None:
    known = apart = 0
    for name, entry in _second_opinion().items():
        row, theirs = find(name, is_model_id=True), entry.get("max_input_tokens")
        if row and theirs and (ours := _window(row, theirs)):
            known += 1
            apart += abs(ours - theirs) > 0.2 * theirs
    assert known > 150
    assert apart <= known // 10


def test_every_fact_has_a_source_with_an_address_and_a_date() -> None:
    for row in rows():
        facts = {
            each
            for each in ("context_window", "max_output", "tools", "dimensions", "retires", "wires")
            if getattr(row, each) not in (None, ())
        }
        assert facts <= row.sources.keys(), row.name
        for source in row.sources.values():
            assert source.url.startswith("https://"), row.name
            assert date.fromisoformat(source.date) <= date.today(), row.name
        if row.retires:
            date.fromisoformat(row.retires)


def test_no_source_and_no_family_is_unused_or_missing() -> None:
    data = model_catalog._catalog()
    models = data["models"].values()
    named = {row["source"] for row in models}
    named |= {key for row in models for key in row.get("sources", {}).values()}
    assert named == data["sources"].keys()
    families = {row["family"] for row in models} | {family for _, family in data["names"]}
    assert families == data["families"].keys()


def test_no_two_rows_have_a_name_in_common() -> None:
    models = model_catalog._catalog()["models"].items()
    names = [each.casefold() for name, row in models for each in (name, *row.get("aliases", ()))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("gpt-4.1", "gpt-4.1"),
        ("GPT-4.1", "gpt-4.1"),
        ("GPT-4.1-PTU", "gpt-4.1"),
        ("eu-gpt-4.1", "gpt-4.1"),
        ("gpt-4.1-mini-prod", "gpt-4.1-mini"),
        ("prod_gpt-4o_swedencentral", "gpt-4o"),
        ("openai/gpt-5", "gpt-5"),
        ("azure_ai/openai/gpt-5", "gpt-5"),
        ("mistral-ai/mistral-large-2411", "Mistral-Large-2411"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-4o-2024-08-06.ft-0123abcd", "gpt-4o"),
        ("command-a", "Cohere-command-a"),
        ("grok-4.1-fast-reasoning", "grok-4-1-fast-reasoning"),
    ],
)
def test_a_name_with_unmistakable_decoration_finds_its_row(name: str, row: str) -> None:
    for is_model_id in (False, True):
        facts = find(name, is_model_id=is_model_id)
        assert facts is not None
        assert facts.name == row


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("contoso-gpt-4.1", "gpt-4.1"),
        ("our-publisher/gpt-5", "gpt-5"),
        ("team-o1", "o1"),
    ],
)
def test_other_decoration_is_left_out_of_models_ids_only(name: str, row: str) -> None:
    assert find(name) is None
    facts = find(name, is_model_id=True)
    assert facts is not None
    assert facts.name == row


@pytest.mark.parametrize(
    "name",
    ["gpt-4o-realtime", "gpt-4-1", "gpt-5.7", "gpt-4.1-contoso", "o1-large", "prod", "", None],
)
def test_another_model_does_not_get_the_facts_of_its_namesake(name: str | None) -> None:
    assert find(name) is None
    assert find(name, is_model_id=True) is None


@pytest.mark.parametrize("name", ["embed-small", "command-center", "codex-agents", "prod-chat"])
def test_a_deployments_name_is_not_evidence_for_a_vendor(name: str) -> None:
    assert find(name) is None
    assert family_of(name) is None


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gpt-5.7", "openai-reasoning"),
        ("gpt-7-nova", "openai-reasoning"),
        ("o5-mini", "openai-reasoning"),
        ("gpt-35-turbo-instruct", "openai"),
        ("gpt-4.2", "openai"),
        ("gpt-5-chat-large", "openai"),
        ("Mistral-Large-9", "mistral"),
        ("Cohere-embed-small", "cohere"),
        ("claude-opus-9", "anthropic"),
    ],
)
def test_a_model_without_a_row_has_the_family_of_its_name(name: str, family: str) -> None:
    assert find(name) is None
    assert family_of(name) == family


def test_a_models_id_in_the_middle_of_a_name_has_a_family_too() -> None:
    assert family_of("FW-GLM-9") is None
    assert family_of("FW-GLM-9", is_model_id=True) == "zhipu"
    assert family_of("something", is_model_id=True) is None
    assert family_of(None) is None


@pytest.mark.parametrize(
    ("name", "default", "takes", "refuses"),
    [
        ("text-embedding-3-small", 1536, 1, 1537),
        ("text-embedding-3-large", 3072, 3072, 3073),
        ("text-embedding-ada-002", 1536, None, 1536),
        ("Cohere-embed-v3-english", 1024, None, 512),
        ("embed-v-4-0", 1536, 256, 300),
        ("Cohere-Embed-V5-Pro", 2048, 768, 3072),
    ],
)
def test_the_catalog_knows_lengths_of_vectors(
    name: str, default: int, takes: int | None, refuses: int
) -> None:
    row = find(name)
    assert row is not None
    assert row.dimension_choices is not None
    assert row.dimensions == default
    assert takes is None or takes in row.dimension_choices
    assert refuses not in row.dimension_choices


@pytest.mark.parametrize(
    ("name", "tools", "json_schema", "window"),
    [
        ("gpt-5-chat", False, False, 128_000),
        ("gpt-5.1-chat", True, True, 128_000),
        ("gpt-5.2-chat", True, True, 128_000),
        ("gpt-5.3-chat", True, True, 128_000),
        ("grok-3", True, False, 131_072),
        ("grok-4", True, False, 262_000),
        ("command-r-plus-08-2024", True, True, 131_072),
        ("command-a", True, None, 131_072),
        ("Kimi-K2.5", True, False, 262_144),
        ("Codestral-2501", False, False, 262_144),
        ("Mistral-small-2503", True, None, 32_768),
        ("Phi-4-mini-instruct", False, False, 131_072),
        ("Llama-4-Scout-17B-16E-Instruct", False, False, 128_000),
    ],
)
def test_models_on_which_adapters_contradicted_each_other_are_settled(
    name: str, tools: bool, json_schema: bool | None, window: int
) -> None:
    row = find(name)
    assert row is not None
    assert (row.tools, row.json_schema, row.context_window) == (tools, json_schema, window)
    assert "microsoft.com" in row.sources["context_window"].url


def test_models_of_one_wire_say_so() -> None:
    for name, wires in (
        ("gpt-5.1-codex", ("responses",)),
        ("claude-opus-5", ("messages",)),
        ("embed-v-4-0", ("embeddings", "cohere-embed")),
        ("Cohere-rerank-v4.0-pro", ("rerank",)),
        ("gpt-4", ("chat",)),
    ):
        row = find(name)
        assert row is not None
        assert row.wires == wires


def test_importing_the_client_does_not_read_the_catalog() -> None:
    script = (
        "import azinfer.core, sys; from azinfer.core import model_catalog as catalog; "
        "sys.exit(catalog._catalog.cache_info().currsize)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "unasked"),
    [
        ("Mistral-Large-2411", "last"),
        ("DeepSeek-R1", "last"),
        ("DeepSeek-V3.2", None),
        ("Phi-4", "each"),
        ("MAI-DS-R1", None),
        ("gpt-4.1", None),
        ("our-own-model", None),
    ],
)
def test_some_models_always_stream_usage(name: str, unasked: str | None) -> None:
    assert unasked_usage_of(name) == unasked


# Core's catalog is the only table of models. Comments and docstrings may name them.
SEARCHED = (
    *("integrations/azinfer/ag2", "integrations/azinfer/langchain"),
    *("integrations/azinfer/llama_index", "integrations/azinfer/semantic_kernel"),
    "core/azinfer/local",
)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a file's code and their lines, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


@pytest.mark.parametrize("folder", SEARCHED)
def test_no_other_module_has_a_table_of_models(folder: str) -> None:
    root = Path(__file__).parents[2]
    results = [
        f"{path.relative_to(root)}:{line}: {text[:60]!r}"
        for path in sorted((root / folder).rglob("*.py"))
        for line, text in _texts(path)
        if not re.match(r"llama[-_ ]?index|LlamaIndex", text)
        and (find(text, is_model_id=True) or family_of(re.sub(r"[(?:)^\\]", "", text)))
    ]
    assert results == []
