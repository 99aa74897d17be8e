"""Where a program binds names: assignments, loops, parameters, functions and classes."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.program import dotted_name


class Bindings(cst.CSTVisitor):
    """Everything in a program that binds a name.

    Attributes:
        assigned: Targets of assignments, and their values.
        iterated: Targets of loops, and the values that the loops go through.
        annotated: Targets and their types.
        returned: The values that each function returns.
        caught: Names of caught errors.
        functions: All functions.
        classes: The classes by their names.
        calls: All calls.
        globals: Names that a function declares global, by its node.
    """

    def __init__(self) -> None:
        self.assigned: list[tuple[cst.CSTNode, cst.CSTNode]] = []
        self.iterated: list[tuple[cst.CSTNode, cst.CSTNode]] = []
        self.annotated: list[tuple[cst.CSTNode, cst.CSTNode]] = []
        self.returned: list[tuple[cst.CSTNode, cst.FunctionDef]] = []
        self.caught: list[cst.Name] = []
        self.functions: list[cst.FunctionDef] = []
        self.classes: dict[str, cst.ClassDef] = {}
        self.calls: list[cst.Call] = []
        self.globals: set[tuple[int, str]] = set()
        self._inside: list[cst.FunctionDef] = []

    def visit_Assign(self, node: cst.Assign) -> None:
        for each in node.targets:
            self._assign(each.target, node.value)

    def _assign(self, target: cst.CSTNode, value: cst.CSTNode) -> None:
        if not isinstance(target, cst.Tuple | cst.List):
            self.assigned.append((target, value))
        elif isinstance(value, cst.Tuple | cst.List):
            for inner, each in zip(target.elements, value.elements, strict=False):
                self._assign(inner.value, each.value)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self.assigned.append((node.target, node.value))
        self.annotated.append((node.target, node.annotation))

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:
        self.assigned.append((node.target, node.value))

    def visit_WithItem(self, node: cst.WithItem) -> None:
        if node.asname is not None:
            self.assigned.append((node.asname.name, node.item))

    def visit_For(self, node: cst.For) -> None:
        self.iterated.append((_item_target(node.target, node.iter), _iterable_of(node.iter)))

    def visit_CompFor(self, node: cst.CompFor) -> None:
        self.iterated.append((_item_target(node.target, node.iter), _iterable_of(node.iter)))

    def visit_Param(self, node: cst.Param) -> None:
        if node.annotation is not None:
            self.annotated.append((node.name, node.annotation))

    def visit_ExceptHandler(self, node: cst.ExceptHandler) -> None:
        if node.name is not None and isinstance(node.name.name, cst.Name):
            self.caught.append(node.name.name)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self.functions.append(node)
        self._inside.append(node)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._inside.pop()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self.classes[node.name.value] = node

    def visit_Call(self, node: cst.Call) -> None:
        self.calls.append(node)

    def visit_Global(self, node: cst.Global) -> None:
        if self._inside:
            self.globals |= {(id(self._inside[-1]), each.name.value) for each in node.names}

    def visit_Return(self, node: cst.Return) -> None:
        if node.value is not None and self._inside:
            self.returned.append((node.value, self._inside[-1]))


def parameters_of(
    function: cst.FunctionDef, call: cst.Call
) -> list[tuple[cst.Param, cst.BaseExpression]]:
    """Return the parameters of a function that a call passes, each with its value."""
    positional = [*function.params.posonly_params, *function.params.params]
    if positional and positional[0].name.value in ("self", "cls"):
        del positional[0]
    named = {each.name.value: each for each in (*positional, *function.params.kwonly_params)}
    pairs: list[tuple[cst.Param, cst.BaseExpression]] = []
    for position, arg in enumerate(call.args):
        if arg.star:
            break
        if arg.keyword is not None:
            parameter = named.get(arg.keyword.value)
        else:
            parameter = positional[position] if position < len(positional) else None
        if parameter is not None:
            pairs.append((parameter, arg.value))
    return pairs


def _is_call_of(node: cst.CSTNode, name: str) -> bool:
    return isinstance(node, cst.Call) and dotted_name(node.func) == name and bool(node.args)


def _iterable_of(node: cst.BaseExpression) -> cst.CSTNode:
    """Return `x` for `enumerate(x)`, `sorted(x)`, `zip(y, x)` and similar calls."""
    for name in ("enumerate", "sorted", "list", "reversed", "iter", "tuple", "zip"):
        if _is_call_of(node, name) and isinstance(node, cst.Call):
            return _iterable_of(node.args[-1 if name == "zip" else 0].value)
    return node


def _item_target(target: cst.BaseExpression, iterated: cst.BaseExpression) -> cst.CSTNode:
    """Return the target of the items: the second one of `for i, item in enumerate(…)`."""
    pairs = _is_call_of(iterated, "enumerate") or _is_call_of(iterated, "zip")
    if pairs and isinstance(target, cst.Tuple) and target.elements:
        return target.elements[-1].value
    return target
