"""Tool results with media: in place, or after the results on chat completions."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import (
    AudioPart,
    ConfigurationError,
    ImagePart,
    InferenceClient,
    ToolMessage,
    UserMessage,
    media_part,
)
from azinfer.core.messages import messages_to_wire
from azinfer.core.wires.wire import Situation, wire_named
from raw_server import RawServer, chat, reply

PICTURE = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": PICTURE}}
PDF = "data:application/pdf;base64,JVBERi0="


def encode_messages(wire: str, *messages: Any) -> Any:
    body = {"messages": messages_to_wire(list(messages))}
    return wire_named(wire).encode(body, Situation()).body


def test_media_follow_all_results_of_a_turn_on_chat() -> None:
    messages = encode_messages(
        "chat",
        UserMessage("hi"),
        ToolMessage(["A cat", ImagePart(PICTURE), "and a dog"], "c1"),
        ToolMessage([ImagePart(PICTURE)], "c2", is_error=True),
        ToolMessage("Sunny", "c3"),
        UserMessage("And?"),
        ToolMessage(["a", "b"], "c4"),
        ToolMessage([], "c5"),
        ToolMessage([ImagePart(PICTURE), "x"], "c6"),
    )["messages"]
    assert messages[1:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "A cat\nand a dog"},
        {"role": "tool", "tool_call_id": "c2", "content": "(attached below)"},
        {"role": "tool", "tool_call_id": "c3", "content": "Sunny"},
        {"role": "user", "content": [IMAGE, IMAGE]},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": "c4", "content": "a\nb"},
        {"role": "tool", "tool_call_id": "c5", "content": ""},
        {"role": "tool", "tool_call_id": "c6", "content": "x"},
        {"role": "user", "content": [IMAGE]},
    ]


def test_texts_of_a_result_are_one_text_on_chat() -> None:
    (result,) = encode_messages("chat", ToolMessage(["a", "b"], "c1"))["messages"]
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "a\nb"}


def test_other_messages_stay_the_same_object() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}, {"role": "tool", "content": "x"}]}
    sent = wire_named("chat").encode(body, Situation()).body
    assert sent["messages"][0] is body["messages"][0]


def test_media_stay_in_results_where_the_wire_has_a_place() -> None:
    result = ToolMessage(["A cat", ImagePart(PICTURE)], "c1")
    (turn,) = encode_messages("messages", result)["messages"]
    assert [each["type"] for each in turn["content"][0]["content"]] == ["text", "image"]
    (item,) = encode_messages("responses", result)["input"]
    assert [each["type"] for each in item["output"]] == ["input_text", "input_image"]


def test_a_result_in_parts_is_sent_as_text(server: RawServer) -> None:
    server.will(reply(chat()))
    with InferenceClient(server.url, "a-key", "m") as client:
        client.complete([ToolMessage(["A cat", ImagePart(PICTURE)], "c1")])
    assert [each["role"] for each in server.received[0].json["messages"]] == ["tool", "user"]


@pytest.mark.parametrize(
    ("url", "kind", "more", "part"),
    [
        (PICTURE, "image/png", {}, IMAGE),
        ("https://a/b.png", "IMAGE/PNG", {"detail": "low", "name": "x"}, None),
        ("data:audio/wav;base64,UklGRg==", "audio/wav", {}, "wav"),
        ("data:audio/x;base64,UklGRg==", "audio/mpeg", {}, "wav"),
        ("data:audio/flac;base64,UklGRg==", "audio/flac", {}, "flac"),
        (PDF, "application/pdf", {}, "document.pdf"),
        (PDF, "", {}, "document.bin"),
        (PDF, "application/pdf", {"name": "a.pdf"}, "a.pdf"),
    ],
)
def test_media_become_the_part_of_their_type(url: str, kind: str, more: Any, part: Any) -> None:
    wire = media_part(url, kind, **more)
    if wire["type"] == "image_url":
        detail = {"detail": "low"} if more else {}
        assert wire["image_url"] == {"url": url, **detail}
    elif wire["type"] == "input_audio":
        assert wire["input_audio"] == {"data": "UklGRg==", "format": part}
    else:
        assert wire["file"] == {"filename": part, "file_data": url}


def test_audio_elsewhere_is_passed_on() -> None:
    assert media_part("https://a/b.mp3", "audio/mp3") == AudioPart("https://a/b.mp3").to_wire()


@pytest.mark.parametrize(
    ("kind", "named"), [("application/pdf", "application/pdf"), ("", "a file")]
)
def test_a_file_elsewhere_is_refused_with_its_url(kind: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{named} at 'https://a/b' cannot be sent"):
        media_part("https://a/b", kind)
