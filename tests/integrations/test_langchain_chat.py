"""ChatAzInfer over real HTTP: messages, tools, structured output, streams, errors, safety."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from typing import Any, TypedDict, cast

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
    ModelRefusalError,
    ModelTimeoutError,
    OutputParserException,
)
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from pydantic import BaseModel, ValidationError

from asking import KEY
from azinfer import core
from azinfer.core import AsyncInferenceClient, ConfigurationError, InferenceClient
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from raw_server import RawServer, chat, events, failure, part, reply, stream

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


def sent(server: RawServer, at: int = 0) -> Any:
    return server.received[at].json


PNG = "iVBORw=="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
USER: list[BaseMessage] = [HumanMessage("hi")]


MESSAGES: list[tuple[BaseMessage, Any]] = [
    (SystemMessage("s"), {"role": "system", "content": "s"}),
    (
        SystemMessage("s", additional_kwargs={"__openai_role__": "developer"}),
        {"role": "developer", "content": "s"},
    ),
    (HumanMessage("hi"), {"role": "user", "content": "hi"}),
    (HumanMessage("hi", name="Ann"), {"role": "user", "content": "hi", "name": "Ann"}),
    (ChatMessage(content="x", role="developer"), {"role": "developer", "content": "x"}),
    (
        HumanMessage(["a", "b"]),
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ),
    (
        HumanMessage([{"text": "no type"}]),
        {"role": "user", "content": [{"type": "text", "text": "no type"}]},
    ),
    (HumanMessage([IMAGE]), {"role": "user", "content": [IMAGE]}),
    (
        HumanMessage([{"type": "image", "base64": PNG, "mime_type": "image/png"}]),
        {"role": "user", "content": [IMAGE]},
    ),
    (
        HumanMessage(
            [{"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"}]
        ),
        {"role": "user", "content": [IMAGE]},
    ),
    (
        HumanMessage(
            [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                }
            ]
        ),
        {"role": "user", "content": [IMAGE]},
    ),
    (
        HumanMessage([{"type": "image", "url": "https://example.com/a.png"}]),
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
        },
    ),
    (
        HumanMessage([{"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}]),
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}],
        },
    ),
    (
        HumanMessage([{"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}]),
        {
            "role": "user",
            "content": [
                {
                    "type": "file",
                    "file": {
                        "filename": "document.pdf",
                        "file_data": "data:application/pdf;base64,AAAA",
                    },
                }
            ],
        },
    ),
    (
        HumanMessage([{"type": "text-plain", "text": "notes", "mime_type": "text/plain"}]),
        {"role": "user", "content": [{"type": "text", "text": "notes"}]},
    ),
    (AIMessage("yes"), {"role": "assistant", "content": "yes"}),
    (AIMessage([{"type": "text", "text": "a"}, "b"]), {"role": "assistant", "content": "ab"}),
    (
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "4"}]),
        {"role": "assistant", "content": "4"},
    ),
    (
        AIMessage(
            [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "4"},
            ]
        ),
        {"role": "assistant", "content": "4"},
    ),
    (
        AIMessage("4", additional_kwargs={"reasoning_content": "hm"}),
        {"role": "assistant", "content": "4"},
    ),
    (AIMessage([{"type": "refusal", "refusal": "no"}]), {"role": "assistant", "content": "no"}),
    (AIMessage(""), {"role": "assistant", "content": ""}),
    (
        AIMessage("", tool_calls=[{"id": "c", "name": "f", "args": {"x": 1}}]),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
            ],
        },
    ),
    (
        AIMessage(
            [{"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}],
            tool_calls=[{"id": "c", "name": "f", "args": {"x": 1}}],
        ),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
            ],
        },
    ),
    (
        AIMessage("", invalid_tool_calls=[{"id": "c", "name": "f", "args": "{x", "error": None}]),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{x"}}
            ],
        },
    ),
]


@pytest.mark.parametrize(("message", "wire"), MESSAGES)
def test_a_message_is_sent_as_it_is_meant(
    make: Make, server: RawServer, message: BaseMessage, wire: Any
) -> None:
    server.will(reply(chat()))
    make().invoke([message])
    assert sent(server)["messages"] == [wire]


def test_media_in_the_answers_of_tools_follow_them(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    call = {"name": "f", "args": {}}
    make().invoke(
        [
            AIMessage("", tool_calls=[{"id": "a", **call}, {"id": "b", **call}]),
            ToolMessage([IMAGE], tool_call_id="a"),
            ToolMessage([{"type": "text", "text": "b"}], tool_call_id="b"),
            HumanMessage("what is it?"),
        ]
    )
    assert sent(server)["messages"][1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "(attached below)"},
        {"role": "tool", "tool_call_id": "b", "content": "b"},
        {"role": "user", "content": [IMAGE]},
        {"role": "user", "content": "what is it?"},
    ]
    make().invoke([ToolMessage([IMAGE], tool_call_id="a")])
    assert sent(server, 1)["messages"][-1] == {"role": "user", "content": [IMAGE]}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (HumanMessage([{"type": "hologram", "data": 1}]), "cannot be sent"),
        (HumanMessage([{"type": "video", "url": "https://a"}]), "of the type 'video'"),
        (
            HumanMessage([{"type": "text-plain", "url": "https://a", "mime_type": "text/plain"}]),
            "not fetched",
        ),
        (AIMessage([IMAGE]), "cannot be sent back"),
        (RemoveMessage(id="1"), "RemoveMessage cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_told_and_not_dropped(
    make: Make, server: RawServer, message: BaseMessage, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        make().invoke([message])
    assert not server.received


def test_an_answer_has_everything_at_hand(make: Make, server: RawServer) -> None:
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
    assert answer.text == "4"
    assert answer.tool_calls == [{"id": "a", "name": "f", "args": {"x": 1}, "type": "tool_call"}]
    assert answer.invalid_tool_calls[0]["args"] == "{broken"
    assert answer.content_blocks[0] == {"type": "reasoning", "reasoning": "2+2"}
    assert answer.usage_metadata == {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
        "input_token_details": {"cache_read": 1},
        "output_token_details": {"reasoning": 1},
    }
    told = answer.response_metadata
    assert (told["model_name"], told["deployment"], told["request_id"]) == ("m", "GPT", "r1")
    assert told["finish_reason"] == "tool_calls" or told["finish_reason"] == "stop"
    assert told["content_filter_results"] == {"hate": {"filtered": False}}
    assert told["prompt_filter_results"] == [{"prompt_index": 0}]


def test_several_answers_are_all_there(make: Make, server: RawServer) -> None:
    raw = chat("a")
    raw["choices"].append({**raw["choices"][0], "index": 1, "message": {"content": "b"}})
    server.will(reply(raw))
    result = make(n=2).generate([USER])
    assert [each.text for each in result.generations[0]] == ["a", "b"]
    with pytest.raises(ConfigurationError, match="leave out n"):
        list(make(n=2).stream("hi"))


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


def test_a_streamed_tool_call_adds_up(make: Make, server: RawServer) -> None:
    def call(**parts: Any) -> Any:
        told = {"id": parts.pop("id", None), "function": parts}
        return part(None, None, tool_calls=[{"index": 0, **told}])

    server.will(
        stream(
            events(
                call(id="c", name="f", arguments=""),
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


def test_a_streamed_refusal_is_seen(make: Make, server: RawServer) -> None:
    server.will(stream(events(part(None, "stop", refusal="I won't"))))
    (first, *_) = make().stream("hi")
    assert first.additional_kwargs["refusal"] == "I won't"


def test_a_cut_stream_is_told(make: Make, server: RawServer) -> None:
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

    async def streamed() -> str:
        return "".join([chunk.text async for chunk in make().astream("hi", config)])

    assert asyncio.run(streamed()) == "ab"
    assert "".join(tokens.seen) == "abab"


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str | None = None


class Place(TypedDict):
    """A place."""

    city: str


SCHEMA = {"title": "place", "type": "object", "properties": {"city": {"type": "string"}}}
OPENAI_TOOL = {"type": "function", "function": {"name": "place", "parameters": SCHEMA}}
ANTHROPIC_TOOL = {"name": "place", "description": "d", "input_schema": SCHEMA}


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (weather, "weather"),
        (lambda: None, "<lambda>"),
        (Joke, "Joke"),
        (Place, "Place"),
        (SCHEMA, "place"),
        (OPENAI_TOOL, "place"),
        (ANTHROPIC_TOOL, "place"),
    ],
)
def test_tools_may_have_every_form(make: Make, server: RawServer, form: Any, name: str) -> None:
    if name == "<lambda>":

        def named(city: str) -> str:
            """The weather."""
            return city

        form, name = named, "named"
    server.will(reply(chat()))
    make().bind_tools([form]).invoke("hi")
    (wire,) = sent(server)["tools"]
    assert (wire["type"], wire["function"]["name"]) == ("function", name)


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"type": "function", "function": {"name": "weather"}},
        ),
    ],
)
def test_a_tool_choice_may_have_every_form(
    make: Make, server: RawServer, choice: Any, wire: Any
) -> None:
    server.will(reply(chat()))
    make().bind_tools([weather], tool_choice=choice).invoke("hi")
    assert sent(server).get("tool_choice") == wire


def test_a_tool_choice_that_names_no_tool_is_told(make: Make) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'wether' names no tool; there are \['weather'\]"
    ):
        make().bind_tools([weather], tool_choice="wether")


def test_strict_and_parallel_are_sent_with_tools_alone(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    make().bind_tools([weather], strict=True, parallel_tool_calls=False).invoke("hi")
    make().bind_tools([], parallel_tool_calls=False).invoke("hi")
    assert sent(server)["parallel_tool_calls"] is False
    assert sent(server)["tools"][0]["function"]["strict"] is True
    assert not {"tools", "parallel_tool_calls"} & sent(server, 1).keys()


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Joke, Place, SCHEMA])
def test_structured_output_by_every_method(
    make: Make, server: RawServer, method: Any, schema: Any
) -> None:
    value = {"setup": "s", "punchline": None} if schema is Joke else {"city": "Delft"}
    name = "Joke" if schema is Joke else "Place" if schema is Place else "place"
    call = {"id": "c", "type": "function"}
    call["function"] = {"name": name, "arguments": json.dumps(value)}  # type: ignore[assignment]
    if method == "function_calling":
        server.will(reply(chat(None, message={"tool_calls": [call]})))
    else:
        server.will(reply(chat(json.dumps(value))))
    found = make().with_structured_output(schema, method=method).invoke("hi")
    assert found == (Joke(setup="s") if schema is Joke else value)
    wanted = sent(server).get("response_format")
    if method == "function_calling":
        assert sent(server)["tool_choice"]["function"]["name"] == name
    elif method == "json_mode":
        assert wanted == {"type": "json_object"}
    else:
        assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", name)
        assert wanted["json_schema"].get("strict") is (None if schema is SCHEMA else True)


def test_the_method_is_what_the_model_can_do(make: Make, server: RawServer) -> None:
    server.will(reply(chat('{"city": "Delft"}')))
    make(model_id="gpt-4.1").with_structured_output(Place).invoke("hi")
    assert "response_format" in sent(server)
    llama = make(model="prod", model_id="Llama-3.3-70B-Instruct")
    assert llama.with_structured_output(Place).invoke("hi") is None
    assert "tools" in sent(server, 1)


def test_a_response_format_may_be_given_whole(make: Make, server: RawServer) -> None:
    server.will(reply(chat("{}")))
    whole = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert make().with_structured_output(whole).invoke("hi") == {}
    assert sent(server)["response_format"] == whole


def test_raw_answers_come_beside_the_parsed(make: Make, server: RawServer) -> None:
    server.will(reply(chat('{"setup": "s"}')), reply(chat("no json")))
    asked = make().with_structured_output(Joke, include_raw=True)
    good, bad = asked.invoke("hi"), asked.invoke("hi")
    assert good["parsed"] == Joke(setup="s")
    assert good["raw"].usage_metadata["total_tokens"] == 5
    assert (bad["parsed"], type(bad["parsing_error"])) == (None, OutputParserException)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_refusals_and_answers_cut_off_are_told(make: Make, server: RawServer, method: Any) -> None:
    server.will(reply(chat(None, message={"refusal": "I won't"})), reply(chat('{"se', "length")))
    asked = make().with_structured_output(Joke, method=method)
    with pytest.raises(ModelRefusalError, match="I won't"):
        asked.invoke("hi")
    with pytest.raises(OutputParserException, match="raise max_tokens"):
        asked.invoke("hi")


def test_a_schema_is_needed(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="needs a schema"):
        make().with_structured_output(None, method="json_schema")


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
def test_an_error_is_langchains_and_ours_at_once(
    make: Make, server: RawServer, status: int, body: Any, theirs: Any, ours: type
) -> None:
    server.will(reply(body, status, {"x-request-id": "r1"}))
    for ask in (
        lambda model: model.invoke("hi"),
        lambda model: list(model.stream("hi")),
        lambda model: asyncio.run(model.ainvoke("hi")),
    ):
        with pytest.raises(theirs) as caught:
            ask(make())
        error = cast("core.InferenceError", caught.value)
        assert isinstance(error, ours)
        assert error.deployment == "gpt-4.1"
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


def test_connections_and_time_outs_are_langchains_errors(make: Make, server: RawServer) -> None:
    server.will(lambda peer: peer.reset())
    with pytest.raises(ModelConnectionError):
        make().invoke("hi")
    server.will(lambda peer: peer.until_left())
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


def test_a_model_id_belongs_to_its_own_deployment(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    model = make(model="prod", model_id="o3", max_tokens=5)
    model.invoke("hi")
    model.invoke("hi", model="other")
    assert "max_completion_tokens" in sent(server)
    assert "max_tokens" in sent(server, 1)


def test_options_reach_the_wire(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    model = make(
        temperature=0, stop=["x"], seed=0, model_kwargs={"user": "me"}, headers={"x-a": "1"}
    )
    model.invoke("hi", top_p=0.5, stop=["y"])
    body = sent(server)
    assert (body["temperature"], body["seed"], body["top_p"]) == (0, 0, 0.5)
    assert (body["stop"], body["user"]) == (["y"], "me")
    assert server.received[0].header("x-a") == "1"
    assert not {"model_id", "timeout", "n"} & body.keys()


def test_a_misspelt_argument_is_told() -> None:
    with pytest.raises(ValidationError, match="temprature"):
        ChatAzInfer(endpoint="https://contoso.openai.azure.com", credential=KEY, temprature=0)  # type: ignore[call-arg]


def test_a_wrong_endpoint_is_told_at_once() -> None:
    for kind in (ChatAzInfer, AzInferEmbeddings):
        with pytest.raises(ValidationError, match="name the surface") as caught:
            kind(endpoint="https://example.com", credential=KEY)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize("kind", [InferenceClient, AsyncInferenceClient])
def test_a_ready_client_serves_both_kinds_of_code(endpoint: LocalEndpoint, kind: Any) -> None:
    client = kind(endpoint.url, endpoint.key, "paris")
    model = ChatAzInfer(client=client)
    assert model.invoke("hi").text == asyncio.run(model.ainvoke("hi")).text == "Paris."
    embeddings = AzInferEmbeddings(client=client)
    assert len(embeddings.embed_query("a")) == len(asyncio.run(embeddings.aembed_query("a"))) == 384


def test_one_model_lives_in_two_loops(endpoint: LocalEndpoint) -> None:
    model = local(endpoint)
    assert [asyncio.run(model.ainvoke("hi")).text for _ in range(2)] == ["Paris."] * 2


def test_a_secret_shows_nowhere(endpoint: LocalEndpoint) -> None:
    model = local(endpoint)
    seen: list[Any] = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            seen.append((serialized, kwargs))

    model.invoke("hi", {"callbacks": [Tracer()]})
    embeddings = AzInferEmbeddings(endpoint=endpoint.url, credential=endpoint.key, model="echo")
    shown = [repr(model), str(model), dumps(model), str(model.model_dump()), repr(seen)]
    shown += [str(model.asdict()), repr(embeddings), str(embeddings.model_dump())]
    assert not any(endpoint.key in each for each in shown)
    with pytest.raises(ConfigurationError, match="not pickled"):
        pickle.dumps(model)


@pytest.mark.filterwarnings("ignore:The function `load`")
def test_a_model_survives_a_dump_without_its_key(endpoint: LocalEndpoint) -> None:
    model = local(endpoint, temperature=0, max_tokens=7)
    dumped = dumpd(model)
    assert endpoint.key not in json.dumps(dumped)
    again = load(
        dumped,
        allowed_objects=[ChatAzInfer],
        valid_namespaces=["azinfer"],
        secrets_map={"AZURE_AI_API_KEY": endpoint.key},
    )
    assert again.asdict() == model.asdict()
    assert again.invoke("hi").text == "Paris."


def test_a_copy_works(endpoint: LocalEndpoint) -> None:
    model = local(endpoint)
    assert copy.deepcopy(model).invoke("hi").text == "Paris."
    assert model.model_copy(update={"model": "echo"}).invoke("hi").text.endswith("to: hi")


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


def test_the_trace_names_model_and_provider() -> None:
    endpoint = "https://contoso.openai.azure.com"
    model = ChatAzInfer(endpoint=endpoint, credential=KEY, model="prod", model_id="gpt-4.1")
    params = model._get_ls_params(stop=["x"])
    assert params["ls_provider"] == "azure"
    assert params["ls_model_name"] == "gpt-4.1"
    assert model._get_ls_params(model="other")["ls_model_name"] == "other"
    assert model.metadata is not None
    assert model.metadata["lc_versions"]["azinfer"] == core.__version__
    assert model._llm_type == "azinfer-chat"


@pytest.mark.parametrize(
    ("model_id", "tokens", "tools", "reasoning"),
    [
        ("gpt-4.1", 1_047_576, True, False),
        ("openai/gpt-5-mini", 272_000, True, True),
        ("o3-mini", 200_000, True, True),
        ("DeepSeek-R1-0528", 163_840, False, True),
        ("Mistral-Large-2411", 128_000, True, False),
        ("Meta-Llama-3.1-8B-Instruct", 128_000, True, False),
        ("Cohere-command-r-plus-08-2024", 131_072, True, False),
    ],
)
def test_the_profile_is_that_of_the_model_and_not_of_the_name(
    model_id: str, tokens: int, tools: bool, reasoning: bool
) -> None:
    endpoint = "https://contoso.openai.azure.com"
    profile = ChatAzInfer(
        endpoint=endpoint, credential=KEY, model="prod", model_id=model_id
    ).profile
    assert profile is not None
    assert profile["max_input_tokens"] == tokens
    assert (profile["tool_calling"], profile["reasoning_output"]) == (tools, reasoning)
    assert ChatAzInfer(endpoint=endpoint, credential=KEY, model="prod").profile is None


def test_tokens_are_counted_with_no_download() -> None:
    model = ChatAzInfer(endpoint="https://contoso.openai.azure.com", credential=KEY, model="prod")
    assert model.get_num_tokens("x" * 40) == 10
    assert model.get_num_tokens_from_messages([HumanMessage("x" * 40)], tools=[weather]) > 10
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


def test_a_tool_loop_runs(endpoint: LocalEndpoint) -> None:
    model = local(endpoint, model="echo").bind_tools([weather])
    messages: list[Any] = [HumanMessage("What is the weather in New York?")]
    answer = model.invoke(messages)
    assert answer.tool_calls[0]["args"] == {"city": "New York"}
    messages += [answer, weather.invoke(answer.tool_calls[0])]
    assert "Sunny in New York" in model.invoke(messages).text


def test_embeddings_are_of_texts_and_images_and_of_the_right_type(server: RawServer) -> None:
    def choose(request: Any) -> Any:
        count = len(request.json["input"])
        return reply({"data": [{"index": at, "embedding": [float(at), 1]} for at in range(count)]})

    server.choose = choose
    embeddings = AzInferEmbeddings(
        endpoint=f"{server.url}/models",
        credential=KEY,
        model="prod",
        model_id="Cohere-embed-v3-english",
        query_type="query",
        document_type="document",
        dimensions=2,
        model_kwargs={"truncate": "END"},
    )
    assert embeddings.embed_documents(["a"] * 100)[99] == [3.0, 1.0]
    assert embeddings.embed_query("a") == [0.0, 1.0]
    assert embeddings.embed_documents([]) == []
    assert embeddings.embed_images([b"\x89PNG"]) == [[0.0, 1.0]]
    assert asyncio.run(embeddings.aembed_images([b"\x89PNG"])) == [[0.0, 1.0]]
    assert asyncio.run(embeddings.aembed_documents(["a", "b"], model="other"))[1] == [1.0, 1.0]
    bodies = [request.json for request in server.received]
    assert sorted(len(body["input"]) for body in bodies[:2]) == [4, 96]
    assert [body.get("input_type") for body in bodies[:3]] == ["document", "document", "query"]
    assert {body["dimensions"] for body in bodies} == {2}
    assert bodies[-1]["model"] == "other"


def test_errors_of_embeddings_are_langchains_too(server: RawServer) -> None:
    server.will(reply(failure("unknown_model"), 404))
    embeddings = AzInferEmbeddings(endpoint=f"{server.url}/models", credential=KEY, model="nope")
    with pytest.raises(ModelNotFoundError):
        embeddings.embed_query("a")
    with pytest.raises(ModelNotFoundError):
        asyncio.run(embeddings.aembed_query("a"))
