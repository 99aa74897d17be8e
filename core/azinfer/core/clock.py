"""Time and random numbers, passed as an argument, so that tests do not have to wait."""

import time

from azinfer.core.waits import sleep_in_steps


class Clock:
    """The system's clock; tests pass a subclass that only counts.

    Example:
        >>> class Fixed(Clock):
        ...     def time(self) -> float:
        ...         return 1_800_000_000.0
        >>> Fixed().time()
        1800000000.0
    """

    def time(self) -> float:
        """Return the seconds since 1970, for dates and the expiry of tokens."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back, for timeouts."""
        return time.monotonic()

    def random(self) -> float:
        """Return a random number from 0 up to 1, for jitter."""
        import random  # slow to import, and needed only where a call is repeated

        return random.random()

    def sleep(self, seconds: float) -> None:
        """Wait in this thread."""
        sleep_in_steps(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait in this task."""
        import asyncio  # slow to import, and sync code does not need it

        await asyncio.sleep(seconds)


class _SystemClock(Clock):
    # Without a frame of Python: a call asks seven times, and a stream with each chunk.
    monotonic = staticmethod(time.monotonic)


SYSTEM: Clock = _SystemClock()
