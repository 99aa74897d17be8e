"""Problems of users of Semantic Kernel on Azure, each with the behaviour that solves it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.exceptions import (
    ServiceInvalidAuthError,
    ServiceInvalidRequestError,
    ServiceResponseException,
)

from azinfer.core import AuthenticationError, UnsupportedParameterError
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.semantic_kernel import (
    AzInferChatCompletion,
    AzInferChatPromptExecutionSettings,
    AzInferTextCompletion,
    AzInferTextEmbedding,
)
from client_driver import KEY, SHAPES
from kernels import Weather, collect_stream, join_messages, kernel, request_body, user_history
from raw_server import RawServer, chat, chat_reply, events, failure, part, reply, stream, vectors

Make = Callable[..., Any]
Settings = AzInferChatPromptExecutionSettings
Auto = FunctionChoiceBehavior.Auto
both = pytest.mark.parametrize("stream_it", [False, True], ids=["whole", "streamed"])


async def answer_text(
    chat_service: Any, stream_it: bool, settings: Any = None, **named: Any
) -> str:
    """Return the text of an answer, whole or streamed."""
    settings = settings or Settings()
    if stream_it:
        return str(join_messages(await collect_stream(chat_service, None, settings, **named)))
    return str(await chat_service.get_chat_message_content(user_history(), settings, **named))


@pytest.mark.parametrize(("path", "base_path"), SHAPES.items())
async def test_an_endpoint_may_have_any_shape(server: RawServer, path: str, base_path: str) -> None:
    # microsoft/semantic-kernel#12781; langchain-ai/langchain-azure#79; openai/openai-python#2584;
    # microsoft/autogen#3953
    server.will(reply(chat()))
    chat_service = AzInferChatCompletion(server.url + path, KEY, "gpt-4.1")
    assert await answer_text(chat_service, False) == "hello"
    (request,) = server.received
    assert request.target.partition("?")[0] == f"{base_path}/chat/completions"
    assert chat_service.service_url() == f"{server.url}{base_path.removesuffix('/gpt-4.1')}"


async def test_loopback_may_lack_its_scheme_and_needs_no_tls(server: RawServer) -> None:
    # kbeaugrand/SemanticKernel.Agents.DatabaseAgent#46; openai/openai-python PR 2166
    server.will(reply(chat()))
    chat_service = AzInferChatCompletion(f"127.0.0.1:{server.port}/models", KEY, "m")
    assert await answer_text(chat_service, False) == "hello"


@both
async def test_a_wrong_path_is_an_error_with_its_url(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # langchain-ai/langchain-azure#79
    server.will(reply(failure("404", "Resource not found"), 404))
    chat_service = service()
    with pytest.raises(ServiceInvalidRequestError, match=r"endpoint's path.*'gpt-4.1'") as caught:
        await answer_text(chat_service, stream_it)
    assert chat_service.service_url() in str(caught.value)


async def test_a_key_works_with_a_projects_resource_and_explains_what_it_cannot(
    server: RawServer,
) -> None:
    # agno-agi/agno PR 9841: keys are refused on the paths of projects
    server.choose = lambda request: (
        reply(failure("401", "no"), 401) if "/api/projects" in request.target else reply(chat())
    )
    chat_service = AzInferChatCompletion(f"{server.url}/api/projects/p1", KEY, "gpt-4.1")
    assert await answer_text(chat_service, False) == "hello"
    with pytest.raises(AuthenticationError, match="needs a token of Entra ID, not a key"):
        await chat_service.client.deployments()
    assert [each.target.partition("?")[0] for each in server.received] == [
        "/openai/v1/chat/completions",
        "/api/projects/p1/deployments",
    ]


@both
async def test_a_key_that_is_refused_is_an_immediate_error(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    server.will(reply(failure("401", "no"), 401))
    with pytest.raises(ServiceInvalidAuthError):
        await answer_text(service(max_retries=2), stream_it)
    assert len(server.received) == 1


@both
async def test_a_token_that_is_refused_is_renewed(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # run-llama/llama_index#12818; openai/openai-python#1526; microsoft/agent-framework#3449
    tokens = iter("abc")

    async def token() -> str:
        return next(tokens)

    server.will(chat_reply(stream_it), reply(failure("401"), 401), chat_reply(stream_it))
    chat_service = service(credential=token)
    for _ in range(2):
        assert await answer_text(chat_service, stream_it) == "hello"
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer a", "Bearer b", "Bearer c"]


def test_services_work_in_three_event_loops(server: RawServer, service: Make) -> None:
    # run-llama/llama_index#20433 and #19348
    def choose(request: Any) -> Any:
        if "input" in request.json:
            return reply(vectors([1.0]))
        return chat_reply("stream" in request.json)

    server.choose = choose
    chat_service, embedding = service(), service(AzInferTextEmbedding)
    writer = service(AzInferTextCompletion)

    async def ask() -> None:
        assert (
            await answer_text(chat_service, False)
            == await answer_text(chat_service, True)
            == "hello"
        )
        assert str(await writer.get_text_content("hi", Settings())) == "hello"
        assert (await embedding.generate_embeddings(["a"])).tolist() == [[1.0]]

    for _ in range(3):
        asyncio.run(ask())
    assert len(server.received) == 12


class Place(BaseModel):
    """Where it is."""

    city: str


@pytest.mark.parametrize("model", ["gpt-4.1", "Mistral-Large-2411", "Phi-4"])
@both
async def test_models_of_every_maker_keep_a_form_at_a_strict_endpoint(
    surface: str, model: str, stream_it: bool
) -> None:
    # microsoft/semantic-kernel#11025, #11952, #11708; Azure/azure-sdk-for-python#40793;
    # microsoft/autogen#5957; apache/flink-agents#931
    with LocalEndpoint([LocalDeployment(model)], strict=True) as endpoint:
        chat_service = AzInferChatCompletion(endpoint.url, endpoint.key, model, surface=surface)
        text = await answer_text(
            chat_service, stream_it, Settings(response_format=Place, max_tokens=50)
        )
    assert Place.model_validate_json(text).city


@both
async def test_a_function_may_be_required_by_its_name(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # microsoft/semantic-kernel#10452: "Currently only named tools are supported"
    server.will(chat_reply(stream_it))
    by_name = {"type": "function", "function": {"name": "get_time"}}
    await answer_text(service(), stream_it, Settings(tools=[by_name], tool_choice=by_name))
    assert (request_body(server)["tool_choice"], request_body(server)["tools"]) == (
        by_name,
        [by_name],
    )


@both
async def test_a_model_that_calls_no_functions_says_so(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # microsoft/semantic-kernel#9933, #10221, #10446: functions are silently left out
    refused = failure("unsupported_parameter", "tools is not supported", param="tools")
    server.will(reply(refused, 400))
    settings = Settings(function_choice_behavior=Auto())
    with pytest.raises(ServiceInvalidRequestError) as caught:
        await answer_text(service(), stream_it, settings, kernel=kernel(w=Weather()))
    assert isinstance(caught.value, UnsupportedParameterError)
    assert caught.value.param == "tools"


async def test_chunks_of_the_asynchronous_filter_are_accepted(
    server: RawServer, service: Make
) -> None:
    # microsoft/semantic-kernel#7250 and #3650; openai/openai-python#1677, #2313
    results = {"index": 0, "content_filter_results": {"hate": {"filtered": False}}}
    server.will(
        stream(
            events(
                {"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
                part("Pa"),
                {"id": "", "choices": [{**results, "content_filter_offsets": {"start_offset": 0}}]},
                part("ris", "stop"),
                {"id": "", "choices": [{**results, "finish_reason": None}]},
            )
        )
    )
    whole = join_messages(await collect_stream(service()))
    assert str(whole) == "Paris"
    assert whole.metadata["content_filter_results"] == {"hate": {"filtered": False}}


@both
async def test_an_answer_that_is_cut_by_a_filter_says_so(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # microsoft/semantic-kernel#4802
    results = {"violence": {"filtered": True, "severity": "high"}}
    whole, last = chat("", "content_filter"), part("", "content_filter")
    for body in (whole, last):
        body["choices"][0]["content_filter_results"] = results
    server.will(stream(events(last)) if stream_it else reply(whole))
    chat_service = service()
    if stream_it:
        answer: Any = join_messages(await collect_stream(chat_service))
    else:
        answer = await chat_service.get_chat_message_content(user_history(), Settings())
    assert answer.finish_reason.value == "content_filter"
    assert answer.metadata["content_filter_results"] == results


async def test_an_image_is_embedded_as_the_reference_says(server: RawServer, service: Make) -> None:
    # BerriAI/litellm#6542
    server.will(reply({**vectors([1.0]), "embeddings": {"float": [[1.0]]}}))
    await service(AzInferTextEmbedding, model="m").generate_image_embeddings([b"\x89PNG\r\n\x1a\n"])
    (request,) = server.received
    if request.target.startswith("/models"):  # the URL named that route
        assert request.target.partition("?")[0] == "/models/images/embeddings"
        assert request.body == (
            b'{"model":"m","input":[{"image":"data:image/png;base64,iVBORw0KGgo="}]}'
        )
    else:
        assert request.target == "/providers/cohere/v2/embed"
        assert request.body == (
            b'{"model":"m","embedding_types":["float"],"input_type":"image",'
            b'"images":["data:image/png;base64,iVBORw0KGgo="]}'
        )


@both
async def test_a_limit_under_a_wrong_name_is_learned(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # chatboxai/chatbox#2271; obot-platform/obot#2862; microsoft/autogen PR 5860
    refused = failure("unsupported_parameter", "Use 'max_completion_tokens'.", param="max_tokens")
    server.will(reply(refused, 400), chat_reply(stream_it))
    chat_service = service(model="prod")
    for _ in range(2):
        assert await answer_text(chat_service, stream_it, Settings(max_tokens=9)) == "hello"
    bodies = [request_body(server, at) for at in range(3)]
    assert [body.get("max_tokens") for body in bodies] == [9, None, None]
    assert [body.get("max_completion_tokens") for body in bodies] == [None, 9, 9]


@both
async def test_a_parameter_that_a_model_refuses_is_an_error(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    # chatboxai/chatbox#2271
    server.will(reply(failure("unsupported_value", "no", param="temperature"), 400))
    with pytest.raises(ServiceResponseException) as caught:
        await answer_text(service(model_id="o3"), stream_it, Settings(temperature=0.5))
    error: Any = caught.value
    assert error.param == "temperature"


@pytest.mark.parametrize(
    "kind", [AzInferChatCompletion, AzInferTextCompletion, AzInferTextEmbedding]
)
async def test_a_credential_by_name_survives_a_pickle(
    service: Make, server: RawServer, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # stanfordnlp/dspy#1759; microsoft/autogen PR 2879
    monkeypatch.setenv("MY_KEY", KEY)
    data = pickle.dumps(service(kind, credential="env:MY_KEY"))
    assert KEY.encode() not in data
    server.choose = lambda request: (
        reply(vectors([1.0])) if "input" in request.json else reply(chat())
    )
    again = pickle.loads(data)
    if kind is AzInferTextEmbedding:
        await again.generate_embeddings(["a"])
    elif kind is AzInferTextCompletion:
        await again.get_text_contents("hi", Settings())
    else:
        await answer_text(again, False)
    assert server.received[0].header("api-key") == KEY


async def test_a_hundred_services_of_one_endpoint_share_a_pool(
    server: RawServer, service: Make
) -> None:
    # langchain-ai/langchain#32489; run-llama/llama_index PR 20885
    server.will(reply(chat()))
    services = [service() for _ in range(100)]
    for each in services:
        await answer_text(each, False)
    assert server.connections == 1
