"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

EXIT_CODES = "Exit codes: 0 success, 1 error, 2 wrong options, 130 stopped by Ctrl-C."

Endpoint = Annotated[
    str | None,
    typer.Option(
        help="The endpoint's URL, in any form. Default: AZURE_AI_ENDPOINT or a similar variable of "
        "the environment, or else azinfer.toml in this folder, or else the running local endpoint."
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        help="The key to send. Default: AZURE_AI_API_KEY or a similar variable of the environment, "
        "or else that of azinfer.toml, or else that of the running local endpoint.",
        envvar="AZINFER_KEY",
    ),
]
Surface = Annotated[
    str | None,
    typer.Option(
        help="The surface to use if the URL does not name it: v1, models, deployments, serverless "
        "or managed."
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        help="Where deployments are listed: the URL of a Foundry project or an account, or azure "
        "to find the account by the endpoint's host."
    ),
]
Temperature = Annotated[float | None, typer.Option(help="How much answers may vary, from 0 to 2.")]
MaxTokens = Annotated[
    int | None, typer.Option(help="The most tokens of an answer; a longer one is cut off.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="The deployment's name, in upper or lower case. Default: the only suitable "
        "deployment, or the first one of a local endpoint.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
