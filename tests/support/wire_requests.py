"""What a recorded request asks for, in the fields of chat completions whatever its wire is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from azinfer.local import LocalEndpoint, LogEntry
from client_driver import WIRES

# Sent on every request of a wire, whatever the caller asks.
_ALWAYS = frozenset({"input", "instructions", "include", "store", "system", "messages"})
# A question whose answer goes on after the 16 tokens that Responses take for a limit at least.
MANY_WORDS = "one two three four five six seven eight nine ten eleven twelve"
CUT_ANSWER = "This is a synthetic answer to: one two three four five six seven eight nine"
_LIMITS = (16_384, 32_768)  # where the Messages wire needs a limit and the caller has none


def wire_of(address: str) -> str:
    """Return the wire that an address of tests names."""
    return next((wire for wire, path in WIRES.items() if path == address), "chat")


def chat_body(request: LogEntry | LocalEndpoint) -> Any:
    """Return the body of a request, or of an endpoint's last one, as on chat completions."""
    if isinstance(request, LocalEndpoint):
        request = request.requests[-1]
    readers = {"responses": _of_responses, "messages": _of_messages}
    read = readers.get(request.path.rpartition("/")[2])
    return read(request.body) if read else request.body


def _of_responses(body: Any) -> Any:
    names = {"max_output_tokens": "max_tokens"}
    result = {names.get(key, key): value for key, value in body.items() if key not in _ALWAYS}
    result["messages"] = list(_messages_of(body["input"]))
    text = result.pop("text", {})
    if wanted := text.get("format"):
        schema = {key: value for key, value in wanted.items() if key != "type"}
        more = {"json_schema": schema} if schema else {}
        result["response_format"] = {"type": wanted["type"], **more}
    if tools := result.get("tools"):
        result["tools"] = [_nested(tool) for tool in tools]
    if isinstance(choice := result.get("tool_choice"), dict):
        result["tool_choice"] = _nested(choice)
    return result


def _nested(tool: Any) -> Any:
    function = {key: value for key, value in tool.items() if key != "type" and value is not False}
    return {"type": tool["type"], "function": function}


def _messages_of(items: list[Any]) -> Iterator[Any]:
    answer: Any = None  # the text and the calls of one answer are items of their own
    for item in items:
        if item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            answer = answer or {"role": "assistant", "content": None}
            answer["tool_calls"] = [*answer.get("tool_calls", ()), call]
            continue
        if answer is not None:
            yield answer
            answer = None
        if item["type"] == "function_call_output":
            yield {"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]}
        elif item.get("role") == "assistant":
            text = "".join(part["text"] for part in item["content"])
            answer = {"role": "assistant", "content": text}
        elif item["type"] == "message":
            yield {"role": item["role"], "content": _content(item["content"])}
    if answer is not None:
        yield answer


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Any) -> Any:
    if part["type"] in ("input_text", "text"):
        return {"type": "text", "text": part["text"]}
    if part["type"] == "input_image":
        url = {"url": part["image_url"], "detail": part["detail"]}
        return {"type": "image_url", "image_url": url}
    if part["type"] == "image":
        source = part["source"]
        data = f"data:{source.get('media_type')};base64,{source.get('data')}"
        return {"type": "image_url", "image_url": {"url": source.get("url", data)}}
    return part


def _of_messages(body: Any) -> Any:
    names = {"stop_sequences": "stop"}
    result = {names.get(key, key): value for key, value in body.items() if key not in _ALWAYS}
    if result["max_tokens"] in _LIMITS:
        del result["max_tokens"]
    system = [{"role": "system", "content": body["system"]}] if "system" in body else []
    turns = [message for turn in body["messages"] for message in _messages_of_turn(turn)]
    result["messages"] = [*system, *turns]
    if wanted := result.pop("output_config", {}).get("format"):
        schema = {key: value for key, value in wanted.items() if key != "type"}
        result["response_format"] = {"type": wanted["type"], "json_schema": schema}
    if tools := result.get("tools"):
        result["tools"] = [_tool(**tool) for tool in tools]
    if choice := result.get("tool_choice"):
        mode = {"any": "required"}.get(choice["type"], choice["type"])
        function = {"type": "function", "function": {"name": choice.get("name")}}
        result["tool_choice"] = function if mode == "tool" else mode
    return result


def _tool(*, input_schema: Any, **known: Any) -> Any:
    return {"type": "function", "function": {**known, "parameters": input_schema}}


def _messages_of_turn(turn: Any) -> Iterator[Any]:
    content = turn["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    calls, rest = [], []
    for block in blocks:
        if block["type"] == "tool_result":
            call_id = block["tool_use_id"]
            yield {"role": "tool", "tool_call_id": call_id, "content": block["content"]}
        elif block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            calls.append({"id": block["id"], "type": "function", "function": function})
        elif block["type"] != "thinking":
            rest.append(_part(block))
    only_text = isinstance(content, str) or turn["role"] == "assistant"
    inner: Any = "".join(part["text"] for part in rest) if only_text else rest
    if inner or calls:
        more = {"tool_calls": calls} if calls else {}
        yield {"role": turn["role"], "content": inner or None, **more}
