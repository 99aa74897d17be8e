"""Recordings of tests: one cassette for each test, written by `pytest --azinfer-record`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azinfer.local import LocalDeployment

OPTION, UPSTREAM, KEY_VARIABLE = "--azinfer-record", "azinfer_upstream", "AZINFER_UPSTREAM_KEY"
_FOLDER = "cassettes"


def cassette_path(node: pytest.Item) -> Path:
    """Return the file of a test's recording, in a folder beside its module.

    Parameters are part of its name; characters that a file name cannot have are replaced.
    """
    name = re.sub(r"[^\w.=\[\]-]+", "_", node.name)[:150]
    return node.path.parent / _FOLDER / node.path.stem / f"{name}.jsonl"


def recorded(path: Path) -> list[LocalDeployment]:
    """Return deployments that answer from the recording of a test, without a network.

    Raises:
        ConfigurationError: The test has no recording.
    """
    from azinfer.core import ConfigurationError
    from azinfer.local.cli.upstream_deployments import recorded_deployments
    from azinfer.local.engines.cassette.cassette import Cassette

    if not path.is_file():
        raise ConfigurationError(
            f"this test has no recording at {path}; run it once with `pytest {OPTION}`"
        )
    return recorded_deployments(Cassette(path, pace=False))


def recording(path: Path, upstreams: Sequence[str]) -> list[LocalDeployment]:
    """Return deployments that pass requests on, and record them beside a file.

    Args:
        path: The file; `finish` replaces one from an earlier run.
        upstreams: `NAME=URL` for a deployment NAME, or a URL for all models that it lists. Their
            key is in the environment variable `AZINFER_UPSTREAM_KEY`.

    Raises:
        ConfigurationError: There is no upstream, or it cannot be used.
    """
    from azinfer.core import ConfigurationError
    from azinfer.local.cli.upstream_deployments import upstream_deployments
    from azinfer.local.engines.cassette.cassette import Cassette

    if not upstreams:
        raise ConfigurationError(
            f"{OPTION} needs an upstream; write `{UPSTREAM} = NAME=URL` in pytest's "
            f"configuration, and its key in the environment variable {KEY_VARIABLE}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(path)
    part.unlink(missing_ok=True)
    cassette = Cassette(part, "record")
    try:
        return upstream_deployments(upstreams, os.environ.get(KEY_VARIABLE), cassette)
    except BaseException:
        part.unlink()
        raise


def finish(path: Path, *, is_successful: bool) -> None:
    """Put a new recording in its place, if the test passed and sent requests.

    The recording of a test that failed stays beside the old one, as `.part`.

    Args:
        path: The file that was passed to `recording`.
        is_successful: Whether the test passed.
    """
    part = _part_of(path)
    if not part.stat().st_size:
        part.unlink()
    elif is_successful:
        part.replace(path)


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
