"""The attempts of one call: what is sent, what is learned, and when to send again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic

from azinfer.core import lazy
from azinfer.core.calls import API_VERSION, NOTHING, Call, T, call_numbers
from azinfer.core.credentials import Secret, Source
from azinfer.core.deadline import Deadline
from azinfer.core.deployments import Deployments
from azinfer.core.detours import detour
from azinfer.core.error_responses import from_response, request_id, with_advice
from azinfer.core.errors import (
    APIStatusError,
    AuthenticationError,
    DeploymentNotFoundError,
    InferenceError,
)
from azinfer.core.json_body import encode_json
from azinfer.core.legs import Leg, Rules
from azinfer.core.model_profiles import TOKEN_LIMITS, apply_correction, is_lossless
from azinfer.core.network import Request, Upload
from azinfer.core.redaction import redact_error, redact_headers
from azinfer.core.request_headers import PASS_THROUGH, may_pass_through, shared_headers
from azinfer.core.retries import may_have_arrived, retry_after, wait_before_retry
from azinfer.core.routing import Attempt, Decision, Routing
from azinfer.core.surfaces import scope_of

_NEWER_VERSION = r"(?i)api versions? (\d{4}-\d\d-\d\d(?:-preview)?) and later"

# Only audiences of Azure, so that no service can get a token for another one.
_AUDIENCE = (
    r"audience is incorrect \((https://(?:cognitiveservices|ai|ml)\.azure\.(?:com|us|cn))/?\)"
)

# Nine random bytes as text: the first 18 characters of all request ids of this process.
_PROCESS = os.urandom(9).hex()


class CallAttempts(Generic[T]):
    """The attempts of one call: the next request, and what follows from its outcome.

    The clients only send, read and wait; every decision is made here.

    Args:
        leg: The call, and the deployment that it goes to.
        rules: What the client allows.
        decision: How the name of the call led to the deployment, for a client from a file.

    Attributes:
        rejected: The secret that the service did not accept.
    """

    leg: Leg[T]
    call: Call[T]
    corrections: dict[str, str]
    nearest: Callable[[str], tuple[str, ...]] | None = (
        None  # by the names of a file, if one is used
    )
    # Most calls change none of these.
    rejected: str | None = None
    _retries = 0
    _may_be_done = False  # by a request that ended with an error
    _failure: InferenceError | None = None

    def __init__(self, leg: Leg[T], rules: Rules, decision: Decision | None = None) -> None:
        self._start(rules)
        self.decision = decision
        self._take(leg)

    def _start(self, rules: Rules) -> None:
        """Begin to count the time and the attempts."""
        self.timeout, self.max_retries = rules.timeout, rules.max_retries
        self.budget, self.clock = rules.budget, rules.clock
        self._id = f"{_PROCESS}-{next(call_numbers):04x}-{int(self.clock.random() * 2**48):012x}"
        self._end = self.clock.monotonic() + self.timeout.total
        self._attempts: list[Attempt] = []

    def _take(self, leg: Leg[T]) -> None:
        """Send the next requests to the deployment of a leg."""
        self.leg, self.call = leg, leg.call
        # A copy: calls do not change each other, and only a success is remembered.
        self.corrections = self.call.target.corrections.copy()
        self._learned: dict[str, str] = {}
        self.rejected = None
        self._url = self.call.url or self.call.target.url(self.corrections)
        self._body = self.call.body
        self._encoded = b"" if self._body is None else encode_json(self._body)
        self._adapted = self.call.adapted
        self._changed: set[str] = set()
        self._places: dict[str, str] = {}  # wires or routes, and what they answered

    @property
    def hedge(self) -> float | None:
        """Seconds without an answer after which a second request is sent; None for never."""
        return None

    def ready(self) -> float:
        """Return the seconds to wait before a request can be sent; 0 if it can be now.

        Raises:
            RouteExhaustedError: No deployment can take it in the time that is left for the call.
        """
        return 0.0

    def close(self) -> None:
        """End the call, however it ended; it can be called twice."""

    def handle_interruption(self, error: InferenceError) -> InferenceError:
        """Return the error of a stream that broke after its first chunk, with its context."""
        return self.with_context(error)

    @property
    def credential(self) -> Source:
        """The credential for the next request."""
        return self.leg.credential

    @property
    def surface(self) -> Any:
        """The surface for which the credential is used."""
        return self.call.target.endpoint.surface

    @property
    def scope(self) -> str | None:
        """The Entra ID scope of a token for this call."""
        scope = self.call.scope or scope_of(self.surface, self._url)
        return self.corrections.get(scope, scope) if scope else None

    def deadline(self, began: float) -> Deadline:
        """Return by when an attempt must end that began at a time of the clock."""
        attempt = self.timeout.attempt or self.timeout.total
        return Deadline(self.clock, min(self._end, began + attempt), self.timeout)

    def handle_rejected_credential(self) -> None:
        """Continue after the credential had only the rejected secret.

        Raises:
            InferenceError: Nothing else can be sent.
        """
        assert self._failure is not None
        raise self._failure

    def handle_failed_credential(self, error: InferenceError) -> None:
        """Continue after the credential returned no token, or raise its error."""
        raise error

    def request(self, secret: Secret, stream: bool = False) -> tuple[Request, Deadline]:
        """Return the next request, and the deadline for it.

        Args:
            secret: The secret for it.
            stream: Whether to request its answer as a stream.
        """
        self._secret = secret
        self._began = self.clock.monotonic()
        self._answer: Mapping[str, str] = NOTHING
        call = self.call
        headers = shared_headers(call, self._body, self.corrections, secret, stream)
        body: bytes | Upload = call.upload or self._encoded
        method = call.method or ("POST" if body else "GET")
        request = Request(method, self._url, headers, body, self._id)
        return request, self.deadline(self._began)

    def value_of(self, status: int, headers: Mapping[str, str], parts: list[bytes]) -> T:
        """Return the value of a complete response, whose body is in parts.

        Raises:
            InferenceError: The response is an error, or not valid.
        """
        if status == 404 and self.call.method == "DELETE" and self._may_be_done:
            parts = [b"{}"]  # an earlier request has deleted it
        elif status >= 300:
            raise self.error_of(status, headers, b"".join(parts))
        body = parts if self.call.reads_parts else b"".join(parts)
        value = self.call.read(body, headers, self.routing(status, headers))
        self._record_success()
        return value

    def error_of(self, status: int, headers: Mapping[str, str], body: bytes) -> InferenceError:
        """Return the error that a response contains."""
        error = from_response(status, headers, body)
        if 300 <= status < 400:
            error.message = (
                f"the endpoint redirects to {headers.get('location', '?')[:200]!r}. Redirects are "
                "not followed, so that nothing is sent to another host. Check the endpoint."
            )
        return error

    def routing(self, status: int, headers: Mapping[str, str]) -> Routing:
        """Return how the call was routed, once a response has come."""
        self._answer = headers = redact_headers(headers, self._secret.value)
        seconds = self.clock.monotonic() - self._began
        last = self._attempt(status, None, seconds, request_id(headers))
        target = self.call.target
        return target.routing(
            self._url,
            self._adapted,
            self.call.choice,
            requested=self.decision.requested if self.decision else target.model,
            deployment=headers.get("x-ms-deployment-name") or target.model,
            served_model=headers.get("x-ms-served-model"),
            attempts=(*self._attempts, last),
            region=headers.get("x-ms-region"),
            spilled_over=headers.get("x-ms-is-spilled-over", "").lower() == "true",
            headers=headers,
            decision=self.decision,
        )

    def _attempt(
        self, status: int | None, kind: str | None, seconds: float, request: str | None
    ) -> Attempt:
        endpoint = self.decision.endpoint if self.decision else None
        return Attempt(status, kind, seconds, request, self.call.target.model, endpoint)

    def reader(
        self, status: int, headers: Mapping[str, str], deadline: Deadline
    ) -> lazy.StreamReader:
        """Return the reader of a stream that has begun; from now on only `total` limits it."""
        self._record_success()
        deadline.at = self._end
        assert self.call.wire is not None
        return self.call.wire.reader(
            headers, self.routing(status, headers), self._id, self.call.response_format
        )

    def _record_success(self) -> None:
        self.budget.give_back()
        if self._learned:
            self.call.target.corrections.update(self._learned)
        if self._places and self.call.learn:
            self.call.learn()

    def wait_after(self, error: InferenceError) -> float:
        """Return the seconds to wait before the next request, after an attempt has failed.

        Raises:
            InferenceError: There is no further attempt.
        """
        seconds = self.clock.monotonic() - self._began
        kind = type(error).__name__
        self._attempts.append(self._attempt(error.status, kind, seconds, error.request_id))
        self._failure = self.with_context(error)
        if isinstance(error, AuthenticationError) and error.status == 401 and not self.rejected:
            self.rejected = self._secret.value
            if (audience := re.search(_AUDIENCE, error.message)) and self.scope:
                self._learn({self.scope: f"{audience[1]}/.default"})
            return 0.0
        if self._correct(error) or self._detour(error):
            return 0.0
        return self._next_wait(error)

    def _next_wait(self, error: InferenceError) -> float:
        """Return the seconds to wait after an error that is not about the form of the request."""
        if self.call.creates and may_have_arrived(error):
            advice = f"It may have succeeded: check {self.call.creates} before you repeat it."
            error.message = with_advice(error.message, advice)
            raise error
        self._may_be_done = self._may_be_done or may_have_arrived(error)
        self._retries += 1
        wait = wait_before_retry(error, self._retries, self.max_retries, self.budget, self.clock)
        if wait is None or self.clock.monotonic() + wait >= self._end:
            raise error
        return wait

    def with_context(self, error: InferenceError) -> InferenceError:
        """Return an error with the deployment, the endpoint, the request id and advice."""
        target = self.call.target
        error.deployment = target.model
        error.endpoint = target.endpoint.url
        error.attempts = max(1, len(self._attempts))
        # Errors in the body of a response are found where its headers are not available.
        error.headers = error.headers or self._answer
        if error.retry_after is None and error.status is not None:
            waits = retry_after(error.status, error.headers, self.clock, error.message)
            error.retry_after = waits
        error.request_id = error.request_id or request_id(self._answer)
        if isinstance(error, DeploymentNotFoundError):
            error.suggestions = (self.nearest or self.leg.known.nearest)(target.model or "")
            error.message = with_advice(error.message, _hint(error.suggestions, self.leg.known))
        if isinstance(error, AuthenticationError) and self.call.scope and self._is_key():
            advice = "This list needs a token of Entra ID, not a key."
            error.message = with_advice(error.message, advice)
        redact_error(error, self._secret.value)
        return error

    def _is_key(self) -> bool:
        return any(name == "api-key" for name, _ in self._secret.headers)

    def _correct(self, error: InferenceError) -> bool:
        """Change the request after the model refused it; return False if that cannot help."""
        if self._body is None or not isinstance(error, APIStatusError):
            return False
        if error.status not in (400, 422, 424):
            return False
        if (
            self._correct_version(error.message)
            or self._pass_through(error.message)
            or self._correct_on_wire(error)
        ):
            return True
        change = self._find_correction(f"{error.param} {error.message}")
        if change is None or change[0] in self._changed:
            return False
        name, new_name = change
        # Another call may have learned this after the present one was built.
        self._changed.add(name)
        self._learn({name: new_name})
        self._body, adaptation = apply_correction(self._body, name, new_name)
        self._adapted += (adaptation,)
        self._encoded = encode_json(self._body)
        return True

    def _learn(self, corrections: Mapping[str, str]) -> None:
        """Use corrections for this call from now on, and for all others once it succeeds."""
        self.corrections.update(corrections)
        self._learned.update(corrections)

    def _correct_on_wire(self, error: InferenceError) -> bool:
        """Send the body that the wire proposes after the refusal, if there is one."""
        wire = self.call.wire
        mended = wire.mend(self._body or {}, error) if wire else None
        if mended is None or mended.change in self._changed:
            return False
        self._changed.add(mended.change)
        self._learn(mended.learned)
        self._body, self._adapted = mended.body, (*self._adapted, mended.change)
        self._encoded = encode_json(self._body)
        return True

    def _detour(self, error: InferenceError) -> bool:
        """Send the same call where a refusal points: on another wire, or to another route."""
        other = detour(self.call, error, self._body or {}, self._places)
        if other is None:
            return False
        self.call, change = other
        self._url, self._body = self.call.target.url(self.corrections), self.call.body
        self._encoded = encode_json(self.call.body or {})
        self._adapted = (*self.call.adapted, change)
        return True

    def _correct_version(self, message: str) -> bool:
        """Use the api-version that the service asks for; return False if it names none."""
        version = re.search(_NEWER_VERSION, message)
        if version is None or API_VERSION in self._changed or self.call.target.endpoint.api_version:
            return False
        self._changed.add(API_VERSION)
        self._learn({API_VERSION: version[1]})
        self._url = self.call.target.url(self.corrections)
        self._adapted += (f"api-version → {version[1]}",)
        return True

    def _pass_through(self, message: str) -> bool:
        """Send extra parameters with the header that the service asks for."""
        name, value = PASS_THROUGH
        if name in self._changed or not may_pass_through(self.call.target, message):
            return False
        self._changed.add(name)
        self._learn({name: value})
        self._adapted += (f"{name}: {value}",)
        return True

    def _find_correction(self, message: str) -> tuple[str, str] | None:
        """Return a field and its new name; an empty name leaves out a field of our own."""
        assert self._body is not None
        for name in self.call.ours:
            if name in message and name in self._body:
                return name, ""
        if self.call.wire is None or self.call.wire.name != "chat":
            return None  # the other fields are those of chat completions
        if "tool_choice" in message and is_lossless(self._body, "tool_choice", "required"):
            return "tool_choice", "required"
        if "max_completion_tokens" in message:
            for name, other in (TOKEN_LIMITS, TOKEN_LIMITS[::-1]):
                if is_lossless(self._body, name, other) and other not in self.corrections:
                    return name, other
        return None


def _hint(suggestions: tuple[str, ...], known: Deployments) -> str:
    nearest = f"Did you mean {' or '.join(map(repr, suggestions))}? " if suggestions else ""
    if not known:
        return f"{nearest}Check model=; client.deployments() lists the deployments."
    return f"{nearest}This endpoint has: {', '.join(sorted(known))}."
