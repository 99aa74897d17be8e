"""Programs of six packages, before and after `azinfer migrate`, against the local endpoint.

Each file in `programs` has twenty; a line `### name` begins each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from azinfer.migrate import migrate_source
from migrated_programs import KINDS, old_imports, programs_of
from moving_pages import PAGES, pairs_of
from program_runs import Run

FOLDER = Path(__file__).parent / "programs"
# The programs that need a person, and why: the reason that is reported with its line, or, after
# "note: ", what they print differently.
BY_HAND: dict[str, dict[str, str]] = {
    "azure_ai_inference": {
        "defaults of the client": "note: finish_reason is a plain text now",
    },
    "langchain": {
        "the metadata of an answer": "note: some keys and values of response_metadata differ",
        "a retriever of another service": "",
    },
    "litellm": {
        "a router of several deployments": "litellm.Router has no equal",
        "arguments in a mapping": "arguments in **mapping cannot be read",
    },
    "llama_index": {"the name of a class": "note: the class has another name"},
    "openai": {
        "the whole answer as text": ".model_dump_json of an answer has no equal",
        "a list of models": "models.list() has no equal",
    },
    "semantic_kernel": {"an inner answer": "note: inner_content is azinfer's own answer"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_programs_give_the_same_answers_afterwards(kind: str, run: Run) -> None:
    programs = programs_of(kind, FOLDER)
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
    for name, program in programs_of(kind, FOLDER).items():
        result = migrate_source(program)
        reason = BY_HAND[kind].get(name, "")
        if reason.startswith("note: "):
            assert reason.removeprefix("note: ") in " ".join(each.text for each in result.notes)
        elif reason:
            [problem] = result.problems
            assert reason in problem.text
            assert len(program.splitlines()) >= problem.line > 1
        elif name not in BY_HAND[kind]:
            assert result.problems == (), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_program_needs_no_old_package(kind: str) -> None:
    for name, program in programs_of(kind, FOLDER).items():
        if name not in BY_HAND[kind]:
            assert not old_imports(migrate_source(program)), name
            assert migrate_source(program).is_changed, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewritten_program_is_not_rewritten_again(kind: str) -> None:
    for name, program in programs_of(kind, FOLDER).items():
        if name not in BY_HAND[kind]:
            after = migrate_source(program).after
            assert migrate_source(after).after == after, name
