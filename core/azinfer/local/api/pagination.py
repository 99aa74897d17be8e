"""Lists that are told a page at a time, as OpenAI's are: `after`, `limit`, `has_more`."""

from __future__ import annotations

from collections.abc import Sequence

from azinfer.local.api.context import RequestContext
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request


def page(
    entries: Sequence[Json], context: RequestContext, most: int = 100, usual: int = 20
) -> Json:
    """The part of a list that was asked for.

    Args:
        entries: All of it, in the order in which it is told; each has an `id`.
        context: The request; its query may have `after` and `limit`.
        most: The largest limit.
        usual: The limit where none is given.

    Raises:
        ErrorResponse: The limit is no number from 1 to the largest, or nothing has the id `after`.
    """
    query = context.http.query_params
    limit = query.get("limit", str(usual))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= most):
        message = f"Invalid 'limit': expected an integer from 1 to {most}, got {limit!r}."
        raise bad_request(context.surface, message, "limit")
    ids = [entry["id"] for entry in entries]
    after = query.get("after")
    if after is not None and after not in ids:
        raise bad_request(context.surface, f"Nothing here has the id '{after}'.", "after")
    begin = 0 if after is None else ids.index(after) + 1
    told = list(entries[begin : begin + int(limit)])
    return {
        "object": "list",
        "data": told,
        "first_id": told[0]["id"] if told else None,
        "last_id": told[-1]["id"] if told else None,
        "has_more": begin + len(told) < len(entries),
    }
