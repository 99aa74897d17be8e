"""Inputs of bulk commands: ids and positions of the user's file, and texts that are missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import ConfigurationError
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.cli.bulk.inputs import Input, Tally
from azinfer.local.cli.bulk.outputs import open_output
from command_runs import run

pyarrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")
BIG = 123456789012345678901234567890


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalEndpoint]:
    with LocalEndpoint([LocalDeployment("chat")]) as endpoint:
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
        monkeypatch.setenv("AZINFER_DATA", str(tmp_path / "data"))
        monkeypatch.chdir(tmp_path)
        yield endpoint


def lines_of(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.mark.parametrize("ids", [[7, 0, BIG], ["7", "x", ""], [1.5, True, ["a", 1]]])
def test_ids_have_the_type_that_they_have_in_the_input(
    endpoint: LocalEndpoint, ids: list[Any]
) -> None:
    rows = [{"id": each, "prompt": "Hi", "text": "Hi"} for each in ids]
    stdin = "".join(f"{json.dumps(row)}\n" for row in rows)
    assert run("complete", "-m", "chat", "-o", "c.jsonl", stdin=stdin)[0] == 0
    assert run("embed", "-m", "chat", "-o", "e.jsonl", stdin=stdin)[0] == 0
    assert run("batch", "prepare", "night", "-m", "chat", stdin=stdin)[0] == 0
    assert run("batch", "submit", "night")[0] == 0
    assert run("batch", "watch", "night")[0] == 0
    assert run("batch", "fetch", "night", "-o", "b.jsonl")[0] == 0
    for path in ("c.jsonl", "e.jsonl", "b.jsonl"):
        result = [row["id"] for row in lines_of(path)]
        assert [(type(each), each) for each in result] == [(type(each), each) for each in ids]


def test_ids_of_a_table_join_with_those_of_its_input(endpoint: LocalEndpoint) -> None:
    table = pyarrow.table({"id": [3, 5], "text": ["a", "b"]})
    parquet.write_table(table, "in.parquet")
    assert run("embed", "-m", "chat", "-i", "in.parquet", "-o", "out.parquet")[0] == 0
    result = parquet.read_table("out.parquet")
    assert result["id"].type == table["id"].type
    assert result.select(["id"]).join(table, "id").num_rows == 2


@pytest.mark.parametrize("last", ["x", BIG, 0.5, True])
def test_ids_of_a_table_become_texts_when_one_is_no_number(tmp_path: Path, last: Any) -> None:
    output = open_output(tmp_path / "out.parquet", "complete")
    for at in range(5000):
        output.write({"index": at, "id": at, "text": "a"})
    output.write({"index": 5000, "id": last, "text": "b"})
    output.write({"index": 5001, "text": "c"})
    output.finish()
    result = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    name = last if isinstance(last, str) else json.dumps(last)
    assert [row["id"] for row in result] == [*map(str, range(5000)), name, None]
    assert [row["index"] for row in result] == list(range(5002))
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


WITH_GAPS = {
    "in.txt": "one\n\n  \ntwo\n\n\n",
    "in.jsonl": '"one"\n\n{"text": " "}\n{"text": "two", "prompt": "two"}\n\n',
    "in.csv": "id,text\n0,one\n\n2,\n3,two\n\n",
    "short.csv": "id,text\n0,one\n\n2\n3,two\n",
    "in.parquet": ["one", None, "", "two"],
}


def write(name: str) -> None:
    content: Any = WITH_GAPS[name]
    if isinstance(content, list):
        parquet.write_table(pyarrow.table({"text": content}), name)
    else:
        Path(name).write_text(content)


@pytest.mark.parametrize("name", WITH_GAPS)
def test_an_index_is_the_position_in_the_input(endpoint: LocalEndpoint, name: str) -> None:
    write(name)
    code, message = run("embed", "-m", "chat", "-i", name, "-o", "out.jsonl", "--json")
    assert code == 0
    assert "2 of " in message
    assert "lines or records have no text and were skipped; the first has the index 1" in message
    assert json.loads(message[message.index("{") : message.rindex("}") + 1])["skipped"] == 2
    rows = lines_of("out.jsonl")
    assert [row["index"] for row in rows] == [0, 3]
    sent: list[Any] = [each.body for each in endpoint.requests if "embeddings" in each.path]
    assert [body["input"] for body in sent] == [["one", "two"]]
    assert run("embed", "-m", "chat", "-i", name, "-o", "out.npy")[0] == 0
    numpy = pytest.importorskip("numpy")
    array = numpy.load("out.npy")
    assert array[3].tolist() == pytest.approx(rows[1]["vector"])
    assert numpy.isnan(array[1:3]).all()
    assert len(array) == 4
    dry = run("embed", "-m", "chat", "-i", name, "--dry-run")[1]
    assert "2 texts in 1 requests" in dry
    assert "were skipped" in dry
    code, message = run("batch", "prepare", "night", "-m", "chat", "-i", name, "--column", "text")
    assert (code, "were skipped" in message) == (0, True)
    indexes = [line[0] for line in lines_of("night/ids.jsonl")]
    assert indexes == [0, 3]


def test_failures_are_named_by_their_position_in_the_input(endpoint: LocalEndpoint) -> None:
    bad = {"messages": [{"role": "user", "content": "a"}], "temperature": 5}
    code, message = run("complete", "-m", "chat", stdin=f'{{"prompt": "a"}}\n\n{json.dumps(bad)}\n')
    assert code == 1
    assert "item 2: Invalid 'temperature'" in message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("in.txt", "", "in.txt has no text to send: it is empty"),
        ("in.csv", "", "in.csv has no text to send: it is empty"),
        ("in.csv", "id,text\n", "in.csv has no text to send: it is empty"),
        ("in.jsonl", "\n \n", "in.jsonl has no text to send: none of its 2 lines"),
        ("in.csv", "id,text\n1,\n", "in.csv has no text to send: none of its 1 lines"),
        ("in.csv", "id,text\n1,a\n2,b, c\n", "in.csv, line 3 has 3 cells and the first line 2"),
        ("in.csv", 'id,text\n1,"a\n', "in.csv, line 2 cannot be read: unexpected end of data"),
        ("in.txt", "a\nb\n\udcff\n", "in.txt, line 3 is not UTF-8"),
        ("in.jsonl", '"a"\n{"text": "b"\n', "in.jsonl, line 2 is not JSON"),
    ],
)
@pytest.mark.parametrize("command", ["embed", "complete", "prepare"])
def test_an_input_without_text_or_with_a_mistake_is_an_error(
    endpoint: LocalEndpoint, name: str, content: str, reason: str, command: str
) -> None:
    Path(name).write_text(content, errors="surrogateescape")
    start = ["batch", "prepare", "night"] if command == "prepare" else [command, "-o", "out.jsonl"]
    code, message = run(*start, "-m", "chat", "-i", name, "--column", "text")
    assert code == 1
    assert reason in message
    assert not Path("out.jsonl").exists()
    assert not Path("night").exists()


@pytest.mark.parametrize("command", ["embed", "complete"])
def test_an_empty_pipe_or_argument_is_an_error(endpoint: LocalEndpoint, command: str) -> None:
    code, message = run(command, "-m", "chat", stdin="")
    assert (code, "the standard input has no text to send: it is empty" in message) == (1, True)
    code, message = run(command, "-m", "chat", "a", " ")
    assert (code, "TEXT number 2 is empty: ' '" in message) == (2, True)
    assert not any("embeddings" in each.path for each in endpoint.requests)


def test_positions_go_on_through_several_files(tmp_path: Path) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    files[0].write_text("one\n\n")
    files[1].write_text("\ntwo")
    tally = Tally()
    rows = list(Input(files=[str(file) for file in files]).rows(tally))
    assert [(row.item, row.index) for row in rows] == [("one", 0), ("two", 3)]
    assert (tally.records, tally.skipped, tally.first) == (4, 1, 2)
    for file in files:
        file.write_text("")
    with pytest.raises(ConfigurationError, match=r"a\.txt and .*b\.txt has no text"):
        list(Input(files=[str(file) for file in files]).rows())
