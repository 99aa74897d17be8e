"""anthropic: `Anthropic` and `AnthropicFoundry`, sync and async, on Messages."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import pydantic
from tour import FUNCTION, PARAMETERS, USER, Step, failure_of, take

KINDS: dict[str, Callable[[str, str], Any]] = {
    "Anthropic": lambda url, key: anthropic.Anthropic(base_url=f"{url}/anthropic", api_key=key),
    "AsyncAnthropic": lambda url, key: anthropic.AsyncAnthropic(
        base_url=f"{url}/anthropic/", auth_token=key
    ),
    "AnthropicFoundry": lambda url, key: anthropic.AnthropicFoundry(
        base_url=f"{url}/anthropic/", api_key=key
    ),
    "AsyncAnthropicFoundry": lambda url, key: anthropic.AsyncAnthropicFoundry(
        base_url=f"{url}/anthropic/", azure_ad_token_provider=lambda: key
    ),
}
TOOL: Any = {
    "name": FUNCTION["name"],
    "description": FUNCTION["description"],
    "input_schema": PARAMETERS,
}
ASKED: Any = {"max_tokens": 4000, "messages": USER}


class City(pydantic.BaseModel):
    """The structure of the JSON answer."""

    city: str


async def result_of(value: Any) -> Any:
    """Return the answer of a sync or an async client."""
    return await value if inspect.isawaitable(value) else value


async def answer_of(call: Callable[[], Any]) -> Any:
    """Call a sync or an async client and return its answer."""
    return await result_of(call())


async def items_of(values: Any) -> AsyncIterator[Any]:
    """Yield the items of a sync or an async stream."""
    values = await values if inspect.iscoroutine(values) else values
    if hasattr(values, "__aiter__"):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value


@contextlib.asynccontextmanager
async def open_context(context: Any) -> AsyncIterator[Any]:
    """Enter a sync or an async context."""
    if hasattr(context, "__aenter__"):
        async with context as inside:
            yield inside
    else:
        with context as inside:
            yield inside


async def message(client: Any) -> None:
    """A whole answer, and its usage."""
    answer = await result_of(client.messages.create(model="claude", system="Be brief.", **ASKED))
    assert (answer.content[0].text, answer.stop_reason) == ("Paris.", "end_turn")
    assert answer.usage.input_tokens > 5
    assert answer.usage.output_tokens == 2
    stopped = await result_of(client.messages.create(model="claude", stop_sequences=["."], **ASKED))
    assert (stopped.content[0].text, stopped.stop_sequence) == ("Paris", ".")


async def stream(client: Any) -> None:
    """A streamed answer: as events, and as the client puts them together."""
    stream = client.messages.create(model="claude", stream=True, **ASKED)
    events = [event async for event in items_of(stream)]
    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert events[-2].usage.input_tokens == events[0].message.usage.input_tokens > 0
    async with open_context(client.messages.stream(model="claude", **ASKED)) as stream:
        assert "".join([text async for text in items_of(stream.text_stream)]) == "Paris."
        final = await result_of(stream.get_final_message())
        assert final.usage.output_tokens == 2


async def tools_and_thinking(client: Any) -> None:
    """Two turns with a tool; thinking goes back with its signature, whole and streamed."""
    options = {"tools": [TOOL], "max_tokens": 4000, "model": "thinker"}
    first = await result_of(client.messages.create(messages=USER, **options))
    async with open_context(client.messages.stream(messages=USER, **options)) as stream:
        second = await result_of(stream.get_final_message())
    for answer in (first, second):
        kinds = [block.type for block in answer.content]
        assert (kinds, answer.stop_reason) == (["thinking", "text", "tool_use"], "tool_use")
        thinking, _, call = answer.content
        assert (thinking.thinking, call.input) == ("I need a look.", {"city": "New York"})
        turns = [
            *USER,
            {"role": "assistant", "content": answer.content},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Sunny"}],
            },
        ]
        last = await result_of(client.messages.create(messages=turns, **options))
        assert last.content[0].text == "It is sunny."
        thinking.thinking = "Something else."
        changed = functools.partial(client.messages.create, messages=turns, **options)
        error = await failure_of(answer_of(changed))
        assert isinstance(error, anthropic.BadRequestError)
        assert "cannot be modified" in str(error)


async def tool_runner(client: Any) -> None:
    """The client's own loop over tools, which newer versions make a thread of."""

    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}"

    async def get_weather_async(city: str) -> str:
        """The weather in a city."""
        return get_weather(city)

    tool: Any = anthropic.beta_tool(get_weather)
    if "Async" in type(client).__name__:
        tool = anthropic.beta_async_tool(get_weather_async, name="get_weather")
    runner = client.beta.messages.tool_runner(model="thinker", tools=[tool], **ASKED)
    final = await result_of(runner.until_done())
    assert final.content[0].text == "It is sunny."


async def parsed_answer(client: Any) -> None:
    """An answer as a pydantic model."""
    parse = client.messages.parse(model="echo", output_format=City, **ASKED)
    answer = await result_of(parse)
    assert isinstance(answer.parsed_output, City)


async def count(client: Any) -> None:
    """Tokens counted as the answer counts them."""
    counted = await result_of(client.messages.count_tokens(model="claude", messages=USER))
    answer = await result_of(client.messages.create(model="claude", **ASKED))
    assert counted.input_tokens == answer.usage.input_tokens


async def errors(client: Any) -> None:
    """Errors with their classes, and one in the middle of a stream."""
    client = client.with_options(max_retries=0)

    async def error_of(model: str, **options: Any) -> Any:
        create = functools.partial(client.messages.create, model=model, **{**ASKED, **options})
        return await failure_of(answer_of(create))

    assert isinstance(await error_of("nowhere"), anthropic.NotFoundError)
    bad = await error_of("claude", messages=[{"role": "assistant", "content": "Hi"}])
    assert isinstance(bad, anthropic.BadRequestError)
    assert bad.request_id
    overloaded = await error_of("failing")
    assert overloaded.status_code == 529
    assert overloaded.body["error"]["type"] == "overloaded_error"
    texts = []

    async def read() -> None:
        async with open_context(client.messages.stream(model="failing", **ASKED)) as stream:
            async for text in items_of(stream.text_stream):
                texts.append(text)

    error = await failure_of(read())
    assert isinstance(error, anthropic.APIStatusError)
    assert (texts, "Overloaded" in str(error)) == (["Once"], True)


STEPS = {
    "message": message,
    "stream": stream,
    "tools and thinking": tools_and_thinking,
    "tool runner": tool_runner,
    "parse": parsed_answer,
    "count_tokens": count,
    "errors": errors,
}


def make_step(kind: str, run: Callable[[Any], Any]) -> Step:
    """Return a step that does one thing with one kind of client."""

    async def step(url: str, key: str) -> None:
        async with open_context(KINDS[kind](url, key)) as client:
            await run(client)

    return step


take(
    ["anthropic"],
    {f"{kind}: {name}": make_step(kind, run) for kind in KINDS for name, run in STEPS.items()},
)
