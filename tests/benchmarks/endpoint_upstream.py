"""Deployments with an upstream beside a bare proxy, each pair measured in turns in one run.

    python tests/benchmarks/endpoint_upstream.py [call calls chunk chunks floats base64]

A ratio is the processor time of the endpoint's process to that of its peer: for calls and streamed
chunks, a proxy of httpx and starlette under the same uvicorn with uvloop, which reads nothing of
what it passes on; for vectors, msgspec that decodes and encodes the upstream's body once. The
upstream is `server.py`, whose answers are ready beforehand.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import endpoint
import server
from run import serve as serve_upstream

_REPORTS = """
import sys, time
print(url, flush=True)
for line in sys.stdin:
    print(time.process_time(), flush=True)
"""
_ENDPOINT = f"""
from azinfer.local import LocalDeployment, LocalEndpoint, UpstreamEngine
engine = UpstreamEngine("%s/v1", "a-key-of-the-upstream", "real-model")
endpoint = LocalEndpoint([LocalDeployment("up", engine=engine)], key="benchmark")
endpoint.start()
url = endpoint.url
{_REPORTS}
"""
# It checks no keys, knows no limits and filters, keeps no log and trusts the upstream.
_PROXY = f"""
import socket, threading
import httpx, uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

client = httpx.AsyncClient(base_url="%s", timeout=600)

async def forward(request):
    headers = {{"content-type": "application/json", "api-key": "a-key-of-the-upstream"}}
    body = await request.body()
    sent = client.build_request("POST", request.url.path, content=body, headers=headers)
    answer = await client.send(sent, stream=True)
    kind = answer.headers["content-type"]
    if kind == "text/event-stream":
        closing = BackgroundTask(answer.aclose)
        return StreamingResponse(answer.aiter_raw(), media_type=kind, background=closing)
    return Response(await answer.aread(), answer.status_code, media_type=kind)

app = Starlette(routes=[Route("/{{path:path}}", forward, methods=["POST"])])
listening = socket.create_server(("127.0.0.1", 0))
config = uvicorn.Config(
    app, log_config=None, access_log=False, lifespan="off", ws="none", loop="uvloop"
)
proxy = uvicorn.Server(config)
threading.Thread(target=proxy.run, args=([listening],), daemon=True).start()
url = f"http://127.0.0.1:{{listening.getsockname()[1]}}"
{_REPORTS}
"""
_DECODE = """
import sys, time
import msgspec, server
body = {"floats": server.FLOATS, "base64": server.BASE64}[sys.argv[1]].partition(b"\\r\\n\\r\\n")[2]
for line in sys.stdin:
    before = time.process_time()
    msgspec.json.encode(msgspec.json.decode(body))
    print(time.process_time() - before, flush=True)
"""
_CALLS, _AT_ONCE = 320, 16


class Clients:
    """Several connections to a server, on which requests are sent at once.

    Args:
        server: The server.
        count: How many connections.
    """

    def __init__(self, server: endpoint.Server, count: int) -> None:
        self._server = server
        host, _, port = server.host.partition(":")
        self._sockets = [socket.create_connection((host, int(port))) for _ in range(count)]

    def cost(self, request: bytes, count: int) -> float:
        """Return the seconds of the server's processor time for one of `count` requests."""
        rounds = count // len(self._sockets)
        before = self._server.cpu
        for _ in range(rounds):
            for each in self._sockets:
                each.sendall(request)
            self._read_all()
        return (self._server.cpu - before) / (rounds * len(self._sockets))

    def _read_all(self) -> None:
        """Read the whole answer on each connection."""
        with selectors.DefaultSelector() as selector:
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ, bytearray())
            while selector.get_map():
                for key, _ in selector.select():
                    sock: Any = key.fileobj
                    part = sock.recv(1 << 18)
                    key.data.extend(part)
                    if not part:
                        raise SystemExit(f"the server closed the connection: {key.data[-300:]!r}")
                    if _is_whole(key.data):
                        selector.unregister(sock)


def _is_whole(answer: bytearray) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the server answered {answer[:300]!r}")
    if b"transfer-encoding: chunked" in head:
        return answer.endswith(b"\r\n0\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(length) and len(body) >= int(length)


def measure_calls(at_once: int, *, stream: bool = False) -> tuple[float, float]:
    """Return the costs of a call, or of a chunk of a stream."""
    count, parts = (3 * at_once, server.CHUNKS) if stream else (_CALLS, 1)
    with (
        serve_upstream() as url,
        endpoint.serve(_ENDPOINT % url) as ours,
        endpoint.serve(_PROXY % url) as peer,
    ):
        works = []
        for each in (ours, peer):
            clients, request = (
                Clients(each, at_once),
                endpoint.chat_request(each, "up", stream=stream),
            )
            works.append(partial(clients.cost, request, count))
        ours_each, peer_each = endpoint.compare(works[0], works[1])
        return ours_each / parts, peer_each / parts


def measure_vectors(encoding: str) -> tuple[float, float]:
    """Return the costs of 2,048 vectors of 1,536 numbers, and of reading and writing them once."""
    texts = [f"text {at} says something about subject {at % 97}" for at in range(server.TEXTS)]
    body = {"model": "up", "input": texts, "encoding_format": encoding}
    with ExitStack() as stack:
        decoder = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", _DECODE, "base64" if encoding == "base64" else "floats"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parent,
            )
        )

        def decode() -> float:
            assert decoder.stdin is not None
            assert decoder.stdout is not None
            decoder.stdin.write("\n")
            decoder.stdin.flush()
            return float(decoder.stdout.readline())

        decode()  # its bodies are ready before the endpoint waits for a request
        url = stack.enter_context(serve_upstream())
        ours = stack.enter_context(endpoint.serve(_ENDPOINT % url))
        request = ours.request("POST", "/openai/v1/embeddings", json.dumps(body).encode())
        return endpoint.compare(lambda: endpoint.cost(ours, request, 1), decode, 5)


ROWS: Mapping[str, tuple[str, float, Callable[[], tuple[float, float]]]] = {
    "call": ("call to an upstream, one at a time", 0.25, lambda: measure_calls(1)),
    "calls": ("the same, 16 at once", 0.25, lambda: measure_calls(_AT_ONCE)),
    "chunk": ("chunk of its stream, one stream", 0.75, lambda: measure_calls(1, stream=True)),
    "chunks": (
        "the same, 16 streams at once",
        0.75,
        lambda: measure_calls(_AT_ONCE, stream=True),
    ),
    "floats": (
        "2,048 × 1,536 floats of it, whole request, to reading and writing them",
        1.2,
        lambda: measure_vectors("float"),
    ),
    "base64": ("the same in base64", 1.2, lambda: measure_vectors("base64")),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all by default")
    names = parser.parse_args().rows or list(ROWS)
    if unknown := set(names) - set(ROWS):
        parser.error(f"unknown rows {', '.join(sorted(unknown))}; choose from {', '.join(ROWS)}")
    print("| work | milliseconds of CPU | its peer | ratio | target |")
    print("|---|---|---|---|---|")
    for name in names:
        label, target, measure = ROWS[name]
        ours, peer = measure()
        times = f"{ours * 1000:.3g} | {peer * 1000:.3g}"
        print(f"| {label} | {times} | {ours / peer:.2f} | ≤ {target:g} |", flush=True)
    print(f"\nPython {sys.version.split()[0]}, {time.strftime('%d %B %Y')}")


if __name__ == "__main__":
    main()
