"""The core client behind an AG2 configuration."""

from __future__ import annotations

from pydantic import SecretStr


def reveal(value: str | SecretStr) -> str:
    """A text, whether it is closed or not."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
