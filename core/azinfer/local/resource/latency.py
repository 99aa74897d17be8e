"""Latency: how long a deployment lets its callers wait, as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from azinfer.local.engines.base import Piece, Sleep
from azinfer.local.wire.options import Options


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a deployment takes, besides what its engine takes.

    Attributes:
        first_token: Seconds before the first token, or before a vector.
        per_token: Seconds before each token after the first.

    Raises:
        ConfigurationError: A time is negative.
    """

    first_token: float = 0.0
    per_token: float = 0.0

    def __post_init__(self) -> None:
        settings = Options({"first_token": self.first_token, "per_token": self.per_token})
        settings.number("first_token", 0)
        settings.number("per_token", 0)

    @classmethod
    def from_wire(cls, told: Any, where: str = "latency") -> Latency:
        """Make one of a table, as a configuration file or the admin route has it.

        Args:
            told: `{"first_token": 0.3, "per_token": 0.02}`, or a number for the first token alone.
            where: What errors call it.

        Raises:
            ConfigurationError: It has another field, or a wrong one.
        """
        given = told if not isinstance(told, int | float) else {"first_token": told}
        settings = Options.of(given, where, ("first_token", "per_token"))
        return cls(settings.number("first_token", 0) or 0, settings.number("per_token", 0) or 0)

    def to_wire(self) -> dict[str, Any]:
        """The table that `from_wire` reads."""
        return {"first_token": self.first_token, "per_token": self.per_token}

    async def before_first(self, sleep: Sleep = asyncio.sleep) -> None:
        """Wait as long as the first token takes."""
        if self.first_token:
            await sleep(self.first_token)

    async def paced(
        self, pieces: AsyncIterator[Piece], sleep: Sleep = asyncio.sleep
    ) -> AsyncGenerator[Piece]:
        """The pieces of an engine, each as late as it is to be."""
        await self.before_first(sleep)
        later = False
        async for piece in pieces:
            # A piece may be many tokens; the first of all has been waited for.
            if wait := self.per_token * (piece.tokens - (not later)):
                await sleep(wait)
            later = later or piece.tokens > 0
            yield piece
