"""AzInferTextEmbedding: every embedding deployment of an endpoint for kernels and vector stores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import numpy as np
from semantic_kernel.connectors.ai.embedding_generator_base import EmbeddingGeneratorBase
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents.image_content import ImageContent
from typing_extensions import override

from azinfer.core import BadRequestError, Embeddings, hidden, without_empty_texts
from azinfer.semantic_kernel.connection import Arguments, DeploymentConnection
from azinfer.semantic_kernel.errors import translated_errors
from azinfer.semantic_kernel.messages import image_source
from azinfer.semantic_kernel.settings import AzInferEmbeddingPromptExecutionSettings

Image = ImageContent | bytes | Path | str


class AzInferTextEmbedding(DeploymentConnection, EmbeddingGeneratorBase):
    """Embeddings of texts, and of images, by any deployment that has them.

    Vector stores of Semantic Kernel ask for raw embeddings of documents and for embeddings of
    queries. Models and surfaces with a field for that difference receive it. The other
    arguments, and errors, are those of AzInferChatCompletion.

    Example:
        >>> from azinfer.semantic_kernel import AzInferTextEmbedding
        >>> endpoint = "https://contoso.services.ai.azure.com"
        >>> service = AzInferTextEmbedding(
        ...     endpoint, "a-key", "embed", query_type="query", document_type="document"
        ... )
        >>> service.ai_model_id
        'embed'
    """

    _deployment_variable: ClassVar[str] = "AZURE_OPENAI_EMBEDDING_DEPLOYMENT_NAME"

    query_type: str | None = None
    """Sent as `input_type` by `generate_embeddings`, on every surface; usually left out."""
    document_type: str | None = None
    """Sent as `input_type` by `generate_raw_embeddings`, on every surface; usually left out."""

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        *,
        query_type: str | None = None,
        document_type: str | None = None,
        **more: Unpack[Arguments],
    ) -> None:
        types = {"query_type": query_type, "document_type": document_type}
        # Tracebacks may show variables.
        credential, endpoint = hidden(credential), hidden(endpoint)
        super().__init__(endpoint, credential, model, **types, **more)

    @override
    def get_prompt_execution_settings_class(self) -> type[PromptExecutionSettings]:
        return AzInferEmbeddingPromptExecutionSettings

    @override
    async def generate_embeddings(
        self,
        texts: list[str],
        settings: PromptExecutionSettings | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> np.ndarray[Any, Any]:
        """Return vectors of texts, shape `(len(texts), dimensions)`, in their order.

        Args:
            texts: The texts; queries, if the model distinguishes them from documents.
            settings: Further options of the request.
            batch_size: The most texts in one request; by default what the model accepts.
            **kwargs: Options that win over the settings.

        Raises:
            ServiceResponseException: A request failed; no partial result is returned.
        """
        options = self._options_for("query", self.query_type, settings, kwargs)
        vectors = await self._vectors(texts, batch_size, options)
        return np.array(vectors, dtype=np.float64)

    @override
    async def generate_raw_embeddings(
        self,
        texts: list[str],
        settings: PromptExecutionSettings | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[list[float]]:
        """Return the same as lists of numbers, for documents; arguments and errors are the same."""
        options = self._options_for("document", self.document_type, settings, kwargs)
        vectors = await self._vectors(texts, batch_size, options)
        return [list(map(float, vector)) for vector in vectors]

    async def generate_image_embeddings(
        self,
        images: Sequence[Image],
        settings: PromptExecutionSettings | None = None,
        **kwargs: Any,
    ) -> np.ndarray[Any, Any]:
        """Return vectors of images, shape `(len(images), dimensions)`, in their order.

        Args:
            images: ImageContent, bytes, Paths or URLs.
            settings: Further options of the request.
            **kwargs: Options that win over the settings.

        Raises:
            ServiceInvalidRequestError: An image has neither data nor a URL.
            ServiceResponseException: A request failed; no partial result is returned.
        """
        with translated_errors():
            sources = [
                image_source(each) if isinstance(each, ImageContent) else each for each in images
            ]
            options = self._options(settings or PromptExecutionSettings(), **kwargs)
            embeddings = await self.client.embed_images(sources, **options)
        return np.array(embeddings.vectors, dtype=np.float64)

    async def _vectors(
        self,
        texts: Sequence[str],
        batch_size: int | None,
        options: dict[str, Any],
    ) -> list[Any]:
        size = batch_size or len(texts) or 1
        texts = without_empty_texts(texts)
        vectors: list[Any] = []
        with translated_errors():
            for at in range(0, len(texts), size):
                vectors += (await self._embed(texts[at : at + size], options)).vectors
        return vectors

    def _options_for(
        self,
        kind: str,
        input_type: str | None,
        settings: PromptExecutionSettings | None,
        more: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the options of a call; core sends the kind if there is a field for it."""
        options = self._options(settings or PromptExecutionSettings(), **more)
        if input_type is not None:
            options.setdefault("input_type", input_type)
        return {**options, "kind": kind}

    async def _embed(self, texts: Sequence[str], options: dict[str, Any]) -> Embeddings:
        try:
            return await self.client.embed(texts, **options)
        except BadRequestError as error:
            dimensions = options.get("dimensions")
            if dimensions is None or "dimensions" not in f"{error.param} {error.message}":
                raise
            # Vector stores always name their dimensions, and models that cannot choose refuse
            # that; if the model's own number is the same, it need not be sent.
            own = {name: value for name, value in options.items() if name != "dimensions"}
            embeddings = await self.client.embed(texts, **own)
            if len(embeddings.vectors[0]) != dimensions:
                raise error from None
            return embeddings
