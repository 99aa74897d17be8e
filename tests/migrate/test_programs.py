"""Programs of six packages, before and after `azinfer migrate`, against the local endpoint.

Each file in `programs` has twenty; a line `### name` begins each.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from azinfer.migrate import Migration, migrate_source
from moving_pages import PAGES, pairs_of
from program_runs import Run

FOLDER = Path(__file__).parent / "programs"
KINDS = sorted(path.stem for path in FOLDER.glob("*.txt"))
# The programs that need a person, and why: the reason that is reported with its line, or, after
# "not reported: ", what a rewriter of one file cannot see.
BY_HAND: dict[str, dict[str, str]] = {
    "azure_ai_inference": {
        "raw access to an answer": ".as_dict of an answer has no equal",
        "defaults of the client": "not reported: a finish reason is printed as its text",
    },
    "langchain": {
        "the metadata of an answer": "not reported: the provider has another name",
        "a retriever of another service": "",
    },
    "litellm": {
        "a router of several deployments": "litellm.Router has no equal",
        "arguments in a mapping": "arguments in **mapping cannot be read",
    },
    "llama_index": {"the name of a class": "not reported: the class has another name"},
    "openai": {
        "the whole answer as text": ".model_dump_json of an answer has no equal",
        "a list of models": "models.list() has no equal",
    },
    "semantic_kernel": {"an inner answer": "not reported: what is inside is azinfer's own answer"},
}


def programs_of(kind: str) -> dict[str, str]:
    """Return the programs of a kind by their names."""
    text = (FOLDER / f"{kind}.txt").read_text("utf-8")
    parts = re.split(r"^### (.*)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_programs_give_the_same_answers_afterwards(kind: str, run: Run) -> None:
    programs = programs_of(kind)
    migrations = {name: migrate_source(text) for name, text in programs.items()}
    results = run([*programs.values(), *(each.after for each in migrations.values())])
    before = dict(zip(programs, results[: len(programs)], strict=True))
    after = dict(zip(programs, results[len(programs) :], strict=True))
    assert {name: each["error"] for name, each in before.items() if each["error"]} == {}
    different = {name: after[name] for name in programs if before[name] != after[name]}
    assert different.keys() <= BY_HAND[kind].keys(), different
    assert len(programs) == 20
    assert len(programs) - len(different) >= 16


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pairs_of_a_page_give_the_same_answers(page: Path, run: Run) -> None:
    before, after = ("\n".join(blocks) for blocks in zip(*pairs_of(page), strict=True))
    first, second = run([before, after])
    assert first == second
    assert (first["error"], first["output"].count("\n") > 2) == ("", True)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_is_reported_with_its_line(kind: str) -> None:
    for name, program in programs_of(kind).items():
        result = migrate_source(program)
        reason = BY_HAND[kind].get(name, "")
        if reason and not reason.startswith("not reported: "):
            [problem] = result.problems
            assert reason in problem.text
            assert len(program.splitlines()) >= problem.line > 1
        elif name not in BY_HAND[kind]:
            assert result.problems == (), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_program_needs_no_old_package(kind: str) -> None:
    for name, program in programs_of(kind).items():
        if name not in BY_HAND[kind]:
            assert not _old_imports(migrate_source(program)), name
            assert migrate_source(program).is_changed, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_program_is_not_rewritten_again(kind: str) -> None:
    for name, program in programs_of(kind).items():
        if name not in BY_HAND[kind]:
            after = migrate_source(program).after
            assert migrate_source(after).after == after, name


def _old_imports(result: Migration) -> list[str]:
    packages = r"azure\.ai|openai|litellm|langchain_(?:azure_ai|openai)|llama_index\.\w+\.azure"
    return re.findall(rf"^\s*(?:from|import) (?:{packages}).*", result.after, re.MULTILINE)
