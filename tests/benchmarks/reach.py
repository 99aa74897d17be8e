"""Count the Azure text models that answer `complete` with tools and reasoning.

    python tests/benchmarks/reach.py

The names are those of the model map that litellm ships, each once: dates and regions left out. The
local endpoint has a deployment of each, which serves the wires that the map names and refuses what
its model refuses. A name counts if one unchanged call is answered. It is called three ways:

- on chat completions alone, as clients with one wire do;
- under the model's own name, which tells the client what it knows of the model;
- under a name that says nothing, so that only the refusals can teach the client its wire.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from azinfer.core import InferenceClient, InferenceError, Tool, UserMessage
from azinfer.core.endpoint_knowledge import forget_endpoints
from azinfer.local import LocalDeployment, LocalEndpoint

MAP = "model_prices_and_context_window_backup.json"
# A date, a short date or a region says nothing about how a model is called.
_VERSION = r"-(?:20\d\d-\d\d-\d\d|0\d{3}|\d{4}-preview)$"
# Neither is a text model: a price of the code interpreter, and models of the retired completions.
_NO_MODELS = ("container",)
TOOL = Tool("get_weather", "The weather of a city", {"type": "object", "properties": {}})
Way = Literal["chat alone", "by its name", "by another name"]
WAYS: tuple[Way, ...] = ("chat alone", "by its name", "by another name")


class MapModel(NamedTuple):
    """One model of the map.

    Attributes:
        name: Its name.
        wires: The wires on which it answers.
        has_tools: Whether it takes tools.
        reasons: Whether it takes a reasoning effort.
    """

    name: str
    wires: tuple[str, ...]
    has_tools: bool
    reasons: bool


def models() -> list[MapModel]:
    """Return the text models of Azure in litellm's map, by name."""
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        raise SystemExit("litellm is not installed; it is in the group `peers`")
    rows: dict[str, Any] = json.loads((Path(spec.origin).parent / MAP).read_text("utf-8"))
    models_by_name: dict[str, MapModel] = {}
    for key, row in sorted(rows.items()):
        is_azure = str(row.get("litellm_provider")) in ("azure", "azure_ai")
        if not is_azure or row.get("mode") not in ("chat", "responses"):
            continue
        name = re.sub(_VERSION, "", key.rpartition("/")[2]).replace("model_router", "model-router")
        if name not in _NO_MODELS:
            models_by_name.setdefault(name.casefold(), _model(name, row))
    return list(models_by_name.values())


def _model(name: str, row: Mapping[str, Any]) -> MapModel:
    paths = row.get("supported_endpoints") or ()
    wires: tuple[str, ...] = ("chat", "responses") if "/v1/responses" in paths else ("chat",)
    if name.startswith("claude"):
        wires = ("messages",)
    elif row["mode"] == "responses" or (paths and "/v1/chat/completions" not in paths):
        wires = ("responses",)
    has_tools, reasons = row.get("supports_function_calling"), row.get("supports_reasoning")
    return MapModel(name, wires, bool(has_tools), bool(reasons))


@contextmanager
def resource(listed: Sequence[MapModel]) -> Iterator[LocalEndpoint]:
    """Yield an endpoint with two deployments of each model: by its name, and by another."""
    deployments = [
        LocalDeployment(name, model.name, wires=model.wires)
        for at, model in enumerate(listed)
        for name in (model.name, _other_name(at))
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def _other_name(at: int) -> str:
    return f"deployment-{at:03}"


def find_unreached(endpoint: LocalEndpoint, listed: Sequence[MapModel], way: Way) -> dict[str, str]:
    """Return the models that did not answer, each with the reason."""
    forget_endpoints()
    wire: Any = "chat" if way == "chat alone" else None
    errors: dict[str, str] = {}
    with InferenceClient(endpoint.url, endpoint.key, wire=wire, max_retries=0) as client:
        for at, model in enumerate(listed):
            options: dict[str, Any] = {"tools": [TOOL]} if model.has_tools else {}
            options |= {"reasoning_effort": "high"} if model.reasons else {}
            name = _other_name(at) if way == "by another name" else model.name
            try:
                answer = client.complete(
                    [UserMessage("What is the weather?")], model=name, **options
                )
                assert answer.tool_calls or answer.text
            except InferenceError as error:
                errors[model.name] = error.message
    return errors


def main() -> None:
    """Print how many names answer, each way, and which do not."""
    listed = models()
    print(f"{len(listed)} names: " + ", ".join(f"{n} {w}" for w, n in _count(listed).items()))
    with resource(listed) as endpoint:
        for way in WAYS:
            errors = find_unreached(endpoint, listed, way)
            print(f"\n{way}: {len(listed) - len(errors)} of {len(listed)}")
            for name, reason in errors.items():
                print(f"  {name}: {reason[:100]}")


def _count(listed: Sequence[MapModel]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for model in listed:
        counts[" + ".join(model.wires)] = counts.get(" + ".join(model.wires), 0) + 1
    return counts


if __name__ == "__main__":
    main()
