"""The input file of a batch: one request per line, all for one wire and one endpoint.

Source: "Getting started with Azure OpenAI batch deployments", preparing the batch file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from azinfer.core.arguments import refuse
from azinfer.core.calls import Call
from azinfer.core.completions import ChatCompletion
from azinfer.core.errors import ConfigurationError
from azinfer.core.json_body import encode_json
from azinfer.core.operations import Operations, Place
from azinfer.core.surfaces import CHAT

_OF_LINE = ("id", "messages", "model")
_OF_ONE_CALL = ("model_id", "timeout", "headers", "stream")


def write_lines(
    client: Operations, requests: Iterable[Mapping[str, Any]], model: str | None, file: BinaryIO
) -> str:
    """Write requests as lines of an input file; return the operation that they ask for.

    Raises:
        ConfigurationError: There are no requests, one cannot be part of a batch, two have the same
            id, or they are for two wires.
    """
    operations: set[str] = set()
    names: set[str] = set()
    for at, request in enumerate(requests):
        if not isinstance(request, Mapping):
            wanted = "a mapping with messages, such as {'messages': [UserMessage('…')]}"
            refuse(f"requests[{at}]", request, wanted)
        name = str(request.get("id", at))
        if name in names:
            raise ConfigurationError(
                f"requests[{at}] has the same id {name!r} as an earlier request: give each its own"
            )
        names.add(name)
        call = _call(client, request, model, f"requests[{at}]")
        operations.add(call.target.operation)
        url = f"/v1/{call.target.operation}"
        body = {"model": call.target.model, **(call.body or {})}
        line = {"custom_id": name, "method": "POST", "url": url, "body": body}
        file.write(encode_json(line) + b"\n")
    if len(operations) != 1 or "messages" in operations:
        raise ConfigurationError(
            "all requests of a batch must use the wire 'chat', or all the wire 'responses', not "
            f"{' and '.join(sorted(operations)) or 'an empty list'}: pass wire= in each request"
        )
    return operations.pop()


def describe_entry(entry: Mapping[str, Any]) -> str:
    """Return an entry of a batch's `errors`: the line of the input file, the code, the message."""
    parts = [str(entry[name]) for name in ("code", "message") if entry.get(name)]
    if entry.get("line") is not None:
        parts.insert(0, f"line {entry['line']}")
    return ": ".join(parts) or "no reason"


def _call(
    client: Operations, request: Mapping[str, Any], model: str | None, place: str
) -> Call[ChatCompletion]:
    """Return the call that a request stands for."""
    if "messages" not in request:
        raise ConfigurationError(f"{place} has no 'messages', only {sorted(request)}")
    for name in _OF_ONE_CALL:
        if name in request:
            raise ConfigurationError(
                f"{place} has {name}=, which a batch does not accept: leave it out", param=name
            )
    resolved, deployment = _deployment(client, request.get("model") or model)
    options = {key: value for key, value in request.items() if key not in _OF_LINE}
    spot = Place(deployment, None, None)
    call = resolved._chat_call(request["messages"], options, spot, stream=False)
    if not call.target.model:
        raise ConfigurationError(
            f"{place} names no deployment: pass model= to it, to create or to the client"
        )
    return call


def _deployment(client: Operations, name: str | None) -> tuple[Operations, str | None]:
    """Return the client and the deployment that a name means; a batch has one of each.

    Raises:
        ConfigurationError: The name is a route, or a deployment of another endpoint.
    """
    if client._router is None:
        return client, name
    name = name or client.model
    resolved, deployment, decision = client._router.explain(name, CHAT)
    if decision.route is not None:
        raise ConfigurationError(
            f"{name!r} is a route, and a batch is for one deployment: pass model='<deployment>' "
            f"of {client.endpoint.url}"
        )
    if resolved.endpoint.url != client.endpoint.url:
        raise ConfigurationError(
            f"{name!r} is on {resolved.endpoint.url}, and this client's batches are on "
            f"{client.endpoint.url}: pass endpoint={decision.endpoint!r} to from_config"
        )
    return resolved, deployment
