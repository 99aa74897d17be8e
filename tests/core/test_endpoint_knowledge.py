"""Facts learned about an endpoint: all clients of a process share them; tests can reset them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import (
    Deployment,
    DeploymentNotFoundError,
    Deployments,
    Endpoint,
    InferenceClient,
    endpoint_knowledge,
    forget_endpoints,
)
from azinfer.core.endpoint_knowledge import EndpointKnowledge, knowledge_of
from client_driver import KEY, ClientDriver
from raw_server import RawServer, chat, failure, reply

Ask = Callable[..., ClientDriver]
UNSUPPORTED = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'."
ARM = {"name": "Prod", "properties": {"model": {"name": "gpt-5", "version": "1"}}}


def refusal() -> Any:
    return reply(failure("unsupported_parameter", UNSUPPORTED, param="max_tokens"), 400)


def test_a_refusal_is_learned_once_for_all_clients_of_an_endpoint(
    ask: Ask, server: RawServer
) -> None:
    server.will(refusal(), reply(chat()))
    ask(model="prod-chat").complete(max_tokens=5)
    answer = ask(model="PROD-CHAT").complete(max_tokens=5)
    assert answer.routing is not None
    assert answer.routing.adapted == ("max_tokens → max_completion_tokens",)
    assert len(server.received) == 3


def test_a_refusal_says_nothing_of_other_deployments_surfaces_and_endpoints(
    ask: Ask, server: RawServer
) -> None:
    server.will(refusal(), reply(chat()))
    ask(model="prod-chat").complete(max_tokens=5)
    for driver in (ask(model="other"), ask("/models", model="prod-chat")):
        driver.complete(max_tokens=5)
        assert "max_tokens" in server.received[-1].json


def test_clients_that_start_fresh_have_learned_nothing(ask: Ask, server: RawServer) -> None:
    server.will(refusal(), reply(chat()))
    old = ask(model="prod-chat")
    old.complete(max_tokens=5)
    forget_endpoints()
    ask(model="prod-chat").complete(max_tokens=5)
    assert "max_tokens" in server.received[-1].json
    old.complete(max_tokens=5)
    assert "max_completion_tokens" in server.received[-1].json


def test_a_concurrent_call_is_corrected_too(ask: Ask, server: RawServer) -> None:
    first, second = ask(model="prod-chat"), ask(model="prod-chat")

    def refuse_after_another_call(peer: Any) -> None:
        knowledge_of(first.client.endpoint).corrections_of("v1", "prod-chat")["max_tokens"] = (
            "max_completion_tokens"
        )
        refusal()(peer)

    server.will(refuse_after_another_call, reply(chat()))
    answer = second.complete(max_tokens=5)
    assert answer.routing is not None
    assert answer.routing.adapted == ("max_tokens → max_completion_tokens",)


def test_a_list_of_deployments_teaches_every_client_of_its_endpoint(
    ask: Ask, server: RawServer
) -> None:
    server.will(reply({"value": [ARM]}))
    other, later = ask(model="prod"), ask("/models", model="prod")
    assert other.client.explain().model_id is None
    ask().deployments()
    for driver in (other, later, ask(model="prod")):
        routing = driver.client.explain()
        assert (routing.model_id, routing.model_id_source) == ("gpt-5", "listed")
        assert driver.client.model_facts().name == "gpt-5"


def test_a_wrong_name_suggests_what_another_client_listed(ask: Ask, server: RawServer) -> None:
    server.will(reply({"value": [ARM]}), reply(failure("DeploymentNotFound"), 404))
    ask().deployments()
    with pytest.raises(DeploymentNotFoundError) as caught:
        ask(model="pord").complete()
    assert caught.value.suggestions == ("Prod",)


def test_own_knowledge_wins_over_pickled_knowledge(ask: Ask, server: RawServer) -> None:
    server.will(reply({"value": [ARM]}))
    driver = ask(model="prod")
    driver.deployments()
    knowledge_of(driver.client.endpoint).corrections_of("v1", "other")["max_tokens"] = "limit"
    data = pickle.dumps(knowledge_of(driver.client.endpoint))
    forget_endpoints()
    own = knowledge_of(driver.client.endpoint)
    own.corrections_of("v1", "other")["max_tokens"] = "mine"
    own.add(pickle.loads(data))
    assert own.deployments["prod"].model_name == "gpt-5"
    assert own.corrections_of("v1", "other") == {"max_tokens": "mine"}


def test_another_process_knows_what_a_pickled_client_knew() -> None:
    environ = {"AZURE_AI_API_KEY": KEY}
    url = "https://contoso.openai.azure.com"
    client = InferenceClient(url, None, "prod", environ=environ)
    knowledge_of(client.endpoint).corrections_of("v1", "prod")["a"] = "b"
    data = pickle.dumps(client)
    forget_endpoints()
    pickle.loads(data)
    assert knowledge_of(client.endpoint).corrections_of("v1", "PROD") == {"a": "b"}


def test_surfaces_of_a_resource_share_what_is_known() -> None:
    root = "https://contoso.services.ai.azure.com"
    first, *others = (Endpoint.parse(root + path) for path in ("/models", "", "/openai"))
    assert all(knowledge_of(each) is knowledge_of(first) for each in others)
    elsewhere = Endpoint.parse("https://fabrikam.services.ai.azure.com/models")
    assert knowledge_of(elsewhere) is not knowledge_of(first)


def test_knowledge_of_endpoints_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_knowledge, "_MOST_ENDPOINTS", 2)
    names = ("a", "b", "c")
    known = [knowledge_of(Endpoint.parse(f"https://{name}.openai.azure.com")) for name in names]
    assert all(isinstance(each, EndpointKnowledge) for each in known)
    assert len(endpoint_knowledge._KNOWN) == 1


def test_a_deployments_name_alone_sets_no_model_facts(ask: Ask) -> None:
    client = ask(model="contoso-gpt-4.1").client
    assert client.model_facts().name == ""
    assert client.model_facts().tools is None
    assert client.model_facts(model_id="contoso-gpt-4.1").name == "gpt-4.1"
    assert client.model_facts(model="GPT-4.1-PTU").name == "gpt-4.1"


def test_a_list_of_its_own_wins_over_that_of_another_process() -> None:
    mine, theirs = EndpointKnowledge(), EndpointKnowledge()
    theirs.remember(Deployments([Deployment("theirs")]))
    mine.add(theirs)
    assert list(mine.deployments) == ["theirs"]
    mine.remember(Deployments([Deployment("mine")]))
    mine.add(theirs)
    assert list(mine.deployments) == ["mine"]
