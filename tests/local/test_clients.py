"""Other people's clients work on the local endpoint unchanged; only the address is another."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import openai
import pydantic
import pytest
from azure.ai.inference import ChatCompletionsClient, EmbeddingsClient, ImageEmbeddingsClient
from azure.ai.inference.aio import ChatCompletionsClient as AsyncChatCompletionsClient
from azure.ai.inference.models import (
    ChatCompletionsToolDefinition,
    FunctionDefinition,
    ImageEmbeddingInput,
    JsonSchemaFormat,
    UserMessage,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError

from azinfer.core import InferenceClient
from azinfer.core import UserMessage as OurUserMessage
from azinfer.local import LocalEndpoint
from pictures import PNG

ASK = "What is the weather in New York?"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOL = {"name": "get_weather", "description": "The weather in a city", "parameters": PARAMETERS}


class City(pydantic.BaseModel):
    city: str


def retired(endpoint: LocalEndpoint, kind: Any = ChatCompletionsClient, **named: Any) -> Any:
    credential = AzureKeyCredential(named.pop("key", endpoint.key))
    return kind(endpoint=f"{endpoint.url}/models", credential=credential, **named)


def test_the_retired_sdk_chats(endpoint: LocalEndpoint) -> None:
    with retired(endpoint, model="fixed") as client:
        answer = client.complete(messages=[UserMessage(ASK)])
        assert answer.choices[0].message.content == "Paris."
        assert answer.usage.total_tokens > 0
        updates = list(client.complete(messages=[UserMessage(ASK)], stream=True))
        texts = [update.choices[0].delta.content for update in updates if update.choices]
        assert "".join(text or "" for text in texts) == "Paris."


def test_the_retired_sdk_calls_tools_and_asks_for_json(endpoint: LocalEndpoint) -> None:
    tool = ChatCompletionsToolDefinition(function=FunctionDefinition(TOOL))
    with retired(endpoint, model="mistral-large") as client:
        answer = client.complete(messages=[UserMessage(ASK)], tools=[tool])
        (call,) = answer.choices[0].message.tool_calls
        assert (call.function.name, call.function.arguments) == (
            "get_weather",
            '{"city": "New York"}',
        )
        updates = list(client.complete(messages=[UserMessage(ASK)], tools=[tool], stream=True))
        parts = [
            call.function.arguments
            for update in updates
            for choice in update.choices
            for call in choice.delta.tool_calls or ()
        ]
        assert "".join(parts) == '{"city": "New York"}'
        wanted = JsonSchemaFormat(name="city", schema=PARAMETERS, strict=True)
        answer = client.complete(messages=[UserMessage(ASK)], response_format=wanted)
        assert answer.choices[0].message.content == '{"city": "New York"}'
        answer = client.complete(messages=[UserMessage(ASK)], model_extras={"safe_mode": True})
        assert answer.choices


def test_the_retired_sdk_embeds(endpoint: LocalEndpoint) -> None:
    with retired(endpoint, EmbeddingsClient, model="embed") as client:
        answer = client.embed(input=["a", "b"], dimensions=4)
        assert [len(item.embedding) for item in answer.data] == [4, 4]
    with retired(endpoint, ImageEmbeddingsClient, model="embed") as images:
        item = ImageEmbeddingInput(image=f"data:image/png;base64,{base64.b64encode(PNG).decode()}")
        assert len(images.embed(input=[item]).data[0].embedding) == 8


def test_the_retired_sdk_asks_for_the_model(strict: LocalEndpoint) -> None:
    client = ChatCompletionsClient(endpoint=strict.url, credential=AzureKeyCredential(strict.key))
    with client:
        assert client.get_model_info().model_name == "only"


def test_the_retired_sdk_knows_our_errors(endpoint: LocalEndpoint) -> None:
    with retired(endpoint, key="wrong") as client, pytest.raises(ClientAuthenticationError):
        client.complete(messages=[UserMessage(ASK)], model="fixed")
    with retired(endpoint) as client, pytest.raises(ResourceNotFoundError) as caught:
        client.complete(messages=[UserMessage(ASK)], model="nope")
    assert caught.value.error
    assert caught.value.error.code == "unknown_model"


def test_the_retired_sdk_works_async(endpoint: LocalEndpoint) -> None:
    async def asked() -> tuple[Any, str]:
        async with retired(endpoint, AsyncChatCompletionsClient, model="fixed") as client:
            answer = await client.complete(messages=[UserMessage(ASK)])
            text = ""
            updates: Any = await client.complete(messages=[UserMessage(ASK)], stream=True)
            async with updates:
                async for update in updates:
                    text += (update.choices[0].delta.content or "") if update.choices else ""
            return answer, text

    answer, text = asyncio.run(asked())
    assert answer.choices[0].message.content == text == "Paris."


def openais(endpoint: LocalEndpoint) -> list[Any]:
    return [
        openai.OpenAI(base_url=f"{endpoint.url}/openai/v1/", api_key=endpoint.key, max_retries=0),
        openai.AzureOpenAI(
            azure_endpoint=endpoint.url,
            api_key=endpoint.key,
            api_version="2024-10-21",
            max_retries=0,
        ),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_openai_works(endpoint: LocalEndpoint, which: int) -> None:
    with openais(endpoint)[which] as client:
        messages = [{"role": "user", "content": ASK}]
        answer = client.chat.completions.create(model="FIXED", messages=messages)
        assert answer.choices[0].message.content == "Paris."
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(client.chat.completions.create(model="fixed", messages=messages, **options))
        texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        assert "".join(text or "" for text in texts) == "Paris."
        assert chunks[-1].usage.total_tokens > 0
        tools = [{"type": "function", "function": TOOL}]
        answer = client.chat.completions.create(
            model="mistral-large", messages=messages, tools=tools, tool_choice="required"
        )
        assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"
        parsed = client.chat.completions.parse(
            model="mistral-large", messages=messages, response_format=City
        )
        assert parsed.choices[0].message.parsed == City(city="New York")
        with client.chat.completions.stream(model="fixed", messages=messages) as stream:
            assert stream.get_final_completion().choices[0].message.content == "Paris."
        assert len(client.embeddings.create(model="embed", input="a").data[0].embedding) == 8
        assert [model.id for model in client.models.list()] == ["Mistral-Large", "fixed", "embed"]
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="nope", messages=messages)
        assert caught.value.code == "DeploymentNotFound"


def test_openai_works_async(endpoint: LocalEndpoint) -> None:
    async def asked() -> Any:
        async with openai.AsyncOpenAI(
            base_url=f"{endpoint.url}/openai/v1/", api_key=endpoint.key
        ) as client:
            messages: Any = [{"role": "user", "content": ASK}]
            return await client.chat.completions.create(model="fixed", messages=messages)

    assert asyncio.run(asked()).choices[0].message.content == "Paris."


def test_openai_is_told_about_a_bad_key(endpoint: LocalEndpoint) -> None:
    client = openai.OpenAI(base_url=f"{endpoint.url}/openai/v1", api_key="wrong")
    with client, pytest.raises(openai.AuthenticationError):
        client.models.list()


@pytest.mark.parametrize("path", ["/models", "/openai/v1", "/openai", ""])
def test_our_own_client_works(endpoint: LocalEndpoint, path: str) -> None:
    with InferenceClient(endpoint.url + path, endpoint.key, model="FIXED") as client:
        answer = client.complete([OurUserMessage(ASK)])
        assert (answer.text, answer.routing and answer.routing.deployment) == ("Paris.", "fixed")
        with client.stream([OurUserMessage(ASK)]) as chunks:
            assert "".join(chunk.text for chunk in chunks) == "Paris."
        assert len(client.embed(["a", "b"], model="embed", dimensions=4).vectors[1]) == 4
        assert len(client.embed_images([PNG], model="embed")) == 1
        assert client.info().model_name == "mistral-large-2411"
        found = client.deployments()
        assert found["mistral-LARGE"].model_name == "mistral-large-2411"
        listed = client.deployments(f"{endpoint.url}/api/projects/p")["Mistral-Large"]
        assert (listed.model_format, listed.capacity_type) == ("Mistral AI", "GlobalStandard")


def langchain_models(endpoint: LocalEndpoint, name: str) -> list[Any]:
    """Chat models of other packages, each in its own way of naming a deployment."""
    from langchain_azure_ai.chat_models import (  # type: ignore[import-untyped]
        AzureAIOpenAIApiChatModel,
    )
    from langchain_openai import AzureChatOpenAI, ChatOpenAI

    v1 = f"{endpoint.url}/openai/v1"
    key: Any = endpoint.key
    return [
        ChatOpenAI(base_url=v1, api_key=key, model=name, stream_usage=True),
        AzureChatOpenAI(
            azure_endpoint=endpoint.url,
            api_key=key,
            api_version="2024-10-21",
            azure_deployment=name,
        ),
        AzureAIOpenAIApiChatModel(endpoint=v1, credential=key, model=name),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_langchain_models_of_others_work(endpoint: LocalEndpoint, which: int) -> None:
    model = langchain_models(endpoint, "fixed")[which]
    assert model.invoke(ASK).content == "Paris."
    assert "".join(chunk.content for chunk in model.stream(ASK)) == "Paris."
    tool = {"type": "function", "function": TOOL}
    calling = langchain_models(endpoint, "mistral-large")[which].bind_tools([tool])
    assert calling.invoke(ASK).tool_calls[0]["args"] == {"city": "New York"}
    parsed = langchain_models(endpoint, "mistral-large")[which].with_structured_output(City)
    assert parsed.invoke(ASK) == City(city="New York")


def test_langchain_embeddings_of_others_work(endpoint: LocalEndpoint) -> None:
    from langchain_openai import OpenAIEmbeddings

    key: Any = endpoint.key
    embeddings = OpenAIEmbeddings(
        base_url=f"{endpoint.url}/openai/v1",
        api_key=key,
        model="embed",
        check_embedding_ctx_length=False,
    )
    assert len(embeddings.embed_query("a")) == 8
