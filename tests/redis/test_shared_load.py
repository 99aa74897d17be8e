"""Three processes with a hundred tasks each, on one limit that they share."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from client_driver import KEY
from fleet import Fleet
from redis_server import RedisServer

TASKS, PROCESSES, LIMIT = 100, 3, 600
PROGRAM = """
import asyncio, json, sys
from azinfer.core import AsyncInferenceClient, RouteExhaustedError

async def main():
    config, seconds, tasks = json.loads(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    client = AsyncInferenceClient.from_config(config, environ={"AZURE_AI_API_KEY": sys.argv[4]})
    print("ready", flush=True)
    sys.stdin.readline()
    end = asyncio.get_running_loop().time() + seconds
    counts, errors = [0] * tasks, []

    async def work(at):
        while asyncio.get_running_loop().time() < end:
            try:
                await client.complete([{"role": "user", "content": "x"}], model="chat")
                counts[at] += 1
            except RouteExhaustedError:
                pass  # the limit is used up until the end
            except Exception as error:
                errors.append(repr(error))

    await asyncio.gather(*(work(at) for at in range(tasks)))
    await client.aclose()
    print(json.dumps([counts, errors]))

asyncio.run(main())
"""


def run(config: dict[str, Any], seconds: float, act: Any = None) -> list[Any]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(config), str(seconds), str(TASKS), KEY]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    if act is not None:
        act()
    return [json.loads(process.communicate(timeout=120)[0]) for process in processes]


@pytest.fixture
def config(fleet: Fleet, own_server: RedisServer) -> dict[str, Any]:
    facts = {"m@a": {"rpm": LIMIT * 6}}
    config = fleet.config([["m@a"]], deployments=facts, policy={"wait": 4, "attempts": 8})
    return {**config, "shared": {"redis": own_server.url, "timeout": 5}}


def test_processes_use_the_whole_limit_and_no_more(fleet: Fleet, config: dict[str, Any]) -> None:
    began = time.monotonic()
    results = run(config, 4)
    # One period of ten seconds, unless the machine is busy.
    periods = 1 + (time.monotonic() - began) // 10
    counts = [count for counts, _ in results for count in counts]
    assert [errors for _, errors in results] == [[]] * PROCESSES
    assert LIMIT * 0.99 <= sum(counts) <= LIMIT * 1.01 * periods
    assert sum(counts) == fleet.counts["a"]
    # A process whose share is less than two calls for each task may not have one for all of them.
    assert all(min(count) >= 1 or sum(count) < 2 * TASKS for count, _ in results)


def test_a_server_that_dies_in_the_middle_fails_no_call(
    fleet: Fleet, config: dict[str, Any], own_server: RedisServer
) -> None:
    def die_and_come_back() -> None:
        assert fleet["a"].wait_until(lambda: fleet.counts["a"] > LIMIT / 4, 60)
        own_server.kill()
        assert fleet["a"].wait_until(lambda: fleet.counts["a"] > LIMIT, 60)
        own_server.start()

    results = run(config, 10, die_and_come_back)
    assert [errors for _, errors in results] == [[]] * PROCESSES
    counts = [count for counts, _ in results for count in counts]
    assert min(counts) >= 1
    # Without the server each process keeps to the limit by itself.
    assert LIMIT < sum(counts) <= LIMIT * PROCESSES
