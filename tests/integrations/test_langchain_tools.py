"""Tools and structured output of ChatAzInfer: the requests, and how answers are read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import (
    ModelInvalidRequestError,
    ModelRefusalError,
    OutputParserException,
)
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, field_validator

from azinfer import core
from azinfer.core import ConfigurationError
from azinfer.langchain import ChatAzInfer
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY
from raw_server import RawServer, chat, events, part, reply, stream

Make = Callable[..., ChatAzInfer]


@pytest.fixture
def make(server: RawServer) -> Make:
    """Makes models of the raw server."""

    def model(**named: Any) -> ChatAzInfer:
        named = {"model": "gpt-4.1", "max_retries": 0, **named}
        return ChatAzInfer(endpoint=f"{server.url}/openai/v1", credential=KEY, **named)

    return model


def body_of(server: RawServer, at: int = 0) -> Any:
    return server.received[at].json


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str | None = None


class Place(TypedDict):
    """A place."""

    city: str


SCHEMA = {"title": "place", "type": "object", "properties": {"city": {"type": "string"}}}
OPENAI_TOOL = {"type": "function", "function": {"name": "place", "parameters": SCHEMA}}
ANTHROPIC_TOOL = {"name": "place", "description": "d", "input_schema": SCHEMA}


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (weather, "weather"),
        (lambda: None, "<lambda>"),
        (Joke, "Joke"),
        (Place, "Place"),
        (SCHEMA, "place"),
        (OPENAI_TOOL, "place"),
        (ANTHROPIC_TOOL, "place"),
    ],
)
def test_tools_may_have_every_form(make: Make, server: RawServer, form: Any, name: str) -> None:
    if name == "<lambda>":

        def named(city: str) -> str:
            """The weather."""
            return city

        form, name = named, "named"
    server.will(reply(chat()))
    make().bind_tools([form]).invoke("hi")
    (wire,) = body_of(server)["tools"]
    assert (wire["type"], wire["function"]["name"]) == ("function", name)


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"type": "function", "function": {"name": "weather"}},
        ),
    ],
)
def test_a_tool_choice_may_have_every_form(
    make: Make, server: RawServer, choice: Any, wire: Any
) -> None:
    server.will(reply(chat()))
    make().bind_tools([weather], tool_choice=choice).invoke("hi")
    assert body_of(server).get("tool_choice") == wire


def test_a_tool_choice_that_names_no_tool_is_an_error(make: Make) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'wether' is not the name of a tool; choose from \['weather'\]"
    ):
        make().bind_tools([weather], tool_choice="wether")


def test_strict_tools_are_closed_all_the_way_down(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    inner = {"type": "object", "properties": {"default": {"type": "string", "default": "a"}}}
    parameters = {"type": "object", "properties": {"title": inner}}
    ready: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
    whole = {"type": "function", "function": {"name": "at", "parameters": parameters}}
    theirs = {"type": "web_search_preview"}  # a tool of the service's own
    make().bind_tools([ready, whole, theirs], tool_choice="at", strict=True).invoke("hi")
    tools = body_of(server)["tools"]
    assert (tools[0], tools[2]) == (ready, theirs)
    closed = {"additionalProperties": False, "type": "object"}
    assert tools[1]["function"]["parameters"] == {
        **closed,
        "required": ["title"],
        "properties": {
            "title": {
                **closed,
                "required": ["default"],
                "properties": {"default": {"type": "string"}},
            }
        },
    }


def test_strict_and_parallel_are_sent_with_tools_alone(make: Make, server: RawServer) -> None:
    server.will(reply(chat()))
    make().bind_tools([weather], strict=True, parallel_tool_calls=False).invoke("hi")
    make().bind_tools([], parallel_tool_calls=False).invoke("hi")
    assert body_of(server)["parallel_tool_calls"] is False
    assert body_of(server)["tools"][0]["function"]["strict"] is True
    assert not {"tools", "parallel_tool_calls"} & body_of(server, 1).keys()


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Joke, Place, SCHEMA])
def test_structured_output_by_every_method(
    make: Make, server: RawServer, method: Any, schema: Any
) -> None:
    value = {"setup": "s", "punchline": None} if schema is Joke else {"city": "Delft"}
    name = "Joke" if schema is Joke else "Place" if schema is Place else "place"
    call = {"id": "c", "type": "function"}
    call["function"] = {"name": name, "arguments": json.dumps(value)}  # type: ignore[assignment]
    if method == "function_calling":
        server.will(reply(chat(None, message={"tool_calls": [call]})))
    else:
        server.will(reply(chat(json.dumps(value))))
    answer = make().with_structured_output(schema, method=method, seed=7).invoke("hi")
    assert body_of(server)["seed"] == 7
    assert answer == (Joke(setup="s") if schema is Joke else value)
    wanted = body_of(server).get("response_format")
    if method == "function_calling":
        assert body_of(server)["tool_choice"]["function"]["name"] == name
    elif method == "json_mode":
        assert wanted == {"type": "json_object"}
    else:
        assert (wanted["type"], wanted["json_schema"]["name"]) == ("json_schema", name)
        described = (
            {Joke: "A joke.", Place: "A place."}.get(schema) if schema is not SCHEMA else None
        )
        assert wanted["json_schema"].get("description") == described
        assert not {"title", "description"} & wanted["json_schema"]["schema"].keys()
        assert wanted["json_schema"].get("strict", "") == ("" if schema is SCHEMA else True)


def test_the_method_is_what_the_model_can_do(make: Make, server: RawServer) -> None:
    server.will(reply(chat('{"city": "Delft"}')))
    make(model_id="gpt-4.1").with_structured_output(Place).invoke("hi")
    assert "response_format" in body_of(server)
    llama = make(model="prod", model_id="Llama-3.3-70B-Instruct")
    assert llama.with_structured_output(Place).invoke("hi") is None
    assert "tools" in body_of(server, 1)


def test_the_trace_has_method_and_schema(make: Make, server: RawServer) -> None:
    class Options(BaseCallbackHandler):
        format: Any = None

        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            self.format = kwargs["options"]["ls_structured_output_format"]

    server.will(reply(chat('{"city": "Delft"}')))
    options = Options()
    make().with_structured_output(Place).invoke("hi", {"callbacks": [options]})
    assert options.format["kwargs"] == {"method": "json_schema"}
    assert options.format["schema"]["properties"].keys() == {"city"}
    assert "ls_structured_output_format" not in body_of(server)


def test_json_needs_no_schema(make: Make, server: RawServer) -> None:
    server.will(reply(chat('{"city": "Delft"}')))
    answer = make().with_structured_output(None, method="json_mode").invoke("hi")
    assert (answer, body_of(server)["response_format"]) == (
        {"city": "Delft"},
        {"type": "json_object"},
    )


def test_a_complete_response_format_is_accepted(make: Make, server: RawServer) -> None:
    server.will(reply(chat("{}")))
    whole = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert make().with_structured_output(whole).invoke("hi") == {}
    assert body_of(server)["response_format"] == whole


def test_raw_answers_are_returned_beside_parsed_values(make: Make, server: RawServer) -> None:
    server.will(reply(chat('{"setup": "s"}')), reply(chat("no json")))
    structured = make().with_structured_output(Joke, include_raw=True)
    good, bad = structured.invoke("hi"), structured.invoke("hi")
    assert good["parsed"] == Joke(setup="s")
    assert good["raw"].usage_metadata["total_tokens"] == 5
    assert (bad["parsed"], type(bad["parsing_error"])) == (None, OutputParserException)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_refusals_and_answers_cut_off_raise(make: Make, server: RawServer, method: Any) -> None:
    server.will(reply(chat(None, message={"refusal": "I won't"})), reply(chat('{"se', "length")))
    structured = make().with_structured_output(Joke, method=method)
    with pytest.raises(ModelRefusalError, match="I won't") as refused:
        structured.invoke("hi")
    assert refused.value.raw_message is not None
    assert refused.value.raw_message.additional_kwargs["refusal"] == "I won't"
    with pytest.raises(OutputParserException, match="raise max_tokens") as cut_off:
        structured.invoke("hi")
    assert cut_off.value.llm_output == '{"se'


def both_ways(server: RawServer, request: Any, *parts: Any) -> tuple[list[Any], list[Any]]:
    """Return the parts of a stream in sync and in async code."""
    server.will(stream(events(*parts)))

    async def read() -> list[Any]:
        return [each async for each in request.astream("hi")]

    return list(request.stream("hi")), asyncio.run(read())


def read_both(server: RawServer, request: Any, *parts: Any) -> list[Any]:
    """Return the parts of a stream, after checking that sync and async code agree."""
    result, again = both_ways(server, request, *parts)
    assert again == result
    return result


def test_values_are_streamed_in_growing_parts(make: Make, server: RawServer) -> None:
    model = make()
    parts = [part('{"ci'), part('ty": "De'), part('lft"}'), part(None, "stop")]
    grown = read_both(server, model.with_structured_output(Place), *parts)
    assert grown == [{}, {"city": "De"}, {"city": "Delft"}]
    call = {"index": 0, "id": "c", "function": {"name": "Joke", "arguments": '{"setup"'}}
    rest = {"index": 0, "function": {"arguments": ': "s"}'}}
    parts = [part(None, tool_calls=[call]), part(None, "tool_calls", tool_calls=[rest])]
    structured = model.with_structured_output(Joke, method="function_calling")
    assert read_both(server, structured, *parts)[-1] == Joke(setup="s")


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Joke, Place, SCHEMA])
def test_raw_answers_stream_beside_growing_values_by_every_method(
    make: Make, server: RawServer, method: Any, schema: Any
) -> None:
    pieces = ['{"setup": "s', '", "city": "De', 'lft"}']
    if method == "function_calling":
        name = getattr(schema, "__name__", "place")
        reports = [{"index": 0, "function": {"arguments": each}} for each in pieces]
        reports[0] = {"index": 0, "id": "c", "function": {"name": name, "arguments": pieces[0]}}
        parts = [part(None, tool_calls=[each]) for each in reports]
    else:
        parts = [part(each) for each in pieces]
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    parts += [part(None, "stop"), {"choices": [], "usage": usage}]
    structured = make().with_structured_output(schema, method=method, include_raw=True)
    last = Joke(setup="s") if schema is Joke else {"setup": "s", "city": "Delft"}
    for result in both_ways(server, structured, *parts):
        values = [each["parsed"] for each in result if each.get("parsed") is not None]
        assert values[-1] == last
        assert len(values) > (1 if schema is Joke else 2)
        whole = sum(result[1:], result[0])
        assert (whole["parsed"], whole["parsing_error"]) == (last, None)
        assert whole["raw"].usage_metadata["total_tokens"] == 5


@pytest.mark.parametrize("value", [[1, 2], {"a": 1, "b": 2}])
def test_a_step_after_a_raw_answer_gets_it_whole_in_a_stream(
    make: Make, server: RawServer, value: Any
) -> None:
    def whole(expected: dict[str, Any]) -> tuple[str, Any]:
        return expected["raw"].text, expected["parsed"]

    text = json.dumps(value)
    structured = make().with_structured_output(None, method="json_mode", include_raw=True)
    parts = [part(text[:4]), part(text[4:]), part(None, "stop")]
    assert read_both(server, structured | whole, *parts) == [(text, value)]


def test_a_tool_may_be_called_instead_of_giving_a_value(make: Make, server: RawServer) -> None:
    call = {"id": "c", "type": "function"}
    call["function"] = {"name": "weather", "arguments": '{"city": "Delft"}'}  # type: ignore[assignment]
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": [call]})))
    assert make().with_structured_output(Place, tools=[weather]).invoke("hi") is None
    structured = make().with_structured_output(Place, tools=[weather], include_raw=True)
    answer = structured.invoke("hi")
    assert (answer["parsed"], answer["parsing_error"]) == (None, None)
    assert answer["raw"].tool_calls[0]["args"] == {"city": "Delft"}
    assert body_of(server)["tools"][0]["function"]["name"] == "weather"
    make().with_structured_output(Place, tools=[weather], strict=True).invoke("hi")
    assert body_of(server, 2)["tools"][0]["function"]["strict"] is True
    structured = make().with_structured_output(Place, tools=[weather], method="function_calling")
    assert structured.invoke("hi") is None
    names = [each["function"]["name"] for each in body_of(server, 3)["tools"]]
    assert (names, body_of(server, 3)["tool_choice"]) == (["Place", "weather"], "auto")
    structured = make().with_structured_output(Joke, tools=[weather], method="function_calling")
    assert structured.invoke("hi") is None
    parts = [part(None, tool_calls=[{"index": 0, **call}]), part(None, "tool_calls")]
    assert read_both(server, structured, *parts) == [None]  # and not nothing, for a step after it


@pytest.mark.parametrize("arguments", ["{broken", '{"setup": "s"', "[1]"])
@pytest.mark.parametrize("schema", [Joke, SCHEMA])
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_arguments_that_are_not_an_object_give_no_value(
    make: Make, server: RawServer, arguments: str, schema: Any, version: str
) -> None:
    name = "Joke" if schema is Joke else "place"
    call = {"index": 0, "id": "c", "type": "function"}
    call["function"] = {"name": name, "arguments": arguments}
    finish = part(None, "tool_calls")
    structured = make(output_version=version).with_structured_output(
        schema, method="function_calling"
    )
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": [call]})))
    with pytest.raises(
        OutputParserException, match=f"arguments of {name} are not a JSON"
    ) as caught:
        structured.invoke("hi")
    assert caught.value.llm_output == arguments
    server.will(stream(events(part(None, tool_calls=[call]), finish)))
    with pytest.raises(OutputParserException, match=f"of {name} are not a JSON"):
        list(structured.stream("hi"))


def test_a_call_without_arguments_is_an_empty_value(make: Make, server: RawServer) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "place", "arguments": ""}}
    structured = make().with_structured_output(SCHEMA, method="function_calling")
    parts = [part(None, tool_calls=[call]), part(None, "tool_calls")]
    assert read_both(server, structured, *parts) == [{}]


def test_a_call_whose_arguments_are_not_an_object_is_kept_as_invalid(
    make: Make, server: RawServer
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
    deep = {"id": "d", "type": "function", "function": {"name": "f", "arguments": "[" * 99999}}
    fine = {"id": "e", "type": "function", "function": {"name": "f", "arguments": '{"x": "a\n"}'}}
    server.will(reply(chat(None, "tool_calls", message={"tool_calls": [call, deep, fine]})))
    answer = make().bind_tools([weather]).invoke("hi")
    assert [each["args"] for each in answer.tool_calls] == [{"x": "a\n"}]
    assert [each["id"] for each in answer.invalid_tool_calls] == ["c", "d"]
    assert "not a JSON object" in str(answer.invalid_tool_calls[0]["error"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('```json\n{"city": "Delft"}\n```', {"city": "Delft"}),
        ('{"city": "Delft"} I hope that this helps.', {"city": "Delft"}),
        ('{"city": "De\nlft"}', {"city": "De\nlft"}),
        ('{"city": "Delf', None),
        ('{"city": "Delft"', None),
        ("", None),
    ],
)
def test_text_around_a_value_is_ignored_and_half_a_value_is_an_error(
    make: Make, server: RawServer, text: str, value: Any
) -> None:
    server.will(reply(chat(text)), stream(events(part(text), part(None, "stop"))))
    structured = make().with_structured_output(Place, include_raw=True)
    for result in (structured.invoke("hi"), list(structured.stream("hi"))[-1]):
        assert result["parsed"] == value
        error = result["parsing_error"]
        assert isinstance(error, OutputParserException) is (value is None)
        assert value or (error.llm_output, type(error.__cause__)) == (text, json.JSONDecodeError)


# pydantic's own, on Pythons that its first version does not know.
@pytest.mark.filterwarnings("ignore:Core Pydantic V1 functionality")
def test_models_of_the_first_pydantic_are_read_too(make: Make, server: RawServer) -> None:
    from pydantic.v1 import BaseModel as Old

    class Ancient(Old):
        """Something old."""

        age: int

    asked_for = {"name": "Ancient", "arguments": '{"age": 9}'}
    call = {"id": "c", "type": "function", "function": asked_for}
    server.will(reply(chat('{"age": 9}')), reply(chat(None, message={"tool_calls": [call]})))
    methods: list[Any] = ["json_schema", "function_calling"]
    for method in methods:
        answer = make().with_structured_output(Ancient, method=method).invoke("hi")
        assert answer == Ancient(age=9)


class Known(BaseModel):
    """A place that is known."""

    city: str

    @field_validator("city")
    @classmethod
    def check_city(cls, city: str) -> str:
        """Its name, if it is one."""
        return {"Delft": "Delft"}[city]


def test_an_incomplete_streamed_value_is_accepted(make: Make, server: RawServer) -> None:
    structured = make().with_structured_output(Known)
    parts = [part('{"city": "De'), part('lft"}'), part(None, "stop")]
    assert read_both(server, structured, *parts) == [Known(city="Delft")]


FILTERED = part(None, "content_filter")
FILTERED["choices"][0]["content_filter_results"] = {
    "hate": {"filtered": True, "severity": "high"},
    "jailbreak": {"filtered": True, "detected": True},
    "violence": {"filtered": False, "severity": "low"},
    "custom_blocklists": [{"id": "ours", "filtered": False}],
}


@pytest.mark.parametrize(
    ("parts", "error", "expected"),
    [
        ([part(None, refusal="I "), part(None, refusal="won't")], ModelRefusalError, "I won't"),
        ([part('{"se'), part(None, "length")], OutputParserException, "raise max_tokens"),
        ([part('{"se'), FILTERED], ModelInvalidRequestError, "filter cut off the answer"),
        ([part(None, "content_filter")], ModelInvalidRequestError, "filter cut off the answer"),
        ([part("no json"), part(None, "stop")], OutputParserException, "no json"),
        ([part('{"punchline": "p"}'), part(None, "stop")], OutputParserException, "setup"),
    ],
)
def test_a_stream_that_comes_to_no_value_is_an_error(
    make: Make, server: RawServer, parts: list[Any], error: type[Exception], expected: str
) -> None:
    server.will(stream(events(*parts)))
    structured = make().with_structured_output(Joke)
    with pytest.raises(error, match=expected):
        list(structured.stream("hi"))

    async def read() -> list[Any]:
        return [each async for each in structured.astream("hi")]

    with pytest.raises(error, match=expected):
        asyncio.run(read())
    last = list(make().with_structured_output(Joke, include_raw=True).stream("hi"))[-1]
    assert last["parsed"] is None
    assert isinstance(last["parsing_error"], error)


def test_an_answer_that_was_filtered_has_its_categories(make: Make, server: RawServer) -> None:
    answer = chat('{"se', "content_filter")
    content_filter_results_field = FILTERED["choices"][0]["content_filter_results"]
    answer["choices"][0]["content_filter_results"] = content_filter_results_field
    server.will(reply(answer))
    with pytest.raises(core.ContentFilterError) as caught:
        make().with_structured_output(Joke).invoke("hi")
    assert caught.value.categories == {"hate": "high", "jailbreak": "detected"}


class Trip(BaseModel):
    """A trip."""

    default: str = "a field may have any name"
    days: int = 3
    stops: list[Joke] = []


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_strict_schema_names_every_field_and_has_no_defaults(
    make: Make, server: RawServer, method: Any
) -> None:
    # langchain-ai/langchain#26383: the service refuses anything else.
    server.will(reply(chat("{}")))
    structured = make().with_structured_output(Trip, method=method, strict=True, include_raw=True)
    structured.invoke("hi")
    body = body_of(server)
    if method == "json_schema":
        wanted = body["response_format"]["json_schema"]
    else:
        wanted = body["tools"][0]["function"]
    schema = wanted.get("schema") or wanted["parameters"]
    inner = schema["properties"]["stops"]["items"]
    assert wanted["strict"] is True
    assert schema["required"] == list(schema["properties"]) == ["default", "days", "stops"]
    assert inner["required"] == ["setup", "punchline"]
    assert schema["additionalProperties"] is inner["additionalProperties"] is False
    for each in (*schema["properties"].values(), *inner["properties"].values()):
        assert "default" not in each


def test_the_strictness_of_a_schema_can_be_chosen(make: Make, server: RawServer) -> None:
    server.will(reply(chat("{}")))
    for schema, strict in ((SCHEMA, True), (Joke, False)):
        structured = make().with_structured_output(schema, strict=strict, include_raw=True)
        structured.invoke("hi")
        wanted = server.received[-1].json["response_format"]["json_schema"]
        assert wanted["strict"] is strict
        assert wanted["schema"].get("additionalProperties", True) is not strict


def test_a_schema_is_needed(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="needs a schema"):
        make().with_structured_output(None, method="json_schema")


def test_an_unknown_method_is_an_error(make: Make) -> None:
    wrong: Any = "json"
    with pytest.raises(ConfigurationError, match="or json_mode, not 'json'"):
        make().with_structured_output(Joke, method=wrong)


def test_a_tool_loop_runs() -> None:
    with LocalEndpoint([LocalDeployment("echo")]) as endpoint:
        model = ChatAzInfer(endpoint=endpoint.url, credential=endpoint.key, model="echo")
        bound = model.bind_tools([weather])
        messages: list[Any] = [HumanMessage("What is the weather in New York?")]
        answer = bound.invoke(messages)
        assert answer.tool_calls[0]["args"] == {"city": "New York"}
        messages += [answer, weather.invoke(answer.tool_calls[0])]
        assert "Sunny in New York" in bound.invoke(messages).text
