"""Files that commands write: never over the input, and whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from azinfer.core import ConfigurationError, InferenceClient
from azinfer.core.bulk.checkpoint import Checkpoint
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.cli import file_writing
from azinfer.local.cli.bulk.checkpoints import refuse_if_in_use
from azinfer.local.cli.bulk.outputs import open_output
from azinfer.local.cli.chat import Conversation, run_command
from command_runs import run
from terminals import COMMAND

LINES = '{"text": "one", "prompt": "one"}\n{"text": "two", "prompt": "two"}\n'


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalEndpoint]:
    with LocalEndpoint([LocalDeployment("chat")]) as endpoint:
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
        monkeypatch.setenv("AZINFER_DATA", str(tmp_path / "data"))
        monkeypatch.chdir(tmp_path)
        yield endpoint


@pytest.mark.parametrize("command", ["embed", "complete"])
@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("in.jsonl", "in.jsonl"),
        ("in.jsonl", "sub/../in.jsonl"),
        ("in.jsonl", "soft.jsonl"),
        ("in.jsonl", "hard.jsonl"),
        ("soft.jsonl", "in.jsonl"),
        ("out.jsonl.checkpoint", "out.jsonl"),
        ("out.jsonl.part", "out.jsonl"),
    ],
)
@pytest.mark.parametrize("option", ["--force", "--resume", None])
def test_no_command_writes_over_its_input(
    endpoint: LocalEndpoint,
    tmp_path: Path,
    command: str,
    source: str,
    output: str,
    option: str | None,
) -> None:
    (tmp_path / "sub").mkdir()
    for name in {"in.jsonl", source} - {"soft.jsonl"}:
        (tmp_path / name).write_text(LINES)
    (tmp_path / "soft.jsonl").symlink_to("in.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to("in.jsonl")
    more = ["--format", "jsonl", *([option] if option else [])]
    code, message = run(command, "-m", "chat", "-i", source, "-o", tmp_path / output, *more)
    assert code != 0
    assert f"{source} would be overwritten" in message
    assert "use another file for the output" in message
    assert Path(source).read_text() == LINES
    assert not any("embeddings" in each.path for each in endpoint.requests)
    assert not any("completions" in each.path for each in endpoint.requests)


def test_a_redirected_input_is_not_written_over(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(LINES)
    command = [COMMAND, "embed", "-m", "chat"]
    with path.open() as stdin:
        done = subprocess.run(
            [*command, "-o", path, "--force"], stdin=stdin, capture_output=True, text=True
        )
    assert done.returncode != 0
    assert "the standard input would be overwritten" in done.stderr
    with path.open("a") as stdout:
        done = subprocess.run(
            [*command, "-i", path], stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    assert "is the file that the output goes to, too" in done.stderr
    assert path.read_text() == LINES


def test_an_output_that_is_a_link_stays_one(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to("target.data")
    assert run("embed", "-m", "chat", "-o", "link.jsonl", stdin="one")[0] == 0
    assert (tmp_path / "link.jsonl").is_symlink()
    assert len((tmp_path / "target.data").read_text().splitlines()) == 1


def test_results_of_a_batch_replace_only_themselves(
    endpoint: LocalEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(LINES)
    (tmp_path / "mine.jsonl").write_text("my notes")
    assert run("batch", "prepare", "night", "-m", "chat", "-i", "in.jsonl")[0] == 0
    assert run("batch", "submit", "night")[0] == 0
    assert run("batch", "watch", "night")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "night").iterdir()}
    for own in ("in.jsonl", "night/0001.jsonl", "night/ids.jsonl"):
        code, message = run("batch", "fetch", "night", "-o", own, "--force")
        assert code != 0
        assert "would be overwritten" in message
    assert (tmp_path / "in.jsonl").read_text() == LINES
    assert {path: path.read_bytes() for path in before} == before
    code, message = run("batch", "fetch", "night", "-o", "mine.jsonl")
    assert code != 0
    assert "mine.jsonl exists: use another file, or pass --force" in message
    assert (tmp_path / "mine.jsonl").read_text() == "my notes"
    assert run("batch", "fetch", "night", "-o", "mine.jsonl", "--force")[0] == 0
    results = (tmp_path / "mine.jsonl").read_text()
    assert run("batch", "fetch", "night", "-o", "mine.jsonl") == (0, "")
    (tmp_path / "mine.jsonl").write_text(results + "\n")  # the user's by now
    assert run("batch", "fetch", "night", "-o", "mine.jsonl")[0] != 0


def test_a_redirected_input_of_a_batch_is_known(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not say which file the standard input is")
    path = tmp_path / "in.jsonl"
    path.write_text(LINES)
    with path.open() as stdin:
        subprocess.run(
            [COMMAND, "batch", "prepare", "night", "-m", "chat"], stdin=stdin, check=True
        )
    assert run("batch", "submit", "night")[0] == 0
    assert run("batch", "watch", "night")[0] == 0
    assert "would be overwritten" in run("batch", "fetch", "night", "-o", path, "--force")[1]


def test_a_killed_preparation_is_not_in_the_way(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    (tmp_path / "night/.unfinished").mkdir(parents=True)
    (tmp_path / "night/.unfinished/0001.jsonl").write_text("half of")
    assert run("batch", "prepare", "night", "-m", "chat", stdin=LINES)[0] == 0
    assert sorted(os.listdir("night")) == ["0001.jsonl", "ids.jsonl", "job.json"]


def test_a_lock_replaces_only_a_lock(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    code, message = run("deployments", "--lock", path)
    assert (code, path.read_text()) == (1, "my notes")
    assert "exists and is not a file of `azinfer deployments --lock`" in message
    path.write_text("")
    assert run("deployments", "--lock", path)[0] == 0
    assert run("deployments", "--lock", path)[0] == 0
    assert "chat" in json.loads(path.read_text())["deployments"]
    code, message = run("deployments", "--lock", tmp_path / "none" / "lock.json")
    assert (code, "cannot be written" in message) == (1, True)


def test_a_conversation_replaces_only_what_it_saved(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.json").write_text("my notes")
    with InferenceClient() as client:
        conversation = Conversation(client, "chat", "Be brief.", {})
        with pytest.raises(ConfigurationError, match=r"mine\.json exists: choose another name"):
            run_command(conversation, "/save mine.json")
        for _ in range(2):
            assert run_command(conversation, "/save ~/new.json").startswith("saved to")
    assert (tmp_path / "mine.json").read_text() == "my notes"
    assert json.loads((tmp_path / "new.json").read_text())["model"] == "chat"


def test_migration_writes_nothing_if_a_file_cannot_be_read(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    good, bad = tmp_path / "a.py", tmp_path / "b.py"
    source = "from openai import AzureOpenAI\nclient = AzureOpenAI(azure_endpoint='x')\n"
    good.write_text(source)
    bad.write_text("def (")
    code, message = run("migrate", "--write", good, bad)
    assert (code, good.read_text()) == (1, source)
    assert "b.py cannot be read" in message
    good.chmod(0o755)
    run("migrate", "--write", good)
    assert good.read_text() != source
    assert good.stat().st_mode & 0o777 == 0o755


def test_a_file_is_replaced_only_when_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail(_: int) -> None:
        assert path.read_text() == "before"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        file_writing.write_file(path, "after")
    assert (os.listdir(tmp_path), path.read_text()) == (["file"], "before")
    monkeypatch.undo()
    mask = os.umask(0o027)
    try:
        file_writing.write_file(tmp_path / "new", "text")
    finally:
        os.umask(mask)
    if sys.platform != "win32":
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
        file_writing.write_file(Path("/dev/null"), "text")
        assert Path("/dev/null").is_char_device()


def test_a_long_name_of_a_file_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    file_writing.write_file(path, "text")
    assert path.read_text() == "text"


@pytest.mark.skipif(sys.platform == "win32", reason="has no /dev/stdout")
def test_a_pipe_of_the_shell_can_be_written(tmp_path: Path) -> None:
    code = "from pathlib import Path; from azinfer.local.cli.file_writing import write_file; "
    code += "write_file(Path('/dev/stdout'), 'text')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("text", "")


@pytest.mark.parametrize("ending", ["jsonl", "npy", "parquet"])
def test_two_runs_never_write_one_output(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"out.{ending}"
    record = {"index": 0, "vector": array("f", [1.0, 2.0])}
    first = open_output(path, "embed")
    first.write(record)
    with pytest.raises(ConfigurationError, match="is being written by another run"):
        open_output(path, "embed")
    first.finish()
    whole = path.read_bytes()
    second = open_output(path, "embed")
    assert path.read_bytes() == whole
    second.write(record)
    second.finish()
    assert path.read_bytes() == whole
    assert os.listdir(tmp_path) == [path.name]


def test_a_checkpoint_in_use_is_not_called_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.checkpoint"
    running = Checkpoint(path, {"model": "m"})
    with pytest.raises(ConfigurationError, match="is in use by another run"):
        refuse_if_in_use(path)
    running.close()
    refuse_if_in_use(path)
    path.write_text("not a checkpoint")
    refuse_if_in_use(path)
