"""`azinfer batch`: a job in a folder, from prompts to answers, whatever interrupts it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from azinfer.core import InferenceError
from azinfer.core.batches import Batch, Batches
from azinfer.local import Fault, LocalDeployment, LocalEndpoint
from azinfer.local.cli.app import app
from azinfer.local.cli.bulk import batch as batches
from azinfer.local.cli.bulk.batch_job import BatchJob
from azinfer.local.cli.error_messages import describe

PROMPTS = [f"Question {at}?" for at in range(12)]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEndpoint]:
    with LocalEndpoint([LocalDeployment("chat"), LocalDeployment("other")]) as endpoint:
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
        yield endpoint


def run(command: str, folder: Path, *arguments: Any, stdin: str = "") -> tuple[int, str, str]:
    """Run `azinfer batch`; return the exit code and what it prints."""
    words = ["batch", command, str(folder), *map(str, arguments)]
    result = CliRunner().invoke(app, words, input=stdin)
    if isinstance(result.exception, InferenceError):
        return result.exit_code, result.stdout, describe(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def prepare(folder: Path, lines: list[Any], *arguments: Any) -> tuple[int, str, str]:
    stdin = "\n".join(map(json.dumps, lines))
    return run("prepare", folder, "-m", "chat", "--format", "jsonl", *arguments, stdin=stdin)


def creations(endpoint: LocalEndpoint, path: str) -> int:
    """Return how many objects were created at a path."""
    return sum(each.method == "POST" and each.path.endswith(path) for each in endpoint.requests)


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_job_goes_from_prompts_to_answers(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    own = {"id": "own", "messages": [{"role": "user", "content": "Own"}], "max_tokens": 3}
    lines = [*PROMPTS, {"id": 7, "prompt": "Named"}, own]
    code, output, _ = prepare(folder, lines, "--system", "Be brief.", "--max-tokens", 50)
    assert code == 0
    assert "14 requests in 1 files" in output
    assert len(endpoint.requests) == 0
    bodies = [each["body"] for each in records((folder / "0001.jsonl").read_text())]
    assert [body["max_tokens"] for body in bodies] == [50] * 13 + [3]
    assert [len(body["messages"]) for body in bodies] == [2] * 13 + [1]
    code, output, _ = run("submit", folder)
    assert code == 0
    assert "0001.jsonl" in output
    code, output, _ = run("watch", folder, "--json")
    assert code == 0
    [facts] = json.loads(output)
    assert (facts["status"], facts["completed"], facts["failed"]) == ("completed", 14, 0)
    code, output, errors = run("fetch", folder)
    assert (code, errors) == (0, "")
    rows = records(output)
    assert [each["index"] for each in rows] == list(range(14))
    assert [each["text"] for each in rows[:12]] == [
        f"This is a synthetic answer to: {prompt}" for prompt in PROMPTS
    ]
    assert [each.get("id") for each in rows[11:]] == [None, 7, "own"]
    assert rows[13]["finish_reason"] == "length"
    assert run("fetch", folder, "-o", tmp_path / "answers.jsonl")[0] == 0
    assert records((tmp_path / "answers.jsonl").read_text()) == rows


def test_a_large_input_becomes_several_files(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_MOST_REQUESTS", 5)
    folder = tmp_path / "night"
    assert "12 requests in 3 files" in prepare(folder, PROMPTS)[1]
    assert [part.requests for part in BatchJob.open(folder).parts] == [5, 5, 2]
    assert [run(command, folder)[0] for command in ("submit", "watch")] == [0, 0]
    assert [each["index"] for each in records(run("fetch", folder)[1])] == list(range(12))
    monkeypatch.setattr(batches, "_MOST_BYTES", batches._ROOM + 200)
    prepare(tmp_path / "small", PROMPTS)
    assert max(part.requests for part in BatchJob.open(tmp_path / "small").parts) < 4


def test_nothing_is_submitted_twice(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_MOST_REQUESTS", 6)
    folder = tmp_path / "night"
    prepare(folder, PROMPTS)
    saved = BatchJob.save
    steps = iter(range(1, 100))

    class Killed(BaseException):
        pass

    def die(job: BatchJob) -> None:
        if next(steps) % 2 == 0:
            raise Killed  # the batch is created, and its id is not written down
        saved(job)

    monkeypatch.setattr(BatchJob, "save", die)
    for _ in range(2):
        with pytest.raises(Killed):
            run("submit", folder)
    monkeypatch.setattr(BatchJob, "save", saved)
    assert run("submit", folder)[0] == 0
    assert run("submit", folder)[0] == 0
    assert creations(endpoint, "/batches") == 2
    assert creations(endpoint, "/files") == 3  # an upload that was not written down costs nothing
    run("watch", folder)
    assert len(records(run("fetch", folder)[1])) == 12


def test_failures_are_listed_and_sent_again(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    prepare(folder, [{"id": f"q{at}", "prompt": prompt} for at, prompt in enumerate(PROMPTS)])
    endpoint.fail("chat", Fault("status", status=500, every=4))
    run("submit", folder)
    run("watch", folder)
    output = tmp_path / "answers.jsonl"
    code, _, errors = run("fetch", folder, "-o", output)
    assert code == 1
    assert f"3 failed; `azinfer batch submit {folder} --retry-failed` sends them again" in errors
    assert errors.count("azinfer: request ") == 3
    assert "(q" in errors
    failed = [each["index"] for each in records(output.read_text()) if "error" in each]
    assert len(failed) == 3
    endpoint.fail("chat")
    assert run("submit", folder, "--retry-failed")[0] == 0
    part = BatchJob.open(folder).parts[1]
    lines = records((folder / part.name).read_text())
    assert [int(each["custom_id"]) for each in lines] == failed
    run("watch", folder)
    assert run("fetch", folder, "-o", output)[0] == 0
    rows = records(output.read_text())
    assert [each["id"] for each in rows] == [f"q{at}" for at in range(12)]
    assert not any("error" in each for each in rows)
    assert f"no request of {folder} has failed" in run("submit", folder, "--retry-failed")[2]


def test_a_retry_needs_no_fetch_and_leaves_out_what_would_fail_again(
    endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "my night"
    bad = {"messages": [{"role": "user", "content": "a"}], "temperature": 5}
    prepare(folder, [*PROMPTS, bad])
    assert run("submit", folder, "--retry-failed")[0] == 0  # there is nothing to retry yet
    run("watch", folder)
    code, _, errors = run("fetch", folder)
    assert (code, "sends" in errors) == (1, False)
    assert "1 failed; they would fail again, as the service refuses what they contain" in errors
    code, _, errors = run("submit", folder, "--retry-failed")
    assert (code, "1 requests of" in errors, "would fail again" in errors) == (1, True, True)

    folder = tmp_path / "second night"
    prepare(folder, [*PROMPTS, bad])
    endpoint.fail("chat", Fault("status", status=500, every=4))
    run("submit", folder)
    run("watch", folder)
    endpoint.fail("chat")
    assert run("submit", folder, "--retry-failed")[0] == 0
    parts = BatchJob.open(folder).parts
    assert [part.requests for part in parts] == [13, 3]
    run("watch", folder)
    code, output, errors = run("fetch", folder)
    assert code == 1
    assert [each["index"] for each in records(output) if "error" in each] == [12]


def test_each_request_of_a_failed_batch_has_its_own_reason(
    endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "night"
    prepare(folder, PROMPTS[:3])
    part = folder / "0001.jsonl"
    lines = part.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"model":"chat"', b'"model":"missing"')
    part.write_bytes(b"".join(lines))
    run("submit", folder)
    run("watch", folder)
    _, output, errors = run("fetch", folder)
    reasons = [each["error"] for each in records(output)]
    assert reasons[1].startswith("its batch ended as 'failed': line 2: ")
    for other in (reasons[0], reasons[2]):
        assert "because of other requests, of which the first is line 2: " in other
    assert "sends 2 of them again; the others would fail again" in errors


def test_a_batch_without_results_moves_no_answer(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_MOST_REQUESTS", 6)
    folder, output = tmp_path / "night", tmp_path / "answers.jsonl"
    prepare(folder, [{"id": f"q{at}", "prompt": prompt} for at, prompt in enumerate(PROMPTS)])
    assert [run(command, folder)[0] for command in ("submit", "watch")] == [0, 0]
    first = BatchJob.open(folder).parts[0].batch_id
    answered = Batches.get

    def get(self: Batches, batch_id: str) -> Batch:
        """Return the first batch as one that failed validation, and whose input is deleted."""
        batch = answered(self, batch_id)
        if batch_id != first:
            return batch
        names = {"input_file_id": "file-gone"}
        return Batch(id=batch_id, status="failed", total=0, completed=0, failed=0, raw=names)

    monkeypatch.setattr(Batches, "get", get)
    assert run("fetch", folder, "-o", output)[0] == 1
    rows = records(output.read_text())
    assert [(each["index"], each["id"]) for each in rows] == [(at, f"q{at}") for at in range(12)]
    assert ["error" in each for each in rows] == [True] * 6 + [False] * 6
    assert [each["text"] for each in rows[6:]] == [
        f"This is a synthetic answer to: {prompt}" for prompt in PROMPTS[6:]
    ]
    assert run("submit", folder, "--retry-failed")[0] == 0
    assert BatchJob.open(folder).parts[2].requests == 6
    assert run("watch", folder)[0] == 0
    assert run("fetch", folder, "-o", output)[0] == 0
    assert [each["text"] for each in records(output.read_text())] == [
        f"This is a synthetic answer to: {prompt}" for prompt in PROMPTS
    ]


def test_wrong_steps_say_what_to_do(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    assert "is not the folder of a batch job: `azinfer batch prepare`" in run("submit", folder)[2]
    assert (
        "the standard input has no text to send: it is empty" in prepare(tmp_path / "empty", [])[2]
    )
    done = run("prepare", folder, stdin="a")
    assert "choose the deployment for the batch with --model" in done[2]
    prepare(folder, PROMPTS)
    assert f"{folder} is not empty" in prepare(folder, PROMPTS)[2]
    assert "is not submitted; `azinfer batch submit" in run("fetch", folder)[2]
    (folder / "job.json").write_text("{")
    assert "its job.json cannot be read" in run("watch", folder)[2]
    file = tmp_path / "file"
    file.write_text("x")
    assert "cannot be created" in prepare(file / "job", PROMPTS)[2]


def test_a_batch_that_goes_on_is_not_fetched(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "night"
    prepare(folder, PROMPTS)
    run("submit", folder)
    job = BatchJob.open(folder)

    going = Batch(
        id=job.parts[0].batch_id or "", status="in_progress", total=12, completed=3, failed=0
    )
    monkeypatch.setattr(Batches, "get", lambda self, batch_id: going)
    code, output, errors = run("fetch", folder, "-o", tmp_path / "answers.jsonl")
    assert (code, output) == (1, "")
    assert "of 0001.jsonl is in_progress, 3 of 12: `azinfer batch watch" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night"]


def test_a_batch_that_fails_validation_says_why(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    prepare(folder, PROMPTS)
    part = folder / "0001.jsonl"
    part.write_bytes(part.read_bytes().replace(b'"model":"chat"', b'"model":"missing"'))
    run("submit", folder)
    code, _, errors = run("watch", folder)
    assert code == 1
    reasons = [line for line in errors.splitlines() if "0001.jsonl: line" in line]
    assert len(reasons) == 10
    assert reasons[0].startswith("azinfer: 0001.jsonl: line 1: ")
    assert "missing" in reasons[0]
    assert "and 2 more" in errors
    code, output, _ = run("submit", folder, "--json")  # it is not sent again
    assert code == 1
    assert len(json.loads(output)[0]["errors"]) == 12
    results = records(run("fetch", folder)[1])
    assert len(results) == 12
    assert [each["error"].partition(": ")[2].partition(":")[0] for each in results] == [
        f"line {number}" for number in range(1, 13)
    ]


def test_a_mistake_in_the_input_leaves_no_folder(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / "night"
    code, _, errors = prepare(folder, [*PROMPTS, 5])
    assert (code, "line 13 is not a text" in errors) == (1, True)
    assert not folder.exists()
    folder.mkdir()
    assert prepare(folder, [5])[0] == 1
    assert list(folder.iterdir()) == []
    assert prepare(folder, PROMPTS)[0] == 0


@pytest.mark.parametrize("command", ["submit", "fetch"])
def test_one_command_at_a_time_changes_a_job(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = tmp_path / "night"
    prepare(folder, PROMPTS)
    if command == "fetch":
        assert [run(each, folder)[0] for each in ("submit", "watch")] == [0, 0]
    refused = []
    saved = BatchJob.save

    def save(job: BatchJob) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refused.append(job)
        os.close(handle)
        saved(job)

    monkeypatch.setattr(BatchJob, "save", save)
    assert run(command, folder)[0] == 0
    assert len(refused) == (2 if command == "submit" else 1)
