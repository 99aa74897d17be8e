"""Reasoning, failures, replays and background work of the Responses API, by plain HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import RateLimit
from azinfer.local import (
    EngineError,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    Scripted,
    ScriptedCall,
)

ENCRYPTED = {"include": ["reasoning.encrypted_content"], "store": False}
CALLS = (ScriptedCall("get_weather", {"city": "Oslo"}, "call_1"),)
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


class Failing:
    """Thinks, writes half a sentence, and fails."""

    async def chat(self, prompt: Prompt) -> Any:
        yield Piece(reasoning="Hm")
        yield Piece("Once upon")
        raise EngineError("Out of words.", status=429)

    async def aclose(self) -> None:
        pass


class Endless:
    """Never answers, and says when it is stopped."""

    stopped = threading.Event()

    async def chat(self, prompt: Prompt) -> Any:
        try:
            await asyncio.Event().wait()
            yield Piece("")
        finally:
            self.stopped.set()

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def resource() -> Iterator[LocalEndpoint]:
    deployments = [
        LocalDeployment("chat"),
        LocalDeployment("failing", engine=Failing()),
        LocalDeployment("astra", model_name="gpt-6-astra"),
        LocalDeployment("gpt-5.4"),
        LocalDeployment("endless", engine=Endless()),
        LocalDeployment("tight", rate_limits=(RateLimit("request", 1, 600),)),
    ]
    with LocalEndpoint(deployments, key="local-key") as endpoint:
        yield endpoint


@pytest.fixture
def http(resource: LocalEndpoint) -> Iterator[httpx.Client]:
    base = f"{resource.url}/openai/v1"
    with httpx.Client(base_url=base, headers={"api-key": resource.key}) as client:
        yield client
    resource.reset()


def ask(http: httpx.Client, **body: Any) -> Any:
    return http.post("/responses", json={"model": "chat", "input": "hi", **body})


def answer_of(http: httpx.Client, **body: Any) -> Any:
    response = ask(http, **body)
    assert response.status_code == 200, response.text
    return response.json()


def refusal_of(http: httpx.Client, **body: Any) -> Any:
    response = ask(http, **body)
    assert response.status_code == 400, response.text
    return response.json()["error"]


def read_events(text: str) -> list[Any]:
    parts = [each.split("\ndata: ") for each in text.split("\n\n")[:-1]]
    values = [json.loads(data) for _, data in parts]
    assert [name for name, _ in parts] == [f"event: {each['type']}" for each in values]
    return values


def events_of(http: httpx.Client, **body: Any) -> list[Any]:
    return read_events(ask(http, stream=True, **body).text)


def test_reasoning_comes_first_and_encrypted_three_times_differently(
    resource: LocalEndpoint, http: httpx.Client
) -> None:
    resource.script("chat", Scripted("I look.", CALLS, reasoning="It asks."))
    events = events_of(http, tools=[TOOL], reasoning={"summary": "auto"}, **ENCRYPTED)
    numbers = [each["sequence_number"] for each in events]
    assert numbers == list(range(len(events)))
    added = [each for each in events if each["type"] == "response.output_item.added"]
    done = [each for each in events if each["type"] == "response.output_item.done"]
    assert [each["output_index"] for each in added] == [0, 1, 2]
    kinds = ["reasoning", "message", "function_call"]
    assert [each["item"]["type"] for each in added] == kinds
    assert {each["item"]["status"] for each in added} == {"in_progress"}
    assert {each["item"]["status"] for each in done} == {"completed"}
    response = events[-1]["response"]
    assert [each["type"] for each in response["output"]] == kinds
    items = (added[0]["item"], done[0]["item"], response["output"][0])
    ciphertexts = [item["encrypted_content"] for item in items]
    assert len(set(ciphertexts)) == 3
    assert len(ciphertexts[0]) < len(ciphertexts[1])
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "It asks."}]
    pieces = [each for each in events if each["type"] == "response.reasoning_summary_text.delta"]
    assert "".join(each["delta"] for each in pieces) == "It asks."
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 3
    resource.script("chat")
    # Either of the whole ones goes back, with made-up ids or without.
    output = {"type": "function_call_output", "call_id": "call_1", "output": "9"}
    for ciphertext in ciphertexts[1:]:
        reasoning = {"type": "reasoning", "summary": [], "encrypted_content": ciphertext}
        call = {**response["output"][2], "id": "fc_made_up"}
        for extra in ({}, {"id": "rs_made_up"}):
            again = [{"role": "user", "content": "hi"}, {**reasoning, **extra}, call, output]
            assert answer_of(http, input=again, store=False)["status"] == "completed"


def test_whole_answers_have_reasoning_text_and_calls_in_order(
    resource: LocalEndpoint, http: httpx.Client
) -> None:
    resource.script("chat", Scripted("I look.", CALLS, reasoning="It asks."))
    output = answer_of(http, tools=[TOOL])["output"]
    assert [each["type"] for each in output] == ["reasoning", "message", "function_call"]
    assert "encrypted_content" not in output[0]
    assert output[0]["summary"] == []
    assert len({each["id"] for each in output}) == 3


def test_encrypted_reasoning_opens_only_on_the_resource_that_made_it(
    resource: LocalEndpoint, http: httpx.Client
) -> None:
    resource.script("chat", Scripted("Yes.", reasoning="Hm."))
    items = answer_of(http, **ENCRYPTED)["output"]
    resource.script("chat")
    again = [{"role": "user", "content": "hi"}, *items, {"role": "user", "content": "more"}]
    assert answer_of(http, input=again, store=False)
    with LocalEndpoint([LocalDeployment("chat")], key="local-key") as other:
        body = {"model": "chat", "input": again}
        headers = {"api-key": other.key}
        foreign = httpx.post(f"{other.url}/openai/v1/responses", json=body, headers=headers)
    error = foreign.json()["error"]
    assert (foreign.status_code, error["code"]) == (400, "invalid_encrypted_content")
    assert error["message"].startswith("The encrypted content gAAA...")


def test_references_to_reasoning_resolve_only_if_it_is_stored(
    resource: LocalEndpoint, http: httpx.Client
) -> None:
    resource.script("chat", *[Scripted("Yes.", reasoning="Hm.")] * 2)
    stored, gone = (answer_of(http, store=store)["output"][0] for store in (True, False))
    user = {"role": "user", "content": "hi"}
    resource.script("chat")
    for item in ({"type": "item_reference", "id": stored["id"]}, stored):
        assert answer_of(http, input=[user, item, user])["status"] == "completed"
    error = refusal_of(http, input=[user, gone, user])
    assert (error["param"], error["code"]) == ("input", "invalid_value")
    assert error["message"].startswith(f"Item with id '{gone['id']}' not found.")


def test_made_up_ids_need_their_prefix(http: httpx.Client) -> None:
    for item, prefix in (
        ({"type": "message", "role": "assistant", "content": "x"}, "msg"),
        ({"type": "reasoning", "summary": []}, "rs"),
    ):
        error = refusal_of(http, input=[{"role": "user", "content": "hi"}, {**item, "id": "x"}])
        if prefix == "msg":
            text = "Invalid 'input[1].id': 'x'. Expected an ID that begins with 'msg'."
            assert error["message"] == text
    assert answer_of(http, input=[{"role": "user", "content": "hi", "id": "anything"}])


def test_astra_refuses_reasoning_of_two_answers(
    resource: LocalEndpoint, http: httpx.Client
) -> None:
    resource.script("astra", *[Scripted("Yes.", reasoning="Hm.")] * 4)
    first, second = (answer_of(http, model="astra", **ENCRYPTED)["output"] for _ in range(2))
    user = {"role": "user", "content": "hi"}
    error = refusal_of(http, model="astra", input=[user, *first, user, *second, user])
    assert error["message"] == "Conflicting authenticated continuation identities."
    assert answer_of(http, model="astra", input=[user, first[1], user, *second, user])
    assert answer_of(http, input=[user, *first, user, *second, user])  # another model takes both


def test_a_failed_stream_has_the_nested_error_and_no_completed_half(http: httpx.Client) -> None:
    *_, error, failed = events_of(http, model="failing")
    text = {"code": "rate_limit_exceeded", "message": "Out of words."}
    nested = {"type": "rate_limit_exceeded", "param": None, **text}
    assert (error["type"], error["error"]) == ("error", nested)
    assert error["sequence_number"] == failed["sequence_number"] - 1
    assert failed["type"] == "response.failed"
    response = failed["response"]
    assert (response["status"], response["error"], response["usage"]) == ("failed", text, None)
    statuses = [each["status"] for each in response["output"]]
    assert statuses == ["completed", "incomplete"]
    assert http.get(f"/responses/{response['id']}").json() == response


def test_a_stream_is_replayed_from_any_number(http: httpx.Client) -> None:
    events = events_of(http)
    path = f"/responses/{events[-1]['response']['id']}?stream=true"
    replayed = http.get(path)
    assert replayed.headers["content-type"].startswith("text/event-stream")
    assert read_events(replayed.text) == events
    assert read_events(http.get(f"{path}&starting_after=3").text) == events[4:]
    wrong = http.get(f"{path}&starting_after=x").json()["error"]
    assert wrong["param"] == "starting_after"
    whole = answer_of(http)["id"]
    error = http.get(f"/responses/{whole}?stream=true").json()["error"]
    assert (error["param"], "stream=true" in error["message"]) == ("stream", True)
    failed = events_of(http, model="failing")
    path = f"/responses/{failed[-1]['response']['id']}?stream=true"
    assert read_events(http.get(path).text) == failed


def test_a_background_response_is_polled(http: httpx.Client) -> None:
    begun = answer_of(http, background=True)
    assert (begun["status"], begun["background"], begun["output"]) == ("queued", True, [])
    path = f"/responses/{begun['id']}"
    while (response := http.get(path).json())["status"] in ("queued", "in_progress"):
        pass
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["text"].endswith("hi")
    cancelled = http.post(f"{path}/cancel").json()
    assert cancelled["status"] == "completed"  # it is over
    error = refusal_of(http, background=True, store=False)
    assert error["param"] == "background"
    synchronous = answer_of(http)["id"]
    assert http.post(f"/responses/{synchronous}/cancel").status_code == 400


def test_a_background_response_is_cancelled(http: httpx.Client) -> None:
    begun = answer_of(http, model="endless", background=True)
    path = f"/responses/{begun['id']}"
    while http.get(path).json()["status"] == "queued":
        pass
    Endless.stopped.clear()
    for _ in range(2):
        assert http.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert Endless.stopped.wait(30)
    assert http.get(path).json()["status"] == "cancelled"
    deleted = answer_of(http, model="endless", background=True)["id"]
    while http.get(f"/responses/{deleted}").json()["status"] == "queued":
        pass
    Endless.stopped.clear()
    assert http.delete(f"/responses/{deleted}").json()["deleted"]
    assert Endless.stopped.wait(30)
    assert http.get(f"/responses/{deleted}").status_code == 404


def test_a_background_response_is_streamed_and_followed(http: httpx.Client) -> None:
    events = events_of(http, background=True)
    kinds = [each["type"] for each in events]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    path = f"/responses/{events[-1]['response']['id']}?stream=true&starting_after=2"
    assert read_events(http.get(path).text) == events[3:]


def test_a_background_response_fails_as_a_value(http: httpx.Client) -> None:
    ask(http, model="tight")
    begun = answer_of(http, model="tight", background=True)
    path = f"/responses/{begun['id']}"
    while (response := http.get(path).json())["status"] in ("queued", "in_progress"):
        pass
    assert response["status"] == "failed"
    assert response["error"]["code"] == "rate_limit_exceeded"
    events = events_of(http, model="tight", background=True)
    assert events[-1]["type"] == "response.failed"
    assert events_of(http, model="failing", background=True)[-2]["type"] == "error"


def test_input_tokens_are_counted(http: httpx.Client) -> None:
    body = {"model": "chat", "input": "hi", "instructions": "Be brief."}
    counted = http.post("/responses/input_tokens", json=body).json()
    used = answer_of(http, instructions="Be brief.")["usage"]["input_tokens"]
    assert counted == {"object": "response.input_tokens", "input_tokens": used}


def test_newer_models_take_tools_on_responses_alone(http: httpx.Client) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    chat = {"messages": [{"role": "user", "content": "hi"}], "tools": tools}

    def error(**body: Any) -> Any:
        return http.post("/chat/completions", json={**chat, **body}).json().get("error")

    for model in ("gpt-5.4", "astra"):
        problem = error(model=model)
        assert (problem["param"], problem["code"]) == ("reasoning_effort", None)
        assert "/v1/responses" in problem["message"]
        assert answer_of(http, model=model, tools=[TOOL])
    assert error(model="gpt-5.4", reasoning_effort="none") is None
    assert error(model="astra", reasoning_effort="none") is not None
    assert error(model="gpt-5.4", tools=None) is None


def test_a_conversation_keeps_what_responses_add(http: httpx.Client) -> None:
    items = [{"role": "system", "content": "Be brief."}]
    body = {"items": items, "metadata": {"user": "1"}}
    conversation = http.post("/conversations", json=body).json()
    assert (conversation["object"], conversation["metadata"]) == ("conversation", {"user": "1"})
    path = f"/conversations/{conversation['id']}"
    first = answer_of(http, conversation=conversation["id"])
    assert first["conversation"] == {"id": conversation["id"]}
    second = events_of(http, conversation={"id": conversation["id"]}, input="more")[-1]["response"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] + 10
    listed = http.get(f"{path}/items?order=asc").json()["data"]
    roles = [item["role"] for item in listed]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    assert listed[0]["content"] == [{"type": "input_text", "text": "Be brief."}]
    newest = http.get(f"{path}/items?limit=1").json()["data"][0]
    assert newest["id"] == listed[-1]["id"]
    assert http.get(f"{path}/items/{newest['id']}").json() == newest
    assert http.delete(f"{path}/items/{newest['id']}").json()["id"] == conversation["id"]
    assert http.get(f"{path}/items/{newest['id']}").status_code == 404
    more = http.post(f"{path}/items", json={"items": items}).json()
    assert [item["role"] for item in more["data"]] == ["system"]
    assert http.post(path, json={"metadata": {}}).json()["metadata"] == {}
    assert http.get(path).json()["metadata"] == {}
    assert http.delete(path).json()["deleted"]
    assert http.get(path).status_code == 404
    assert ask(http, conversation=conversation["id"]).status_code == 404


def test_a_wrong_conversation_is_refused(http: httpx.Client) -> None:
    both = refusal_of(http, conversation="c", previous_response_id="r")
    assert both["param"] == "conversation"
    for body, param in (({"metadata": 1}, "metadata"), ({"items": 1}, "items")):
        answer = http.post("/conversations", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
