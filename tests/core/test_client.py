"""Both clients: the same methods, routing, deployments, threads, loops and forks."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest
from httpx_aiohttp import HttpxAiohttpClient

from azinfer.core import (
    APIConnectionError,
    AsyncInferenceClient,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    Deployment,
    DeploymentNotFoundError,
    Deployments,
    InferenceClient,
    InferenceError,
    InvalidResponseError,
    RateLimit,
    Timeout,
    adapter_client,
    check_option_names,
    profile_of,
    ready_client,
    user_agent,
)
from azinfer.core.errors import missing_extra
from azinfer.core.model_profiles import adapt
from client_driver import KEY, USER, ClientDriver, TestClock, open_driver
from raw_server import RawServer, chat, events, failure, part, reply, stream, vectors

Ask = Callable[..., ClientDriver]
NAMES = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
}


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        NAMES.get(name, name): inspect.signature(member)
        for name, member in inspect.getmembers(kind, callable)
        if not name.startswith("_") or name in NAMES or name in NAMES.values()
    }


def test_both_clients_have_the_same_methods_and_parameters() -> None:
    ours, theirs = public(InferenceClient), public(AsyncInferenceClient)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert signature.parameters == theirs[name].parameters, name
    assert inspect.signature(InferenceClient) == inspect.signature(AsyncInferenceClient)


@pytest.mark.parametrize("kind", [InferenceClient, AsyncInferenceClient])
def test_every_public_method_has_a_docstring(kind: type) -> None:
    for name in public(kind).keys() - {*NAMES, *NAMES.values()}:
        assert inspect.getdoc(getattr(kind, name)), name


@pytest.mark.parametrize(
    ("path", "surface", "status", "body"),
    [
        ("/models", None, 404, failure("unknown_model", "Unknown model: x")),
        ("/models", None, 400, failure("unknown_model", "Unknown model: x")),
        ("/openai/v1", None, 404, failure("DeploymentNotFound", "does not exist")),
        ("/openai", None, 404, failure("DeploymentNotFound", "does not exist")),
        ("/openai/v1", None, 404, failure("model_not_found", "no such model")),
        ("/models", None, 400, failure("unavailable_model", "Unavailable model: x")),
    ],
)
def test_an_unknown_deployment_is_a_typed_error_in_every_dialect(
    ask: Ask, server: RawServer, path: str, surface: str | None, status: int, body: Any
) -> None:
    server.will(reply(body, status, {"apim-request-id": "r7"}))
    with pytest.raises(DeploymentNotFoundError) as caught:
        ask(path, surface=surface).complete(model="mistral-larg")
    error = caught.value
    assert (error.status, error.deployment, error.request_id) == (status, "mistral-larg", "r7")
    assert error.code == body["error"]["code"]
    message_field = body["error"]["message"]
    assert f"{message_field}. Check model=; client.deployments() lists" in str(error)
    assert "'mistral-larg'" in str(error)
    assert server.url in str(error)


CLASSIC = {"data": [{"id": "Mistral-Large", "model": "mistral-large-2411"}, {"id": "prod-chat"}]}


def test_the_nearest_names_are_suggested(ask: Ask, server: RawServer) -> None:
    server.will(reply(CLASSIC), reply(failure("DeploymentNotFound", "does not exist"), 404))
    driver = ask()
    known = driver.deployments()
    with pytest.raises(TypeError, match="are found by their names, not by 0"):
        known[0]  # type: ignore[index]
    with pytest.raises(DeploymentNotFoundError) as caught:
        driver.complete(model="mistral-larg")
    assert caught.value.suggestions == ("Mistral-Large",)
    assert "Did you mean 'Mistral-Large'?" in str(caught.value)
    assert "This endpoint has: Mistral-Large, prod-chat." in str(caught.value)
    with pytest.raises(DeploymentNotFoundError) as caught:
        driver.complete(model="zzz")
    assert caught.value.suggestions == ()
    assert "Did you mean" not in str(caught.value)


ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
ARM_ITEM = {
    "name": "PTU",
    "sku": {"name": "ProvisionedManaged", "capacity": 50},
    "properties": {
        "model": {"format": "OpenAI", "name": "gpt-4o", "version": "2024-11-20"},
        "raiPolicyName": "Microsoft.DefaultV2",
        "rateLimits": [{"key": "request", "renewalPeriod": 10, "count": 1}],
        "capabilities": {"chatCompletion": "true"},
    },
}
PROJECT_ITEM = {
    "name": "embed",
    "type": "ModelDeployment",
    "modelName": "text-embedding-3-small",
    "modelVersion": "1",
    "modelPublisher": "OpenAI",
    "capabilities": {"embeddings": "true"},
    "sku": {"name": "GlobalStandard", "capacity": 150},
}


def test_deployments_have_their_five_facts(ask: Ask, server: RawServer) -> None:
    server.will(reply({"value": [ARM_ITEM]}))
    listing = ask().deployments(server.url + ARM)
    assert listing["ptu"] == Deployment(
        "PTU",
        "gpt-4o",
        model_version="2024-11-20",
        model_format="OpenAI",
        capacity_type="ProvisionedManaged",
        capacity=50,
        content_filter="Microsoft.DefaultV2",
        rate_limits=(RateLimit("request", 1, 10),),
        capabilities={"chatCompletion": "true"},
    )
    assert listing["ptu"].raw == ARM_ITEM
    assert server.received[0].target == f"{ARM}/deployments?api-version=2025-09-01"


class Credential:
    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str) -> Any:
        self.scopes += scopes
        return type("Token", (), {"token": "t", "expires_on": 2e9})


@pytest.mark.parametrize(
    ("path", "source", "target", "scope"),
    [
        (
            "/api/projects/p",
            None,
            "/api/projects/p/deployments?api-version=v1",
            "https://ai.azure.com/.default",
        ),
        (
            "/models",
            "/api/projects/p",
            "/api/projects/p/deployments?api-version=v1",
            "https://ai.azure.com/.default",
        ),
        (
            "/models",
            ARM + "/deployments?api-version=old",
            f"{ARM}/deployments?api-version=2025-09-01",
            "https://management.azure.com/.default",
        ),
        (
            "/models",
            None,
            "/openai/deployments?api-version=2022-12-01",
            "https://cognitiveservices.azure.com/.default",
        ),
    ],
)
def test_deployments_are_listed_where_they_are(
    ask: Ask, server: RawServer, path: str, source: str | None, target: str, scope: str
) -> None:
    server.will(reply({"value": [PROJECT_ITEM]}))
    credential = Credential()
    listing = ask(path, credential).deployments(source and server.url + source)
    assert listing["EMBED"].model_name == "text-embedding-3-small"
    assert listing["embed"].capabilities == {"embeddings": "true"}
    assert (server.received[0].method, server.received[0].target) == ("GET", target)
    assert credential.scopes == [scope]


def test_all_pages_are_read_with_the_version_of_the_first(ask: Ask, server: RawServer) -> None:
    items = [{**PROJECT_ITEM, "name": f"d{at}"} for at in range(3)]
    more = f"{server.url}/api/projects/p/deployments?api-version=2020-01-01&skip="
    server.will(
        reply({"value": items[:1], "nextLink": more + "1"}),
        reply({"value": items[1:2], "nextLink": more + "2"}),
        reply({"value": items[2:]}),
    )
    listing = ask("/api/projects/p").deployments()
    assert list(listing) == ["d0", "d1", "d2"]
    queries = [request.target.partition("?")[2] for request in server.received]
    assert queries == ["api-version=v1", "skip=1&api-version=v1", "skip=2&api-version=v1"]


def test_a_page_on_another_host_is_not_followed(ask: Ask, server: RawServer) -> None:
    server.will(reply({"value": [], "nextLink": "https://evil.example.com/?skip=1"}))
    with pytest.raises(InvalidResponseError, match="was refused"):
        ask().deployments()
    assert len(server.received) == 1


def test_an_endless_list_is_an_error(ask: Ask, server: RawServer) -> None:
    link = f"{server.url}/openai/deployments?skip=1"
    server.will(reply({"data": [], "nextLink": link}))
    with pytest.raises(InvalidResponseError, match="was refused"):
        ask().deployments()
    assert len(server.received) == 1001


@pytest.mark.parametrize("item", [{}, {"name": "x", "type": "ModelDeployment", "sku": 1}, 7])
def test_an_invalid_entry_in_a_list_is_an_error(ask: Ask, server: RawServer, item: Any) -> None:
    server.will(reply({"value": [item]}))
    with pytest.raises(InvalidResponseError, match="not a deployment"):
        ask().deployments()


@pytest.mark.parametrize("body", [[], {}, "null", {"deployments": []}])
def test_a_malformed_list_is_an_error(ask: Ask, server: RawServer, body: Any) -> None:
    server.will(reply(body))
    with pytest.raises(InvalidResponseError, match="no list of deployments"):
        ask().deployments()
    server.will(reply(failure("x", "broken")))
    with pytest.raises(InferenceError, match="broken"):
        ask().deployments()


def test_a_list_never_sends_a_key_to_another_host(ask: Ask, server: RawServer) -> None:
    with pytest.raises(ConfigurationError, match="a key is sent to no other host"):
        ask().deployments("https://management.azure.com" + ARM)
    assert not server.received


def test_a_key_refused_by_a_list_gets_advice_about_keys(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("401", "no"), 401))
    with pytest.raises(AuthenticationError, match="needs a token of Entra ID, not a key"):
        ask("/api/projects/p").deployments()
    with pytest.raises(AuthenticationError) as caught:
        ask("/api/projects/p").complete()
    assert "Entra" not in str(caught.value)
    with pytest.raises(AuthenticationError) as caught:
        ask("/api/projects/p", Credential()).deployments()
    assert "not a key" not in str(caught.value)


def test_an_endpoint_without_a_list_gets_advice(ask: Ask) -> None:
    with pytest.raises(ConfigurationError, match="pass source="):
        ask("/x", surface="serverless").deployments()
    with pytest.raises(ConfigurationError, match="pass source="):
        ask().deployments("http://127.0.0.1:1/models")


def test_deployments_are_found_in_any_case() -> None:
    result = Deployments([Deployment("Straße"), Deployment("gpt-4o")])
    assert result["STRASSE"].name == "Straße"
    assert "GPT-4O" in result
    assert not result.__contains__(4)
    assert list(result) == ["Straße", "gpt-4o"]
    assert "Deployment(name='gpt-4o'" in repr(result)
    assert len(result) == 2
    with pytest.raises(KeyError):
        result["x"]


@pytest.mark.parametrize(
    ("client", "call", "model_id", "source"),
    [
        ({"model": "gpt-4.1"}, {}, "gpt-4.1", "guessed"),
        ({"model": "prod-chat"}, {}, None, None),
        ({"model": "prod-chat", "model_id": "gpt-5"}, {}, "gpt-5", "declared"),
        ({"model": "prod-chat", "model_id": "gpt-5"}, {"model": "PROD-Chat"}, "gpt-5", "declared"),
        ({"model": "prod-chat", "model_id": "gpt-5"}, {"model": "other"}, None, None),
        ({"model": "prod-chat"}, {"model_id": "o3"}, "o3", "declared"),
    ],
)
def test_explain_returns_where_a_request_goes_and_why(
    ask: Ask, server: RawServer, client: Any, call: Any, model_id: str | None, source: str | None
) -> None:
    routing = ask("/models", **client).client.explain(**call)
    assert (routing.model_id, routing.model_id_source) == (model_id, source)
    assert routing.requested == routing.deployment == call.get("model", client["model"])
    assert routing.url == f"{server.url}/models/chat/completions?api-version=2024-05-01-preview"
    assert not server.received


def test_a_listed_model_wins_over_a_guess(ask: Ask, server: RawServer) -> None:
    items = [{**PROJECT_ITEM, "name": "gpt-4.1", "modelName": "o3"}]
    server.will(reply({"value": items}), reply(chat()))
    driver = ask("/api/projects/p")
    assert driver.client.explain().model_id_source == "guessed"
    driver.deployments()
    assert driver.client.explain().model_id_source == "listed"
    answer = driver.complete(max_tokens=3)
    assert server.received[1].json["max_completion_tokens"] == 3
    assert answer.routing is not None
    assert answer.routing.adapted == ("max_tokens → max_completion_tokens",)


SYSTEM, DEVELOPER = {"role": "system", "content": "s"}, {"role": "developer", "content": "s"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a"}}]}
ASKED = {"role": "user", "content": "hi"}


def call_messages(*ids: str) -> list[dict[str, Any]]:
    calls = [{"id": each, "type": "function", "function": {"name": "f"}} for each in ids]
    answers = [{"role": "tool", "tool_call_id": each, "content": "x"} for each in ids]
    return [{"role": "assistant", "tool_calls": calls}, *answers]


@pytest.mark.parametrize(
    ("model_id", "body", "expected", "changes"),
    [
        ("gpt-5", {"max_tokens": 1}, {"max_completion_tokens": 1}, 1),
        ("o3-mini", {"max_tokens": 1}, {"max_completion_tokens": 1}, 1),
        ("openai/o1", {"max_tokens": 1}, {"max_completion_tokens": 1}, 1),
        ("gpt-5", {"max_tokens": 1, "max_completion_tokens": 2}, None, 0),
        ("gpt-4.1", {"max_tokens": 1}, None, 0),
        ("gpt-4.1", {"max_completion_tokens": 1}, None, 0),
        ("mistral-large-2411", {"max_completion_tokens": 1}, {"max_tokens": 1}, 1),
        ("Llama-3.3-70B", {"max_completion_tokens": 1}, {"max_tokens": 1}, 1),
        ("prod-chat", {"max_completion_tokens": 1}, None, 0),
        ("mistral-large", {"messages": [DEVELOPER, ASKED]}, {"messages": [SYSTEM, ASKED]}, 1),
        ("gpt-5", {"messages": [SYSTEM, DEVELOPER]}, {"messages": [DEVELOPER, DEVELOPER]}, 1),
        ("gpt-5", {"messages": [SYSTEM, ASKED]}, None, 0),
        ("gpt-4.1", {"messages": [SYSTEM, DEVELOPER]}, None, 0),
        (
            "DeepSeek-V3",
            {"messages": [PARTS]},
            {"messages": [{"role": "user", "content": "ab"}]},
            1,
        ),
        ("DeepSeek-V3", {"messages": [PICTURE]}, None, 0),
        ("gpt-4.1", {"messages": [PARTS]}, None, 0),
        (
            "gpt-4.1",
            {"messages": [{**ASKED, "reasoning_content": "x", "cache_control": {}}]},
            {"messages": [ASKED]},
            2,
        ),
        ("mistral-large", {"messages": call_messages("abc123XYZ")}, None, 0),
        ("gpt-4.1", {"parallel_tool_calls": False, "tool_choice": "auto"}, {}, 2),
        ("gpt-4.1", {"parallel_tool_calls": True, "tools": [{}], "tool_choice": "none"}, None, 0),
        ("gpt-4.1", {"tool_choice": "required"}, None, 0),
        (
            "phi-4",
            {"messages": [{"role": "assistant", "content": None, "tool_calls": None}]},
            {"messages": [{"role": "assistant", "content": None}]},
            0,
        ),
        (
            "phi-4",
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]},
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            0,
        ),
    ],
)
def test_a_request_is_adapted_to_its_model_without_loss(
    model_id: str, body: dict[str, Any], expected: Any, changes: int
) -> None:
    body = {"messages": [ASKED], **body}
    before = pickle.dumps(body)
    result, adapted = adapt(body, profile_of(model_id))
    assert result == {"messages": [ASKED], **(body if expected is None else expected)}
    assert len(adapted) == changes
    assert pickle.dumps(body) == before


def test_foreign_call_ids_are_shortened_on_both_sides() -> None:
    messages = call_messages("call_28791505", "abc123XYZ")
    result, changes = adapt({"messages": messages}, profile_of("mistral-large"))
    assistant, first, second = result["messages"]
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert len(ids[0]) == 9
    assert ids[0].isalnum()
    assert ids[1] == "abc123XYZ"
    assert len(changes) == 1


def test_a_tool_call_of_unknown_form_is_passed_on() -> None:
    messages = [{"role": "assistant", "tool_calls": [{"id": 7, "index": 0, "custom": {}}]}]
    result, _ = adapt({"messages": messages}, profile_of("mistral-large"))
    assert result["messages"][0]["tool_calls"] == [{"id": 7, "custom": {}}]


@pytest.mark.parametrize(
    ("author", "name"),
    [
        ("Guide", "Guide"),
        ("Ünal-2", "Ünal-2"),
        ("Data Analyst <x>", "Data_Analyst_x"),
        ("a" * 70, "a" * 64),
        (" / ", None),
        ("", None),
    ],
)
def test_names_of_authors_are_sent_as_services_accept_them(author: str, name: str | None) -> None:
    messages = [{"role": "user", "content": "Hello", "name": author}]
    result, changes = adapt({"messages": messages}, profile_of("gpt-4.1"))
    assert result["messages"][0].get("name") == name
    assert len(changes) == (author != name)
    assert messages[0]["name"] == author


@pytest.mark.parametrize(
    ("model", "sent"),
    [("mistral-large", False), ("cohere-command-a", False), ("gpt-4.1", True), ("prod", True)],
)
def test_authors_are_left_out_for_models_with_closed_schemas(model: str, sent: bool) -> None:
    messages = [{"role": "assistant", "content": "Hello", "name": "guide"}]
    result, changes = adapt({"messages": messages}, profile_of(model))
    assert ("name" in result["messages"][0]) is sent
    assert changes == (() if sent else ("messages without name",))


def test_a_client_is_usable_from_many_threads(server: RawServer) -> None:
    server.choose = lambda request: reply(chat(request.json["messages"][0]["content"]))
    wrong: list[Any] = []
    with open_driver("sync", f"{server.url}/models", KEY, "m") as driver:

        def work(name: int) -> None:
            for at in range(12):
                text = f"{name}-{at}"
                result = driver.client.complete([{"role": "user", "content": text}]).text
                if result != text:
                    wrong.append((text, result))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (wrong, len(server.received)) == ([], 192)


def test_a_client_is_usable_from_many_tasks(server: RawServer) -> None:
    server.choose = lambda request: reply(chat(request.json["messages"][0]["content"]))
    with open_driver("async", f"{server.url}/models", KEY, "m") as driver:

        async def one(at: int) -> bool:
            answer = await driver.client.complete([{"role": "user", "content": str(at)}])
            return bool(answer.text == str(at))

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*map(one, range(200)))

        assert driver.run(all_of_them()) == [True] * 200


def test_an_async_client_works_in_several_event_loops(server: RawServer) -> None:
    server.will(reply(chat()))
    client = AsyncInferenceClient(f"{server.url}/models", KEY, "m")
    for _ in range(3):
        assert asyncio.run(client.complete(USER)).text == "hello"
        assert server.wait_until(lambda: server.open_connections == 0)
    asyncio.run(client.aclose())


def test_a_closed_client_opens_again(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    driver = ask()
    driver.complete()
    for _ in range(2):
        driver.run(driver.client.close() if driver.kind == "sync" else driver.client.aclose())
    assert server.wait_until(lambda: server.open_connections == 0)
    assert driver.complete().text == "hello"


def test_clients_are_context_managers(server: RawServer) -> None:
    server.will(reply(chat()))
    with InferenceClient(f"{server.url}/models", KEY, "m") as client:
        client.complete(USER)

    async def enter() -> None:
        async with AsyncInferenceClient(f"{server.url}/models", KEY, "m") as client:
            await client.complete(USER)

    asyncio.run(enter())
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_ready_client_takes_the_options_of_an_adapter() -> None:
    client = InferenceClient("https://contoso.openai.azure.com", KEY, "m", timeout=5)
    own: dict[str, Any] = {"endpoint": client.endpoint.url, "surface": "v1", "timeout": 5}
    assert ready_client(client, **own, credential=None) is client
    with pytest.raises(ConfigurationError, match="client= has its own credential: leave out"):
        ready_client(client, credential=KEY)
    with pytest.raises(ConfigurationError, match="its own endpoint and credential: leave out one"):
        ready_client(client, endpoint="https://other.openai.azure.com", credential=KEY)
    changed = ready_client(client, timeout=6, max_retries=0, surface="models", model="n")
    assert (changed.timeout, changed.max_retries) == (Timeout.of(6), 0)
    assert (changed.endpoint.surface.name, changed.model) == ("models", "n")
    assert (client.timeout, client.endpoint.surface.name) == (Timeout.of(5), "v1")


def test_a_ready_client_names_the_adapter_unless_it_has_a_user_agent(server: RawServer) -> None:
    server.will(reply(chat()))
    for headers, expected in ({}, "a/1"), ({"User-Agent": "mine"}, "mine"):
        client = InferenceClient(f"{server.url}/openai/v1", KEY, "m", headers=headers)
        ready_client(client, user_agent="a/1", headers={"x-a": "b"}).complete(USER)
        request = server.received[-1]
        assert (request.header("user-agent"), request.header("x-a")) == (expected, "b")


def test_clients_of_a_process_share_their_connections(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    first, second = ask(), ask("/models")
    first.complete()
    if first.kind == "sync":
        second.complete()
        first.client.close()
        second.complete()
        assert server.connections == 1


def test_clients_of_one_loop_share_their_connections(server: RawServer) -> None:
    server.will(reply(chat()))

    async def both() -> None:
        async with AsyncInferenceClient(f"{server.url}/models", KEY, "m") as first:
            async with AsyncInferenceClient(f"{server.url}/openai/v1", KEY, "m") as second:
                await first.complete(USER)
                await second.complete(USER)
            await first.complete(USER)

    asyncio.run(both())
    assert server.connections == 1


def test_dropped_clients_close_their_connections(server: RawServer) -> None:
    server.will(reply(chat()))
    clients = [InferenceClient(f"{server.url}/models", KEY, "m") for _ in range(5)]
    for client in clients:
        client.complete(USER)
    del clients, client
    gc.collect()
    assert server.wait_until(lambda: server.open_connections == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_and_its_parent_get_their_own_answers(
    server: RawServer, tmp_path: Any
) -> None:
    server.choose = lambda request: reply(chat(request.json["messages"][0]["content"]))
    script = tmp_path / "forks.py"
    script.write_text(
        """
import asyncio, os, sys
from azinfer.core import AsyncInferenceClient, InferenceClient
url = sys.argv[1]
client = InferenceClient(url, "k", "m")
later = AsyncInferenceClient(url, "k", "m")
ask = lambda text: client.complete([{"role": "user", "content": text}]).text
again = lambda text: asyncio.run(later.complete([{"role": "user", "content": text}])).text
assert ask("before") == again("before") == "before"
child = os.fork()
name = "parent" if child else "child"
for at in range(20):
    assert ask(f"{name}{at}") == f"{name}{at}"
    assert again(f"{name}{at}") == f"{name}{at}"
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert ask("after") == "after"
"""
    )
    command = [sys.executable, "-W", "error", str(script), f"{server.url}/models"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_callers_httpx_client_is_used_and_stays_open(server: RawServer, library: Any) -> None:
    server.will(reply(chat()), stream(events(part("a", "stop"))), reply(vectors([1.0])))
    with library.Client(headers={"x-mine": "1"}) as http:
        with open_driver("sync", f"{server.url}/models", KEY, "m", http_client=http) as driver:
            assert driver.complete().text == "hello"
            assert driver.stream().text == "a"
            assert len(driver.embed("a")) == 1
        assert not http.is_closed
    server.will(reply(chat()), stream(events(part("a", "stop"))))

    async def with_async() -> None:
        async with library.AsyncClient(headers={"x-mine": "1"}) as http:
            client = AsyncInferenceClient(f"{server.url}/models", KEY, "m", http_client=http)
            assert (await client.complete(USER)).text == "hello"
            async with client.stream(USER) as chunks:
                assert [chunk.text async for chunk in chunks] == ["a"]
            await client.aclose()
            assert not http.is_closed

    asyncio.run(with_async())
    assert {request.header("x-mine") for request in server.received} == {"1"}


def test_an_httpx_aiohttp_client_is_used_and_its_errors_are_translated(server: RawServer) -> None:
    server.will(
        reply(chat()), stream(events(part("a"), part("b", "stop"))), lambda peer: peer.reset()
    )

    async def run_calls() -> None:
        async with HttpxAiohttpClient() as http:
            client = AsyncInferenceClient(server.url, KEY, "m", http_client=http, max_retries=0)
            assert (await client.complete(USER)).text == "hello"
            async with client.stream(USER) as chunks:
                assert [chunk.text async for chunk in chunks] == ["a", "b"]
            with pytest.raises(APIConnectionError, match="connection failed"):
                await client.complete(USER)
            server.stop()
            with pytest.raises(APIConnectionError, match="check the endpoint and the network"):
                await client.complete(USER)

    asyncio.run(run_calls())


def test_a_client_creates_its_sync_or_async_counterpart(server: RawServer) -> None:
    server.will(reply(chat()))
    with InferenceClient(f"{server.url}/models", KEY, "m") as client:
        twin = client.to_async()
        assert asyncio.run(twin.complete(USER)).text == "hello"
        assert twin.to_sync().complete(USER).text == "hello"
        assert (client.to_sync(), twin.to_async()) == (client, twin)
        assert client.to_async() is twin
        assert copy.copy(client).to_async() is not twin
    with httpx.Client() as http:
        client = InferenceClient(f"{server.url}/models", KEY, "m", http_client=http)
        assert client.to_sync() is client
        with pytest.raises(ConfigurationError, match="its own http_client"):
            client.to_async()


def test_errors_of_a_callers_httpx_client_are_translated(server: RawServer) -> None:
    server.will(lambda peer: peer.reset())
    with httpx2.Client() as http:
        client = InferenceClient(f"{server.url}/models", KEY, "m", max_retries=0, http_client=http)
        with pytest.raises(InferenceError, match="connection failed"):
            client.complete(USER)


def test_a_client_of_the_wrong_kind_is_refused() -> None:
    endpoint = "https://contoso.openai.azure.com"
    with httpx.Client() as http, pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient"):
        AsyncInferenceClient(endpoint, KEY, http_client=http)
    with pytest.raises(ConfigurationError, match=r"httpx\.Client"):
        InferenceClient(endpoint, KEY, http_client=httpx.AsyncClient())


def test_a_client_with_a_callers_httpx_client_cannot_be_pickled() -> None:
    with httpx.Client() as http:
        client = InferenceClient("https://contoso.openai.azure.com", KEY, http_client=http)
        with pytest.raises(ConfigurationError, match="cannot be pickled"):
            pickle.dumps(client)


def test_constructors_touch_no_network(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any) -> Any:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", forbidden)
    driver = ClientDriver(kind, "https://no.such.host.openai.azure.com", KEY, model="m")
    assert "no.such.host" in repr(driver.client)
    driver.close()


def test_a_missing_framework_names_its_extra() -> None:
    error = missing_extra("langchain", ModuleNotFoundError("x", name="langchain_core"))
    assert str(error) == ("azinfer needs langchain_core for this: pip install 'azinfer[langchain]'")
    assert error.name == "langchain_core"


def test_errors_say_what_happened_where_and_survive_a_pickle(ask: Ask, server: RawServer) -> None:
    body = failure("BadRequest", "bad\r\nforged: line \x1b[31m", param="n")
    server.will(reply(body, 400, {"x-request-id": "r1"}))
    with pytest.raises(BadRequestError) as caught:
        ask(max_retries=0).complete()
    error = caught.value
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is BadRequestError
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert (again.param, again.request_id, again.raw is not None) == ("n", "r1", True)
    for fact in ("deployment 'gpt-4.1'", server.url, "status 400", "code BadRequest", "r1"):
        assert fact in str(error)


def test_error_messages_are_neither_empty_nor_long() -> None:
    assert InferenceError("").message == "InferenceError"
    assert len(str(InferenceError("x" * 10_000))) < 2_000


def test_an_async_call_outside_an_event_loop_is_an_error(server: RawServer) -> None:
    client = AsyncInferenceClient(f"{server.url}/models", KEY, "m")
    with contextlib.closing(client.complete(USER)) as work, pytest.raises(RuntimeError):
        work.send(None)


def test_the_test_clock_only_counts() -> None:
    clock = TestClock()
    asyncio.run(clock.asleep(3))
    assert clock.waits == [3]


def test_a_misspelt_adapter_option_is_an_error_with_the_nearest_name() -> None:
    check_option_names("Chat", ["model"], ["model", "timeout"])
    with pytest.raises(ConfigurationError, match="Chat has no option 'modl'; did you mean 'model'"):
        check_option_names("Chat", ["modl"], ["model", "timeout"])
    with pytest.raises(ConfigurationError, match="no option 'zz'; choose from model, timeout"):
        check_option_names("Chat", ["zz"], ["timeout", "model"])


def test_a_new_client_of_an_adapter_names_the_framework(server: RawServer) -> None:
    server.will(reply(chat()))
    for headers, expected in (None, user_agent("pytest")), ({"User-Agent": "mine"}, "mine"):
        options: dict[str, Any] = {"endpoint": server.url, "credential": KEY, "model": "m"}
        client = adapter_client(
            None, user_agent=user_agent("pytest"), headers=headers, **options
        ).to_sync()
        client.complete(USER)
        assert server.received[-1].header("user-agent") == expected
    ready = adapter_client(client, user_agent="a/1", model="n")
    assert (ready.model, client.model) == ("n", "m")
