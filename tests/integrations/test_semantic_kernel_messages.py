"""Chat histories to the wire and answers back, over real HTTP: nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from semantic_kernel.contents import (
    AnnotationContent,
    AudioContent,
    AuthorRole,
    ChatHistory,
    ChatMessageContent,
    FinishReason,
    FunctionCallContent,
    FunctionResultContent,
    ImageContent,
    StreamingChatMessageContent,
    StreamingReasoningContent,
    TextContent,
)
from semantic_kernel.contents.binary_content import BinaryContent
from semantic_kernel.contents.file_reference_content import FileReferenceContent
from semantic_kernel.contents.reasoning_content import ReasoningContent
from semantic_kernel.exceptions import ServiceInvalidRequestError

from azinfer import core
from azinfer.semantic_kernel import AzInferChatPromptExecutionSettings
from kernels import collect_stream, join_messages, request_body, user_history
from raw_server import RawServer, chat, events, part, reply, stream

Make = Callable[..., Any]
PNG = b"\x89PNG\r\n\x1a\n"
PNG_URL = "data:image/png;base64,iVBORw0KGgo="
SETTINGS = AzInferChatPromptExecutionSettings()


class Place(BaseModel):
    """What a function may give."""

    city: str


@dataclass
class Point:
    """What has no JSON of its own."""

    x: int


def message(role: str, *items: Any, **named: Any) -> ChatMessageContent:
    return ChatMessageContent(role=AuthorRole(role), items=list(items), **named)


def text(reported: str) -> TextContent:
    return TextContent(text=reported)


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def call(name: str | None = "p-f", arguments: Any = '{"x":1}', **named: Any) -> FunctionCallContent:
    return FunctionCallContent(id="c", name=name, arguments=arguments, **named)


def call_message(arguments: str = '{"x":1}', name: str = "p-f", **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    calls = [{"id": "c", "type": "function", "function": function}]
    return {"role": "assistant", **more, "tool_calls": calls}


MESSAGES: list[tuple[ChatMessageContent, Any]] = [
    (message("system", text("s")), {"role": "system", "content": "s"}),
    (message("developer", text("s")), {"role": "developer", "content": "s"}),
    (message("user", text("hi")), {"role": "user", "content": "hi"}),
    (message("user", text("hi"), name="Ann"), {"role": "user", "content": "hi", "name": "Ann"}),
    (message("user"), {"role": "user", "content": ""}),
    (
        message("user", text("a"), text("b")),
        user({"type": "text", "text": "a"}, {"type": "text", "text": "b"}),
    ),
    (
        message("user", ImageContent(uri="https://a/b.png", metadata={"detail": "low"})),
        user({"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}}),
    ),
    (
        message("user", ImageContent(data_uri=PNG_URL)),
        user({"type": "image_url", "image_url": {"url": PNG_URL}}),
    ),
    (
        message("user", ImageContent(data=PNG, mime_type="image/png")),
        user({"type": "image_url", "image_url": {"url": PNG_URL}}),
    ),
    (
        message("user", ImageContent(data=PNG)),
        user({"type": "image_url", "image_url": {"url": PNG_URL}}),
    ),
    (
        message("user", ImageContent(data=np.frombuffer(PNG, dtype=np.uint8))),
        user({"type": "image_url", "image_url": {"url": PNG_URL}}),
    ),
    (
        message("user", AudioContent(data=b"RIFF", mime_type="audio/wav")),
        user({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
    ),
    (
        message("user", AudioContent(data=b"ID3.", mime_type="audio/mpeg")),
        user({"type": "input_audio", "input_audio": {"data": "SUQzLg==", "format": "mp3"}}),
    ),
    (
        message("user", AudioContent(uri="https://a/b.mp3")),
        user({"type": "audio_url", "audio_url": {"url": "https://a/b.mp3"}}),
    ),
    (
        message("user", BinaryContent(data=b"%PDF", mime_type="application/pdf")),
        user(
            {
                "type": "file",
                "file": {
                    "filename": "document.pdf",
                    "file_data": "data:application/pdf;base64,JVBERg==",
                },
            }
        ),
    ),
    (message("assistant", text("yes")), {"role": "assistant", "content": "yes"}),
    (
        message("assistant", text("yes"), name="Bob"),
        {"role": "assistant", "content": "yes", "name": "Bob"},
    ),
    (message("assistant", text("a"), text("b")), {"role": "assistant", "content": "ab"}),
    (message("assistant"), {"role": "assistant", "content": ""}),
    (
        message("assistant", ReasoningContent(text="hm"), text("4")),
        {"role": "assistant", "content": "4"},
    ),
    (
        message(
            "assistant",
            text("4"),
            AnnotationContent(type=None, quote="q", url="https://a"),
        ),
        {"role": "assistant", "content": "4"},
    ),
    (
        message("user", ReasoningContent(text="hm"), text("4")),
        {"role": "user", "content": "4"},
    ),
    (message("assistant", call()), call_message()),
    (message("assistant", call(arguments={"x": 1})), call_message('{"x": 1}')),
    (message("assistant", call(arguments=None)), call_message("{}")),
    (message("assistant", text("so"), call()), call_message(content="so")),
    (message("assistant", call(None, plugin_name="p", function_name="f")), call_message()),
    (message("assistant", call(None, function_name="f")), call_message(name="f")),
]


@pytest.mark.parametrize(("arguments", "wire"), MESSAGES)
async def test_a_message_is_encoded_correctly(
    server: RawServer, service: Make, arguments: ChatMessageContent, wire: Any
) -> None:
    server.will(reply(chat()))
    await service().get_chat_message_contents(ChatHistory(messages=[arguments]), SETTINGS)
    assert request_body(server)["messages"] == [wire]


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        (12, "12"),
        (None, "None"),
        ({"a": "é"}, '{"a": "é"}'),
        ([1, Place(city="Delft")], '[1, {"city": "Delft"}]'),
        ((Point(1),), '["Point(x=1)"]'),
        (Place(city="Delft"), '{"city":"Delft"}'),
        (TextContent(text="said"), "said"),
    ],
)
async def test_a_result_of_a_function_is_sent_as_text(
    server: RawServer, service: Make, value: Any, content: str
) -> None:
    server.will(reply(chat()))
    history = user_history()
    history.add_message(message("assistant", call()))
    result = FunctionResultContent(id="c", name="p-f", result=value)
    history.add_message(message("tool", result))
    await service().get_chat_message_contents(history, SETTINGS)
    answered = {"role": "tool", "tool_call_id": "c", "content": content}
    assert request_body(server)["messages"][2:] == [answered]


async def test_results_in_one_message_are_all_sent_and_media_follow_them(
    server: RawServer,
    service: Make,
) -> None:
    server.will(reply(chat()))
    history = user_history()
    history.add_message(message("assistant", call(), FunctionCallContent(id="d", name="g")))
    first = FunctionResultContent(id="c", result=ImageContent(data_uri=PNG_URL))
    second = FunctionResultContent(id="d", result="b")
    history.add_message(message("tool", first, text("a note"), second))
    await service().get_chat_message_contents(history, SETTINGS)
    image = {"type": "image_url", "image_url": {"url": PNG_URL}}
    expected = [
        {"role": "tool", "tool_call_id": "c", "content": "(attached below)"},
        {"role": "tool", "tool_call_id": "d", "content": "b"},
        user(image, {"type": "text", "text": "a note"}),
    ]
    assert request_body(server)["messages"][2:] == expected
    history.add_user_message("what is it?")
    await service().get_chat_message_contents(history, SETTINGS)
    assert request_body(server, 1)["messages"][2:] == [
        *expected,
        {"role": "user", "content": "what is it?"},
    ]


async def test_media_follow_all_results_of_a_turn(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    history = user_history()
    history.add_message(message("assistant", call(), FunctionCallContent(id="d", name="g")))
    image = ImageContent(data_uri=PNG_URL)
    history.add_message(message("tool", FunctionResultContent(id="c", result=image)))
    history.add_message(message("tool", FunctionResultContent(id="d", result="b")))
    await service().get_chat_message_contents(history, SETTINGS)
    assert [each["role"] for each in request_body(server)["messages"][2:]] == [
        "tool",
        "tool",
        "user",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (message("user", ImageContent()), "ImageContent has no data and '' is not a URL"),
        (message("user", ImageContent(uri=__file__)), "read a file with ImageContent.from_file"),
        (message("user", ImageContent(data=b"text")), "is not a PNG"),
        (message("user", BinaryContent(uri="https://a/b.pdf")), "not fetched"),
        (message("user", call()), "FunctionCallContent cannot be sent in a message"),
        (message("user", FileReferenceContent(file_id="f")), "FileReferenceContent cannot be"),
        (
            message("assistant", ImageContent(data_uri=PNG_URL)),
            "ImageContent cannot be sent in an answer",
        ),
        (message("tool", text("no result")), "no FunctionResultContent"),
    ],
)
async def test_unsupported_content_is_an_error(
    server: RawServer, service: Make, arguments: ChatMessageContent, expected: str
) -> None:
    with pytest.raises(ServiceInvalidRequestError, match=expected) as caught:
        await service().get_chat_message_contents(ChatHistory(messages=[arguments]), SETTINGS)
    assert isinstance(caught.value.__cause__, core.ConfigurationError)
    assert not server.received


async def test_instructions_have_the_role_that_the_service_was_given(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()))
    history = ChatHistory(system_message="Be brief.")
    history.add_user_message("hi")
    developer = service(instruction_role="developer")
    await developer.get_chat_message_contents(history, SETTINGS)
    await service().get_chat_message_contents(history, SETTINGS)
    assert [request_body(server, at)["messages"][0]["role"] for at in (0, 1)] == [
        "developer",
        "system",
    ]


async def test_an_answer_has_text_usage_and_finish_reason(server: RawServer, service: Make) -> None:
    # langchain-ai/langchain-azure#49: reasoning_content is not returned
    function = {"name": "p-f", "arguments": '{"x": 1}'}
    calls = [{"id": "a", "type": "function", "function": function}]
    raw = chat("4", "tool_calls", message={"tool_calls": calls, "reasoning_content": "2+2"})
    raw["choices"][0] |= {
        "logprobs": {"content": [{"token": "4", "logprob": 0.0}]},
        "content_filter_results": {"hate": {"filtered": False}},
    }
    raw |= {"prompt_filter_results": [{"prompt_index": 0}], "system_fingerprint": "fp"}
    raw["usage"]["prompt_tokens_details"] = {"cached_tokens": 1}
    raw["usage"]["completion_tokens_details"] = {"reasoning_tokens": 1}
    server.will(reply(raw, headers={"x-request-id": "r1", "x-ms-deployment-name": "GPT"}))
    (answer,) = await service().get_chat_message_contents(user_history(), SETTINGS)
    thought, reply_text, wanted = answer.items
    assert (type(thought), str(thought)) == (ReasoningContent, "2+2")
    assert (answer.content, str(reply_text)) == ("4", "4")
    assert isinstance(wanted, FunctionCallContent)
    assert (wanted.id, wanted.plugin_name, wanted.function_name) == ("a", "p", "f")
    assert wanted.arguments == '{"x": 1}'
    assert (answer.role, answer.finish_reason) == (AuthorRole.ASSISTANT, FinishReason.TOOL_CALLS)
    assert answer.ai_model_id == "gpt-4.1"
    assert isinstance(answer.inner_content, core.ChatCompletion)
    answer_metadata = answer.metadata
    usage = answer_metadata["usage"]
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 2)
    assert usage.prompt_tokens_details.cached_tokens == 1
    assert usage.completion_tokens_details.reasoning_tokens == 1
    assert (
        answer_metadata["id"],
        answer_metadata["created"],
        answer_metadata["system_fingerprint"],
    ) == ("c1", 1, "fp")
    assert (
        answer_metadata["model"],
        answer_metadata["deployment"],
        answer_metadata["request_id"],
    ) == ("m", "GPT", "r1")
    assert answer_metadata["logprobs"] == {"content": [{"token": "4", "logprob": 0.0}]}
    assert answer_metadata["content_filter_results"] == {"hate": {"filtered": False}}
    assert answer_metadata["prompt_filter_results"] == [{"prompt_index": 0}]


async def test_a_leading_think_block_is_reasoning_too(server: RawServer, service: Make) -> None:
    server.will(reply(chat("<think>2+2</think>4")))
    (answer,) = await service().get_chat_message_contents(user_history(), SETTINGS)
    assert [str(item) for item in answer.items] == ["2+2", "4"]
    assert str(answer) == "4"


@pytest.mark.parametrize(
    ("reason", "known"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("model_length", None),
    ],
)
async def test_an_unknown_reason_to_end_breaks_nothing(
    server: RawServer, service: Make, reason: str, known: Any
) -> None:
    server.will(reply(chat("a", reason)), stream(events(part("a", reason))))
    (answer,) = await service().get_chat_message_contents(user_history(), SETTINGS)
    whole = join_messages(await collect_stream(service()))
    for each in (answer, whole):
        assert (each.content, each.finish_reason) == ("a", known)
        assert each.metadata["finish_reason"] == reason


async def test_a_refusal_is_the_text_and_in_the_metadata(server: RawServer, service: Make) -> None:
    server.will(reply(chat(None, message={"refusal": "I won't"})))
    (answer,) = await service().get_chat_message_contents(user_history(), SETTINGS)
    assert (answer.content, answer.metadata["refusal"]) == ("I won't", "I won't")
    server.will(stream(events(part(None, None, refusal="I won't"), part(None, "stop"))))
    whole = join_messages(await collect_stream(service()))
    assert (whole.content, whole.metadata["refusal"]) == ("I won't", "I won't")


async def test_all_choices_are_returned(server: RawServer, service: Make) -> None:
    raw = chat("a")
    raw["choices"].append({**raw["choices"][0], "index": 1, "message": {"content": "b"}})
    parts = [part("a"), part("b", index=1), part(None, "stop"), part(None, "length", 1)]
    server.will(reply(raw), stream(events(*parts)))
    settings = AzInferChatPromptExecutionSettings(number_of_responses=2)
    answers = await service().get_chat_message_contents(user_history(), settings)
    assert [str(each) for each in answers] == ["a", "b"]
    messages = await collect_stream(service(), settings=settings)
    for index, reply_text, reason in ((0, "a", "stop"), (1, "b", "length")):
        whole = join_messages([each for each in messages if each.choice_index == index])
        assert (str(whole), whole.finish_reason) == (reply_text, reason)
    assert (request_body(server)["n"], request_body(server, 1)["n"]) == (2, 2)


async def test_a_stream_adds_up_with_usage_once(server: RawServer, service: Make) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    parts = [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {**part("<th"), "usage": {**usage, "completion_tokens": 0}},
        {**part("ink>2+"), "usage": usage},
        {"choices": [{"index": 0, "content_filter_results": {"hate": {"filtered": False}}}]},
        part("2</think>4"),
        part("2", "stop"),
        {"choices": [], "usage": usage},
    ]
    parts[4]["choices"][0]["logprobs"] = {"content": [{"token": "4"}]}
    parts[5]["choices"][0]["logprobs"] = {"content": [{"token": "2"}]}
    server.will(stream(events(*parts)))
    messages = await collect_stream(service())
    assert [len(each.items) for each in messages] == [1, 2, 1, 0]
    assert [each.metadata.get("logprobs", {}).get("content") for each in messages[:3]] == [
        None,
        [{"token": "4"}],
        [{"token": "2"}],
    ]
    whole = join_messages(messages)
    thought, reply_text = whole.items
    assert (type(thought), str(thought)) == (StreamingReasoningContent, "2+2")
    assert (str(reply_text), whole.content) == ("42", "42")
    assert ["usage" in each.metadata for each in messages] == [False, False, False, True]
    assert whole.metadata["usage"].completion_tokens == 2
    assert whole.metadata["logprobs"] == {"content": [{"token": "4"}, {"token": "2"}]}
    assert whole.metadata["content_filter_results"] == {"hate": {"filtered": False}}
    assert whole.metadata["prompt_filter_results"] == [{"prompt_index": 0}]
    assert whole.finish_reason == FinishReason.STOP
    assert isinstance(messages[0].inner_content, core.ChatCompletionChunk)
    assert {each.ai_model_id for each in messages} == {"gpt-4.1"}


async def test_usage_of_models_of_other_makers_is_reported(
    server: RawServer, service: Make, surface: str
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    server.will(stream(events(part("a"), {**part("b", "stop"), "usage": usage})))
    mistral = service(model="mistral-large")
    messages = await collect_stream(mistral)
    # On the models surface such a model always sends it, and may refuse the option.
    assert ("stream_options" in request_body(server)) is (surface != "models")
    assert ["usage" in each.metadata for each in messages] == [False, False, True]
    assert join_messages(messages).metadata["usage"].completion_tokens == 2


def fragment(index: int, arguments: str, **first: Any) -> Any:
    name = {"name": first.pop("name")} if "name" in first else {}
    fields = {"index": index, "function": {**name, "arguments": arguments}, **first}
    return part(None, None, tool_calls=[fields])


async def test_interleaved_fragments_of_calls_add_up_each_to_its_own(
    server: RawServer, service: Make
) -> None:
    # microsoft/semantic-kernel#6106
    server.will(
        stream(
            events(
                fragment(0, "", id="a", name="p-f"),
                fragment(1, "", id="b", name="p-g"),
                fragment(0, '{"x":'),
                fragment(1, '{"y":'),
                fragment(0, "{}"),
                fragment(1, "2}"),
                fragment(0, "}"),
                fragment(2, "{}", id="c", name="p-h"),
                part(None, "tool_calls"),
            )
        )
    )
    messages = await collect_stream(service())
    whole = join_messages(messages)
    calls = [item for item in whole.items if isinstance(item, FunctionCallContent)]
    assert [(each.id, each.name, each.index, each.arguments) for each in calls] == [
        ("a", "p-f", 0, '{"x":{}}'),
        ("b", "p-g", 1, '{"y":2}'),
        ("c", "p-h", 2, "{}"),
    ]
    assert whole.finish_reason == FinishReason.TOOL_CALLS


async def test_a_history_survives_a_round_trip_and_is_sent_the_same(
    server: RawServer, service: Make
) -> None:
    function = {"name": "p-f", "arguments": '{"x": 1}'}
    calls = [{"id": "c", "type": "function", "function": function}]
    server.will(
        reply(chat("so", "tool_calls", message={"tool_calls": calls, "reasoning_content": "hm"})),
        reply(chat()),
    )
    history = ChatHistory(system_message="Be brief.")
    history.add_message(message("user", text("look"), ImageContent(data_uri=PNG_URL)))
    history.add_message(message("user", AudioContent(data_uri="data:audio/wav;base64,UklGRg==")))
    asking = service()
    history.add_message(await asking.get_chat_message_content(history, SETTINGS))
    history.add_message(message("tool", FunctionResultContent(id="c", name="p-f", result="ok")))
    again = ChatHistory.restore_chat_history(history.serialize())
    assert [str(item) for item in again.messages[3].items] == ["hm", "so", 'p-f({"x": 1})']
    assert type(again.messages[3].items[0]) is ReasoningContent
    for each in (history, again):
        await asking.get_chat_message_contents(each, SETTINGS)
    assert request_body(server, 1) == request_body(server, 2)
    parts = request_body(server, 1)["messages"]
    assert [each["role"] for each in parts] == ["system", "user", "user", "assistant", "tool"]


async def test_a_streamed_answer_in_a_history_survives_a_round_trip(
    server: RawServer, service: Make
) -> None:
    server.will(stream(events(part(None, None, reasoning_content="hm"), part("4", "stop"))))
    asking = service()
    history = user_history()
    history.add_message(join_messages(await collect_stream(asking)))
    again = ChatHistory.restore_chat_history(history.serialize())
    assert [type(each) for each in again.messages[1].items] == [ReasoningContent, TextContent]
    assert [str(each) for each in again.messages[1].items] == ["hm", "4"]
    for each in (history, again):
        server.will(reply(chat()))
        await asking.get_chat_message_contents(each, SETTINGS)
    assert request_body(server, 1) == request_body(server, 2)
    assert again.messages[1].metadata["finish_reason"] == "stop"


def test_a_history_of_a_rendered_prompt_has_its_image() -> None:
    prompt = f'<message role="user">look<image>{PNG_URL}</image></message>'
    history = ChatHistory.from_rendered_prompt(prompt)
    assert len(history.messages[0].items) == 2


async def test_a_prompt_may_have_no_file_read(
    server: RawServer, service: Make, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    prompt = f'<message role="user">look<image uri="{secret}"></image></message>'
    with pytest.raises(ServiceInvalidRequestError, match="is not a URL"):
        await service().get_chat_message_contents(
            ChatHistory.from_rendered_prompt(prompt), SETTINGS
        )
    assert not server.received


async def test_the_callers_history_is_not_modified(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    history = user_history()
    before = history.model_dump_json()
    await service().get_chat_message_contents(history, SETTINGS)
    assert history.model_dump_json() == before


async def test_messages_of_every_service_are_taken(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    streamed_before = StreamingChatMessageContent(
        role=AuthorRole.ASSISTANT, choice_index=0, content="a"
    )
    history = ChatHistory(messages=[streamed_before])
    await service().get_chat_message_contents(history, SETTINGS)
    assert request_body(server)["messages"] == [{"role": "assistant", "content": "a"}]
