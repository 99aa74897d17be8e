"""openai: `OpenAI` on v1 and `AzureOpenAI` on the classic surface, sync and async."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pydantic
from tour import ASK, FUNCTION, TOOL, USER, Step, failure_of, take

KINDS: dict[str, Callable[[str, str], Any]] = {
    "OpenAI": lambda url, key: openai.OpenAI(base_url=f"{url}/openai/v1/", api_key=key),
    "AsyncOpenAI": lambda url, key: openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=key),
    "AzureOpenAI": lambda url, key: openai.AzureOpenAI(
        azure_endpoint=url, api_key=key, api_version="2025-03-01-preview"
    ),
    "AsyncAzureOpenAI": lambda url, key: openai.AsyncAzureOpenAI(
        azure_endpoint=url, azure_ad_token=key, api_version="2025-03-01-preview"
    ),
}


class City(pydantic.BaseModel):
    """The structure of the JSON answer."""

    city: str


async def result_of(expected: Any) -> Any:
    """Return the answer of a sync or an async client."""
    return await expected if inspect.isawaitable(expected) else expected


async def call_client(call: Callable[[], Any]) -> Any:
    """Call a sync or an async client and return its answer."""
    return await result_of(call())


async def each(expected: Any) -> AsyncIterator[Any]:
    """Yield the items of a sync or an async stream or list."""
    expected = await expected if inspect.iscoroutine(expected) else expected
    if hasattr(expected, "__aiter__"):
        async for item in expected:
            yield item
    else:
        for item in expected:
            yield item


@contextlib.asynccontextmanager
async def enter(context: Any) -> AsyncIterator[Any]:
    """A sync or an async context."""
    if hasattr(context, "__aenter__"):
        async with context as inside:
            yield inside
    else:
        with context as inside:
            yield inside


async def chat(client: Any) -> None:
    """A whole answer, with its headers."""
    raw = client.chat.completions.with_raw_response
    answer = await result_of(raw.create(model="FIXED", messages=USER, user="me", seed=1))
    assert answer.headers["x-ms-deployment-name"] == "fixed"
    completion = answer.parse()
    assert completion.choices[0].message.content == "Paris."
    assert completion.usage.total_tokens > 0


async def stream(client: Any) -> None:
    """A streamed answer, and its usage."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    result = client.chat.completions.create(model="fixed", messages=USER, **options)
    chunks = [chunk async for chunk in each(result)]
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == "Paris."
    assert chunks[-1].usage.completion_tokens == 2
    async with enter(client.chat.completions.stream(model="fixed", messages=USER)) as events:
        assert [event.type async for event in each(events)][-1] == "content.done"
        whole = await result_of(events.get_final_completion())
    assert whole.choices[0].message.content == "Paris."


async def parse(client: Any) -> None:
    """An answer as a pydantic model."""
    result = client.chat.completions.parse
    answer = await result_of(result(model="mistral-large", messages=USER, response_format=City))
    assert answer.choices[0].message.parsed == City(city="New York")


async def tools(client: Any) -> None:
    """Call a tool, send its result back, and stream a call."""
    create = functools.partial(client.chat.completions.create, model="mistral-large", tools=[TOOL])
    answer = await result_of(create(messages=USER))
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "New York"},
    )
    fields = {"role": "tool", "tool_call_id": call.id, "content": "Sunny"}
    answer = await result_of(create(messages=[*USER, message, fields]))
    assert "Sunny" in answer.choices[0].message.content
    arguments = ""
    async for chunk in each(create(messages=USER, stream=True, tool_choice="required")):
        for part in chunk.choices[0].delta.tool_calls or ():
            arguments += part.function.arguments
    assert json.loads(arguments) == {"city": "New York"}


async def embeddings(client: Any) -> None:
    """Vectors, as base64 that the client reads, and as numbers."""
    create = functools.partial(client.embeddings.create, model="embed", input=["a cat", "b"])
    packed = await result_of(create())
    floats = await result_of(create(encoding_format="float", dimensions=4))
    assert [len(item.embedding) for item in packed.data] == [8, 8]
    assert [len(item.embedding) for item in floats.data] == [4, 4]
    assert packed.usage.prompt_tokens == 3


async def models(client: Any) -> None:
    """The list of models and one of them."""
    names = [model.id async for model in each(client.models.list())]
    assert names[:3] == ["Mistral-Large", "fixed", "embed"]
    assert (await result_of(client.models.retrieve("FIXED"))).id == "fixed"


async def errors(client: Any) -> None:
    """The errors that the client has classes for."""
    create = client.chat.completions.create
    for model, body, kind, code in (
        ("nope", {}, openai.NotFoundError, "DeploymentNotFound"),
        ("embed", {}, openai.BadRequestError, "OperationNotSupported"),
        ("fixed", {"temperature": 9}, openai.BadRequestError, "invalid_value"),
    ):
        try:
            await result_of(create(model=model, messages=USER, **body))
        except kind as error:
            assert error.code == code  # noqa: PT017
        else:
            raise AssertionError(f"{model} {body} was not refused")
    wrong = client.with_options(api_key="wrong", max_retries=0)
    if hasattr(wrong, "_azure_ad_token"):
        wrong._azure_ad_token = None
    try:
        await result_of(wrong.models.list()) if "Async" not in type(wrong).__name__ else [
            model async for model in wrong.models.list()
        ]
    except openai.AuthenticationError:
        return
    raise AssertionError("a wrong key was not refused")


async def responses(client: Any) -> None:
    """A response, the next turn, what was kept, and that it can be deleted."""
    first = await result_of(
        client.responses.create(model="fixed", input=ASK, instructions="Be brief.")
    )
    assert (first.status, first.output_text) == ("completed", "Paris.")
    following = {"input": "And then?", "previous_response_id": first.id}
    second = await result_of(client.responses.create(model="fixed", **following))
    assert second.previous_response_id == first.id
    assert (await result_of(client.responses.retrieve(first.id))).output_text == "Paris."
    items = [item async for item in each(client.responses.input_items.list(first.id))]
    assert items[0].content[0].text == ASK
    await result_of(client.responses.delete(first.id))
    try:
        await result_of(client.responses.retrieve(first.id))
    except openai.NotFoundError:
        return
    raise AssertionError("a deleted response is still there")


async def responses_stream(client: Any) -> None:
    """A streamed response: as events, and as the client puts them together."""
    result = client.responses.create(model="fixed", input=ASK, stream=True)
    events = [event async for event in each(result)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == "Paris."
    assert events[-1].response.usage.output_tokens == 2
    async with enter(client.responses.stream(model="fixed", input=ASK)) as streamed:
        assert [event.type async for event in each(streamed)][-1] == "response.completed"
        assert (await result_of(streamed.get_final_response())).output_text == "Paris."


async def responses_tools(client: Any) -> None:
    """Call a function in a response, send its result back, and stream a call."""
    flat = {"type": "function", "strict": True, **FUNCTION}
    create = functools.partial(client.responses.create, model="mistral-large", tools=[flat])
    answer = await result_of(create(input=ASK))
    (call,) = answer.output
    assert (call.type, json.loads(call.arguments)) == ("function_call", {"city": "New York"})
    fields = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    answer = await result_of(create(input=[*USER, call, fields]))
    assert "Sunny" in answer.output_text
    *_, ended = [event async for event in each(create(input=ASK, stream=True))]
    assert ended.response.output[0].name == "get_weather"


async def responses_parse(client: Any) -> None:
    """A response as a pydantic model."""
    result = client.responses.parse(model="mistral-large", input=ASK, text_format=City)
    assert (await result_of(result)).output_parsed == City(city="New York")


async def responses_state(client: Any) -> None:
    """Reasoning that is returned encrypted and not stored, whole and streamed."""
    include: Any = ["reasoning.encrypted_content"]
    create = functools.partial(
        client.responses.create, model="thinker", store=False, include=include
    )
    flat = {"type": "function", "strict": True, **FUNCTION}
    answer = await result_of(create(input=ASK, tools=[flat]))
    *_, ended = [event async for event in each(create(input=ASK, tools=[flat], stream=True))]
    for output in (answer.output, ended.response.output):
        reasoning, _, call = output
        assert (reasoning.type, call.type) == ("reasoning", "function_call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
        history = [*USER, *output, result]
        assert (await result_of(create(input=history))).output_text == "It is sunny."
        reasoning.encrypted_content = "made up"
        error = await failure_of(call_client(functools.partial(create, input=history)))
        assert isinstance(error, openai.BadRequestError)
        assert error.code == "invalid_encrypted_content"


async def responses_in_background(client: Any) -> None:
    """A response in the background, polled, cancelled, and its stream taken up again."""
    begun = await result_of(client.responses.create(model="fixed", input=ASK, background=True))
    while begun.status in ("queued", "in_progress"):
        begun = await result_of(client.responses.retrieve(begun.id))
    assert begun.output_text == "Paris."
    assert (await result_of(client.responses.cancel(begun.id))).status == "completed"
    result = client.responses.create(model="fixed", input=ASK, background=True, stream=True)
    events = [event async for event in each(result)]
    again = client.responses.retrieve(events[-1].response.id, stream=True, starting_after=2)
    assert [event.type async for event in each(again)] == [event.type for event in events[3:]]


async def responses_failed(client: Any) -> None:
    """A failure in the middle of a stream is raised."""
    texts = []

    async def read() -> None:
        async for event in each(client.responses.create(model="failing", input=ASK, stream=True)):
            texts.append(getattr(event, "delta", None))

    error = await failure_of(read())
    assert isinstance(error, openai.APIError)
    assert ("Overloaded" in str(error), "Once" in texts) == (True, True)


async def conversations(client: Any) -> None:
    """A conversation that responses continue, its items read and deleted."""
    item: Any = {"type": "message", "role": "user", "content": "Hello"}
    conversation = await result_of(client.conversations.create(items=[item], metadata={"a": "b"}))
    create = functools.partial(client.responses.create, model="fixed")
    answer = await result_of(create(input=ASK, conversation=conversation.id))
    assert answer.conversation.id == conversation.id
    listed = client.conversations.items.list(conversation.id, order="asc")
    items = [item async for item in each(listed)]
    assert [item.role for item in items] == ["user", "user", "assistant"]
    await result_of(client.conversations.items.delete(items[0].id, conversation_id=conversation.id))
    assert (await result_of(client.conversations.retrieve(conversation.id))).metadata == {"a": "b"}
    assert (await result_of(client.conversations.delete(conversation.id))).deleted


async def files_and_batches(client: Any) -> None:
    """A file uploaded, a batch of it answered, its results read, all listed and deleted."""
    lines = [
        {"custom_id": str(at), "method": "POST", "url": "/v1/chat/completions"}
        | {"body": {"model": "fixed", "messages": USER, "n": at}}
        for at in range(3)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    expiry = {"anchor": "created_at", "seconds": 1_209_600}
    file = await result_of(
        client.files.create(file=("in.jsonl", content), purpose="batch", expires_after=expiry)
    )
    assert file.status == "processed"
    assert file.expires_at == file.created_at + 1_209_600
    batch = await result_of(
        client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    )
    while batch.status not in ("completed", "failed"):
        batch = await result_of(client.batches.retrieve(batch.id))
    counts = batch.request_counts
    assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 3, 2, 1)
    output = await result_of(client.files.content(batch.output_file_id))
    reports = [json.loads(line) for line in output.text.splitlines()]
    assert {line["custom_id"] for line in reports} == {"1", "2"}
    assert reports[0]["response"]["body"]["choices"][0]["message"]["content"] == "Paris."
    failed = await result_of(client.files.content(batch.error_file_id))
    assert json.loads(failed.text)["custom_id"] == "0"
    assert batch.id in [result.id async for result in each(client.batches.list(limit=1))]
    assert file.id in [result.id async for result in each(client.files.list(purpose="batch"))]
    assert (await result_of(client.files.delete(file.id))).deleted


async def completions(client: Any) -> None:
    """A legacy completion, whole and streamed."""
    create = functools.partial(client.completions.create, model="fixed", prompt="France is")
    assert (await result_of(create(echo=True))).choices[0].text == "France isParis."
    texts = [chunk.choices[0].text async for chunk in each(create(stream=True))]
    assert "".join(texts) == "Paris."


STEPS = {
    "chat": chat,
    "stream": stream,
    "parse": parse,
    "tools": tools,
    "embeddings": embeddings,
    "models": models,
    "errors": errors,
    "responses": responses,
    "responses stream": responses_stream,
    "responses tools": responses_tools,
    "responses parse": responses_parse,
    "responses state": responses_state,
    "responses in background": responses_in_background,
    "responses failed": responses_failed,
    "conversations": conversations,
    "files and batches": files_and_batches,
    "completions": completions,
}


def step(kind: str, what: Callable[[Any], Any]) -> Step:
    """Run one step with one kind of client."""

    async def run_step(url: str, key: str) -> None:
        async with enter(KINDS[kind](url, key)) as client:
            await what(client)

    return run_step


if __name__ == "__main__":
    steps = {f"{kind} {name}": step(kind, what) for kind in KINDS for name, what in STEPS.items()}
    take(
        ["openai"],
        # The service has no completions on v1.
        {name: each for name, each in steps.items() if not name.endswith("OpenAI completions")}
        | {name: steps[name] for name in steps if name.endswith("AzureOpenAI completions")},
    )
