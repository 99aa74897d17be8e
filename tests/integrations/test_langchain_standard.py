"""LangChain's own suites, on each of the three main surfaces of the local endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

import raw_server
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import SURFACES
from raw_server import RawServer, chat, events, part, reply

pytestmark = pytest.mark.usefixtures("samples")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments of a synthetic model."""
    with LocalEndpoint([LocalDeployment("Prod-Chat"), LocalDeployment("second")]) as endpoint:
        yield endpoint


@pytest.fixture(scope="class", params=SURFACES.values())
def surface(request: pytest.FixtureRequest, endpoint: LocalEndpoint) -> str:
    """The address of one surface."""
    path: str = request.param
    request.cls.address = endpoint.url + path
    request.cls.key = endpoint.key
    return path


class _Chat:
    address = "https://contoso.services.ai.azure.com"
    key = "a-key"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAzInfer

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "endpoint": self.address,
            "api_key": self.key,
            "model": "prod-chat",
            "model_id": "gpt-4.1",
        }

    has_tool_calling = True
    has_tool_choice = True
    has_structured_output = True
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    returns_usage_metadata = True
    supports_model_override = True
    model_override_value = "second"
    enable_vcr_tests = True


class TestChatModelUnit(_Chat, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environ = {"AZURE_AI_ENDPOINT": self.address, "AZURE_AI_API_KEY": "from-env"}
        return environ, {"model": "prod-chat"}, {"model": "prod-chat"}

    @pytest.mark.xfail(
        raises=ValueError,
        reason="langchain_core.load revives no class that is not on a list of its own; "
        "test_a_model_survives_a_dump_without_its_key tests the round trip",
    )
    def test_serdes(self, model: BaseChatModel, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


COUNTED = {
    "prompt_tokens": 9,
    "completion_tokens": 9,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 3},
}


def answer_with_details(*, stream: bool = False) -> Any:
    """An answer whose service counts tokens of every kind, which the local endpoint does not."""
    server = RawServer().start()
    try:
        if stream:
            parts = [part("a", "stop"), {"choices": [], "usage": COUNTED}]
            server.will(raw_server.stream(events(*parts)))
        else:
            server.will(reply(chat(usage=COUNTED)))
        url = f"{server.url}/openai/v1"
        model = ChatAzInfer(endpoint=url, credential="k", model="m", streaming=stream)
        return model.invoke("hi")
    finally:
        server.stop()


@pytest.mark.usefixtures("surface")
class TestChatModelIntegration(_Chat, ChatModelIntegrationTests):
    @property
    def supported_usage_metadata_details(self) -> Any:
        # No model on these surfaces reports writing to a cache.
        kinds = ["audio_input", "audio_output", "reasoning_output", "cache_read_input"]
        return {"invoke": kinds, "stream": kinds}

    invoke_with_audio_input = staticmethod(answer_with_details)
    invoke_with_audio_output = staticmethod(answer_with_details)
    invoke_with_reasoning_output = staticmethod(answer_with_details)
    invoke_with_cache_read_input = staticmethod(answer_with_details)


class _Embeddings:
    address = "https://contoso.services.ai.azure.com"
    key = "a-key"

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return AzInferEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"endpoint": self.address, "credential": self.key, "model": "second"}


class TestEmbeddingsUnit(_Embeddings, EmbeddingsUnitTests):
    pass


@pytest.mark.usefixtures("surface")
class TestEmbeddingsIntegration(_Embeddings, EmbeddingsIntegrationTests):
    pass
