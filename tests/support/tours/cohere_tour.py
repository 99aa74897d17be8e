"""cohere: `Client` and `ClientV2`, sync and async, on Cohere's route of a resource."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import cohere
from cohere.errors import NotFoundError, UnauthorizedError
from tour import Step, failure_of, take

KINDS: dict[str, Any] = {
    "Client": cohere.Client,
    "AsyncClient": cohere.AsyncClient,
    "ClientV2": cohere.ClientV2,
    "AsyncClientV2": cohere.AsyncClientV2,
}
FACTS = ["Paris has a tower.", "Delft has a church.", "Rome has a wall."]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK"
    "+kcQAAAABJRU5ErkJggg=="
)


async def done(value: Any) -> Any:
    """Return the result of a sync or an async client."""
    return await value if inspect.isawaitable(value) else value


def client_of(kind: str, url: str, key: str) -> Any:
    """A client whose base URL is the route's."""
    return KINDS[kind](api_key=key, base_url=f"{url}/providers/cohere")


async def embeds_texts(kind: str, url: str, key: str) -> None:
    """Vectors of texts, queries and documents, in the requested length."""
    client = client_of(kind, url, key)
    named: dict[str, Any] = {"model": "cohere", "input_type": "search_query"}
    if "V2" in kind:
        named["embedding_types"] = ["float", "int8"]
    answer = await done(client.embed(texts=FACTS, **named))
    vectors = answer.embeddings.float_ if "V2" in kind else answer.embeddings
    assert len(vectors) == len(FACTS)
    assert all(math.isclose(sum(x * x for x in row), 1, rel_tol=0.01) for row in vectors)
    assert answer.meta.billed_units.input_tokens > 0


async def embeds_many(kind: str, url: str, key: str) -> None:
    """Two hundred texts in one call, which it batches or sends at once."""
    client = client_of(kind, url, key)
    named: dict[str, Any] = {"embedding_types": ["float"]} if "V2" in kind else {}
    texts = [f"text {at}" for at in range(200)]
    work = client.embed(texts=texts, model="cohere", input_type="search_document", **named)
    answer = await done(work)
    vectors = answer.embeddings.float_ if "V2" in kind else answer.embeddings
    assert len(vectors) == 200
    assert vectors[7] != vectors[8]


async def embeds_an_image(kind: str, url: str, key: str) -> None:
    """The vector of an image."""
    client = client_of(kind, url, key)
    answer = await done(
        client.embed(images=[PIXEL], model="cohere", input_type="image", embedding_types=["float"])
    )
    assert len(answer.embeddings.float_) == 1
    assert answer.meta.billed_units.images == 1


async def reranks(kind: str, url: str, key: str) -> None:
    """Documents by how well they answer, the best ones."""
    client = client_of(kind, url, key)
    answer = await done(
        client.rerank(model="cohere", query="Which city has a tower?", documents=FACTS, top_n=2)
    )
    first, second = answer.results
    assert first.relevance_score >= second.relevance_score
    assert {first.index, second.index} <= {0, 1, 2}
    assert answer.meta.billed_units.search_units == 1


async def reports_errors(kind: str, url: str, key: str) -> None:
    """A wrong key and a wrong name are errors of their classes."""
    ask: dict[str, Any] = {"query": "q", "documents": FACTS}
    wrong = client_of(kind, url, "wrong")
    error = await failure_of(done_later(lambda: wrong.rerank(model="cohere", **ask)))
    assert isinstance(error, UnauthorizedError)
    client = client_of(kind, url, key)
    error = await failure_of(done_later(lambda: client.rerank(model="nothing", **ask)))
    assert isinstance(error, NotFoundError)


async def done_later(call: Callable[[], Any]) -> Any:
    """Call a sync or an async client and return its result."""
    return await done(call())


ALL = {"embeds texts": embeds_texts, "embeds many": embeds_many}
OF_V2 = {"embeds an image": embeds_an_image, "reranks": reranks, "reports errors": reports_errors}


def steps() -> dict[str, Step]:
    """Every step of every kind; version 1 of rerank is not served on Foundry."""
    return {
        f"{kind} {name}": functools.partial(step, kind)
        for kind in KINDS
        for name, step in {**ALL, **(OF_V2 if "V2" in kind else {})}.items()
    }


if __name__ == "__main__":
    take(["cohere"], steps())
