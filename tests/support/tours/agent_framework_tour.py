"""Agent Framework around azinfer's client: declarative agents, DevUI, A2A and AG-UI."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import httpx
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface
from agent_framework import tool
from agent_framework_a2a import A2AAgent, A2AExecutor
from agent_framework_ag_ui import add_agent_framework_fastapi_endpoint
from agent_framework_declarative import AgentFactory
from agent_framework_devui import DevServer
from fastapi import FastAPI
from starlette.applications import Starlette
from tour import ASK, Step, take

from azinfer.agent_framework import AzInferChatClient

HERE = "http://127.0.0.1:9"  # nothing listens there: applications are called in this process
GUIDE = "kind: Prompt\nname: guide\ninstructions: Be brief.\n"
MODEL = "model:\n  id: fixed\n  provider: AzInfer\n"
CONNECTION = "  connection:\n    kind: key\n    endpoint: {url}\n    key: {key}\n"
# How a definition names our client.
PROVIDER = {
    "AzInfer": {
        "package": "azinfer.agent_framework",
        "name": "AzInferChatClient",
        "model_field": "model",
        "endpoint_field": "endpoint",
        "api_key_field": "credential",
    }
}


@tool(approval_mode="never_require")
def get_weather(city: str) -> str:
    """Return the current weather in a city."""
    return f"Sunny in {city}"


def browser_of(app: Any) -> httpx.AsyncClient:
    """Return an HTTP client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=HERE, timeout=60)


async def declared_with_client(url: str, key: str) -> None:
    """A definition without a model, which a ready client answers."""
    factory = AgentFactory(client=AzInferChatClient(url, key, "fixed"))
    agent = factory.create_agent_from_yaml(GUIDE)
    assert (await agent.run(ASK)).text == "Paris."


async def declared_by_provider(url: str, key: str) -> None:
    """A definition that names our client, which the program gives its endpoint."""
    where = {"endpoint": url, "credential": key}
    factory = AgentFactory(additional_mappings=PROVIDER, client_kwargs=where)
    agent = factory.create_agent_from_yaml(GUIDE + MODEL)
    assert isinstance(agent.client, AzInferChatClient)
    assert (await agent.run(ASK)).text == "Paris."


async def declared_with_connection(url: str, key: str) -> None:
    """A definition that has its endpoint and its key."""
    factory = AgentFactory(additional_mappings=PROVIDER)
    text = GUIDE + MODEL + CONNECTION.format(url=url, key=key)
    assert (await factory.create_agent_from_yaml(text).run(ASK)).text == "Paris."


async def devui(url: str, key: str, *, stream: bool) -> None:
    """An agent on the framework's development page, called through its Responses route."""
    server = DevServer(auth_enabled=False, ui_enabled=False)
    server.register_entities([AzInferChatClient(url, key, "fixed").as_agent(name="guide")])
    app = server.get_app()
    async with app.router.lifespan_context(app), browser_of(app) as browser:
        (entity,) = (await browser.get("/v1/entities")).json()["entities"]
        body = {"metadata": {"entity_id": entity["id"]}, "model": "x", "input": ASK}
        answer = await browser.post("/v1/responses", json={**body, "stream": stream})
        assert answer.status_code == 200, answer.text
        assert "Paris." in answer.text
        assert stream or answer.json()["usage"]["output_tokens"] == 2


async def a2a(url: str, key: str, *, stream: bool) -> None:
    """An agent that another program asks over A2A."""
    agent = AzInferChatClient(url, key, "fixed").as_agent(name="guide")
    card = AgentCard(
        name="guide",
        description="A guide",
        version="1",
        default_input_modes=["text"],
        default_output_modes=["text"],
        capabilities=AgentCapabilities(streaming=stream),
        supported_interfaces=[AgentInterface(url=HERE, protocol_binding="JSONRPC")],
    )
    handler = DefaultRequestHandler(
        agent_executor=A2AExecutor(agent, stream=stream),
        task_store=InMemoryTaskStore(),
        agent_card=card,
    )
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")]
    async with (
        browser_of(Starlette(routes=routes)) as browser,
        A2AAgent(agent_card=card, url=HERE, http_client=browser) as remote,
    ):
        assert (await remote.run(ASK)).text == "Paris."


async def ag_ui(url: str, key: str) -> None:
    """An agent with a tool that a page asks over AG-UI."""
    agent = AzInferChatClient(url, key, "thinker").as_agent(name="guide", tools=[get_weather])
    app = FastAPI()
    add_agent_framework_fastapi_endpoint(app, agent, single_user=True)
    body: dict[str, Any] = {"threadId": "t", "runId": "r", "state": {}, "tools": [], "context": []}
    body |= {"messages": [{"id": "1", "role": "user", "content": ASK}], "forwardedProps": {}}
    async with browser_of(app) as browser:
        lines = (await browser.post("/", json=body)).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    kinds = {event["type"] for event in events}
    assert {"TOOL_CALL_START", "TOOL_CALL_RESULT", "TEXT_MESSAGE_CONTENT"} <= kinds, kinds
    assert "RUN_ERROR" not in kinds
    assert "".join(event.get("delta", "") for event in events).endswith("It is sunny.")


STEPS: dict[str, Step] = {
    "a declared agent with a client": declared_with_client,
    "a declared agent by provider": declared_by_provider,
    "a declared agent with its connection": declared_with_connection,
    "DevUI": partial(devui, stream=False),
    "DevUI, streamed": partial(devui, stream=True),
    "A2A": partial(a2a, stream=False),
    "A2A, streamed": partial(a2a, stream=True),
    "AG-UI": ag_ui,
}
PACKAGES = ["declarative", "devui", "a2a", "ag-ui"]

if __name__ == "__main__":
    take([f"agent-framework-{name}" for name in PACKAGES], STEPS)
