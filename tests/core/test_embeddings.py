"""Embeddings: batches, order, encodings, and nothing attached to the wrong text."""

from __future__ import annotations

import base64
import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    BadRequestError,
    ConfigurationError,
    ImageInput,
    InferenceError,
    InvalidResponseError,
    ServerError,
    Usage,
    profile_of,
)
from azinfer.core.embeddings import Embeddings, batches
from client_driver import ClientDriver
from raw_server import RawServer, failure, reply, vectors

Ask = Callable[..., ClientDriver]


def encode(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def echo(request: Any) -> Any:
    """Each text is a number; its vector is that number."""
    return reply(vectors(*([float(text), 1.0] for text in request.json["input"])))


def read(*rows: Any, count: int | None = None, encoding: str | None = None) -> list[Any]:
    raw = vectors(*rows)
    return Embeddings.from_wire(raw, {}, count or len(rows), encoding).vectors


@pytest.mark.parametrize("count", [0, 1, 97, 10_000])
def test_any_number_of_texts_comes_back_in_order(ask: Ask, server: RawServer, count: int) -> None:
    server.choose = echo
    answer = ask(model="prod-embed").embed([str(at) for at in range(count)])
    assert [vector[0] for vector in answer.vectors] == list(map(float, range(count)))
    assert len(answer) == len(list(answer)) == count
    requests = -(-count // 96)
    assert len(server.received) == len(answer.raw) == requests
    assert answer.usage == (Usage(2 * requests, 0, 2 * requests) if count else None)
    assert (answer.model, answer.routing is None) == (("e", False) if count else (None, True))


def test_one_text_need_not_be_in_a_list(ask: Ask, server: RawServer) -> None:
    server.choose = echo
    answer = ask().embed("7")
    assert answer.data[0].index == 0
    assert list(answer.data[0].embedding) == [7.0, 1.0]
    assert server.received[0].json["input"] == ["7"]
    assert "embedding" not in answer.raw[0]["data"][0]


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("text-embedding-3-small", [2048, 52]),
        ("Cohere-embed-v3-english", [96] * 21 + [84]),
        ("prod-embed", [96] * 21 + [84]),
    ],
)
def test_batches_are_as_large_as_the_model_takes(model: str, sizes: list[int]) -> None:
    result = batches(["text"] * 2100, profile_of(model))
    assert [len(batch) for batch in result] == sizes


def test_batches_are_split_by_tokens_too() -> None:
    result = batches(["x" * 300_000] * 5 + ["y"] * 3, profile_of("text-embedding-3-small"))
    assert [len(batch) for batch in result] == [2, 2, 4]


def test_several_batches_are_sent_at_once_but_not_all(ask: Ask, server: RawServer) -> None:
    most = 0
    inside = 0
    import threading

    lock, gate = threading.Lock(), threading.Barrier(8)

    def slow(request: Any) -> Any:
        nonlocal most, inside
        with lock:
            inside += 1
            most = max(most, inside)

        def behave(peer: Any) -> None:
            nonlocal inside
            gate.wait(5)
            with lock:
                inside -= 1
            echo(request)(peer)

        return behave

    server.choose = slow
    ask(model="prod-embed").embed(["1"] * (96 * 16))
    assert most == 8


@pytest.mark.parametrize(
    "refusal",
    [
        reply(failure("400", "Too many inputs. The max number of inputs is 1."), 400),
        reply(failure("x", "request entity"), 413),
        reply(failure("x", "at most 2 texts"), 422),
    ],
)
def test_a_batch_that_is_too_large_is_halved(
    ask: Ask, server: RawServer, refusal: Callable[[Any], None]
) -> None:
    server.choose = lambda request: refusal if len(request.json["input"]) > 2 else echo(request)
    answer = ask().embed([str(at) for at in range(7)])
    assert [vector[0] for vector in answer.vectors] == list(map(float, range(7)))


def test_one_text_that_is_too_large_is_an_error(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("x", "too long"), 413))
    with pytest.raises(BadRequestError, match="too long"):
        ask().embed(["a", "b"])
    assert len(server.received) == 2


def test_another_refusal_is_not_halved(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("x", "no"), 400))
    with pytest.raises(BadRequestError, match="no"):
        ask().embed(["a", "b"])
    assert len(server.received) == 1


def test_the_first_error_ends_all_batches(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("x", "down"), 500))
    with pytest.raises(ServerError, match="down"):
        ask(model="prod-embed", max_retries=0).embed(["1"] * (96 * 400))
    assert len(server.received) < 400


@pytest.mark.parametrize("texts", [[1], ["a", None], [[1, 2]]])
def test_inputs_that_are_not_texts_are_refused(ask: Ask, server: RawServer, texts: Any) -> None:
    with pytest.raises(ConfigurationError, match="not token ids"):
        ask().embed(texts)
    assert not server.received


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
@pytest.mark.parametrize("more", [{}, {"id": "e1"}, {"x": [1]}])
@pytest.mark.parametrize("beside", [{}, {"y": {"z": 1}}])
def test_fields_beside_the_vectors_are_kept(
    ask: Ask, server: RawServer, more: Any, beside: Any, encoding_format: str
) -> None:
    body = {**vectors([0.5], [0.25]), **more}
    body["data"] = [{**item, **beside} for item in body["data"]]
    server.will(reply(body))
    embeddings = ask().embed(["a", "b"], encoding_format=encoding_format)
    assert [list(vector) for vector in embeddings.vectors] == [[0.5], [0.25]]
    without = [{k: v for k, v in item.items() if k != "embedding"} for item in body["data"]]
    assert embeddings.raw == ({**body, "data": without},)


def test_vectors_are_ordered_by_their_index() -> None:
    raw = vectors([1.0], [2.0], [3.0])
    raw["data"].reverse()
    assert [list(each) for each in Embeddings.from_wire(raw, {}, 3).vectors] == [[1], [2], [3]]
    for item in raw["data"]:
        del item["index"]
        item["embedding"] = [0.5]
    assert len(Embeddings.from_wire(raw, {}, 3)) == 3


@pytest.mark.parametrize(
    ("row", "encoding", "vector"),
    [
        ([1.5, -2.0], None, array("f", [1.5, -2.0])),
        ([1, 2], None, array("f", [1, 2])),
        (encode(1.5, -2.0), None, array("f", [1.5, -2.0])),
        (encode(1.5, -2.0), "float", array("f", [1.5, -2.0])),
        ([1.5, 2.0], "base64", array("f", [1.5, 2.0])),
        ([-128, 127], "int8", array("b", [-128, 127])),
        ([0, 255], "uint8", array("B", [0, 255])),
        ([-1], "binary", array("b", [-1])),
        ([255], "ubinary", array("B", [255])),
        ([0.5], "int8", array("f", [0.5])),
        ([0.5], "ubinary", array("f", [0.5])),
        ([3e38, 5e-324], None, array("f", [3e38, 0])),
    ],
)
def test_a_vector_is_read_by_the_type_of_its_value(
    row: Any, encoding: str | None, vector: Any
) -> None:
    (result,) = read(row, encoding=encoding)
    assert (result.typecode, result) == (vector.typecode, vector)


@pytest.mark.parametrize(
    ("rows", "encoding"),
    [
        ([None], None),
        (["!!"], None),
        (["AAA="], None),
        ([[]], None),
        ([[1.0, None]], None),
        ([["a"]], None),
        ([{}], None),
        ([[300]], "int8"),
        ([[-1]], "uint8"),
        ([[1e39]], None),
        ([encode(float("nan"))], None),
        ([encode(1, float("inf"))], None),
        ([encode(float("-inf"), 1)], None),
        ([[1.0], [1.0, 2.0]], None),
    ],
)
def test_an_embedding_that_is_not_a_vector_is_an_error(
    rows: list[Any], encoding: str | None
) -> None:
    with pytest.raises(InvalidResponseError):
        read(*rows, encoding=encoding)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "no list of embeddings"),
        ({"data": {}}, "no list of embeddings"),
        ({"data": [1]}, "not an object"),
        ({"data": [{"index": 0, "embedding": [1.0]}]}, "1 vectors for 2 inputs"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, "is repeated"),
        ({"data": [{"index": 2, "embedding": [1.0]}]}, "not from 0 to 1"),
        ({"data": [{"index": -1, "embedding": [1.0]}]}, "not from 0 to 1"),
        ({"data": [{"index": "0", "embedding": [1.0]}]}, "index 0"),
    ],
)
def test_an_answer_with_wrong_counts_or_indexes_is_an_error(raw: Any, expected: str) -> None:
    with pytest.raises(InvalidResponseError, match=expected):
        Embeddings.from_wire(raw, {}, 2)


def test_batches_of_different_dimensions_are_not_joined(ask: Ask, server: RawServer) -> None:
    def choose(request: Any) -> Any:
        return reply(vectors(*([1.0] * len(request.json["input"]) for _ in request.json["input"])))

    server.choose = choose
    with pytest.raises(InvalidResponseError, match="differ in length"):
        ask(model="prod-embed").embed(["1"] * 97)


def test_usage_is_read_from_headers_or_missing(ask: Ask, server: RawServer) -> None:
    body = vectors([1.0])
    del body["usage"]
    server.will(reply(body, headers={"num-tokens": "4"}), reply(body))
    driver = ask()
    assert driver.embed("a").usage == Usage(4, 0, 4)
    assert driver.embed("a").usage is None


def test_an_error_with_status_200_is_raised(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("x", "broken")))
    with pytest.raises(InferenceError, match="broken"):
        ask(max_retries=0).embed("a")


def test_images_are_sent_one_by_one_and_come_back_in_order(
    ask: Ask, server: RawServer, tmp_path: Path
) -> None:
    def choose(request: Any) -> Any:
        (image,) = request.json["input"]
        return reply(vectors([float(len(image["image"])), float("text" in image)]))

    server.choose = choose
    (tmp_path / "a.png").write_bytes(b"\x89PNG0000")
    results = [
        b"\x89PNG",
        tmp_path / "a.png",
        "https://example.com/a.png",
        (b"\x89PNG", "a cat"),
        ImageInput(b"\x89PNG", "a dog"),
    ]
    answer = ask("/models").embed_images(results, dimensions=2)
    lengths = [len(ImageInput(each).to_wire()["image"]) for each in results[:3]]  # type: ignore[arg-type]
    expected = [[each, 0] for each in lengths] + [[lengths[0], 1]] * 2
    assert [list(vector) for vector in answer.vectors] == expected
    assert len(server.received) == 5
    assert {each.json["dimensions"] for each in server.received} == {2}


@pytest.mark.parametrize("image", [b"\x89PNG", "https://example.com/a.png", Path("a.png")])
def test_one_image_is_not_treated_as_a_list(ask: Ask, image: Any) -> None:
    with pytest.raises(ConfigurationError, match="images must be a list"):
        ask("/models").embed_images(image)


INPUTS = {"embed": ["a"], "embed_images": [b"\x89PNG"]}
COHERE = {"model_id": "Cohere-embed-v3-english"}


@pytest.mark.parametrize(
    ("path", "client", "call", "sent"),
    [
        ("/models", COHERE, {"kind": "query"}, "query"),
        ("/models", COHERE, {"kind": "document"}, "document"),
        ("/models", COHERE, {}, None),
        ("/models", COHERE, {"kind": None}, None),
        ("/models", COHERE, {"kind": "query", "input_type": "text"}, "text"),
        ("/models", {}, {"kind": "query", **COHERE}, "query"),
        ("/models", {"model": "cohere-embed-v3-english"}, {"kind": "query"}, "query"),
        # A name that only begins like one of Cohere's proves nothing.
        ("/models", {"model": "embed-small"}, {"kind": "query"}, None),
        ("/models", {"model_id": "text-embedding-3-small"}, {"kind": "query"}, None),
        ("/openai/v1", COHERE, {"kind": "query"}, None),
        ("/openai", COHERE, {"kind": "query"}, None),
        ("", {"surface": "serverless", **COHERE}, {"kind": "document"}, "document"),
    ],
)
def test_the_kind_is_sent_where_model_and_surface_have_a_field_for_it(
    ask: Ask, server: RawServer, path: str, client: Any, call: Any, sent: str | None
) -> None:
    server.choose = lambda request: reply(vectors([1.0]))
    driver = ask(path, **client)
    driver.embed("a", **call)
    assert server.received[0].json.get("input_type") == sent


def test_the_kind_of_an_image_is_sent_too(ask: Ask, server: RawServer) -> None:
    server.will(reply(vectors([1.0])))
    ask("/models", **COHERE).embed_images([b"\x89PNG"], kind="document")
    assert server.received[0].json["input_type"] == "document"


@pytest.mark.parametrize("operation", ["embed", "embed_images"])
def test_the_kind_is_left_out_after_it_was_refused(
    ask: Ask, server: RawServer, operation: str
) -> None:
    detail = {"loc": ["body", "input_type"], "msg": "Extra inputs are not permitted"}
    server.will(reply({"detail": [detail]}, 422), reply(vectors([1.0])))
    driver = ask("/models", **COHERE)
    for _ in range(2):
        answer = getattr(driver, operation)(
            [b"\x89PNG" if operation == "embed_images" else "a"], kind="query"
        )
    assert answer.routing.adapted == ()
    assert ["input_type" in each.json for each in server.received] == [True, False, False]


@pytest.mark.parametrize("operation", ["embed", "embed_images"])
def test_a_kind_that_does_not_exist_is_refused(ask: Ask, server: RawServer, operation: str) -> None:
    with pytest.raises(ConfigurationError, match="kind must be 'query' or 'document', not 'poem'"):
        getattr(ask("/models"), operation)(
            [b"\x89PNG" if operation == "embed_images" else "a"], kind="poem"
        )
    assert not server.received
