"""Deployments whose answers come from another server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from azinfer.core import (
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    InferenceClient,
    InferenceError,
    RateLimitError,
    ServerError,
    Tool,
    UserMessage,
)
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine, UpstreamEngine
from raw_server import (
    Peer,
    RawServer,
    answer,
    chat,
    chunked_answer,
    events,
    part,
    raw,
    reply,
    vectors,
)

SECRET = "upstream-key-51c7"
HELLO = [UserMessage("Hello")]
WEATHER = Tool(
    "get_weather",
    "The weather in a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
Serving = Callable[..., InferenceClient]


@pytest.fixture
def serve() -> Iterator[Serving]:
    """Serves an upstream as `chat` and gives a client of that: `serving(url, model="m")`."""
    with ExitStack() as stack:

        def make(url: str, **named: Any) -> InferenceClient:
            engine = UpstreamEngine(url, SECRET, **named)
            endpoint = stack.enter_context(LocalEndpoint([LocalDeployment("chat", engine=engine)]))
            return stack.enter_context(
                InferenceClient(endpoint.url, endpoint.key, "chat", max_retries=0)
            )

        yield make


@pytest.fixture
def client(server: RawServer, serve: Serving) -> InferenceClient:
    """A client of an endpoint whose upstream is the raw server."""
    return serve(f"{server.url}/v1", model="real-model")


def test_a_request_is_passed_on_unchanged(server: RawServer, client: InferenceClient) -> None:
    server.will(reply(chat("Hi.", message={"refusal": "no"}, logprobs={"content": []})))
    answer = client.complete(
        HELLO, temperature=0.5, logit_bias={"5": 1}, tools=[WEATHER], reasoning_effort="low", seed=7
    )
    (result,) = server.received
    assert (result.method, result.target) == ("POST", "/v1/chat/completions")
    assert result.json == {
        "model": "real-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0.5,
        "logit_bias": {"5": 1},
        "reasoning_effort": "low",
        "seed": 7,
        "stream": False,
        "tools": [WEATHER.to_wire()],
    }
    assert result.header("authorization") == f"Bearer {SECRET}"
    assert result.header("api-key") == SECRET
    assert answer.text == "Hi."
    assert answer.choices[0].message.raw["refusal"] == "no"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5


def test_usage_and_other_fields_come_back_whole(server: RawServer, client: InferenceClient) -> None:
    result = chat("Hi.", usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})
    result["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
    result["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -0.1}]}
    server.will(reply(result))
    value = client.complete(HELLO).raw
    assert value["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}
    assert value["choices"][0]["logprobs"] == result["choices"][0]["logprobs"]


def test_the_deployments_name_is_the_model_where_none_is_set(
    server: RawServer, serve: Serving
) -> None:
    server.will(reply(chat()))
    client = serve(f"{server.url}/openai/deployments/x?api-version=2024-10-21")
    client.complete(HELLO, model="CHAT")
    (result,) = server.received
    assert result.target == "/openai/deployments/x/chat/completions?api-version=2024-10-21"
    assert result.json["model"] == "CHAT"


def test_the_first_chunk_arrives_while_the_upstream_waits(
    server: RawServer, client: InferenceClient
) -> None:
    go_on = threading.Event()
    first, rest = (
        chunked_answer(events(part("one"), done=False), whole=False),
        events(part(" two", "stop")),
    )

    def behave(peer: Peer) -> None:
        peer.send(first)
        assert go_on.wait(10)
        peer.send(f"{len(rest):x}\r\n".encode() + rest + b"\r\n0\r\n\r\n")

    server.will(behave)
    with client.stream(HELLO) as chunks:
        texts = (chunk.text for chunk in chunks if chunk.text)
        assert next(texts) == "one"
        assert not go_on.is_set()
        go_on.set()
        assert list(texts) == [" two"]
    assert chunks.completion.finish_reason == "stop"


def test_an_abandoned_stream_closes_the_upstream_stream(
    server: RawServer, client: InferenceClient
) -> None:
    server.will(raw(chunked_answer(events(part("one"), done=False), whole=False), "stall"))
    with client.stream(HELLO) as chunks:
        next(chunks)
        assert server.open_connections == 1
    assert server.wait_until(lambda: server.open_connections == 0)


def test_reasoning_and_calls_are_streamed_in_any_shape(
    server: RawServer, client: InferenceClient
) -> None:
    def call(arguments: str, index: int | None = None, **more: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {"function": {"arguments": arguments, **more.pop("function", {})}}
        return part(tool_calls=[fields | more | ({} if index is None else {"index": index})])

    server.will(
        raw(
            chunked_answer(
                events(
                    part(reasoning_content="Hm."),
                    part("It is "),
                    call('{"city":', 0, id="a", function={"name": "get_weather"}),
                    call('"Delft"}', 0),
                    # As Mistral sends them: whole, and without an index.
                    call('{"city": "Goes"}', id="b", function={"name": "get_weather"}),
                    part(finish="tool_calls"),
                )
            )
        )
    )
    with client.stream(HELLO, tools=[WEATHER]) as chunks:
        list(chunks)
    message = chunks.completion.choices[0].message
    assert (message.reasoning, message.content) == ("Hm.", "It is ")
    values = [(call.id, call.function.arguments) for call in message.tool_calls]
    assert values == [("a", '{"city":"Delft"}'), ("b", '{"city": "Goes"}')]
    assert chunks.completion.finish_reason == "tool_calls"


def test_characters_and_lines_can_be_split_anywhere(
    server: RawServer, client: InferenceClient
) -> None:
    data = events(part("é\u2028ü\x85"), part("\U0001f600", "stop")).replace(b"\n\n", b"\r\n\r\n")
    data = json.dumps(part("x")).encode().join([b": comment\nevent: y\ndata:", b"\n\n"]) + data

    def behave(peer: Peer) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        for at in range(0, len(head + data), 7):
            peer.send((head + data)[at : at + 7])
        peer.close()

    server.will(behave)
    with client.stream(HELLO) as chunks:
        list(chunks)
    assert chunks.completion.text == "xé\u2028ü\x85\U0001f600"


FAILURES: list[tuple[int, Any, str, str]] = [
    (400, {"error": {"message": "bad", "code": "invalid", "param": "top_k"}}, "bad", "invalid"),
    (500, {"error": "all is lost"}, "all is lost", "server_error"),
    (422, {"detail": [{"loc": ["body"], "msg": "not so"}]}, "not so", "422"),
    (503, "<html>busy</html>", "<html>busy</html>", "server_error"),
    (404, {"object": "error", "message": "no such model", "code": 404}, "no such model", "404"),
    (401, {"error": {"message": "wrong key"}}, "refused its credential: wrong key", "401"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "body", "message", "code"), FAILURES)
def test_an_error_keeps_its_status_and_message(
    server: RawServer,
    client: InferenceClient,
    status: int,
    body: Any,
    message: str,
    code: str,
    stream: bool,
) -> None:
    server.will(reply(body, status))
    ask: Any = client.stream if stream else client.complete
    with pytest.raises(InferenceError) as caught:
        ask(HELLO)
    error: Any = caught.value
    assert (error.status, error.code) == (status, code)
    assert message in str(error)
    assert SECRET not in str(error)


def test_an_error_keeps_retry_after(server: RawServer, client: InferenceClient) -> None:
    server.will(reply({"error": {"message": "slow down"}}, 429, {"retry-after": "17"}))
    with pytest.raises(RateLimitError) as caught:
        client.complete(HELLO)
    assert caught.value.retry_after == 17


def test_a_refused_prompt_keeps_its_reason(server: RawServer, client: InferenceClient) -> None:
    results = {"violence": {"filtered": True, "severity": "high"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": results}
    error = {"message": "filtered", "code": "content_filter", "innererror": inner}
    server.will(reply({"error": error}, 400))
    with pytest.raises(ContentFilterError) as caught:
        client.complete(HELLO)
    assert dict(caught.value.categories) == {"violence": "high"}


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (raw(chunked_answer(events(part("one"), done=False), whole=False)), "broke off"),
        (raw(chunked_answer(events(part("one"), done=False))), "without a finish reason"),
        (raw(chunked_answer(events(part("one"), "{oops"))), "not a JSON object"),
        (
            raw(chunked_answer(events(part("one"), {"error": {"message": "overloaded"}}))),
            "overloaded",
        ),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(
    server: RawServer, client: InferenceClient, behaviour: Any, message: str
) -> None:
    server.will(behaviour)
    texts: list[str] = []
    with client.stream(HELLO) as chunks, pytest.raises(InferenceError, match=message):
        texts.extend(chunk.text for chunk in chunks)
    assert "".join(texts) == "one"


def test_an_unreadable_answer_is_an_error(server: RawServer, client: InferenceClient) -> None:
    for body in ("oops", "[1]"):
        server.will(reply(body))
        with pytest.raises(ServerError, match="broke off") as caught:
            client.complete(HELLO)
        assert caught.value.status == 502
    server.will(reply({"data": [{"embedding": "x"}]}))
    with pytest.raises(ServerError, match="sent a response that cannot be read"):
        client.embed("a")


def test_an_unreachable_upstream_is_named(serve: Serving) -> None:
    dead = RawServer().start()
    dead.stop()
    client = serve(f"{dead.url}/v1")
    with pytest.raises(ServerError, match=f"{dead.url}/v1 cannot be reached") as caught:
        client.complete(HELLO)
    assert (caught.value.status, caught.value.code) == (502, "upstream_unreachable")


def test_a_silent_upstream_times_out(server: RawServer, serve: Serving) -> None:
    server.will(Peer.wait_until_client_leaves)
    with pytest.raises(ServerError, match="did not answer in time"):
        serve(f"{server.url}/v1", timeout=0.2).complete(HELLO)


def test_usage_is_requested_where_possible(server: RawServer, client: InferenceClient) -> None:
    refusal = {"detail": "Extra parameters ['stream_options'] are not allowed"}

    def choose(received: Any) -> Any:
        if "stream_options" in received.json:
            return reply(refusal, 400)
        return raw(chunked_answer(events(part("one", "stop"))))

    server.choose = choose
    for _ in range(2):
        with client.stream(HELLO) as chunks:
            list(chunks)
        assert chunks.completion.text == "one"
    assert ["stream_options" in each.json for each in server.received] == [True, False, False]


def test_vectors_come_from_the_upstream(server: RawServer, client: InferenceClient) -> None:
    server.will(reply(vectors([0.6, 0.8], [1.0, 0.0])))
    result = client.embed(["a", "b"], dimensions=2)
    assert [list(each) for each in result.vectors] == [pytest.approx([0.6, 0.8]), [1.0, 0.0]]
    assert server.received[0].json == {
        "model": "real-model",
        "input": ["a", "b"],
        "dimensions": 2,
        "encoding_format": "base64",
    }


def test_other_operations_use_the_upstreams_chat(server: RawServer) -> None:
    engine = UpstreamEngine(f"{server.url}/v1", model="m")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": [call]})))
    with (
        LocalEndpoint([LocalDeployment("chat", engine=engine)]) as endpoint,
        openai.OpenAI(base_url=f"{endpoint.url}/openai/v1", api_key=endpoint.key) as theirs,
    ):
        tool: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}}
        answer = theirs.responses.create(model="chat", input="hi", tools=[tool])
        assert [item.type for item in answer.output] == ["function_call"]
    result = server.received[0].json
    assert result["messages"] == [{"role": "user", "content": "hi"}]
    assert [each["function"]["name"] for each in result["tools"]] == ["f"]
    assert (result["tool_choice"], result["model"]) == ("auto", "m")


def test_an_azinfer_endpoint_can_be_the_upstream(serve: Serving) -> None:
    chat_engine = SyntheticEngine()
    with LocalEndpoint([LocalDeployment("real", engine=chat_engine)], key=SECRET) as above:
        client = serve(f"{above.url}/openai/v1", model="real")
        assert client.complete(HELLO).text == "This is a synthetic answer to: Hello"
        with client.stream(HELLO, stream_options={"include_usage": True}) as chunks:
            assert "".join(chunk.text for chunk in chunks).endswith("Hello")
        assert chunks.completion.usage is not None
        question = [UserMessage("How is the weather in New York?")]
        (call,) = client.complete(question, tools=[WEATHER]).tool_calls
        assert json.loads(call.function.arguments) == {"city": "New York"}
        with client.stream(question, tools=[WEATHER]) as chunks:
            list(chunks)
        assert chunks.completion.tool_calls[0].function.arguments == call.function.arguments
        with pytest.raises(BadRequestError, match="between 0 and 2"):
            client.complete(HELLO, temperature=9)
        ours, theirs = client.embed("a").vectors[0], _vector(above)
        assert list(ours) == pytest.approx(theirs)
        assert {each.deployment for each in above.requests} == {"real"}


def _vector(endpoint: LocalEndpoint) -> list[float]:
    with InferenceClient(endpoint.url, endpoint.key, "real") as client:
        return list(client.embed("a").vectors[0])


def test_images_are_passed_on_with_their_media_type(server: RawServer) -> None:
    engine = UpstreamEngine(f"{server.url}/models?api-version=2024-05-01-preview")
    server.will(reply(vectors([1.0, 0.0])))
    with LocalEndpoint([LocalDeployment("images", engine=engine)]) as endpoint:
        client = InferenceClient(f"{endpoint.url}/models", endpoint.key, "images")
        assert list(client.embed_images([b"\xff\xd8\xff"]).vectors[0]) == [1.0, 0.0]
    (result,) = server.received
    assert result.target == "/models/images/embeddings?api-version=2024-05-01-preview"
    assert result.json == {"input": [{"image": "data:image/jpeg;base64,/9j/"}]}
    assert result.header("api-key") is None


def test_connections_are_closed_with_the_endpoint(server: RawServer) -> None:
    server.will(reply(chat()))
    engine = UpstreamEngine(f"{server.url}/v1")
    with LocalEndpoint([LocalDeployment("chat", engine=engine)]) as endpoint:
        InferenceClient(endpoint.url, endpoint.key, "chat").complete(HELLO)
        assert server.open_connections == 1
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_token_is_requested_for_each_request(server: RawServer) -> None:
    tokens = iter(["first", "second"])
    engine = UpstreamEngine(f"{server.url}/v1", lambda: next(tokens))
    server.will(reply(chat()))
    with LocalEndpoint([LocalDeployment("chat", engine=engine)]) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, "chat")
        client.complete(HELLO)
        client.complete(HELLO)
    values = [each.header("authorization") for each in server.received]
    assert values == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://x/v1", "not a valid http or https URL"),
        ("localhost:11434/v1", "not a valid http or https URL"),
        ("http://me:secret@x/v1", "credential separately"),
        ("http://localhost:11434/", "http://localhost:11434/v1 of Ollama"),
    ],
)
def test_an_invalid_address_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        UpstreamEngine(url)
    assert "secret" not in str(caught.value)


def test_an_engine_shows_no_credential() -> None:
    engine = UpstreamEngine("http://x/v1?api-key=hidden", SECRET, "m")
    assert repr(engine) == "UpstreamEngine('http://x/v1', model='m')"


def test_the_models_of_an_upstream_can_be_listed(server: RawServer) -> None:
    from azinfer.local.engines.upstream import list_models

    server.will(reply({"data": [{"id": "a"}, {"id": "b"}]}))
    assert list_models(f"{server.url}/v1", SECRET) == ["a", "b"]
    assert server.received[0].header("api-key") == SECRET
    for behaviour in (reply({}, 404), reply("x"), reply({"data": [1]})):
        server.will(behaviour)
        with pytest.raises(ConfigurationError, match="NAME=URL"):
            list_models(f"{server.url}/v1")


def test_the_credential_is_not_logged(
    server: RawServer, client: InferenceClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    server.will(raw(answer(chat(), 200), "keep"))
    client.complete(HELLO)
    server.will(reply({"error": {"message": f"no {SECRET}"}}, 500))
    with pytest.raises(ServerError):
        client.complete(HELLO)
    assert SECRET not in caplog.text


PROGRAM = """
import sys
from azinfer.core import InferenceClient
from azinfer.local import LocalEndpoint
from azinfer.local.cli.upstream_deployments import upstream_deployments
messages = [{"role": "user", "content": "Hello"}]
with LocalEndpoint(upstream_deployments(sys.argv[1:])) as endpoint:
    answer = InferenceClient(endpoint.url, endpoint.key, "model").complete(messages)
print(answer.text, "httpx" in sys.modules)
"""


def test_an_upstream_is_reached_without_httpx(server: RawServer) -> None:
    server.will(reply({"data": [{"id": "model"}]}), reply(chat("Hi.")))
    command = [sys.executable, "-c", PROGRAM, f"{server.url}/v1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "Hi. False\n"
