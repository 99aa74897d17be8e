"""AzInferEmbeddingClient: every embedding deployment of an endpoint as a framework client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import agent_framework as af
from agent_framework.observability import EmbeddingTelemetryLayer
from typing_extensions import override

from azinfer.agent_framework.connection import Arguments, Connection
from azinfer.agent_framework.errors import EMBEDDING_ERRORS
from azinfer.core import ConfigurationError, Embeddings, hidden, without_empty_texts


class _EmbeddingClient(Connection, af.BaseEmbeddingClient[Any, list[float], Any]):
    _MODEL_VARIABLES: ClassVar[tuple[str, ...]] = (
        *("AZURE_OPENAI_EMBEDDING_MODEL", "AZURE_OPENAI_MODEL"),
        *("FOUNDRY_EMBEDDING_MODEL", "FOUNDRY_MODEL"),
    )

    @override
    async def get_embeddings(
        self, values: Sequence[Any], *, options: Any = None
    ) -> af.GeneratedEmbeddings[list[float], Any]:
        with EMBEDDING_ERRORS:
            result = await self._embed(values, {"model": self.model, **(options or {})})
        self._describe(result)
        vectors = [af.Embedding(list(vector), model=result.model) for vector in result.vectors]
        usage = None
        if result.usage is not None:
            usage = af.UsageDetails(input_token_count=result.usage.prompt_tokens)
            usage["total_token_count"] = result.usage.total_tokens
        return af.GeneratedEmbeddings(vectors, options=options, usage=usage)

    async def _embed(self, values: Sequence[Any], options: dict[str, Any]) -> Embeddings:
        images = [each for each in values if isinstance(each, af.Content)]
        if not images:
            return await self.client.embed(without_empty_texts(values), **options)
        if len(images) < len(values) or not all(each.uri for each in images):
            raise ConfigurationError(
                "texts and images cannot be embedded in one call: pass texts only, or only "
                "Content.from_data(…) and Content.from_uri(…)"
            )
        return await self.client.embed_images([each.uri or "" for each in images], **options)


class AzInferEmbeddingClient(EmbeddingTelemetryLayer[Any, list[float], Any], _EmbeddingClient):
    """Embeddings of texts, and of images, by any deployment that has them.

    `get_embeddings` takes texts, or images as Content with data or a URI; its options are
    `model`, `dimensions`, `input_type`, `model_id`, `timeout` and `headers`, and every other
    key is sent as it is. Texts are sent in batches as large as the model accepts. Arguments and
    errors are those of AzInferChatClient; the environment's deployment is
    AZURE_OPENAI_EMBEDDING_MODEL, AZURE_OPENAI_MODEL or FOUNDRY_EMBEDDING_MODEL.

    Example:
        >>> from azinfer.agent_framework import AzInferEmbeddingClient
        >>> AzInferEmbeddingClient("https://contoso.services.ai.azure.com", "a-key", "e").model
        'e'
    """

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        **more: Unpack[Arguments],
    ) -> None:
        # Tracebacks may show variables.
        credential, endpoint = hidden(credential), hidden(endpoint)
        super().__init__(endpoint, credential, model, **more)
