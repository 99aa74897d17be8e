"""Vector lengths: vectors of different lengths never come from one route."""

from __future__ import annotations

import threading
from collections.abc import Mapping
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

    def known(self) -> dict[tuple[str, Shape], dict[str, int]]:
        """Return all lengths: for each route and shape, those of its deployments by their keys."""
        with self._lock:
            return {place: dict(lengths) for place, lengths in self._known.items()}

    def learn(self, route: str, shape: Shape, deployment: str, length: int) -> None:
        """Remember what another process knows; what this one has learned itself wins."""
        with self._lock:
            self._known.setdefault((route, shape), {}).setdefault(deployment, length)

    def check(self, route: str, shape: Shape, deployment: str, length: int) -> str | None:
        """Remember the length of a deployment's vectors, or return why they may not be used.

        Args:
            route: The name of the route.
            shape: What was asked for: operation, dimensions, whether bits are packed.
            deployment: The deployment that answered.
            length: The numbers in each of its vectors.

        Example:
            >>> lengths = VectorLengths()
            >>> lengths.check("search", ("embeddings", None, False), "e@a", 1536)
            >>> lengths.check("search", ("embeddings", None, False), "e@b", 768)
            "'e@b' returned vectors of length 768, but 'e@a' of route 'search' returned 1536"
        """
        with self._lock:
            lengths = self._known.setdefault((route, shape), {})
            for other, known in lengths.items():
                if known != length and other != deployment:
                    return (
                        f"{deployment!r} returned vectors of length {length}, but {other!r} of "
                        f"route {route!r} returned {known}"
                    )
            lengths[deployment] = length
        return None
