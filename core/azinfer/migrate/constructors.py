"""Constructors of clients, models and services: the new class, and each argument by its table."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.context import Args, Context, keyword_arg, keyword_of, rename_arg, with_args
from azinfer.migrate.rules import CLASSES, DROPPED, ClassRule

_KEY = "azure.core.credentials.AzureKeyCredential"
# Tokens as texts; azinfer accepts functions that return them instead.
_TOKENS = ("azure_ad_token", "ad_token")
# The first of these arguments that is there is the deployment.
_DEPLOYMENT = ("azure_deployment", "engine", "deployment_name", "deployment_id", "deployment")


def construct(context: Context, original: cst.Call, updated: cst.Call) -> cst.Call | None:
    """Return the constructor of the new class; None if the call is something else."""
    origin = context.program.origin(original.func, CLASSES)
    if not origin or id(original.func) not in context.handled:
        return None
    rule = CLASSES[origin]
    if rule.any_argument:
        return updated
    args: Args = []
    has_deployment = any(keyword_of(arg) in _DEPLOYMENT for arg in original.args)
    for position, (old, arg) in enumerate(zip(original.args, updated.args, strict=True)):
        name = keyword_of(arg)
        if arg.star or (not name and position < len(rule.positional)):
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
    new = rule.arguments.get(name)
    if new is None:
        what = context.program.code(old.value)
        context.report(old, f"{name}={what} has no equal in {rule.name}; it was removed")
        return []
    if new == DROPPED:
        return []
    if new == "model_id" and not has_deployment:
        new = "model"
    elif new == "model" and name in ("model", "model_name") and has_deployment:
        new = "model_id" if rule.module == "azinfer.langchain" else "model"
    return [_without_key_object(context, old, rename_arg(arg, new))]


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
