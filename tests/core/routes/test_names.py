"""What a name means, what a route contains, and what a guard forbids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azinfer.core import (
    AmbiguousDeploymentError,
    ConfigurationError,
    Deployment,
    DeploymentNotFoundError,
    Deployments,
    RateLimit,
)
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.guard import EMBEDDING_GUARDS, difference
from azinfer.core.routes.plan import Plan, plan
from azinfer.core.routes.resolution import Directory, resolve
from azinfer.core.routes.route import Member, Nested, Route

CHAT = Route("Chat", [["GPT-4o@main"], ["gpt-4o@west"]])
DIRECTORY = Directory(
    "main",
    {
        "main": Deployments([Deployment("GPT-4o"), Deployment("embed")]),
        "west": Deployments([Deployment("gpt-4o"), Deployment("Phi-4"), Deployment("twice")]),
        "east": Deployments([Deployment("twice")]),
    },
    routes={"chat": CHAT},
    aliases={"fast": "phi-4@west", "talk": "CHAT"},
)


@pytest.mark.parametrize(
    ("name", "rule", "deployment", "endpoint"),
    [
        ("GPT-4O@West", "name@endpoint", "gpt-4o", "west"),
        ("new@east", "name@endpoint", "new", "east"),
        (" chat ", "route", None, None),
        ("Talk", "alias, route", None, None),
        ("FAST", "alias, name@endpoint", "Phi-4", "west"),
        ("gpt-4o", "default endpoint", "GPT-4o", "main"),
        ("PHI-4", "other endpoint", "Phi-4", "west"),
        ("unheard-of", "passed through", "unheard-of", "main"),
    ],
)
def test_a_name_is_resolved(
    name: str, rule: str, deployment: str | None, endpoint: str | None
) -> None:
    meaning = resolve(name, DIRECTORY)
    assert (meaning.requested, meaning.rule) == (name, rule)
    assert (meaning.deployment, meaning.endpoint) == (deployment, endpoint)
    assert (meaning.route is CHAT) is rule.endswith("route")


def test_a_name_of_several_endpoints_is_ambiguous() -> None:
    with pytest.raises(AmbiguousDeploymentError, match="write twice@west or twice@east") as caught:
        resolve("TWICE", DIRECTORY)
    assert caught.value.candidates == ("twice@west", "twice@east")


def test_an_unknown_name_is_refused_where_all_are_known() -> None:
    listed = Directory("main", DIRECTORY.endpoints, frozenset({"main", "west"}), {"chat": CHAT})
    with pytest.raises(DeploymentNotFoundError, match="Did you mean 'GPT-4o'") as caught:
        resolve("gpt4o", listed)
    assert caught.value.suggestions[0] == "GPT-4o"
    with pytest.raises(DeploymentNotFoundError, match="'zzz@west' is not a known"):
        resolve("zzz@west", listed)
    with pytest.raises(DeploymentNotFoundError, match=r"Endpoints: main, west, east\."):
        resolve("gpt-4o@wst", DIRECTORY)


@given(st.text(max_size=12))
def test_every_name_has_one_meaning_or_one_error(name: str) -> None:
    try:
        meaning = resolve(name, DIRECTORY)
    except (AmbiguousDeploymentError, DeploymentNotFoundError):
        return
    assert (meaning.route is None) is (meaning.endpoint is not None)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("gpt-4o", Member("gpt-4o")),
        ("gpt-4o@west", Member("gpt-4o", "west")),
        (" llama3:8b@local:0.5 ", Member("llama3:8b", "local", 0.5)),
        ("llama3:8b", Member("llama3:8b")),
    ],
)
def test_a_deployment_is_parsed_from_text(text: str, member: Member) -> None:
    assert Member.parse(text) == member


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not name a deployment"),
        ("a@", "does not name a deployment"),
        ("@west", "does not name a deployment"),
        ("a@west:x", "weight must be a number above 0, not 'x'"),
        ("a@west:0", "weight must be above 0, not 0.0"),
        ("a@west:inf", "weight must be above 0"),
        ("a@west:nan", "weight must be above 0"),
    ],
)
def test_an_invalid_deployment_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Member.parse(text)


def test_a_route_is_parsed_from_texts() -> None:
    route = Route("chat", [["a@main", Member("b", "west", 2)], ["route:cheap"]], params={"n": 1})
    assert route.tiers == ((Member("a", "main"), Member("b", "west", 2)), (Nested("cheap"),))
    assert route == Route("chat", [["a@main", "b@west:2"], ["route:cheap"]], params={"n": 1})


@pytest.mark.parametrize(
    ("tiers", "guard", "reason"),
    [
        ([], (), "at least one deployment in each tier"),
        ([["a"], []], (), "at least one deployment in each tier"),
        ([["route:x"], ["a"]], (), "may only be the last tier"),
        ([["a"], ["route:x", "b"]], (), "may only be the last tier"),
        ([["route:"]], (), "does not name a deployment"),
        ([["a"]], ("region",), "guard 'region' is unknown; choose from content_filter"),
    ],
)
def test_an_invalid_route_is_refused(
    tiers: list[list[str]], guard: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Route("chat", tiers, guard=guard)


def test_a_route_needs_a_name() -> None:
    with pytest.raises(ConfigurationError):
        Route(" ", [["a"]])


def members(ready: Plan) -> list[list[str]]:
    return [[str(member) for member in tier.members] for tier in ready.tiers]


def reasons(ready: Plan) -> dict[str, str]:
    return {str(member): reason for member, (_, reason) in ready.refused.items()}


def test_provisioned_deployments_come_first_in_their_tier() -> None:
    known = [Deployment("a"), Deployment("b", capacity_type="GlobalProvisionedManaged")]
    directory = Directory("main", {"main": Deployments(known)})
    ready = plan(Route("r", [["a", "B"], ["c"]]), directory, {})
    assert members(ready) == [["b@main"], ["a@main"], ["c@main"]]


def test_the_tiers_of_a_fallback_route_come_last() -> None:
    routes = {
        "cheap": Route("cheap", [["small@west"], ["route:last"]]),
        "last": Route("Last", [["tiny@east"]]),
    }
    directory = Directory("main", DIRECTORY.endpoints, routes=routes)
    ready = plan(Route("chat", [["gpt-4o"], ["route:CHEAP"]]), directory, {})
    assert members(ready) == [["GPT-4o@main"], ["small@west"], ["tiny@east"]]


@pytest.mark.parametrize(
    ("tiers", "reason"),
    [
        ([["a@nowhere"]], "a@nowhere names an unknown endpoint; choose from main, west, east"),
        ([["route:nothing"]], "there is no route 'nothing'"),
        ([["a"], ["route:other"]], "route 'other' contains itself: chat → other → chat"),
        ([["a"], ["A@main"]], "A@main appears in it twice"),
    ],
)
def test_invalid_contents_of_a_route_are_refused(tiers: list[list[str]], reason: str) -> None:
    route = Route("chat", tiers)
    routes = {"chat": route, "other": Route("other", [["b"], ["route:Chat"]])}
    directory = Directory("main", DIRECTORY.endpoints, routes=routes)
    with pytest.raises(ConfigurationError, match=reason):
        plan(route, directory, {})


def test_guards_exclude_deployments_that_differ() -> None:
    known = [
        Deployment("a", "gpt-4o", model_version="1", content_filter="strict"),
        Deployment("b", "GPT-4o", model_version="1", content_filter="Strict"),
        Deployment("c", "gpt-4o", model_version="2", content_filter="lax"),
        Deployment("d", "gpt-4o"),
    ]
    directory = Directory("main", {"main": Deployments(known)})
    route = Route("r", [["a"], ["b", "c", "d"]], guard=["content_filter"])
    ready = plan(route, directory, {})
    assert members(ready) == [["a@main"], ["b@main"]]
    assert reasons(ready)["c@main"] == "content_filter is 'lax', not 'strict'"
    assert reasons(ready)["d@main"].startswith("content_filter is not known; state it in")
    embedding = plan(Route("r", [["a"], ["b", "c", "d"]]), directory, {}, EMBEDDING_GUARDS)
    assert members(embedding) == [["a@main"], ["b@main"]]
    assert reasons(embedding)["c@main"] == "model_version is '2', not '1'"
    alone = plan(Route("r", [["d"]], guard=["model_version"]), directory, {})
    assert members(alone) == [["d@main"]]


def test_the_data_zone_is_that_of_the_endpoint_unless_the_deployment_is_global() -> None:
    eu = Facts.of(Deployment("a", capacity_type="DataZoneStandard"), "eu")
    world = Facts.of(Deployment("a", capacity_type="GlobalStandard"), "eu")
    assert difference(["data_zone"], eu, world) == "data_zone is 'global', not 'eu'"
    assert difference(["data_zone"], eu, eu) is None


def test_rate_limits_become_budgets() -> None:
    limits = (RateLimit("request", 10, 10), RateLimit("token", 5000, 60))
    facts = Facts.of(Deployment("a", rate_limits=limits, concurrency=4))
    assert (facts.requests, facts.tokens, facts.concurrency) == ((10, 10), (5000, 60), 4)
