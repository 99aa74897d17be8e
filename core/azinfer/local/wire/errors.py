"""Errors: the responses other than 200, in the dialect of each surface.

The bodies are those of the services. Sources: the recorded and quoted responses in
`tests/core/bodies.jsonl`, each with the public place where it was found.
"""

from __future__ import annotations

import math
from typing import Any

from starlette.responses import PlainTextResponse, Response

from azinfer.local.wire.json import AsciiResponse, in_header
from azinfer.local.wire.surfaces import ANTHROPIC, COHERE, DEPLOYMENTS, V1


class ErrorResponse(Exception):  # noqa: N818
    """A response other than 200.

    Args:
        status: The HTTP status.
        body: The JSON body, or a text.
        headers: Additional headers.
    """

    def __init__(
        self, status: int, body: dict[str, Any] | str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}

    def to_response(self) -> Response:
        """Return the HTTP response."""
        headers = {name: in_header(value) for name, value in self.headers.items()}
        if isinstance(self.body, str):
            return PlainTextResponse(self.body, self.status, headers)
        return AsciiResponse(self.body, self.status, headers)


def in_arm(status: int, code: str, message: str) -> ErrorResponse:
    """Return an error of Azure Resource Manager."""
    return ErrorResponse(status, error_body(code, message))


def no_model(surface: str) -> ErrorResponse:
    """Return the error for a request that has to name a deployment and does not."""
    if surface in (V1, DEPLOYMENTS):
        message = "Missing required parameter: 'model'."
        return ErrorResponse(400, openai_error_body(message, "missing_required_parameter", "model"))
    message = (
        "No model specified in request. Please provide a model name in the request body or as "
        "a x-ms-model-mesh-model-name header."
    )
    return ErrorResponse(400, error_body("no_model_name", message, details=message))


def unknown_model(surface: str, name: str) -> ErrorResponse:
    """Return the error for a name that no deployment has."""
    if surface in (V1, DEPLOYMENTS, ANTHROPIC):
        return ErrorResponse(
            404,
            {
                "error": {
                    "type": "invalid_request_error",
                    "code": "DeploymentNotFound",
                    "message": "The API deployment for this resource does not exist. If you "
                    "created the deployment within the last 5 minutes, please wait a moment "
                    "and try again.",
                }
            },
        )
    if surface == COHERE:
        # Recorded in crmne/ruby_llm: the name in lower case, and the text twice.
        message = (
            f"The API deployment {name.lower()} does not exist. If you created the deployment "
            "within the last 5 minutes, please wait a moment and try again."
        )
        body = error_body("DeploymentNotFound", message, details=message)
        return ErrorResponse(404, body, {"x-ms-error-code": "DeploymentNotFound"})
    message = f"Unknown model: {name}"
    return ErrorResponse(404, error_body("unknown_model", message, details=message))


def wrong_operation(operation: str, model: str, alone: bool = False) -> ErrorResponse:
    """Return the error for an operation that the deployment's model does not support.

    Args:
        operation: The name of the operation.
        model: The name of the model.
        alone: Whether the endpoint has only this model, as serverless endpoints have.
    """
    if alone:
        return ErrorResponse(404, "NOT FOUND")
    message = (
        f"The {operation} operation does not work with the specified model, {model}. Please "
        "choose different model and try again. You can learn more about which models can be used "
        "with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993."
    )
    return ErrorResponse(400, error_body("OperationNotSupported", message))


def bad_request(
    surface: str, message: str, param: str | None = None, code: str = ""
) -> ErrorResponse:
    """Return the error for an invalid body."""
    if surface == COHERE:
        return ErrorResponse(400, {"message": message})
    if surface in (V1, DEPLOYMENTS):
        return ErrorResponse(400, openai_error_body(message, code or "invalid_value", param))
    if param is None:
        return ErrorResponse(400, error_body(code or "BadRequest", message))
    detail = {"type": "value_error", "loc": ["body", *param.split(".")], "msg": message}
    body = error_body(code or "Invalid input", message, status=422, details=[detail])
    return ErrorResponse(422, body)


def unsupported_parameter(surface: str, name: str, value: Any, instead: str = "") -> ErrorResponse:
    """Return the error for a field that the deployment's model does not support.

    Args:
        surface: The surface of the request.
        name: The name of the field.
        value: The value of the field.
        instead: The field to use instead, if OpenAI's models have one.
    """
    if instead or surface in (V1, DEPLOYMENTS):
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        message += f" Use '{instead}' instead." if instead else ""
        return ErrorResponse(400, openai_error_body(message, "unsupported_parameter", name))
    return ErrorResponse(
        422,
        {
            "status": 422,
            "code": "parameter_not_supported",
            "detail": {"loc": ["body", *name.split(".")], "input": value},
            "message": "One of the parameters contain invalid values.",
        },
    )


def unsupported_value(name: str, value: float, default: float) -> ErrorResponse:
    """Return the error for a value other than the only one that the model accepts."""
    message = (
        f"Unsupported value: '{name}' does not support {value:g} with this model. Only the "
        f"default ({default:g}) value is supported."
    )
    return ErrorResponse(400, openai_error_body(message, "unsupported_value", name))


def too_old(what: str, since: str) -> ErrorResponse:
    """Return the error for a feature that needs a newer api-version."""
    message = f"{what} is enabled only for api versions {since} and later"
    return ErrorResponse(400, error_body("BadRequest", message))


def extra_parameters(surface: str, names: list[str]) -> ErrorResponse:
    """Return the error for fields that the operation does not know."""
    if surface in (V1, DEPLOYMENTS):
        message = f"Unrecognized request argument supplied: {', '.join(names)}"
        return ErrorResponse(
            400, {"error": {**openai_error_body(message, "", None)["error"], "code": None}}
        )
    return ErrorResponse(
        400,
        {
            "detail": f"Extra parameters {names} are not allowed when extra-parameters is not "
            "set or set to be 'error'. Set extra-parameters to 'pass-through' to pass to the "
            "model."
        },
    )


def rate_limited(surface: str, deployment: str, model: str, wait: float) -> ErrorResponse:
    """Return the error for a rate limit that is used up.

    Args:
        surface: The surface of the request.
        deployment: The name of the deployment.
        model: The name of its model.
        wait: Seconds until the request may fit.
    """
    seconds = max(1, math.ceil(wait))
    if surface in (V1, DEPLOYMENTS):
        message = (
            f"Requests to the {model} deployment have exceeded the rate limit of your current "
            f"capacity. Please retry after {seconds} seconds."
        )
        return _too_many(error_body("429", message), wait)
    message = f"Your requests to {deployment} for {model} in local have exceeded rate limit."
    return _too_many(error_body("RateLimitReached", message, details=message), wait)


def at_capacity(surface: str, deployment: str) -> ErrorResponse:
    """Return the error for a provisioned deployment without a free unit.

    Args:
        surface: The surface of the request.
        deployment: The name of the deployment.
    """
    message = (
        f"The provisioned deployment {deployment} is at 100% of its capacity. "
        "Please retry after 1 second."
    )
    code = "429" if surface in (V1, DEPLOYMENTS) else "RateLimitReached"
    return _too_many(error_body(code, message), 1.0)


def _too_many(body: dict[str, Any], wait: float) -> ErrorResponse:
    seconds = max(1, math.ceil(wait))
    headers = {"retry-after": str(seconds), "retry-after-ms": str(max(1, round(wait * 1000)))}
    return ErrorResponse(429, body, headers)


def filtered_prompt(spelling: str, results: dict[str, Any]) -> ErrorResponse:
    """Return the error for a prompt that a content filter blocked."""
    message = (
        "The response was filtered due to the prompt triggering Azure OpenAI's content management "
        "policy. Please modify your prompt and retry."
    )
    if spelling == "flat":
        flat = {"status": 400, "code": "content_filter", "message": message}
        flat |= {"param": "messages", "type": None, "content_filter_results": results}
        return ErrorResponse(400, flat)
    plural = "s" if spelling == "inner_error" else ""
    inner = {"code": "ResponsibleAIPolicyViolation", f"content_filter_result{plural}": results}
    more = {"type": None, "param": "prompt", "status": 400, spelling: inner}
    return ErrorResponse(400, error_body("content_filter", message, **more))


def not_json(surface: str, body: str) -> ErrorResponse:
    """Return the error for a body whose content type is not JSON."""
    if surface in (V1, DEPLOYMENTS):
        message = "The content type must be application/json."
        return ErrorResponse(415, error_body("UnsupportedMediaType", message))
    reason = "Input should be a valid dictionary or object to extract fields from"
    detail = {"type": "model_attributes_type", "loc": ["body"], "msg": reason, "input": body}
    invalid = error_body("Invalid input", "invalid input error", status=422, details=[detail])
    return ErrorResponse(422, invalid)


def malformed_body(message: str) -> ErrorResponse:
    """Return the error for a body that is not a JSON object."""
    return ErrorResponse(400, error_body("BadRequest", message))


def not_multipart(kind: str) -> ErrorResponse:
    """Return the error for a file that is not uploaded as a form."""
    message = f"The content type must be multipart/form-data, not {kind or 'none'!r}."
    return ErrorResponse(415, error_body("UnsupportedMediaType", message))


def too_large(limit: int) -> ErrorResponse:
    """Return the error for a body that is too long."""
    return ErrorResponse(
        413, error_body("RequestEntityTooLarge", f"The request is over {limit} bytes.")
    )


def too_slow() -> ErrorResponse:
    """Return the error for a body that arrives too slowly; the connection is closed."""
    message = "The body of the request did not arrive in time."
    return ErrorResponse(408, error_body("RequestTimeout", message), {"connection": "close"})


def wrong_host(host: str) -> ErrorResponse:
    """Return the error for a request for a host that this endpoint does not serve."""
    message = (
        f"This endpoint does not serve the host {host[:200]!r}. Use localhost or 127.0.0.1, or "
        "allow the host with --allow-host (allowed_hosts= in Python)."
    )
    return ErrorResponse(421, error_body("MisdirectedRequest", message))


def foreign_origin(origin: str) -> ErrorResponse:
    """Return the error for a request from a web page of another site."""
    message = (
        f"Requests of web pages from {origin[:200]!r} are refused here; only the endpoint's own "
        "page may use the admin API in a browser."
    )
    return ErrorResponse(403, error_body("OriginNotAllowed", message))


def not_found() -> ErrorResponse:
    """Return the error for an unknown path, or a missing api-version."""
    return ErrorResponse(404, error_body("404", "Resource not found"))


def unknown_id(message: str, param: str | None = None) -> ErrorResponse:
    """Return the error for an id that no file, batch or response has."""
    return ErrorResponse(
        404, {"error": {**openai_error_body(message, "", param)["error"], "code": None}}
    )


def not_allowed() -> ErrorResponse:
    """Return the error for a method that the path does not accept."""
    return ErrorResponse(405, error_body("405", "Method Not Allowed"))


def client_left() -> ErrorResponse:
    """Return the error for a client that left before the response; only the log shows it."""
    return ErrorResponse(499, error_body("ClientClosedRequest", "The client closed the request."))


def bad_version() -> ErrorResponse:
    """Return the error for an invalid api-version."""
    return ErrorResponse(400, error_body("BadRequest", "API version not supported"))


def internal_error(request_id: str) -> ErrorResponse:
    """Return the error for a failure of the endpoint itself."""
    message = f"The server had an error processing your request (request id {request_id})."
    return ErrorResponse(500, error_body("InternalServerError", message))


def error_body(code: str, message: str, **more: Any) -> dict[str, Any]:
    """Return the usual body of an error."""
    return {"error": {"code": code, "message": message, **more}}


def openai_error_body(message: str, code: str | None, param: str | None) -> dict[str, Any]:
    """Return the body of an error of OpenAI's own API."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return {"error": error}
