"""`azinfer pull`: fetch the weights of small real models."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from azinfer.local.cli.deployment_sources import fetch_weights
from azinfer.local.cli.option_errors import OptionError
from azinfer.local.cli.output import write, write_json
from azinfer.local.engines import weights


def pull(names: Sequence[str], *, as_json: bool) -> None:
    """Fetch weights and print where they are.

    Args:
        names: Models, in any case; if it is empty, those for chat and text.
        as_json: Whether to print them as JSON.

    Raises:
        OptionError: A model is unknown.
        InferenceError: Weights cannot be fetched.
    """
    wanted = [_weights(name) for name in names] or list(weights.GGUF)
    files = fetch_weights(wanted)
    pairs = list(zip(wanted, files, strict=True))
    if as_json:
        write_json(
            [
                {"model": each.name, "licence": each.licence, "file": str(file)}
                for each, file in pairs
            ]
        )
        return
    for each, file in pairs:
        write(f"{each.name} ({each.licence}): {file}")


def _weights(name: str) -> weights.Weights:
    known = {each.name.casefold(): each for each in weights.ALL}
    if name.casefold() not in known:
        near = difflib.get_close_matches(name.casefold(), known, 1)
        hint = f"did you mean {known[near[0]].name}? " if near else ""
        names = ", ".join(each.name for each in weights.ALL)
        raise OptionError(f"unknown model {name!r}; {hint}choose from {names}")
    return known[name.casefold()]
