"""Guards: what must not change when a call moves on to another deployment."""

from __future__ import annotations

from collections.abc import Iterable

from azinfer.core.routes.facts import Facts

GUARDS = ("content_filter", "data_zone", "model", "model_version")

# Vectors of two models, or of two versions of one, cannot be compared with each other.
EMBEDDING_GUARDS = ("model", "model_version")


def difference(guards: Iterable[str], wanted: Facts, offered: Facts) -> str | None:
    """Return what a guard forbids about a deployment, or None if it may be used.

    Args:
        guards: Names of facts.
        wanted: The facts of the first deployment of the route.
        offered: The facts of the deployment that might be used in its place.

    Example:
        >>> difference(["content_filter"], Facts(content_filter="a"), Facts(content_filter="b"))
        "content_filter is 'b', not 'a'"
    """
    for guard in guards:
        expected, actual = getattr(wanted, guard), getattr(offered, guard)
        if expected is None or actual is None:
            return f"{guard} is not known; state it in [deployments] of azinfer.toml"
        if expected.casefold() != actual.casefold():
            return f"{guard} is {actual!r}, not {expected!r}"
    return None
