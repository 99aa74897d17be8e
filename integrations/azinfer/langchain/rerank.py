"""AzInferRerank: every rerank deployment of an endpoint as a document compressor of LangChain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field
from typing_extensions import override

from azinfer.langchain.connection import DeploymentConnection, HiddenCredential
from azinfer.langchain.errors import translated_errors


class AzInferRerank(HiddenCredential, BaseDocumentCompressor, DeploymentConnection):
    """The documents that answer a query best, best first.

    Each is a copy with its score from 0 to 1 in `metadata["relevance_score"]`.

    Example:
        >>> from azinfer.langchain import AzInferRerank
        >>> compressor = AzInferRerank(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="cohere-rerank",
        ...     top_n=3,
        ... )
        >>> compressor.compress_documents([], "Where is the tower?")
        []
    """

    top_n: int | None = Field(default=None, gt=0)
    """The most documents to keep; by default all of them."""

    def _options(self) -> dict[str, Any]:
        return {"model": self.model, "top_n": self.top_n, **self.model_kwargs}

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents by how well they answer a query; one request for all."""
        if not documents:
            return []
        texts = [document.page_content for document in documents]
        with translated_errors():
            ranking = self.sync_client.rerank(query, texts, **self._options())
        return _rank(documents, ranking)

    @override
    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents by how well they answer a query; the same, awaited."""
        if not documents:
            return []
        texts = [document.page_content for document in documents]
        with translated_errors():
            ranking = await self.async_client.rerank(query, texts, **self._options())
        return _rank(documents, ranking)


def _rank(documents: Sequence[Document], ranking: Iterable[Any]) -> list[Document]:
    """Return copies of documents in the order of a ranking, each with its score."""
    ranked = []
    for result in ranking:
        document = documents[result.index]
        metadata = {**document.metadata, "relevance_score": result.score}
        ranked.append(document.model_copy(update={"metadata": metadata}))
    return ranked
