"""What all operations share: the deployments and their limits, the keys, and the request log."""

from __future__ import annotations

import hmac
import json
import logging
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from azinfer.local import naming, refusals, versions
from azinfer.local.conversations import Conversations
from azinfer.local.deployments import LocalDeployment, Registry
from azinfer.local.engines import EngineError
from azinfer.local.limits import Limits
from azinfer.local.log import Logged, RequestLog
from azinfer.local.refusals import SERVERLESS, Refusal
from azinfer.local.requests import Json, check_extras
from azinfer.local.store import Store

_LARGEST_BODY = 32 * 1024 * 1024
_KEY_HEADERS = ("api-key", "ocp-apim-subscription-key")
# Which method an engine must have for an operation, by the operation's name in errors.
_METHODS = {
    "chatCompletion": "chat",
    "completion": "chat",
    "responses": "chat",
    "embeddings": "embed",
    "imageEmbeddings": "embed_images",
}
_log = logging.getLogger("azinfer.local")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose credential was right.

    Attributes:
        http: The request.
        surface: The surface it came through.
        id: The id that its answer tells.
        body: Under `"json"`, its body once it was read.
    """

    http: Request
    surface: str
    id: str
    body: Json = field(default_factory=dict)


Operation = Callable[["Service", Asked], Awaitable[Response]]


class Service:
    """The state of one local endpoint, and the checks that every request goes through.

    Args:
        deployments: What it serves at first.
        key: The key that requests must bear.
        strict: Whether to refuse what the service refuses though real clients send it.
        clock: Monotonic seconds, by which rate limits are counted.
        log: Where requests are written down.
        store: Where files and batches are kept.

    Raises:
        ConfigurationError: Two deployments have one name.
    """

    def __init__(
        self,
        deployments: Iterable[LocalDeployment],
        key: str,
        strict: bool,
        clock: Callable[[], float],
        log: RequestLog,
        store: Store,
    ) -> None:
        self.registry = Registry(deployments)
        self.conversations = Conversations()
        self.store = store
        self.strict = strict
        self.log = log
        self._limits = {each.name: Limits(each, clock) for each in self.registry}
        self._key = key.encode()

    def limits(self, deployment: LocalDeployment) -> Limits:
        """What a deployment admits."""
        return self._limits[deployment.name]

    async def aclose(self) -> None:
        """Close the store, and every engine once."""
        self.store.close()
        for engine in {id(each.engine): each.engine for each in self.registry}.values():
            await engine.aclose()

    def route(self, path: str, surface: str, method: str, operation: Operation) -> Route:
        """The route of one operation: its request checked, its refusals answered, all logged."""

        async def checked(service: Service, asked: Asked) -> Response:
            self._check_key(asked.http)
            versions.check(asked.http.query_params.get("api-version"), surface, self.strict)
            return await operation(self, asked)

        async def answer(http: Request) -> Response:
            asked = Asked(http, surface, uuid.uuid4().hex)
            response = await self.answer(asked, checked)
            response.headers.update(_common_headers(http, asked.id))
            self.log.add(Logged.of(http, asked.body.get("json"), response, asked.id))
            return response

        return Route(path, answer, methods=[method])

    async def answer(self, asked: Asked, operation: Operation) -> Response:
        """The answer of an operation, its refusals and failures told as answers too."""
        try:
            return await operation(self, asked)
        except Refusal as refusal:
            return refusal.response()
        except EngineError as error:
            return refusals.bad_request(asked.surface, str(error), None, error.code).response()
        except Exception:
            _log.exception("request %s failed", asked.id)
            return refusals.broken(asked.id).response()

    async def body(self, asked: Asked, known: frozenset[str]) -> Json:
        """The request's body, as an object with the fields that an operation knows.

        Args:
            asked: The request.
            known: Those fields.

        Raises:
            Refusal: It is too large, no JSON object, or has fields that are refused.
        """
        parts = [part async for part in parts_of(asked.http, _LARGEST_BODY)]
        kind = asked.http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.strict and kind != "application/json":
            raise refusals.not_json(asked.surface, b"".join(parts).decode(errors="replace"))
        try:
            body = json.loads(b"".join(parts))
        except (ValueError, RecursionError) as error:
            raise refusals.malformed(f"The body is no JSON: {error}.") from None
        asked.body["json"] = body
        if not isinstance(body, dict):
            raise refusals.malformed("The body must be a JSON object.")
        extras = asked.http.headers.get("extra-parameters")
        given = {name: value for name, value in body.items() if value is not None}
        return check_extras(given, asked.surface, extras, self.strict, known)

    def deployment(self, asked: Asked, model: Any, operation: str) -> LocalDeployment:
        """The deployment that a request is routed to.

        Args:
            asked: The request.
            model: What its body or query names.
            operation: What is asked for, as errors call it; empty for anything.

        Raises:
            Refusal: It names none, one that is not there, or one that does something else.
        """
        found, _ = naming.found(asked.http, asked.surface, model, self.registry, self.strict)
        if operation and not hasattr(found.engine, _METHODS[operation]):
            alone = asked.surface == SERVERLESS and len(self.registry) == 1
            raise refusals.wrong_operation(operation, found.model_name, alone)
        return found

    def _check_key(self, http: Request) -> None:
        given = [http.headers.get(name) for name in _KEY_HEADERS]
        scheme, _, token = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given.append(token)
        keys = [each.strip().encode() for each in given if each]
        if not any([hmac.compare_digest(each, self._key) for each in keys]):  # noqa: C419
            raise refusals.bad_key(bearer=not any(given[:2]) and bool(token))


async def parts_of(http: Request, most: int) -> AsyncGenerator[bytes]:
    """The parts of a request's body as they come.

    Raises:
        Refusal: They are more than so many bytes.
    """
    told = http.headers.get("content-length", "0")
    if told.isdigit() and int(told) > most:
        raise refusals.too_large(most)
    size = 0
    async for part in http.stream():
        size += len(part)
        if size > most:
            raise refusals.too_large(most)
        yield part


def named(deployment: LocalDeployment) -> dict[str, str]:
    """The header that tells which deployment answered."""
    return {"x-ms-deployment-name": deployment.name}


def _common_headers(http: Request, request_id: str) -> Mapping[str, str]:
    headers = {"apim-request-id": request_id, "x-ms-region": "local"}
    if client_id := http.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = client_id
    return headers
