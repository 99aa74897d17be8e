"""Responses of the Responses API: the whole object, or named events that build it.

Source: "Create a model response" of the Azure OpenAI REST API, `OpenAI.ResponseStreamEvent`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azinfer.local.api.chat.logprobs import tokens_in, without_bytes
from azinfer.local.api.chat.response import GeneratedChoice, event, reasoning_tokens, usage
from azinfer.local.api.responses.tools import custom_input, service_item
from azinfer.local.engines.base import EngineError
from azinfer.local.resource.storage.response_store import ResponseEvents
from azinfer.local.wire.body import Json

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ARGUMENTS = {"function_call": "arguments", "custom_tool_call": "input"}
_FAILURES = {429: "rate_limit_exceeded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How a response is written.

    Attributes:
        is_padded: Whether parts of a stream are padded to hide how long they are.
        has_summary: Whether reasoning items show what was thought.
        encrypt: Returns reasoning encrypted; None if it was not requested.
        in_background: Whether the response is written in the background.
        custom: The names of free-form tools.
    """

    is_padded: bool = True
    has_summary: bool = False
    encrypt: Callable[[str], str] | None = None
    in_background: bool = False
    custom: frozenset[str] = frozenset()


class ResponsesWriter:
    """Writes one response, as one body or as events.

    Args:
        head: The fields that it has from the beginning: its id and the request's own fields.
        keep: Called with the whole response at the end.
        options: How it is written.
        events: Stores the events of a stream.
        prompt_results: The filter's results for the prompt.
    """

    def __init__(
        self,
        head: Json,
        keep: Callable[[Json], None],
        options: WriterOptions,
        events: ResponseEvents | None = None,
        *,
        prompt_results: Json,
    ) -> None:
        self._head = head
        self._keep = keep
        self._options = options
        self._events = events
        self._prompt_results = prompt_results
        self._numbers = 0
        self._output: list[Json] = []
        self._thoughts: dict[str, str] = {}
        # Log probabilities that wait for their text.
        self._tokens: list[Json] = []

    def whole(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the whole response."""
        written = choices[0]
        if written.reasoning:
            item = self._reasoning()
            self._thoughts[item["id"]] = written.reasoning
            self._output.append(self._whole_reasoning(item))
        for each in written.service_items:
            self._output.append(service_item(each, self._next_id()))
        if written.text or not written.tool_calls:
            tokens = [] if written.tool_calls else tokens_in(written.more)
            self._output.append(self._message(written.text, tokens))
        for call in written.tool_calls:
            self._output.append(self._call(call))
        return self._finish(written)

    def first(self) -> bytes:
        """Return the events of the beginning."""
        events = b""
        if self._options.in_background:
            queued = self._response("queued")
            events = self._event("created", response=queued)
            events += self._event("queued", response=queued)
        begun = self._response("in_progress")
        if self._options.in_background:
            self._keep(begun)
        else:
            events = self._event("created", response=begun)
        return events + self._event("in_progress", response=begun)

    def chunk(
        self,
        index: int,
        delta: Json,
        finish_reason: str | None = None,
        filter_results: Json | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the events that add a part; empty if it adds nothing."""
        events = b""
        if not delta.get("tool_calls"):
            self._tokens += tokens_in(more)
        if thought := delta.get("reasoning_content"):
            events += self._add_reasoning(thought)
        for each in delta.get("service_items") or ():
            events += self._add_service_item(service_item(each, self._next_id()))
        if text := delta.get("content"):
            events += self._add_text(text)
        for call in delta.get("tool_calls") or ():
            events += self._add_call(call)
        if finish_reason is not None and self._newest() in (None, "reasoning"):
            events += self._add_text("")
        return events

    def last(self, choices: Sequence[GeneratedChoice]) -> bytes:
        """Return the events of the end."""
        done = self._finish_item(
            "incomplete" if choices[0].finish_reason in _INCOMPLETE else "completed"
        )
        response = self._finish(choices[0])
        if choices[0].finish_reason == "content_filter":
            events = done + self._filter_events(response)
        else:
            events = done + self._event(response["status"], response=response)
        self._end_events()
        return events

    def _filter_events(self, response: Json) -> bytes:
        """Return the events of an answer that the filter ends: the reason comes after the end."""
        failed = {**response, "status": "failed", "error": None, "incomplete_details": None}
        self._keep(failed)
        message = "The response was filtered due to Azure OpenAI's content management policy."
        error = {"type": "invalid_request_error", "code": "content_policy_violation"}
        events = self._event("failed", response=failed)
        return events + self._send("error", error={**error, "message": message, "param": None})

    def error_events(self, error: EngineError) -> bytes:
        """Return the events that end it early; clients raise at the first, which is nested."""
        failure = {"code": _FAILURES.get(error.status, "server_error"), "message": str(error)}
        if self._output and self._output[-1]["status"] == "in_progress":
            self._output[-1]["status"] = "incomplete"
        response = {**self._response("failed"), "error": failure}
        self._keep(response)
        nested = {"type": failure["code"], "param": None, **failure}
        events = self._send("error", error=nested)
        events += self._event("failed", response=response)
        self._end_events()
        return events

    def _end_events(self) -> None:
        if self._events is not None:
            self._events.end()

    def _newest(self) -> str | None:
        """Return the type of the newest item."""
        return self._output[-1]["type"] if self._output else None

    def _begin(self, item: Json, begun: Json) -> bytes:
        """Return the events that end the newest item and begin another."""
        events = self._finish_item("completed")
        item["status"] = "in_progress"
        self._output.append(item)
        at = len(self._output) - 1
        return events + self._event(
            "output_item.added", output_index=at, item={**begun, "status": "in_progress"}
        )

    def _add_reasoning(self, text: str) -> bytes:
        events = b""
        if self._newest() != "reasoning":
            item = self._reasoning()
            begun = dict(item)
            if self._options.encrypt is not None:
                begun["encrypted_content"] = self._options.encrypt("")[:40]
            events += self._begin(item, begun)
            if self._options.has_summary:
                part = {"type": "summary_text", "text": ""}
                events += self._event("reasoning_summary_part.added", part=part, **self._summary())
        item = self._output[-1]
        self._thoughts[item["id"]] = self._thoughts.get(item["id"], "") + text
        if self._options.has_summary:
            fields = {"delta": text, **self._padding(text), **self._summary()}
            events += self._event("reasoning_summary_text.delta", **fields)
        return events

    def _add_text(self, text: str) -> bytes:
        events = b""
        if self._newest() != "message":
            item = self._message("")
            events += self._begin(item, {**item, "content": []})
            events += self._event("content_part.added", part=_part(""), **self._place())
        part = self._output[-1]["content"][0]
        part["text"] += text
        if text:
            place = self._place()
            tokens, self._tokens = self._tokens, []
            part["logprobs"] += tokens
            fields = {"delta": text, "logprobs": without_bytes(tokens)}
            fields |= {**self._padding(text), **place}
            events += self._event("output_text.delta", **fields)
        return events

    def _add_service_item(self, item: Json) -> bytes:
        """Return the events of a service-side tool's work, which is done at once."""
        events = self._begin(dict(item), item)
        self._output[-1] |= item
        place = {"item_id": item["id"], "output_index": len(self._output) - 1}
        for stage in ("in_progress", "completed"):
            events += self._event(f"{item['type']}.{stage}", **place)
        return events

    def _add_call(self, call: Json) -> bytes:
        if "id" in call:
            item = self._call(call)
            field = _ARGUMENTS[item["type"]]
            events = self._begin(item, {**item, field: ""})
            item[field] = ""
            text = call["function"]["arguments"]
            return events + (self._argument(text) if text else b"")
        return self._argument(call["function"]["arguments"])

    def _argument(self, text: str) -> bytes:
        item = self._output[-1]
        item[_ARGUMENTS[item["type"]]] += text
        if item["type"] == "custom_tool_call":
            return b""  # its input is one text of the JSON that comes in parts
        place = {"item_id": item["id"], "output_index": len(self._output) - 1}
        fields = {"delta": text, **self._padding(text), **place}
        return self._event("function_call_arguments.delta", **fields)

    def _finish_item(self, status: str) -> bytes:
        """Return the events that end the newest item."""
        if not self._output:
            return b""
        item, at = self._output[-1], len(self._output) - 1
        item["status"] = status
        events = b""
        if item["type"] == "message":
            part, place = item["content"][0], self._place()
            text = {"text": part["text"], "logprobs": without_bytes(part["logprobs"])}
            events += self._event("output_text.done", **text, **place)
            events += self._event("content_part.done", part=part, **place)
        elif item["type"] == "reasoning":
            item = self._output[at] = self._whole_reasoning(item)
            for part in item["summary"]:
                place = self._summary()
                events += self._event("reasoning_summary_text.done", text=part["text"], **place)
                events += self._event("reasoning_summary_part.done", part=part, **place)
        elif item["type"] == "custom_tool_call":
            item["input"] = custom_input(item["input"])
            place = {"item_id": item["id"], "output_index": at}
            events += self._event("custom_tool_call_input.delta", delta=item["input"], **place)
            events += self._event("custom_tool_call_input.done", input=item["input"], **place)
        elif item["type"] == "function_call":
            fields = {"item_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
            events += self._event("function_call_arguments.done", output_index=at, **fields)
        return events + self._event("output_item.done", output_index=at, item=item)

    def _reasoning(self) -> Json:
        return {
            "id": f"rs_{self._next_id()}",
            "type": "reasoning",
            "status": "completed",
            "summary": [],
        }

    def _whole_reasoning(self, item: Json) -> Json:
        """Return a whole reasoning item; its ciphertext differs each time."""
        text = self._thoughts[item["id"]]
        item = dict(item)
        if self._options.has_summary:
            item["summary"] = [{"type": "summary_text", "text": text}]
        if self._options.encrypt is not None:
            item["encrypted_content"] = self._options.encrypt(text)
        return item

    def _summary(self) -> Json:
        at = len(self._output) - 1
        return {"item_id": self._output[at]["id"], "output_index": at, "summary_index": 0}

    def _padding(self, text: str) -> Json:
        return {"obfuscation": "x" * (-len(text) % 16)} if self._options.is_padded else {}

    def _place(self) -> Json:
        at = len(self._output) - 1
        return {"item_id": self._output[at]["id"], "output_index": at, "content_index": 0}

    def _message(self, text: str, tokens: Sequence[Json] = ()) -> Json:
        number = f"_{len(self._output)}" if self._output else ""
        item_id = f"msg_{self._head['id'].removeprefix('resp_')}{number}"
        head = {"id": item_id, "type": "message", "status": "completed", "role": "assistant"}
        return {**head, "content": [_part(text, tokens)]}

    def _call(self, call: Json) -> Json:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        fields = {"status": "completed", "call_id": call["id"], "name": name}
        if name in self._options.custom:
            item = {"id": f"ctc_{self._next_id()}", "type": "custom_tool_call", **fields}
            return {**item, "input": custom_input(arguments)}
        item = {"id": f"fc_{self._next_id()}", "type": "function_call", **fields}
        return {**item, "arguments": arguments}

    def _next_id(self) -> str:
        return f"{self._head['id'].removeprefix('resp_')}_{len(self._output)}"

    def _finish(self, written: GeneratedChoice) -> Json:
        """Return the whole response after storing it."""
        reason = _INCOMPLETE.get(written.finish_reason)
        response = self._response("incomplete" if reason else "completed")
        response["incomplete_details"] = {"reason": reason} if reason else None
        if reason:
            self._output[-1]["status"] = "incomplete"
        response["output"] = [
            self._whole_reasoning(item) if item["type"] == "reasoning" else item
            for item in self._output
        ]
        response["content_filters"] = self._filters(written)
        response["usage"] = _usage(written)
        response["completed_at"] = None if reason else int(time.time())
        self._keep(response)
        return response

    def _response(self, status: str) -> Json:
        return {**self._head, "status": status, "output": list(self._output)}

    def _filters(self, written: GeneratedChoice) -> list[Json] | None:
        sources = (("prompt", self._prompt_results), ("completion", written.filter_results))
        entries = [
            {
                "blocked": any(each["filtered"] for each in results.values()),
                "source_type": source,
                "content_filter_raw": [],
                "content_filter_results": results,
                "content_filter_offsets": {
                    "start_offset": 0,
                    "end_offset": len(written.text) if source == "completion" else 0,
                    "check_offset": 0,
                },
            }
            for source, results in sources
            if results
        ]
        return entries or None

    def _event(self, kind: str, **fields: Any) -> bytes:
        return self._send(f"response.{kind}", **fields)

    def _send(self, kind: str, **fields: Any) -> bytes:
        payload = {"type": kind, "sequence_number": self._numbers, **fields}
        self._numbers += 1
        sent = f"event: {kind}\n".encode() + event(payload)
        if self._events is not None:
            self._events.add(sent)
        return sent


def _part(text: str, tokens: Sequence[Json] = ()) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(tokens)}


def _usage(written: GeneratedChoice) -> Json:
    counts = usage([written])
    details = counts.get("prompt_tokens_details") or {}
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": details.get("cached_tokens") or 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens(written)},
        "total_tokens": counts["total_tokens"],
    }
