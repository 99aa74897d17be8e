"""`client.files` and `client.batches`, sync and async, against the local endpoint."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.core import (
    APIConnectionError,
    APITimeoutError,
    AsyncInferenceClient,
    BadRequestError,
    ConfigurationError,
    InferenceClient,
    InferenceError,
    InvalidResponseError,
    UserMessage,
)
from azinfer.core.batches import BatchResult, decode_batch, decode_result
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.core.files import decode_file
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import TestClock
from fleet import Fleet
from raw_server import Peer, RawServer, chunked_answer, failure, raw, reply

BATCH: dict[str, Any] = {"id": "batch_1", "status": "in_progress"}


class Twins:
    """A sync or an async client, used in the same way."""

    def __init__(self, kind: str, *args: Any, **named: Any) -> None:
        cls = InferenceClient if kind == "sync" else AsyncInferenceClient
        self.client: Any = cls(*args, **named)
        self.is_sync = kind == "sync"

    async def of(self, cls: Any) -> Any:
        return cls if self.is_sync else await cls

    async def all(self, cls: Any) -> list[Any]:
        return list(cls) if self.is_sync else [each async for each in cls]

    async def close(self) -> None:
        if not self.is_sync:
            await self.client.aclose()


@pytest.fixture(params=["sync", "async"])
async def twins(request: pytest.FixtureRequest, endpoint: LocalEndpoint) -> AsyncIterator[Twins]:
    twins = Twins(request.param, endpoint.url, endpoint.key, "chat")
    yield twins
    await twins.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [LocalDeployment("chat", "gpt-4.1"), LocalDeployment("pro", "o3-pro")]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


def requests(count: int = 3) -> list[dict[str, Any]]:
    return [{"id": f"r{at}", "messages": [UserMessage(f"question {at}")]} for at in range(count)]


def line_of(server: RawServer) -> Any:
    """The first line of the input file that a server got."""
    lines = server.received[0].body.splitlines()
    return next(json.loads(line) for line in lines if line.startswith(b"{"))


class TestFiles:
    async def test_a_file_is_uploaded_and_downloaded(self, twins: Twins, tmp_path: Path) -> None:
        content = b'{"a": "\xc3\xa9"}\n' * 100_000
        path = tmp_path / 'a "b".jsonl'
        path.write_bytes(content)
        steps: list[tuple[int, int]] = []
        files = twins.client.files
        file = await twins.of(
            files.upload(path, on_progress=lambda *at: steps.append(at), expires_after=1_209_600)
        )
        assert (file.purpose, file.size, file.filename) == ("batch", len(content), path.name)
        assert file.raw["expires_at"] - file.created_at == 1_209_600
        assert steps[-1] == (len(content), len(content))
        assert len(steps) == -(-len(content) // (256 * 1024))
        assert b"".join(await twins.all(files.content(file.id))) == content
        assert (await twins.of(files.get(file.id))).id == file.id
        assert file.id in [each.id for each in await twins.all(files.list())]
        await twins.of(files.delete(file.id))
        with pytest.raises(InferenceError, match=file.id):
            await twins.of(files.get(file.id))
        with pytest.raises(InferenceError):
            await twins.all(files.content(file.id))

    async def test_bytes_need_a_name(self, twins: Twins) -> None:
        file = await twins.of(twins.client.files.upload(b"{}", filename="a.jsonl"))
        assert file.filename == "a.jsonl"
        assert (await twins.of(twins.client.files.upload(b"", filename="e.jsonl"))).size == 0
        with pytest.raises(ConfigurationError, match="pass filename="):
            await twins.of(twins.client.files.upload(b"{}"))

    async def test_a_path_may_be_text_and_must_exist(self, twins: Twins, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_bytes(b"{}")
        file = await twins.of(twins.client.files.upload(str(tmp_path / "a.jsonl")))
        assert file.filename == "a.jsonl"
        with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
            await twins.of(twins.client.files.upload(tmp_path / "b.jsonl"))

    async def test_a_file_that_shrinks_meanwhile_is_an_error(
        self, twins: Twins, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(b"x" * 1_000_000)

        def shrink(sent: int, size: int) -> None:
            path.write_bytes(b"")

        with pytest.raises(ConfigurationError, match="became shorter"):
            await twins.of(twins.client.files.upload(path, on_progress=shrink))

    async def test_files_are_listed_page_by_page(self, server: RawServer) -> None:
        pages = [
            {"data": [{"id": f"file-{at}"}], "has_more": at < 2, "object": "list"}
            for at in range(3)
        ]
        for kind in ("sync", "async"):
            server.will(*map(reply, pages))
            twins = Twins(kind, server.url, "a-key")
            files = await twins.all(twins.client.files.list())
            assert [file.id for file in files] == ["file-0", "file-1", "file-2"]
            assert server.received[-1].target == "/openai/v1/files?after=file-1"
            await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_an_upload_is_sent_again_from_its_start(
        self, server: RawServer, kind: str
    ) -> None:
        server.will(reply(failure("503"), 503), reply({"id": "file-1"}))
        clock = TestClock()
        twins = Twins(kind, server.url, "a-key", clock=clock)
        await twins.of(twins.client.files.upload(b"abc", filename="a.jsonl"))
        bodies = [received.body for received in server.received]
        assert bodies[0] == bodies[1]
        assert b"abc" in bodies[0]
        assert server.received[0].method == "POST"
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_list_that_begins_again_is_an_error(self, server: RawServer, kind: str) -> None:
        server.will(reply({"data": [{"id": "x"}], "has_more": True}))
        twins = Twins(kind, server.url, "a-key")
        for resource in (twins.client.files, twins.client.batches):
            with pytest.raises(InvalidResponseError, match="begins again after 'x'"):
                await twins.all(resource.list())
        assert len(server.received) == 4
        await twins.close()

    def test_a_name_with_line_breaks_stays_within_its_header(self, server: RawServer) -> None:
        server.will(reply({"id": "file-1"}))
        client = InferenceClient(server.url, "a-key")
        client.files.upload(b"{}", filename="a\r\nX-More: 1\n\rb")
        assert b'filename="a%0D%0AX-More: 1%0A%0Db"\r\n' in server.received[0].body

    @pytest.mark.parametrize("behaviour", [Peer.close, Peer.reset, reply(failure("500"), 500)])
    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_what_creates_is_not_sent_again_once_it_may_have_arrived(
        self, server: RawServer, kind: str, behaviour: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "in.jsonl").write_bytes(b"{}")
        server.will(behaviour)
        twins = Twins(kind, server.url, "a-key", clock=TestClock())
        with pytest.raises(InferenceError, match=r"client\.files\.list\(\)"):
            await twins.of(twins.client.files.upload(b"{}", filename="a.jsonl"))
        assert len(server.received) == 1
        server.will(reply({"id": "file-1"}), behaviour)
        with pytest.raises(InferenceError, match=r"client\.batches\.list\(\)"):
            await twins.of(twins.client.batches.create(tmp_path / "in.jsonl"))
        assert [each.target for each in server.received[1:]] == [
            "/openai/v1/files",
            "/openai/v1/batches",
        ]
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_what_creates_is_sent_again_after_a_failure_to_connect(self, kind: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        twins = Twins(kind, f"http://127.0.0.1:{port}", "a-key", clock=TestClock())
        with pytest.raises(APIConnectionError) as caught:
            await twins.of(twins.client.files.upload(b"{}", filename="a.jsonl"))
        assert caught.value.attempts == 3
        assert "list()" not in caught.value.message
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_repeated_deletion_that_finds_nothing_has_succeeded(
        self, server: RawServer, kind: str
    ) -> None:
        nothing = reply(failure("not_found", "No such File object"), 404)
        server.will(Peer.close, nothing)
        twins = Twins(kind, server.url, "a-key", clock=TestClock())
        await twins.of(twins.client.files.delete("file-1"))
        server.will(nothing)
        with pytest.raises(InferenceError, match="No such File"):
            await twins.of(twins.client.files.delete("file-1"))
        server.will(reply(failure("429"), 429), nothing)
        with pytest.raises(InferenceError, match="No such File"):
            await twins.of(twins.client.files.delete("file-1"))
        assert len(server.received) == 5
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_download_is_retried_at_its_start_alone(
        self, server: RawServer, kind: str
    ) -> None:
        broken = chunked_answer(b"abc", whole=False, content_type="application/octet-stream")
        server.will(reply(failure("500"), 500), raw(broken))
        clock = TestClock()
        twins = Twins(kind, server.url, "a-key", clock=clock)
        with pytest.raises(APIConnectionError):
            await twins.all(twins.client.files.content("file-1"))
        assert len(server.received) == 2
        await twins.close()

    async def test_httpx_clients_send_files_too(self, endpoint: LocalEndpoint) -> None:
        with httpx.Client() as http:
            client = InferenceClient(endpoint.url, endpoint.key, http_client=http)
            assert client.files.upload(b"x" * 600_000, filename="a.jsonl").size == 600_000
        async with httpx.AsyncClient() as ahttp:
            aclient = AsyncInferenceClient(endpoint.url, endpoint.key, http_client=ahttp)
            assert (await aclient.files.upload(b"abc", filename="a.jsonl")).size == 3

    def test_a_file_is_never_whole_in_memory(self, endpoint: LocalEndpoint, tmp_path: Path) -> None:
        path = tmp_path / "big.jsonl"
        path.write_bytes(b"x" * 30_000_000)
        client = InferenceClient(endpoint.url, endpoint.key)
        client.files.upload(b"warm", filename="w.jsonl")
        tracemalloc.start()
        try:
            file = client.files.upload(path)
            for _ in client.files.content(file.id):
                pass
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 15_000_000  # the endpoint of this process is measured too

    def test_a_failed_batch_has_its_reasons(self) -> None:
        entries = [
            {"code": "bad_model", "message": "No such model.", "param": "model", "line": 3},
            {"message": "The file is empty."},
            {},
            "odd",
        ]
        batch = decode_batch({"id": "b", "errors": {"object": "list", "data": entries}})
        reasons = ("line 3: bad_model: No such model.", "The file is empty.", "no reason")
        assert batch.errors == reasons
        oddities: list[Any] = [None, "text", {"data": {}}, {"data": None}]
        for odd in oddities:
            assert decode_batch({"id": "b", "errors": odd}).errors == ()

    @pytest.mark.parametrize("decode", [decode_file, decode_batch])
    def test_an_object_without_an_id_is_an_error(self, decode: Any) -> None:
        with pytest.raises(InvalidResponseError, match="no id of a"):
            decode({"id": 5})


class TestBatches:
    async def test_requests_are_answered_and_joined_by_their_ids(self, twins: Twins) -> None:
        batches = twins.client.batches
        batch = await twins.of(batches.create(requests(), metadata={"a": "b"}))
        looks: list[Any] = []
        clock = twins.client._clock = TestClock()
        ended = await twins.of(batches.wait(batch.id, on_progress=looks.append))
        assert (ended.status, ended.total, ended.completed, ended.failed) == ("completed", 3, 3, 0)
        assert looks[-1] == ended
        assert ended.raw["metadata"] == {"a": "b"}
        assert clock.waits == sorted(clock.waits)
        results = {each.id: each for each in await twins.all(batches.results(batch.id))}
        assert sorted(results) == ["r0", "r1", "r2"]
        assert "question 1" in results["r1"].completion.text
        assert batch.id in [each.id for each in await twins.all(batches.list())]

    async def test_a_file_that_is_ready_is_sent_as_it_is(
        self, twins: Twins, tmp_path: Path
    ) -> None:
        good = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
        bad = {**good, "temperature": 99}
        lines = [
            {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
            for name, body in (("good", good), ("bad", bad))
        ]
        path = tmp_path / "in.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
        batches = twins.client.batches
        batch = await twins.of(batches.create(path))
        twins.client._clock = TestClock()
        await twins.of(batches.wait(batch.id))
        results = {each.id: each for each in await twins.all(batches.results(batch.id))}
        assert results["good"].error is None
        assert results["bad"].completion is None
        assert isinstance(results["bad"].error, BadRequestError)
        file = await twins.of(twins.client.files.upload(path))
        again = await twins.of(batches.create(file))
        assert again.raw["input_file_id"] == file.id

    async def test_requests_without_messages_or_of_two_wires_are_refused(
        self, twins: Twins
    ) -> None:
        create = twins.client.batches.create
        with pytest.raises(
            ConfigurationError, match=r"requests\[0\] has no 'messages', only \['id'\]"
        ):
            await twins.of(create([{"id": "a"}]))
        with pytest.raises(ConfigurationError, match="not an empty list"):
            await twins.of(create([]))
        mixed = [
            {**each, "wire": wire}
            for each, wire in zip(requests(2), ("chat", "responses"), strict=True)
        ]
        with pytest.raises(ConfigurationError, match="not chat/completions and responses"):
            await twins.of(create(mixed))
        with pytest.raises(ConfigurationError, match="not messages"):
            await twins.of(create([{**requests(1)[0], "wire": "messages"}]))

    @pytest.mark.parametrize("path", ["", "/openai/deployments/chat"])
    def test_each_line_names_its_deployment(self, server: RawServer, path: str) -> None:
        server.will(reply({"id": "file-1"}), reply(BATCH))
        client = InferenceClient(server.url + path, "a-key", *(() if path else ("chat",)))
        client.batches.create(requests(1))
        assert line_of(server)["body"]["model"] == "chat"
        with pytest.raises(ConfigurationError, match="name of the deployment is missing"):
            InferenceClient(server.url, "a-key").batches.create(requests(1))

    def test_a_url_without_a_deployment_needs_model(self, server: RawServer) -> None:
        client = InferenceClient(server.url, "a-key", surface="deployments")
        with pytest.raises(ConfigurationError, match=r"requests\[0\] names no deployment"):
            client.batches.create(requests(1))

    @pytest.mark.parametrize("name", ["model_id", "timeout", "headers", "stream"])
    def test_what_belongs_to_a_single_call_is_refused(self, server: RawServer, name: str) -> None:
        client = InferenceClient(server.url, "a-key", "chat")
        with pytest.raises(ConfigurationError, match=rf"requests\[0\] has {name}=") as caught:
            client.batches.create([{**requests(1)[0], name: "x"}])
        assert caught.value.param == name

    def test_an_id_must_be_its_own(self, server: RawServer) -> None:
        client = InferenceClient(server.url, "a-key", "chat")
        ask: dict[str, Any] = {"messages": [UserMessage("hi")]}
        for doubled in ([{**ask, "id": "a"}] * 2, [ask, {**ask, "id": "0"}]):
            with pytest.raises(
                ConfigurationError, match=r"requests\[1\] has the same id '.' as an ear"
            ):
                client.batches.create(doubled)
        assert not server.received

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_file_of_results_that_is_cut_is_an_error(
        self, server: RawServer, kind: str
    ) -> None:
        batch = {"id": "b", "status": "completed", "output_file_id": "o", "input_file_id": "i"}
        answered = {"custom_id": "0", "response": {"status_code": 200, "body": RESPONSE}}
        line = json.dumps(answered).encode() + b"\n"

        def choose(request: Any) -> Any:
            if not request.target.endswith("/content"):
                return reply({**batch, "request_counts": {"total": 2}})
            return reply(line if "/o/" in request.target else line[:40])

        twins = Twins(kind, server.url, "a-key")
        server.choose = choose
        with pytest.raises(InvalidResponseError, match="a line of a batch"):
            await twins.all(twins.client.batches.results("b"))
        server.choose = lambda request: (
            reply(line + line[:40]) if "/o/" in request.target else reply(batch)
        )
        with pytest.raises(InvalidResponseError, match="a line of a batch"):
            await twins.all(twins.client.batches.results("b"))
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_the_last_line_of_results_may_have_no_end(
        self, server: RawServer, kind: str
    ) -> None:
        batch = {"id": "b", "status": "completed", "output_file_id": "o"}
        lines = [
            json.dumps({"custom_id": name, "response": {"status_code": 200, "body": RESPONSE}})
            for name in "ab"
        ]
        server.choose = lambda request: reply(
            "\n".join(lines) if request.target.endswith("/content") else batch
        )
        twins = Twins(kind, server.url, "a-key")
        results = await twins.all(twins.client.batches.results("b"))
        assert [result.id for result in results] == ["a", "b"]
        await twins.close()

    def test_a_client_of_several_endpoints_names_the_deployment_of_its_own(self) -> None:
        fleet = Fleet("ab")
        fleet["a"].choose = lambda request: reply({"id": "file-1", "status": "validating"})
        config = fleet.config([["m@a"], ["m@b"]])
        client = InferenceClient.from_config(config, environ={"AZURE_AI_API_KEY": "a-key"})
        client.batches.create(requests(1), model="m@a")
        assert line_of(fleet["a"])["body"]["model"] == "m"
        with pytest.raises(ConfigurationError, match="'chat' is a route"):
            client.batches.create(requests(1), model="chat")
        with pytest.raises(ConfigurationError, match=r"'m@b' is on .*endpoint='b'"):
            client.batches.create(requests(1), model="m@b")
        fleet.stop()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_waiting_ends_in_time_and_the_batch_goes_on(
        self, server: RawServer, kind: str
    ) -> None:
        server.will(reply(BATCH))
        twins = Twins(kind, server.url, "a-key", clock=TestClock())
        with pytest.raises(APITimeoutError, match="did not end within 100 s; it continues"):
            await twins.of(twins.client.batches.wait("batch_1", timeout=100))
        cancelled = await twins.of(twins.client.batches.cancel("batch_1"))
        assert not cancelled.ended
        assert server.received[-1].target == "/openai/v1/batches/batch_1/cancel"
        assert server.received[-1].method == "POST"
        assert server.received[-1].header("content-length") == "0"
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_batch_that_failed_validation_has_an_error_for_each_request(
        self, server: RawServer, kind: str
    ) -> None:
        counts = {"total": 0, "completed": 0, "failed": 0}
        ended = {"id": "b", "status": "failed", "request_counts": counts, "input_file_id": "in"}
        lines = "\n".join(json.dumps({"custom_id": f"r{at}"}) for at in range(2)) + "\n"
        server.choose = lambda request: reply(
            lines.encode() if "/files/in/" in request.target else ended
        )
        twins = Twins(kind, server.url, "a-key")
        results = await twins.all(twins.client.batches.results("b"))
        assert [each.id for each in results] == ["r0", "r1"]
        assert all("ended as 'failed'" in each.error.message for each in results)
        await twins.close()

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_requests_of_an_expired_batch_that_are_in_no_file_are_errors(
        self, server: RawServer, kind: str
    ) -> None:
        counts = {"total": 3, "completed": 1, "failed": 1}
        ended = {"id": "b", "status": "Expired", "request_counts": counts, "input_file_id": "in"}
        answered = {"custom_id": "r0", "response": {"status_code": 200, "body": RESPONSE}}
        refused = {"custom_id": "r1", "response": None, "error": {"code": "x", "message": "no"}}
        files = {
            "in": "\n".join(json.dumps({"custom_id": f"r{at}"}) for at in range(3)) + "\n\n",
            "out": json.dumps(answered) + "\n",
            "err": json.dumps(refused) + "\n",
        }

        def choose(request: Any) -> Any:
            if "/files/" in request.target:
                return reply(files[request.target.split("/")[-2]].encode())
            return reply({**ended, "output_file_id": "out", "error_file_id": "err"})

        server.choose = choose
        twins = Twins(kind, server.url, "a-key")
        results = {each.id: each for each in await twins.all(twins.client.batches.results("b"))}
        assert results["r0"].completion.text == "hello"
        assert results["r1"].error.message == "no"
        assert "ended as 'expired'" in results["r2"].error.message
        await twins.close()

    @pytest.mark.parametrize(
        ("line", "error"),
        [
            ({"response": {"status_code": 200, "body": {}}}, "no choices"),
            ({"response": {"status_code": 200, "body": None}}, "no response"),
            ({}, "no response"),
        ],
    )
    def test_a_line_without_an_answer_is_an_error(self, line: Any, error: str) -> None:
        result = decode_result(json.dumps({"custom_id": "a", **line}).encode())
        assert isinstance(result, BatchResult)
        assert result.error is not None
        assert error in result.error.message

    def test_files_and_batches_are_imported_lazily(self) -> None:
        code = (
            "import sys; from azinfer.core import InferenceClient; "
            "InferenceClient('https://contoso.openai.azure.com', 'k').explain(model='gpt-4.1'); "
            "ends = ('.files', '.batches', '.responses', '.wires.messages', '.rerank'); "
            "print([n for n in sys.modules if n[:7] == 'azinfer' and n.endswith(ends)])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


RESPONSE = {
    "object": "response",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hello"}]}],
}
