"""`azinfer routes --import`: LiteLLM's config.yaml and the environment as azinfer.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from azinfer.core import ConfigurationError, InferenceClient
from azinfer.local.cli.app import app
from azinfer.local.cli.route_import import import_routes

YAML = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-ptu
      api_base: https://contoso.openai.azure.com/
      api_key: os.environ/AZURE_KEY_MAIN
      api_version: "2024-10-21"
      order: 1
    model_info:
      base_model: azure/gpt-4o
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o
      api_base: https://contoso.openai.azure.com
      api_key: os.environ/AZURE_KEY_MAIN
      api_version: "2024-10-21"
      rpm: 600
      tpm: 10000
      weight: 3
      order: 2
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o
      api_base: https://west.openai.azure.com
      api_key: sk-literal-secret
      order: 2
  - model_name: mistral.large
    litellm_params:
      model: azure_ai/Mistral-Large
      api_base: https://contoso.services.ai.azure.com/models
  - model_name: small
    litellm_params: {model: azure/phi-4, api_base: https://west.openai.azure.com}
  - model_name: claude
    litellm_params: {model: anthropic/claude-x, api_key: os.environ/ANTHROPIC_API_KEY}
router_settings:
  fallbacks: [{"gpt-4o": ["mistral.large", "small"]}, {"claude": ["gpt-4o"]}]
  model_group_alias: {"gpt-4": "gpt-4o", "tiny": {"model": "small", "hidden": true}}
"""


def load(text: str, tmp_path: Path, environ: dict[str, str]) -> InferenceClient:
    path = tmp_path / "azinfer.toml"
    path.write_text(text, "utf-8")
    return InferenceClient.from_config(path, environ=environ)


def test_a_config_of_litellm_becomes_routes(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(YAML, "utf-8")
    done = CliRunner().invoke(app, ["routes", "--import", str(path)])
    assert done.exit_code == 0
    file = tomllib.loads(done.output)
    assert file["default"] == "contoso"
    assert file["endpoints"]["contoso"] == {
        "url": "https://contoso.openai.azure.com",
        "credential": "env:AZURE_KEY_MAIN",
        "api_version": "2024-10-21",
    }
    assert file["endpoints"]["west"]["credential"] == "env:WEST_KEY"
    assert file["endpoints"]["contoso-2"]["url"].endswith("/models")
    assert file["deployments"] == {
        "gpt-4o-ptu@contoso": {"model_id": "gpt-4o"},
        "gpt-4o@contoso": {"rpm": 600, "tpm": 10000},
    }
    assert file["routes"]["gpt-4o"]["tiers"] == [
        ["gpt-4o-ptu@contoso"],
        ["gpt-4o@contoso:3", "gpt-4o@west"],
        ["Mistral-Large@contoso-2"],
        ["route:small"],
    ]
    assert file["aliases"] == {"gpt-4": "gpt-4o", "tiny": "small"}
    assert "sk-literal-secret" not in done.output
    assert (
        "# put the key of https://west.openai.azure.com into the variable WEST_KEY" in done.output
    )
    assert "# not converted: claude (anthropic/claude-x)" in done.output
    assert "# not converted: the fallbacks of claude" in done.output
    client = load(done.output, tmp_path, {"AZURE_KEY_MAIN": "k", "WEST_KEY": "k"})
    assert set(client.routes) == {"gpt-4o", "mistral.large", "small"}
    assert client.explain(model="GPT-4").deployment == "gpt-4o-ptu"


def test_the_environment_becomes_endpoints(tmp_path: Path) -> None:
    environ = {
        "AZURE_OPENAI_ENDPOINT": "https://contoso.openai.azure.com/",
        "AZURE_OPENAI_API_KEY": "k1",
        "OPENAI_API_VERSION": "2024-10-21",
        "AZURE_OPENAI_DEPLOYMENT": "gpt-4o",
        "AZURE_OPENAI_ENDPOINT_WEST": "https://west.openai.azure.com",
        "AZURE_OPENAI_API_KEY_WEST": "k2",
        "AZURE_OPENAI_DEPLOYMENT_WEST": "gpt-4o",
        "AZURE_AI_PROJECT_ENDPOINT": "https://contoso.services.ai.azure.com/api/projects/p",
        "AZURE_AI_ENDPOINT": "",
    }
    text = import_routes("env", environ)
    file: Any = tomllib.loads(text)
    assert file["endpoints"]["contoso"]["credential"] == "env:AZURE_OPENAI_API_KEY"
    assert file["endpoints"]["contoso"]["api_version"] == "2024-10-21"
    assert file["endpoints"]["west"]["credential"] == "env:AZURE_OPENAI_API_KEY_WEST"
    assert file["endpoints"]["contoso-2"]["credential"] == "entra"
    assert file["routes"]["chat"]["tiers"] == [["gpt-4o@contoso"], ["gpt-4o@west"]]
    assert "k1" not in text
    client = load(text, tmp_path, environ)
    assert client.explain(model="chat").deployment == "gpt-4o"


def test_one_endpoint_in_several_variables_is_written_once() -> None:
    environ = {
        "AZURE_AI_ENDPOINT": "https://contoso.services.ai.azure.com",
        "AZURE_AI_API_KEY": "k1",
        "AZURE_INFERENCE_ENDPOINT": "https://Contoso.services.ai.azure.com/",
        "AZURE_INFERENCE_CREDENTIAL": "k1",
        "AZURE_OPENAI_ENDPOINT": "https://contoso.services.ai.azure.com",
        "AZURE_OPENAI_API_KEY": "another",
    }
    file: Any = tomllib.loads(import_routes("env", environ))
    keys = {name: table["credential"] for name, table in file["endpoints"].items()}
    assert keys == {"contoso": "env:AZURE_AI_API_KEY", "contoso-2": "env:AZURE_OPENAI_API_KEY"}


def test_a_url_in_a_variable_is_left_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "model_list: [{model_name: a, litellm_params: {model: azure/m, "
        "api_base: os.environ/MY_BASE, api_version: os.environ/MY_VERSION}}, 3]\n"
    )
    text = import_routes(str(path), {})
    assert "# write the URL that the variable MY_BASE has into the file" in text
    assert "api_version" not in text
    assert "default" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("a: [", "is not valid YAML"),
        ("- 1", "has no model of Azure"),
        ("model_list: 3", "has no model of Azure"),
    ],
)
def test_a_file_without_models_of_azure_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        import_routes(str(path), {})


def test_an_empty_environment_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has none of the variables AZURE_OPENAI_ENDPOINT"):
        import_routes("env", {})
