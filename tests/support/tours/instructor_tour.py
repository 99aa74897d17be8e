"""instructor: pydantic models in each of its modes, streamed parts and lists of them."""

from __future__ import annotations

import functools
from typing import Any

import instructor
import openai
import pydantic
from instructor.core import InstructorRetryException
from tour import USER, Step, failure_of, take

MODES = {
    "tools": instructor.Mode.TOOLS,
    "json": instructor.Mode.JSON,
    "json in Markdown": instructor.Mode.MD_JSON,
    "json schema": instructor.Mode.JSON_SCHEMA,
    "responses": instructor.Mode.RESPONSES_TOOLS,
}


class Weather(pydantic.BaseModel):
    """What is asked for."""

    city: str
    temperature: int = pydantic.Field(ge=-60, le=60)


MODEL: Any = {"model": "mistral-large", "messages": USER}
EXPECTED = {"city": "New York", "temperature": 1}


def client_of(mode: str, url: str, key: str, kind: Any = openai.OpenAI) -> Any:
    """A client in a mode."""
    client = kind(base_url=f"{url}/openai/v1", api_key=key, max_retries=0)
    return instructor.from_openai(client, mode=MODES[mode])


def returns_values(mode: str, url: str, key: str) -> None:
    """A model, and the answer that it came from."""
    create = client_of(mode, url, key).create_with_completion
    value, completion = create(response_model=Weather, **MODEL)
    assert value.model_dump() == EXPECTED
    assert completion.usage.total_tokens > 0


async def returns_values_async(mode: str, url: str, key: str) -> None:
    """The same, awaited."""
    create = client_of(mode, url, key, openai.AsyncOpenAI).create
    assert (await create(response_model=Weather, **MODEL)).model_dump() == EXPECTED


def streams_parts(mode: str, url: str, key: str) -> None:
    """A model that grows."""
    parts = list(client_of(mode, url, key).create_partial(response_model=Weather, **MODEL))
    assert parts[-1].model_dump() == EXPECTED


def returns_lists(mode: str, url: str, key: str) -> None:
    """Several models, each when it is complete."""
    values = client_of(mode, url, key).create_iterable(response_model=Weather, **MODEL)
    assert [value.model_dump() for value in values] == [EXPECTED]


async def reports_errors(mode: str, url: str, key: str) -> None:
    """A deployment that does not exist."""
    create = client_of(mode, url, key, openai.AsyncOpenAI).create
    work = create(response_model=Weather, max_retries=0, **{**MODEL, "model": "nope"})
    error = await failure_of(work)
    assert isinstance(error, InstructorRetryException)
    assert "DeploymentNotFound" in str(error)


def steps() -> dict[str, Step]:
    """Every step in each mode."""
    tried: dict[str, Any] = {
        "returns values": returns_values,
        "returns values async": returns_values_async,
        "streams parts": streams_parts,
        "returns lists": returns_lists,
        "reports errors": reports_errors,
    }
    return {
        f"{mode} {name}": functools.partial(step, mode)
        for mode in MODES
        for name, step in tried.items()
    }


if __name__ == "__main__":
    take(["instructor"], steps())
