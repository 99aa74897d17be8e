"""The server: routes, keys, routing to deployments, and the operations on each surface."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import json
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from azinfer.local import refusals, tools
from azinfer.local.answers import DONE, Frame, Written, embeddings, event, tool_call, usage
from azinfer.local.deployments import LocalDeployment, Registry
from azinfer.local.engines import EngineError, Prompt, last_text
from azinfer.local.filters import ContentFilter, is_blocked
from azinfer.local.limits import Limits, estimated
from azinfer.local.log import Logged, RequestLog
from azinfer.local.refusals import DEPLOYMENTS, MODELS, SERVERLESS, V1, Refusal
from azinfer.local.requests import (
    ChatRequest,
    Json,
    chat_request,
    check_extras,
    embedding_request,
    image_request,
)

_LARGEST_BODY = 32 * 1024 * 1024
_KEY_HEADERS = ("api-key", "ocp-apim-subscription-key")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview|latest")
_DEFAULT_MAX_TOKENS = 512
# The parts of a path that are the same in any case; the name of a deployment is kept.
_FIXED = re.compile(
    r"^/(?:models|openai/v1|openai/deployments|openai|api/projects)(?=/|$)", re.IGNORECASE
)


def application(
    deployments: Sequence[LocalDeployment],
    key: str,
    strict: bool = False,
    clock: Callable[[], float] = time.monotonic,
    log: RequestLog | None = None,
) -> ASGIApp:
    """The ASGI application of a local endpoint.

    Args:
        deployments: What it serves.
        key: The key that every request must bear.
        strict: Whether to refuse what the service refuses though real clients send it: a
            missing api-version, fields that the operation does not know.
        clock: Monotonic seconds, by which rate limits are counted.
        log: Where requests are written down.

    Raises:
        ConfigurationError: Two deployments have one name.
    """
    log = RequestLog() if log is None else log
    return _Tidied(_Endpoint(Registry(deployments), key, strict, clock, log).application())


class _Tidied:
    """Paths as some clients send them, made the ones that routes are named by."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = re.sub("/{2,}", "/", scope["path"])
            path = _FIXED.sub(lambda found: found[0].lower(), path)
            scope = {**scope, "path": path.rstrip("/") or "/"}
        await self._inner(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose credential was right."""

    http: Request
    surface: str
    id: str
    body: Json = field(default_factory=dict)


class _Endpoint:
    """The operations; one method each."""

    def __init__(
        self,
        registry: Registry,
        key: str,
        strict: bool,
        clock: Callable[[], float],
        log: RequestLog,
    ) -> None:
        self._log = log
        self._registry = registry
        self._limits = {each.name: Limits(each, clock) for each in registry}
        self._key = key.encode()
        self._strict = strict

    def application(self) -> Starlette:
        """The routes."""
        operations = {
            "chat/completions": ("POST", self._chat),
            "embeddings": ("POST", self._embeddings),
            "images/embeddings": ("POST", self._images),
            "info": ("GET", self._info),
        }
        bases = {
            "/models": (MODELS, operations),
            "/openai/v1": (V1, ("chat/completions", "embeddings")),
            "/openai/deployments/{deployment}": (DEPLOYMENTS, ("chat/completions", "embeddings")),
            "": (SERVERLESS, operations),
        }
        routes = [
            self._route(f"{base}/{operation}", surface, *operations[operation])
            for base, (surface, names) in bases.items()
            for operation in names
        ]
        routes += [
            self._route("/openai/v1/models", V1, "GET", self._models),
            self._route("/openai/models", DEPLOYMENTS, "GET", self._models),
            self._route("/openai/v1/models/{model}", V1, "GET", self._one_model),
            self._route("/openai/deployments", DEPLOYMENTS, "GET", self._classic_list),
            self._route("/api/projects/{project}/deployments", V1, "GET", self._project_list),
            self._route("/deployments", V1, "GET", self._project_list),
            self._route(
                "/subscriptions/{account:path}/deployments", DEPLOYMENTS, "GET", self._arm_list
            ),
        ]
        return Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={404: _nothing_there, 405: _wrong_method},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        yield
        for engine in {id(each.engine): each.engine for each in self._registry}.values():
            await engine.aclose()

    def _route(self, path: str, surface: str, method: str, operation: Any) -> Route:
        async def answer(http: Request) -> Response:
            asked = _Asked(http, surface, uuid.uuid4().hex)
            try:
                self._check_key(http)
                self._check_version(http, surface)
                response: Response = await operation(asked)
            except Refusal as refusal:
                response = JSONResponse(refusal.body, refusal.status, refusal.headers)
            except EngineError as error:
                refused = refusals.bad_request(surface, str(error), None, error.code)
                response = JSONResponse(refused.body, refused.status)
            except Exception:
                _log.exception("request %s failed", asked.id)
                response = JSONResponse(refusals.broken(asked.id).body, 500)
            response.headers.update(_common_headers(http, asked.id))
            self._log.add(Logged.of(http, asked.body.get("json"), response, asked.id))
            return response

        return Route(path, answer, methods=[method])

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
        if version is None and self._strict and surface in (MODELS, DEPLOYMENTS):
            raise refusals.not_found()

    async def _body(self, asked: _Asked, known: str) -> Json:
        """The request's body, as an object with known fields."""
        parts, size = [], 0
        async for part in asked.http.stream():
            size += len(part)
            if size > _LARGEST_BODY:
                raise refusals.too_large(_LARGEST_BODY)
            parts.append(part)
        try:
            body = json.loads(b"".join(parts))
        except (ValueError, RecursionError) as error:
            raise refusals.malformed(f"The body is no JSON: {error}.") from None
        asked.body["json"] = body
        if not isinstance(body, dict):
            raise refusals.malformed("The body must be a JSON object.")
        extras = asked.http.headers.get("extra-parameters")
        given = {name: value for name, value in body.items() if value is not None}
        return check_extras(given, asked.surface, extras, self._strict, known)

    def _deployment(self, asked: _Asked, model: Any, operation: str) -> LocalDeployment:
        """The deployment that a request is routed to.

        The URL names it on the deployments surface, and nothing is routed there; elsewhere a
        header does, then the body.
        """
        name = asked.http.path_params.get("deployment")
        if name is None:
            name = asked.http.headers.get("x-ms-model-mesh-model-name") or model
        if not name and asked.surface == SERVERLESS and len(self._registry) == 1:
            name = next(iter(self._registry)).name
        if not name or not isinstance(name, str):
            raise refusals.no_model(asked.surface)
        found = self._registry.get(name)
        if found is None:
            raise refusals.unknown_model(asked.surface, name)
        if operation and not hasattr(found.engine, _METHODS[operation]):
            raise refusals.wrong_operation(operation, found.model_name)
        return found

    async def _chat(self, asked: _Asked) -> Response:
        body = await self._body(asked, "chat")
        deployment = self._deployment(asked, body.get("model"), "chatCompletion")
        request = chat_request(body, asked.surface)
        limits = self._limits[deployment.name]
        texts = [last_text([message]) for message in request.messages]
        prompt_results = _prompt_results(deployment.filter, "\n".join(texts))
        admission = limits.admit(estimated(texts, request.max_tokens), asked.surface)
        work = _Work(request, deployment.engine, deployment.filter, self._likeness())
        frame = Frame(
            f"chatcmpl-{asked.id}", int(time.time()), deployment.model_name, prompt_results
        )
        headers = {**_deployment_headers(deployment), **limits.headers()}
        try:
            if request.stream:
                events = work.events(frame)
                # Errors before the first token are HTTP errors, as with the service.
                first = await anext(events)
                return StreamingResponse(
                    _with_first(first, events, lambda: admission.over(work.tokens())),
                    media_type="text/event-stream",
                    headers={"cache-control": "no-cache", **headers},
                )
            choices = await asyncio.gather(*(work.written(at) for at in range(request.n)))
        except BaseException:
            admission.over(None)
            raise
        admission.over(usage(choices)["total_tokens"])
        return JSONResponse(frame.completion(choices), headers=headers)

    async def _embeddings(self, asked: _Asked) -> Response:
        body = await self._body(asked, "embeddings")
        deployment = self._deployment(asked, body.get("model"), "embeddings")
        request = embedding_request(body, asked.surface)
        engine: Any = deployment.engine
        limits = self._limits[deployment.name]
        admission = limits.admit(estimated(request.texts, 0), asked.surface)
        tokens = None
        try:
            vectors, tokens = await engine.embed(request.texts)
        finally:
            admission.over(tokens)
        answer = embeddings(
            vectors, deployment.model_name, tokens, request.dimensions, request.encoding, asked.id
        )
        headers = {**_deployment_headers(deployment), **limits.headers()}
        return JSONResponse(answer, headers=headers)

    async def _images(self, asked: _Asked) -> Response:
        body = await self._body(asked, "embeddings")
        deployment = self._deployment(asked, body.get("model"), "imageEmbeddings")
        request = image_request(body, asked.surface)
        engine: Any = deployment.engine
        vectors = await engine.embed_images(request.images)
        answer = embeddings(
            vectors,
            deployment.model_name,
            len(request.images),
            request.dimensions,
            request.encoding,
            asked.id,
        )
        return JSONResponse(answer, headers=_deployment_headers(deployment))

    async def _info(self, asked: _Asked) -> Response:
        deployment = self._deployment(asked, asked.http.query_params.get("model"), "")
        return JSONResponse(deployment.info(), headers=_deployment_headers(deployment))

    async def _models(self, asked: _Asked) -> Response:
        data = [_model_entry(each) for each in self._registry]
        return JSONResponse({"object": "list", "data": data})

    async def _one_model(self, asked: _Asked) -> Response:
        name = asked.http.path_params["model"]
        found = self._registry.get(name)
        if found is None:
            raise refusals.unknown_model(asked.surface, name)
        return JSONResponse(_model_entry(found))

    async def _classic_list(self, asked: _Asked) -> Response:
        data = [
            {
                "id": each.name,
                "model": each.model_name,
                "status": "succeeded",
                "object": "deployment",
            }
            for each in self._registry
        ]
        return JSONResponse({"object": "list", "data": data})

    async def _project_list(self, asked: _Asked) -> Response:
        return JSONResponse({"value": [each.in_project() for each in self._registry]})

    async def _arm_list(self, asked: _Asked) -> Response:
        account = f"/subscriptions/{asked.http.path_params['account']}"
        return JSONResponse({"value": [each.in_arm(account) for each in self._registry]})

    def _likeness(self) -> tools.Likeness | None:
        """Likeness of texts by a real embedding model, where one is deployed here."""
        for deployment in self._registry:
            engine: Any = deployment.engine
            if getattr(engine, "understands", False) and hasattr(engine, "embed"):
                return _likeness_of(engine)
        return None


def _prompt_results(content_filter: ContentFilter, text: str) -> Json:
    """What the filter finds in a prompt.

    Raises:
        Refusal: It blocks the prompt.
    """
    if not content_filter.active:
        return {}
    results = content_filter.results(text)
    if is_blocked(results):
        raise refusals.filtered(content_filter.spelling, results)
    return results


_log = logging.getLogger("azinfer.local")
_METHODS = {"chatCompletion": "chat", "embeddings": "embed", "imageEmbeddings": "embed_images"}
_call_numbers = itertools.count(1)


class _Work:
    """One chat completion while it is written."""

    def __init__(
        self,
        request: ChatRequest,
        engine: Any,
        content_filter: ContentFilter,
        likeness: tools.Likeness | None,
    ) -> None:
        self._request = request
        self._engine = engine
        self._filter = content_filter
        self._likeness = likeness
        self._choices: list[Written] = []
        self._prompt = Prompt(
            request.messages,
            request.max_tokens or _DEFAULT_MAX_TOKENS,
            request.temperature,
            request.top_p,
            request.stop,
            request.seed,
            request.json_schema,
        )

    def tokens(self) -> int:
        """How many tokens a stream cost so far."""
        return int(usage(self._choices)["total_tokens"])

    async def written(self, index: int) -> Written:
        """One choice, whole."""
        calls = await tools.chosen(self._request, self._likeness)
        if calls:
            return await self._called(calls)
        written = Written()
        async with contextlib.aclosing(self._pieces(self._seeded(index), written)) as texts:
            written.text = "".join([text async for text in texts])
        return written

    def _passes(self, text: str, written: Written) -> bool:
        """Whether the filter lets a choice go on; else it ends here."""
        if self._filter.active:
            written.filter_results = self._filter.results(text)
            if is_blocked(written.filter_results):
                written.finish_reason = "content_filter"
                return False
        return True

    async def events(self, frame: Frame) -> AsyncGenerator[bytes]:
        """The whole answer as server-sent events, each as soon as it is written."""
        calls = await tools.chosen(self._request, self._likeness)
        if first := frame.first_chunk():
            yield first
        choices = self._choices = [Written() for _ in range(self._request.n)]
        for index, written in enumerate(choices):
            if calls:
                choices[index] = written = await self._called(calls)
                yield frame.chunk(index, {"role": "assistant", "content": None})
                for delta in _call_deltas(written.tool_calls):
                    yield frame.chunk(index, {"tool_calls": [delta]})
            else:
                async with contextlib.aclosing(self._pieces(self._seeded(index), written)) as texts:
                    text = await anext(texts, "")
                    yield frame.chunk(index, {"role": "assistant", "content": ""})
                    if text:
                        yield frame.chunk(index, {"content": text})
                    async for text in texts:
                        yield frame.chunk(index, {"content": text})
            yield frame.chunk(index, {}, written.finish_reason, written.filter_results)
        if self._request.include_usage:
            yield frame.usage_chunk(choices)
        yield DONE

    def _seeded(self, index: int) -> Prompt:
        """What to ask for one choice, so that choices differ though the seed is fixed."""
        seed = self._prompt.seed
        return self._prompt if seed is None else replace(self._prompt, seed=seed + index)

    async def _pieces(self, prompt: Prompt, written: Written) -> AsyncGenerator[str]:
        """The texts of one choice; what they cost is written down meanwhile."""
        said = ""
        async with contextlib.aclosing(self._engine.chat(prompt)) as pieces:
            async for piece in pieces:
                written.completion_tokens += piece.tokens
                if piece.finish_reason is not None:
                    written.finish_reason = piece.finish_reason
                    written.prompt_tokens = piece.prompt_tokens or 0
                if piece.text:
                    said += piece.text
                    if not self._passes(said, written):
                        return
                    yield piece.text

    async def _called(self, functions: Sequence[Json]) -> Written:
        whole = Written(finish_reason="tool_calls")
        if self._request.tool_choice == "named":
            whole.finish_reason = "stop"
        for function in functions:
            part, prompt = Written(), tools.asking_for(self._prompt, function)
            async with contextlib.aclosing(self._pieces(prompt, part)) as pieces:
                texts = [text async for text in pieces]
            call_id = f"call_{next(_call_numbers):08d}{uuid.uuid4().hex[:12]}"
            whole.tool_calls.append(tool_call(call_id, function["name"], "".join(texts)))
            whole.completion_tokens += part.completion_tokens
            whole.prompt_tokens += part.prompt_tokens
        return whole


def _call_deltas(calls: Sequence[Json]) -> list[Json]:
    """Calls as the service streams them: first the name, then the arguments in parts."""
    deltas: list[Json] = []
    for index, call in enumerate(calls):
        arguments = call["function"]["arguments"]
        function = {"name": call["function"]["name"], "arguments": ""}
        deltas.append({"index": index, **call, "function": function})
        for at in range(0, len(arguments), 16):
            deltas.append({"index": index, "function": {"arguments": arguments[at : at + 16]}})
    return deltas


async def _with_first(
    first: bytes, events: AsyncGenerator[bytes], over: Callable[[], None]
) -> AsyncIterator[bytes]:
    try:
        yield first
        async for each in events:
            yield each
    except EngineError as error:
        yield event(refusals.malformed(str(error)).body)
        yield DONE
    finally:
        over()
        await events.aclose()


def _likeness_of(engine: Any) -> tools.Likeness:
    async def likeness(text: str, descriptions: Sequence[str]) -> list[float]:
        (asked, *told), _ = await engine.embed([text, *descriptions])
        return [sum(a * b for a, b in zip(asked, each, strict=True)) for each in told]

    return likeness


def _model_entry(deployment: LocalDeployment) -> Json:
    return {
        "id": deployment.name,
        "object": "model",
        "created": 1_767_225_600,
        "owned_by": deployment.model_format,
        "status": "succeeded",
        "capabilities": deployment.capabilities,
    }


def _common_headers(http: Request, request_id: str) -> Mapping[str, str]:
    headers = {"apim-request-id": request_id, "x-ms-region": "local"}
    if client_id := http.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = client_id
    return headers


def _deployment_headers(deployment: LocalDeployment) -> dict[str, str]:
    return {"x-ms-deployment-name": deployment.name}


async def _nothing_there(http: Request, error: Exception) -> Response:
    return JSONResponse(refusals.not_found().body, 404)


async def _wrong_method(http: Request, error: Exception) -> Response:
    return JSONResponse(refusals.not_allowed().body, 405)
