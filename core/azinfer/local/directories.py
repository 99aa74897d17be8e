"""The folder for the data of local endpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs


def folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the authority: AZINFER_DATA, or the system's folder for data of a user."""
    chosen = (os.environ if environ is None else environ).get("AZINFER_DATA")
    return Path(chosen) if chosen else platformdirs.user_data_path("azinfer")
