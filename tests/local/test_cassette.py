"""Cassettes: calls to an upstream are recorded, and answered from the recording."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    BadRequestError,
    ConfigurationError,
    InferenceClient,
    InferenceError,
    RateLimitError,
    UserMessage,
)
from azinfer.local import Cassette, LocalDeployment, LocalEndpoint, UpstreamEngine
from azinfer.local.engines.cassette.exchanges import Exchange, key_of
from raw_server import RawServer, chat, chunked_answer, events, part, raw, reply, vectors

SECRET = "upstream-key-51c7"
Serving = Callable[..., InferenceClient]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """The path of a cassette."""
    return tmp_path / "tape.jsonl"


@pytest.fixture
def serve() -> Iterator[Serving]:
    """Serves an upstream through a cassette and gives a client of it."""
    with ExitStack() as stack:

        def make(cassette: Cassette, url: str = "http://127.0.0.1:9/v1") -> InferenceClient:
            engine = UpstreamEngine(url, SECRET, "m", transport=cassette.transport())
            endpoint = stack.enter_context(LocalEndpoint([LocalDeployment("chat", engine=engine)]))
            return stack.enter_context(
                InferenceClient(endpoint.url, endpoint.key, "chat", max_retries=0)
            )

        yield make


def say(text: str) -> list[UserMessage]:
    return [UserMessage(text)]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Ticking:
    """A clock that goes on by a quarter of a second whenever it is looked at."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def test_recorded_responses_are_replayed_without_the_upstream(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(
        reply(chat("first")), reply(chat("second")), reply(vectors([0.6, 0.8])), reply(chat("x"))
    )
    client = serve(Cassette(tape, "record"), f"{server.url}/v1")
    values = [client.complete(say("Hello")).text for _ in range(2)]
    vector = list(client.embed("a").vectors[0])
    server.stop()
    again = serve(Cassette(tape))
    assert [again.complete(say("Hello")).text for _ in range(3)] == [*values, "second"]
    assert list(again.embed("a").vectors[0]) == vector
    assert values == ["first", "second"]


def test_a_stream_is_replayed_at_its_pace_or_at_once(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    data = events(part("one"), part(" two \U0001f600", "stop"))
    server.will(raw(b"".join([HEAD, *(chunk(data[at : at + 40]) for at in range(0, 400, 40))])))
    client = serve(Cassette(tape, "record", clock=Ticking()), f"{server.url}/v1")
    with client.stream(say("Hello")) as chunks:
        whole = "".join(chunk.text for chunk in chunks)
    (values,) = [json.loads(line) for line in tape.read_text().splitlines()]
    lengths = [seconds for seconds, _ in values["parts"]]
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    for pace in (True, False):
        again = serve(Cassette(tape, pace=pace, sleep=sleep))
        with again.stream(say("Hello")) as chunks:
            assert "".join(chunk.text for chunk in chunks) == whole == "one two \U0001f600"
        assert sum(waited) == pytest.approx(lengths[-1])
        assert len(waited) == len(lengths) > 1


def test_errors_and_broken_streams_are_replayed(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(
        reply({"error": {"message": "slow down"}}, 429, {"retry-after": "3"}),
        raw(chunked_answer(events(part("one"), done=False), whole=False)),
    )
    for mode in ("record", "replay"):
        client = serve(Cassette(tape, mode, pace=False), f"{server.url}/v1")
        with pytest.raises(RateLimitError, match="slow down") as caught:
            client.complete(say("a"))
        assert caught.value.retry_after == 3
        with client.stream(say("b")) as chunks, pytest.raises(InferenceError, match="broke off"):
            list(chunks)
    assert len(server.received) == 2


def test_cassettes_have_no_credentials(server: RawServer, tape: Path, serve: Serving) -> None:
    headers = {"set-cookie": f"a={SECRET}", "x-request-id": SECRET}
    server.will(reply({"error": {"message": f"wrong key {SECRET}"}}, 401, headers))
    cassette = Cassette(tape, "record")
    with pytest.raises(InferenceError):
        serve(cassette, f"{server.url}/v1").complete(say(f"a {SECRET}"))
    halves = [(0.1, f"no: {SECRET[:9]}"), (0.2, f"{SECRET[9:]}!")]
    cassette.add(Exchange("embeddings", {"input": "x"}, 200, {}, halves), SECRET)
    result = tape.read_text()
    assert result.count("[credential]") == 4
    assert SECRET not in "".join(result.split('"], [0.2, "'))
    assert SECRET not in result
    assert "authorization" not in result.lower()
    assert Cassette(tape).find("embeddings", {"input": "x"}).parts == [(0.2, "no: [credential]!")]


def test_an_unrecorded_request_names_the_nearest_one(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(reply(chat("x")))
    recording = serve(Cassette(tape, "record"), f"{server.url}/v1")
    recording.complete(say("What is a deployment?"), temperature=0)
    recording.complete(say("Write a poem about the sea, please."))
    client = serve(Cassette(tape))
    message = re.escape(
        "the nearest, in line 1, differs in messages[0].content: recorded "
        '"What is a deployment?", requested "What is a resource?"'
    )
    with pytest.raises(BadRequestError, match=message) as caught:
        client.complete(say("What is a resource?"), temperature=0)
    assert caught.value.code == "not_recorded"
    with pytest.raises(BadRequestError, match=r"temperature: recorded 0, requested 1"):
        client.complete(say("What is a deployment?"), temperature=1)
    with pytest.raises(BadRequestError, match=r"in line .*asks chat/completions"):
        client.embed("a")


def test_irrelevant_differences_are_not_compared(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(reply(chat("x")))
    recording = serve(Cassette(tape, "record"), f"{server.url}/v1")
    recording.complete(say("a"), user="me", temperature=0)
    client = serve(Cassette(tape))
    assert client.complete(say("a"), temperature=0, user="you", metadata={"run": "2"}).text == "x"


def test_vectors_are_replayed_in_any_encoding(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(reply(vectors([0.5, 2.0])))
    serve(Cassette(tape, "record"), f"{server.url}/v1").embed("a", encoding_format="base64")
    client = serve(Cassette(tape))
    for encoding in ("float", "base64"):
        assert list(client.embed("a", encoding_format=encoding).vectors[0]) == [0.5, 2]


def test_an_abandoned_stream_is_not_recorded(server: RawServer, tape: Path, serve: Serving) -> None:
    server.will(raw(chunked_answer(events(part("one"), done=False), whole=False), "stall"))
    client = serve(Cassette(tape, "record"), f"{server.url}/v1")
    with client.stream(say("a")) as chunks:
        next(chunks)
    assert server.wait_until(lambda: server.open_connections == 0)
    assert tape.read_text() == ""


def test_an_unreachable_upstream_is_recorded_too(tape: Path, serve: Serving) -> None:
    dead = RawServer().start()
    dead.stop()
    for cassette in (Cassette(tape, "record"), None):
        client = serve(cassette or Cassette(tape), f"{dead.url}/v1")
        with pytest.raises(InferenceError, match="cannot be reached"):
            client.complete(say("a"))


def test_a_recording_continues_after_half_a_line(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(reply(chat("x")))
    for text in ("a", "b"):
        serve(Cassette(tape, "record"), f"{server.url}/v1").complete(say(text))
    tape.write_text(tape.read_text() + '{"operation": "chat/comp')
    client = serve(Cassette(tape))
    assert client.complete(say("a")).text == client.complete(say("b")).text == "x"
    assert Cassette(tape).models == ["m"]


def test_a_cassette_can_be_replayed_twice(server: RawServer, tape: Path, serve: Serving) -> None:
    server.will(reply(chat("first")), reply(chat("second")))
    client = serve(Cassette(tape, "record"), f"{server.url}/v1")
    for _ in range(2):
        client.complete(say("a"))
    cassette = Cassette(tape)
    again = serve(cassette)
    assert [again.complete(say("a")).text for _ in range(2)] == ["first", "second"]
    cassette.rewind()
    assert again.complete(say("a")).text == "first"


def test_an_invalid_cassette_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Cassette(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Cassette(tmp_path, "record")
    for number, line in enumerate(('{"a": 1}', "oops", "[]")):
        path = tmp_path / str(number)
        path.write_text(line + "\n")
        with pytest.raises(ConfigurationError, match="line 1: not a valid exchange"):
            Cassette(path)
    (tmp_path / "binary").write_bytes(b"\xff\n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Cassette(tmp_path / "binary")


def count_exchanges() -> int:
    gc.collect()
    return sum(isinstance(each, Exchange) for each in gc.get_objects())


def test_a_recording_keeps_no_exchange_in_memory(
    server: RawServer, tape: Path, serve: Serving
) -> None:
    server.will(*(reply(chat(str(at))) for at in range(20)))
    before = count_exchanges()
    client = serve(Cassette(tape, "record"), f"{server.url}/v1")
    for at in range(20):
        client.complete(say(f"Question {at}"))
    assert tape.read_text("utf-8").count("\n") == 20
    assert count_exchanges() <= before


def test_a_request_is_found_among_many_by_one_look_up(
    tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Cassette(tape, "record")
    bodies = [{"model": "m", "messages": [str(at)]} for at in range(500)]
    for body in bodies:
        recording.add(Exchange("chat/completions", body, 200, {}, [(0.1, "{}")]), "")
    replay = Cassette(tape)
    compared: list[Any] = []

    def count_keys(operation: str, body: Any) -> str:
        compared.append(body)
        return key_of(operation, body)

    monkeypatch.setattr("azinfer.local.engines.cassette.cassette.key_of", count_keys)
    assert replay.find("chat/completions", bodies[-1]).body == bodies[-1]
    assert compared == [bodies[-1]]
