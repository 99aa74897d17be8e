"""Answers of the two newer wires with state for the next request."""

from __future__ import annotations

from typing import Any

from raw_server import events, stream

REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a": 1}',
}
RESPONSE = {"id": "r", "status": "completed", "output": [REASONING, CALL]}
BLOCKS = [
    {"type": "thinking", "thinking": "", "signature": "signed"},
    {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
]
MESSAGE = {"id": "m", "content": BLOCKS, "stop_reason": "tool_use"}
ANSWERS = {"responses": RESPONSE, "messages": MESSAGE}


def stream_of(wire: str) -> Any:
    """The answer of a wire, in events."""
    if wire == "responses":
        items = [
            {"type": "response.output_item.done", "output_index": at, "item": item}
            for at, item in enumerate(RESPONSE["output"])
        ]
        ends = {"type": "response.completed", "response": RESPONSE}
        return stream(events(*items, ends, done=False))
    starts: list[Any] = [{"type": "message_start", "message": {"id": "m", "content": []}}]
    starts += [
        {"type": "content_block_start", "index": at, "content_block": block}
        for at, block in enumerate(BLOCKS)
    ]
    delta = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
    return stream(events(*starts, delta, {"type": "message_stop"}, done=False))


def items_after_question(wire: str, result: str, is_error: bool = False) -> list[Any]:
    """Return what follows the question in the request after the answer and a tool's result."""
    if wire == "responses":
        return [
            {"type": "reasoning", "summary": [], "encrypted_content": "secret"},
            {key: value for key, value in CALL.items() if key != "id"},
            {"type": "function_call_output", "call_id": "c1", "output": result},
        ]
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": "c1", "content": result}
    block |= {"is_error": True} if is_error else {}
    return [{"role": "assistant", "content": BLOCKS}, {"role": "user", "content": [block]}]
