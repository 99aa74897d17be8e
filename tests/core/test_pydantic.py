"""Values of core as fields of pydantic models, which FastAPI and LangChain make of functions."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from array import array
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

import azinfer.core
from azinfer.core import (
    AssistantMessage,
    ChatCompletion,
    ChatCompletionChunk,
    Choice,
    ChunkChoice,
    Delta,
    Embedding,
    Embeddings,
    FilePart,
    Function,
    ImageInput,
    ImagePart,
    InferenceClient,
    Message,
    Timeout,
    Tool,
    ToolCall,
    ToolCallChunk,
    ToolMessage,
    Usage,
    UserMessage,
)
from azinfer.local import LocalDeployment, LocalEndpoint

USAGE = Usage(1, 2, 3, raw={"prompt_tokens": 1})
TOOL_CALL = ToolCall("c1", Function("f", '{"a": 1}'))
MESSAGE = Message("hi", reasoning="so", tool_calls=(TOOL_CALL,), raw={"content": "hi"}, state={})
VALUES = [
    AssistantMessage("hi", [TOOL_CALL]),
    ChatCompletion(
        id="1", model="m", created=2, choices=(Choice(0, MESSAGE, "stop"),), usage=USAGE
    ),
    ChatCompletionChunk((), USAGE, {"a": [1]}, "id"),
    ChatCompletionChunk(
        (ChunkChoice(0, Delta("a", tool_calls=(ToolCallChunk(0, "i", None, "x"),)), "stop"),)
    ),
    ChunkChoice(1, Delta(), logprobs={"content": []}, content_filter_results={"hate": {}}),
    Delta(reasoning="so", refusal="no", audio={"id": "a"}),
    Embedding(0, array("f", [0.1, -2, 3])),
    Embeddings([array("b", [-1, 2]), array("B", [200]), array("f")], "m", USAGE),
    FilePart("https://example.com/a.pdf"),
    ImageInput("data:image/png;base64,eA==", "text"),
    ImagePart("https://example.com/a.png", "low"),
    MESSAGE,
    Timeout(total=3),
    Tool("f", "does", {"type": "object"}),
    ToolCallChunk(0, None, "f", "", "custom"),
    ToolMessage("1", "c1"),
    UserMessage("hi"),
]
IDS = [type(value).__name__ for value in VALUES]


@pytest.mark.parametrize("value", VALUES, ids=IDS)
def test_a_value_is_validated_written_and_read_again(value: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(type(value))
    assert adapter.validate_python(value) is value
    text = adapter.dump_json(value)
    again = adapter.validate_json(text)
    assert type(again) is type(value)
    assert again == value
    assert adapter.dump_json(again) == text
    assert adapter.validate_python(adapter.dump_python(value)) == value
    for mode in ("validation", "serialization"):
        assert "properties" in adapter.json_schema(mode=mode)


@pytest.mark.parametrize("value", VALUES, ids=IDS)
def test_a_value_is_copied_and_pickled(value: Any) -> None:
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert again == value


def test_public_dataclasses_have_a_json_schema() -> None:
    values = {name: getattr(azinfer.core, name) for name in azinfer.core.__all__}
    for name, value in values.items():
        if dataclasses.is_dataclass(value) and name != "ModelFacts":  # it has ranges
            assert TypeAdapter(value).json_schema()["type"] == "object", name


def test_answers_of_a_service_are_fields_of_a_model() -> None:
    class Page(BaseModel):
        answer: ChatCompletion
        chunks: list[ChatCompletionChunk]
        vectors: Embeddings

    deployments = [LocalDeployment("chat"), LocalDeployment("embedding", "text-embedding-3-small")]
    with (
        LocalEndpoint(deployments) as endpoint,
        InferenceClient(endpoint.url, endpoint.key) as client,
    ):
        answer = client.complete([UserMessage("hi")], model="chat")
        with client.stream([UserMessage("hi")], model="chat") as stream:
            chunks = list(stream)
        vectors = client.embed(["a", "b"], model="embedding")
    page = Page(answer=answer, chunks=chunks, vectors=vectors)
    again = Page.model_validate_json(page.model_dump_json())
    assert again == page
    assert again.answer.routing == answer.routing
    assert again.answer.parsed is None
    assert (again.chunks[0].raw, again.vectors.raw) == (chunks[0].raw, vectors.raw)
    assert "_parse" not in page.model_dump()["answer"]
    schema = Page.model_json_schema()
    assert set(schema["properties"]) == {"answer", "chunks", "vectors"}


def test_a_mapping_becomes_a_value_with_its_defaults() -> None:
    adapter = TypeAdapter(ChatCompletionChunk)
    choice = {"index": 0, "delta": {"content": "a"}, "unknown": 1}
    chunk = adapter.validate_python({"choices": [choice]})
    assert chunk == ChatCompletionChunk((ChunkChoice(0, Delta("a")),))
    assert adapter.dump_python(chunk, exclude_none=True, exclude={"raw", "id"}) == {
        "choices": (
            {
                "index": 0,
                "delta": {"content": "a", "tool_calls": ()},
                "content_filter_results": {},
            },
        )
    }


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        (ChatCompletionChunk, {"choices": [{"index": "x", "delta": {}}]}, ("choices", 0, "index")),
        (ChatCompletionChunk, {"choices": [{"index": 0}]}, ("choices", 0, "delta")),
        (ChatCompletionChunk, "x", ()),
        (Embedding, {"index": 0, "embedding": [300, 1]}, ("embedding",)),
        (Embedding, {"index": 0, "embedding": "AAAA"}, ("embedding",)),
    ],
)
def test_a_wrong_field_is_named(kind: type, value: Any, place: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert caught.value.errors()[0]["loc"] == place
