"""Pages of lists in OpenAI's form: `after`, `limit`, `has_more`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

    def read(after: str | None, limit: int) -> Sequence[Json]:
        ids = [entry["id"] for entry in entries]
        if after is not None and after not in ids:
            raise LookupError(after)
        begin = 0 if after is None else ids.index(after) + 1
        return entries[begin : begin + limit]

    return read_page(read, context, most, usual)


def read_page(
    read: Callable[[str | None, int], Sequence[Json]],
    context: RequestContext,
    most: int = 100,
    usual: int = 20,
) -> Json:
    """Return the requested page of a list of which only a part is read.

    Args:
        read: Returns at most so many entries after the entry with an id, or raises LookupError.
        context: The request; its query may have `after` and `limit`.
        most: The largest limit.
        usual: The default limit.

    Raises:
        ErrorResponse: The limit is out of range, or no entry has the id `after`.
    """
    query = context.http.query_params
    text = query.get("limit", str(usual))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most):
        message = f"Invalid 'limit': expected an integer from 1 to {most}, got {text!r}."
        raise bad_request(context.surface, message, "limit")
    limit, after = int(text), query.get("after")
    try:
        entries = read(after, limit + 1)
    except LookupError:
        message = f"Nothing here has the id '{after}'."
        raise bad_request(context.surface, message, "after") from None
    shown = list(entries[:limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(entries) > limit,
    }
