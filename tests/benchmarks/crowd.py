"""The local endpoint with many of everything: memory, and the time of a request beside it.

    python tests/benchmarks/crowd.py [--only readers]

Slow readers, connections that do not finish their head, deployments, files and requests: for each,
the resident memory of the server before and after, and the seconds of a request for its health.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

SERVER = """
import sys
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
names = [f"chat-{number}" for number in range(int(sys.argv[1]))]
deployments = [LocalDeployment(name) for name in names]
deployments.append(LocalDeployment("long", engine=SyntheticEngine("word " * 100_000)))
with LocalEndpoint(deployments, key="crowd") as endpoint:
    print(endpoint.url, flush=True)
    sys.stdin.read()
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._status = Path(f"/proc/{process.pid}/status")
        self.url = url
        self.port = urlsplit(url).port or 0

    @property
    def memory(self) -> float:
        """Its resident memory, in MB."""
        return int(re.findall(r"VmRSS:\s+(\d+)", self._status.read_text())[0]) / 1024

    def settle(self) -> float:
        """Return the memory when it changes no longer."""
        before = -1.0
        while abs((now := self.memory) - before) > 0.3:
            before = now
            time.sleep(1)
        return now

    def send(self, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        """Send a request on a new connection; return the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"api-key": "crowd", "content-type": kind or "application/json"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    def time(self, method: str, path: str, body: bytes = b"") -> float:
        """Return the milliseconds of a request: the best of nine."""
        times = []
        for _ in range(9):
            begin = time.perf_counter()
            status, content = self.send(method, path, body)
            times.append(time.perf_counter() - begin)
            assert status == 200, content
        return min(times) * 1000


@contextmanager
def serve(deployments: int = 1) -> Iterator[Server]:
    """Start a server with some deployments, and end it."""
    command = [sys.executable, "-c", SERVER, str(deployments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
        process.communicate("")


def chat(model: str, stream: bool = False) -> bytes:
    """Return the body of a chat."""
    message = {"role": "user", "content": "What is the capital?"}
    return json.dumps({"model": model, "stream": stream, "messages": [message]}).encode()


def connect(server: Server, head: bytes, buffer: int = 4096) -> socket.socket:
    """Return a connection that sent some bytes, and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(head)
    return sock


def measure_readers(count: int = 500) -> None:
    """Clients that read nothing of long streams."""
    body = chat("long", stream=True)
    head = "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\napi-key: crowd\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    hold(count, request, "slow readers")


def measure_half_open(count: int = 3000) -> None:
    """Connections that do not finish their head."""
    hold(count, b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: 127", "half-open connections")


def hold(count: int, data: bytes, what: str) -> None:
    """Keep connections open, and print what they cost."""
    with serve() as server, ExitStack() as stack:
        stack.enter_context(connect(server, data))
        before = server.settle()
        for _ in range(count):
            stack.enter_context(connect(server, data))
        health = server.time("GET", "/_azinfer/health")
        after = server.memory if "half" in what else server.settle()
        each = (after - before) / count * 1024
        print(
            f"{count:,} {what}: {before:.0f} to {after:.0f} MB ({each:.0f} KB each), "
            f"health in {health:.1f} ms"
        )


def measure_deployments() -> None:
    """Ten deployments, and thousands: a chat, and the list."""
    for count in (10, 5000):
        with serve(count) as server:
            one = server.time("POST", "/openai/v1/chat/completions", chat("chat-9"))
            list_time = server.time("GET", "/openai/v1/models")
            times = f"a chat in {one:.1f} ms, the list in {list_time:.1f} ms"
            print(f"{count:,} deployments: {server.memory:.0f} MB, {times}")


def measure_files() -> None:
    """A hundred files, and thousands: a page of twenty of them."""
    boundary = "boundary"
    fields = {'name="purpose"': "batch", 'name="file"; filename="lines.jsonl"': "{}"}
    form = "".join(
        f"--{boundary}\r\ncontent-disposition: form-data; {name}\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    )
    body = f"{form}--{boundary}--\r\n".encode()
    kind = f"multipart/form-data; boundary={boundary}"
    with serve() as server:
        uploaded = 0
        for count in (100, 10_000):
            while uploaded < count:
                status, content = server.send("POST", "/openai/v1/files", body, kind)
                assert status in (200, 201), content
                uploaded += 1
            page = server.time("GET", "/openai/v1/files?limit=20")
            print(f"{count:,} files: {server.memory:.0f} MB, a page of 20 in {page:.1f} ms")


def measure_requests(count: int = 200_000) -> None:
    """Many requests on one connection."""
    with serve() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {"api-key": "crowd", "content-type": "application/json"}
        for number in range(1, count + 1):
            connection.request("POST", "/openai/v1/chat/completions", chat("chat-0"), headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 200
            if number in (5000, count // 2, count):
                health = server.time("GET", "/_azinfer/health")
                print(f"{number:,} requests: {server.memory:.0f} MB, health in {health:.1f} ms")


MEASURES: dict[str, Callable[[], None]] = {
    "readers": measure_readers,
    "half-open": measure_half_open,
    "deployments": measure_deployments,
    "files": measure_files,
    "requests": measure_requests,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=MEASURES)
    only = parser.parse_args().only
    for name, measure in MEASURES.items():
        if only in (None, name):
            measure()


if __name__ == "__main__":
    main()
