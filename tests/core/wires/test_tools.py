"""Tools and choices of a tool on the wires of Responses and Messages.

Sources: `Tool` and `ToolChoiceObject` of the Azure OpenAI v1 OpenAPI document, "Create response" of
the OpenAI reference, and the tool reference of Anthropic's documentation.
"""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import UserMessage
from azinfer.core.calls import in_our_schema
from azinfer.core.completions import Json
from azinfer.core.wires.wire import Encoded, Situation, wire_named

PARAMETERS = {"type": "object", "properties": {"function": {"type": "string"}}}
SERVICE_TOOLS: list[Json] = [
    {
        "type": "file_search",
        "vector_store_ids": ["vs_1"],
        "filters": {"type": "and", "filters": []},
    },
    {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}},
    {"type": "web_search_preview", "user_location": {"type": "approximate", "country": "NL"}},
    {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}},
    {"type": "computer_use_preview", "environment": "browser", "display_width": 1},
    {"type": "image_generation", "input_image_mask": {"file_id": "file-1"}, "size": "auto"},
    {"type": "local_shell"},
    {"type": "shell", "environment": {"type": "container_auto"}},
    {"type": "apply_patch"},
    {"type": "tool_search", "execution": "client", "parameters": PARAMETERS},
    {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}]},
    {"type": "mcp", "server_label": "docs", "allowed_tools": ["search"]},
    {
        "type": "mcp",
        "server_label": "docs",
        "server_url": "https://example.com/mcp",
        "allowed_tools": {"tool_names": ["search"], "read_only": True},
        "require_approval": {"never": {"tool_names": ["search"]}},
        "headers": {"function": "x"},
    },
    {"type": "future_tool", "function": {"a": 1}, "custom": {"b": 1}, "allowed_tools": {"c": 1}},
    {"type": "web_search_20260209", "name": "web_search", "user_location": {"type": "x"}},
    {"type": "code_execution_20260120", "name": "code_execution"},
    {"type": "memory_20250818", "name": "memory"},
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    {"type": "computer_20251124", "name": "computer", "display_width_px": 1},
    {"type": "mcp_toolset", "mcp_server_name": "docs", "configs": {"search": {"enabled": True}}},
    {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
]
SERVICE_CHOICES: list[Json] = [
    {"type": "file_search"},
    {"type": "web_search_preview"},
    {"type": "computer_use_preview"},
    {"type": "code_interpreter"},
    {"type": "image_generation"},
    {"type": "apply_patch"},
    {"type": "shell"},
    {"type": "mcp", "server_label": "docs"},
    {"type": "mcp", "server_label": "docs", "name": "search"},
    {"type": "future_tool", "function": {"name": "f"}, "allowed_tools": {"tools": []}},
]
FUNCTION: Json = {"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}
OTHER = {"type": "function", "function": {"name": "g"}}
REFERENCE, FLAT_REFERENCE = (
    {"type": "function", "function": {"name": "f"}},
    {"type": "function", "name": "f"},
)


def encode(wire: str, **options: Any) -> Encoded:
    return wire_named(wire).encode(in_our_schema([UserMessage("hi")], options), Situation())


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
@pytest.mark.parametrize("tool", SERVICE_TOOLS, ids=[tool["type"] for tool in SERVICE_TOOLS])
def test_a_service_side_tool_is_sent_as_it_is(tool: Json, wire: str) -> None:
    assert encode(wire, tools=[tool]).body["tools"] == [tool]


@pytest.mark.parametrize("wire", ["chat", "responses", "messages"])
@pytest.mark.parametrize("choice", SERVICE_CHOICES, ids=[row["type"] for row in SERVICE_CHOICES])
def test_a_choice_of_a_service_side_tool_is_sent_as_it_is(choice: Json, wire: str) -> None:
    body = encode(wire, tools=[{"type": "file_search"}], tool_choice=choice).body
    assert body["tool_choice"] == choice


@pytest.mark.parametrize(
    ("tool", "sent"),
    [
        (FUNCTION, {"type": "function", "name": "f", "parameters": PARAMETERS, "strict": False}),
        (
            {"type": "function", "function": {"name": "f", "strict": True}},
            {"type": "function", "name": "f", "strict": True},
        ),
        (FLAT_REFERENCE, {**FLAT_REFERENCE, "strict": False}),
        ({**FLAT_REFERENCE, "strict": True}, {**FLAT_REFERENCE, "strict": True}),
        ({"type": "custom", "custom": {"name": "sql"}}, {"type": "custom", "name": "sql"}),
        ({"type": "custom", "name": "sql"}, {"type": "custom", "name": "sql"}),
        (
            {"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}},
            {"type": "custom", "name": "sql", "format": {"type": "text"}},
        ),
        *(
            (
                {"type": "custom", **nested},
                {
                    "type": "custom",
                    "name": "sql",
                    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
                },
            )
            for grammar in [{"syntax": "lark", "definition": "start: /x/"}]
            for nested in (
                {"custom": {"name": "sql", "format": {"type": "grammar", "grammar": grammar}}},
                {"name": "sql", "format": {"type": "grammar", **grammar}},
            )
        ),
    ],
)
def test_a_tool_of_the_program_is_flat_on_responses(tool: Json, sent: Json) -> None:
    assert encode("responses", tools=[tool]).body["tools"] == [sent]


@pytest.mark.parametrize("tool", [FUNCTION, {"type": "function", **FUNCTION["function"]}])
def test_a_function_has_an_input_schema_on_messages(tool: Json) -> None:
    sent = {"name": "f", "input_schema": PARAMETERS}
    assert encode("messages", tools=[tool]).body["tools"] == [sent]


@pytest.mark.parametrize(
    ("choice", "responses", "messages"),
    [
        ("auto", "auto", {"type": "auto"}),
        ("none", "none", {"type": "none"}),
        ("required", "required", {"type": "any"}),
        (REFERENCE, FLAT_REFERENCE, {"type": "tool", "name": "f"}),
        (FLAT_REFERENCE, FLAT_REFERENCE, {"type": "tool", "name": "f"}),
        ({"type": "any"}, {"type": "any"}, {"type": "any"}),
        ({"type": "tool", "name": "f"},) * 3,
    ],
)
def test_a_choice_has_the_form_of_its_wire(choice: Any, responses: Any, messages: Any) -> None:
    for wire, sent in (("responses", responses), ("messages", messages)):
        assert encode(wire, tools=[FUNCTION], tool_choice=choice).body["tool_choice"] == sent


@pytest.mark.parametrize("reference", [REFERENCE, FLAT_REFERENCE])
@pytest.mark.parametrize("is_nested", [True, False])
def test_allowed_tools_are_flat_on_responses(reference: Json, is_nested: bool) -> None:
    docs = {"type": "mcp", "server_label": "docs"}
    allowed = {"mode": "required", "tools": [reference, docs]}
    nested = {"allowed_tools": allowed} if is_nested else allowed
    body = encode("responses", tools=[FUNCTION], tool_choice={"type": "allowed_tools", **nested})
    assert body.body["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [FLAT_REFERENCE, docs],
    }


@pytest.mark.parametrize("reference", [REFERENCE, FLAT_REFERENCE])
@pytest.mark.parametrize("is_nested", [True, False])
def test_messages_send_the_allowed_tools_alone(reference: Json, is_nested: bool) -> None:
    allowed = {"mode": "required", "tools": [reference]}
    nested = {"allowed_tools": allowed} if is_nested else allowed
    choice = {"type": "allowed_tools", **nested}
    sent = encode("messages", tools=[FUNCTION, OTHER], tool_choice=choice)
    assert [tool["name"] for tool in sent.body["tools"]] == ["f"]
    assert sent.body["tool_choice"] == {"type": "any"}
    assert sent.adapted == ("allowed_tools → those tools alone",)


@pytest.mark.parametrize("wire", ["responses", "messages"])
@pytest.mark.parametrize("tool", [{}, {"type": None}, {"type": ["function"]}, {"name": "f"}])
def test_a_tool_of_unknown_form_is_left_to_the_service(tool: Any, wire: str) -> None:
    assert encode(wire, tools=[tool]).body["tools"] == [tool]
