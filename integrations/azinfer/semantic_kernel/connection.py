"""The part that the three services share: a core client, new or ready."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypedDict

from dotenv import dotenv_values
from pydantic import ConfigDict, PrivateAttr
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.services.ai_service_client_base import AIServiceClientBase
from semantic_kernel.utils.telemetry.user_agent import prepend_semantic_kernel_to_user_agent
from typing_extensions import override

from azinfer.core import (
    AsyncInferenceClient,
    ConfigurationError,
    Endpoint,
    HiddenEnvironment,
    InferenceClient,
    Timeout,
    adapter_client,
    check_option_names,
    hidden,
    user_agent,
)
from azinfer.semantic_kernel.errors import translated_errors

PROVIDER = "azure.ai.inference"  # `gen_ai.system` of the OpenTelemetry conventions
_ENDPOINTS = {
    "AZURE_AI_INFERENCE_ENDPOINT": "AZURE_AI_INFERENCE_API_VERSION",
    "AZURE_OPENAI_ENDPOINT": "AZURE_OPENAI_API_VERSION",
}
# Semantic Kernel's names, and those of core for the same.
_SAME = {
    "AZURE_INFERENCE_ENDPOINT": "AZURE_AI_INFERENCE_ENDPOINT",
    "AZURE_INFERENCE_CREDENTIAL": "AZURE_AI_INFERENCE_API_KEY",
    "AZURE_OPENAI_ENDPOINT": "AZURE_OPENAI_BASE_URL",
}


class Arguments(TypedDict, total=False):
    """The further arguments of every service, after endpoint, credential and deployment."""

    model_id: str | None
    timeout: float | Timeout | None
    max_retries: int
    headers: Mapping[str, str] | None
    surface: str | None
    api_version: str | None
    client: InferenceClient | AsyncInferenceClient | None
    service_id: str | None
    env_file_path: str | None
    env_file_encoding: str | None


class DeploymentConnection(AIServiceClientBase):
    """A service of one endpoint; AzInferChatCompletion documents its arguments."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_id: str | None = None

    _deployment_variable: ClassVar[str]
    _model: str | None = PrivateAttr()
    _client: AsyncInferenceClient = PrivateAttr()
    _is_ours: bool = PrivateAttr()

    def __init__(
        self,
        endpoint: str | None = None,
        credential: Any = None,
        model: str | None = None,
        *,
        model_id: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int = 2,
        headers: Mapping[str, str] | None = None,
        surface: str | None = None,
        api_version: str | None = None,
        client: InferenceClient | AsyncInferenceClient | None = None,
        service_id: str | None = None,
        env_file_path: str | None = None,
        env_file_encoding: str | None = None,
        **fields: Any,
    ) -> None:
        # Tracebacks may show variables.
        credential, endpoint = hidden(credential), hidden(endpoint)
        with translated_errors(starting=True):
            check_option_names(
                type(self).__name__, fields, Arguments.__annotations__ | type(self).model_fields
            )
        environ = _environment(env_file_path, env_file_encoding)
        with translated_errors(starting=True):
            core_client = _client_of(
                client,
                environ,
                model=model,
                model_id=model_id,
                endpoint=endpoint,
                credential=credential,
                timeout=timeout,
                max_retries=max_retries,
                headers=headers,
                surface=surface,
                api_version=api_version,
            )
            deployment = model or core_client.model or environ.get(self._deployment_variable)
            name = _name(deployment, model_id, core_client.endpoint, self._deployment_variable)
        fields["model_id"] = model_id
        super().__init__(ai_model_id=name, service_id=service_id or "", **fields)
        self._model = deployment
        self._client = core_client
        self._is_ours = client is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this event loop; the service can be used again.

        A ready client stays open.
        """
        if self._is_ours:
            await self._client.aclose()

    @property
    def client(self) -> AsyncInferenceClient:
        """The core client that sends requests."""
        return self._client

    @override
    def service_url(self) -> str:
        return self._client.endpoint.url

    def _options(self, settings: PromptExecutionSettings, **more: Any) -> dict[str, Any]:
        """Return the options of a call; the service's own name stands for its deployment."""
        own_settings = self.get_prompt_execution_settings_from_settings(settings)
        options = own_settings.prepare_settings_dict(**more)
        model = options.get("model") or self.ai_model_id
        if model.casefold() == self.ai_model_id.casefold():
            options["model"] = self._model
            options.setdefault("model_id", self.model_id)
        return options


def _client_of(
    client: InferenceClient | AsyncInferenceClient | None,
    environ: Mapping[str, str],
    **options: Any,
) -> AsyncInferenceClient:
    """Return a client with these options: a new one, or the ready one with them."""
    if client is None:
        options["api_version"] = options["api_version"] or _api_version(
            options["endpoint"], environ
        )
        options["headers"] = _headers(options["headers"] or {})
    agent = _headers({})["User-Agent"]
    return adapter_client(client, user_agent=agent, environ=environ, **options).to_async()


def _environment(path: str | None, encoding: str | None) -> Mapping[str, str]:
    """Return the environment, which wins over a file, also by Semantic Kernel's names."""
    kept = dotenv_values(path or ".env", encoding=encoding or "utf-8")
    known = HiddenEnvironment(os.environ, {name: text for name, text in kept.items() if text})
    same = {ours: known[theirs] for ours, theirs in _SAME.items() if known.get(theirs)}
    return known.new_child(same) if same else known


def _api_version(endpoint: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the environment's version of the API, which is for the environment's endpoint."""
    for variable, version in _ENDPOINTS.items() if endpoint is None else ():
        if environ.get(variable):
            return environ.get(version)
    return None


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with a User-Agent that begins like that of Semantic Kernel's services."""
    titled = {name.title(): value for name, value in headers.items()}
    titled.setdefault("User-Agent", user_agent("semantic-kernel"))
    prepend_semantic_kernel_to_user_agent(titled)
    return titled


def _name(deployment: str | None, model_id: str | None, endpoint: Endpoint, variable: str) -> str:
    """Return the service's name for its model: the deployment, or a name from its URL."""
    if deployment is None and endpoint.surface.routes:
        raise ConfigurationError(
            f"no deployment: pass model=, the name of one at {endpoint}, or set {variable}"
        )
    return deployment or model_id or endpoint.surface.name
