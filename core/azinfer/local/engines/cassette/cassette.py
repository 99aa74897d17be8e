"""Cassettes: exchanges with an upstream, recorded to a file and answered from it again.

A file has one exchange a line, as JSON: what was asked (operation and body, never a header), and
what was answered, with the seconds at which each part came. Credentials are not written: headers
of requests are left out, of answers only some are kept, and where an answer repeats the
credential it is blotted out.
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
from typing import Any, Literal

import httpx

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.base import EngineError, Sleep
from azinfer.local.engines.cassette.exchanges import Exchange, differences, key_of, normal
from azinfer.local.engines.cassette.transports import Player, Recorder

_BLOT = "[credential]"


class Cassette:
    """A file of exchanges with an upstream.

    Args:
        path: The file.
        mode: `"record"` asks the upstream and writes down what it answers, after what is there
            already; `"replay"` answers from the file alone.
        pace: Whether a replay takes the time that was recorded, or none.
        sleep: How a replay waits.
        clock: Monotonic seconds, for a recording.

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
        self._given: dict[str, int] = {}
        self._exchanges = [] if mode == "record" else self._read()
        if mode == "record":
            self._write("")

    @property
    def models(self) -> list[str]:
        """The models that were asked, in the order in which they first were."""
        told = [each.body.get("model") for each in self._exchanges if isinstance(each.body, dict)]
        return list(dict.fromkeys(model for model in told if isinstance(model, str)))

    def transport(self, inner: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncBaseTransport:
        """What carries the requests of an `UpstreamEngine`.

        Args:
            inner: What carries them to the upstream while it is recorded; left out, the network.
        """
        if self.mode == "replay":
            return Player(self.find, self._sleep if self._pace else None)
        return Recorder(self.add, inner or httpx.AsyncHTTPTransport(), self._clock)

    def add(self, exchange: Exchange, secret: str) -> None:
        """Write one more exchange down.

        Args:
            exchange: What was asked and answered.
            secret: The credential, which is blotted out wherever it is repeated.
        """
        said = "".join(text for _, text in exchange.parts)
        if secret and said.count(secret) > sum(text.count(secret) for _, text in exchange.parts):
            # It lies across two parts.
            exchange = replace(exchange, parts=[(exchange.parts[-1][0], said)])
        line = json.dumps(asdict(exchange))
        if secret:
            line = line.replace(json.dumps(secret)[1:-1], _BLOT)
        self._write(f"{line}\n")
        self._exchanges.append(self._exchange(line, len(self._exchanges) + 1))

    def find(self, operation: str, body: Any) -> Exchange:
        """What was answered to a request; the same request again gets the next answer to it.

        Raises:
            EngineError: Nothing was; the text names the recorded request that is nearest.
        """
        key = key_of(operation, body)
        found = [each for each in self._exchanges if each.key == key]
        if not found:
            raise EngineError(self._nearest(operation, body), "not_recorded")
        count = self._given[key] = self._given.get(key, -1) + 1
        return found[min(count, len(found) - 1)]

    def rewind(self) -> None:
        """Begin again with the first answer to every request."""
        self._given.clear()

    def _nearest(self, operation: str, body: Any) -> str:
        asked, told = key_of(operation, body), f"{self.path} has no recording of this {operation}"
        if not self._exchanges:
            return f"{told} request, nor of any other"
        likeness = [
            difflib.SequenceMatcher(None, asked, each.key, autojunk=False).quick_ratio()
            for each in self._exchanges
        ]
        line = likeness.index(max(likeness))
        nearest = self._exchanges[line]
        if nearest.operation != operation:
            differs = f"asks {nearest.operation}"
        else:
            differs = "differs in " + "; ".join(differences(normal(nearest.body), normal(body)))
        return f"{told} request; the nearest, in line {line + 1}, {differs}"

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
        # A recording that was killed leaves half a line at the end, which is no exchange.
        lines = text.split("\n")[:-1]
        return [self._exchange(line, at) for at, line in enumerate(lines, 1)]

    def _exchange(self, line: str, at: int) -> Exchange:
        try:
            told = json.loads(line)
            told["parts"] = [(float(seconds), str(text)) for seconds, text in told["parts"]]
            return Exchange(**told)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(f"{self.path}, line {at}: no exchange ({error})") from None
