"""Time and chance, as an argument: what waits or guesses is tested without waiting."""

import random
import time


class Clock:
    """The system's clock; a test passes a subclass that only counts."""

    def time(self) -> float:
        """Seconds since 1970, for dates and token expiry."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back, for time-outs."""
        return time.monotonic()

    def random(self) -> float:
        """A number from 0 up to 1, for jitter."""
        return random.random()

    def sleep(self, seconds: float) -> None:
        """Wait in this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait in this task."""
        import asyncio  # sync code needs none of it, and it takes long

        await asyncio.sleep(seconds)


SYSTEM = Clock()
