"""A checkpoint continues what was interrupted, with the same requests, and for the same work."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from array import array
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InferenceClient,
    InvalidResponseError,
    Timeout,
    UserMessage,
)
from azinfer.core.bulk import checkpoint as checkpoints
from bulk_calls import echo, echo_chat, numbers, results_of, texts_of
from client_driver import ClientDriver
from raw_server import RawServer, chat, failure, reply, vectors

Ask = Callable[..., ClientDriver]
TEXTS = [str(at) for at in range(100)]


@dataclass
class City:
    city: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.sqlite"


def inputs(server: RawServer) -> list[list[str]]:
    sent: list[list[str]] = [request.json["input"] for request in server.received]
    return sorted(sent, key=lambda each: int(each[0]))


def test_a_second_run_pays_only_for_what_is_missing(
    ask: Ask, server: RawServer, path: Path
) -> None:
    def fail_at_50(request: Any) -> Any:
        refused = "50" in request.json["input"]
        return reply(failure("401", "expired"), 401) if refused else echo(request)

    server.choose = fail_at_50
    driver = ask()
    named: dict[str, Any] = {"checkpoint": path, "batch_size": 10, "concurrency": 1}
    with pytest.raises(Exception, match="expired"):
        results_of(driver, "embed_many", TEXTS, **named)
    server.choose = echo
    server.received.clear()
    reports: list[Any] = []
    results = results_of(driver, "embed_many", iter(TEXTS), on_progress=reports.append, **named)
    assert numbers(results) == list(map(float, range(100)))
    assert inputs(server) == [TEXTS[at : at + 10] for at in range(50, 100, 10)]
    assert (reports[-1].resumed, reports[-1].done) == (50, 100)
    server.received.clear()
    again = results_of(driver, "embed_many", TEXTS, ordered=False, **named)
    assert numbers(again) == list(map(float, range(100)))
    assert server.received == []


def test_a_second_run_has_the_same_requests(ask: Ask, server: RawServer, path: Path) -> None:
    def only_even(request: Any) -> Any:
        first = int(request.json["input"][0])
        return reply(failure("x", "odd"), 400) if first // 10 % 2 else echo(request)

    server.choose = only_even
    driver = ask()
    results_of(driver, "embed_many", TEXTS[:90], checkpoint=path, batch_size=10)
    server.choose = echo
    server.received.clear()
    # The gaps keep their ends, whatever the size of a request is now.
    results = results_of(driver, "embed_many", TEXTS, checkpoint=path, batch_size=64)
    assert numbers(results) == list(map(float, range(100)))
    starts = [10, 30, 50, 70]
    assert inputs(server) == [*(TEXTS[at : at + 10] for at in starts), TEXTS[90:]]


def test_completions_are_stored_as_they_come(ask: Ask, server: RawServer, path: Path) -> None:
    server.choose = echo_chat
    driver = ask()
    requests = [[UserMessage(f"q{at}")] for at in range(30)]
    first = results_of(driver, "complete_many", requests, checkpoint=path, most=10)
    assert len(first) == 10
    sent = len(server.received)
    results = results_of(driver, "complete_many", requests, checkpoint=path)
    assert texts_of(results) == [f"q{at}" for at in range(30)]
    assert len(server.received) < 60
    assert sent >= 10
    assert results[0].value == first[0].value
    again = results_of(driver, "complete_many", requests, checkpoint=path)
    assert [result.value for result in again] == [result.value for result in results]


def test_a_stored_completion_has_the_format_of_its_own_request(
    ask: Ask, server: RawServer, path: Path
) -> None:
    server.choose = lambda request: reply(chat('{"city": "Oslo"}'))
    driver = ask()
    requests = [{"messages": [UserMessage("where?")], "response_format": City}]
    for _ in range(2):
        [result] = results_of(driver, "complete_many", requests, checkpoint=path)
        assert result.value is not None
        assert result.value.parsed == City("Oslo")
    assert len(server.received) == 1


def test_a_checkpoint_of_another_endpoint_is_refused(
    ask: Ask, server: RawServer, path: Path
) -> None:
    server.choose = echo
    results_of(ask(), "embed_many", TEXTS, checkpoint=path)
    results_of(ask("/models"), "embed_many", TEXTS, checkpoint=path)
    other = ClientDriver("sync", "https://contoso.openai.azure.com", "k", model="gpt-4.1")
    with pytest.raises(ConfigurationError) as caught:
        results_of(other, "embed_many", TEXTS, checkpoint=path)
    assert (
        f'was created with endpoint "{server.url}", this run has "https://contoso.openai.azure.com"'
    ) in caught.value.message
    assert len(server.received) == 1


def test_a_checkpoint_of_a_route_is_for_its_deployments(server: RawServer, path: Path) -> None:
    def embed(model: str, url: str = server.url, members: tuple[str, ...] = ("a@x", "b@y")) -> None:
        config = {
            "default": "x",
            "endpoints": {
                "x": {"url": server.url, "credential": "env:KEY"},
                "y": {"url": url, "credential": "env:KEY"},
            },
            "deployments": {
                name: {"model_id": "m", "model_version": "1"} for name in ("a@x", "b@y", "c@y")
            },
            "routes": {"r": {"tiers": [list(members)]}},
        }
        with InferenceClient.from_config(config, environ={"KEY": "k"}) as client:
            list(client.embed_many(TEXTS, model=model, checkpoint=path))

    server.choose = echo
    embed("r")
    embed("r", members=("b@y", "A@x"))
    assert len(server.received) == 2
    with pytest.raises(ConfigurationError) as caught:
        embed("r", "https://other.openai.azure.com")
    both = f'["a@{server.url}", "b@https://other.openai.azure.com"]'
    assert f"this run has {both}" in caught.value.message
    with pytest.raises(ConfigurationError, match=r"was created with deployments .* this run has"):
        embed("r", members=("a@x", "c@y"))
    with pytest.raises(ConfigurationError, match=r"was created with deployments .* has null"):
        embed("c@y")
    path.unlink()
    embed("b@y")
    with pytest.raises(ConfigurationError, match=r'this run has "https://other\.openai'):
        embed("b@y", "https://other.openai.azure.com")


def test_a_request_with_its_own_model_is_for_its_endpoint(server: RawServer, path: Path) -> None:
    def complete(url: str, own: dict[str, str]) -> None:
        config = {
            "default": "x",
            "endpoints": {
                "x": {"url": server.url, "credential": "env:KEY"},
                "y": {"url": url, "credential": "env:KEY"},
            },
            "deployments": {
                name: {"model_id": "m", "model_version": "1"} for name in ("a@x", "b@y")
            },
        }
        requests = [{"messages": [{"role": "user", "content": "Hello"}], **own}]
        with InferenceClient.from_config(config, environ={"KEY": "k"}) as client:
            list(client.complete_many(requests, model="a@x", checkpoint=path))

    server.choose = echo_chat
    for _ in range(2):
        complete(server.url, {"model": "b@y"})
    assert len(server.received) == 1
    with pytest.raises(ConfigurationError, match="items 0 to 0 differ"):
        complete("https://other.openai.azure.com", {"model": "b@y"})
    path.unlink()
    complete(server.url, {})
    complete("https://other.openai.azure.com", {})  # nothing goes there
    assert len(server.received) == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": "other"}, 'was created with model "gpt-4.1", this run has "other"'),
        ({"dimensions": 5}, 'was created with options {}, this run has {"dimensions": 5}'),
        ({"kind": "query"}, 'was created with kind null, this run has "query"'),
        ({"items": ["9", *TEXTS[1:]]}, "items 0 to 9 differ from those in"),
        ({"items": TEXTS[:25]}, "has results of 100 items, and the input has only 25"),
        ({"items": ["x" * 3000, *TEXTS]}, "items 0 to 9 differ"),
    ],
)
def test_a_checkpoint_of_other_work_is_refused(
    ask: Ask, server: RawServer, path: Path, change: dict[str, Any], problem: str
) -> None:
    server.choose = echo
    driver = ask()
    named: dict[str, Any] = {"checkpoint": path, "batch_size": 10}
    results_of(driver, "embed_many", TEXTS, **named)
    server.received.clear()
    with pytest.raises(ConfigurationError) as caught:
        results_of(driver, "embed_many", **{"items": TEXTS, **named, **change})
    assert problem in caught.value.message
    assert str(path) in caught.value.message
    assert server.received == []


def test_options_that_change_no_answer_may_differ(ask: Ask, server: RawServer, path: Path) -> None:
    server.choose = echo
    driver = ask()
    results_of(driver, "embed_many", TEXTS, checkpoint=path, dimensions=None)
    named: dict[str, Any] = {"model": "GPT-4.1", "timeout": Timeout(read=5), "headers": {"a": "b"}}
    results = results_of(driver, "embed_many", TEXTS, checkpoint=path, concurrency=3, **named)
    assert len(results) == 100
    assert len(server.received) == 1


def test_the_length_of_stored_vectors_counts(ask: Ask, server: RawServer, path: Path) -> None:
    server.choose = echo
    driver = ask()
    results_of(driver, "embed_many", TEXTS[:10], checkpoint=path)
    server.choose = lambda request: reply(vectors(*[[1.0] * 3] * len(request.json["input"])))
    with pytest.raises(
        InvalidResponseError, match=r"vectors of \d dimensions follow vectors of \d"
    ):
        results_of(driver, "embed_many", TEXTS[:20], checkpoint=path, batch_size=10)


def test_integers_are_stored_too(ask: Ask, server: RawServer, path: Path) -> None:
    server.choose = lambda request: reply(vectors(*[[1, -2]] * len(request.json["input"])))
    driver = ask()
    named: dict[str, Any] = {"checkpoint": path, "encoding_format": "int8"}
    for _ in range(2):
        results = results_of(driver, "embed_many", TEXTS[:2], **named)
        assert [result.value for result in results] == [array("b", [1, -2])] * 2
    assert len(server.received) == 1


def test_items_that_are_not_valid_are_known_again(ask: Ask, server: RawServer, path: Path) -> None:
    server.choose = echo_chat
    driver = ask()
    requests: list[Any] = [[UserMessage("a")], {"prompt": "b"}, [UserMessage("c")]]
    for _ in range(2):
        results = results_of(driver, "complete_many", requests, checkpoint=path)
        assert [result.error is None for result in results] == [True, False, True]
    assert len(server.received) == 2
    server.choose = echo
    other = path.with_name("texts.sqlite")
    for _ in range(2):
        results = results_of(driver, "embed_many", ["1", None, "3"], checkpoint=other)
        assert [result.error is None for result in results] == [True, False, True]


def test_what_failed_is_tried_again(ask: Ask, server: RawServer, path: Path) -> None:
    server.choose = lambda request: (
        reply(failure("x", "bad"), 400) if "7" in request.json["input"] else echo(request)
    )
    driver = ask()
    results = results_of(driver, "embed_many", TEXTS, checkpoint=path)
    assert [result.index for result in results if isinstance(result.error, BadRequestError)] == [7]
    server.choose = echo
    server.received.clear()
    results = results_of(driver, "embed_many", TEXTS, checkpoint=path)
    assert numbers(results) == list(map(float, range(100)))
    assert inputs(server) == [["7"]]


def test_a_file_that_is_not_a_checkpoint_is_left_alone(ask: Ask, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("my notes " * 1000)
    with pytest.raises(ConfigurationError, match="is not a checkpoint of azinfer"):
        ask().client.embed_many(TEXTS, checkpoint=other)
    assert other.read_text() == "my notes " * 1000
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        ask().client.embed_many(TEXTS, checkpoint=tmp_path)
    database = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE done (x)")
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigurationError, match="is not a checkpoint of azinfer"):
        ask().client.embed_many(TEXTS, checkpoint=database)


def test_the_checkpoint_is_for_one_run_at_a_time(
    ask: Ask, server: RawServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_PATIENCE", 0.05)
    driver = ask()
    first = driver.client.embed_many(["1"], checkpoint=path)
    with pytest.raises(ConfigurationError, match="in use by another run"):
        driver.client.embed_many(["1"], checkpoint=path)
    assert first.progress.done == 0


def test_a_checkpoint_that_cannot_be_written_ends_the_work(
    ask: Ask, server: RawServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.choose = lambda request: reply(vectors([1.0] * 2000))
    opened = checkpoints.Checkpoint._open

    def open_small(self: Any, work: Any) -> None:
        opened(self, work)
        self._database.execute("PRAGMA max_page_count = 8")

    monkeypatch.setattr(checkpoints.Checkpoint, "_open", open_small)
    with pytest.raises(ConfigurationError, match=r"work\.sqlite cannot be written: .*full"):
        results_of(ask(), "embed_many", TEXTS, checkpoint=path, batch_size=1)


def test_answers_under_way_go_into_the_checkpoint_after_the_end(
    server: RawServer, ask: Ask, path: Path, kind: str
) -> None:
    server.choose = echo
    driver = ask()
    numbered = (str(at) for at in itertools.count())
    results_of(driver, "embed_many", numbered, most=1, checkpoint=path, batch_size=1)
    if kind == "sync":
        for thread in threading.enumerate():
            if thread.name == "azinfer-bulk":
                thread.join(5)
    with closing(sqlite3.connect(path)) as database:
        stored = {row[0] for row in database.execute("SELECT first FROM done")}
    sent = {int(request.json["input"][0]) for request in server.received}
    assert stored == sent if kind == "sync" else stored <= sent


def test_the_next_run_takes_the_file_of_one_that_an_error_ended(
    ask: Ask, server: RawServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()

    def choose(request: Any) -> Any:
        if request.json["input"] == ["1"]:
            return reply(failure("401", "expired"), 401)
        return lambda peer: (may_answer.wait(30), echo(request)(peer))

    server.choose = choose
    monkeypatch.setattr(checkpoints, "_PATIENCE", 0.0)
    driver = ask()
    named: dict[str, Any] = {"checkpoint": path, "batch_size": 1}
    with pytest.raises(AuthenticationError, match="expired"):
        results_of(driver, "embed_many", ["0", "1"], **named)
    server.choose = echo
    assert numbers(results_of(driver, "embed_many", ["0", "1"], **named)) == [0.0, 1.0]
    may_answer.set()  # the answer of the first run comes late, and changes nothing
    for thread in threading.enumerate():
        if thread.name == "azinfer-bulk":
            thread.join(30)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT first FROM done ORDER BY first").fetchall() == [(0,), (1,)]
