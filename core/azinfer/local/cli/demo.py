"""The demo: the main jobs step by step, each with a check of its result."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from azinfer.core import InferenceClient, InferenceError, Routing, Tool, Usage, UserMessage
from azinfer.local.cli.output import width, wrap_text, write, write_json
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
    """The result of one step.

    Attributes:
        summary: What came back, in short.
        passed: Whether it is as expected.
        routing: Where the request went.
        usage: The tokens it used.
    """

    summary: str
    passed: bool
    routing: Routing | None
    usage: Usage | None


Step = Callable[[InferenceClient], Result]


@dataclass(frozen=True, slots=True)
class Framework:
    """A step with a framework; left out if the framework is not installed.

    Attributes:
        step: The step's name.
        module: The module that the framework installs.
        extra: Our extra that installs it.
        run: Runs the step with a client and a model.
    """

    step: str
    module: str
    extra: str
    run: Callable[..., Result]


def run(deployments: Sequence[LocalDeployment], *, as_json: bool = False) -> bool:
    """Run every step against a local endpoint and print where each request went.

    Args:
        deployments: A chat deployment, a second one, and one for embeddings, in this order.
        as_json: Whether to print the results as JSON, at the end.

    Returns:
        Whether every step passed.
    """
    chat, second, embed = (each.name for each in deployments[:3])
    records = []
    with (
        LocalEndpoint(deployments) as endpoint,
        InferenceClient(endpoint.url, endpoint.key, chat, timeout=120) as client,
    ):
        for name, step in _steps(chat, second, embed):
            start = time.perf_counter()
            result = _run_step(step, client)
            record = _record(name, result, (time.perf_counter() - start) * 1000)
            records.append(record)
            if not as_json:
                _write_step(record)
    passed = all(record["passed"] for record in records)
    if as_json:
        write_json(records)
        return passed
    for each in _left_out():
        write(f"left out: {each.step}; pip install 'azinfer[{each.extra}]'")
    models = ", ".join(sorted({each.model_name for each in deployments}))
    verdict = "Every step passed" if passed else "A step failed"
    for line in wrap_text(f"{verdict}, over HTTP on this machine, with {models}.", width()):
        write(line)
    return passed


def _record(name: str, result: Result, milliseconds: float) -> dict[str, Any]:
    routing, usage = result.routing, result.usage
    return {
        "step": name,
        "passed": result.passed,
        "route": f"{routing.surface} → {routing.deployment}" if routing else "",
        "tokens": f"{usage.prompt_tokens}+{usage.completion_tokens}" if usage else "",
        "milliseconds": round(milliseconds),
        "result": " ".join(result.summary.split()),
    }


def _write_step(record: dict[str, Any]) -> None:
    """Print a step: its facts in columns, and its result below."""
    tokens = f"{record['tokens']} tokens" if record["tokens"] else ""
    facts = (
        f"{record['step']:<13} {record['route']:<27} {tokens:>14} {record['milliseconds']:>7} ms"
    )
    write(f"{'✓' if record['passed'] else '✗'} {facts}")
    for line in wrap_text(record["result"][:150], min(width(), 100), "    "):
        write(line)


def _steps(chat: str, second: str, embed: str) -> list[tuple[str, Step]]:
    steps: list[tuple[str, Step]] = [
        ("a question", lambda client: _ask(client, chat)),
        ("another name", lambda client: _ask(client, second.swapcase(), second)),
        ("a stream", _stream),
        ("a tool call", _call_tool),
    ]
    installed = [each for each in _FRAMEWORKS if each not in _left_out()]
    steps += [(each.step, partial(each.run, model=chat)) for each in installed]
    return [*steps, ("a search", lambda client: _search(client, embed))]


def _left_out() -> list[Framework]:
    return [each for each in _FRAMEWORKS if importlib.util.find_spec(each.module) is None]


def _run_step(step: Step, client: InferenceClient) -> Result:
    try:
        return step(client)
    except InferenceError as error:
        return Result(str(error), False, None, None)


def _ask(client: InferenceClient, model: str, spelled: str | None = None) -> Result:
    answer = client.complete([UserMessage(QUESTION)], model=model, temperature=0, max_tokens=60)
    routed = answer.routing is not None and answer.routing.deployment == (spelled or model)
    return Result(answer.text, routed and bool(answer.text.strip()), answer.routing, answer.usage)


def _stream(client: InferenceClient) -> Result:
    with client.stream([UserMessage(QUESTION)], temperature=0, max_tokens=60) as chunks:
        texts = [chunk.text for chunk in chunks if chunk.text]
    answer = chunks.completion
    passed = len(texts) > 3 and "".join(texts) == answer.text and answer.finish_reason is not None
    return Result(f"{len(texts)} chunks: {answer.text}", passed, answer.routing, answer.usage)


def _call_tool(client: InferenceClient) -> Result:
    answer = client.complete(
        [UserMessage("What is the weather in Paris?")], tools=TOOLS, temperature=0, max_tokens=60
    )
    if not answer.tool_calls:
        return Result(answer.text, False, answer.routing, answer.usage)
    function = answer.tool_calls[0].function
    arguments = json.loads(function.arguments)
    passed = function.name == "get_weather" and arguments.get("city", "").casefold() == "paris"
    summary = f"{function.name}({json.dumps(arguments)})"
    return Result(summary, passed, answer.routing, answer.usage)


def _run_chain(client: InferenceClient, model: str) -> Result:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from azinfer.langchain import ChatAzInfer

    chat = ChatAzInfer(client=client, model=model, temperature=0, max_tokens=60)
    prompt = ChatPromptTemplate.from_messages([("user", "Name three {things}.")])
    text = (prompt | chat | StrOutputParser()).invoke({"things": "colours"})
    return Result(text, bool(text.strip()), client.explain(model=model), None)


def _query_index(client: InferenceClient, model: str) -> Result:
    from llama_index.core import Document, VectorStoreIndex

    from azinfer.llama_index import AzInferEmbedding, AzInferLLM

    embed = list(client.deployments())[2]  # the third is the one for embeddings
    llm = AzInferLLM(client=client, model=model, temperature=0, max_tokens=60, context_window=2048)
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in DOCUMENTS],
        embed_model=AzInferEmbedding(client=client, model=embed),
    )
    answer = index.as_query_engine(llm=llm, similarity_top_k=1).query(QUERY)
    source = answer.source_nodes[0].text
    summary = f"{answer} ← {source}"
    return Result(summary, source == DOCUMENTS[BEST], client.explain(model=model), None)


def _run_kernel(client: InferenceClient, model: str) -> Result:
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
    from semantic_kernel.exceptions import KernelException
    from semantic_kernel.functions import KernelArguments, kernel_function

    from azinfer.semantic_kernel import AzInferChatCompletion, AzInferChatPromptExecutionSettings

    cities: list[str] = []

    @kernel_function(description="The current weather in a city")
    def get_weather(city: str) -> str:
        cities.append(city)
        return f"It is sunny in {city}."

    service = AzInferChatCompletion(client=client, model=model)
    kernel = Kernel()
    kernel.add_service(service)
    kernel.add_function("weather", get_weather)
    settings = AzInferChatPromptExecutionSettings(
        function_choice_behavior=FunctionChoiceBehavior.Auto(), temperature=0, max_tokens=60
    )
    arguments = KernelArguments(settings, city="Paris")
    answer = kernel.invoke_prompt("What is the weather in {{$city}}?", arguments=arguments)
    try:
        text = str(asyncio.run(answer))
    except KernelException as error:
        return Result(str(error), False, None, None)
    passed = [city.casefold() for city in cities] == ["paris"] and bool(text.strip())
    return Result(f"get_weather({cities}) → {text}", passed, client.explain(model=model), None)


def _run_agent(client: InferenceClient, model: str) -> Result:
    from ag2 import Agent, tool

    from azinfer.ag2 import AzInferConfig

    cities: list[str] = []

    @tool
    def get_weather(city: str) -> str:
        """Return the current weather in a city."""
        cities.append(city)
        return f"It is sunny in {city}."

    config = AzInferConfig(client=client, model=model, temperature=0, max_tokens=60)
    agent = Agent("guide", config=config, tools=[get_weather])
    answer = asyncio.run(agent.ask("What is the weather in Paris?"))
    summary = f"get_weather({cities}) → {answer.body}"
    passed = [city.casefold() for city in cities] == ["paris"] and bool((answer.body or "").strip())
    return Result(summary, passed, client.explain(model=model), None)


def _run_agent_framework(client: InferenceClient, model: str) -> Result:
    from azinfer.agent_framework import AzInferChatClient

    cities: list[str] = []

    def get_weather(city: str) -> str:
        """Return the current weather in a city."""
        cities.append(city)
        return f"It is sunny in {city}."

    async def run() -> str:
        agent = AzInferChatClient(client=client, model=model).as_agent(
            tools=[get_weather], default_options={"temperature": 0, "max_tokens": 60}
        )
        return str(await agent.run("What is the weather in Paris?"))

    answer = asyncio.run(run())
    passed = [city.casefold() for city in cities] == ["paris"] and bool(answer.strip())
    summary = f"get_weather({cities}) → {answer}"
    return Result(summary, passed, client.explain(model=model), None)


def _search(client: InferenceClient, model: str) -> Result:
    embeddings = client.embed([QUERY, *DOCUMENTS], model=model)
    query, *documents = embeddings.vectors
    similarities = [sum(a * b for a, b in zip(query, each, strict=True)) for each in documents]
    best = similarities.index(max(similarities))
    summary = f"{QUERY} → {DOCUMENTS[best]} ({max(similarities):.2f})"
    return Result(summary, best == BEST, embeddings.routing, embeddings.usage)


_FRAMEWORKS = (
    Framework("a chain", "langchain_core", "langchain", _run_chain),
    Framework("an index", "llama_index", "llama-index", _query_index),
    Framework("a kernel", "semantic_kernel", "semantic-kernel", _run_kernel),
    Framework("an agent", "ag2", "ag2", _run_agent),
    Framework("an MS agent", "agent_framework", "agent-framework", _run_agent_framework),
)
