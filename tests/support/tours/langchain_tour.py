"""LangChain's own classes for Azure: those of langchain-openai and of langchain-azure-ai."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their own, when they are imported
    from langchain_azure_ai.chat_models import (  # type: ignore[import-untyped]
        AzureAIChatCompletionsModel,
        AzureAIOpenAIApiChatModel,
    )
    from langchain_azure_ai.embeddings import (  # type: ignore[import-untyped]
        AzureAIOpenAIApiEmbeddingsModel,
    )
    from langchain_openai import (
        AzureChatOpenAI,
        AzureOpenAIEmbeddings,
        ChatOpenAI,
        OpenAIEmbeddings,
    )
import pydantic
from tour import ASK, TOOL, Step, take

AZURE: dict[str, Any] = {"api_version": "2025-03-01-preview"}
# Token ids are made of a table that is fetched from elsewhere; texts are sent as they are.
TEXTS: dict[str, Any] = {"check_embedding_ctx_length": False}


def chats(url: str, key: Any) -> dict[str, Callable[[str], Any]]:
    """Chat models, each in its own way of naming a deployment."""
    v1 = f"{url}/openai/v1"
    return {
        "ChatOpenAI": lambda name: ChatOpenAI(base_url=v1, api_key=key, model=name),
        "ChatOpenAI responses": lambda name: ChatOpenAI(
            base_url=v1, api_key=key, model=name, use_responses_api=True
        ),
        "AzureChatOpenAI": lambda name: AzureChatOpenAI(
            azure_endpoint=url, api_key=key, azure_deployment=name, **AZURE
        ),
        "AzureChatOpenAI responses": lambda name: AzureChatOpenAI(
            azure_endpoint=url, api_key=key, model=name, use_responses_api=True, **AZURE
        ),
        "AzureAIOpenAIApiChatModel": lambda name: AzureAIOpenAIApiChatModel(
            endpoint=v1, credential=key, model=name
        ),
        "AzureAIOpenAIApiChatModel responses": lambda name: AzureAIOpenAIApiChatModel(
            endpoint=v1, credential=key, model=name, use_responses_api=True
        ),
        "AzureAIChatCompletionsModel": lambda name: AzureAIChatCompletionsModel(
            endpoint=f"{url}/models", credential=key, model=name
        ),
    }


class City(pydantic.BaseModel):
    """The structure of the JSON answer."""

    city: str


def chat(model: Callable[[str], Any]) -> None:
    """A whole answer."""
    answer = model("FIXED").invoke(ASK)
    assert answer.text == "Paris."
    assert answer.usage_metadata["output_tokens"] == 2


def stream(model: Callable[[str], Any]) -> None:
    """A streamed answer."""
    assert "".join(chunk.text for chunk in model("fixed").stream(ASK)) == "Paris."


async def chat_async(model: Callable[[str], Any]) -> None:
    """The same, awaited."""
    assert (await model("fixed").ainvoke(ASK)).text == "Paris."
    assert "".join([chunk.text async for chunk in model("fixed").astream(ASK)]) == "Paris."


def tools(model: Callable[[str], Any]) -> None:
    """Call a tool, and send its result back."""
    calling = model("mistral-large").bind_tools([TOOL])
    answer = calling.invoke(ASK)
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "New York"})
    fields = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny"}
    assert "Sunny" in calling.invoke([("user", ASK), answer, fields]).text


def structured_answer(model: Callable[[str], Any]) -> None:
    """An answer as a pydantic model."""
    wanted = model("mistral-large").with_structured_output(City, method="json_schema")
    assert wanted.invoke(ASK) == City(city="New York")


STEPS = {
    "chat": chat,
    "stream": stream,
    "async": chat_async,
    "tools": tools,
    "structured": structured_answer,
}


def embeddings(url: str, key: Any) -> None:
    """Vectors of all classes."""
    base = f"{url}/openai/v1"
    v1 = OpenAIEmbeddings(base_url=base, api_key=key, model="embed", **TEXTS)
    assert len(v1.embed_query("a")) == 8
    theirs = AzureAIOpenAIApiEmbeddingsModel(endpoint=base, credential=key, model="embed", **TEXTS)
    assert len(theirs.embed_query("a")) == 8
    classic = AzureOpenAIEmbeddings(
        azure_endpoint=url, api_key=key, azure_deployment="embed", **AZURE, **TEXTS
    )
    assert [len(vector) for vector in classic.embed_documents(["a", "b"])] == [8, 8]


def step(kind: str, what: Any) -> Step:
    """Run one step with one class."""
    return lambda url, key: what(chats(url, key)[kind])


if __name__ == "__main__":
    steps = {f"{kind} {name}": step(kind, STEPS[name]) for kind in chats("", "") for name in STEPS}
    take(["langchain-openai", "langchain-azure-ai"], {**steps, "embeddings": embeddings})
