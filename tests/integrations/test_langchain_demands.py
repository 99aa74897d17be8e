"""What users of LangChain on Azure suffered from, each with the behaviour that ends it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.exceptions import (
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from asking import KEY
from azinfer.core import BadRequestError, ContentFilterError, Timeout
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer, init_chat_model
from raw_server import RawServer, chat, events, failure, part, reply, stream, vectors

Make = Callable[..., ChatAzInfer]
EMPTY = {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []}


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes models of the raw server."""

    def model(path: str = "/openai/v1", **named: Any) -> ChatAzInfer:
        named = {"model": "prod-chat", "max_retries": 0, **named}
        return ChatAzInfer(endpoint=server.url + path, credential=KEY, **named)

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


@pytest.mark.parametrize("path", ["/models", "/openai/v1", "/openai"])
def test_a_stream_is_asked_for_its_usage_on_every_surface(
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


def test_structured_output_with_raw_streams_and_keeps_its_usage(
    make: Make, server: RawServer
) -> None:
    # langchain-ai/langchain#27461
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    parts = [part('{"ci'), part('ty": "De'), part('lft"}'), part(None, "stop")]
    server.will(stream(events(*parts, {"choices": [], "usage": usage})))
    asked = make().with_structured_output({"title": "p", "type": "object"}, include_raw=True)
    seen = list(asked.stream("hi"))
    assert len([each for each in seen if each.get("parsed") is not None]) >= 3
    raw = [each["raw"] for each in seen if "raw" in each]
    whole = sum(raw[1:], raw[0])
    assert whole.usage_metadata["total_tokens"] == 5

    async def streamed() -> list[Any]:
        return [each async for each in asked.astream("hi")]

    assert asyncio.run(streamed())[-1] == {"parsed": {"city": "Delft"}, "parsing_error": None}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_first_chunk_without_choices_is_no_error(
    make: Make, server: RawServer, asynchronous: bool
) -> None:
    # langchain-ai/langchain-azure#23; langchain-ai/langchain#6462; pydantic/pydantic-ai#164
    server.will(stream(events(EMPTY, part("a", "stop"))))
    model = make()

    async def streamed() -> str:
        return "".join([chunk.text async for chunk in model.astream("hi")])

    text = asyncio.run(streamed()) if asynchronous else "".join(c.text for c in model.stream("hi"))
    assert text == "a"


@pytest.mark.parametrize(
    "message",
    [{"content": "4", "reasoning_content": "2+2"}, {"content": "<think>2+2</think>4"}],
)
def test_reasoning_is_a_block_whatever_the_host_makes_of_it(
    make: Make, server: RawServer, message: dict[str, str]
) -> None:
    # langchain-ai/langchain-azure#49; langchain-ai/langchain#35006, #30067; langgenius/dify#13152
    server.will(reply(chat(message=message)))
    answer = make().invoke("2+2?")
    assert answer.content_blocks[0] == {"type": "reasoning", "reasoning": "2+2"}
    assert answer.text == "4"


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


def test_parallel_calls_are_never_mentioned_without_tools(make: Make, server: RawServer) -> None:
    # openai/openai-python#1492; langchain-ai/langchain#29704
    server.will(reply(chat("{}")))
    make().with_structured_output({"title": "p", "type": "object"}).invoke("hi")
    make().bind_tools([weather]).invoke("hi")
    assert not any("parallel_tool_calls" in body for body in bodies(server))


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


def test_a_token_is_asked_for_before_each_request_and_renewed_after_a_401(
    make: Make, server: RawServer
) -> None:
    # langchain-ai/langchain#12632; openai/openai-python#1526
    tokens = iter("abcd")
    server.will(reply(chat()), reply(failure("401"), 401), reply(chat()))
    model = ChatAzInfer(
        endpoint=f"{server.url}/openai/v1", credential=lambda: next(tokens), model="m"
    )
    model.invoke("hi")
    model.invoke("hi")
    sent = [request.header("authorization") for request in server.received]
    assert sent == ["Bearer a", "Bearer b", "Bearer c"]


def test_an_async_credential_works_async_and_is_told_sync(server: RawServer) -> None:
    # microsoft/agent-framework#3449; mozilla-ai/any-llm PR 1348
    async def token() -> str:
        return "t"

    server.will(reply(chat()))
    model = ChatAzInfer(endpoint=f"{server.url}/openai/v1", credential=token, model="m")
    assert asyncio.run(model.ainvoke("hi")).text == "hello"
    with pytest.raises(ValueError, match="async function"):
        model.invoke("hi")


def test_a_model_id_decides_the_family_of_parameters(make: Make, server: RawServer) -> None:
    # nashsu/llm_wiki#610; langchain-ai/langchain#32949; OpenHands#11662
    server.will(reply(chat()))
    make(model_id="gpt-5", max_tokens=9).invoke("hi")
    make(model_id="Mistral-Large-2411").invoke("hi", max_completion_tokens=9)
    first, second = bodies(server)
    assert first["max_completion_tokens"] == second["max_tokens"] == 9
    assert "temperature" not in first


def test_a_parameter_that_a_reasoning_model_refuses_is_told(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#29947
    server.will(reply(failure("unsupported_value", "no temperature", param="temperature"), 400))
    with pytest.raises(ModelInvalidRequestError) as caught:
        make(model_id="o3", temperature=0.5).invoke("hi")
    assert isinstance(caught.value, BadRequestError)
    assert caught.value.param == "temperature"


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


SILENT = """
import asyncio, sys
from azinfer.langchain import ChatAzInfer
model = ChatAzInfer(endpoint=sys.argv[1], credential="k", model="m")
model.invoke("hi")
asyncio.run(model.ainvoke("hi"))
next(iter(model.stream("hi")))
"""


def test_no_session_is_left_unclosed(server: RawServer) -> None:
    # langchain-ai/langchain-azure#69; run-llama/llama_index#19348
    server.choose = lambda request: (
        stream(events(part("a"), part("b", "stop")))
        if request.json.get("stream")
        else reply(chat())
    )
    command = [sys.executable, "-W", "error", "-c", SILENT, f"{server.url}/openai/v1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_time_out_at_all_is_the_default_one(make: Make) -> None:
    # cognizant-ai-lab/neuro-san#1220
    assert make(timeout=None).sync_client.timeout == Timeout()


def test_a_stream_that_stalls_is_a_time_out(make: Make, server: RawServer) -> None:
    # agent0ai/agent-zero#1882
    server.will(stream(events(part("a"), done=False), "stall"))
    with pytest.raises(ModelTimeoutError):
        list(make(timeout=Timeout(read=0.2)).stream("hi"))


def test_another_deployment_answers_when_one_is_full(make: Make, server: RawServer) -> None:
    # i-dot-ai/redbox PR 985; microsoft/autogen#2765
    server.will(reply(failure("429"), 429, {"retry-after": "9"}), reply(chat()))
    model = make().with_fallbacks([make(model="other")])
    assert model.invoke("hi").text == "hello"
    assert [body["model"] for body in bodies(server)] == ["prod-chat", "other"]


def test_texts_are_embedded_as_texts_in_a_list(server: RawServer) -> None:
    # langchain-ai/langchain#21575, #6793; agno-agi/agno#6759
    server.will(reply(vectors([1.0])))
    AzInferEmbeddings(endpoint=f"{server.url}/models", credential=KEY, model="m").embed_query("a")
    assert bodies(server)[0]["input"] == ["a"]


def test_a_chat_deployment_asked_for_vectors_is_told_so(server: RawServer) -> None:
    # BerriAI/litellm#8976
    message = "The embeddings operation does not work with the specified model, gpt-4.1."
    server.will(reply(failure("OperationNotSupported", message), 400))
    embeddings = AzInferEmbeddings(endpoint=f"{server.url}/models", credential=KEY, model="m")
    with pytest.raises(ModelInvalidRequestError, match="embeddings operation does not work"):
        embeddings.embed_query("a")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_content_filter_tells_its_categories(
    make: Make, server: RawServer, streamed: bool
) -> None:
    # langchain-ai/langchain#4324; openai/openai-python#786; BerriAI/litellm#9303
    found = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False}}
    body = failure("content_filter", "blocked", innererror={"content_filter_result": found})
    server.will(stream(events(part("a"), body)) if streamed else reply(body, 400))
    with pytest.raises(ModelInvalidRequestError) as caught:
        list(make().stream("hi")) if streamed else make().invoke("hi")
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


def test_a_model_is_made_of_one_string(make: Make, server: RawServer) -> None:
    # langchain-ai/langchain#30416
    server.will(reply(chat()))
    url = f"{server.url}/openai/v1"
    model = init_chat_model("azinfer:prod-chat", endpoint=url, credential=KEY)
    assert model.invoke("hi").text == "hello"
    other = init_chat_model("openai:gpt-4.1", api_key=KEY, base_url=url)
    assert type(other).__name__ == "ChatOpenAI"


def test_a_wrong_name_is_langchains_not_found(make: Make, server: RawServer) -> None:
    server.will(reply(failure("DeploymentNotFound"), 404))
    with pytest.raises(ModelNotFoundError, match="prod-chat"):
        make().invoke("hi")
