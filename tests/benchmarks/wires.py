"""Measure the CPU time of azinfer's own client on each wire, beside chat completions.

    python tests/benchmarks/wires.py [rounds]

A server in a process of its own repeats what the local endpoint answers to one question on each
wire: whole, and as a stream of 200 chunks. The wires take turns, and the fastest round counts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx

from azinfer.core import InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

PATHS = {
    "chat": "/openai/v1/chat/completions",
    "responses": "/openai/v1/responses",
    "messages": "/anthropic/v1/messages",
}
USER: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
]
TEXT = "The capital of France is Paris. " * 8
STORY = " ".join(["word"] * 200)
CALLS, STREAMS = 300, 20
LIMITS = {"call": 1.15, "chunk": 1.3}


def record() -> dict[str, str]:
    """Return what the local endpoint answers on each path: whole, and as events."""
    answers = {}
    deployments = [
        LocalDeployment("brief", engine=SyntheticEngine(TEXT)),
        LocalDeployment("story", engine=SyntheticEngine(STORY)),
    ]
    headers = {"anthropic-version": "2023-06-01"}
    with LocalEndpoint(deployments, key="k") as endpoint:
        for wire, path in PATHS.items():
            for model, is_streamed in (("brief", False), ("story", True)):
                conversation = {"input": USER} if wire == "responses" else {"messages": USER[1:]}
                body = {"model": model, "max_tokens": 999, "stream": is_streamed, **conversation}
                if wire == "responses":
                    body["max_output_tokens"] = body.pop("max_tokens")
                answer = httpx.post(
                    endpoint.url + path, json=body, headers={"api-key": "k", **headers}
                ).raise_for_status()
                kind = answer.headers["content-type"]
                answers[f"{path} {is_streamed}"] = f"content-type: {kind}\r\n\r\n{answer.text}"
    return answers


async def serve(answers: dict[str, str]) -> None:
    """Repeat the answers until the process is ended."""
    bodies = {}
    for name, text in answers.items():
        head, _, body = text.partition("\r\n\r\n")
        length = len(body.encode())
        whole = f"HTTP/1.1 200 OK\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}"
        bodies[name] = whole.encode()

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                is_streamed = b'"stream":true' in await reader.readexactly(size)
                writer.write(bodies[f"{head.split()[1].decode()} {is_streamed}"])
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def seconds_of(action: Callable[[], object], times: int) -> float:
    """Return the CPU seconds of one action, in the mean of some."""
    start = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - start) / times


def measure(url: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return the microseconds of a call and of a chunk on each wire."""
    best: dict[str, dict[str, float]] = {"call": {}, "chunk": {}}
    clients = {wire: InferenceClient(url, "k", "m", wire=wire) for wire in PATHS}  # type: ignore[arg-type]

    def read(client: InferenceClient) -> None:
        with client.stream(USER) as chunks:
            for _ in chunks:
                pass

    for _ in range(rounds):
        for wire, client in clients.items():
            call = seconds_of(lambda: client.complete(USER), CALLS)  # noqa: B023
            chunk = seconds_of(lambda: read(client), STREAMS) / 200  # noqa: B023
            for name, value in (("call", call), ("chunk", chunk)):
                best[name][wire] = min(value * 1e6, best[name].get(wire, 1e9))
    return best


def main(rounds: int) -> int:
    """Print a line for each wire; return 1 if one takes longer than it may."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as server:
        assert server.stdin
        assert server.stdout
        try:
            server.stdin.write(json.dumps(record()) + "\n")
            server.stdin.flush()
            best = measure(f"http://127.0.0.1:{int(server.stdout.readline())}", rounds)
        finally:
            server.kill()
    is_slow = False
    for name, limit in LIMITS.items():
        for wire, value in best[name].items():
            ratio = value / best[name]["chat"]
            is_slow = is_slow or ratio > limit
            print(f"{name:6}{wire:10}{value:8.1f} µs {ratio:6.2f} × chat")
    return int(is_slow)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve(json.loads(sys.stdin.readline())))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
