"""llama.cpp: chat and embeddings with any GGUF file, in this process.

llama.cpp comes as xllamacpp, with some precautions: its threads wait without spinning, its
own HTTP server (which cannot be switched off) is locked with a random key, and its
sampling defaults are replaced by those of the service.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.core.waits import wait_in_steps
from azinfer.local.engines.base import EngineCapabilities, EngineError, Piece, Prompt, last_text
from azinfer.local.engines.requirements import check_installed
from azinfer.local.engines.schema.budget import run_in_thread
from azinfer.local.engines.schema.grammar import narrow_schema

_AT_ONCE = 4
_SMALL = 500_000_000
_LONGEST_TEXT, _LONGEST_BATCH = 8192, 4096


def engine_of(path: Path) -> GgufChat | GgufEmbeddings:
    """Return the engine for a GGUF file: embeddings if it has a pooling type, chat otherwise.

    Raises:
        ConfigurationError: The file cannot be loaded.
        ModuleNotFoundError: The extra `models` is not installed.
    """
    check_installed("gguf", "xllamacpp")
    return GgufEmbeddings(path) if "pooling_type" in _read_facts(path) else GgufChat(path)


class GgufChat:
    """Chat with the model in a GGUF file.

    Args:
        path: The file.
        context: The tokens that all concurrent chats share.
        threads: The number of threads; by default half of the processors.
        copies_arguments: Whether tool arguments may only contain words of the user's message;
            by default for files under 500 MB, whose models write no better ones.

    Raises:
        ConfigurationError: The file cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 8192,
        threads: int | None = None,
        copies_arguments: bool | None = None,
    ) -> None:
        llama = _llama()
        params = _params(llama, path, threads)
        params.n_ctx, params.n_parallel, params.kv_unified = context, _AT_ONCE, True
        params.use_jinja = True
        self._server = _load(llama, params, path)
        small = path.stat().st_size < _SMALL
        self.capabilities = EngineCapabilities(
            chat=True,
            logprobs=True,
            copies_arguments=small if copies_arguments is None else copies_arguments,
        )
        self._threads = ThreadPoolExecutor(_AT_ONCE, "azinfer-gguf")
        self._closed = threading.Event()

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """Write the answer token by token; closing the iterator early stops the model."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Any] = asyncio.Queue()
        left = threading.Event()
        request = await run_in_thread(_request, prompt)

        def take(chunk: Any) -> bool:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return left.is_set() or self._closed.is_set()

        def write() -> None:
            end: Any = None
            try:
                end = self._server.handle_chat_completions(request, take)
            except Exception as error:
                end = {"error": {"message": str(error)}}
            if self._closed.is_set():
                end = EngineError("the model is unloaded", "ServiceUnavailable", status=503)
            loop.call_soon_threadsafe(chunks.put_nowait, end)
            loop.call_soon_threadsafe(chunks.put_nowait, None)

        work = loop.run_in_executor(self._threads, write)
        try:
            async for piece in _pieces(chunks, prompt.logprobs):
                yield piece
        finally:
            left.set()
            await asyncio.shield(work)

    async def aclose(self) -> None:
        """Free the model's memory; running chats end with an error."""
        self._closed.set()
        await asyncio.to_thread(self._unload)

    def _unload(self) -> None:
        self._threads.shutdown()
        self._server = None


class GgufEmbeddings:
    """Embeddings with the model in a GGUF file.

    Args:
        path: The file.
        threads: The number of threads; by default half of the processors.
        repeatable: Whether a text has the same vector in every request. Texts that llama.cpp
            embeds together change one another a little: of 128 rows none was the same alone, with
            a similarity of 0.9998 or more, and 3 had another nearest neighbour. One text at a time
            takes 1.2 times the CPU time.

    Raises:
        ConfigurationError: The file cannot be loaded.
    """

    capabilities = EngineCapabilities(embeddings=True, semantic_embeddings=True)

    def __init__(self, path: Path, *, threads: int | None = None, repeatable: bool = False) -> None:
        llama = _llama()
        params = _params(llama, path, threads)
        params.embedding = True
        params.embd_normalize = 2
        # llama.cpp shares the context among texts, each of which must fit into one batch.
        longest = min(_read_facts(path).get("context_length", 512), _LONGEST_TEXT)
        params.n_parallel = max(1, _LONGEST_BATCH // longest)
        params.n_ctx = params.n_batch = params.n_ubatch = params.n_parallel * longest
        self._server = _load(llama, params, path)
        self._threads = ThreadPoolExecutor(1, "azinfer-gguf")
        self._repeatable = repeatable

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Return a unit vector for each text, and the tokens of all."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._embed, list(texts))

    async def aclose(self) -> None:
        """Free the model's memory after the current request."""
        await asyncio.to_thread(self._unload)

    def _unload(self) -> None:
        self._threads.shutdown()
        self._server = None

    def _embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        if not self._repeatable or len(texts) == 1:
            return self._embed_together(texts)
        parts = [self._embed_together([text]) for text in texts]
        return [vector for (vector,), _ in parts], sum(tokens for _, tokens in parts)

    def _embed_together(self, texts: list[str]) -> tuple[list[list[float]], int]:
        # The model cannot read an empty text; a space is the nearest text that it can.
        request = {"input": [text or " " for text in texts]}
        try:
            answer = self._server.handle_embeddings(request)
        except (ValueError, RuntimeError) as error:
            raise EngineError(str(error)) from None
        _check(answer)
        data = sorted(answer["data"], key=lambda item: item["index"])
        return [item["embedding"] for item in data], answer["usage"]["prompt_tokens"]


def _llama() -> Any:
    # Threads that spin while they wait halve the speed of a busy machine; read at import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    check_installed("xllamacpp")
    import xllamacpp  # type: ignore[import-untyped]

    return xllamacpp


def _read_facts(path: Path) -> dict[str, Any]:
    """Return a file's facts about its architecture, without the prefix of their names."""
    from gguf import GGUFReader

    try:
        fields = GGUFReader(path).fields
    except (OSError, ValueError, IndexError):
        return {}  # loading the file raises the error
    return {
        name.rpartition(".")[2]: field.contents()
        for name, field in fields.items()
        if name.endswith((".context_length", ".pooling_type"))
    }


def _params(llama: Any, path: Path, threads: int | None) -> Any:
    params = llama.CommonParams()
    params.model.path = str(path)
    params.api_keys = [secrets.token_hex()]
    params.verbosity = 0
    params.warmup = False
    params.endpoint_metrics = True
    count = threads or max(1, (os.cpu_count() or 2) // 2)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = count
    return params


def _load(llama: Any, params: Any, path: Path) -> Any:
    if not path.is_file():
        raise ConfigurationError(f"the file {path} does not exist")
    server: Future[Any] = Future()
    over = threading.Event()

    def load() -> None:
        try:
            loaded = llama.Server(params)
            # A server that is dropped before its own thread began would wait for it endlessly;
            # the metrics come from that thread.
            loaded.handle_metrics()
        except BaseException as error:
            server.set_exception(error)
        else:
            server.set_result(loaded)
        over.set()

    # An interrupt only reaches the main thread, so it cannot leave an incomplete server here.
    threading.Thread(target=load, name="azinfer-gguf-load").start()
    wait_in_steps(over.wait)
    try:
        return server.result()
    except RuntimeError as error:
        raise ConfigurationError(f"{path} cannot be loaded as a GGUF file: {error}") from None


def _request(prompt: Prompt) -> dict[str, Any]:
    request: dict[str, Any] = {
        "messages": [_message(message) for message in prompt.messages],
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "stop": list(prompt.stop),
        "stream": True,
        "stream_options": {"include_usage": True},
        # The service samples from all tokens by default.
        "top_k": 0,
        "min_p": 0.0,
    }
    if prompt.seed is not None:
        request["seed"] = prompt.seed & 0xFFFFFFFF
    if prompt.logprobs is not None:
        # Without one alternative the engine reports nothing.
        request |= {"logprobs": True, "top_logprobs": max(1, prompt.logprobs)}
    if prompt.json_schema is not None:
        schema = {"name": "answer", "schema": narrow_schema(prompt.json_schema)}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    return request


def _message(message: Mapping[str, Any]) -> dict[str, str]:
    """Return a message with a role that every chat template knows."""
    content = message.get("content")
    if isinstance(content, list):
        other = next((part["type"] for part in content if part["type"] != "text"), None)
        if other:
            raise EngineError(f"this model only reads text, not {other}")
    text, role = last_text([message]), message["role"]
    if role == "tool":
        return {"role": "user", "content": f"The tool answered: {text}"}
    if calls := message.get("tool_calls"):
        text += json.dumps([call["function"] for call in calls])
    role = {"developer": "system", "function": "user"}.get(role, role)
    return {"role": role, "content": text}


async def _pieces(chunks: asyncio.Queue[Any], alternatives: int | None) -> AsyncIterator[Piece]:
    reason, sent = "stop", 0
    usage: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0}
    while (chunk := await chunks.get()) is not None:
        _check(chunk, has_begun=sent > 0)
        if not isinstance(chunk, dict):
            continue
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            reason = choice.get("finish_reason") or reason
            if text := (choice.get("delta") or {}).get("content"):
                sent += 1
                yield Piece(text, more=_logprobs(choice, alternatives))
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    rest = max(0, usage["completion_tokens"] - sent)
    yield Piece("", rest, reason, usage["prompt_tokens"], cached_tokens=cached)


def _logprobs(choice: Mapping[str, Any], alternatives: int | None) -> Mapping[str, Any] | None:
    """Return the log probabilities of a chunk in the service's form, without the token ids."""
    entries = (choice.get("logprobs") or {}).get("content")
    if alternatives is None or not entries:
        return None
    names = ("token", "logprob", "bytes")
    tokens = [
        {
            **{name: each[name] for name in names},
            "top_logprobs": [
                {name: likely[name] for name in names}
                for likely in each["top_logprobs"][:alternatives]
            ],
        }
        for each in entries
    ]
    return {"logprobs": {"content": tokens, "refusal": None}}


def _check(answer: Any, *, has_begun: bool = False) -> None:
    if isinstance(answer, EngineError):
        raise answer
    if isinstance(answer, dict) and (error := answer.get("error")):
        code = "BadRequest"
        if error.get("type") == "exceed_context_size_error":
            code = "context_length_exceeded"
        message = str(error.get("message") or error)
        if has_begun:
            # The request was good enough to begin an answer.
            raise EngineError(message, "InternalServerError", status=500)
        raise EngineError(message, code)
