"""Histories: on one wire, across wires, after edits, pickles and JSON."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azinfer.core import AssistantMessage, Message, Routing, ToolMessage, UserMessage
from azinfer.core.calls import in_our_schema
from azinfer.core.completions import Json
from azinfer.core.model_catalog import find
from azinfer.core.wires.state import resource_of
from azinfer.core.wires.wire import Situation, wire_named

REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [],
    "content": [],
    "encrypted_content": "x",
}
SAID = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "phase": "final_answer",
    "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"query": "q"}}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a":1}',
    "namespace": "n",
}
OUTPUT: list[Json] = [SEARCH, REASONING, SAID, CALL]
BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "", "signature": "s1"},
    {"type": "redacted_thinking", "data": "d"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"q": 1}},
]
HI = UserMessage("hi")


def routing_of(url: str) -> Routing:
    return Routing(
        requested="m", deployment="m", operation="responses", surface="v1", endpoint=url, url=url
    )


ROUTING = routing_of("https://contoso.openai.azure.com/openai/v1")
SAME = Situation(resource="contoso")


def answer(wire: str, content: list[Json], **more: Any) -> Message:
    """The message of an answer on a wire."""
    raw = {"output": content} if wire == "responses" else {"content": content}
    raw |= {"stop_reason": "tool_use"} | more
    return wire_named(wire).decode(raw, {}, ROUTING).choices[0].message


def next_request(
    wire: str, *messages: Any, situation: Situation = SAME
) -> tuple[list[Json], list[str]]:
    """Return the form of an answer in the next request, after the first message."""
    encoded = wire_named(wire).encode(in_our_schema([HI, *messages], {}), situation)
    key = {"responses": "input"}.get(wire, "messages")
    return encoded.body[key][1:], list(encoded.adapted)


RESPONSES, MESSAGES = answer("responses", OUTPUT), answer("messages", BLOCKS)


def test_items_go_back_in_their_order_and_without_ids() -> None:
    items, changes = next_request("responses", RESPONSES, ToolMessage("1", "c1"))
    assert items == [
        SEARCH,
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
            "phase": "final_answer",
        },
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "f",
            "arguments": '{"a":1}',
            "namespace": "n",
        },
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    assert changes == []


def test_a_project_wants_the_ids_of_reasoning() -> None:
    items, _ = next_request(
        "responses", RESPONSES, situation=Situation(resource="contoso", in_project=True)
    )
    assert items[1] == {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    assert items[2]["type"] == "message"
    assert items[2]["content"][0]["annotations"] == []


def test_reasoning_without_its_ciphertext_is_left_out() -> None:
    message = answer("responses", [{**REASONING, "encrypted_content": None}, SAID])
    items, _ = next_request("responses", message)
    assert [item["type"] for item in items] == ["message"]


def test_reasoning_of_another_resource_is_left_out_and_recorded() -> None:
    items, changes = next_request("responses", RESPONSES, situation=Situation(resource="fabrikam"))
    assert [item["type"] for item in items] == ["web_search_call", "message", "function_call"]
    assert changes == ["messages without what another resource encrypted"]


@pytest.mark.parametrize(
    "situation",
    [
        Situation(resource="contoso", model_id="gpt-6-astra"),
        Situation(resource="contoso", learned={"reasoning items": "newest"}),
    ],
)
def test_a_model_that_takes_one_reasoning_item_gets_the_newest(situation: Situation) -> None:
    newest = answer("responses", [{**REASONING, "encrypted_content": "y"}, SAID])
    items, changes = next_request("responses", RESPONSES, newest, situation=situation)
    kept = [item for item in items if item["type"] == "reasoning"]
    assert [item["encrypted_content"] for item in kept] == ["y"]
    assert changes == ["messages with the newest reasoning alone"]


def test_a_compaction_stands_for_what_was_before_it() -> None:
    compaction = {"type": "compaction", "encrypted_content": "z"}
    message = answer("responses", [SAID, compaction])
    system = {"role": "system", "content": "be brief"}
    encoded = wire_named("responses").encode(
        in_our_schema([system, HI, message, UserMessage("next")], {}), SAME
    )
    assert [item.get("role") or item["type"] for item in encoded.body["input"]] == [
        "system",
        "compaction",
        "user",
    ]


def test_blocks_go_back_first_and_unchanged() -> None:
    turns, changes = next_request("messages", MESSAGES, ToolMessage("1", "c1"))
    assert turns == [
        {"role": "assistant", "content": BLOCKS},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}]},
    ]
    assert changes == []


def test_an_empty_text_is_left_out() -> None:
    empty = {"type": "text", "text": ""}
    for blocks in ([BLOCKS[3]], [BLOCKS[2], BLOCKS[3]]):
        turns, _ = next_request("messages", answer("messages", [empty, *blocks]))
        assert turns[0]["content"] == blocks
    assert next_request("messages", AssistantMessage("")) == ([], [])
    assert next_request("responses", AssistantMessage("")) == ([], [])


def test_a_refusal_goes_back_as_it_came() -> None:
    refusal = {"type": "refusal", "refusal": "no"}
    items, _ = next_request("responses", answer("responses", [{**SAID, "content": [refusal]}]))
    assert items[0]["content"] == [refusal]


def test_an_assistants_parts_are_its_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "x"}]
    message = {"role": "assistant", "content": parts}
    assert next_request("messages", message)[0] == [{"role": "assistant", "content": "ab"}]


@pytest.mark.parametrize(
    ("wire", "message", "note"),
    [
        ("responses", MESSAGES, "messages without the state of the messages wire"),
        ("messages", RESPONSES, "messages without the state of the responses wire"),
        ("chat", RESPONSES, "messages without the state of the responses wire"),
        ("chat", MESSAGES, "messages without the state of the messages wire"),
    ],
)
def test_a_history_continues_on_another_wire(wire: str, message: Message, note: str) -> None:
    items, changes = next_request(wire, message, ToolMessage("1", "c1"))
    assert note in changes
    text = json.dumps(items)
    assert "I look." in text
    assert text.count('"c1"') == 2
    assert "encrypted" not in text
    assert "signature" not in text


@pytest.mark.parametrize(("wire", "message"), [("responses", RESPONSES), ("messages", MESSAGES)])
class TestStateSurvives:
    def test_pickles_and_copies_keep_the_history(self, wire: str, message: Message) -> None:
        for other in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
            assert next_request(wire, other) == next_request(wire, message)

    def test_json_and_typed_messages_keep_the_history(self, wire: str, message: Message) -> None:
        state = json.loads(json.dumps(message.state))
        typed = AssistantMessage(message.content, message.tool_calls, state=state)
        plain = json.loads(json.dumps(typed.to_wire()))
        assert next_request(wire, typed) == next_request(wire, plain) == next_request(wire, message)

    def test_other_spellings_of_the_same_arguments(self, wire: str, message: Message) -> None:
        plain = json.loads(json.dumps(AssistantMessage("I look.", message.tool_calls).to_wire()))
        plain["tool_calls"][0]["function"]["arguments"] = '{ "a" : 1 }'
        plain["state"] = message.state
        assert next_request(wire, plain) == next_request(wire, message)

    def test_state_of_other_wires_is_not_sent(self, wire: str, message: Message) -> None:
        bare = next_request(wire, AssistantMessage(message.content, message.tool_calls))[0]
        for state in (
            {"wire": wire},
            {"wire": wire, "items": "x"},
            {"wire": wire, "items": [1]},
            {},
        ):
            assert (
                next_request(wire, AssistantMessage("I look.", message.tool_calls, state=state))[0]
                == bare
            )


@pytest.mark.parametrize(("wire", "message"), [("responses", RESPONSES), ("messages", MESSAGES)])
class TestEditsWin:
    def test_a_changed_text_stands_where_the_text_was(self, wire: str, message: Message) -> None:
        edited = AssistantMessage("Redacted.", message.tool_calls, state=message.state)
        items = flat(next_request(wire, edited)[0])
        assert "I look." not in json.dumps(items)
        kinds = [kind(item) for item in items]
        assert kinds.index("text") < kinds.index("call")
        assert "reasoning" in kinds

    def test_a_removed_text_is_gone(self, wire: str, message: Message) -> None:
        edited = AssistantMessage(None, message.tool_calls, state=message.state)
        assert "text" not in [kind(item) for item in flat(next_request(wire, edited)[0])]

    def test_an_added_text_stands_before_the_calls(self, wire: str, message: Message) -> None:
        content = [
            each for each in (OUTPUT if wire == "responses" else BLOCKS) if kind(each) != "text"
        ]
        bare = answer(wire, content)
        edited = AssistantMessage("Added.", bare.tool_calls, state=bare.state)
        kinds = [kind(item) for item in flat(next_request(wire, edited)[0])]
        assert kinds.index("text") < kinds.index("call")

    def test_a_removed_call_is_gone_and_a_new_one_there(self, wire: str, message: Message) -> None:
        new = {"id": "c2", "function": {"name": "g", "arguments": "{}"}}
        items = flat(next_request(wire, AssistantMessage("I look.", [new], state=message.state))[0])
        calls = [item for item in items if kind(item) == "call"]
        assert [(call.get("call_id") or call["id"], call["name"]) for call in calls] == [
            ("c2", "g")
        ]

    def test_changed_arguments_count(self, wire: str, message: Message) -> None:
        call = {"id": "c1", "function": {"name": "f", "arguments": '{"a":2}'}}
        items = flat(
            next_request(wire, AssistantMessage("I look.", [call], state=message.state))[0]
        )
        (call,) = [item for item in items if kind(item) == "call"]
        assert call.get("arguments", '{"a":2}') == '{"a":2}'
        assert call.get("input", {"a": 2}) == {"a": 2}


class TestReasoningOnChat:
    THOUGHT = Message("4", reasoning="2 and 2")
    FOREIGN = AssistantMessage("5", reasoning="foreign", state=RESPONSES.state)

    def body(self, **situation: Any) -> tuple[list[Json], list[str]]:
        return next_request("chat", self.THOUGHT, self.FOREIGN, situation=Situation(**situation))

    @pytest.mark.parametrize(
        "situation",
        [{"facts": find("DeepSeek-V4-Pro", is_model_id=True)}, {"send_reasoning": True}],
    )
    def test_reasoning_goes_back_to_models_that_want_it(self, situation: Any) -> None:
        messages, changes = self.body(**situation)
        assert messages == [
            {"role": "assistant", "content": "4", "reasoning_content": "2 and 2"},
            {"role": "assistant", "content": "5"},
        ]
        assert "messages without the state of the responses wire" in changes

    @pytest.mark.parametrize(
        "situation",
        [
            {},
            {"facts": find("DeepSeek-R1", is_model_id=True)},
            {"facts": find("DeepSeek-V4-Pro", is_model_id=True), "send_reasoning": False},
        ],
    )
    def test_reasoning_does_not_go_to_other_models(self, situation: Any) -> None:
        messages, changes = self.body(**situation)
        assert [set(message) for message in messages] == [{"role", "content"}] * 2
        assert "messages without reasoning_content" in changes


def test_a_resource_has_one_name_on_all_its_hosts() -> None:
    hosts = ("contoso.openai.azure.com", "contoso.services.ai.azure.com")
    assert {resource_of(f"https://{host}/openai/v1") for host in hosts} == {"contoso"}
    assert resource_of("http://127.0.0.1:8000/openai/v1") == "127.0.0.1:8000"


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
arguments = st.dictionaries(texts, st.integers() | texts, max_size=3).map(json.dumps)


@given(st.data())
def test_a_round_over_three_wires_loses_nothing(data: st.DataObject) -> None:
    """Turns made on changing wires: each text, call and result is in the last request."""
    messages: list[Any] = [HI]
    facts: list[str] = []
    for turn in range(data.draw(st.integers(1, 5))):
        wire = data.draw(st.sampled_from(["chat", "responses", "messages"]))
        text, given_arguments = data.draw(texts), data.draw(arguments)
        messages.append(turn_of(wire, text, f"call_{turn}", given_arguments))
        result = data.draw(texts)
        image = f"https://example.com/{turn}.png"
        part = {"type": "image_url", "image_url": {"url": image}}
        messages += [ToolMessage(result, f"call_{turn}"), UserMessage([part])]
        facts += [text, result, image, f"call_{turn}"]
        facts += [str(value) for value in json.loads(given_arguments).values()]
    for wire in ("chat", "responses", "messages"):
        body = wire_named(wire).encode(in_our_schema(messages, {}), SAME).body
        results = list(strings(body))
        for fact in facts:
            assert fact in results, (wire, fact)


def turn_of(wire: str, text: str, call_id: str, given_arguments: str) -> Message:
    """An answer with a text and a call, made on a wire."""
    if wire == "responses":
        results = {**SAID, "content": [{"type": "output_text", "text": text}]}
        call = {**CALL, "call_id": call_id, "arguments": given_arguments}
        return answer(wire, [REASONING, results, call])
    if wire == "messages":
        use = {"type": "tool_use", "id": call_id, "name": "f", "input": json.loads(given_arguments)}
        return answer(wire, [BLOCKS[0], {"type": "text", "text": text}, use])
    function = {"name": "f", "arguments": given_arguments}
    message = {"content": text, "tool_calls": [{"id": call_id, "function": function}]}
    return wire_named(wire).decode({"choices": [{"message": message}]}, {}).choices[0].message


def strings(value: Any) -> Any:
    """All texts and numbers in a body, also those in JSON inside it."""
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    else:
        yield str(value)
        if isinstance(value, str) and value.startswith("{"):
            with contextlib.suppress(ValueError):
                yield from strings(json.loads(value))


def flat(items: list[Json]) -> list[Json]:
    """Items, or the blocks of turns."""
    return [block for item in items for block in blocks_of(item)]


def blocks_of(item: Json) -> list[Json]:
    content = item.get("content")
    if item.get("type") or item.get("role") != "assistant":
        return [item]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def kind(item: Json) -> str:
    kinds = {"message": "text", "text": "text", "function_call": "call", "tool_use": "call"}
    kinds |= {"reasoning": "reasoning", "thinking": "reasoning"}
    return kinds.get(str(item.get("type")), "other")
