"""Fixtures of adapters' tests: the three main surfaces, and services on the raw server's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from azinfer.core import InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import KEY, SURFACES, WIRES, TestClock
from raw_server import RawServer


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    """The name of one of the main surfaces."""
    name: str = request.param
    return name


@pytest.fixture
def url(server: RawServer, surface: str) -> str:
    """The raw server by that surface."""
    return server.url + SURFACES[surface]


@pytest.fixture
def service(url: str) -> Callable[..., Any]:
    """Makes services of Semantic Kernel on that surface: `service(AzInferTextEmbedding)`."""
    import kernels  # Semantic Kernel, which other frameworks' tests need not wait for

    return functools.partial(kernels.service, url)


@pytest.fixture
def configuration(url: str) -> Callable[..., Any]:
    """Makes configurations of AG2 on that surface, which live as long as the test's loop."""
    from azinfer.ag2 import AzInferConfig  # for the same reason

    results: list[Any] = []

    def config(**named: Any) -> Any:
        named = {"credential": KEY, "model": "gpt-4.1", "max_retries": 0, **named}
        results.append(AzInferConfig(url, **named))
        return results[-1]

    return config


@pytest.fixture
def path(surface: str) -> str:
    """The path of that surface."""
    return SURFACES[surface]


@pytest.fixture(scope="module")
def llama_endpoint() -> Iterator[LocalEndpoint]:
    """Deployments that echo, that always answer the same, and that think in words."""
    thought = "Thought: I can answer without using any more tools.\nAnswer: Paris."
    deployments = [
        LocalDeployment("Mistral-Large", "mistral-large-2411", wires=("chat", *WIRES)),
        LocalDeployment("prod"),
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("thinker", engine=SyntheticEngine(thought)),
        LocalDeployment("embed"),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture(params=[*SURFACES, *WIRES])
def address(request: pytest.FixtureRequest) -> str:
    """The path of one of the main surfaces, or the one that names a wire."""
    return {**SURFACES, **WIRES}[request.param]


@pytest.fixture(params=[*SURFACES, *(pytest.param(wire, marks=pytest.mark.long) for wire in WIRES)])
def llama_address(request: pytest.FixtureRequest) -> str:
    """The same for LlamaIndex, whose tests on the wires take longer."""
    return {**SURFACES, **WIRES}[request.param]


@pytest.fixture
def llm(llama_endpoint: LocalEndpoint, llama_address: str) -> Callable[..., Any]:
    """Makes LLMs of LlamaIndex at that address of the local endpoint."""
    from azinfer.llama_index import AzInferLLM  # for the same reason

    url, key = llama_endpoint.url + llama_address, llama_endpoint.key

    def make(model: str = "mistral-large", **named: Any) -> Any:
        return AzInferLLM(endpoint=url, credential=key, model=model, **named)

    llama_endpoint.requests.clear()
    return make


@pytest.fixture
def embedding(llama_endpoint: LocalEndpoint, llama_address: str) -> Any:
    """An embedding of LlamaIndex at that address; vectors are on a surface beside a wire's."""
    from azinfer.llama_index import AzInferEmbedding  # for the same reason

    url, key = llama_endpoint.url + llama_address, llama_endpoint.key
    return AzInferEmbedding(endpoint=url, credential=key, model="embed")


@pytest.fixture
def component(server: RawServer, path: str) -> Callable[..., Any]:
    """Makes components of LlamaIndex on that surface, with a clock that only counts."""
    from azinfer.llama_index import AzInferLLM  # for the same reason

    def make(kind: Any = AzInferLLM, credential: Any = KEY, **named: Any) -> Any:
        model_id, retries = named.pop("model_id", None), named.pop("max_retries", 2)
        client = InferenceClient(
            server.url + path,
            credential,
            "prod",
            model_id=model_id,
            max_retries=retries,
            clock=TestClock(),
        )
        return kind(client=client, **named)

    return make


@pytest.fixture
def index(embedding: Any) -> Any:
    """An index of LlamaIndex with three facts, one a document."""
    from llama_index.core import Document, VectorStoreIndex  # for the same reason

    from llama_index_calls import FACTS

    documents = [Document(text=fact) for fact in FACTS]
    return VectorStoreIndex.from_documents(documents, embed_model=embedding)


PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0"
    b"\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)
SAMPLES = {".wav": b"RIFF$\0\0\0WAVEfmt ", ".pdf": b"%PDF-1.4\n%%EOF\n"}


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain's suite fetches its sample media from the web; here they are at hand."""

    def get(url: str, **options: Any) -> httpx.Response:
        result = next((data for end, data in SAMPLES.items() if url.endswith(end)), PNG)
        return httpx.Response(200, content=result)

    monkeypatch.setattr("langchain_tests.integration_tests.chat_models.httpx.get", get)
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "azinfer tests")


@pytest.fixture
def vcr() -> SimpleNamespace:
    """The endpoint itself is here, so nothing needs to be recorded and played back."""
    return SimpleNamespace(responses=["live"])
