"""What an error of one deployment means for a call: go elsewhere or stop, and who is to blame."""

from __future__ import annotations

from azinfer.core.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ContentFilterError,
    DeploymentNotFoundError,
    InferenceError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from azinfer.core.routes.breaker import Failure
from azinfer.core.routes.policy import Policy

# The request is not to blame: the deployment is gone, or its credential is wrong.
_SETUP = (AuthenticationError, PermissionDeniedError, DeploymentNotFoundError)
_SETUP_PAUSE = 30.0


def failure_of(error: BaseException) -> Failure | None:
    """Return what counts against the deployment, or None if the request itself was refused."""
    reason = str(getattr(error, "status", None) or type(error).__name__)
    if isinstance(error, RateLimitError):
        return Failure(reason, True, error.retry_after)
    if isinstance(error, _SETUP):
        return Failure(reason, True, _SETUP_PAUSE)
    if isinstance(error, ServerError):
        return Failure(reason, error.retry_after is not None, error.retry_after)
    if isinstance(error, StreamInterruptedError):
        return Failure("stream broke", True)
    if isinstance(error, APIConnectionError | InvalidResponseError):
        return Failure(reason)
    return None


def moves_on(error: InferenceError, policy: Policy) -> bool:
    """Return whether another deployment may answer instead.

    A request that is refused for what it says would be refused everywhere; a prompt that a
    content filter refused goes elsewhere only where the policy says so.
    """
    if isinstance(error, ContentFilterError):
        return policy.on_filter == "next"
    if isinstance(error, APIStatusError) and error.status == 501:
        return False
    return failure_of(error) is not None
