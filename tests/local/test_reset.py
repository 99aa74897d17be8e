"""Reset: no state remains, and no work continues."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.local import LocalDeployment, LocalEndpoint, Piece, Prompt, SyntheticEngine

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
MANAGED = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/deployments"
)


class PausedEngine(SyntheticEngine):
    """An engine that answers after `free` is set, and records whether the client left earlier."""

    def __init__(self) -> None:
        super().__init__("Paris.")
        self.begun, self.left, self.free = (threading.Event() for _ in range(3))

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        yield Piece("Well, ")
        self.begun.set()
        try:
            while not self.free.is_set():
                await asyncio.sleep(0.001)
        except (asyncio.CancelledError, GeneratorExit):
            self.left.set()
            raise
        async for piece in super().chat(prompt):
            yield piece


@pytest.fixture
def engine() -> PausedEngine:
    """The engine of the deployment `chat`."""
    return PausedEngine()


@pytest.fixture
def endpoint(engine: PausedEngine) -> Iterator[LocalEndpoint]:
    """An endpoint that keeps its files for as long as it lasts."""
    with LocalEndpoint([LocalDeployment("chat", "m", engine), LocalDeployment("free")]) as endpoint:
        yield endpoint


def client_of(endpoint: LocalEndpoint) -> httpx.Client:
    return httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}, timeout=30)


def over_http(endpoint: LocalEndpoint) -> None:
    with client_of(endpoint) as http:
        assert http.post("/_azinfer/reset").status_code == 200


def begun_batch(http: httpx.Client, model: str = "chat") -> str:
    """The id of a batch of one line."""
    line = {"custom_id": "1", "method": "POST", "url": "/chat/completions"}
    content = json.dumps({**line, "body": {**CHAT, "model": model}}).encode()
    answer = http.post(
        "/openai/v1/files", files={"file": content}, data={"purpose": "batch"}
    ).json()
    body = {"input_file_id": answer["id"], "endpoint": "/chat/completions"}
    batch = http.post("/openai/v1/batches", json={**body, "completion_window": "24h"})
    return str(batch.json()["id"])


def count_listed(http: httpx.Client) -> dict[str, int]:
    return {
        name: len(http.get(f"/openai/v1/{name}").json()["data"]) for name in ("files", "batches")
    }


@pytest.mark.parametrize("reset", [LocalEndpoint.reset, over_http], ids=["here", "over HTTP"])
def test_reset_removes_files_batches_and_responses(
    endpoint: LocalEndpoint, engine: PausedEngine, reset: Callable[[LocalEndpoint], None]
) -> None:
    with client_of(endpoint) as http:
        response = http.post("/openai/v1/responses", json={"model": "free", "input": "hi"}).json()
        path = f"/openai/v1/responses/{response['id']}"
        assert http.get(path).status_code == 200
        begun_batch(http)
        assert engine.begun.wait(30)
        assert count_listed(http) == {"files": 1, "batches": 1}
        reset(endpoint)
        assert engine.left.is_set()
        assert count_listed(http) == {"files": 0, "batches": 0}
        assert http.get(path).status_code == 404
        engine.free.set()
        batch_id = begun_batch(http)
        while (result := http.get(f"/openai/v1/batches/{batch_id}").json())[
            "status"
        ] != "completed":
            assert result["status"] in ("validating", "in_progress", "finalizing")
        assert result["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
        assert count_listed(http) == {"files": 2, "batches": 1}


def test_reset_keeps_a_data_directory_and_its_batches(engine: PausedEngine, tmp_path: Path) -> None:
    deployments = [LocalDeployment("chat", "m", engine)]
    with (
        LocalEndpoint(deployments, data=tmp_path) as endpoint,
        client_of(endpoint) as http,
    ):
        batch_id = begun_batch(http)
        assert engine.begun.wait(30)
        endpoint.reset()
        assert not engine.left.is_set()
        engine.free.set()
        while http.get(f"/openai/v1/batches/{batch_id}").json()["status"] != "completed":
            pass
        assert count_listed(http) == {"files": 2, "batches": 1}


def test_a_stream_from_before_a_reset_is_not_in_the_log(
    endpoint: LocalEndpoint, engine: PausedEngine
) -> None:
    with client_of(endpoint) as http:
        body = {**CHAT, "stream": True}
        with http.stream("POST", "/openai/v1/chat/completions", json=body) as answer:
            parts = answer.iter_lines()
            assert any("Well" in next(parts) for _ in range(4))
            endpoint.reset()
            engine.free.set()
            assert list(parts)[-2:] == ["data: [DONE]", ""]
        http.get("/openai/v1/models")
    assert [each.path for each in endpoint.requests] == ["/openai/v1/models"]


def test_reset_restores_the_first_keys(endpoint: LocalEndpoint) -> None:
    key = endpoint.key
    with client_of(endpoint) as http:
        path = MANAGED.replace("deployments", "regenerateKey")
        http.post(f"{path}?api-version=2024-10-01", json={"keyName": "Key1"})
        assert endpoint.key != key
        assert http.get("/openai/v1/models").status_code == 401
        endpoint.reset()
        assert endpoint.key == key
        assert http.get("/openai/v1/models").status_code == 200


def test_a_recreated_deployment_has_no_earlier_state(endpoint: LocalEndpoint) -> None:
    def answer(http: httpx.Client) -> str:
        body: dict[str, Any] = {
            "sku": {"name": "Standard", "capacity": 1},
            "properties": {"model": {"format": "OpenAI", "name": "new-model", "version": "1"}},
        }
        path = f"{MANAGED}/later?api-version=2024-10-01"
        assert http.put(path, json=body).status_code == 201
        content = http.post("/openai/v1/chat/completions", json={**CHAT, "model": "later"}).json()
        return str(content["choices"][0]["message"]["content"])

    with client_of(endpoint) as http:
        endpoint.deploy(LocalDeployment("before", "new-model", SyntheticEngine("From before.")))
        assert answer(http) == "From before."
        endpoint.reset()
        assert answer(http) == "This is a synthetic answer to: hi"


def test_requests_during_a_reset_succeed(endpoint: LocalEndpoint) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with client_of(endpoint) as http:
            for _ in range(50):
                body = {**CHAT, "model": "free"}
                statuses.append(http.post("/openai/v1/chat/completions", json=body).status_code)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    while any(thread.is_alive() for thread in asking):
        endpoint.reset()
    assert statuses == [200] * 100


def test_a_stopped_endpoint_can_be_reset_too() -> None:
    endpoint = LocalEndpoint([LocalDeployment("first")])
    endpoint.deploy(LocalDeployment("second"))
    endpoint.reset()
    assert [each.name for each in endpoint.deployments] == ["first"]
    with endpoint, client_of(endpoint) as http:
        begun_batch(http, "first")
    endpoint.reset()
    with endpoint, client_of(endpoint) as http:
        assert count_listed(http) == {"files": 0, "batches": 0}
