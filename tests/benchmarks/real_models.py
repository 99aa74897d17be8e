"""The real models behind the local endpoint, beside llama.cpp's own server, in one run.

    python tests/benchmarks/real_models.py [--turns 7]

Both processes load the same file with the same settings; one serves it by the local endpoint, of
the other llama.cpp's HTTP server is asked, which is part of the same native library. They get the
same requests in turns, each prompt once, so that no prompt cache helps. A ratio is that of the
processor times of the two servers, which include the model's; medians of the turns count.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_REPORTS = """
print(url, flush=True)
for line in sys.stdin:
    print(time.process_time(), flush=True)
"""
_LOADS = """
import secrets, sys, time
secrets.token_hex = lambda *size: "benchmark"  # the key of llama.cpp's server
from azinfer.local.engines.llama import GgufChat, GgufEmbeddings
from azinfer.local.engines.weights import MINILM, SMOLLM2, cache, pull
chat, embed = GgufChat(pull(SMOLLM2, cache())), GgufEmbeddings(pull(MINILM, cache()))
"""
_ENDPOINT = f"""{_LOADS}
from azinfer.local import LocalDeployment, LocalEndpoint
deployments = [LocalDeployment("chat", engine=chat), LocalDeployment("embed", engine=embed)]
endpoint = LocalEndpoint(deployments, key="benchmark")
endpoint.start()
url = f"{{endpoint.url}}/openai/v1 {{endpoint.url}}/openai/v1"
{_REPORTS}
"""
_NATIVE = f"""{_LOADS}
url = f"{{chat._server.listening_address}}/v1 {{embed._server.listening_address}}/v1"
{_REPORTS}
"""
_TOKENS, _TEXTS = 64, 32


class Server:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.chat_url, self.embed_url = self._read().split()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _cpu(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def measure(self, url: str, path: str, body: dict[str, Any]) -> tuple[float, bytes]:
        """Return the seconds of processor time of a request, and the body of its response."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=300)
        headers = {"authorization": "Bearer benchmark", "content-type": "application/json"}
        before = self._cpu()
        connection.request("POST", parts.path + path, json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        spent = self._cpu() - before
        connection.close()
        assert response.status == 200, content
        return spent, content


@contextmanager
def run(program: str) -> Iterator[Server]:
    """Start a server, and end it."""
    command = [sys.executable, "-c", program]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def chat(turn: int, stream: bool) -> dict[str, Any]:
    """Return the body of a chat, which no other turn has; the answer is long enough to be cut."""
    text = f"{turn}. Write a long story about the sea and {turn + 2} ships."
    body = {"model": "chat", "messages": [{"role": "user", "content": text}], "seed": 1}
    return {**body, "temperature": 0, "max_tokens": _TOKENS, "stream": stream}


def embed(turn: int) -> dict[str, Any]:
    """Return the body of a request for vectors."""
    text = "The harvest of olives begins in October, when the first fruits turn purple"
    texts = [f"{text}, and {turn} and {number}." for number in range(_TEXTS)]
    return {"model": "embed", "input": texts}


def measure(endpoint: Server, native: Server, turns: int) -> dict[str, float]:
    """Return the ratio of each kind of request."""
    ratios: dict[str, list[float]] = {"chat": [], "stream": [], "embeddings": []}
    for turn in range(turns + 1):
        for number, name in enumerate(ratios):
            at = turn * len(ratios) + number
            spent = []
            for server in (endpoint, native) if at % 2 else (native, endpoint):
                if name == "embeddings":
                    seconds, _ = server.measure(server.embed_url, "/embeddings", embed(at))
                else:
                    body = chat(at, name == "stream")
                    seconds, _ = server.measure(server.chat_url, "/chat/completions", body)
                spent.append(seconds)
            first, second = spent
            if turn:  # the first one warms up
                ratios[name].append(first / second if at % 2 else second / first)
    return {name: statistics.median(each) for name, each in ratios.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    with run(_ENDPOINT) as endpoint, run(_NATIVE) as native:
        for name, ratio in measure(endpoint, native, turns).items():
            print(f"{name}: {ratio:.2f} of the processor time of llama.cpp's server")


if __name__ == "__main__":
    main()
