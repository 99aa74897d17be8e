"""The local endpoint under load: small chats a second, streams at once, limits, memory.

    python tests/benchmarks/load.py [--seconds 10]
    python tests/benchmarks/load.py --minutes 30 [--rest 10]

With `--minutes` rounds of chats, streams, vectors and stored responses follow each other, with a
rest between them for the others on the machine, and a line shows the server's memory at times.

Chats are sent by wrk (Debian: `apt-get install wrk`), which others wrote; streams by aiohttp. The
server runs in a process of its own; its requests a second are divided by the processor time that
it used, so that a busy machine does not hide what it can do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

SERVER = """
import sys
from azinfer.core import RateLimit
from azinfer.local import Latency, LocalDeployment, LocalEndpoint, SyntheticEngine
with LocalEndpoint(
    [
        LocalDeployment("chat", engine=SyntheticEngine("Paris is the capital of France.")),
        LocalDeployment("slow", engine=SyntheticEngine(), latency=Latency(0.05, 0.02)),
        LocalDeployment("limited", rate_limits=(RateLimit("request", 500, 3600),)),
    ],
    key="load",
) as endpoint:
    print(endpoint.url, flush=True)
    sys.stdin.read()
"""
SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["api-key"] = "load"
wrk.body = '{"model":"%s","messages":[{"role":"user","content":"What is the capital?"}]}'
"""


_SECONDS = {"s": 1, "m": 60}


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a process of its own."""

    url: str
    pid: int

    @property
    def cpu(self) -> float:
        """The seconds of processor time that it used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    @property
    def memory(self) -> float:
        """Its resident memory, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


@contextmanager
def serve() -> Iterator[Server]:
    """Start the server and end it."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Server(process.stdout.readline().strip(), process.pid)
        process.communicate("")


def run_wrk(server: Server, seconds: float, model: str = "chat") -> tuple[int, int, float, float]:
    """Requests, those not answered 200, seconds, and seconds of the server's processor time."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not there: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % model)
        script.flush()
        command = [wrk, "-t1", "-c32", f"-d{seconds:.0f}s", "-s", script.name]
        command.append(f"{server.url}/openai/v1/chat/completions")
        before = server.cpu
        reply_text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = server.cpu - before
    requests, took, unit = re.findall(r"(\d+) requests in ([\d.]+)([sm])", reply_text)[0]
    wrong = re.findall(r"Non-2xx or 3xx responses: (\d+)", reply_text)
    failed = re.findall(r"Socket errors: .*", reply_text)
    if failed:
        print(failed[0])
    return int(requests), int(wrong[0]) if wrong else 0, float(took) * _SECONDS[unit], spent


async def count_streams(server: Server, seconds: float, at_once: int = 200) -> tuple[int, int]:
    """Return how many streams ended correctly and how many did not, with `at_once` at any time."""
    good = bad = 0
    until = time.monotonic() + seconds
    url = f"{server.url}/openai/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"api-key": "load"}) as session:

        async def one(number: int) -> bool:
            message = f"stream {number} says so"
            body = {"model": "slow", "messages": [{"role": "user", "content": message}]}
            async with session.post(url, json={**body, "stream": True}) as response:
                lines = [line async for line in response.content if line.strip()]
            choices = [json.loads(line[6:])["choices"][0] for line in lines[:-1]]
            text = "".join(each["delta"].get("content") or "" for each in choices)
            ended = lines[-1] == b"data: [DONE]\n" and choices[-1]["finish_reason"] == "stop"
            return ended and text == f"This is a synthetic answer to: {message}"

        async def keep_calling(number: int) -> None:
            nonlocal good, bad
            while time.monotonic() < until:
                right = await one(number)
                good, bad = good + right, bad + (not right)
                number += at_once

        await asyncio.gather(*(keep_calling(number) for number in range(at_once)))
    return good, bad


async def load_limited(
    server: Server, seconds: float = 5
) -> tuple[tuple[int, int], tuple[int, int, float, float]]:
    """Streams, and requests to a deployment with a limit beside them."""
    limited = asyncio.to_thread(run_wrk, server, seconds, "limited")
    return await asyncio.gather(count_streams(server, seconds), limited)


async def call_others(server: Server, count: int = 200) -> int:
    """Return how many of the calls for vectors and stored responses did not succeed."""
    calls = [
        ("/embeddings", {"model": "chat", "input": ["The sea is blue."] * 8}),
        ("/responses", {"model": "chat", "input": "Name the sea.", "store": True}),
    ]
    wrong = 0
    async with aiohttp.ClientSession(headers={"api-key": "load"}) as session:
        for number in range(count):
            path, body = calls[number % len(calls)]
            async with session.post(f"{server.url}/openai/v1{path}", json=body) as response:
                await response.read()
                wrong += response.status != 200
    return wrong


def run_long(server: Server, minutes: float, rest: float) -> None:
    """Load the server for minutes; print its memory after 1, 2, 5, 10, 20, … of them."""
    begin = time.monotonic()
    chats = wrong = streams = lost = 0
    due = [each for each in (1, 2, 5, 10, 15, 20, 25, 30, 45, 60) if each <= minutes]
    while due:
        sent, failed, _, _ = run_wrk(server, 4)
        good, bad = asyncio.run(count_streams(server, 3))
        wrong += failed + asyncio.run(call_others(server))
        chats, streams, lost = chats + sent, streams + good, lost + bad
        time.sleep(rest)
        if time.monotonic() - begin >= due[0] * 60:
            print(
                f"minute {due.pop(0)}: {server.memory:.0f} MB; so far {chats:,} chats, "
                f"{streams:,} streams, {wrong + lost} wrong",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--rest", type=float, default=10)
    options = parser.parse_args()
    with serve() as server:
        if options.minutes:
            run_long(server, options.minutes, options.rest)
        else:
            run_short(server, options.seconds)


def run_short(server: Server, seconds: float) -> None:
    """Measure each kind of load for some seconds, and print."""
    run_wrk(server, 2)
    first = server.memory
    requests, wrong, took, spent = run_wrk(server, seconds)
    print(
        f"chats: {requests} in {took:.1f} s ({requests / took:,.0f}/s), {wrong} not 200; "
        f"{requests / spent:,.0f} for each second of the server's processor time"
    )
    for _ in range(3):
        run_wrk(server, max(1, seconds // 2))
    print(f"memory: {first:.0f} MB after the first, {server.memory:.0f} MB after the last")
    good, bad = asyncio.run(count_streams(server, seconds))
    print(f"streams, 200 at once for {seconds:g} s: {good} whole, {bad} lost or mixed")
    (good, bad), (requests, wrong, _, _) = asyncio.run(load_limited(server))
    print(
        f"limited to 500 requests, beside 200 streams: {requests - wrong} of {requests} were "
        f"let in; of the streams {good} whole, {bad} lost or mixed"
    )


if __name__ == "__main__":
    main()
