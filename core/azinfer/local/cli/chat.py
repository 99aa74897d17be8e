"""`azinfer chat`: one answer, or a conversation when no text is given."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from azinfer.core import (
    ChatCompletion,
    ConfigurationError,
    DeploymentNotFoundError,
    InferenceClient,
    InferenceError,
)
from azinfer.local.cli.clients import deployment_for
from azinfer.local.cli.doctor import deployments_of
from azinfer.local.cli.error_messages import describe
from azinfer.local.cli.file_writing import write_file
from azinfer.local.cli.interrupts import end_only_the_block
from azinfer.local.cli.output import write, write_json
from azinfer.local.cli.terminal_keys import keep_typed_keys

HELP = """\
/model NAME    talk to another deployment
/system TEXT   set the system message; without a text, remove it
/save FILE     write the conversation to a new file, as JSON
/new           start a new conversation
/help          show this
/quit          leave (also Ctrl-D)

Ctrl-C stops an answer."""


def chat(
    client: InferenceClient,
    text: str | None,
    *,
    system: str | None,
    options: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Answer one text, or read texts until the user leaves.

    Args:
        client: Its `model` is the deployment to call; if it has none, one is chosen here.
        text: The text to send; None or "-" to read it from the standard input.
        system: The system message.
        options: Parameters of chat completions, such as `temperature`.
        as_json: Whether to print the whole answer as JSON.

    Raises:
        InferenceError: An answer failed.
    """
    model = client.model or deployment_for(client, deployments_of(client, None), embeddings=False)
    conversation = Conversation(client, model, system, options)
    if text is None and sys.stdin.isatty() and not as_json:
        _converse(conversation)
        return
    text = sys.stdin.read().strip() if text in (None, "-") else text
    if not text:
        raise ConfigurationError("there is no text to send: pass TEXT, or send it through a pipe")
    if as_json:
        write_json(_result(conversation.complete(text)))
        return
    for piece in with_known_names(client, lambda: conversation.stream(text)):
        print(piece, end="", flush=True)  # noqa: T201
    write()


class Conversation:
    """The messages between a user and a deployment.

    Args:
        client: Sends them.
        model: The deployment to send them to.
        system: The system message.
        options: Parameters of chat completions.

    Attributes:
        model: The deployment for the next message, which may be changed.
        system: The system message, which may be changed.
        messages: The messages so far, without the system message.
        completion: The last answer.
        seconds: How long it took.
    """

    def __init__(
        self,
        client: InferenceClient,
        model: str,
        system: str | None,
        options: Mapping[str, Any],
    ) -> None:
        self.client = client
        self.model = model
        self.system = system
        self.messages: list[dict[str, Any]] = []
        self.completion: ChatCompletion | None = None
        self.seconds = 0.0
        self._options = options
        self._saved: set[Path] = set()

    def complete(self, text: str) -> ChatCompletion:
        """Return the answer to a text."""
        completion: ChatCompletion = with_known_names(
            self.client,
            lambda: self.client.complete(self._with(text), model=self.model, **self._options),
        )
        self._keep(text, completion)
        return completion

    def stream(self, text: str) -> Iterator[str]:
        """Yield the answer to a text in pieces; it is added to the messages when it is complete."""
        start = time.perf_counter()
        with self.client.stream(self._with(text), model=self.model, **self._options) as chunks:
            for chunk in chunks:
                if chunk.text:
                    yield chunk.text
            self.seconds = time.perf_counter() - start
            self._keep(text, chunks.completion)

    def summary(self) -> str:
        """Return where the last answer came from and what it used, in one line."""
        if self.completion is None:
            return ""
        routing, usage = self.completion.routing, self.completion.usage
        parts = [f"{routing.surface} → {routing.deployment}"] if routing else []
        if usage:
            parts.append(f"{usage.prompt_tokens} + {usage.completion_tokens} tokens")
        if self.completion.finish_reason not in (None, "stop"):
            parts.append(f"ended by {self.completion.finish_reason}")
        return ", ".join([*parts, f"{self.seconds:.1f} s"])

    def save(self, path: Path) -> None:
        """Write the conversation to a file as JSON.

        Raises:
            ConfigurationError: The file cannot be written, or has something else.
        """
        place = path.resolve()
        if path.is_file() and place not in self._saved:
            raise ConfigurationError(f"{path} exists: choose another name, or delete it first")
        value = {"model": self.model, "messages": self._with(None)}
        try:
            write_file(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
        self._saved.add(place)

    def _with(self, text: str | None) -> list[dict[str, Any]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        new = [] if text is None else [{"role": "user", "content": text}]
        return [*system, *self.messages, *new]

    def _keep(self, text: str, completion: ChatCompletion) -> None:
        self.completion = completion
        self.messages.append({"role": "user", "content": text})
        self.messages.append({"role": "assistant", "content": completion.text})


def with_known_names(client: InferenceClient, call: Callable[[], Any]) -> Any:
    """Call again after listing the deployments if the name is unknown.

    The error then suggests the nearest names, if they can be listed.
    """
    try:
        result = call()
        return _start(result) if isinstance(result, Iterator) else result
    except DeploymentNotFoundError:
        with suppress(InferenceError):
            deployments_of(client, None)
        return call()


def _start(pieces: Iterator[str]) -> Iterator[str]:
    """Read the first piece now, so that an error in the request is raised here."""
    first = next(pieces, "")

    def all_pieces() -> Iterator[str]:
        yield first
        yield from pieces

    return all_pieces()


def _result(completion: ChatCompletion) -> dict[str, Any]:
    routing = completion.routing
    return {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "model": completion.model,
        "deployment": routing and routing.deployment,
        "surface": routing and routing.surface,
        "url": routing and routing.url,
        "usage": completion.usage,
    }


def _converse(conversation: Conversation) -> None:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession(history=InMemoryHistory())

    def read_line() -> str:
        try:
            return session.prompt("> ").strip()
        except KeyboardInterrupt:
            if session.default_buffer.text:  # Ctrl-C only clears the line
                return ""
            raise

    write(f"Talking to {conversation.model}. /help shows the commands; Ctrl-D leaves.")
    with keep_typed_keys(), end_only_the_block():
        _answer_lines(conversation, read_line)


def _answer_lines(conversation: Conversation, read_line: Callable[[], str]) -> None:
    may_leave = False
    while True:
        try:
            line = read_line()
        except EOFError:
            return
        except KeyboardInterrupt:
            if may_leave:
                raise
            may_leave = True
            write("Press Ctrl-C again, or Ctrl-D, to leave.")
            continue
        may_leave = False
        if line in ("/quit", "/exit"):
            return
        _answer_line(conversation, line)


def _answer_line(conversation: Conversation, line: str) -> None:
    """Answer a text or run a command; print an error, and go on after Ctrl-C."""
    try:
        if line.startswith("/"):
            write(run_command(conversation, line))
        elif line:
            _answer(conversation, line)
    except InferenceError as error:
        write(f"azinfer: {describe(error)}")
    except KeyboardInterrupt:
        write("\n  (stopped; the conversation goes on without this message)")


def run_command(conversation: Conversation, line: str) -> str:
    """Run one command of a conversation, such as `/model NAME`.

    Returns:
        What to print.

    Raises:
        ConfigurationError: The command is unknown or lacks its value.
    """
    command, _, value = line.partition(" ")
    value = value.strip()
    if command == "/system":
        conversation.system = value or None
        return "system message set" if value else "system message removed"
    if command == "/new":
        conversation.messages.clear()
        return "new conversation"
    if command == "/help":
        return HELP
    if command not in ("/model", "/save"):
        raise ConfigurationError(f"unknown command {command}; /help lists the commands")
    if not value:
        raise ConfigurationError(f"{command} needs a value; /help lists the commands")
    if command == "/save":
        path = Path(value).expanduser()
        conversation.save(path)
        return f"saved to {path}"
    conversation.model = value
    return f"talking to {value}"


def _answer(conversation: Conversation, text: str) -> None:
    for piece in with_known_names(conversation.client, lambda: conversation.stream(text)):
        print(piece, end="", flush=True)  # noqa: T201
    write(f"\n  ({conversation.summary()})")
