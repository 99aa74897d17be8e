"""Engines that fail, and clients that leave, in the middle of an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest

from azinfer.core import InferenceClient, ServerError, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint, Piece, Prompt
from azinfer.local.engines.base import EngineError

KEY = "local-key"
USER: Any = [{"role": "user", "content": "hi"}]


class Broken:
    """Writes a word, and then fails in the way of the model's name."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        yield Piece("one ")
        raise self._error

    async def aclose(self) -> None:
        """Keep nothing."""


class Patient:
    """Writes a word every time that the event loop turns, and counts them."""

    def __init__(self) -> None:
        self.has_begun, self.has_ended = threading.Event(), threading.Event()

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        try:
            yield Piece("one ")
            self.has_begun.set()
            await asyncio.Event().wait()
        finally:
            self.has_ended.set()

    async def aclose(self) -> None:
        """Keep nothing."""


ERRORS = {
    "crash": RuntimeError("secret"),
    "gone": EngineError("the upstream broke off", "upstream_interrupted", status=502),
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [LocalDeployment(name, engine=Broken(error)) for name, error in ERRORS.items()]
    with LocalEndpoint(deployments, key=KEY) as endpoint:
        yield endpoint


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("crash", "InternalServerError", "The server had an error while it answered."),
        ("gone", "upstream_interrupted", "the upstream broke off"),
    ],
)
def test_a_failure_in_the_middle_of_a_stream_is_a_server_error_to_clients(
    endpoint: LocalEndpoint, model: str, code: str, message: str
) -> None:
    with (
        InferenceClient(endpoint.url, KEY, model, max_retries=0) as client,
        client.stream([UserMessage("hi")]) as chunks,
        pytest.raises(ServerError, match=message) as caught,
    ):
        list(chunks)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one "
    other = openai.OpenAI(base_url=f"{endpoint.url}/openai/v1", api_key=KEY, max_retries=0)
    with other, pytest.raises(openai.APIError, match=message) as theirs:
        list(other.chat.completions.create(model=model, messages=USER, stream=True))
    assert (theirs.value.code, theirs.value.type) == (code, "server_error")
    url = f"{endpoint.url}/openai/deployments/{model}/completions?api-version=2024-10-21"
    body = {"prompt": "hi", "stream": True}
    legacy = httpx.post(url, json=body, headers={"api-key": KEY}).text
    assert f'"type":"server_error","param":null,"code":"{code}"' in legacy


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_an_engine_stops_when_the_client_leaves_before_a_whole_answer(path: str) -> None:
    engine = Patient()
    with LocalEndpoint([LocalDeployment("slow", engine=engine)], key=KEY) as endpoint:
        body = {"model": "slow", "messages": USER, "input": "hi"}
        body.pop("input" if path == "chat/completions" else "messages")

        async def leave() -> int:
            async with httpx.AsyncClient(headers={"api-key": KEY}) as client:
                url = f"{endpoint.url}/openai/v1/{path}"
                asking = asyncio.create_task(client.post(url, json=body))
                await asyncio.to_thread(engine.has_begun.wait, 30)
                async with endpoint.requests.listen() as entries:
                    asking.cancel()
                    entry = await anext(entries)
            return entry.status

        assert asyncio.run(leave()) == 499
        assert engine.has_ended.is_set()


def test_work_in_the_background_goes_on_when_the_client_leaves() -> None:
    engine = Patient()
    with LocalEndpoint([LocalDeployment("slow", engine=engine)], key=KEY) as endpoint:
        with httpx.Client(headers={"api-key": KEY}) as client:
            url = f"{endpoint.url}/openai/v1/responses"
            body = {"model": "slow", "input": "hi", "background": True}
            response = client.post(url, json=body).json()
        engine.has_begun.wait(30)
        with httpx.Client(headers={"api-key": KEY}) as client:
            state = client.get(f"{url}/{response['id']}").json()
            assert state["status"] == "in_progress"
            assert not engine.has_ended.is_set()
            client.post(f"{url}/{response['id']}/cancel")
