"""AzInferEmbeddings: every embedding deployment of an endpoint as LangChain embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    model_validator,
)
from typing_extensions import override

from azinfer import core
from azinfer.core import AsyncInferenceClient, InferenceClient, Timeout
from azinfer.langchain.errors import as_theirs


class AzInferEmbeddings(BaseModel, Embeddings):
    """Embeddings of texts and images by any deployment that has them.

    Texts are sent as texts, in batches as large as the model takes, several at once.

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

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,  # the input has the key in it
    )

    endpoint: str | None = None
    """Any URL that a portal or a sample shows; left out, the environment's."""
    credential: Any = Field(
        default=None,
        validation_alias=AliasChoices("credential", "api_key"),
        repr=False,
        exclude=True,
    )
    """A key, a credential of azure-identity, or a function that returns a token."""
    model: str | None = None
    """The deployment's name, in any case."""
    model_id: str | None = None
    """The model behind it, where its name does not say."""
    timeout: float | Timeout | None = None
    """Seconds for each attempt, or a Timeout."""
    max_retries: int = 2
    """How often a call is sent again after it failed in passing."""
    headers: dict[str, str] | None = None
    """Sent with every request."""
    surface: str | None = None
    """The way to address deployments, where the URL does not say."""
    api_version: str | None = None
    """Sent instead of the surface's default."""
    client: InferenceClient | AsyncInferenceClient | None = Field(
        default=None, repr=False, exclude=True
    )
    """A ready client, instead of the fields above."""
    dimensions: int | None = None
    """How many numbers a vector has, where the model can choose."""
    query_type: str | None = None
    """Sent as `input_type` for queries, for example `"query"`, where the model tells them apart."""
    document_type: str | None = None
    """Sent as `input_type` for documents, for example `"document"`."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further options, sent as they are."""

    _sync: InferenceClient | None = PrivateAttr(default=None)
    _async: AsyncInferenceClient | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _open(self) -> Self:
        if isinstance(self.credential, str):
            self.credential = SecretStr(self.credential)
        if isinstance(self.client, AsyncInferenceClient):
            self._async = self.client
        else:
            self._sync = self.client or self._new_client()
        return self

    def _new_client(self) -> InferenceClient:
        secret = self.credential
        return InferenceClient(
            self.endpoint,
            secret.get_secret_value() if isinstance(secret, SecretStr) else secret,
            self.model,
            model_id=self.model_id,
            timeout=self.timeout,
            max_retries=self.max_retries,
            headers=self.headers,
            surface=self.surface,
            api_version=self.api_version,
        )

    @property
    def sync_client(self) -> InferenceClient:
        """The core client that sync methods ask."""
        if self._sync is None:
            assert self._async is not None
            self._sync = self._async.to_sync()
        return self._sync

    @property
    def async_client(self) -> AsyncInferenceClient:
        """The core client that async methods ask."""
        if self._async is None:
            self._async = self.sync_client.to_async()
        return self._async

    def _options(self, kind: str | None, more: dict[str, Any]) -> dict[str, Any]:
        given = {"model": self.model, "model_id": self.model_id, "dimensions": self.dimensions}
        given = {**given, **self.model_kwargs, "input_type": kind, **more}
        return {name: value for name, value in given.items() if value is not None}

    @override
    def embed_documents(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Vectors of documents, shape `(len(texts), dimensions)`, in their order."""
        with as_theirs():
            found = self.sync_client.embed(texts, **self._options(self.document_type, options))
        return _lists(found)

    @override
    def embed_query(self, text: str, **options: Any) -> list[float]:
        """The vector of a query, shape `(dimensions,)`."""
        with as_theirs():
            found = self.sync_client.embed([text], **self._options(self.query_type, options))
        return _lists(found)[0]

    @override
    async def aembed_documents(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Vectors of documents, shape `(len(texts), dimensions)`, in their order."""
        with as_theirs():
            options = self._options(self.document_type, options)
            return _lists(await self.async_client.embed(texts, **options))

    @override
    async def aembed_query(self, text: str, **options: Any) -> list[float]:
        """The vector of a query, shape `(dimensions,)`."""
        with as_theirs():
            options = self._options(self.query_type, options)
            return _lists(await self.async_client.embed([text], **options))[0]

    def embed_images(self, images: Sequence[Any], **options: Any) -> list[list[float]]:
        """Vectors of images: bytes, Paths, URLs, or each with a text, `(image, text)`."""
        with as_theirs():
            return _lists(self.sync_client.embed_images(images, **self._options(None, options)))

    async def aembed_images(self, images: Sequence[Any], **options: Any) -> list[list[float]]:
        """Vectors of images: bytes, Paths, URLs, or each with a text, `(image, text)`."""
        with as_theirs():
            options = self._options(None, options)
            return _lists(await self.async_client.embed_images(images, **options))


def _lists(found: core.Embeddings) -> list[list[float]]:
    return [list(map(float, vector)) for vector in found.vectors]
