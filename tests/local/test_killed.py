"""A killed process: the next start is clean, and no file is incomplete.

Batches that are killed are in `test_batches.py`, weights in `test_models.py`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from azinfer.core import InferenceClient, StreamInterruptedError, UserMessage
from azinfer.local import LocalDeployment, LocalEndpoint

SERVER = """
import sys
from azinfer.local import Latency, LocalDeployment, LocalEndpoint
deployment = LocalDeployment("chat", latency=Latency(per_token=0.001))
with LocalEndpoint([deployment], key="k", data=sys.argv[1]) as endpoint:
    print(endpoint.url, flush=True)
    endpoint.wait()
"""
# So many MB take long enough to be copied that a kill comes in between.
SIZE = 150
HEAD = (
    b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="large"\r\n\r\n'
)
TAIL = b"\r\n--x--\r\n"


class Server:
    """A server in a process of its own, that is killed once."""

    def __init__(self, data: Path) -> None:
        command = [sys.executable, "-c", SERVER, str(data)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait() == -signal.SIGKILL
        assert self._process.stdout is not None
        self._process.stdout.close()


def again(url: str, data: Path) -> LocalEndpoint:
    """The next start: same address, same directory."""
    port = int(url.rpartition(":")[2])
    return LocalEndpoint([LocalDeployment("chat")], key="k", data=data, port=port)


def test_a_server_killed_while_streaming_starts_again(tmp_path: Path) -> None:
    server = Server(tmp_path)
    hello = [UserMessage("word " * 10_000)]
    with InferenceClient(server.url, "k", "chat", max_retries=0) as client:
        with client.stream(hello) as chunks:
            texts = [next(chunks).text, next(chunks).text]
            server.kill()
            with pytest.raises(StreamInterruptedError) as caught:
                texts.extend(chunk.text for chunk in chunks)  # those before the error stay
        assert caught.value.partial is not None
        assert caught.value.partial.text == "".join(texts)
        with again(server.url, tmp_path):
            assert client.complete([UserMessage("hi")]).text.endswith("hi")


@pytest.mark.parametrize("moment", ["sent", "copied"])
def test_a_server_killed_during_an_upload_keeps_no_part_of_the_file(
    tmp_path: Path, moment: str
) -> None:
    server, folder = Server(tmp_path), tmp_path / "files"
    with httpx.Client(headers={"api-key": "k"}) as http:
        url = f"{server.url}/openai/v1/files"
        whole = http.post(url, files={"file": b"{}"}, data={"purpose": "batch"}).json()
        before = set(folder.iterdir())

        def parts() -> Iterator[bytes]:
            yield HEAD
            for _ in range(SIZE):
                yield bytes(1024 * 1024)
            if moment == "sent":
                server.kill()
            yield TAIL
            if moment == "copied":
                while set(folder.iterdir()) == before:
                    pass
                server.kill()

        length = len(HEAD) + SIZE * 1024 * 1024 + len(TAIL)
        fields = {"content-type": "multipart/form-data; boundary=x", "content-length": str(length)}
        with pytest.raises(httpx.TransportError):
            http.post(url, content=parts(), headers=fields)
        left = set(folder.iterdir()) - before
        assert [path.suffix for path in left] == [".part"] * (moment == "copied")
        with again(server.url, tmp_path):
            listed = http.get(url).json()["data"]
            assert [each["id"] for each in listed] == [whole["id"]]
            assert set(folder.iterdir()) == before
            assert http.get(f"{url}/{whole['id']}/content").content == b"{}"
