"""Cassettes: exchanges with an upstream, recorded to a file and replayed from it.

A file has one exchange per line, as JSON: the request (operation and body, never a header) and the
response, with the seconds at which each part arrived. Credentials are not written: headers
of requests are left out, of responses only some are kept, and if a response repeats the
credential it is replaced.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.base import EngineError, Sleep
from azinfer.local.engines.cassette.exchanges import Exchange, differences, key_of, normal

if TYPE_CHECKING:
    import httpx

# How many recorded requests an unknown one is compared with, and how much of each.
_MOST_COMPARED, _COMPARED = 20, 2000
_BLOT = "[credential]"


class Cassette:
    """A file of exchanges with an upstream.

    Args:
        path: The file.
        mode: `"record"` asks the upstream and appends its responses to the file;
            `"replay"` answers from the file only.
        pace: Whether a replay takes as long as the recording.
        sleep: Waits for a number of seconds, in a replay.
        clock: Returns monotonic seconds, for a recording.

    Raises:
        ConfigurationError: The file cannot be written, or cannot be read.

    Example:
        cassette = Cassette("chat.jsonl", "record")
        engine = UpstreamEngine(url, key, transport=cassette.transport())
    """

    def __init__(
        self,
        path: str | Path,
        mode: Literal["record", "replay"] = "replay",
        *,
        pace: bool = True,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path)
        self.mode = mode
        self._pace, self._sleep, self._clock = pace, sleep, clock
        self._lock = threading.Lock()
        self._positions: dict[str, int] = {}
        self._exchanges: list[Exchange] = []
        self._keys: list[str] = []
        self._by_key: dict[str, list[Exchange]] = {}
        for exchange in [] if mode == "record" else self._read():
            self._keep(exchange)
        if mode == "record":
            self._write("")

    @property
    def models(self) -> list[str]:
        """The models of the requests, in the order in which they first appear."""
        names = [each.body.get("model") for each in self._exchanges if isinstance(each.body, dict)]
        return list(dict.fromkeys(model for model in names if isinstance(model, str)))

    def transport(self, inner: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncBaseTransport:
        """Return the transport for an `UpstreamEngine`.

        Args:
            inner: The transport to the upstream while recording; the network by default.
        """
        # An endpoint without a cassette needs no httpx.
        import httpx

        from azinfer.local.engines.cassette.transports import Player, Recorder

        if self.mode == "replay":
            return Player(self.find, self._sleep if self._pace else None)
        return Recorder(self.add, inner or httpx.AsyncHTTPTransport(), self._clock)

    def add(self, exchange: Exchange, secret: str) -> None:
        """Append an exchange to the file.

        Args:
            exchange: The request and its response.
            secret: The credential, which is replaced wherever it is repeated.
        """
        part = "".join(part for _, part in exchange.parts)
        if secret and part.count(secret) > sum(part.count(secret) for _, part in exchange.parts):
            # The secret spans two parts.
            exchange = replace(exchange, parts=[(exchange.parts[-1][0], part)])
        line = json.dumps(asdict(exchange))
        if secret:
            line = line.replace(json.dumps(secret)[1:-1], _BLOT)
        # Only the file grows: a recording may run for weeks, and answers nothing itself.
        self._write(f"{line}\n")

    def find(self, operation: str, body: Any) -> Exchange:
        """Return the response to a request; the same request again gets the next response.

        Raises:
            EngineError: No such request is recorded; the message names the nearest one.
        """
        key = key_of(operation, body)
        matches = self._by_key.get(key)
        if not matches:
            raise EngineError(self._nearest(operation, body), "not_recorded")
        count = self._positions[key] = self._positions.get(key, -1) + 1
        return matches[min(count, len(matches) - 1)]

    def rewind(self) -> None:
        """Start again with the first response to every request."""
        self._positions.clear()

    def _keep(self, exchange: Exchange) -> None:
        key = exchange.key
        self._exchanges.append(exchange)
        self._keys.append(key)
        self._by_key.setdefault(key, []).append(exchange)

    def _nearest(self, operation: str, body: Any) -> str:
        key, message = key_of(operation, body), f"{self.path} has no recording of this {operation}"
        if not self._exchanges:
            return f"{message} request, nor of any other"
        # Only requests of about the same length can be near, and a comparison takes long.
        by_length = sorted(
            range(len(self._keys)), key=lambda at: abs(len(self._keys[at]) - len(key))
        )
        matcher = difflib.SequenceMatcher(None, "", key[:_COMPARED], autojunk=False)

        def likeness(at: int) -> float:
            matcher.set_seq1(self._keys[at][:_COMPARED])
            return matcher.quick_ratio()

        line = max(sorted(by_length[:_MOST_COMPARED]), key=likeness)
        nearest = self._exchanges[line]
        if nearest.operation != operation:
            differs = f"asks {nearest.operation}"
        else:
            differs = "differs in " + "; ".join(differences(normal(nearest.body), normal(body)))
        return f"{message} request; the nearest, in line {line + 1}, {differs}"

    def _write(self, line: str) -> None:
        try:
            with self._lock, self.path.open("a", encoding="ascii") as file:
                file.write(line)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be written: {error.strerror}") from None

    def _read(self) -> list[Exchange]:
        try:
            text = self.path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(f"{self.path} cannot be read: {reason}") from None
        # A recording that was killed leaves half a line at the end, which is ignored.
        lines = text.split("\n")[:-1]
        return [self._exchange(line, at) for at, line in enumerate(lines, 1)]

    def _exchange(self, line: str, at: int) -> Exchange:
        try:
            fields = json.loads(line)
            fields["parts"] = [(float(seconds), str(text)) for seconds, text in fields["parts"]]
            return Exchange(**fields)
        except (ValueError, TypeError, KeyError) as error:
            reason = f"{self.path}, line {at}: not a valid exchange ({error})"
            raise ConfigurationError(reason) from None
