"""Errors of Anthropic Messages on Foundry, which come in three dialects behind one URL.

The gateway answers as Azure does (a wrong key, an unknown path, a content filter), an unknown
deployment is a mixture, and everything else is the model side's own form.

Source: "Errors" of Anthropic's API reference; Azure's answers quoted in BerriAI/litellm#16964
and BerriAI/litellm#17765.
"""

from __future__ import annotations

from typing import Any

from azinfer.local.wire.errors import ErrorResponse, error_body

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OF_GATEWAY = (401, 404, 405)
_CODES_OF_GATEWAY = ("content_filter", "api_not_supported", "OperationNotSupported")


def error_type(status: int) -> str:
    """Return the type of an error with an HTTP status; in streams only the type is sent."""
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def anthropic_error(message: str, status: int = 400, **details: Any) -> ErrorResponse:
    """Return an error of the model side, for example `messages: Field required`.

    Args:
        message: What is wrong; it begins with the field.
        status: The HTTP status.
        details: The fields of `error.details`, where clients act on them.
    """
    error: dict[str, Any] = {"type": error_type(status), "message": message}
    if details:
        error["details"] = details
    return ErrorResponse(status, {"type": "error", "error": error})


def api_not_supported() -> ErrorResponse:
    """Return the error for a deployment whose model does not answer Messages."""
    message = "Requested API is currently not supported"
    return ErrorResponse(404, error_body("api_not_supported", message, details=message))


def translate(error: ErrorResponse, request_id: str) -> ErrorResponse:
    """Return an error as Messages answer it: the model side's form, unless the gateway's.

    Args:
        error: The error as the shared parts of the endpoint raise it.
        request_id: The id that the body repeats.
    """
    body = error.body if isinstance(error.body, dict) else {}
    inner = body.get("error")
    inner = inner if isinstance(inner, dict) else {}
    if body.get("type") == "error":
        return ErrorResponse(error.status, {**body, "request_id": request_id}, error.headers)
    if error.status in _OF_GATEWAY or inner.get("code") in _CODES_OF_GATEWAY:
        return error
    status = 400 if error.status == 422 else error.status
    message = inner.get("message") or body.get("message") or str(error.body)
    new = anthropic_error(str(message), status).body
    assert isinstance(new, dict)
    return ErrorResponse(status, {**new, "request_id": request_id}, error.headers)
