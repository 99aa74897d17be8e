"""AzInferEmbeddings: every embedding deployment of an endpoint as LangChain embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from typing_extensions import override

from azinfer import core
from azinfer.langchain.connection import DeploymentConnection, HiddenCredential
from azinfer.langchain.errors import translated_errors

Kind = Literal["query", "document"]


class AzInferEmbeddings(HiddenCredential, Embeddings, DeploymentConnection):
    """Embeddings of texts and images by any deployment that has them.

    Texts are sent as texts, in batches as large as the model accepts, several at once.

    Example:
        >>> from azinfer.langchain import AzInferEmbeddings
        >>> embeddings = AzInferEmbeddings(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="text-embedding-3-small",
        ... )
        >>> embeddings.model
        'text-embedding-3-small'
    """

    dimensions: int | None = None
    """How many numbers a vector has, if the model lets you choose."""
    query_type: str | None = None
    """Sent as `input_type` with queries; by default `"query"` if the model needs it (Cohere)."""
    document_type: str | None = None
    """Sent as `input_type` with documents; by default `"document"` if the model needs it."""

    def _options(self, call_options: dict[str, Any], kind: Kind | None = None) -> dict[str, Any]:
        """Return the options for the core client: those of the call win over the fields."""
        target = self._target(call_options)
        types = {"query": self.query_type, "document": self.document_type}
        own = {
            "dimensions": self.dimensions,
            "input_type": types[kind] if kind else None,
            "kind": kind,  # core sends it if model and surface have a field for it
        }
        options = {**own, **self.model_kwargs, **call_options, **target}
        return {name: value for name, value in options.items() if value is not None}

    @override
    def embed_documents(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Return vectors of documents, shape `(len(texts), dimensions)`, in their order."""
        with translated_errors():
            options = self._options(options, "document")
            return _lists(self.sync_client.embed(core.without_empty_texts(texts), **options))

    @override
    def embed_query(self, text: str, **options: Any) -> list[float]:
        """Return the vector of a query, shape `(dimensions,)`."""
        with translated_errors():
            options = self._options(options, "query")
            return _lists(self.sync_client.embed(core.without_empty_texts([text]), **options))[0]

    @override
    async def aembed_documents(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Return vectors of documents, shape `(len(texts), dimensions)`, in their order."""
        with translated_errors():
            options = self._options(options, "document")
            return _lists(await self.async_client.embed(core.without_empty_texts(texts), **options))

    @override
    async def aembed_query(self, text: str, **options: Any) -> list[float]:
        """Return the vector of a query, shape `(dimensions,)`."""
        with translated_errors():
            options = self._options(options, "query")
            return _lists(
                await self.async_client.embed(core.without_empty_texts([text]), **options)
            )[0]

    def embed_images(self, images: Sequence[Any], **options: Any) -> list[list[float]]:
        """Return vectors of images: bytes, Paths, URLs, or each with a text, `(image, text)`."""
        with translated_errors():
            return _lists(self.sync_client.embed_images(images, **self._options(options)))

    async def aembed_images(self, images: Sequence[Any], **options: Any) -> list[list[float]]:
        """Return vectors of images: bytes, Paths, URLs, or each with a text, `(image, text)`."""
        with translated_errors():
            options = self._options(options)
            return _lists(await self.async_client.embed_images(images, **options))


def _lists(embeddings: core.Embeddings) -> list[list[float]]:
    return [list(vector) for vector in embeddings.vectors]


def init_embeddings(model: str, *, provider: str | None = None, **named: Any) -> Embeddings:
    """Return embeddings for one string; LangChain's own helper does not know this class.

    Args:
        model: `"azinfer:<deployment>"` for AzInferEmbeddings (or the deployment alone, with
            `provider="azinfer"`); anything else goes to `langchain.embeddings.init_embeddings`.
        provider: The provider, if `model` does not begin with it.
        **named: Arguments of the class.

    Example:
        >>> from azinfer.langchain import init_embeddings
        >>> endpoint = "https://contoso.services.ai.azure.com"
        >>> init_embeddings("azinfer:small-embed", endpoint=endpoint, credential="a-key").model
        'small-embed'
    """
    if provider == "azinfer" or (provider is None and model.startswith("azinfer:")):
        return AzInferEmbeddings(model=model.removeprefix("azinfer:"), **named)
    from langchain.embeddings import init_embeddings as theirs

    return theirs(model, provider=provider, **named)
