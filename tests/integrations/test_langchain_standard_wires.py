"""LangChain's own integration suite on Responses and on Messages of the local endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

import raw_server
from azinfer.core import ConfigurationError
from azinfer.langchain import ChatAzInfer
from azinfer.local import LocalDeployment, LocalEndpoint
from raw_server import RawServer, events, reply

pytestmark = pytest.mark.usefixtures("samples")
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "m",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 18,
    },
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "a"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 5,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 4,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    },
}
STREAMS: dict[str, list[Any]] = {
    "responses": [
        {"type": "response.created", "response": {**RESPONSE, "output": []}},
        {"type": "response.completed", "response": RESPONSE},
    ],
    "messages": [
        {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": MESSAGE["usage"]},
        {"type": "message_stop"},
    ],
}


def details_of(wire: str) -> Callable[..., Any]:
    """Return what invokes a service that counts tokens of every kind, as no local model does."""

    def invoke(*, stream: bool = False) -> Any:
        server = RawServer().start()
        whole = {"responses": RESPONSE, "messages": MESSAGE}[wire]
        is_done = raw_server.stream(events(*STREAMS[wire], done=False))
        server.will(is_done if stream else reply(whole))
        try:
            model = ChatAzInfer(
                endpoint=server.url,
                credential="k",
                model="m",
                streaming=stream,
                model_kwargs={"wire": wire},
            )
            return model.invoke("hi")
        finally:
            server.stop()

    return invoke


@pytest.fixture(scope="class")
def endpoint(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two deployments of a synthetic model, on every wire, as the class's endpoint."""
    with LocalEndpoint([LocalDeployment("Prod-Chat"), LocalDeployment("second")]) as endpoint:
        request.cls.endpoint = endpoint
        yield


@pytest.mark.usefixtures("endpoint")
class _Suite(ChatModelIntegrationTests):
    """The suite with everything that both wires can have; sound is in neither."""

    path = ""
    model_id = ""
    endpoint: LocalEndpoint

    @pytest.fixture(autouse=True)
    def on_one_wire(self) -> Iterator[None]:
        """Check that every request of a test took the wire that the URL names."""
        self.endpoint.requests.clear()
        yield
        assert {each.path for each in self.endpoint.requests} <= {self.path}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAzInfer

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint.url + self.path,
            "api_key": self.endpoint.key,
            "model": "prod-chat",
            "model_id": self.model_id,
        }

    has_tool_calling = True
    has_tool_choice = True
    has_structured_output = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    returns_usage_metadata = True
    supports_model_override = True
    model_override_value = "second"
    enable_vcr_tests = True


class TestOnResponses(_Suite):
    path = "/openai/v1/responses"
    model_id = "gpt-5.4"
    supports_json_mode = True
    invoke_with_reasoning_output = staticmethod(details_of("responses"))
    invoke_with_cache_read_input = staticmethod(details_of("responses"))

    @pytest.mark.xfail(
        raises=ConfigurationError,
        reason="Responses have no field for stop, which is never left out in silence",
        strict=True,
    )
    def test_stop_sequence(self, model: BaseChatModel) -> None:
        super().test_stop_sequence(model)

    @property
    def supported_usage_metadata_details(self) -> Any:
        kinds = ["reasoning_output", "cache_read_input"]
        return {"invoke": kinds, "stream": kinds}


class TestOnMessages(_Suite):
    path = "/anthropic/v1/messages"
    model_id = "claude-opus-4-6"
    supports_json_mode = False  # Messages have schemas alone
    invoke_with_reasoning_output = staticmethod(details_of("messages"))
    invoke_with_cache_read_input = staticmethod(details_of("messages"))
    invoke_with_cache_creation_input = staticmethod(details_of("messages"))

    @property
    def supported_usage_metadata_details(self) -> Any:
        kinds = ["reasoning_output", "cache_read_input", "cache_creation_input"]
        return {"invoke": kinds, "stream": kinds}
