"""Arguments of tool calls: absent, invalid or cut off."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import Function, StreamInterruptedError
from client_driver import KEY, open_driver
from raw_server import RawServer, chat, events, part, reply, stream


def call(arguments: Any, index: int = 0) -> dict[str, Any]:
    return {"index": index, "id": f"c{index}", "function": {"name": "f", "arguments": arguments}}


def answers(server: RawServer, kind: str, *calls: Any, finish: str = "tool_calls") -> Any:
    """Yield the whole and the streamed answer with these calls, the latter in two pieces each."""
    pieces = []
    for each in calls:
        text = each["function"]["arguments"]
        half = len(text) // 2 if isinstance(text, str) else 0
        begin = call(text[:half] if half else text, each["index"])
        rest = {"index": each["index"], "function": {"arguments": text[half:] if half else None}}
        pieces += [part(tool_calls=[begin]), part(tool_calls=[rest])]
    server.will(
        reply(chat(None, finish, message={"tool_calls": list(calls)})),
        stream(events(*pieces, part(None, finish))),
    )
    with open_driver(kind, f"{server.url}/openai/v1", KEY, "gpt-4.1") as driver:
        yield driver.complete(), None
        read = driver.stream()
        yield read.completion, read.chunks


@pytest.mark.parametrize("arguments", [None, "", "null", " null\n", "[]", "[ ]", "{}", [], {}])
def test_a_call_without_arguments_has_an_empty_object(
    server: RawServer, kind: str, arguments: Any
) -> None:
    for answer, chunks in answers(server, kind, call(arguments)):
        assert answer.tool_calls[0].function.parse_arguments() == {}
        shown = "".join(each.arguments for chunk in chunks or () for each in chunk.tool_calls)
        assert shown in ("", "{}")


@pytest.mark.parametrize("arguments", ['{"a": [1]}', "[1]", "nul", "nonsense", " [", "0"])
def test_other_arguments_stay_as_they_are(server: RawServer, kind: str, arguments: str) -> None:
    for answer, chunks in answers(server, kind, call(arguments)):
        assert answer.tool_calls[0].function.arguments == arguments
        assert answer.choices[0].incomplete_tool_calls == ()
        if chunks:
            shown = [each for chunk in chunks for each in chunk.tool_calls]
            assert "".join(each.arguments for each in shown) == arguments


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ['{"city": "Par', "", "[1]", '{"city"'])
def test_a_call_that_was_cut_off_is_incomplete(
    server: RawServer, kind: str, finish: str, arguments: str
) -> None:
    calls = call('{"city": "Rome"}'), call(arguments, 1)
    for answer, _ in answers(server, kind, *calls, finish=finish):
        (incomplete,) = answer.choices[0].incomplete_tool_calls
        assert incomplete is answer.tool_calls[1]


def test_a_whole_call_is_complete_whatever_ended_the_answer(server: RawServer, kind: str) -> None:
    for answer, _ in answers(server, kind, call("{}"), call('{"a": 1}', 1), finish="length"):
        assert answer.choices[0].incomplete_tool_calls == ()


def test_a_call_in_a_stream_that_broke_off_is_incomplete(server: RawServer, kind: str) -> None:
    whole, cut = call('{"city": "Rome"}'), call('{"city": "Par', 1)
    server.will(stream(events(part(tool_calls=[whole]), part(tool_calls=[cut]), done=False)))
    with (
        open_driver(kind, f"{server.url}/openai/v1", KEY, "gpt-4.1", max_retries=0) as driver,
        pytest.raises(StreamInterruptedError) as caught,
    ):
        driver.stream()
    assert caught.value.partial is not None
    (choice,) = caught.value.partial.choices
    assert choice.incomplete_tool_calls == (choice.message.tool_calls[1],)


def test_arguments_are_parsed_or_the_error_shows_them() -> None:
    assert Function("f", '{"a": "1\n2"}').parse_arguments() == {"a": "1\n2"}
    for text in ("[1]", "{", "[" * 100_000):
        with pytest.raises(ValueError, match="arguments of f are not a JSON object: "):
            Function("f", text).parse_arguments()
