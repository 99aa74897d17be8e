"""Batches on both surfaces, called with a plain HTTP client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.core import RateLimit
from azinfer.local import (
    ContentFilter,
    LocalDeployment,
    LocalEndpoint,
    Prompt,
    SyntheticEngine,
)

BASES = ["/openai/v1", "/openai"]
SERVER = Path(__file__).parents[1] / "support" / "batch_server.py"
Json = dict[str, Any]


def chat(text: str = "hi", model: str = "chat", **more: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def line(custom_id: str, body: Json, url: str = "/v1/chat/completions") -> Json:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


class Asker:
    """Uploads batches, waits for them and reads their results."""

    def __init__(self, url: str, key: str, base: str = BASES[0]) -> None:
        self.http = httpx.Client(base_url=url + base, headers={"api-key": key})

    def upload(self, lines: list[Any], purpose: str = "batch") -> str:
        texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
        files = {"file": ("in.jsonl", "\n".join(texts).encode())}
        file = self.http.post("/files", files=files, data={"purpose": purpose}).json()
        return str(file["id"])

    def create(self, lines: list[Any], endpoint: str = "/chat/completions", **more: Any) -> Json:
        body = {"endpoint": endpoint, "completion_window": "24h", **more}
        answer = self.http.post("/batches", json={"input_file_id": self.upload(lines), **body})
        assert answer.status_code == 200, answer.text
        batch: Json = answer.json()
        return batch

    def until(self, batch_id: str, reached: Callable[[Json], bool]) -> Json:
        while True:
            batch: Json = self.http.get(f"/batches/{batch_id}").json()
            if reached(batch):
                return batch

    def wait_for_end(self, batch_id: str) -> Json:
        return self.until(batch_id, lambda batch: batch["status"] in ENDED)

    def results(self, file_id: str | None) -> dict[str, Json]:
        if file_id is None:
            return {}
        content = self.http.get(f"/files/{file_id}/content").text
        results = [json.loads(each) for each in content.splitlines()]
        return {each["custom_id"]: each for each in results}


ENDED = ("completed", "failed", "expired", "cancelled")


class Waiting(SyntheticEngine):
    """An engine that never answers what begins with "wait"."""

    async def chat(self, prompt: Prompt) -> Any:
        if str(prompt.messages[-1]["content"]).startswith("wait"):
            await asyncio.Event().wait()
        async for piece in super().chat(prompt):
            yield piece


def serve(**named: Any) -> LocalEndpoint:
    words = {"violence": {"bomb": "high"}}
    deployments = [
        LocalDeployment(
            "chat", engine=Waiting("Paris."), content_filter=ContentFilter(words=words)
        ),
        LocalDeployment("other"),
        LocalDeployment("nightly", capacity_type="GlobalBatch"),
        LocalDeployment("limited", rate_limits=(RateLimit("request", 1, 0.02),)),
        LocalDeployment("tiny", rate_limits=(RateLimit("token", 1, 60),)),
    ]
    return LocalEndpoint(deployments, **named)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    with serve() as endpoint:
        yield endpoint


@pytest.fixture(params=BASES)
def asker(endpoint: LocalEndpoint, request: pytest.FixtureRequest) -> Iterator[Asker]:
    asker = Asker(endpoint.url, endpoint.key, request.param)
    with asker.http:
        yield asker


@pytest.mark.parametrize("endpoint_path", ["/v1/chat/completions", "/chat/completions"])
def test_a_batch_has_the_documented_form(asker: Asker, endpoint_path: str) -> None:
    lines = [line("a", chat()), line("b", chat("a bomb"), "/chat/completions")]
    batch = asker.create(lines, endpoint_path, metadata={"a": "b"})
    assert batch["id"].startswith("batch_")
    created = batch["created_at"]
    assert batch == {
        "id": batch["id"],
        "object": "batch",
        "endpoint": endpoint_path,
        "errors": None,
        "input_file_id": batch["input_file_id"],
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": created,
        "in_progress_at": None,
        "expires_at": created + 86400,
        "finalizing_at": None,
        "completed_at": None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None,
        "cancelled_at": None,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": {"a": "b"},
    }
    ended = asker.wait_for_end(batch["id"])
    changed = {name: value for name, value in ended.items() if value != batch[name]}
    for name in ("in_progress_at", "finalizing_at", "completed_at"):
        assert changed.pop(name) >= created
    output, error = changed.pop("output_file_id"), changed.pop("error_file_id")
    assert changed == {
        "status": "completed",
        "request_counts": {"total": 2, "completed": 1, "failed": 1},
    }
    file = asker.http.get(f"/files/{output}").json()
    assert (file["purpose"], file["filename"]) == ("batch_output", f"{batch['id']}_output.jsonl")
    (good,), (bad,) = asker.results(output).values(), asker.results(error).values()
    assert set(good) == set(bad) == {"id", "custom_id", "response", "error"}
    assert (good["custom_id"], good["error"]) == ("a", None)
    assert (bad["custom_id"], bad["error"]) == ("b", None)
    body = good["response"].pop("body")
    assert good["response"] == {"status_code": 200, "request_id": body["id"].split("-")[1]}
    assert body["choices"][0]["message"]["content"] == "Paris."
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"]["error"]["code"] == "content_filter"


def test_a_batch_runs_embeddings_and_responses(asker: Asker) -> None:
    body: Json = {"model": "other", "input": ["a", "b"]}
    batch = asker.create([line("e", body, "/embeddings")], "/v1/embeddings")
    (result,) = asker.results(asker.wait_for_end(batch["id"])["output_file_id"]).values()
    assert len(result["response"]["body"]["data"]) == 2
    body = {"model": "chat", "input": "hi"}
    batch = asker.create([line("r", body, "/v1/responses")], "/responses")
    (result,) = asker.results(asker.wait_for_end(batch["id"])["output_file_id"]).values()
    assert result["response"]["body"]["output"][0]["content"][0]["text"] == "Paris."


def test_lines_are_checked_like_requests(asker: Asker) -> None:
    wrong: dict[str, Json] = {
        "temperature": chat(temperature=9),
        "messages": {"model": "chat"},
        "stream": chat(stream=True),
    }
    batch = asker.create([line(name, body) for name, body in wrong.items()])
    ended = asker.wait_for_end(batch["id"])
    assert ended["output_file_id"] is None
    results = asker.results(ended["error_file_id"])
    assert {name: each["response"]["body"]["error"]["param"] for name, each in results.items()} == {
        name: name for name in wrong
    }


GOOD = line("a", chat())
INVALID: list[tuple[str, str | None, int | None, list[Any]]] = [
    ("empty_file", None, None, []),
    ("empty_file", None, None, ["", "  "]),
    ("invalid_json_line", None, 2, [GOOD, "{"]),
    ("invalid_json_line", None, 1, ["[1]"]),
    ("invalid_json_line", None, 3, [GOOD, "", '"a"']),
    ("url_mismatch", "url", 1, [{**GOOD, "url": "/v1/embeddings"}]),
    ("url_mismatch", "url", 1, [{**GOOD, "url": None}]),
    ("invalid_request", "custom_id", 1, [{**GOOD, "custom_id": 7}]),
    ("invalid_request", "method", 1, [{**GOOD, "method": "GET"}]),
    ("invalid_request", "body", 1, [{**GOOD, "body": "hi"}]),
    ("model_not_found", "body.model", 1, [line("a", {"messages": []})]),
    ("model_not_found", "body.model", 1, [line("a", chat(model="nope"))]),
    ("duplicate_custom_id", "custom_id", 2, [GOOD, GOOD]),
    ("model_mismatch", "body.model", 2, [GOOD, line("b", chat(model="other"))]),
]


@pytest.mark.parametrize(("code", "param", "number", "lines"), INVALID)
def test_an_invalid_file_fails_before_the_batch_starts(
    endpoint: LocalEndpoint, code: str, param: str | None, number: int | None, lines: list[Any]
) -> None:
    asker = Asker(endpoint.url, endpoint.key)
    with asker.http:
        ended = asker.wait_for_end(asker.create(lines)["id"])
    assert ended["status"] == "failed"
    assert isinstance(ended["failed_at"], int)
    assert ended["errors"]["object"] == "list"
    (error,) = ended["errors"]["data"]
    assert error.pop("message")
    assert error == {"code": code, "param": param, "line": number}
    assert (ended["output_file_id"], ended["error_file_id"]) == (None, None)


@pytest.mark.parametrize(
    ("count", "codes"), [(101, ["invalid_json_line"] * 100), (100_001, ["too_many_tasks"])]
)
def test_the_numbers_of_lines_and_errors_are_limited(
    endpoint: LocalEndpoint, count: int, codes: list[str]
) -> None:
    asker = Asker(endpoint.url, endpoint.key)
    with asker.http:
        ended = asker.wait_for_end(asker.create(["1"] * count)["id"])
    assert [error["code"] for error in ended["errors"]["data"]] == codes


def test_names_of_deployments_are_found_in_any_case(asker: Asker) -> None:
    batch = asker.create([line("a", chat(model="Chat")), line("b", chat(model="CHAT"))])
    assert asker.wait_for_end(batch["id"])["request_counts"]["completed"] == 2


def test_a_strict_endpoint_requires_a_batch_deployment() -> None:
    with serve(strict=True) as endpoint:
        asker = Asker(endpoint.url, endpoint.key)
        with asker.http:
            ended = asker.wait_for_end(asker.create([GOOD])["id"])
            assert ended["errors"]["data"][0]["code"] == "invalid_request"
            assert "chat is GlobalStandard" in ended["errors"]["data"][0]["message"]
            batch = asker.create([line("a", chat(model="nightly"))])
            assert asker.wait_for_end(batch["id"])["status"] == "completed"
        with httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http:
            assert http.get("/openai/batches").status_code == 404
            version = {"api-version": "2025-03-01-preview"}
            assert http.get("/openai/batches", params=version).status_code == 200


def test_invalid_batch_requests_are_refused(asker: Asker) -> None:
    good = {"input_file_id": asker.upload([GOOD]), "endpoint": "/v1/embeddings"}
    good["completion_window"] = "24h"
    for param, value in (
        ("input_file_id", "file-nope"),
        ("input_file_id", None),
        ("input_file_id", asker.upload([GOOD], "assistants")),
        ("endpoint", "/v1/images"),
        ("endpoint", None),
        ("completion_window", "1h"),
        ("metadata", "x"),
        ("output_expires_after", "x"),
        ("output_expires_after", {"anchor": "created_at", "seconds": 3}),
    ):
        answer = asker.http.post("/batches", json={**good, param: value})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"].partition(".")[0]) == (400, param)


def test_batches_are_listed_in_pages(asker: Asker) -> None:
    ids = [asker.create([GOOD])["id"] for _ in range(3)]
    page = asker.http.get("/batches", params={"limit": 2}).json()
    assert [each["id"] for each in page["data"]] == [ids[2], ids[1]]
    assert page["has_more"]
    page = asker.http.get("/batches", params={"limit": 1, "after": ids[1]}).json()
    assert [each["id"] for each in page["data"]] == [ids[0]]
    assert asker.http.get("/batches", params={"after": "nope"}).status_code == 400
    answer = asker.http.get("/batches/nope")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "No batch found with id 'nope'."


def test_a_cancelled_batch_keeps_its_results(asker: Asker) -> None:
    # Seven of eight at once hang, so the eighth goes through all that can be answered.
    blocked_lines = [line(f"h{at}", chat("wait")) for at in range(7)]
    quick = [line(f"q{at}", chat()) for at in range(20)]
    last = line("last", chat("wait"))
    batch = asker.create([*blocked_lines, *quick, last])
    running = asker.until(batch["id"], lambda batch: batch["request_counts"]["completed"] == 20)
    assert running["status"] == "in_progress"
    refused = asker.http.delete(f"/files/{batch['input_file_id']}")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "file_id")
    cancelling = asker.http.post(f"/batches/{batch['id']}/cancel").json()
    assert cancelling["status"] == "cancelling"
    assert isinstance(cancelling["cancelling_at"], int)
    ended = asker.wait_for_end(batch["id"])
    assert ended["status"] == "cancelled"
    assert isinstance(ended["cancelled_at"], int)
    assert ended["request_counts"] == {"total": 28, "completed": 20, "failed": 0}
    assert set(asker.results(ended["output_file_id"])) == {f"q{at}" for at in range(20)}
    answer = asker.http.post(f"/batches/{batch['id']}/cancel")
    assert answer.status_code == 400
    assert "with status 'cancelled'" in answer.json()["error"]["message"]
    assert asker.http.delete(f"/files/{batch['input_file_id']}").status_code == 200


def test_a_line_waits_for_its_rate_limit_unless_it_can_never_fit(asker: Asker) -> None:
    lines = [line(str(at), chat(model="limited")) for at in range(10)]
    ended = asker.wait_for_end(asker.create(lines)["id"])
    assert ended["request_counts"] == {"total": 10, "completed": 10, "failed": 0}
    ended = asker.wait_for_end(asker.create([line("a", chat(model="tiny"))])["id"])
    (result,) = asker.results(ended["error_file_id"]).values()
    assert result["response"]["status_code"] == 429


def test_a_batch_expires_after_its_window() -> None:
    now = 1_800_000_000.0

    class Late(SyntheticEngine):
        async def chat(self, prompt: Prompt) -> Any:
            nonlocal now
            if prompt.messages[-1]["content"] == "late":
                now += 86_400
            async for piece in super().chat(prompt):
                yield piece

    with LocalEndpoint([LocalDeployment("chat", engine=Late())], now=lambda: now) as endpoint:
        asker = Asker(endpoint.url, endpoint.key)
        with asker.http:
            lines = [line("a", chat()), line("b", chat("late")), line("c", chat())]
            expiry = {"anchor": "created_at", "seconds": 1_209_600}
            # All but one of eight at once have nothing left to do when the time is over.
            batch = asker.create(lines + [line(f"d{at}", chat()) for at in range(7)])
            ended = asker.wait_for_end(batch["id"])
            assert ended["status"] == "expired"
            assert ended["expired_at"] == ended["expires_at"]
            late = asker.results(ended["error_file_id"])
            assert late
            for each in late.values():
                assert each["response"] is None
                assert each["error"]["code"] == "batch_expired"
            done = asker.results(ended["output_file_id"])
            assert set(done) | set(late) == {each["custom_id"] for each in lines} | {
                f"d{at}" for at in range(7)
            }
            batch = asker.create([line("a", chat())], output_expires_after=expiry)
            output = asker.wait_for_end(batch["id"])["output_file_id"]
            file = asker.http.get(f"/files/{output}").json()
            assert file["expires_at"] == now + 1_209_600


def test_a_batch_outlives_its_endpoint(tmp_path: Path) -> None:
    with serve(data=tmp_path, key="k") as endpoint:
        asker = Asker(endpoint.url, "k")
        with asker.http:
            lines = [line("a", chat()), line("b", chat("wait"))]
            batch = asker.create(lines)
            asker.until(batch["id"], lambda batch: batch["request_counts"]["completed"] == 1)
            cancelled = asker.create([line("c", chat("wait"))])
            asker.until(cancelled["id"], lambda batch: batch["status"] == "in_progress")
            asker.http.post(f"/batches/{cancelled['id']}/cancel")
    with LocalEndpoint([LocalDeployment("chat")], data=tmp_path, key="k") as endpoint:
        asker = Asker(endpoint.url, "k")
        with asker.http:
            ended = asker.wait_for_end(batch["id"])
            assert set(asker.results(ended["output_file_id"])) == {"a", "b"}
            assert asker.wait_for_end(cancelled["id"])["status"] == "cancelled"


@pytest.mark.parametrize("code", ["input_modified", "server_error"])
def test_a_batch_whose_input_is_deleted_fails_and_keeps_its_results(
    tmp_path: Path, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1_800_000_000.0
    with serve(data=tmp_path, key="k", now=lambda: now) as endpoint:
        asker = Asker(endpoint.url, "k")
        with asker.http:
            batch = asker.create([line("a", chat()), line("b", chat("wait"))])
            asker.until(batch["id"], lambda batch: batch["request_counts"]["completed"] == 1)
    if code == "input_modified":  # its time is over
        database = sqlite3.connect(tmp_path / "store.sqlite")
        with contextlib.closing(database), database:
            database.execute("DELETE FROM files")
    else:
        (tmp_path / "files" / batch["input_file_id"]).unlink()
    with serve(data=tmp_path, key="k", now=lambda: now) as endpoint:
        asker = Asker(endpoint.url, "k")
        with asker.http:
            ended = asker.wait_for_end(batch["id"])
            assert (ended["status"], ended["errors"]["data"][0]["code"]) == ("failed", code)
            assert set(asker.results(ended["output_file_id"])) == {"a"}
    assert ("FileNotFoundError" in caplog.text) == (code == "server_error")


def test_a_batch_continues_after_its_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, str(SERVER), str(tmp_path), "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        asker = Asker(process.stdout.readline().strip(), "local-key")
        with asker.http, half_an_upload(asker):
            whole = asker.create([line("whole", chat())])
            asker.wait_for_end(whole["id"])
            batch = asker.create([line(str(at), chat()) for at in range(60)])
            asker.until(batch["id"], lambda batch: batch["request_counts"]["completed"] == 19)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    (tmp_path / "files" / "file-half").write_text('{"custom_id": "half')
    engine = SyntheticEngine("after")
    with LocalEndpoint([LocalDeployment("chat", engine=engine)], data=tmp_path) as endpoint:
        asker = Asker(endpoint.url, endpoint.key)
        with asker.http:
            ended = asker.wait_for_end(batch["id"])
            assert ended["request_counts"] == {"total": 60, "completed": 60, "failed": 0}
            results = asker.results(ended["output_file_id"])
            texts = [
                results[str(at)]["response"]["body"]["choices"][0]["message"]["content"]
                for at in range(60)
            ]
            assert (texts.count("before"), texts.count("after")) == (19, 41)
            done = asker.http.get(f"/batches/{whole['id']}").json()
            assert set(asker.results(done["output_file_id"])) == {"whole"}
            known = {each["id"] for each in asker.http.get("/files").json()["data"]}
            assert len(known) == 4
            assert {path.name for path in (tmp_path / "files").iterdir()} == known


class half_an_upload:  # noqa: N801
    """An upload of which only a part was sent."""

    def __init__(self, asker: Asker) -> None:
        url = asker.http.base_url
        self._socket = socket.create_connection((url.host, url.port))

    def __enter__(self) -> None:
        head = (
            "POST /openai/v1/files HTTP/1.1\r\nhost: localhost\r\napi-key: local-key\r\n"
            "content-type: multipart/form-data; boundary=x\r\ncontent-length: 1000000\r\n\r\n"
            '--x\r\ncontent-disposition: form-data; name="file"; filename="half"\r\n\r\nhalf'
        )
        self._socket.sendall(head.encode())

    def __exit__(self, *error: object) -> None:
        self._socket.close()
