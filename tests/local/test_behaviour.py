"""Scripted answers, latency and faults of a deployment."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import (
    APIConnectionError,
    BadRequestError,
    ConfigurationError,
    InferenceClient,
    InvalidResponseError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    Tool,
    UserMessage,
)
from azinfer.local import (
    Fault,
    Latency,
    LocalDeployment,
    LocalEndpoint,
    Scripted,
    ScriptedCall,
    SyntheticEngine,
)

HELLO = [UserMessage("Hello there")]
WAITED: list[float] = []


async def sleep(seconds: float) -> None:
    WAITED.append(seconds)


@pytest.fixture(scope="module")
def running_endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments, of which one was configured to be slow and to fail."""
    configured = LocalDeployment(
        "configured",
        "m",
        SyntheticEngine("one two three"),
        latency=Latency(0.5, 0.25),
        faults=(Fault(status=503, times=1),),
        script=(Scripted("first"),),
    )
    deployments = [LocalDeployment("chat", "m", SyntheticEngine("one two three")), configured]
    with LocalEndpoint(deployments, key="local-key", sleep=sleep) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(running_endpoint: LocalEndpoint) -> LocalEndpoint:
    """The endpoint as it was configured."""
    running_endpoint.reset()
    WAITED.clear()
    return running_endpoint


@pytest.fixture
def client(endpoint: LocalEndpoint) -> Iterator[InferenceClient]:
    """A client that asks once."""
    with InferenceClient(endpoint.url, endpoint.key, "chat", max_retries=0) as client:
        yield client


@pytest.fixture
def http(endpoint: LocalEndpoint) -> Iterator[httpx.Client]:
    """A plain HTTP client."""
    with httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http:
        yield http


def texts(client: InferenceClient, *message: str) -> list[str]:
    return [client.complete([UserMessage(each)]).text for each in message]


def test_a_script_answers_in_order(endpoint: LocalEndpoint, client: InferenceClient) -> None:
    endpoint.script("CHAT", "first", Scripted("second", finish_reason="length"))
    assert texts(client, "a") == ["first"]
    answer = client.complete(HELLO)
    assert (answer.text, answer.finish_reason) == ("second", "length")
    with pytest.raises(BadRequestError, match=r"'chat' has no answer to 'Hello there'.*2 of its 2"):
        client.complete(HELLO)
    endpoint.script("chat")
    assert texts(client, "a") == ["one two three"]


def test_a_script_can_choose_by_the_message(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    endpoint.script(
        "chat",
        Scripted("sunny", contains="WEATHER"),
        Scripted("a number", matches=r"\d+"),
        Scripted("once", contains="once", times=1),
        "anything",
    )
    values = ("the weather?", "weather", "only 7", "once", "else")
    assert texts(client, *values) == ["sunny", "sunny", "a number", "once", "anything"]
    with pytest.raises(BadRequestError, match="2 of its 4 are used up and 2 answer other messages"):
        texts(client, "once")


@pytest.mark.parametrize("stream", [False, True])
def test_a_script_can_set_every_part_of_an_answer(
    endpoint: LocalEndpoint, client: InferenceClient, stream: bool
) -> None:
    calls = (ScriptedCall("f", {"a": 1}, "call-1"), ScriptedCall("g", "{broken"))
    endpoint.script(
        "chat",
        Scripted(
            "Well.",
            calls,
            reasoning="Let me think.",
            finish_reason=None,
            prompt_tokens=11,
            completion_tokens=7,
        ),
    )
    if stream:
        with client.stream(HELLO) as chunks:
            parts = list(chunks)
        answer = chunks.completion
        assert sum(bool(part.reasoning) for part in parts) > 1
        assert sum(bool(part.tool_calls) for part in parts) > 3
    else:
        answer = client.complete(HELLO)
    message = answer.choices[0].message
    assert (message.content, message.reasoning) == ("Well.", "Let me think.")
    assert [call.function.name for call in message.tool_calls] == ["f", "g"]
    assert message.tool_calls[0].id == "call-1"
    assert message.tool_calls[0].function.arguments == '{"a": 1}'
    assert message.tool_calls[1].function.arguments == "{broken"
    assert answer.finish_reason == "tool_calls"
    if not stream:
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (11, 18)


def test_a_script_answers_requests_with_tools(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    endpoint.script("chat", "No tool.", Scripted(tool_calls=(ScriptedCall("get_weather"),)))
    tools = [Tool("get_weather", "The weather", {"type": "object", "properties": {}})]
    answer = client.complete(HELLO, tools=tools, tool_choice="required")
    assert (answer.text, answer.tool_calls) == ("No tool.", ())
    assert client.complete(HELLO, tools=tools).tool_calls[0].function.name == "get_weather"


def test_reset_restores_the_configured_behaviour(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    for _ in range(2):
        with pytest.raises(ServerError):
            client.complete(HELLO, model="configured")
        assert client.complete(HELLO, model="configured").text == "first"
        with pytest.raises(BadRequestError, match="no answer"):
            client.complete(HELLO, model="configured")
        endpoint.reset()


def test_latency_delays_the_first_token_and_each_later_one(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    endpoint.slow("chat", Latency(2, 0.5))
    assert client.complete(HELLO).text == "one two three"
    assert WAITED == [2, 0.5, 0.5]
    WAITED.clear()
    with client.stream(HELLO) as chunks:
        assert "".join(chunk.text for chunk in chunks) == "one two three"
    assert WAITED == [2, 0.5, 0.5]
    WAITED.clear()
    client.embed("a")
    assert WAITED == [2]


def test_a_token_is_sent_before_the_next_delay() -> None:
    waiting: queue.Queue[asyncio.AbstractEventLoop] = queue.Queue()
    read = asyncio.Event()

    async def until_read(seconds: float) -> None:
        waiting.put(asyncio.get_running_loop())
        await read.wait()

    deployment = LocalDeployment("chat", engine=SyntheticEngine("one two"), latency=Latency(0, 1))
    with (
        LocalEndpoint([deployment], sleep=until_read) as slow,
        InferenceClient(slow.url, slow.key, "chat") as client,
        client.stream(HELLO) as chunks,
    ):
        texts = (chunk.text for chunk in chunks if chunk.text)
        assert next(texts) == "one"
        waiting.get(timeout=10).call_soon_threadsafe(read.set)
        assert list(texts) == [" two"]


def test_a_status_fault_happens_the_set_number_of_times(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    endpoint.fail("chat", Fault(status=429, headers={"retry-after": "7"}, times=2))
    for _ in range(2):
        with pytest.raises(RateLimitError) as caught:
            client.complete(HELLO)
        assert caught.value.retry_after == 7
        assert caught.value.deployment == "chat"
    assert texts(client, "a") == ["one two three"]


def test_a_fault_fails_every_nth_request(endpoint: LocalEndpoint, http: httpx.Client) -> None:
    endpoint.fail("chat", Fault(status=500, every=3))
    body = [post(http).status_code for _ in range(6)]
    assert body == [200, 200, 500, 200, 200, 500]


def test_random_faults_are_the_same_for_the_same_seed(
    endpoint: LocalEndpoint, http: httpx.Client
) -> None:
    def run(seed: int) -> list[int]:
        endpoint.fail("chat", Fault(status=500, probability=0.5, seed=seed))
        return [post(http).status_code for _ in range(20)]

    first = run(1)
    assert {200, 500} == set(first)
    assert first == run(1)
    assert first != run(2)


def post(http: httpx.Client, path: str = "/openai/v1/chat/completions", **more: Any) -> Any:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **more}
    return http.post(path, json=body)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "401"), (404, "unknown_model"), (429, "RateLimitReached"), (418, "418")],
)
def test_a_status_fault_has_the_body_of_the_surface(
    endpoint: LocalEndpoint, http: httpx.Client, status: int, code: str
) -> None:
    endpoint.fail("chat", Fault(status=status))
    answer = post(http, "/models/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_status_fault_can_have_any_body(endpoint: LocalEndpoint, http: httpx.Client) -> None:
    endpoint.fail("chat", Fault(status=502, body="<html>bad gateway</html>"))
    answer = post(http)
    assert (answer.status_code, answer.text) == (502, "<html>bad gateway</html>")
    assert answer.headers["content-type"].startswith("text/plain")
    endpoint.fail("chat", Fault(status=500, body={"detail": "no"}))
    assert post(http).json() == {"detail": "no"}
    assert post(http, "/models/embeddings", input="a").status_code == 500


def test_a_connection_is_dropped_before_the_answer(
    endpoint: LocalEndpoint, client: InferenceClient, http: httpx.Client
) -> None:
    endpoint.fail("chat", Fault("drop", times=2))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        post(http)
    with pytest.raises(APIConnectionError):
        client.complete(HELLO)
    assert texts(client, "a") == ["one two three"]


def test_a_stream_is_cut_after_the_set_number_of_events(
    endpoint: LocalEndpoint, client: InferenceClient, http: httpx.Client
) -> None:
    endpoint.fail("chat", Fault("cut", after=2))
    with pytest.raises(StreamInterruptedError) as caught, client.stream(HELLO) as chunks:
        for _ in chunks:
            pass
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one"
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        post(http, stream=True)
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        post(http)


def test_a_stream_stalls_until_the_client_leaves(
    endpoint: LocalEndpoint, http: httpx.Client
) -> None:
    endpoint.fail("chat", Fault("stall", after=3, times=1))
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    url = "/openai/v1/chat/completions"
    with http.stream("POST", url, json=body, timeout=0.3) as answer:
        lines = (line for line in answer.iter_lines() if line)
        values = [json.loads(next(lines)[6:])["choices"][0]["delta"] for _ in range(3)]
        assert [delta["content"] for delta in values] == ["", "one", " two"]
        with pytest.raises(httpx.ReadTimeout):
            next(lines)
    assert post(http).status_code == 200


def test_a_whole_response_stalls_in_the_middle(endpoint: LocalEndpoint, http: httpx.Client) -> None:
    endpoint.fail("chat", Fault("stall", times=1))
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(httpx.ReadTimeout):
        http.post("/openai/v1/chat/completions", json=body, timeout=0.3)
    assert post(http).status_code == 200


def test_responses_are_malformed_by_a_fault(
    endpoint: LocalEndpoint, client: InferenceClient
) -> None:
    endpoint.fail("chat", Fault("malformed", after=2))
    with pytest.raises(InvalidResponseError):
        client.complete(HELLO)
    with client.stream(HELLO) as chunks, pytest.raises(InvalidResponseError):
        list(chunks)


def test_a_fault_is_in_the_log(endpoint: LocalEndpoint, http: httpx.Client) -> None:
    endpoint.fail("chat", Fault(status=503))
    post(http)
    (entry,) = endpoint.requests
    assert (entry.status, entry.fault, entry.deployment) == (503, "status", "chat")


ADMIN: list[tuple[str, Any, Any]] = [
    (
        "scripts",
        {"answers": ["a", {"text": "b", "contains": "x", "tool_calls": [{"name": "f"}]}]},
        {
            "answers": [
                {"text": "a", "given": 0},
                {
                    "text": "b",
                    "contains": "x",
                    "tool_calls": [{"name": "f", "arguments": {}}],
                    "given": 0,
                },
            ]
        },
    ),
    (
        "faults",
        {"faults": [{"kind": "cut", "after": 3, "every": 2}]},
        {"faults": [{"kind": "cut", "after": 3, "every": 2, "happened": 0}]},
    ),
    ("latency", {"first_token": 0.5}, {"first_token": 0.5, "per_token": 0}),
]


@pytest.mark.parametrize(("part", "body", "result"), ADMIN)
def test_another_process_can_change_behaviour(
    http: httpx.Client, part: str, body: Any, result: Any
) -> None:
    path = f"/_azinfer/{part}/Chat"
    before = http.get(path).json()
    assert http.put(path, json=body).json() == result
    assert http.get(path).json() == result
    (chat, _) = http.get("/_azinfer/deployments").json()["value"]
    assert chat["engine"] == "SyntheticEngine"
    assert http.delete(path).json() == before
    assert http.get(path).json() == before != result


WRONG: list[tuple[str, Any, str]] = [
    ("scripts", {"answers": "a"}, "answers must be a list"),
    ("scripts", {"answers": [{"txt": "a"}]}, "answers[0].txt is not known; did you mean 'text'?"),
    ("scripts", {"answers": [7]}, "answers[0] must be a table"),
    (
        "scripts",
        {"answers": ["a", {"matches": "("}]},
        "answers[1].matches is not a valid regular expression",
    ),
    ("scripts", {"answers": [{"tool_calls": [{}]}]}, "answers[0].tool_calls[0].name must be"),
    ("scripts", {"answers": [{"times": 1.5}]}, "answers[0].times must be a whole number"),
    ("faults", {"faults": [{"kind": "fire"}]}, "faults[0].kind must be one of status, cut"),
    ("faults", {"faults": [{"status": 200}]}, "faults[0].status must be between 400 and 599"),
    ("faults", {"faults": [{"headers": {"a": 1}}]}, "faults[0].headers.a must be a text"),
    ("faults", {"faults": [{"headers": {"a": "b\r\nc: d"}}]}, "headers.a must be a text in ASCII"),
    ("faults", {"faults": [{"headers": {"a b": "c"}}]}, "headers.a b must be a text in ASCII"),
    ("faults", {"faults": [{"probability": 2}]}, "faults[0].probability must be between 0 and 1"),
    ("faults", {"faults": [{"every": True}]}, "faults[0].every must be a number"),
    ("latency", {"per_token": -1}, "latency.per_token must be at least 0"),
]


@pytest.mark.parametrize(("part", "body", "message"), WRONG)
def test_a_wrong_field_is_named(http: httpx.Client, part: str, body: Any, message: str) -> None:
    answer = http.put(f"/_azinfer/{part}/chat", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_administration_requires_the_key_and_a_deployment(
    endpoint: LocalEndpoint, http: httpx.Client
) -> None:
    assert httpx.get(f"{endpoint.url}/_azinfer/health").status_code == 401
    assert http.get("/_azinfer/scripts/nope").status_code == 404
    assert http.get("/_azinfer/health").json() == {
        "status": "ok",
        "deployments": ["chat", "configured"],
    }


def test_another_process_can_read_the_log_and_reset(
    endpoint: LocalEndpoint, http: httpx.Client
) -> None:
    endpoint.fail("chat", Fault(status=500))
    post(http)
    (entry,) = http.get("/_azinfer/requests").json()["value"]
    assert entry["body"]["model"] == "chat"
    assert (entry["status"], entry["deployment"], entry["why"]) == (500, "chat", "the body's model")
    assert endpoint.key not in json.dumps(entry)
    assert http.post("/_azinfer/reset").json()["status"] == "ok"
    assert http.get("/_azinfer/requests").json() == {"value": []}
    assert post(http).status_code == 200
    assert http.delete("/_azinfer/requests").json() == {"value": []}


def test_an_unknown_deployment_is_an_error(endpoint: LocalEndpoint) -> None:
    with pytest.raises(
        ConfigurationError, match="unknown deployment 'nope'; choose from chat, configured"
    ):
        endpoint.script("nope", "a")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Latency(-1), "first_token must be at least 0"),
        (lambda: Latency.from_wire({"first": 1}), "latency.first is not known"),
        (lambda: Fault.from_wire({"kind": "fire"}), "kind must be one of"),
        (
            lambda: Fault.from_wire({"after": "x"}, "faults[2]"),
            r"faults\[2\].after must be a number",
        ),
        (lambda: Scripted(matches="("), "matches is not a valid regular expression"),
        (lambda: Scripted(times=-1), "times must be at least 0"),
    ],
)
def test_invalid_values_are_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_values_survive_a_round_trip() -> None:
    for value in (
        Latency(1, 2),
        Fault("cut", after=3, headers={"a": "b"}, probability=0.5, seed=3),
        Scripted(
            "a",
            (ScriptedCall("f", {"x": 1}, "id"),),
            reasoning="b",
            finish_reason="stop",
            prompt_tokens=1,
            completion_tokens=2,
            contains="c",
            matches="d",
            times=3,
        ),
    ):
        assert type(value).from_wire(value.to_wire()) == value
    assert Latency.from_wire(0.5) == Latency(0.5)
    assert Scripted.from_wire("hi") == Scripted("hi")
