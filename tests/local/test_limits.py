"""Rate limits and capacity are enforced to one request, on a clock that tests turn."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import (
    Clock,
    ConfigurationError,
    InferenceClient,
    RateLimit,
    RateLimitError,
    UserMessage,
)
from azinfer.local import (
    ContentFilter,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    SyntheticEngine,
)
from pictures import DATA_URL

USER = [{"role": "user", "content": "hi"}]
MINUTE = RateLimit("token", 100, 60)
SLICE = RateLimit("request", 2, 10)


class Turned:
    """A clock that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Turned:
    """A clock that only moves when a test turns it."""
    return Turned()


@pytest.fixture
def serve_deployments(clock: Turned) -> Iterator[Callable[..., httpx.Client]]:
    """Serves deployments on the clock and gives a plain HTTP client of them."""
    opened: list[Any] = []

    def serve(*deployments: LocalDeployment) -> httpx.Client:
        endpoint = LocalEndpoint(deployments, key="k", clock=clock)
        endpoint.start()
        client = httpx.Client(base_url=endpoint.url, headers={"api-key": "k"})
        opened.extend([endpoint.stop, client.close])
        return client

    yield serve
    for close in opened:
        close()


def post_chat(http: httpx.Client, model: str = "chat", **options: Any) -> httpx.Response:
    body = {"messages": USER, "model": model, **options}
    return http.post("/models/chat/completions", json=body)


def test_requests_are_counted_for_each_renewal_period(
    serve_deployments: Callable[..., httpx.Client], clock: Turned
) -> None:
    http = serve_deployments(LocalDeployment("chat", "m", rate_limits=(SLICE,)))
    first, second, third = (post_chat(http) for _ in range(3))
    assert [each.status_code for each in (first, second, third)] == [200, 200, 429]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-renewalperiod-requests"] == "10"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert second.headers["x-ratelimit-reset-requests"] == "10"
    message = "Your requests to chat for m in local have exceeded rate limit."
    assert third.json() == {
        "error": {"code": "RateLimitReached", "message": message, "details": message}
    }
    assert (third.headers["retry-after"], third.headers["retry-after-ms"]) == ("10", "10000")
    clock.now += 9.5
    assert post_chat(http).headers["retry-after-ms"] == "500"
    clock.now += 0.5
    assert post_chat(http).status_code == 200


def test_a_refusal_is_in_the_words_of_the_surface(
    serve_deployments: Callable[..., httpx.Client],
) -> None:
    http = serve_deployments(LocalDeployment("chat", "m", rate_limits=(SLICE,)))
    for _ in range(2):
        post_chat(http)
    for path in ("/openai/v1/chat/completions", "/openai/deployments/chat/chat/completions"):
        error = http.post(path, json={"messages": USER, "model": "chat"}).json()["error"]
        assert error["code"] == "429"
        assert "Please retry after 10 seconds." in error["message"]


def test_tokens_are_admitted_by_estimate_and_settled_by_usage(
    serve_deployments: Callable[..., httpx.Client], clock: Turned
) -> None:
    engine = SyntheticEngine("one two three four")
    http = serve_deployments(LocalDeployment("chat", engine=engine, rate_limits=(MINUTE,)))
    first = post_chat(http, max_tokens=60)
    assert first.headers["x-ratelimit-remaining-tokens"] == "39"
    used = first.json()["usage"]["total_tokens"]
    second = post_chat(http, max_tokens=60)
    assert second.status_code == 200
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == 100 - used - 61
    clock.now += 30
    assert post_chat(http, max_tokens=90).headers["retry-after"] == "30"
    never = post_chat(http, max_tokens=200)
    assert (never.status_code, never.headers["retry-after"]) == (429, "86400")
    clock.now += 30
    assert post_chat(http, max_tokens=90).status_code == 200


def test_a_stream_is_settled_when_it_ends(serve_deployments: Callable[..., httpx.Client]) -> None:
    engine = SyntheticEngine("one two three")
    http = serve_deployments(LocalDeployment("chat", engine=engine, rate_limits=(MINUTE,)))
    assert post_chat(http, max_tokens=90, stream=True).text.endswith("[DONE]\n\n")
    assert int(post_chat(http, max_tokens=1).headers["x-ratelimit-remaining-tokens"]) > 80


def test_the_prompt_of_an_answer_that_is_cut_counts(
    serve_deployments: Callable[..., httpx.Client],
) -> None:
    harsh = ContentFilter("harsh", {"violence": {"fight": "high"}})
    engine = SyntheticEngine("a fight ")
    http = serve_deployments(
        LocalDeployment("chat", engine=engine, rate_limits=(MINUTE,), content_filter=harsh)
    )
    prompt = [{"role": "user", "content": "word" * 60}]
    cut = post_chat(http, messages=prompt)
    assert cut.json()["choices"][0]["finish_reason"] == "content_filter"
    assert post_chat(http, messages=prompt).status_code == 429


def test_embeddings_count_too(serve_deployments: Callable[..., httpx.Client]) -> None:
    http = serve_deployments(LocalDeployment("embed", rate_limits=(RateLimit("token", 10, 60),)))
    body = {"model": "embed", "input": "x" * 40}
    assert http.post("/models/embeddings", json=body).status_code == 200
    again = http.post("/models/embeddings", json=body)
    assert again.status_code == 429 or int(again.headers["x-ratelimit-remaining-tokens"]) < 10


def test_deployments_of_one_model_have_separate_limits(
    serve_deployments: Callable[..., httpx.Client],
) -> None:
    engine = SyntheticEngine()
    http = serve_deployments(
        LocalDeployment("small", "m", engine, rate_limits=(RateLimit("request", 1, 10),)),
        LocalDeployment("large", "m", engine, rate_limits=(RateLimit("request", 3, 10),)),
        LocalDeployment("free", "m", engine),
    )
    fields = {
        name: [post_chat(http, name).status_code for _ in range(5)].count(200)
        for name in ("small", "large", "free")
    }
    assert fields == {"small": 1, "large": 3, "free": 5}
    assert not [name for name in post_chat(http, "free").headers if name.startswith("x-ratelimit")]


def test_refused_and_broken_requests_free_their_place(
    serve_deployments: Callable[..., httpx.Client],
) -> None:
    class Broken(SyntheticEngine):
        async def chat(self, prompt: Prompt) -> Any:
            raise RuntimeError("bug")
            yield

    http = serve_deployments(
        LocalDeployment("chat", engine=Broken(), capacity_type="ProvisionedManaged", capacity=1)
    )
    for stream in (False, True, False):
        answer = post_chat(http, stream=stream)
        assert answer.status_code == 500
        assert answer.headers["azure-openai-deployment-utilization"] == "100%"


def test_limits_are_exact_under_load() -> None:
    """Of 200 requests at once, of every kind, exactly as many are served as are allowed."""
    limits = (RateLimit("request", 50, 3600),)
    with LocalEndpoint([LocalDeployment("chat", rate_limits=limits)]) as endpoint:

        async def all_of_them() -> list[tuple[int, str]]:
            opened = httpx.Limits(max_connections=200)
            headers = {"api-key": endpoint.key}
            async with httpx.AsyncClient(
                base_url=endpoint.url, headers=headers, limits=opened, timeout=60
            ) as http:
                asking = (
                    http.post(path, json=body)
                    for path, body in (_KINDS[at % len(_KINDS)] for at in range(200))
                )
                answers = await asyncio.gather(*asking)
                return [
                    (each.status_code, each.headers["x-ratelimit-remaining-requests"])
                    for each in answers
                ]

        result = asyncio.run(all_of_them())
    served = sorted(int(left) for status, left in result if status == 200)
    assert served == list(range(50))
    assert [each for each in result if each[0] != 200] == [(429, "0")] * 150


def test_limits_are_exact_across_threads_and_spillover() -> None:
    """Of 20 threads with a client each, exactly as many are served as both deployments allow."""
    limits = (RateLimit("request", 30, 3600),)
    deployments = [
        LocalDeployment("ptu", "m", rate_limits=limits, spillover="std"),
        LocalDeployment("std", "m", rate_limits=limits),
    ]
    values: list[tuple[int, str]] = []
    with LocalEndpoint(deployments) as endpoint:
        url = f"{endpoint.url}/openai/v1/chat/completions"

        def ask() -> None:
            with httpx.Client(headers={"api-key": endpoint.key}, timeout=60) as http:
                for _ in range(10):
                    answer = http.post(url, json={"model": "ptu", "messages": USER})
                    values.append((answer.status_code, answer.headers["x-ms-deployment-name"]))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(values) == {(200, "ptu"): 30, (200, "std"): 30, (429, "std"): 140}


_KINDS: list[tuple[str, dict[str, Any]]] = [
    ("/models/chat/completions", {"model": "chat", "messages": USER}),
    ("/openai/v1/chat/completions", {"model": "chat", "messages": USER, "stream": True}),
    ("/openai/deployments/chat/embeddings", {"input": "text"}),
    ("/openai/v1/responses", {"model": "chat", "input": "hi"}),
    ("/openai/responses", {"model": "chat", "input": "hi", "stream": True}),
    ("/openai/deployments/chat/completions", {"prompt": "hi"}),
    (
        "/models/images/embeddings",
        {"model": "chat", "input": [{"image": DATA_URL}]},
    ),
]


def test_tokens_are_exact_under_load() -> None:
    """Each request is a token by estimate and by usage; a minute has 50 of them."""
    limits = (RateLimit("token", 50, 3600),)
    with LocalEndpoint([LocalDeployment("embed", rate_limits=limits)]) as endpoint:
        body = {"model": "embed", "input": "text"}

        async def all_of_them() -> list[int]:
            headers = {"api-key": endpoint.key}
            async with httpx.AsyncClient(headers=headers, timeout=60) as http:
                url = f"{endpoint.url}/openai/v1/embeddings"
                answers = await asyncio.gather(*(http.post(url, json=body) for _ in range(200)))
                return [each.status_code for each in answers]

        result = asyncio.run(all_of_them())
    assert (result.count(200), result.count(429)) == (50, 150)


@pytest.mark.parametrize("kind", _KINDS, ids=lambda kind: kind[0])
def test_every_answer_has_the_remaining_limits(
    serve_deployments: Callable[..., httpx.Client], kind: tuple[str, dict[str, Any]]
) -> None:
    http = serve_deployments(
        LocalDeployment("chat", "m", rate_limits=(SLICE, RateLimit("token", 900, 60)))
    )
    path, body = kind
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    headers = {name: value for name, value in answer.headers.items() if "ratelimit" in name}
    tokens = headers.pop("x-ratelimit-remaining-tokens")
    assert 800 < int(tokens) < 900
    assert headers == {
        "x-ratelimit-key": "m",
        "x-ratelimit-abusepenalty-active": "False",
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "10",
        "x-ratelimit-renewalperiod-requests": "10",
        "x-ratelimit-limit-tokens": "900",
        "x-ratelimit-reset-tokens": "60",
        "x-ratelimit-renewalperiod-tokens": "60",
    }
    assert answer.headers["x-ms-is-spilled-over"] == "false"
    http.post(path, json=body)
    refused = http.post(path, json=body)
    assert (refused.status_code, refused.headers["retry-after-ms"]) == (429, "10000")
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ms-deployment-name"] == "chat"
    # What is wrong is refused before it counts, and reports what is left too.
    wrong = http.post(path, json={**body, "input": 7, "messages": 7, "prompt": 7})
    assert wrong.status_code in (400, 422)
    assert wrong.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    ("capacity_type", "limits"),
    [
        ("Standard", (RateLimit("request", 7, 10), RateLimit("token", 7000, 60))),
        ("DataZoneStandard", (RateLimit("request", 7, 10), RateLimit("token", 7000, 60))),
        ("DeveloperTier", (RateLimit("request", 7, 10), RateLimit("token", 7000, 60))),
        ("GlobalProvisionedManaged", ()),
        ("GlobalBatch", ()),
    ],
)
def test_limits_follow_from_a_standard_capacity(
    capacity_type: str, limits: tuple[RateLimit, ...]
) -> None:
    assert LocalDeployment("d1", capacity_type=capacity_type, capacity=7).limits == limits
    assert LocalDeployment("d1", capacity_type=capacity_type).limits == ()
    own = LocalDeployment("d1", capacity_type=capacity_type, capacity=7, rate_limits=(SLICE,))
    assert own.limits == (SLICE,)
    none = LocalDeployment("d1", capacity_type=capacity_type, capacity=7, rate_limits=())
    assert none.limits == ()


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"capacity_type": "GlobalStandart"}, "did you mean 'GlobalStandard'?"),
        ({"capacity": 0}, "capacity must be between 1 and 1000000, not 0"),
        ({"rate_limits": (RateLimit("call", 1, 1),)}, "not 'call'"),
        ({"rate_limits": (RateLimit("token", 0, 1),)}, "0 in 1 s is not valid"),
        ({"rate_limits": (RateLimit("token", 1, float("nan")),)}, "in nan s is not valid"),
        ({"rate_limits": (SLICE, SLICE)}, "one rate limit for requests"),
    ],
)
def test_an_invalid_configuration_is_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        LocalDeployment("d1", **facts)


def test_a_client_that_leaves_before_the_first_byte_frees_its_place() -> None:
    class Late(SyntheticEngine):
        """Writes its first word once the client is gone."""

        async def chat(self, prompt: Prompt) -> Any:
            assert endpoint._server is not None
            while not here.is_set() or (not gone and endpoint._server.server_state.connections):
                here.set()
                await asyncio.sleep(0)
            gone.append(True)
            yield Piece("late")
            yield Piece("", 0, "stop", 1)

    here, gone = threading.Event(), list[bool]()
    deployment = LocalDeployment("ptu", engine=Late(), capacity_type="ProvisionedManaged")
    body = json.dumps({"model": "ptu", "messages": USER, "stream": True})
    with LocalEndpoint([deployment]) as endpoint:
        address = ("127.0.0.1", int(endpoint.url.rpartition(":")[2]))
        sent = (
            "POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
            f"api-key: {endpoint.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        )
        with socket.create_connection(address) as client:
            client.sendall(sent.encode())
            assert here.wait(10)
        with InferenceClient(endpoint.url, endpoint.key, "ptu", max_retries=0) as asking:
            while not endpoint.requests:
                pass
            assert asking.complete([UserMessage("hi")]).text == "late"


def test_provisioned_capacity_limits_concurrent_requests() -> None:
    inside, go_on = threading.Semaphore(0), threading.Event()

    class Slow(SyntheticEngine):
        async def chat(self, prompt: Prompt) -> Any:
            inside.release()
            await asyncio.to_thread(go_on.wait)
            yield Piece("done")
            yield Piece("", 0, "stop", 1)

    deployment = LocalDeployment(
        "ptu", engine=Slow(), capacity_type="GlobalProvisionedManaged", capacity=2
    )
    with LocalEndpoint([deployment]) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, "ptu", max_retries=0)
        threads = [
            threading.Thread(target=client.complete, args=([UserMessage("hi")],)) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for _ in range(2):
            assert inside.acquire(timeout=10)
        with pytest.raises(RateLimitError) as caught:
            client.complete([UserMessage("hi")])
        assert caught.value.retry_after == 1
        assert "The provisioned deployment ptu is at 100% of its capacity" in str(caught.value)
        body = {"model": "ptu", "messages": USER}
        url = f"{endpoint.url}/openai/v1/chat/completions"
        answer = httpx.post(url, json=body, headers={"api-key": endpoint.key}).headers
        assert (answer["retry-after"], answer["retry-after-ms"]) == ("1", "1000")
        assert answer["azure-openai-deployment-utilization"] == "100%"
        refused = endpoint.requests[-1]
        assert (refused.status, refused.deployment) == (429, "ptu")
        go_on.set()
        for thread in threads:
            thread.join()
        assert client.complete([UserMessage("hi")]).text == "done"


def test_our_client_waits_for_retry_after() -> None:
    clock = Turned()

    class Waiting(Clock):
        def sleep(self, seconds: float) -> None:
            clock.now += seconds

    limits = (RateLimit("request", 1, 10),)
    with LocalEndpoint([LocalDeployment("chat", rate_limits=limits)], clock=clock) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, "chat", clock=Waiting())
        for _ in range(3):
            assert client.complete([UserMessage("hi")]).text
    assert clock.now == 1020
