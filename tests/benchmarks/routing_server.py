"""Scripted endpoints for `routing.py`: one process, a port for each, answers as scripted.

`python routing_server.py COUNT` prints the ports. `POST /script` with a JSON object sets what an
endpoint does, and begins to count anew; `GET /count` says how many requests it got:

    status, code, param, message   an error, with `retry_after` in its headers
    for_seconds                    how long the error lasts; then the endpoint is healthy
    delay                          seconds before each answer
    hang                           nothing is ever answered
    cut                            streams break off after so many tokens
    refuses                        the field that a request must not have
    resource                       only state of this resource is accepted in a conversation
    token_seconds                  seconds between the tokens of a stream
    at_once                        more requests than this at once get a 429
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

TOKENS = 21


class Endpoint:
    """One endpoint."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.script: dict[str, Any] = {}
        self.count = self.inside = 0
        self.began = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                sizes = [
                    line.split(":")[1] for line in lines if line[:15].lower() == "content-length:"
                ]
                body = await reader.readexactly(int(sizes[0])) if sizes else b""
                if not await self.answer(lines[0].split()[1], body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if path == "/count":
            send(writer, 200, {"count": self.count})
            return True
        if path == "/script":
            self.script, self.count, self.began = json.loads(body), 0, time.monotonic()
            send(writer, 200, {})
            return True
        self.count += 1
        self.inside += 1
        try:
            return await self.play(json.loads(body), writer)
        finally:
            self.inside -= 1

    async def play(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        script = self.script
        if script.get("hang"):
            await asyncio.sleep(3600)
        if script.get("delay"):
            await asyncio.sleep(script["delay"])
        if error := self.error(body):
            send(writer, error["status"], {"error": error}, error.get("headers", {}))
            return True
        if "input" in body:
            send(writer, 200, response(self.script.get("resource", ""), self.number))
            return True
        if body.get("stream"):
            return await self.stream(writer)
        message = {"role": "assistant", "content": f"from {self.number}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        send(
            writer, 200, {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}
        )
        return True

    def error(self, body: dict[str, Any]) -> dict[str, Any] | None:
        script = self.script
        lasts = time.monotonic() - self.began < script.get("for_seconds", 1e9)
        if script.get("status") and lasts:
            retry = script.get("retry_after")
            headers = {"retry-after": str(retry)} if retry is not None else {}
            return {
                "status": script["status"],
                "code": script.get("code"),
                "message": "scripted",
                "headers": headers,
            }
        if (field := script.get("refuses")) in body:
            message = f"Unsupported parameter: '{field}'. Use 'max_completion_tokens' instead."
            code = "unsupported_parameter"
            return {"status": 400, "code": code, "param": field, "message": message}
        if self.inside > script.get("at_once", 1e9):
            return {
                "status": 429,
                "code": "RateLimitReached",
                "message": "full",
                "headers": {"retry-after": "1"},
            }
        if (resource := script.get("resource")) and foreign(body, resource):
            return {"status": 400, "code": "invalid_encrypted_content", "message": "not made here"}
        return None

    async def stream(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for number in range(TOKENS):
            if number == self.script.get("cut"):
                return False
            finish = "stop" if number == TOKENS - 1 else None
            choice = {"index": 0, "delta": {"content": f"{self.number} "}, "finish_reason": finish}
            sent = {"at": time.time()}
            chunk = {**HEAD, "object": "chat.completion.chunk", "choices": [choice], **sent}
            write_chunk(writer, b"data: " + json.dumps(chunk).encode() + b"\n\n")
            await writer.drain()
            if seconds := self.script.get("token_seconds"):
                await asyncio.sleep(seconds)
        write_chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        return True


HEAD = {"id": "c", "created": 1, "model": "gpt-4.1"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


def response(resource: str, number: int) -> dict[str, Any]:
    """An answer of the Responses API, with reasoning that only this resource can read."""
    text = {"type": "output_text", "text": f"from {number}", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    reasoning = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": resource}
    output = [reasoning, {**message, "content": [text]}]
    usage = {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
    about = {"object": "response", "created_at": 1, "status": "completed", "tools": []}
    more = {"parallel_tool_calls": True, "tool_choice": "auto"}
    return {"id": "r", "model": "gpt-5", **about, **more, "output": output, "usage": usage}


def foreign(body: dict[str, Any], resource: str) -> bool:
    """Return whether a conversation has state that another resource encrypted."""
    items = [item for item in body.get("input", ()) if isinstance(item, dict)]
    return any(item.get("encrypted_content", resource) != resource for item in items)


def send(
    writer: asyncio.StreamWriter, status: int, value: Any, headers: dict[str, str] | None = None
) -> None:
    data = json.dumps(value).encode()
    lines = [
        f"HTTP/1.1 {status} X",
        "content-type: application/json",
        f"content-length: {len(data)}",
    ]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)


def write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def main(count: int) -> None:
    servers = [
        await asyncio.start_server(Endpoint(number).serve, "127.0.0.1", 0)
        for number in range(count)
    ]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
