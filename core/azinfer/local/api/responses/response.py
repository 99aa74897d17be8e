"""Responses of the Responses API: the whole object, or named events that build it.

Source: "Create a model response" of the Azure OpenAI REST API, `OpenAI.ResponseStreamEvent`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azinfer.local.api.chat.response import GeneratedChoice, event, reasoning_tokens, usage
from azinfer.local.engines.base import EngineError
from azinfer.local.wire.body import Json

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FAILURES = {429: "rate_limit_exceeded"}


class ResponsesWriter:
    """Writes one response, as one body or as events.

    Args:
        head: The fields that it has from the beginning: its id and the request's own fields.
        keep: Called with the whole response at the end.
        padded: Whether parts of a stream are padded to hide their length.
        prompt_results: The filter's results for the prompt.
    """

    def __init__(
        self,
        head: Json,
        keep: Callable[[Json], None],
        padded: bool,
        prompt_results: Json | None = None,
    ) -> None:
        self._head = head
        self._keep = keep
        self._padded = padded
        self._prompt_results = prompt_results or {}
        self._numbers = 0
        self._output: list[Json] = []

    def whole(self, choices: Sequence[GeneratedChoice]) -> Json:
        """Return the whole body."""
        for call in choices[0].tool_calls:
            self._output.append(self._call(call))
        if not self._output:
            self._output.append(self._message(choices[0].text))
        return self._finish(choices[0])

    def first(self) -> bytes:
        """Return the events of the beginning."""
        begun = self._response("in_progress")
        return self._event("created", response=begun) + self._event("in_progress", response=begun)

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
        if text := delta.get("content"):
            events += self._add_text(text)
        for call in delta.get("tool_calls") or ():
            events += self._add_call(call)
        if finish_reason is not None and not self._output:
            events += self._add_text("")
        return events

    def last(self, choices: Sequence[GeneratedChoice]) -> bytes:
        """Return the events of the end."""
        done = self._finish_item(
            "incomplete" if choices[0].finish_reason in _INCOMPLETE else "completed"
        )
        response = self._finish(choices[0])
        return done + self._event(response["status"], response=response)

    def failed(self, error: EngineError) -> bytes:
        """Return the events that end it early; clients raise at the first, which is nested."""
        failure = {"code": _FAILURES.get(error.status, "server_error"), "message": str(error)}
        if self._output and self._output[-1]["status"] == "in_progress":
            self._output[-1]["status"] = "incomplete"
        response = {**self._response("failed"), "error": failure}
        self._keep(response)
        nested = {"type": failure["code"], "param": None, **failure}
        head = {"type": "error", "sequence_number": self._numbers, "error": nested}
        self._numbers += 1
        events = b"event: error\n" + event(head)
        return events + self._event("failed", response=response)

    def _add_text(self, text: str) -> bytes:
        events = b""
        if not self._output:
            item = self._message("")
            self._output.append(item)
            begun = {**item, "status": "in_progress", "content": []}
            events += self._event("output_item.added", output_index=0, item=begun)
            events += self._event("content_part.added", part=_part(""), **self._place())
        part = self._output[-1]["content"][0]
        part["text"] += text
        if text:
            place = self._place()
            delta = {"delta": text, "logprobs": [], **self._padding(text), **place}
            events += self._event("output_text.delta", **delta)
        return events

    def _add_call(self, call: Json) -> bytes:
        if "id" in call:
            done = self._finish_item("completed")
            item = self._call(call)
            self._output.append(item)
            begun = {**item, "status": "in_progress"}
            at = len(self._output) - 1
            return done + self._event("output_item.added", output_index=at, item=begun)
        item, text = self._output[-1], call["function"]["arguments"]
        item["arguments"] += text
        place = {"item_id": item["id"], "output_index": len(self._output) - 1}
        delta = {"delta": text, **self._padding(text), **place}
        return self._event("function_call_arguments.delta", **delta)

    def _finish_item(self, status: str) -> bytes:
        """Return the events that end the newest item."""
        if not self._output:
            return b""
        item, at = self._output[-1], len(self._output) - 1
        events = b""
        if item["type"] == "message":
            item["status"] = status
            part, place = item["content"][0], self._place()
            text = {"text": part["text"], "logprobs": []}
            events += self._event("output_text.done", **text, **place)
            events += self._event("content_part.done", part=part, **place)
        else:
            arguments = {
                "item_id": item["id"],
                "name": item["name"],
                "arguments": item["arguments"],
            }
            events += self._event("function_call_arguments.done", output_index=at, **arguments)
        return events + self._event("output_item.done", output_index=at, item=item)

    def _padding(self, text: str) -> Json:
        return {"obfuscation": "x" * (-len(text) % 16)} if self._padded else {}

    def _place(self) -> Json:
        at = len(self._output) - 1
        return {"item_id": self._output[at]["id"], "output_index": at, "content_index": 0}

    def _message(self, text: str) -> Json:
        item_id = f"msg_{self._head['id'].removeprefix('resp_')}"
        head = {"id": item_id, "type": "message", "status": "completed", "role": "assistant"}
        return {**head, "content": [_part(text)]}

    def _call(self, call: Json) -> Json:
        item_id = f"fc_{self._head['id'].removeprefix('resp_')}_{len(self._output)}"
        function = {"call_id": call["id"], **call["function"]}
        return {"id": item_id, "type": "function_call", "status": "completed", **function}

    def _finish(self, written: GeneratedChoice) -> Json:
        """Return the whole response after storing it."""
        reason = _INCOMPLETE.get(written.finish_reason)
        response = self._response("incomplete" if reason else "completed")
        response["incomplete_details"] = {"reason": reason} if reason else None
        if reason and self._output[-1]["type"] == "message":
            self._output[-1]["status"] = "incomplete"
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
        payload = {"type": f"response.{kind}", "sequence_number": self._numbers, **fields}
        self._numbers += 1
        return f"event: response.{kind}\n".encode() + event(payload)


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(written: GeneratedChoice) -> Json:
    counts = usage([written])
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens(written)},
        "total_tokens": counts["total_tokens"],
    }
