"""The choice of the deployment for a call, on a virtual clock."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azinfer.core.routes.affinity import Ring, affinity_of
from azinfer.core.routes.breaker import Breaker
from azinfer.core.routes.choice import Choice, Need, Tier, choose
from azinfer.core.routes.policy import Policy
from azinfer.core.routes.route import Member
from azinfer.core.routes.state import Begun, Permit, State, Succeeded, apply_event

OPEN = State(breaker=Breaker(until=50.0))
FULL = State(in_flight=1, concurrency=1)


def tier(*names: str) -> Tier:
    return Tier([Member.parse(name) for name in names])


def key_of(choice: Choice | float, tiers: list[Tier]) -> str:
    assert isinstance(choice, Choice)
    return tiers[choice.tier].keys[choice.position]


def pick(tiers: list[Tier], states: dict[str, State], need: Need | None = None) -> Choice | float:
    everything = {key: State() for each in tiers for key in each.keys}
    chance = random.Random(1).random
    return choose(tiers, {**everything, **states}, need or Need(), 10.0, chance)


def test_tiers_come_in_order() -> None:
    tiers = [tier("a@m"), tier("b@m", "c@m")]
    assert key_of(pick(tiers, {}), tiers) == "a@m"
    assert key_of(pick(tiers, {"a@m": OPEN, "b@m": FULL}), tiers) == "c@m"
    assert key_of(pick(tiers, {}, Need(avoid={"a@m", "c@m"})), tiers) == "b@m"


def test_the_wait_is_for_the_soonest() -> None:
    tiers = [tier("a@m"), tier("b@m")]
    sooner = State(breaker=Breaker(until=30.0))
    assert pick(tiers, {"a@m": OPEN, "b@m": sooner}) == 20.0
    assert pick(tiers, {"a@m": OPEN, "b@m": sooner}, Need(avoid={"b@m"})) == 40.0
    assert pick(tiers, {"a@m": FULL, "b@m": FULL}) == float("inf")
    assert pick(tiers, {}, Need(avoid={"a@m", "b@m"})) == float("inf")


def test_the_only_free_deployment_is_chosen() -> None:
    names = [f"d{number}@m" for number in range(200)]
    tiers = [tier(*names)]
    states = {name: OPEN for name in names if name != "d77@m"}
    assert key_of(pick(tiers, states), tiers) == "d77@m"


@given(st.integers(2, 9), st.integers(0, 2**32))
def test_only_free_deployments_are_chosen(count: int, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"d{number}@m" for number in range(count)]
    states = {name: chance.choice([OPEN, FULL, State()]) for name in names}
    tiers = [tier(*names)]
    choice = choose(tiers, states, Need(affinity=seed), 10.0, chance.random, [0])
    if isinstance(choice, Choice):
        assert states[names[choice.position]] == State()
    else:
        assert State() not in states.values()


def simulate(latencies: dict[str, float], calls: int, at_once: int) -> dict[str, int]:
    """Return how many calls each deployment gets when this many run at once."""
    chance, policy, tiers = random.Random(5), Policy(), [tier(*latencies)]
    states = {key: State() for key in tiers[0].keys}
    counts = dict.fromkeys(tiers[0].keys, 0)
    running: list[tuple[float, int, str, Permit]] = []
    now, last = 0.0, 0
    for number in range(calls):
        if len(running) == at_once:
            now, _, key, permit = heapq.heappop(running)
            states[key] = apply_event(states[key], Succeeded(permit, {}), now, policy)
        choice = choose(tiers, states, Need(), now, chance.random, [last])
        assert isinstance(choice, Choice)
        last = choice.position
        key = tiers[0].keys[last]
        permit = Permit(now, 0, False)
        states[key] = apply_event(states[key], Begun(permit), now, policy)
        counts[key] += 1
        took = latencies[str(tiers[0].members[last])] * chance.uniform(0.9, 1.1)
        heapq.heappush(running, (now + took, number, key, permit))
    return counts


def test_few_calls_go_to_slow_deployments() -> None:
    counts = simulate({"a@m": 0.3, "b@m": 0.3, "c@m": 0.02}, 400, 4)
    assert counts["a@m"] + counts["b@m"] <= 0.05 * 400


def test_calls_are_spread_by_weight() -> None:
    tiers = [tier("a@m:3", "b@m")]
    chance, policy = random.Random(2), Policy()
    states = {key: State(latency=1.0) for key in tiers[0].keys}
    for _ in range(100):
        choice = choose(tiers, states, Need(), 0.0, chance.random)
        assert isinstance(choice, Choice)
        key = tiers[0].keys[choice.position]
        states[key] = apply_event(states[key], Begun(Permit(0.0, 0, False)), 0.0, policy)
    assert states["a@m"].in_flight in range(73, 78)


def test_a_conversation_stays_where_it_was() -> None:
    tiers = [tier("a@m", "b@m", "c@m")]
    home = key_of(pick(tiers, {}, Need(affinity=123)), tiers)
    assert all(key_of(pick(tiers, {}, Need(affinity=123)), tiers) == home for _ in range(20))
    busy = {home: State(in_flight=7, latency=0.5)}
    assert key_of(pick(tiers, busy, Need(affinity=123)), tiers) == home


def test_a_conversation_yields_where_its_place_is_busy() -> None:
    tiers = [tier("a@m", "b@m", "c@m")]
    home = key_of(pick(tiers, {}, Need(affinity=123)), tiers)
    second = key_of(pick(tiers, {home: FULL}, Need(affinity=123)), tiers)
    assert second != home
    seeds = random.Random(3)
    busy = {key: State() for key in tiers[0].keys} | {home: State(in_flight=9, latency=0.5)}
    others = set()
    for _ in range(30):
        choice = choose(tiers, busy, Need(affinity=123), 10.0, seeds.random)
        others.add(key_of(choice, tiers))
    assert second in others
    everywhere = {key: State(in_flight=9, concurrency=9) for key in tiers[0].keys}
    assert choose(tiers, everywhere, Need(affinity=123), 10.0, seeds.random) == float("inf")


def test_the_least_loaded_deployment_is_chosen() -> None:
    tiers = [tier(*(f"d{number}@m" for number in range(6)))]
    order = tiers[0].ring.order(9, 3)
    idle = next(index for index in range(6) if index not in order)
    states = {key: State(in_flight=50, latency=1.0) for key in tiers[0].keys}
    states[tiers[0].keys[idle]] = State(latency=1.0)
    draws = iter([(idle + 0.5) / 6, (idle + 0.5) / 6, 0.5])
    choice = choose(tiers, states, Need(affinity=9), 10.0, lambda: next(draws))
    assert choice == Choice(0, idle, "less loaded")


@settings(deadline=None)
@given(st.lists(st.text("abcdef", min_size=1, max_size=4), unique=True, min_size=2, max_size=8))
def test_one_more_deployment_moves_only_what_goes_to_it(names: list[str]) -> None:
    ring, smaller = Ring(names, [1.0] * len(names)), Ring(names[1:], [1.0] * (len(names) - 1))
    for place in range(0, 2**64, 2**59):
        (owner,) = ring.order(place, 1)
        if owner != 0:
            assert smaller.order(place, 1) == [owner - 1]
    assert sorted(ring.order(5, 100)) == list(range(len(names)))


SYSTEM = {"role": "system", "content": "Be brief."}
LONG = {"role": "developer", "content": "x" * 5000}
USER = {"role": "user", "content": "Hello"}
OTHER = {"role": "user", "content": "Good morning"}


def test_what_calls_begin_with_decides_where_they_go() -> None:
    place = affinity_of("prefix", [SYSTEM, USER], {})
    assert place == affinity_of("prefix", [SYSTEM, USER, {"role": "assistant"}, OTHER], {})
    assert place != affinity_of("prefix", [SYSTEM, OTHER], {})
    assert affinity_of("prefix", [LONG, USER], {}) == affinity_of("prefix", [LONG, OTHER], {})
    assert affinity_of("prefix", [LONG], {}) == affinity_of("prefix", [LONG, OTHER], {})
    assert affinity_of("prefix", [], {}) is None


@pytest.mark.parametrize("mode", ["key", "prefix"])
def test_a_key_of_the_caller_wins(mode: str) -> None:
    place = affinity_of(mode, [USER], {"prompt_cache_key": "team"})
    assert place == affinity_of(mode, [OTHER], {"prompt_cache_key": "team"})
    assert affinity_of("off", [USER], {"prompt_cache_key": "team"}) is None
    assert affinity_of("key", [USER], {}) is None
