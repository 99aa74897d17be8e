"""The connection that both clients share: settings, and a core client built from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypedDict

from agent_framework import observability, prepend_agent_framework_to_user_agent
from dotenv import dotenv_values
from opentelemetry.trace import get_current_span

from azinfer import core
from azinfer.agent_framework.errors import SETTING_ERRORS

# The variables that core reads, and the names of the framework for them.
_SAME = {
    "AZURE_OPENAI_ENDPOINT": "AZURE_OPENAI_BASE_URL",
    "AZURE_INFERENCE_ENDPOINT": "FOUNDRY_MODELS_ENDPOINT",
    "AZURE_INFERENCE_CREDENTIAL": "FOUNDRY_MODELS_API_KEY",
    "AZURE_AI_ENDPOINT": "FOUNDRY_PROJECT_ENDPOINT",
}
_OF_CORE = ("timeout", "max_retries", "headers", "surface", "api_version", "wire")


class Arguments(TypedDict, total=False):
    """The further arguments of both clients, after endpoint, credential and deployment."""

    model_id: str | None
    timeout: float | core.Timeout | None
    max_retries: int
    headers: Mapping[str, str] | None
    surface: str | None
    api_version: str | None
    wire: str | None
    client: core.InferenceClient | core.AsyncInferenceClient | None
    env_file_path: str | None
    env_file_encoding: str | None
    otel_provider_name: str | None
    additional_properties: dict[str, Any] | None


class Connection:
    """A client of one endpoint; AzInferChatClient documents the arguments."""

    OTEL_PROVIDER_NAME: ClassVar[str] = "azure.ai.inference"
    INJECTABLE: ClassVar[set[str]] = {"client"}
    DEFAULT_EXCLUDE: ClassVar[set[str]] = {"additional_properties", "compaction_strategy"}
    DEFAULT_EXCLUDE |= {"tokenizer", "chat_middleware", "function_middleware"}
    _SHALLOW_COPY_FIELDS: ClassVar[set[str]] = {"token_usage_histogram", "duration_histogram"}
    _PICKLE_OMIT_FIELDS: ClassVar[set[str]] = _SHALLOW_COPY_FIELDS
    _MODEL_VARIABLES: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        *,
        model_id: str | None = None,
        client: core.InferenceClient | core.AsyncInferenceClient | None = None,
        env_file_path: str | None = None,
        env_file_encoding: str | None = None,
        **more: Any,
    ) -> None:
        # Tracebacks may show variables.
        credential, endpoint = core.hidden(credential), core.hidden(endpoint)
        options: dict[str, Any] = {name: more.pop(name) for name in _OF_CORE if name in more}
        options |= {"endpoint": endpoint, "credential": credential}
        options |= {"model": model, "model_id": model_id}
        environ = _environment(env_file_path, env_file_encoding)
        agent = prepend_agent_framework_to_user_agent({"User-Agent": f"azinfer/{core.__version__}"})
        if not (client or endpoint or environ.get("AZURE_INFERENCE_ENDPOINT")):
            options.setdefault("api_version", environ.get("AZURE_OPENAI_API_VERSION"))
        self._is_own = client is None
        with SETTING_ERRORS:
            self.client = core.adapter_client(
                client, user_agent=agent["User-Agent"], environ=environ, **options
            ).to_async()
            at = self.client.endpoint
            known = next(filter(None, map(environ.get, self._MODEL_VARIABLES)), None)
            if self.client.model is None and known:
                self.client = self.client.with_options(model=known, model_id=model_id)
            elif self.client.model is None and at.surface.routes:
                names_of = " or ".join(self._MODEL_VARIABLES)
                raise core.ConfigurationError(
                    f"no deployment at {at}: pass model=, or set {names_of}"
                )
        self.model, self.model_id = self.client.model, model_id
        self.endpoint, self.surface = at.url, at.surface.name  # only the query may contain keys
        super().__init__(**more)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop; a client that was passed stays open."""
        if self._is_own:
            await self.client.aclose()

    def service_url(self) -> str:
        """Return the URL of the endpoint."""
        return self.endpoint

    def _describe(self, answer: core.ChatCompletion | core.Embeddings) -> None:
        """Add to the framework's span how a request was routed, if its telemetry is on."""
        if observability.OBSERVABILITY_SETTINGS.ENABLED and (routing := answer.routing):
            facts = {
                "azinfer.deployment": routing.deployment,
                "azinfer.model_id": answer.model or routing.model_id,
                "azinfer.surface": routing.surface,
                "azinfer.wire": routing.wire,
            }
            get_current_span().set_attributes({k: v for k, v in facts.items() if v})


def _environment(path: str | None, encoding: str | None) -> Mapping[str, str]:
    """Return the environment with a file that wins over it, as for the framework's settings.

    `load_settings` returns the variables of a fixed list; core also reads others, such as that of
    `credential="env:NAME"`.
    """
    if path is not None and not os.path.exists(path):
        raise FileNotFoundError(path)
    file = dotenv_values(path, encoding=encoding or "utf-8") if path else {}
    known = core.HiddenEnvironment(
        {name: value for name, value in file.items() if value}, os.environ
    )
    same = {ours: known[theirs] for ours, theirs in _SAME.items() if known.get(theirs)}
    return core.HiddenEnvironment({k: v for k, v in same.items() if not known.get(k)}, *known.maps)
