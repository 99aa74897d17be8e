"""Problems of users of AG2 and AutoGen on Azure, each with the behaviour that solves it."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ag2 import Agent, tool
from pydantic import BaseModel

from azinfer import core
from azinfer.ag2 import AzInferConfig
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY, SHAPES
from raw_server import RawServer, chat, chat_reply, failure, reply

Make = Callable[..., AzInferConfig]
both = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


async def answer_text(config: AzInferConfig, **named: Any) -> str | None:
    """Return an agent's answer."""
    return (await Agent("a", config=config, **named).ask("hi")).body


@pytest.mark.parametrize(("path", "base_path"), SHAPES.items())
async def test_an_endpoint_may_have_any_shape(server: RawServer, path: str, base_path: str) -> None:
    # microsoft/autogen#3953; langchain-ai/langchain-azure#79; openai/openai-python#2584
    server.will(reply(chat()))
    config = AzInferConfig(server.url + path, KEY, "gpt-4.1")
    assert await answer_text(config) == "hello"
    (request,) = server.received
    assert request.target.partition("?")[0] == f"{base_path}/chat/completions"
    assert request.request_body["model"] == "gpt-4.1"


async def test_loopback_may_lack_its_scheme_and_needs_no_tls(server: RawServer) -> None:
    # openai/openai-python PR 2166
    server.will(reply(chat()))
    config = AzInferConfig(f"127.0.0.1:{server.port}/models", KEY, "m")
    assert await answer_text(config) == "hello"


@both
async def test_a_wrong_path_is_an_error_with_its_url(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    # langchain-ai/langchain-azure#79
    server.will(reply(failure("404", "Resource not found"), 404))
    message = rf"endpoint's path.*'gpt-4.1'.*{server.url}"
    with pytest.raises(core.BadRequestError, match=message):
        await answer_text(configuration(streaming=streaming))


async def test_a_key_works_with_a_projects_resource_and_explains_what_it_cannot(
    server: RawServer,
) -> None:
    # agno-agi/agno PR 9841: keys are refused on the paths of projects
    server.choose = lambda request: (
        reply(failure("401", "no"), 401) if "/api/projects" in request.target else reply(chat())
    )
    client = core.AsyncInferenceClient(f"{server.url}/api/projects/p1", KEY, "gpt-4.1")
    assert await answer_text(AzInferConfig(client=client)) == "hello"
    with pytest.raises(core.AuthenticationError, match="needs a token of Entra ID, not a key"):
        await client.deployments()
    assert [each.target.partition("?")[0] for each in server.received] == [
        "/openai/v1/chat/completions",
        "/api/projects/p1/deployments",
    ]


@both
async def test_a_token_that_is_refused_is_renewed(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    # openai/openai-python#1526; microsoft/agent-framework#3449
    tokens = iter("abc")

    async def token() -> str:
        return next(tokens)

    server.will(chat_reply(streaming), reply(failure("401"), 401), chat_reply(streaming))
    config = configuration(credential=token, streaming=streaming)
    assert [await answer_text(config) for _ in range(2)] == ["hello"] * 2
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer a", "Bearer b", "Bearer c"]


@both
def test_one_configuration_works_in_three_event_loops(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    # run-llama/llama_index#20433
    server.will(*[chat_reply(streaming)] * 3)
    config = configuration(streaming=streaming)
    assert [asyncio.run(answer_text(config)) for _ in range(3)] == ["hello"] * 3


SILENT = """
import asyncio, sys
from ag2 import Agent
from azinfer.ag2 import AzInferConfig

url, key = sys.argv[1:]

async def main(config):
    await asyncio.gather(*(Agent("a", config=config).ask("hi") for _ in range(4)))
    print((await Agent("a", config=config.copy(streaming=True)).ask("hi")).body)

for surface in ("v1", "models", "deployments"):
    asyncio.run(main(AzInferConfig(url, key, "synthetic", surface=surface)))
"""


def test_a_program_ends_without_warnings() -> None:
    # run-llama/llama_index#19348; langchain-ai/langchain-azure#69
    with LocalEndpoint() as endpoint:
        command = [sys.executable, "-W", "error::ResourceWarning", "-c", SILENT]
        done = subprocess.run(
            [*command, endpoint.url, endpoint.key],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["This is a synthetic answer to: hi"] * 3


class Place(BaseModel):
    """Where it is."""

    city: str


@pytest.mark.parametrize("model", ["gpt-4.1", "Mistral-Large-2411", "Phi-4"])
@both
async def test_models_of_every_maker_keep_a_schema_and_call_tools_at_a_strict_endpoint(
    surface: str, model: str, streaming: bool
) -> None:
    # Azure/azure-sdk-for-python#40793; microsoft/autogen#5957; microsoft/semantic-kernel#10452
    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"Sunny in {city}"

    with LocalEndpoint([LocalDeployment(model)], strict=True) as endpoint:
        config = AzInferConfig(
            endpoint.url, endpoint.key, model, surface=surface, streaming=streaming, max_tokens=50
        )
        agent = Agent("a", config=config, tools=[get_weather])
        reply = await agent.ask("What is the weather in New York?")
        assert reply.body == "This is a synthetic answer to: Sunny in New York"
        place = await reply.ask("It is in 'Delft'", response_schema=Place)
        assert await place.content() == Place(city="Delft")


@both
async def test_a_model_that_calls_no_tools_says_so(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    # microsoft/semantic-kernel#9933: functions are silently left out
    @tool
    def get_time() -> str:
        """The time."""
        return "12:00"

    refused = failure("unsupported_parameter", "tools is not supported", param="tools")
    server.will(reply(refused, 400))
    with pytest.raises(core.UnsupportedParameterError) as caught:
        await answer_text(configuration(streaming=streaming), tools=[get_time])
    assert caught.value.param == "tools"


@both
async def test_a_limit_under_a_wrong_name_is_learned(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    # chatboxai/chatbox#2271; obot-platform/obot#2862; microsoft/autogen PR 5860
    refused = failure("unsupported_parameter", "Use 'max_completion_tokens'.", param="max_tokens")
    server.will(reply(refused, 400), chat_reply(streaming))
    config = configuration(model="prod", max_tokens=9, streaming=streaming)
    assert [await answer_text(config) for _ in range(2)] == ["hello"] * 2
    bodies = [each.request_body for each in server.received]
    assert [body.get("max_tokens") for body in bodies] == [9, None, None]
    assert [body.get("max_completion_tokens") for body in bodies] == [None, 9, 9]


async def test_copies_share_learned_corrections(configuration: Make, server: RawServer) -> None:
    refused = failure("unsupported_parameter", "Use 'max_completion_tokens'.", param="max_tokens")
    server.will(reply(refused, 400), reply(chat()))
    config = configuration(model="prod", max_tokens=9)
    for each in (config, config.copy(temperature=0), config.copy(headers={"x-a": "1"})):
        assert await answer_text(each) == "hello"
    assert ["max_tokens" in each.request_body for each in server.received] == [
        True,
        False,
        False,
        False,
    ]


@both
async def test_a_parameter_that_a_model_refuses_is_an_error(
    configuration: Make, server: RawServer, streaming: bool
) -> None:
    # chatboxai/chatbox#2271
    server.will(reply(failure("unsupported_value", "no", param="temperature"), 400))
    with pytest.raises(core.BadRequestError) as caught:
        await answer_text(configuration(model_id="o3", temperature=0.5, streaming=streaming))
    assert caught.value.param == "temperature"


async def test_a_credential_by_name_survives_a_pickle(
    configuration: Make, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # stanfordnlp/dspy#1759; microsoft/autogen PR 2879
    server.will(reply(chat()))
    monkeypatch.setenv("MY_KEY", KEY)
    data = pickle.dumps(configuration(credential="env:MY_KEY"))
    assert KEY.encode() not in data
    assert await answer_text(pickle.loads(data)) == "hello"
    assert server.received[0].header("api-key") == KEY
