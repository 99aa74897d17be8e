"""Clients of other packages work on the local endpoint; only the address differs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.ai.inference import (
    ChatCompletionsClient,
    EmbeddingsClient,
    ImageEmbeddingsClient,
    load_client,
)
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
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from pictures import DATA_URL, PNG

ASK = "What is the weather in New York?"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOL = {"name": "get_weather", "description": "The weather in a city", "parameters": PARAMETERS}


def retired_client(endpoint: LocalEndpoint, kind: Any = ChatCompletionsClient, **named: Any) -> Any:
    credential = AzureKeyCredential(named.pop("key", endpoint.key))
    return kind(endpoint=f"{endpoint.url}/models", credential=credential, **named)


def test_the_retired_sdk_chats(endpoint: LocalEndpoint) -> None:
    with retired_client(endpoint, model="fixed") as client:
        answer = client.complete(messages=[UserMessage(ASK)])
        assert answer.choices[0].message.content == "Paris."
        assert answer.usage.total_tokens > 0
        updates = list(client.complete(messages=[UserMessage(ASK)], stream=True))
        texts = [update.choices[0].delta.content for update in updates if update.choices]
        assert "".join(text or "" for text in texts) == "Paris."


def test_the_retired_sdk_calls_tools_and_asks_for_json(endpoint: LocalEndpoint) -> None:
    tool = ChatCompletionsToolDefinition(function=FunctionDefinition(TOOL))
    with retired_client(endpoint, model="mistral-large") as client:
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
    with retired_client(endpoint, EmbeddingsClient, model="embed") as client:
        answer = client.embed(input=["a", "b"], dimensions=4)
        assert [len(item.embedding) for item in answer.data] == [4, 4]
    with retired_client(endpoint, ImageEmbeddingsClient, model="embed") as images:
        item = ImageEmbeddingInput(image=DATA_URL)
        assert len(images.embed(input=[item]).data[0].embedding) == 8


def test_the_retired_sdk_asks_for_the_model(strict: LocalEndpoint) -> None:
    client = ChatCompletionsClient(endpoint=strict.url, credential=AzureKeyCredential(strict.key))
    with client:
        assert client.get_model_info().model_name == "only"


class OnlyImages:
    """Embeds images and nothing else."""

    embed_images = SyntheticEngine(dimensions=8).embed_images
    aclose = SyntheticEngine().aclose


@pytest.mark.parametrize(
    ("deployment", "kind", "reported"),
    [
        (LocalDeployment("chat"), ChatCompletionsClient, "chat-completion"),
        (LocalDeployment("text-embedding-3-small"), EmbeddingsClient, "embeddings"),
        (LocalDeployment("images", engine=OnlyImages()), ImageEmbeddingsClient, "image_embeddings"),
    ],
    ids=["chat", "embeddings", "images"],
)
def test_the_retired_sdk_loads_the_client_of_a_model(
    deployment: LocalDeployment, kind: type, reported: str
) -> None:
    with LocalEndpoint([deployment]) as own:
        with load_client(own.url, AzureKeyCredential(own.key)) as client:
            assert type(client) is kind
            assert client.get_model_info().model_type == reported
        with InferenceClient(own.url, own.key, deployment.name) as ours:
            assert ours.info().model_type == reported.removesuffix("s").replace("-", "_")


def test_the_retired_sdk_knows_our_errors(endpoint: LocalEndpoint) -> None:
    with retired_client(endpoint, key="wrong") as client, pytest.raises(ClientAuthenticationError):
        client.complete(messages=[UserMessage(ASK)], model="fixed")
    with retired_client(endpoint) as client, pytest.raises(ResourceNotFoundError) as caught:
        client.complete(messages=[UserMessage(ASK)], model="nope")
    assert caught.value.error
    assert caught.value.error.code == "unknown_model"


def test_the_retired_sdk_works_async(endpoint: LocalEndpoint) -> None:
    async def ask() -> tuple[Any, str]:
        async with retired_client(endpoint, AsyncChatCompletionsClient, model="fixed") as client:
            answer = await client.complete(messages=[UserMessage(ASK)])
            text = ""
            updates: Any = await client.complete(messages=[UserMessage(ASK)], stream=True)
            async with updates:
                async for update in updates:
                    text += (update.choices[0].delta.content or "") if update.choices else ""
            return answer, text

    answer, text = asyncio.run(ask())
    assert answer.choices[0].message.content == text == "Paris."


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
        result = client.deployments()
        assert result["mistral-LARGE"].model_name == "mistral-large-2411"
        listed = client.deployments(f"{endpoint.url}/api/projects/p")["Mistral-Large"]
        assert (listed.model_format, listed.capacity_type) == ("Mistral AI", "GlobalStandard")
