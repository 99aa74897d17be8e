"""A server that answers with whatever bytes a test wants, over real sockets."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class ReceivedRequest:
    """One request as it arrived over the socket."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def request_body(self) -> Any:
        """The body, and in it the deployment, which some URLs name instead."""
        deployment = re.match(r"/openai/deployments/([^/]+)/", self.target)
        body = self.json
        assert deployment is None or "model" not in body
        return {**body, "model": deployment[1]} if deployment else body


class Peer:
    """The other end of one connection, for a behaviour to write to."""

    def __init__(self, sock: socket.socket, server: RawServer, received: ReceivedRequest) -> None:
        self.sock = sock
        self.server = server
        self.received = received
        self.open = True

    def send(self, data: bytes) -> None:
        """Write bytes; a client that left is not an error."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def close(self) -> None:
        """Close the connection cleanly."""
        self.open = False
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Reset the connection."""
        self.open = False
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_until_client_leaves(self) -> None:
        """Wait until the client closes its end, or the server is stopped."""
        self.open = False
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass


Behaviour = Callable[[Peer], None]


def answer(
    body: bytes | str | Mapping[str, Any] | Sequence[Any] | None = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> bytes:
    """Return a whole HTTP/1.1 answer with the correct Content-Length."""
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    fields = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def reply(*args: Any, **named: Any) -> Behaviour:
    """Return the behaviour that sends one whole answer."""
    data = answer(*args, **named)
    return lambda peer: peer.send(data)


def raw(data: bytes, then: str = "close") -> Behaviour:
    """Return the behaviour that sends bytes unchanged and then closes, resets, stalls or keeps."""

    def behave(peer: Peer) -> None:
        peer.send(data)
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()
        elif then == "stall":
            peer.wait_until_client_leaves()

    return behave


def events(*payloads: Any, done: bool = True) -> bytes:
    """Return server-sent events of JSON payloads, or of text unchanged."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in payloads]
    return "".join(f"data: {text}\n\n" for text in texts + ["[DONE]"] * done).encode()


def stream(data: bytes, then: str = "close") -> Behaviour:
    """Return the behaviour that sends an event stream and closes the connection."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    return raw(head + data, then)


def chunked_answer(
    data: bytes, whole: bool = True, content_type: str = "text/event-stream"
) -> bytes:
    """Return an answer in chunked coding, without its last chunk unless `whole`."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + f"{len(data):x}\r\n".encode() + data + b"\r\n" + b"0\r\n\r\n" * whole


def chat(text: str | None = "hello", finish: str = "stop", **more: Any) -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text, **more.pop("message", {})}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {"id": "c1", "created": 1, "model": "m", "choices": [choice], "usage": usage, **more}


def chat_reply(streamed: bool, text: str = "hello") -> Behaviour:
    """Return the behaviour that answers a chat, streamed or not."""
    return stream(events(part(text, "stop"))) if streamed else reply(chat(text))


def part(content: Any = None, finish: Any = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    """Return one chunk of a streamed chat completion."""
    details = delta if content is None else {"content": content, **delta}
    choice = {"index": index, "delta": details, "finish_reason": finish}
    return {"id": "c1", "created": 1, "model": "m", "choices": [choice]}


def vectors(*rows: Any, **more: Any) -> dict[str, Any]:
    """Return an embeddings answer."""
    data = [{"index": at, "object": "embedding", "embedding": row} for at, row in enumerate(rows)]
    return {
        "object": "list",
        "model": "e",
        "data": data,
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
        **more,
    }


def failure(code: str | None = None, message: str = "no", **more: Any) -> dict[str, Any]:
    """Return an error body of the usual shape."""
    return {"error": {"code": code, "message": message, **more}}


@dataclass
class RawServer:
    """Answer each request with the next behaviour, and repeat the last one forever.

    A behaviour is a function of the Peer. With `choose`, the request decides instead.
    """

    behaviours: list[Behaviour] = field(default_factory=list)
    choose: Callable[[ReceivedRequest], Behaviour] | None = None
    tls: ssl.SSLContext | None = None
    received: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)
    _socks: set[socket.socket] = field(default_factory=set)

    def start(self) -> RawServer:
        """Listen on a port that the system chooses."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self._listener.getsockname()[1]
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    @property
    def url(self) -> str:
        """The origin."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def will(self, *behaviours: Behaviour) -> RawServer:
        """Set what the next requests get."""
        self.behaviours[:] = behaviours
        return self

    def stop(self) -> None:
        """End all connections and threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            socks = list(self._socks)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 5.0) -> bool:
        """Wait until a condition on the connections is true."""
        with self._lock:
            return self._lock.wait_for(condition, seconds)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            with self._lock:
                self.connections += 1
                number = self.connections
                self._threads.append(thread)
            thread.name = str(number)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        number = int(threading.current_thread().name)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._socks.add(sock)
            self.open_connections += 1
            self._lock.notify_all()
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            for request in _requests(sock, number):
                with self._lock:
                    self.received.append(request)
                    behave = self._next(request)
                    self._lock.notify_all()
                peer = Peer(sock, self, request)
                behave(peer)
                if not peer.open:
                    break
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                sock.close()
            with self._lock:
                self._socks.discard(sock)
                self.open_connections -= 1
                self._lock.notify_all()

    def _next(self, request: ReceivedRequest) -> Behaviour:
        if self.choose is not None:
            return self.choose(request)
        return self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]


def _requests(sock: socket.socket, number: int) -> Iterator[ReceivedRequest]:
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            more = sock.recv(65536)
            if not more:
                return
            buffer += more
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(key, value.strip()) for key, _, value in (at.partition(":") for at in lines)]
        length = next((int(v) for k, v in headers if k.lower() == "content-length"), 0)
        while len(buffer) < length:
            more = sock.recv(1 << 20)
            if not more:
                return
            buffer += more
        yield ReceivedRequest(method, target, headers, buffer[:length], number)
        buffer = buffer[length:]
