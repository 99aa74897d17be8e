"""The pages about moving over, as pairs of programs: before and after."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/pages/moving"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "assistants")


def pairs_of(page: Path) -> list[tuple[str, str]]:
    """Return the pairs of a page in order; each continues the one before it."""
    blocks = re.findall(
        r'^```python title="(\w+)"\n(.*?)^```', page.read_text("utf-8"), re.S | re.M
    )
    assert [title for title, _ in blocks] == ["before", "after"] * (len(blocks) // 2)
    texts = [text for _, text in blocks]
    return list(zip(texts[::2], texts[1::2], strict=True))
