"""Arguments of constructors in dictionaries: `Client(**settings)` gets their new names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import libcst as cst

from azinfer.migrate.context import Args, Context, keyword_of, rename_arg, with_args
from azinfer.migrate.program import dotted_name
from azinfer.migrate.rules import CLASSES, DROPPED, ClassRule

# The first of these arguments that is there is the deployment.
DEPLOYMENT = ("azure_deployment", "engine", "deployment_name", "deployment_id", "deployment")
# Names that depend on the other arguments of a call.
_MODELS = ("model", "model_name")


def new_name(rule: ClassRule, name: str, has_deployment: bool) -> str | None:
    """Return the new name of an argument; `DROPPED` if it is not needed, None if unknown.

    Args:
        rule: The class.
        name: The old name.
        has_deployment: Whether the call names the deployment in an argument of its own.
    """
    new = rule.arguments.get(name)
    if new == "model_id" and not has_deployment:
        return "model"
    if new == "model" and name in _MODELS and has_deployment:
        return "model_id" if rule.module == "azinfer.langchain" else "model"
    return new


def items_of(node: cst.CSTNode) -> Iterator[tuple[str, cst.CSTNode]]:
    """Yield the names in `{"name": …}` or `dict(name=…)`, each with its key or argument."""
    if isinstance(node, cst.Dict):
        for element in node.elements:
            if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString):
                yield str(element.key.evaluated_value), element
    elif isinstance(node, cst.Call) and dotted_name(node.func) == "dict":
        for arg in node.args:
            if arg.keyword is not None:
                yield arg.keyword.value, arg


def names_of(context: Context, call: cst.Call) -> set[str]:
    """Return the names of a call's arguments, with those in dictionaries."""
    names = {keyword_of(arg) for arg in call.args}
    for arg in call.args:
        if arg.star == "**":
            names |= {name for name, _ in items_of(context.kinds.assigned_value(arg.value))}
    return names


def plan_renames(context: Context) -> None:
    """Find the dictionaries that are arguments of constructors, and the new names in them."""
    plans = []
    for call in context.kinds.calls:
        origin = context.kinds.class_origin(call.func)
        if not origin or not context.kinds.is_for_azure(call, origin):
            continue
        rule = CLASSES[origin]
        has_deployment = any(name in DEPLOYMENT for name in names_of(context, call))
        for arg in call.args:
            if arg.star == "**" and not rule.any_argument:
                plans.append((rule, arg, has_deployment))
    uses = Counter(_place(context, arg.value) for _, arg, _ in plans)
    for rule, arg, has_deployment in plans:
        _plan(context, rule, arg, has_deployment, uses[_place(context, arg.value)])


def _place(context: Context, value: cst.BaseExpression) -> tuple[cst.FunctionDef | None, str]:
    """Return the name of a dictionary, and the function if it is a parameter there."""
    return _function_with(context, value), context.program.code(value)


def _plan(context: Context, rule: ClassRule, arg: cst.Arg, has_deployment: bool, uses: int) -> None:
    """Plan the new names in one dictionary.

    Args:
        context: The program.
        rule: The class whose constructor gets it.
        arg: The argument `**name`.
        has_deployment: Whether the call names the deployment in an argument of its own.
        uses: How many constructors that are rewritten get it.
    """
    function, code = _place(context, arg.value)
    if function is not None:
        entries = list(_passed(context, function))
        is_shared = _has_other_uses(context.program.code(function), code, uses)
    else:
        entries = list(items_of(context.kinds.assigned_value(arg.value)))
        has_name = bool(entries) and bool(dotted_name(arg.value))
        is_shared = has_name and _has_other_uses(context.program.module.code, code, uses + 1)
    if not entries and not is_shared:
        context.note(arg, f"the names in **{code} must be arguments of {rule.name}")
        return
    if is_shared:
        text = f"**{code} is used elsewhere too: give {rule.name} a dictionary with its own names"
        context.report(arg, text)
        return
    for name, node in entries:
        new = new_name(rule, name, has_deployment)
        if new is None:
            context.report(node, f"{name} has no equal in {rule.name}; it was removed")
        context.renamed.setdefault(id(node), set()).add(new or DROPPED)


def _function_with(context: Context, value: cst.BaseExpression) -> cst.FunctionDef | None:
    """Return the function around a value that is its parameter `**value`."""
    function = context.program.function_of(value)
    if not isinstance(function, cst.FunctionDef) or not isinstance(value, cst.Name):
        return None
    more = function.params.star_kwarg
    return function if more is not None and more.name.value == value.value else None


def _passed(context: Context, function: cst.FunctionDef) -> Iterator[tuple[str, cst.CSTNode]]:
    """Yield the arguments that calls of a function pass in its parameter `**more`."""
    own = {each.name.value for each in (*function.params.params, *function.params.kwonly_params)}
    for call in context.kinds.calls_of(function):
        for arg in call.args:
            if arg.keyword is not None and arg.keyword.value not in own:
                yield arg.keyword.value, arg


def _has_other_uses(code: str, name: str, known: int) -> bool:
    """Return whether a dictionary is used elsewhere, too, where the old names must stay.

    Args:
        code: The program or the function.
        name: The dictionary's name.
        known: How often it is assigned, or passed to constructors that are rewritten.
    """
    # The `**name` among the parameters of a function is its definition.
    defined = len(re.findall(rf"def \w+\([^)]*\*\*{re.escape(name)}\b", code))
    return len(re.findall(rf"(?<![\w.]){re.escape(name)}\b", code)) > known + defined


def rename_items(context: Context, original: cst.Dict, updated: cst.Dict) -> cst.Dict:
    """Return a dictionary of arguments with their new names."""
    elements: list[cst.BaseDictElement] = []
    for before, element in zip(original.elements, updated.elements, strict=True):
        name = _new(context, before)
        if name is None or not isinstance(element, cst.DictElement):
            elements.append(element)
        elif name != DROPPED:
            elements.append(element.with_changes(key=cst.SimpleString(f'"{name}"')))
    if elements:
        elements[-1] = elements[-1].with_changes(comma=updated.elements[-1].comma)
    return updated.with_changes(elements=elements)


def rename_call(context: Context, original: cst.Call, updated: cst.Call) -> cst.Call | None:
    """Return `dict(new=…)` for `dict(old=…)`; None if the call is something else."""
    if not any(id(arg) in context.renamed for arg in original.args):
        return None
    args: Args = []
    for old, arg in zip(original.args, updated.args, strict=True):
        name = _new(context, old)
        if name is None:
            args.append(arg)
        elif name != DROPPED:
            args.append(rename_arg(arg, name))
    return with_args(updated, args)


def _new(context: Context, node: cst.CSTNode) -> str | None:
    """Return the new name of an item; None if it stays."""
    names = context.renamed.get(id(node))
    if not names:
        return None
    if len(names) > 1:
        context.report(node, "this name means different arguments of several classes; split it")
        return None
    [name] = names
    return None if _name_of(node) == name else name


def _name_of(node: cst.CSTNode) -> str:
    """Return the name of an item of a dictionary."""
    if isinstance(node, cst.Arg):
        return keyword_of(node)
    if isinstance(node, cst.DictElement) and isinstance(node.key, cst.SimpleString):
        return str(node.key.evaluated_value)
    return ""
