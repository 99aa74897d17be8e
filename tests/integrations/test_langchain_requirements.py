"""Problems of users of LangChain on Azure, each with the behaviour that solves it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import (
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.tools import tool
from pydantic import BaseModel

from azinfer.core import BadRequestError, ContentFilterError, Timeout, UnsupportedParameterError
from azinfer.langchain import ChatAzInfer, init_chat_model, init_embeddings
from client_driver import KEY, SURFACES
from raw_server import RawServer, chat, events, failure, part, reply, stream, vectors

Make = Callable[..., ChatAzInfer]
EMPTY = {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []}


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes models of the raw server."""

    def model(path: str = "/openai/v1", **named: Any) -> ChatAzInfer:
        named = {"credential": KEY, "model": "prod-chat", "max_retries": 0, **named}
        return ChatAzInfer(endpoint=server.url + path, **named)

    return model


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


class Place(BaseModel):
    """A place."""

    city: str


def bodies(server: RawServer) -> list[Any]:
    return [request.json for request in server.received]


every_surface = pytest.mark.parametrize("path", SURFACES.values())


@every_surface
def test_a_stream_requests_its_usage_on_every_surface(
    make: Make, server: RawServer, path: str
) -> None:
    # langchain-ai/langchain#26145, #30390; langfuse/langfuse#2521
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    data = events(EMPTY, part("a", "stop"), {"choices": [], "usage": usage})
    server.will(stream(data))
    chunks = list(make(path).stream("hi"))
    assert bodies(server)[0]["stream_options"] == {"include_usage": True}
    counts = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [count["total_tokens"] for count in counts] == [5]


@every_surface
def test_callbacks_count_what_was_streamed_like_what_was_not(
    make: Make, server: RawServer, path: str
) -> None:
    # langchain-ai/langchain#30390
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    data = events(part("a", "stop"), {"choices": [], "usage": usage})
    server.choose = lambda request: stream(data) if "stream" in request.json else reply(chat())
    counter = UsageMetadataCallbackHandler()
    config: Any = {"callbacks": [counter]}
    model = make(path)
    list(model.stream("hi", config))
    model.invoke("hi", config)
    asyncio.run(model.ainvoke("hi", config))
    assert counter.usage_metadata["m"]["total_tokens"] == 15


def test_events_of_a_chain_stream_tokens_and_end_with_usage(make: Make, server: RawServer) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    data = events(part("a"), part("b", "stop"), {"choices": [], "usage": usage})
    server.will(stream(data))
    chain = make() | (lambda message: message.text)

    async def read() -> list[Any]:
        return [event async for event in chain.astream_events("hi", version="v2")]

    seen = asyncio.run(read())
    streamed_chunks = [each["data"] for each in seen if each["event"] == "on_chat_model_stream"]
    assert [each["chunk"].text for each in streamed_chunks if each["chunk"].text] == ["a", "b"]
    (end,) = [each["data"] for each in seen if each["event"] == "on_chat_model_end"]
    assert end["output"].usage_metadata["total_tokens"] == 5


def test_structured_output_with_raw_streams_and_keeps_its_usage(
    make: Make, server: RawServer
) -> None:
    # langchain-ai/langchain#27461
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    parts = [part('{"ci'), part('ty": "De'), part('lft"}'), part(None, "stop")]
    server.will(stream(events(*parts, {"choices": [], "usage": usage})))
    structured = make().with_structured_output({"title": "p", "type": "object"}, include_raw=True)
    seen = list(structured.stream("hi"))
    assert len([each for each in seen if each.get("parsed") is not None]) >= 3
    raw = [each["raw"] for each in seen if "raw" in each]
    whole = sum(raw[1:], raw[0])
    assert whole.usage_metadata["total_tokens"] == 5

    async def stream_all() -> list[Any]:
        return [each async for each in structured.astream("hi")]

    assert asyncio.run(stream_all())[-1] == {"parsed": {"city": "Delft"}, "parsing_error": None}


@every_surface
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_first_chunk_without_choices_is_accepted(
    make: Make, server: RawServer, path: str, asynchronous: bool
) -> None:
    # langchain-ai/langchain-azure#23; langchain-ai/langchain#6462; pydantic/pydantic-ai#164
    server.will(stream(events(EMPTY, part("a", "stop"))))
    model = make(path)

    async def stream_all() -> str:
        return "".join([chunk.text async for chunk in model.astream("hi")])

    text = (
        asyncio.run(stream_all()) if asynchronous else "".join(c.text for c in model.stream("hi"))
    )
    assert text == "a"


@pytest.mark.parametrize(
    "message",
    [{"content": "4", "reasoning_content": "2+2"}, {"content": "<think>2+2</think>4"}],
)
def test_reasoning_is_a_block_in_every_dialect(
    make: Make, server: RawServer, message: dict[str, str]
) -> None:
    # langchain-ai/langchain-azure#49; langchain-ai/langchain#35006, #30067; langgenius/dify#13152
    server.will(reply(chat(message=message)))
    answer = make().invoke("2+2?")
    assert answer.content_blocks[0] == {"type": "reasoning", "reasoning": "2+2"}
    assert answer.text == "4"


@pytest.mark.parametrize(
    "deltas",
    [
        [{"reasoning_content": "2"}, {"reasoning_content": "+2"}, {"content": "4"}],
        [{"content": "<th"}, {"content": "ink>2"}, {"content": "+2</thi"}, {"content": "nk>4"}],
    ],
)
def test_reasoning_is_streamed_as_blocks_even_where_its_tag_is_cut_in_two(
    make: Make, server: RawServer, deltas: list[dict[str, Any]]
) -> None:
    # langchain-ai/langchain#35006, #30067
    server.will(stream(events(*(part(**delta) for delta in deltas), part(None, "stop"))))
    chunks = list(make(model_id="DeepSeek-R1").stream("2+2?"))
    thoughts = [
        block["reasoning"]
        for chunk in chunks
        for block in chunk.content_blocks
        if block["type"] == "reasoning"
    ]
    assert thoughts == ["2", "+2"]
    assert "".join(chunk.text for chunk in chunks) == "4"


@every_surface
def test_any_tool_choice_is_sent_in_the_services_words(
    make: Make, server: RawServer, path: str
) -> None:
    # langchain-ai/langchain-azure#67, PR 116
    server.will(reply(chat()))
    make(path).bind_tools([weather], tool_choice="any").invoke("hi")
    assert bodies(server)[0]["tool_choice"] == "required"


@every_surface
def test_a_provider_strategy_is_a_response_format(make: Make, server: RawServer, path: str) -> None:
    # Azure/azure-sdk-for-python#44201; langchain-ai/langchain#34797
    server.will(reply(chat('{"city": "Delft"}')))
    agent: Any = create_agent(make(path), [], response_format=ProviderStrategy(Place))
    state = agent.invoke({"messages": [HumanMessage("Where?")]})
    assert state["structured_response"] == Place(city="Delft")
    assert bodies(server)[0]["response_format"]["type"] == "json_schema"


def test_the_only_tool_is_required_where_a_name_is_refused(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#31512
    detail = [{"loc": ["body", "tool_choice"], "msg": "Input should be a valid string"}]
    server.will(reply({"detail": detail}, 422), reply(chat()))
    answer = make().bind_tools([weather], tool_choice="weather").invoke("hi")
    assert bodies(server)[1]["tool_choice"] == "required"
    assert answer.response_metadata["adapted"] == ["tool_choice by name → required"]


def test_the_method_is_chosen_by_what_the_model_can_do(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain-azure#165
    server.will(reply(chat('{"city": "Delft"}')))
    model = make(model_id="Mistral-Large-2411").with_structured_output(Place)
    assert model.invoke("hi") == Place(city="Delft")
    assert "tool_choice" not in bodies(server)[0]


def test_parallel_tool_calls_is_not_sent_without_tools(make: Make, server: RawServer) -> None:
    # openai/openai-python#1492; langchain-ai/langchain#29704
    server.will(reply(chat("{}")))
    make().with_structured_output({"title": "p", "type": "object"}).invoke("hi")
    make().bind_tools([weather]).invoke("hi")
    assert not any("parallel_tool_calls" in body for body in bodies(server))


def test_a_model_that_refuses_the_choice_about_parallel_calls_is_an_error(
    make: Make, server: RawServer
) -> None:
    # openai/openai-agents-python#4326: to leave it out would change what was asked.
    message = "'parallel_tool_calls' is not supported with this model."
    wrong = {"param": "parallel_tool_calls"}
    server.will(reply(failure("unsupported_parameter", message, **wrong), 400))
    with pytest.raises(ModelInvalidRequestError) as caught:
        make().bind_tools([weather], parallel_tool_calls=False).invoke("hi")
    assert isinstance(caught.value, UnsupportedParameterError)
    assert caught.value.param == "parallel_tool_calls"


def test_calls_are_not_kept_twice(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain-azure PR 184 and 187
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server.will(reply(chat(None, message={"tool_calls": [call]})))
    answer = make().invoke("hi")
    assert answer.tool_calls
    assert answer.additional_kwargs == {}


def test_a_call_in_the_history_has_its_type(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain-azure PR 36
    server.will(reply(chat()))
    make().invoke([AIMessage("", tool_calls=[{"id": "c", "name": "f", "args": {}}])])
    assert bodies(server)[0]["messages"][0]["tool_calls"][0]["type"] == "function"


def test_models_that_want_text_get_text(make: Make, server: RawServer) -> None:
    # BerriAI/litellm#4237; langchain-ai/langchain#28044
    server.will(reply(chat()))
    parts: Any = [{"type": "text", "text": "a"}, "b"]
    make(model_id="DeepSeek-V3").invoke([SystemMessage(parts), HumanMessage(parts)])
    assert [message["content"] for message in bodies(server)[0]["messages"]] == ["ab", "ab"]


def test_a_part_without_a_type_and_a_bare_string_are_text(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain-azure#226
    server.will(reply(chat()))
    parts: Any = [{"text": "a"}, "b", {"type": "text", "text": "c"}]
    make().invoke([HumanMessage(parts)])
    texts = [{"type": "text", "text": text} for text in "abc"]
    assert bodies(server)[0]["messages"] == [{"role": "user", "content": texts}]


def test_only_keys_of_the_standard_leave_the_adapter(make: Make, server: RawServer) -> None:
    # BerriAI/litellm#17527
    server.will(reply(chat()))
    message = AIMessage(
        "a", additional_kwargs={"reasoning_content": "x", "custom": 1}, response_metadata={"y": 1}
    )
    make().invoke([HumanMessage("hi", id="1", additional_kwargs={"z": 1}), message])
    assert bodies(server)[0]["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "a"},
    ]


def test_a_token_is_requested_before_each_request_and_renewed_after_a_401(
    make: Make, server: RawServer
) -> None:
    # langchain-ai/langchain#12632; openai/openai-python#1526
    tokens = iter("abcd")
    server.will(reply(chat()), reply(failure("401"), 401), reply(chat()))
    model = make(credential=lambda: next(tokens))
    model.invoke("hi")
    model.invoke("hi")
    sent = [request.header("authorization") for request in server.received]
    assert sent == ["Bearer a", "Bearer b", "Bearer c"]


class Credential:
    """A credential in the form of azure-identity's; it records the threads that called it."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def get_token(self, *scopes: str) -> Any:
        """A token that names its scope."""
        self.threads.append(threading.get_ident())
        return type("Token", (), {"token": scopes[0], "expires_on": 4e9})


class AsyncCredential(Credential):
    """The same for async code."""

    async def get_token(self, *scopes: str) -> Any:
        """A token that names its scope."""
        return super().get_token(*scopes)


async def give_token() -> str:
    """A function that gives a token, for async code."""
    return "t"


def test_a_credential_of_entra_id_is_enough(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain-azure#673; langchain-ai/langchain#38661
    server.will(reply(chat()))
    make("/openai/v1", credential=Credential()).invoke("hi")
    make("/openai", credential=Credential()).invoke("hi")
    sent = {request.header("authorization") for request in server.received}
    assert sent == {"Bearer https://cognitiveservices.azure.com/.default"}
    assert not any(request.header("api-key") for request in server.received)


@pytest.mark.parametrize("credential", [give_token, AsyncCredential()])
def test_an_async_credential_works_async_and_is_an_error_sync(
    make: Make, server: RawServer, credential: Any
) -> None:
    # microsoft/agent-framework#3449; mozilla-ai/any-llm PR 1348
    server.will(reply(chat()))
    model = make(credential=credential)
    assert asyncio.run(model.ainvoke("hi")).text == "hello"
    with pytest.raises(ValueError, match=r"async (function|credential)"):
        model.invoke("hi")
    with pytest.raises(ValueError, match=r"async (function|credential)"):
        list(model.stream("hi"))
    assert len(server.received) == 1


def test_a_blocking_credential_is_called_outside_the_event_loop(
    make: Make, server: RawServer
) -> None:
    # mozilla-ai/any-llm PR 1348
    server.will(reply(chat()))
    credential = Credential()
    model = make(credential=credential)

    async def run_calls() -> int:
        await model.ainvoke("hi")
        return threading.get_ident()

    assert asyncio.run(run_calls()) not in credential.threads
    assert len(credential.threads) == 1


def test_messages_are_trimmed_whatever_a_deployment_is_called(make: Make) -> None:
    # langchain-ai/langchain#24928, #6200, #30199, PR 21114
    messages = [HumanMessage("x" * 400), AIMessage("y" * 400), HumanMessage("z")]
    for model in (make(), make(model_id="Mistral-Large-2411"), make(model="gpt-4.1")):
        kept = trim_messages(messages, max_tokens=20, token_counter=model, strategy="last")
        assert kept == messages[-1:]


def test_a_model_id_decides_the_family_of_parameters(make: Make, server: RawServer) -> None:
    # nashsu/llm_wiki#610; langchain-ai/langchain#32949; OpenHands#11662
    server.will(reply(chat()))
    make(model_id="gpt-5", max_tokens=9).invoke("hi", reasoning_effort="low")
    make(model_id="Mistral-Large-2411").invoke("hi", max_completion_tokens=9)
    first, second = bodies(server)
    assert first["reasoning_effort"] == "low"
    assert first["max_completion_tokens"] == second["max_tokens"] == 9
    assert "temperature" not in first


def test_a_parameter_that_a_reasoning_model_refuses_is_an_error(
    make: Make, server: RawServer
) -> None:
    # langchain-ai/langchain#29947
    server.will(reply(failure("unsupported_value", "no temperature", param="temperature"), 400))
    with pytest.raises(ModelInvalidRequestError) as caught:
        make(model_id="o3", temperature=0.5).invoke("hi")
    assert isinstance(caught.value, BadRequestError)
    assert caught.value.param == "temperature"


@every_surface
def test_a_deployments_name_alone_is_enough(make: Make, server: RawServer, path: str) -> None:
    # langchain-ai/langchain#31653
    server.will(reply(chat()))
    model = make(path)
    model.invoke("hi")
    asyncio.run(model.ainvoke("hi"))
    for request in server.received:
        at = request.target.partition("?")[0]
        named = "/deployments/prod-chat/" in at or request.json["model"] == "prod-chat"
        assert named


@every_surface
def test_a_call_may_name_another_deployment(make: Make, server: RawServer, path: str) -> None:
    server.will(reply(chat(), headers={"x-ms-deployment-name": "Other"}))
    answer = make(path).invoke("hi", model="other")
    at = server.received[0].target.partition("?")[0]
    assert "/deployments/other/" in at or bodies(server)[0]["model"] == "other"
    assert answer.response_metadata["deployment"] == "Other"


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
    ],
)
def test_an_endpoint_may_have_any_shape(make: Make, server: RawServer, path: str) -> None:
    # apache/flink-agents PR 988
    server.will(reply(chat()))
    assert make(path).invoke("hi").text == "hello"
    assert server.received[0].target.partition("?")[0].count("/chat/completions") == 1


def test_a_hundred_models_of_one_endpoint_share_one_pool(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#32489, #39294
    server.will(reply(chat()))
    models = [make() for _ in range(100)]
    for model in models:
        model.invoke("hi")
    assert server.connections == 1

    async def all_of_them() -> None:
        for model in models:
            await model.ainvoke("hi")

    asyncio.run(all_of_them())
    assert server.connections == 2


SILENT = """
import asyncio, sys
from azinfer.langchain import ChatAzInfer
model = ChatAzInfer(endpoint=sys.argv[1], credential="k", model="m")
model.invoke("hi")
next(iter(model.stream("hi")))

async def chat_body():
    asyncio.get_running_loop().slow_callback_duration = 60  # this machine may be slow
    await model.ainvoke("hi")
    async for chunk in model.astream("hi"):
        break

asyncio.run(chat_body())
"""


def test_no_session_is_left_unclosed(server: RawServer) -> None:
    # langchain-ai/langchain-azure#69; run-llama/llama_index#19348
    server.choose = lambda request: (
        stream(events(part("a"), part("b", "stop")))
        if request.json.get("stream")
        else reply(chat())
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", SILENT, f"{server.url}/openai/v1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_timeout_means_the_default_timeout(make: Make) -> None:
    # cognizant-ai-lab/neuro-san#1220
    model = make(timeout=None)
    assert model.sync_client.timeout == model.async_client.timeout == Timeout()
    assert Timeout().total < float("inf")


def test_a_stalled_stream_times_out(make: Make, server: RawServer) -> None:
    # agent0ai/agent-zero#1882
    server.will(stream(events(part("a"), done=False), "stall"))
    model = make(timeout=Timeout(read=0.2))
    with pytest.raises(ModelTimeoutError):
        list(model.stream("hi"))

    async def read() -> list[Any]:
        return [chunk async for chunk in model.astream("hi")]

    with pytest.raises(ModelTimeoutError):
        asyncio.run(read())


def test_another_deployment_answers_when_one_is_full(make: Make, server: RawServer) -> None:
    # i-dot-ai/redbox PR 985; microsoft/autogen#2765
    server.will(reply(failure("429"), 429, {"retry-after": "9"}), reply(chat()))
    model = make().with_fallbacks([make(model="other")])
    assert model.invoke("hi").text == "hello"
    assert [body["model"] for body in bodies(server)] == ["prod-chat", "other"]


@every_surface
@pytest.mark.parametrize("streamed", [False, True])
def test_a_content_filter_has_its_categories(
    make: Make, server: RawServer, path: str, streamed: bool
) -> None:
    # langchain-ai/langchain#4324; openai/openai-python#786; BerriAI/litellm#9303
    results = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False}}
    body = failure("content_filter", "blocked", innererror={"content_filter_result": results})
    server.will(stream(events(part("a"), body)) if streamed else reply(body, 400))
    with pytest.raises(ModelInvalidRequestError) as caught:
        list(make(path).stream("hi")) if streamed else make(path).invoke("hi")
    assert isinstance(caught.value, ContentFilterError)
    assert dict(caught.value.categories) == {"violence": "high"}


def test_a_filtered_answer_shows_its_results_in_a_stream(make: Make, server: RawServer) -> None:
    results = {"violence": {"filtered": True, "severity": "high"}}
    filtered = part(None, "content_filter")
    filtered["choices"][0]["content_filter_results"] = results
    server.will(stream(events(part("a"), filtered)))
    chunks = list(make().stream("hi"))
    whole = sum(chunks[1:], chunks[0])
    assert whole.response_metadata["finish_reason"] == "content_filter"
    assert whole.response_metadata["content_filter_results"] == results


def test_a_model_is_created_from_one_string(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#30416
    server.will(reply(chat()))
    url = f"{server.url}/openai/v1"
    model = init_chat_model("azinfer:prod-chat", endpoint=url, credential=KEY)
    assert model.invoke("hi").text == "hello"
    named = {"model_provider": "azinfer", "endpoint": url, "credential": KEY}
    assert init_chat_model("prod-chat", **named).asdict() == model.asdict()
    state = create_agent(model).invoke({"messages": [HumanMessage("hi")]})
    assert state["messages"][-1].text == "hello"
    there: Any = {"api_key": KEY, "base_url": url}
    for other in (
        init_chat_model("openai:gpt-4.1", **there),
        init_chat_model("gpt-4.1", model_provider="openai", **there),
        init_chat_model("azinfer:a-name-of-theirs", model_provider="openai", **there),
    ):
        assert type(other).__name__ == "ChatOpenAI"


def test_embeddings_are_created_from_one_string(server: RawServer) -> None:
    server.will(reply(vectors([0.5, 0.25])))
    url = f"{server.url}/openai/v1"
    embeddings = init_embeddings("azinfer:prod-embed", endpoint=url, credential=KEY)
    assert embeddings.embed_query("hi") == [0.5, 0.25]
    assert server.received[0].json["model"] == "prod-embed"
    again = init_embeddings("prod-embed", provider="azinfer", endpoint=url, credential=KEY)
    assert repr(again) == repr(embeddings)
    there: Any = {"api_key": KEY, "base_url": url}
    for other in (
        init_embeddings("openai:text-embedding-3-small", **there),
        init_embeddings("text-embedding-3-small", provider="openai", **there),
        init_embeddings("azinfer:a-name-of-theirs", provider="openai", **there),
    ):
        assert type(other).__name__ == "OpenAIEmbeddings"


def test_a_wrong_name_is_langchains_not_found(make: Make, server: RawServer) -> None:
    server.will(reply(failure("DeploymentNotFound"), 404))
    with pytest.raises(ModelNotFoundError, match="prod-chat"):
        make().invoke("hi")
