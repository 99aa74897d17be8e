"""ChatAzInfer over real HTTP: messages, tools, structured output, streams, errors, safety."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    trim_messages,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers import BaseTracer
from pydantic import Field, ValidationError

from azinfer import core
from azinfer.core import AsyncInferenceClient, ConfigurationError, InferenceClient
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer
from azinfer.langchain.errors import translated_errors
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import CLIENT_OPTIONS, KEY
from raw_server import RawServer, chat, chat_reply, events, failure, part, reply, stream

Make = Callable[..., ChatAzInfer]


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes models of the raw server."""

    def model(path: str = "/openai/v1", **named: Any) -> ChatAzInfer:
        named = {"model": "gpt-4.1", "max_retries": 0, **named}
        return ChatAzInfer(endpoint=server.url + path, credential=KEY, **named)

    return model


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments that answer differently."""
    deployments = [
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("echo"),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def local(endpoint: LocalEndpoint, **named: Any) -> ChatAzInfer:
    return ChatAzInfer(
        endpoint=endpoint.url, credential=endpoint.key, **{"model": "paris", **named}
    )


def body_of(server: RawServer, at: int = 0) -> Any:
    return server.received[at].json


USER: list[BaseMessage] = [HumanMessage("hi")]


def test_an_answer_has_text_usage_and_finish_reason(make: Make, server: RawServer) -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{broken"}},
    ]
    raw = chat("4", message={"tool_calls": calls, "reasoning_content": "2+2"})
    raw["choices"][0] |= {
        "logprobs": {"content": []},
        "content_filter_results": {"hate": {"filtered": False}},
    }
    raw["prompt_filter_results"] = [{"prompt_index": 0}]
    raw["usage"]["prompt_tokens_details"] = {"cached_tokens": 1}
    raw["usage"]["completion_tokens_details"] = {"reasoning_tokens": 1}
    server.will(reply(raw, headers={"x-request-id": "r1", "x-ms-deployment-name": "GPT"}))
    answer = make().invoke("hi")
    assert answer.content == answer.text == "4"
    assert answer.tool_calls == [{"id": "a", "name": "f", "args": {"x": 1}, "type": "tool_call"}]
    assert answer.invalid_tool_calls[0]["args"] == "{broken"
    assert "{broken" in str(answer.invalid_tool_calls[0]["error"])
    assert answer.content_blocks[0] == {"type": "reasoning", "reasoning": "2+2"}
    assert answer.usage_metadata == {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
        "input_token_details": {"cache_read": 1},
        "output_token_details": {"reasoning": 1},
    }
    metadata = answer.response_metadata
    assert (metadata["model_name"], metadata["deployment"], metadata["request_id"]) == (
        "m",
        "GPT",
        "r1",
    )
    assert (metadata["id"], metadata["model_provider"]) == (raw["id"], "azinfer")
    assert metadata["finish_reason"] == "tool_calls"
    assert metadata["logprobs"] == {"content": []}
    assert metadata["content_filter_results"] == {"hate": {"filtered": False}}
    assert metadata["prompt_filter_results"] == [{"prompt_index": 0}]


def test_all_choices_are_returned(make: Make, server: RawServer) -> None:
    raw = chat("a")
    raw["choices"].append({**raw["choices"][0], "index": 1, "message": {"content": "b"}})
    server.will(reply(raw))
    result = make(n=2).generate([USER])
    assert [each.text for each in result.generations[0]] == ["a", "b"]
    counts = [each.message.usage_metadata for each in result.generations[0]]  # type: ignore[union-attr]
    assert [count and count["total_tokens"] for count in counts] == [5, None]  # of them together
    result = asyncio.run(make().agenerate([USER], n=2))
    assert [each.text for each in result.generations[0]] == ["a", "b"]


def test_a_stream_of_several_answers_is_refused(make: Make, server: RawServer) -> None:
    async def read(model: ChatAzInfer) -> Any:
        return [chunk async for chunk in model.astream("hi")]

    for model in (make(n=2), make(model_kwargs={"n": 2})):
        with pytest.raises(ConfigurationError, match="leave out n"):
            list(model.stream("hi"))
        with pytest.raises(ConfigurationError, match="leave out n"):
            asyncio.run(read(model))
    assert not server.received


def test_a_stream_adds_up_with_usage_once(make: Make, server: RawServer) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    parts = [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {**part("<th"), "usage": {**usage, "completion_tokens": 0}},
        {**part("ink>2+2</think>4"), "usage": usage},
        part(None, "stop"),
        {"choices": [], "usage": usage},
    ]
    server.will(stream(events(*parts)))
    chunks = list(make().stream("hi"))
    assert [chunk.text for chunk in chunks if chunk.text] == ["4"]
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert whole.content_blocks[0] == {"type": "reasoning", "reasoning": "2+2"}
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] == 5
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.response_metadata["prompt_filter_results"] == [{"prompt_index": 0}]
    assert chunks[-1].chunk_position == "last"
    assert chunks[-1].usage_metadata == whole.usage_metadata  # no chunk of LangChain's after it


def test_a_streamed_tool_call_adds_up(make: Make, server: RawServer) -> None:
    def call(**parts: Any) -> Any:
        fields = {"id": parts.pop("id", None), "function": parts}
        return part(parts.pop("beside", None), None, tool_calls=[{"index": 0, **fields}])

    server.will(
        stream(
            events(
                call(id="c", name="f", arguments="", beside="Let me see."),
                call(arguments='{"x"'),
                call(arguments=":1}"),
                part(None, "tool_calls"),
            )
        )
    )
    chunks = list(make().stream("hi"))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert whole.tool_calls == [{"id": "c", "name": "f", "args": {"x": 1}, "type": "tool_call"}]
    assert whole.text == "Let me see."


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_parallel_calls_of_a_stream_stay_apart(make: Make, server: RawServer, version: str) -> None:
    def call(at: int, **expected: Any) -> Any:
        return part(
            None, tool_calls=[{"index": at, "id": expected.pop("id", None), "function": expected}]
        )

    parts = [call(0, id="a", name="f", arguments="{"), call(1, id="b", name="g", arguments="{")]
    parts += [call(1, arguments='"x": 1}'), call(0, arguments="}"), part(None, "tool_calls")]
    server.will(stream(events(*parts)))
    chunks = list(make(output_version=version).stream("hi"))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert [(each["id"], each["args"]) for each in whole.tool_calls] == [("a", {}), ("b", {"x": 1})]
    if version == "v0":
        assert [each["index"] for each in whole.tool_call_chunks] == [0, 1]


def test_a_broken_call_of_a_stream_is_kept(make: Make, server: RawServer) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "[1"}}
    server.will(stream(events(part(None, "tool_calls", tool_calls=[call]))))
    chunks = list(make().stream("hi"))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert [call["args"] for call in whole.invalid_tool_calls] == ["[1"]


def test_a_refusal_is_returned(make: Make, server: RawServer) -> None:
    parts = [part(None, refusal="I "), part(None, "stop", refusal="won't")]
    server.will(stream(events(*parts)), reply(chat(None, message={"refusal": "I won't"})))
    chunks = list(make().stream("hi"))
    whole = sum(chunks[1:], chunks[0])
    assert whole.additional_kwargs["refusal"] == "I won't"
    assert make().invoke("hi").additional_kwargs["refusal"] == "I won't"
    server.will(stream(events(part("So: ", refusal="no"), part(None, "stop"))))
    beside = next(iter(make().stream("hi")))
    assert (beside.text, beside.additional_kwargs) == ("So: ", {"refusal": "no"})


def test_log_probabilities_come_once(make: Make, server: RawServer) -> None:
    def describe(text: str) -> Any:
        chunk = part(text)
        chunk["choices"][0]["logprobs"] = {"content": [{"token": text, "logprob": -1}]}
        return chunk

    whole = chat("ab")
    whole["choices"][0]["logprobs"] = {"content": [{"token": "ab", "logprob": -1}]}
    server.will(stream(events(describe("a"), describe("b"), part(None, "stop"))), reply(whole))
    model = make(logprobs=True, top_logprobs=2)
    chunks = list(model.stream("hi"))
    probabilities = sum(chunks[1:], chunks[0]).response_metadata["logprobs"]["content"]
    assert [each["token"] for each in probabilities] == ["a", "b"]
    answer = model.invoke("hi")
    assert answer.response_metadata["logprobs"] == whole["choices"][0]["logprobs"]
    assert (body_of(server)["logprobs"], body_of(server)["top_logprobs"]) == (True, 2)


def test_sound_is_kept_and_sent_back_by_its_id(make: Make, server: RawServer) -> None:
    sound = {"id": "a1", "data": "AAAA", "transcript": "hello"}
    parts = [{"id": "a1", "transcript": "hel"}, {"data": "AAAA", "transcript": "lo"}]
    streamed = stream(events(*(part(audio=each) for each in parts), part("", "stop")))
    server.will(streamed, reply(chat(None, message={"audio": sound})))
    chunks = list(make().stream("hi"))
    assert sum(chunks[1:], chunks[0]).additional_kwargs["audio"] == sound
    answer = make().invoke("hi")
    assert answer.additional_kwargs["audio"] == sound
    make().invoke([*USER, answer])
    assert body_of(server, 2)["messages"][1]["audio"] == {"id": "a1"}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_blocks_of_v1_are_the_content_if_requested(
    make: Make, server: RawServer, streamed: bool, asynchronous: bool
) -> None:
    call = {"index": 0, "id": "c", "type": "function"}
    call["function"] = {"name": "f", "arguments": "{}"}
    message = {"reasoning_content": "2+2", "tool_calls": [call]}
    parts = [part(None, reasoning_content="2+2"), part("4"), part(None, tool_calls=[call])]
    if streamed:
        server.will(stream(events(*parts, part(None, "tool_calls"))))
    else:
        server.will(reply(chat("4", "tool_calls", message=message)))
    model = make(output_version="v1")

    async def read() -> list[Any]:
        return [chunk async for chunk in model.astream("hi")]

    if asynchronous:
        chunks = asyncio.run(read()) if streamed else [asyncio.run(model.ainvoke("hi"))]
    else:
        chunks = list(model.stream("hi")) if streamed else [model.invoke("hi")]
    whole = sum(chunks[1:], chunks[0])
    blocks: Any = whole.content
    assert [block["type"] for block in blocks] == ["reasoning", "text", "tool_call"]
    assert (blocks[0]["reasoning"], blocks[1]["text"]) == ("2+2", "4")
    assert (blocks[2]["name"], blocks[2]["args"]) == ("f", {})
    model.invoke([*USER, whole])
    wire = body_of(server, 1)["messages"][1]
    assert (wire["content"], len(wire["tool_calls"])) == ("4", 1)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_leaving_a_stream_early_closes_its_connection(
    make: Make, server: RawServer, asynchronous: bool
) -> None:
    server.will(stream(events(part("a"), done=False), "stall"))

    async def leave() -> None:
        chunks: Any = make().astream("hi")
        assert (await anext(chunks)).text == "a"
        await chunks.aclose()
        assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)

    if asynchronous:
        asyncio.run(leave())
        return
    chunks: Any = make().stream("hi")
    assert next(chunks).text == "a"
    chunks.close()
    assert server.wait_until(lambda: server.open_connections == 0)


def test_cancelling_a_call_closes_its_connection(make: Make, server: RawServer) -> None:
    server.will(lambda peer: peer.wait_until_client_leaves())

    async def cancel() -> None:
        call = asyncio.create_task(make().ainvoke("hi"))
        assert await asyncio.to_thread(server.wait_until, lambda: len(server.received) == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)

    asyncio.run(cancel())


def test_async_code_blocks_no_thread(make: Make, server: RawServer) -> None:
    class Refused(ThreadPoolExecutor):
        def submit(self, *args: Any, **named: Any) -> Any:
            raise AssertionError("a thread was asked for")

    server.choose = lambda request: (
        stream(events(part("hello", "stop"))) if request.json.get("stream") else reply(chat())
    )

    async def run_calls() -> list[str]:
        asyncio.get_running_loop().set_default_executor(Refused(1))
        texts = [each.text for each in await make().abatch(["a", "b"])]
        return [*texts, "".join([chunk.text async for chunk in make().astream("hi")])]

    assert asyncio.run(run_calls()) == ["hello"] * 3


def test_a_cut_stream_is_an_error(make: Make, server: RawServer) -> None:
    server.will(stream(events(part("hel"), done=False)))
    texts: list[str] = []
    with pytest.raises(ModelConnectionError) as caught:
        texts.extend(chunk.text for chunk in make().stream("hi"))
    assert isinstance(caught.value, core.StreamInterruptedError)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "hel"


def test_callbacks_see_tokens_and_usage(make: Make, server: RawServer) -> None:
    class Tokens(BaseCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            self.seen.append(token)

    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    data = stream(events(part("a"), part("b", "stop"), {"choices": [], "usage": usage}))
    server.will(data)
    tokens, counter = Tokens(), UsageMetadataCallbackHandler()
    config: Any = {"callbacks": [tokens, counter]}
    assert make(streaming=True).invoke("hi", config).text == "ab"
    assert "".join(tokens.seen) == "ab"
    assert counter.usage_metadata["m"]["total_tokens"] == 5

    async def stream_text() -> str:
        return "".join([chunk.text async for chunk in make().astream("hi", config)])

    assert asyncio.run(stream_text()) == "ab"
    assert "".join(tokens.seen) == "abab"
    assert counter.usage_metadata["m"]["total_tokens"] == 10


@pytest.mark.parametrize("streaming", [False, True])
def test_callbacks_see_why_an_answer_ended_and_what_was_counted(
    make: Make, server: RawServer, streaming: bool
) -> None:
    class Ends(BaseCallbackHandler):
        seen: Any = None

        def on_llm_end(self, response: Any, **kwargs: Any) -> None:
            self.seen = response

    server.will(chat_reply(streaming))
    ends = Ends()
    answer = make(streaming=streaming).invoke("hi", {"callbacks": [ends]})
    assert ends.seen.generations[0][0].generation_info["finish_reason"] == "stop"
    if not streaming:
        counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        assert ends.seen.llm_output == {"token_usage": counts, "model_name": "m"}
        assert answer.response_metadata["token_usage"] == counts


def test_usage_is_counted_where_the_service_names_no_model(make: Make, server: RawServer) -> None:
    nameless = chat()
    del nameless["model"]
    server.will(reply(nameless))
    counter = UsageMetadataCallbackHandler()
    make(model="prod", model_id="gpt-4.1").invoke("hi", {"callbacks": [counter]})
    assert counter.usage_metadata["gpt-4.1"]["total_tokens"] == 5
    make(model="prod").invoke("hi", {"callbacks": [counter]})
    assert counter.usage_metadata["prod"]["total_tokens"] == 5


ERRORS: list[tuple[int, Any, type[ModelError], type[core.InferenceError]]] = [
    (400, failure("x"), ModelInvalidRequestError, core.BadRequestError),
    (400, failure("content_filter"), ModelInvalidRequestError, core.ContentFilterError),
    (
        400,
        failure("context_length_exceeded"),
        ContextOverflowError,
        core.ContextLengthExceededError,
    ),
    (
        400,
        failure("unsupported_parameter"),
        ModelInvalidRequestError,
        core.UnsupportedParameterError,
    ),
    (401, failure("401"), ModelAuthenticationError, core.AuthenticationError),
    (403, failure("x"), ModelPermissionDeniedError, core.PermissionDeniedError),
    (404, failure("unknown_model"), ModelNotFoundError, core.DeploymentNotFoundError),
    (429, failure("429"), ModelRateLimitError, core.RateLimitError),
    (503, failure("x"), ModelAPIError, core.ServerError),
    (200, [], ModelAPIError, core.InvalidResponseError),
]


@pytest.mark.parametrize(("status", "body", "theirs", "ours"), ERRORS)
def test_an_error_is_both_langchains_and_azinfers(
    make: Make, server: RawServer, status: int, body: Any, theirs: Any, ours: type
) -> None:
    server.will(reply(body, status, {"x-request-id": "r1"}))
    for ask in (
        lambda model: model.invoke("hi"),
        lambda model: list(model.stream("hi")),
        lambda model: asyncio.run(model.ainvoke("hi")),
        lambda model: asyncio.run(anext(model.astream("hi"))),
    ):
        with pytest.raises(theirs) as caught:
            ask(make())
        error = cast("core.InferenceError", caught.value)
        assert isinstance(error, ours)
        assert type(error.__cause__) is ours
        assert error.args == (error.message,)
        assert error.deployment == "gpt-4.1"
        assert status == 200 or error.request_id == "r1"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_every_error_of_core_is_langchains_too() -> None:
    kinds = [getattr(core, name) for name in core.__all__]
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) > 12
    for kind in errors:
        with pytest.raises(kind) as caught, translated_errors():
            raise kind("what happened")
        # One is a mistake of the program, and the other the root.
        own = kind in (core.ConfigurationError, core.InferenceError)
        assert isinstance(caught.value, ModelError) is not own


def test_connections_and_time_outs_are_langchains_errors(make: Make, server: RawServer) -> None:
    server.will(lambda peer: peer.reset())
    with pytest.raises(ModelConnectionError):
        make().invoke("hi")
    server.will(lambda peer: peer.wait_until_client_leaves())
    with pytest.raises(ModelTimeoutError):
        make(timeout=0.2).invoke("hi")


def test_another_deployment_may_answer_a_call(endpoint: LocalEndpoint) -> None:
    model = local(endpoint)
    assert model.invoke("hi").text == "Paris."
    answer = model.invoke("hi", model="ECHO")
    assert answer.text == "This is a synthetic answer to: hi"
    assert answer.response_metadata["deployment"] == "echo"
    configurable = model.configurable_fields(model=ConfigurableField(id="model"))
    chosen: Any = {"configurable": {"model": "echo"}}
    assert configurable.with_config(chosen).invoke("hi").text.endswith("to: hi")


def test_configured_options_take_effect(endpoint: LocalEndpoint, server: RawServer) -> None:
    server.will(reply(chat()))
    fields: Any = {
        name: ConfigurableField(id=name) for name in ("endpoint", "model", "temperature")
    }
    model = local(endpoint).configurable_fields(**fields)
    chosen: Any = {"endpoint": f"{server.url}/models", "model": "there", "temperature": 0.5}
    model.with_config(configurable=chosen).invoke("hi")
    assert (body_of(server)["model"], body_of(server)["temperature"]) == ("there", 0.5)
    assert server.received[0].target.startswith("/models/")


def test_a_transient_failure_is_retried_up_to_max_retries(make: Make, server: RawServer) -> None:
    full = reply(failure("429"), 429, {"retry-after": "0", "x-request-id": "first"})
    server.will(full, full, reply(chat(), headers={"x-request-id": "last"}))
    answer = make(max_retries=2).invoke("hi")
    assert (answer.text, answer.response_metadata["request_id"]) == ("hello", "last")
    server.will(full, full, reply(chat()))
    with pytest.raises(ModelRateLimitError):
        make(max_retries=1).invoke("hi")
    assert len(server.received) == 5


def test_time_outs_and_headers_may_be_a_calls_own(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    make().invoke("hi", headers={"x-a": "1"})
    assert server.received[0].header("x-a") == "1"
    server.will(lambda peer: peer.wait_until_client_leaves())
    with pytest.raises(ModelTimeoutError):
        make().invoke("hi", timeout=0.2)


def test_a_rate_limiter_is_acquired_before_each_request(make: Make, server: RawServer) -> None:
    class Counter(InMemoryRateLimiter):
        acquired = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            Counter.acquired += 1
            return super().acquire(blocking=blocking)

    server.will(reply(chat()))
    model = make(rate_limiter=Counter(requests_per_second=1e6, max_bucket_size=1e6))
    model.batch(["a", "b", "c"])
    assert Counter.acquired == len(server.received) == 3


def test_a_model_id_belongs_to_its_own_deployment(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    model = make(model="prod", model_id="o3", max_tokens=5)
    model.invoke("hi")
    model.invoke("hi", model="other")
    model.invoke("hi", model="PROD")
    model.invoke("hi", model="other", model_id="o4-mini")
    assert "max_completion_tokens" in body_of(server)
    assert "max_tokens" in body_of(server, 1)
    assert "max_completion_tokens" in body_of(server, 2)
    assert "max_completion_tokens" in body_of(server, 3)
    client = InferenceClient(f"{server.url}/openai/v1", KEY, "prod", model_id="o3")
    assert ChatAzInfer(client=client, model="PROD").model_id == "o3"
    assert ChatAzInfer(client=client, model="other").model_id is None
    assert model.model_copy(update={"model": "other"}).model_id is None
    assert model.model_copy(update={"model": "Prod"}).model_id == "o3"
    assert model.model_copy(update={"model": "other", "model_id": "phi-4"}).model_id == "phi-4"
    assert model.sync_client.model_id == model.async_client.model_id == "o3"


def test_a_call_that_names_no_deployment_goes_to_the_models_own(
    make: Make, server: RawServer
) -> None:
    # Settings of graphs and middleware leave it empty.
    server.will(reply(chat()))
    model, traced = make(model="prod", model_id="o3", max_tokens=5), Traced()
    for empty in (None, ""):
        model.invoke("hi", {"callbacks": [traced]}, model=empty)
    for request, run in zip(server.received, traced.runs, strict=True):
        assert (request.json["model"], request.json["max_completion_tokens"]) == ("prod", 5)
        assert run.extra["metadata"]["ls_model_name"] == "o3"


def test_options_reach_the_wire(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    model = make(
        temperature=0, stop=["x"], seed=0, model_kwargs={"user": "me"}, headers={"x-a": "1"}
    )
    model.invoke("hi", top_p=0.5, stop=["y"])
    body = body_of(server)
    assert (body["temperature"], body["seed"], body["top_p"]) == (0, 0, 0.5)
    assert (body["stop"], body["user"]) == (["y"], "me")
    assert server.received[0].header("x-a") == "1"
    assert "azinfer/" in (server.received[0].header("user-agent") or "")
    assert not {"model_id", "timeout", "n"} & body.keys()
    make(model_kwargs={"seed": 3, "top_k": 1}).invoke("hi", top_k=2)
    assert (body_of(server, 1)["seed"], body_of(server, 1)["top_k"]) == (3, 2)
    make(stop="x", n=2).invoke("hi")
    assert (body_of(server, 2)["stop"], body_of(server, 2)["n"]) == (["x"], 2)
    make(stop="x").invoke("hi", stop=[])
    assert not body_of(server, 3).get("stop")


def test_a_misspelt_argument_is_an_error() -> None:
    with pytest.raises(ValidationError, match="temprature"):
        ChatAzInfer(endpoint="https://contoso.openai.azure.com", credential=KEY, temprature=0)  # type: ignore[call-arg]


def test_a_wrong_endpoint_is_an_immediate_error() -> None:
    for kind in (ChatAzInfer, AzInferEmbeddings):
        with pytest.raises(ValidationError, match="Pass its surface") as caught:
            kind(endpoint="https://example.com", credential=KEY)
        assert KEY not in str(caught.value)


def test_options_of_a_subclass_or_set_later_are_sent(server: RawServer) -> None:
    class Careful(ChatAzInfer):
        temperature: float | None = 0.25
        stop: list[str] | str | None = Field(default_factory=lambda: ["END"])

    server.will(reply(chat()))
    model = Careful(endpoint=f"{server.url}/openai/v1", credential=KEY, model="m")
    model.seed = 7
    model.invoke("hi")
    model.model_copy(update={"top_p": 0.5, "temperature": None}).invoke("hi")
    body, other = body_of(server), body_of(server, 1)
    assert (body["temperature"], body["stop"], body["seed"]) == (0.25, ["END"], 7)
    assert (other["top_p"], other["stop"], other["seed"]) == (0.5, ["END"], 7)
    assert "temperature" not in other


@pytest.mark.parametrize("kind", [InferenceClient, AsyncInferenceClient])
def test_a_ready_client_works_sync_and_async(endpoint: LocalEndpoint, kind: Any) -> None:
    client = kind(endpoint.url, endpoint.key, "paris")
    model = ChatAzInfer(client=client)
    assert model.invoke("hi").text == asyncio.run(model.ainvoke("hi")).text == "Paris."
    embeddings = AzInferEmbeddings(client=client)
    assert "client" not in model.model_dump().keys() | embeddings.model_dump().keys()
    assert len(embeddings.embed_query("a")) == len(asyncio.run(embeddings.aembed_query("a"))) == 384


@pytest.mark.parametrize("name", ["endpoint", "credential"])
def test_an_endpoint_beside_a_ready_client_is_an_error(name: str) -> None:
    client = InferenceClient("https://contoso.services.ai.azure.com", KEY, "paris")
    for kind in (ChatAzInfer, AzInferEmbeddings):
        with pytest.raises(ValidationError, match=f"client= has its own {name}"):
            kind(client=client, **{name: CLIENT_OPTIONS[name]})
        with pytest.raises(ConfigurationError, match=f"client= has its own {name}"):
            kind(client=client).model_copy(update={name: CLIENT_OPTIONS[name]})


def test_a_model_with_a_ready_client_is_configured_per_call(endpoint: LocalEndpoint) -> None:
    client = InferenceClient(endpoint.url, endpoint.key, "paris", timeout=20, max_retries=5)
    model = ChatAzInfer(client=client).configurable_fields(
        model=ConfigurableField(id="model"), temperature=ConfigurableField(id="temperature")
    )
    configured = model.with_config(configurable={"model": "echo", "temperature": 0})
    assert configured.invoke("hi").text == "This is a synthetic answer to: hi"
    copied = ChatAzInfer(client=client).model_copy(update={"temperature": 0})
    assert copied.invoke("hi").text == "Paris."
    assert copied.core_client.max_retries == 5


def test_one_model_works_in_two_event_loops(endpoint: LocalEndpoint) -> None:
    model = local(endpoint)
    assert [asyncio.run(model.ainvoke("hi")).text for _ in range(2)] == ["Paris."] * 2


def test_secrets_are_never_shown(endpoint: LocalEndpoint) -> None:
    model = local(endpoint, headers={"x-gateway-key": "gateway-secret"})
    seen: list[Any] = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            seen.append((serialized, kwargs))

    model.invoke("hi", {"callbacks": [Tracer()]})
    embeddings = AzInferEmbeddings(endpoint=endpoint.url, credential=endpoint.key, model="echo")
    shown = [repr(model), str(model), dumps(model), str(model.model_dump()), repr(seen)]
    shown += [str(model.asdict()), repr(embeddings), str(embeddings.model_dump())]
    assert not any(endpoint.key in each for each in [*shown, repr(vars(model))])
    assert not any("gateway-secret" in each for each in shown)
    with pytest.raises(ConfigurationError, match="cannot be pickled"):
        pickle.dumps(model)


KEYS_OF_GATEWAYS = ("subscription-key", "code", "sig")


@pytest.mark.parametrize("name", KEYS_OF_GATEWAYS)
@pytest.mark.filterwarnings("ignore:The function `load`")
def test_a_key_in_the_endpoints_url_is_never_shown(server: RawServer, name: str) -> None:
    server.will(reply(chat()))
    url = f"{server.url}/openai/v1?team=a&{name}=s3cret"
    named: Any = {"endpoint": url, "credential": KEY, "model": "m", "max_retries": 0}
    cache, traced = InMemoryCache(), Traced()
    model = ChatAzInfer(**named, cache=cache)
    embeddings = AzInferEmbeddings(**named)
    model.invoke("hi", {"callbacks": [traced]})
    (run,) = traced.runs
    shown = [repr(model), dumps(model), str(model.model_dump()), model.model_dump_json()]
    shown += [str(model.asdict()), str(cache._cache), str(run.serialized), str(run.extra)]
    shown += [repr(embeddings), dumps(embeddings), str(embeddings.model_dump())]
    assert not any("s3cret" in each for each in shown)
    assert dumpd(model)["kwargs"]["endpoint"] == f"{server.url}/openai/v1?team=a"
    for each in (model, embeddings):
        with pytest.raises(ConfigurationError, match="cannot be pickled"):
            pickle.dumps(each)
    again = load(
        dumpd(model),
        allowed_objects=[ChatAzInfer],
        valid_namespaces=["azinfer"],
        secrets_map={"AZURE_AI_API_KEY": KEY},
    )
    configured: Any = model.configurable_fields(model=ConfigurableField(id="model"))
    configured = configured.with_config(configurable={"model": "n"})
    for each in (again, again.model_copy(update={"endpoint": url}), copy.deepcopy(model)):
        each.invoke("hi again")
    configured.invoke("hi")
    keyed = [f"{name}=s3cret" in request.target for request in server.received]
    # What is made of a dump asks the same place, and is given the key again.
    assert keyed == [True, False, True, True, True]
    assert all("team=a" in request.target for request in server.received)


def test_an_endpoint_from_the_environment_is_called_with_its_whole_url(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(reply(chat()))
    path = "/openai/deployments/prod?api-version=2024-10-21&subscription-key=s3cret"
    monkeypatch.setenv("AZURE_AI_ENDPOINT", server.url + path)
    model = ChatAzInfer(credential=KEY, max_retries=0)
    assert "s3cret" not in repr(model) + dumps(model)
    model.invoke("hi")
    model.model_copy(update={"max_retries": 1}).invoke("hi")
    configured: Any = model.configurable_fields(temperature=ConfigurableField(id="t"))
    configured.with_config(configurable={"t": 0}).invoke("hi")
    kept = dumpd(model)["kwargs"]
    assert (kept["endpoint"], kept["model"]) == (f"{server.url}/openai/deployments", "prod")
    assert kept["api_version"] == "2024-10-21"
    assert len({request.target for request in server.received}) == 1
    assert "s3cret" in server.received[0].target


def test_a_cache_separates_endpoints_from_the_environment(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(reply(chat("0")), reply(chat("1")))
    cache, answers = InMemoryCache(), []
    for path in ("/openai/v1", "/models"):
        monkeypatch.setenv("AZURE_AI_ENDPOINT", server.url + path)
        answers.append(ChatAzInfer(credential=KEY, model="m", cache=cache).invoke("hi").text)
    assert answers == ["0", "1"]


@pytest.mark.filterwarnings("ignore:The function `load`")
def test_a_model_survives_a_dump_without_its_key(endpoint: LocalEndpoint) -> None:
    headers = {"x-gateway-key": "gateway-secret"}
    more: Any = {"timeout": core.Timeout(read=3), "headers": headers}
    model = local(endpoint, temperature=0, max_tokens=7, **more)
    dumped = dumpd(model)
    assert endpoint.key not in json.dumps(dumped)
    assert "gateway-secret" not in json.dumps(dumped)
    secrets: Any = {"AZURE_AI_API_KEY": endpoint.key, "AZURE_AI_HEADERS": headers}
    again = load(
        dumped,
        allowed_objects=[ChatAzInfer],
        valid_namespaces=["azinfer"],
        secrets_map=secrets,
    )
    assert again.asdict() == model.asdict()
    assert (again.timeout, again.headers) == (model.timeout, headers)
    assert again.invoke("hi").text == "Paris."


def test_a_copy_works(endpoint: LocalEndpoint, server: RawServer) -> None:
    class Credential:
        def __init__(self) -> None:
            self.lock = threading.Lock()  # cannot be copied

        def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": "t", "expires_on": 4e9})

    server.will(reply(chat()))
    model = local(endpoint)
    assert copy.deepcopy(model).invoke("hi").text == "Paris."
    assert copy.copy(model).invoke("hi").text == "Paris."
    assert model.model_copy(update={"model": "echo"}).invoke("hi").text.endswith("to: hi")
    elsewhere: Any = {"endpoint": f"{server.url}/openai/v1", "credential": Credential()}
    moved = model.model_copy(update=elsewhere)
    assert copy.deepcopy(moved).invoke("hi").text == "hello"
    assert server.received[0].header("authorization") == "Bearer t"


def test_a_model_with_its_key_in_the_environment_is_pickled(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
    data = pickle.dumps(ChatAzInfer(model="paris"))
    assert endpoint.key.encode() not in data
    assert pickle.loads(data).invoke("hi").text == "Paris."


def test_a_cache_is_kept_by_deployment(endpoint: LocalEndpoint) -> None:
    cache = InMemoryCache()
    first, second = local(endpoint, cache=cache), local(endpoint, model="echo", cache=cache)
    assert first.invoke("hi").text == "Paris."
    assert second.invoke("hi").text != "Paris."
    assert first.invoke("hi", model="echo").text != "Paris."
    assert len(cache._cache) == 3


def test_a_cache_is_kept_by_endpoint_and_parameters(make: Make, server: RawServer) -> None:
    server.will(*(reply(chat(str(at))) for at in range(6)))
    cache = InMemoryCache()
    models = [make(cache=cache, temperature=0), make(cache=cache, temperature=1)]
    models.append(make("/models", cache=cache, temperature=0))
    for path in ("/openai/v1", "/models"):
        client = InferenceClient(server.url + path, KEY, "of-a-client")
        models.append(ChatAzInfer(client=client, cache=cache))
    answers = [[model.invoke("hi").text for model in models] for _ in range(2)]
    assert answers == [["0", "1", "2", "3", "4"]] * 2


class Traced(BaseTracer):
    """Keeps what a tracer receives."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        self.runs.append(run)


def test_the_trace_names_model_provider_and_deployment(make: Make, server: RawServer) -> None:
    # langfuse/langfuse#1160
    server.will(reply(chat(), headers={"x-ms-deployment-name": "PROD"}))
    model, traced = make(model="prod", model_id="gpt-4.1", temperature=0), Traced()
    config: Any = {"callbacks": [traced]}
    model.invoke("hi", config)
    server.will(reply(chat()))
    model.invoke("hi", config, model="other")
    model.invoke("hi", config, model="PROD")
    own, other, in_capitals = traced.runs
    metadata = own.extra["metadata"]
    assert (metadata["ls_provider"], metadata["ls_model_name"]) == ("azure", "gpt-4.1")
    assert (metadata["ls_temperature"], metadata["ls_model_type"]) == (0, "chat")
    assert metadata["lc_versions"]["azinfer"] == core.__version__
    invocation_params_field = own.extra["invocation_params"]
    assert (invocation_params_field["endpoint"], invocation_params_field["deployment"]) == (
        f"{server.url}/openai/v1",
        "prod",
    )
    assert (invocation_params_field["temperature"], invocation_params_field["_type"]) == (
        0,
        "azinfer-chat",
    )
    answer = own.outputs["generations"][0][0]["message"]["kwargs"]["response_metadata"]
    assert (answer["deployment"], answer["model_name"]) == ("PROD", "m")
    assert other.extra["metadata"]["ls_model_name"] == "other"
    invocation_params_field = other.extra["invocation_params"]
    assert (invocation_params_field["deployment"], invocation_params_field["model_id"]) == (
        "other",
        None,
    )
    assert in_capitals.extra["metadata"]["ls_model_name"] == "gpt-4.1"
    nameless = ChatAzInfer(endpoint=server.url, surface="serverless", credential=KEY)
    nameless.invoke("hi", config)
    assert "ls_model_name" not in traced.runs[3].extra["metadata"]


@pytest.mark.parametrize(
    ("model_id", "tokens", "tools", "schema", "reasoning"),
    [
        ("gpt-4.1", 1_047_576, True, True, False),
        ("gpt-4o-mini", 128_000, True, True, False),
        ("gpt-4", 8_192, True, False, False),
        ("gpt-35-turbo", 16_385, True, False, False),
        ("openai/gpt-5-mini", 272_000, True, True, True),
        ("gpt-5-chat", 128_000, False, False, False),
        ("gpt-5.1-chat", 111_616, True, True, True),
        ("gpt-oss-120b", 131_072, True, True, True),
        ("o3-mini", 200_000, True, True, True),
        ("model-router", 200_000, None, None, None),
        ("DeepSeek-R1-0528", 163_840, False, False, True),
        ("DeepSeek-V3-0324", 131_072, True, None, False),
        ("DeepSeek-V3.1", 131_072, True, None, True),
        ("Mistral-Large-2411", 128_000, True, None, False),
        ("Mistral-small-2503", 32_768, True, None, False),
        ("Codestral-2501", 262_144, False, False, False),
        ("Ministral-3B", 131_072, True, None, False),
        ("Meta-Llama-3.1-8B-Instruct", 131_072, False, False, False),
        ("Llama-4-Maverick-17B-128E-Instruct-FP8", 1_000_000, False, False, False),
        ("Phi-4", 16_384, False, False, False),
        ("Phi-4-mini-instruct", 131_072, False, False, False),
        ("Phi-4-reasoning", 32_768, False, False, True),
        ("MAI-DS-R1", 163_840, False, False, True),
        ("grok-3", 131_072, True, False, False),
        ("grok-4-fast-non-reasoning", 2_000_000, True, False, False),
        ("grok-4-fast-reasoning", 2_000_000, True, False, True),
        ("grok-code-fast-1", 256_000, True, False, True),
        ("Cohere-command-r-plus-08-2024", 131_072, True, True, False),
        ("Cohere-command-a", 131_072, True, None, False),
        ("AI21-Jamba-1.5-Large", 262_144, True, True, False),
        ("Kimi-K2-Thinking", 262_144, True, False, True),
        ("jais-30b-chat", 8_192, True, None, False),
        ("tsuzumi-7b", 8_192, False, False, False),
    ],
)
def test_the_profile_is_that_of_the_model_and_not_of_the_name(
    model_id: str, tokens: int, tools: bool | None, schema: bool | None, reasoning: bool | None
) -> None:
    # langchain-ai/langchain#36761
    here: Any = {"endpoint": "https://contoso.openai.azure.com", "credential": KEY}
    profile = ChatAzInfer(**here, model="prod", model_id=model_id).profile
    assert profile is not None
    assert profile["max_input_tokens"] == tokens
    assert (profile.get("tool_calling"), profile.get("structured_output")) == (tools, schema)
    assert profile.get("reasoning_output") is reasoning
    assert profile.get("tool_choice") is tools
    assert ChatAzInfer(**here, model=model_id).profile == profile
    assert ChatAzInfer(**here, model="prod").profile is None
    client = InferenceClient(here["endpoint"], KEY, "prod", model_id=model_id)
    assert ChatAzInfer(client=client).profile == profile


def test_a_profile_is_its_models_own_and_says_what_is_known() -> None:
    def profile(model: str) -> Any:
        url = "https://contoso.openai.azure.com"
        return ChatAzInfer(endpoint=url, credential=KEY, model=model).profile

    first, second, blind = map(profile, ["gpt-4o", "gpt-4o", "Mistral-small-2503"])
    assert first["image_inputs"] is first["image_url_inputs"] is True
    assert blind["image_inputs"] is blind["image_url_inputs"] is False
    assert "max_output_tokens" not in profile("model-router")
    first["max_input_tokens"] = 7
    assert second["max_input_tokens"] == profile("gpt-4o")["max_input_tokens"] == 128_000


def test_tokens_are_counted_with_no_download() -> None:
    model = ChatAzInfer(endpoint="https://contoso.openai.azure.com", credential=KEY, model="prod")

    def weather(city: str) -> str:
        """The weather in a city.

        It is given for now and for the next days, hour by hour, with wind, rain and the sun.
        """
        return city

    assert model.get_num_tokens("x" * 40) == 10
    assert model.get_num_tokens("x") == 1
    assert model.get_num_tokens("日" * 4) == 3  # bytes
    requests = [HumanMessage("x" * 40)]
    without = model.get_num_tokens_from_messages(requests)
    counted = model.get_num_tokens_from_messages(requests, tools=[weather]) - without
    assert without >= 10
    assert counted > model.get_num_tokens(str(weather.__doc__))
    messages = [HumanMessage("x" * 400), AIMessage("y" * 400), HumanMessage("z")]
    kept = trim_messages(messages, max_tokens=20, token_counter=model, strategy="last")
    assert kept == messages[-1:]


def test_a_chain_runs(endpoint: LocalEndpoint) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
    chain = prompt | local(endpoint) | StrOutputParser()
    assert chain.invoke({"question": "What is the capital of France?"}) == "Paris."
    assert "".join(chain.stream({"question": "?"})) == "Paris."
    assert chain.batch([{"question": "?"}] * 3) == ["Paris."] * 3

    async def all_of_it() -> Any:
        return await chain.ainvoke({"question": "?"}), [
            each async for each in chain.astream({"question": "?"})
        ]

    whole, parts = asyncio.run(all_of_it())
    assert whole == "".join(parts) == "Paris."


def test_a_fallback_answers(endpoint: LocalEndpoint) -> None:
    model = local(endpoint, model="nope").with_fallbacks([local(endpoint)])
    assert model.invoke("hi").text == "Paris."
    assert asyncio.run(model.ainvoke("hi")).text == "Paris."
    assert "".join(chunk.text for chunk in model.stream("hi")) == "Paris."


@pytest.mark.parametrize("name", ["_generate", "_agenerate"])
def test_the_signature_that_langchain_reads_in_each_call_is_kept(name: str) -> None:
    method = getattr(ChatAzInfer, name)
    assert "run_manager" in inspect.signature(method).parameters
    assert inspect.signature(method) is inspect.signature(method)


def test_a_subclass_is_called_by_its_own_signature(endpoint: LocalEndpoint) -> None:
    class Plain(ChatAzInfer):
        def _generate(  # type: ignore[override]  # as a program without types has it
            self, messages: Any, stop: Any = None, **options: Any
        ) -> Any:
            assert "run_manager" not in options
            return super()._generate(messages, stop, **options)

    model = Plain(endpoint=endpoint.url, credential=endpoint.key, model="paris")
    assert model.invoke("Hello").content
