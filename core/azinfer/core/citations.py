"""Sources that answers name; the wires call them annotations, citations or context.

Sources: "Annotations" of "Create chat completion" and of "The response object", `context` of
"Azure OpenAI On Your Data", and "Citations" of Anthropic's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from azinfer.core.json_fields import Json, as_index, as_object, as_objects, as_text

# The fields of a chat message that name sources.
SOURCES = frozenset({"annotations", "context"})


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of an answer, and where the answer uses it.

    Attributes:
        title: Its title or the name of its file; None if it has none.
        url: Its address, or its path if the service knows only that; None if it has none.
        text: The passage of the source that the answer relies on; None if it is not sent.
        start: Where the text that relies on it begins in `content` of the message, in
            characters; None if the service names no place.
        end: Where that text ends; the character at this place is outside.
        file_id: The id of the file at the service; None for other sources.
    """

    title: str | None = None
    url: str | None = None
    text: str | None = None
    start: int | None = None
    end: int | None = None
    file_id: str | None = None

    def to_dict(self) -> Json:
        """Return the fields that are known, for frameworks that keep plain data."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def citations_of(raw: Json, content: str) -> tuple[Citation, ...]:
    """Return the sources that a message names, in the order in which the service sent them.

    Args:
        raw: The message as it was sent, on any wire: a message of chat completions, a response
            of the Responses API, or a message of Anthropic.
        content: The text of the message, in which places count.
    """
    return tuple(_read(raw, content))


def add_sources(sources: Json, delta: Json) -> None:
    """Add the sources of a chunk of chat completions to those of its message.

    Args:
        sources: `annotations` and `context` of the chunks before; changed in place.
        delta: What a chunk adds to a message.
    """
    if notes := as_objects(delta.get("annotations")):
        sources["annotations"] = [*sources.get("annotations", ()), *notes]
    if context := as_object(delta.get("context")):
        before = as_object(sources.get("context"))
        named = [*as_objects(before.get("citations")), *as_objects(context.get("citations"))]
        sources["context"] = {**before, **context, **({"citations": named} if named else {})}


def _read(raw: Json, content: str) -> Iterator[Citation]:
    end = 0
    for part in _text_parts(raw):
        text = as_text(part.get("text"))
        if (start := content.find(text, end)) < 0:
            continue  # text that an answer in JSON leaves out
        end = start + len(text)
        yield from (_annotation(note, start) for note in as_objects(part.get("annotations")))
        yield from (_passage(note, start, end) for note in as_objects(part.get("citations")))
    yield from (_annotation(note, 0) for note in as_objects(raw.get("annotations")))
    # "On your data" marks its places in the text: [doc1] is the first source.
    for number, note in enumerate(as_objects(as_object(raw.get("context")).get("citations")), 1):
        mark = f"[doc{number}]"
        yield _passage(note, place := content.find(mark), place + len(mark))


def _text_parts(raw: Json) -> Iterable[Json]:
    """Return the parts of a message whose texts make up its content."""
    output = (item for item in as_objects(raw.get("output")) if item.get("type") == "message")
    for message in (raw, *output):
        yield from (each for each in as_objects(message.get("content")) if each.get("text"))


def _annotation(note: Json, offset: int) -> Citation:
    """Return an annotation, whose places count from the beginning of its part."""
    source = as_object(note.get("url_citation")) or as_object(note.get("file_citation")) or note
    start, end = (as_index(source.get(name)) for name in ("start_index", "end_index"))
    has_place = start is not None and bool(end)
    return Citation(
        _first(source, "title", "filename"),
        _first(source, "url"),
        start=offset + (start or 0) if has_place else None,
        end=offset + (end or 0) if has_place else None,
        file_id=_first(source, "file_id"),
    )


def _passage(note: Json, start: int, end: int) -> Citation:
    """Return a passage of a source, with the part of the text that it supports, if known."""
    return Citation(
        _first(note, "title", "document_title"),
        _first(note, "url", "source", "filepath"),
        _first(note, "cited_text", "content"),
        start if start >= 0 else None,
        end if start >= 0 else None,
        _first(note, "file_id"),
    )


def _first(note: Json, *names: str) -> str | None:
    """Return the first of some fields that has a text."""
    return next((text for name in names if (text := as_text(note.get(name)))), None)
