"""The choice of the wire for a conversation, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    APIStatusError,
    AssistantMessage,
    AsyncInferenceClient,
    BadRequestError,
    ConfigurationError,
    DeploymentNotFoundError,
    ImagePart,
    InferenceClient,
    InferenceError,
    ServerError,
    Tool,
    ToolMessage,
    UserMessage,
)
from azinfer.core.endpoint_knowledge import forget_endpoints
from raw_server import Peer, RawServer, answer, chat, events, failure, reply, stream

ASK = [UserMessage("hello")]
TOOL = Tool("f", parameters={"type": "object", "properties": {}})
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "m",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hello", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
NO_CHAT = failure(
    "OperationNotSupported",
    "The chatCompletion operation does not work with the specified model, m. Please choose "
    "different model and try again.",
)
NO_RESPONSES = failure(
    "OperationNotSupported",
    "The responses operation does not work with the specified model, m. Please choose different "
    "model and try again.",
)
USE_RESPONSES = failure(
    None,
    "Function tools with reasoning_effort are not supported for m in /v1/chat/completions. "
    "Please use /v1/responses instead.",
    param="reasoning_effort",
)
ANSWERS = {"chat": chat(), "responses": RESPONSE, "messages": MESSAGE}


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()
    forget_endpoints()


def serve(server: RawServer, **refusals: Any) -> None:
    """Answer on each wire, or refuse: a refusal's body, or it with its status."""

    def behave(peer: Peer) -> None:
        wire = wire_of(peer.received.target)
        refusal = refusals.get(wire)
        if refusal is None:
            peer.send(answer(ANSWERS[wire]))
        else:
            body, status = refusal if isinstance(refusal, tuple) else (refusal, 400)
            peer.send(answer(body, status))

    server.will(behave)


def wire_of(target: str) -> str:
    names = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}
    return next(name for end, name in names.items() if target.partition("?")[0].endswith(end))


def wires(server: RawServer) -> list[str]:
    return [wire_of(received.target) for received in server.received]


def client_of(server: RawServer, model: str = "m", **options: Any) -> InferenceClient:
    return InferenceClient(server.url, "a-key", model, max_retries=0, **options)


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
def test_a_declared_wire_is_used(server: RawServer, wire: Any) -> None:
    serve(server)
    client = client_of(server)
    for asking in (client.with_options(wire=wire), client_of(server, wire=wire)):
        completion = asking.complete(ASK)
        assert completion.text == "hello"
        assert completion.usage is not None
        assert completion.usage.total_tokens == 5
        assert completion.routing is not None
        assert (completion.routing.wire, completion.routing.wire_source) == (wire, "declared")
        assert asking.explain().wire == wire
    assert client.complete(ASK, wire=wire).text == "hello"
    assert wires(server) == [wire] * 3


def test_chat_is_the_default(server: RawServer) -> None:
    serve(server)
    routing = client_of(server).complete(ASK).routing
    assert routing is not None
    assert (routing.wire, routing.wire_source) == ("chat", "default")


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        ("gpt-5.1-codex-max", "responses"),
        ("o3-pro", "responses"),
        ("claude-opus-5", "messages"),
        ("gpt-4.1", "chat"),
        ("gpt-5.4", "chat"),
    ],
)
def test_the_catalog_knows_the_wire_of_a_model(server: RawServer, model: str, wire: str) -> None:
    serve(server)
    client = client_of(server, model)
    assert client.explain().wire == wire
    assert client.complete(ASK).text == "hello"
    assert client_of(server, "prod", model_id=model).complete(ASK).text == "hello"
    assert wires(server) == [wire, wire]


@pytest.mark.parametrize(
    ("model", "options", "wire"),
    [
        ("gpt-5.4", {}, "responses"),
        ("gpt-5.4", {"reasoning_effort": "high"}, "responses"),
        ("gpt-5.4", {"reasoning_effort": "none"}, "chat"),
        ("gpt-6-astra", {"reasoning_effort": "none"}, "responses"),
        ("gpt-5.4", {"seed": 1}, "chat"),
    ],
)
def test_tools_take_the_wire_that_has_them_with_reasoning(
    server: RawServer, model: str, options: dict[str, Any], wire: str
) -> None:
    serve(server)
    client_of(server, model).complete(ASK, tools=[TOOL], **options)
    assert wires(server) == [wire]


@pytest.mark.parametrize("refusal", [NO_CHAT, USE_RESPONSES])
def test_a_refusal_of_chat_leads_to_responses_for_all_clients(
    server: RawServer, refusal: Any
) -> None:
    serve(server, chat=refusal)
    completion = client_of(server).complete(ASK, tools=[TOOL])
    assert completion.routing is not None
    assert completion.routing.wire == "responses"
    assert completion.routing.adapted == ("wire chat → responses",)
    assert [attempt.status for attempt in completion.routing.attempts] == [400, 200]
    client = client_of(server)
    assert client.explain().wire_source == "learned"
    assert client.complete(ASK).routing.wire == "responses"  # type: ignore[union-attr]
    assert wires(server) == ["chat", "responses", "responses"]


async def test_an_async_client_changes_the_wire_too(server: RawServer) -> None:
    serve(server, chat=NO_CHAT)
    async with AsyncInferenceClient(server.url, "a-key", "m") as client:
        assert (await client.complete(ASK)).text == "hello"
    assert wires(server) == ["chat", "responses"]


def test_a_stream_changes_the_wire_too(server: RawServer) -> None:
    events_of = [
        {"type": "response.created", "response": {**RESPONSE, "output": []}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "hello"},
        {"type": "response.completed", "response": RESPONSE},
    ]
    server.will(reply(NO_CHAT, 400), stream(events(*events_of, done=False)))
    with client_of(server).stream(ASK) as chunks:
        assert "".join(chunk.text for chunk in chunks) == "hello"
    assert chunks.completion.text == "hello"
    assert wires(server) == ["chat", "responses"]


def test_a_model_without_responses_falls_back_to_chat(server: RawServer) -> None:
    serve(server, responses=NO_RESPONSES)
    completion = client_of(server, "gpt-5.4").complete(ASK, tools=[TOOL])
    assert completion.routing is not None
    assert completion.routing.adapted == ("wire responses → chat",)
    assert wires(server) == ["responses", "chat"]


@pytest.mark.parametrize(
    "refusal",
    [
        (failure("404", "Resource not found"), 404),
        failure(None, "m is not supported by the Responses API"),
        failure(None, "The model 'm' does not support the Responses API.", param="model"),
        failure(None, "Azure OpenAI Responses API is enabled only for api-version 2025-03-01"),
    ],
)
def test_a_service_without_responses_falls_back_to_chat(server: RawServer, refusal: Any) -> None:
    serve(server, responses=refusal)
    client_of(server, "o3-pro").complete(ASK)
    assert wires(server) == ["responses", "chat"]


@pytest.mark.parametrize(
    "refusal",
    [
        {"detail": "Not Found"},
        failure("api_not_supported", "This API is not supported."),
        failure("OperationNotSupported", "Not for this model."),
    ],
)
def test_every_form_of_a_missing_operation_leads_to_chat(server: RawServer, refusal: Any) -> None:
    serve(server, responses=(refusal, 404))
    client_of(server, "o3-pro").complete(ASK)
    assert wires(server) == ["responses", "chat"]


@pytest.mark.parametrize(
    ("refusal", "options"),
    [
        ("Previous response with id 'resp_9' not found.", {}),
        ("File 'file-1' not found.", {}),
        ("Resource not found", {"previous_response_id": "resp_9"}),
        ("Resource not found", {"conversation": "conv_1"}),
    ],
)
def test_what_is_missing_besides_the_operation_stays_on_its_wire(
    server: RawServer, refusal: str, options: dict[str, Any]
) -> None:
    serve(server, responses=(failure("not_found", refusal), 404))
    client = client_of(server, "o3-pro")
    with pytest.raises(APIStatusError, match="not found"):
        client.complete(ASK, **options)
    assert wires(server) == ["responses"]
    assert client.explain().wire_source == "catalog"


@pytest.mark.parametrize(
    "refusal",
    [
        failure(
            "unsupported_parameter",
            "Unsupported parameter: 'messages'. In the Responses API, this has moved to 'input'.",
        ),
        failure(None, "The tool 'web_search' is not supported by the Responses API."),
        failure(None, "Not supported with the Responses API.", param="tools"),
        failure(None, "See the Responses API reference."),
    ],
)
def test_a_refusal_of_one_field_stays_on_responses(server: RawServer, refusal: Any) -> None:
    serve(server, responses=refusal)
    with pytest.raises(BadRequestError, match="Responses API"):
        client_of(server, "o3-pro").complete(ASK)
    assert wires(server) == ["responses"]


def test_two_wires_that_refuse_each_other_end_with_the_refusal(server: RawServer) -> None:
    serve(server, chat=NO_CHAT, responses=NO_RESPONSES)
    both = "responses operation .*The chat wire answered: The chatCompletion operation"
    with pytest.raises(BadRequestError, match=both):
        client_of(server).complete(ASK)
    assert wires(server) == ["chat", "responses"]
    assert client_of(server).explain().wire == "chat"


def test_a_declared_wire_is_kept_when_it_is_refused(server: RawServer) -> None:
    serve(server, chat=NO_CHAT)
    with pytest.raises(BadRequestError, match="wire='responses'"):
        client_of(server, wire="chat").complete(ASK)
    assert wires(server) == ["chat"]


@pytest.mark.parametrize("name", ["my-claude", "prod"])
@pytest.mark.parametrize("status", [400, 404])
def test_claude_with_another_name_is_called_on_its_wire(
    server: RawServer, status: int, name: str
) -> None:
    serve(server, chat=(failure(None, f"Unknown model: {name}"), status))
    assert client_of(server, name).complete(ASK).text == "hello"
    assert client_of(server, name).complete(ASK).text == "hello"
    assert wires(server) == ["chat", "messages", "messages"]
    assert client_of(server, name).explain().wire_source == "learned"


@pytest.mark.parametrize(
    "refusal",
    [failure("api_not_supported", "Not for this model."), failure("DeploymentNotFound", "no")],
)
def test_claude_by_its_name_is_called_on_its_wire(server: RawServer, refusal: Any) -> None:
    serve(server, chat=(refusal, 404))
    assert client_of(server, "my-claude").complete(ASK).text == "hello"
    assert wires(server) == ["chat", "messages"]


def test_a_name_that_no_wire_knows_is_refused_with_both_answers(server: RawServer) -> None:
    missing = failure("404", "Resource not found")
    serve(server, chat=failure(None, "Unknown model: nothing"), messages=(missing, 404))
    with pytest.raises(
        InferenceError, match=r"Resource not found.*The chat wire answered: Unknown model: nothing"
    ):
        client_of(server, "nothing").complete(ASK)
    assert wires(server) == ["chat", "messages"]
    assert client_of(server, "nothing").explain().wire == "chat"


def test_an_unknown_name_costs_one_request(server: RawServer) -> None:
    serve(server, chat=(failure("DeploymentNotFound", "no such deployment"), 404))
    with pytest.raises(DeploymentNotFoundError):
        client_of(server, "nothing").complete(ASK)
    assert wires(server) == ["chat"]


def test_a_refusal_that_no_other_wire_can_answer_says_why(server: RawServer) -> None:
    serve(server, chat=USE_RESPONSES)
    with pytest.raises(BadRequestError, match=r"seed=1 has no counterpart on the Responses wire"):
        client_of(server).complete(ASK, tools=[TOOL], seed=1)
    assert wires(server) == ["chat"]


def test_a_failing_service_does_not_change_the_wire(server: RawServer) -> None:
    serve(server, chat=(NO_CHAT, 500))
    with pytest.raises(ServerError):
        client_of(server).complete(ASK)
    assert wires(server) == ["chat"]


def test_an_endpoint_without_other_wires_keeps_to_chat(server: RawServer) -> None:
    serve(server)
    client = InferenceClient(server.url, "a-key", "o3-pro", surface="serverless")
    assert client.explain().wire == "chat"
    client.complete(ASK)
    with pytest.raises(ConfigurationError, match="responses does not exist on the serverless"):
        client.complete(ASK, wire="responses")
    with pytest.raises(ConfigurationError, match=r"wire='telex' is unknown; choose from chat"):
        client.complete(ASK, wire="telex")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "wire", "url"),
    [
        ("/openai/v1/responses", "responses", "/openai/v1/responses"),
        ("/openai/responses?api-version=2025-04-01-preview", "responses", "/openai/v1/responses"),
        ("/anthropic", "messages", "/anthropic/v1/messages"),
        ("/anthropic/v1/messages", "messages", "/anthropic/v1/messages"),
        ("/openai/v1", "chat", "/openai/v1/chat/completions"),
    ],
)
def test_the_url_that_a_portal_shows_names_the_wire(
    server: RawServer, path: str, wire: str, url: str
) -> None:
    serve(server)
    client = InferenceClient(server.url + path, "a-key", "m")
    assert client.explain().wire == wire
    assert client.complete(ASK).text == "hello"
    assert server.received[-1].target == url
    assert client.complete(ASK, wire="chat").text == "hello"


def test_messages_take_the_key_in_both_headers_and_name_their_version(server: RawServer) -> None:
    serve(server)
    client_of(server, "claude-opus-5").complete(ASK, headers={"anthropic-beta": "b-1"})
    sent = server.received[-1]
    assert sent.target == "/anthropic/v1/messages"
    names = ("x-api-key", "api-key", "anthropic-version", "anthropic-beta", "authorization")
    assert [sent.header(name) for name in names] == ["a-key", "a-key", "2023-06-01", "b-1", None]


def test_a_file_declares_the_wires_of_endpoints_and_deployments(
    server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "a-key")
    text = f"""
        [endpoints.main]
        url = "{server.url}"
        credential = "env:KEY"
        wire = "responses"

        [deployments."claude@main"]
        wire = "messages"
    """
    path = tmp_path / "azinfer.toml"
    path.write_text(text, "utf-8")
    serve(server)
    client = InferenceClient.from_config(path)
    for model in ("gpt", "Claude"):
        client.complete(ASK, model=model)
    client.complete(ASK, model="gpt", wire="chat")
    assert wires(server) == ["responses", "messages", "chat"]
    path.write_text(text.replace('"messages"', '"telex"'), "utf-8")
    with pytest.raises(ConfigurationError, match="must be one of chat, responses, messages"):
        InferenceClient.from_config(path)


def test_what_a_wire_mends_is_sent_again_and_learned(server: RawServer) -> None:
    message = "Encrypted content is not supported with this model."
    refusal = reply(failure(None, message, param="include"), 400)
    server.will(refusal, reply(RESPONSE))
    client = client_of(server, wire="responses")
    routing = client.complete(ASK).routing
    assert routing is not None
    assert routing.adapted == ("without include",)
    client_of(server, wire="responses").complete(ASK)
    assert ["include" in received.json for received in server.received] == [True, False, False]


def test_a_model_that_continues_no_answer_gets_a_turn_of_the_user(server: RawServer) -> None:
    message = (
        "This model does not support assistant message prefill. The conversation must end with a "
        "user message."
    )
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    server.will(reply(refusal, 400), reply(MESSAGE))
    history: list[Any] = [*ASK, AssistantMessage("yes")]
    for _ in range(2):
        routing = client_of(server, wire="messages").complete(history).routing
        assert routing is not None
        assert routing.adapted == ("messages with a last turn of the user",)
    roles = [[turn["role"] for turn in each.json["messages"]] for each in server.received]
    assert roles == [["user", "assistant"], *[["user", "assistant", "user"]] * 2]
    client_of(server, wire="messages").complete(ASK)
    assert len(server.received[-1].json["messages"]) == 1


@pytest.mark.parametrize("served", [None, "gpt-4.1-2025-04-14"])
def test_responses_name_the_model_in_a_header(server: RawServer, served: str | None) -> None:
    headers = {"x-ms-served-model": served} if served else {}
    response = RESPONSE | {"model": "m"}
    done = events({"type": "response.completed", "response": response}, done=False)
    as_events = headers | {"content-type": "text/event-stream"}
    server.will(reply(response, headers=headers), reply(done, headers=as_events))
    client = client_of(server, wire="responses")
    assert client.complete(ASK).model == (served or "m")
    with client.stream(ASK) as chunks:
        assert {chunk.model for chunk in chunks} == {served or "m"}
        assert chunks.completion.model == (served or "m")


def test_summaries_of_reasoning_are_asked_for_with_an_effort(server: RawServer) -> None:
    serve(server)
    client = client_of(server, wire="responses")
    client.complete(ASK)
    client.complete(ASK, reasoning_effort="none")
    client.complete(ASK, reasoning_effort="low")
    client.complete(ASK, reasoning_effort="low", reasoning={"summary": "detailed"})
    assert [received.json.get("reasoning") for received in server.received] == [
        None,
        {"effort": "none"},
        {"effort": "low", "summary": "auto"},
        {"summary": "detailed", "effort": "low"},
    ]


def test_summaries_that_a_model_refuses_are_left_out_from_then_on(server: RawServer) -> None:
    message = "Your organization must be verified to generate reasoning summaries."
    refusal = reply(failure("unsupported_value", message, param="reasoning.summary"), 400)
    server.will(refusal, reply(RESPONSE))
    for _ in range(2):
        client_of(server, wire="responses").complete(ASK, reasoning_effort="low")
    sent = [received.json["reasoning"] for received in server.received]
    assert sent == [{"effort": "low", "summary": "auto"}, {"effort": "low"}, {"effort": "low"}]


def test_a_refusal_of_a_summary_that_was_asked_for_stands(server: RawServer) -> None:
    server.will(reply(failure(None, "Unsupported value.", param="reasoning.summary"), 400))
    with pytest.raises(BadRequestError, match="Unsupported value"):
        client_of(server, wire="responses").complete(ASK, reasoning={"summary": "concise"})
    assert len(server.received) == 1


def test_what_cannot_be_mended_twice_is_an_error(server: RawServer) -> None:
    server.will(reply(failure("invalid_encrypted_content", "could not be verified"), 400))
    reasoning = {"type": "reasoning", "summary": [], "encrypted_content": "x"}
    state = {"wire": "responses", "resource": "", "items": [reasoning]}
    history: list[Any] = [*ASK, AssistantMessage("a", state=state), *ASK]
    with pytest.raises(BadRequestError, match="could not be verified"):
        client_of(server, wire="responses").complete(history)
    kinds = [[item["type"] for item in received.json["input"]] for received in server.received]
    assert kinds == [["message", "reasoning", "message", "message"], ["message"] * 3]


def test_other_operations_have_no_wire(server: RawServer) -> None:
    assert client_of(server).explain("embeddings").wire is None


def test_a_tools_answer_may_have_parts(server: RawServer) -> None:
    serve(server)
    call = {"id": "c1", "function": {"name": "f", "arguments": "{}"}}
    parts: list[Any] = ["look", ImagePart("https://example.com/a.png")]
    history: list[Any] = [*ASK, AssistantMessage(None, [call]), ToolMessage(parts, "c1")]
    client_of(server, wire="messages").complete(history, tools=[TOOL])
    (result,) = server.received[-1].json["messages"][-1]["content"]
    assert [block["type"] for block in result["content"]] == ["text", "image"]


@pytest.mark.parametrize("choice", ["f", "auto"])
def test_a_refusal_of_a_tool_choice_on_messages_stands(server: RawServer, choice: str) -> None:
    text = "Thinking may not be enabled when tool_choice forces tool use."
    serve(
        server,
        messages={"type": "error", "error": {"type": "invalid_request_error", "message": text}},
    )
    with pytest.raises(BadRequestError, match="forces tool use"):
        client_of(server, "claude-sonnet-4-5").complete(ASK, tools=[TOOL], tool_choice=choice)
    assert wires(server) == ["messages"]


def test_a_correction_that_did_not_help_is_not_remembered(server: RawServer) -> None:
    serve(server, chat=failure(None, "tool_choice must be a string"))
    for _ in range(2):
        with pytest.raises(BadRequestError, match="tool_choice must be"):
            client_of(server).complete(ASK, tools=[TOOL], tool_choice="f")
    by_name = {"type": "function", "function": {"name": "f"}}
    assert [each.json["tool_choice"] for each in server.received] == [by_name, "required"] * 2


@pytest.mark.parametrize(
    ("flat", "message"),
    [
        ({"code": "server_error", "message": "It broke.", "param": None}, r"It broke\."),
        ({}, "HTTP|error"),  # nothing but its type
    ],
)
def test_a_flat_error_event_of_responses_is_an_error(
    server: RawServer, flat: dict[str, Any], message: str
) -> None:
    begun = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}
    server.will(stream(events(begun, {"type": "error", **flat}, done=False)))
    with (
        pytest.raises(APIStatusError, match=message),
        client_of(server).stream(ASK, wire="responses") as chunks,
    ):
        list(chunks)
