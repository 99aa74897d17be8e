"""Bulk embeddings beside other clients: wall time, CPU and memory, in one run.

`python tests/benchmarks/bulk.py` embeds 20,000 short texts in requests of 2,048, each answered
50 ms after it came, with 1,536 dimensions. Every client runs in a process of its own; the server,
with precomputed bytes, in another. `--million` also embeds 1,000,000 texts, to compare the memory.
`--limit` spends 30 s under a limit of tokens of a real local endpoint.

"Ideal" sends the same requests over plain sockets, all at once, and reads the answers without
looking at them: no client can be faster.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import itertools
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BYTECODE = Path(tempfile.gettempdir()) / "azinfer-benchmark-bytecode"
DIMENSIONS, BATCH, LATENCY, AT_ONCE = 1536, 2048, 0.05, 8
MODEL, KEY = "text-embedding-3-small", "a-key"
NUMBERS = [((at * 7919) % 20011 - 10005) / 10007 for at in range(DIMENSIONS)]
PACKED = json.dumps(base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *NUMBERS)).decode())


@functools.cache
def answer(count: int, packed: bool) -> bytes:
    """The response to a request with so many texts."""
    vector = (PACKED if packed else json.dumps(NUMBERS)).encode()
    data = b",".join(
        b'{"object":"embedding","index":%d,"embedding":%b}' % (at, vector) for at in range(count)
    )
    usage = b'"usage":{"prompt_tokens":%d,"total_tokens":%d}' % (count * 5, count * 5)
    body = b'{"object":"list","model":"e","data":[' + data + b"]," + usage + b"}"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            texts = body.count(b'"text ') or 1
            response = answer(texts, b"base64" in body)
            await asyncio.sleep(LATENCY)
            writer.write(response)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def serve_locally() -> None:
    """Serve the local endpoint until the process is ended."""
    from azinfer.local import Latency, LocalDeployment, LocalEndpoint

    deployment = LocalDeployment(MODEL, MODEL, latency=Latency(LATENCY))
    with LocalEndpoint([deployment], key=KEY) as endpoint:
        print(endpoint.url.rpartition(":")[2], flush=True)
        endpoint.wait()


async def listen() -> None:
    """Serve until the process is ended."""
    for count in (BATCH, 20_000 % BATCH, 1_000_000 % BATCH):
        answer(count, packed=True)
        answer(count, packed=False)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server(kind: str = "serve") -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, __file__, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/openai/v1"
        finally:
            process.kill()


def texts(count: int) -> Iterator[str]:
    """Short texts."""
    return (f"text {at} of a few words" for at in range(count))


def batches(count: int) -> list[list[str]]:
    """The same, as many as a request takes."""
    all_texts = list(texts(count))
    return [all_texts[at : at + BATCH] for at in range(0, count, BATCH)]


def azinfer(url: str, count: int) -> int:
    """Ours, sync."""
    from azinfer.core import InferenceClient

    with InferenceClient(url, KEY, MODEL) as client:
        return sum(result.value is not None for result in client.embed_many(texts(count)))


def azinfer_async(url: str, count: int) -> int:
    """Ours, async."""
    from azinfer.core import AsyncInferenceClient

    async def run() -> int:
        async with AsyncInferenceClient(url, KEY, MODEL) as client:
            results = client.embed_many(texts(count))
            return sum([result.value is not None async for result in results])

    return asyncio.run(run())


def openai(url: str, count: int) -> int:
    """The SDK with a semaphore."""
    from openai import AsyncOpenAI

    async def run() -> int:
        free = asyncio.Semaphore(AT_ONCE)
        async with AsyncOpenAI(base_url=url, api_key=KEY) as client:

            async def one(batch: list[str]) -> int:
                async with free:
                    return len((await client.embeddings.create(input=batch, model=MODEL)).data)

            return sum(await asyncio.gather(*map(one, batches(count))))

    return asyncio.run(run())


def langchain(url: str, count: int) -> int:
    """`embed_documents` of langchain-openai."""
    from langchain_openai import OpenAIEmbeddings
    from pydantic import SecretStr

    embeddings = OpenAIEmbeddings(
        base_url=url,
        api_key=SecretStr(KEY),
        model=MODEL,
        chunk_size=BATCH,
        check_embedding_ctx_length=False,
    )
    return len(embeddings.embed_documents(list(texts(count))))


def llama_index(url: str, count: int) -> int:
    """The ingestion pipeline of LlamaIndex."""
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.openai import OpenAIEmbedding  # type: ignore[import-untyped]

    embedding = OpenAIEmbedding(
        api_base=url, api_key=KEY, model=MODEL, embed_batch_size=BATCH, num_workers=AT_ONCE
    )
    nodes = [TextNode(text=text) for text in texts(count)]
    return len(asyncio.run(IngestionPipeline(transformations=[embedding]).arun(nodes=nodes)))


def litellm(url: str, count: int) -> int:
    """litellm in as many threads."""
    import litellm

    def one(batch: list[str]) -> int:
        response = litellm.embedding(
            model=f"openai/{MODEL}", input=batch, api_base=url, api_key=KEY
        )
        return len(response.data)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(one, batches(count)))


def ideal(url: str, count: int) -> int:
    """Plain sockets, all requests at once, answers that nobody reads."""
    port = int(url.split(":")[2].partition("/")[0])
    head = (
        f"POST /openai/v1/embeddings HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\napi-key: {KEY}\r\n"
        "content-type: application/json\r\ncontent-length: "
    )

    def one(batch: list[str]) -> None:
        body = json.dumps({"input": batch, "model": MODEL, "encoding_format": "base64"})
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(f"{head}{len(body)}\r\n\r\n{body}".encode())
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            start, _, rest = data.partition(b"\r\n\r\n")
            assert b" 200 " in start.partition(b"\r\n")[0], start
            left = int(start.lower().partition(b"content-length:")[2].split()[0]) - len(rest)
            space = bytearray(2**18)
            while left > 0:
                left -= sock.recv_into(space)

    threads = [threading.Thread(target=one, args=(batch,)) for batch in batches(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


CLIENTS: dict[str, Callable[[str, int], int]] = {
    each.__name__: each
    for each in (ideal, azinfer, azinfer_async, openai, langchain, llama_index, litellm)
}


def measure(name: str, url: str, count: int) -> None:
    """Run one client and print what it took."""
    work = CLIENTS[name]
    assert work(url, 3) == 3  # imports, and the first connection
    began, cpu = time.perf_counter(), time.process_time()
    assert work(url, count) == count
    facts = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    facts["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(facts))


def run(name: str, url: str, count: int) -> dict[str, float]:
    """Return the resources that a client uses, in its own process."""
    command = [sys.executable, __file__, "client", name, url, str(count)]
    environ = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it fetches a file otherwise
        "PYTHONPYCACHEPREFIX": str(BYTECODE),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environ, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    facts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return facts


def compare(rounds: int, million: bool) -> None:
    """Print what each client takes, medians of interleaved rounds."""
    measurements: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    with server() as url:
        for _ in range(rounds):
            for name, measured in measurements.items():
                measured.append(run(name, url, 20_000))
        rows = {
            name: {key: statistics.median(each[key] for each in measured) for key in measured[0]}
            for name, measured in measurements.items()
        }
        print(f"{'20,000 texts':<16}{'wall s':>8}{'/ ideal':>9}{'CPU s':>8}{'MB':>8}")
        for name, row in rows.items():
            share = row["wall"] / rows["ideal"]["wall"]
            print(f"{name:<16}{row['wall']:8.2f}{share:9.2f}{row['cpu']:8.2f}{row['memory']:8.0f}")
        others = [rows[name]["cpu"] for name in ("openai", "langchain", "llama_index", "litellm")]
        ours = rows["azinfer"]["cpu"]
        print(
            f"CPU of azinfer: {ours / min(others):.2f} of the best of the others, "
            f"{ours / statistics.median(others):.2f} of their median"
        )
    with server("serve-locally") as url:
        walls = {
            name: statistics.median(run(name, url, 20_000)["wall"] for _ in range(rounds))
            for name in ("ideal", "azinfer")
        }
        share = walls["azinfer"] / walls["ideal"]
        print(f"at the local endpoint: {walls['azinfer']:.2f} s, {share:.2f} of the ideal")
    with server() as url:
        if million:
            facts = run("azinfer", url, 1_000_000)
            share = facts["memory"] / rows["azinfer"]["memory"]
            print(
                f"1,000,000 texts: {facts['wall']:.0f} s, {facts['memory']:.0f} MB, "
                f"{share:.2f} of the memory of 20,000"
            )


def print_limit_use(seconds: float) -> None:
    """Print how much of a limit is used in this time, over real sockets."""
    from azinfer.core import InferenceClient, RateLimit
    from azinfer.local import LocalDeployment, LocalEndpoint

    limit = RateLimit("token", 10_000, 6)  # 100,000 in a minute
    deployment = LocalDeployment("embed", MODEL, rate_limits=(limit,))
    with (
        LocalEndpoint([deployment]) as endpoint,
        InferenceClient(endpoint.url, endpoint.key, "embed", model_id=MODEL) as client,
    ):
        end = time.monotonic() + seconds
        endless = (f"text {at} of a few words" for at in itertools.count())
        with client.embed_many(endless) as results:
            for result in results:
                assert result.error is None
                if time.monotonic() > end:
                    break
            progress = results.progress
        share = progress.tokens / (limit.count * seconds / limit.renewal_period)
        print(
            f"limit of tokens: {share:.1%} used in {seconds:.0f} s, {progress.refused} of "
            f"{progress.requests} requests refused"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(listen())
    elif sys.argv[1:2] == ["serve-locally"]:
        serve_locally()
    elif sys.argv[1:2] == ["client"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rounds", type=int, default=3)
        parser.add_argument("--million", action="store_true")
        parser.add_argument("--limit", action="store_true")
        options: Any = parser.parse_args()
        if options.limit:
            print_limit_use(29.5)
        else:
            compare(options.rounds, options.million)
