"""Reasoning in a leading `<think>` block, in a complete text or in pieces of one."""

from __future__ import annotations

import re

_OPEN, _CLOSE, _TAG = "<think>", "</think>", "think>"
# Some chat templates put the opening tag into the prompt, so that only the closing tag comes.
_CLOSED_ONLY = re.compile(r"(?:^|\n)</think>")


def split(text: str) -> tuple[str | None, str]:
    """Split a complete text into reasoning (None without a block) and answer.

    Only a block at the start counts. A block without an end is reasoning as a whole.
    """
    if _TAG not in text:
        return None, text
    start = text.lstrip()
    if start.startswith(_OPEN):
        reasoning, _, answer = start[len(_OPEN) :].partition(_CLOSE)
        return reasoning.strip("\n"), answer.lstrip()
    if closed := _CLOSED_ONLY.search(text):
        return text[: closed.start()].strip("\n"), text[closed.end() :].lstrip()
    return None, text


class Splitter:
    """Splits a text that arrives in pieces; a tag may be cut anywhere.

    Text that may still turn out to be a tag is kept back until the next piece, or `finish`.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._part = self._read_start
        self.is_done = False  # whether all reasoning has come

    def feed(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the answer that a further piece adds; either may be empty."""
        return self._part(text)

    def finish(self) -> tuple[str, str]:
        """Return what was kept back."""
        rest, self._buffer = self._buffer, ""
        if self._part == self._read_reasoning:
            return rest.rstrip("\n"), ""
        return "", rest

    def _read_start(self, text: str) -> tuple[str, str]:
        text = self._buffer + text
        start = text.lstrip()
        if start.startswith(_OPEN):
            self._buffer, self._part = "", self._skip_newlines
            return self._skip_newlines(start[len(_OPEN) :])
        if _OPEN.startswith(start):
            self._buffer = text
            return "", ""
        self._buffer, self._part, self.is_done = "", self._read_answer, True
        return "", text

    def _skip_newlines(self, text: str) -> tuple[str, str]:
        text = text.lstrip("\n")
        if not text:
            return "", ""
        self._part = self._read_reasoning
        return self._read_reasoning(text)

    def _read_reasoning(self, text: str) -> tuple[str, str]:
        text = self._buffer + text
        reasoning, tag, answer = text.partition(_CLOSE)
        if tag:
            self._buffer, self._part = "", self._skip_to_answer
            return reasoning.rstrip("\n"), self._skip_to_answer(answer)[1]
        end = len(text) - _possible_tag_length(text)
        self._buffer = text[end:]
        return text[:end], ""

    def _skip_to_answer(self, text: str) -> tuple[str, str]:
        text = text.lstrip()
        if text:
            self._part, self.is_done = self._read_answer, True
        return "", text

    def _read_answer(self, text: str) -> tuple[str, str]:
        return "", text


def _possible_tag_length(text: str) -> int:
    """Return how many characters at the end may begin the closing tag, with newlines before it."""
    size = min(len(text), len(_CLOSE) - 1)
    while size and not _CLOSE.startswith(text[-size:]):
        size -= 1
    body = text[: len(text) - size]
    return size + len(body) - len(body.rstrip("\n"))
