"""Error responses: status, headers and body, in any dialect, become one typed exception."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from azinfer.core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthExceededError,
    DeploymentNotFoundError,
    Detail,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
)

Json = Mapping[str, Any]

# The code decides before the status: the model inference route reports an unknown name as
# 404 `unknown_model` or 400, Azure OpenAI as 404 `DeploymentNotFound`.
_BY_CODE: dict[str, type[APIStatusError]] = {
    "deploymentnotfound": DeploymentNotFoundError,
    "unknown_model": DeploymentNotFoundError,
    "unavailable_model": DeploymentNotFoundError,
    "model_not_found": DeploymentNotFoundError,
    "content_filter": ContentFilterError,
    "contentfiltered": ContentFilterError,
    "responsibleaipolicyviolation": ContentFilterError,
    "content_policy_violation": ContentFilterError,
    "context_length_exceeded": ContextLengthExceededError,
    "tokens_limit_reached": ContextLengthExceededError,
    "unsupported_parameter": UnsupportedParameterError,
    "unsupported_value": UnsupportedParameterError,
    "unknown_parameter": UnsupportedParameterError,
    "parameter_not_supported": UnsupportedParameterError,
    "ratelimitreached": RateLimitError,
    "rate_limit_exceeded": RateLimitError,
    "insufficient_quota": RateLimitError,
}
_BY_STATUS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    408: ServerError,
    429: RateLimitError,
}
# Errors inside a stream have no status of their own, only a type or a code.
# Sources: "Errors" of Anthropic's API reference; "The response object", `error.code`.
_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ADVICE: dict[type[APIStatusError], str] = {
    AuthenticationError: "Check the credential, its role (Cognitive Services User) and that it "
    "belongs to this endpoint.",
    PermissionDeniedError: "Check the resource's network rules and the role of the credential.",
}
_ADVICE_BY_CODE = {
    "authenticationtypedisabled": "Pass a credential of azure-identity instead of a key.",
    "thread_unsupported_request": "Send the whole conversation instead of a previous message's id.",
}
_ADVICE_BY_TEXT = {
    "The chatCompletion operation does not work": "Call embed() for a model of embeddings. "
    "For a model on another wire pass wire='responses', or wire='messages' for Claude.",
    "The embeddings operation does not work": "Check that the deployment's model makes embeddings; "
    "for images call embed_images().",
    "not supported in your workspace": "Claude deployments hosted on Azure (model version 2) have "
    "no structured outputs, strict tools or server tools; those hosted on Anthropic (version 1) "
    "do: leave it out, or deploy version 1.",
}
_NOT_FOUND = "Check the endpoint's path and api-version."
# Sentences that name a field the model does not support, if neither code nor `param` does.
_FIELD_REFUSED = (
    r"Extra parameters \[['\"]?([^'\",\]]+)",
    r"#/(\w+): Extra inputs are not permitted",
    r"Unrecognized request arguments? supplied: (\w+)",
    r"Unsupported (?:parameter|value): '?([\w.]+)",
    r"^`?(\w+)`? is deprecated for this model",
    r"^`(\w+)` and `\w+` cannot both be specified",
    r'^"(thinking)\.[\w.]+" is not supported for this model',
    r"^adaptive (thinking) is not supported",
    r"does not support (effort) level",
    r"^(structured_outputs) not supported",
)
_TOO_LONG = r"(?i)maximum context length|context window|too many tokens|prompt is too long"
_UNKNOWN_MODEL = r"^(?:model: |Unknown model: )\S+$"


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
    """Return the error that a response contains, in whatever dialect it is written.

    Args:
        status: The HTTP status; 200 for an error event inside a stream.
        headers: The headers of the response, by their names in lower case.
        body: The body of the response, decoded from its content encoding.
    """
    parsed = _json(body)
    root = _object(parsed)
    error = _object(root.get("error")) or root
    text = _text(parsed, error)
    nested: Json = {}
    for _ in range(2):
        if inner := _object(_json(text.encode()) or _literal(text)):
            nested = _object(inner.get("error")) or inner
            text = _text(nested, nested)
    details = tuple(_details(nested)) or tuple(_details(error))
    refused = _refused_field(text, details)
    status = _status_of_event(error) if status == 200 else status
    code = _code(error) or _code(root) or headers.get("x-ms-error-code")
    if code is None and root.get("type") == "error":  # as Anthropic writes it
        code = error.get("type")
    code = code or str(status)
    kind = _kind(inner_status(status, headers), code, text, refused)
    message = text or _plain(body) or headers.get("x-ms-error-reason") or f"HTTP status {status}"
    advice = _ADVICE_BY_CODE.get(code.casefold()) or _ADVICE.get(kind)
    advice = next((each for part, each in _ADVICE_BY_TEXT.items() if part in message), advice)
    if kind is BadRequestError and status == 404:
        advice = _NOT_FOUND
    failure = kind(
        with_advice(message, advice),
        status=status,
        code=code,
        param=_param(error) or _param(nested) or refused,
        details=details,
        request_id=request_id(headers) or _string(root.get("request_id")),
        raw=body,
        headers=headers,
    )
    if isinstance(failure, ContentFilterError):
        results = _filter_results(error)
        failure.categories = filtered_categories(results)
        failure.message = with_advice(failure.message, _filter_summary(results, failure.categories))
    return failure


def with_advice(message: str, advice: str | None) -> str:
    """Return a message, followed by a sentence with what to do about it."""
    if advice is None:
        return message
    message = message.rstrip()
    return f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} {advice}"


def _status_of_event(error: Json) -> int:
    status = str(error.get("status") or error.get("code") or "")
    if re.fullmatch("[45][0-9][0-9]", status):
        return int(status)
    return _STATUS_OF.get(status) or _STATUS_OF.get(str(error.get("type")), 200)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the service's id of a request, for its support."""
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)


_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")


def inner_status(status: int, headers: Mapping[str, str]) -> int:
    """Return the model's own status if the route wraps it as 424, else the status itself.

    Source: "Troubleshoot online endpoints", HTTP status codes, Azure Machine Learning.
    """
    inner = headers.get("ms-azureml-model-error-statuscode", "")
    return int(inner) if status == 424 and inner.isdecimal() else status


def filtered_categories(results: Json) -> dict[str, str]:
    """Return the categories that a content filter refused, each with its severity."""
    return {
        name.replace("-", "_"): str(result.get("severity", "detected"))
        for name, result in results.items()
        if isinstance(result, Mapping) and result.get("filtered")
    }


def _filter_summary(results: Json, categories: Mapping[str, str]) -> str | None:
    """Return a sentence with what a content filter refused, and which blocklists matched."""
    hits = [
        f"{name} ({_blocklists(results.get(name)) or severity})"
        for name, severity in categories.items()
    ]
    return f"Found: {', '.join(hits)}." if hits else None


def _blocklists(result: Any) -> str:
    details = _object(result).get("details")
    listed = details if isinstance(details, list) else ()
    hits = (each for each in listed if isinstance(each, Mapping) and each.get("filtered"))
    return ", ".join(str(each["id"]) for each in hits if each.get("id"))


def _kind(status: int, code: str, text: str, refused: str | None) -> type[APIStatusError]:
    if known := _BY_CODE.get(code.casefold()):
        return known
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return ServerError
    if status < 400 and status != 200:
        return APIStatusError
    if re.search(_UNKNOWN_MODEL, text):
        return DeploymentNotFoundError
    if refused:
        return UnsupportedParameterError
    return ContextLengthExceededError if re.search(_TOO_LONG, text) else BadRequestError


def _refused_field(text: str, details: tuple[Detail, ...]) -> str | None:
    for sentence in _FIELD_REFUSED:
        if field := re.search(sentence, text):
            return field[1]
    for detail in details:
        if detail.message.startswith("Extra inputs"):
            return ".".join(part for part in detail.loc if part != "body")
    return None


def _code(error: Json) -> str | None:
    for key in ("code", "statusCode"):
        if isinstance(value := error.get(key), str | int) and value != "":
            return str(value)
    return None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _param(error: Json) -> str | None:
    if isinstance(param := error.get("param"), str) and param:
        return param
    detail = _object(error.get("detail"))
    loc = [str(part) for part in detail.get("loc") or () if part != "body"]
    return ".".join(loc) or None


def _text(parsed: Any, error: Json) -> str:
    for value in (error.get("message"), error.get("detail"), error.get("error"), parsed):
        if isinstance(value, str) and value:
            return value
    return "; ".join(f"{'.'.join(d.loc)}: {d.message}" for d in _details(error))


def _details(error: Json) -> Iterator[Detail]:
    value = error.get("detail") or error.get("details")
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, Mapping):
            loc = item.get("loc")
            yield Detail(
                tuple(map(str, loc)) if isinstance(loc, list | tuple) else (),
                str(item.get("msg") or item.get("message") or error.get("message") or ""),
                item.get("input"),
            )


def _filter_results(error: Json) -> Json:
    # Both spellings are in use: Azure OpenAI sends `innererror.content_filter_result`, and its
    # OpenAPI document declares `inner_error.content_filter_results`.
    # The Responses API lists them, with what each was found in.
    listed = error.get("content_filters")
    for each in listed if isinstance(listed, list) else ():
        if results := _object(_object(each).get("content_filter_results")):
            return results
    for inner in (_object(error.get("innererror")), _object(error.get("inner_error")), error):
        for key in ("content_filter_result", "content_filter_results"):
            if results := _object(inner.get(key)):
                return results
    return {}


def _object(value: Any) -> Json:
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, Mapping) else {}


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _literal(text: str) -> Any:
    # The message of some back ends is a printed Python dictionary.
    if not text.startswith("{") or len(text) > 10_000:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _plain(body: bytes) -> str:
    text = body[:2000].decode(errors="replace")
    return re.sub(r"<[^>]*>|\s+", " ", text) if text.lstrip().startswith("<") else text
