"""The parts of one choice of a streamed chat completion, which add up to it."""

from __future__ import annotations

import binascii
import hashlib
from typing import Any

from azinfer.core.chunks import ChunkChoice, Delta, ToolCallChunk
from azinfer.core.citations import SOURCES, add_sources
from azinfer.core.completions import (
    Choice,
    Function,
    Json,
    Message,
    ToolCall,
)
from azinfer.core.decoding import (
    NO_ARGUMENTS,
    arguments_of,
    full_arguments,
    invalid_response,
    list_field,
    text_of,
)
from azinfer.core.json_fields import as_index, as_object, as_text
from azinfer.core.reasoning import Splitter


class ToolCallAccumulator:
    """Adds up the parts of one tool call."""

    def __init__(self, index: int, call_id: str, name: str) -> None:
        self.index, self.id, self.name = index, call_id, name
        self.arguments: list[str] = []
        self._kept_back: str | None = ""

    def add(self, arguments: str) -> str:
        """Add to the arguments and return what a chunk shows of them.

        The beginning is kept back while it may become null or an empty list, which stand for no
        arguments and are never shown.
        """
        self.arguments.append(arguments)
        if self._kept_back is None:
            return arguments
        start = self._kept_back + arguments
        if any(text.startswith("".join(start.split())) for text in NO_ARGUMENTS):
            self._kept_back = start
            return ""
        self._kept_back = None
        return start

    def flush(self) -> str:
        """Return the text that was kept back, unless it stands for no arguments."""
        text, self._kept_back = self._kept_back or "", None
        return text if full_arguments(text) == text else ""


class ChoiceAccumulator:
    """Adds up the parts of one choice."""

    def __init__(self, index: int, seed: str) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self._seed = seed
        self._splitter = Splitter()
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._refusals: list[str] = []
        self._sound: list[bytes] = []
        self._spoken: list[str] = []
        self._audio: Json = {}
        self._sources: Json = {}
        self._calls: list[ToolCallAccumulator] = []
        self._by_index: dict[int, ToolCallAccumulator] = {}
        self._by_id: dict[str, ToolCallAccumulator] = {}
        self._taken: set[int] = set()
        self._free = 0  # no lower index is free
        self._logprobs: list[Json] = []
        self._filter_results: Json = {}

    def add_text(self, raw: Json) -> ChunkChoice | None:
        """Add a choice with text and nothing else, as most are; return None for any other."""
        field = raw.get
        delta = field("delta")
        if delta.__class__ is not dict or not self._splitter.is_done:
            return None
        text = delta.get("content")
        if text.__class__ is not str or len(delta) > 1 + ("role" in delta) or "message" in raw:
            return None
        if field("finish_reason") or field("logprobs") or field("content_filter_results"):
            return None
        self._texts.append(text)
        return ChunkChoice(self.index, Delta(text or None))

    def add(self, raw: Json) -> ChunkChoice:
        """Add one choice of a chunk, and return what it adds."""
        delta = self._delta(raw)
        thought, text = self._text(delta)
        if reason := raw.get("finish_reason"):
            if not isinstance(reason, str):
                raise invalid_response("a finish reason that is not text", reason)
            more, rest = self._splitter.finish()
            thought, text = thought + more, text + rest
            self.finish_reason = reason
        parts = map(self._call, list_field(delta, "tool_calls"))
        calls = tuple(part for part in parts if part is not None)
        refusal = as_text(delta.get("refusal")) or None
        self._add_text_parts(text, thought, refusal)
        if audio := as_object(delta.get("audio")):
            self._add_audio(audio)
        if not SOURCES.isdisjoint(delta):
            add_sources(self._sources, delta)
        logprobs = as_object(raw.get("logprobs")) or None
        results = as_object(raw.get("content_filter_results"))
        if logprobs:
            self._logprobs.append(logprobs)
        if results:
            self._filter_results = {**self._filter_results, **results}
        return ChunkChoice(
            self.index,
            Delta(text or None, thought or None, calls, refusal, audio or None),
            raw.get("finish_reason") or None,
            logprobs,
            results,
        )

    def _delta(self, raw: Json) -> Json:
        """Return what a choice adds; some services send a message too, or instead.

        A message beside deltas repeats the whole text so far, of which only the new part counts.
        """
        delta, message = as_object(raw.get("delta")), as_object(raw.get("message"))
        if not message:
            return delta
        added, whole = as_text(delta.get("content")), as_text(message.get("content"))
        before = "".join(self._texts) + added
        more = dict(delta)
        if whole.startswith(before):
            more["content"] = added + whole[len(before) :]
        elif "delta" not in raw:
            more["content"] = whole
        if not self._calls and not delta.get("tool_calls"):
            more["tool_calls"] = message.get("tool_calls")
        if not self._refusals and not delta.get("refusal"):
            more["refusal"] = message.get("refusal")
        if not self._sources:
            more = {**{name: message.get(name) for name in SOURCES}, **more}
        return more

    def flush(self) -> Delta | None:
        """Return the text that was kept back as a possible tag, or as possibly no arguments."""
        thought, text = self._splitter.finish()
        self._add_text_parts(text, thought, None)
        calls = tuple(
            ToolCallChunk(call.index, None, None, rest)
            for call in self._calls
            if (rest := call.flush())
        )
        is_new = text or thought or calls
        return Delta(text or None, thought or None, calls) if is_new else None

    def choice(self) -> Choice:
        """Return the choice as far as it has come."""
        calls = sorted(self._calls, key=lambda call: call.index)
        reason = self.finish_reason
        message = Message(
            "".join(self._texts) if self._texts or not calls else None,
            reasoning="".join(self._thoughts) if self._thoughts else None,
            tool_calls=tuple(
                ToolCall(call.id, Function(call.name, full_arguments("".join(call.arguments))))
                for call in calls
            ),
            refusal="".join(self._refusals) if self._refusals else None,
            audio=self._joined_audio(),
            raw=self._sources,
        )
        if calls and reason == "stop":
            reason = "tool_calls"
        logprobs = _join_logprobs(self._logprobs) if self._logprobs else None
        return Choice(self.index, message, reason, logprobs, self._filter_results)

    def _text(self, delta: Json) -> tuple[str, str]:
        content = delta.get("content")
        if content.__class__ is not str:
            thought, content = text_of(content)
        else:
            thought = None
        thoughts = delta.get("reasoning_content") or delta.get("reasoning") or thought or ""
        if not isinstance(thoughts, str):
            raise invalid_response("reasoning that is not text", thoughts)
        if not content:
            return thoughts, ""
        more, text = self._splitter.feed(content)
        return thoughts + more, text

    def _add_text_parts(self, text: str, thought: str, refusal: Any) -> None:
        if text:
            self._texts.append(text)
        if thought:
            self._thoughts.append(thought)
        if isinstance(refusal, str):
            self._refusals.append(refusal)

    def _add_audio(self, audio: Json) -> None:
        self._audio |= audio
        self._spoken.append(str(audio.get("transcript") or ""))
        try:
            self._sound.append(binascii.a2b_base64(audio.get("data") or "", strict_mode=True))
        except (TypeError, ValueError):
            raise invalid_response("audio that is not base64", audio) from None

    def _joined_audio(self) -> Json | None:
        """Return the audio of all chunks as one; each chunk is encoded by itself."""
        if not self._audio:
            return None
        data = binascii.b2a_base64(b"".join(self._sound), newline=False).decode()
        return {**self._audio, "data": data, "transcript": "".join(self._spoken)}

    def _call(self, raw: Any) -> ToolCallChunk | None:
        """Return what a part of a tool call adds; None if it adds nothing."""
        function = raw.get("function") if isinstance(raw, dict) else None
        if function is None and isinstance(raw, dict) and self._calls and not raw.get("id"):
            return None
        if not isinstance(function, dict):
            raise invalid_response("a tool call without a function", raw)
        name, arguments = function.get("name"), arguments_of(function.get("arguments"))
        call_id = as_text(raw.get("id")) or None
        call, is_new = self._call_of(as_index(raw.get("index")), call_id, name)
        new_name = name if isinstance(name, str) and name and name != call.name else None
        call.name = new_name or call.name
        shown = call.add(arguments)
        return ToolCallChunk(call.index, call.id if is_new else None, new_name, shown)

    def _call_of(
        self, index: int | None, call_id: str | None, name: Any
    ) -> tuple[ToolCallAccumulator, bool]:
        """Return the call to which a part belongs, and whether the part begins it."""
        if index is not None:
            call = self._by_index.get(index)
            # Some services give every parallel call the index 0.
            another = bool(call_id and name) and call is not None and call.id != call_id
            if call is not None and not another:
                return call, False
        else:
            if call_id and (call := self._by_id.get(call_id)):
                return call, False
            if self._calls and not call_id and not name:
                return self._calls[-1], False
        place = self._free_place() if index is None or index in self._taken else index
        digest = hashlib.blake2b(f"{self._seed}{self.index}/{place}".encode(), digest_size=12)
        call = ToolCallAccumulator(place, call_id or f"call_{digest.hexdigest()}", "")
        self._calls.append(call)
        self._taken.add(place)
        self._by_id.setdefault(call.id, call)
        self._by_index[place if index is None else index] = call
        return call, True

    def _free_place(self) -> int:
        """Return the lowest index that no call has."""
        while self._free in self._taken:
            self._free += 1
        return self._free


def _join_logprobs(parts: list[Json]) -> Json:
    """Return the log probabilities of all chunks, one after the other.

    They are joined once and not with each chunk, which would copy all earlier ones each time.
    """
    joined: Json = {}
    for key, value in ((key, value) for part in parts for key, value in part.items()):
        known = joined.get(key)
        if isinstance(known, list) and isinstance(value, list):
            known += value
        else:
            joined[key] = list(value) if isinstance(value, list) else value
    return joined
