"""Answers of the raw server that call one tool or refuse, whole or streamed as a client wants."""

from __future__ import annotations

from typing import Any

from raw_server import Behaviour, RawServer, ReceivedRequest, chat, events, part, reply, stream

# What a model writes as the arguments of a tool without parameters.
NO_ARGUMENTS: tuple[Any, ...] = (None, "", "null", "[]", [], {}, " null")
REFUSAL = "I won't."


def refuse(server: RawServer) -> None:
    """Refuse every request, in two pieces in a stream."""
    start = part(role="assistant", content="", refusal=None)
    pieces = [start, part(refusal="I "), part(refusal="won't."), part(None, "stop")]
    whole = chat(None, message={"refusal": REFUSAL})
    server.choose = lambda request: (
        stream(events(*pieces)) if request.json.get("stream") else reply(whole)
    )


def answer_with_call(
    server: RawServer, name: str, arguments: Any, finish: str = "tool_calls"
) -> None:
    """Call a tool, and answer "done" once a tool has answered; a stream has two pieces."""

    def choose(request: ReceivedRequest) -> Behaviour:
        is_streamed = request.json.get("stream")
        if request.json["messages"][-1]["role"] == "tool":
            return stream(events(part("done", "stop"))) if is_streamed else reply(chat("done"))
        call = {"index": 0, "id": "c", "type": "function"}
        whole = {**call, "function": {"name": name, "arguments": arguments}}
        if not is_streamed:
            return reply(chat(None, finish, message={"tool_calls": [whole]}))
        half = len(arguments) // 2 if isinstance(arguments, str) else None
        first = {**call, "function": {"name": name, "arguments": arguments and arguments[:half]}}
        rest = {"index": 0, "function": {"arguments": arguments[half:] if half else None}}
        deltas = [part(tool_calls=[first]), part(tool_calls=[rest]), part(None, finish)]
        return stream(events(*deltas))

    server.choose = choose


def count_in_every_chunk(server: RawServer) -> None:
    """Stream one answer whose chunks all have usage; the last counts are 3 and 3."""
    pieces = [
        {**part("a"), "usage": {"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n}}
        for n in (1, 2, 3)
    ]
    server.will(stream(events(*pieces, part(None, "stop"))))
