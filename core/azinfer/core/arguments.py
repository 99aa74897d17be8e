"""Checks of arguments: each error names the argument, its value, and what was probably meant.

Without them a wrong argument fails deep inside a call, or the service refuses it in its own words.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from typing import Any, NoReturn, Self

from azinfer.core.errors import ConfigurationError
from azinfer.core.surfaces import WIRES

# The options of calls: a test compares them with the types that editors complete.
CHAT_NAMES = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "n"),
        *("frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs"),
        *("tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort"),
        *("verbosity", "modalities", "audio", "prediction", "store", "metadata", "service_tier"),
        *("user", "safety_identifier", "prompt_cache_key", "stream_options", "wire"),
        *("send_reasoning", "model", "model_id", "timeout", "headers"),
    }
)
EMBEDDING_NAMES = frozenset(
    {
        *("dimensions", "encoding_format", "input_type", "user"),
        *("model", "model_id", "kind", "timeout", "headers"),
    }
)
RERANK_NAMES = frozenset({"top_n", "max_tokens_per_doc", "model", "model_id", "timeout", "headers"})
# Arguments of the client that calls do not take: sent, they would mean nothing to a service.
_OF_CLIENT = ("max_retries", "surface", "api_version")
# What other clients call the same argument.
_ELSEWHERE = {
    **dict.fromkeys(("api_key", "key", "azure_ad_token", "token"), "credential"),
    **dict.fromkeys(("base_url", "azure_endpoint", "api_base", "url"), "endpoint"),
    **dict.fromkeys(("deployment", "azure_deployment", "deployment_name", "model_name"), "model"),
    **dict.fromkeys(("default_headers", "extra_headers"), "headers"),
    **dict.fromkeys(("request_timeout",), "timeout"),
    **dict.fromkeys(("retries",), "max_retries"),
}
_LIKENESS = 0.9  # `temprature` is to `temperature` as 0.95, `min_tokens` to `max_tokens` as 0.8


class CheckedNames:
    """The first base of a class whose constructor names the argument that was meant."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Check the names, before Python raises a bare TypeError."""
        names, count = list(options), len(args)
        del args, options  # tracebacks may show them
        code = getattr(cls.__init__, "__code__", None)
        if code is not None and not code.co_flags & _TAKES_ANY:
            known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
            check_option_names(cls.__name__, names, known)
            if count >= code.co_argcount:
                first = ", ".join(known[: code.co_argcount - 1])
                raise ConfigurationError(
                    f"{cls.__name__} takes {first} without their names, not {count} arguments; "
                    "pass the others by name"
                )
        return super().__new__(cls)


_TAKES_ANY = 0x04 | 0x08  # `*args` or `**options`: the flags CO_VARARGS and CO_VARKEYWORDS


def check_option_names(owner: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise for a misspelt option of an adapter.

    Args:
        owner: The class whose options these are.
        names: The names that were passed.
        known: The names that exist.

    Raises:
        ConfigurationError: A name is unknown; the error names the nearest.
    """
    known = sorted(known)
    for name in names:
        if name not in known:
            import difflib  # only for the error

            other = _ELSEWHERE.get(name)
            near = [other] if other in known else difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
            raise ConfigurationError(f"{owner} has no option {name!r}; {advice}", param=name)


def check_call_options(options: Iterable[str], known: Collection[str]) -> None:
    """Raise for an option of a call that is a misspelt one, or one of the client.

    Options that no known one is like are for the service, which may have them.

    Raises:
        ConfigurationError: The text names the option that was meant.
    """
    for name in options:
        if name in _OF_CLIENT:
            raise ConfigurationError(
                f"{name}= is an option of the client, not of a call: pass it to the constructor, "
                f"or use client.with_options({name}=…)",
                param=name,
            )
        if name not in known and (meant := _meant(name, known)):
            raise ConfigurationError(
                f"unknown option {name!r}; did you mean {meant!r}?", param=name
            )


def _meant(name: str, known: Collection[str]) -> str | None:
    """Return the known name of which another one is certainly a slip, if there is one."""
    import difflib  # only for names that are not known

    folded = name.replace("_", "").casefold()
    for each in sorted(known):
        plain = each.replace("_", "")
        is_mixed = len(plain) > 4 and sorted(plain) == sorted(folded)
        if is_mixed or difflib.SequenceMatcher(None, folded, plain).ratio() >= _LIKENESS:
            return each
    return None


def is_iterable(value: Any) -> bool:
    """Return whether a loop goes through a value; a sequence needs no `__iter__` for that."""
    return hasattr(type(value), "__iter__") or hasattr(type(value), "__getitem__")


def refuse(name: str, value: Any, wanted: str) -> NoReturn:
    """Raise the error for an argument of a wrong type or value.

    Args:
        name: The argument.
        value: Its value, which the error shows.
        wanted: What to pass.

    Raises:
        ConfigurationError: Always.
    """
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    raise ConfigurationError(
        f"{name}={shown} has the type {type(value).__name__}; pass {wanted}", param=name
    )


def check_client(
    model: Any, model_id: Any, max_retries: Any, headers: Any, *, wire: Any, api_version: Any
) -> None:
    """Raise if an argument of a client has a wrong type or value.

    Raises:
        ConfigurationError: The text names it.
    """
    check_names(model=model, model_id=model_id)
    if api_version is not None and not isinstance(api_version, str):
        refuse("api_version", api_version, "a text such as '2024-10-21'")
    if max_retries is not None and (
        not hasattr(max_retries, "__index__") or isinstance(max_retries, bool) or max_retries < 0
    ):
        raise ConfigurationError(
            f"max_retries must be a whole number from 0, not {max_retries!r}", param="max_retries"
        )
    if wire is not None and wire not in tuple(WIRES):
        raise ConfigurationError(
            f"wire={wire!r} is unknown; choose from {', '.join(WIRES)}", param="wire"
        )
    check_headers(headers)


def check_headers(headers: Any) -> None:
    """Raise if headers are not texts by their names. The error does not show their values.

    Raises:
        ConfigurationError: The text names the header.
    """
    if headers is None:
        return
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"headers= has the type {type(headers).__name__}; pass a mapping such as "
            "{'x-name': 'value'}",
            param="headers",
        )
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(
                f"the header {name!r} has a value of the type {type(value).__name__}; names and "
                "values of headers are texts",
                param="headers",
            )


def check_names(**names: Any) -> None:
    """Raise if a name of a deployment, a model or an endpoint is not a text, or is empty.

    An empty text is most often a variable that has no value. It does not mean the default, because
    the request would go to a deployment that the caller did not name.

    Raises:
        ConfigurationError: The text names the argument.
    """
    for name, value in names.items():
        if value == "":
            raise ConfigurationError(
                f"{name} is an empty text; pass a name, or leave it out for the default", param=name
            )
        if value is not None and not isinstance(value, str):
            refuse(name, value, "a name")


def check_tool(name: Any, description: Any, **described: Any) -> None:
    """Raise if a part of a tool, or of a response format, has a wrong type.

    Args:
        name: Its name.
        description: What it is for.
        **described: The mapping that describes its input or output, by the argument's name.

    Raises:
        ConfigurationError: The text names the argument.
    """
    if not isinstance(name, str) or not name:
        refuse("name", name, "a text with letters, digits, _ and -")
    if description is not None and not isinstance(description, str):
        refuse("description", description, "a text")
    for each, value in described.items():
        if value is not None and not isinstance(value, Mapping):
            refuse(each, value, "a mapping, such as a JSON Schema")


def check_config(config: Any, endpoint: Any, routes: Any, aliases: Any, reload_after: Any) -> None:
    """Raise if an argument of `from_config` has a wrong type.

    Raises:
        ConfigurationError: The text names it.
    """
    if not isinstance(config, str | PathLike | Mapping):
        refuse("config", config, "the path of a file, or a mapping in its form")
    check_names(endpoint=endpoint)
    if isinstance(routes, str | Mapping) or not is_iterable(routes):
        refuse("routes", routes, "a list of Route")
    if aliases is not None and not isinstance(aliases, Mapping):
        refuse("aliases", aliases, "a mapping of names")
    is_number = isinstance(reload_after, int | float) and not isinstance(reload_after, bool)
    if reload_after is not None and not (is_number and reload_after >= 0):
        raise ConfigurationError(
            f"reload_after must be a number of seconds from 0, or None, not {reload_after!r}",
            param="reload_after",
        )
