"""Constructors of clients, models and services: the new class, and each argument by its table."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.context import Args, Context, keyword_arg, keyword_of, rename_arg, with_args
from azinfer.migrate.dictionaries import DEPLOYMENT, names_of, new_name
from azinfer.migrate.rules import CLASSES, DROPPED, ClassRule

_KEY = "azure.core.credentials.AzureKeyCredential"
# Tokens as texts; azinfer accepts functions that return them instead.
_TOKENS = ("azure_ad_token", "ad_token")


def construct(context: Context, original: cst.Call, updated: cst.Call) -> cst.Call | None:
    """Return the constructor of the new class; None if the call is something else."""
    origin = context.kinds.class_origin(original.func)
    is_renamed = id(original.func) in context.handled
    if not origin or not (is_renamed or not context.program.origin(original.func, CLASSES)):
        return None
    rule = CLASSES[origin]
    if rule.any_argument:
        return updated
    args: Args = []
    has_deployment = any(name in DEPLOYMENT for name in names_of(context, original))
    for position, (old, arg) in enumerate(zip(original.args, updated.args, strict=True)):
        name = keyword_of(arg)
        if arg.star:
            args.append(arg)
        elif not name and position < len(rule.positional):
            args.append(_without_key_object(context, old, arg))
        elif not name:
            context.report(old, f"the argument {position + 1} has no name; write its name first")
            args.append(arg)
        else:
            args += _argument(context, rule, (old, arg), has_deployment)
    return with_args(updated, _without_repeats(context, original, args))


def _argument(
    context: Context, rule: ClassRule, pair: tuple[cst.Arg, cst.Arg], has_deployment: bool
) -> Args:
    old, arg = pair
    name = keyword_of(arg)
    if name in rule.defaults:
        if "(" in context.program.code(old.value):
            context.report(old, f"{name}= was a default of every call; pass it with each call")
        return []
    if name in _TOKENS:
        return [keyword_arg("credential", cst.Lambda(cst.Parameters(), arg.value))]
    if name == "timeout" and "Timeout(" in context.program.code(_value_of(context, old)):
        context.report(old, "timeout= must be seconds or an azinfer.core.Timeout")
    new = new_name(rule, name, has_deployment)
    if new is None:
        what = context.program.code(old.value)
        context.report(old, f"{name}={what} has no equal in {rule.name}; it was removed")
        return []
    if new == DROPPED:
        return []
    return [_without_key_object(context, old, rename_arg(arg, new))]


def _value_of(context: Context, arg: cst.Arg) -> cst.CSTNode:
    return context.kinds.assigned_value(arg.value)


def _without_key_object(context: Context, old: cst.Arg, arg: cst.Arg) -> cst.Arg:
    """Return `key` for `AzureKeyCredential(key)`: azinfer takes the key itself."""
    value, before = arg.value, old.value
    if (
        isinstance(value, cst.Call)
        and isinstance(before, cst.Call)
        and context.program.origin(before.func, (_KEY,))
        and len(value.args) == 1
    ):
        context.handled.add(id(before.func))
        return arg.with_changes(value=value.args[0].value)
    return arg


def _without_repeats(context: Context, original: cst.Call, args: Args) -> Args:
    """Return arguments without repeated names."""
    seen: set[str] = set()
    kept: Args = []
    for arg in args:
        name = keyword_of(arg)
        if name and name in seen:
            context.report(original, f"two arguments mean {name}=; the second was removed")
            continue
        seen.add(name)
        kept.append(arg)
    return kept
