"""The jobs of bulk work, embeddings or completions: their requests, and how answers are stored."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Generic

import msgspec

from azinfer.core.arguments import (
    CHAT_NAMES,
    EMBEDDING_NAMES,
    check_call_options,
    check_headers,
    check_names,
)
from azinfer.core.attempts import CallAttempts
from azinfer.core.bulk.values import Item, Value
from azinfer.core.calls import in_our_schema
from azinfer.core.completions import ChatCompletion, Usage
from azinfer.core.embeddings import Embeddings, Vector
from azinfer.core.errors import ConfigurationError, InvalidResponseError
from azinfer.core.json_body import encode_json
from azinfer.core.operations import CallOptions, Operations
from azinfer.core.retries import Timeout
from azinfer.core.routes.demand import answer_limit, estimated_tokens
from azinfer.core.routing import Routing
from azinfer.core.wires.wire import wire_named

_BYTES = 4  # characters of text in a token, as the service estimates before it answers
_DENSEST = 3 / _BYTES  # no tokenizer needs more than about one token for three bytes

# Errors about a request that is not one; ConfigurationError is a ValueError.
_NOT_VALID = (TypeError, ValueError, AttributeError, OverflowError)

_CHAT = "chat/completions"
_ANY = ({"role": "user", "content": ""},)


class Job(ABC, Generic[Item, Value]):
    """The work that is done with the items of the input.

    Attributes:
        most_items: The most items in one request.
        most_tokens: The most tokens in one request, as they are estimated.
        work: The operation, the model, where it is and the options, as JSON values.
    """

    most_items: int
    most_tokens: float
    work: Mapping[str, Any]

    @abstractmethod
    def tokens_of(self, item: Item) -> float:
        """Return how many tokens an item is expected to use; 0 if it is not valid."""

    def answer_limit(self, item: Item) -> int | None:
        """Return the tokens of an item that are for its answer; None if it sets no limit."""
        return 0

    @abstractmethod
    def digest(self, items: Sequence[Item]) -> bytes:
        """Return a hash by which a checkpoint recognises items."""

    @abstractmethod
    def attempts(self, items: Sequence[Item]) -> CallAttempts[Any]:
        """Return the attempts of the request for some items.

        Raises:
            ConfigurationError: An item cannot be sent.
        """

    @abstractmethod
    def values(self, answer: Any) -> Sequence[Value]:
        """Return the values of an answer, one for each item.

        Raises:
            InvalidResponseError: They do not match earlier values.
        """

    @abstractmethod
    def dump(self, values: Sequence[Value]) -> bytes:
        """Return values in the form in which they are stored."""

    @abstractmethod
    def load(self, data: bytes, items: Sequence[Item]) -> Sequence[Value]:
        """Return the stored values of some items."""


def _check(options: CallOptions, known: Collection[str]) -> None:
    """Raise for options that no request of the work could be sent with."""
    check_call_options(options.options, known)
    check_names(model=options.model)
    check_headers(options.headers)
    Timeout.of(options.timeout)


class EmbeddingJob(Job[str, Vector]):
    """Embed texts, many in one request.

    Args:
        client: Builds the requests.
        options: The caller's options, for all requests.
    """

    def __init__(self, client: Operations, options: CallOptions) -> None:
        _check(options, EMBEDDING_NAMES)
        self._client, self._options = client, options
        profile = client._embedding_profile(options)
        self.most_items, self.most_tokens = profile.batch_size, profile.batch_tokens * _DENSEST
        self.work = _work("embeddings", client, options)
        self._length: int | None = None

    def tokens_of(self, item: str) -> float:
        """Return the tokens of a text, as the service estimates them."""
        if not isinstance(item, str):
            return 0.0
        size = len(item) if item.isascii() else len(item.encode(errors="replace"))
        return size / _BYTES + 1

    def digest(self, items: Sequence[str]) -> bytes:
        """Return a hash of texts."""
        known = blake2b(digest_size=16)
        for item in items:
            data = str(item).encode(errors="surrogatepass")
            known.update(b"%d " % len(data))
            known.update(data)
        return known.digest()

    def attempts(self, items: Sequence[str]) -> CallAttempts[Embeddings]:
        """Return the attempts of the request for some texts."""
        for item in items:
            if not isinstance(item, str):
                raise ConfigurationError(
                    f"an item has the type {type(item).__name__}; pass texts, not token ids"
                )
        return self._client._embedding(list(items), self._options)

    def values(self, answer: Embeddings) -> Sequence[Vector]:
        """Return the vectors; they must be as long as the earlier ones."""
        vectors = answer.vectors
        self._check(len(vectors[0]))
        return vectors

    def dump(self, values: Sequence[Vector]) -> bytes:
        """Return vectors as their type and their numbers."""
        return values[0].typecode.encode() + b"".join(vector.tobytes() for vector in values)

    def load(self, data: bytes, items: Sequence[str]) -> Sequence[Vector]:
        """Return stored vectors."""
        kind, numbers = data[:1].decode(), memoryview(data)[1:]
        size = len(numbers) // len(items)
        vectors: list[Vector] = []
        for at in range(0, len(numbers), size):
            vector: Any = array(kind)
            vector.frombytes(numbers[at : at + size])
            vectors.append(vector)
        self._check(len(vectors[0]))
        return vectors

    def _check(self, length: int) -> None:
        if self._length not in (None, length):
            raise InvalidResponseError(
                f"vectors of {length} dimensions follow vectors of {self._length}: the model "
                "behind the deployment has changed"
            )
        self._length = length


class CompletionJob(Job[Any, ChatCompletion]):
    """Complete conversations, one in each request.

    A request is a sequence of messages, or a mapping with `messages` and options of its own.

    Args:
        client: Builds the requests.
        options: The caller's options, for all requests.
    """

    most_items, most_tokens = 1, float("inf")

    def __init__(self, client: Operations, options: CallOptions) -> None:
        _check(options, CHAT_NAMES)
        self._client, self._options = client, options
        self.work = _work(_CHAT, client, options)

    def tokens_of(self, item: Any) -> float:
        """Return the tokens of a request, as the service estimates them."""
        try:
            body = self._body(item)
            return float(estimated_tokens(body["messages"], body))
        except _NOT_VALID:
            return 0.0  # its result will have the error

    def answer_limit(self, item: Any) -> int | None:
        """Return the most tokens of an answer; None if its request sets no limit."""
        return answer_limit(self._body(item)) if self.tokens_of(item) else 0

    def digest(self, items: Sequence[Any]) -> bytes:
        """Return a hash of requests."""
        try:
            data = b"".join(encode_json(self._body(item)) + self._place(item) for item in items)
        except _NOT_VALID:
            data = repr(items).encode(errors="replace")
        return blake2b(data, digest_size=16).digest()

    def attempts(self, items: Sequence[Any]) -> CallAttempts[ChatCompletion]:
        """Return the attempts of one request."""
        try:
            messages, options = self._split(items[0])
            return self._client._chat(messages, options, stream=False)
        except _NOT_VALID as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"a request is a list of messages, or a mapping with messages and options: {error}"
            ) from error

    def values(self, answer: ChatCompletion) -> Sequence[ChatCompletion]:
        """Return the one completion."""
        return (answer,)

    def dump(self, values: Sequence[ChatCompletion]) -> bytes:
        """Return a completion as its wire and its body."""
        routing = values[0].routing
        wire = (routing and routing.wire) or "chat"
        return encode_json({"wire": wire, "body": values[0].raw})

    def load(self, data: bytes, items: Sequence[Any]) -> Sequence[ChatCompletion]:
        """Return a stored completion, in the format that its request names."""
        stored = msgspec.json.decode(data)
        _, options = self._split(items[0])
        response_format = options.options.get("response_format")
        wire = wire_named(stored["wire"])
        return (wire.decode(stored["body"], {}, None, "call_", response_format),)

    def _split(self, item: Any) -> tuple[Sequence[Any], CallOptions]:
        """Return the messages of a request, and its options."""
        if not isinstance(item, Mapping):
            return item, self._options
        own = dict(item)
        if "messages" not in own:
            raise ConfigurationError(f"a request has no messages: {sorted(map(str, own))}")
        messages, model = own.pop("messages"), own.pop("model", None)
        check_names(model=model)
        own.pop("id", None)
        options = self._options._replace(
            model=model or self._options.model,
            options={**self._options.options, **own},
        )
        return messages, options

    def _place(self, item: Any) -> bytes:
        """Return where a request goes that names its own model, which may be elsewhere."""
        own = item.get("model") if isinstance(item, Mapping) else None
        if own is None or self._client._router is None:
            return b""
        return encode_json(self._client._destination(_CHAT, own))

    def _body(self, item: Any) -> dict[str, Any]:
        messages, options = self._split(item)
        return {"model": options.model, **in_our_schema(messages, options.options)}


def usage_of(answer: Any) -> Usage | None:
    """Return the token counts of an answer."""
    usage: Usage | None = answer.usage
    return usage


def headers_of(answer: Any) -> Mapping[str, str]:
    """Return the headers of an answer."""
    routing: Routing | None = answer.routing
    return routing.headers if routing is not None else {}


def _work(operation: str, client: Operations, options: CallOptions) -> dict[str, Any]:
    """Return the work of a checkpoint, apart from the input."""
    body = in_our_schema(_ANY, options.options)
    del body["messages"]
    values = {
        "operation": operation,
        "model": (options.model or client.model or "").casefold(),
        "model_id": options.model_id or client.model_id,
        "kind": options.kind,
        "options": msgspec.json.decode(encode_json(body)),
        "byteorder": sys.byteorder,
        **client._destination(operation, options.model),
    }
    return {name: value for name, value in values.items() if value is not None}
