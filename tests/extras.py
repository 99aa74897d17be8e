"""Make one call with the packages of one extra only: `python tests/extras.py ag2`."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable

from raw_server import RawServer, chat, reply, vectors

SAID = "Hello."


def langchain(url: str) -> str:
    """Return the answer of a chat model."""
    from azinfer.langchain import AzInferEmbeddings, ChatAzInfer

    assert AzInferEmbeddings(endpoint=url, credential="k", model="e").embed_query("hi") == [1.0]
    return str(ChatAzInfer(endpoint=url, credential="k", model="m").invoke("hi").text)


def llama_index(url: str) -> str:
    """Return the answer of an LLM."""
    from azinfer.llama_index import AzInferEmbedding, AzInferLLM

    embedding = AzInferEmbedding(endpoint=url, credential="k", model="e")
    assert embedding.get_query_embedding("hi") == [1.0]
    return str(AzInferLLM(endpoint=url, credential="k", model="m").complete("hi"))


def semantic_kernel(url: str) -> str:
    """Return the answer of agents in a row: orchestrations need more packages than kernels."""
    from semantic_kernel.agents import ChatCompletionAgent, SequentialOrchestration
    from semantic_kernel.agents.runtime import InProcessRuntime

    from azinfer.semantic_kernel import AzInferChatCompletion, AzInferTextEmbedding

    async def run_calls() -> str:
        embed = AzInferTextEmbedding(url, "k", "e")
        assert (await embed.generate_embeddings(["hi"])).tolist() == [[1.0]]
        chat = AzInferChatCompletion(url, "k", "m")
        runtime = InProcessRuntime()
        runtime.start()
        line = SequentialOrchestration(
            members=[ChatCompletionAgent(service=chat, name="Guide", description="Guides")]
        )
        result = await line.invoke("hi", runtime)
        value = str(await result.get(timeout=20))
        await runtime.stop_when_idle()
        await embed.aclose()
        await chat.aclose()
        return value

    return asyncio.run(run_calls())


def ag2(url: str) -> str:
    """Return the answer of an agent."""
    from ag2 import Agent

    from azinfer.ag2 import AzInferConfig

    agent = Agent("guide", config=AzInferConfig(endpoint=url, credential="k", model="m"))
    return asyncio.run(agent.ask("hi")).body or ""


def agent_framework(url: str) -> str:
    """Return the answer of an agent with a session."""
    from azinfer.agent_framework import AzInferChatClient, AzInferEmbeddingClient

    async def run() -> str:
        async with AzInferEmbeddingClient(url, "k", "e") as embed:
            assert (await embed.get_embeddings(["hi"]))[0].vector == [1.0]
        async with AzInferChatClient(url, "k", "m") as client:
            agent = client.as_agent(instructions="Be brief.")
            return str(await agent.run("hi", session=agent.create_session()))

    return asyncio.run(run())


def local(url: str) -> str:
    """Return the answer of the local endpoint."""
    from azinfer.core import BadRequestError, InferenceClient, UserMessage
    from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine

    with LocalEndpoint([LocalDeployment("chat", engine=SyntheticEngine(SAID))]) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, model="chat")
        if importlib.util.find_spec("PIL") is None:
            message = ""
            try:
                images = InferenceClient(f"{endpoint.url}/models", endpoint.key, "chat")
                images.embed_images([b"\x89PNG"])
            except BadRequestError as error:
                message = str(error)
            assert "azinfer[models]" in message, message
        return client.complete([UserMessage("hi")]).text


def models(url: str) -> str:
    """Return the answer of the local endpoint; check that its packages can read model files."""
    import tempfile
    from pathlib import Path

    from azinfer.core import ConfigurationError
    from azinfer.local.engines.gguf_conversion import bert_to_gguf
    from azinfer.local.engines.llama import engine_of

    assert callable(bert_to_gguf)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "broken.gguf")
        path.write_bytes(b"GGUF")
        try:
            engine_of(path)
        except ConfigurationError:
            return local(url)
    raise AssertionError("a broken file was loaded")


def migrate(url: str) -> str:
    """Return the answer of the local endpoint; check that programs can be rewritten."""
    from azinfer.migrate import migrate_source

    result = migrate_source("from openai import AzureOpenAI\nclient = AzureOpenAI()\n")
    assert "InferenceClient()" in result.after, result.after
    return local(url)


def onnx(url: str) -> str:
    """Return the answer of the local endpoint; check that a model embeds an image."""
    import tempfile
    from pathlib import Path

    import onnx_files
    from azinfer.core import InferenceClient
    from azinfer.local import LocalDeployment, LocalEndpoint
    from azinfer.local.engines.onnx import OnnxImages
    from pictures import PNG

    flat = onnx_files.node("Flatten", ["image"], "all")
    content = onnx_files.model([flat], {"image": (1, 3, 2, 2)}, {"all": (1, 12)}, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tiny.onnx")
        path.write_bytes(content)
        engine = OnnxImages(path)
    with LocalEndpoint([LocalDeployment("images", engine=engine)]) as endpoint:
        client = InferenceClient(f"{endpoint.url}/models", endpoint.key, model="images")
        [vector] = client.embed_images([PNG])
    assert len(vector) == 12
    return local(url)


def otel(url: str) -> str:
    """Return the answer of a client in a program without an OpenTelemetry SDK."""
    from azinfer.core import InferenceClient, UserMessage
    from azinfer.otel import instrument

    instrument()
    with InferenceClient(url, "k", "m") as client:
        return client.complete([UserMessage("hi")]).text


def parquet(url: str) -> str:
    """Return the answer of the local endpoint; check that the command line writes Parquet."""
    import subprocess
    import tempfile
    from pathlib import Path

    from azinfer.local import LocalDeployment, LocalEndpoint

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalEndpoint([LocalDeployment("vectors")]) as endpoint,
    ):
        path = Path(folder, "vectors.parquet")
        command = [str(Path(sys.executable).with_name("azinfer")), "embed", "hi", "-o", str(path)]
        subprocess.run([*command, "--endpoint", endpoint.url, "--key", endpoint.key], check=True)
        assert path.read_bytes()[:4] == b"PAR1"
    return local(url)


def redis(url: str) -> str:
    """Return the answer of a route whose Redis server is not running."""
    import logging

    from azinfer.core import InferenceClient, UserMessage

    logging.getLogger("azinfer.redis").setLevel(logging.ERROR)
    config = {
        "endpoints": {"main": {"url": url}},
        "deployments": {"m@main": {"rpm": 60}},
        "routes": {"chat": {"tiers": [["m"]]}},
        "shared": {"redis": "redis://127.0.0.1:1/0"},
    }
    with InferenceClient.from_config(config, environ={"AZURE_AI_API_KEY": "k"}) as client:
        return client.complete([UserMessage("hi")], model="chat").text


EXTRAS: dict[str, Callable[[str], str]] = {
    "langchain": langchain,
    "llama-index": llama_index,
    "semantic-kernel": semantic_kernel,
    "ag2": ag2,
    "agent-framework": agent_framework,
    "local": local,
    "migrate": migrate,
    "models": models,
    "onnx": onnx,
    "otel": otel,
    "parquet": parquet,
    "redis": redis,
}

if __name__ == "__main__":
    server = RawServer().start()
    server.choose = lambda request: reply(
        vectors([1.0]) if request.target.startswith("/openai/v1/embeddings") else chat(SAID)
    )
    result = EXTRAS[sys.argv[1]](f"{server.url}/openai/v1")
    server.stop()
    assert result == SAID, result
