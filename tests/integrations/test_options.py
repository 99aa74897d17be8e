"""Options of constructors that users know from other classes of each framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from azinfer.ag2 import AzInferConfig
from azinfer.core import ConfigurationError
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferTextEmbedding
from client_driver import KEY
from frameworks import ask_ag2, ask_langchain, ask_llama_index
from raw_server import RawServer, chat_reply

CONTOSO = "https://contoso.openai.azure.com"
SHARED: dict[str, Any] = {"reasoning_effort": "low", "verbosity": "low", "temperature": 0.5}
OPENAI: dict[str, Any] = {
    **SHARED,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.25,
    "logit_bias": {"50256": -100},
    "user": "u1",
    "store": False,
    "service_tier": "priority",
    "prompt_cache_key": "k1",
    "max_completion_tokens": 9,
}
AG2 = {
    **OPENAI,
    "metadata": {"a": "b"},
    "modalities": ["text"],
    "safety_identifier": "s1",
    "logprobs": True,
    "top_logprobs": 2,
    "prediction": {"type": "content", "content": "a"},
}


@pytest.mark.parametrize(
    ("ask", "options"),
    [(ask_langchain, OPENAI), (ask_ag2, AG2), (ask_llama_index, {**SHARED, "logprobs": True})],
)
def test_options_of_the_constructor_reach_the_wire(
    server: RawServer, ask: Callable[..., None], options: dict[str, Any]
) -> None:
    server.will(chat_reply(False))
    url = f"{server.url}/openai/v1"
    ask(endpoint=url, credential=KEY, model="m", default_headers={"x-a": "1"}, **options)
    (request,) = server.received
    assert {name: request.json.get(name) for name in options} == options
    assert request.header("x-a") == "1"


def test_parallel_tool_calls_are_sent_with_tools_only(server: RawServer) -> None:
    server.will(chat_reply(False))
    model = ChatAzInfer(
        endpoint=f"{server.url}/openai/v1", credential=KEY, model="m", parallel_tool_calls=False
    )
    model.invoke("hi")
    model.bind_tools([{"name": "f", "description": "d", "parameters": {}}]).invoke("hi")
    sent = [request.json.get("parallel_tool_calls") for request in server.received]
    assert sent == [None, False]


def test_metadata_of_langchain_stays_with_langchain(server: RawServer) -> None:
    server.will(chat_reply(False))
    kwargs = {"metadata": {"team": "a"}}
    ask_langchain(
        endpoint=f"{server.url}/openai/v1",
        credential=KEY,
        model="m",
        metadata={"trace": "t1"},
        model_kwargs=kwargs,
    )
    assert server.received[0].json["metadata"] == {"team": "a"}


@pytest.mark.parametrize(
    "kind",
    [
        *(ChatAzInfer, AzInferEmbeddings, AzInferLLM, AzInferEmbedding, AzInferConfig),
        *(AzInferChatCompletion, AzInferTextEmbedding),
    ],
)
@pytest.mark.parametrize(
    ("name", "advice"), [("max_retrys", "did you mean 'max_retries'"), ("zzzz", "choose from ")]
)
def test_a_misspelt_option_is_an_error_that_names_the_nearest(
    kind: Any, name: str, advice: str
) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} has no option '{name}'; {advice}"):
        kind(endpoint=CONTOSO, credential=KEY, model="m", **{name: 1})


def test_headers_and_default_headers_cannot_be_combined() -> None:
    with pytest.raises(ConfigurationError, match="headers and default_headers are the same"):
        AzInferConfig(CONTOSO, KEY, "m", headers={"a": "b"}, default_headers={"a": "b"})
