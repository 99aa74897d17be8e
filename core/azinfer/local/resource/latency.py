"""Latency: the configured delay of a deployment's responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from azinfer.local.engines.base import Piece, Sleep
from azinfer.local.wire.options import Options


@dataclass(frozen=True, slots=True)
class Latency:
    """The delay of a deployment, in addition to its engine's.

    Attributes:
        first_token: Seconds before the first token, or before a vector.
        per_token: Seconds before each token after the first.

    Raises:
        ConfigurationError: A time is negative.

    Example:
        >>> Latency.from_wire(0.3).first_token
        0.3
    """

    first_token: float = 0.0
    per_token: float = 0.0

    def __post_init__(self) -> None:
        settings = Options({"first_token": self.first_token, "per_token": self.per_token})
        settings.number("first_token", 0)
        settings.number("per_token", 0)

    @classmethod
    def from_wire(cls, value: Any, where: str = "latency") -> Latency:
        """Make a latency from a table of a configuration file or the admin API.

        Args:
            value: `{"first_token": 0.3, "per_token": 0.02}`, or a number for the first token alone.
            where: Its name in errors.

        Raises:
            ConfigurationError: There is an unknown or invalid field.
        """
        table = value if not isinstance(value, int | float) else {"first_token": value}
        settings = Options.of(table, where, ("first_token", "per_token"))
        return cls(settings.number("first_token", 0) or 0, settings.number("per_token", 0) or 0)

    def to_wire(self) -> dict[str, Any]:
        """Return the table that `from_wire` reads."""
        return {"first_token": self.first_token, "per_token": self.per_token}

    async def before_first(self, sleep: Sleep = asyncio.sleep) -> None:
        """Wait for the delay of the first token."""
        if self.first_token:
            await sleep(self.first_token)

    async def pace(
        self, pieces: AsyncIterator[Piece], sleep: Sleep = asyncio.sleep
    ) -> AsyncGenerator[Piece]:
        """Yield the pieces of an engine, each after its delay."""
        await self.before_first(sleep)
        later = False
        async for piece in pieces:
            # A piece may be many tokens; the wait for the first token of all is over.
            if wait := self.per_token * (piece.tokens - (not later)):
                await sleep(wait)
            later = later or piece.tokens > 0
            yield piece
