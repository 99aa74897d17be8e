"""Requests that schemathesis generates, right and wrong: none breaks the endpoint.

`tests/local/requests` has what official documents say may be asked. An ordinary run sends some of
the cases; `AZINFER_FUZZ=2000 pytest tests/local/test_fuzz.py` sends so many to each surface, by
default and strictly, and shows with `--log-cli-level INFO` how they were answered. Cases are
the same in each run.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import jsonschema  # type: ignore[import-untyped]
import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.errors import UnsupportedSchema

from azinfer.core import RateLimit
from azinfer.local import ContentFilter, LocalDeployment, LocalEndpoint, SyntheticEngine
from pictures import DATA_URL

Json = dict[str, Any]
CASES = int(os.environ.get("AZINFER_FUZZ", "40"))
KEY = "local-key"
# Of each surface: whose words its errors are in, the document of its requests, where they begin,
# and which of their paths are taken. What changes deployments is tried with a chat that uses them.
SURFACES = {
    "models": [("mesh", "models", "/models", "")],
    "v1": [("openai", "v1", "/openai/v1", "")],
    "classic": [("openai", "classic", "/openai", "")],
    "classic resource": [("openai", "v1", "/openai", "/files /batches /responses /models")],
    "serverless": [("mesh", "models", "", "")],
    "resource": [("arm", "resource", "", ""), ("mesh", "models", "/models", "/chat")],
    "administration": [("openai", "admin", "", ""), ("faulty", "v1", "/openai/v1", "/chat")],
}


def _error(code: Json, *more: str) -> Json:
    fields = {"code": code, "message": TEXT}
    options = {"type": "object", "required": ["code", "message", *more], "properties": fields}
    return {"type": "object", "required": ["error"], "properties": {"error": options}}


TEXT: Json = {"type": "string", "minLength": 1}
OR_NONE: Json = {"type": ["string", "null"]}
FLAT: Json = {"type": "object", "required": ["status", "code", "message"]}
DETAIL: Json = {"type": "object", "required": ["detail"], "maxProperties": 1}
# The forms that errors have, by whose they are.
DIALECTS: Json = {
    "openai": {"anyOf": [_error(OR_NONE, "type"), _error(TEXT)]},
    "mesh": {"anyOf": [_error(TEXT), FLAT, DETAIL]},
    "arm": _error(TEXT),
    "faulty": {},
}


class OnlyVectors:
    """An engine that writes no text."""

    embed = SyntheticEngine(dimensions=8).embed
    embed_images = SyntheticEngine(dimensions=8).embed_images
    aclose = SyntheticEngine().aclose


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[LocalEndpoint]:
    """Deployments that answer, filter, only embed, and are used up."""
    words = ContentFilter(words={"violence": {"0": "high"}, "hate": {"a": "low"}})
    deployments = [
        LocalDeployment("chat", engine=SyntheticEngine()),
        LocalDeployment("guarded", engine=SyntheticEngine("A 0."), content_filter=words),
        LocalDeployment("vectors", engine=OnlyVectors()),
        LocalDeployment("full", rate_limits=(RateLimit("request", 1, 3600),)),
    ]
    with LocalEndpoint(deployments, key=KEY, key2="other", strict=request.param) as endpoint:
        yield endpoint


@pytest.fixture
def http(endpoint: LocalEndpoint) -> Iterator[httpx.Client]:
    """A client that makes what requests are about."""
    with httpx.Client(base_url=endpoint.url, headers={"api-key": KEY}) as client:
        yield client


def things(http: httpx.Client) -> Json:
    """Names and new ids of what is there and is not, by the parameters and fields for them."""
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    hello = [{"role": "user", "content": "hi"}]
    content = json.dumps({**line, "body": {"model": "chat", "messages": hello}})
    form: Json = {"files": {"file": ("a.jsonl", content)}, "data": {"purpose": "batch"}}
    files = [http.post("/openai/v1/files", **form).json()["id"], "file-no"]
    fields = {"input_file_id": files[0], "endpoint": "/v1/chat/completions"}
    batch = http.post("/openai/v1/batches", json={**fields, "completion_window": "24h"}).json()
    body = http.post("/openai/v1/responses", json={"model": "chat", "input": "hi"}).json()
    responses = [body["id"], "resp_no"]
    names = ["chat", "guarded", "vectors", "full", "gone"]
    return {
        **dict.fromkeys(["file_id", "input_file_id"], files),
        **dict.fromkeys(["response_id", "previous_response_id"], responses),
        "batch_id": [batch["id"], "batch_no"],
        **dict.fromkeys(["model", "deployment", "deployment-id"], names),
        "spilloverDeploymentName": names,
        "image": [DATA_URL],
        "api-version": ["2025-05-15-preview", "2025-04-01-preview", "2025-09-01", "v1"],
    }


def document(name: str, begins: str, beginnings: str, http: httpx.Client) -> Json:
    """Requests whose names and ids are mostly those of things that are there."""
    path = Path(__file__).parent / "requests" / f"{name}.json"
    body: Json = json.loads(path.read_text("utf-8"))
    taken = tuple(beginnings.split()) or ("",)
    paths = {begins + path: item for path, item in body["paths"].items() if path.startswith(taken)}
    for item in paths.values():
        # What is deleted is nothing that others ask for.
        _name(item.get("delete"), things(http))
    _name({"paths": paths, "components": body["components"]}, things(http))
    return {**body, "paths": paths}


def _name(result: Any, ids: Json) -> None:
    """Choose parameters and fields from those that exist."""
    if isinstance(result, list):
        for each in result:
            _name(each, ids)
    if not isinstance(result, dict):
        return
    if result.get("in") in ("path", "query") and result["name"] in ids and "enum" not in result:
        result |= {
            "enum": None,
            "required": True,
            "schema": {"type": "string", "enum": ids[result["name"]]},
        }
    for name, schema in result.items():
        if name in ids and isinstance(schema, dict) and schema.get("type") == "string":
            result[name] = {"type": "string", "enum": ids[name]}
        else:
            _name(schema, ids)


def cases(words: str, *result: Any) -> list[st.SearchStrategy[tuple[str, Case[Any]]]]:
    """Requests of every operation, as its schema has them and as it has not."""
    schema: Any = schemathesis.openapi.from_dict(document(*result))
    return [
        st.tuples(st.just(words), possible(operation.ok().as_strategy(mode)))
        for operation in schema.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]


@st.composite
def possible(draw: st.DrawFn, cases: st.SearchStrategy[Case[Any]]) -> Case[Any]:
    """A case; of schemas that schemathesis has made wrong it cannot always make a request."""
    try:
        return draw(cases)
    except UnsupportedSchema:
        hypothesis.reject()


def check(answer: schemathesis.Response, words: str, surface: str) -> None:
    """An answer follows the schema of its surface, and names its type."""
    headers = {name: values[0] for name, values in answer.headers.items()}
    kind = headers.get("content-type", "").partition(";")[0]
    if kind == "text/event-stream":
        lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
        assert lines
        assert [json.loads(line) for line in lines if line != "[DONE]"]
    elif (surface, answer.text) == ("serverless", "NOT FOUND"):
        assert (kind, answer.status_code) == ("text/plain", 404)
    elif answer.content and "/content" not in (answer.request.url or ""):
        assert kind == "application/json"
        body = answer.json()
        if answer.status_code >= 400:
            jsonschema.validate(body, DIALECTS[words])
    assert re.fullmatch("[0-9a-f]{32}", headers["apim-request-id"])


@pytest.mark.parametrize("surface", SURFACES)
def test_no_request_breaks_the_endpoint(
    http: httpx.Client, caplog: pytest.LogCaptureFixture, surface: str
) -> None:
    values = [case for result in SURFACES[surface] for case in cases(*result, http)]
    counts: Counter[int] = Counter()

    @hypothesis.settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(st.one_of(values))
    def try_case(values: tuple[str, Case[Any]]) -> None:
        words, case = values
        answer = case.call(str(http.base_url), headers={"api-key": KEY}, session=session)
        counts[answer.status_code] += 1
        assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert answer.status_code < 500 or words == "faulty"
        check(answer, words, surface)

    with requests.Session() as session:
        try_case()
    assert counts.total() >= CASES
    logging.getLogger(__name__).info("%s: %s", surface, dict(counts))
