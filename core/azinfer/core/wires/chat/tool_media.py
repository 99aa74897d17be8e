"""Results of tools on chat completions, which take only text there.

Source: "Create chat completion", tool message, of the REST references.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azinfer.core.completions import Json

_ELSEWHERE = "(attached below)"


def with_text_results(body: Json) -> Json:
    """Return a request whose results of tools are text, as nearly all are.

    Media in results follow as a message of the user, after all results of a turn.
    """
    for message in body["messages"]:
        if message["role"] == "tool" and message.get("content").__class__ is list:
            return {**body, "messages": list(_move_media(body["messages"]))}
    return body


def _move_media(messages: Sequence[Json]) -> Iterator[Json]:
    media: list[Json] = []
    for message in messages:
        if media and message["role"] != "tool":
            yield {"role": "user", "content": media}
            media = []
        if message["role"] == "tool" and isinstance(parts := message.get("content"), list):
            texts: list[Json] = []
            rest: list[Any] = []
            for part in parts:
                is_text = isinstance(part, Mapping) and part.get("type") == "text"
                (texts if is_text else rest).append(part)
            media += rest
            text = "\n".join(str(part.get("text") or "") for part in texts)
            message = {**message, "content": text or _ELSEWHERE * bool(rest)}
        yield message
    if media:
        yield {"role": "user", "content": media}
