"""Items of the Responses API: the parts of its conversations, read and turned into messages.

Source: "Create a model response" of the Azure OpenAI REST API, `input`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from azinfer.local.api.responses.tools import SERVICE_ITEMS
from azinfer.local.resource.sealing import Seal
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import ErrorResponse, bad_request

FindItem = Callable[[str], Json | None]
_ONE_REASONING = re.compile(r"(?i)(?:.*/)?gpt-6-astra")
_PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
_FILE_SOURCES = ("file_data", "file_url", "file_id")
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = tuple(f"{kind}_output" for kind in _CALLS)
_ROLES = ("system", "developer", "user", "assistant")


class InputItems:
    """Reads the input of one request.

    Args:
        surface: The surface of the request, for errors.
        find_item: Returns the stored item with an id, for references.
        seal: Opens encrypted reasoning.
    """

    def __init__(self, surface: str, find_item: FindItem, seal: Seal) -> None:
        self._surface = surface
        self._find_item = find_item
        self._seal = seal

    def read(self, value: Any) -> list[Json]:
        """Return the items of an input, with references resolved.

        Raises:
            ErrorResponse: An item is not valid; the error names it.
        """
        if isinstance(value, str):
            part = {"type": "input_text", "text": value}
            return [{"type": "message", "role": "user", "content": [part]}]
        if not isinstance(value, list):
            raise self._wrong("input", "'input' must be a text or a list of items.")
        return [self._item(each, f"input[{at}]") for at, each in enumerate(value)]

    def messages(self, items: Sequence[Json]) -> list[Json]:
        """Return items as messages of a chat.

        Raises:
            ErrorResponse: A call has no output, or an output has no call.
        """
        self._check_calls(items)
        messages: list[Json] = []
        for item in items:
            if item["type"] in _CALLS:
                function = {"name": item["name"], "arguments": _arguments(item)}
                call = {"id": item["call_id"], "type": "function", "function": function}
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                messages[-1].setdefault("tool_calls", []).append(call)
            elif item["type"] in _OUTPUTS:
                output = _text(item["output"])
                message = {"role": "tool", "tool_call_id": item["call_id"], "content": output}
                messages.append(message)
            elif item["type"] == "message":
                messages.append({"role": item["role"], "content": _content(item)})
        return messages

    def check_reasoning(self, items: Sequence[Json], model: str) -> None:
        """Raise if a model refuses reasoning of more than one answer, as gpt-6-astra does.

        Raises:
            ErrorResponse: The model refuses it.
        """
        if not _ONE_REASONING.match(model):
            return
        texts = [self._seal.open(item.get("encrypted_content")) for item in items]
        if len({json.loads(text)[0] for text in texts if text is not None}) > 1:
            raise self._wrong("input", "Conflicting authenticated continuation identities.")

    def _item(self, item: Any, where: str) -> Json:
        if not isinstance(item, Mapping):
            raise self._wrong(where, f"Invalid type for '{where}': expected an object.")
        kind = item.get("type") or ("message" if "role" in item else None)
        checks = {"message": self._message, "function_call": self._call}
        checks |= {"function_call_output": self._output, "reasoning": self._reasoning}
        checks |= {"custom_tool_call": self._call, "custom_tool_call_output": self._output}
        checks |= dict.fromkeys(SERVICE_ITEMS, self._service_item)
        if kind == "item_reference":
            return self._resolve(item.get("id"), where)
        if isinstance(kind, str) and kind in checks:
            checks[kind](item, where)
        else:
            raise self._wrong(f"{where}.type", f"Items of type {kind!r} are not supported here.")
        self._check_id(item, str(kind), where)
        return {**item, "type": kind}

    def _check_id(self, item: Mapping[str, Any], kind: str, where: str) -> None:
        """Raise unless an id has the prefix of its kind; the rest of it may be invented."""
        item_id, prefix = item.get("id"), _PREFIXES.get(kind)
        if kind == "message" and item.get("role") != "assistant":
            return
        if isinstance(item_id, str) and prefix and not item_id.startswith(prefix):
            message = (
                f"Invalid '{where}.id': '{item_id}'. Expected an ID that begins with '{prefix}'."
            )
            raise self._wrong(f"{where}.id", message)

    def _reasoning(self, item: Mapping[str, Any], where: str) -> None:
        """Check encrypted reasoning, which must be of this resource; an id alone is a reference."""
        sealed, item_id = item.get("encrypted_content"), item.get("id")
        if sealed is not None and self._seal.open(sealed) is None:
            message = (
                f"The encrypted content {str(sealed)[:4]}...{str(sealed)[-4:]} could not be "
                "verified. Reason: Encrypted content could not be decrypted or parsed."
            )
            raise self._wrong(where, message, "invalid_encrypted_content")
        if sealed is None and item_id is not None and self._find_item(str(item_id)) is None:
            raise self._wrong(
                "input",
                f"Item with id '{item_id}' not found. Items are not persisted when `store` is set "
                "to false. Try again with `store` set to true, or remove this item from your "
                "input.",
            )

    def _resolve(self, item_id: Any, where: str) -> Json:
        target = self._find_item(item_id) if isinstance(item_id, str) else None
        if target is None:
            raise self._wrong(f"{where}.id", f"Item with id '{item_id}' not found.")
        return target

    def _message(self, item: Mapping[str, Any], where: str) -> None:
        if item.get("role") not in _ROLES:
            message = f"Invalid value: {item.get('role')!r}. Supported: {_ROLES}."
            raise self._wrong(f"{where}.role", message)
        content = item.get("content")
        if not isinstance(content, str | list):
            raise self._wrong(f"{where}.content", "'content' must be a text or a list of parts.")
        if isinstance(content, list):
            self._parts(content, f"{where}.content")

    def _parts(self, parts: Sequence[Any], where: str) -> None:
        fields = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
        fields["input_image"] = "image_url"
        for at, part in enumerate(parts):
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind == "input_file":
                self._file(part, f"{where}[{at}]")
                continue
            if not isinstance(kind, str) or kind not in fields:
                message = f"Parts of type {kind!r} are not supported here."
                raise self._wrong(f"{where}[{at}].type", message)
            if not isinstance(part.get(fields[kind]), str):
                place = f"{where}[{at}].{fields[kind]}"
                raise self._wrong(place, f"Missing required parameter: '{place}'.")

    def _file(self, part: Mapping[str, Any], where: str) -> None:
        """Check that a file has its data, its URL or its id; data must not be a URL."""
        if not any(isinstance(part.get(name), str) for name in _FILE_SOURCES):
            raise self._wrong(f"{where}.file_data", f"Missing one of {', '.join(_FILE_SOURCES)}.")
        if str(part.get("file_url") or "").startswith("data:"):
            raise self._wrong(f"{where}.file_url", "Expected a URL that begins with https://.")

    def _service_item(self, item: Mapping[str, Any], where: str) -> None:
        self._texts(item, where, "id")

    def _call(self, item: Mapping[str, Any], where: str) -> None:
        is_custom = item.get("type") == "custom_tool_call"
        self._texts(item, where, "call_id", "name", "input" if is_custom else "arguments")

    def _output(self, item: Mapping[str, Any], where: str) -> None:
        self._texts(item, where, "call_id")
        if isinstance(item.get("output"), list):
            self._parts(item["output"], f"{where}.output")
        else:
            self._texts(item, where, "output")

    def _texts(self, item: Mapping[str, Any], where: str, *names: str) -> None:
        for name in names:
            if not isinstance(item.get(name), str):
                place = f"{where}.{name}"
                message = f"Missing required parameter: '{place}'."
                raise self._wrong(place, message, "missing_required_parameter")

    def _check_calls(self, items: Sequence[Json]) -> None:
        open_calls: list[str] = []
        for item in items:
            if item["type"] in _CALLS:
                open_calls.append(item["call_id"])
            elif item["type"] in _OUTPUTS:
                if item["call_id"] not in open_calls:
                    message = "No tool call found for function call output with call_id"
                    raise self._wrong("input", f"{message} {item['call_id']}.")
                open_calls.remove(item["call_id"])
        if open_calls:
            message = f"No tool output found for function call {open_calls[0]}."
            raise self._wrong("input", message)

    def _wrong(self, param: str, message: str, code: str = "") -> ErrorResponse:
        return bad_request(self._surface, message, param, code)


def _arguments(item: Json) -> str:
    """The arguments of a call as a chat has them; a free-form tool's are its one text."""
    is_custom = item["type"] == "custom_tool_call"
    return json.dumps({"input": item["input"]}) if is_custom else str(item["arguments"])


def _content(item: Json) -> Any:
    """Return the content of a message: a text, or parts if it has images."""
    content = item["content"]
    if isinstance(content, str):
        return content
    if not any(part["type"] in ("input_image", "input_file") for part in content):
        return _text(content)
    return [_part(part) for part in content]


def _part(part: Json) -> Json:
    if part["type"] == "input_file":
        return {"type": "file", "file": {k: v for k, v in part.items() if k != "type"}}
    if part["type"] != "input_image":
        return {"type": "text", "text": _text([part])}
    image = {"url": part["image_url"], **({"detail": part["detail"]} if "detail" in part else {})}
    return {"type": "image_url", "image_url": image}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or part.get("refusal") or "" for part in content)


def show_item(item: Json) -> Json:
    """Return an input item in the form of lists of items: the content of messages as parts."""
    content = {"content": _whole(item)} if "role" in item else {}
    return {"status": "completed", **item, **content}


def _whole(item: Json) -> list[Json]:
    """Return the content of a message as parts."""
    content = item["content"]
    if not isinstance(content, str):
        return list(content)
    if item["role"] == "assistant":
        return [{"type": "output_text", "text": content, "annotations": []}]
    return [{"type": "input_text", "text": content}]
