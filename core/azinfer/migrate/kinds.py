"""The kind of an expression: a client, an answer, a part of one. Simple assignments count."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import reduce

import libcst as cst

from azinfer.migrate.bindings import Bindings
from azinfer.migrate.program import Program, dotted_name
from azinfer.migrate.rules import CLASSES, NAMES, TEXTS, ClassRule

_ROUNDS = 6
_AZURE = re.compile(r"azure|/openai/v1|localhost|127\.0\.0\.1", re.IGNORECASE)
_PLAIN = ("openai.OpenAI", "openai.AsyncOpenAI")
# The parts of answers that the rewriter knows, by their attributes and by what is inside.
_PARTS: dict[str, dict[str, str]] = {
    "chat": {"choices": "choices", "usage": "usage"},
    "choice": {"message": "message"},
    "chunk": {"choices": "chunk-choices", "usage": "usage"},
    "chunk-choice": {"delta": "delta"},
    "delta": {"tool_calls": "call-chunks"},
    "embeddings": {"data": "items", "usage": "usage"},
    "item": {"embedding": "vector"},
    "response": {"usage": "usage"},
}
_INSIDE = {
    "choices": "choice",
    "chunk-choices": "chunk-choice",
    "items": "item",
    "call-chunks": "call-chunk",
    "stream": "chunk",
}
# The kinds that methods of clients return.
_METHODS: dict[tuple[str, ...], str] = {
    ("chat-client", "complete"): "chat",
    ("chat-client", "get_model_info"): "info",
    ("embed-client", "embed"): "embeddings",
    ("embed-client", "get_model_info"): "info",
    ("image-client", "embed"): "embeddings",
    ("image-client", "get_model_info"): "info",
    ("openai-client", "chat", "completions", "create"): "chat",
    ("openai-client", "chat", "completions", "parse"): "chat",
    ("openai-client", "beta", "chat", "completions", "parse"): "chat",
    ("openai-client", "embeddings", "create"): "embeddings",
    ("openai-client", "responses", "create"): "response",
}
_LITELLM = {
    "litellm.completion": "chat",
    "litellm.acompletion": "chat",
    "litellm.embedding": "embeddings",
    "litellm.aembedding": "embeddings",
}
_ANNOTATIONS = {
    "ChatCompletion": "chat",
    "ChatCompletionChunk": "chunk",
    "Embeddings": "embeddings",
    "Embedding": "item",
    "Choice": "choice",
    "Message": "message",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of an expression.

    Attributes:
        name: A client (`"openai-client"`), a value (`"chat"`), a `"function"` or an `"object"`.
            `"foreign"` is a client that stays, `"mixed"` one of which some objects may stay.
        path: Attributes below it that the rewriter does not know as parts.
        is_async: Whether a client's methods are awaited.
        defaults: Arguments of the client's constructor that go with each call, as code.
        returns: The kind that a function returns.
        owner: The class of an object, by its node.
    """

    name: str
    path: tuple[str, ...] = ()
    is_async: bool = False
    defaults: tuple[tuple[str, str], ...] = ()
    returns: Kind | None = None
    owner: int = 0


Key = tuple[int, str]


class Kinds:
    """The kinds of a program's expressions.

    Args:
        program: The program.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._env: dict[Key, Kind] = {}
        self._bindings = Bindings()
        program.module.visit(self._bindings)
        self._find_kinds()
        mixed = {key: kind for key, kind in self._env.items() if _core(kind).name == "mixed"}
        if mixed:
            # What was derived from them before they were known to be mixed is found again.
            self._env = mixed
            self._find_kinds()

    def _find_kinds(self) -> None:
        for _ in range(_ROUNDS):
            before = dict(self._env)
            self._bind_all()
            if self._env == before:
                break

    def of(self, node: cst.CSTNode) -> Kind | None:
        """Return the kind of an expression; None if unknown."""
        match node:
            case cst.Name():
                return self._kind_of_name(node)
            case cst.Attribute():
                return self._attribute(node)
            case cst.Subscript():
                return self._subscript(node)
            case cst.Call():
                return self._call(node)
            case cst.Await() | cst.NamedExpr():
                return self.of(node.expression if isinstance(node, cst.Await) else node.value)
            case cst.IfExp():
                return _either(self.of(node.body), self.of(node.orelse))
            case cst.BooleanOperation():
                return _either(self.of(node.left), self.of(node.right))
        return None

    def is_for_azure(self, call: cst.Call, origin: str) -> bool:
        """Return whether a constructor creates a client for Azure; OpenAI's may be for others."""
        if origin not in _PLAIN:
            return True
        for arg in call.args:
            if arg.keyword is not None and arg.keyword.value in ("base_url", "azure_endpoint"):
                value = self.assigned_value(arg.value)
                return bool(_AZURE.search(self._program.code(value) + self._program.code(arg)))
        return False

    def is_streamed(self, call: cst.Call) -> bool | None:
        """Return whether a call asks for a stream; None if that depends on a value."""
        for arg in call.args:
            if arg.keyword is not None and arg.keyword.value == "stream":
                literal = dotted_name(arg.value)
                return {"True": True, "False": False, "None": False}.get(literal)
        return False

    def assigned_value(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the value of a name that is assigned once; else the node itself."""
        if not isinstance(node, cst.Name):
            return node
        keys = self._keys(node)
        values = [
            value
            for target, value in self._bindings.assigned
            if isinstance(target, cst.Name) and self._own_key(target) in keys
        ]
        return values[0] if len(values) == 1 else node

    def _bind_all(self) -> None:
        for target, value in self._bindings.assigned:
            self._bind(target, self.of(value))
        for target, value in self._bindings.iterated:
            kind = self.of(value)
            if kind is not None and not kind.path:
                self._bind(target, _part(kind, _INSIDE.get(kind.name)))
        for target, annotation in self._bindings.annotated:
            key = self._own_key(target)
            kind = self._kind_of_annotation(annotation)
            if key is not None and kind is not None:
                self._env.setdefault(key, kind)
        for name in self._bindings.caught:
            self._bind(name, Kind("error"))
        for function in self._bindings.functions:
            self._bind_function(function)

    def _bind(self, target: cst.CSTNode, kind: Kind | None) -> None:
        key = self._own_key(target)
        if key is not None and kind is not None:
            self._note(key, kind)

    def _note(self, key: Key, kind: Kind) -> None:
        self._env[key] = _either(self._env.get(key), kind) or kind

    def _bind_function(self, function: cst.FunctionDef) -> None:
        kind: Kind | None = None
        if function.returns is not None:
            kind = self._kind_of_annotation(function.returns.annotation)
        for value, owner in self._bindings.returned:
            if owner is function:
                kind = _either(kind, self.of(value))
        if kind is None:
            return
        returned = Kind("function", returns=kind)
        above = self._program.function_of(function)
        if isinstance(above, cst.ClassDef):
            self._note((id(above), function.name.value), returned)
        else:
            self._bind(function.name, returned)

    def _kind_of_annotation(self, node: cst.CSTNode) -> Kind | None:
        if isinstance(node, cst.Annotation):
            node = node.annotation
        if isinstance(node, cst.Subscript):
            inner = [each.slice for each in node.slice if isinstance(each.slice, cst.Index)]
            return reduce(_either, (self._kind_of_annotation(each.value) for each in inner), None)
        if isinstance(node, cst.BinaryOperation):
            left, right = map(self._kind_of_annotation, (node.left, node.right))
            return _either(left, right)
        if isinstance(node, cst.SimpleString):
            return None
        if origin := self._program.origin(node, CLASSES):
            rule = CLASSES[origin]
            if not rule.client:
                return None
            kind = Kind(rule.client, is_async=rule.is_async, defaults=self._only_defaults(rule))
            return self._of_constructors(origin) or kind
        new = NAMES.get(self._program.origin(node, NAMES), ("", ""))[1]
        if new in _ANNOTATIONS:
            return Kind(_ANNOTATIONS[new])
        owner = self._bindings.classes.get(dotted_name(node))
        return Kind("object", owner=id(owner)) if owner is not None else None

    def _of_constructors(self, origin: str) -> Kind | None:
        """Return whether the objects of a class stay, by its constructors; None if none does."""
        if origin not in _PLAIN:
            return None
        for_azure = {
            self.is_for_azure(call, origin)
            for call in self._bindings.calls
            if self._program.origin(call.func, (origin,))
        }
        if False not in for_azure:
            return None
        return Kind("mixed" if True in for_azure else "foreign")

    def _only_defaults(self, rule: ClassRule) -> tuple[tuple[str, str], ...]:
        """Return the defaults of the only client of a class that the program creates."""
        kinds = [
            kind
            for _, value in self._bindings.assigned
            if isinstance(value, cst.Call)
            and (origin := self._program.origin(value.func, CLASSES))
            and CLASSES[origin] == rule
            and (kind := self._kind_of_constructor(value, origin)) is not None
            and kind.name != "foreign"
        ]
        return kinds[0].defaults if len(kinds) == 1 else ()

    def _kind_of_name(self, node: cst.Name) -> Kind | None:
        for key in self._keys(node):
            if key in self._env:
                return self._env[key]
        return None

    def _attribute(self, node: cst.Attribute) -> Kind | None:
        name = node.attr.value
        if dotted_name(node.value) in ("self", "cls"):
            owner = self._class_of(node)
            return self._env.get((id(owner), name)) if owner is not None else None
        base = self.of(node.value)
        if base is None:
            return None
        if base.name == "object":
            return self._env.get((base.owner, name))
        if not base.path and name in _PARTS.get(base.name, {}):
            return Kind(_PARTS[base.name][name])
        return replace(base, path=(*base.path, name)) if base.name != "function" else None

    def _subscript(self, node: cst.Subscript) -> Kind | None:
        base = self.of(node.value)
        if base is None or base.path:
            return None
        if (key := text_key(node)) is not None:
            return _part(base, _PARTS.get(base.name, {}).get(key))
        return _part(base, _INSIDE.get(base.name))

    def _call(self, node: cst.Call) -> Kind | None:
        if origin := self._program.origin(node.func, CLASSES):
            return self._kind_of_constructor(node, origin)
        if origin := self._program.origin(node.func, _LITELLM):
            return Kind("stream" if self.is_streamed(node) else _LITELLM[origin])
        owner = self._bindings.classes.get(dotted_name(node.func))
        if owner is not None:
            return Kind("object", owner=id(owner))
        kind = self.of(node.func)
        if kind is None:
            return None
        if kind.name == "function":
            return kind.returns
        if kind.path in (("with_options",), ("copy",), ("__enter__",), ("__aenter__",)):
            return replace(kind, path=())
        result = _METHODS.get((kind.name, *kind.path))
        if result == "chat" and self.is_streamed(node):
            result = "stream"
        return Kind(result) if result else None

    def _kind_of_constructor(self, node: cst.Call, origin: str) -> Kind | None:
        rule = CLASSES[origin]
        if not rule.client:
            return None
        if not self.is_for_azure(node, origin):
            return Kind("foreign")
        defaults = tuple(
            (arg.keyword.value, self._default_code(arg.value))
            for arg in node.args
            if arg.keyword is not None and arg.keyword.value in rule.defaults
            if "(" not in self._program.code(arg.value)
        )
        return Kind(rule.client, is_async=rule.is_async, defaults=defaults)

    def _default_code(self, value: cst.BaseExpression) -> str:
        origin = self._program.origin(value, TEXTS)
        return f'"{TEXTS[origin]}"' if origin else self._program.code(value)

    def _own_key(self, target: cst.CSTNode) -> Key | None:
        """Return the key of the target of an assignment."""
        if isinstance(target, cst.Name):
            scope = self._program.scope(target)
            owner = self._program.function_of(target)
            if isinstance(owner, cst.ClassDef) and scope is not None:
                return (id(owner), target.value)  # a field of a class
            if (id(owner), target.value) in self._bindings.globals:
                while scope is not None and scope.parent is not scope:
                    scope = scope.parent
            return (id(scope), target.value)
        if isinstance(target, cst.Attribute) and dotted_name(target.value) in ("self", "cls"):
            owner = self._class_of(target)
            return (id(owner), target.attr.value) if owner is not None else None
        return None

    def _keys(self, node: cst.Name) -> list[Key]:
        """Return the keys under which a name may be bound, from the inside out."""
        keys: list[Key] = []
        scope = self._program.scope(node)
        while scope is not None:
            keys.append((id(scope), node.value))
            scope = None if scope.parent is scope else scope.parent
        return keys

    def _class_of(self, node: cst.CSTNode) -> cst.ClassDef | None:
        above = self._program.function_of(node)
        while above is not None and not isinstance(above, cst.ClassDef):
            above = self._program.function_of(above)
        return above


def _core(kind: Kind) -> Kind:
    """Return the kind of a function's value, or of anything else itself."""
    return kind.returns if kind.returns is not None else kind


def _either(one: Kind | None, other: Kind | None) -> Kind | None:
    """Return the kind of an object that has one kind or another: the first that is known.

    A client that is rewritten or stays, depending on what happens in the program, is mixed.
    """
    if one is None or other is None:
        return one or other
    if one.returns is not None and other.returns is not None:
        return replace(one, returns=_either(one.returns, other.returns))
    if one.name != other.name and {one.name, other.name} & {"foreign", "mixed"}:
        return Kind("mixed", one.path)
    return one


def _part(base: Kind, name: str | None) -> Kind | None:
    return Kind(name) if name else None


def text_key(node: cst.Subscript) -> str | None:
    """Return the key of `x["key"]`; None for any other subscript."""
    [first, *more] = node.slice
    if more or not isinstance(first.slice, cst.Index):
        return None
    value = first.slice.value
    return str(value.evaluated_value) if isinstance(value, cst.SimpleString) else None
