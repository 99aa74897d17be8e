"""Programs of other packages in text files: a line `### name` begins each."""

from __future__ import annotations

import re
from pathlib import Path

from azinfer.migrate import Migration

# The packages, by the names of their files.
KINDS = (
    *("azure_ai_inference", "langchain", "litellm", "llama_index", "openai", "semantic_kernel"),
)


def programs_of(kind: str, folder: Path) -> dict[str, str]:
    """Return the programs of a kind by their names."""
    text = (folder / f"{kind}.txt").read_text("utf-8")
    parts = re.split(r"^### (.*)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def old_imports(result: Migration) -> list[str]:
    """Return the imports of old packages that a rewritten program still has."""
    packages = r"azure\.ai|openai|litellm|langchain_(?:azure_ai|openai)|llama_index\.\w+\.azure"
    return re.findall(rf"^\s*(?:from|import) (?:{packages}).*", result.after, re.MULTILINE)
