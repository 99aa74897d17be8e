"""litellm's functions: a call of `azure/…` becomes a client and a call of that client."""

from __future__ import annotations

import re
from collections.abc import Sequence

import libcst as cst

from azinfer.migrate import methods
from azinfer.migrate.context import (
    Args,
    Context,
    expand,
    keyword_arg,
    keyword_of,
    rename_arg,
    with_args,
)
from azinfer.migrate.rules import CORE

_FUNCTIONS = {
    "litellm.completion": ("InferenceClient", "complete"),
    "litellm.acompletion": ("AsyncInferenceClient", "complete"),
    "litellm.embedding": ("InferenceClient", "embed"),
    "litellm.aembedding": ("AsyncInferenceClient", "embed"),
}
# The prefix of a model, and the variables of the environment that it reads.
_PROVIDERS = {
    "azure": ("AZURE_API_BASE", "AZURE_API_KEY"),
    "azure_ai": ("AZURE_AI_API_BASE", "AZURE_AI_API_KEY"),
}
_CLIENT = {
    "api_base": "endpoint",
    "base_url": "endpoint",
    "api_key": "credential",
    "azure_ad_token_provider": "credential",
    "num_retries": "max_retries",
    "max_retries": "max_retries",
}
_DROPPED = (
    *("api_version", "stream", "stream_options", "drop_params", "custom_llm_provider", "model"),
    *("metadata", "caching", "verbose", "logger_fn"),
)
_REFUSED = (
    "fallbacks",
    "mock_response",
    "azure_ad_token",
    "base_model",
    "cache",
    "input_cost_per_token",
)
# Settings of the module that are not needed any more.
SETTINGS = (
    *("drop_params", "set_verbose", "suppress_debug_info", "num_retries", "telemetry"),
    *("modify_params", "turn_off_message_logging", "api_version"),
)
# Settings of the module that become arguments of each client.
VALUES = {
    "litellm.api_base": "endpoint",
    "litellm.api_key": "credential",
    "litellm.azure_key": "credential",
}


def call_litellm(
    context: Context, original: cst.Call, updated: cst.Call
) -> cst.BaseExpression | None:
    """Return the call of a client; None if the call is something else, or not for Azure."""
    origin = context.program.origin(original.func, _FUNCTIONS)
    if not origin:
        return None
    context.known.add(id(original.func))
    before, after = _by_name(original.args), _by_name(updated.args)
    if any(arg.star for arg in original.args):
        context.report(original, "arguments in **mapping cannot be read; write them as arguments")
        return None
    provider, model = _model(context, before, after)
    known = provider in _PROVIDERS and model is not None
    streamed = methods.is_streamed(context, original) if known else None
    if model is None or streamed is None:
        return None
    context.handled.add(id(original.func))
    class_name, method = _FUNCTIONS[origin]
    client = cst.Call(context.use(origin, CORE, class_name), _client_args(context, after, provider))
    method = "stream" if streamed else method
    args: Args = [keyword_arg("model", model)]
    for name, arg in after.items():
        if name in _REFUSED:
            context.report(before[name], f"{name}= has no equal in azinfer; it was removed")
        elif name == "extra_body":
            args += expand(arg)
        elif name not in _CLIENT and name not in _DROPPED:
            args.append(_call_argument(arg, name, method))
    return with_args(updated.with_changes(func=cst.Attribute(client, cst.Name(method))), args)


def _by_name(args: Sequence[cst.Arg]) -> dict[str, cst.Arg]:
    """Return arguments by their names; the first two of litellm's functions need none."""
    return {
        keyword_of(arg) or ("model", "messages", *map(str, range(20)))[position]: arg
        for position, arg in enumerate(args)
    }


def _call_argument(arg: cst.Arg, name: str, method: str) -> cst.Arg:
    if arg.keyword is None:
        return keyword_arg("messages" if method != "embed" else "input", arg.value)
    return rename_arg(arg, "headers") if name == "extra_headers" else arg


def _client_args(context: Context, arguments: dict[str, cst.Arg], provider: str) -> Args:
    """Return the endpoint and the credential, from the call or the provider's environment."""
    values: dict[str, cst.BaseExpression] = {}
    for old, new in _CLIENT.items():
        if old in arguments and new not in values:
            values[new] = arguments[old].value
    for name, value in settings_of(context).items():
        values.setdefault(name, value)
    for name, variable in zip(("endpoint", "credential"), _PROVIDERS[provider], strict=True):
        if name not in values:
            context.further.add(("", "os"))
            values[name] = cst.parse_expression(f'os.environ["{variable}"]')
    args = [cst.Arg(values.pop("endpoint")), cst.Arg(values.pop("credential"))]
    return args + [keyword_arg(name, value) for name, value in values.items()]


def settings_of(context: Context) -> dict[str, cst.BaseExpression]:
    """Return the arguments of clients that the program sets once, for the whole of litellm."""
    values: dict[str, list[cst.BaseExpression]] = {}
    for target, value in context.kinds.assignments:
        if new := VALUES.get(context.program.origin(target, VALUES)):
            values.setdefault(new, []).append(value)
    return {
        name: each[0]
        for name, each in values.items()
        if len(each) == 1 and _can_be_repeated(context, each[0])
    }


def _can_be_repeated(context: Context, value: cst.BaseExpression) -> bool:
    """Return whether a value can stand in each call: a text, the environment, or a constant."""
    code = context.program.code(value)
    if isinstance(value, cst.Name):
        return _is_constant(context, value)
    return isinstance(value, cst.SimpleString) or code.startswith(
        ("os.environ", "os.getenv", "environ[", "getenv(")
    )


def _is_constant(context: Context, name: cst.Name) -> bool:
    """Return whether a name is assigned once, and at the top of the program.

    One of a function is unknown in others, and one that changes may have another value there.
    """
    assignment = rf"{re.escape(name.value)}\s*(?::[^=\n]*)?=(?!=)"
    code, function = context.program.module.code, context.program.function_of(name)
    if isinstance(function, cst.FunctionDef):
        parameters = context.program.code(function.params)
        if re.search(rf"\b{re.escape(name.value)}\b", parameters):
            return False
    is_single = len(re.findall(rf"(?<![\w.]){assignment}", code)) == 1
    return is_single and re.search(rf"(?m)^{assignment}", code) is not None


def _model(
    context: Context, before: dict[str, cst.Arg], arguments: dict[str, cst.Arg]
) -> tuple[str, cst.BaseExpression | None]:
    """Return the provider of a call, and the deployment's name without it."""
    if "model" not in before:
        return "", None
    if "custom_llm_provider" in before:
        explicit = before["custom_llm_provider"].value
        return context.program.code(explicit).strip("'\""), arguments["model"].value
    value = before["model"].value
    known = context.kinds.assigned_value(value)
    head = _head(known)
    provider, slash, rest = head.partition("/")
    if not slash:
        if head == "":
            reason = "the provider of model= is not in its text; write azure/… as a text"
            context.report(value, reason)
        return "", None
    if known is not value:
        return provider, _cut(value, provider)
    if isinstance(known, cst.FormattedString):
        return provider, _shorter(known, rest)
    if isinstance(known, cst.BinaryOperation):
        return provider, known.right if not rest else _cut(_in_parentheses(known), provider)
    return provider, cst.SimpleString(f'"{rest}"')


def _head(value: cst.CSTNode) -> str:
    """Return the text with which a string begins; empty if that is not known."""
    if isinstance(value, cst.SimpleString):
        return str(value.evaluated_value)
    if isinstance(value, cst.BinaryOperation) and isinstance(value.operator, cst.Add):
        return _head(value.left) if isinstance(value.left, cst.SimpleString) else ""
    if isinstance(value, cst.FormattedString) and value.parts:
        first = value.parts[0]
        return first.value if isinstance(first, cst.FormattedStringText) else ""
    return ""


def _in_parentheses(value: cst.BinaryOperation) -> cst.BinaryOperation:
    return (
        value if value.lpar else value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    )


def _cut(value: cst.BaseExpression, provider: str) -> cst.BaseExpression:
    method = cst.Attribute(value, cst.Name("removeprefix"))
    return cst.Call(method, [cst.Arg(cst.SimpleString(f'"{provider}/"'))])


def _shorter(text: cst.FormattedString, head: str) -> cst.BaseExpression:
    """Return an f-string with a shorter first text, or the only value that remains."""
    rest = list(text.parts[1:])
    if not head and len(rest) == 1 and isinstance(rest[0], cst.FormattedStringExpression):
        return rest[0].expression
    first = [cst.FormattedStringText(head)] if head else []
    return text.with_changes(parts=[*first, *rest])
