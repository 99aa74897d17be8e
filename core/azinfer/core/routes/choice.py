"""Which deployment of a route takes a call: tiers in order, and in each the less loaded of two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from azinfer.core.routes.affinity import Ring
from azinfer.core.routes.route import Member
from azinfer.core.routes.state import State

_ROUNDS = 4  # pairs that are drawn before all deployments of a tier are looked at
_STEPS = 3  # deployments that a conversation may move on to before load alone decides
_SHORT = 4  # calls that a conversation's own deployment may have in excess of another's


class Tier:
    """Deployments of equal preference.

    Attributes:
        members: The deployments.
        keys: The names by which their states are kept, in the same order.
        weights: How much of the load each takes.
    """

    __slots__ = ("_ring", "keys", "members", "weights")

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self.keys = tuple(member.key for member in members)
        self.weights = tuple(member.weight for member in members)
        self._ring: Ring | None = None

    @property
    def ring(self) -> Ring:
        """The ring that assigns conversations to deployments; made at its first use."""
        if self._ring is None:
            self._ring = Ring(self.keys, self.weights)
        return self._ring


class Need(NamedTuple):
    """What a call asks of a deployment.

    Attributes:
        tokens: The estimate of its tokens.
        avoid: Keys of deployments that it does not go to.
        affinity: The hash of what its prompt begins with; None if any deployment is as good.
    """

    tokens: int = 0
    avoid: Collection[str] = ()
    affinity: int | None = None


class Choice(NamedTuple):
    """Where a call goes.

    Attributes:
        tier: The number of the tier, from 0.
        position: The number of the deployment in the tier.
        why: Why it was chosen.
    """

    tier: int
    position: int
    why: str


def choose(
    tiers: Sequence[Tier],
    states: Mapping[str, State],
    need: Need,
    now: float,
    chance: Callable[[], float],
    last: Sequence[int] = (),
) -> Choice | float:
    """Return which deployment takes a call, or the seconds until one may.

    Args:
        tiers: The deployments, by preference.
        states: The state of each, by its key.
        need: What the call asks of it.
        now: The clock's seconds.
        chance: Random numbers from 0 up to 1.
        last: The deployment of each tier that was chosen last: it is drawn as a third, so that
            the fast one of few is always among them.

    Returns:
        The choice; or seconds, infinite where only the end of another call may free one, or
        if the route has none.
    """
    for number, tier in enumerate(tiers):
        if len(tier.keys) == 1:
            (key,) = tier.keys
            if key not in need.avoid and not states[key].wait(need.tokens, now):
                return Choice(number, 0, "the only one")
            continue
        picker = _Picker(tier, states, need, now)
        if need.affinity is not None:
            index = picker.preferred_index(need.affinity, chance)
            if index is not None:
                return Choice(number, index, "affinity")
        index = picker.lightest(chance, last[number] if number < len(last) else None)
        if index is not None:
            return Choice(number, index, "less loaded")
    waits = [
        states[key].wait(need.tokens, now)
        for tier in tiers
        for key in tier.keys
        if key not in need.avoid
    ]
    return min(waits, default=float("inf"))


class _Picker:
    """The choice inside one tier."""

    __slots__ = ("need", "now", "states", "tier")

    def __init__(self, tier: Tier, states: Mapping[str, State], need: Need, now: float) -> None:
        self.tier, self.states, self.need, self.now = tier, states, need, now

    def free(self, index: int) -> bool:
        """Return whether a deployment can take the call now."""
        key = self.tier.keys[index]
        return key not in self.need.avoid and not self.states[key].wait(self.need.tokens, self.now)

    def lightest(self, chance: Callable[[], float], last: int | None) -> int | None:
        """Return the less loaded of two random deployments and the last one."""
        count = len(self.tier.keys)
        for _ in range(_ROUNDS if count > _ROUNDS else 1):
            first = int(chance() * count)
            second = int(chance() * (count - 1))
            drawn = {first, second + (second >= first)}
            if last is not None and last < count:
                drawn.add(last)
            index = self.lightest_of(drawn)
            if index is not None:
                return index
        return self.lightest_of(range(count))

    def lightest_of(self, indexes: Iterable[int]) -> int | None:
        """Return the least loaded of deployments that can take the call now."""
        tier, states, tokens, now = self.tier, self.states, self.need.tokens, self.now
        best, least = None, float("inf")
        for index in indexes:
            key = tier.keys[index]
            state = states[key]
            if key in self.need.avoid or state.wait(tokens, now):
                continue
            load = state.load(tier.weights[index], now)
            if best is None or load < least:
                best, least = index, load
        return best

    def preferred_index(self, affinity: int, chance: Callable[[], float]) -> int | None:
        """Return where a conversation belongs, unless it is busy."""
        order = self.tier.ring.order(affinity, _STEPS)
        free = [index for index in order if self.free(index)]
        other = self.states[self.tier.keys[int(chance() * len(self.tier.keys))]]
        for index in free:
            state = self.states[self.tier.keys[index]]
            if state is other or state.in_flight < 2 * (other.in_flight + _SHORT):
                return index
        return None
