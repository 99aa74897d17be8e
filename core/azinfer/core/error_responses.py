"""Error responses: status, headers and body, in any dialect, become one typed exception."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from azinfer.core.error_bodies import ErrorFacts, read_error
from azinfer.core.errors import (
    GITHUB_ENDED,
    REQUEST_ID_HEADERS,
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
    printable,
)

Json = Mapping[str, Any]

# Codes and types, without their case and punctuation and without "error" at their end; each with
# the status of an error that has none of its own, such as an event inside a stream.
# Sources: "Errors" of the Azure OpenAI and Anthropic API references; "The response object",
# `error.code`; the classes of vLLM and of LiteLLM's proxy.
_KINDS: tuple[tuple[type[APIStatusError], int, str], ...] = (
    (DeploymentNotFoundError, 404, "deploymentnotfound unknownmodel unavailablemodel"),
    (DeploymentNotFoundError, 404, "modelnotfound"),
    (ContentFilterError, 400, "contentfilter contentfiltered responsibleaipolicyviolation"),
    (ContentFilterError, 400, "contentpolicyviolation"),
    (ContextLengthExceededError, 400, "contextlengthexceeded contextwindowexceeded"),
    (ContextLengthExceededError, 413, "tokenslimitreached"),
    (UnsupportedParameterError, 400, "unsupportedparameter unsupportedvalue unknownparameter"),
    (UnsupportedParameterError, 422, "parameternotsupported"),
    (RateLimitError, 429, "ratelimitreached ratelimitexceeded ratelimit toomanyrequests"),
    (RateLimitError, 429, "quotaexceeded throttled throttling"),
    (RateLimitError, 200, "insufficientquota"),  # this is not a rate limit: waiting does not help
    (ServerError, 500, "server internalserver internal api model"),
    (ServerError, 502, "badgateway upstream"),
    (ServerError, 503, "serviceunavailable serverisoverloaded engineoverloaded slowdown"),
    (ServerError, 504, "timeout gatewaytimeout requesttimeout"),
    (ServerError, 529, "overloaded"),
    (AuthenticationError, 401, "authentication unauthorized invalidapikey"),
    (PermissionDeniedError, 403, "permission forbidden"),
    (BadRequestError, 400, "badrequest invalidrequest invalidprompt invalidinput nomodelname"),
    (BadRequestError, 400, "operationnotsupported unsupportedtooluse responsecancelled"),
    (BadRequestError, 404, "notfound"),
    (BadRequestError, 413, "requesttoolarge"),
)
_BY_CODE = {code: (kind, status) for kind, status, codes in _KINDS for code in codes.split()}
_BY_STATUS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    408: ServerError,
    429: RateLimitError,
}
_ADVICE: dict[type[APIStatusError], str] = {
    AuthenticationError: "Check the credential, its role (Cognitive Services User) and that it "
    "belongs to this endpoint.",
    PermissionDeniedError: "Check the resource's network rules and the role of the credential.",
}
_ADVICE_BY_CODE = {
    "authenticationtypedisabled": "Pass a credential of azure-identity instead of a key.",
    # Its text says that this is temporary.
    "github_models_retirement_brownout": f"{GITHUB_ENDED}.",
    "thread_unsupported_request": "Send the whole conversation instead of a previous message's id.",
}
_ADVICE_BY_TEXT = {
    "The chatCompletion operation does not work": "Call embed() for a model of embeddings. "
    "For a model on another wire pass wire='responses', or wire='messages' for Claude.",
    "The embeddings operation does not work": "Check that the deployment's model creates "
    "embeddings; for images call embed_images().",
    "not supported in your workspace": "Claude deployments hosted on Azure (model version 2) have "
    "no structured outputs, strict tools or server tools; those hosted on Anthropic (version 1) "
    "do: leave it out, or deploy version 1.",
}
_LONGEST_MESSAGE = 1000  # characters of the service's own text; advice comes behind it
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
    facts = read_error(body)
    refused = _refused_field(facts.message, facts.details)
    kind, status = _kind(status, facts, inner_status(status, headers), refused)
    code = _code(facts) or headers.get("x-ms-error-code") or str(status)
    message = facts.message or headers.get("x-ms-error-reason") or f"HTTP status {status}"
    advice = _ADVICE_BY_CODE.get(code.casefold()) or _ADVICE.get(kind)
    advice = next((each for part, each in _ADVICE_BY_TEXT.items() if part in message), advice)
    if kind is BadRequestError and status == 404:
        advice = _NOT_FOUND
    failure = kind(
        with_advice(message, advice),
        status=status,
        code=code,
        param=facts.param or refused,
        details=facts.details,
        request_id=request_id(headers) or facts.request_id,
        raw=body,
        headers=headers,
    )
    if isinstance(failure, ContentFilterError):
        results = facts.filter_results
        failure.categories = filtered_categories(results)
        failure.message = with_advice(failure.message, _filter_summary(results, failure.categories))
    return failure


def _kind(
    status: int, facts: ErrorFacts, inner: int, refused: str | None
) -> tuple[type[APIStatusError], int]:
    """Return the class of an error and its status: from its codes, its types, then its status.

    A code that only says that the request is bad does not overrule a status that says more.

    Args:
        status: The HTTP status; 200 for an error instead of an answer.
        facts: What the body says.
        inner: The model's own status, which some routes wrap.
        refused: A field of the request that the text names.
    """
    known = [_BY_CODE[name] for name in map(_key, (*facts.codes, *facts.types)) if name in _BY_CODE]
    kind = next((each for each, _ in known if each is not BadRequestError), None)
    named = next((each for _, each in known), None)
    if status == 200:
        status = inner = facts.status or named or 200
    elif facts.status and facts.status != status and inner == status:
        inner = facts.status
    if kind is None:
        kind = BadRequestError if inner == 200 and known else _by_status(inner)
    if kind is BadRequestError or (kind is ServerError and inner == 200 and not known):
        kind = _by_text(facts.message, refused) or kind
    return kind, status


def _by_status(status: int) -> type[APIStatusError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500 or status == 200:  # an unknown failure may pass, whatever it is called
        return ServerError
    return APIStatusError if status < 400 else BadRequestError


def _by_text(text: str, refused: str | None) -> type[APIStatusError] | None:
    if re.search(_UNKNOWN_MODEL, text):
        return DeploymentNotFoundError
    if refused:
        return UnsupportedParameterError
    return ContextLengthExceededError if re.search(_TOO_LONG, text) else None


def _key(name: str) -> str:
    """Return a code without case, punctuation and "error" at its end."""
    return re.sub(r"[^a-z0-9]", "", name[:100].casefold()).removesuffix("error")


def _code(facts: ErrorFacts) -> str | None:
    """Return the code that says most: one that is known, a name, a known type, or a number."""
    names = [code for code in facts.codes if not code.isdecimal()]
    types = [name for name in facts.types if _says_kind(name)]
    known = (code for code in names if _says_kind(code))
    return next(known, None) or next(iter((*names, *types, *facts.codes)), None)


def _says_kind(code: str) -> bool:
    return _BY_CODE.get(_key(code), (BadRequestError, 0))[0] is not BadRequestError


def with_advice(message: str, advice: str | None) -> str:
    """Return a message, followed by a sentence with what to do about it."""
    if advice is None:
        return message
    if advice in message:
        return message
    message = printable(message, _LONGEST_MESSAGE)
    return f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} {advice}"


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the service's id of a request, for its support."""
    for name in REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return value
    return None


def inner_status(status: int, headers: Mapping[str, str]) -> int:
    """Return the model's own status if the route wraps it as 424, else the status itself.

    Source: "Troubleshoot online endpoints", HTTP status codes, Azure Machine Learning.
    """
    inner = headers.get("ms-azureml-model-error-statuscode", "")
    return int(inner) if status == 424 and re.fullmatch("[1-5][0-9][0-9]", inner) else status


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
    details = result.get("details") if isinstance(result, Mapping) else None
    listed = details if isinstance(details, list) else ()
    hits = (each for each in listed if isinstance(each, Mapping) and each.get("filtered"))
    return ", ".join(str(each["id"]) for each in hits if each.get("id"))


def _refused_field(text: str, details: Sequence[Detail]) -> str | None:
    for sentence in _FIELD_REFUSED:
        if field := re.search(sentence, text):
            return field[1]
    for detail in details:
        if detail.message.startswith("Extra inputs"):
            return ".".join(part for part in detail.loc if part != "body")
    return None
