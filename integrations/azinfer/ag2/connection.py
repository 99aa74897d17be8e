"""The core client behind an AG2 configuration."""

from __future__ import annotations

from pydantic import SecretStr


def reveal(value: str | SecretStr) -> str:
    """Return the text of a value that may be a SecretStr."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
