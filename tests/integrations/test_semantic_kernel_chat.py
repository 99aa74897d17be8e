"""Kernels on the main surfaces and wires of the local endpoint: prompts, functions, output."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import (
    AudioContent,
    AuthorRole,
    ChatHistory,
    FinishReason,
    FunctionCallContent,
    FunctionResultContent,
    ImageContent,
    TextContent,
)
from semantic_kernel.contents.chat_message_content import ChatMessageContent
from semantic_kernel.exceptions import (
    KernelServiceNotFoundError,
    ServiceInvalidExecutionSettingsError,
)
from semantic_kernel.filters import AutoFunctionInvocationContext, FilterTypes
from semantic_kernel.functions import KernelArguments, KernelFunctionFromPrompt
from semantic_kernel.prompt_template import InputVariable, PromptTemplateConfig

from azinfer.core import AsyncInferenceClient, ConfigurationError, InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from azinfer.semantic_kernel import (
    AzInferChatCompletion,
    AzInferChatPromptExecutionSettings,
    AzInferTextCompletion,
)
from client_driver import WIRES
from kernels import Weather, collect_stream, join_messages, kernel, request_body, user_history
from raw_server import RawServer, chat, events, part, reply, stream
from wire_requests import CUT_ANSWER, MANY_WORDS, chat_body, wire_of

Settings = AzInferChatPromptExecutionSettings
Auto, Required = FunctionChoiceBehavior.Auto, FunctionChoiceBehavior.Required
NEW_YORK = "What is the weather in New York?"
Make = Callable[..., Any]
Next = Callable[[AutoFunctionInvocationContext], Awaitable[None]]


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Deployments that answer differently, as strict as the service."""
    deployments = [
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("echo"),
        LocalDeployment("Mistral-Large", wires=("chat", *WIRES)),
        LocalDeployment("Phi-4", wires=("chat", *WIRES)),
    ]
    with LocalEndpoint(deployments, strict=True) as endpoint:
        yield endpoint


@pytest.fixture
def make(address: str, endpoint: LocalEndpoint) -> Any:
    """Makes services of one surface or wire."""
    endpoint.requests.clear()

    def create(model: str = "echo", **named: Any) -> AzInferChatCompletion:
        return AzInferChatCompletion(endpoint.url + address, endpoint.key, model, **named)

    return create


async def test_a_prompt_is_answered(make: Any) -> None:
    result = await kernel(make("paris")).invoke_prompt("The capital of {{$land}}?", land="France")
    assert str(result) == "Paris."
    (message,) = result.value  # type: ignore[union-attr]
    assert message.metadata["usage"].completion_tokens == 2
    assert message.metadata["deployment"] == "Paris"
    assert result is not None
    assert result.metadata["metadata"] == [message.metadata]


async def test_a_prompt_is_answered_in_parts(make: Any, endpoint: LocalEndpoint) -> None:
    parts: list[Any] = [
        message
        async for messages in kernel(make()).invoke_prompt_stream("Name three colours")
        for message in messages
    ]
    assert len([each for each in parts if str(each)]) > 3
    whole = join_messages(parts)
    assert str(whole) == "This is a synthetic answer to: Name three colours"
    assert whole.finish_reason == FinishReason.STOP
    assert whole.metadata["usage"].prompt_tokens > 0
    assert ["usage" in each.metadata for each in parts][-2:] == [False, True]


async def test_a_template_has_roles_variables_and_settings(
    make: Any, endpoint: LocalEndpoint
) -> None:
    function = KernelFunctionFromPrompt(
        function_name="colour",
        prompt_template_config=PromptTemplateConfig(
            template='<message role="system">Be brief.</message>{{$question}}',
            input_variables=[InputVariable(name="question")],
            execution_settings={"default": Settings(max_tokens=16, temperature=0)},
        ),
    )
    result = await kernel(make()).invoke(function, question=MANY_WORDS)
    assert str(result) == CUT_ANSWER
    body = chat_body(endpoint)
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    assert body["temperature"] == 0
    assert result.value[0].finish_reason == FinishReason.LENGTH  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("format_", "template"),
    [
        ("semantic-kernel", "Is {{$what}} a colour?"),
        ("handlebars", "Is {{what}} a colour?"),
        ("jinja2", "Is {{ what }} a colour?"),
    ],
)
async def test_every_format_of_templates_works(
    make: Any, endpoint: LocalEndpoint, format_: Any, template: str
) -> None:
    result = await kernel(make()).invoke_prompt(
        template, template_format=format_, arguments=KernelArguments(what="red")
    )
    assert str(result) == "This is a synthetic answer to: Is red a colour?"
    messages_field = chat_body(endpoint)["messages"]
    assert messages_field == [{"role": "user", "content": "Is red a colour?"}]


async def test_services_are_chosen_by_their_ids(make: Any) -> None:
    test_kernel = kernel(make("paris", service_id="capital"), make("echo", service_id="echo"))
    for name, text in (("capital", "Paris."), ("echo", "This is a synthetic answer to: hi")):
        arguments = KernelArguments(Settings(service_id=name))
        assert str(await test_kernel.invoke_prompt("hi", arguments=arguments)) == text
        assert isinstance(test_kernel.get_service(name), AzInferChatCompletion)
    assert str(await test_kernel.invoke_prompt("hi")) == "Paris."
    with pytest.raises(KernelServiceNotFoundError):
        test_kernel.get_service("other")


async def test_one_service_calls_several_deployments(make: Any) -> None:
    test_kernel = kernel(make("paris"))
    arguments = KernelArguments(Settings(ai_model_id="ECHO"))
    result = await test_kernel.invoke_prompt("hi", arguments=arguments)
    assert str(result) == "This is a synthetic answer to: hi"
    (message,) = result.value  # type: ignore[union-attr]
    assert message.metadata["deployment"] == "echo"


@pytest.mark.parametrize("stream_it", [False, True])
async def test_functions_are_called_until_there_is_an_answer(make: Any, stream_it: bool) -> None:
    weather = Weather()
    chat_service = make()
    test_kernel, history = kernel(chat_service, weather=weather), user_history(NEW_YORK)
    settings = Settings(function_choice_behavior=Auto())
    if stream_it:
        parts = await collect_stream(chat_service, history, settings, kernel=test_kernel)
        text = "".join(str(each) for each in parts if each.role == AuthorRole.ASSISTANT)
        assert {each.function_invoke_attempt for each in parts} == {0, 1}
    else:
        text = str(
            await chat_service.get_chat_message_content(history, settings, kernel=test_kernel)
        )
    assert weather.calls == ["New York"]
    assert text == "This is a synthetic answer to: Sunny in New York"
    roles = [each.role.value for each in history.messages]
    assert roles == ["user", "assistant", "tool"]


@pytest.mark.parametrize("stream_it", [False, True])
async def test_two_functions_are_called_in_one_turn(make: Any, stream_it: bool) -> None:
    # microsoft/semantic-kernel#9933, #10221, #10446
    weather = Weather()
    chat_service = make()
    test_kernel = kernel(chat_service, w=weather)
    history = user_history("Call w-get_weather for Delft and w-get_time, please")
    settings = Settings(function_choice_behavior=Auto())
    if stream_it:
        await collect_stream(chat_service, history, settings, kernel=test_kernel)
    else:
        await chat_service.get_chat_message_content(history, settings, kernel=test_kernel)
    assert sorted(weather.calls) == ["Delft", "time"]
    calls = [each for each in history.messages[1].items if isinstance(each, FunctionCallContent)]
    assert len({each.id for each in calls}) == 2
    assert [each.items[0].id for each in history.messages[2:]] == [  # type: ignore[union-attr]
        each.id for each in calls
    ]


async def test_a_prompt_calls_functions(make: Any) -> None:
    weather = Weather()
    test_kernel = kernel(make(), weather=weather)
    arguments = KernelArguments(Settings(function_choice_behavior=Auto()))
    result = await test_kernel.invoke_prompt(NEW_YORK, arguments=arguments)
    assert str(result).endswith("Sunny in New York")
    by_name: Any = "auto"
    arguments = KernelArguments(Settings(function_choice_behavior=by_name))
    stream_ = test_kernel.invoke_prompt_stream("The time, please?", arguments=arguments)
    assert [each async for each in stream_]
    assert weather.calls == ["New York", "time"]


async def test_functions_are_required_forbidden_or_chosen(
    make: Any, endpoint: LocalEndpoint
) -> None:
    weather = Weather()
    chat_service = make()
    test_kernel = kernel(chat_service, weather=weather)
    for behaviour in (
        Required(filters={"included_functions": ["weather-get_time"]}),
        FunctionChoiceBehavior.NoneInvoke(),
    ):
        settings = Settings(function_choice_behavior=behaviour)
        await chat_service.get_chat_message_content(
            user_history(NEW_YORK), settings, kernel=test_kernel
        )
    first, last, none = (chat_body(each) for each in endpoint.requests)
    assert [each["function"]["name"] for each in first["tools"]] == ["weather-get_time"]
    assert (first["tool_choice"], none["tool_choice"]) == ("required", "none")
    assert len(none["tools"]) == 2
    assert not {"tools", "tool_choice"} & last.keys()
    assert weather.calls == ["time"]


async def test_a_function_can_be_called_by_hand(make: Any) -> None:
    chat_service, history = make(), user_history(NEW_YORK)
    test_kernel = kernel(chat_service, weather=Weather())
    settings = Settings(function_choice_behavior=Auto(auto_invoke=False))
    answer = await chat_service.get_chat_message_content(history, settings, kernel=test_kernel)
    (wanted,) = answer.items
    assert isinstance(wanted, FunctionCallContent)
    assert wanted.to_kernel_arguments() == {"city": "New York"}
    history.add_message(answer)
    result = FunctionResultContent.from_function_call_content_and_result(wanted, "Rain")
    history.add_message(result.to_chat_message_content())
    answer = await chat_service.get_chat_message_content(history, settings, kernel=test_kernel)
    assert str(answer) == "This is a synthetic answer to: Rain"


async def test_a_filter_stops_the_calls(make: Any) -> None:
    chat_service = make()
    test_kernel = kernel(chat_service, weather=Weather())

    @test_kernel.filter(FilterTypes.AUTO_FUNCTION_INVOCATION)
    async def stop(context: AutoFunctionInvocationContext, next: Next) -> None:
        await next(context)
        context.terminate = True

    settings = Settings(function_choice_behavior=Auto())
    history = user_history(NEW_YORK)
    (answer,) = await chat_service.get_chat_message_contents(history, settings, kernel=test_kernel)
    assert answer.role == AuthorRole.TOOL
    (result,) = answer.items
    assert isinstance(result, FunctionResultContent)
    assert str(result) == "Sunny in New York"
    parts = await collect_stream(chat_service, user_history(NEW_YORK), settings, kernel=test_kernel)
    assert parts[-1].role == AuthorRole.TOOL


@pytest.mark.parametrize("stream_it", [False, True])
async def test_filters_of_every_kind_run_around_an_answer(make: Any, stream_it: bool) -> None:
    test_kernel, seen = kernel(make(), weather=Weather()), []

    async def note(context: Any, next: Callable[[Any], Awaitable[None]]) -> None:
        seen.append(type(context).__name__.removesuffix("Context"))
        await next(context)

    for kind in FilterTypes:
        test_kernel.add_filter(kind, note)
    arguments = KernelArguments(Settings(function_choice_behavior=Auto()))
    if stream_it:
        parts = test_kernel.invoke_prompt_stream(NEW_YORK, arguments=arguments)
        assert [each async for each in parts]
    else:
        assert str(await test_kernel.invoke_prompt(NEW_YORK, arguments=arguments)).endswith(
            "New York"
        )
    prompt, call = ["FunctionInvocation", "PromptRender"], ["AutoFunctionInvocation"]
    assert seen == [*prompt, *call, "FunctionInvocation"]


@pytest.mark.parametrize("model", ["mistral-large", "phi-4"])
async def test_models_of_other_makers_call_functions_and_keep_forms(make: Any, model: str) -> None:
    # microsoft/semantic-kernel#10452: "Currently only named tools are supported"
    weather, chat_service = Weather(), make(model)
    test_kernel = kernel(chat_service, weather=weather)
    history = ChatHistory(system_message="Be brief.")
    history.add_user_message(NEW_YORK)
    settings = Settings(function_choice_behavior=Auto(), max_tokens=50)
    for _ in range(2):
        answer = await chat_service.get_chat_message_content(history, settings, kernel=test_kernel)
        history.add_message(answer)
        history.add_user_message(NEW_YORK)
    assert weather.calls == ["New York"] * 2
    history.add_user_message("I met 'Ann', who is 34")
    answer = await chat_service.get_chat_message_content(history, Settings(response_format=Person))
    assert Person.model_validate_json(str(answer)) == Person(name="Ann", age=34)


def call(index: int, name: str, arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call{index}", "type": "function", "function": function}


@pytest.mark.parametrize("stream_it", [False, True])
async def test_several_rounds_of_calls_run(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    weather = Weather()
    rounds = [call(0, "w-get_time"), call(1, "w-get_weather", '{"city": "Delft"}'), None]
    if stream_it:
        server.will(
            *(
                stream(
                    events(
                        part(None, None, tool_calls=[each]) if each else part("Sunny"),
                        part(None, "tool_calls" if each else "stop"),
                    )
                )
                for each in rounds
            )
        )
    else:
        server.will(
            *(
                reply(chat(None, "tool_calls", message={"tool_calls": [each]}))
                if each
                else reply(chat("Sunny"))
                for each in rounds
            )
        )
    chat_service, history = service(), user_history()
    test_kernel = kernel(chat_service, w=weather)
    settings = Settings(function_choice_behavior=Auto())
    if stream_it:
        parts = await collect_stream(chat_service, history, settings, kernel=test_kernel)
        # A call and what it gave, twice, then the answer; each part of a stream ends with usage.
        attempts = [each.function_invoke_attempt for each in parts]
        assert attempts == [0, 0, 0, 1, 1, 1, 2, 2]
        text = str(join_messages([each for each in parts if each.function_invoke_attempt == 2]))
    else:
        text = str(
            await chat_service.get_chat_message_content(history, settings, kernel=test_kernel)
        )
    assert (text, weather.calls) == ("Sunny", ["time", "Delft"])
    roles = [each["role"] for each in request_body(server, 2)["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]


@pytest.mark.parametrize("stream_it", [False, True])
async def test_calls_end_after_as_many_rounds_as_were_allowed(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    calls = [call(0, "w-get_time")]
    chat_service, weather = service(), Weather()
    settings = Settings(function_choice_behavior=Auto())
    assert settings.function_choice_behavior is not None
    settings.function_choice_behavior.maximum_auto_invoke_attempts = 1
    test_kernel = kernel(chat_service, w=weather)
    if stream_it:
        # Semantic Kernel asks once more for a whole answer, but not for a stream.
        server.will(stream(events(part(None, None, tool_calls=calls), part(None, "tool_calls"))))
        *parts, last = await collect_stream(chat_service, None, settings, kernel=test_kernel)
        assert join_messages(parts).finish_reason == FinishReason.TOOL_CALLS
        assert (last.role, last.finish_reason) == (AuthorRole.TOOL, None)
        assert len(server.received) == 1
    else:
        server.will(reply(chat(None, "tool_calls", message={"tool_calls": calls})))
        (answer,) = await chat_service.get_chat_message_contents(
            user_history(), settings, kernel=test_kernel
        )
        assert answer.finish_reason == FinishReason.TOOL_CALLS
        assert len(server.received) == 2
        assert not {"tools", "tool_choice"} & request_body(server, 1).keys()
    assert weather.calls == ["time"]


@pytest.mark.parametrize("stream_it", [False, True])
async def test_functions_that_are_not_called_leave_an_answer_as_it_is(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    server.will(stream(events(part("hello", "stop"))) if stream_it else reply(chat()))
    chat_service, weather = service(), Weather()
    test_kernel = kernel(chat_service, w=weather)
    settings = Settings(function_choice_behavior=Auto())
    if stream_it:
        answer: Any = join_messages(
            await collect_stream(chat_service, None, settings, kernel=test_kernel)
        )
    else:
        answer = await chat_service.get_chat_message_content(
            user_history(), settings, kernel=test_kernel
        )
    assert (str(answer), answer.role, weather.calls) == ("hello", AuthorRole.ASSISTANT, [])
    (request,) = server.received
    assert len(request.json["tools"]) == 2


async def test_broken_arguments_go_back_to_the_model_and_the_chat_continues(
    server: RawServer,
    service: Make,
) -> None:
    calls = [call(0, "w-get_weather", "{broken")]
    server.will(
        reply(chat(None, "tool_calls", message={"tool_calls": calls})), reply(chat("Sorry"))
    )
    chat_service = service()
    test_kernel = kernel(chat_service, w=Weather())
    settings = Settings(function_choice_behavior=Auto())
    answer = await chat_service.get_chat_message_content(
        user_history(), settings, kernel=test_kernel
    )
    assert str(answer) == "Sorry"
    messages_field = request_body(server, 1)["messages"]
    assert messages_field[1]["tool_calls"][0]["function"]["arguments"] == "{broken"
    assert (messages_field[2]["role"], messages_field[2]["tool_call_id"]) == ("tool", "call0")


@pytest.mark.parametrize("stream_it", [False, True])
async def test_functions_need_a_kernel_and_one_answer(
    server: RawServer, service: Make, stream_it: bool
) -> None:
    chat_service = service()

    async def ask(settings: Settings, **named: Any) -> None:
        if stream_it:
            await collect_stream(chat_service, None, settings, **named)
        else:
            await chat_service.get_chat_message_contents(user_history(), settings, **named)

    settings = Settings(function_choice_behavior=Auto())
    with pytest.raises(ServiceInvalidExecutionSettingsError, match="kernel"):
        await ask(settings)
    for several in ({"number_of_responses": 2}, {"extra_parameters": {"n": 2}}):
        settings = Settings(function_choice_behavior=Auto(), **several)
        with pytest.raises(ServiceInvalidExecutionSettingsError, match="only one answer"):
            await ask(settings, kernel=kernel(w=Weather()))
    assert not server.received


async def test_parallel_calls_are_forbidden_with_functions_alone(
    server: RawServer, service: Make
) -> None:
    server.will(reply(chat()))
    chat_service = service()
    settings = Settings(function_choice_behavior=Auto(), parallel_tool_calls=False)
    for instance in (kernel(w=Weather()), Kernel()):
        await chat_service.get_chat_message_contents(user_history(), settings, kernel=instance)
    assert request_body(server)["parallel_tool_calls"] is False
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & request_body(server, 1).keys()


@pytest.mark.parametrize(
    "form",
    [
        Person,
        {
            "type": "json_schema",
            "json_schema": {
                "name": "Person",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
                    "required": ["name", "age"],
                    "additionalProperties": False,
                },
            },
        },
    ],
)
async def test_answers_have_the_requested_format(make: Any, form: Any) -> None:
    chat_service, settings = make(), Settings(response_format=form)
    history = user_history("I met 'Ann', who is 34")
    answer = await chat_service.get_chat_message_content(history, settings)
    assert Person.model_validate_json(str(answer)) == Person(name="Ann", age=34)
    whole = join_messages(await collect_stream(chat_service, history, settings))
    assert Person.model_validate_json(str(whole)) == Person(name="Ann", age=34)


async def test_answers_may_be_any_json(make: Any, address: str) -> None:
    settings = Settings(response_format={"type": "json_object"})
    history = user_history("Answer in JSON, with 'colour'")
    if wire_of(address) == "messages":
        with pytest.raises(ConfigurationError, match="use wire='chat' or wire='responses'"):
            await make().get_chat_message_content(history, settings)
        return
    answer = await make().get_chat_message_content(history, settings)
    assert json.loads(str(answer)).keys() == {"colour"}


async def test_images_and_sound_reach_the_endpoint(
    make: Any, endpoint: LocalEndpoint, address: str
) -> None:
    history = ChatHistory()
    items: list[Any] = [
        TextContent(text="What is it?"),
        ImageContent(uri="https://example.com/a.png"),
        ImageContent(data=b"\x89PNG", mime_type="image/png"),
        AudioContent(data=b"RIFF", mime_type="audio/wav"),
    ]
    if wire_of(address) != "chat":
        heard = ChatHistory()
        heard.add_message(ChatMessageContent(role=AuthorRole.USER, items=items))
        with pytest.raises(ConfigurationError, match=r"audio in messages\[0\].* use wire='chat'"):
            await make().get_chat_message_content(heard, Settings())
        items.pop()
    history.add_message(ChatMessageContent(role=AuthorRole.USER, items=items))
    assert str(await make().get_chat_message_content(history, Settings()))
    kinds = [each["type"] for each in chat_body(endpoint)["messages"][0]["content"]]
    assert kinds == ["text", "image_url", "image_url", "input_audio"][: len(items)]


@pytest.mark.parametrize("kind", [InferenceClient, AsyncInferenceClient])
async def test_a_ready_client_works(endpoint: LocalEndpoint, kind: Any) -> None:
    client = kind(endpoint.url, endpoint.key, "paris")
    chat_service = AzInferChatCompletion(client=client)
    assert (chat_service.ai_model_id, chat_service.service_id) == ("paris", "paris")
    assert str(await chat_service.get_chat_message_content(user_history(), Settings())) == "Paris."
    other = AzInferChatCompletion(client=client, model="echo", service_id="other")
    assert (other.ai_model_id, other.service_id) == ("echo", "other")
    assert str(await other.get_chat_message_content(user_history(), Settings())).endswith("to: hi")


async def test_a_clone_of_a_kernel_shares_services(make: Any) -> None:
    test_kernel = kernel(make("paris"))
    assert str(await test_kernel.clone().invoke_prompt("hi")) == "Paris."
    assert test_kernel.clone().get_service() is test_kernel.get_service()


@pytest.fixture
def write(address: str, endpoint: LocalEndpoint) -> AzInferTextCompletion:
    """A text completion service of one surface or wire."""
    endpoint.requests.clear()
    return AzInferTextCompletion(endpoint.url + address, endpoint.key, "echo", service_id="text")


async def test_a_text_is_completed(write: AzInferTextCompletion, endpoint: LocalEndpoint) -> None:
    text = await write.get_text_content(MANY_WORDS, Settings(max_tokens=16))
    assert text is not None
    assert text.text == CUT_ANSWER
    assert text.metadata["usage"].completion_tokens == 16
    assert (text.ai_model_id, text.metadata["finish_reason"]) == ("echo", "length")
    messages_field = chat_body(endpoint)["messages"]
    assert messages_field == [{"role": "user", "content": MANY_WORDS}]


async def test_a_text_is_completed_in_parts(write: AzInferTextCompletion) -> None:
    async def parts() -> AsyncIterator[Any]:
        async for texts in write.get_streaming_text_contents("Hello", Settings(temperature=0)):
            for text in texts:
                yield text

    results = [each async for each in parts()]
    assert len([each for each in results if each.text]) > 3
    whole = results[0]
    for each in results[1:]:
        whole = whole + each
    assert whole.text == "This is a synthetic answer to: Hello"
    assert ["usage" in each.metadata for each in results][-2:] == [False, True]


async def test_a_kernel_prompts_for_texts(write: AzInferTextCompletion, make: Any) -> None:
    test_kernel = kernel(write)
    result = await test_kernel.invoke_prompt("Say {{$what}}", what="it")
    assert str(result) == "This is a synthetic answer to: Say it"
    parts: list[Any] = [each async for each in test_kernel.invoke_prompt_stream("Say it")]
    assert "".join(str(texts[0]) for texts in parts) == str(result)
    # Texts come before chats where a prompt names no service; each can be named.
    test_kernel.add_service(make("paris", service_id="chat"))
    arguments = KernelArguments(Settings(service_id="chat"))
    assert str(await test_kernel.invoke_prompt("hi", arguments=arguments)) == "Paris."
    assert str(await test_kernel.invoke_prompt("hi")).endswith("to: hi")


async def test_reasoning_and_refusals_of_text_completions_are_kept(
    server: RawServer, service: Make
) -> None:
    writer = service(AzInferTextCompletion, model="o3")
    server.will(
        reply(chat(None, message={"refusal": "no", "reasoning_content": "hm"})),
        stream(
            events(
                part(None, None, reasoning_content="hm"),
                part(None, None, refusal="no"),
                part(None, "stop"),
            )
        ),
    )
    text = await writer.get_text_content("hi", Settings())
    assert text is not None
    assert (text.text, text.metadata["reasoning"]) == ("no", "hm")
    parts = [
        each
        async for each in writer.get_streaming_text_content("hi", Settings())
        if each is not None
    ]
    assert [each.text for each in parts] == ["no", ""]
    assert parts[-1].metadata["reasoning"] == "hm"
