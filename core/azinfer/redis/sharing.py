"""Sharing through Redis: a thread that exchanges leases, breakers and facts with the server."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from azinfer.core.client_config import SharedConfig
from azinfer.core.clock import Clock
from azinfer.core.errors import ConfigurationError
from azinfer.core.redaction import hidden
from azinfer.core.routes.budget import Window
from azinfer.core.routes.lease import Lease
from azinfer.core.routes.plan import Plan
from azinfer.core.routes.state import GivenBack, Leased, News, State
from azinfer.core.routes.traffic import Traffic
from azinfer.redis.facts import Places, facts_of, learn
from azinfer.redis.reports import KINDS, Demand, arguments, left_of, windows_of
from azinfer.redis.scripts import BREAKERS, LEASE

_LOG = logging.getLogger("azinfer.redis")
_TICK = 0.1  # seconds between exchanges while calls are sent
_ACTIVE = 1.0  # seconds after the last call in which exchanges continue
_MOMENT = 0.02  # seconds between exchanges that calls wait for
_FACTS = 1.0  # seconds between exchanges of facts
_FACTS_LAST = 7 * 86_400  # seconds that they are kept after the last exchange
_AGAIN = 1.0  # seconds until a server that does not answer is tried again
# The deployments of a call that waits for an exchange, and what ends its wait.
Request = tuple[Collection[str], threading.Event]
_LEASE = 1.0  # seconds that a lease lasts, at most half a period of its limit


class RedisSharing:
    """Shares the knowledge of routes with the other processes that use the same server.

    Args:
        settings: The server.
        traffic: The traffic that is shared.
        places: Returns the URL of each endpoint, and what is known about it.
        clock: Time.
        environ: Where `"env:NAME"` is looked up; None for the process's environment.

    Raises:
        ConfigurationError: The variable of the URL is not set, or the URL is not valid.
    """

    def __init__(
        self,
        settings: SharedConfig,
        traffic: Traffic,
        places: Callable[[], Places],
        clock: Clock,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._settings, self._traffic, self._clock = settings, traffic, clock
        self._places = places
        self._url = hidden(_url_of(settings.redis, os.environ if environ is None else environ))
        self._connect()

    def _connect(self) -> None:
        """Begin as a process of its own, with a connection of its own."""
        self._pid = os.getpid()
        self._process = os.urandom(6).hex()
        self._exchanging = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting = threading.Lock()  # guards the next, and the end of the thread
        self._request: Request | None = None
        self._demands: dict[str, Demand] = {}
        self._opened: dict[str, float] = {}  # breakers that this process has published
        self._leases: dict[str, Lease] = {}
        self._facts: dict[str, str] = {}
        self._outdated: list[str] = []  # facts that are no longer true
        self._next = self._next_all = self._next_facts = 0.0
        self._missed_at = self._used_at = 0.0
        self._gone = False
        timeout, is_valid = self._settings.timeout, True
        try:
            # A lost answer is not requested again: each exchange sends everything.
            self._server = redis.Redis.from_url(
                self._url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),
                retry_on_timeout=False,
                decode_responses=True,
            )
        except ValueError:
            # Its message may show a part of the password; so it is not even the context.
            is_valid = False
        if not is_valid:
            raise ConfigurationError(
                "[shared] redis is not a valid URL; write redis://:PASSWORD@HOST:PORT/DATABASE, "
                "with %2F for / in the password, %23 for # and %3F for ?"
            )

    def first_lease(self) -> Lease | None:
        """Return the lease of a deployment before the first exchange: nothing."""
        return None if self._gone else Lease(0.0, 0.0, 0.0)

    def refresh(self, plan: Plan) -> None:
        """Bring the leases of a route up to date before a call, if they are old.

        The first call after a pause waits for one exchange, at most for the time-out; then a
        thread continues the exchanges.
        """
        if os.getpid() != self._pid:
            self._connect()  # a forked child
        self._used_at = time.monotonic()
        if self._used_at >= self._next and not self._gone:
            self._wait_for_exchange({key for tier in plan.tiers for key in tier.keys})
        else:
            with self._waiting:
                self._start()

    def miss(self, keys: Collection[str], tokens: int) -> None:
        """Record that a call found no lease for deployments, and request leases.

        The call waits for one exchange of the thread, at most for the time-out, unless another
        call did a moment ago.
        """
        for key in keys:
            self._demands.setdefault(key, Demand()).miss(tokens)
        now = time.monotonic()
        if now - self._missed_at >= _MOMENT and not self._gone:
            self._missed_at = now
            self._wait_for_exchange(keys)
        else:
            self._wake.set()

    def _wait_for_exchange(self, keys: Collection[str]) -> None:
        """Wait for one exchange of the thread, at most for the time-out.

        The thread makes it, because a look-up of the server's name has no time-out: the call, or
        the event loop of an async client, does not wait for it. If the thread makes another one,
        for this call or for others, nothing is waited for.
        """
        done = threading.Event()
        with self._waiting:
            if self._request is not None or self._exchanging.locked():
                self._wake.set()
                return
            self._request = (keys, done)
            self._start()
        self._wake.set()
        if not done.wait(self._settings.timeout):
            self._lose(TimeoutError())

    def _start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        work = (weakref.ref(self), self._wake)
        self._thread = threading.Thread(
            target=_exchange_often, args=work, name="azinfer-redis", daemon=True
        )
        self._thread.start()

    def go_on(self) -> bool:
        """Make the exchanges that are due; return False once no calls are sent any more."""
        request = self._request
        try:
            is_active = self._exchange_due(request[0] if request is not None else ())
        finally:
            if request is not None:
                self._request = None
                request[1].set()
        with self._waiting:
            is_active = is_active or self._request is not None
            self._thread = self._thread if is_active else None
        return is_active

    def _exchange_due(self, requested: Collection[str]) -> bool:
        """Make the exchange that is due; return whether calls are sent."""
        now = time.monotonic()
        is_active = now - self._used_at < _ACTIVE
        if not is_active:
            self._exchange(self._leases.keys(), returning=True)
        elif not self._gone:
            with_all = now >= self._next_all
            self._next_all = now + _ACTIVE / 2 if with_all else self._next_all
            self._exchange({*requested, *(list(self._leases) if with_all else self._used())})
        elif now >= self._next:
            self._exchange(self._traffic.states().keys())
        return is_active

    def _used(self) -> list[str]:
        """Return the deployments whose last lease was used."""
        states = self._traffic.states()
        return [
            key for key, lease in list(self._leases.items()) if states[key].budget.lease != lease
        ]

    def _exchange(self, keys: Collection[str], *, returning: bool = False) -> None:
        """Exchange everything with the server, unless another thread does.

        Args:
            keys: The deployments that need leases, besides those that calls missed.
            returning: Whether leases are given back, because no calls are sent any more.
        """
        if not self._exchanging.acquire(blocking=False):
            return
        try:
            began = time.monotonic()
            self._next = began + _ACTIVE / 2
            self._exchange_once({*list(keys), *list(self._demands)}, returning, began)
        except (redis.RedisError, OSError, ValueError, TypeError) as error:
            # The last two: somebody else has written there.
            if not returning:  # nobody waits for it then
                self._lose(error)
        else:
            if self._gone:
                self._gone = False
                _LOG.info("Redis answers again: limits are shared")
        finally:
            self._exchanging.release()

    def _exchange_once(self, keys: Collection[str], returning: bool, began: float) -> None:
        wanted = self._give_back(keys, returning)
        states, now = self._traffic.states(), self._clock.monotonic()
        names = {key: self._name_of(key) for key in states}
        windows = windows_of({key: states[key] for key in wanted})
        pipe = self._server.pipeline(transaction=False)
        for key, kind, window in windows:
            left = left_of(states[key], kind, now)
            more = max(0.0, wanted[key][kind] - left)
            name = f"{self._settings.prefix}:{kind}:{names[key]}"
            pipe.eval(LEASE, 1, name, *arguments(window, self._process, left, more, now))
        pipe.eval(
            BREAKERS, 1, f"{self._settings.prefix}:breakers", *self._openings(states, names, now)
        )
        with_facts = began >= self._next_facts
        if with_facts:
            self._send_facts(pipe)
        answers = pipe.execute()
        self._apply_leases(windows, answers, states, now)
        self._apply_breakers(names, answers[len(windows)])
        if with_facts:
            self._next_facts = began + _FACTS
            facts = answers[len(windows) + 1]
            self._outdated = learn(facts, self._places(), self._traffic.vector_lengths)

    def _give_back(self, keys: Collection[str], returning: bool) -> dict[str, dict[str, float]]:
        """Return the wanted amount of each limit, and stop using the rest of the leases.

        The latter comes first: another process may get a part that is reported as unused at once.
        """
        states = self._traffic.states()
        wanted: dict[str, dict[str, float]] = {}
        for key in keys:
            if key not in states:
                continue
            demand, lease = self._demands.pop(key, Demand()), self._leases.get(key)
            amounts = {
                kind: 0.0 if returning else demand.wanted(kind, lease, states[key])
                for kind in KINDS
            }
            wanted[key] = amounts
            self._traffic.hear(key, GivenBack(amounts["requests"], amounts["tokens"]))
        return wanted

    def _name_of(self, key: str) -> str:
        """Return the name of a deployment that is the same in all processes."""
        deployment, _, endpoint = key.rpartition("@")
        url, _ = self._places().get(endpoint, (endpoint, None))
        return f"{deployment}@{url}"

    def _openings(
        self, states: Mapping[str, State], names: Mapping[str, str], now: float
    ) -> list[Any]:
        """Return the state of this process's breakers for the server."""
        opened: list[Any] = []
        for key, state in states.items():
            until = state.breaker.until
            if until is None or state.breaker.elsewhere or self._opened.get(key) == until:
                continue
            self._opened[key] = until
            opened += (names[key], max(0.0, until - now), state.breaker.reason)
        closed = [key for key in self._opened if states[key].breaker.until is None]
        for key in closed:
            self._opened.pop(key, None)  # a call that waited too long may have emptied it
        return [self._process, len(opened) // 3, *opened, *(names[key] for key in closed)]

    def _apply_leases(
        self,
        windows: Sequence[tuple[str, str, Window]],
        answers: Sequence[Any],
        states: Mapping[str, State],
        now: float,
    ) -> None:
        amounts: dict[str, dict[str, float]] = {}
        seconds: dict[str, float] = {}
        for (key, kind, window), granted in zip(windows, answers, strict=False):
            left = left_of(states[key], kind, now)
            amounts.setdefault(key, {})[kind] = left + float(granted)
            seconds[key] = min(seconds.get(key, _LEASE), window.period / 2)
        for key, own in amounts.items():
            lease = Lease(now + seconds[key], own.get("requests"), own.get("tokens"))
            self._leases[key] = lease
            self._traffic.hear(key, Leased(lease, states[key].budget.lease))

    def _apply_breakers(self, names: Mapping[str, str], answer: list[str]) -> None:
        now = self._clock.monotonic()
        news = {
            name: (float(seconds), reason)
            for name, seconds, reason in zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        }
        for key, state in self._traffic.states().items():
            name = names.get(key)
            if name in news:
                seconds, reason = news[name]
                if seconds > 0:
                    self._traffic.hear(key, News(now + seconds, reason))
            elif state.breaker.elsewhere:
                self._traffic.hear(key, News(None))

    def _send_facts(self, pipe: Any) -> None:
        facts = facts_of(self._places(), self._traffic.vector_lengths)
        name = f"{self._settings.prefix}:facts"
        pipe.hgetall(name)  # first, to see what is older than what this process has learned
        if self._outdated:
            pipe.hdel(name, *self._outdated)
        fresh = {key: text for key, text in facts.items() if self._facts.get(key) != text}
        if fresh:
            pipe.hset(name, mapping=fresh)
        pipe.expire(name, _FACTS_LAST)
        self._facts = facts

    def _lose(self, error: Exception) -> None:
        """Continue with the limits of this process alone."""
        if not self._gone:
            _LOG.warning(
                "Redis does not answer (%s): each process keeps to the limits by itself until it "
                "does",
                type(error).__name__,
            )
        self._gone = True
        self._next = time.monotonic() + _AGAIN
        self._facts, self._opened, self._leases = {}, {}, {}
        for key, state in self._traffic.states().items():
            if state.budget.lease is not None:
                self._traffic.hear(key, Leased(None))
            if state.breaker.elsewhere:
                self._traffic.hear(key, News(None))


def _exchange_often(reference: weakref.ref[RedisSharing], wake: threading.Event) -> None:
    """Make exchanges while calls are sent; end when there are none, or the client is gone."""
    while True:
        wake.wait(_TICK)
        wake.clear()
        sharing = reference()
        if sharing is None or not sharing.go_on():
            return
        del sharing
        time.sleep(_TICK / 20)


def _url_of(text: str, environ: Mapping[str, str]) -> str:
    if not text.startswith("env:"):
        return text
    variable = text.removeprefix("env:")
    if not environ.get(variable):
        raise ConfigurationError(f"[shared] redis: the variable {variable} is not set")
    return environ[variable]
