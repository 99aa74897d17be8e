"""Chats on the three main surfaces of the local endpoint, whole and streamed, and their errors."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_framework import ChatResponse, Message, SupportsChatGetResponse, exceptions

from agent_clients import MESSAGE, both, client, stream, user
from azinfer import core
from azinfer.agent_framework import AzInferChatClient
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, Scripted, SyntheticEngine
from client_driver import WIRES
from raw_server import RawServer, chat, events, failure, part, reply
from raw_server import stream as sse
from wire_requests import CUT_ANSWER, MANY_WORDS, chat_body, wire_of

Make = Callable[..., AzInferChatClient]
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


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
def make(address: str, endpoint: LocalEndpoint) -> Make:
    """Makes clients of one surface or wire."""
    endpoint.reset()
    endpoint.requests.clear()

    def client(model: str = "echo", **arguments: Any) -> AzInferChatClient:
        return AzInferChatClient(endpoint.url + address, endpoint.key, model, **arguments)

    return client


@pytest.fixture
def raw(url: str) -> AzInferChatClient:
    """A client of the raw server on one surface."""
    chat_client: AzInferChatClient = client(url)
    return chat_client


async def test_an_answer_has_text_usage_and_routing(make: Make, address: str) -> None:
    client = make("paris")
    assert isinstance(client, SupportsChatGetResponse)
    answer = await client.get_response([user("The capital of France?")])
    assert answer.text == "Paris."
    assert answer.usage_details is not None
    assert answer.usage_details["output_token_count"] == 2
    assert answer.finish_reason == "stop"
    assert answer.response_id
    assert answer.model == "Paris"
    assert answer.additional_properties["azinfer"]["deployment"] == "Paris"
    surface = "anthropic" if wire_of(address) == "messages" else client.surface
    assert answer.additional_properties["azinfer"]["surface"] == surface
    assert answer.additional_properties["azinfer"]["request_id"]
    assert isinstance(answer.raw_representation, core.ChatCompletion)


async def test_a_stream_comes_in_parts_with_usage_on_the_last_update(make: Make) -> None:
    updates, answer = await stream(make(), [user("Name three colours")])
    assert len([update for update in updates if update.text]) > 3
    assert answer.text == "This is a synthetic answer to: Name three colours"
    assert len(answer.messages) == 1
    assert [any(c.type == "usage" for c in each.contents) for each in updates[-2:]] == [False, True]
    assert updates[-1].finish_reason == answer.finish_reason == "stop"
    assert answer.usage_details is not None
    assert answer.usage_details["input_token_count"]
    assert answer.additional_properties["azinfer"]["deployment"] == "echo"
    assert isinstance(updates[0].raw_representation, core.ChatCompletionChunk)
    assert {update.role for update in updates} == {"assistant"}
    assert {update.message_id for update in updates} == {answer.response_id}


async def test_a_call_may_name_another_deployment(make: Make, endpoint: LocalEndpoint) -> None:
    client = make("paris", model_id="gpt-4.1")
    for answer in await both(client, options={"model": "ECHO"}):
        assert answer.additional_properties["azinfer"]["deployment"] == "echo"
        assert answer.text == "This is a synthetic answer to: hi"
    assert (await client.get_response(MESSAGE)).text == "Paris."
    # The model behind the client's own deployment is not that behind another.
    choices: list[tuple[Any, str | None]] = [
        ({"model": "echo"}, None),
        ({"model": "PARIS"}, "gpt-4.1"),
        ({"model": "echo", "model_id": "o3"}, "o3"),
    ]
    for options, model_id in choices:
        completion: Any = (await client.get_response(MESSAGE, options=options)).raw_representation
        assert completion.routing.model_id == model_id


async def test_options_are_sent_as_they_are(
    make: Make, endpoint: LocalEndpoint, address: str
) -> None:
    options: Any = {"temperature": 0.0, "top_p": 0.5, "stop": ["!"], "seed": 0, "max_tokens": 16}
    missing = {"chat": [], "responses": ["stop", "seed"], "messages": ["seed"]}
    for name in missing[wire_of(address)]:  # refused, and never left out in silence
        with pytest.raises(core.ConfigurationError, match=f"{name}=.*use wire='chat'"):
            await both(make(), options={name: options[name]})
        del options[name]
    assert not endpoint.requests
    (whole, streamed) = await both(make(), [user(MANY_WORDS)], options=options)
    body = chat_body(endpoint)
    limit = options.pop("max_tokens")
    assert options.items() <= body.items()
    assert body.get("max_tokens", body.get("max_completion_tokens")) == limit
    assert whole.finish_reason == streamed.finish_reason == "length"
    assert whole.text == streamed.text == CUT_ANSWER


async def test_unknown_options_and_headers_reach_the_wire(
    server: RawServer, raw: AzInferChatClient
) -> None:
    server.will(reply(chat()), reply(chat()))
    options: Any = {"safe_prompt": True, "user": None, "headers": {"x-a": "1"}}
    await raw.get_response(MESSAGE, options=options)
    await raw.get_response(MESSAGE, client_kwargs={"extra_headers": {"x-a": "2"}})
    first, second = server.received
    assert first.request_body["safe_prompt"] is True
    assert not {"user", "headers", "instructions", "conversation_id"} & first.request_body.keys()
    assert (first.header("x-a"), second.header("x-a")) == ("1", "2")
    assert "agent-framework" in (first.header("user-agent") or "")
    assert "azinfer/" in (first.header("user-agent") or "")


async def test_no_conversation_id_where_the_wire_keeps_no_state(
    server: RawServer, raw: AzInferChatClient
) -> None:
    server.will(reply(chat()), sse(events(part("hello", "stop"))))
    for answer in await both(raw, options={"conversation_id": "c9", "store": False}):
        assert answer.conversation_id is None
    assert all("conversation_id" not in each.request_body for each in server.received)
    assert server.received[0].request_body["store"] is False
    assert raw.STORES_BY_DEFAULT is False


@pytest.mark.parametrize("role", [None, "developer"])
async def test_instructions_come_first_and_once(
    server: RawServer, url: str, role: str | None
) -> None:
    asking = client(url, instruction_role=role, model_id="gpt-4.1")
    wanted = role or "system"
    server.will(reply(chat()), reply(chat()))
    await asking.get_response(MESSAGE, options={"instructions": "Be brief."})
    again = [Message(wanted, ["Be brief."]), *MESSAGE]
    await asking.get_response(again, options={"instructions": "Be brief."})
    for each in server.received:
        assert each.request_body["messages"] == [
            {"role": wanted, "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ]


async def test_several_choices_are_several_messages(
    server: RawServer, raw: AzInferChatClient
) -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages: list[dict[str, Any]] = [{"content": text} for text in ("ab", "cd", "ef")]
    messages[2]["tool_calls"] = [call]
    choices = [
        {"index": at, "finish_reason": "stop", "message": {"role": "assistant", **message}}
        for at, message in enumerate(messages)
    ]
    fragments = [
        {"index": 0, "id": "t1", "function": {"name": "f", "arguments": '{"x"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    usage = {"id": "c1", "choices": [], "usage": USAGE}
    parts = [
        *(part("a"), part("c", index=1), part("e", index=2), part("b"), part("d", index=1)),
        *(part("f", tool_calls=fragments[:1], index=2), part(tool_calls=fragments[1:], index=2)),
        *(part(None, "stop", index) for index in range(3)),
        usage,
    ]
    server.will(reply(chat(choices=choices, usage=USAGE)), sse(events(*parts)))
    whole, streamed = await both(raw, options={"n": 3})
    for answer in (whole, streamed):
        assert [message.text for message in answer.messages] == ["ab", "cd", "ef"]
        (function_call,) = [
            each for each in answer.messages[2].contents if each.type == "function_call"
        ]
        assert (function_call.name, function_call.arguments) == ("f", '{"x": 1}')
        assert (answer.usage_details or {})["total_token_count"] == 12
        assert answer.finish_reason == "stop"


async def test_the_first_of_several_choices_is_streamed_as_it_comes(
    server: RawServer, raw: AzInferChatClient
) -> None:
    parts = [part("c", index=1), part("a"), part("d", index=1), part("b"), part(None, "stop")]
    server.will(sse(events(*parts)))
    updates, answer = await stream(raw, MESSAGE, options={"n": 2})
    assert [each.text for each in updates] == ["a", "b", "cd"]
    assert len({each.message_id for each in updates}) == 2
    assert [message.text for message in answer.messages] == ["ab", "cd"]


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "model_context_exceeded"])
async def test_finish_reasons_are_kept(
    server: RawServer, raw: AzInferChatClient, reason: str
) -> None:
    server.will(reply(chat(finish=reason)), sse(events(part("hello"), part(None, reason))))
    assert [each.finish_reason for each in await both(raw)] == [reason, reason]


async def test_reasoning_is_apart_from_the_text(server: RawServer, raw: AzInferChatClient) -> None:
    server.will(
        reply(chat("hello", message={"reasoning_content": "Hm, well."})),
        sse(events(part(reasoning_content="Hm, "), part(reasoning_content="well."), part("hello"))),
        reply(chat("<think>Hm, well.</think>hello")),
        sse(events(part("<thi"), part("nk>Hm, well.</th"), part("ink>hello"))),
    )
    for answer in [*await both(raw), *await both(raw)]:
        (message,) = answer.messages
        assert answer.text == "hello"
        thoughts = [each.text for each in message.contents if each.type == "text_reasoning"]
        assert thoughts == ["Hm, well."]


async def test_a_refusal_is_text_with_the_frameworks_mark(
    server: RawServer, raw: AzInferChatClient
) -> None:
    server.will(
        reply(chat(None, message={"refusal": "I cannot."})),
        sse(events(part(refusal="I can"), part(refusal="not."), part(None, "stop"))),
    )
    for answer in await both(raw, options={"response_format": {"type": "json_object"}}):
        assert answer.text == "I cannot."
        assert answer.value is None
        (content,) = answer.messages[0].contents
        assert content.additional_properties["core"] == {"model_output_kind": "refusal"}


async def test_details_of_usage_are_the_frameworks(
    server: RawServer, raw: AzInferChatClient
) -> None:
    usage = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    server.will(reply(chat(usage=usage)), sse(events({**part("hello", "stop"), "usage": usage})))
    for answer in await both(raw):
        assert answer.usage_details == {
            "input_token_count": 7,
            "output_token_count": 5,
            "total_token_count": 12,
            "cache_read_input_token_count": 3,
            "reasoning_output_token_count": 2,
        }
        assert answer.text == "hello"


@pytest.mark.parametrize("delta", [None, {}])
async def test_a_last_chunk_without_a_delta_ends_the_stream(
    server: RawServer, raw: AzInferChatClient, delta: Any
) -> None:
    last = part(None, "length")
    last["choices"][0]["delta"] = delta
    server.will(sse(events({"choices": []}, part("hello"), {**last, "usage": USAGE})))
    updates, answer = await stream(raw)
    assert (answer.text, answer.finish_reason) == ("hello", "length")
    assert [update.text for update in updates] == ["hello", ""]
    assert answer.usage_details is not None


async def test_citations_become_annotations(server: RawServer, raw: AzInferChatClient) -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 5}
    more: dict[str, Any] = {
        "annotations": [{"type": "url_citation", "url_citation": cited}],
        "context": {"citations": [{"title": "B", "filepath": "b.md", "content": "Snippet"}]},
    }
    odd: dict[str, Any] = {"annotations": ["odd"], "context": "odd"}
    server.will(
        reply(chat("hello", message=more)),
        sse(events(part("hello", **odd), part(None, "stop", **more))),
    )
    for answer in await both(raw):
        (content,) = answer.messages[0].contents
        assert content.text == "hello"
        first, second = content.annotations or ()
        assert (first["type"], first["title"], first["url"]) == ("citation", "A", cited["url"])
        (region,) = first["annotated_regions"]
        assert (region["start_index"], region["end_index"]) == (0, 5)
        assert (second["url"], second["snippet"]) == ("b.md", "Snippet")


async def test_sound_of_an_answer_is_content(server: RawServer, raw: AzInferChatClient) -> None:
    audio = {"id": "a", "data": "UklGRg==", "transcript": "hello"}
    server.will(
        reply(chat(None, message={"audio": audio})),
        sse(events(part(audio=audio), part(None, "stop"))),
    )
    for answer in await both(raw):
        (content,) = [each for each in answer.messages[0].contents if each.type == "data"]
        assert (content.uri, content.media_type) == ("data:audio/wav;base64,UklGRg==", "audio/wav")


async def test_filter_results_and_log_probabilities_are_kept(
    server: RawServer, raw: AzInferChatClient
) -> None:
    results = {"hate": {"filtered": False, "severity": "safe"}}
    logprobs = {"content": [{"token": "hello", "logprob": -0.1}]}
    whole = chat(system_fingerprint="fp")
    whole["choices"][0] |= {"content_filter_results": results, "logprobs": logprobs}
    chunk = {**part("hello", "stop"), "system_fingerprint": "fp"}
    chunk["choices"][0] |= {"content_filter_results": results, "logprobs": logprobs}
    server.will(reply(whole), sse(events(chunk)))
    for answer in await both(raw):
        more = answer.additional_properties
        assert more["azinfer"]["content_filter_results"] == results
        assert more["logprobs"] == logprobs


ERRORS: list[tuple[int, Any, str, type[core.InferenceError]]] = [
    (302, failure("x"), "", core.APIStatusError),
    (400, failure("x"), "InvalidRequest", core.BadRequestError),
    (400, failure("context_length_exceeded"), "InvalidRequest", core.ContextLengthExceededError),
    (400, failure("unsupported_parameter"), "InvalidRequest", core.UnsupportedParameterError),
    (400, failure("content_filter"), "ContentFilter", core.ContentFilterError),
    (401, failure("401"), "InvalidAuth", core.AuthenticationError),
    (403, failure("x"), "InvalidAuth", core.PermissionDeniedError),
    (404, failure("unknown_model"), "InvalidRequest", core.DeploymentNotFoundError),
    (429, failure("429"), "", core.RateLimitError),
    (503, failure("x"), "", core.ServerError),
    (200, [], "InvalidResponse", core.InvalidResponseError),
]


@pytest.mark.parametrize(("status", "body", "theirs", "ours"), ERRORS)
async def test_an_error_is_both_the_frameworks_and_azinfers(
    server: RawServer, raw: AzInferChatClient, status: int, body: Any, theirs: str, ours: Any
) -> None:
    server.will(*[reply(body, status, {"x-request-id": "r1"})] * 2)
    kind = getattr(exceptions, f"ChatClient{theirs}Exception")
    for call in (raw.get_response(MESSAGE), stream(raw)):
        with pytest.raises(kind) as caught:
            await call
        error: Any = caught.value
        assert isinstance(error, exceptions.ChatClientException)
        assert isinstance(error, ours)
        assert type(error.__cause__) is ours
        assert (error.deployment, error.request_id) == ("gpt-4.1", error.__cause__.request_id)
        assert "gpt-4.1" in str(error)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


async def test_the_content_filter_names_its_categories(address: str) -> None:
    words = ContentFilter(words={"violence": {"stab": "high"}})
    with LocalEndpoint([LocalDeployment("chat", content_filter=words)]) as endpoint:
        asking = AzInferChatClient(endpoint.url + address, endpoint.key, "chat")
        messages = [user("how to stab")]
        for call in (asking.get_response(messages), stream(asking, messages)):
            with pytest.raises(exceptions.ChatClientContentFilterException) as caught:
                await call
            assert caught.value.categories == {"violence": "high"}  # type: ignore[attr-defined]


async def test_an_error_inside_a_stream_is_typed(server: RawServer, raw: AzInferChatClient) -> None:
    server.will(sse(events(part("hel"), failure("server_error"), done=False)))
    response = raw.get_response(MESSAGE, stream=True)
    assert (await anext(response)).text == "hel"
    with pytest.raises(exceptions.ChatClientException) as caught:
        await anext(response)
    assert isinstance(caught.value, core.InferenceError)


async def test_a_cut_stream_raises_with_what_came(
    server: RawServer, raw: AzInferChatClient
) -> None:
    server.will(sse(events(part("hel"), done=False)))
    with pytest.raises(exceptions.ChatClientException) as caught:
        await stream(raw)
    assert isinstance(caught.value, core.StreamInterruptedError)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "hel"


async def test_leaving_a_stream_early_closes_its_connection(
    server: RawServer, raw: AzInferChatClient
) -> None:
    left: list[bool] = []

    def behave(peer: Any) -> None:
        sse(events(part("hel"), done=False), "keep")(peer)
        peer.wait_until_client_leaves()
        left.append(True)

    server.will(behave)
    async with raw.get_response(MESSAGE, stream=True) as response:
        async for _ in response:
            break
    assert await asyncio.to_thread(server.wait_until, lambda: left == [True])


async def test_failed_calls_are_repeated_by_core(server: RawServer, url: str) -> None:
    server.will(reply(failure("429"), 429, {"retry-after": "0"}), reply(chat()))
    answer = await client(url, max_retries=1).get_response(MESSAGE)
    assert answer.text == "hello"
    assert len(server.received) == 2


@pytest.mark.parametrize("model", ["Mistral-Large", "Phi-4"])
async def test_models_of_other_makers_take_a_conversation(
    make: Make, endpoint: LocalEndpoint, model: str
) -> None:
    messages = [
        Message("system", ["Be", "brief."]),
        user("hi"),
        Message("assistant", ["Hello."], author_name="Guide 1"),
        user("Which colour?"),
    ]
    answer: ChatResponse[Any] = await make(model).get_response(
        messages, options={"max_tokens": 50, "allow_multiple_tool_calls": False}
    )
    assert answer.text == "This is a synthetic answer to: Which colour?"
    body = chat_body(endpoint)
    assert body["messages"][0] == {"role": "system", "content": "Be\nbrief."}
    assert "parallel_tool_calls" not in body


async def test_many_concurrent_calls_succeed(make: Make) -> None:
    client = make()
    answers = await asyncio.gather(
        *(client.get_response([user(f"Number {at}")]) for at in range(50))
    )
    assert [each.text[-9:].strip() for each in answers] == [
        f"Number {at}"[-9:].strip() for at in range(50)
    ]


async def test_scripted_answers_come_in_order(make: Make, endpoint: LocalEndpoint) -> None:
    endpoint.script("echo", Scripted("One.", reasoning="Counting."), "Two.")
    first, second = await both(make())
    assert (first.text, second.text) == ("One.", "Two.")
