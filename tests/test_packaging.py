"""The rules of the folders, as the README's section "Layout" states them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import azinfer.ag2
import azinfer.agent_framework
import azinfer.core
import azinfer.langchain
import azinfer.llama_index
import azinfer.local
import azinfer.migrate
import azinfer.semantic_kernel

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ADAPTERS = sorted(
    path.name for path in (ROOT / "integrations/azinfer").iterdir() if (path / "py.typed").exists()
)
FRAMEWORKS = [
    *("ag2", "agent_framework", "langchain_core", "llama_index", "semantic_kernel"),
    *("starlette", "uvicorn", "pydantic", "numpy", "typer"),
]
BLOCKED = "import sys; sys.modules.update(dict.fromkeys({names!r})); import {module}; {then}"

# What the plan of imports does not read.
UNREAD = shutil.ignore_patterns("__pycache__", "*.json*", "*.pyc")


def import_without(names: list[str], module: str, then: str = "") -> str:
    """Return the stderr of importing a module while others are not installed."""
    code = BLOCKED.format(names=names, module=module, then=then or "pass")
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_every_import_follows_the_plan() -> None:
    command = [sys.executable, str(ROOT / "tests/layout.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("from azinfer.core.client import InferenceClient", "is on a higher floor"),
        ("from azinfer.core import lazy\nx: lazy.Batches", "is on a higher floor"),
        ("from azinfer.core.network.pool import Pool", "is private to azinfer.core.network"),
        ("from azinfer.core.surfaces import _MACHINE_LEARNING", "is private to its module"),
        ("import httpx", "belongs to"),
        ("pass\n" * 400, "lines; the most are 400"),
    ],
)
def test_the_plan_detects_a_wrong_import(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/layout.py", tmp_path / "tests/layout.py")
    for part in ("core", "integrations"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=UNREAD)
    with (tmp_path / "core/azinfer/core/streams.py").open("a") as module:
        module.write(f"\n{line}\n")
    command = [sys.executable, str(tmp_path / "tests/layout.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    (value,) = result.stdout.splitlines()
    assert value.startswith("core/azinfer/core/streams.py: ")
    assert problem in value


@pytest.mark.parametrize(
    ("module", "line", "problem"),
    [
        ("wire/json", "import azinfer.local.engines.base", "is on a higher floor"),
        ("engines/base", "from azinfer.local.wire import surfaces", "engines do not know"),
        ("api/app", "from azinfer.core.client import InferenceClient", "is not for the endpoint"),
        ("wire/json", "from azinfer.local.wire import errors", "imports itself"),
        ("api/chat2/__init__", "", "put it into OPERATIONS"),
        ("other", "", "put it on a floor"),
    ],
)
def test_the_plan_detects_a_wrong_wing(
    tmp_path: Path, module: str, line: str, problem: str
) -> None:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/layout.py", tmp_path / "tests/layout.py")
    for part in ("core", "integrations"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=UNREAD)
    path = tmp_path / f"core/azinfer/local/{module}.py"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(f"\n{line}\n")
    command = [sys.executable, str(tmp_path / "tests/layout.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert problem in result.stdout


def test_every_portion_is_typed() -> None:
    portions = [path for path in ROOT.glob("*/azinfer/*") if (path / "__init__.py").exists()]
    assert len(portions) == 11
    assert all((path / "py.typed").exists() for path in portions)


def test_core_needs_no_framework() -> None:
    assert import_without(FRAMEWORKS, "azinfer.core") == ""


def test_core_loads_no_unneeded_module() -> None:
    then = "print(sorted(name for name in sys.modules if '.' not in name))"
    command = [sys.executable, "-c", BLOCKED.format(names=[], module="azinfer.core", then=then)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not set(ast.literal_eval(done.stdout)) & {
        *FRAMEWORKS,
        "httpx",
        "httpcore",
        "httptools",
        "httpx2",
        "requests",
    }


@pytest.mark.parametrize(
    ("missing", "module", "extra"),
    [
        ("ag2", "azinfer.ag2", "ag2"),
        ("agent_framework", "azinfer.agent_framework", "agent-framework"),
        ("langchain_core", "azinfer.langchain", "langchain"),
        ("llama_index.core", "azinfer.llama_index", "llama-index"),
        ("opentelemetry", "azinfer.otel", "otel"),
        ("redis", "azinfer.redis", "redis"),
        ("semantic_kernel", "azinfer.semantic_kernel", "semantic-kernel"),
        ("uvicorn", "azinfer.local", "local"),
        ("libcst", "azinfer.migrate", "migrate"),
    ],
)
def test_a_missing_framework_names_the_extra(missing: str, module: str, extra: str) -> None:
    assert f"pip install 'azinfer[{extra}]'" in import_without([missing], module)


def test_classic_ag2_is_not_needed() -> None:
    # It may be there, with a jsonschema that makes it warn: nothing imports it.
    assert import_without(["autogen", "openai"], "azinfer.ag2") == ""


def test_each_adapter_has_an_extra() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert {name.replace("_", "-") for name in ADAPTERS} == set(extras) - {
        *("all", "local", "migrate", "models", "onnx", "otel", "parquet", "redis")
    }
    (everything,) = extras["all"]
    assert set(re.findall(r"[\w-]+", everything)) == {"azinfer", *extras} - {
        "all",
        "onnx",
        "otel",
        "parquet",
        "redis",
    }


@pytest.mark.parametrize(
    "module",
    [
        azinfer.ag2,
        azinfer.agent_framework,
        azinfer.core,
        azinfer.langchain,
        azinfer.llama_index,
        azinfer.local,
        azinfer.migrate,
        azinfer.semantic_kernel,
    ],
)
def test_public_names_are_sorted_and_documented(module: ModuleType) -> None:
    names = vars(module)["__all__"]
    assert names == sorted(names)
    for name in names:
        result = getattr(module, name)
        if inspect.isclass(result) or inspect.isfunction(result):
            assert inspect.getdoc(result), name


def test_public_values_are_frozen_and_slotted() -> None:
    values = [getattr(azinfer.core, name) for name in azinfer.core.__all__]
    values = [value for value in values if dataclasses.is_dataclass(value)]
    assert len(values) > 25
    for value in values:
        assert value.__dataclass_params__.frozen, value
        assert "__slots__" in vars(value), value


def test_pydantic_2_14_is_excluded_while_llama_index_cannot_save_a_chat_memory_with_it() -> None:
    from llama_index.core.storage.chat_store import simple_chat_store

    source = inspect.getsource(simple_chat_store.chat_message_serialization)
    cause = "handler(chat_message, info)" in source  # the second argument must be a key or an index
    (excluded,) = [
        each
        for each in PROJECT["project"]["optional-dependencies"]["llama-index"]
        if each.startswith("pydantic")
    ]
    assert cause, "llama-index-core was mended: the exclusion of pydantic 2.14 may go"
    assert "!=2.14.*" in excluded


def test_the_changelog_begins_with_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == azinfer.core.__version__


def test_the_licence_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License")


def test_the_lock_has_every_dependency_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    others = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.lock")]
    for each in (lock, *others):
        assert "://" not in each
        assert "index" not in each.splitlines()[0]
    locked = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    wanted = [*PROJECT["project"]["dependencies"]]
    for group in (PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]):
        wanted += [each for names in group.values() for each in names]
    names = {re.split(r"[\s\[<>=;~!]", each)[0].lower() for each in wanted} - {"azinfer"}
    assert names <= locked, names - locked
