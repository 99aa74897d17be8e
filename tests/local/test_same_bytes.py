"""What is written in a quicker way has the bytes that the slower way writes."""

from __future__ import annotations

import pytest

from azinfer.core import InferenceClient
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, Prompt, SyntheticEngine
from azinfer.local.api.chat.response import ChatWriter, event

TEXTS = ["plain", 'a "quote" \\ /', "é 日本 😀", "half \ud83d", "\x00\n\t\x1f", "<&>\u2028"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("index", [0, 3])
def test_chunks_of_a_text_are_those_of_any_delta(text: str, index: int) -> None:
    writer = ChatWriter(id=f'chatcmpl-"{text}"', created=1, model=text)
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    head = {"id": f'chatcmpl-"{text}"', "object": "chat.completion.chunk", "created": 1}
    expected = event({**head, "model": text, "choices": [choice]})
    for _ in range(2):
        assert writer.chunk(index, {"content": text}) == expected


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 25, 400])
@pytest.mark.parametrize("stop", [(), ("word 7",)])
@pytest.mark.parametrize("text", ["one", " ".join(f"word {at}." for at in range(60)), "x " * 2000])
async def test_an_answer_in_one_piece_is_the_answer_in_tokens(
    text: str, stop: tuple[str, ...], limit: int
) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    engine, answers = SyntheticEngine(text), []
    for whole in (False, True):
        prompt = Prompt(messages, limit, stop=stop, whole=whole)
        pieces = [piece async for piece in engine.chat(prompt)]
        last = pieces[-1]
        written = "".join(each.text for each in pieces), sum(each.tokens for each in pieces)
        answers.append((*written, last.finish_reason, last.prompt_tokens, last.stop))
    assert answers[0] == answers[1]


def test_a_filter_counts_the_tokens_until_it_ends_an_answer() -> None:
    content_filter = ContentFilter("harsh", words={"violence": {"stab": "high"}})
    engine = SyntheticEngine("Once upon a time they stab one another with their long swords.")
    deployment = LocalDeployment("chat", engine=engine, content_filter=content_filter)
    with LocalEndpoint([deployment]) as endpoint:
        client = InferenceClient(endpoint.url, endpoint.key, "chat")
        answer = client.complete([{"role": "user", "content": "Hello"}])
    assert answer.finish_reason == "content_filter"
    assert answer.text == "Once upon a time they"
    # The word after it shows that "stab" is a whole word.
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
