"""The doctor: check an endpoint step by step, and say what to do where a step fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from azinfer.core import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    DeploymentNotFoundError,
    Deployments,
    InferenceClient,
    InferenceError,
    UserMessage,
)
from azinfer.core.endpoints import is_loopback
from azinfer.local.cli.error_messages import advice_for, in_options
from azinfer.local.cli.network_checks import Finding, check_network

# A local endpoint answers for every account.
_LOCAL_ACCOUNT = (
    "/subscriptions/local/resourceGroups/local/providers/Microsoft.CognitiveServices/accounts/local"
)


def check_endpoint(
    open_client: Callable[[], InferenceClient], source: str | None, model: str | None
) -> Iterator[Finding]:
    """Check an endpoint, until a step fails that later steps depend on.

    Args:
        open_client: Returns a client of the endpoint.
        source: Where its deployments are listed, if not at the endpoint itself.
        model: A deployment to ask one short question.
    """
    try:
        client = open_client()
    except ConfigurationError as error:
        yield Finding("endpoint", False, in_options(error.message))
        return
    with client:
        endpoint = client.endpoint
        version = endpoint.api_version or endpoint.surface.api_version or "no api-version"
        yield Finding("endpoint", True, f"{endpoint.surface.name} at {endpoint.url}, {version}")
        for finding in (*check_network(endpoint.url), *_check_service(client, source, model)):
            yield finding
            if finding.passed is False and finding.step != "deployments":
                return


def deployments_of(client: InferenceClient, source: str | None) -> Deployments:
    """Return the deployments of an endpoint, with all their facts if it is a local one.

    Raises:
        InferenceError: They cannot be listed.
    """
    root = client.endpoint.root
    if source is None and root is not None and is_loopback(root):
        # It may be another server on this machine; a wrong key fails in the next request too.
        with contextlib.suppress(APIStatusError):
            return client.deployments(root + _LOCAL_ACCOUNT)
    return client.deployments(source)


def _check_service(
    client: InferenceClient, source: str | None, model: str | None
) -> Iterator[Finding]:
    """Check the credential, list the deployments, and ask one of them."""
    try:
        deployments = deployments_of(client, source)
    except AuthenticationError as error:
        yield Finding("credential", False, error.message, advice_for(error))
        return
    except InferenceError as error:
        if isinstance(error, APIStatusError):
            yield Finding("credential", True, "accepted")
        yield Finding(
            "deployments",
            None,
            f"not listed here: {in_options(error.message)}",
            "pass --source, the URL of a Foundry project or of an account in Resource Manager",
        )
    else:
        yield Finding("credential", True, "accepted")
        advice = "" if deployments else "create one in the portal, or with `az cognitiveservices`"
        names = ", ".join(deployments) or "there are no deployments"
        yield Finding("deployments", bool(deployments), names, advice)
    if model is not None:
        yield _check_answer(client, model)


def _check_answer(client: InferenceClient, model: str) -> Finding:
    try:
        completion = client.complete([UserMessage("Say yes.")], model=model, max_tokens=16)
    except DeploymentNotFoundError as error:
        advice = "--model takes the name of a deployment, not of a model"
        return Finding("a question", False, error.message, advice)
    except InferenceError as error:
        return Finding("a question", False, in_options(error.message), advice_for(error))
    return Finding("a question", True, f"{model} answers: {' '.join(completion.text.split())[:60]}")
