"""One question to a chat model of each framework, with the same options."""

from __future__ import annotations

import asyncio
from typing import Any

from azinfer.ag2 import AzInferConfig
from azinfer.langchain import ChatAzInfer
from azinfer.llama_index import AzInferLLM
from azinfer.semantic_kernel import AzInferChatCompletion


def ask_langchain(**options: Any) -> None:
    """Ask the adapter for LangChain."""
    ChatAzInfer(**options).invoke("hi")


def ask_llama_index(**options: Any) -> None:
    """Ask the adapter for LlamaIndex."""
    AzInferLLM(**options).complete("hi")


def ask_semantic_kernel(**options: Any) -> None:
    """Ask the adapter for Semantic Kernel."""
    from kernels import user_history

    service = AzInferChatCompletion(**options)
    settings = service.instantiate_prompt_execution_settings()
    asyncio.run(service.get_chat_message_contents(user_history(), settings))


def ask_ag2(**options: Any) -> None:
    """Ask the adapter for AG2."""
    from ag2 import Agent

    asyncio.run(Agent("agent", config=AzInferConfig(**options)).ask("hi"))


CHATS = {
    "langchain-core": ask_langchain,
    "llama-index-core": ask_llama_index,
    "semantic-kernel": ask_semantic_kernel,
    "ag2": ask_ag2,
}
