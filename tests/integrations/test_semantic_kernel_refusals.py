"""Answers for Semantic Kernel that end early: refusals, half calls, calls without arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.contents import ChatHistory, FunctionResultContent

from azinfer.semantic_kernel import AzInferChatPromptExecutionSettings
from kernels import Weather, collect_stream, join_messages, kernel, user_history
from raw_server import RawServer
from tool_calls import (
    NO_ARGUMENTS,
    REFUSAL,
    answer_with_call,
    count_in_every_chunk,
    refuse,
)

Make = Callable[..., Any]


async def answer(chat: Any, history: ChatHistory, streaming: bool, plugin: Any = None) -> Any:
    """Ask with automatic function calling; the whole answer."""
    auto = FunctionChoiceBehavior.Auto() if plugin else None
    settings = AzInferChatPromptExecutionSettings(function_choice_behavior=auto)
    plugins = {"w": plugin} if plugin else {}
    options: dict[str, Any] = {"kernel": kernel(chat, **plugins)}
    if not streaming:
        return await chat.get_chat_message_content(history, settings, **options)
    messages = await collect_stream(chat, history, settings, **options)
    rounds = max(message.function_invoke_attempt or 0 for message in messages)
    last = [each for each in messages if each.function_invoke_attempt == rounds]
    return join_messages([each for each in last if each.role == "assistant"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", NO_ARGUMENTS)
async def test_a_function_without_parameters_runs_without_arguments(
    server: RawServer, service: Make, streaming: bool, arguments: Any
) -> None:
    answer_with_call(server, "w-get_time", arguments)
    weather = Weather()
    message = await answer(service(), user_history(), streaming, weather)
    assert (str(message), weather.calls) == ("done", ["time"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("arguments", ['{"city": "Par', '{"city": ["Par"', '{"city":'])
async def test_half_a_call_does_not_run(
    server: RawServer, service: Make, streaming: bool, arguments: str
) -> None:
    answer_with_call(server, "w-get_weather", arguments, "length")
    weather, history = Weather(), user_history()
    await answer(service(), history, streaming, weather)
    assert weather.calls == []
    items = [item for message in history for item in message.items]
    (result,) = [item.result for item in items if isinstance(item, FunctionResultContent)]
    assert "malformed" in str(result)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_is_the_text_and_goes_back_as_text(
    server: RawServer, service: Make, streaming: bool
) -> None:
    refuse(server)
    history = user_history()
    message = await answer(service(), history, streaming)
    assert str(message) == REFUSAL
    history.add_message(message)
    history.add_user_message("Why?")
    await answer(service(), history, streaming)
    back = server.received[-1].json["messages"][1]
    assert back == {"role": "assistant", "content": REFUSAL}


async def test_usage_in_every_chunk_is_the_last_one(server: RawServer, service: Make) -> None:
    count_in_every_chunk(server)
    usage = join_messages(await collect_stream(service())).metadata["usage"]
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 3)
