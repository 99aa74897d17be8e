"""Families of models: the differences in what models accept and report.

A deployment behaves as its model does; which model accepts what is in the catalog of
`azinfer.core`. The errors are as quoted in cline/cline#1700, holoviz/lumen#1070 and
gabrii/Cursor-Azure-GPT-5#33.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from azinfer.core.model_catalog import family_of, parameters_of_families, unasked_usage_of
from azinfer.local.engines.base import last_text
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.wire.body import Json
from azinfer.local.wire.errors import (
    ErrorResponse,
    bad_request,
    openai_error_body,
    unsupported_parameter,
    unsupported_value,
)
from azinfer.local.wire.surfaces import DEPLOYMENTS, MODELS, SERVERLESS, V1

# What a response must include to have log probabilities.
LOGPROBS = "message.output_text.logprobs"
_ONLY_DEFAULT: dict[str, float] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}


def reasons(deployment: LocalDeployment) -> bool:
    """Return whether the model only accepts the parameters of OpenAI's reasoning models."""
    family = family_of(deployment.model_name, is_model_id=deployment.has_model)
    limit = parameters_of_families()[family].get("token_limit") if family else None
    return limit == "max_completion_tokens"


def reports_usage(deployment: LocalDeployment, surface: str) -> Literal["each", "last"] | None:
    """Return on which chunks of a stream the usage is reported without being asked for.

    Args:
        deployment: The deployment.
        surface: The surface of the request.

    Returns:
        `"each"` chunk, the `"last"` of a choice, or None.
    """
    # The counts of an engine that passes responses through may come after that chunk.
    if (
        surface not in (MODELS, SERVERLESS)
        or deployment.engine_capabilities.passes_requests_through
    ):
        return None
    return unasked_usage_of(deployment.model_name, is_model_id=deployment.has_model)


def check_chat(body: Json, deployment: LocalDeployment, surface: str) -> None:
    """Raise if the deployment's model does not accept a field of a chat.

    Raises:
        ErrorResponse: The model does not accept a field.
    """
    if surface in (V1, DEPLOYMENTS):
        _check_tools(body, deployment)
    if not deployment.engine_capabilities.passes_requests_through:
        # An engine that gets the whole request knows better what its model accepts.
        _check_together(body, deployment, surface)
        if body.get("logprobs"):
            check_logprobs("logprobs", deployment, surface)
    if reasons(deployment):
        _check_reasoning(body, surface)


def _check_reasoning(body: Json, surface: str) -> None:
    """Refuse what no reasoning model of OpenAI takes.

    Source: "Azure OpenAI reasoning models", "Not supported".
    """
    if "max_tokens" in body:
        instead = "max_completion_tokens"
        raise unsupported_parameter(surface, "max_tokens", body["max_tokens"], instead)
    for name in ("logprobs", "top_logprobs", "logit_bias"):
        if body.get(name):
            raise unsupported_parameter(surface, name, body[name])
    for name, default in _ONLY_DEFAULT.items():
        if body.get(name, default) != default:
            raise unsupported_value(name, body[name], default)


def check_logprobs(field: str, deployment: LocalDeployment, surface: str) -> None:
    """Raise if the deployment's engine has no log probabilities, which a field asks for.

    Raises:
        ErrorResponse: The engine has none; models that reason have an error of their own.
    """
    able = deployment.engine_capabilities
    if not (able.logprobs or able.passes_requests_through or reasons(deployment)):
        message = (
            f"The engine of the deployment {deployment.name!r} reports no log probabilities; "
            f"leave {field!r} out, or choose another engine."
        )
        raise bad_request(surface, message, field, "unsupported_parameter")


def _check_together(body: Json, deployment: LocalDeployment, surface: str) -> None:
    """Refuse fields that need another one, in the words of OpenAI's API.

    Models of others answer in JSON without the word.
    """
    if "parallel_tool_calls" in body and not body.get("tools"):
        message = (
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when "
            "'tools' are specified."
        )
        raise bad_request(surface, message, "parallel_tool_calls")
    if not _is_openai(deployment):
        return
    if body.get("stream_options") and not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise bad_request(surface, message, "stream_options")
    if "max_tokens" in body and "max_completion_tokens" in body:
        message = (
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        )
        raise bad_request(surface, message, "max_tokens")
    _check_calls_answered(body["messages"], surface)
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
    if kind == "json_object" and not _says_json(body["messages"]):
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'."
        )
        raise bad_request(surface, message, "messages")


def _check_calls_answered(messages: Sequence[Json], surface: str) -> None:
    """Raise if results do not follow the message that calls tools."""
    calls: dict[str, None] = {}
    start = 0
    for at, message in enumerate([*messages, {"role": "end"}]):
        if message["role"] == "tool":
            calls.pop(str(message["tool_call_id"]), None)
            continue
        if calls:
            raise bad_request(
                surface,
                "An assistant message with 'tool_calls' must be followed by tool messages "
                "responding to each 'tool_call_id'. The following tool_call_ids did not have "
                f"response messages: {', '.join(calls)}",
                f"messages.{start}.role",
            )
        start = at
        calls = dict.fromkeys(str(call["id"]) for call in message.get("tool_calls") or ())


def _is_openai(deployment: LocalDeployment) -> bool:
    """Return whether the model refuses what those of OpenAI refuse; unknown ones do.

    An engine that gets the whole request knows better what its model accepts.
    """
    passes = deployment.engine_capabilities.passes_requests_through
    return not passes and deployment.facts.maker in ("", "OpenAI")


def _says_json(messages: Any) -> bool:
    if not isinstance(messages, list):
        return isinstance(messages, str) and "json" in messages.lower()
    messages = [each for each in messages if isinstance(each, Mapping)]
    return any("json" in last_text([message]).lower() for message in messages)


def writes_calls_whole(deployment: LocalDeployment, surface: str) -> bool:
    """Return whether streams have Mistral's form of tool calls: whole, without index and type.

    Source: the recordings in the tests of azure-ai-inference.
    """
    if deployment.engine_capabilities.passes_requests_through:
        return False
    if surface not in (MODELS, SERVERLESS):
        return False
    # Their ids, of nine characters, are as special as the form of their calls.
    family = family_of(deployment.model_name, is_model_id=deployment.has_model)
    return bool(family and parameters_of_families()[family].get("short_call_ids"))


def _check_tools(body: Json, deployment: LocalDeployment) -> None:
    """Refuse tools where newer models take them on Responses alone.

    The wording is as quoted in pipecat-ai/pipecat#4043 and danny-avila/LibreChat#14231.
    """
    condition, effort = deployment.facts.tools_on_chat, body.get("reasoning_effort")
    if not body.get("tools") or not condition:
        return
    if condition == "without reasoning" and effort == "none":
        return
    message = (
        f"Function tools with reasoning_effort are not supported for {deployment.model_name} in "
        "/v1/chat/completions. "
    )
    if condition == "never":
        message += "Please use /v1/responses instead."
    else:
        message += "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
    error = openai_error_body(message, None, "reasoning_effort")
    raise ErrorResponse(400, error)


def check_response(body: Json, deployment: LocalDeployment, surface: str) -> None:
    """Raise if the deployment's model does not accept a field of a response.

    Raises:
        ErrorResponse: The model does not accept a field.
    """
    if reasons(deployment):
        _check_reasoning_response(body, surface)
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, Mapping) else None
    is_object = isinstance(wanted, Mapping) and wanted.get("type") == "json_object"
    # Instructions do not count.
    if is_object and _is_openai(deployment) and not _says_json(body.get("input")):
        message = (
            "Response input messages must contain the word 'json' in some form to use "
            "'text.format' of type 'json_object'."
        )
        raise bad_request(surface, message, "input")


def _check_reasoning_response(body: Json, surface: str) -> None:
    for name in ("temperature", "top_p"):
        if name in body:
            raise unsupported_parameter(surface, name, body[name])
    if body.get("top_logprobs"):
        raise unsupported_parameter(surface, "top_logprobs", body["top_logprobs"])
    if LOGPROBS in (body.get("include") or ()):
        message = f"Unsupported value: {LOGPROBS!r} in 'include' with a model that reasons."
        raise bad_request(surface, message, "include", "unsupported_value")


def check_embedding(
    body: Json, deployment: LocalDeployment, surface: str, length: Any = None
) -> None:
    """Raise if the deployment's model cannot make vectors of the requested length.

    Args:
        body: The body of the request.
        deployment: The deployment.
        surface: The surface of the request.
        length: The length of its vectors, if it is known already.

    Raises:
        ErrorResponse: The model does not accept a field.
    """
    wanted = body.get("dimensions")
    if wanted is None:
        return
    choices = deployment.facts.dimension_choices
    if choices == ():
        raise unsupported_parameter(surface, "dimensions", wanted)
    longest = length or (choices[-1] if choices else wanted)
    if wanted > longest:
        must = f"less than or equal to {longest}"
    elif choices and wanted not in choices:
        must = f"one of {', '.join(map(str, choices))}"
    else:
        return
    message = f"Invalid value for 'dimensions' = {wanted}. Must be {must}."
    raise bad_request(surface, message, "dimensions")
