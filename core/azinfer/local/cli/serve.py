"""`azinfer serve`: choose the deployments, start the endpoint, and run it until it is stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from azinfer.core.errors import ConfigurationError
from azinfer.local.cli.deployment_sources import (
    fetch_weights,
    gguf_deployment,
    onnx_deployment,
    proxied_deployments,
    real_deployments,
    synthetic_deployments,
)
from azinfer.local.cli.output import write, write_json
from azinfer.local.cli.running_endpoints import RunningEndpoint, registered
from azinfer.local.cli.shell_environment import client_variables, current_shell, format_variables
from azinfer.local.config.endpoint_config import EndpointConfig, read_endpoint_config
from azinfer.local.directories import data_folder
from azinfer.local.endpoint import LocalEndpoint
from azinfer.local.engines.weights import Weights
from azinfer.local.resource.deployment import LocalDeployment

_CONFIG_FILE = Path("azinfer.toml")
_PORT = 8765


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
    _check_conflicts(sources)
    config = _read_config(sources.config, options)
    deployments = _deployments(sources, config)
    signal.signal(signal.SIGTERM, _stop)
    endpoint = LocalEndpoint(deployments, **{"port": _PORT, **config.options})
    with endpoint:
        running = RunningEndpoint(endpoint.url, endpoint.key, endpoint.ca_file)
        with registered(data_folder(), running):
            (_write_json if as_json else _write_welcome)(endpoint)
            endpoint.wait()


def _check_conflicts(sources: Sources) -> None:
    if sources.record and not sources.upstream:
        raise ConfigurationError("--record needs an --upstream to record")
    if sources.at_once and not sources.replay:
        raise ConfigurationError("--at-once needs a --replay")
    exclusive = {
        "--synthetic": sources.synthetic,
        "--upstream": sources.upstream,
        "--replay": sources.replay,
    }
    names = [name for name, value in exclusive.items() if value]
    if len(names) > 1:
        raise ConfigurationError(f"{' and '.join(names)} cannot be combined; choose one")


def _read_config(path: Path | None, options: Mapping[str, Any]) -> EndpointConfig:
    if path is None and not _CONFIG_FILE.is_file():
        return EndpointConfig((), options)

    def pull(weights: Weights) -> Path:
        [file] = fetch_weights([weights])
        return file

    return read_endpoint_config(path or _CONFIG_FILE, options=options, pull=pull)


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


def _stop(number: int, frame: Any) -> NoReturn:
    # Containers and init systems stop a process by SIGTERM, which is not an error.
    raise SystemExit(0)


def _write_json(endpoint: LocalEndpoint) -> None:
    write_json(
        {
            "url": endpoint.url,
            "key": endpoint.key,
            "ca_file": endpoint.ca_file,
            "deployments": [each.name for each in endpoint.deployments],
        }
    )
    sys.stdout.flush()


def _write_welcome(endpoint: LocalEndpoint) -> None:
    """Print the address, the deployments, and how clients get there."""
    write(f"{endpoint.url}  key {endpoint.key}")
    for each in endpoint.deployments:
        write(f"  {each.name}  ({each.model_name})")
    write(f"In a browser, once: {endpoint.page_url()}")
    write('In another terminal, eval "$(azinfer env)" sets these variables for clients:')
    variables = client_variables(endpoint.url, endpoint.key, endpoint.ca_file)
    write(format_variables(variables, current_shell(os.environ)))
    write("Press Ctrl-C to stop.")
    sys.stdout.flush()
