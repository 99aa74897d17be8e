"""Programs in less usual styles: aliases, subclasses, factories, untyped helpers, async streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from azinfer.migrate import migrate_source
from migrated_programs import KINDS, old_imports, programs_of
from program_runs import Run

FOLDER = Path(__file__).parent / "odd_programs"
# The programs with lines to change by hand, and the reason that is reported. They still run.
BY_HAND = {
    "a wrapper with a default model": "arguments in **mapping cannot be read",
    "a class with partial": "litellm.completion has no equal",
    "a default model and a prompt template": "PromptTemplate.from_string has no equal",
    "models from a table with a mock in the test": "the provider of model= is not in its text",
    "helpers with defaults and kwargs": "arguments in **mapping cannot be read",
    "settings from the kernel": "the argument 1 has no name",
}
# The programs that rightly keep an import of an old package.
KEPT = {"a subclass with settings from a dictionary", "two providers in a table", *BY_HAND}


@pytest.mark.parametrize("kind", KINDS)
def test_odd_programs_give_the_same_answers_afterwards(kind: str, run: Run) -> None:
    programs = programs_of(kind, FOLDER)
    migrations = {name: migrate_source(text) for name, text in programs.items()}
    results = run([*programs.values(), *(each.after for each in migrations.values())])
    before = dict(zip(programs, results[: len(programs)], strict=True))
    after = dict(zip(programs, results[len(programs) :], strict=True))
    assert {name: each["error"] for name, each in before.items() if each["error"]} == {}
    assert after == before
    assert len(programs) >= 9


@pytest.mark.parametrize("kind", KINDS)
def test_odd_programs_need_no_old_package_unless_that_is_reported(kind: str) -> None:
    for name, program in programs_of(kind, FOLDER).items():
        result = migrate_source(program)
        assert [BY_HAND.get(name, "") in each.text for each in result.problems] == [True] * (
            name in BY_HAND
        ), name
        assert name in KEPT or not old_imports(result), name
