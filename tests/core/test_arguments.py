"""Wrong arguments: each is refused at once, with its name, its value and what was meant."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    ConfigurationError,
    CustomTool,
    ImageInput,
    InferenceClient,
    JsonSchema,
    TextPart,
    Timeout,
    Tool,
    ToolMessage,
    UserMessage,
    request_options,
    without_empty_texts,
)
from azinfer.core.arguments import CHAT_NAMES, EMBEDDING_NAMES, RERANK_NAMES, check_call_options
from azinfer.core.embeddings import check_texts
from azinfer.core.messages import messages_to_wire
from client_driver import open_driver

URL = "https://contoso.services.ai.azure.com"
HI = [UserMessage("hi")]
CLIENTS: tuple[Any, ...] = (InferenceClient, AsyncInferenceClient)


def refusal_of(call: Callable[[], Any]) -> str:
    """Return the error of a call, whose result is awaited or read."""
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(_finish(call))
    return str(caught.value)


async def _finish(call: Callable[[], Any]) -> None:
    result = call()
    if inspect.isawaitable(result):
        await result
    elif hasattr(result, "__aiter__"):
        async for _ in result:
            pass
    elif hasattr(result, "__iter__"):
        list(result)


OF_CLIENTS = [
    ({"modle": "m"}, "has no option 'modle'; did you mean 'model'?"),
    ({"timout": 3}, "has no option 'timout'; did you mean 'timeout'?"),
    ({"zzz": 3}, "has no option 'zzz'; choose from allow_http, api_version"),
    ({"timeout": -1}, "timeout must be a finite number of seconds above 0, or a Timeout, not -1"),
    ({"timeout": "30"}, "not '30'"),
    ({"timeout": True}, "not True"),
    ({"max_retries": -1}, "max_retries must be a whole number from 0, not -1"),
    ({"max_retries": "2"}, "max_retries must be a whole number from 0, not '2'"),
    ({"max_retries": True}, "not True"),
    ({"headers": ["a"]}, "headers= has the type list; pass a mapping such as"),
    ({"headers": {"x-a": 1}}, "the header 'x-a' has a value of the type int"),
    ({"headers": {1: "a"}}, "the header 1 has a value of the type str"),
    ({"model": 3}, "model=3 has the type int; pass a name"),
    ({"model_id": ["a"]}, "model_id=['a'] has the type list; pass a name"),
    ({"wire": "respones"}, "wire='respones' is unknown; choose from chat, responses, messages"),
    ({"surface": 3}, "surface=3 has the type int; choose from models, v1"),
    ({"api_version": 2024}, "api_version=2024 has the type int"),
]


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(("options", "reason"), OF_CLIENTS)
def test_a_wrong_argument_of_a_client_is_named(
    kind: Any, options: dict[str, Any], reason: str
) -> None:
    assert reason in refusal_of(lambda: kind(URL, "a-key", **options))
    client = kind(URL, "a-key")
    if options.keys() <= inspect.signature(client.with_options).parameters.keys():
        assert reason in refusal_of(lambda: client.with_options(**options))
    config = {"endpoints": {"main": {"url": URL, "credential": "env:A"}}}
    if "modle" in options or "max_retries" in options:
        more = {"environ": {"A": "a-key"}, **options}
        assert reason in refusal_of(lambda: kind.from_config(config, **more))


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("api_key", "credential"), ("base_url", "endpoint"), ("azure_endpoint", "endpoint")),
        *(("azure_deployment", "model"), ("deployment", "model"), ("retries", "max_retries")),
    ],
)
def test_names_of_other_clients_are_known(kind: Any, name: str, meant: str) -> None:
    assert f"{name!r}; did you mean {meant!r}?" in refusal_of(lambda: kind(**{name: "x"}))


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", ["endpoint", "model", "model_id"])
def test_an_empty_name_is_not_the_default(
    kind: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AI_ENDPOINT", URL)
    arguments = {"endpoint": URL, "credential": "a-key", "model": "gpt-4.1", name: ""}
    reason = f"{name} is an empty text; pass a name, or leave it out for the default"
    assert reason in refusal_of(lambda: kind(**arguments))


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.complete(HI, model=""),
        lambda client: client.embed(["a"], model=""),
        lambda client: client.embed_images(["data:image/png;base64,AAAA"], model=""),
        lambda client: client.rerank("a", ["b"], model=""),
        lambda client: client.complete_many([HI], model=""),
        lambda client: client.embed_many(["a"], model=""),
        lambda client: client.with_options(model=""),
    ],
)
def test_an_empty_name_of_a_call_is_refused(kind: Any, call: Callable[[Any], Any]) -> None:
    client = kind(URL, "a-key", model="gpt-4.1")
    assert "model is an empty text" in refusal_of(lambda: call(client))


def test_an_empty_name_of_a_bulk_request_is_its_own_error() -> None:
    client = InferenceClient(URL, "a-key", model="gpt-4.1")
    (result,) = client.complete_many([{"messages": HI, "model": ""}])
    assert "model is an empty text" in str(result.error)


def test_arguments_without_their_names_are_three() -> None:
    reason = refusal_of(lambda: InferenceClient(URL, "a-key", "m", 30))  # type: ignore[arg-type, call-arg]
    assert "InferenceClient takes endpoint, credential, model without their names, not 4" in reason
    assert "endpoint=3 has the type int; pass a URL" in refusal_of(lambda: InferenceClient(3))  # type: ignore[arg-type]


class Sequence:
    """A sequence of old: a loop goes through it by `__getitem__`."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, at: int) -> Any:
        return self._items[at]


class Whole:
    """A whole number of another library."""

    def __index__(self) -> int:
        return 2

    def __lt__(self, other: int) -> bool:
        return other > 2


def test_values_of_other_libraries_are_taken() -> None:
    assert messages_to_wire(Sequence(UserMessage("x"))) == [{"role": "user", "content": "x"}]  # type: ignore[arg-type]
    assert check_texts(Sequence("a", "b")) == ["a", "b"]  # type: ignore[arg-type]
    retries: Any = Whole()
    with InferenceClient("https://a.openai.azure.com", "k", max_retries=retries) as client:
        assert client.max_retries == 2


def test_a_class_that_joins_others_creates_all_of_them() -> None:
    class Other:
        def __new__(cls, *_: Any, **__: Any) -> Any:
            new = super().__new__(cls)
            new.is_ready = True  # type: ignore[attr-defined]
            return new

    class Both(InferenceClient, Other):
        pass

    with Both("https://a.openai.azure.com", "k") as client:
        assert client.is_ready  # type: ignore[attr-defined]


def test_a_class_of_a_program_may_have_arguments_of_its_own() -> None:
    class Own(InferenceClient):
        def __init__(self, name: str, /, colour: str, **options: Any) -> None:
            super().__init__(URL, name, **options)
            self.colour = colour

    assert Own("a-key", colour="red", model="m").model == "m"


OF_CALLS: list[tuple[dict[str, Any], str]] = [
    ({"messages": UserMessage("x")}, "pass [UserMessage('…')], not one message of the type User"),
    ({"messages": "x"}, "messages must be a list"),
    ({"messages": None}, "not one message of the type NoneType"),
    ({"messages": [TextPart("x")]}, "messages[0] has the type TextPart; pass a message such as"),
    ({"messages": [UserMessage]}, "messages[0] has the type type"),
    ({"messages": [UserMessage(3)]}, "content of a message has the type int; pass a text or a"),  # type: ignore[arg-type]
    ({"messages": [UserMessage(TextPart("x"))]}, "has the type TextPart"),  # type: ignore[arg-type]
    ({"messages": [UserMessage({"type": "text"})]}, "has the type dict"),  # type: ignore[arg-type]
    ({"messages": [UserMessage(["a", 3])]}, "content[1] of a message has the type int"),  # type: ignore[list-item]
    ({"messages": [UserMessage([TextPart])]}, "content[0] of a message has the type type"),  # type: ignore[list-item]
    ({"messages": [*HI, ToolMessage(3, "c")]}, "content of a message has the type int"),  # type: ignore[arg-type]
    ({"modle": "m"}, "unknown option 'modle'; did you mean 'model'?"),
    ({"timout": 3}, "unknown option 'timout'; did you mean 'timeout'?"),
    ({"temprature": 1}, "did you mean 'temperature'?"),
    ({"max_token": 1}, "did you mean 'max_tokens'?"),
    ({"toolChoice": "auto"}, "did you mean 'tool_choice'?"),
    ({"max_retries": 3}, "client.with_options(max_retries=…)"),
    ({"timeout": 0}, "timeout must be a finite number"),
    ({"headers": "x"}, "headers= has the type str"),
    ({"model": 3}, "model=3 has the type int"),
    ({"model": ["m"]}, "model=['m'] has the type list"),
    ({"model_id": 3}, "model_id=3 has the type int"),
    ({"tools": Tool("f")}, "tools must be a list: pass [Tool(…)], not a value of the type Tool"),
    ({"tools": {"type": "function"}}, "tools must be a list"),
    ({"tools": [Tool("f"), len]}, "tools[1] has the type builtin_function_or_method; pass a Tool"),
    ({"tools": [Tool("f")], "tool_choice": 3}, "tool_choice=3 has the type int; pass 'auto'"),
]


@pytest.mark.parametrize(("options", "reason"), OF_CALLS)
def test_a_wrong_argument_of_a_conversation_is_named(
    kind: str, options: dict[str, Any], reason: str
) -> None:
    arguments: dict[str, Any] = {"messages": HI, **options}
    messages = arguments.pop("messages")
    with open_driver(kind, URL, "a-key", "m") as driver:
        for call in (driver.complete, driver.stream):
            with pytest.raises(ConfigurationError) as caught:
                call(messages, **arguments)
            assert reason in str(caught.value)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("embed", {"input": None}, "input=None has the type NoneType; pass a text or a list"),
        ("embed", {"input": b"a"}, "input=b'a' has the type bytes"),
        ("embed", {"input": {"a": 1}}, "has the type dict"),
        ("embed", {"input": ["a"], "dimension": 3}, "did you mean 'dimensions'?"),
        ("embed", {"input": ["a"], "max_retries": 3}, "option of the client"),
        ("embed_images", {"images": None}, "images must be a list, not one image"),
        ("embed_images", {"images": ImageInput("x")}, "images must be a list, not one image"),
        ("embed_images", {"images": [b"x"], "modle": "m"}, "did you mean 'model'?"),
        ("rerank", {"query": 3, "documents": ["a"]}, "query=3 has the type int; pass a text"),
        ("rerank", {"query": "q", "documents": [1]}, "documents[0]=1 has the type int"),
        ("rerank", {"query": "q", "documents": 3}, "documents must be a list"),
        ("rerank", {"query": "q", "documents": ["a"], "topn": 1}, "did you mean 'top_n'?"),
        ("embed_many", {"texts": 3}, "not a value of the type int"),
        ("embed_many", {"texts": ["a"], "concurrency": "x"}, "concurrency='x' has the type str"),
        ("embed_many", {"texts": ["a"], "batch_size": 0}, "batch_size must be above 0, not 0"),
        ("embed_many", {"texts": ["a"], "checkpoint": 3}, "checkpoint=3 has the type int"),
        ("embed_many", {"texts": ["a"], "on_progress": 3}, "on_progress=3 has the type int"),
        ("embed_many", {"texts": ["a"], "timeout": -1}, "timeout must be a finite number"),
        ("embed_many", {"texts": ["a"], "dimenions": 3}, "did you mean 'dimensions'?"),
        ("complete_many", {"requests": None}, "not a value of the type NoneType"),
        ("complete_many", {"requests": [HI], "timout": 3}, "did you mean 'timeout'?"),
        ("complete_many", {"requests": [HI], "model": 3}, "model=3 has the type int"),
        ("complete_many", {"requests": [HI], "headers": 3}, "headers= has the type int"),
    ],
)
def test_a_wrong_argument_of_an_operation_is_named(
    kind: Any, name: str, arguments: dict[str, Any], reason: str
) -> None:
    client = kind(URL, "a-key", "m")
    assert reason in refusal_of(lambda: getattr(client, name)(**arguments))


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("where", "name", "arguments", "reason"),
    [
        ("files", "upload", {"source": 3}, "source=3 has the type int; pass the path of a file"),
        ("files", "upload", {"source": b"x", "filename": 3}, "filename=3 has the type int"),
        ("files", "upload", {"source": "x", "purpose": 3}, "purpose=3 has the type int"),
        ("files", "upload", {"source": "x", "on_progress": 3}, "on_progress=3 has the type int"),
        ("files", "get", {"file_id": 3}, "file_id=3 has the type int"),
        ("files", "delete", {"file_id": ""}, "file_id='' has the type str; pass the id of one"),
        ("files", "content", {"file_id": None}, "file_id=None"),
        ("batches", "create", {"requests": 3}, "requests=3 has the type int"),
        ("batches", "create", {"requests": [HI]}, "requests[0]=[UserMessage(content='hi')] has"),
        ("batches", "get", {"batch_id": 3}, "batch_id=3 has the type int"),
        ("batches", "cancel", {"batch_id": " "}, "batch_id=' '"),
        ("batches", "wait", {"batch_id": "b", "timeout": "x"}, "timeout total must be"),
        ("batches", "results", {"batch_id": 3}, "batch_id=3"),
    ],
)
def test_a_wrong_argument_about_files_is_named(
    kind: Any, where: str, name: str, arguments: dict[str, Any], reason: str
) -> None:
    client = kind(URL, "a-key", "m")
    assert reason in refusal_of(lambda: getattr(getattr(client, where), name)(**arguments))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"config": 3}, "config=3 has the type int; pass the path of a file, or a mapping"),
        ({"config": None}, "config=None has the type NoneType"),
        ({"config": {}, "endpoint": 3}, "endpoint=3 has the type int"),
        ({"config": {}, "routes": 3}, "routes=3 has the type int; pass a list of Route"),
        ({"config": {}, "routes": "x"}, "routes='x' has the type str"),
        ({"config": {}, "aliases": ["x"]}, "aliases=['x'] has the type list"),
        ({"config": {}, "reload_after": "x"}, "reload_after must be a number of seconds from 0"),
        ({"config": {}, "reload_after": -1}, "or None, not -1"),
    ],
)
def test_a_wrong_argument_of_a_configuration_is_named(
    arguments: dict[str, Any], reason: str
) -> None:
    assert reason in refusal_of(lambda: InferenceClient.from_config(**arguments))


def test_a_route_names_a_model_that_is_no_text() -> None:
    config = {"endpoints": {"main": {"url": URL, "credential": "env:A"}}}
    client = InferenceClient.from_config(config, environ={"A": "a-key"})
    assert "model=3 has the type int" in refusal_of(lambda: client.complete(HI, model=3))  # type: ignore[arg-type]
    assert "model=3 has the type int" in refusal_of(
        lambda: InferenceClient(URL, "a-key").explain(model=3)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Tool(3), "name=3 has the type int; pass a text"),  # type: ignore[arg-type]
        (lambda: Tool(""), "name=''"),
        (lambda: Tool("f", {"type": "object"}), "description={'type': 'object'} has the type dict"),  # type: ignore[arg-type]
        (lambda: Tool("f", None, "x"), "parameters='x' has the type str; pass a mapping"),  # type: ignore[arg-type]
        (lambda: CustomTool("f", None, 3), "format=3 has the type int"),  # type: ignore[arg-type]
        (lambda: JsonSchema("f", 3), "schema=3 has the type int"),  # type: ignore[arg-type]
        (lambda: Timeout(total=True), "timeout total must be a finite number"),
        (lambda: JsonSchema("f" * 99, 3), "schema=3"),  # type: ignore[arg-type]
        (lambda: Tool("f", "d", "x" * 99), f"parameters='{'x' * 59}… has"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_part_of_a_tool_is_named(make: Any, reason: str) -> None:
    assert reason in refusal_of(make)


@pytest.mark.parametrize(
    "name",
    [
        *("top_k", "top_n", "min_p", "top_a", "min_tokens", "repetition_penalty", "best_of"),
        *("safe_prompt", "random_seed", "prompt_mode", "documents", "safety_mode", "thinking"),
        *("chat_template_kwargs", "guided_json", "ignore_eos", "stop_token_ids", "reasoning"),
        *("functions", "function_call", "data_sources", "include", "instructions", "text"),
        *("previous_response_id", "conversation", "background", "truncation", "prompt", "system"),
        *("web_search_options", "prompt_cache_retention", "max_tool_calls", "max_output_tokens"),
        *("user_security_context", "stop_sequences", "cache_control", "mcp_servers", "container"),
        *("output_config", "context_management", "moderation", "echo", "suffix", "betas"),
        *("reasoning_format", "include_reasoning", "enable_thinking", "service", "mode", "tool"),
        *("extra_body", "logit_processors", "truncate", "embedding_types", "task", "input_text"),
    ],
)
@pytest.mark.parametrize("known", [CHAT_NAMES, EMBEDDING_NAMES, RERANK_NAMES])
def test_other_options_of_services_are_sent(name: str, known: frozenset[str]) -> None:
    if name not in known and (name, known) != ("tool", CHAT_NAMES):
        check_call_options([name], known)


def test_the_known_options_are_those_that_editors_complete() -> None:
    assert set(request_options.ChatCall.__annotations__) == CHAT_NAMES
    assert set(request_options.EmbeddingCall.__annotations__) == EMBEDDING_NAMES


def test_frameworks_send_a_space_for_an_empty_text() -> None:
    assert without_empty_texts(["a", "", 5]) == ["a", " ", 5]  # type: ignore[list-item]
    assert without_empty_texts("ab") == "ab"


def test_files_may_be_named_by_paths(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        InferenceClient(URL, "a-key").files.upload(tmp_path / "no")
