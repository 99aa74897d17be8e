"""litellm: `azure/` on the classic surface and `azure_ai/` on the models route."""

from __future__ import annotations

import json
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, when it is imported
    import litellm
    from litellm.exceptions import AuthenticationError, NotFoundError
from tour import PARAMETERS, TOOL, USER, Step, take

litellm.num_retries = 0


def ways(url: str, key: str) -> dict[str, dict[str, Any]]:
    """Return the options that lead each provider to the endpoint."""
    return {
        "azure": {"api_base": url, "api_key": key, "api_version": "2024-10-21"},
        "azure_ai": {"api_base": f"{url}/models", "api_key": key},
    }


def chat(way: str, where: dict[str, Any]) -> None:
    """A whole answer, with the name in another case."""
    answer = litellm.completion(model=f"{way}/FIXED", messages=USER, **where)
    assert answer.choices[0].message.content == "Paris."
    assert answer.usage.completion_tokens == 2


def stream(way: str, where: dict[str, Any]) -> None:
    """A streamed answer, and its usage."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(litellm.completion(model=f"{way}/fixed", messages=USER, **options, **where))
    texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(texts) == "Paris."


def tools(way: str, where: dict[str, Any]) -> None:
    """A tool called."""
    named = {"model": f"{way}/mistral-large", "messages": USER}
    answer = litellm.completion(**named, tools=[TOOL], tool_choice="required", **where)
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "New York"}


def schema(way: str, where: dict[str, Any]) -> None:
    """An answer true to a JSON Schema."""
    wanted = {"name": "city", "schema": PARAMETERS, "strict": True}
    format = {"type": "json_schema", "json_schema": wanted}
    named = {"model": f"{way}/mistral-large", "messages": USER}
    answer = litellm.completion(**named, response_format=format, **where)
    assert json.loads(answer.choices[0].message.content) == {"city": "New York"}


async def chat_async(way: str, where: dict[str, Any]) -> None:
    """The same, awaited."""
    answer = await litellm.acompletion(model=f"{way}/fixed", messages=USER, **where)
    assert answer.choices[0].message.content == "Paris."


def embeddings(way: str, where: dict[str, Any]) -> None:
    """Vectors."""
    answer = litellm.embedding(model=f"{way}/embed", input=["a", "b"], **where)
    assert [len(item["embedding"]) for item in answer.data] == [8, 8]


def errors(way: str, where: dict[str, Any]) -> None:
    """The errors that it has classes for."""
    for named, kind in (
        ({"model": f"{way}/nope"}, NotFoundError),
        ({"model": f"{way}/fixed", "api_key": "wrong"}, AuthenticationError),
    ):
        try:
            litellm.completion(messages=USER, **{**where, **named})
        except kind:
            continue
        raise AssertionError(f"{named} was not refused")


STEPS = {
    "chat": chat,
    "stream": stream,
    "tools": tools,
    "schema": schema,
    "async": chat_async,
    "embeddings": embeddings,
    "errors": errors,
}


def step(way: str, what: Any) -> Step:
    """Run one step with one provider."""
    return lambda url, key: what(way, ways(url, key)[way])


if __name__ == "__main__":
    providers = ("azure", "azure_ai")
    take(
        ["litellm"],
        {f"{way} {name}": step(way, what) for way in providers for name, what in STEPS.items()},
    )
