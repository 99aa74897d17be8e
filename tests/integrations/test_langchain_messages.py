"""LangChain messages as requests, over real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from azinfer.core import ConfigurationError
from azinfer.langchain import ChatAzInfer
from client_driver import KEY
from raw_server import RawServer, chat, reply

Send = Callable[[list[BaseMessage]], list[Any]]


@pytest.fixture
def send(server: RawServer) -> Send:
    """Sends messages and gives what arrived."""
    server.will(reply(chat()))
    url = f"{server.url}/openai/v1"
    model = ChatAzInfer(endpoint=url, credential=KEY, model="gpt-4.1", max_retries=0)

    def messages(arguments: list[BaseMessage]) -> list[Any]:
        model.invoke(arguments)
        sent: list[Any] = server.received[-1].json["messages"]
        return sent

    return messages


PNG = "iVBORw=="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
LOW = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}


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
    (
        HumanMessage([{"type": "document", "source": {"type": "text", "data": "notes"}}]),
        {"role": "user", "content": [{"type": "text", "text": "notes"}]},
    ),
    *(
        (
            HumanMessage([{"type": "file", "base64": "AAAA", "mime_type": kind, **named}]),
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {"filename": name, "file_data": f"data:{kind};base64,AAAA"},
                    }
                ],
            },
        )
        for kind, named, name in (
            ("application/json", {}, "document.json"),
            ("application/x-made-up", {}, "document"),
            ("application/pdf", {"filename": "a.pdf"}, "a.pdf"),
            ("application/pdf", {"extras": {"filename": "a.pdf"}}, "a.pdf"),
        )
    ),
    (
        HumanMessage([{"type": "text", "text": ""}, "a"]),
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
    ),
    (HumanMessage([LOW]), {"role": "user", "content": [LOW]}),
    (
        HumanMessage([{"type": "image", "url": "https://example.com/a.png", "detail": "low"}]),
        {"role": "user", "content": [LOW]},
    ),
    (
        HumanMessage(
            [{"type": "image", "url": "https://example.com/a.png", "extras": {"detail": "low"}}]
        ),
        {"role": "user", "content": [LOW]},
    ),
    (
        HumanMessage(
            [{"type": "audio", "base64": "AAAA", "mime_type": "audio/wav", "detail": "low"}]
        ),
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}],
        },
    ),
    (
        HumanMessage([{"type": "image_url", "image_url": "https://example.com/a.png"}]),
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
        },
    ),
    (
        HumanMessage([{"type": "file", "file": {"file_id": "f1"}}]),
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]},
    ),
    (HumanMessage([]), {"role": "user", "content": ""}),
    (FunctionMessage(content="x", name="f"), {"role": "function", "content": "x", "name": "f"}),
    (AIMessage("yes"), {"role": "assistant", "content": "yes"}),
    # The name of an agent, which services refuse for its spaces, or at all.
    (AIMessage("yes", name="an agent"), {"role": "assistant", "content": "yes"}),
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
    (AIMessage("", additional_kwargs={"refusal": "no"}), {"role": "assistant", "content": "no"}),
    (
        AIMessage("", additional_kwargs={"audio": {"id": "a1", "data": "AAAA"}}),
        {"role": "assistant", "content": "", "audio": {"id": "a1"}},
    ),
    (AIMessage(""), {"role": "assistant", "content": ""}),
    (
        AIMessage("", tool_calls=[{"id": "c", "name": "f", "args": {"x": "é"}}]),
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x": "é"}'},
                }
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
        AIMessage(
            "",
            tool_calls=[{"id": "c", "name": "f", "args": {}}],
            additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}},
        ),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
    ),
    (
        AIMessageChunk(
            content=[{"type": "tool_call_chunk", "id": "c", "name": "f", "args": "{}", "index": 0}],
            tool_call_chunks=[{"id": "c", "name": "f", "args": "{}", "index": 0}],
        ),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
    ),
    (
        AIMessage(
            [{"type": "invalid_tool_call", "id": "c", "name": "f", "args": "{x"}],
            invalid_tool_calls=[{"id": "c", "name": "f", "args": "{x", "error": None}],
        ),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{x"}}
            ],
        },
    ),
    (
        AIMessage("", invalid_tool_calls=[{"id": None, "name": None, "args": None, "error": ""}]),
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "", "type": "function", "function": {"name": "", "arguments": "{}"}}
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
def test_a_message_is_encoded_correctly(send: Send, message: BaseMessage, wire: Any) -> None:
    assert send([message]) == [wire]


def test_media_in_tool_results_follow_them(send: Send) -> None:
    call = {"name": "f", "args": {}}
    wire = send(
        [
            AIMessage("", tool_calls=[{"id": "a", **call}, {"id": "b", **call}]),
            ToolMessage([IMAGE], tool_call_id="a"),
            ToolMessage([{"type": "text", "text": "b"}, "c"], tool_call_id="b"),
            HumanMessage("what is it?"),
        ]
    )
    assert wire[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "(attached below)"},
        {"role": "tool", "tool_call_id": "b", "content": "b\nc"},
        {"role": "user", "content": [IMAGE]},
        {"role": "user", "content": "what is it?"},
    ]
    wire = send([ToolMessage([], tool_call_id="a")])
    assert wire == [{"role": "tool", "tool_call_id": "a", "content": ""}]
    wire = send([ToolMessage([IMAGE], tool_call_id="a")])
    assert wire[-1] == {"role": "user", "content": [IMAGE]}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (HumanMessage([{"type": "hologram", "data": 1}]), "cannot be sent"),
        (HumanMessage([{"type": "image_url", "image_url": {}}]), "cannot be sent"),
        (HumanMessage([{"type": "hologram", "text": 1}]), "cannot be sent"),
        (HumanMessage([{"type": "video", "url": "https://a"}]), "of the type 'video'"),
        (
            HumanMessage([{"type": "text-plain", "url": "https://a", "mime_type": "text/plain"}]),
            "not fetched",
        ),
        (HumanMessage([{"type": "file", "url": "https://a/b.pdf"}]), "file URLs.*pass base64"),
        (HumanMessage([{"type": "image", "file_id": "1"}]), "pass base64"),
        (HumanMessage([{"type": "file", "base64": "AAAA"}]), "pass base64 and mime_type"),
        (AIMessage([IMAGE]), "cannot be sent back"),
        (
            AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
            "pass tool_calls",
        ),
        (
            AIMessage(
                [{"type": "web_search_call", "id": "1", "action": {"type": "search"}}],
                response_metadata={"model_provider": "openai"},
            ),
            "'server_tool_call', which no deployment accepts",
        ),
        (RemoveMessage(id="1"), "RemoveMessage cannot be sent"),
    ],
)
def test_unsupported_content_is_an_error(
    send: Send, server: RawServer, message: BaseMessage, expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        send([message])
    assert not server.received


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
# What the chat models of other providers leave in a conversation, in each one's own blocks.
FOREIGN: list[tuple[str, list[Any]]] = [
    (
        "openai",
        [
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "text", "text": "4", "id": "msg", "annotations": []},
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
    ),
    (
        "anthropic",
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "4", "citations": []},
            {"type": "tool_use", "id": "c", "name": "f", "input": {}},
        ],
    ),
    ("google_genai", [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "4"}]),
    (
        "bedrock_converse",
        [
            {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}},
            {"type": "text", "text": "4"},
        ],
    ),
    ("", [{"type": "reasoning_content", "reasoning_content": {}}, {"type": "text", "text": "4"}]),
    (
        "",
        [
            {"type": "reasoning", "id": "rs", "summary": []},
            {"type": "text", "text": "4"},
            {"type": "refusal", "refusal": ""},
            {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"},
        ],
    ),
]


@pytest.mark.parametrize(("provider", "blocks"), FOREIGN)
def test_a_history_of_another_provider_goes_on_here(
    send: Send, provider: str, blocks: list[Any]
) -> None:
    message = AIMessage(
        blocks,
        tool_calls=[{"id": "c", "name": "f", "args": {}}],
        response_metadata={"model_provider": provider} if provider else {},
    )
    assert send([message]) == [{"role": "assistant", "content": "4", "tool_calls": [CALL]}]


def test_sending_does_not_change_messages(send: Send) -> None:
    messages: list[BaseMessage] = [
        HumanMessage([{"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}]),
        AIMessage("", tool_calls=[{"id": "a", "name": "f", "args": {}}]),
        ToolMessage([IMAGE, "b"], tool_call_id="a"),
    ]
    before = [message.model_copy(deep=True) for message in messages]
    send(messages)
    assert messages == before
