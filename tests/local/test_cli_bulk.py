"""`azinfer embed` and `azinfer complete`: any input, any output, and nothing paid twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from azinfer.core import APIConnectionError, InferenceError, RateLimitError, ServerError
from azinfer.core.bulk import BulkProgress
from azinfer.core.bulk.checkpoint import Checkpoint
from azinfer.local import Fault, Latency, LocalDeployment, LocalEndpoint, SyntheticEngine
from azinfer.local.cli.app import app
from azinfer.local.cli.bulk import run as bulk_run
from azinfer.local.cli.bulk.progress import Bar
from azinfer.local.cli.error_messages import describe
from raw_server import RawServer, failure, reply, vectors
from terminals import COMMAND, terminal

pyarrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")
TEXTS = [f"text {at}" for at in range(40)]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEndpoint]:
    engine = SyntheticEngine(dimensions=8)
    deployments = [
        LocalDeployment("chat"),
        LocalDeployment("embed", "text-embedding-3-small", engine=engine),
    ]
    with LocalEndpoint(deployments) as endpoint:
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
        yield endpoint


@dataclass
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def azinfer(*arguments: Any, stdin: str = "") -> Done:
    """Run a command in this process, which is a second faster than in another one."""
    result = CliRunner().invoke(app, [*map(str, arguments)], input=stdin, catch_exceptions=True)
    stderr = result.stderr
    if isinstance(result.exception, InferenceError | ModuleNotFoundError):
        stderr += describe(result.exception)
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, stderr)


def embed(*arguments: Any, stdin: str = "") -> Done:
    return azinfer("embed", "-m", "embed", *arguments, stdin=stdin)


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def inputs(endpoint: LocalEndpoint) -> list[list[str]]:
    bodies: list[Any] = [
        each.body for each in endpoint.requests if each.path.endswith("embeddings")
    ]
    return [body["input"] for body in bodies]


def write_parquet(path: Path, **columns: list[Any]) -> None:
    parquet.write_table(pyarrow.table(columns), path)


def write_input(path: Path) -> None:
    """Write the texts in the format that the file's name says."""
    ids = [f"id-{at}" for at in range(len(TEXTS))]
    rows = list(zip(ids, TEXTS, strict=True))
    if path.suffix == ".parquet":
        write_parquet(path, id=ids, body=TEXTS)
    elif path.suffix == ".csv":
        path.write_text("id,body\n" + "".join(f'{key},"{text}"\n' for key, text in rows))
    elif path.suffix == ".jsonl":
        lines = (json.dumps({"id": key, "body": text}) for key, text in rows)
        path.write_text("\n".join(lines) + "\n\n")
    else:
        path.write_text("\n\n".join(TEXTS))


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv", "in.parquet"])
def test_every_format_is_read(endpoint: LocalEndpoint, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_input(path)
    done = embed("-i", path, "--column", "body")
    assert (done.returncode, done.stderr) == (0, "")
    result = records(done.stdout)
    assert [each["index"] for each in result] == list(range(40))
    assert [each["id"] for each in result] == [f"id-{at}" for at in range(40)]
    assert {len(each["vector"]) for each in result} == {8}
    assert inputs(endpoint) == [TEXTS]
    done = embed("-i", path, "--column", "nobody")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "id" in done.stderr
    assert "body" in done.stderr


def test_lines_of_text_come_from_files_and_pipes(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    write_input(path)
    for done in (embed("-i", path), embed("-i", "-", stdin=path.read_text())):
        assert len(records(done.stdout)) == 40
    done = embed(stdin="\ufeffa\x0cb\r\n\nc\n")
    assert len(records(done.stdout)) == 2
    assert inputs(endpoint) == [TEXTS, TEXTS, ["\ufeffa\x0cb", "c"]]
    done = embed("--format", "jsonl", stdin='"2026-11-30"\n{"text": "3.10"}\n')
    assert inputs(endpoint)[-1] == ["2026-11-30", "3.10"]
    assert len(embed("a", "-i", path).stdout.splitlines()) == 41


@pytest.mark.parametrize("first", ["", "\n \n"])
def test_json_lines_from_a_pipe_are_recognised(endpoint: LocalEndpoint, first: str) -> None:
    lines = [json.dumps({"id": f"id-{at}", "text": text}) for at, text in enumerate(TEXTS)]
    stdin = first + "\n".join(lines)
    result = records(embed(stdin=stdin).stdout)
    assert [each["id"] for each in result] == [f"id-{at}" for at in range(40)]
    assert inputs(endpoint) == [TEXTS]
    embed("--format", "text", stdin=stdin)
    assert inputs(endpoint)[1] == lines
    embed(stdin='[1, 2]\n{"text": "a"}')
    assert inputs(endpoint)[2] == ["[1, 2]", '{"text": "a"}']
    assert "line 1 has no text in 'text'" in embed(stdin='{"body": "a"}').stderr
    assert embed(stdin=first).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        (["-i", "missing.csv"], "", "'missing.csv' does not exist"),
        (["--format", "jsonl"], '"a"\n{"text": 5}\n', "the standard input, line 2 has no text in"),
        (["--format", "jsonl"], "[1]\n", "the standard input, line 1 is not a text: '[1]'"),
        (["--format", "jsonl"], '"a\n', "the standard input, line 1 is not JSON"),
        (["--format", "xml"], "a", "--format 'xml' is unknown; choose from text, jsonl, csv"),
        (["--concurrency", "0"], "a", "--concurrency must be auto or a number above 0, not '0'"),
        (["--patience", "0"], "a", "--patience must be above 0, not 0"),
        (["--patience", "nan"], "a", "--patience must be above 0, not nan"),
        (["-o", "out.xlsx"], "a", "--output 'out.xlsx' has an unknown ending; choose from .jsonl"),
        (["-o", "no/where.npy"], "a", "no/where.npy cannot be written"),
        (["--resume"], "a", "--resume continues the work for a file: pass --output FILE"),
        (["--prices", "p.toml"], "a", "--prices is for --dry-run"),
    ],
)
def test_wrong_options_say_what_to_do(
    endpoint: LocalEndpoint, arguments: list[str], stdin: str, problem: str
) -> None:
    done = embed(*arguments, stdin=stdin)
    assert done.returncode == 1
    assert problem in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["embed", "complete"])
def test_a_run_ends_when_its_patience_does(endpoint: LocalEndpoint, command: str) -> None:
    model = "embed" if command == "embed" else "chat"
    endpoint.fail(model, Fault(status=429, headers={"retry-after": "30"}))
    done = azinfer(command, "-m", model, "--patience", "2", stdin="a")
    assert done.returncode == 1
    assert "retry" in done.stderr.lower()
    bodies: list[Any] = [each.body for each in endpoint.requests if each.body]
    assert [body.get("patience") for body in bodies] == [None]


def test_vectors_become_an_array(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "out.npy"
    assert embed("-o", path, "--batch-size", 7, stdin="\n".join(TEXTS)).returncode == 0
    array = numpy.load(path)
    assert (array.shape, array.dtype) == ((40, 8), numpy.float32)
    expected = [each["vector"] for each in records(embed(stdin="\n".join(TEXTS)).stdout)]
    assert array.tolist() == expected
    assert sorted(os.listdir(tmp_path)) == ["out.npy"]


def test_vectors_become_a_table(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    write_input(tmp_path / "in.csv")
    path = tmp_path / "out.parquet"
    done = embed("-i", tmp_path / "in.csv", "--column", "body", "-o", path)
    assert done.returncode == 0, done.stderr
    table = parquet.read_table(path)
    assert table.column_names == ["index", "id", "vector", "error"]
    assert table["id"].to_pylist()[:2] == ["id-0", "id-1"]
    expected = [each["vector"] for each in records(embed(stdin="\n".join(TEXTS)).stdout)]
    assert table["vector"].to_pylist() == expected


def refuse_bad_texts(request: Any) -> Any:
    """Refuse requests that contain a bad text, answer others, and list no deployments."""
    if request.method == "GET":
        return reply(failure("404", "no such route"), 404)
    texts = request.json["input"]
    if "bad" in texts:
        return reply(failure("BadRequest", "this text is not valid"), 400)
    return reply(vectors(*[[1.0, 0.5]] * len(texts)))


def test_failures_are_listed_and_tried_again(
    server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numpy = pytest.importorskip("numpy")
    server.choose = refuse_bad_texts
    monkeypatch.setenv("AZURE_AI_ENDPOINT", f"{server.url}/openai/v1")
    monkeypatch.setenv("AZURE_AI_API_KEY", "k")
    lines = "\n".join(["bad", *TEXTS[:3], "bad"])
    outputs = [tmp_path / f"out.{ending}" for ending in ("jsonl", "npy", "parquet")]
    for path in outputs:
        done = embed("-o", path, stdin=lines)
        assert done.returncode == 1
        assert "item 0: this text is not valid" in done.stderr
        assert "2 of 5 failed; --resume tries them again" in done.stderr
    failed = [True, False, False, False, True]
    assert ["error" in each for each in records(outputs[0].read_text())] == failed
    assert numpy.isnan(numpy.load(outputs[1])).all(axis=1).tolist() == failed
    table = parquet.read_table(outputs[2])
    assert [each is None for each in table["vector"].to_pylist()] == failed
    assert [each is not None for each in table["error"].to_pylist()] == failed
    server.received.clear()
    server.choose = lambda request: reply(vectors(*[[1.0, 0.5]] * 1))
    done = embed("-o", outputs[0], "--resume", "--json", stdin=lines)
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert (facts["done"], facts["failed"], facts["resumed"]) == (5, 0, 3)
    assert [each.json["input"] for each in server.received if each.method == "POST"] == [
        ["bad"]
    ] * 2
    assert "error" not in outputs[0].read_text()
    assert not (tmp_path / "out.jsonl.checkpoint").exists()


def test_existing_output_is_kept_without_force(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert embed("-o", path, stdin="a\nb").returncode == 0
    before = path.read_text()
    done = embed("-o", path, stdin="c")
    assert f"{path} exists: use another file, or pass --force" in done.stderr
    done = embed("-o", path, "--resume", stdin="a\nb")
    assert (done.returncode, path.read_text()) == (0, before)
    assert "is complete; --force starts again" in done.stderr
    for other, problem in {
        "a\nc": "for another input",
        "a": "for another input",
        "a\nb\nc": "for the first 2 texts, and the input has 1 more: pass only those",
    }.items():
        done = embed("-o", path, "--resume", stdin=other)
        assert (done.returncode, path.read_text()) == (1, before)
        assert problem in done.stderr
    done = embed("-o", path, "--resume", "--dimensions", 4, stdin="a\nb")
    assert "or other options" in done.stderr
    assert len(inputs(endpoint)) == 1
    assert embed("-o", path, "--force", stdin="c").returncode == 0
    assert len(records(path.read_text())) == 1
    checkpoint = tmp_path / "out.jsonl.checkpoint"
    checkpoint.write_text("my notes " * 100)
    done = embed("-o", path, "--resume", stdin="c")
    assert "is not a checkpoint of azinfer" in done.stderr
    done = embed("-o", path, stdin="c")
    assert "--resume continues it, --force starts again" in done.stderr


def test_a_complete_output_of_unknown_origin_is_not_resumed(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZINFER_DATA", str(tmp_path / "data"))
    path = tmp_path / "out.jsonl"
    assert embed("-o", path, stdin="a\nb").returncode == 0
    [receipt] = (tmp_path / "data" / "outputs").iterdir()
    path.write_text("changed")
    assert "it is unknown which input it is from" in embed("-o", path, "--resume").stderr
    embed("-o", tmp_path / "other.jsonl", stdin="a\nb")
    assert not receipt.exists()  # its output is another one now
    assert embed("-o", tmp_path / "other.jsonl", "--resume", stdin="a\nb").returncode == 0
    [receipt] = (tmp_path / "data" / "outputs").iterdir()
    receipt.write_text("[")
    done = embed("-o", tmp_path / "other.jsonl", "--resume", stdin="a\nb")
    assert (done.returncode, "it is unknown" in done.stderr) == (1, True)
    monkeypatch.setenv("AZINFER_DATA", str(path))  # a file: no receipt, and no error
    assert embed("-o", tmp_path / "third.jsonl", stdin="a").returncode == 0


def test_a_kept_checkpoint_continues_a_longer_input(
    endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    path = tmp_path / "out.npy"
    assert embed("-o", path, "--keep-checkpoint", stdin="a\nb").returncode == 0
    assert "--resume continues it" in embed("-o", path, stdin="a\nb\nc").stderr
    done = embed("-o", path, "--resume", "--json", stdin="a\nb\nc")
    assert json.loads(done.stdout)["resumed"] == 2
    assert inputs(endpoint) == [["a", "b"], ["c"]]
    assert os.listdir(tmp_path) == ["out.npy"]


def test_the_advice_to_continue_comes_after_the_end_of_the_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the bar clears the lines of a terminal that were printed while it was there."""
    events: list[str] = []

    class Silent:
        is_visible, show = False, None

        def __init__(self, what: str) -> None: ...

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            events.append("the bar ends")

    class Results(Silent):
        progress = SimpleNamespace(done=1)

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(bulk_run, "Bar", Silent)
    monkeypatch.setattr(bulk_run, "say", events.append)
    (tmp_path / "in.txt").write_text("a")
    command: Any = SimpleNamespace(
        kind="embed",
        what="texts",
        job=SimpleNamespace(work={}),
        begin=lambda *_, **__: Results(""),
    )
    client: Any = None
    source: Any = SimpleNamespace(files=[str(tmp_path / "in.txt")])
    monkeypatch.setattr(bulk_run, "open_input", lambda _: source)
    settings = bulk_run.Settings(source=source, output=tmp_path / "out.jsonl")
    with pytest.raises(KeyboardInterrupt):
        bulk_run.run(client, "m", command, settings)
    assert events[0] == "the bar ends"
    assert "--resume continues" in events[1]


@pytest.mark.parametrize("wrong", [["-i", "other.txt"], ["-i", "in.txt", "--format", "jsonl"]])
def test_a_resumed_run_that_fails_keeps_the_earlier_results(
    server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("a\nbad\nb")
    Path("other.txt").write_text("x\ny")
    server.choose = refuse_bad_texts
    monkeypatch.setenv("AZURE_AI_ENDPOINT", server.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", "a-key")
    assert embed("-i", "in.txt", "-o", "out.jsonl", "--batch-size", 1).returncode == 1
    done = embed(*wrong, "-o", "out.jsonl", "--batch-size", 1, "--resume")
    assert done.returncode == 1
    assert "the finished part is in out.jsonl.checkpoint" in done.stderr
    server.choose = lambda request: reply(vectors([1.0, 0.5]))
    done = embed("-i", "in.txt", "-o", "out.jsonl", "--batch-size", 1, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] == 2


@pytest.mark.parametrize("option", ["--resume", "--force"])
def test_a_second_run_leaves_the_files_of_a_running_one_alone(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr("azinfer.core.bulk.checkpoint._PATIENCE", 0.0)
    monkeypatch.setattr("azinfer.local.cli.bulk.checkpoints._PATIENCE", 0.0)
    part, checkpoint = tmp_path / "out.jsonl.part", tmp_path / "out.jsonl.checkpoint"
    part.write_text("records of the first run")
    running = Checkpoint(checkpoint, {})
    try:
        done = embed("-o", tmp_path / "out.jsonl", option, stdin="a")
        assert done.returncode == 1
        assert "out.jsonl.checkpoint is in use by another run" in done.stderr
        assert part.read_text() == "records of the first run"
        assert checkpoint.exists()
    finally:
        running.close()
    part.unlink()
    assert embed("-o", tmp_path / "out.jsonl", "--force", stdin="a").returncode == 0
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_force_replaces_a_file_that_is_not_a_checkpoint(
    endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl.checkpoint").write_text("my notes " * 100)
    assert embed("-o", tmp_path / "out.jsonl", "--force", stdin="a").returncode == 0
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_damaged_table_is_named(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    path.write_text("not a table")
    done = embed("-i", path)
    assert done.returncode == 1
    assert "in.parquet cannot be read: Parquet magic bytes" in " ".join(done.stderr.split())


def test_tool_calls_are_in_a_table_as_json(server: RawServer, tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice]}
    server.choose = lambda request: reply(body if request.method == "POST" else {"data": []})
    target = ["--endpoint", server.url, "--key", "a-key", "-m", "chat"]
    path = tmp_path / "out.parquet"
    done = azinfer("complete", *target, "Hello", "-o", path)
    assert done.returncode == 0, done.stderr
    [text] = parquet.read_table(path)["tool_calls"].to_pylist()
    assert json.loads(text) == [call]


def test_the_dry_run_counts_and_sends_nothing(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(
        'currency = "EUR"\n[models."Text-Embedding-3-Small"]\ninput = 1000\n'
        "[models.chat]\ninput = 100\noutput = 1000\n"
    )
    stdin = "12345678\n" * 5000
    done = embed("--dry-run", "--prices", prices, stdin=stdin)
    assert (
        done.stdout == "5,000 texts in 3 requests to embed\nabout 15,000 tokens\nabout 15.00 EUR\n"
    )
    facts = json.loads(embed("--dry-run", "--json", stdin=stdin).stdout)
    assert facts == {"deployment": "embed", "texts": 5000, "requests": 3, "tokens": 15000}
    more = ("-m", "chat", "--dry-run", "--max-tokens", "98")
    done = azinfer("complete", *more, "--prices", prices, stdin=stdin)
    assert done.stdout == (
        "5,000 prompts in 5,000 requests to chat\n"
        "about 500,000 tokens, of which 490,000 for the answers\nabout 491.00 EUR\n"
    )
    assert inputs(endpoint) == []
    for text, problem in [
        (
            "[models.other]\ninput = 1",
            "has no price of 'embed' or 'text-embedding-3-small'",
        ),
        ("[models.embed]\ninput = -1", "must not be negative"),
        ("[models.embed]\ninptu = 1", "inptu"),
    ]:
        prices.write_text(text)
        done = embed("--dry-run", "--prices", prices, stdin="a")
        assert done.returncode == 1
        assert problem in done.stderr


def test_the_dry_run_says_what_it_assumes_for_answers(endpoint: LocalEndpoint) -> None:
    own = {"messages": [{"role": "user", "content": "12345678"}], "max_tokens": 3}
    stdin = "\n".join(map(json.dumps, [own, {"prompt": "12345678"}, own]))
    done = azinfer("complete", "-m", "chat", "--dry-run", stdin=stdin)
    assert done.stdout == (
        "3 prompts in 3 requests to chat\nabout 512 tokens, of which 506 for the answers\n"
        "answers without a limit: 1, with 500 tokens assumed for each; --max-tokens sets one\n"
    )
    facts = json.loads(azinfer("complete", "--dry-run", "--json", stdin=stdin).stdout)
    assert (facts["answer_tokens"], facts["assumed_tokens_per_answer"]) == (506, 500)


def test_prompts_are_completed(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    done = azinfer("complete", "-m", "chat", "Hello", "Bye", "--system", "Be brief.")
    assert [each["text"] for each in records(done.stdout)] == [
        "This is a synthetic answer to: Hello",
        "This is a synthetic answer to: Bye",
    ]
    lines = [
        "Hello",
        {"id": 7, "prompt": "Bye"},
        {"id": "own", "messages": [{"role": "user", "content": "Own"}], "max_tokens": 3},
    ]
    stdin = "\n".join(map(json.dumps, lines))
    path = tmp_path / "out.parquet"
    named = ("--format", "jsonl", "-o", path, "--temperature", "0", "--max-tokens", "50")
    done = azinfer("complete", "-m", "chat", *named, stdin=stdin)
    assert done.returncode == 0, done.stderr
    table = parquet.read_table(path).to_pylist()
    assert [each["id"] for each in table] == [None, "7", "own"]
    assert [each["finish_reason"] for each in table] == ["stop", "stop", "length"]
    assert table[1]["text"] == "This is a synthetic answer to: Bye"
    bodies: list[Any] = [each.body for each in endpoint.requests if "chat/" in each.path]
    assert sorted(body["max_tokens"] for body in bodies[2:]) == [3, 50, 50]
    done = azinfer("complete", "-m", "chat", "-o", tmp_path / "out.npy", "Hello")
    assert "choose from .jsonl, .parquet" in done.stderr


def test_without_a_model_the_one_for_the_job_is_chosen(endpoint: LocalEndpoint) -> None:
    assert len(records(azinfer("embed", stdin="a\nb").stdout)) == 2
    assert "synthetic answer" in azinfer("complete", stdin="a").stdout
    assert [each.deployment for each in endpoint.requests if each.deployment] == ["embed", "chat"]


@pytest.mark.long
def test_the_bar_is_for_terminals(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    write_input(tmp_path / "in.txt")
    endpoint.slow("embed", Latency(0.3))
    path = tmp_path / "out.npy"
    arguments = ("embed", "-m", "embed", "-i", str(tmp_path / "in.txt"), "-o", str(path))
    with terminal(*arguments, "--batch-size", "4", "--concurrency", "1") as command:
        command.read_until("of 40 texts")
        command.read_until("tokens")
        command.read_until("left")
        command.read_until("40 texts in ")
        assert command.wait() == 0


def test_the_bar_says_what_it_waits_for() -> None:
    now = [100.0]
    bar = Bar("texts", lambda: now[0])
    assert bar.text() == "texts"
    now[0] += 12
    assert bar.text() == "texts, no answer for 0:12"
    names = ("failed", "resumed", "requests", "refused", "in_flight")
    counts: dict[str, Any] = dict.fromkeys(names, 0)
    progress = BulkProgress(total=40, done=8, concurrency=8, tokens=16, seconds=2.0, **counts)
    bar.show(progress)
    assert bar.text() == "8 of 40 texts, 4/s, 16 tokens, 0:08 left"
    now[0] += 75
    assert bar.text() == "8 of 40 texts, no answer for 1:15"
    bar.show(replace(progress, failure=APIConnectionError("refused"), wait=9.0))
    assert bar.text() == "8 of 40 texts, the service does not answer; next try in 0:09"
    now[0] += 4
    assert bar.text().endswith("next try in 0:05")
    now[0] += 5
    assert bar.text().endswith("next try now")
    bar.show(replace(progress, failed=1, failure=ServerError("busy", status=503), wait=2.0))
    assert bar.text() == "9 of 40 texts, 1 failed, the service fails (503); next try in 0:02"
    bar.show(replace(progress, failure=RateLimitError("busy", status=429), wait=2.0))
    assert bar.text() == "8 of 40 texts, rate limit; next try in 0:02"
    bar.show(replace(progress, failure=RateLimitError("busy", status=429)))
    assert bar.text() == "8 of 40 texts, 4/s, 16 tokens, 0:08 left"


@pytest.mark.long
def test_the_bar_says_that_the_service_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_input(tmp_path / "in.txt")
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("AZURE_AI_ENDPOINT", url)
    monkeypatch.setenv("AZURE_AI_API_KEY", "a-key")
    arguments = ("embed", "-m", "embed", "-i", str(tmp_path / "in.txt"))
    with terminal(*arguments, "-o", str(tmp_path / "out.npy")) as command:
        command.read_until("the service does not answer; next try in 0:")
        command.press("\x03")
        assert command.wait() == 130


def test_a_missing_extra_is_named(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "in.parquet").write_text("x")
    for arguments in (["-i", tmp_path / "in.parquet"], ["-o", tmp_path / "out.parquet", "a"]):
        done = embed(*arguments)
        assert done.returncode == 1
        assert "pip install 'azinfer[parquet]'" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("ending", ["jsonl", "npy", "parquet"])
def test_work_that_is_killed_twice_continues(
    endpoint: LocalEndpoint, tmp_path: Path, ending: str
) -> None:
    texts = [f"text number {at}" for at in range(600)]
    file = tmp_path / "in.txt"
    file.write_text("\n".join(texts))
    named = ("-i", file, "--batch-size", 10)
    assert embed(*named, "-o", tmp_path / f"whole.{ending}").returncode == 0
    endpoint.requests.clear()
    endpoint.slow("embed", Latency(0.1))
    path = tmp_path / f"out.{ending}"
    arguments = [COMMAND, "embed", "-m", "embed", *map(str, named), "-o", str(path)]
    for kill in range(2):
        more = ["--resume"] * kill
        with subprocess.Popen([*arguments, *more], stderr=subprocess.PIPE) as process:
            wait_for(lambda most=15 * (kill + 1): len(inputs(endpoint)) >= most)
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
    stored = len(rows_of(tmp_path / f"out.{ending}.checkpoint"))
    done = embed(*named, "-o", path, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] == 10 * stored > 0
    assert path.read_bytes() == (tmp_path / f"whole.{ending}").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["in.txt", f"out.{ending}", f"whole.{ending}"]
    # The endpoint's log is the witness: only what was under way at a kill came twice.
    sent = Counter(text for batch in inputs(endpoint) for text in batch)
    assert sent.keys() == set(texts)
    assert max(sent.values()) <= 3
    twice = {text[0] for text in inputs(endpoint) if sent[text[0]] > 1}
    assert len(twice) <= 2 * 64
    assert {len(batch) for batch in inputs(endpoint)} == {10}


@pytest.mark.long
def test_prompts_that_are_killed_twice_continue(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    file, path = tmp_path / "in.txt", tmp_path / "out.jsonl"
    prompts = [f"prompt number {at}" for at in range(400)]
    file.write_text("\n".join(prompts))
    endpoint.slow("chat", Latency(0.1))
    named = ["complete", "-m", "chat", "-i", str(file), "-o", str(path), "--max-tokens", "30"]
    for kill in range(2):
        with subprocess.Popen([COMMAND, *named, *["--resume"] * kill]) as process:
            wait_for(lambda most=60 * (kill + 1): len(prompts_of(endpoint)) >= most)
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
    stored = {at for (at,) in rows_of(tmp_path / "out.jsonl.checkpoint")}
    before = len(prompts_of(endpoint))
    done = azinfer(*named, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["resumed"] == len(stored) > 0
    assert [each["text"] for each in records(path.read_text())] == [
        f"This is a synthetic answer to: {prompt}" for prompt in prompts
    ]
    # The endpoint's log is the witness: what was stored is not sent again.
    later = prompts_of(endpoint)[before:]
    # A request of the killed process may be logged late, so it may be there twice.
    assert set(later) == set(prompts) - {prompts[at] for at in stored}
    assert max(Counter(prompts_of(endpoint)).values()) <= 3


def prompts_of(endpoint: LocalEndpoint) -> list[str]:
    bodies: list[Any] = [each.body for each in endpoint.requests if "chat/" in each.path]
    return [body["messages"][-1]["content"] for body in bodies]


def rows_of(checkpoint: Path) -> list[Any]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(checkpoint)) as database:
        return database.execute("SELECT first FROM done").fetchall()


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.long
def test_ctrl_c_leaves_a_checkpoint_and_no_traceback(
    endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    endpoint.slow("embed", Latency(0.2))
    file, path = tmp_path / "in.txt", tmp_path / "out.npy"
    file.write_text("\n".join(TEXTS * 20))
    arguments = ["embed", "-m", "embed", "-i", str(file), "-o", str(path), "--batch-size", "4"]
    with terminal(*arguments) as command:
        command.read_until("of 800 texts")
        command.press("\x03")
        assert command.wait() == 130
    for text in ("Traceback", "KeyboardInterrupt", "Aborted"):
        assert text not in command.output
    assert "--resume continues" in " ".join(command.output.split())
    endpoint.slow("embed", Latency())
    assert embed(*arguments[3:], "--resume").returncode == 0


def test_work_that_cannot_begin_leaves_nothing(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    endpoint.fail("embed", *[Fault("status", status=401)] * 100)
    path = tmp_path / "out.npy"
    done = embed("-o", path, stdin="a\nb")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_head_of_an_array_says_its_shape(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "out.npy"
    embed("-o", path, stdin="a\nb\nc")
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    assert len(data) == 128 + 3 * 8 * 4
    assert b"'shape': (3, 8)" in data[10 : 10 + struct.unpack("<H", data[8:10])[0]]
