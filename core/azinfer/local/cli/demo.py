"""The demo: the main job, step by step, each held to what it should come to."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from azinfer.core import InferenceClient, InferenceError, Routing, Tool, Usage, UserMessage
from azinfer.local.endpoint import LocalEndpoint
from azinfer.local.resource.deployment import LocalDeployment

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


@dataclass(frozen=True, slots=True)
class Framework:
    """A step that is left out where its framework is not installed."""

    step: str
    module: str
    extra: str
    run: Callable[..., Result]


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
        for name, step in _steps(chat, second, embed):
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
    for each in _left_out():
        console.print(f"left out: {each.step}; pip install 'azinfer[{each.extra}]'", markup=False)
    models = ", ".join(sorted({each.model_name for each in deployments}))
    told = "Every step held" if held else "A step did not hold"
    console.print(f"{told}, over HTTP on this machine, with {models}.")
    return held


def _steps(chat: str, second: str, embed: str) -> list[tuple[str, Step]]:
    steps: list[tuple[str, Step]] = [
        ("a question", lambda client: _asked(client, chat)),
        ("another name", lambda client: _asked(client, second.swapcase(), second)),
        ("a stream", _streamed),
        ("a tool call", _called),
    ]
    there = [each for each in _FRAMEWORKS if each not in _left_out()]
    steps += [(each.step, partial(each.run, model=chat)) for each in there]
    return [*steps, ("a search", lambda client: _searched(client, embed))]


def _left_out() -> list[Framework]:
    return [each for each in _FRAMEWORKS if importlib.util.find_spec(each.module) is None]


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


def _chained(client: InferenceClient, model: str) -> Result:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from azinfer.langchain import ChatAzInfer

    chat = ChatAzInfer(client=client, model=model, temperature=0, max_tokens=60)
    prompt = ChatPromptTemplate.from_messages([("user", "Name three {things}.")])
    text = (prompt | chat | StrOutputParser()).invoke({"things": "colours"})
    return Result(text, bool(text.strip()), client.explain(model=model), None)


def _indexed(client: InferenceClient, model: str) -> Result:
    from llama_index.core import Document, VectorStoreIndex

    from azinfer.llama_index import AzInferEmbedding, AzInferLLM

    embed = list(client.deployments())[2]  # the third is the one for embeddings
    llm = AzInferLLM(client=client, model=model, temperature=0, max_tokens=60, context_window=2048)
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in DOCUMENTS],
        embed_model=AzInferEmbedding(client=client, model=embed),
    )
    answer = index.as_query_engine(llm=llm, similarity_top_k=1).query(QUERY)
    found = answer.source_nodes[0].text
    said = f"{answer} ← {found}"
    return Result(said, found == DOCUMENTS[BEST], client.explain(model=model), None)


def _prompted(client: InferenceClient, model: str) -> Result:
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

    service = AzInferChatCompletion(client=client, model=model)
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
    return Result(f"get_weather({asked}) → {text}", held, client.explain(model=model), None)


def _turned(client: InferenceClient, model: str) -> Result:
    from ag2 import Agent, tool

    from azinfer.ag2 import AzInferConfig

    asked: list[str] = []

    @tool
    def get_weather(city: str) -> str:
        """The current weather in a city."""
        asked.append(city)
        return f"It is sunny in {city}."

    config = AzInferConfig(client=client, model=model, temperature=0, max_tokens=60)
    agent = Agent("guide", config=config, tools=[get_weather])
    answer = asyncio.run(agent.ask("What is the weather in Paris?"))
    said = f"get_weather({asked}) → {answer.body}"
    held = [city.casefold() for city in asked] == ["paris"] and bool((answer.body or "").strip())
    return Result(said, held, client.explain(model=model), None)


def _searched(client: InferenceClient, model: str) -> Result:
    found = client.embed([QUERY, *DOCUMENTS], model=model)
    query, *documents = found.vectors
    likeness = [sum(a * b for a, b in zip(query, each, strict=True)) for each in documents]
    best = likeness.index(max(likeness))
    said = f"{QUERY} → {DOCUMENTS[best]} ({max(likeness):.2f})"
    return Result(said, best == BEST, found.routing, found.usage)


_FRAMEWORKS = (
    Framework("a chain", "langchain_core", "langchain", _chained),
    Framework("an index", "llama_index", "llama-index", _indexed),
    Framework("a kernel", "semantic_kernel", "semantic-kernel", _prompted),
    Framework("an agent", "ag2", "ag2", _turned),
)
