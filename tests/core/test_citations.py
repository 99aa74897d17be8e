"""Sources that answers name, on every wire, whole and streamed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    ChatCompletion,
    Citation,
    InferenceClient,
    Message,
    StreamInterruptedError,
    UserMessage,
)
from azinfer.core.endpoint_knowledge import forget_endpoints
from raw_server import RawServer, chat, events, part, reply, stream

QUESTION = [UserMessage("hello")]
URL = "https://a.example"
Json = dict[str, Any]
NOTE = {"type": "url_citation", "url": URL, "title": "A", "start_index": 3, "end_index": 6}
NESTED = {"type": "url_citation", "url_citation": {k: NOTE[k] for k in NOTE if k != "type"}}
PLACED = Citation("A", URL, start=3, end=6)
ON_YOUR_DATA = {
    "intent": "[]",
    "citations": [
        {"title": "B", "filepath": "b.md", "url": None, "content": "Snippet", "chunk_id": "0"},
        {"title": "C", "url": URL, "content": "Other"},
    ],
}


@pytest.fixture
def server() -> Any:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


def typed_events(*values: Json) -> bytes:
    """Events of the newer wires, which end without `[DONE]`."""
    return events(*values).replace(b"data: [DONE]\n\n", b"")


def answers(server: RawServer, wire: Any, whole: Any, *parts: Json) -> list[ChatCompletion]:
    """An answer as it comes whole, and in parts."""
    server.will(reply(whole), stream(events(*parts) if wire == "chat" else typed_events(*parts)))
    with InferenceClient(server.url, "a-key", "m", wire=wire) as client:
        answer = client.complete(QUESTION)
        with client.stream(QUESTION) as chunks:
            assert "".join(chunk.text for chunk in chunks) == answer.text
    return [answer, chunks.completion]


@pytest.mark.parametrize("note", [NOTE, NESTED], ids=["flat", "nested"])
def test_annotations_of_a_chat_have_their_place(server: RawServer, note: Json) -> None:
    whole = chat("so Yes.", message={"annotations": [note]})
    last = part("Yes.", "stop", annotations=[note])
    for answer in answers(server, "chat", whole, part("so "), last):
        assert answer.citations == (PLACED,)
        assert answer.choices[0].message.citations == (PLACED,)


def test_data_of_azure_is_found_by_its_marks(server: RawServer) -> None:
    first = Citation("B", "b.md", "Snippet", 5, 11)
    second = Citation("C", URL, "Other")
    whole = chat("Yes. [doc1]", message={"context": ON_YOUR_DATA})
    parts = [part(context=ON_YOUR_DATA), part("Yes. "), part("[doc1]", "stop")]
    for answer in answers(server, "chat", whole, *parts):
        assert answer.citations == (first, second)
    assert answer.choices[0].message.raw["context"]["intent"] == "[]"


def test_sources_of_several_chunks_add_up(server: RawServer) -> None:
    parts = [
        part(context={"citations": [{"title": "1"}]}, annotations=[{"title": "3"}]),
        part(context={"citations": [{"title": "2"}]}, annotations=[{"title": "4"}]),
        part("hello", "stop", context={"intent": "x"}),
    ]
    streamed = answers(server, "chat", chat("hello"), *parts)[1]
    assert [each.title for each in streamed.citations] == ["3", "4", "1", "2"]
    assert streamed.choices[0].message.raw["context"]["intent"] == "x"


def test_a_message_that_is_sent_whole_again_and_again_has_its_sources_once(
    server: RawServer,
) -> None:
    note = {"annotations": [NOTE]}
    chunks = [
        {"index": 0, "message": {"content": "so ", **note}, "finish_reason": None},
        {"index": 0, "message": {"content": "so Yes.", **note}, "finish_reason": "stop"},
    ]
    parts = [{"id": "c", "model": "m", "choices": [each]} for each in chunks]
    streamed = answers(server, "chat", chat("so Yes."), *parts)[1]
    assert streamed.citations == (PLACED,)


def message_item(*parts: Json, **more: Any) -> Json:
    content = [{"type": "output_text", "annotations": [], **each} for each in parts]
    return {"type": "message", "role": "assistant", "content": content, **more}


def responses(*output: Json, **more: Any) -> tuple[Json, list[Json]]:
    """A response, and its events."""
    response = {"id": "r", "model": "m", "status": "completed", "output": [*output], **more}
    done = [
        {"type": "response.output_item.done", "output_index": at, "item": item}
        for at, item in enumerate(output)
    ]
    created = {"type": "response.created", "response": {"id": "r", "model": "m", **more}}
    return response, [created, *done, {"type": "response.completed", "response": response}]


def test_annotations_of_a_response_count_from_the_beginning_of_the_answer(
    server: RawServer,
) -> None:
    file = {"type": "file_citation", "file_id": "f-1", "filename": "c.pdf", "index": 7}
    container = {"type": "container_file_citation", "file_id": "f-2", "container_id": "c"}
    second = [NOTE, file, {**container, "filename": "d.csv", "start_index": 0, "end_index": 2}]
    whole, parts = responses(
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        message_item({"text": "so "}),
        message_item({"text": "one "}, {"text": "so Yes.", "annotations": second}),
    )
    for answer in answers(server, "responses", whole, *parts):
        assert answer.text == "so \n\none so Yes."
        begin = answer.text.index("so Yes.")
        assert answer.citations == (
            Citation("A", URL, start=begin + 3, end=begin + 6),
            Citation("c.pdf", file_id="f-1"),
            Citation("d.csv", start=begin, end=begin + 2, file_id="f-2"),
        )
        assert answer.text[begin + 3 : begin + 6] == "Yes"


def test_commentary_that_json_leaves_out_has_no_citations(server: RawServer) -> None:
    aside = message_item({"text": "I look.", "annotations": [NOTE]}, phase="commentary")
    final = message_item({"text": '{"a": 1}', "annotations": [NOTE]}, phase="final_answer")
    whole, parts = responses(aside, final, text={"format": {"type": "json_object"}})
    for answer in answers(server, "responses", whole, *parts):
        assert answer.text == '{"a": 1}'
        assert answer.citations == (PLACED,)


SEARCH = {"type": "web_search_result_location", "url": URL, "title": "A", "cited_text": "Yes, it"}
PAGE = {"type": "page_location", "document_index": 0, "document_title": "B", "file_id": "f-1"}
PAGE |= {"cited_text": "No", "start_page_number": 1, "end_page_number": 2}
RESULT = {"type": "search_result_location", "source": "kb/1", "title": None, "cited_text": "Or"}


def test_citations_of_a_message_stand_behind_their_block(server: RawServer) -> None:
    blocks: list[Json] = [
        {"type": "text", "text": "So "},
        {"type": "text", "text": "Yes.", "citations": [SEARCH, PAGE]},
        {"type": "text", "text": " End.", "citations": [RESULT]},
    ]
    whole = {"type": "message", "id": "m", "model": "m", "content": blocks}
    parts: list[Json] = [{"type": "message_start", "message": {**whole, "content": []}}]
    for at, block in enumerate(blocks):
        empty = {"type": "text", "text": ""}
        parts.append({"type": "content_block_start", "index": at, "content_block": empty})
        deltas: list[Json] = [{"type": "text_delta", "text": block["text"]}]
        named = block.get("citations", [])
        deltas += [{"type": "citations_delta", "citation": each} for each in named]
        parts += [{"type": "content_block_delta", "index": at, "delta": each} for each in deltas]
    end = {"stop_reason": "end_turn"}
    parts += [{"type": "message_delta", "delta": end}, {"type": "message_stop"}]
    for answer in answers(server, "messages", {**whole, **end}, *parts):
        assert answer.citations == (
            Citation("A", URL, "Yes, it", 3, 7),
            Citation("B", None, "No", 3, 7, "f-1"),
            Citation(None, "kb/1", "Or", 7, 12),
        )


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"annotations": "odd", "context": ["odd"], "content": "hello"},
        {"annotations": ["odd"], "context": {"citations": {"odd": 1}}, "content": [1]},
        {"output": [{"type": "message", "content": "odd"}, "odd"]},
        {"content": [{"type": "text", "text": 1, "citations": "odd"}]},
    ],
)
def test_other_fields_name_no_source(raw: Json) -> None:
    assert Message("hello", raw=raw).citations == ()


@pytest.mark.parametrize(
    "place", [{}, {"start_index": 0, "end_index": 0}, {"start_index": "1", "end_index": None}]
)
def test_an_unknown_place_leaves_the_citation_without_positions(place: Json) -> None:
    note = {"type": "url_citation", "url": URL, "title": 1, **place}
    assert Message("hello", raw={"annotations": [note]}).citations == (Citation(None, URL),)


def test_a_cut_response_has_the_citations_that_came(server: RawServer) -> None:
    place = {"output_index": 0, "content_index": 0}
    added = {"type": "response.output_text.annotation.added", **place}
    cut = typed_events(
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": message_item()},
        {"type": "response.output_text.delta", **place, "delta": "so Yes."},
        {**added, "annotation_index": 0, "annotation": NOTE},
        {**added, "annotation_index": 1, "annotation": {**NOTE, "title": "B"}},
        {**added, "annotation_index": 2, "annotation": None},
    )
    server.will(stream(cut))
    with InferenceClient(server.url, "a-key", "m", wire="responses", max_retries=0) as client:
        stream_of_chunks = client.stream(QUESTION)
        with pytest.raises(StreamInterruptedError) as caught, stream_of_chunks as chunks:
            list(chunks)
    assert caught.value.partial is not None
    message = caught.value.partial.choices[0].message
    assert message.content == "so Yes."
    assert message.citations == (PLACED, replace(PLACED, title="B"))


def test_a_cut_message_has_the_citations_that_came(server: RawServer) -> None:
    cited = {"type": "page_location", "document_title": "A", "cited_text": "Yes"}
    block = {"type": "text", "text": ""}
    deltas = [
        {"type": "text_delta", "text": "Yes."},
        {"type": "citations_delta", "citation": cited},
    ]
    cut = typed_events(
        {"type": "message_start", "message": {"id": "m", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
    )
    server.will(stream(cut))
    with InferenceClient(server.url, "a-key", "m", wire="messages", max_retries=0) as client:
        stream_of_chunks = client.stream(QUESTION)
        with pytest.raises(StreamInterruptedError) as caught, stream_of_chunks as chunks:
            list(chunks)
    assert caught.value.partial is not None
    message = caught.value.partial.choices[0].message
    assert message.citations == (Citation("A", text="Yes", start=0, end=4),)


def test_a_plain_answer_names_no_source(server: RawServer) -> None:
    server.will(reply(chat("hello")))
    with InferenceClient(server.url, "a-key", "m") as client:
        assert client.complete(QUESTION).citations == ()


def test_a_citation_is_plain_data_without_what_is_not_known() -> None:
    assert PLACED.to_dict() == {"title": "A", "url": URL, "start": 3, "end": 6}
    assert Citation("B", start=0, end=2).to_dict() == {"title": "B", "start": 0, "end": 2}
    assert Citation(file_id="f-1", text="").to_dict() == {"text": "", "file_id": "f-1"}


async def test_the_async_client_has_citations_too(server: RawServer) -> None:
    server.will(reply(chat("so Yes.", message={"annotations": [NOTE]})))
    async with AsyncInferenceClient(server.url, "a-key", "m") as client:
        assert (await client.complete(QUESTION)).citations == (PLACED,)
