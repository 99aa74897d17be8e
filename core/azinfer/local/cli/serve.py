"""`azinfer serve`: choose the deployments, start the endpoint, and run it until it is stopped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azinfer.core.local_addresses import FIRST_PORT
from azinfer.local.cli import interrupts
from azinfer.local.cli.deployment_sources import (
    fetch_weights,
    gguf_deployment,
    onnx_deployment,
    proxied_deployments,
    real_deployments,
    synthetic_deployments,
)
from azinfer.local.cli.option_errors import OptionError, values_of_options
from azinfer.local.cli.output import write, write_json
from azinfer.local.cli.running_endpoints import RunningEndpoint, register
from azinfer.local.cli.shell_environment import client_variables, current_shell, format_variables
from azinfer.local.config.endpoint_config import (
    EndpointConfig,
    read_endpoint_config,
    read_endpoint_configs,
)
from azinfer.local.directories import data_folder
from azinfer.local.endpoint import LocalEndpoint
from azinfer.local.endpoints import LocalEndpoints
from azinfer.local.engines.weights import Weights
from azinfer.local.resource.deployment import LocalDeployment

_CONFIG_FILE = Path("azinfer.toml")
_ONLY = "main"  # the name of an endpoint that has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What to serve, as the options of `azinfer serve` say.

    Attributes:
        config: The configuration file; None for `azinfer.toml` in the working directory, if any.
        synthetic: Serve deployments without a model.
        gguf: Deployments of GGUF files, each `NAME=FILE.gguf`.
        onnx: Deployments of ONNX files, each `NAME=FILE.onnx`.
        upstream: Deployments of other servers, each `NAME=URL` or `URL`.
        upstream_key: The key of those servers.
        record: The file to record the servers' responses in.
        replay: The file to answer from.
        at_once: Replay without the recorded delays.
    """

    config: Path | None = None
    synthetic: bool = False
    gguf: list[str] = field(default_factory=list)
    onnx: list[str] = field(default_factory=list)
    upstream: list[str] = field(default_factory=list)
    upstream_key: str | None = field(default=None, repr=False)
    record: Path | None = None
    replay: Path | None = None
    at_once: bool = False


def serve(sources: Sources, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Serve deployments until the process is stopped.

    Args:
        sources: What to serve.
        options: Arguments of `LocalEndpoint`, which win over those of the configuration file.
        as_json: Whether to print the endpoint as one JSON object, for programs.

    Raises:
        ConfigurationError: Options conflict, or the configuration is not valid.
        InferenceError: Weights cannot be fetched, or the port cannot be used.
    """
    interrupts.stop_on_sigterm()
    _check_conflicts(sources)
    endpoints = _endpoints(sources, options)
    with endpoints, contextlib.ExitStack() as registrations:
        for endpoint in endpoints.values():
            running = RunningEndpoint(endpoint.url, endpoint.key, endpoint.ca_file)
            registrations.enter_context(register(data_folder(), running))
        (_write_json if as_json else _write_welcome)(endpoints)
        endpoints.wait()


def _endpoints(sources: Sources, options: Mapping[str, Any]) -> LocalEndpoints:
    """Return all endpoints to serve, each with a port of its own."""
    path = sources.config or _CONFIG_FILE
    has_file = sources.config is not None or path.is_file()
    if has_file:
        configs = read_endpoint_configs(path, options=options, pull=_pull)
        if configs:
            return _several(configs, sources)
    config = EndpointConfig((), options)
    if has_file:
        config = read_endpoint_config(path, options=options, pull=_pull)
    deployments = _deployments(sources, config)
    with contextlib.nullcontext() if has_file else values_of_options():
        endpoint = LocalEndpoint(deployments, **{"port": FIRST_PORT, **config.options})
    return LocalEndpoints({_ONLY: endpoint})


def _several(configs: Mapping[str, EndpointConfig], sources: Sources) -> LocalEndpoints:
    for option in ("synthetic", "gguf", "onnx", "upstream", "replay"):
        if getattr(sources, option):
            raise OptionError(
                f"--{option} is for one endpoint, and the file has several "
                f"({', '.join(configs)}); describe their deployments there"
            )
    return LocalEndpoints(
        {
            name: LocalEndpoint(
                config.deployments, **{"port": FIRST_PORT + number, **config.options}
            )
            for number, (name, config) in enumerate(configs.items())
        }
    )


def _check_conflicts(sources: Sources) -> None:
    if sources.record and not sources.upstream:
        raise OptionError("--record needs an --upstream to record")
    if sources.at_once and not sources.replay:
        raise OptionError("--at-once needs a --replay")
    exclusive = {
        "--synthetic": sources.synthetic,
        "--upstream": sources.upstream,
        "--replay": sources.replay,
    }
    names = [name for name, value in exclusive.items() if value]
    if len(names) > 1:
        raise OptionError(f"{' and '.join(names)} cannot be combined; choose one")


def _pull(weights: Weights) -> Path:
    [file] = fetch_weights([weights])
    return file


def _deployments(sources: Sources, config: EndpointConfig) -> list[LocalDeployment]:
    if sources.upstream or sources.replay:
        deployments = proxied_deployments(
            sources.upstream,
            sources.upstream_key,
            record=sources.record,
            replay=sources.replay,
            pace=not sources.at_once,
        )
    elif sources.synthetic:
        deployments = synthetic_deployments()
    elif config.deployments or sources.gguf or sources.onnx:
        deployments = list(config.deployments)
    else:
        deployments = real_deployments()
    deployments += [gguf_deployment(each) for each in sources.gguf]
    deployments += [onnx_deployment(each) for each in sources.onnx]
    return deployments


def _write_json(endpoints: LocalEndpoints) -> None:
    facts = {
        name: {
            "url": endpoint.url,
            "key": endpoint.key,
            "ca_file": endpoint.ca_file,
            "deployments": [each.name for each in endpoint.deployments],
        }
        for name, endpoint in endpoints.items()
    }
    write_json({"endpoints": facts} if len(facts) > 1 else next(iter(facts.values())))
    sys.stdout.flush()


def _write_welcome(endpoints: LocalEndpoints) -> None:
    """Print the addresses, the deployments, and how clients get there."""
    several = len(endpoints) > 1
    for name, endpoint in endpoints.items():
        write(f"{f'{name}  ' if several else ''}{endpoint.url}  key {endpoint.key}")
        for each in endpoint.deployments:
            write(f"  {each.name}  ({each.model_name})")
        write(f"In a browser, once: {endpoint.page_url()}")
    first = next(iter(endpoints.values()))
    port = f" --port {urlsplit(first.url).port}" if several else ""
    write(f'In another terminal, eval "$(azinfer env{port})" sets these variables for clients:')
    variables = client_variables(first.url, first.key, first.ca_file)
    write(format_variables(variables, current_shell(os.environ)))
    write("Press Ctrl-C to stop.")
    sys.stdout.flush()
