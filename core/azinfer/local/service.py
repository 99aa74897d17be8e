"""What all operations share: the deployments and their limits, the keys, and the request log."""

from __future__ import annotations

import hmac
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from azinfer.local import refusals, spoiling
from azinfer.local.behaviour import Behaviours
from azinfer.local.conversations import Conversations
from azinfer.local.deployments import LocalDeployment, Registry
from azinfer.local.engines import EngineError
from azinfer.local.limits import Limits
from azinfer.local.log import Recording, RequestLog, Trace
from azinfer.local.refusals import DEPLOYMENTS, MODELS, SERVERLESS, Refusal
from azinfer.local.requests import Json, check_extras

_LARGEST_BODY = 32 * 1024 * 1024
_KEY_HEADERS = ("api-key", "ocp-apim-subscription-key")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview|latest")
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
        trace: What is found out about it, for the request log.
    """

    http: Request
    surface: str
    id: str
    trace: Trace = field(default_factory=Trace)


Operation = Callable[["Service", Asked], Awaitable[Response]]


class Service:
    """The state of one local endpoint, and the checks that every request goes through.

    Args:
        deployments: What it serves at first.
        key: The key that requests must bear.
        strict: Whether to refuse what the service refuses though real clients send it.
        clock: Monotonic seconds, by which rate limits are counted.
        log: Where requests are written down.
        behaviours: What deployments do besides what their engines do.

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
        behaviours: Behaviours,
    ) -> None:
        self.registry = Registry(deployments)
        self.conversations = Conversations()
        self.strict = strict
        self.log = log
        self.clock = clock
        self.behaviours = behaviours
        self._limits = {each.name: Limits(each, clock) for each in self.registry}
        self._key = key.encode()

    def limits(self, deployment: LocalDeployment) -> Limits:
        """What a deployment admits."""
        return self._limits[deployment.name]

    async def aclose(self) -> None:
        """Close every engine once."""
        for engine in {id(each.engine): each.engine for each in self.registry}.values():
            await engine.aclose()

    def reset(self) -> None:
        """Begin anew: limits unused, scripts, faults and latency as configured, an empty log."""
        self._limits = {each.name: Limits(each, self.clock) for each in self.registry}
        self.behaviours.reset()
        self.log.clear()

    def route(
        self, path: str, surface: str, method: str, operation: Operation, logged: bool = True
    ) -> Route:
        """The route of one operation: its request checked, its refusals answered, all logged."""
        return Route(path, _Answering(self, surface, operation, logged), methods=[method])

    async def answer(self, asked: Asked, operation: Operation) -> Response:
        """The answer to a request, or what refuses it."""
        try:
            self._check_key(asked.http)
            self._check_version(asked.http, asked.surface)
            return await operation(self, asked)
        except Refusal as refusal:
            return JSONResponse(refusal.body, refusal.status, refusal.headers)
        except Faulty as faulty:
            return faulty.answer
        except EngineError as error:
            refused = refusals.engine_failed(asked.surface, error)
            return JSONResponse(refused.body, refused.status, refused.headers)
        except Exception:
            _log.exception("request %s failed", asked.id)
            return JSONResponse(refusals.broken(asked.id).body, 500)

    async def body(self, asked: Asked, known: frozenset[str]) -> Json:
        """The request's body, as an object with the fields that an operation knows.

        Args:
            asked: The request.
            known: Those fields.

        Raises:
            Refusal: It is too large, no JSON object, or has fields that are refused.
        """
        parts, size = [], 0
        async for part in asked.http.stream():
            size += len(part)
            if size > _LARGEST_BODY:
                raise refusals.too_large(_LARGEST_BODY)
            parts.append(part)
        asked.trace.body = b"".join(parts)
        try:
            body = json.loads(asked.trace.body)
        except (ValueError, RecursionError) as error:
            raise refusals.malformed(f"The body is no JSON: {error}.") from None
        if not isinstance(body, dict):
            raise refusals.malformed("The body must be a JSON object.")
        extras = asked.http.headers.get("extra-parameters")
        given = {name: value for name, value in body.items() if value is not None}
        return check_extras(given, asked.surface, extras, self.strict, known)

    def deployment(self, asked: Asked, model: Any, operation: str) -> LocalDeployment:
        """The deployment that a request is routed to.

        The URL names it on the deployments surface, and nothing is routed there; elsewhere a
        header does, then the body.

        Args:
            asked: The request.
            model: What its body or query names.
            operation: What is asked for, as errors call it; empty for anything.

        Raises:
            Refusal: It names none, one that is not there, or one that does something else.
        """
        name, why = self._named(asked, model)
        if not name or not isinstance(name, str):
            raise refusals.no_model(asked.surface)
        found = self.registry.get(name)
        if found is None:
            raise refusals.unknown_model(asked.surface, name)
        if operation and not hasattr(found.engine, _METHODS[operation]):
            raise refusals.wrong_operation(operation, found.model_name)
        asked.trace.deployment, asked.trace.why = found.name, why
        if operation:
            self._go_wrong(asked, found)
        return found

    def _named(self, asked: Asked, model: Any) -> tuple[Any, str]:
        """What a request calls its deployment, and where it does."""
        if name := asked.http.path_params.get("deployment"):
            return name, "the URL"
        if name := asked.http.headers.get("x-ms-model-mesh-model-name"):
            return name, "the header x-ms-model-mesh-model-name"
        if not model and asked.surface == SERVERLESS and len(self.registry) == 1:
            return next(iter(self.registry)).name, "the only deployment"
        return model, "the body's model" if asked.http.method == "POST" else "the query's model"

    def _go_wrong(self, asked: Asked, deployment: LocalDeployment) -> None:
        """Let the next fault of a deployment happen."""
        asked.trace.fault = fault = self.behaviours.of(deployment).faults.next()
        if fault is not None and fault.kind in ("status", "drop"):
            answer = spoiling.refused(fault, asked.surface, deployment, asked.id)
            answer.headers.update(named(deployment))
            raise Faulty(answer)

    def _check_key(self, http: Request) -> None:
        given = [http.headers.get(name) for name in _KEY_HEADERS]
        scheme, _, token = http.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given.append(token)
        keys = [each.strip().encode() for each in given if each]
        if not any([hmac.compare_digest(each, self._key) for each in keys]):  # noqa: C419
            raise refusals.bad_key(bearer=not any(given[:2]) and bool(token))

    def _check_version(self, http: Request, surface: str) -> None:
        version = http.query_params.get("api-version")
        if version is not None and not _VERSION.fullmatch(version):
            raise refusals.bad_version()
        if version is None and self.strict and surface in (MODELS, DEPLOYMENTS):
            raise refusals.not_found()


class Faulty(Exception):  # noqa: N818
    """A fault is the answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__("a fault happens")
        self.answer = answer


class _Answering:
    """The ASGI application of one operation."""

    def __init__(self, service: Service, surface: str, operation: Operation, logged: bool) -> None:
        self._service, self._surface, self._operation = service, surface, operation
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = Asked(Request(scope, receive), self._surface, uuid.uuid4().hex)
        recording = Recording(self._service.log, scope, asked.trace, asked.id, self._service.clock)
        response = await self._service.answer(asked, self._operation)
        response.headers.update(_common_headers(asked.http, asked.id))
        answer: ASGIApp = response
        if asked.trace.fault is not None and asked.trace.fault.kind != "status":
            answer = spoiling.Spoiled(response, asked.trace.fault)

        if not self._logged:
            await answer(scope, receive, send)
            return

        async def recorded(message: Message) -> None:
            recording.saw(message)
            await send(message)

        try:
            await answer(scope, receive, recorded)
        finally:
            recording.over()


def named(deployment: LocalDeployment) -> dict[str, str]:
    """The header that tells which deployment answered."""
    return {"x-ms-deployment-name": deployment.name}


def _common_headers(http: Request, request_id: str) -> Mapping[str, str]:
    headers = {"apim-request-id": request_id, "x-ms-region": "local"}
    if client_id := http.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = client_id
    return headers
