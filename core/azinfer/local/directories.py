"""The folder for the data of local endpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs


def data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder for local authorities and running endpoints.

    Args:
        environ: The environment, where AZINFER_DATA names a folder; None for the process's own.

    Returns:
        AZINFER_DATA, or else the system's folder for a user's data.
    """
    chosen = (os.environ if environ is None else environ).get("AZINFER_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("azinfer")
