"""What all operations share: the deployments and their limits, the keys, and the request log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from azinfer.core.errors import ConfigurationError
from azinfer.local.api import api_versions, deployment_lookup, fault_injection
from azinfer.local.api.context import _LARGEST_BODY, Asked, Operation, parts_of
from azinfer.local.engines.base import EngineError
from azinfer.local.resource.auth.authentication import Access
from azinfer.local.resource.background_tasks import Tasks
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.overrides import Behaviours
from azinfer.local.resource.rate_limits import Admission, Limits
from azinfer.local.resource.registry import Registry
from azinfer.local.resource.storage.file_store import Store
from azinfer.local.resource.storage.request_log import RequestLog
from azinfer.local.resource.storage.response_store import Conversations
from azinfer.local.wire import errors
from azinfer.local.wire.body import Json, check_extras
from azinfer.local.wire.errors import Refusal
from azinfer.local.wire.json import read_json
from azinfer.local.wire.surfaces import SERVERLESS

# Which method an engine must have for an operation, by the operation's name in errors.
_METHODS = {
    "chatCompletion": "chat",
    "completion": "chat",
    "responses": "chat",
    "embeddings": "embed",
    "imageEmbeddings": "embed_images",
}
_log = logging.getLogger("azinfer.local")


class Service:
    """The state of one local endpoint, and the checks that every request goes through.

    Args:
        registry: What it serves.
        access: Who may ask.
        strict: Whether to refuse what the service refuses though real clients send it.
        log: Where requests are written down.
        behaviours: What deployments do besides what their engines do.
        store: Where files and batches are kept.
        page_size: How many entries a page of a list of deployments has at most.
        clock: Monotonic seconds, by which requests are timed.
    """

    def __init__(
        self,
        registry: Registry,
        access: Access,
        strict: bool,
        log: RequestLog,
        behaviours: Behaviours,
        store: Store,
        page_size: int,
        clock: Callable[[], float],
    ) -> None:
        self.registry = registry
        self.access = access
        self.strict = strict
        self.log = log
        self.behaviours = behaviours
        self.store = store
        self.page_size = page_size
        self.clock = clock
        self.conversations = Conversations()
        self.tasks = Tasks()

    def limits(self, deployment: LocalDeployment) -> Limits:
        """What a deployment admits."""
        return self.registry.limits(deployment)

    def admit(self, asked: Asked, deployment: LocalDeployment, tokens: int) -> Admission:
        """Let a request in that will use about so many tokens, or let it spill over.

        Returns:
            What the operation ends with `over`; its `deployment` is the one that answers.

        Raises:
            Refusal: It does not fit now, nor where it would spill over to.
        """
        try:
            asked.admission = self.limits(deployment).admit(tokens, asked.surface)
        except Refusal as refusal:
            other = self._spillover(asked, deployment, refusal)
            asked.trace.deployment = other.name
            asked.trace.why = f"spillover from {deployment.name}, which was full"
            admission = self.limits(other).admit(tokens, asked.surface)
            asked.admission = admission.spilled_from(deployment)
        return asked.admission

    def _spillover(self, asked: Asked, full: LocalDeployment, refusal: Refusal) -> LocalDeployment:
        """What takes over from a deployment that is full: the request's wish, or its own.

        Source: "Manage traffic with spillover for provisioned deployments".

        Raises:
            Refusal: Nothing does.
        """
        wish = asked.http.headers.get("x-ms-spillover-deployment") or full.spillover
        try:
            self.registry.check_spillover(replace(full, spillover=wish))
        except ConfigurationError as error:
            refusal.headers["x-ms-spillover-error"] = error.message
            raise refusal from None
        other = self.registry.get(wish)
        if other is None:
            raise refusal
        return other

    def standing(self, asked: Asked) -> Mapping[str, str]:
        """The headers that tell which deployment a request was for, and what is left of it."""
        if asked.admission is not None:
            return asked.admission.headers
        found = self.registry.get(asked.trace.deployment or "")
        if found is None:
            return {}
        return {"x-ms-deployment-name": found.name, **self.limits(found).headers()}

    async def aclose(self) -> None:
        """Close the store, and every engine once; work that is not done is left for later."""
        await self.tasks.stop()
        self.store.close()
        for engine in self.registry.engines:
            await engine.aclose()

    async def reset(self) -> None:
        """Begin anew, as `LocalEndpoint.reset` says."""
        if not self.store.lasting:
            await self.tasks.stop()
        self.forget()

    def forget(self) -> None:
        """Begin anew, when nothing goes on that has to be stopped first."""
        if not self.store.lasting:
            self.store.clear()
        self.access.keys.reset()
        self.registry.reset()
        self.behaviours.reset()
        self.conversations.clear()
        self.log.clear()

    async def checked(self, asked: Asked, operation: Operation) -> Response:
        """The answer to a request of which nothing was checked yet."""

        async def check_first(service: Service, asked: Asked) -> Response:
            self.access.check(asked.http.headers, asked.surface)
            version = asked.http.query_params.get("api-version")
            api_versions.check(version, asked.surface, self.strict)
            return await operation(service, asked)

        return await self.answer(asked, check_first)

    async def answer(self, asked: Asked, operation: Operation) -> Response:
        """The answer of an operation, its refusals and failures told as answers too."""
        try:
            return await operation(self, asked)
        except Refusal as refusal:
            return refusal.response()
        except Faulty as faulty:
            return faulty.answer
        except EngineError as error:
            return errors.engine_failed(asked.surface, error).response()
        except Exception:
            _log.exception("request %s failed", asked.id)
            return errors.broken(asked.id).response()

    async def content(self, asked: Asked) -> bytes:
        """The request's body.

        Raises:
            Refusal: It is too large.
        """
        return b"".join([part async for part in parts_of(asked.http, _LARGEST_BODY)])

    async def json(self, asked: Asked) -> Json:
        """The request's body, as a JSON object.

        Raises:
            Refusal: It is too large or no JSON object, or by the letter does not say it is JSON.
        """
        asked.trace.body = content = await self.content(asked)
        kind = asked.http.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.strict and kind != "application/json":
            raise errors.not_json(asked.surface, content.decode(errors="replace"))
        try:
            body = read_json(content)
        except (ValueError, RecursionError) as error:
            raise errors.malformed(f"The body is no JSON: {error}.") from None
        if not isinstance(body, dict):
            raise errors.malformed("The body must be a JSON object.")
        return body

    async def body(self, asked: Asked, known: frozenset[str]) -> Json:
        """The request's body, as an object with the fields that an operation knows.

        Args:
            asked: The request.
            known: Those fields.

        Raises:
            Refusal: It is too large, no JSON object, or has fields that are refused.
        """
        body = await self.json(asked)
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
        found, why = deployment_lookup.found(
            asked.http, asked.surface, model, self.registry, self.strict
        )
        if operation and not hasattr(found.engine, _METHODS[operation]):
            alone = asked.surface == SERVERLESS and len(self.registry) == 1
            raise errors.wrong_operation(operation, found.model_name, alone)
        asked.trace.deployment, asked.trace.why = found.name, why
        if operation:
            self._go_wrong(asked, found)
        return found

    def _go_wrong(self, asked: Asked, deployment: LocalDeployment) -> None:
        """Let the next fault of a deployment happen."""
        asked.trace.fault = fault = self.behaviours.of(deployment).faults.next()
        if fault is not None and fault.kind in ("status", "drop"):
            raise Faulty(fault_injection.refused(fault, asked.surface, deployment, asked.id))


class Faulty(Exception):  # noqa: N818
    """A fault is the answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__("a fault happens")
        self.answer = answer
