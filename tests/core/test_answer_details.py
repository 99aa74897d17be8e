"""Details of an answer that frameworks keep, and ids that continue a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import InferenceClient, UserMessage, continuation, details_of
from azinfer.core.completions import ChatCompletion, Choice, Message
from raw_server import RawServer, chat, reply

QUESTION = [UserMessage("hi")]


def test_details_are_plain_data_without_what_is_not_known(server: RawServer) -> None:
    body = chat("hello", "length")
    body |= {"created": 7, "system_fingerprint": "fp", "prompt_filter_results": [{"a": 1}]}
    body["choices"][0] |= {"logprobs": {"content": []}, "content_filter_results": {"hate": {}}}
    body["choices"].append({"index": 1, "message": {"role": "assistant", "refusal": "no"}})
    server.will(reply(body, headers={"apim-request-id": "r-1"}))
    with InferenceClient(f"{server.url}/openai/v1", "a-key", "m") as client:
        answer = client.complete(QUESTION, max_tokens=5, model_id="gpt-5")
    details = details_of(answer)
    assert "max_completion_tokens" in details.pop("adapted")[0]
    details.pop("routing", None)  # a trace only if there were several attempts
    assert details == {
        "id": answer.id,
        "created": 7,
        "model": answer.model,
        "system_fingerprint": "fp",
        "finish_reason": "length",
        "logprobs": {"content": []},
        "content_filter_results": {"hate": {}},
        "prompt_filter_results": [{"a": 1}],
        "deployment": "m",
        "surface": "v1",
        "request_id": "r-1",
    }
    second = details_of(answer, answer.choices[1])
    assert second["refusal"] == "no"
    assert not {"finish_reason", "logprobs", "content_filter_results"} & second.keys()


def test_an_answer_without_a_route_has_few_details() -> None:
    answer = ChatCompletion(id="", model=None, created=0, choices=(Choice(0, Message("hi")),))
    assert details_of(answer) == {}


@pytest.mark.parametrize(
    ("more", "conversation_id"),
    [
        ({"store": True}, "resp_1"),
        ({"store": True, "conversation": {"id": "conv_1"}}, "conv_1"),
        ({"store": True, "conversation": "odd"}, "resp_1"),
        ({"store": True, "id": None}, None),
        ({"store": False}, None),
        ({}, None),
    ],
)
def test_a_kept_response_has_the_id_of_its_conversation(
    server: RawServer, more: Any, conversation_id: str | None
) -> None:
    text = {"type": "output_text", "text": "hello"}
    item = {"type": "message", "content": [text]}
    server.will(reply({"id": "resp_1", "status": "completed", "output": [item], **more}))
    with InferenceClient(server.url, "a-key", "m", wire="responses") as client:
        assert client.complete(QUESTION).conversation_id == conversation_id


def test_chat_completions_keep_no_conversation(server: RawServer) -> None:
    server.will(reply({**chat(), "store": True}))
    with InferenceClient(server.url, "a-key", "m") as client:
        assert client.complete(QUESTION, store=True).conversation_id is None


@pytest.mark.parametrize(
    ("conversation_id", "options"),
    [
        ("resp_1", {"store": True, "previous_response_id": "resp_1"}),
        ("caresp_1", {"store": True, "previous_response_id": "caresp_1"}),
        ("conv_1", {"store": True, "conversation": "conv_1"}),
        ("agent_framework_local_history_persistence", {}),
        ("c9", {}),
    ],
)
def test_an_id_goes_on_in_the_field_of_its_kind(conversation_id: str, options: Any) -> None:
    assert continuation(conversation_id) == options
