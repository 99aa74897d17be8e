"""Fields that an operation does not know: accepted, as clients send some, but never in silence."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from azinfer.local.resource.state import ResourceState
from azinfer.local.wire.body import WITHOUT_EFFECT

_log = logging.getLogger("azinfer.local")
# Above the likeness of `top_k` and `top_p`, which are different things.
_LEAST_LIKENESS = 0.85
# The fields that a hint names, and the characters of a name; longer names are not compared.
_MOST_NAMED, _LONGEST_NAME = 5, 60
_MOST_REMEMBERED = 1000


def describe_unknown(
    state: ResourceState, names: Sequence[str], known: Collection[str], where: str
) -> str:
    """Return a hint about unknown fields, in ASCII; the first misspelt one is logged once.

    Args:
        state: The state of the endpoint.
        names: The fields, at least one.
        known: The fields that the operation knows.
        where: The path of the request, for the log.
    """
    near = {name: _nearest(name, known) for name in names[:_MOST_NAMED]}
    described = ", ".join(_describe(name, meant) for name, meant in near.items())
    more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
    fields = "unknown field" if len(names) == 1 else "unknown fields"
    hint = f"{fields} {described}{more}, which strict mode refuses"
    remembered = state.logged_hints
    if any(near.values()) and hint not in remembered and len(remembered) < _MOST_REMEMBERED:
        remembered.add(hint)
        _log.warning("%s: %s", ascii(where)[1:-1], hint)
    return hint


def _nearest(name: str, known: Collection[str]) -> str | None:
    if len(name) > _LONGEST_NAME:
        return None
    import difflib  # needed only for mistakes

    return next(iter(difflib.get_close_matches(name, known, 1, _LEAST_LIKENESS)), None)


def _describe(name: str, meant: str | None) -> str:
    quoted = ascii(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")
    if name in WITHOUT_EFFECT:
        return f"{quoted} (the service has it)"
    return quoted + (f" (did you mean {meant!r}?)" if meant else "")
