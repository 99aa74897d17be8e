"""A local endpoint over https, and the variables that point every package at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from program_runs import Run

SCOPE = "https://cognitiveservices.azure.com/.default"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEndpoint]:
    """Deployments for chat, and one for vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZINFER_DATA", str(tmp_path_factory.mktemp("data")))
        deployments = [
            LocalDeployment("chat", "mistral-large-2411"),
            LocalDeployment("chat-2", "mistral-large-2411"),
            LocalDeployment("embed", "embed-v-4-0", SyntheticEngine(dimensions=256)),
        ]
        with LocalEndpoint(deployments, https=True) as endpoint:
            yield endpoint


@pytest.fixture(scope="session")
def run(endpoint: LocalEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run programs in one process that has the endpoint in its environment."""
    url, key, authority = endpoint.url, endpoint.key, str(endpoint.ca_file)
    variables = {
        "AZURE_INFERENCE_ENDPOINT": f"{url}/models",
        "AZURE_INFERENCE_CREDENTIAL": key,
        "AZURE_OPENAI_ENDPOINT": url,
        "AZURE_OPENAI_API_KEY": key,
        "AZURE_OPENAI_TOKEN": endpoint.credential().get_token(SCOPE).token,
        "OPENAI_API_VERSION": "2024-10-21",
        "AZURE_API_BASE": url,
        "AZURE_API_KEY": key,
        "AZURE_API_VERSION": "2024-10-21",
        "AZURE_AI_API_BASE": f"{url}/models",
        "AZURE_AI_API_KEY": key,
        "SSL_CERT_FILE": authority,
        "REQUESTS_CA_BUNDLE": authority,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches one when it is imported
    }

    def run(programs: list[str]) -> list[dict[str, Any]]:
        file = tmp_path_factory.mktemp("programs") / "programs.json"
        file.write_text(json.dumps(programs), "utf-8")
        command = [sys.executable, str(ROOT / "tests/support/program_runs.py"), str(file)]
        done = subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        results: list[dict[str, Any]] = json.loads(done.stdout)
        return results

    return run
