"""The commands of `azinfer batch` and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from azinfer.local.cli.bulk_app import Files, Format
from azinfer.local.cli.options import (
    EXIT_CODES,
    Endpoint,
    Json,
    Key,
    MaxTokens,
    Model,
    Surface,
    Temperature,
)

Folder = Annotated[Path, typer.Argument(help="The folder of the job.", file_okay=False)]

batch_app = typer.Typer(
    name="batch", epilog=EXIT_CODES, no_args_is_help=True, rich_markup_mode=None
)


@batch_app.callback()
def _batch() -> None:
    """Send prompts as batches: within a day, at a lower price.

    The order of the commands is prepare, submit, watch, fetch. A job is a folder. Each command can
    be run again after it was interrupted.
    """


@batch_app.command(epilog=EXIT_CODES)
def prepare(
    folder: Folder,
    input: Files = None,
    column: Annotated[
        str, typer.Option(help="The column, or the field of a JSON object, that has the prompt.")
    ] = "prompt",
    format: Format = None,
    model: Model = None,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions for the model, sent before each prompt.")
    ] = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
) -> None:
    """Write prompts into the files of a new job; send nothing."""
    from azinfer.local.cli.bulk.batch import prepare
    from azinfer.local.cli.bulk.inputs import Input, check_format
    from azinfer.local.cli.clients import open_client

    check_format(format)
    options = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in options.items() if value is not None}
    source = Input(files=input or (), column=column, format=format, whole="messages")
    with open_client(endpoint, key, model, surface=surface) as client:
        prepare(client, folder, source, system, options)


@batch_app.command(epilog=f"{EXIT_CODES} A batch that failed already is an error too.")
def submit(
    folder: Folder,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Send the requests again that failed."),
    ] = False,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    json: Json = False,
) -> None:
    """Upload the files of a job and create one batch for each."""
    from azinfer.local.cli.bulk.batch import submit
    from azinfer.local.cli.clients import open_client

    with open_client(endpoint, key, surface=surface) as client:
        if not submit(client, folder, retry_failed=retry_failed, as_json=json):
            raise typer.Exit(1)


@batch_app.command(epilog=f"{EXIT_CODES} A batch that did not complete is an error too.")
def watch(
    folder: Folder,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    json: Json = False,
) -> None:
    """Wait until every batch of a job has ended."""
    from azinfer.local.cli.bulk.batch import watch
    from azinfer.local.cli.clients import open_client

    with open_client(endpoint, key, surface=surface) as client:
        if not watch(client, folder, as_json=json):
            raise typer.Exit(1)


@batch_app.command(epilog=f"{EXIT_CODES} A request that failed is an error too.")
def fetch(
    folder: Folder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, .jsonl or .parquet. Default: JSON lines on the standard "
            "output.",
            dir_okay=False,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace a file that exists. What this command wrote before needs no --force.",
        ),
    ] = False,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
) -> None:
    """Write the results of a job in the order of its input.

    Records have index, id (if the input has one) and text or error. Failures are listed.
    """
    from azinfer.local.cli.bulk.batch import fetch
    from azinfer.local.cli.bulk.outputs import check_ending
    from azinfer.local.cli.clients import open_client

    if output is not None:
        check_ending(output, "complete")
    with open_client(endpoint, key, surface=surface) as client:
        if not fetch(client, folder, output, force=force):
            raise typer.Exit(1)
