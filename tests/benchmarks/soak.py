"""Soak test: mixed calls with faults for minutes; counts lost, mixed up, untyped and leaked ones.

    python tests/benchmarks/soak.py --seconds 600

A server in a process of its own answers each prompt with the prompt, and each text with a vector
of its checksum, so that an answer to another call is recognised; 5 % of its answers are faults.
The client calls it from eight threads, from 24 tasks of an event loop that are cancelled at random
moments, and from the main thread, in which a signal handler raises errors at random moments.
Streams are left early, too. Every ten seconds a line shows what has happened so far. The exit code
is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from azinfer.core import (
    AsyncInferenceClient,
    Clock,
    InferenceClient,
    InferenceError,
    Timeout,
)

THREADS, TASKS = 8, 24
FAULTS = 0.05  # of all answers
LEFT, CANCELLED, INTERRUPTED = 0.2, 0.1, 0.3  # of the streams, of the tasks' and of the main calls
PERIOD = 10.0  # seconds between two lines
GROWTH = 8.0  # MB between the second and the last quarter that are not a leak
LIMITS = Timeout(attempt=5, connect=5, read=2, total=20)


# The server.

HEAD = "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n"


def whole(body: Any, status: int = 200, *headers: str) -> bytes:
    """Return a whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{header}\r\n" for header in headers)
    head = HEAD.format(status=status, kind="application/json") + lines
    return head.encode() + b"content-length: %d\r\n\r\n" % len(data) + data


def chat_of(text: str) -> dict[str, Any]:
    """Return a completion that says a text."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": text}}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "c", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def stream_of(text: str) -> list[bytes]:
    """Return the pieces of a streamed answer that says a text."""
    deltas = [{"content": letter} for letter in text]
    choices: list[Any] = [{"index": 0, "delta": each, "finish_reason": None} for each in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices]
    head = HEAD.format(status=200, kind="text/event-stream") + "transfer-encoding: chunked\r\n\r\n"
    pieces = [f"{len(event):x}\r\n{event}\r\n".encode() for event in [*events, "data: [DONE]\n\n"]]
    return [head.encode(), *pieces, b"0\r\n\r\n"]


def vector_of(text: str) -> list[float]:
    """Return the vector of a text."""
    return [float(zlib.crc32(text.encode()) % 65_521), float(len(text))]


def pieces_of(path: str, request: dict[str, Any]) -> list[bytes]:
    """Return the right answer to a request, in pieces."""
    if path.endswith("/embeddings"):
        rows = [{"index": at, "embedding": vector_of(t)} for at, t in enumerate(request["input"])]
        return [whole({"data": rows, "model": "m"})]
    text = request["messages"][0]["content"]
    return stream_of(text) if request.get("stream") else [whole(chat_of(text))]


class EndOfConnectionError(Exception):
    """The server ends the connection here."""


def with_id(answer: bytes, head: str) -> bytes:
    """Return an answer with the id of the request that has this head, as Azure's services send."""
    name = "x-ms-client-request-id: "
    value = head.partition(name)[2].partition("\r\n")[0]
    return answer.replace(b"\r\n", f"\r\n{name}{value}\r\n".encode(), 1)


async def send_fault(
    writer: asyncio.StreamWriter, pieces: list[bytes], head: str, chance: random.Random
) -> None:
    """Answer in a wrong way."""
    everything = b"".join(pieces)
    cut = everything[: chance.randrange(len(everything))]
    failure: Any = {"error": {"code": "x", "message": "no"}}
    faults: list[tuple[bytes, bool]] = [
        (b"", True),
        (cut, True),
        (b"SSH-2.0\r\n\r\n", True),
        (whole(b"<html>"), False),
        (whole(failure, 500), False),
        (whole(failure, 503), False),
        (whole(failure, 429, "retry-after-ms: 20"), False),
        (whole(failure), False),
        (everything, False),
    ]
    data, ends = chance.choice(faults)
    writer.write(data)
    await writer.drain()
    if data == everything:  # and then an answer to no request
        await asyncio.sleep(chance.random() * 0.004)
        writer.write(with_id(whole(chat_of("foreign")), head))
    if not ends:
        return
    if chance.random() < 0.3:
        await asyncio.sleep(chance.random() * 0.3)
    if chance.random() < 0.5:
        writer.transport.abort()
    raise EndOfConnectionError


async def serve_connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random
) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            path = head.split(" ", 2)[1].partition("?")[0]
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            pieces = pieces_of(path, json.loads(await reader.readexactly(length)))
            pieces[0] = with_id(pieces[0], head)
            if chance.random() < FAULTS:
                await send_fault(writer, pieces, head, chance)
                continue
            for piece in pieces:
                writer.write(piece)
                if len(pieces) > 1:
                    await writer.drain()
                    await asyncio.sleep(0.001 * (chance.random() < 0.05))
    except (OSError, EOFError, EndOfConnectionError):
        pass
    finally:
        writer.close()


async def serve(seed: int) -> None:
    """Serve until the standard input ends; print the port."""
    chance = random.Random(seed)
    server = await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, chance), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def running_server(seed: int) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    command = [sys.executable, __file__, "--serve", str(seed)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/openai/v1"
        finally:
            process.stdin.close()
            process.terminate()


# The client.


@dataclass
class Soak:
    """What happened so far.

    Attributes:
        seconds: How long calls begin.
        started: The calls that began; each ends with one of the outcomes.
        outcomes: How often each outcome came.
        wrong: What must not happen.
        dropped: Sockets and errors of signals that Python itself has dropped.
        samples: Seconds, MB of memory, open files and threads, from time to time.
    """

    seconds: float
    started: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    dropped: int = 0
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=count)
    _began: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Return whether no further call may begin."""
        return time.monotonic() - self._began > self.seconds or len(self.wrong) > 100

    def begin(self) -> str:
        """Return the prompt of a call that begins, which no other call has."""
        with self._lock:
            self.started += 1
            return f"<{next(self._numbers)}:{'x' * random.randrange(30)}>"

    def end(self, outcome: str) -> None:
        """Count the end of a call."""
        with self._lock:
            self.outcomes[outcome] += 1

    def check(self, right: bool, text: str) -> None:
        """Note what is wrong."""
        if not right:
            self.wrong.append(text)

    def fail(self, error: BaseException) -> None:
        """Count the error of a call: one of azinfer, or a wrong one."""
        if isinstance(error, InferenceError):
            self.end(f"error {type(error).__name__}")
        else:
            self.end("untyped")
            self.wrong.append(f"untyped: {error!r}")

    def note_unraisable(self, each: Any) -> None:
        """Note what nobody can catch.

        Where a signal handler raises an error between the creation of a socket and its first use,
        Python itself closes the socket, with a warning; and where it raises one inside the callback
        of a weak reference, Python drops the error. No code can prevent either.
        """
        is_socket = each.exc_type is ResourceWarning and "unclosed <socket" in str(each.exc_value)
        if is_socket or issubclass(each.exc_type, InterruptedCallError):
            self.dropped += 1
        else:
            self.wrong.append(f"unraisable: {each}")

    def sample(self) -> None:
        """Measure the memory, the open files and the threads."""
        now = time.monotonic() - self._began
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        files = len(os.listdir("/proc/self/fd"))
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        self.samples.append((now, memory, files, threading.active_count()))
        outcomes = ", ".join(f"{name} {n}" for name, n in sorted(self.outcomes.items()))
        show(
            f"{now:5.0f} s  {self.started} calls  {memory:.1f} MB  {files} files  "
            f"{self.samples[-1][3]} threads  wrong {len(self.wrong)}  {outcomes}"
        )


def show(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def user(text: str) -> list[dict[str, Any]]:
    """Return a conversation with one message."""
    return [{"role": "user", "content": text}]


def check_vectors(soak: Soak, texts: list[str], vectors: Any) -> None:
    """Check that each text has its own vector."""
    right = [list(vector) for vector in vectors] == [vector_of(text) for text in texts]
    soak.check(right, f"crossed or lost vectors of {texts[0]}")


def call(client: InferenceClient, soak: Soak, text: str) -> str:
    """Make one call of sync code; return the outcome."""
    kind = random.random()
    if kind < 0.4:
        answer = client.complete(user(text)).text
        soak.check(answer == text, f"crossed: {answer!r} for {text!r}")
        return "complete"
    if kind < 0.6:
        texts = [f"{text}{at}" for at in range(random.randrange(1, 40))]
        check_vectors(soak, texts, client.embed(texts, model="embed").vectors)
        return "embed"
    leaves, got = random.random() < LEFT, ""
    with client.stream(user(text)) as chunks:
        for chunk in chunks:
            got += chunk.text
            soak.check(text.startswith(got), f"crossed: {got!r} for {text!r}")
            if leaves and len(got) > 2:
                return "left early"
    soak.check(got == text, f"lost: {got!r} of {text!r}")
    return "stream"


async def call_async(client: AsyncInferenceClient, soak: Soak, text: str) -> str:
    """Make one call of async code; return the outcome."""
    kind = random.random()
    if kind < 0.4:
        answer = (await client.complete(user(text))).text
        soak.check(answer == text, f"crossed: {answer!r} for {text!r}")
        return "complete"
    if kind < 0.6:
        texts = [f"{text}{at}" for at in range(random.randrange(1, 40))]
        check_vectors(soak, texts, (await client.embed(texts, model="embed")).vectors)
        return "embed"
    leaves, got = random.random() < LEFT, ""
    async with client.stream(user(text)) as chunks:
        async for chunk in chunks:
            got += chunk.text
            soak.check(text.startswith(got), f"crossed: {got!r} for {text!r}")
            if leaves and len(got) > 2:
                return "left early"
    soak.check(got == text, f"lost: {got!r} of {text!r}")
    return "stream"


def work_in_thread(client: InferenceClient, soak: Soak) -> None:
    """Make one call after the other."""
    while not soak.is_over:
        text = soak.begin()
        try:
            soak.end(call(client, soak, text))
        except Exception as error:
            soak.fail(error)


class InterruptedCallError(Exception):
    """What the signal handler raises."""


class InterruptedSocketError(InterruptedCallError, TimeoutError):
    """The same, of a class that sockets raise too."""


def work_in_main(client: InferenceClient, soak: Soak) -> None:
    """Make one call after the other, while a signal handler raises errors at random moments."""

    def handler(signum: int, frame: Any) -> None:
        raise random.choice((InterruptedCallError, InterruptedSocketError))(text)

    text = ""
    before = signal.signal(signal.SIGALRM, handler)
    while not soak.is_over:
        text = soak.begin()
        outcome = ""
        try:
            try:
                if random.random() < INTERRUPTED:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.02))
                outcome = call(client, soak, text)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except InterruptedCallError:
            outcome = "interrupted"
        except Exception as error:
            soak.fail(error)
            continue
        soak.end(outcome)
    signal.signal(signal.SIGALRM, before)


async def work_in_task(client: AsyncInferenceClient, soak: Soak) -> None:
    """Make one call after the other, some of which are cancelled at random moments."""
    while not soak.is_over:
        text = soak.begin()
        task = asyncio.create_task(call_async(client, soak, text))
        if random.random() < CANCELLED:
            asyncio.get_running_loop().call_later(random.uniform(0, 0.03), task.cancel)
        try:
            soak.end(await task)
        except asyncio.CancelledError:
            soak.end("cancelled")
        except Exception as error:
            soak.fail(error)


async def work_in_loop(url: str, soak: Soak) -> None:
    """Make the calls of all tasks, and count what their loop complains about."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: soak.wrong.append(f"the loop: {context}"))
    async with AsyncInferenceClient(url, "k", "m", timeout=LIMITS, clock=Hasty()) as client:
        await asyncio.gather(*[work_in_task(client, soak) for _ in range(TASKS)])


class Hasty(Clock):
    """A clock that waits a fiftieth of the time between two attempts."""

    def sleep(self, seconds: float) -> None:
        """Wait in this thread."""
        time.sleep(seconds / 50)

    async def asleep(self, seconds: float) -> None:
        """Wait in this task."""
        await asyncio.sleep(seconds / 50)


def run(seconds: float, seed: int = 1) -> Soak:
    """Make calls for some time, and return what happened."""
    soak = Soak(seconds)
    random.seed(seed)
    hooks: list[tuple[Any, str, Callable[[Any], None]]] = [
        (sys, "unraisablehook", soak.note_unraisable),
        (threading, "excepthook", lambda each: soak.wrong.append(f"a thread: {each}")),
    ]
    before = [getattr(module, name) for module, name, _ in hooks]
    with running_server(seed) as url, warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for module, name, hook in hooks:
            setattr(module, name, hook)
        client = InferenceClient(url, "k", "m", timeout=LIMITS, clock=Hasty())
        files = len(os.listdir("/proc/self/fd"))
        try:
            _run_all(url, client, soak)
        finally:
            client.close()
            gc.collect()
            for (module, name, _), hook in zip(hooks, before, strict=True):
                setattr(module, name, hook)
        left = len(os.listdir("/proc/self/fd")) - files
        soak.check(left == 0, f"{left} files are still open")
    lost = soak.started - sum(soak.outcomes.values())
    soak.check(lost == 0, f"{lost} calls have not ended")
    few = 5 + soak.outcomes["interrupted"] // 50
    soak.check(soak.dropped <= few, f"Python has dropped {soak.dropped}")
    _check_growth(soak)
    return soak


def _run_all(url: str, client: InferenceClient, soak: Soak) -> None:
    threads = [threading.Thread(target=work_in_thread, args=(client, soak)) for _ in range(THREADS)]
    threads.append(threading.Thread(target=lambda: asyncio.run(work_in_loop(url, soak))))
    threads.append(threading.Thread(target=_watch, args=(soak,)))
    for thread in threads:
        thread.start()
    work_in_main(client, soak)
    for thread in threads:
        thread.join(60)
        soak.check(not thread.is_alive(), f"{thread.name} hangs")


def _watch(soak: Soak) -> None:
    while not soak.is_over:
        soak.sample()
        time.sleep(min(PERIOD, soak.seconds / 20))


def _check_growth(soak: Soak) -> None:
    """Compare the second quarter of the time with the last one."""
    quarter = len(soak.samples) // 4
    if not quarter:
        return
    second, last = soak.samples[quarter : 2 * quarter], soak.samples[-quarter:]
    growth = min(each[1] for each in last) - min(each[1] for each in second)
    soak.check(growth < GROWTH, f"the memory grew by {growth:.1f} MB")
    files = [max(each[2] for each in some) for some in (second, last)]
    soak.check(files[1] <= files[0] + 8, f"the open files grew from {files[0]} to {files[1]}")
    show(f"memory {growth:+.1f} MB, most open files {files[0]} and then {files[1]}")


def main() -> None:
    """Run the soak test, or its server."""
    parser = argparse.ArgumentParser(description="Soak test of the client.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=int, metavar="SEED", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    soak = run(arguments.seconds, arguments.seed)
    for text in soak.wrong[:20]:
        show(f"WRONG  {text}")
    show(f"{soak.started} calls, {len(soak.wrong)} wrong, {soak.dropped} dropped by Python")
    show(f"{dict(soak.outcomes)}")
    sys.exit(bool(soak.wrong))


if __name__ == "__main__":
    main()
