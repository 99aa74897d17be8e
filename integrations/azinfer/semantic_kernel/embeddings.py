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

from azinfer.core import BadRequestError, Embeddings
from azinfer.semantic_kernel.connection import Arguments, DeploymentConnection
from azinfer.semantic_kernel.errors import translated_errors
from azinfer.semantic_kernel.messages import image_source
from azinfer.semantic_kernel.settings import AzInferEmbeddingPromptExecutionSettings

Image = ImageContent | bytes | Path | str


class AzInferTextEmbedding(DeploymentConnection, EmbeddingGeneratorBase):
    """Embeddings of texts, and of images, by any deployment that has them.

    Vector stores of Semantic Kernel ask for raw embeddings of documents and for embeddings of
    queries; `document_type` and `query_type` tell a model that difference, and left out it is
    told none. The other arguments, and errors, are those of AzInferChatCompletion.

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
    """Sent as `input_type` by `generate_embeddings`, for example `"query"`."""
    document_type: str | None = None
    """Sent as `input_type` by `generate_raw_embeddings`, for example `"document"`."""

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
        """Vectors of texts, shape `(len(texts), dimensions)`, in their order.

        Args:
            texts: The texts; queries, where the model tells them from documents.
            settings: What else is asked for.
            batch_size: The most texts in one request; what the model takes when left out.
            **kwargs: What wins over the settings.

        Raises:
            ServiceResponseException: Any request failed; nothing partial is returned.
        """
        vectors = await self._vectors(texts, self.query_type, settings, batch_size, kwargs)
        return np.array(vectors, dtype=np.float64)

    @override
    async def generate_raw_embeddings(
        self,
        texts: list[str],
        settings: PromptExecutionSettings | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[list[float]]:
        """The same as lists of numbers, for texts that are documents; arguments and errors too."""
        vectors = await self._vectors(texts, self.document_type, settings, batch_size, kwargs)
        return [list(map(float, vector)) for vector in vectors]

    async def generate_image_embeddings(
        self,
        images: Sequence[Image],
        settings: PromptExecutionSettings | None = None,
        **kwargs: Any,
    ) -> np.ndarray[Any, Any]:
        """Vectors of images, shape `(len(images), dimensions)`, in their order.

        Args:
            images: ImageContent, bytes, Paths or URLs.
            settings: What else is asked for.
            **kwargs: What wins over the settings.

        Raises:
            ServiceInvalidRequestError: An image has neither data nor a URL.
            ServiceResponseException: Any request failed; nothing partial is returned.
        """
        with translated_errors():
            sources = [
                image_source(each) if isinstance(each, ImageContent) else each for each in images
            ]
            found = await self.client.embed_images(sources, **self._wanted(settings, None, kwargs))
        return np.array(found.vectors, dtype=np.float64)

    async def _vectors(
        self,
        texts: Sequence[str],
        kind: str | None,
        settings: PromptExecutionSettings | None,
        batch_size: int | None,
        more: dict[str, Any],
    ) -> list[Any]:
        options = self._wanted(settings, kind, more)
        size = batch_size or len(texts) or 1
        vectors: list[Any] = []
        with translated_errors():
            for at in range(0, len(texts), size):
                vectors += (await self._embedded(texts[at : at + size], options)).vectors
        return vectors

    def _wanted(
        self, settings: PromptExecutionSettings | None, kind: str | None, more: dict[str, Any]
    ) -> dict[str, Any]:
        options = self._options(settings or PromptExecutionSettings(), **more)
        if kind is not None:
            options.setdefault("input_type", kind)
        return options

    async def _embedded(self, texts: Sequence[str], options: dict[str, Any]) -> Embeddings:
        try:
            return await self.client.embed(texts, **options)
        except BadRequestError as error:
            dimensions = options.get("dimensions")
            if dimensions is None or "dimensions" not in f"{error.param} {error.message}":
                raise
            # Vector stores always name their dimensions, and models that cannot choose refuse
            # that; where the model's own are the same, nothing is lost by not asking.
            own = {name: value for name, value in options.items() if name != "dimensions"}
            found = await self.client.embed(texts, **own)
            if len(found.vectors[0]) != dimensions:
                raise error from None
            return found
