"""The command line: serve, pull, demo, chat, embed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from azinfer.core import (
    ConfigurationError,
    InferenceClient,
    InferenceError,
    UserMessage,
    __version__,
)
from azinfer.local import weights
from azinfer.local.deployments import LocalDeployment
from azinfer.local.endpoint import LocalEndpoint

app = typer.Typer(
    name="azinfer",
    help="Azure AI model deployments, and the same endpoint on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()

Port = Annotated[int, typer.Option(help="The port; 0 lets the system choose.")]
Key = Annotated[
    str | None, typer.Option(help="The key that requests must bear.", envvar="AZINFER_KEY")
]
Endpoint = Annotated[
    str | None, typer.Option(help="Any endpoint URL; left out, the environment's.")
]
Model = Annotated[str, typer.Option("--model", "-m", help="The deployment's name, in any case.")]


def main() -> None:
    """Run a command; what goes wrong is told in one sentence."""
    try:
        app()
    except InferenceError as error:
        Console(stderr=True).print(f"[red]azinfer:[/red] {error}", highlight=False, markup=True)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        console.print(__version__)
        raise typer.Exit


@app.command()
def pull() -> None:
    """Fetch the weights of the small real models, once; about 180 MB."""
    for each, path in zip(weights.ALL, pulled(), strict=True):
        console.print(f"{each.name} ({each.licence}): {path}", soft_wrap=True)


@app.command()
def serve(
    port: Port = 8765,
    host: Annotated[str, typer.Option(help="The address; others than loopback need --key.")] = (
        "127.0.0.1"
    ),
    key: Key = None,
    strict: Annotated[bool, typer.Option(help="Take the protocol by the letter.")] = False,
    synthetic: Annotated[
        bool, typer.Option(help="Answer without a model: nothing to download.")
    ] = False,
    gguf: Annotated[
        list[str] | None, typer.Option(help="One more chat deployment: NAME=FILE.gguf")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A directory to keep files and batches in.")
    ] = None,
) -> None:
    """Serve deployments on this machine until Ctrl-C."""
    deployments = synthetic_deployments() if synthetic else real_deployments()
    deployments += [_from_file(each) for each in gguf or ()]
    with LocalEndpoint(
        deployments, key=key, host=host, port=port, strict=strict, data=data
    ) as endpoint:
        console.print(f"[bold]{endpoint.url}[/bold]  key {endpoint.key}", highlight=False)
        for each in endpoint.deployments:
            console.print(f"  {each.name}  ({each.model_name})", highlight=False)
        console.print("AZURE_AI_ENDPOINT and AZURE_AI_API_KEY point clients here. Ctrl-C ends it.")
        try:
            endpoint.wait()
        except KeyboardInterrupt:
            console.print("ended")


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
    with (
        InferenceClient(endpoint, key, model) as client,
        client.stream([*messages, UserMessage(text)]) as chunks,
    ):
        for chunk in chunks:
            print(chunk.text, end="", flush=True)  # noqa: T201
        print()  # noqa: T201


@app.command()
def embed(
    texts: Annotated[list[str], typer.Argument(help="One or more texts.")],
    model: Model,
    endpoint: Endpoint = None,
    key: Key = None,
) -> None:
    """Turn texts into vectors, one line of JSON each."""
    with InferenceClient(endpoint, key, model) as client:
        for vector in client.embed(texts):
            print([round(number, 6) for number in vector])  # noqa: T201


@app.command()
def demo(
    synthetic: Annotated[
        bool, typer.Option(help="Without a model: nothing to download, nothing to learn.")
    ] = False,
) -> None:
    """Show it all on this machine: deployments, streams, tools, a chain, a search."""
    from azinfer.local.demo import run

    deployments = synthetic_deployments() if synthetic else real_deployments()
    held = run(deployments, console)
    raise typer.Exit(0 if held else 1)


def pulled() -> list[Path]:
    """The files of the small real models, fetched if need be, with progress."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        return [_pulled(each, bars) for each in weights.ALL]


def _pulled(wanted: weights.Weights, bars: Progress) -> Path:
    bar = bars.add_task(wanted.name, total=wanted.size)

    def progress(done: int, total: int) -> None:
        bars.update(bar, completed=done, total=total)

    path = weights.pull(wanted, weights.cache(), progress)
    progress(wanted.size, wanted.size)
    return path


def real_deployments() -> list[LocalDeployment]:
    """Two deployments of one small chat model, and one of an embedding model."""
    from azinfer.local.llama import GgufChat, GgufEmbeddings

    chat_file, embedding_file = pulled()
    with console.status("loading the models"):
        chat_engine, embedding_engine = GgufChat(chat_file), GgufEmbeddings(embedding_file)
    return _deployments(chat_engine, embedding_engine, weights.SMOLLM2.name, weights.MINILM.name)


def synthetic_deployments() -> list[LocalDeployment]:
    """The same deployments without a model behind them."""
    from azinfer.local.synthetic import SyntheticEngine

    return _deployments(SyntheticEngine(), SyntheticEngine(), "synthetic", "synthetic")


def _deployments(
    chat_engine: Any, embedding_engine: Any, chat_model: str, embedding_model: str
) -> list[LocalDeployment]:
    return [
        LocalDeployment("small-chat", chat_model, chat_engine),
        LocalDeployment(
            "Small-Chat-PTU",
            chat_model,
            chat_engine,
            capacity_type="ProvisionedManaged",
            capacity=100,
        ),
        LocalDeployment("small-embed", embedding_model, embedding_engine),
    ]


def _from_file(told: str) -> LocalDeployment:
    from azinfer.local.llama import GgufChat

    name, _, path = told.partition("=")
    if not path:
        _refuse(f"--gguf {told!r} names no file; write NAME=FILE.gguf")
    return LocalDeployment(name, Path(path).stem, GgufChat(Path(path)))


def _refuse(message: str) -> NoReturn:
    raise ConfigurationError(message)
