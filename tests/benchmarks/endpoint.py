"""The local endpoint beside its peers, each pair measured in turns in one run.

    python tests/benchmarks/endpoint.py [chat stream floats base64 import deployments files]

A ratio is the processor time of the endpoint to that of its peer: for a chat and a stream, a plain
starlette handler that answers the same under the same uvicorn; for vectors, msgspec that writes
the same body; for the import, starlette with uvicorn and uvloop. With many deployments or files
the peer is the endpoint with few of them. Servers run in processes of their own and report the
processor time that they used, so that a busy machine changes little; medians of several turns
count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

_REPORTS = """
import sys, time
print(url, flush=True)
for line in sys.stdin:
    print(time.process_time(), flush=True)
"""
_ENDPOINT = f"""
import json, os, tempfile
from pathlib import Path
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
endpoint = LocalEndpoint(
    [
        LocalDeployment("chat", engine=SyntheticEngine("Paris is the capital of France.")),
        LocalDeployment("long", engine=SyntheticEngine("Paris is the capital. " * 40)),
        LocalDeployment("text-embedding-3-small"),
        *(LocalDeployment(f"more-{{at}}") for at in range(int(os.environ.get("MORE", 0)))),
    ],
    key="benchmark",
    data=tempfile.mkdtemp(dir=os.environ.get("DATA")),
)
endpoint.start()
for at in range(int(os.environ.get("FILES", 0))):
    name, part = endpoint._store.begin_file()
    part.write_text("{{}}")
    endpoint._store.end_file(name, {{"filename": f"{{at}}.jsonl", "purpose": "batch"}})
url = endpoint.url
{_REPORTS}
"""
# The same answers, as a test double writes them; it knows no keys, limits, filters and log.
_STARLETTE = f"""
import json, socket, threading, uuid
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

TOKENS = "Paris is the capital. " * 40
TOKENS = [" " * (at > 0) + each for at, each in enumerate(TOKENS.replace(".", " .").split())]

def chunk(delta, reason=None):
    choice = {{"index": 0, "delta": delta, "finish_reason": reason}}
    payload = {{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1}}
    payload |= {{"model": "long", "choices": [choice]}}
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\\n\\n"

async def events():
    yield chunk({{"role": "assistant", "content": ""}})
    for token in TOKENS:
        yield chunk({{"content": token}})
    yield chunk({{}}, "stop")
    yield b"data: [DONE]\\n\\n"

async def chat(request):
    body = await request.json()
    if body.get("stream"):
        return StreamingResponse(events(), media_type="text/event-stream")
    message = {{"role": "assistant", "content": "Paris is the capital of France."}}
    choice = {{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}}
    usage = {{"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}}
    answer = {{"id": f"chatcmpl-{{uuid.uuid4().hex}}", "object": "chat.completion", "created": 1}}
    return JSONResponse({{**answer, "model": "chat", "choices": [choice], "usage": usage}})

app = Starlette(routes=[Route("/openai/v1/chat/completions", chat, methods=["POST"])])
listening = socket.create_server(("127.0.0.1", 0))
config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
server = uvicorn.Server(config)
threading.Thread(target=server.run, args=([listening],), daemon=True).start()
url = f"http://127.0.0.1:{{listening.getsockname()[1]}}"
{_REPORTS}
"""
_TEXTS, _DIMENSIONS = 2048, 1536
_CHATS, _STREAMS = 300, 20
_PAGE, _FEW_FILES, _MANY_FILES = 20, 100, 10_000
_FEW, _MANY = 10, 5000
# Of the small rows; the large ones take one of these for each of five turns.
_TURNS = 9


class Server:
    """A server in a process of its own, and one connection to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.host = urlsplit(process.stdout.readline().strip()).netloc
        self._buffer = bytearray(1 << 20)
        self.connect()

    def connect(self) -> None:
        """Connect anew: servers close connections that are idle for some seconds."""
        host, _, port = self.host.partition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def cpu(self) -> float:
        """The seconds of processor time that it used so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def request(self, method: str, path: str, body: bytes) -> bytes:
        """Return the bytes of a request."""
        return (
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\napi-key: benchmark\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def send(self, request: bytes) -> bytes:
        """Send a request, read its whole answer, and return the beginning."""
        self._socket.sendall(request)
        start = self._read()
        head, _, rest = start.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"the server answered {start[:300]!r}")
        if b"transfer-encoding: chunked" in head:
            end = start
            while not end.endswith(b"0\r\n\r\n"):
                end = end[-5:] + self._read()
            return start
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        missing = length - len(rest)
        while missing > 0:
            missing -= self._socket.recv_into(self._buffer)
        return start

    def _read(self) -> bytes:
        count = self._socket.recv_into(self._buffer)
        if not count:
            raise SystemExit("the server closed the connection")
        return bytes(self._buffer[:count])


@contextmanager
def serve(source: str, **environ: str) -> Iterator[Server]:
    """Start a server and end it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DATA": folder}
            | {name: str(each) for name, each in environ.items()},
        ) as process,
    ):
        yield Server(process)
        process.communicate("")


def cost(server: Server, request: bytes, count: int) -> float:
    """Return the seconds of the server's processor time for one request."""
    server.connect()
    before = server.cpu
    for _ in range(count):
        server.send(request)
    return (server.cpu - before) / count


def compare(
    ours: Callable[[], float], peer: Callable[[], float], turns: int = _TURNS
) -> tuple[float, float]:
    """Return the medians of two measurements that take turns."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(turns)]
    medians = [statistics.median(each) for each in zip(*pairs, strict=True)]
    return medians[0], medians[1]


def chat_request(server: Server, model: str = "chat", *, stream: bool = False) -> bytes:
    """Return the request of a small chat."""
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    body = {"model": model, "messages": messages, "stream": stream}
    return server.request("POST", "/openai/v1/chat/completions", json.dumps(body).encode())


def measure_chat() -> tuple[float, float]:
    """Return the costs of a small chat."""
    with serve(_ENDPOINT) as ours, serve(_STARLETTE) as peer:
        return compare(
            lambda: cost(ours, chat_request(ours), _CHATS),
            lambda: cost(peer, chat_request(peer), _CHATS),
        )


def measure_stream() -> tuple[float, float]:
    """Return the costs of a stream of 200 tokens."""
    with serve(_ENDPOINT) as ours, serve(_STARLETTE) as peer:
        return compare(
            lambda: cost(ours, chat_request(ours, "long", stream=True), _STREAMS),
            lambda: cost(peer, chat_request(peer, "long", stream=True), _STREAMS),
        )


def measure_deployments() -> tuple[float, float]:
    """Return the costs of a chat with many deployments and with few."""
    with serve(_ENDPOINT, MORE=str(_MANY)) as many, serve(_ENDPOINT, MORE=str(_FEW)) as few:
        return compare(
            lambda: cost(many, chat_request(many), _CHATS),
            lambda: cost(few, chat_request(few), _CHATS),
        )


def measure_files() -> tuple[float, float]:
    """Return the costs of a page of 20 files of many and of few."""
    with (
        serve(_ENDPOINT, FILES=str(_MANY_FILES)) as many,
        serve(_ENDPOINT, FILES=str(_FEW_FILES)) as few,
    ):
        return compare(
            lambda: cost(many, page_request(many), _CHATS),
            lambda: cost(few, page_request(few), _CHATS),
        )


def page_request(server: Server) -> bytes:
    """Return the request of a page of files."""
    return server.request("GET", f"/openai/v1/files?limit={_PAGE}", b"")


# The body that msgspec writes alone, from vectors that are there already.
_WRITE = f"""
import base64, json, struct, sys, time
import msgspec
vectors = [
    [((at * 7919 + row * 31) % 20011 - 10005) / 400307 for at in range({_DIMENSIONS})]
    for row in range({_TEXTS})
]
def encode(vector):
    if sys.argv[1] == "floats":
        return vector
    return base64.b64encode(struct.pack(f"<{{len(vector)}}f", *vector)).decode()
for line in sys.stdin:
    before = time.process_time()
    data = [
        {{"object": "embedding", "index": at, "embedding": encode(each)}}
        for at, each in enumerate(vectors)
    ]
    usage = {{"prompt_tokens": 9, "total_tokens": 9}}
    body = msgspec.json.encode({{"object": "list", "model": "e", "data": data, "usage": usage}})
    print(time.process_time() - before, flush=True)
"""


def measure_vectors(encoding: str) -> tuple[float, float]:
    """Return the costs of 2,048 vectors of 1,536 numbers, and of writing such a body."""
    texts = [f"text {at} says something about subject {at % 97}" for at in range(_TEXTS)]
    body = {"model": "text-embedding-3-small", "input": texts}
    body["encoding_format"] = "base64" if encoding == "base64" else "float"
    with ExitStack() as stack:
        ours = stack.enter_context(serve(_ENDPOINT))
        request = ours.request("POST", "/openai/v1/embeddings", json.dumps(body).encode())
        writer = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", _WRITE, encoding],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert writer.stdin is not None
        assert writer.stdout is not None

        def write() -> float:
            assert writer.stdin is not None
            assert writer.stdout is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
            return float(writer.stdout.readline())

        return compare(lambda: cost(ours, request, 1), write, 5)


def run_cost(*command: str) -> float:
    """Return the seconds of processor time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_import() -> tuple[float, float]:
    """Return the costs of a process that imports the endpoint, and of one with its libraries."""
    libraries = (
        "import starlette.applications, starlette.requests, starlette.responses, "
        "starlette.routing, uvicorn, uvloop"
    )
    return compare(
        lambda: run_cost(sys.executable, "-c", "from azinfer.local import LocalEndpoint"),
        lambda: run_cost(sys.executable, "-c", libraries),
    )


ROWS: Mapping[str, tuple[str, float, Callable[[], tuple[float, float]]]] = {
    "chat": ("small chat, to a starlette handler", 2.5, measure_chat),
    "stream": ("stream of 200 tokens, to a starlette handler", 1.2, measure_stream),
    "floats": (
        "2,048 × 1,536 floats, whole request, to writing them",
        1.5,
        lambda: measure_vectors("floats"),
    ),
    "base64": (
        "2,048 × 1,536 in base64, whole request, to writing them",
        2.0,
        lambda: measure_vectors("base64"),
    ),
    "import": ("import, to starlette + uvicorn + uvloop", 1.5, measure_import),
    "deployments": ("chat with 5,000 deployments, to 10", 1.1, measure_deployments),
    "files": ("page of 20 of 10,000 files, to 100", 1.5, measure_files),
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
    command = Path(sys.executable).with_name("azinfer")
    if "import" in names and os.access(command, os.X_OK):
        for option in ("--version", "--help"):
            seconds = statistics.median(run_cost(str(command), option) for _ in range(5))
            print(f"\n`azinfer {option}`: {seconds:.2f} s of CPU", flush=True)
    print(f"\nPython {sys.version.split()[0]}, {time.strftime('%d %B %Y')}")


if __name__ == "__main__":
    main()
