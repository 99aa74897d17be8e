"""AzInferEmbedding and AzInferImageEmbedding: every embedding deployment for LlamaIndex."""

from __future__ import annotations

from collections.abc import Sequence
from io import IOBase
from pathlib import Path
from typing import Any, Literal, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.bridge.pydantic import Field, model_validator
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import ImageDocument, ImageNode
from typing_extensions import override

from azinfer.core import Embeddings, without_empty_texts
from azinfer.llama_index.connection import DeploymentConnection

Embedding = list[float]
Kind = Literal["query", "document"]


class AzInferEmbedding(DeploymentConnection, BaseEmbedding):
    """Embeddings of texts by any deployment that has them.

    A batch of `embed_batch_size` texts, which progress bars and rate limiters count, is sent in
    requests as large as the model accepts, several at once.

    Example:
        >>> from azinfer.llama_index import AzInferEmbedding
        >>> embedding = AzInferEmbedding(
        ...     endpoint="https://contoso.services.ai.azure.com",
        ...     credential="a-key",
        ...     model="text-embedding-3-small",
        ... )
        >>> embedding.model_name
        'text-embedding-3-small'
    """

    embed_batch_size: int = Field(default=2048, gt=0, le=2048)
    """The most texts in one batch."""
    dimensions: int | None = None
    """How many numbers a vector has, if the model lets you choose."""
    query_type: str | None = None
    """Sent as `input_type` for queries; by default `"query"` if model and surface have it."""
    document_type: str | None = None
    """Sent as `input_type` for texts; by default `"document"` if model and surface have it."""
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further options, sent as they are: `{"encoding_format": "int8"}`."""

    @model_validator(mode="after")
    def _name(self) -> Self:
        if self.model_name == "unknown":
            self.model_name = self.model_id or self.model or "unknown"
        return self

    @classmethod
    @override
    def class_name(cls) -> str:
        return "AzInferEmbedding"

    def _options(self, input_type: str | None, kind: Kind | None) -> dict[str, Any]:
        """Return the options for the core client, which sends the kind if a field exists for it."""
        options = {
            "dimensions": self.dimensions,
            "input_type": input_type or None,
        }
        options["kind"] = kind if input_type is None else None
        options |= self.additional_kwargs
        return {name: value for name, value in options.items() if value is not None}

    @property
    def _of_query(self) -> dict[str, Any]:
        return self._options(self.query_type, "query")

    @property
    def _of_text(self) -> dict[str, Any]:
        return self._options(self.document_type, "document")

    @override
    def _get_query_embedding(self, query: str) -> Embedding:
        return _lists(self.sync_client.embed(without_empty_texts([query]), **self._of_query))[0]

    @override
    async def _aget_query_embedding(self, query: str) -> Embedding:
        return _lists(
            await self.async_client.embed(without_empty_texts([query]), **self._of_query)
        )[0]

    @override
    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    @override
    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    @override
    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return _lists(self.sync_client.embed(without_empty_texts(texts), **self._of_text))

    @override
    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return _lists(await self.async_client.embed(without_empty_texts(texts), **self._of_text))


class AzInferImageEmbedding(AzInferEmbedding, MultiModalEmbedding):
    """Embeddings of images and texts by a deployment that has both in one space.

    An image is a path, a URL, bytes, an open file, an ImageDocument, an ImageNode or an
    ImageBlock. URLs are passed on and never fetched here.

    Example:
        >>> from azinfer.local import LocalDeployment, LocalEndpoint
        >>> with LocalEndpoint([LocalDeployment("embed")]) as endpoint:
        ...     model = AzInferImageEmbedding(
        ...         endpoint=endpoint.url, credential=endpoint.key, model="embed"
        ...     )
        ...     len(model.get_text_embedding("a cat"))
        384
    """

    @classmethod
    @override
    def class_name(cls) -> str:
        return "AzInferImageEmbedding"

    @override
    def _get_image_embedding(self, img_file_path: Any) -> Embedding:
        return self._get_image_embeddings([img_file_path])[0]

    @override
    async def _aget_image_embedding(self, img_file_path: Any) -> Embedding:
        return (await self._aget_image_embeddings([img_file_path]))[0]

    @override
    def _get_image_embeddings(self, img_file_paths: Sequence[Any]) -> list[Embedding]:
        images = [_source(each) for each in img_file_paths]
        return _lists(self.sync_client.embed_images(images, **self._options(None, None)))

    @override
    async def _aget_image_embeddings(self, img_file_paths: Sequence[Any]) -> list[Embedding]:
        images = [_source(each) for each in img_file_paths]
        return _lists(await self.async_client.embed_images(images, **self._options(None, None)))


def _lists(embeddings: Embeddings) -> list[Embedding]:
    """Return vectors as lists of floats, or of the requested integers."""
    lists: list[Any] = [vector.tolist() for vector in embeddings.vectors]
    return lists


def _source(image: Any) -> Any:
    """Return an image in a form that core accepts."""
    if isinstance(image, ImageDocument | ImageNode | ImageBlock):
        url = image.url if isinstance(image, ImageBlock) else image.image_url
        return _source(str(url) if url else image.resolve_image())
    if isinstance(image, str):
        return image if image.startswith(("http://", "https://", "data:")) else Path(image)
    if isinstance(image, IOBase):
        image.seek(0)
        return image.read()
    return image  # bytes, a Path, or an ImageInput of core
