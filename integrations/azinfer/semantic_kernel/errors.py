"""Errors that are azinfer's and Semantic Kernel's at once, so that code for either catches them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from semantic_kernel.exceptions import service_exceptions as theirs

from azinfer import core as ours

Kinds = Mapping[type, type[ours.InferenceError]]


class _InferenceError(ours.InferenceError, theirs.ServiceResponseException):
    """An error without a more exact class here."""


class _InitializationError(ours.ConfigurationError, theirs.ServiceInitializationError):
    """A service cannot be created from its arguments."""


class _ConfigurationError(ours.ConfigurationError, theirs.ServiceInvalidRequestError):
    """A request cannot be sent; nothing was sent."""


class _AmbiguousDeploymentError(ours.AmbiguousDeploymentError, theirs.ServiceInvalidRequestError):
    """Several endpoints have a deployment of this name."""


class _APIConnectionError(ours.APIConnectionError, theirs.ServiceResponseException):
    """The service could not be reached, or the connection broke."""


class _APITimeoutError(ours.APITimeoutError, theirs.ServiceResponseException):
    """No complete answer came within the time limit."""


class _APIStatusError(ours.APIStatusError, theirs.ServiceResponseException):
    """The service answered with an error."""


class _BadRequestError(ours.BadRequestError, theirs.ServiceInvalidRequestError):
    """The service refused the request as it is."""


class _UnsupportedParameterError(ours.UnsupportedParameterError, theirs.ServiceInvalidRequestError):
    """The model behind the deployment does not support a parameter."""


class _ContextLengthExceededError(
    ours.ContextLengthExceededError, theirs.ServiceInvalidRequestError
):
    """The messages are longer than the model's context window."""


class _AuthenticationError(
    ours.AuthenticationError, theirs.ServiceInvalidAuthError, theirs.ServiceResponseException
):
    """The credential is missing, wrong, expired, or lacks a role."""


class _PermissionDeniedError(
    ours.PermissionDeniedError, theirs.ServiceInvalidAuthError, theirs.ServiceResponseException
):
    """The network or a policy forbids the request."""


class _DeploymentNotFoundError(
    ours.DeploymentNotFoundError,
    theirs.ServiceResourceNotFoundError,
    theirs.ServiceResponseException,
):
    """No deployment has this name."""


class _RateLimitError(ours.RateLimitError, theirs.ServiceResponseException):
    """The deployment's rate limit is used up."""


class _ServerError(ours.ServerError, theirs.ServiceResponseException):
    """The service failed."""


class _StreamInterruptedError(ours.StreamInterruptedError, theirs.ServiceResponseException):
    """A stream ended before its answer was complete."""


class _RouteExhaustedError(ours.RouteExhaustedError, theirs.ServiceResponseException):
    """Every deployment of a route failed."""


class _InvalidResponseError(ours.InvalidResponseError, theirs.ServiceInvalidResponseError):
    """The service's answer does not follow the protocol."""


_KINDS: Kinds = {
    ours.InferenceError: _InferenceError,
    ours.ConfigurationError: _ConfigurationError,
    ours.AmbiguousDeploymentError: _AmbiguousDeploymentError,
    ours.APIConnectionError: _APIConnectionError,
    ours.APITimeoutError: _APITimeoutError,
    ours.APIStatusError: _APIStatusError,
    ours.BadRequestError: _BadRequestError,
    ours.UnsupportedParameterError: _UnsupportedParameterError,
    ours.ContextLengthExceededError: _ContextLengthExceededError,
    ours.AuthenticationError: _AuthenticationError,
    ours.PermissionDeniedError: _PermissionDeniedError,
    ours.DeploymentNotFoundError: _DeploymentNotFoundError,
    ours.RateLimitError: _RateLimitError,
    ours.ServerError: _ServerError,
    ours.StreamInterruptedError: _StreamInterruptedError,
    ours.RouteExhaustedError: _RouteExhaustedError,
    ours.InvalidResponseError: _InvalidResponseError,
}


@contextmanager
def translated_errors(starting: bool = False) -> Iterator[None]:
    """Raise errors of the block as errors that are Semantic Kernel's too.

    Args:
        starting: Whether a service is being created.

    Raises:
        ServiceInitializationError: An error while a service was being created.
        ServiceResponseException: A later error, also a content filter's.
    """
    try:
        yield
    except ours.InferenceError as error:
        kind = _InitializationError if starting else _kind_of(error)
        both = kind.__new__(kind, error.message)
        both.__dict__.update(error.__dict__)
        raise both from error


def _kind_of(error: ours.InferenceError) -> type[ours.InferenceError]:
    if isinstance(error, ours.ContentFilterError):
        return _content_filter_error()
    return next(_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS)


def _content_filter_error() -> type[ours.InferenceError]:
    # Semantic Kernel's own class is next to its OpenAI services, which take a second to import
    # and warn about pydantic: it is imported, without the warnings, at the first such error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from azinfer.semantic_kernel.content_filter_error import ContentFilteredError
    return ContentFilteredError
