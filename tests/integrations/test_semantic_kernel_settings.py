"""Prompt execution settings: typed fields, other services' settings, and unknown fields."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.functions import KernelFunctionFromPrompt

from azinfer.core import AsyncInferenceClient, ConfigurationError, JsonSchema, Timeout
from azinfer.semantic_kernel import (
    AzInferChatCompletion,
    AzInferChatPromptExecutionSettings,
    AzInferEmbeddingPromptExecutionSettings,
    AzInferTextCompletion,
    AzInferTextEmbedding,
)
from client_driver import KEY
from kernels import Weather, collect_stream, kernel, request_body, user_history
from raw_server import RawServer, chat, events, part, reply, stream, vectors

# Any: what no field has may be given too, which types of Semantic Kernel's settings do not say.
Chat: Any = AzInferChatPromptExecutionSettings
Embedding = AzInferEmbeddingPromptExecutionSettings
Make = Callable[..., Any]


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = 3


class Pet:
    """A class that pydantic does not know."""

    name: str


TOOL = {"type": "function", "function": {"name": "f"}}
FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0}, {"temperature": 0}),
    ({"top_p": 0.5}, {"top_p": 0.5}),
    ({"max_tokens": 5}, {"max_tokens": 5}),
    ({"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
    ({"reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
    ({"frequency_penalty": 0}, {"frequency_penalty": 0}),
    ({"presence_penalty": -1}, {"presence_penalty": -1}),
    ({"stop": "x"}, {"stop": ["x"]}),
    ({"stop": ["x", "y"]}, {"stop": ["x", "y"]}),
    ({"seed": 0}, {"seed": 0}),
    ({"number_of_responses": 2}, {"n": 2}),
    ({"n": 2}, {"n": 2}),
    ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ({"logit_bias": {"7": 1}}, {"logit_bias": {"7": 1}}),
    ({"user": "me"}, {"user": "me"}),
    ({"store": False, "metadata": {"a": "b"}}, {"store": False, "metadata": {"a": "b"}}),
    ({"ai_model_id": "other"}, {"model": "other"}),
    ({"model": "other"}, {"model": "other"}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ({"response_format": "json_object"}, {"response_format": {"type": "json_object"}}),
    ({"extra_parameters": {"top_k": 3}}, {"top_k": 3}),
    ({"extra_body": {"top_k": 3}}, {"top_k": 3}),
    ({"top_k": 3}, {"top_k": 3}),
    ({"extension_data": {"top_k": 3, "temperature": 1}}, {"top_k": 3, "temperature": 1}),
    ({"extension_data": {"extra_parameters": {"top_k": 3}}}, {"top_k": 3}),
    (
        {"response_format": "json_object", "structured_json_response": True},
        {"response_format": {"type": "json_object"}},
    ),
    ({"parallel_tool_calls": False}, {}),
    ({"tool_choice": "auto", "tools": [TOOL]}, {"tool_choice": "auto", "tools": [TOOL]}),
    ({}, {}),
]


@pytest.mark.parametrize(("arguments", "wire"), FIELDS)
async def test_every_setting_reaches_the_wire(
    server: RawServer, service: Make, arguments: dict[str, Any], wire: dict[str, Any]
) -> None:
    server.will(reply(chat()), stream(events(part("a", "stop"))))
    chat_service = service(model="prod")
    await chat_service.get_chat_message_contents(user_history(), Chat(**copy.deepcopy(arguments)))
    await collect_stream(chat_service, settings=Chat(**copy.deepcopy(arguments)))
    for at, more in ((0, set()), (1, {"stream", "stream_options"})):
        body = request_body(server, at)
        assert body.pop("messages")
        assert {name: body[name] for name in body.keys() - more} == {"model": "prod", **wire}


REQUESTS = {
    "v1": ("/openai/v1/{}", "prod"),
    "models": ("/models/{}?api-version=2024-05-01-preview", "prod"),
    "deployments": ("/openai/deployments/prod/{}?api-version=2024-10-21", None),
}


async def test_a_request_names_its_deployment_where_its_surface_wants_it(
    server: RawServer, service: Make, surface: str
) -> None:
    server.will(reply(chat()))
    await service(model="prod").get_chat_message_contents(user_history(), Chat())
    await service(AzInferTextCompletion, model="prod").get_text_contents("hi", Chat())
    server.will(reply(vectors([1.0])))
    await service(AzInferTextEmbedding, model="prod").generate_embeddings(["hi"])
    path, named = REQUESTS[surface]
    assert [each.target for each in server.received] == [
        *[path.format("chat/completions")] * 2,
        path.format("embeddings"),
    ]
    assert [each.json.get("model") for each in server.received] == [named] * 3


async def test_options_of_streams_go_with_streams_alone(server: RawServer, service: Make) -> None:
    server.will(reply(chat()), stream(events(part("a", "stop"))))
    settings = Chat(stream_options={"include_usage": False})
    await service().get_chat_message_contents(user_history(), settings)
    await collect_stream(service(), settings=settings)
    assert "stream_options" not in request_body(server)
    assert request_body(server, 1)["stream_options"] == {"include_usage": False}


async def test_generic_settings_are_taken_over_with_what_no_field_has(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()))
    generic = PromptExecutionSettings(temperature=0, top_k=3, model="other", max_tokens=4)
    await service().get_chat_message_contents(user_history(), generic)
    body = request_body(server)
    assert (body["temperature"], body["top_k"], body["max_tokens"]) == (0, 3, 4)
    assert body["model"] == "other"
    assert not {"extension_data", "service_id"} & body.keys()


# Importing Semantic Kernel's own connectors warns of what pydantic will not have for ever.
THEIR_CONNECTORS_WARN = pytest.mark.filterwarnings(
    "ignore:The `__get_pydantic_core_schema__` method"
)


@THEIR_CONNECTORS_WARN
async def test_settings_of_openai_are_taken_over(server: RawServer, service: Make) -> None:
    from semantic_kernel.connectors.ai.open_ai import OpenAIChatPromptExecutionSettings

    theirs = OpenAIChatPromptExecutionSettings(
        ai_model_id="other",
        number_of_responses=2,
        temperature=0.5,
        extra_body={"top_k": 3},
        response_format=Person,
    )
    # What their service writes into their settings was not set by the caller.
    theirs.stream, theirs.messages = True, [{"role": "user", "content": "another question"}]
    server.will(reply(chat()))
    await service().get_chat_message_contents(user_history(), theirs)
    body = request_body(server)
    assert body.pop("response_format")["json_schema"]["name"] == "Person"
    assert body.pop("messages") == [{"role": "user", "content": "hi"}]
    assert body == {"model": "other", "n": 2, "temperature": 0.5, "top_k": 3}


@THEIR_CONNECTORS_WARN
async def test_functions_chosen_in_settings_of_azure_openai_are_taken_over(
    server: RawServer,
    service: Make,
) -> None:
    from semantic_kernel.connectors.ai.open_ai import AzureChatPromptExecutionSettings

    theirs = AzureChatPromptExecutionSettings(
        max_completion_tokens=5,
        function_choice_behavior=FunctionChoiceBehavior.Auto(auto_invoke=False),
    )
    server.will(reply(chat()))
    test_kernel = kernel(p=Weather())
    await service(model="prod").get_chat_message_contents(
        user_history(), theirs, kernel=test_kernel
    )
    body = request_body(server)
    assert [each["function"]["name"] for each in body["tools"]] == ["p-get_time", "p-get_weather"]
    assert (body["tool_choice"], body["max_completion_tokens"]) == ("auto", 5)
    assert body.keys() == {
        *("model", "messages", "tools", "tool_choice"),
        "max_completion_tokens",
    }


@THEIR_CONNECTORS_WARN
def test_settings_of_the_retired_connector_are_taken_over() -> None:
    from semantic_kernel.connectors.ai.azure_ai_inference import (
        AzureAIInferenceChatPromptExecutionSettings,
        AzureAIInferenceEmbeddingPromptExecutionSettings,
    )

    theirs = AzureAIInferenceChatPromptExecutionSettings(extra_parameters={"a": 1}, stop="x")
    taken = Chat.from_prompt_execution_settings(theirs)
    assert taken.prepare_settings_dict() == {"a": 1, "stop": "x"}
    embedding = AzureAIInferenceEmbeddingPromptExecutionSettings(
        input_type="query", encoding_format="float", extra_parameters={"a": "b"}
    )
    assert Embedding.from_prompt_execution_settings(embedding).prepare_settings_dict() == {
        "input_type": "query",
        "encoding_format": "float",
        "a": "b",
    }


@THEIR_CONNECTORS_WARN
def test_settings_of_openais_embeddings_are_taken_over() -> None:
    from semantic_kernel.connectors.ai.open_ai import OpenAIEmbeddingPromptExecutionSettings

    openai = OpenAIEmbeddingPromptExecutionSettings(
        dimensions=3, ai_model_id="other", extra_headers={"x-a": "1"}
    )
    openai.input = ["what OpenAI's service was asked with them"]
    wanted = {"dimensions": 3, "model": "other", "headers": {"x-a": "1"}}
    assert Embedding.from_prompt_execution_settings(openai).prepare_settings_dict() == wanted


@pytest.mark.parametrize("kind", [Chat, Embedding])
def test_unset_settings_stay_unset_and_generic_settings_keep_their_service(kind: Any) -> None:
    taken = kind.from_prompt_execution_settings(PromptExecutionSettings(service_id="one"))
    assert taken.service_id == "one"
    fields = kind.model_fields.keys() - {"service_id", "extension_data"}
    assert {getattr(taken, name) for name in fields} == {None}
    assert taken.prepare_settings_dict() == {}


def test_tools_of_generic_settings_are_taken_over() -> None:
    generic = PromptExecutionSettings(extension_data={"tools": [TOOL], "max_tokens": 4})
    taken = Chat.from_prompt_execution_settings(generic)
    assert (taken.tools, taken.max_tokens) == ([TOOL], 4)


def test_names_of_the_wire_fill_the_fields() -> None:
    settings = Chat(n=2, model="other", extra_body={"top_k": 3})
    result = (settings.number_of_responses, settings.ai_model_id, settings.extra_parameters)
    assert result == (2, "other", {"top_k": 3})


def test_settings_are_updated_by_others() -> None:
    settings = Chat(service_id="one", temperature=1, seed=2)
    settings.update_from_prompt_execution_settings(Chat(service_id="two", temperature=0, n=2))
    assert settings.service_id == "two"
    assert settings.prepare_settings_dict() == {"temperature": 0, "seed": 2, "n": 2}


def test_a_field_that_is_set_later_wins_over_extension_data() -> None:
    settings = Chat(temperature=1, top_k=3)
    settings.temperature = 0
    assert settings.prepare_settings_dict(top_p=1) == {"temperature": 0, "top_k": 3, "top_p": 1}
    settings.extra_parameters = {"temperature": 2, "top_k": 4}
    assert settings.prepare_settings_dict() == {"temperature": 0, "top_k": 4}


def test_a_setting_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(ValidationError, match="temperature"):
        Chat(temperature="hot")


def test_a_form_may_be_a_class_of_any_kind() -> None:
    assert Chat(response_format=Person).prepare_settings_dict()["response_format"] is Person
    form = Chat(response_format=Pet).prepare_settings_dict()["response_format"]
    assert isinstance(form, JsonSchema)
    assert form.name == "Pet"
    assert form.schema["required"] == ["name"]
    assert form.schema["additionalProperties"] is False


async def test_a_form_of_a_pydantic_model_is_strict_on_the_wire(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat('{"name": "Ann", "age": 1}')), stream(events(part("{}", "stop"))))
    settings = Chat(response_format=Person)
    await service().get_chat_message_contents(user_history(), settings)
    await collect_stream(service(), settings=settings)
    for at in (0, 1):
        wanted = request_body(server, at)["response_format"]
        assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", "Person")
        assert wanted["json_schema"]["strict"] is True
        schema = wanted["json_schema"]["schema"]
        assert schema["required"] == ["name", "age"]
        assert schema["additionalProperties"] is False


async def test_a_form_that_is_a_dictionary_is_sent_as_it_is(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat("{}")))
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    await service().get_chat_message_contents(user_history(), Chat(response_format=form))
    assert request_body(server)["response_format"] == form


async def test_time_and_headers_are_those_of_the_request(server: RawServer, service: Make) -> None:
    server.will(reply(chat()))
    chat_service = service(headers={"x-a": "1"}, timeout=Timeout(total=50))
    settings = Chat(headers={"x-b": "2"}, timeout=30)
    await chat_service.get_chat_message_contents(user_history(), settings)
    assert server.received[0].header("x-a") == "1"
    assert server.received[0].header("x-b") == "2"
    assert not {"headers", "timeout"} & request_body(server).keys()


async def test_another_deployment_may_answer_and_has_its_own_model(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()))
    chat_service = service(model="prod", model_id="o3")
    for settings in (
        Chat(max_tokens=5),
        Chat(max_tokens=5, ai_model_id="PROD"),
        Chat(max_tokens=5, ai_model_id="other"),
        Chat(max_tokens=5, ai_model_id="other", model_id="gpt-5"),
    ):
        await chat_service.get_chat_message_contents(user_history(), settings)
    assert [body["model"] for body in map(request_body, [server] * 4, range(4))] == [
        "prod",
        "prod",
        "other",
        "other",
    ]
    limits = ["max_completion_tokens" in request_body(server, at) for at in range(4)]
    assert limits == [True, True, False, True]


async def test_a_service_of_a_ready_client_has_a_model_of_its_own(
    server: RawServer, url: str
) -> None:
    server.will(reply(chat()))
    client = AsyncInferenceClient(url, KEY, "prod")
    reasoning = AzInferChatCompletion(client=client, model_id="o3")
    await reasoning.get_chat_message_contents(user_history(), Chat(max_tokens=5))
    await AzInferChatCompletion(client=client).get_chat_message_contents(
        user_history(), Chat(max_tokens=5)
    )
    assert "max_completion_tokens" in request_body(server)
    assert "max_tokens" in request_body(server, 1)


async def test_the_deployment_of_a_request_names_its_messages(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()), stream(events(part("a"), part("b", "stop"))))
    settings = Chat(ai_model_id="other")
    (answer,) = await service().get_chat_message_contents(user_history(), settings)
    assert answer.ai_model_id == "other"
    parts = await collect_stream(service(), settings=settings)
    assert {each.ai_model_id for each in parts} == {"other"}
    writer = service(AzInferTextCompletion, model="prod")
    texts: list[Any] = [each async for each in writer.get_streaming_text_content("hi", settings)]
    server.will(reply(chat()))
    whole = await writer.get_text_content("hi", settings)
    assert {each.ai_model_id for each in (*texts, whole) if each} == {"other"}
    server.will(reply(chat()))
    one = service(AzInferTextCompletion, model="prod")
    text = await one.get_text_content("hi", Chat())
    assert text is not None
    assert text.ai_model_id == "prod"


async def test_settings_of_a_prompt_in_yaml_are_understood(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat("Delft")))
    function = KernelFunctionFromPrompt.from_yaml(
        """
name: where
template: Where is {{$who}}?
template_format: semantic-kernel
execution_settings:
  default:
    temperature: 0
    top_k: 7
    response_format:
      type: json_object
"""
    )
    result = await kernel(service()).invoke(function, who="Ann")
    assert str(result) == "Delft"
    body = request_body(server)
    assert (body["temperature"], body["top_k"]) == (0, 7)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"] == [{"role": "user", "content": "Where is Ann?"}]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (AzInferChatCompletion, Chat),
        (AzInferTextCompletion, Chat),
        (AzInferTextEmbedding, Embedding),
    ],
)
def test_each_service_has_its_settings_its_name_and_its_id(kind: Any, settings: Any) -> None:
    url = "https://contoso.openai.azure.com"
    assert kind(url, KEY, "prod").get_prompt_execution_settings_class() is settings
    for named, known_as in (({}, "prod"), ({"service_id": "mine"}, "mine")):
        instance = kind(url, KEY, "prod", **named)
        assert (instance.ai_model_id, instance.service_id) == ("prod", known_as)


def test_a_kernel_makes_settings_of_its_service() -> None:
    chat_service = AzInferChatCompletion(
        "https://contoso.openai.azure.com", KEY, "prod", service_id="chat"
    )
    settings = kernel(chat_service).get_prompt_execution_settings_from_service_id("chat")
    assert isinstance(settings, Chat)
    assert (settings.service_id, settings.ai_model_id) == ("chat", "prod")


async def test_a_secret_among_headers_is_sent_and_not_shown(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()))
    headers = {"Ocp-Apim-Subscription-Key": "a-secret", "x-a": "seen"}
    settings = Chat(headers=headers, temperature=0)
    taken = Chat.from_prompt_execution_settings(settings)
    changed = Chat(extension_data={"extra_headers": headers})
    changed.headers = headers
    for each in (settings, taken, changed):
        shown = f"{each!r} {each} {each.model_dump()} {each.model_dump_json()}"
        assert "seen" in shown
        assert "a-secret" not in shown
        with pytest.raises(ConfigurationError, match="looks like a secret"):
            pickle.dumps(each)
        await service().get_chat_message_contents(user_history(), copy.deepcopy(each))
    header_values = [each.header("ocp-apim-subscription-key") for each in server.received]
    assert header_values == ["a-secret"] * 3
    assert pickle.loads(pickle.dumps(Chat(headers={"x-a": "1"}))).headers == {"x-a": "1"}


def test_settings_are_copied_and_dumped() -> None:
    settings = Chat(response_format=Person, top_k=3, headers={"a": "b"}, timeout=Timeout(total=5))
    again = copy.deepcopy(settings)
    assert again.prepare_settings_dict() == settings.prepare_settings_dict()
    assert again.extension_data is not settings.extension_data
    assert Chat(temperature=0).model_dump(exclude_none=True)["temperature"] == 0
