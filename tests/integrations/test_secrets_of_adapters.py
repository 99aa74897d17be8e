"""A marker key through every adapter: no trace, file or error shows it."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from operator import methodcaller
from typing import Any

import agent_framework as af
import pytest
from ag2 import Agent, MemoryStream
from ag2.middleware.builtin.telemetry import TelemetryMiddleware
from agent_framework import observability
from langchain_core.load import dumpd, dumps
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langchain_core.tracers.stdout import ConsoleCallbackHandler
from llama_index.core import instrumentation
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from semantic_kernel.utils.telemetry.model_diagnostics import decorators

from azinfer.ag2 import AzInferConfig, AzInferModelClient
from azinfer.agent_framework import AzInferChatClient, AzInferEmbeddingClient
from azinfer.core import Timeout
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.semantic_kernel import (
    AzInferChatCompletion,
    AzInferChatPromptExecutionSettings,
    AzInferTextEmbedding,
)
from kernels import user_history
from leaks import FAULTS, MARKER, START, visible_texts
from raw_server import Behaviour, RawServer, chat, events, part, reply, stream, vectors

pytestmark = pytest.mark.long

Call = Callable[[], Awaitable[Any]]
ECHOED = ("200 in JSON", "400 in JSON", "401 as text", "404 in JSON", "429 in JSON", "500 cut")
BROKEN = ("a reset", "no HTTP", "silence", "a cut body", "a redirect", "an error inside a stream")
ODD = ("a stream that breaks", "an odd event")


class Places:
    """The texts that a user, a log or a trace may show, and those that have the key."""

    def __init__(self) -> None:
        self.count = 0
        self.hits: list[str] = []

    def see(self, place: str, text: Any) -> None:
        """Look at a text, or at the text of a value."""
        self.count += 1
        if START in (text if isinstance(text, str) else f"{text!r} {text}"):
            self.hits.append(place)

    def see_value(self, place: str, value: Any) -> None:
        """Check all texts in a value, and the texts of the usual ways to write it."""
        ways: dict[str, Callable[[Any], Any]] = {
            "repr": repr,
            "fields": lambda each: {k: str(v) for k, v in vars(each).items()},
            "pickle": lambda each: pickle.dumps(each).decode("latin-1"),
            "a copy": lambda each: repr(copy.copy(each)),
            "dumps": dumps,
            "dumpd": dumpd,
            "json": lambda each: json.dumps(each, default=str),
        }
        for name in ("model_dump", "model_dump_json", "dict", "to_dict", "to_json", "json"):
            ways[name] = methodcaller(name)
        for way, write in ways.items():
            try:
                text = write(value)
            except Exception as refusal:
                text = repr(refusal)
            self.see(f"{place}: {way}", text)

    def see_error(self, place: str, error: BaseException) -> None:
        """Look at an error, with the variables of all frames but those of this file."""
        for where, text in visible_texts(error, lambda path: path != __file__).items():
            self.see(f"{place}: {type(error).__name__}: {where}", text)


@pytest.fixture
def places() -> Places:
    """The places of one test."""
    return Places()


@pytest.fixture(autouse=True)
def logs(places: Places) -> Iterator[None]:
    """Every logger at level 1, and what it says."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    loggers = [logging.root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    before = [(each, each.level, each.propagate, each.disabled) for each in loggers]
    logging.root.addHandler(handler)
    for each in loggers:
        each.setLevel(1)
        each.propagate, each.disabled = True, False
    yield
    logging.root.removeHandler(handler)
    for each, level, propagate, disabled in before:
        each.setLevel(level)
        each.propagate, each.disabled = propagate, disabled
    for line in text.getvalue().splitlines():
        places.see("log", line)
    assert "\n".join(places.hits) == ""


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of all frameworks that make them, with all that they call sensitive."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings, tracer = decorators.MODEL_DIAGNOSTICS_SETTINGS, provider.get_tracer("tests")
    monkeypatch.setattr(decorators, "tracer", tracer)
    monkeypatch.setattr(settings, "enable_otel_diagnostics", True)
    monkeypatch.setattr(settings, "enable_otel_diagnostics_sensitive", True)
    monkeypatch.setattr(observability, "get_tracer", lambda *_, **__: tracer)
    monkeypatch.setattr(observability.OBSERVABILITY_SETTINGS, "enable_instrumentation", True)
    monkeypatch.setattr(observability.OBSERVABILITY_SETTINGS, "enable_sensitive_data", True)
    exporter.provider = provider  # type: ignore[attr-defined]
    return exporter


class Tracer(BaseTracer):
    """Keeps what tracers of LangChain store of each run."""

    def __init__(self, places: Places) -> None:
        super().__init__()
        self._places = places

    def _persist_run(self, run: Run) -> None:
        self._places.see("a run of LangChain", repr(run.dict()))
        self._places.see("a run of LangChain as JSON", run.json())


class Events(BaseEventHandler):
    """Keeps the events of LlamaIndex."""

    places: Any

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.places.see("an event of LlamaIndex", repr(event))
        self.places.see("an event of LlamaIndex as JSON", event.model_dump_json(fallback=str))


async def collect_updates(updates: AsyncIterator[Any]) -> list[Any]:
    """Return all parts of a stream."""
    return [update async for update in updates]


def langchain(url: str, options: Any, places: Places, _: Any) -> tuple[list[Any], list[Call]]:
    """Return the objects of LangChain's adapter, and calls of them."""
    model, embeddings = (
        ChatAzInfer(endpoint=url, **options),
        AzInferEmbeddings(endpoint=url, **options),
    )
    handlers = [Tracer(places), ConsoleCallbackHandler()]
    config: Any = {"callbacks": handlers}
    places.see("parameters of LangChain", [model._identifying_params, model._get_ls_params()])
    return [model, embeddings, model.bind_tools([])], [
        lambda: model.ainvoke("hi", config),
        lambda: asyncio.to_thread(model.invoke, "hi", config),
        lambda: collect_updates(model.astream("hi", config)),
        lambda: asyncio.to_thread(lambda: list(model.stream("hi", config))),
        lambda: collect_updates(model.astream_events("hi", config, version="v2")),
        lambda: embeddings.aembed_query("hi"),
        lambda: asyncio.to_thread(embeddings.embed_documents, ["hi"]),
    ]


def llama_index(url: str, options: Any, places: Places, _: Any) -> tuple[list[Any], list[Call]]:
    """Return the objects of LlamaIndex' adapter, and calls of them."""
    manager = CallbackManager([LlamaDebugHandler()])
    llm = AzInferLLM(endpoint=url, callback_manager=manager, **options)
    embedding = AzInferEmbedding(endpoint=url, **options)

    async def stream() -> list[Any]:
        return await collect_updates(await llm.astream_complete("hi"))

    return [llm, embedding, llm.metadata], [
        lambda: llm.acomplete("hi"),
        lambda: asyncio.to_thread(llm.complete, "hi"),
        stream,
        lambda: asyncio.to_thread(lambda: list(llm.stream_complete("hi"))),
        lambda: embedding.aget_text_embedding("hi"),
        lambda: asyncio.to_thread(embedding.get_query_embedding, "hi"),
    ]


def semantic_kernel(url: str, options: Any, places: Places, _: Any) -> tuple[list[Any], list[Call]]:
    """Return the objects of Semantic Kernel's adapter, and calls of them."""
    service, embedding = AzInferChatCompletion(url, **options), AzInferTextEmbedding(url, **options)
    settings = AzInferChatPromptExecutionSettings(temperature=0.5)
    return [service, embedding, settings], [
        lambda: service.get_chat_message_contents(user_history(), settings),
        lambda: collect_updates(
            service.get_streaming_chat_message_content(user_history(), settings)
        ),
        lambda: embedding.generate_embeddings(["hi"]),
    ]


def ag2(url: str, options: Any, places: Places, provider: Any) -> tuple[list[Any], list[Call]]:
    """Return the objects of AG2's adapter, and calls of them."""
    config = AzInferConfig(url, **options)
    telemetry = TelemetryMiddleware(tracer_provider=provider)

    async def ask(streaming: bool) -> Any:
        history = MemoryStream()
        agent = Agent("a", config=config.copy(streaming=streaming), middleware=[telemetry])
        try:
            return await agent.ask("hi", stream=history)
        finally:
            places.see("the history of AG2", repr(list(await history.history.get_events())))

    entry = {"base_url": url, "api_key": options["credential"], "max_retries": 0}
    classic = AzInferModelClient({**entry, "model": "gpt-4.1"})
    chat: Any = {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-4.1"}
    return [config, classic, config.create()], [
        lambda: ask(False),
        lambda: ask(True),
        lambda: asyncio.to_thread(classic.create, chat),
    ]


def agent_framework(url: str, options: Any, places: Places, _: Any) -> tuple[list[Any], list[Call]]:
    """Return the objects of Agent Framework's adapter, and calls of them."""
    client, embedding = AzInferChatClient(url, **options), AzInferEmbeddingClient(url, **options)
    agent = af.Agent(client=client, name="a")
    user = [af.Message("user", ["hi"])]
    return [client, embedding, agent, agent.create_session()], [
        lambda: client.get_response(user),
        lambda: collect_updates(client.get_response(user, stream=True)),
        lambda: agent.run("hi"),
        lambda: embedding.get_embeddings(["hi"]),
    ]


ADAPTERS = [langchain, llama_index, semantic_kernel, ag2, agent_framework]


def answer_every_call(server: RawServer) -> None:
    """Let the server answer every call as it should."""

    def choose(request: Any) -> Behaviour:
        headers = {"x-echo": MARKER, "x-request-id": MARKER}
        if "embeddings" in request.target:
            return reply(vectors([1.0], usage={"prompt_tokens": 1}), headers=headers)
        if request.json.get("stream"):
            return stream(events(part("a"), part("b", "stop")))
        return reply(chat(), headers=headers)

    server.choose = choose


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_no_place_shows_the_key(
    server: RawServer,
    places: Places,
    spans: InMemorySpanExporter,
    capfd: pytest.CaptureFixture[str],
    adapter: Callable[..., tuple[list[Any], list[Call]]],
) -> None:
    options = {"credential": MARKER, "model": "gpt-4.1", "max_retries": 0}
    options["timeout"] = Timeout(read=0.2)
    events, dispatcher = Events(places=places), instrumentation.get_dispatcher()  # type: ignore[attr-defined]
    dispatcher.add_event_handler(events)
    url, provider = f"{server.url}/openai/v1", spans.provider  # type: ignore[attr-defined]
    errors = 0
    try:
        objects, calls = adapter(url, options, places, provider)
        for each in objects:
            places.see_value(f"{type(each).__name__}", each)
        answer_every_call(server)
        for call in calls:
            for each in (await call(),):
                places.see_value(f"answer {type(each).__name__}", each)
        server.choose = None
        for fault in (*ECHOED, *BROKEN, *ODD):
            server.will(FAULTS[fault])
            for call in calls:
                try:
                    places.see(fault, await call())
                except Exception as error:
                    errors += 1
                    places.see_error(fault, error)
    finally:
        dispatcher.event_handlers.remove(events)
    for span in spans.get_finished_spans():
        places.see("a span", span.to_json())
    output = capfd.readouterr()
    places.see("the output", output.out + output.err)
    assert "\n".join(places.hits) == ""
    assert errors >= 12 * len(calls)
    assert places.count > 300, places.count


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("rest", ["\nwith a line", " é"], ids=["a line", "a letter"])
async def test_a_key_that_does_not_fit_is_shown_nowhere(
    places: Places,
    spans: InMemorySpanExporter,
    adapter: Callable[..., tuple[list[Any], list[Call]]],
    rest: str,
) -> None:
    options = {"credential": MARKER + rest, "model": "gpt-4.1", "max_retries": 0}
    provider = spans.provider  # type: ignore[attr-defined]
    try:
        _, calls = adapter("https://a.example/openai/v1", options, places, provider)
    except Exception as error:
        places.see_error("the constructor", error)
        return
    for call in calls:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await call()
        places.see_error("a call", caught.value)


def test_the_search_for_keys_finds_an_unprotected_key(places: Places) -> None:
    class Open:
        def __init__(self) -> None:
            self.key = MARKER

        def call(self) -> None:
            raise ValueError(f"with {self.key}")

    places.see_value("an object", Open())
    with pytest.raises(ValueError, match="with") as caught:
        Open().call()
    places.see_error("an error", caught.value)
    hits, places.hits = places.hits, []
    assert "an object: fields" in hits
    assert "an error: ValueError: str" in hits


@pytest.mark.parametrize(
    "kind",
    [
        *(AzInferChatClient, AzInferEmbeddingClient, AzInferConfig, AzInferEmbeddings, ChatAzInfer),
        *(AzInferEmbedding, AzInferLLM, AzInferChatCompletion, AzInferTextEmbedding),
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        f"https://host.example/path?api-key={MARKER}",
        f"https://contoso.openai.azure.com?sig={MARKER}",
        f"https://{START[:7]}@contoso.openai.azure.com",
    ],
)
def test_a_key_in_an_invalid_url_is_in_no_traceback(kind: Any, url: str) -> None:
    with pytest.raises(Exception, match=r"surface|user name") as caught:
        kind(endpoint=url, credential="k", model="m", surface="opnai")
    texts = visible_texts(caught.value)
    assert [place for place, text in texts.items() if START[:7] in text] == []
