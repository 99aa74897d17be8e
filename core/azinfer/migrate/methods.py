"""Calls of the old clients' methods, and the parts of their answers."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.context import (
    Args,
    Context,
    expand,
    keyword_arg,
    keyword_of,
    rename_arg,
    text,
    with_args,
)
from azinfer.migrate.dumps import report_reference
from azinfer.migrate.kind_tables import SETTINGS, Kind, text_key

_CREATE = ("chat", "completions", "create")
_PARSE = (("chat", "completions", "parse"), ("beta", "chat", "completions", "parse"))
# The paths of methods that become one method, and the number of their attributes.
_RENAMED: dict[tuple[str, ...], str] = {
    ("openai-client", *_CREATE): "complete",
    **{("openai-client", *path): "complete" for path in _PARSE},
    ("openai-client", "embeddings", "create"): "embed",
    ("openai-client", "responses", "create"): "complete",
    ("chat-client", "complete"): "complete",
    ("embed-client", "embed"): "embed",
    ("image-client", "embed"): "embed_images",
    **{(f"{kind}-client", "get_model_info"): "info" for kind in ("chat", "embed", "image")},
}
_SAME = ("with_options", "close", "__enter__", "__exit__", "__aenter__", "__aexit__", "copy")
_ARGUMENTS = {"extra_headers": "headers"}
_EXPANDED = ("model_extras", "extra_body")
_REFUSED = ("body", "raw_response_hook", "cls", "extra_query")
_OTHERS = ("object", "function", "foreign", "mixed")
_CLIENTS = ("chat-client", "embed-client", "image-client", "openai-client")
# Attributes of answers that have another place now: kind and path, and the new path.
_MOVED: dict[tuple[str, ...], str] = {
    ("usage", "prompt_tokens_details", "cached_tokens"): "cached_tokens",
    ("usage", "completion_tokens_details", "reasoning_tokens"): "reasoning_tokens",
    ("call-chunk", "function", "name"): "name",
    ("call-chunk", "function", "arguments"): "arguments",
    ("error", "error", "code"): "code",
    ("error", "error", "message"): "message",
    ("info", "model_provider_name"): "provider",
    ("response", "output_text"): "text",
}
# Objects inside the usage, whose counts are in the usage itself now.
_DETAILS = (("prompt_tokens_details",), ("completion_tokens_details",))
_UNKNOWN = {
    "chat": ("system_fingerprint", "_request_id"),
    "response": ("output", "status", "error", "incomplete_details", "id"),
    "message": ("function_call", "annotations"),
    "error": ("body", "reason", "model"),
}


def call_method(
    context: Context, original: cst.Call, updated: cst.Call
) -> cst.BaseExpression | None:
    """Return the call of the new method; None if the call is something else."""
    kind = context.kinds.of(original.func)
    if kind is None:
        _report_unknown(context, original)
        return None
    if not kind.path:
        return None
    if kind.name == "mixed":
        name = ".".join(kind.path)
        context.report(original, f"{name}() stays: its client may be one that was left as it is")
        return None
    if kind.name in _CLIENTS:
        return _client_call(context, kind, (original, updated))
    return None


def _report_unknown(context: Context, call: cst.Call) -> None:
    """Report `client.chat.completions.create(…)` of a client that another file creates."""
    code = context.program.code(call.func)
    for kind, *path in _RENAMED:
        method = ".".join(path)
        if kind == "openai-client" and code.endswith(f".{method}"):
            if context.kinds.is_unknown_client(call.func):
                new = _RENAMED[(kind, *path)]
                text = f"{method}() stays: if its client is azinfer's now, call {new}()"
                context.report(call, text)
            return


def _client_call(
    context: Context, kind: Kind, pair: tuple[cst.Call, cst.Call]
) -> cst.BaseExpression | None:
    original, updated = pair
    name = _RENAMED.get((kind.name, *kind.path))
    if name is None:
        if kind.path == ("close",) and kind.is_async:
            return updated.with_changes(func=_method(updated.func, 1, "aclose"))
        if kind.path[-1] not in _SAME and not context.kinds.has_method(kind, kind.path[0]):
            context.report(original, f"{'.'.join(kind.path)}() has no equal in azinfer")
        return None
    if kind.path == ("responses", "create"):
        return _response_call(context, pair)
    streamed = is_streamed(context, original)
    if streamed is None:
        return None
    if streamed:
        name = "stream"
    args = _arguments(context, kind, pair, name)
    return with_args(updated.with_changes(func=_method(updated.func, len(kind.path), name)), args)


def is_streamed(context: Context, call: cst.Call) -> bool | None:
    """Return whether a call asks for a stream; report it and return None if that depends."""
    streamed = context.kinds.is_streamed(call)
    if streamed is None:
        context.report(call, "stream= depends on a value: call client.stream(…) or complete(…)")
    return streamed


def _arguments(context: Context, kind: Kind, pair: tuple[cst.Call, cst.Call], name: str) -> Args:
    original, updated = pair
    args: Args = []
    for old, arg in zip(original.args, updated.args, strict=True):
        if keyword_of(arg) == "encoding_format" and "base64" in context.program.code(old).lower():
            context.report(old, "vectors in base64 arrive decoded, as numbers")
        if not keyword_of(arg) and isinstance(context.kinds.assigned_value(old.value), cst.Dict):
            args.append(cst.Arg(arg.value, star="**"))
        elif not keyword_of(arg) and not arg.star and kind.name == "chat-client":
            context.report(old, "a body that may be bytes or a file: pass messages= and options")
            return list(updated.args)
        elif keyword_of(arg) in _REFUSED:
            context.report(old, f"{keyword_of(arg)}= has no equal in azinfer; it was removed")
        else:
            args += _argument(arg, name)
    present = {keyword_of(arg) for arg in args}
    for default, code in kind.defaults:
        if default not in present:
            new = keyword_arg(default, cst.parse_expression(code))
            args += expand(new) if default in _EXPANDED else [new]
    return args


def _argument(arg: cst.Arg, name: str) -> Args:
    """Return the new form of one argument of a method."""
    keyword = keyword_of(arg)
    if keyword == "stream" or (keyword == "stream_options" and name == "stream"):
        return []
    if keyword in _EXPANDED:
        return expand(arg)
    if keyword == "input" and name == "embed_images":
        return [rename_arg(arg, "images")]
    return [rename_arg(arg, _ARGUMENTS[keyword]) if keyword in _ARGUMENTS else arg]


def _response_call(context: Context, pair: tuple[cst.Call, cst.Call]) -> cst.Call | None:
    """Return a call of the Responses API as a conversation that is sent in that form."""
    original, updated = pair
    args: Args = []
    by_name = {keyword_of(arg): arg for arg in updated.args}
    unknown = set(by_name) - {
        *("model", "input", "instructions", "max_output_tokens", "temperature", "top_p", "timeout"),
        *("stream", "user", "metadata"),
    }
    for name in sorted(unknown):
        context.report(original, f"responses.create({name}=…) has no equal in complete()")
    source = by_name.get("input")
    if unknown or source is None or context.kinds.is_streamed(original) is not False:
        if not unknown:
            context.report(original, "responses.create() with a stream or without input=")
        return None
    messages = _messages(context, original, source.value, by_name.get("instructions"))
    if messages is None:
        return None
    args.append(keyword_arg("messages", messages))
    for name, arg in by_name.items():
        if name == "max_output_tokens":
            args.append(rename_arg(arg, "max_tokens"))
        elif name not in ("input", "instructions", "stream"):
            args.append(arg)
    args.append(keyword_arg("wire", text("responses")))
    return with_args(updated.with_changes(func=_method(updated.func, 2, "complete")), args)


def _messages(
    context: Context, call: cst.Call, value: cst.BaseExpression, instructions: cst.Arg | None
) -> cst.BaseExpression | None:
    known = context.kinds.assigned_value(value)
    before = ""
    if instructions is not None:
        code = context.program.module.code_for_node(instructions.value)
        before = f'{{"role": "system", "content": {code}}}'
    code = context.program.module.code_for_node(value)
    if isinstance(value, cst.List):
        return cst.parse_expression(f"[{before}, *{code}]") if before else value
    if isinstance(known, cst.List):
        return cst.parse_expression(f"[{before}{', ' if before else ''}*{code}]")
    if not isinstance(known, cst.SimpleString | cst.ConcatenatedString | cst.FormattedString):
        context.report(call, "input= may be a text or a list: pass a list of messages instead")
        return None
    inside = f'{{"role": "user", "content": {code}}}'
    return cst.parse_expression(f"[{before}{', ' if before else ''}{inside}]")


def move_attribute(
    context: Context, original: cst.Attribute, updated: cst.Attribute
) -> cst.BaseExpression:
    """Return an attribute of a client or an answer at its new place."""
    if isinstance(context.program.parent(original), cst.AssignTarget | cst.AnnAssign):
        return updated
    if (short := _of_chunk(context, original, updated)) is not None:
        return short
    kind = context.kinds.of(original)
    if kind is None:
        return updated
    if not kind.path:
        is_vector = kind.name == "vector"
        return _as_list(context, original, updated) if is_vector else updated
    return _move(context, kind, (original, updated))


def _move(
    context: Context, kind: Kind, pair: tuple[cst.Attribute, cst.Attribute]
) -> cst.BaseExpression:
    """Return an attribute that is not a known part of an answer at its new place."""
    original, updated = pair
    parent = context.program.parent(original)
    if kind.path in _DETAILS and kind.name == "usage" and not isinstance(parent, cst.Attribute):
        return updated.value
    if new := _MOVED.get((kind.name, *kind.path)):
        return cst.Attribute(_without(updated, len(kind.path)), cst.Name(new))
    if kind.name == "call-chunk" and kind.path == ("function",):
        return updated.value
    if kind.name == "message" and kind.path == ("parsed",):
        return _move_parsed(context, original, updated)
    if kind.path[0] in _UNKNOWN.get(kind.name, ()) and len(kind.path) == 1:
        context.report(original, f".{kind.path[0]} of an answer has no equal; see answer.raw")
        return updated
    if kind.path[0] in SETTINGS.get(kind.name, ()) and len(kind.path) == 1:
        text = f".{kind.path[0]} is not the same in azinfer: .model is the deployment's name"
        context.report(original, text)
    report_reference(context, original, kind)
    return _resource(context, kind, (original, updated))


# Fields of a chunk's first choice, which is missing in chunks with usage or filter results.
_FIRST = {
    ("delta", "content"): "text",
    ("delta", "tool_calls"): "tool_calls",
    ("finish_reason",): "finish_reason",
}


def _of_chunk(
    context: Context, original: cst.Attribute, updated: cst.Attribute
) -> cst.BaseExpression | None:
    """Return `chunk.text` for `chunk.choices[0].delta.content`, which need not have a choice."""
    node: cst.BaseExpression = original
    new: cst.BaseExpression = updated
    path: list[str] = []
    while isinstance(node, cst.Attribute) and isinstance(new, cst.Attribute):
        path.insert(0, node.attr.value)
        node, new = node.value, new.value
    name = _FIRST.get(tuple(path))
    if name is None or not isinstance(node, cst.Subscript) or not isinstance(new, cst.Subscript):
        return None
    kind = context.kinds.of(node.value)
    if kind is None or kind.name != "chunk-choices" or kind.path:
        return None
    if context.program.code(node.slice[0]).strip() != "0" or not isinstance(
        new.value, cst.Attribute
    ):
        return None
    return cst.Attribute(new.value.value, cst.Name(name))


def _resource(
    context: Context, kind: Kind, pair: tuple[cst.Attribute, cst.Attribute]
) -> cst.BaseExpression:
    """Return the client for `client.chat.completions` that is kept under a name of its own."""
    original, updated = pair
    parent = context.program.parent(original)
    inside = isinstance(parent, cst.Attribute) or _is_called(context, original)
    if kind.name != "openai-client" or inside:
        return updated
    if kind.path in (("chat", "completions"), ("embeddings",), ("chat",), ("beta", "chat")):
        return _without(updated, len(kind.path))
    name = _RENAMED.get((kind.name, *kind.path))
    if name is not None and "responses" not in kind.path:
        return _method(updated, len(kind.path), name)
    return updated


def _as_list(
    context: Context, original: cst.Attribute, updated: cst.Attribute
) -> cst.BaseExpression:
    """Return a vector as a list, as it was: azinfer's are arrays, with a tenth of the memory."""
    parent = context.program.parent(original)
    above = context.program.parent(parent) if parent is not None else None
    if isinstance(parent, cst.Arg) and isinstance(above, cst.Call):
        function = context.program.code(above.func)
        if function in (
            "len",
            "sum",
            "max",
            "min",
            "list",
            "np.array",
            "np.asarray",
            "tuple",
            "zip",
        ):
            return updated
    if isinstance(parent, cst.Attribute):
        return updated
    return cst.Call(cst.Name("list"), [cst.Arg(updated)])


def _move_parsed(
    context: Context, original: cst.Attribute, updated: cst.Attribute
) -> cst.BaseExpression:
    """Return `answer.parsed` for `answer.choices[0].message.parsed`."""
    message = context.kinds.assigned_value(original.value)
    choice: cst.CSTNode | None = message.value if isinstance(message, cst.Attribute) else None
    if choice is not None:
        choice = context.kinds.assigned_value(choice)
    if isinstance(choice, cst.Subscript) and isinstance(choice.value, cst.Attribute):
        return cst.Attribute(choice.value.value, cst.Name("parsed"))
    context.report(original, ".parsed is an attribute of the whole answer now: answer.parsed")
    return updated


def comparison(
    context: Context, original: cst.Comparison, updated: cst.Comparison
) -> cst.BaseExpression:
    """Return `calls` for `calls is not None`: without tool calls, azinfer has an empty tuple."""
    left = original.left
    if not isinstance(left, cst.Attribute) or left.attr.value != "tool_calls":
        return updated
    kind = context.kinds.of(left)
    if kind is None or kind.name not in ("calls", "call-chunks") or len(updated.comparisons) != 1:
        return updated
    [target] = updated.comparisons
    if context.program.code(target.comparator) != "None":
        return updated
    if isinstance(target.operator, cst.IsNot | cst.NotEqual):
        return updated.left
    if isinstance(target.operator, cst.Is | cst.Equal):
        return cst.UnaryOperation(cst.Not(), updated.left)
    return updated


def subscript(
    context: Context, original: cst.Subscript, updated: cst.Subscript
) -> cst.BaseExpression:
    """Return `answer.choices` for `answer["choices"]`, which only litellm's answers have."""
    base = context.kinds.of(original.value)
    key = text_key(original)
    if base is None or key is None or base.name in _OTHERS:
        return updated
    if base.path or base.name in _CLIENTS or not key.isidentifier():
        return updated
    attribute = cst.Attribute(updated.value, cst.Name(key))
    if base.name == "item" and key == "embedding":
        return cst.Call(cst.Name("list"), [cst.Arg(attribute)])
    return attribute


def _is_called(context: Context, node: cst.CSTNode) -> bool:
    parent = context.program.parent(node)
    return isinstance(parent, cst.Call) and parent.func is node


def _without(node: cst.BaseExpression, count: int) -> cst.BaseExpression:
    """Return an expression without its last attributes."""
    while count and isinstance(node, cst.Attribute):
        node, count = node.value, count - 1
    return node


def _method(func: cst.BaseExpression, attributes: int, name: str) -> cst.BaseExpression:
    """Return `client.name` for `client.a.b`; a plain name of a method stays as it is."""
    if not isinstance(func, cst.Attribute):
        return func
    base = func
    whole = attributes
    while attributes > 1 and isinstance(base.value, cst.Attribute) and whole:
        base = cst.ensure_type(base.value, cst.Attribute)
        attributes -= 1
        if not _is_path(base.attr.value):
            return cst.Attribute(base, cst.Name(name))
    return cst.Attribute(base.value, cst.Name(name))


def _is_path(name: str) -> bool:
    return name in ("chat", "completions", "beta", "embeddings", "responses", "create", "parse")
