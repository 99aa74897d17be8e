"""Agents of azinfer's client in what hosts agents: declarative ones, DevUI, A2A and AG-UI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from azinfer.local import LocalDeployment, LocalEndpoint, Scripted, ScriptedCall, SyntheticEngine

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "tests" / "support" / "tours" / "agent_framework_tour.py"
# powerfx, which definitions need, wants another cffi; `.ci/run long` puts these here.
HOSTS = ROOT / ".venv" / "agent-framework-hosts"
LOOK = Scripted("I look.", (ScriptedCall("get_weather", {"city": "New York"}),), contains="How is")


def test_agents_work_where_others_host_them(tmp_path: Path) -> None:
    assert HOSTS.is_dir(), f"{HOSTS} is missing; `.ci/run long` makes it"
    deployments = [
        LocalDeployment("fixed", engine=SyntheticEngine("Paris.")),
        LocalDeployment("thinker", script=(LOOK, Scripted("It is sunny.", contains="Sunny"))),
    ]
    paths = [str(HOSTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    report = tmp_path / "report.json"
    with LocalEndpoint(deployments) as endpoint:
        command = [sys.executable, str(TOUR), endpoint.url, endpoint.key, str(report)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert report.exists(), done.stderr
    steps = json.loads(report.read_text("utf-8"))["steps"]
    failed = {name: went for name, went in steps.items() if went is not None}
    assert not failed, "\n\n".join(f"{name}:\n{went}" for name, went in failed.items())
    assert len(steps) == 8
