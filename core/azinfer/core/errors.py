"""All exceptions of azinfer, in one tree.

InferenceError
├── ConfigurationError              the request cannot be sent as it is (also a ValueError)
│   └── AmbiguousDeploymentError    several endpoints have a deployment of this name
├── APIConnectionError              no complete response came
│   └── APITimeoutError             … within the time allowed
├── APIStatusError                  the service responded with an error
│   ├── BadRequestError             400, 409, 413, 415, 422 …
│   │   ├── UnsupportedParameterError
│   │   ├── ContentFilterError
│   │   └── ContextLengthExceededError
│   ├── AuthenticationError         401
│   ├── PermissionDeniedError       403
│   ├── DeploymentNotFoundError     no deployment has this name, whatever the status
│   ├── RateLimitError              429
│   └── ServerError                 5xx, 408, 424
├── StreamInterruptedError          a stream ended before the response was complete
├── RouteExhaustedError             no deployment of a route could respond
└── InvalidResponseError            a response that does not follow the protocol
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from azinfer.core import lazy

_LONGEST = 1500
# In the order in which `request_id` takes them.
REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id")
# Source: "GitHub Models is being retired", GitHub Changelog, 1 July 2026.
PASS_CREDENTIAL = "pass credential= (a key, or a credential of azure-identity)"
GITHUB_ENDED = (
    "GitHub Models ended on 30 July 2026; deploy the model to an Azure AI Foundry resource and "
    "pass its URL, such as https://<resource>.services.ai.azure.com"
)


@dataclass(frozen=True, slots=True)
class Detail:
    """One field of the request that the service refused.

    Attributes:
        loc: Its place in the request, for example `("body", "n")`.
        message: What is wrong with the field.
        input: The value that was sent.
    """

    loc: tuple[str, ...]
    message: str
    input: Any = None


class _Headers(dict[str, str]):
    """Headers by their names in any case."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__((name.lower(), value) for name, value in headers.items())

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header, or a default."""
        return super().get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class ResponseInfo:
    """The response that an error came with, in the form that other libraries look for.

    Attributes:
        status_code: The HTTP status.
        headers: The headers, by their names in any case.
        content: The body.
    """

    status_code: int
    headers: Mapping[str, str]
    content: bytes = field(default=b"", repr=False)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode(errors="replace")


class InferenceError(Exception):
    """The base class of all exceptions of azinfer.

    Attributes:
        message: What happened, at which deployment, what to do next. Never empty.
        status: The HTTP status; None if no response came.
        code: The service's own code for the error, for example `"DeploymentNotFound"`.
        param: The field of the request that caused the error.
        details: The fields that caused it, if the service lists several.
        request_id: The service's id of the request, for its support; `request_ids` has all.
        retry_after: Seconds that the service asked to wait.
        deployment: The deployment that was called, as the caller spelled it.
        endpoint: The URL that was called, without its query.
        attempts: How many requests were sent.
        raw: The body of the response.
        headers: The headers of the response, by their names in lower case.
        partial: The part of a streamed response that came before the error.
    """

    partial: lazy.ChatCompletion | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        details: Sequence[Detail] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        deployment: str | None = None,
        endpoint: str | None = None,
        attempts: int = 0,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = printable(message) or type(self).__name__
        super().__init__(self.message)
        self.status = status
        self.code = code
        self.param = param
        self.details = tuple(details)
        self.request_id = request_id
        self.retry_after = retry_after
        self.deployment = deployment
        self.endpoint = endpoint
        self.attempts = attempts
        self.raw = raw
        self.headers = headers or {}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "message":  # loggers and pickles read `args`
            self.args = (printable(value) or type(self).__name__,)

    @property
    def request_ids(self) -> Mapping[str, str]:
        """The ids of the request by their headers, those of Azure's gateway and of the model.

        `apim-request-id` is the gateway's, `x-request-id` (or `request-id`) the model service's;
        Azure's support asks for both.
        """
        ids = ((name, self.headers.get(name)) for name in REQUEST_ID_HEADERS)
        return {name: value for name, value in ids if value}

    @property
    def status_code(self) -> int | None:
        """The HTTP status, by the name that openai, azure-core and httpx give it."""
        return self.status

    @property
    def response(self) -> ResponseInfo | None:
        """The response with `status_code`, `headers` and `content`; None if none came."""
        if self.status is None:
            return None
        return ResponseInfo(self.status, _Headers(self.headers), self.raw or b"")

    def __str__(self) -> str:
        facts = {
            "deployment": self.deployment and repr(self.deployment),
            "endpoint": self.endpoint,
            "status": self.status,
            "code": self.code,
            "request id": self.request_id,
            **self._other_ids(),
            "attempts": self.attempts if self.attempts > 1 else None,
        }
        details = ", ".join(f"{name} {fact}" for name, fact in facts.items() if fact)
        message = printable(self.message)
        return f"{message} ({printable(details)})" if details else message

    def _other_ids(self) -> dict[str, str]:
        """Return the ids of the request besides `request_id`, by their headers."""
        ids = self.request_ids.items()
        return {name: value for name, value in ids if value != self.request_id}

    def with_partial(self, partial: lazy.ChatCompletion) -> Self:
        """Attach the part of the response that came before the error."""
        self.partial = partial
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are sent between processes (multiprocessing, Celery, Ray): plain fields only.
        return _rebuild, (type(self), self.__dict__)


class ConfigurationError(InferenceError, ValueError):
    """The request cannot be sent as it is; nothing was sent."""


class AmbiguousDeploymentError(ConfigurationError):
    """Several endpoints have a deployment of this name; write one of `candidates` instead.

    Attributes:
        candidates: The names that are not ambiguous, for example `"gpt-4o@west"`.
    """

    def __init__(self, message: str, *, candidates: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


class APIConnectionError(InferenceError):
    """The service could not be reached, or the connection broke before the response ended.

    Attributes:
        unsent: Whether no connection was established, so that nothing of the request was sent.
    """

    unsent: bool = False


class APITimeoutError(APIConnectionError):
    """No complete response came within the time limit."""


class APIStatusError(InferenceError):
    """The service responded with an error."""


class BadRequestError(APIStatusError):
    """The service refused the request; sending it again does not help."""


class UnsupportedParameterError(BadRequestError):
    """The model behind the deployment does not support a parameter; `param` names it."""


class ContentFilterError(BadRequestError):
    """A content filter refused the prompt.

    Attributes:
        categories: The severity by category: `"low"`, `"medium"` or `"high"`, and
            `"detected"` for categories without a severity.
    """

    categories: Mapping[str, str] = {}


class ContextLengthExceededError(BadRequestError):
    """The messages are longer than the model's context window or the deployment's limit."""


class AuthenticationError(APIStatusError):
    """The credential is missing, wrong or expired, or has no role; Azure sends 401 for all."""


class PermissionDeniedError(APIStatusError):
    """The credential is right but the network or a policy forbids the request."""


class DeploymentNotFoundError(APIStatusError):
    """No deployment has this name.

    Attributes:
        suggestions: Known names that are most like it, best first.
    """

    suggestions: tuple[str, ...] = ()


class RateLimitError(APIStatusError):
    """The rate limit of the deployment is used up; `retry_after` has the seconds to wait."""


class ServerError(APIStatusError):
    """The service failed; the same request may succeed later."""


class StreamInterruptedError(InferenceError):
    """A stream ended before the response was complete; `partial` has what came."""


class RouteExhaustedError(InferenceError):
    """No deployment of a route answered; `retry_after` says when to try again.

    Attributes:
        route: The name of the route.
        tried: Every request that was sent, oldest first.
        skipped: Deployments that were not called, and why.
    """

    route: str | None = None
    tried: tuple[lazy.Attempt, ...] = ()
    skipped: Mapping[str, str] = {}


class InvalidResponseError(InferenceError):
    """The response does not follow the protocol."""


def missing_extra(extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error that an adapter raises if its framework is not installed."""
    return ModuleNotFoundError(
        f"azinfer needs {error.name} for this: pip install 'azinfer[{extra}]'", name=error.name
    )


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return text that is safe in a log line: of limited length, without control characters."""
    if len(text) > longest:
        text = f"{text[:longest]}…"
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text)
    return text.strip()


def _rebuild(kind: type[InferenceError], state: dict[str, Any]) -> InferenceError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error
