"""LlamaIndex's own machinery over real HTTP, on each of the three main surfaces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import (
    Document,
    Settings,
    SimpleDirectoryReader,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.indices.multi_modal import MultiModalVectorStoreIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms.callbacks import dispatcher
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.prompts import PromptTemplate
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import BaseNode, ImageDocument, ImageNode, TextNode
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from PIL import Image
from sqlalchemy.ext.asyncio import create_async_engine

from azinfer import core
from azinfer.core import InferenceClient
from azinfer.llama_index import AzInferEmbedding, AzInferImageEmbedding, AzInferLLM
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from client_driver import KEY, SURFACES, TestClock
from llama_index_calls import USER, Person, call_method, deltas, get_weather, ping, tool
from raw_server import (
    Peer,
    RawServer,
    answer,
    chat,
    events,
    failure,
    part,
    raw,
    reply,
    stream,
    vectors,
)

Make = Callable[..., Any]
QUESTION = "What is the weather in New York?"
THOUGHT = "Thought: I can answer without using any more tools.\nAnswer: Paris."
PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0"
    b"\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)
# LlamaIndex's agents look at attributes that pydantic and its own workflows have deprecated.
agents = pytest.mark.filterwarnings(
    "ignore:.* attribute.* deprecated", "ignore:is_running called from within a step"
)
FACTS = [
    "A deployment is a name given to a model under a configuration.",
    "The harvest of olives begins in October, when the first fruits turn purple.",
    "The old lighthouse was built of granite and has guided ships since 1847.",
]
OLIVES = "In which month does the harvest of olives begin?"
pytestmark = pytest.mark.usefixtures("own_loop")


@pytest.fixture(params=SURFACES.values())
def path(request: pytest.FixtureRequest) -> str:
    """The path of one surface."""
    result: str = request.param
    return result


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Deployments that repeat, that answer always the same, and that think in words."""
    deployments = [
        LocalDeployment("Mistral-Large", "mistral-large-2411"),
        LocalDeployment("prod"),
        LocalDeployment("Paris", engine=SyntheticEngine("Paris.")),
        LocalDeployment("thinker", engine=SyntheticEngine(THOUGHT)),
        LocalDeployment("embed"),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def llm(endpoint: LocalEndpoint, path: str) -> Make:
    """Makes LLMs of the local endpoint's surface."""

    def make(model: str = "mistral-large", **named: Any) -> AzInferLLM:
        url, key = endpoint.url + path, endpoint.key
        return AzInferLLM(endpoint=url, credential=key, model=model, **named)

    endpoint.requests.clear()
    return make


@pytest.fixture
def embedding(endpoint: LocalEndpoint, path: str) -> AzInferEmbedding:
    """An embedding of the local endpoint's surface."""
    return AzInferEmbedding(endpoint=endpoint.url + path, credential=endpoint.key, model="embed")


@pytest.fixture
def make(server: RawServer, path: str) -> Make:
    """Makes components of the raw server's surface, with a clock that only counts."""

    def of(kind: Any = AzInferLLM, credential: Any = KEY, **named: Any) -> Any:
        model_id = named.pop("model_id", None)
        retries = named.pop("max_retries", 2)
        client = InferenceClient(
            server.url + path,
            credential,
            "prod",
            model_id=model_id,
            max_retries=retries,
            clock=TestClock(),
        )
        return kind(client=client, **named)

    return of


def sent(server: RawServer) -> list[Any]:
    return [request.json for request in server.received]


def fragments(*calls: tuple[int, str, str, str]) -> dict[str, Any]:
    """A chunk with parts of tool calls: index, id, name and arguments of each."""
    return part(
        tool_calls=[
            {
                "index": at,
                **({"id": call_id, "type": "function"} if call_id else {}),
                "function": {**({"name": name} if name else {}), "arguments": arguments},
            }
            for at, call_id, name, arguments in calls
        ]
    )


# Chat and completion


def test_a_chat_is_answered_by_the_deployment_that_is_named(
    llm: Make, endpoint: LocalEndpoint, kind: str
) -> None:
    response = call_method(llm(), kind, "chat", USER)
    assert response.message.role == "assistant"
    assert response.message.content == "This is a synthetic answer to: hi"
    assert endpoint.requests[-1].deployment == "Mistral-Large"


def test_calls_run_concurrently(make: Make, server: RawServer) -> None:
    def when_all_are_there(peer: Peer) -> None:
        together = server.wait_until(lambda: len(server.received) >= 10)
        peer.send(answer(chat("together" if together else "alone")))

    server.will(when_all_are_there)
    model = make()

    async def at_once() -> list[str]:
        result = await asyncio.gather(*(model.achat(USER) for _ in range(10)))
        return [each.message.content for each in result]

    assert asyncio.run(at_once()) == ["together"] * 10


def test_calls_in_a_row_use_one_connection(make: Make, server: RawServer, kind: str) -> None:
    server.will(reply(chat()))
    model = make()

    async def run_calls() -> None:
        for _ in range(10):
            await model.achat(USER)

    if kind == "async":
        asyncio.run(run_calls())
    else:
        for _ in range(10):
            model.chat(USER)
    assert (len(server.received), server.connections) == (10, 1)


def test_a_stream_comes_in_parts_that_add_up(llm: Make, kind: str) -> None:
    response = call_method(llm(), kind, "stream_chat", USER)
    assert len(response) > 4
    assert deltas(response) == response[-1].message.content == "This is a synthetic answer to: hi"
    assert all(
        after.message.content.startswith(before.message.content)
        for before, after in pairwise(response)
    )


def test_a_stream_that_runs_out_of_tokens_ends_and_says_so(llm: Make, kind: str) -> None:
    response = call_method(llm("prod", max_tokens=3), kind, "stream_chat", USER)
    assert deltas(response) == response[-1].message.content == "This is a"
    assert response[-1].additional_kwargs["finish_reason"] == "length"
    assert response[-1].additional_kwargs["completion_tokens"] == 3


def test_a_prompt_is_completed(llm: Make, kind: str) -> None:
    whole = call_method(llm("paris"), kind, "complete", "The capital of France?")
    assert whole.text == "Paris."
    streamed = call_method(llm("paris"), kind, "stream_complete", "The capital of France?")
    assert deltas(streamed) == streamed[-1].text == "Paris."


def test_the_handler_counts_the_tokens_of_the_service(llm: Make, kind: str) -> None:
    for method in ("chat", "stream_chat", "complete", "stream_complete"):
        counter = TokenCountingHandler()
        model = llm("paris", callback_manager=CallbackManager([counter]))
        response = call_method(model, kind, method, "hi" if "complete" in method else USER)
        usage = (response[-1] if isinstance(response, list) else response).raw["usage"]
        assert usage["prompt_tokens"] > 0
        counts = (counter.prompt_llm_token_count, counter.completion_llm_token_count)
        assert counts == (usage["prompt_tokens"], usage["completion_tokens"])
        assert len(counter.llm_token_counts) == 1


# Metadata


def test_metadata_is_known_without_a_request(make: Make, server: RawServer) -> None:
    async def inside_a_loop() -> Any:
        return make(model_id="mistral-large").metadata

    response = asyncio.run(inside_a_loop())
    assert (response.is_chat_model, response.is_function_calling_model) == (True, True)
    assert (response.model_name, response.context_window) == ("mistral-large", 32_768)
    assert make(context_window=32_000).metadata.context_window == 32_000
    assert not server.received


# Reasoning and parameters


def test_reasoning_is_a_block(make: Make, server: RawServer, kind: str) -> None:
    server.will(
        reply(chat("4", message={"reasoning_content": "2+2"})),
        reply(chat("<think>2+2</think>4")),
    )
    for _ in range(2):
        response = call_method(make(), kind, "chat", USER)
        assert [block.block_type for block in response.message.blocks] == ["thinking", "text"]
        assert (response.message.blocks[0].content, response.message.content) == ("2+2", "4")


def test_reasoning_streams_as_thinking_deltas(make: Make, server: RawServer, kind: str) -> None:
    thoughts = [part(reasoning_content="2+"), part(reasoning_content="2")]
    server.will(stream(events(*thoughts, part("4", "stop"))))
    response = call_method(make(), kind, "stream_chat", USER)
    thought = "".join(each.additional_kwargs.get("thinking_delta", "") for each in response)
    assert (thought, deltas(response)) == ("2+2", "4")
    assert response[-1].message.blocks[0].content == "2+2"


def test_reasoning_models_take_the_defaults(make: Make, server: RawServer, kind: str) -> None:
    refused = failure("unsupported_parameter", "Use 'max_completion_tokens'.", param="max_tokens")
    server.will(reply(chat()), reply(chat()), reply(refused, 400), reply(chat()))
    call_method(make(model_id="o3"), kind, "chat", USER)
    call_method(make(model_id="o3", max_tokens=9), kind, "chat", USER)
    call_method(make(max_tokens=9), kind, "chat", USER)
    first, second, third, fourth = sent(server)
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & first.keys()
    assert second["max_completion_tokens"] == fourth["max_completion_tokens"] == 9
    assert third["max_tokens"] == 9


def test_parameters_that_are_unknown_pass(
    make: Make, server: RawServer, path: str, kind: str
) -> None:
    server.will(reply(chat()))
    call_method(make(additional_kwargs={"safe_prompt": True}), kind, "chat", USER)
    assert sent(server)[0]["safe_prompt"] is True
    passed = server.received[0].header("extra-parameters")
    assert passed == ("pass-through" if path == "/models" else None)


def test_parameters_of_a_call_win(make: Make, server: RawServer, kind: str) -> None:
    server.will(reply(chat()))
    model = make(temperature=0.5, max_tokens=9, additional_kwargs={"stop": ["x"]})
    call_method(model, kind, "chat", USER, temperature=0, max_tokens=3, stop=["y"])
    (body,) = sent(server)
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0, 3, ["y"])


# Tools


def test_a_tool_is_called_with_its_arguments(llm: Make, kind: str) -> None:
    model = llm()
    for method in ("chat_with_tools", "stream_chat_with_tools"):
        response = call_method(model, kind, method, [tool()], QUESTION)
        last = response[-1] if isinstance(response, list) else response
        (called,) = model.get_tool_calls_from_response(last)
        assert (called.tool_name, called.tool_kwargs) == ("get_weather", {"city": "New York"})
        assert called.tool_id


def test_tools_are_called_in_parallel(llm: Make, kind: str) -> None:
    model, both = llm(), "Call get_weather and ping for New York."
    for method in ("chat_with_tools", "stream_chat_with_tools"):
        response = call_method(
            model, kind, method, [tool(), tool(ping)], both, allow_parallel_tool_calls=True
        )
        last = response[-1] if isinstance(response, list) else response
        called = model.get_tool_calls_from_response(last)
        assert [each.tool_name for each in called] == ["get_weather", "ping"]
        assert len({each.tool_id for each in called}) == 2


def test_part_of_a_call_is_accepted(make: Make, server: RawServer, kind: str) -> None:
    pieces = [fragments((0, "c1", "get_weather", '{"ci')), fragments((0, "", "", 'ty": "De'))]
    pieces += [fragments((0, "", "", 'lft"}')), part(None, "tool_calls")]
    server.will(stream(events(*pieces)))
    model = make()
    response = call_method(model, kind, "stream_chat_with_tools", [tool()], QUESTION)
    seen = [model.get_tool_calls_from_response(each)[0].tool_kwargs for each in response]
    assert seen[-1] == {"city": "Delft"}
    assert all(isinstance(each, dict) for each in seen)


def test_a_named_choice_forces_that_tool(llm: Make, endpoint: LocalEndpoint, kind: str) -> None:
    model = llm()
    response = call_method(
        model, kind, "chat_with_tools", [tool(), tool(ping)], QUESTION, tool_choice="ping"
    )
    assert model.get_tool_calls_from_response(response)[0].tool_name == "ping"
    assert endpoint.requests[-1].body["tool_choice"]["function"]["name"] == "ping"


def test_the_callers_history_is_not_changed(llm: Make, kind: str) -> None:
    history = [ChatMessage("before")]
    for method in ("chat_with_tools", "stream_chat_with_tools", "predict_and_call"):
        call_method(llm(), kind, method, [tool()], user_msg=QUESTION, chat_history=history)
    assert history == [ChatMessage("before")]


def test_without_tools_no_tool_options_are_sent(
    llm: Make, endpoint: LocalEndpoint, kind: str
) -> None:
    for named in ({}, {"tool_required": True}, {"tool_choice": "auto"}):
        call_method(llm(), kind, "chat_with_tools", [], "hi", **named)
        assert (
            not {"tools", "tool_choice", "parallel_tool_calls"} & endpoint.requests[-1].body.keys()
        )


def test_a_tool_may_have_no_arguments(llm: Make, kind: str) -> None:
    result = call_method(llm(), kind, "predict_and_call", [tool(ping)], "ping", tool_required=True)
    assert result.response == "pong"


# Agents


async def run(agent: Any, question: str, **named: Any) -> tuple[Any, list[Any]]:
    """An agent's answer and the events on the way."""
    handler = agent.run(user_msg=question, **named)
    seen = [event async for event in handler.stream_events()]
    return await handler, seen


@agents
@pytest.mark.parametrize("streaming", [False, True])
def test_a_function_agent_calls_a_tool_and_answers(llm: Make, streaming: bool) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=llm("prod"), streaming=streaming)
    response, seen = asyncio.run(run(agent, QUESTION))
    assert "sunny in New York" in str(response)
    (result,) = [each for each in seen if isinstance(each, ToolCallResult)]
    assert result.tool_output.content == "It is sunny in New York."
    reports = [each.delta for each in seen if isinstance(each, AgentStream) and each.delta]
    assert (len(reports) > 3) is streaming
    outputs = [each for each in seen if isinstance(each, AgentOutput)]
    assert all((each.raw or {})["usage"]["total_tokens"] > 0 for each in outputs)


@agents
def test_an_agent_calls_two_tools_in_one_turn(llm: Make) -> None:
    agent = FunctionAgent(tools=[get_weather, ping], llm=llm())
    _, seen = asyncio.run(run(agent, "Call get_weather and ping for New York."))
    called = {each.tool_name for each in seen if isinstance(each, ToolCallResult)}
    assert called == {"get_weather", "ping"}


@agents
def test_an_agent_forces_its_first_tool(llm: Make, endpoint: LocalEndpoint) -> None:
    agent = FunctionAgent(tools=[get_weather, ping], llm=llm(), initial_tool_choice="ping")
    _, seen = asyncio.run(run(agent, QUESTION))
    first = next(each for each in seen if isinstance(each, ToolCallResult))
    assert first.tool_name == "ping"


@agents
def test_a_workflow_picks_function_calling_and_hands_off(llm: Make) -> None:
    workflow = AgentWorkflow.from_tools_or_functions([get_weather], llm=llm())
    assert all(isinstance(agent, FunctionAgent) for agent in workflow.agents.values())
    response, _ = asyncio.run(run(workflow, QUESTION))
    assert "sunny in New York" in str(response)


@agents
def test_the_state_of_an_agent_is_kept_and_taken_up(llm: Make, endpoint: LocalEndpoint) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=llm())

    async def twice() -> Any:
        context = Context(agent)
        await run(agent, QUESTION, ctx=context)
        kept = json.loads(json.dumps(context.to_dict()))
        return await run(agent, "Thank you!", ctx=Context.from_dict(agent, kept))

    asyncio.run(twice())
    roles = [message["role"] for message in endpoint.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_a_memory_with_a_call_is_stored_and_sent_again(
    llm: Make, endpoint: LocalEndpoint, tmp_path: Path, kind: str
) -> None:
    model, store = llm(), SimpleChatStore()
    memory = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="me")
    called = call_method(model, kind, "chat_with_tools", [tool()], QUESTION)
    (call,) = model.get_tool_calls_from_response(called)
    kept = {"tool_call_id": call.tool_id}
    result = ChatMessage(role="tool", content="sunny", additional_kwargs=kept)
    for message in (ChatMessage(QUESTION), called.message, result):
        memory.put(message)
    store.persist(str(tmp_path / "store.json"))
    again = SimpleChatStore.from_persist_path(str(tmp_path / "store.json"))
    memory = ChatMemoryBuffer.from_defaults(chat_store=again, chat_store_key="me")
    call_method(model, kind, "chat", memory.get())
    messages = endpoint.requests[-1].body["messages"]
    (sent,) = messages[1]["tool_calls"]
    assert sent["id"] == messages[2]["tool_call_id"]  # short, as models of Mistral want it
    assert json.loads(sent["function"]["arguments"]) == {"city": "New York"}


@agents
def test_an_agent_remembers(llm: Make, endpoint: LocalEndpoint, tmp_path: Path) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=llm())

    async def twice() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/memory.db")
        memory = Memory.from_defaults(session_id="me", token_limit=4000, async_engine=engine)
        await agent.run(user_msg=QUESTION, memory=memory)
        await agent.run(user_msg="Thank you!", memory=memory)
        await engine.dispose()

    asyncio.run(twice())
    assert len(endpoint.requests[-1].body["messages"]) == 5


@agents
def test_a_react_agent_comes_to_its_answer(llm: Make) -> None:
    agent = ReActAgent(tools=[get_weather], llm=llm("thinker"))
    response, _ = asyncio.run(run(agent, "The capital of France?"))
    assert str(response) == "Paris."


@agents
def test_an_image_of_a_tool_can_be_shown_to_the_model(llm: Make, endpoint: LocalEndpoint) -> None:
    def draw(city: str) -> Any:
        """Draw the weather in a city."""
        return [TextBlock(text="here"), ImageBlock(image=PNG)]

    agent = FunctionAgent(tools=[FunctionTool.from_defaults(draw)], llm=llm())
    asyncio.run(run(agent, "Draw the weather in New York."))
    messages = endpoint.requests[-1].body["messages"]
    assert [message["role"] for message in messages[:4]] == ["user", "assistant", "tool", "user"]
    assert messages[2]["content"] == "here"
    assert messages[3]["content"][0]["type"] == "image_url"


# Structured output


def test_a_value_is_predicted(llm: Make, endpoint: LocalEndpoint, kind: str) -> None:
    prompt = PromptTemplate("'{name}' is 34 years old.")
    response = call_method(llm(), kind, "structured_predict", Person, prompt, name="Ann")
    assert response == Person(name="Ann", age=34)
    body = endpoint.requests[-1].body
    assert body["response_format"]["type"] == "json_schema"
    assert len(body["messages"][0]["content"]) < 50  # no schema in words
    streamed = call_method(llm(), kind, "stream_structured_predict", Person, prompt, name="Ann")
    assert streamed[-1] == response
    assert len(streamed) > 2


def test_a_structured_model_chats(llm: Make, kind: str) -> None:
    model = llm().as_structured_llm(Person)
    response = call_method(model, kind, "chat", [ChatMessage("'Ann' is 34 years old.")])
    assert response.raw == Person(name="Ann", age=34)
    assert call_method(model, kind, "complete", "'Bob' is 35.").raw == Person(name="Bob", age=35)


def test_a_response_format_passes_through_chat(llm: Make, kind: str) -> None:
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": Person.model_json_schema()},
    }
    response = call_method(
        llm(), kind, "chat", [ChatMessage("'Ann' is 34.")], response_format=wanted
    )
    assert Person.model_validate_json(response.message.content) == Person(name="Ann", age=34)


# Indexes and engines


@pytest.fixture
def index(embedding: AzInferEmbedding) -> VectorStoreIndex:
    """An index of three facts."""
    return VectorStoreIndex.from_documents(
        [Document(text=fact) for fact in FACTS], embed_model=embedding
    )


def test_a_query_engine_answers_from_the_right_node(
    llm: Make, index: VectorStoreIndex, endpoint: LocalEndpoint, kind: str
) -> None:
    engine = index.as_query_engine(llm=llm(), similarity_top_k=1)
    response = call_method(engine, kind, "query", OLIVES)
    assert response.source_nodes[0].node.get_content() == FACTS[1]
    assert FACTS[1] in str(response)


def test_texts_are_embedded_in_one_request(
    endpoint: LocalEndpoint, embedding: AzInferEmbedding, kind: str
) -> None:
    before = len(endpoint.requests)
    nodes: list[BaseNode] = [TextNode(text=str(number)) for number in range(90)]
    if kind == "sync":
        VectorStoreIndex(nodes, embed_model=embedding)
    else:
        asyncio.run(embedding.acall(nodes))
    assert len(endpoint.requests) - before == 1


def test_a_query_engine_streams_with_its_sources(llm: Make, index: VectorStoreIndex) -> None:
    engine = index.as_query_engine(llm=llm(), similarity_top_k=1, streaming=True)
    result: Any = engine.query(OLIVES)
    pieces = list(result.response_gen)
    assert len(pieces) > 5
    assert FACTS[1] in "".join(pieces)
    assert result.source_nodes[0].node.get_content() == FACTS[1]


def test_an_async_query_streams(llm: Make, embedding: AzInferEmbedding) -> None:
    async def run_calls() -> list[str]:
        index = VectorStoreIndex.from_documents(
            [Document(text=fact) for fact in FACTS], embed_model=embedding, use_async=False
        )
        engine = index.as_query_engine(llm=llm(), similarity_top_k=1, streaming=True)
        result: Any = await engine.aquery(OLIVES)
        return [each async for each in result.async_response_gen()]

    assert FACTS[1] in "".join(asyncio.run(run_calls()))


def test_a_chat_engine_keeps_a_conversation(
    llm: Make, index: VectorStoreIndex, endpoint: LocalEndpoint
) -> None:
    memory = ChatMemoryBuffer.from_defaults()
    engine = index.as_chat_engine(
        ChatMode.CONDENSE_PLUS_CONTEXT, llm=llm(), similarity_top_k=1, memory=memory
    )
    first: Any = engine.stream_chat(OLIVES)
    assert OLIVES in "".join(first.response_gen)
    assert FACTS[1] in endpoint.requests[-1].body["messages"][0]["content"]
    second: Any = engine.stream_chat("And of what is the lighthouse built?")
    assert "lighthouse" in "".join(second.response_gen)
    assert len(engine.chat_history) == 4
    message_lists = [each.body["messages"] for each in endpoint.requests if "messages" in each.body]
    assert len(message_lists) == 3
    assert OLIVES in message_lists[1][0]["content"]  # the condensed question contains the first one


def test_a_chat_engine_streams_async(llm: Make, index: VectorStoreIndex) -> None:
    memory = ChatMemoryBuffer.from_defaults()
    engine = index.as_chat_engine(ChatMode.CONTEXT, llm=llm(), similarity_top_k=1, memory=memory)

    async def run_calls() -> str:
        result: Any = await engine.astream_chat(OLIVES)
        return "".join([each async for each in result.async_response_gen()])

    assert OLIVES in asyncio.run(run_calls())


def test_an_index_is_stored_and_loaded(
    index: VectorStoreIndex, embedding: AzInferEmbedding, tmp_path: Path
) -> None:
    index.storage_context.persist(str(tmp_path))
    context = StorageContext.from_defaults(persist_dir=str(tmp_path))
    again: Any = load_index_from_storage(context, embed_model=embedding)
    (result,) = again.as_retriever(similarity_top_k=1).retrieve(OLIVES)
    assert result.text == FACTS[1]


def test_the_settings_are_used(
    llm: Make, embedding: AzInferEmbedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_llm", "_embed_model"):
        monkeypatch.setattr(Settings, name, getattr(Settings, name))
    Settings.llm, Settings.embed_model = llm("paris"), embedding
    index = VectorStoreIndex.from_documents([Document(text=FACTS[0])])
    assert str(index.as_query_engine().query("?")) == "Paris."


# Ingestion


def long_text() -> str:
    return "\n\n".join(f"{fact} It is fact number {at}." for at, fact in enumerate(FACTS * 40))


def test_a_pipeline_splits_embeds_and_remembers(
    endpoint: LocalEndpoint, embedding: AzInferEmbedding, kind: str
) -> None:
    splitter = SentenceSplitter(chunk_size=128, chunk_overlap=16)
    pipeline = IngestionPipeline(transformations=[splitter, embedding], cache=IngestionCache())
    documents = [Document(text=long_text(), id_="d")]
    response = call_method(pipeline, kind, "run", documents=documents)
    assert len(response) > 20
    assert all(len(node.embedding) == 384 for node in response)
    before = len(endpoint.requests)
    again = call_method(pipeline, kind, "run", documents=documents)
    assert [node.embedding for node in again] == [node.embedding for node in response]
    assert len(endpoint.requests) == before


def test_a_directory_is_read_and_indexed(embedding: AzInferEmbedding, tmp_path: Path) -> None:
    for at, fact in enumerate(FACTS):
        (tmp_path / f"{at}.txt").write_text(fact)
    documents = SimpleDirectoryReader(str(tmp_path)).load_data()
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    (result,) = index.as_retriever(similarity_top_k=1).retrieve(OLIVES)
    assert result.text == FACTS[1]


# Embeddings


def test_batches_of_texts_are_embedded_together(make: Make, server: RawServer, kind: str) -> None:
    def when_all_are_there(peer: Peer) -> None:
        together = kind == "sync" or server.wait_until(lambda: len(server.received) >= 5)
        rows = [[float(text), float(together)] for text in peer.received.json["input"]]
        peer.send(answer(vectors(*rows)))

    server.choose = lambda request: when_all_are_there
    embedding = make(AzInferEmbedding, embed_batch_size=2)
    texts = [str(number) for number in range(10)]
    response = call_method(embedding, kind, "get_text_embedding_batch", texts)
    assert response == [[float(number), 1.0] for number in range(10)]
    assert len(server.received) == 5


def test_a_batch_goes_in_requests_as_large_as_the_model_takes(
    make: Make, server: RawServer, kind: str
) -> None:
    server.choose = lambda request: reply(vectors(*([float(n)] for n in request.json["input"])))
    embedding = make(AzInferEmbedding, model_id="Cohere-embed-v3-english")
    texts = [str(number) for number in range(200)]
    response = call_method(embedding, kind, "get_text_embedding_batch", texts)
    assert response == [[float(number)] for number in range(200)]
    assert sorted(len(body["input"]) for body in sent(server)) == [8, 96, 96]


def test_workers_bound_concurrent_requests(make: Make, server: RawServer) -> None:
    server.choose = lambda request: reply(vectors([1.0], [2.0]))
    embedding = make(AzInferEmbedding, embed_batch_size=2, num_workers=2)
    response = call_method(
        embedding, "async", "get_text_embedding_batch", ["a", "b"] * 3, show_progress=True
    )
    assert response == [[1.0], [2.0]] * 3


@pytest.mark.parametrize("model_id", ["Cohere-embed-v3-english", "text-embedding-3-small"])
def test_queries_and_texts_differ_where_model_and_surface_support_it(
    make: Make, server: RawServer, kind: str, model_id: str, path: str
) -> None:
    server.will(reply(vectors([1.0])))
    for named in ({}, {"query_type": "q", "document_type": "d"}):
        embedding = make(AzInferEmbedding, model_id=model_id, **named)
        call_method(embedding, kind, "get_query_embedding", "a")
        call_method(embedding, kind, "get_text_embedding", "a")
        call_method(embedding, kind, "get_text_embedding_batch", ["a"])
    input_types = [body.get("input_type") for body in sent(server)]
    has_field = model_id.startswith("Cohere") and path == SURFACES["models"]
    known = ["query", "document", "document"] if has_field else [None] * 3
    assert input_types == [*known, "q", "d", "d"]


def test_an_embedding_is_called_by_its_model(make: Make) -> None:
    assert make(AzInferEmbedding).model_name == "prod"
    assert (
        make(AzInferEmbedding, model_id="embed-v-4-0").to_payload()["model_name"] == "embed-v-4-0"
    )
    assert make(AzInferEmbedding, model_name="mine").model_name == "mine"


def test_dimensions_are_requested(endpoint: LocalEndpoint, path: str, kind: str) -> None:
    embedding = AzInferEmbedding(
        endpoint=endpoint.url + path, credential=endpoint.key, model="embed", dimensions=8
    )
    assert len(call_method(embedding, kind, "get_query_embedding", "a")) == 8


def test_vectors_are_in_the_order_of_their_index(make: Make, server: RawServer, kind: str) -> None:
    body = vectors([1.0], [2.0], [3.0])
    body["data"].reverse()
    server.will(reply(body))
    response = call_method(
        make(AzInferEmbedding), kind, "get_text_embedding_batch", ["a", "b", "c"]
    )
    assert response == [[1.0], [2.0], [3.0]]


def test_an_empty_text_does_not_sink_the_others(
    make: Make, server: RawServer, embedding: AzInferEmbedding, kind: str
) -> None:
    def choose(request: Any) -> Any:
        texts = request.json["input"]
        if not all(texts):
            return reply(failure("BadRequest", "input cannot be empty"), 400)
        return reply(vectors(*([float(len(text))] for text in texts)))

    server.choose = choose
    response = call_method(
        make(AzInferEmbedding), kind, "get_text_embedding_batch", ["ab", "", "abc"]
    )
    assert response == [[2.0], [1.0], [3.0]]
    assert len(call_method(embedding, kind, "get_text_embedding_batch", ["ab", ""])) == 2


@pytest.mark.parametrize(
    ("encoding", "row"), [("int8", [1, -2]), ("uint8", [1, 200]), ("binary", [-1, 7])]
)
def test_integers_stay_integers(
    make: Make, server: RawServer, kind: str, encoding: str, row: list[int]
) -> None:
    server.will(reply(vectors(row)))
    embedding = make(AzInferEmbedding, additional_kwargs={"encoding_format": encoding})
    response = call_method(embedding, kind, "get_text_embedding", "a")
    assert response == row
    assert all(isinstance(number, int) for number in response)
    assert sent(server)[0]["encoding_format"] == encoding


# Images


@pytest.fixture
def images(endpoint: LocalEndpoint, path: str) -> AzInferImageEmbedding:
    """An image embedding; `…/openai` has no operation for images, the resource beside it has."""
    url = endpoint.url if path == "/openai" else endpoint.url + path
    return AzInferImageEmbedding(endpoint=url, credential=endpoint.key, model="embed")


def test_images_of_every_form_have_vectors(
    images: AzInferImageEmbedding, endpoint: LocalEndpoint, tmp_path: Path, kind: str
) -> None:
    import base64
    import io

    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    encoded = base64.b64encode(PNG).decode()
    url = f"data:image/png;base64,{encoded}"
    forms: list[Any] = [
        PNG,
        file,
        str(file),
        url,
        io.BytesIO(PNG),
        ImageDocument(image=encoded),
        ImageDocument(image_path=str(file)),
        ImageNode(image=encoded),
        ImageBlock(image=PNG),
        ImageBlock(url=url),
        core.ImageInput(PNG),
    ]
    first = call_method(images, kind, "get_image_embedding", PNG)
    assert call_method(images, kind, "get_image_embedding_batch", forms) == [first] * len(forms)
    last = endpoint.requests[-1]
    assert last.path.endswith("/models/images/embeddings")
    assert last.body["input"] == [{"image": url}]


def test_the_url_of_an_image_is_passed_on(server: RawServer, kind: str) -> None:
    def choose(request: Any) -> Any:
        if request.method == "GET":  # an ImageDocument looks whether the image is there
            return reply(PNG, content_type="image/png")
        return reply(vectors([1.0]))

    server.choose = choose
    images = AzInferImageEmbedding(endpoint=f"{server.url}/models", credential=KEY, model="m")
    url = f"{server.url}/a.png"
    for form in (url, ImageNode(image_url=url), ImageDocument(image_url=url)):
        call_method(images, kind, "get_image_embedding", form)
    inputs = [request.json["input"] for request in server.received if request.method == "POST"]
    assert inputs == [[{"image": url}]] * 3


def test_images_are_retrieved_by_an_index(images: AzInferImageEmbedding, tmp_path: Path) -> None:
    nodes: list[Any] = [TextNode(text=FACTS[0])]
    for at in range(3):
        path = tmp_path / f"{at}.png"
        Image.new("L", (4, 4), at * 80).save(path)
        nodes.append(ImageNode(text=f"grey {at}", image_path=str(path), id_=f"image {at}"))
    index = MultiModalVectorStoreIndex(nodes, embed_model=images, image_embed_model=images)
    retriever: Any = index.as_retriever(image_similarity_top_k=1)
    (result,) = retriever.image_to_image_retrieve(str(tmp_path / "2.png"))
    assert result.node.node_id == "image 2"


# Failures, credentials, time


def test_a_full_deployment_is_retried(make: Make, server: RawServer, kind: str) -> None:
    full = reply(failure("429"), 429, {"retry-after": "3"})
    server.will(full, reply(chat()), full, stream(events(part("a", "stop"))))
    assert call_method(make(), kind, "chat", USER).message.content == "hello"
    assert deltas(call_method(make(), kind, "stream_chat", USER)) == "a"
    assert len(server.received) == 4


def test_a_failed_service_is_retried(make: Make, server: RawServer, kind: str) -> None:
    server.will(reply(failure("x"), 503), reply(chat()))
    assert call_method(make(), kind, "chat", USER).message.content == "hello"


def test_zero_retries_send_one_request(make: Make, server: RawServer, kind: str) -> None:
    server.will(reply(failure("429"), 429))
    for method in ("chat", "stream_chat"):
        with pytest.raises(core.RateLimitError) as caught:
            call_method(make(max_retries=0), kind, method, USER)
        assert caught.value.status == 429
    assert len(server.received) == 2


def test_a_wrong_key_is_an_immediate_error(endpoint: LocalEndpoint, path: str, kind: str) -> None:
    wrong = AzInferLLM(endpoint=endpoint.url + path, credential="wrong-key", model="paris")
    before = len(endpoint.requests)
    with pytest.raises(core.AuthenticationError) as caught:
        call_method(wrong, kind, "chat", USER)
    assert caught.value.status == 401
    assert len(endpoint.requests) - before <= 1


def test_a_blocked_prompt_names_its_category(make: Make, server: RawServer, kind: str) -> None:
    results = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False}}
    body = failure("content_filter", "blocked", innererror={"content_filter_result": results})
    server.will(reply(body, 400), stream(events(part("a"), body)))
    for method in ("chat", "stream_chat"):
        with pytest.raises(core.ContentFilterError) as caught:
            call_method(make(), kind, method, USER)
        assert dict(caught.value.categories) == {"violence": "high"}


def test_one_credential_serves_sync_and_async(make: Make, server: RawServer) -> None:
    class Credential:
        def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": "t1", "expires_on": 4_000_000_000})

    server.will(reply(chat()), reply(chat()), reply(vectors([1.0])))
    credential = Credential()
    model = make(credential=credential)
    call_method(model, "sync", "chat", USER)
    call_method(model, "async", "chat", USER)
    call_method(make(AzInferEmbedding, credential), "async", "get_text_embedding", "a")
    headers = {request.header("authorization") for request in server.received}
    assert headers == {"Bearer t1"}


def test_an_async_credential_serves_async(make: Make, server: RawServer) -> None:
    class Credential:
        async def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": "t1", "expires_on": 4_000_000_000})

    server.will(reply(chat()))
    model = make(credential=Credential())
    assert call_method(model, "async", "chat", USER).message.content == "hello"
    with pytest.raises(core.ConfigurationError, match="async credential"):
        call_method(model, "sync", "chat", USER)


def test_a_token_is_renewed_after_a_401(make: Make, server: RawServer, kind: str) -> None:
    tokens = iter("abc")
    server.will(reply(failure("401"), 401), reply(chat()))
    assert (
        call_method(make(credential=lambda: next(tokens)), kind, "chat", USER).message.content
        == "hello"
    )
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer a", "Bearer b"]


def test_a_slow_deployment_is_not_waited_for(server: RawServer, path: str, kind: str) -> None:
    server.will(lambda peer: peer.until_left())
    model = AzInferLLM(
        endpoint=server.url + path, credential=KEY, model="m", timeout=0.2, max_retries=0
    )
    for method in ("chat", "stream_chat"):
        with pytest.raises(core.APITimeoutError):
            call_method(model, kind, method, USER)


def test_one_object_works_in_several_event_loops(
    llm: Make, embedding: AzInferEmbedding, index: VectorStoreIndex
) -> None:
    model = llm("paris")
    engine = index.as_query_engine(llm=model)
    for _ in range(3):
        assert call_method(model, "async", "chat", USER).message.content == "Paris."
        assert len(call_method(embedding, "async", "get_text_embedding", "a")) == 384
        assert str(call_method(engine, "async", "query", "?")) == "Paris."


# Events, callbacks, limits


def test_events_report_calls_without_secrets(
    llm: Make, endpoint: LocalEndpoint, embedding: AzInferEmbedding, kind: str
) -> None:
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **kwargs: Any) -> None:
            seen.append(event)

    handler = Handler()
    top: Any = dispatcher.root
    top.add_event_handler(handler)
    try:
        model = llm()
        call_method(model, kind, "chat", USER)
        call_method(model, kind, "stream_chat", USER)
        call_method(model, kind, "structured_predict", Person, PromptTemplate("x"))
        call_method(embedding, kind, "get_text_embedding", "a")
        with pytest.raises(core.DeploymentNotFoundError):
            call_method(llm("nope"), kind, "stream_chat", USER)
    finally:
        top.event_handlers.remove(handler)
    names = {type(event).__name__ for event in seen}
    assert names >= {
        "LLMChatStartEvent",
        "LLMChatInProgressEvent",
        "LLMChatEndEvent",
        "LLMStructuredPredictStartEvent",
        "LLMStructuredPredictEndEvent",
        "EmbeddingStartEvent",
        "EmbeddingEndEvent",
        "ExceptionEvent",
    }
    assert not any(endpoint.key in repr(event) for event in seen)


def test_a_rate_limiter_is_acquired_once_per_call(
    llm: Make, embedding: AzInferEmbedding, kind: str
) -> None:
    requests: list[int] = []

    class Limiter(BaseRateLimiter):
        def acquire(self, num_tokens: int = 0) -> None:
            requests.append(1)

        async def async_acquire(self, num_tokens: int = 0) -> None:
            requests.append(1)

    model = llm(rate_limiter=Limiter())
    for method in ("chat", "stream_chat", "complete", "stream_complete"):
        call_method(model, kind, method, "hi" if "complete" in method else USER)
    assert len(requests) == 4
    embedding.rate_limiter = Limiter()
    call_method(embedding, kind, "get_text_embedding_batch", ["a", "b"])
    assert len(requests) == 5


def test_one_client_calls_several_deployments(
    llm: Make, endpoint: LocalEndpoint, kind: str
) -> None:
    model = llm()
    assert call_method(model, kind, "chat", USER, model="PARIS").message.content == "Paris."
    assert "synthetic" in call_method(model, kind, "chat", USER).message.content
    assert [each.deployment for each in endpoint.requests] == ["Paris", "Mistral-Large"]


# Streams as services really send them


def test_chunks_without_a_delta_are_accepted(make: Make, server: RawServer, kind: str) -> None:
    results = {"hate": {"filtered": False, "severity": "safe"}}
    note: dict[str, Any] = {"index": 0, "finish_reason": None, "content_filter_results": results}
    note |= {"content_filter_offsets": {"check_offset": 1}}
    bare = {"id": "", "model": "", "choices": [note]}
    server.will(stream(events({"choices": []}, part("a"), bare, part("b", "stop"), bare)))
    assert deltas(call_method(make(), kind, "stream_chat", USER)) == "ab"


def test_interleaved_fragments_stay_apart(make: Make, server: RawServer, kind: str) -> None:
    pieces = [
        fragments((0, "c1", "get_weather", "")),
        fragments((1, "c2", "ping", "")),
        fragments((0, "", "", '{"city":')),
        fragments((1, "", "", "{")),
        fragments((0, "", "", ' "Delft"}'), (1, "", "", "}")),
        part(None, "tool_calls"),
    ]
    server.will(stream(events(*pieces)))
    model = make()
    named = {"allow_parallel_tool_calls": True}
    response = call_method(
        model, kind, "stream_chat_with_tools", [tool(), tool(ping)], "hi", **named
    )
    for at in (-1, -2):
        called = model.get_tool_calls_from_response(response[at])
        assert [(each.tool_id, each.tool_name, each.tool_kwargs) for each in called] == [
            ("c1", "get_weather", {"city": "Delft"}),
            ("c2", "ping", {}),
        ]


def test_a_stream_may_be_cut_and_commented_anywhere(
    make: Make, server: RawServer, kind: str
) -> None:
    data = events(part("größe"), part(" 🙂", "stop"))
    data = b": ping\r\n\r\n" + data.replace(b"\\u00f6", "ö".encode()).replace(b"\n", b"\r\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    def byte_by_byte(peer: Peer) -> None:
        for at in range(len(head + data)):
            peer.send((head + data)[at : at + 1])
        peer.close()

    server.will(byte_by_byte)
    assert deltas(call_method(make(), kind, "stream_chat", USER)) == "größe 🙂"


def test_an_error_in_a_stream_is_raised(make: Make, server: RawServer, kind: str) -> None:
    server.will(stream(events(part("a"), failure("server_error", "it broke"))))
    seen: list[str] = []
    model = make()

    async def run_calls() -> None:
        async for each in await model.astream_chat(USER):
            seen.append(each.delta)

    def read() -> None:
        if kind == "async":
            asyncio.run(run_calls())
        for each in model.stream_chat(USER):
            seen.append(each.delta)

    with pytest.raises(core.InferenceError, match="it broke"):
        read()
    assert seen == ["a"]


@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_stream_that_breaks_off_is_raised(
    make: Make, server: RawServer, kind: str, then: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    data = events(part("a"), part("b"), done=False)
    server.will(raw(head + b"content-length: 10000\r\n\r\n" + data, then))
    with pytest.raises(core.StreamInterruptedError) as caught:
        call_method(make(), kind, "stream_chat", USER)
    assert caught.value.partial is not None


def test_leaving_a_stream_early_closes_it(make: Make, server: RawServer, kind: str) -> None:
    server.will(stream(events(part("a"), part("b"), done=False), "stall"))
    model = make()

    async def left() -> bool:
        async for _ in await model.astream_chat(USER):
            break
        return await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)

    if kind == "async":
        assert asyncio.run(left())
    else:
        for _ in model.stream_chat(USER):
            break
        assert server.wait_until(lambda: server.open_connections == 0)
