"""Structured output: pydantic models and JSON Schemas, whole and streamed, through agents too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import ChatResponse
from pydantic import BaseModel, ValidationError

from agent_clients import MESSAGE, both, client, user
from azinfer.agent_framework import AzInferChatClient
from azinfer.agent_framework.structured import to_response_format
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import WIRES
from raw_server import RawServer, chat, events, part, reply
from raw_server import stream as sse
from wire_requests import chat_body, wire_of

SCHEMA = {
    "title": "Person",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int | None = None


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments, as strict as the service."""
    everywhere = ("chat", *WIRES)
    deployments = [LocalDeployment("echo"), LocalDeployment("Mistral-Large", wires=everywhere)]
    with LocalEndpoint(deployments, strict=True) as endpoint:
        yield endpoint


@pytest.mark.parametrize("model", ["echo", "Mistral-Large"])
@pytest.mark.parametrize("wanted", [Person, SCHEMA])
async def test_an_answer_is_a_value_of_its_schema(
    address: str, endpoint: LocalEndpoint, model: str, wanted: Any
) -> None:
    asking = AzInferChatClient(endpoint.url + address, endpoint.key, model)
    for answer in await both(asking, options={"response_format": wanted}):
        if wanted is Person:
            assert isinstance(answer.value, Person)
        else:
            assert isinstance(answer.value, dict)
            assert answer.value.keys() == {"name", "age"}
    sent = chat_body(endpoint)["response_format"]
    assert sent["type"] == "json_schema"
    named = {} if wire_of(address) == "messages" else {"name": "Person", "strict": True}
    assert named.items() <= sent["json_schema"].items()
    assert sent["json_schema"]["schema"]["required"] == ["name", "age"]
    assert sent["json_schema"]["schema"]["additionalProperties"] is False


async def test_an_agent_gives_values(address: str, endpoint: LocalEndpoint) -> None:
    asking = AzInferChatClient(endpoint.url + address, endpoint.key, "echo")
    agent = asking.as_agent(default_options={"response_format": Person})
    assert isinstance((await agent.run("Who?")).value, Person)
    running = agent.run("Who?", stream=True)
    async for _ in running:
        pass
    assert isinstance((await running.get_final_response()).value, Person)


async def test_the_wires_own_form_is_sent_as_it_is(server: RawServer, url: str) -> None:
    own = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    server.will(reply(chat('{"answer": 1}')), sse(events(part('{"answer": 1}', "stop"))))
    for answer in await both(client(url), options={"response_format": own}):
        assert answer.value == {"answer": 1}
    assert [each.request_body["response_format"] for each in server.received] == [own, own]


def test_a_schema_without_a_title_has_a_name() -> None:
    sent = to_response_format({"properties": {"a": {"type": "string"}}}).to_wire()
    assert sent["json_schema"]["name"] == "response"
    assert "title" not in sent["json_schema"]["schema"]


def test_a_callers_schema_is_not_changed() -> None:
    before = str(SCHEMA)
    to_response_format(SCHEMA)
    assert str(SCHEMA) == before


async def test_an_answer_that_is_cut_off_raises_when_its_value_is_read(
    server: RawServer, url: str
) -> None:
    server.will(reply(chat('{"name": "A', "length")))
    answer: ChatResponse[Any] = await client(url).get_response(
        [user("Who?")], options={"response_format": Person}
    )
    assert answer.finish_reason == "length"
    with pytest.raises(ValidationError):
        _ = answer.value


async def test_an_answer_without_a_format_has_no_value(server: RawServer, url: str) -> None:
    server.will(reply(chat('{"name": "Ada"}')))
    answer = await client(url).get_response(MESSAGE)
    assert answer.value is None
    assert "response_format" not in server.received[0].request_body
