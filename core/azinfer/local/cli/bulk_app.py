"""The bulk commands and their options. Each command imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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

Files = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="A file to read: lines of text, .jsonl, .csv or .parquet; - is the standard input. "
        "Can be given several times.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="How to read input: text, jsonl, csv or parquet. Default: by the file's name; the "
        "standard input is jsonl if its first line is a JSON object, else text."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The file to write; its ending is .jsonl or .parquet; embed also writes .npy. "
        "Default: JSON lines on the standard output.",
        dir_okay=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue an interrupted run with the same input, options and output, and try "
        "again what failed.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Start from the beginning, and replace the output if it exists."),
]
KeepCheckpoint = Annotated[
    bool,
    typer.Option(
        "--keep-checkpoint",
        help="Keep the checkpoint at the end, so that --resume sends only what was added to the "
        "input.",
    ),
]
Concurrency = Annotated[
    str,
    typer.Option(
        help="The number of requests at once. auto: as many as the service accepts, within "
        "its rate limits."
    ),
]
Patience = Annotated[
    float,
    typer.Option(
        help="Seconds without a successful request, of failures or refusals, after which the run "
        "ends. --resume continues it."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Count requests and estimated tokens; send nothing."),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        help="For --dry-run: a TOML file with your prices for a million tokens: [models.NAME], "
        "input = 0.02, output = 0.08.",
        dir_okay=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the bulk commands to the command line."""
    app.command(epilog=f"{EXIT_CODES} A text that failed is an error too.")(embed)
    app.command(epilog=f"{EXIT_CODES} A prompt that failed is an error too.")(complete)


def embed(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to embed.")] = None,
    input: Files = None,
    column: Annotated[
        str, typer.Option(help="The column, or the field of a JSON object, that has the text.")
    ] = "text",
    format: Format = None,
    output: Output = None,
    model: Model = None,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    dimensions: Annotated[int | None, typer.Option(help="The length of the vectors.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="The most texts in one request.", min=1)
    ] = None,
    resume: Resume = False,
    force: Force = False,
    keep_checkpoint: KeepCheckpoint = False,
    concurrency: Concurrency = "auto",
    patience: Patience = 600.0,
    dry_run: DryRun = False,
    prices: Prices = None,
    json: Json = False,
) -> None:
    """Turn any number of texts into vectors.

    For texts that are arguments, each line of the output is a vector. For other input, it is a
    record with index, id (if the input has one) and vector or error, in the order of the input.
    """
    from azinfer.local.cli.bulk.embed import embed, embed_texts
    from azinfer.local.cli.clients import open_client

    options = {"dimensions": dimensions} if dimensions is not None else {}
    settings = _settings(locals(), "embed")
    with open_client(endpoint, key, model, surface=surface) as client:
        if texts and not (input or output or dry_run or resume):
            embed_texts(client, texts, options, as_json=json)
        elif not embed(client, settings, batch_size, options):
            raise typer.Exit(1)


def complete(
    texts: Annotated[list[str] | None, typer.Argument(help="Prompts to complete.")] = None,
    input: Files = None,
    column: Annotated[
        str, typer.Option(help="The column, or the field of a JSON object, that has the prompt.")
    ] = "prompt",
    format: Format = None,
    output: Output = None,
    model: Model = None,
    endpoint: Endpoint = None,
    key: Key = None,
    surface: Surface = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions for the model, sent before each prompt.")
    ] = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    resume: Resume = False,
    force: Force = False,
    keep_checkpoint: KeepCheckpoint = False,
    concurrency: Concurrency = "auto",
    patience: Patience = 600.0,
    dry_run: DryRun = False,
    prices: Prices = None,
    json: Json = False,
) -> None:
    """Complete any number of prompts.

    A JSON object with "messages" is a complete request, with its own options. The output
    has records with index, id (if the input has one) and text or error, in the order of the input.
    """
    from azinfer.local.cli.bulk.complete import complete
    from azinfer.local.cli.clients import open_client

    options = {"temperature": temperature, "max_tokens": max_tokens}
    options = {name: value for name, value in options.items() if value is not None}
    settings = _settings(locals(), "complete", whole="messages")
    with open_client(endpoint, key, model, surface=surface) as client:
        if not complete(client, settings, system, options):
            raise typer.Exit(1)


def _settings(options: dict[str, Any], kind: str, whole: str | None = None) -> Any:
    """Return the settings for the options of a command."""
    from azinfer.local.cli.bulk.inputs import Input
    from azinfer.local.cli.bulk.run import Settings, check_options

    concurrency = options["concurrency"]
    check_options(options, kind)
    source = Input(
        texts=options["texts"] or (),
        files=options["input"] or (),
        column=options["column"],
        format=options["format"],
        whole=whole,
    )
    return Settings(
        source=source,
        output=options["output"],
        resume=options["resume"],
        force=options["force"],
        keep_checkpoint=options["keep_checkpoint"],
        concurrency=None if concurrency == "auto" else int(concurrency),
        patience=options["patience"],
        dry_run=options["dry_run"],
        prices=options["prices"],
        as_json=options["json"],
    )
