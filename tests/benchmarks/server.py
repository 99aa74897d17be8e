"""A server that uses almost no CPU: precomputed bytes, in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys

DIMENSIONS, TEXTS, CHUNKS = 1536, 2048, 200


def _answer(body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def _chunk(content: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}}
    choice |= {"finish_reason": finish, "logprobs": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
    return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"


_MESSAGE = {"role": "assistant", "content": "The capital of France is Paris. " * 8}
CHAT = _answer(
    json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4.1",
            "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 64, "total_tokens": 73},
        }
    ).encode()
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PARTS = [_chunk("token ") for _ in range(CHUNKS)] + [_chunk("", "stop"), b"data: [DONE]\n\n"]
NUMBERS = [((at * 7919) % 20011 - 10005) / 10007 for at in range(DIMENSIONS)]
_PACKED = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *NUMBERS)).decode()


def _embeddings(vector: object) -> bytes:
    data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(TEXTS)]
    usage = {"prompt_tokens": 9, "total_tokens": 9}
    return _answer(
        json.dumps({"object": "list", "model": "e", "data": data, "usage": usage}).encode()
    )


FLOATS, BASE64 = _embeddings(NUMBERS), _embeddings(_PACKED)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            await _reply(head, body, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _reply(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
    if b"/embeddings" in head.partition(b"\r\n")[0]:
        writer.write(BASE64 if b"base64" in body else FLOATS)
    elif b'"stream":true' in body.replace(b" ", b""):
        writer.write(HEAD)
        for part in PARTS:
            if writer.is_closing():
                return
            writer.write(b"%x\r\n" % len(part) + part + b"\r\n")
            await asyncio.sleep(0.0005)  # each chunk in a packet of its own, as a model writes
        writer.write(b"0\r\n\r\n")
    else:
        if b"x-latency" in head.lower():
            await asyncio.sleep(0.1)
        writer.write(CHAT)
    await writer.drain()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
