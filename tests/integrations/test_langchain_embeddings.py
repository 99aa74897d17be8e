"""AzInferEmbeddings over real HTTP: what is sent, in how many requests, and what comes back."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError, ModelNotFoundError
from langchain_core.vectorstores import InMemoryVectorStore

from azinfer.core import InferenceClient
from azinfer.langchain import AzInferEmbeddings
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY
from raw_server import Peer, RawServer, ReceivedRequest, failure, reply, vectors

Make = Callable[..., AzInferEmbeddings]


def numbered_vectors(request: ReceivedRequest) -> Any:
    """Vectors that contain their place in the request."""
    return reply(vectors(*([float(at), 1.0] for at in range(len(request.json["input"])))))


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes embeddings of the raw server, which counts."""
    server.choose = numbered_vectors

    def embeddings(path: str = "/models", **named: Any) -> AzInferEmbeddings:
        named = {"credential": KEY, "model": "prod", "max_retries": 0, **named}
        return AzInferEmbeddings(endpoint=server.url + path, **named)

    return embeddings


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two embedding deployments."""
    with LocalEndpoint([LocalDeployment("Embed"), LocalDeployment("other")]) as endpoint:
        yield endpoint


@pytest.fixture(params=["/models", "/openai/v1", "/openai"])
def local(request: pytest.FixtureRequest, endpoint: LocalEndpoint) -> AzInferEmbeddings:
    """Embeddings of one deployment, on each of the main surfaces."""
    url = endpoint.url + request.param
    return AzInferEmbeddings(endpoint=url, credential=endpoint.key, model="EMBED")


def inputs(server: RawServer) -> list[Any]:
    return [request.json["input"] for request in server.received]


def test_texts_are_sent_as_texts_in_a_list(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#21575, #6793; agno-agi/agno#6759
    make(model_id="text-embedding-3-small").embed_query("a")
    make(model_id="Cohere-embed-v3-english").embed_documents(["b", "c"])
    assert inputs(server) == [["a"], ["b", "c"]]


def test_an_empty_text_does_not_fail_the_others(local: AzInferEmbeddings) -> None:
    assert len(local.embed_documents(["b", "", "c"])) == 3
    assert len(asyncio.run(local.aembed_documents(["", "c"]))) == 2
    assert len(local.embed_query("")) == len(asyncio.run(local.aembed_query(""))) == 384


def test_queries_and_documents_are_distinguished_by_models_that_can(
    make: Make, server: RawServer
) -> None:
    # BerriAI/litellm#11126, #11434; Azure/azure-sdk-for-python#41001
    cohere = {"model_id": "Cohere-embed-v3-english"}

    def types(embeddings: AzInferEmbeddings, **options: Any) -> list[Any]:
        embeddings.embed_query("a", **options)
        asyncio.run(embeddings.aembed_documents(["a"], **options))
        return [request.json.get("input_type") for request in server.received[-2:]]

    assert types(make(**cohere)) == ["query", "document"]
    assert types(make("", surface="serverless", **cohere)) == ["query", "document"]
    assert types(make(**cohere), input_type="text") == ["text", "text"]
    assert types(make(query_type="q", document_type="d")) == ["q", "d"]
    assert types(make(**cohere, model_kwargs={"input_type": "text"})) == ["text", "text"]
    # Other models do not know the field, and neither does the v1 surface.
    assert types(make(model_id="text-embedding-3-small")) == [None, None]
    assert types(make("/openai/v1", **cohere)) == [None, None]
    assert types(make(**cohere), model="other") == [None, None]
    # A call may name what is behind the deployment that it names.
    assert types(make(), model="other", **cohere) == ["query", "document"]


def test_a_batch_is_as_large_as_the_model_takes(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#4575, #10706, #12986
    texts = [str(at) for at in range(200)]
    embeddings = make(model_id="embed-v-4-0").embed_documents(texts)
    assert sorted(map(len, inputs(server))) == [8, 96, 96]
    assert [vector[0] for vector in embeddings] == [*range(96), *range(96), *range(8)]
    make(model_id="text-embedding-3-large").embed_documents(texts)
    assert inputs(server)[3] == texts


def test_a_model_id_does_not_follow_a_call_to_another_deployment(
    make: Make, server: RawServer
) -> None:
    make(model_id="text-embedding-3-large").embed_documents(["a"] * 100, model="unknown")
    assert sorted(map(len, inputs(server))) == [4, 96]


def test_a_few_batches_run_concurrently(make: Make, server: RawServer) -> None:
    at_once = most = 0
    lock = threading.Condition()

    def behave(peer: Peer) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            lock.notify_all()
            lock.wait_for(lambda: most >= 8, 5)
        numbered_vectors(peer.received)(peer)
        with lock:
            at_once -= 1

    server.choose = lambda request: behave
    embeddings = make(model_id="embed-v-4-0")
    assert len(embeddings.embed_documents(["a"] * 96 * 20)) == 96 * 20
    assert len(asyncio.run(embeddings.aembed_documents(["a"] * 96 * 20))) == 96 * 20
    assert most == 8


def test_embedding_no_texts_sends_no_request(make: Make, server: RawServer) -> None:
    assert make().embed_documents([]) == []
    assert asyncio.run(make().aembed_documents([])) == []
    assert not server.received


def test_dimensions_and_other_options_are_sent(make: Make, server: RawServer) -> None:
    embeddings = make(dimensions=2, model_kwargs={"truncate": "END"}, headers={"x-a": "1"})
    embeddings.embed_query("a")
    embeddings.embed_query("a", dimensions=3, truncate="START")
    assert [request.json["dimensions"] for request in server.received] == [2, 3]
    assert [request.json["truncate"] for request in server.received] == ["END", "START"]
    assert server.received[0].header("x-a") == "1"


def test_vectors_are_in_the_order_of_their_texts(make: Make, server: RawServer) -> None:
    answer = vectors([0.0], [1.0], [2.0])
    answer["data"].reverse()
    server.choose = lambda request: reply(answer)
    assert make().embed_documents(["a", "b", "c"]) == [[0.0], [1.0], [2.0]]


def test_vectors_are_lists_of_numbers(local: AzInferEmbeddings) -> None:
    query = local.embed_query("a")
    assert type(query) is list
    assert {type(each) for each in query} == {float}
    assert local.embed_documents(["b", "a"])[1] == query


def test_int8_vectors_are_returned_if_requested(make: Make, server: RawServer) -> None:
    server.choose = lambda request: reply(vectors([1, -2]))
    embeddings = make(model_kwargs={"encoding_format": "int8"})
    assert embeddings.embed_documents(["a"]) == [[1, -2]]
    assert server.received[0].json["encoding_format"] == "int8"


def test_async_code_blocks_no_thread(make: Make) -> None:
    class Refused(ThreadPoolExecutor):
        def submit(self, *args: Any, **named: Any) -> Any:
            raise AssertionError("a thread was asked for")

    async def embed() -> list[float]:
        asyncio.get_running_loop().set_default_executor(Refused(1))
        await make().aembed_documents(["a", "b"])
        return await make().aembed_query("a")

    assert asyncio.run(embed()) == [0.0, 1.0]


def test_one_object_works_in_two_event_loops(local: AzInferEmbeddings) -> None:
    first, second = (asyncio.run(local.aembed_query("a")) for _ in range(2))
    assert first == second == local.embed_query("a")


OFFLINE = """
import sys
from azinfer.langchain import AzInferEmbeddings
embeddings = AzInferEmbeddings(endpoint=sys.argv[1], credential="k", model="ada")
embeddings.embed_query("a")
heavy = {"tiktoken", "transformers", "numpy", "openai"}
print(heavy & {name.partition(".")[0] for name in sys.modules})
"""


def test_no_tokenizer_is_fetched(server: RawServer) -> None:
    # langchain-ai/langchain#24248; openai/tiktoken#369
    server.choose = numbered_vectors
    command = [sys.executable, "-c", OFFLINE, f"{server.url}/openai/v1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_images_are_embedded_with_and_without_a_text(make: Make, server: RawServer) -> None:
    # run-llama/llama_index#16716; langchain-cohere PR 138
    embeddings = make(model_id="Cohere-embed-v3-english")
    png = b"\x89PNG\r\n\x1a\n"
    assert len(embeddings.embed_images([png, (png, "a cat")])) == 2
    assert asyncio.run(embeddings.aembed_images([png], model="other")) == [[0.0, 1.0]]
    assert {request.target.partition("?")[0] for request in server.received} == {
        "/models/images/embeddings"
    }
    texts = [request.json["input"][0].get("text") for request in server.received]
    assert sorted(texts, key=str) == [None, None, "a cat"]
    assert server.received[2].json["model"] == "other"


def test_a_transient_failure_is_retried(make: Make, server: RawServer) -> None:
    server.choose = None
    server.will(reply(failure("429"), 429, {"retry-after": "0"}), reply(vectors([1.0])))
    assert make(max_retries=1).embed_query("a") == [1.0]
    assert len(server.received) == 2


def test_a_wrong_name_is_langchains_not_found(local: AzInferEmbeddings) -> None:
    with pytest.raises(ModelNotFoundError, match="nope"):
        local.embed_query("a", model="nope")
    with pytest.raises(ModelNotFoundError, match="nope"):
        local.embed_documents(["a"], model="nope")
    with pytest.raises(ModelNotFoundError, match="nope"):
        asyncio.run(local.aembed_query("a", model="nope"))
    with pytest.raises(ModelNotFoundError, match="nope"):
        asyncio.run(local.aembed_documents(["a"], model="nope"))


def test_embedding_with_a_chat_deployment_is_a_clear_error(make: Make, server: RawServer) -> None:
    # BerriAI/litellm#8976
    message = "The embeddings operation does not work with the specified model, gpt-4.1."
    server.choose = lambda request: reply(failure("OperationNotSupported", message), 400)
    with pytest.raises(ModelInvalidRequestError, match="embeddings operation does not work"):
        make().embed_query("a")
    with pytest.raises(ModelInvalidRequestError, match="embeddings operation does not work"):
        make().embed_images([b"\x89PNG"])
    with pytest.raises(ModelInvalidRequestError, match="embeddings operation does not work"):
        asyncio.run(make().aembed_images([b"\x89PNG"]))


def test_another_deployment_may_answer_a_call_in_any_case(
    local: AzInferEmbeddings, endpoint: LocalEndpoint
) -> None:
    local.embed_query("a")
    local.embed_query("a", model="OTHER")
    assert [request.deployment for request in endpoint.requests[-2:]] == ["Embed", "other"]


def test_a_token_of_entra_id_is_enough(make: Make, server: RawServer) -> None:
    class Credential:
        def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": scopes[0], "expires_on": 4e9})

    make(credential=Credential()).embed_query("a")
    asyncio.run(make(credential=Credential()).aembed_query("a"))
    sent = {request.header("authorization") for request in server.received}
    assert sent == {"Bearer https://cognitiveservices.azure.com/.default"}


def test_a_long_text_is_sent_whole(make: Make, server: RawServer) -> None:
    text = "word " * 20_000
    make(model_id="text-embedding-3-small").embed_documents([text, "b"])
    assert inputs(server) == [[text, "b"]]


def test_secrets_are_never_shown_and_a_copy_works(make: Make) -> None:
    embeddings = make(headers={"x-gateway-key": "gateway-secret"})
    shown = repr(embeddings) + str(embeddings.model_dump()) + embeddings.model_dump_json()
    assert KEY not in shown
    assert "gateway-secret" not in shown
    assert copy.deepcopy(embeddings).embed_query("a") == [0.0, 1.0]


def test_embeddings_with_their_key_in_the_environment_are_pickled(
    make: Make, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # IngestionPipelines and Ray send them to other processes.
    make()
    monkeypatch.setenv("AZURE_AI_ENDPOINT", f"{server.url}/models")
    monkeypatch.setenv("AZURE_AI_API_KEY", KEY)
    data = pickle.dumps(AzInferEmbeddings(model="prod"))
    assert KEY.encode() not in data
    assert pickle.loads(data).embed_query("a") == [0.0, 1.0]


def test_a_ready_client_fills_endpoint_and_surface(server: RawServer) -> None:
    client = InferenceClient(f"{server.url}/models", KEY, "prod", model_id="embed-v-4-0")
    embeddings = AzInferEmbeddings(client=client)
    assert (embeddings.model, embeddings.model_id) == ("prod", "embed-v-4-0")
    assert (embeddings.endpoint, embeddings.surface) == (client.endpoint.url, "models")


def test_a_vector_store_returns_stored_texts(local: AzInferEmbeddings) -> None:
    store = InMemoryVectorStore.from_texts(["a cat", "two dogs"], local)
    assert store.similarity_search("two dogs", k=1)[0].page_content == "two dogs"
