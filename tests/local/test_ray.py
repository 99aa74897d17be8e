"""Ray Data with our client: two worker processes, of which one is killed, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

ROOT = Path(__file__).parents[2]
RAY = ROOT / ".venv" / "ray"  # `.ci/run long` puts it there
# Nothing is sent to Ray's makers or written into the home directory, and a busy machine may take
# long to start its processes.
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "200000",
    "RAY_raylet_start_wait_time_s": "200",
}
TOUR = ROOT / "tests/support/tours/ray_tour.py"


@pytest.mark.long
@pytest.mark.skipif(not RAY.exists(), reason="Ray is not installed: run .ci/run long")
def test_a_worker_of_ray_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    deployment = LocalDeployment("embed", engine=SyntheticEngine(dimensions=8))
    with LocalEndpoint([deployment]) as endpoint:
        path = os.pathsep.join([str(RAY), str(ROOT / "core"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, str(TOUR), endpoint.url, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, **SETTINGS, "PYTHONPATH": path, "AZURE_AI_API_KEY": endpoint.key},
        )
        assert done.returncode == 0, done.stderr
        result = json.loads((tmp_path / "result.json").read_text("utf-8"))
        sent: Counter[str] = Counter()
        for entry in endpoint.requests:
            body: Any = entry.body
            if body:
                sent.update(body["input"])
        with InferenceClient(endpoint.url, endpoint.key, "embed") as client:
            expected = client.embed(result["texts"])
    assert (tmp_path / "killed").exists()
    assert result["texts"] == [f"text {at}" for at in range(4000)]
    assert result["vectors"] == [list(vector) for vector in expected]
    assert result["errors"] == 0
    # Ray repeats the batches of the worker that was killed, and no others.
    repeated = [text for text, count in sent.items() if count > 1]
    assert 0 < len(repeated) <= 3 * 200
    assert set(sent) == set(result["texts"])


def test_the_recipe_is_in_the_readme() -> None:
    source = TOUR.read_text("utf-8")
    recipe = source[source.index("class Embed:") : source.index("class Killed(")].strip()
    assert recipe in (ROOT / "core/README.md").read_text("utf-8")
