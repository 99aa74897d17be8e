"""Content filters: prompts refused, answers cut, and annotations, in the service's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import (
    ConfigurationError,
    ContentFilterError,
    InferenceClient,
    UserMessage,
)
from azinfer.langchain import ChatAzInfer
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, SyntheticEngine

WORDS = {"violence": {"fight": "high", "push": "low"}, "hate": {"rude": "medium"}}
SAFE = {"filtered": False, "severity": "safe"}
FOUND = {"hate": SAFE, "self_harm": SAFE, "sexual": SAFE}


def deployment(name: str, text: str | None = None, **options: Any) -> LocalDeployment:
    policy = ContentFilter("careful", WORDS, {"names": ["Voldemort"]}, **options)
    return LocalDeployment(name, "m", SyntheticEngine(text), content_filter=policy)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """One model deployed under several filters."""
    deployments = [
        deployment("echo"),
        deployment("violent", "They began to fight and then"),
        deployment("lax", threshold="high"),
        deployment("declared", spelling="inner_error"),
        deployment("flat", spelling="flat"),
        LocalDeployment("free", "m"),
    ]
    with LocalEndpoint(deployments, key="k") as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: LocalEndpoint) -> Iterator[InferenceClient]:
    """A client of the endpoint."""
    with InferenceClient(endpoint.url, endpoint.key, "echo") as client:
        yield client


@pytest.mark.parametrize("stream", [False, True])
def test_a_blocked_prompt_is_refused_in_the_services_words(
    endpoint: LocalEndpoint, stream: bool
) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "A FIGHT!"}]}
    url, headers = f"{endpoint.url}/openai/v1/chat/completions", {"api-key": "k"}
    answer = httpx.post(url, json={**body, "stream": stream}, headers=headers)
    error = answer.json()["error"]
    inner = error.pop("innererror")
    assert answer.status_code == 400
    assert (error["code"], error["param"], error["status"]) == ("content_filter", "prompt", 400)
    assert inner == {
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {
            **FOUND,
            "violence": {"filtered": True, "severity": "high"},
            "custom_blocklists": {
                "filtered": False,
                "details": [{"id": "names", "filtered": False}],
            },
        },
    }


@pytest.mark.parametrize("name", ["echo", "declared", "flat"])
def test_our_client_reads_every_spelling(client: InferenceClient, name: str) -> None:
    with pytest.raises(ContentFilterError) as caught:
        client.complete([UserMessage("How rude, Voldemort!")], model=name)
    assert dict(caught.value.categories) == {"hate": "medium", "custom_blocklists": "detected"}


def test_what_is_below_the_threshold_is_annotated(client: InferenceClient) -> None:
    answer = client.complete([UserMessage("Do not push.")])
    (prompt,) = answer.prompt_filter_results
    assert prompt["content_filter_results"]["violence"] == {"filtered": False, "severity": "low"}
    results = answer.choices[0].content_filter_results
    assert results["violence"] == {"filtered": False, "severity": "low"}
    assert client.complete([UserMessage("How rude!")], model="lax").text


def test_a_blocked_answer_ends_where_it_was_blocked(client: InferenceClient) -> None:
    answer = client.complete([UserMessage("What happened?")], model="violent")
    assert answer.finish_reason == "content_filter"
    assert answer.choices[0].content_filter_results["violence"]["filtered"] is True
    assert "fight" not in answer.text
    with client.stream([UserMessage("What happened?")], model="violent") as chunks:
        text = "".join(chunk.text for chunk in chunks)
    assert text == "They began to"
    assert chunks.completion.finish_reason == "content_filter"
    assert chunks.completion.choices[0].content_filter_results["violence"]["severity"] == "high"
    assert chunks.completion.prompt_filter_results


def test_the_same_model_behaves_as_its_deployment_is_configured(client: InferenceClient) -> None:
    answer = client.complete([UserMessage("A fight, Voldemort!")], model="free")
    assert answer.text
    assert answer.prompt_filter_results == ()
    assert answer.choices[0].content_filter_results == {}


def test_the_policy_is_listed(endpoint: LocalEndpoint, client: InferenceClient) -> None:
    account = f"{endpoint.url}/subscriptions/s/resourceGroups/g/providers/M.C/accounts/a"
    found = client.deployments(account)
    assert found["echo"].content_filter == "careful"
    assert found["free"].content_filter == "Microsoft.DefaultV2"


def test_langchain_shows_what_was_found(endpoint: LocalEndpoint) -> None:
    model = ChatAzInfer(endpoint=endpoint.url, credential=endpoint.key, model="violent")
    chunks = list(model.stream("What happened?"))
    whole = sum(chunks[1:], chunks[0])
    told = whole.response_metadata
    assert told["finish_reason"] == "content_filter"
    assert told["content_filter_results"]["violence"]["severity"] == "high"


@pytest.mark.parametrize(
    "wrong",
    [
        {"words": {"rudeness": {}}},
        {"words": {"hate": {"x": "extreme"}}},
        {"threshold": "safe"},
    ],
)
def test_a_filter_that_is_none_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="there are"):
        ContentFilter(**wrong)
