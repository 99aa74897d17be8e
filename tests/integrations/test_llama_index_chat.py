"""AzInferLLM over real HTTP: messages, tools, structured output, streams, errors, safety."""

from __future__ import annotations

import asyncio
import base64
import copy
import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import BasePydanticProgram, PydanticProgramMode
from pydantic import BaseModel, SecretStr, ValidationError

from azinfer import core
from azinfer.core import AsyncInferenceClient, ConfigurationError, InferenceClient, Timeout
from azinfer.llama_index import AzInferEmbedding, AzInferImageEmbedding, AzInferLLM
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import CLIENT_OPTIONS, KEY
from llama_index_calls import USER, Person, call_method, deltas, payload_of, ping, tool
from raw_server import RawServer, chat, events, failure, part, reply, stream, vectors

Make = Callable[..., AzInferLLM]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 12
ENCODED = base64.b64encode(PNG).decode()
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}}
WAV = b"RIFF$\0\0\0WAVEfmt "
SOUND = {
    "type": "input_audio",
    "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"},
}
PDF = b"%PDF-1.4\n%%EOF\n"
FILE = {
    "type": "file",
    "file": {
        "filename": "input_document.pdf",
        "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}",
    },
}
PERSON = PromptTemplate("Who is {name}?")
pytestmark = pytest.mark.usefixtures("own_loop")


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes models of the raw server."""

    def llm(path: str = "/openai/v1", **named: Any) -> AzInferLLM:
        named = {"model": "gpt-4.1", "max_retries": 0, **named}
        return AzInferLLM(endpoint=server.url + path, credential=KEY, **named)

    return llm


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments that answer differently."""
    deployments = [
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("echo"),
        LocalDeployment("embed"),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def local(endpoint: LocalEndpoint, **named: Any) -> AzInferLLM:
    return AzInferLLM(endpoint=endpoint.url, credential=endpoint.key, **{"model": "paris", **named})


def body_of(server: RawServer, at: int = 0) -> Any:
    return server.received[at].json


def call(name: str = "get_weather", arguments: str = '{"city": "Delft"}', id: str = "c1") -> Any:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def text(value: str) -> Any:
    return {"type": "text", "text": value}


def user(*blocks: Any) -> ChatMessage:
    return ChatMessage(role="user", blocks=list(blocks))


def assistant(*blocks: Any, **more: Any) -> ChatMessage:
    return ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=more)


MESSAGES: list[tuple[ChatMessage, Any]] = [
    (ChatMessage(role="system", content="s"), {"role": "system", "content": "s"}),
    (ChatMessage(role="developer", content="s"), {"role": "developer", "content": "s"}),
    (ChatMessage("hi"), {"role": "user", "content": "hi"}),
    (ChatMessage(role="chatbot", content="a"), {"role": "assistant", "content": "a"}),
    (ChatMessage(role="model", content="a"), {"role": "assistant", "content": "a"}),
    (
        ChatMessage(role="function", content="a", additional_kwargs={"name": "f"}),
        {"role": "function", "content": "a", "name": "f"},
    ),
    (
        ChatMessage(role="system", blocks=[TextBlock(text="a"), TextBlock(text="b")]),
        {"role": "system", "content": "a\nb"},
    ),
    (user(), {"role": "user", "content": ""}),
    (
        user(TextBlock(text="a"), TextBlock(text="b")),
        {"role": "user", "content": [text("a"), text("b")]},
    ),
    (user(ImageBlock(image=PNG)), {"role": "user", "content": [IMAGE]}),
    (user(ImageBlock(image=io.BytesIO(PNG))), {"role": "user", "content": [IMAGE]}),
    (
        user(ImageBlock(url="https://example.com/a.png", detail="low")),
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": "https://example.com/a.png", "detail": "low"},
                }
            ],
        },
    ),
    (
        user(ImageBlock(image=b"<svg/>", image_mimetype="image/svg+xml")),
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zy8+"}}
            ],
        },
    ),
    (user(AudioBlock(audio=WAV, format="wav")), {"role": "user", "content": [SOUND]}),
    (
        user(AudioBlock(url="https://example.com/a.mp3")),
        {
            "role": "user",
            "content": [
                {"type": "audio_url", "audio_url": {"url": "https://example.com/a.mp3"}},
            ],
        },
    ),
    (user(DocumentBlock(data=PDF)), {"role": "user", "content": [FILE]}),
    (
        user(DocumentBlock(data=PDF, title="a.pdf", document_mimetype="application/pdf")),
        {
            "role": "user",
            "content": [{"type": "file", "file": {**FILE["file"], "filename": "a.pdf"}}],  # type: ignore[dict-item]
        },
    ),
    (
        user(DocumentBlock(data=b"notes", document_mimetype="text/plain")),
        {"role": "user", "content": "notes"},
    ),
    (
        user(TextBlock(text="a"), CachePoint(cache_control=CacheControl(type="ephemeral"))),
        {"role": "user", "content": "a"},
    ),
    (
        user(CitableBlock(title="T", source="s", content=[TextBlock(text="c")])),
        {"role": "user", "content": [text("T (s)"), text("c")]},
    ),
    (
        assistant(
            CitationBlock(
                cited_content=TextBlock(text="c"),
                source="s",
                title="T",
                additional_location_info={},
            )
        ),
        {"role": "assistant", "content": "c"},
    ),
    (
        assistant(ThinkingBlock(content="hm"), TextBlock(text="4")),
        {"role": "assistant", "content": "4"},
    ),
    (
        assistant(ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs={"x": 1})),
        {"role": "assistant", "tool_calls": [call("f", '{"x": 1}')]},
    ),
    (
        assistant(ToolCallBlock(tool_call_id="c1", tool_name="f", tool_kwargs="{x")),
        {"role": "assistant", "tool_calls": [call("f", "{x")]},
    ),
    (
        assistant(TextBlock(text="a"), tool_calls=[call("f", "{}")]),
        {"role": "assistant", "content": "a", "tool_calls": [call("f", "{}")]},
    ),
    (
        assistant(TextBlock(text="a"), reference_audio_id="a1"),
        {"role": "assistant", "audio": {"id": "a1"}},
    ),
]


@pytest.mark.parametrize(("message", "wire"), MESSAGES)
def test_a_message_is_encoded_correctly(
    make: Make, server: RawServer, message: ChatMessage, wire: Any
) -> None:
    before = message.model_dump_json() if not _has_a_file(message) else None
    server.will(reply(chat()))
    make().chat([message])
    assert body_of(server)["messages"] == [wire]
    if before:
        assert message.model_dump_json() == before


def _has_a_file(message: ChatMessage) -> bool:
    return any(getattr(block, "image", None) is not None for block in message.blocks)


def test_files_are_read_when_they_are_sent(make: Make, server: RawServer, tmp_path: Path) -> None:
    server.will(reply(chat()))
    for name, data in (("a.png", PNG), ("a.wav", WAV), ("a.pdf", PDF), ("a.md", b"# Notes")):
        (tmp_path / name).write_bytes(data)
    make().chat(
        [
            user(
                ImageBlock(path=tmp_path / "a.png"),
                AudioBlock(path=tmp_path / "a.wav"),
                DocumentBlock(path=tmp_path / "a.pdf"),
                DocumentBlock(path=tmp_path / "a.md"),
            )
        ]
    )
    assert body_of(server)["messages"][0]["content"] == [IMAGE, SOUND, FILE, text("# Notes")]


def test_media_in_tool_results_follow_them(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))

    def answer(call_id: str, *blocks: Any) -> ChatMessage:
        return ChatMessage(
            role="tool", blocks=list(blocks), additional_kwargs={"tool_call_id": call_id}
        )

    calls = [ToolCallBlock(tool_call_id=each, tool_name="f") for each in "ab"]
    make().chat(
        [
            assistant(*calls),
            answer("a", ImageBlock(image=PNG)),
            answer("b", TextBlock(text="b"), TextBlock(text="c")),
            ChatMessage("what is it?"),
        ]
    )
    assert body_of(server)["messages"][1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "(attached below)"},
        {"role": "tool", "tool_call_id": "b", "content": "b\nc"},
        {"role": "user", "content": [IMAGE]},
        {"role": "user", "content": "what is it?"},
    ]
    make().chat([answer("a", ImageBlock(image=PNG))])
    assert body_of(server, 1)["messages"][-1] == {"role": "user", "content": [IMAGE]}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (user(VideoBlock(url="https://a.example/v.mp4")), "VideoBlock"),
        (user(DocumentBlock(url="https://a.example/d.pdf")), "not fetched"),
        (user(ToolCallBlock(tool_name="f")), "ToolCallBlock"),
        (assistant(ImageBlock(image=PNG)), "cannot be sent back"),
        (ChatMessage(role="tool", content="x"), "tool_call_id"),
    ],
)
def test_unsupported_content_is_an_error(make: Make, message: ChatMessage, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        make().chat([message])


def test_an_answer_has_its_blocks_usage_and_facts(make: Make, server: RawServer, kind: str) -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    message = {"reasoning_content": "hm", "tool_calls": [call()]}
    body = chat("4", "tool_calls", message=message, usage=usage)
    body["choices"][0]["content_filter_results"] = {"hate": {"filtered": False}}
    server.will(reply(body, headers={"apim-request-id": "r1"}))
    answer = call_method(make(), kind, "chat", USER)
    assert answer.message.blocks == [
        ThinkingBlock(content="hm", num_tokens=1),
        TextBlock(text="4"),
        ToolCallBlock(tool_call_id="c1", tool_name="get_weather", tool_kwargs='{"city": "Delft"}'),
    ]
    assert answer.message.role == "assistant"
    assert answer.message.additional_kwargs == {"tool_calls": [call()]}
    assert answer.raw == {**body, "usage": usage}
    assert answer.additional_kwargs == {
        "finish_reason": "tool_calls",
        "model_name": "m",
        "deployment": "gpt-4.1",
        "content_filter_results": {"hate": {"filtered": False}},
        "request_id": "r1",
        "reasoning_tokens": 1,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
    }


def test_a_completion_is_the_text_with_the_same_facts(
    make: Make, server: RawServer, kind: str
) -> None:
    logprobs = {
        "content": [
            {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []},
            {"token": "b", "logprob": -0.2, "top_logprobs": [{"token": "c", "logprob": -3}]},
        ]
    }
    body = chat("ab")
    body["choices"][0]["logprobs"] = logprobs
    server.will(reply(body))
    answer = call_method(make(), kind, "complete", "hi", logprobs=True, top_logprobs=1)
    assert (answer.text, answer.raw["usage"]["total_tokens"]) == ("ab", 5)
    assert answer.additional_kwargs["prompt_tokens"] == 3
    assert [[(p.token, p.logprob) for p in each] for each in answer.logprobs] == [
        [("a", -0.1)],
        [("b", -0.2), ("c", -3.0)],
    ]
    assert body_of(server)["messages"] == [{"role": "user", "content": "hi"}]
    assert (body_of(server)["logprobs"], body_of(server)["top_logprobs"]) == (True, 1)


def test_sound_comes_as_a_block_and_goes_back_by_its_id(make: Make, server: RawServer) -> None:
    audio = {"id": "a1", "data": base64.b64encode(WAV).decode(), "transcript": "Hello."}
    server.will(reply(chat(None, message={"audio": audio})))
    answer = make().chat(USER)
    (sound,) = [block for block in answer.message.blocks if isinstance(block, AudioBlock)]
    assert sound.resolve_audio().read() == WAV
    assert answer.message.content == "Hello."
    make().chat([*USER, answer.message, ChatMessage("louder")])
    assert body_of(server, 1)["messages"][1] == {"role": "assistant", "audio": {"id": "a1"}}


def test_a_refusal_is_returned(make: Make, server: RawServer) -> None:
    server.will(
        reply(chat(None, message={"refusal": "I won't."})),
        stream(events(part(refusal="I "), part(refusal="won't."), part(None, "stop"))),
    )
    answer, streamed = make().chat(USER), list(make().stream_chat(USER))
    for message in (answer.message, streamed[-1].message):
        assert message.content == message.additional_kwargs["refusal"] == "I won't."
    assert deltas(streamed) == "I won't."


def test_a_stream_grows_and_ends_with_its_usage(make: Make, server: RawServer, kind: str) -> None:
    fragments: list[Any] = [
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"x'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '": 1}'}}]},
    ]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    payloads = [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        part(reasoning_content="h"),
        part(reasoning_content="m"),
        part("a"),
        part("b"),
        *(part(**each) for each in fragments),
        part(None, "tool_calls"),
        {"choices": [], "usage": usage},
    ]
    server.will(stream(events(*payloads)))
    answer = call_method(make(), kind, "stream_chat", USER)
    assert [each.delta for each in answer] == ["", "", "a", "b", "", "", ""]
    assert [each.message.content for each in answer] == [None, None, "a", "ab", "ab", "ab", "ab"]
    assert [each.additional_kwargs.get("thinking_delta") for each in answer[:3]] == ["h", "m", None]
    assert [type(block).__name__ for block in answer[-1].message.blocks] == [
        "ThinkingBlock",
        "TextBlock",
        "ToolCallBlock",
    ]
    assert answer[-2].message == answer[-1].message
    assert answer[-1].raw["usage"] == usage
    extras = answer[-1].additional_kwargs
    assert (extras["finish_reason"], extras["total_tokens"]) == (
        "tool_calls",
        5,
    )
    assert extras["prompt_filter_results"] == [{"prompt_index": 0}]
    assert all(isinstance(each.raw, dict) for each in answer)
    assert body_of(server)["stream_options"] == {"include_usage": True}


def test_a_streamed_completion_grows(make: Make, server: RawServer, kind: str) -> None:
    server.will(stream(events(part("a"), part("b", "stop"))))
    answer = call_method(make(), kind, "stream_complete", "hi")
    assert [each.text for each in answer] == ["a", "ab", "ab"]
    assert deltas(answer) == "ab"


def test_an_empty_answer_is_an_empty_text(make: Make, server: RawServer) -> None:
    server.will(reply(chat(None)), stream(events(part(None, "stop"))))
    assert make().chat(USER).message.content == ""
    assert [each.message.content for each in make().stream_chat(USER)] == [""]


@pytest.mark.parametrize(
    ("choice", "required", "wire"),
    [
        (None, False, None),
        (None, True, "required"),
        (False, False, None),
        (True, False, "required"),
        ("any", False, "required"),
        ("auto", True, "auto"),
        ("none", False, "none"),
        ("get_weather", False, {"type": "function", "function": {"name": "get_weather"}}),
        ({"type": "function"}, False, {"type": "function"}),
    ],
)
def test_a_tool_choice_may_have_any_form(
    make: Make, server: RawServer, choice: Any, required: bool, wire: Any
) -> None:
    server.will(reply(chat()))
    make().chat_with_tools([tool()], "hi", tool_choice=choice, tool_required=required)
    assert body_of(server).get("tool_choice") == wire


def test_a_choice_of_no_tool_is_an_error(make: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"'get_wether' is not the name.*get_weather"):
        make().chat_with_tools([tool()], "hi", tool_choice="get_wether")


@pytest.mark.parametrize(
    ("path", "named", "expected"),
    [
        ("/openai/v1", {}, True),
        ("/openai", {}, True),
        ("/models", {}, False),
        ("/openai/v1", {"model": "prod", "model_id": "o3-mini"}, False),
    ],
)
def test_parallel_calls_are_switched_off_and_only_one_call_is_returned(
    make: Make, server: RawServer, kind: str, path: str, named: Any, expected: bool
) -> None:
    calls = [call(id="c1"), call(id="c2")]
    fragments = [{"index": at, **each} for at, each in enumerate(calls)]
    server.will(
        reply(chat(None, message={"tool_calls": calls})),
        stream(events(part(tool_calls=fragments), part(None, "tool_calls"))),
        reply(chat(None, message={"tool_calls": calls})),
    )
    llm = make(path, **named)
    whole = call_method(llm, kind, "chat_with_tools", [tool()], "hi")
    streamed = call_method(llm, kind, "stream_chat_with_tools", [tool()], "hi")
    for answer in (whole, *streamed):
        (result,) = llm.get_tool_calls_from_response(answer)
        assert result.tool_id == "c1"
        assert len(answer.message.additional_kwargs["tool_calls"]) == 1
    both = call_method(llm, kind, "chat_with_tools", [tool()], "hi", allow_parallel_tool_calls=True)
    assert len(llm.get_tool_calls_from_response(both)) == 2
    parallel_flags = [request.json.get("parallel_tool_calls") for request in server.received]
    assert parallel_flags == [False if expected else None] * 2 + [None]
    assert not any("allow_parallel_tool_calls" in request.json for request in server.received)


@pytest.mark.parametrize("arguments", ["{x", "not json", "[1]", ""])
def test_arguments_that_are_not_an_object_count_as_empty(
    make: Make, server: RawServer, arguments: str
) -> None:
    server.will(reply(chat(None, message={"tool_calls": [call(arguments=arguments)]})))
    llm = make()
    (result,) = llm.get_tool_calls_from_response(llm.chat_with_tools([tool()], "hi"))
    assert (result.tool_name, result.tool_kwargs) == ("get_weather", {})


def test_no_call_is_an_error_only_where_one_is_needed(make: Make, server: RawServer) -> None:
    server.will(reply(chat("no tools today")))
    llm = make()
    answer = llm.chat_with_tools([tool()], "hi")
    assert llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="no tools today"):
        llm.get_tool_calls_from_response(answer)
    kept = assistant(ToolCallBlock(tool_name="f", tool_kwargs={"x": 1}))
    answer.message = kept
    assert llm.get_tool_calls_from_response(answer)[0].tool_kwargs == {"x": 1}


def test_a_predicted_call_is_executed(endpoint: LocalEndpoint, kind: str) -> None:
    llm = local(endpoint, model="echo")
    question = "What is the weather in New York?"
    for message in (question, ChatMessage(question)):
        answer = call_method(llm, kind, "predict_and_call", [tool(), tool(ping)], message)
        assert answer.response == "It is sunny in New York."


VALUES = '{"name": "Ann", "age": 34}'


@pytest.mark.parametrize("model_id", ["gpt-4.1", "grok-3"])
def test_the_method_for_values_depends_on_the_model(
    make: Make, server: RawServer, kind: str, model_id: str
) -> None:
    if model_id == "gpt-4.1":
        server.will(reply(chat(VALUES)))
    else:
        server.will(reply(chat(None, message={"tool_calls": [call("Person", VALUES)]})))
    options: dict[str, Any] = {"seed": 1, "tool_choice": "none"}
    llm = make(model="prod", model_id=model_id, system_prompt="Be brief.")
    answer = call_method(llm, kind, "structured_predict", Person, PERSON, options, name="Ann")
    assert answer == Person(name="Ann", age=34)
    assert options == {"seed": 1, "tool_choice": "none"}
    body = body_of(server)
    assert [each["content"] for each in body["messages"]] == ["Be brief.", "Who is Ann?"]
    assert body["seed"] == 1
    if model_id == "gpt-4.1":
        assert body["response_format"]["json_schema"]["name"] == "Person"
        assert body["response_format"]["json_schema"]["strict"] is True
        assert "tool_choice" not in body
    else:
        assert body["tool_choice"] == "required"
        assert body["tools"][0]["function"]["name"] == "Person"


@pytest.mark.parametrize("model_id", ["gpt-4.1", "grok-3"])
def test_a_value_is_streamed_in_growing_parts(
    make: Make, server: RawServer, kind: str, model_id: str
) -> None:
    pieces = ['{"na', 'me": "A', 'nn", ', '"age": 34}']
    if model_id == "gpt-4.1":
        payloads = [part(piece) for piece in pieces]
    else:
        payloads = [
            part(tool_calls=[{"index": 0, "id": "c", "function": {"name": "P", "arguments": at}}])
            for at in pieces
        ]
    server.will(stream(events(*payloads, part(None, "stop"))))
    llm = make(model="prod", model_id=model_id)
    answer = call_method(llm, kind, "stream_structured_predict", Person, PERSON, name="Ann")
    assert [each.model_dump(exclude_none=True) for each in answer] == [
        {},
        {"name": "A"},
        {"name": "Ann"},
        {"name": "Ann", "age": 34},
        {"name": "Ann", "age": 34},
    ]
    assert answer[-1] == Person(name="Ann", age=34)


def test_models_without_tools_and_schemas_are_prompted_in_words(
    make: Make, server: RawServer, kind: str
) -> None:
    server.will(reply(chat(VALUES)), stream(events(part(VALUES), part(None, "stop"))))
    llm = make(model="prod", model_id="Phi-4")
    options: dict[str, Any] = {}
    person = call_method(llm, kind, "structured_predict", Person, PERSON, options, name="Ann")
    assert person == Person(name="Ann", age=34)
    assert not {"tools", "response_format"} & body_of(server).keys()
    if LLMTextCompletionProgram.stream_call is BasePydanticProgram.stream_call:
        return  # before llama-index-core 0.14.22
    answer = call_method(
        llm, kind, "stream_structured_predict", Person, PERSON, options, name="Ann"
    )
    assert answer[-1] == person
    assert options == {}


def test_llamaindexs_own_programs_work(make: Make, server: RawServer, kind: str) -> None:
    arguments = [{"index": 0, "id": "c", "function": {"name": "Person", "arguments": VALUES}}]
    server.will(
        reply(chat(None, message={"tool_calls": [call("Person", VALUES)]})),
        stream(events(part(tool_calls=arguments), part(None, "stop"))),
    )
    llm = make(pydantic_program_mode=PydanticProgramMode.FUNCTION)
    person = Person(name="Ann", age=34)
    assert call_method(llm, kind, "structured_predict", Person, PERSON, name="Ann") == person
    answer = call_method(llm, kind, "stream_structured_predict", Person, PERSON, name="Ann")
    assert answer[-1] == person


@pytest.mark.parametrize(
    ("body", "error", "expected"),
    [
        (chat(None, message={"refusal": "I won't"}), core.InvalidResponseError, "I won't"),
        (chat('{"na', "length"), core.InvalidResponseError, "raise max_tokens"),
        (chat('{"na', "content_filter"), core.InvalidResponseError, "content filter"),
        (chat("I am no JSON"), ValidationError, "Invalid JSON"),
    ],
)
def test_an_answer_that_is_not_a_value_is_an_error(
    make: Make, server: RawServer, kind: str, body: Any, error: Any, expected: str
) -> None:
    choice = body["choices"][0]
    streamed = {"choices": [{**choice, "delta": choice["message"]}]}
    server.will(reply(body), stream(events(streamed)))
    with pytest.raises(error, match=expected):
        call_method(make(), kind, "structured_predict", Person, PERSON, name="Ann")
    with pytest.raises(error, match=expected):
        call_method(make(), kind, "stream_structured_predict", Person, PERSON, name="Ann")


def test_a_value_may_be_of_any_model(make: Make, server: RawServer) -> None:
    class Album(BaseModel):
        songs: list[str]

    server.will(stream(events(part('{"songs": ["a", '), part('"b"]}'), part(None, "stop"))))
    results = list(make().stream_structured_predict(Album, PromptTemplate("x")))
    assert [len(each.songs) for each in results] == [1, 2, 2]  # type: ignore[union-attr]


def test_errors_are_azinfers_and_carry_what_is_known(
    make: Make, server: RawServer, kind: str
) -> None:
    server.will(reply(failure("DeploymentNotFound"), 404, {"x-request-id": "r1"}))
    for method in ("chat", "stream_chat", "complete", "stream_complete"):
        with pytest.raises(core.DeploymentNotFoundError) as caught:
            call_method(make(), kind, method, "hi" if "complete" in method else USER)
        assert (caught.value.status, caught.value.request_id) == (404, "r1")
        assert caught.value.deployment == "gpt-4.1"


def test_options_reach_the_wire_and_calls_win(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    kept = {"user": "me", "stop": ["x"]}
    llm = make(temperature=0, max_tokens=9, additional_kwargs=kept, headers={"x-a": "1"})
    llm.chat(USER, top_p=0.5)
    llm.chat(USER, stop=["y"], temperature=1, max_tokens=3, seed=0)
    first, second = body_of(server), body_of(server, 1)
    assert (first["temperature"], first["max_tokens"], first["top_p"]) == (0, 9, 0.5)
    assert (first["stop"], first["user"]) == (["x"], "me")
    assert (second["temperature"], second["max_tokens"], second["seed"]) == (1, 3, 0)
    assert (second["stop"], second["user"]) == (["y"], "me")
    assert server.received[0].header("x-a") == "1"
    assert kept == {"user": "me", "stop": ["x"]}
    assert not {"model_id", "timeout", "n", "tools"} & first.keys()


def test_more_answers_than_one_are_an_error(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="leave out n"):
        make().chat(USER, n=2)


def test_a_misspelt_argument_is_an_error() -> None:
    with pytest.raises(ValidationError, match="temprature"):
        AzInferLLM(endpoint="https://contoso.openai.azure.com", credential=KEY, temprature=0)  # type: ignore[call-arg]


def test_a_wrong_endpoint_is_an_immediate_error() -> None:
    with pytest.raises(ValidationError, match="Pass its surface") as caught:
        AzInferLLM(endpoint="https://example.com", credential=KEY)
    assert KEY not in str(caught.value)


def test_another_deployment_may_answer_a_call(endpoint: LocalEndpoint, kind: str) -> None:
    llm = local(endpoint)
    assert call_method(llm, kind, "chat", USER).message.content == "Paris."
    answer = call_method(llm, kind, "chat", USER, model="ECHO")
    assert answer.message.content == "This is a synthetic answer to: hi"
    assert answer.additional_kwargs["deployment"] == "echo"


def test_a_model_id_belongs_to_its_own_deployment(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    llm = make(model="prod", model_id="o3", max_tokens=5)
    llm.chat(USER, model="PROD")
    llm.chat(USER, model="other")
    assert "max_completion_tokens" in body_of(server)
    assert "max_tokens" in body_of(server, 1)


@pytest.mark.parametrize("form", [InferenceClient, AsyncInferenceClient])
def test_a_ready_client_works_sync_and_async(
    endpoint: LocalEndpoint, form: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = form(endpoint.url, endpoint.key, "paris", timeout=7, max_retries=1)
    llm = AzInferLLM(client=client)
    assert call_method(llm, kind, "chat", USER).message.content == "Paris."
    assert llm.core_client.endpoint is client.endpoint
    kept = llm.to_dict()
    assert endpoint.key not in json.dumps(kept)
    assert (kept["endpoint"], kept["surface"], kept["model"]) == (
        client.endpoint.url,
        "v1",
        "paris",
    )
    again = AzInferLLM.from_dict(kept, credential=endpoint.key)
    assert again.sync_client.timeout == Timeout.of(7)
    assert call_method(again, kind, "chat", USER).message.content == "Paris."


@pytest.mark.parametrize("name", ["endpoint", "credential"])
def test_an_endpoint_beside_a_ready_client_is_an_error(name: str) -> None:
    client = InferenceClient("https://contoso.services.ai.azure.com", KEY, "paris")
    for kind in (AzInferLLM, AzInferEmbedding, AzInferImageEmbedding):
        with pytest.raises(ValidationError, match=f"client= has its own {name}"):
            kind(client=client, **{name: CLIENT_OPTIONS[name]})


def test_a_deployment_beside_a_ready_client_is_called(endpoint: LocalEndpoint) -> None:
    client = InferenceClient(endpoint.url, endpoint.key, "paris", model_id="gpt-4.1")
    llm = AzInferLLM(client=client, model="echo")
    assert llm.chat(USER).message.content == "This is a synthetic answer to: hi"
    assert llm.to_dict()["model_id"] is None


def test_a_dict_has_no_secret_and_rebuilds_the_model(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = local(endpoint, temperature=0, headers={"x-a": "1", "Ocp-Apim-Subscription-Key": "s3"})
    kept = llm.to_dict()
    assert endpoint.key not in str(kept)
    assert kept["headers"] == {"x-a": "1"}
    assert kept["class_name"] == AzInferLLM.class_name() == "AzInferLLM"
    with pytest.raises(ValidationError, match=r"no credential for .*AZURE_AI_API_KEY"):
        AzInferLLM.from_dict(kept)
    restored_model = AzInferLLM.from_dict(kept, credential=endpoint.key)
    monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
    for again in (restored_model, AzInferLLM.from_dict(kept), AzInferLLM.from_json(llm.to_json())):
        assert again.to_dict() == kept
        assert again.chat(USER).message.content == "Paris."


def test_a_pickle_has_no_secret_and_rebuilds_the_model(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = local(endpoint, temperature=0, headers={"x-secret": "s3cret"})
    data = pickle.dumps(llm)
    assert endpoint.key.encode() not in data
    assert b"s3cret" not in data
    assert llm.chat(USER).message.content == "Paris."  # it lost nothing by it
    again = pickle.loads(data)
    assert again.temperature == 0
    with pytest.raises(ConfigurationError, match=r"no credential for .*AZURE_AI_API_KEY"):
        again.chat(USER)
    again.credential = endpoint.key
    assert again.chat(USER).message.content == "Paris."
    assert endpoint.key.encode() not in pickle.dumps(again)
    monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
    assert asyncio.run(pickle.loads(data).achat(USER)).message.content == "Paris."
    assert pickle.loads(data).metadata == llm.metadata


@pytest.mark.parametrize("name", ["subscription-key", "code", "sig"])
@pytest.mark.parametrize("cls", [AzInferLLM, AzInferEmbedding, AzInferImageEmbedding])
def test_a_key_in_the_endpoints_url_is_never_shown(server: RawServer, name: str, cls: Any) -> None:
    server.will(reply(vectors([1.0]) if cls is not AzInferLLM else chat()))
    url = f"{server.url}/openai/v1?team=a&{name}=s3cret"
    one = cls(endpoint=url, credential=token, model="m", max_retries=0)
    kept, data = one.to_dict(), pickle.dumps(one)
    assert kept["endpoint"] == f"{server.url}/openai/v1?team=a"
    assert "s3cret" not in repr(one) + str(one) + str(kept) + one.to_json() + str(data)
    again = [pickle.loads(data), cls.from_dict(kept, credential=token)]
    again += [cls.from_dict(kept, credential=token, endpoint=url), copy.deepcopy(one), one]
    for each in again:
        each.complete("hi") if cls is AzInferLLM else each.get_text_embedding("hi")
    keyed = [f"{name}=s3cret" in request.target for request in server.received]
    # What is made of a dict or a pickle asks the same place, and is given the key again.
    assert keyed == [False, False, True, True, True]
    assert all("team=a" in request.target for request in server.received)


@pytest.mark.parametrize("cls", [AzInferEmbedding, AzInferImageEmbedding])
def test_an_embedding_is_kept_and_copied_without_its_secret(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, cls: Any
) -> None:
    embedding = cls(
        endpoint=endpoint.url,
        credential=endpoint.key,
        model="embed",
        dimensions=8,
        headers={"x-token": "s3cret"},
    )
    kept, data = embedding.to_dict(), pickle.dumps(embedding)
    assert not any(secret in str(kept) for secret in (endpoint.key, "s3cret"))
    assert not any(secret.encode() in data for secret in (endpoint.key, "s3cret"))
    with pytest.raises(ValidationError, match=r"no credential for .*AZURE_AI_API_KEY"):
        cls.from_dict(kept)
    vector = embedding.get_text_embedding("a")
    assert len(vector) == 8
    monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
    for again in (cls.from_dict(kept), pickle.loads(data), copy.deepcopy(embedding)):
        assert type(again) is cls
        assert again.get_text_embedding("a") == vector
        assert asyncio.run(again.aget_query_embedding("a")) == vector


def test_a_credential_by_name_survives_dicts_and_pickles(
    endpoint: LocalEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", endpoint.key)
    llm = AzInferLLM(endpoint=endpoint.url, credential="env:MY_KEY", model="paris")
    kept, data = llm.to_dict(), pickle.dumps(llm)
    assert kept["credential"] == "env:MY_KEY"
    assert "env:MY_KEY" not in repr(llm)
    for again in (AzInferLLM.from_dict(kept), pickle.loads(data)):
        assert again.chat(USER).message.content == "Paris."
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigurationError, match="'env:MY_KEY': the variable MY_KEY is not set"):
        pickle.loads(data).chat(USER)


def token() -> str:
    """A function that gives a token, which a pickle names."""
    return "t"


def test_of_credentials_only_functions_are_pickled() -> None:
    class Holder:
        key = "s3cret"

    url = "https://contoso.openai.azure.com"
    method = SecretStr("s3cret").get_secret_value
    for credential, kept in (
        (token, token),
        (lambda: "t", None),
        (method, None),
        (Holder(), None),
    ):
        data = pickle.dumps(AzInferLLM(endpoint=url, credential=credential, model="m"))
        assert pickle.loads(data).credential is kept
        assert b"s3cret" not in data


def test_a_copy_shares_connections_and_no_options(make: Make, server: RawServer) -> None:
    class Locked:
        def __init__(self) -> None:
            import threading

            self.lock = threading.Lock()

        def __call__(self) -> str:
            return "t"

    server.will(reply(chat()))
    llm = make(additional_kwargs={"stop": ["x"]})
    locked = AzInferLLM(endpoint=server.url, credential=Locked(), model="m", rate_limiter=None)
    for each in (llm, locked):
        assert copy.deepcopy(each).chat(USER).message.content == "hello"
    copied = copy.deepcopy(llm)
    copied.additional_kwargs["stop"].append("y")
    assert llm.additional_kwargs == {"stop": ["x"]}
    assert copied.sync_client is llm.sync_client
    assert server.connections == 1


def test_secrets_are_never_shown(endpoint: LocalEndpoint) -> None:
    llm = local(endpoint, headers={"x-token": "s3cret"})
    shown = [repr(llm), str(llm), str(llm.model_dump()), llm.to_json(), str(payload_of(llm))]
    assert not any(endpoint.key in each or "s3cret" in each for each in shown)


def test_the_fields_have_a_schema() -> None:
    properties = AzInferLLM.model_json_schema()["properties"]
    assert {"endpoint", "model", "temperature", "context_window"} <= properties.keys()
    assert not {"credential", "client"} & properties.keys()


def test_a_model_can_be_created_with_defaults() -> None:
    url = "https://contoso.openai.azure.com"
    llm = AzInferLLM.from_defaults(endpoint=url, api_key=KEY, model="m", system_prompt="s")
    assert (llm.model, llm.system_prompt) == ("m", "s")
    Settings.llm = llm
    assert Settings.llm is llm


@pytest.mark.parametrize(
    ("named", "window", "calls", "name"),
    [
        ({"model": "mistral-large"}, 32_768, True, "mistral-large"),
        ({"model": "prod", "model_id": "gpt-4.1"}, 1_047_576, True, "gpt-4.1"),
        ({"model": "prod", "model_id": "openai/gpt-5-mini"}, 400_000, True, "openai/gpt-5-mini"),
        ({"model": "prod", "model_id": "DeepSeek-R1"}, 163_840, False, "DeepSeek-R1"),
        (
            {"model": "p", "model_id": "DeepSeek-R1", "is_function_calling_model": True},
            163_840,
            True,
            "DeepSeek-R1",
        ),
        ({"model": "prod"}, 3900, True, "prod"),
        ({"model": "prod", "max_tokens": 8000}, 11_900, True, "prod"),
        ({"model": "prod", "context_window": 16_384}, 16_384, True, "prod"),
        ({}, 3900, True, "unknown"),
    ],
)
def test_the_metadata_is_that_of_the_model_and_not_of_the_name(
    named: Any, window: int, calls: bool, name: str
) -> None:
    metadata = AzInferLLM(
        endpoint="https://contoso.openai.azure.com", credential=KEY, **named
    ).metadata
    assert metadata.context_window == window
    assert (metadata.is_function_calling_model, metadata.is_chat_model) == (calls, True)
    assert (metadata.model_name, metadata.num_output) == (name, named.get("max_tokens", 256))


def test_a_listed_model_is_known(endpoint: LocalEndpoint) -> None:
    with LocalEndpoint([LocalDeployment("prod", "gpt-4.1")]) as listed:
        llm = local(listed, model="prod")
        assert llm.metadata.model_name == "prod"
        llm.sync_client.deployments()
        assert llm.metadata.context_window == 1_047_576


# LlamaIndex's StructuredLLM calls a method that pydantic has deprecated.
@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")
def test_a_structured_model_is_one_of_its_own(endpoint: LocalEndpoint, kind: str) -> None:
    structured = local(endpoint, model="echo").as_structured_llm(Person)
    answer = call_method(structured, kind, "chat", [ChatMessage("Her name is 'Ann', she is 34.")])
    assert answer.raw == Person(name="Ann", age=34)
    streamed = call_method(structured, kind, "stream_chat", [ChatMessage("'Ann' is 34.")])
    assert streamed[-1].raw == Person(name="Ann", age=34)


def test_a_prompt_of_several_messages_makes_a_value(endpoint: LocalEndpoint) -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Read."), ("user", "{text}")])
    result = local(endpoint, model="echo").structured_predict(Person, prompt, text="'Ann' is 34.")
    assert result == Person(name="Ann", age=34)
