"""Messages as they arrive: contents, roles, names, results of tools, and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from agent_framework import Content, Message
from agent_framework.exceptions import ChatClientInvalidRequestException

from agent_clients import MESSAGE, client, send, user
from azinfer.agent_framework import AzInferChatClient
from azinfer.agent_framework.messages import to_messages
from azinfer.core import ConfigurationError
from pictures import PNG
from raw_server import RawServer

PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
CALL = Content.from_function_call("c1", "get_weather", arguments='{"city": "Oslo"}')
WIRE_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
}


@pytest.fixture
def raw(url: str) -> AzInferChatClient:
    """A client of the raw server on one surface."""
    chat_client: AzInferChatClient = client(url)
    return chat_client


async def test_texts_are_strings_and_media_are_parts(
    server: RawServer, raw: AzInferChatClient
) -> None:
    wire = await send(
        server,
        raw,
        Message("system", ["Be brief."]),
        Message("developer", ["Really."]),
        user("hi"),
        Message("assistant", ["Hel", "lo."]),
        user("What is this?", Content.from_data(PNG, "image/png")),
    )
    assert [each["content"] for each in wire[:4]] == ["Be brief.", "Really.", "hi", "Hello."]
    text, image = wire[4]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image == {"type": "image_url", "image_url": {"url": PICTURE}}


@pytest.mark.parametrize("detail", ["low", "high", "ultra", None, 7])
def test_images_have_a_detail_if_it_is_text(detail: Any) -> None:
    url = "https://a.example/cat.png"
    more = {"detail": detail}
    content = Content.from_uri(url, media_type="image/png", additional_properties=more)
    (message,) = to_messages([user(content)])
    expected = {"url": url, "detail": detail} if isinstance(detail, str) else {"url": url}
    assert message["content"] == [{"type": "image_url", "image_url": expected}]


@pytest.mark.parametrize(
    ("kind", "format_"),
    [("wav", "wav"), ("x-wav", "wav"), ("mp3", "mp3"), ("mpeg", "mp3"), ("ogg", "ogg")],
)
def test_sound_is_inline_data_with_its_format(kind: str, format_: str) -> None:
    content = Content.from_uri(f"data:audio/{kind};base64,UklGRg==", media_type=f"audio/{kind}")
    (message,) = to_messages([user(content)])
    sound = {"data": "UklGRg==", "format": format_}
    assert message["content"] == [{"type": "input_audio", "input_audio": sound}]


@pytest.mark.parametrize(
    ("kind", "more", "name"),
    [
        ("application/pdf", {}, "document.pdf"),
        ("application/pdf", {"additional_properties": {"filename": "a.pdf"}}, "a.pdf"),
        ("application/pdf", {"name": "b.pdf"}, "b.pdf"),
        ("application/x-odd", {}, "document.bin"),
        ("text/plain", {}, "document.txt"),
    ],
)
def test_documents_are_files(kind: str, more: Any, name: str) -> None:
    (message,) = to_messages([user(Content.from_data(b"%PDF", kind, **more))])
    data = f"data:{kind};base64,JVBERg=="
    assert message["content"] == [{"type": "file", "file": {"filename": name, "file_data": data}}]


def test_a_file_of_the_service_goes_by_its_id() -> None:
    (message,) = to_messages([user(Content.from_hosted_file("file-1"))])
    assert message["content"] == [{"type": "file", "file": {"file_id": "file-1"}}]


async def test_documents_elsewhere_are_refused_before_anything_is_sent(
    server: RawServer, raw: AzInferChatClient
) -> None:
    document = Content.from_uri("https://a.example/a.pdf", media_type="application/pdf")
    with pytest.raises(ChatClientInvalidRequestException, match=r"a\.pdf.*not fetched"):
        await raw.get_response([user(document)])
    assert not server.received


def test_content_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'error'"):
        to_messages([user(Content.from_error(message="x"))])


async def test_no_message_is_refused(raw: AzInferChatClient) -> None:
    with pytest.raises(ChatClientInvalidRequestException, match="empty"):
        await raw.get_response([])


async def test_calls_and_text_of_one_turn_are_one_message(
    server: RawServer, raw: AzInferChatClient
) -> None:
    other = Content.from_function_call("c2", "get_time", arguments={"zone": "é"})
    wire = await send(
        server,
        raw,
        *MESSAGE,
        Message("assistant", [CALL, "Let me see.", other]),
        Message(
            "tool",
            [
                Content.from_function_result("c1", result="Sunny"),
                Content.from_function_result("c2", result=""),
            ],
        ),
    )
    calls = [WIRE_CALL, {**WIRE_CALL, "id": "c2"}]
    calls[1]["function"] = {"name": "get_time", "arguments": '{"zone": "é"}'}
    assert wire[1:] == [
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
    ]


@pytest.mark.parametrize(
    ("result", "text"), [("[]", "[]"), ("", ""), ("false", "false"), (None, "")]
)
def test_results_are_text(result: Any, text: str) -> None:
    content = Content.from_function_result("c1", result=result, exception="secret diagnosis")
    (message,) = to_messages([Message("tool", [content])])
    sent = {"role": "tool", "tool_call_id": "c1", "content": text, "is_error": True}
    assert message == sent
    (message,) = to_messages([Message("tool", [Content.from_function_result("c1", result=result)])])
    assert "is_error" not in message


async def test_media_of_results_follow_as_a_user_message(
    server: RawServer, raw: AzInferChatClient
) -> None:
    picture = Content.from_data(PNG, "image/png")
    first = Content.from_function_result("c1", result=[Content.from_text("A cat"), picture])
    second = Content.from_function_result("c2", result=[picture])
    results = (Message("tool", [first]), Message("tool", [second]))
    wire = await send(server, raw, *results, user("And?"))
    image = {"type": "image_url", "image_url": {"url": PICTURE}}
    assert wire == [
        {"role": "tool", "tool_call_id": "c1", "content": "A cat"},
        {"role": "tool", "tool_call_id": "c2", "content": "(attached below)"},
        {"role": "user", "content": [image, image]},
        {"role": "user", "content": "And?"},
    ]
    wire = await send(server, raw, results[1])
    assert wire[-1] == {"role": "user", "content": [image]}


def test_text_beside_results_is_the_users() -> None:
    contents: list[Any] = [Content.from_function_result("c1", result="Sunny"), "And now?"]
    assert to_messages([Message("tool", contents)]) == [
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny"},
        {"role": "user", "content": "And now?"},
    ]


def test_approvals_are_not_for_the_model() -> None:
    request = Content.from_function_approval_request("a1", CALL)
    response = Content.from_function_approval_response(False, "a1", CALL)
    assert to_messages([Message("assistant", [request]), user(response)]) == []
    (mixed,) = to_messages([Message("assistant", ["Shall I?", request])])
    assert mixed == {"role": "assistant", "content": "Shall I?"}


def test_authors_are_sent_but_not_of_results() -> None:
    author = "Guide 1"  # core changes what services refuse in a name
    messages = [
        Message("user", ["hi"], author_name=author),
        Message("assistant", ["Hello."], author_name=author),
        Message("tool", [Content.from_function_result("c1", result="x")], author_name=author),
    ]
    user_, assistant, result = to_messages(messages)
    assert (user_.get("name"), assistant.get("name")) == (author, author)
    assert "name" not in result


def test_reasoning_goes_back_beside_the_answer() -> None:
    thought = Content.from_text_reasoning(text="Hm.")
    wire = to_messages([Message("assistant", [thought, "Yes."]), Message("assistant", [thought])])
    assert wire == [
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."},
        {"role": "assistant", "content": "", "reasoning_content": "Hm."},
    ]
    (call,) = to_messages([Message("assistant", [thought, CALL])])
    assert call == {"role": "assistant", "tool_calls": [WIRE_CALL], "reasoning_content": "Hm."}


async def test_models_that_refuse_reasoning_do_not_get_it(
    server: RawServer, raw: AzInferChatClient
) -> None:
    thought = Content.from_text_reasoning(text="Hm.")
    wire = await send(server, raw, *MESSAGE, Message("assistant", [thought, "Yes."]), *MESSAGE)
    assert wire[1] == {"role": "assistant", "content": "Yes."}


def test_messages_are_not_changed() -> None:
    messages = [user("hi"), Message("assistant", [CALL]), user("x", "y")]
    before = [message.to_dict() for message in messages]
    to_messages(messages)
    assert [message.to_dict() for message in messages] == before
