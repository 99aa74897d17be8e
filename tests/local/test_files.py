"""Files on both surfaces, called with a plain HTTP client."""

from __future__ import annotations

import contextlib
import http.client as http_client
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.core import ConfigurationError
from azinfer.local import LocalDeployment, LocalEndpoint

BASES = ["/openai/v1/files", "/openai/files"]
CONTENT = b'{"a": 1}\n'


@pytest.fixture
def alone() -> Iterator[httpx.Client]:
    """An endpoint that has no files yet."""
    with (
        LocalEndpoint([LocalDeployment("chat")]) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as client,
    ):
        yield client


def upload(http: httpx.Client, base: str = BASES[0], **data: str) -> httpx.Response:
    files = {"file": ("test.jsonl", CONTENT)}
    return http.post(base, files=files, data={"purpose": "batch", **data})


@pytest.mark.parametrize("base", BASES)
def test_a_file_is_stored_listed_downloaded_and_deleted(alone: httpx.Client, base: str) -> None:
    # The form of "Upload batch file" in the Azure OpenAI documentation.
    body = upload(alone, base).json()
    assert re.fullmatch("file-[0-9a-f]{32}", body["id"])
    assert {**body, "id": "", "created_at": 0} == {
        "id": "",
        "object": "file",
        "bytes": len(CONTENT),
        "created_at": 0,
        "filename": "test.jsonl",
        "purpose": "batch",
        "status": "processed",
    }
    url = f"{base}/{body['id']}"
    assert alone.get(url).json() == body
    content = alone.get(f"{url}/content")
    assert content.content == CONTENT
    assert content.headers["content-type"] == "application/octet-stream"
    deleted = {"id": body["id"], "object": "file", "deleted": True}
    assert alone.delete(url).json() == deleted
    for answer in (alone.get(url), alone.get(f"{url}/content"), alone.delete(url)):
        assert (answer.status_code, answer.json()) == (
            404,
            {
                "error": {
                    "message": f"No such File object: {body['id']}",
                    "type": "invalid_request_error",
                    "param": "id",
                    "code": None,
                }
            },
        )


def test_files_are_listed_in_pages(alone: httpx.Client) -> None:
    ids = [upload(alone).json()["id"] for _ in range(3)]
    other = upload(alone, purpose="assistants").json()["id"]
    listed = alone.get(BASES[1]).json()
    assert [each["id"] for each in listed["data"]] == [other, *reversed(ids)]
    assert (listed["object"], listed["has_more"]) == ("list", False)
    query: dict[str, Any] = {"purpose": "batch", "order": "asc", "limit": 1, "after": ids[0]}
    page = alone.get(BASES[0], params=query).json()
    assert [each["id"] for each in page["data"]] == [ids[1]]
    assert page["first_id"] == page["last_id"] == ids[1]
    assert page["has_more"]
    assert alone.get(BASES[0], params={"purpose": "evals"}).json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize("spelling", ["expires_after[{}]", "expires_after.{}"])
def test_a_file_expires(spelling: str) -> None:
    now = 1_800_000_000.0
    with (
        LocalEndpoint([LocalDeployment("chat")], now=lambda: now) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http,
    ):
        fields = {spelling.format("seconds"): "1209600", spelling.format("anchor"): "created_at"}
        body = upload(http, **fields).json()
        assert body["created_at"] == now
        assert body["expires_at"] == now + 1_209_600
        stays = upload(http).json()
        assert "expires_at" not in stays
        now += 1_209_599
        assert http.get(f"{BASES[0]}/{body['id']}").status_code == 200
        now += 1
        assert http.get(f"{BASES[0]}/{body['id']}").status_code == 404
        assert [each["id"] for each in http.get(BASES[0]).json()["data"]] == [stays["id"]]


@pytest.mark.parametrize(
    ("param", "data"),
    [
        ("purpose", {"purpose": "fun"}),
        ("purpose", {"purpose": "batch_output"}),
        ("expires_after.anchor", {"expires_after[seconds]": "1209600"}),
        (
            "expires_after.seconds",
            {"expires_after[seconds]": "1209599", "expires_after[anchor]": "created_at"},
        ),
        (
            "expires_after.seconds",
            {"expires_after[seconds]": "soon", "expires_after[anchor]": "created_at"},
        ),
        ("expires_after.seconds", {"expires_after[anchor]": "created_at"}),
    ],
)
def test_a_wrong_field_of_an_upload_is_named(
    http: httpx.Client, param: str, data: dict[str, str]
) -> None:
    answer = upload(http, **data)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_upload_must_be_a_form_with_a_file(http: httpx.Client) -> None:
    answer = http.post(BASES[0], json={"purpose": "batch"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UnsupportedMediaType")
    empty = {"purpose": (None, "batch")}
    answer = http.post(BASES[0], files=empty)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    answer = http.post(BASES[0], files={**empty, "file": (None, "text")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = http.post(BASES[0], content=b"--y\r\nnonsense", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
    two = [("file", ("a", b"a")), ("file", ("b", b"b"))]
    assert http.post(BASES[0], files=two, data={"purpose": "batch"}).status_code == 400


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(endpoint: LocalEndpoint) -> None:
    connection = http_client.HTTPConnection(endpoint.url.removeprefix("http://"))
    with contextlib.closing(connection):
        connection.putrequest("POST", BASES[0])
        connection.putheader("api-key", endpoint.key)
        connection.putheader("content-type", "multipart/form-data; boundary=x")
        connection.putheader("content-length", str(201 * 1024 * 1024))
        connection.endheaders()
        with connection.getresponse() as answer:
            assert answer.status == 413


def test_a_strict_endpoint_requires_an_api_version_for_files(strict: LocalEndpoint) -> None:
    with httpx.Client(base_url=strict.url, headers={"api-key": strict.key}) as http:
        assert http.get("/openai/files").status_code == 404
        assert http.get("/openai/files", params={"api-version": "2024-10-21"}).status_code == 200
        assert http.get("/openai/v1/files").status_code == 200


def test_files_outlive_an_endpoint_with_a_data_directory(tmp_path: Path) -> None:
    def serve() -> LocalEndpoint:
        return LocalEndpoint([LocalDeployment("chat")], key="k", data=tmp_path / "data")

    with serve() as endpoint, httpx.Client(headers={"api-key": "k"}) as http:
        http.base_url = endpoint.url
        body = upload(http).json()
        with pytest.raises(ConfigurationError, match="that no other endpoint uses"):
            serve().start()
    with serve() as endpoint, httpx.Client(headers={"api-key": "k"}) as http:
        http.base_url = endpoint.url
        assert http.get(f"{BASES[0]}/{body['id']}/content").content == CONTENT


# The tables of azinfer 0.1, whose columns had another name.
OLD_TABLES = """
CREATE TABLE files (number INTEGER PRIMARY KEY, id TEXT UNIQUE, told TEXT);
CREATE TABLE batches (number INTEGER PRIMARY KEY, id TEXT UNIQUE, told TEXT);
CREATE TABLE results (
    batch TEXT, line INTEGER, failed INTEGER, told TEXT, PRIMARY KEY (batch, line)
) WITHOUT ROWID;
CREATE INDEX expiry ON files (json_extract(told, '$.expires_at'));
INSERT INTO files (id, told) VALUES ('file-1', '{"id": "file-1", "object": "file", "bytes": 9,
    "created_at": 1, "filename": "old.jsonl", "purpose": "batch"}');
INSERT INTO batches (id, told) VALUES ('batch_1', '{"id": "batch_1", "object": "batch",
    "status": "completed", "created_at": 1, "input_file_id": "file-1"}');
"""


def test_a_data_directory_of_the_first_version_is_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "files").mkdir(parents=True)
    (data / "files" / "file-1").write_bytes(CONTENT)
    with contextlib.closing(sqlite3.connect(data / "store.sqlite")) as database:
        database.executescript(OLD_TABLES)
    for _ in range(2):  # the second start finds the present names
        with (
            LocalEndpoint([LocalDeployment("chat")], key="k", data=data) as endpoint,
            httpx.Client(base_url=endpoint.url, headers={"api-key": "k"}) as http,
        ):
            names = [each["filename"] for each in http.get(BASES[0]).json()["data"]]
            assert names[-1] == "old.jsonl"
            assert http.get(f"{BASES[0]}/file-1/content").content == CONTENT
            assert http.get("/openai/v1/batches/batch_1").json()["status"] == "completed"
            assert upload(http).status_code == 200


def test_an_unusable_data_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="choose a writable directory"):
        LocalEndpoint(data=tmp_path / "file").start()


def test_files_end_with_an_endpoint_without_a_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    endpoint = LocalEndpoint([LocalDeployment("chat")])
    for _ in range(2):
        with endpoint, httpx.Client(headers={"api-key": endpoint.key}) as http:
            http.base_url = endpoint.url
            assert http.get(BASES[0]).json()["data"] == []
            upload(http)
            assert list(tmp_path.iterdir())
        assert not list(tmp_path.iterdir())


def test_files_together_have_a_limit() -> None:
    with (
        LocalEndpoint(max_file_bytes=50) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as http,
    ):

        def store(size: int) -> httpx.Response:
            files = {"file": ("a.jsonl", b"x" * size)}
            return http.post("/openai/v1/files", files=files, data={"purpose": "evals"})

        first = store(40)
        assert first.is_success, first.text
        full = store(11)
        assert full.status_code == 400
        assert "The files would be over 50 bytes" in full.json()["error"]["message"]
        assert store(10).is_success
        assert http.delete(f"/openai/v1/files/{first.json()['id']}").is_success
        assert store(40).is_success
