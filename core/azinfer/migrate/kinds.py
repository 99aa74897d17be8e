"""The kind of an expression: a client, an answer, a part of one. Simple assignments count."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import reduce

import libcst as cst

from azinfer.migrate.bindings import Bindings, parameters_of
from azinfer.migrate.kind_tables import (
    ANNOTATIONS,
    COLLECTIONS,
    INSIDE,
    LITELLM,
    METHODS,
    PARTS,
    Kind,
    core_kind,
    either,
    part,
    text_key,
)
from azinfer.migrate.program import Program, dotted_name
from azinfer.migrate.rules import CLASSES, NAMES, TEXTS, ClassRule

_ROUNDS = 6
_AZURE = re.compile(r"azure|/openai/v1|localhost|127\.0\.0\.1", re.IGNORECASE)
_PLAIN = ("openai.OpenAI", "openai.AsyncOpenAI")


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
        self._functions = {self._key_of_function(each): each for each in self._bindings.functions}
        self._find_kinds()
        mixed = {key: kind for key, kind in self._env.items() if core_kind(kind).name == "mixed"}
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

    def class_origin(self, node: cst.CSTNode) -> str:
        """Return the old class that a called name creates, itself or as a base of its class."""
        if isinstance(node, cst.Attribute) and self._program.code(node) == "super().__init__":
            owner = self._class_of(node)
            return self.base_origin(owner) if owner is not None else ""
        if origin := self._program.origin(node, CLASSES):
            return origin
        owner = self._bindings.classes.get(dotted_name(node))
        if owner is None or (id(owner), "__init__") in self._functions:
            return ""
        return self.base_origin(owner)

    def base_origin(self, owner: cst.ClassDef) -> str:
        """Return the old class from which a class of the program inherits; empty if none."""
        for base in owner.bases:
            if origin := self._program.origin(base.value, CLASSES):
                return origin
            inner = self._bindings.classes.get(dotted_name(base.value))
            if inner is not None and inner is not owner and (origin := self.base_origin(inner)):
                return origin
        return ""

    def has_method(self, kind: Kind, name: str) -> bool:
        """Return whether the class of an object defines a method itself."""
        return (kind.owner, name) in self._functions

    @property
    def calls(self) -> list[cst.Call]:
        """All calls of the program."""
        return self._bindings.calls

    def calls_of(self, function: cst.FunctionDef) -> list[cst.Call]:
        """Return the calls of a function of the program."""
        return [
            call
            for call in self._bindings.calls
            if self._functions.get(self._function_key(call.func)) is function
        ]

    @property
    def assignments(self) -> list[tuple[cst.CSTNode, cst.BaseExpression]]:
        """The targets of all assignments, and their values."""
        return [
            (target, value)
            for target, value in self._bindings.assigned
            if isinstance(value, cst.BaseExpression)
        ]

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
                return either(self.of(node.body), self.of(node.orelse))
            case cst.BooleanOperation():
                return either(self.of(node.left), self.of(node.right))
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

    def is_unknown_client(self, node: cst.CSTNode) -> bool:
        """Return whether an object is a parameter, an import, or an item of a collection."""
        while isinstance(node, cst.Attribute | cst.Call | cst.Subscript):
            if isinstance(node, cst.Call) and dotted_name(node.func).split(".")[-1][:1].isupper():
                return False  # a class of another package
            node = node.func if isinstance(node, cst.Call) else node.value
        value = self.assigned_value(node)
        return isinstance(node, cst.Name) and (value is node or isinstance(value, COLLECTIONS))

    def is_streamed(self, call: cst.Call) -> bool | None:
        """Return whether a call asks for a stream; None if that depends on a value."""
        for arg in call.args:
            if arg.keyword is not None and arg.keyword.value == "stream":
                literal = dotted_name(arg.value)
                return {"True": True, "False": False, "None": False}.get(literal)
        return False

    def assigned_value(self, node: cst.CSTNode) -> cst.CSTNode:
        """Return the value of a name or a field that is assigned once; else the node itself."""
        keys = self._keys(node) if isinstance(node, cst.Name) else [self._own_key(node)]
        if keys == [None]:
            return node
        values = [
            value
            for target, value in self._bindings.assigned
            if isinstance(target, cst.Name | cst.Attribute) and self._own_key(target) in keys
        ]
        return values[0] if len(values) == 1 else node

    def _bind_all(self) -> None:
        for target, value in self._bindings.assigned:
            self._bind(target, self.of(value))
        for target, value in self._bindings.iterated:
            kind = self.of(value)
            if kind is not None and not kind.path:
                self._bind(target, part(INSIDE.get(kind.name)))
        for target, annotation in self._bindings.annotated:
            self._bind_annotation(target, annotation)
        for name in self._bindings.caught:
            self._bind(name, Kind("error"))
        for function in self._bindings.functions:
            self._bind_function(function)
        for call in self._bindings.calls:
            self._bind_parameters(call)

    def _bind_annotation(self, target: cst.CSTNode, annotation: cst.CSTNode) -> None:
        key = self._own_key(target)
        kind = self._kind_of_annotation(annotation)
        if key is not None and kind is not None:
            self._env.setdefault(key, kind)

    def _bind_parameters(self, call: cst.Call) -> None:
        """Bind the parameters of a function of the program to the kinds of a call's arguments."""
        function = self._functions.get(self._function_key(call.func))
        if function is None:
            return
        for parameter, value in parameters_of(function, call):
            if parameter.annotation is None:
                self._bind(parameter.name, self.of(value))

    def _function_key(self, node: cst.CSTNode) -> Key | None:
        """Return the key of the function that a call runs: a constructor runs `__init__`."""
        if isinstance(node, cst.Name):
            owner = self._bindings.classes.get(node.value)
            if owner is not None:
                return (id(owner), "__init__")
            return next((key for key in self._keys(node) if key in self._functions), None)
        if isinstance(node, cst.Attribute):
            if dotted_name(node.value) in ("self", "cls"):
                return (id(self._class_of(node)), node.attr.value)
            base = self.of(node.value)
            return (base.owner, node.attr.value) if base is not None and base.owner else None
        return None

    def _key_of_function(self, function: cst.FunctionDef) -> Key | None:
        above = self._program.function_of(function)
        if isinstance(above, cst.ClassDef):
            return (id(above), function.name.value)
        return self._own_key(function.name)

    def _bind(self, target: cst.CSTNode, kind: Kind | None) -> None:
        key = self._own_key(target)
        if key is not None and kind is not None:
            self._note(key, kind)

    def _note(self, key: Key, kind: Kind) -> None:
        self._env[key] = either(self._env.get(key), kind) or kind

    def _bind_function(self, function: cst.FunctionDef) -> None:
        kind: Kind | None = None
        if function.returns is not None:
            kind = self._kind_of_annotation(function.returns.annotation)
        for value, owner in self._bindings.returned:
            if owner is function:
                kind = either(kind, self.of(value))
        if kind is None:
            return
        returned = Kind("function", returns=kind)
        if (key := self._key_of_function(function)) is not None:
            self._note(key, returned)

    def _kind_of_annotation(self, node: cst.CSTNode) -> Kind | None:
        if isinstance(node, cst.Annotation):
            node = node.annotation
        if isinstance(node, cst.Subscript):
            inner = [each.slice for each in node.slice if isinstance(each.slice, cst.Index)]
            parts = [node.value, *(each.value for each in inner)]
            return reduce(either, map(self._kind_of_annotation, parts), None)
        if isinstance(node, cst.BinaryOperation):
            left, right = map(self._kind_of_annotation, (node.left, node.right))
            return either(left, right)
        if isinstance(node, cst.SimpleString):
            return None
        if origin := self._program.origin(node, CLASSES):
            rule = CLASSES[origin]
            if not rule.client:
                return None
            kind = Kind(rule.client, is_async=rule.is_async, defaults=self._only_defaults(rule))
            return self._of_constructors(origin) or kind
        new = NAMES.get(self._program.origin(node, NAMES), ("", ""))[1]
        if new in ANNOTATIONS:
            return Kind(ANNOTATIONS[new])
        owner = self._bindings.classes.get(dotted_name(node))
        return self._kind_of_object(owner) if owner is not None else None

    def _kind_of_object(self, owner: cst.ClassDef) -> Kind:
        """Return the kind of the objects of a class; a subclass of a client is a client."""
        origin = self.base_origin(owner)
        if not origin or not CLASSES[origin].client or origin in _PLAIN:
            return Kind("object", owner=id(owner))
        rule = CLASSES[origin]
        return Kind(rule.client, is_async=rule.is_async, owner=id(owner))

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
            base = self._kind_of_object(owner) if owner is not None else None
        else:
            base = self.of(node.value)
        if base is None:
            return None
        if base.owner and not base.path and (base.owner, name) in self._env:
            return self._env[base.owner, name]
        if base.name == "object":
            return None
        if not base.path and name in PARTS.get(base.name, {}):
            return Kind(PARTS[base.name][name])
        return replace(base, path=(*base.path, name)) if base.name != "function" else None

    def _subscript(self, node: cst.Subscript) -> Kind | None:
        base = self.of(node.value)
        if base is None or base.path:
            return None
        if (key := text_key(node)) is not None:
            return part(PARTS.get(base.name, {}).get(key))
        return part(INSIDE.get(base.name))

    def _call(self, node: cst.Call) -> Kind | None:
        if origin := self._program.origin(node.func, CLASSES):
            return self._kind_of_constructor(node, origin)
        if origin := self._program.origin(node.func, LITELLM):
            return Kind("stream" if self.is_streamed(node) else LITELLM[origin])
        owner = self._bindings.classes.get(dotted_name(node.func))
        if owner is not None:
            return self._kind_of_object(owner)
        kind = self.of(node.func)
        if kind is None:
            return None
        if kind.name == "function":
            return kind.returns
        if kind.path in (("with_options",), ("copy",), ("__enter__",), ("__aenter__",)):
            return replace(kind, path=())
        result = METHODS.get((kind.name, *kind.path))
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
