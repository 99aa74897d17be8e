"""Errors that are azinfer's and LangChain's at once, so that code for either catches them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langchain_core import exceptions as theirs

from azinfer import core as ours


class _APIConnectionError(ours.APIConnectionError, theirs.ModelConnectionError):
    """The service could not be reached, or the connection broke."""


class _APITimeoutError(ours.APITimeoutError, theirs.ModelTimeoutError):
    """No complete answer came within the time limit."""


class _BadRequestError(ours.BadRequestError, theirs.ModelInvalidRequestError):
    """The service refused the request as it is."""


class _UnsupportedParameterError(ours.UnsupportedParameterError, theirs.ModelInvalidRequestError):
    """The model behind the deployment does not support a parameter."""


class _ContentFilterError(ours.ContentFilterError, theirs.ModelInvalidRequestError):
    """A content filter refused the prompt."""


class _ContextLengthExceededError(ours.ContextLengthExceededError, theirs.ContextOverflowError):
    """The messages are longer than the model's context window."""


class _AuthenticationError(ours.AuthenticationError, theirs.ModelAuthenticationError):
    """The credential is missing, wrong, expired, or lacks a role."""


class _PermissionDeniedError(ours.PermissionDeniedError, theirs.ModelPermissionDeniedError):
    """The network or a policy forbids the request."""


class _DeploymentNotFoundError(ours.DeploymentNotFoundError, theirs.ModelNotFoundError):
    """No deployment has this name."""


class _AmbiguousDeploymentError(ours.AmbiguousDeploymentError, theirs.ModelNotFoundError):
    """Several endpoints have a deployment of this name."""


class _RateLimitError(ours.RateLimitError, theirs.ModelRateLimitError):
    """The deployment's rate limit is used up."""


class _ServerError(ours.ServerError, theirs.ModelAPIError):
    """The service failed."""


class _StreamInterruptedError(ours.StreamInterruptedError, theirs.ModelConnectionError):
    """A stream ended before its answer was complete."""


class _InvalidResponseError(ours.InvalidResponseError, theirs.ModelAPIError):
    """The service's answer does not follow the protocol."""


class _APIStatusError(ours.APIStatusError, theirs.ModelAPIError):
    """The service answered with an error of an unknown kind."""


class _RouteExhaustedError(ours.RouteExhaustedError, theirs.ModelAPIError):
    """Every deployment of a route failed."""


# Each class by the azinfer class that it extends, the first of its bases.
_BOTH: dict[type, type[ours.InferenceError]] = {
    both.__bases__[0]: both
    for both in (
        _AmbiguousDeploymentError,
        *(_APIConnectionError, _APITimeoutError, _APIStatusError, _AuthenticationError),
        *(_BadRequestError, _ContentFilterError, _ContextLengthExceededError),
        *(_DeploymentNotFoundError, _InvalidResponseError, _PermissionDeniedError),
        *(_RateLimitError, _RouteExhaustedError, _ServerError, _StreamInterruptedError),
        _UnsupportedParameterError,
    )
}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise errors of the block as errors that are LangChain's too."""
    try:
        yield
    except ours.InferenceError as error:
        kind = _BOTH.get(type(error))
        if kind is None:
            raise
        both = kind.__new__(kind, error.message)
        both.__dict__.update(error.__dict__)
        raise both from error


def answer_filtered(results: Mapping[str, Any]) -> ours.ContentFilterError:
    """Return the error for an answer that a content filter cut off, from the filter's results."""
    error = _ContentFilterError("a content filter cut off the answer before its value was complete")
    error.categories = {
        name: result.get("severity") or "detected"
        for name, result in results.items()
        if isinstance(result, Mapping) and result.get("filtered")
    }
    return error
