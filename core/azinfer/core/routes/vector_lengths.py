"""Vector lengths: vectors of different lengths never come from one route."""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping
from typing import Any, TypeAlias

from azinfer.core.surfaces import EMBEDDINGS, IMAGES

# What decides the length besides the model: the operation, `dimensions`, whether bits are packed.
Shape: TypeAlias = tuple[object, ...]


def shape_of(operation: str, params: Mapping[str, Any], options: Mapping[str, Any]) -> Shape | None:
    """Return what decides the length of vectors; None if the call asks for none."""
    if operation not in (EMBEDDINGS, IMAGES):
        return None
    wanted = {**params, **{name: value for name, value in options.items() if value is not None}}
    packed = wanted.get("encoding_format") in ("binary", "ubinary")  # eight numbers in each byte
    return operation, wanted.get("dimensions"), packed


class VectorLengths:
    """The length of the vectors that each deployment returned; may be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, Shape], dict[str, int]] = {}
        self._hints: dict[tuple[str, Shape], dict[str, int]] = {}
        self._outdated: set[tuple[str, Shape]] = set()  # where a hint was wrong

    def known(self) -> dict[tuple[str, Shape], dict[str, int]]:
        """Return what this process has seen: the lengths by route and shape, then by key."""
        with self._lock:
            return {place: dict(lengths) for place, lengths in self._known.items()}

    def learn(self, route: str, shape: Shape, deployment: str, length: int) -> bool:
        """Remember what another process has seen; return False if that is known to be old."""
        place = route, shape
        with self._lock:
            seen, hints = self._known.get(place, {}), self._hints.setdefault(place, {})
            if seen.get(deployment, length) != length:  # the route has other models now
                hints.clear()
                self._outdated.add(place)
            if place in self._outdated and length not in seen.values():
                return False
            hints[deployment] = length
            return True

    def check(
        self, route: str, shape: Shape, deployment: str, length: int, members: Container[str]
    ) -> str | None:
        """Remember the length of a deployment's vectors, or return why they may not be used.

        Args:
            route: The name of the route.
            shape: What was asked for: operation, dimensions, whether bits are packed.
            deployment: The key of the deployment that answered.
            length: The numbers in each of its vectors.
            members: The keys of the route's deployments; others may be known from before.

        Example:
            >>> lengths, members = VectorLengths(), ("e@a", "e@b")
            >>> lengths.check("search", ("embeddings", None, False), "e@a", 1536, members)
            >>> lengths.check("search", ("embeddings", None, False), "e@b", 768, members)
            "'e@b' returned vectors of length 768, but 'e@a' of route 'search' returned 1536"
        """
        with self._lock:
            place = route, shape
            lengths, hints = self._known.setdefault(place, {}), self._hints.get(place, {})
            if hints.get(deployment, length) != length:  # as above
                hints.clear()
                self._outdated.add(place)
            for other, known in (hints | lengths).items():
                if known != length and other != deployment and other in members:
                    return (
                        f"{deployment!r} returned vectors of length {length}, but {other!r} of "
                        f"route {route!r} returned {known}"
                    )
            lengths[deployment] = length
        return None
