"""Leases: the part of a shared limit that one process may use."""

from __future__ import annotations

from typing import NamedTuple


class Lease(NamedTuple):
    """The part of shared limits that this process may still use.

    It ends with the slice of the limit's window in which it was granted. The rest of it then goes
    back to the other processes.

    Attributes:
        until: When it ends, in the clock's seconds.
        requests: Requests that may be sent; None if no limit counts them.
        tokens: Tokens that they may use; None if no limit counts them.
    """

    until: float
    requests: float | None = None
    tokens: float | None = None

    def without(self, used: Lease | None, left: Lease | None) -> Lease:
        """Return the lease minus what was used of an earlier one in the meantime.

        Args:
            used: The earlier one at the time when this one was requested.
            left: What is left of it now.
        """
        if used is None or left is None:
            return self
        requests = (used.requests or 0.0) - (left.requests or 0.0)
        tokens = (used.tokens or 0.0) - (left.tokens or 0.0)
        return self._replace(
            requests=None if self.requests is None else self.requests - requests,
            tokens=None if self.tokens is None else self.tokens - tokens,
        )

    def at_most(self, requests: float, tokens: float) -> Lease:
        """Return the lease, or as much of it as is wanted."""
        return self._replace(
            requests=None if self.requests is None else min(requests, self.requests),
            tokens=None if self.tokens is None else min(tokens, self.tokens),
        )

    def covers(self, tokens: int, now: float) -> bool:
        """Return whether a request with a number of tokens may be sent."""
        if now >= self.until:
            return False
        if self.requests is not None and self.requests < 1:
            return False
        return self.tokens is None or self.tokens >= tokens

    def after_use(self, requests: int, tokens: int) -> Lease:
        """Return the lease after a use; negative numbers give back what was not used."""
        return self._replace(
            requests=None if self.requests is None else self.requests - requests,
            tokens=None if self.tokens is None else self.tokens - tokens,
        )
