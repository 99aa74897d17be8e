"""Errors of wrong and missing credentials, in the dialect of each surface."""

from __future__ import annotations

from azinfer.local.wire.errors import ErrorResponse, error_body
from azinfer.local.wire.surfaces import ARM, SERVERLESS


def bad_key(surface: str) -> ErrorResponse:
    """Return the error for a missing or wrong key."""
    if surface == SERVERLESS:
        message = "Auth token validation failed. Please provide a valid key or a valid AAD token"
        body = {"statusCode": 401, "message": message}
        return ErrorResponse(401, body, {"x-ms-error-reason": "Invalid JWT."})
    if surface == ARM:
        return _arm_token(
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing, and no key is right.",
        )
    return ErrorResponse(
        401,
        error_body(
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
            "provide a valid key for an active subscription and use a correct regional API "
            "endpoint for your resource.",
        ),
    )


def bad_token(surface: str, reason: str, audience: str) -> ErrorResponse:
    """Return the error for a bearer token that is not accepted.

    Args:
        surface: The surface of the request.
        reason: `"invalid"`, `"expired"` or `"audience"`.
        audience: The audience that the token should have.
    """
    if surface == ARM:
        return _arm_token(*_ARM_TOKENS[reason])
    if surface == SERVERLESS:
        return bad_key(surface)
    message = (
        "Unauthorized. Access token is missing, invalid, audience is incorrect "
        f"({audience}), or have expired."
    )
    return ErrorResponse(401, {"statusCode": 401, "message": message})


# "Common error codes" of Azure Resource Manager's REST API and its answers in public threads.
_ARM_TOKENS = {
    "invalid": ("InvalidAuthenticationToken", "The access token is invalid."),
    "expired": ("ExpiredAuthenticationToken", "The access token has expired."),
    "audience": (
        "InvalidAuthenticationTokenAudience",
        "The access token has been obtained for wrong audience or resource. It should exactly "
        "match with one of the allowed audiences 'https://management.core.windows.net/',"
        "'https://management.azure.com/'.",
    ),
}


def _arm_token(code: str, message: str) -> ErrorResponse:
    return ErrorResponse(401, error_body(code, message), {"www-authenticate": "Bearer"})
