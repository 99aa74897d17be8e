"""Problems of users of LlamaIndex on Azure, each with the behaviour that solves it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.schema import TextNode

from azinfer.core import BadRequestError, ConfigurationError, Timeout
from azinfer.llama_index import AzInferEmbedding, AzInferImageEmbedding, AzInferLLM
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY, SURFACES
from llama_index_calls import USER, call_method, payload_of, tool
from raw_server import RawServer, chat, events, failure, part, reply, stream, vectors

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("own_loop")


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes components of the raw server."""

    def of(kind: Any = AzInferLLM, path: str = "/openai/v1", **named: Any) -> Any:
        named = {"model": "prod-chat", "max_retries": 0, **named}
        return kind(endpoint=server.url + path, credential=KEY, **named)

    return of


def bodies(server: RawServer) -> list[Any]:
    return [request.json for request in server.received]


@pytest.mark.parametrize("kind", [AzInferLLM, AzInferEmbedding, AzInferImageEmbedding])
@pytest.mark.parametrize("path", ["/models", "/openai/v1"])
def test_no_request_is_sent_before_the_first_question(
    make: Make, server: RawServer, path: str, kind: Any
) -> None:
    # llama-index-embeddings-azure-inference 0.6.0 asked for /info where no name was given, and
    # the LLM asked whenever its metadata was read: run-llama/llama_index#15169
    instance = make(kind, path, model=None)
    repr(instance)
    payload_of(instance)
    instance.to_dict()
    if kind is AzInferLLM:
        assert instance.metadata.is_chat_model
    assert not server.received


def test_a_message_of_the_user_is_never_dropped(make: Make, server: RawServer, kind: str) -> None:
    # llama-index-llms-azure-inference 0.8.0 sent none for a ChatMessage
    server.will(reply(chat()), stream(events(part("a", "stop"))))
    for method in ("chat_with_tools", "stream_chat_with_tools"):
        call_method(make(), kind, method, [tool()], user_msg=ChatMessage("hi"))
    message_lists = [body["messages"] for body in bodies(server)]
    assert message_lists == [[{"role": "user", "content": "hi"}]] * 2


def test_arguments_are_not_modified(make: Make, server: RawServer, kind: str) -> None:
    # the same package added to chat_history and client_kwargs
    server.will(reply(chat()))
    history, options, headers = [ChatMessage("a")], {"user": "me"}, {"x-a": "1"}
    llm = make(additional_kwargs=options, headers=headers, api_version="2024-10-21")
    call_method(llm, kind, "chat_with_tools", [tool()], user_msg="b", chat_history=history)
    assert (history, options, headers) == ([ChatMessage("a")], {"user": "me"}, {"x-a": "1"})


def test_a_stream_with_only_a_call_yields_it(make: Make, server: RawServer, kind: str) -> None:
    # the same package skipped chunks without text
    call = {"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": "{}"}}
    server.will(stream(events(part(tool_calls=[call]), part(None, "tool_calls"))))
    llm = make()
    answer = call_method(llm, kind, "stream_chat_with_tools", [tool()], "hi")
    assert [llm.get_tool_calls_from_response(each)[0].tool_id for each in answer] == ["c1"] * 2


def test_the_service_decides_what_values_are_right(make: Make, server: RawServer) -> None:
    # the same package allowed a temperature of 1 at most, and texts alone as seeds
    server.will(reply(chat()))
    make(temperature=1.5, additional_kwargs={"seed": 7}).chat(USER)
    assert (bodies(server)[0]["temperature"], bodies(server)[0]["seed"]) == (1.5, 7)


SILENT = """
import asyncio, sys
from llama_index.core.base.llms.types import ChatMessage
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
there = {"endpoint": sys.argv[1], "credential": "k-1234", "model": "m"}
llm, embedding = AzInferLLM(**there), AzInferEmbedding(**there)

async def chat_body():
    await asyncio.gather(*(llm.achat([ChatMessage("hi")]) for _ in range(4)))
    async for _ in await llm.astream_chat([ChatMessage("hi")]):
        pass
    await embedding.aget_text_embedding("a")

for _ in range(3):
    asyncio.run(chat_body())
llm.chat([ChatMessage("hi")])
next(iter(llm.stream_chat([ChatMessage("hi")])))
"""


def test_no_session_is_left_unclosed(server: RawServer) -> None:
    # run-llama/llama_index#19348 and #20433; langchain-ai/langchain-azure#69
    def choose(request: Any) -> Any:
        if "input" in request.json:
            return reply(vectors([1.0]))
        if request.json.get("stream"):
            return stream(events(part("a"), part("b", "stop")))
        return reply(chat())

    server.choose = choose
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", SILENT]
    done = subprocess.run(
        [*command, f"{server.url}/openai/v1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_classes_implement_llamaindexs_interfaces(make: Make) -> None:
    # run-llama/llama_index#18939 and #16716
    assert isinstance(make(), FunctionCallingLLM)
    assert isinstance(make(AzInferImageEmbedding), MultiModalEmbedding)
    assert make().metadata.is_function_calling_model


@pytest.mark.parametrize("name", ["gpt-4.1-global", "My_Deployment.1", "llama"])
def test_a_deployment_may_have_any_name(make: Make, name: str) -> None:
    # run-llama/llama_index#19263, #16090, #13259
    assert make(model=name).metadata.context_window > 0
    assert make(model=name, context_window=9000).metadata.context_window == 9000
    assert make(model=name, model_id="gpt-4o").metadata.context_window == 128_000


@pytest.mark.parametrize("path", SURFACES.values())
def test_a_model_of_mistral_works_on_every_surface(
    make: Make, server: RawServer, path: str, kind: str
) -> None:
    # run-llama/llama_index#14058
    server.will(reply(chat()))
    llm = make(path=path, model="mistral-large", max_tokens=9)
    assert call_method(llm, kind, "complete", "hi").text == "hello"
    body = bodies(server)[0]
    assert body["max_tokens"] == 9
    assert not {"max_completion_tokens", "stream_options", "parallel_tool_calls"} & body.keys()


def test_workers_of_a_pipeline_embed(monkeypatch: pytest.MonkeyPatch) -> None:
    # langfuse/langfuse#2799; run-llama/llama_index#9480
    with LocalEndpoint([LocalDeployment("embed")]) as endpoint:
        embedding = AzInferEmbedding(endpoint=endpoint.url, credential=endpoint.key, model="embed")
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        monkeypatch.setenv("AZURE_AI_API_KEY", endpoint.key)
        assert endpoint.key.encode() not in pickle.dumps(embedding)
        nodes = IngestionPipeline(transformations=[embedding]).run(
            documents=[Document(text=f"text {number}") for number in range(4)], num_workers=2
        )
        assert [len(node.embedding or ()) for node in nodes] == [384] * 4
        assert len(endpoint.requests) >= 2


def test_a_worker_without_a_key_says_so(make: Make) -> None:
    again = pickle.loads(pickle.dumps(make(AzInferEmbedding)))
    with pytest.raises(ConfigurationError, match="AZURE_AI_API_KEY"):
        again([TextNode(text="a")])


HASH = """
import sys
from azinfer.llama_index import AzInferEmbedding
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import TextNode
embedding = AzInferEmbedding(
    endpoint="https://contoso.openai.azure.com", credential="other", model="m", dimensions=8
)
print(get_transformation_hash([TextNode(text="a")], embedding))
"""


def test_a_cache_key_is_stable_and_separates_results() -> None:
    def key(**named: Any) -> str:
        named = {"dimensions": 8, **named}
        url = "https://contoso.openai.azure.com"
        embedding = AzInferEmbedding(endpoint=url, credential=KEY, model="m", **named)
        return get_transformation_hash([TextNode(text="a")], embedding)

    done = subprocess.run(
        [sys.executable, "-c", HASH], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == key(timeout=None)
    options: list[dict[str, Any]] = [
        {"dimensions": 9},
        {"document_type": "d"},
        {"additional_kwargs": {"a": 1}},
    ]
    assert len({key(), *(key(**each) for each in options)}) == 4
    assert KEY not in key()


def test_a_token_is_requested_before_each_request(server: RawServer) -> None:
    # run-llama/llama_index#12818; openai/openai-python#1526
    tokens = iter("abc")
    server.will(reply(vectors([1.0])), reply(failure("401"), 401), reply(vectors([1.0])))
    embedding = AzInferEmbedding(endpoint=server.url, credential=lambda: next(tokens), model="m")
    embedding.get_text_embedding("a")
    embedding.get_text_embedding("a")
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer a", "Bearer b", "Bearer c"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/models",
        "/openai",
        "/openai/v1/",
        "/openai/deployments/prod-chat",
        "/openai/deployments/prod-chat/chat/completions?api-version=2024-10-21",
        "/models/chat/completions?api-version=2024-05-01-preview",
        "/api/projects/p1",
    ],
)
def test_an_endpoint_may_have_any_shape(make: Make, server: RawServer, path: str) -> None:
    # microsoft/semantic-kernel#12781; langchain-ai/langchain-azure#79; openai/openai-python#2584
    server.will(reply(chat()))
    assert make(path=path).chat(USER).message.content == "hello"
    assert server.received[0].target.partition("?")[0].count("/chat/completions") == 1


def test_loopback_may_lack_its_scheme(server: RawServer) -> None:
    # kbeaugrand/SemanticKernel.Agents.DatabaseAgent#46; openai/openai-python PR 2166
    server.will(reply(chat()))
    llm = AzInferLLM(endpoint=f"127.0.0.1:{server.port}/models", credential=KEY, model="m")
    assert llm.chat(USER).message.content == "hello"


def test_a_wrong_path_is_an_error_with_its_url(make: Make, server: RawServer) -> None:
    server.will(reply(failure("404", "Resource not found"), 404))
    with pytest.raises(BadRequestError, match=rf"endpoint's path.*'prod-chat'.*{server.url}"):
        make().chat(USER)


def test_cohere_models_receive_the_kind_of_a_text(make: Make, server: RawServer) -> None:
    # Azure/azure-sdk-for-python#41001; BerriAI/litellm#11434
    server.will(reply(vectors([1.0])))
    embedding = make(AzInferEmbedding, path="/models", model="Cohere-embed-v3-multilingual")
    index = VectorStoreIndex([TextNode(text="a")], embed_model=embedding)
    index.as_retriever().retrieve("a?")
    assert [body["input_type"] for body in bodies(server)] == ["document", "query"]


def test_an_image_is_sent_as_the_reference_says(make: Make, server: RawServer) -> None:
    # BerriAI/litellm#6542; run-llama/llama_index#16716
    server.will(reply({"embeddings": {"float": [[1.0]]}}))
    make(AzInferImageEmbedding, path="", model="m").get_image_embedding(b"\x89PNG\r\n\x1a\n")
    request = server.received[0]
    assert request.target == "/providers/cohere/v2/embed"
    assert request.body == (
        b'{"model":"m","embedding_types":["float"],"input_type":"image",'
        b'"images":["data:image/png;base64,iVBORw0KGgo="]}'
    )


def test_a_limit_under_a_wrong_name_is_learned(make: Make, server: RawServer, kind: str) -> None:
    # chatboxai/chatbox#2271; obot-platform/obot#2862
    refused = failure("unsupported_parameter", "Use 'max_completion_tokens'.", param="max_tokens")
    server.will(reply(refused, 400), reply(chat()))
    llm = make(max_tokens=9)
    for _ in range(2):
        call_method(llm, kind, "chat", USER)
    assert [body.get("max_completion_tokens") for body in bodies(server)] == [None, 9, 9]


def test_a_parameter_that_a_model_refuses_is_an_error(
    make: Make, server: RawServer, kind: str
) -> None:
    body = failure("unsupported_value", "no temperature here", param="temperature")
    server.will(reply(body, 400))
    with pytest.raises(BadRequestError) as caught:
        call_method(make(model_id="o3", temperature=0.5), kind, "chat", USER)
    assert caught.value.param == "temperature"


def test_a_hundred_components_of_one_endpoint_share_one_pool(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#32489
    server.will(reply(chat()))
    components = [make() for _ in range(100)]
    for each in components:
        each.chat(USER)
    assert server.connections == 1


def test_no_timeout_means_the_default_timeout(make: Make) -> None:
    assert make(timeout=None).sync_client.timeout == Timeout()


def test_tokens_are_counted_with_no_download() -> None:
    # openai/tiktoken#369
    from llama_index.core.utils import get_tokenizer

    code = "import urllib3, socket, sys; socket.socket.connect = None\n"
    code += "from llama_index.core.utils import get_tokenizer; import azinfer.llama_index\n"
    code += "print(len(get_tokenizer()('What is a deployment?')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(get_tokenizer()("What is a deployment?")) == 5
