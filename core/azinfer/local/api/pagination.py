"""Pages of lists in OpenAI's form: `after`, `limit`, `has_more`."""

from __future__ import annotations

from collections.abc import Sequence

from azinfer.local.api.context import RequestContext
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import bad_request


def page(
    entries: Sequence[Json], context: RequestContext, most: int = 100, usual: int = 20
) -> Json:
    """Return the requested page of a list.

    Args:
        entries: The whole list in its order; each entry has an `id`.
        context: The request; its query may have `after` and `limit`.
        most: The largest limit.
        usual: The default limit.

    Raises:
        ErrorResponse: The limit is out of range, or no entry has the id `after`.
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
    shown = list(entries[begin : begin + int(limit)])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": begin + len(shown) < len(entries),
    }
