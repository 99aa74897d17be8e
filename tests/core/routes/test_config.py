"""`[routes]` and `[aliases]` of `azinfer.toml`: errors name the line and the field."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

import azinfer.core
from azinfer.core import ConfigurationError, InferenceClient
from azinfer.core.names import Source
from azinfer.core.routes import Member, Policy, Route
from client_driver import KEY

SCHEMA = json.loads(Path(azinfer.core.__file__).with_name("azinfer.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

BEGIN = """default = "main"
[endpoints.main]
url = "https://contoso.services.ai.azure.com"
credential = "env:MY_KEY"
[endpoints.west]
url = "https://contoso-west.openai.azure.com"
credential = "env:MY_KEY"
zone = "eu"
"""
ENVIRON = {"MY_KEY": KEY}
WHOLE: dict[str, Any] = {
    "default": "main",
    "shared": {"redis": "env:REDIS_URL", "prefix": "team", "timeout": 0.5},
    "endpoints": {
        "main": {"url": "https://contoso.services.ai.azure.com", "credential": "env:MY_KEY"},
        "west": {
            "url": "https://contoso-west.services.ai.azure.com",
            "credential": "entra",
            "surface": "v1",
            "api_version": "2025-04-01-preview",
            "headers": {"x-team": "search"},
            "zone": "eu",
            "discover": "azure",
        },
    },
    "deployments": {
        "gpt-4o@main": {
            "model_id": "gpt-4o",
            "model_version": "2024-11-20",
            "model_format": "OpenAI",
            "capacity_type": "Standard",
            "capacity": 10.5,
            "content_filter": "strict",
            "rpm": 60,
            "tpm": 10_000.0,
            "concurrency": 8,
        }
    },
    "routes": {
        "chat": {
            "tiers": [["gpt-4o@main:3", "gpt-4o@west"], ["route:cheap"]],
            "guard": ["data_zone"],
            "params": {"temperature": 0.2},
            "policy": {
                "attempts": 4,
                "wait": 5,
                "retry_after": 30.0,
                "failures": 3,
                "pause": 0.5,
                "longest_pause": 10,
                "affinity": "prefix",
                "hedge": 0.25,
                "hedge_share": 0.05,
                "on_filter": "next",
                "service_spillover": False,
            },
        },
        "cheap": {"tiers": [["phi-4"]]},
    },
    "aliases": {"fast": "phi-4@west", "talk": "chat"},
    "local": {"port": 1},
}


def read(config: Any, **named: Any) -> Any:
    return Source(config, None, tuple(named.get("routes", ())), named.get("aliases", {})).read()


def test_a_whole_configuration_is_read() -> None:
    names = read(WHOLE)
    route = names.directory.routes["chat"]
    assert route.policy.wait == 5
    assert (route.guard, dict(route.params)) == (("data_zone",), {"temperature": 0.2})
    assert route.tiers[0] == (Member("gpt-4o", "main", 3.0), Member("gpt-4o", "west"))
    assert names.directory.aliases == {"fast": "phi-4@west", "talk": "chat"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[routes.chat]\n", r"line 9: routes.chat.tiers: is missing; it must be a list"),
        ("[routes.chat]\ntiers = 3\n", "line 10: routes.chat.tiers: must be a list"),
        ("[routes.chat]\ntiers = []\n", "line 10: .*tiers: give at least one deployment"),
        (
            '[routes.chat]\ntiers = ["a"]\n',
            "line 10: .*tiers: must be a list of tiers, each a list",
        ),
        (
            "[routes.chat]\ntiers = [[3]]\n",
            'line 10: .*tiers: must name a deployment, such as "gpt',
        ),
        (
            '[routes.chat]\ntiers = [["a@wst"]]\n',
            "line 10: .*'a@wst' names an unknown endpoint; did you mean 'west'",
        ),
        ('[routes.chat]\ntiers = [["a@east"]]\n', "unknown endpoint; .*known: main, west"),
        ('[routes.chat]\ntiers = [["a@west:x"]]\n', "line 10: .*'a@west:x': weight must be a n"),
        (
            '[routes.chat]\ntiers = [["a"], ["route:chaet"]]\n[routes.cheat]\ntiers = [["b"]]\n',
            "line 10: routes.chat.tiers: there is no route 'chaet'; did you mean 'cheat'",
        ),
        ('[routes.chat]\ntiers = [["a"], ["route:x"]]\n', "no route 'x'; known: none"),
        ('[routes.chat]\ntiers = [["a"], ["route:chat"]]\n', "contains itself: chat → chat"),
        ('[routes.chat]\ntiers = [["a"], ["a@main"]]\n', "tiers: a@main appears in it twice"),
        (
            '[routes.chat]\ntiers = [["a"]]\nguards = 3\n',
            "line 11: .*guards: is unknown; did you mean",
        ),
        ('[routes.chat]\ntiers = [["a"]]\nguard = ["x"]\n', "line 11: .*guard: guard 'x' is unk"),
        (
            '[routes.chat]\ntiers = [["a"]]\npolicy = { wait = "1" }\n',
            "line 11: routes.chat.policy.wait: must be a number",
        ),
        (
            '[routes.chat]\ntiers = [["a"]]\npolicy.attempts = 0\n',
            "line 11: routes.chat.policy.attempts: must be a whole number of at least 1, not 0",
        ),
        (
            '[routes.chat]\ntiers = [["a"]]\n[routes.chat.policy]\nhedges = 1\n',
            "line 12: routes.chat.policy.hedges: is unknown; did you mean 'hedge'",
        ),
        ("[aliases]\na = 3\n", "line 10: aliases.a: must be text"),
        ('[aliases]\na = "b"\nb = "A"\n', "line 10: aliases.a: refers to itself: a → b → A"),
        ('[deployments."a@main"]\nrpm = 0\n', "line 10: .*rpm: must be at least 1, not 0"),
        ('[deployments."a@main"]\nconcurrency = 1.5\n', "line 10: .*concurrency: must be a whole"),
    ],
)
def test_mistakes_are_named_with_line_and_field(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "azinfer.toml"
    path.write_text(BEGIN + text, "utf-8")
    with pytest.raises(ConfigurationError, match=f"azinfer.toml, .*{reason}"):
        InferenceClient.from_config(path, environ=ENVIRON)


def test_mistakes_in_a_mapping_have_no_line() -> None:
    config = copy.deepcopy(WHOLE)
    config["routes"]["chat"]["tiers"] = [["a@east"]]
    with pytest.raises(ConfigurationError, match=r"^config: routes.chat.tiers: 'a@east' names"):
        read(config)


def test_mistakes_in_python_are_named_too() -> None:
    with pytest.raises(ConfigurationError, match="route 'x': a@east names an unknown endpoint"):
        read(WHOLE, routes=[Route("x", [["a@east"]])])
    with pytest.raises(ConfigurationError, match="refers to itself"):
        read(WHOLE, aliases={"p": "q", "q": "p"})


def test_python_wins_over_the_file() -> None:
    mine = Route("Chat", [["own@west"]], Policy(wait=1))
    names = read(WHOLE, routes=[mine], aliases={"fast": "chat", "chat": "chat"})
    assert names.directory.routes["chat"] is mine
    assert names.directory.aliases["fast"] == "chat"


def test_python_may_write_tuples_and_members() -> None:
    config = copy.deepcopy(WHOLE)
    config["routes"]["cheap"] = {"tiers": ((Member("phi-4", "west"),),)}
    assert read(config).directory.routes["cheap"].tiers == ((Member("phi-4", "west"),),)


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def accepts(config: Any) -> bool:
    try:
        read(config)
    except ConfigurationError:
        return False
    return True


def test_the_schema_and_the_reader_accept_the_whole_configuration() -> None:
    assert accepts(WHOLE)
    VALIDATOR.validate(WHOLE)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a configuration except the local endpoint's own and a route's params."""
    if path in (("local", "port"), ("routes", "chat", "params", "temperature")):
        return []
    below = value.items() if isinstance(value, dict) else ()
    return [path, *(each for key, inner in below for each in places(inner, (*path, key)))]


def change_at(path: tuple[Any, ...], change: Any) -> Any:
    config = copy.deepcopy(WHOLE)
    if not path:
        return change(config)
    inner = config
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = change(inner[path[-1]])
    return config


PLACES = places(WHOLE)
VALUES = [3, 0, -1, 0.0, 1.5, "", "x", True, [], ["x"], [["x"]], [[]], {}, {"x": 1}]
TABLES = [path for path in PLACES if path != ("local",) and path[-2:] != ("chat", "params")]


@given(
    st.sampled_from([path for path in PLACES if path]),
    st.sampled_from(VALUES),
)
def test_the_schema_and_the_reader_agree_on_values(path: tuple[Any, ...], value: Any) -> None:
    if path[-1] in ("default", "url", "api_version"):
        return  # names and URLs have rules that a schema cannot say
    config = change_at(path, lambda _: value)
    valid = VALIDATOR.is_valid(config)
    # What depends on other parts of the file is the reader's alone.
    if path in (("endpoints",), ("deployments",), ("routes",), ("aliases",)):
        assert valid or not accepts(config)
    else:
        assert accepts(config) is valid, (path, value)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: ".".join(path))
def test_the_schema_and_the_reader_know_the_same_fields(path: tuple[Any, ...]) -> None:
    inner: Any = WHOLE
    for key in path:
        inner = inner[key]
    if not isinstance(inner, dict):
        return
    config = change_at(path, lambda table: {**table, "unheard_of": "x"})
    assert accepts(config) is VALIDATOR.is_valid(config), path
    for name in inner:
        less = change_at(
            path, lambda table, name=name: {k: v for k, v in table.items() if k != name}
        )
        if name not in ("main", "west", "cheap", "default"):
            assert accepts(less) is VALIDATOR.is_valid(less), (path, name)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://contoso.openai.azure.com", r"no credential .* below \[endpoints.main\]"),
        ("http://contoso.example/openai/v1", "is not https"),
    ],
)
def test_an_endpoint_that_cannot_be_used_says_why(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        InferenceClient.from_config({"endpoints": {"main": {"url": url}}}, environ={})
