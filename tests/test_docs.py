"""The documentation is true: its programs run, and its pairs are what `azinfer migrate` writes."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from azinfer import core
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.migrate import migrate_source
from moving_pages import PAGES, pairs_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
HOWTO = {path.stem: path.read_text("utf-8") for path in sorted(DOCS.glob("pages/howto/*.md"))}
BETWEEN = "\nprint('~~~')\n"


def script(name: str) -> Any:
    """Return a script of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def programs_of(page: str) -> list[str]:
    """Return the programs of a page; tests for pytest are not programs."""
    blocks = re.findall(r"^```python\n(.*?)^```", HOWTO[page], re.DOTALL | re.MULTILINE)
    return [each for each in blocks if "def test_" not in each]


def test_the_programs_of_the_how_to_pages_run(tmp_path: Path) -> None:
    names = [(page, at) for page in HOWTO for at in range(len(programs_of(page)))]
    deployments = ("small-chat", "Small-Chat-PTU", "small-embed")
    with LocalEndpoint([LocalDeployment(name) for name in deployments]) as endpoint:
        programs = [
            program.replace("https://contoso.services.ai.azure.com", endpoint.url)
            .replace("wrong-key", "another")
            .replace("a-key", endpoint.key)
            for page in HOWTO
            for program in programs_of(page)
        ]
        file = tmp_path / "programs.json"
        file.write_text(json.dumps(programs), "utf-8")
        command = [sys.executable, str(ROOT / "tests/support/program_runs.py"), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = dict(zip(names, json.loads(done.stdout), strict=True))
    assert {name: each["error"] for name, each in results.items() if each["error"]} == {}
    assert {page for page, _ in names} >= HOWTO.keys() - {"pytest"}


def test_the_tests_of_the_page_about_pytest_pass(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", HOWTO["pytest"], re.DOTALL | re.MULTILINE)
    (tmp_path / "test_program.py").write_text(program, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "test_program.py"]
    environ = {**os.environ, "AZINFER_DATA": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pairs_of_a_page_are_what_migrate_writes(page: Path) -> None:
    pairs = pairs_of(page)
    assert len(pairs) >= 3
    result = migrate_source(BETWEEN.join(before.strip() for before, _ in pairs))
    assert result.problems == ()
    after = [ast.dump(ast.parse(each)) for each in result.after.split(BETWEEN)]
    assert after == [ast.dump(ast.parse(new)) for _, new in pairs]  # pages are formatted


def test_troubleshooting_names_every_error() -> None:
    errors = {name for name in core.__all__ if name.endswith("Error")} - {"InferenceError"}
    errors -= {"APIStatusError"}  # a base, which is never raised for itself but for odd statuses
    assert errors <= set(re.findall(r"\w+Error", HOWTO["troubleshooting"])), errors


def test_every_page_is_in_the_list_of_the_site() -> None:
    assert set(script("build_site").TITLES) == HOWTO.keys()


def test_the_pictures_are_those_that_the_script_draws() -> None:
    drawn = (DOCS / "pictures/request.svg").read_text("utf-8")
    assert drawn == script("draw_pictures").draw_request()
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in ("request.svg", "demo.svg"):
        ElementTree.parse(DOCS / "pictures" / name)
        assert f"docs/pictures/{name}" in readme
    assert (DOCS / "pictures/page.png").read_bytes().startswith(b"\x89PNG")
