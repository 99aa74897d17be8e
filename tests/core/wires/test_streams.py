"""Unusual streams of the two newer wires."""

from __future__ import annotations

import json
from typing import Any

import pytest

from azinfer.core import (
    BadRequestError,
    ContentFilterError,
    InferenceError,
    InvalidResponseError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from azinfer.core.completions import Json
from azinfer.core.wires.wire import wire_named


class StreamRun:
    """What came of a stream: its chunks, and its answer or its error."""

    def __init__(self, wire: str, events: Any, response_format: Any = None) -> None:
        self.chunks: list[Any] = []
        self.error: InferenceError | None = None
        self.reader = wire_named(wire).reader({}, None, "seed_", response_format)
        data = events if isinstance(events, bytes) else sse(*events)
        try:
            self.chunks += self.reader.feed(data)
            self.chunks += self.reader.finish()
        except InferenceError as error:
            self.error = self.reader.with_partial(error)

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def reasoning(self) -> str:
        return "".join(chunk.reasoning for chunk in self.chunks)

    @property
    def answer(self) -> Any:
        if self.error is not None:
            raise self.error
        completion = self.reader.completion()
        assert completion.text == self.text
        assert (completion.reasoning or "") == self.reasoning
        return completion


def sse(*events: Json) -> bytes:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()


def created_event(**more: Any) -> Json:
    return {"type": "response.created", "response": {"id": "resp_1", "model": "m", **more}}


def completed_event(*output: Json, **more: Any) -> Json:
    response = {"id": "resp_1", "status": "completed", "output": list(output), **more}
    return {"type": "response.completed", "response": response}


def added_event(at: int | None, **item: Any) -> Json:
    return {"type": "response.output_item.added", "output_index": at, "item": item}


def done_event(at: int | None, **item: Any) -> Json:
    return {"type": "response.output_item.done", "output_index": at, "item": item}


def delta(kind: str, text: Any, at: int | None = 0, **more: Any) -> Json:
    return {"type": f"response.{kind}.delta", "delta": text, "output_index": at, **more}


def message_item(text: str, **more: Any) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "role": "assistant", "content": [part], **more}


CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}


class TestResponses:
    def test_items_without_deltas_are_emitted_when_done(self) -> None:
        reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "why"}]}
        run = StreamRun(
            "responses",
            [
                created_event(),
                done_event(0, **reasoning),
                done_event(1, **message_item("hello")),
                done_event(2, **CALL),
                completed_event(),
            ],
        )
        assert (run.answer.text, run.answer.reasoning) == ("hello", "why")
        assert run.answer.tool_calls[0].function.arguments == '{"a":1}'
        assert run.chunks[3].tool_calls[0].name == "f"
        assert [call.arguments for call in run.chunks[3].tool_calls] == ['{"a":1}']
        assert run.answer.finish_reason == "tool_calls"

    def test_an_answer_that_is_complete_in_the_last_event_is_emitted(self) -> None:
        run = StreamRun("responses", [completed_event(message_item("hello"), CALL)])
        assert run.answer.text == "hello"
        assert [len(chunk.tool_calls) for chunk in run.chunks] == [1]

    def test_a_stream_may_begin_with_a_delta_and_have_holes(self) -> None:
        run = StreamRun(
            "responses",
            [
                delta("output_text", "hel", 3),
                delta("output_text", "lo", 3),
                delta("function_call_arguments", "{}", 7),
                done_event(3, **message_item("hello")),
                done_event(7, type="function_call", call_id="c1", name="f", arguments="{}"),
                completed_event(),
            ],
        )
        assert run.answer.text == "hello"
        assert [call.index for chunk in run.chunks for call in chunk.tool_calls] == [0]
        assert run.answer.tool_calls[0].id == "c1"

    def test_events_without_an_index_belong_to_the_last_item(self) -> None:
        run = StreamRun(
            "responses",
            [
                added_event(None, type="message", role="assistant"),
                delta("output_text", "a", None),
                done_event(None, **message_item("ab")),
                added_event(None, **{**CALL, "arguments": ""}),
                delta("function_call_arguments", '{"a":1}', None),
                done_event(None, **CALL),
                completed_event(),
            ],
        )
        assert run.answer.text == "ab"
        assert run.answer.tool_calls[0].function.arguments == '{"a":1}'

    def test_an_item_alone_without_an_index_is_the_first(self) -> None:
        assert (
            StreamRun(
                "responses", [done_event(None, **message_item("a")), completed_event()]
            ).answer.text
            == "a"
        )

    def test_parallel_calls_are_counted_among_calls(self) -> None:
        events = [
            added_event(0, type="reasoning"),
            added_event(1, **CALL),
            added_event(4, **{**CALL, "call_id": "c2"}),
        ]
        events += [
            delta("function_call_arguments", "{}", 4),
            delta("function_call_arguments", "{}", 1),
        ]
        run = StreamRun("responses", [*events, completed_event()])
        calls = [call for chunk in run.chunks for call in chunk.tool_calls]
        assert [(call.index, call.id) for call in calls] == [
            (0, "c1"),
            (1, "c2"),
            (1, None),
            (0, None),
        ]

    def test_a_free_form_call_is_a_call_of_its_kind(self) -> None:
        item = {"type": "custom_tool_call", "call_id": "c1", "name": "sql"}
        run = StreamRun(
            "responses",
            [
                added_event(0, **item, input=""),
                delta("custom_tool_call_input", "select"),
                delta("custom_tool_call_input", " 1"),
                done_event(0, **item, input="select 1"),
                completed_event(),
            ],
        )
        (call,) = run.answer.tool_calls
        assert (call.type, call.function.name, call.function.arguments) == (
            "custom",
            "sql",
            "select 1",
        )
        assert run.chunks[0].tool_calls[0].type == "custom"

    def test_a_call_without_an_id_gets_one_of_its_own(self) -> None:
        calls = [{"type": "function_call", "name": "f"}, {"type": "function_call", "name": "g"}]
        ids = [
            call.id for call in StreamRun("responses", [completed_event(*calls)]).answer.tool_calls
        ]
        assert ids == ["call_seed_0", "call_seed_1"]

    def test_parts_of_reasoning_stand_apart(self) -> None:
        run = StreamRun(
            "responses",
            [
                delta("reasoning_summary_text", "one", 0, summary_index=0),
                delta("reasoning_summary_text", ".", 0, summary_index=0),
                delta("reasoning_summary_text", "two", 0, summary_index=1),
                delta("reasoning_text", "three", 2, content_index=0),
                completed_event(),
            ],
        )
        assert run.answer.reasoning == "one.\n\ntwo\n\nthree"

    def test_two_messages_stand_apart(self) -> None:
        run = StreamRun(
            "responses",
            [delta("output_text", "a", 0), delta("output_text", "b", 1), completed_event()],
        )
        assert run.answer.text == "a\n\nb"

    def test_a_refusal_is_emitted(self) -> None:
        events = [delta("refusal", "I "), delta("refusal", "won't."), completed_event()]
        run = StreamRun("responses", events)
        assert run.answer.choices[0].message.refusal == "I won't."
        assert run.chunks[0].choices[0].delta.refusal == "I "

    @pytest.mark.parametrize("by", ["format", "type"])
    def test_commentary_stays_out_of_json(self, by: str) -> None:
        events = [
            created_event(
                **({"text": {"format": {"type": "json_schema"}}} if by == "format" else {})
            ),
            added_event(0, type="message", phase="commentary"),
            delta("output_text", "I look it "),
            delta("output_text", "up."),
            done_event(0, **message_item("I look it up.", phase="commentary")),
            added_event(1, type="message", phase="final_answer"),
            delta("output_text", "7", 1),
            done_event(1, **message_item("7", phase="final_answer")),
        ]
        output = [
            message_item("I look it up.", phase="commentary"),
            message_item("7", phase="final_answer"),
        ]
        more = {"text": {"format": {"type": "json_schema"}}} if by == "format" else {}
        run = StreamRun(
            "responses", [*events, completed_event(*output, **more)], int if by == "type" else None
        )
        assert run.answer.text == "7"
        assert run.answer.reasoning == "I look it up."
        if by == "type":
            assert run.answer.parsed == 7

    def test_commentary_is_text_where_text_is_asked_for(self) -> None:
        output = [
            message_item("I look.", phase="commentary"),
            message_item("7", phase="final_answer"),
        ]
        assert StreamRun("responses", [completed_event(*output)]).answer.text == "I look.\n\n7"

    def test_progress_events_are_available_in_raw(self) -> None:
        event = {"type": "response.web_search_call.searching", "item_id": "ws_1"}
        run = StreamRun("responses", [created_event(), event, completed_event(message_item("a"))])
        assert [chunk.raw["type"] for chunk in run.chunks] == [
            "response.created",
            "response.web_search_call.searching",
            "response.completed",
        ]
        assert [len(chunk.choices) for chunk in run.chunks] == [0, 0, 1]

    @pytest.mark.parametrize(
        ("status", "details", "reason"),
        [
            ("incomplete", {"reason": "max_output_tokens"}, "length"),
            ("incomplete", {"reason": "content_filter"}, "content_filter"),
            ("incomplete", None, "length"),
            ("completed", None, "stop"),
            ("queued", None, None),
        ],
    )
    def test_an_answer_ends_for_a_reason(self, status: str, details: Any, reason: Any) -> None:
        event = completed_event(message_item("a"), status=status, incomplete_details=details)
        event["type"] = "response.incomplete"
        run = StreamRun("responses", [event])
        assert run.answer.finish_reason == reason
        assert run.chunks[-1].finish_reason == reason
        assert (run.answer.choices[0].message.state is None) is (status == "queued")

    def test_log_probabilities_and_filter_results_are_emitted(self) -> None:
        part = {"type": "output_text", "text": "a", "logprobs": [{"token": "a"}]}
        entry = {"source_type": "completion", "content_filter_results": {"hate": {}}}
        output = {"type": "message", "content": [part]}
        answer = StreamRun(
            "responses", [completed_event(output, content_filters=[entry, None])]
        ).answer
        assert answer.choices[0].logprobs == {"content": [{"token": "a"}]}
        assert answer.choices[0].content_filter_results == {"hate": {}}

    def test_an_error_event_after_a_failure_without_reason_is_raised(self) -> None:
        failed = {"type": "response.failed", "response": {"status": "failed", "error": None}}
        filtered = {
            "code": "content_policy_violation",
            "message": "blocked",
            "content_filters": [
                {},
                {"content_filter_results": {"hate": {"filtered": True, "severity": "high"}}},
            ],
        }
        run = StreamRun(
            "responses", [created_event(), failed, {"type": "error", "error": filtered}]
        )
        assert isinstance(run.error, ContentFilterError)
        assert run.error.categories == {"hate": "high"}

    def test_a_failure_without_a_reason_is_an_error_at_the_end(self) -> None:
        failed = {"type": "response.failed", "response": {"status": "failed", "error": None}}
        run = StreamRun("responses", [created_event(), delta("output_text", "a"), failed])
        assert isinstance(run.error, ServerError)
        assert "'failed'" in run.error.message
        assert run.error.partial is not None
        assert run.error.partial.text == "a"

    @pytest.mark.parametrize(
        ("code", "kind", "status"),
        [("server_error", ServerError, 500), ("rate_limit_exceeded", RateLimitError, 429)],
    )
    @pytest.mark.parametrize("nested", [True, False])
    def test_an_error_event_is_raised_by_its_code(
        self, code: str, kind: type[InferenceError], status: int, nested: bool
    ) -> None:
        error = {"code": code, "message": "no", "param": None}
        event = {"type": "error", "error": error} if nested else {"type": "error", **error}
        run = StreamRun("responses", [created_event(), event])
        assert isinstance(run.error, kind)
        assert (run.error.code, run.error.status) == (code, status)

    def test_a_stream_without_its_end_is_interrupted(self) -> None:
        events = [
            created_event(),
            delta("reasoning_summary_text", "why", 0, summary_index=0),
            delta("output_text", "hel", 1),
            added_event(2, **{**CALL, "arguments": ""}),
            delta("function_call_arguments", '{"a', 2),
            delta("refusal", "no", 3),
        ]
        run = StreamRun("responses", events)
        assert isinstance(run.error, StreamInterruptedError)
        partial = run.error.partial
        assert partial is not None
        assert (partial.text, partial.reasoning, partial.finish_reason) == ("hel", "why", None)
        assert partial.tool_calls[0].function.arguments == '{"a'
        assert partial.choices[0].message.refusal == "no"
        assert partial.choices[0].message.state is None

    def test_the_name_of_an_event_counts_where_its_data_has_no_type(self) -> None:
        named = b'event: response.output_text.delta\ndata: {"delta": "a", "output_index": 0}\n\n'
        assert StreamRun("responses", named + sse(completed_event())).answer.text == "a"

    def test_one_json_body_in_place_of_a_stream_is_an_answer(self) -> None:
        body = json.dumps(completed_event(message_item("hello"))["response"]).encode()
        assert StreamRun("responses", body).answer.text == "hello"

    def test_an_empty_stream_is_an_error(self) -> None:
        assert isinstance(StreamRun("responses", b"").error, InvalidResponseError)

    @pytest.mark.parametrize(
        "event",
        [
            [],
            delta("output_text", 5),
            {"type": "response.output_item.added"},
            {"type": "response.completed"},
            completed_event({"type": "function_call"}),
        ],
    )
    def test_a_malformed_event_is_an_error(self, event: Any) -> None:
        run = StreamRun("responses", [event])
        with pytest.raises(InvalidResponseError):
            run.answer  # noqa: B018

    def test_done_is_the_end_of_the_bytes_and_not_of_the_answer(self) -> None:
        failed = {"type": "response.failed", "response": {"status": "failed", "error": None}}
        done = b"data: [DONE]\n\n"
        events = sse(created_event(), delta("output_text", "hi"))
        run = StreamRun("responses", events + sse(failed) + done)
        assert isinstance(run.error, ServerError)
        run = StreamRun("responses", events + done + sse(completed_event()))
        assert isinstance(run.error, StreamInterruptedError)
        assert run.reader.is_over
        assert isinstance(StreamRun("responses", done).error, InvalidResponseError)

    @pytest.mark.parametrize(
        ("events", "output"),
        [
            ([added_event(0, **message_item(""))], [message_item("whole")]),
            (
                [done_event(0, type="reasoning", summary=[])],
                [{"type": "reasoning", "summary": []}, message_item("whole")],
            ),
            (
                [delta("output_text", "wh"), done_event(0, **message_item("whole"))],
                [{"type": "reasoning"}, message_item("whole")],
            ),
            (
                [delta("output_text", "ole", 1), done_event(1, **message_item("ole"))],
                [{"type": "reasoning"}, message_item("ole")],
            ),
            ([delta("output_text", "whole", 3)], [message_item("whole")]),
        ],
    )
    def test_items_of_the_last_event_come_once(self, events: Any, output: Any) -> None:
        run = StreamRun("responses", [created_event(), *events, completed_event(*output)])
        assert run.text == run.answer.text == output[-1]["content"][0]["text"]

    def test_a_call_whose_arguments_come_first_has_its_id_and_name(self) -> None:
        events = [delta("function_call_arguments", '{"a"'), added_event(0, **CALL)]
        events += [delta("function_call_arguments", ":1}"), done_event(0, **CALL)]
        run = StreamRun("responses", [*events, completed_event(CALL)])
        calls = [call for chunk in run.chunks for call in chunk.tool_calls]
        assert [(call.index, call.id, call.name, call.arguments) for call in calls] == [
            (0, "c1", "f", '{"a"'),
            (0, None, None, ":1}"),
        ]
        assert run.answer.tool_calls[0].function.arguments == '{"a":1}'

    def test_events_after_the_end_are_not_read(self) -> None:
        assert (
            StreamRun(
                "responses", [completed_event(message_item("a")), delta("output_text", "b")]
            ).answer.text
            == "a"
        )


class TestWholeResponses:
    @pytest.mark.parametrize("raw", [{}, [], {"output": None}, {"output": [1]}])
    def test_a_body_without_output_is_refused(self, raw: Any) -> None:
        with pytest.raises(InvalidResponseError, match="no output"):
            wire_named("responses").decode(raw, {})

    @pytest.mark.parametrize(
        "item",
        [
            {"type": "message", "content": ["x"]},
            {"type": "message", "content": "x"},
            {"type": "message", "content": [{"type": "output_text", "text": 5}]},
            {"type": "reasoning", "summary": ["x"]},
            {"type": "reasoning", "content": 5},
        ],
    )
    def test_an_item_with_odd_content_is_refused(self, item: Json) -> None:
        with pytest.raises(InvalidResponseError, match="an item with invalid"):
            wire_named("responses").decode({"output": [item]}, {})

    def test_an_item_without_content_is_read(self) -> None:
        item = {"type": "message", "content": None}
        assert wire_named("responses").decode({"output": [item]}, {}).text == ""

    def test_a_cancelled_response_is_an_error(self) -> None:
        raw = {"status": "cancelled", "output": []}
        with pytest.raises(BadRequestError, match="'cancelled'"):
            wire_named("responses").decode(raw, {})

    def test_a_failed_response_is_its_error(self) -> None:
        error = {"code": "server_error", "message": "oops"}
        with pytest.raises(ServerError, match="oops"):
            wire_named("responses").decode({"status": "failed", "output": [], "error": error}, {})


def start(**more: Any) -> Json:
    return {
        "type": "message_start",
        "message": {"id": "msg_1", "model": "m", "content": [], **more},
    }


def block(at: int | None, **fields: Any) -> Json:
    return {"type": "content_block_start", "index": at, "content_block": fields}


def piece(kind: str, at: int = 0, **fields: Any) -> Json:
    return {"type": "content_block_delta", "index": at, "delta": {"type": kind, **fields}}


def end(reason: str | None = "end_turn", **more: Any) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {}}


STOP = {"type": "message_stop"}
TEXT = block(0, type="text", text="")


class TestMessages:
    def test_two_events_on_one_line_are_two_events(self) -> None:
        one, two = piece("text_delta", text="hel"), piece("text_delta", text="lo {")
        lines = [start(), TEXT]
        for glue in ("", " ", "data: "):
            glued = f"data: {json.dumps(one)}{glue}{json.dumps(two)}\n\n".encode()
            run = StreamRun("messages", sse(*lines) + glued + sse(end(), STOP))
            assert run.answer.text == "hello {"

    def test_half_an_event_is_an_error(self) -> None:
        run = StreamRun("messages", sse(start()) + b'data: {"type": "ping"}{"type"\n\n')
        assert isinstance(run.error, InvalidResponseError)

    def test_padded_lines_and_unknown_events_are_accepted(self) -> None:
        padded = b'data: {"type": "ping"    }   \n\n'
        new = {"type": "content_block_annotated", "index": 0}
        unknown = piece("new_delta", new="x")
        run = StreamRun("messages", sse(start()) + padded + sse(TEXT, new, unknown, end(), STOP))
        assert [chunk.raw["type"] for chunk in run.chunks] == [
            "message_start",
            "content_block_start",
            "content_block_annotated",
            "content_block_delta",
            "message_delta",
        ]

    def test_a_gateway_may_end_the_stream_in_its_own_way(self) -> None:
        run = StreamRun("messages", sse(start(), TEXT, end()) + b"data: [DONE]\n\n")
        assert run.answer.finish_reason == "stop"

    def test_a_gateway_does_not_complete_what_is_cut(self) -> None:
        events = sse(start(), TEXT, piece("text_delta", text="hal"))
        run = StreamRun("messages", events + b"data: [DONE]\n\n")
        assert isinstance(run.error, StreamInterruptedError)
        assert run.error.partial is not None
        assert run.error.partial.text == "hal"

    def test_a_stream_that_names_its_reason_is_whole(self) -> None:
        assert (
            StreamRun("messages", [start(), TEXT, end("max_tokens")]).answer.finish_reason
            == "length"
        )

    def test_a_stream_without_its_end_is_interrupted(self) -> None:
        events = [start(), TEXT, piece("text_delta", text="hel")]
        events += [block(1, type="tool_use", id="t1", name="f", input={})]
        events += [piece("input_json_delta", 1, partial_json='{"a')]
        run = StreamRun("messages", events)
        assert isinstance(run.error, StreamInterruptedError)
        partial = run.error.partial
        assert partial is not None
        assert partial.text == "hel"
        assert partial.tool_calls[0].function.arguments == '{"a'
        assert partial.choices[0].message.state is None

    def test_a_message_that_starts_again_replaces_what_came(self) -> None:
        events = [start(), TEXT, piece("text_delta", text="a"), start(), TEXT, end(), STOP]
        run = StreamRun("messages", events)
        assert run.reader.completion().text == ""

    def test_content_in_the_start_of_a_block_counts(self) -> None:
        run = StreamRun(
            "messages",
            [
                start(),
                block(None, type="thinking", thinking="why", signature="s"),
                block(None, type="text", text="hello"),
                block(None, type="tool_use", id="t1", name="f", input={"a": 1}),
                end("tool_use"),
                STOP,
            ],
        )
        assert (run.answer.text, run.answer.reasoning) == ("hello", "why")
        assert run.answer.tool_calls[0].function.arguments == '{"a":1}'
        assert [call.arguments for chunk in run.chunks for call in chunk.tool_calls] == ['{"a":1}']
        assert run.answer.choices[0].message.state["items"][0] == {
            "type": "thinking",
            "thinking": "why",
            "signature": "s",
        }

    def test_thinking_is_separate_and_an_empty_block_is_kept(self) -> None:
        events = [start()]
        for at, text in enumerate(["", "one", "two"]):
            events += [block(at, type="thinking", thinking="", signature="")]
            events += [piece("thinking_delta", at, thinking=text)]
            events += [piece("signature_delta", at, signature=f"s{at}")]
        run = StreamRun("messages", [*events, end(), STOP])
        assert run.answer.reasoning == "one\n\ntwo"
        items = run.answer.choices[0].message.state["items"]
        assert [item["signature"] for item in items] == ["s0", "s1", "s2"]

    def test_a_service_side_call_is_kept_and_is_not_one_of_ours(self) -> None:
        events = [
            start(),
            block(0, type="server_tool_use", id="s1", name="web_search", input={}),
            piece("input_json_delta", partial_json='{"q": 1}'),
            block(1, type="web_search_tool_result", tool_use_id="s1", content=[]),
            block(2, type="text", text=""),
            piece("citations_delta", 2, citation={"url": "u"}),
            piece("text_delta", 2, text="a"),
            end("pause_turn"),
            STOP,
        ]
        run = StreamRun("messages", events)
        assert run.answer.tool_calls == ()
        assert run.answer.finish_reason == "pause_turn"
        items = run.answer.choices[0].message.state["items"]
        assert items[0]["input"] == {"q": 1}
        assert items[2] == {"type": "text", "text": "a", "citations": [{"url": "u"}]}

    def test_a_call_that_was_cut_short_has_no_input_to_go_back(self) -> None:
        events = [start(), block(0, type="tool_use", id="t1", name="f", input={})]
        events += [piece("input_json_delta", partial_json='{"a'), end("max_tokens"), STOP]
        run = StreamRun("messages", events)
        assert run.answer.tool_calls[0].function.arguments == '{"a'
        assert run.answer.choices[0].message.state["items"][0]["input"] == {}

    def test_a_refusal_discards_earlier_text(self) -> None:
        run = StreamRun(
            "messages", [start(), TEXT, piece("text_delta", text="a"), end("refusal"), STOP]
        )
        message = run.reader.completion().choices[0].message
        assert (message.content, message.state) == (None, None)
        assert message.refusal == "The model refused to answer."

    def test_the_last_token_counts_win(self) -> None:
        usage = {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1}
        last = {**end(), "usage": {"output_tokens": 9, "cache_creation_input_tokens": 2}}
        run = StreamRun("messages", [start(usage=usage), last, STOP])
        assert run.answer.usage.prompt_tokens == 10
        assert run.answer.usage.cached_tokens == 5
        assert run.answer.usage.cache_write_tokens == 2
        assert (run.answer.usage + run.answer.usage).cache_write_tokens == 4
        assert run.answer.usage.completion_tokens == 9

    def test_an_error_event_is_raised_by_its_type(self) -> None:
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
        run = StreamRun("messages", [start(), TEXT, piece("text_delta", text="a"), error])
        assert isinstance(run.error, RateLimitError)
        assert run.error.partial is not None
        assert run.error.partial.text == "a"

    def test_one_json_body_in_place_of_a_stream_is_an_answer(self) -> None:
        raw = start(content=[{"type": "text", "text": "hello"}], stop_reason="end_turn")["message"]
        assert StreamRun("messages", json.dumps(raw).encode()).answer.text == "hello"

    def test_an_empty_stream_is_an_error(self) -> None:
        assert isinstance(StreamRun("messages", b"").error, InvalidResponseError)

    @pytest.mark.parametrize(
        "event",
        [
            [],
            {"type": "message_start"},
            {"type": "content_block_start"},
            piece("text_delta", 5, text="a"),
            piece("text_delta", text=5),
        ],
    )
    def test_a_malformed_event_is_an_error(self, event: Any) -> None:
        assert isinstance(StreamRun("messages", [start(), TEXT, event]).error, InvalidResponseError)

    @pytest.mark.parametrize("raw", [{}, [], {"content": [1]}])
    def test_a_body_without_content_is_refused(self, raw: Any) -> None:
        with pytest.raises(InvalidResponseError, match="no content"):
            wire_named("messages").decode(raw, {})

    @pytest.mark.parametrize(
        "block",
        [
            {"type": "text", "text": 5},
            {"type": "thinking", "thinking": []},
            {"type": "tool_use", "name": "f", "input": [1]},
        ],
    )
    def test_a_block_with_odd_content_is_refused(self, block: Json) -> None:
        with pytest.raises(InvalidResponseError, match="a block with invalid"):
            wire_named("messages").decode({"content": [block]}, {})

    def test_usage_that_is_not_an_object_is_ignored(self) -> None:
        run = StreamRun("messages", [start(), TEXT, end(usage=5), STOP])
        assert run.answer.finish_reason == "stop"

    def test_deep_arguments_do_not_break_the_answer(self) -> None:
        text = '{"a":' + "[" * 100_000
        events = [start(), block(0, type="tool_use", id="t1", name="f", input={})]
        events += [piece("input_json_delta", partial_json=text), end("max_tokens"), STOP]
        run = StreamRun("messages", events)
        assert run.answer.tool_calls[0].function.arguments == text

    def test_a_call_without_a_name_is_refused(self) -> None:
        with pytest.raises(InvalidResponseError, match="without a name"):
            wire_named("messages").decode({"content": [{"type": "tool_use"}]}, {})


@pytest.mark.parametrize("wire", ["responses", "messages"])
def test_deep_json_is_an_error_of_the_service(wire: str) -> None:
    run = StreamRun(wire, b"data: " + b"[" * 200_000 + b"\n\n")
    assert isinstance(run.error, InvalidResponseError)
