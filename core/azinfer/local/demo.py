"""The demo: the main job, step by step, each held to what it should come to."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from azinfer.core import InferenceClient, InferenceError, Routing, Tool, Usage, UserMessage
from azinfer.local.deployments import LocalDeployment
from azinfer.local.endpoint import LocalEndpoint

QUESTION = "Write one sentence about the sea."
TOOLS = [
    Tool(
        "get_weather",
        "The current weather in a city",
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    ),
    Tool(
        "convert_currency",
        "Convert an amount of money from one currency to another",
        {
            "type": "object",
            "properties": {"amount": {"type": "number"}, "to": {"type": "string"}},
            "required": ["amount", "to"],
        },
    ),
]
DOCUMENTS = [
    "A deployment is a name given to a model under a configuration.",
    "Requests are routed to a deployment by the model that they name.",
    "The harvest of olives begins in October, when the first fruits turn purple.",
    "A rate limit says how many tokens a minute a deployment serves.",
    "The old lighthouse was built of granite and has guided ships since 1847.",
    "Bread dough should rest until it has doubled in size.",
    "Bicycles lean into a curve so that gravity and the turn are in balance.",
    "The library lends books for four weeks and films for one.",
]
QUERY = "When do farmers pick olives?"
BEST = 2


@dataclass(frozen=True, slots=True)
class Result:
    """What one step came to."""

    said: str
    held: bool
    routing: Routing | None
    usage: Usage | None


Step = Callable[[InferenceClient], Result]


def run(deployments: Sequence[LocalDeployment], console: Console) -> bool:
    """Run every step against a local endpoint and print what was sent where.

    Args:
        deployments: A chat deployment, a second one, and one for embeddings, in this order.
        console: Where to print.

    Returns:
        Whether each step really held.
    """
    chat, second, embed = (each.name for each in deployments[:3])
    table = Table("", "step", "sent to", "tokens", "ms", "what came", box=box.SIMPLE)
    held = True
    with (
        LocalEndpoint(deployments) as endpoint,
        InferenceClient(endpoint.url, endpoint.key, chat, timeout=120) as client,
    ):
        for name, step in _steps(endpoint, chat, second, embed):
            with console.status(name):
                began = time.perf_counter()
                result = _tried(step, client)
                spent = f"{(time.perf_counter() - began) * 1000:.0f}"
            held = held and result.held
            mark = "[green]✓[/]" if result.held else "[red]✗[/]"
            table.add_row(
                mark, name, *_facts(result), spent, escape(" ".join(result.said.split())[:110])
            )
    console.print(table)
    for name, extra in _left_out():
        console.print(f"left out: {name}; pip install 'azinfer[{extra}]'", markup=False)
    models = ", ".join(sorted({each.model_name for each in deployments}))
    told = "Every step held" if held else "A step did not hold"
    console.print(f"{told}, over HTTP on this machine, with {models}.")
    return held


def _steps(endpoint: LocalEndpoint, chat: str, second: str, embed: str) -> list[tuple[str, Step]]:
    steps: list[tuple[str, Step]] = [
        ("a question", lambda client: _asked(client, chat)),
        ("another name", lambda client: _asked(client, second.swapcase(), second)),
        ("a stream", _streamed),
        ("a tool call", _called),
    ]
    left_out = [name for name, _ in _left_out()]
    if "a chain" not in left_out:
        steps.append(("a chain", lambda client: _chained(endpoint, chat)))
    if "a kernel" not in left_out:
        steps.append(("a kernel", lambda client: _prompted(endpoint, chat)))
    return [*steps, ("a search", lambda client: _searched(client, embed))]


def _left_out() -> list[tuple[str, str]]:
    """The steps whose framework is not installed, each with its extra."""
    return [
        (name, module.removesuffix("_core").replace("_", "-"))
        for name, module in _FRAMEWORKS.items()
        if importlib.util.find_spec(module) is None
    ]


_FRAMEWORKS = {"a chain": "langchain_core", "a kernel": "semantic_kernel"}


def _tried(step: Step, client: InferenceClient) -> Result:
    try:
        return step(client)
    except InferenceError as error:
        return Result(str(error), False, None, None)


def _facts(result: Result) -> tuple[str, str]:
    routing, usage = result.routing, result.usage
    tokens = f"{usage.prompt_tokens}+{usage.completion_tokens}" if usage else ""
    return (f"{routing.surface} → {routing.deployment}" if routing else "", tokens)


def _asked(client: InferenceClient, model: str, spelled: str | None = None) -> Result:
    answer = client.complete([UserMessage(QUESTION)], model=model, temperature=0, max_tokens=60)
    routed = answer.routing is not None and answer.routing.deployment == (spelled or model)
    return Result(answer.text, routed and bool(answer.text.strip()), answer.routing, answer.usage)


def _streamed(client: InferenceClient) -> Result:
    with client.stream([UserMessage(QUESTION)], temperature=0, max_tokens=60) as chunks:
        texts = [chunk.text for chunk in chunks if chunk.text]
    whole = chunks.completion
    held = len(texts) > 3 and "".join(texts) == whole.text and whole.finish_reason is not None
    return Result(f"{len(texts)} chunks: {whole.text}", held, whole.routing, whole.usage)


def _called(client: InferenceClient) -> Result:
    answer = client.complete(
        [UserMessage("What is the weather in Paris?")], tools=TOOLS, temperature=0, max_tokens=60
    )
    if not answer.tool_calls:
        return Result(answer.text, False, answer.routing, answer.usage)
    function = answer.tool_calls[0].function
    arguments = json.loads(function.arguments)
    held = function.name == "get_weather" and arguments.get("city", "").casefold() == "paris"
    said = f"{function.name}({json.dumps(arguments)})"
    return Result(said, held, answer.routing, answer.usage)


def _chained(endpoint: LocalEndpoint, model: str) -> Result:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from azinfer.langchain import ChatAzInfer

    chat = ChatAzInfer(
        endpoint=endpoint.url, credential=endpoint.key, model=model, temperature=0, max_tokens=60
    )
    prompt = ChatPromptTemplate.from_messages([("user", "Name three {things}.")])
    text = (prompt | chat | StrOutputParser()).invoke({"things": "colours"})
    return Result(text, bool(text.strip()), chat.sync_client.explain(), None)


def _prompted(endpoint: LocalEndpoint, model: str) -> Result:
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
    from semantic_kernel.exceptions import KernelException
    from semantic_kernel.functions import KernelArguments, kernel_function

    from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings

    asked: list[str] = []

    @kernel_function(description="The current weather in a city")
    def get_weather(city: str) -> str:
        asked.append(city)
        return f"It is sunny in {city}."

    service = AzInferChatCompletion(endpoint.url, endpoint.key, model)
    kernel = Kernel()
    kernel.add_service(service)
    kernel.add_function("weather", get_weather)
    settings = AzInferChatPromptExecutionSettings(
        function_choice_behavior=FunctionChoiceBehavior.Auto(), temperature=0, max_tokens=60
    )
    arguments = KernelArguments(settings, city="Paris")
    said = kernel.invoke_prompt("What is the weather in {{$city}}?", arguments=arguments)
    try:
        text = str(asyncio.run(said))
    except KernelException as error:
        return Result(str(error), False, None, None)
    held = [city.casefold() for city in asked] == ["paris"] and bool(text.strip())
    return Result(f"get_weather({asked}) → {text}", held, service.client.explain(), None)


def _searched(client: InferenceClient, model: str) -> Result:
    found = client.embed([QUERY, *DOCUMENTS], model=model)
    query, *documents = found.vectors
    likeness = [sum(a * b for a, b in zip(query, each, strict=True)) for each in documents]
    best = likeness.index(max(likeness))
    said = f"{QUERY} → {DOCUMENTS[best]} ({max(likeness):.2f})"
    return Result(said, best == BEST, found.routing, found.usage)
