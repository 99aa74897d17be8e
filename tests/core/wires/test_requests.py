"""Requests on each wire, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from azinfer.core import (
    BadRequestError,
    ConfigurationError,
    CustomTool,
    FilePart,
    InferenceError,
    Message,
    Tool,
    ToolMessage,
    UserMessage,
)
from azinfer.core.calls import in_our_schema
from azinfer.core.completions import Function, Json, ToolCall
from azinfer.core.json_body import encode_json
from azinfer.core.model_catalog import find
from azinfer.core.wires.wire import Encoded, Situation, wire_named

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("requests.jsonl").read_text("utf-8").splitlines()
]
HI = UserMessage("hi")


def encode(
    wire: str, messages: Any = (HI,), situation: Situation | None = None, **options: Any
) -> Encoded:
    return wire_named(wire).encode(in_our_schema(messages, options), situation or Situation())


@pytest.mark.parametrize("wire", ["responses", "messages"])
@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_request_is_encoded(row: dict[str, Any], wire: str) -> None:
    model_id = "gpt-5.4" if wire == "responses" else "claude-opus-5"
    situation = Situation(stream="stream_options" in row["options"], model_id=model_id)
    body = in_our_schema(row["messages"], row["options"])
    before = encode_json(body)
    if error := row.get(f"{wire}_error"):
        with pytest.raises(ConfigurationError) as caught:
            wire_named(wire).encode(body, situation)
        assert [caught.value.param, caught.value.message] == error
    else:
        request = wire_named(wire).encode(body, situation)
        assert encode_json(request.body) == encode_json(row[f"{wire}_body"])
        assert list(request.adapted) == row.get(f"{wire}_adapted", [])
    assert encode_json(body) == before


def test_every_row_says_what_both_wires_do() -> None:
    assert len({row["name"] for row in ROWS}) == len(ROWS) == 51
    for row in ROWS:
        for wire in ("responses", "messages"):
            assert (f"{wire}_body" in row) is not (f"{wire}_error" in row)


def test_typed_parts_and_tools_are_encoded(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    parts = [
        FilePart(tmp_path / "a.pdf"),
        FilePart(b"x", "b.bin"),
        FilePart(b"%PDF"),
        FilePart("https://example.com/c.pdf"),
        FilePart("data:text/plain;base64,eA==", "d.txt"),
    ]
    body = encode(
        "responses", [UserMessage(parts)], tools=[CustomTool("sql", "runs"), Tool("f")]
    ).body
    assert body["input"][0]["content"] == [
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERg==",
        },
        {
            "type": "input_file",
            "filename": "b.bin",
            "file_data": "data:application/octet-stream;base64,eA==",
        },
        {
            "type": "input_file",
            "filename": "file.pdf",
            "file_data": "data:application/pdf;base64,JVBERg==",
        },
        {"type": "input_file", "file_url": "https://example.com/c.pdf"},
        {"type": "input_file", "filename": "d.txt", "file_data": "data:text/plain;base64,eA=="},
    ]
    assert body["tools"] == [
        {"type": "custom", "name": "sql", "description": "runs"},
        {"type": "function", "name": "f", "strict": False},
    ]


def test_what_is_not_a_tool_is_left_to_the_service() -> None:
    body = {**in_our_schema([HI], {}), "tools": ["x"]}
    for wire in ("responses", "messages"):
        assert wire_named(wire).encode(body, Situation()).body["tools"] == ["x"]


@pytest.mark.parametrize(
    "answer",
    [
        {"role": "assistant", "content": None, "refusal": "I will not"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not"}]},
    ],
)
def test_a_refusal_goes_back_as_text(answer: Json) -> None:
    history = [HI, answer, UserMessage("why?")]
    assert encode("messages", history).body["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "I will not"},
        {"role": "user", "content": "why?"},
    ]
    text = {"type": "output_text", "text": "I will not", "annotations": []}
    assert encode("responses", history).body["input"][1] == {
        "type": "message",
        "role": "assistant",
        "content": [text],
    }


def test_a_call_of_a_free_form_tool_goes_back_on_chat_as_it_came() -> None:
    answer = Message(
        None, reasoning=None, tool_calls=(ToolCall("c1", Function("sql", "select 1"), "custom"),)
    )
    body = encode("chat", [HI, answer, ToolMessage("1", "c1", is_error=True)]).body
    wire = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    assert body["messages"][1] == {"role": "assistant", "tool_calls": [wire]}
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": "1"}


class TestThinking:
    @pytest.mark.parametrize(
        ("model", "by_budget"),
        [
            ("claude-haiku-4-5", True),
            ("claude-sonnet-4-5-20250929", True),
            ("claude-opus-4-1", True),
            ("claude-3-7-sonnet", True),
            ("anthropic/claude-sonnet-4", True),
            ("claude-opus-4-6", False),
            ("claude-opus-4-7", False),
            ("claude-sonnet-5", False),
            ("claude-opus-5-5", False),
            (None, False),
        ],
    )
    def test_older_models_think_by_a_budget(self, model: str | None, by_budget: bool) -> None:
        body = encode(
            "messages", situation=Situation(model_id=model), reasoning_effort="medium"
        ).body
        budget = {"type": "enabled", "budget_tokens": 8192}
        assert body["thinking"] == (
            budget if by_budget else {"type": "adaptive", "display": "summarized"}
        )
        assert body["max_tokens"] == 32_768
        assert ("output_config" in body) is not by_budget

    def test_a_learned_fact_wins_over_the_name(self) -> None:
        for kind in ("enabled", "adaptive"):
            situation = Situation(model_id="claude-opus-4-5", learned={"thinking": kind})
            assert (
                encode("messages", situation=situation, reasoning_effort="low").body["thinking"][
                    "type"
                ]
                == kind
            )

    def test_a_budget_leaves_room_for_the_answer(self) -> None:
        situation = Situation(model_id="claude-opus-4-5")
        body = encode(
            "messages", situation=situation, reasoning_effort="high", max_tokens=2000
        ).body
        assert body["thinking"]["budget_tokens"] == 1999
        with pytest.raises(ConfigurationError, match="max_tokens=1000 leaves no room to think"):
            encode("messages", situation=situation, reasoning_effort="high", max_tokens=1000)

    def test_the_limit_is_at_most_that_of_the_model(self) -> None:
        facts = find("claude-opus-4-1", is_model_id=True)
        assert facts is not None
        situation = Situation(model_id=facts.name, facts=facts)
        most = encode("messages", situation=situation, reasoning_effort="low").body["max_tokens"]
        assert most == min(32_768, facts.max_output or 32_768)

    def test_limits_move_and_properties_stay_whatever_they_are_called(self) -> None:
        schema = {
            "type": "object",
            "properties": {
                "type": {"type": "string", "minLength": 1, "enum": ["pattern"]},
                "pattern": {"type": "string", "default": {"type": "a", "pattern": "b"}},
                "minimum": {"anyOf": [{"type": "number", "minimum": 1}, {"type": "null"}]},
            },
            "$defs": {"type": {"type": "array", "items": {"type": "string"}, "maxItems": 2}},
            "patternProperties": {"type": {"type": "string"}, "maximum": {"type": "string"}},
            "const": {"type": "x", "maximum": 1},
            "additionalProperties": True,
        }
        wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        request = encode("messages", response_format=wanted)
        assert request.body["output_config"]["format"]["schema"] == {
            **schema,
            "properties": {
                **schema["properties"],  # type: ignore[dict-item]
                "type": {"type": "string", "enum": ["pattern"], "description": "{minLength: 1}"},
                "minimum": {
                    "anyOf": [{"type": "number", "description": "{minimum: 1}"}, {"type": "null"}]
                },
            },
            "$defs": {
                "type": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "{maxItems: 2}",
                }
            },
        }
        assert request.adapted == ("schema: minLength, minimum, maxItems → description",)

    @pytest.mark.parametrize("described", [{"name": "n"}, None])
    def test_a_format_without_its_schema_is_refused(self, described: Any) -> None:
        wanted = {"type": "json_schema", "json_schema": described}
        with pytest.raises(ConfigurationError, match="response_format") as caught:
            encode("messages", response_format=wanted)
        assert caught.value.param == "response_format"

    def test_an_effort_and_a_schema_share_their_group(self) -> None:
        schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
        body = encode("messages", reasoning_effort="max", response_format=schema).body
        assert body["output_config"] == {
            "effort": "max",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        }


class TestEncryptedReasoning:
    def test_thinking_is_not_requested_of_other_models(self) -> None:
        situation = Situation(facts=find("gpt-4.1", is_model_id=True))
        assert "include" not in encode("responses", situation=situation).body

    def test_thinking_is_not_requested_after_a_refusal(self) -> None:
        situation = Situation(learned={"include": ""})
        assert "include" not in encode("responses", situation=situation).body
        assert encode("responses", situation=situation, logprobs=True).body["include"] == [
            "message.output_text.logprobs"
        ]


def refusal(message: str, **facts: Any) -> InferenceError:
    return BadRequestError(message, status=400, **facts)


class TestMending:
    REASONING: ClassVar[Json] = {"type": "reasoning", "summary": [], "encrypted_content": "a"}
    INPUT: ClassVar[list[Json]] = [
        {"type": "message", "role": "user", "content": "hi"},
        REASONING,
        {**REASONING, "encrypted_content": "b"},
    ]

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ("The encrypted content gAAA could not be verified.", None),
            ("no", "invalid_encrypted_content"),
        ],
    )
    def test_reasoning_that_cannot_be_read_is_left_out(
        self, message: str, code: str | None
    ) -> None:
        mend = wire_named("responses").mend
        mended = mend({"input": self.INPUT}, refusal(message, code=code))
        assert mended is not None
        assert mended.body == {"input": self.INPUT[:1]}
        assert mended.change == "messages without unreadable reasoning"
        assert not mended.learned
        assert mend(mended.body, refusal(message, code=code)) is None

    def test_a_model_that_takes_one_reasoning_item_gets_the_newest(self) -> None:
        error = refusal("Conflicting authenticated continuation identities.")
        mended = wire_named("responses").mend({"input": self.INPUT}, error)
        assert mended is not None
        assert mended.body["input"] == [self.INPUT[0], self.INPUT[2]]
        assert mended.learned == {"reasoning items": "newest"}
        assert wire_named("responses").mend(mended.body, error) is None

    @pytest.mark.parametrize(
        "message",
        [
            "Item with id 'ws_1' not found. Items are not persisted when `store` is set to false.",
            "Item 'ws_1' of type 'function_call' was provided without its required 'reasoning'",
        ],
    )
    def test_ids_that_are_references_are_left_out(self, message: str) -> None:
        others = [
            {"type": "web_search_call", "id": "ws_2"},
            {"type": "item_reference", "id": "msg_1"},
        ]
        items = [
            {"type": "web_search_call", "id": "ws_1"},
            {"type": "reasoning", "id": "rs_1"},
            *others,
        ]
        mended = wire_named("responses").mend({"input": items}, refusal(message))
        assert mended is not None
        assert mended.body["input"] == [{"type": "reasoning"}, *others]
        assert wire_named("responses").mend(mended.body, refusal(message)) is None

    def test_a_reference_of_the_callers_own_stays_and_is_refused(self) -> None:
        items = [{"type": "item_reference", "id": "msg_1"}]
        error = refusal("Item with id 'msg_1' not found.")
        assert wire_named("responses").mend({"input": items}, error) is None

    def test_include_is_left_out_where_it_is_refused(self) -> None:
        mend = wire_named("responses").mend
        error = refusal("Encrypted content is not supported with this model.", param="include")
        own, both = ["reasoning.encrypted_content"], ["x", "reasoning.encrypted_content"]
        alone, rest = (
            mend({"input": [], "include": own}, error),
            mend({"input": [], "include": both}, error),
        )
        assert alone is not None
        assert rest is not None
        assert alone.body == {"input": []}
        assert rest.body == {"input": [], "include": ["x"]}
        assert alone.learned == {"include": ""}
        assert mend(rest.body, error) is None
        assert mend({"input": []}, error) is None

    def test_other_refusals_of_responses_stand(self) -> None:
        assert wire_named("responses").mend({"input": self.INPUT}, refusal("no")) is None
        assert wire_named("chat").mend({}, refusal("no")) is None

    @pytest.mark.parametrize(
        "message",
        [
            "messages.1.content.0: Invalid `signature` in `thinking` block",
            "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest "
            "assistant message cannot be modified. These blocks must remain as they were.",
        ],
    )
    def test_thinking_that_is_refused_is_left_out(self, message: str) -> None:
        text = {"type": "text", "text": "a"}
        thought: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": "s"}
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [thought, {"type": "redacted_thinking"}, text]},
            {"role": "assistant", "content": "b"},
        ]
        mended = wire_named("messages").mend({"messages": turns}, refusal(message))
        assert mended is not None
        assert mended.body["messages"][1]["content"] == [text]
        assert wire_named("messages").mend(mended.body, refusal(message)) is None

    def test_a_model_gets_the_kind_of_thinking_that_it_supports(self) -> None:
        mend = wire_named("messages").mend
        error = refusal("adaptive thinking is not supported on this model")
        for config in ({}, {"format": {"type": "json_schema"}}):
            body = encode("messages", reasoning_effort="low", output_config=config or None).body
            by_budget = mend(body, error)
            assert by_budget is not None
            assert by_budget.body["thinking"] == {"type": "enabled", "budget_tokens": 2048}
            assert by_budget.body.get("output_config", {}) == config
            assert by_budget.learned == {"thinking": "enabled"}
        assert by_budget is not None
        error = refusal('"thinking.type.enabled" is not supported for this model. Use adaptive')
        adaptive = mend(by_budget.body, error)
        assert adaptive is not None
        assert adaptive.body["thinking"] == {"type": "adaptive"}
        assert adaptive.learned == {"thinking": "adaptive"}
        assert mend(adaptive.body, error) is None
