"""Receipts: which input a complete output is from, since its checkpoint is deleted at the end.

A receipt is a small file in the folder for the user's data, so that nothing lies beside the output.
Without one, only the numbers of items can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from azinfer.local.directories import data_folder


class Fingerprint:
    """A hash of some work and of the items of its input, which grows with each item.

    Args:
        work: The operation, the model, where it is and the options, as JSON values.

    Attributes:
        items: The number of items so far.
    """

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.items = -1
        self._hash = blake2b(digest_size=16)
        self.add(work)

    def add(self, item: Any) -> None:
        """Take the next item: a text, or another JSON value."""
        self._hash.update(json.dumps(item).encode() + b"\n")
        self.items += 1

    @property
    def value(self) -> str:
        """The hash of all items so far."""
        return self._hash.hexdigest()


def write_receipt(output: Path, fingerprint: Fingerprint) -> None:
    """Store which input a complete output is from, and forget outputs that are gone.

    A folder that cannot be written is no error, as the output itself is complete.
    """
    with suppress(OSError):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.json"):
            if _read(path).get("size") != _size(Path(str(_read(path).get("output")))):
                path.unlink(missing_ok=True)
        facts = {
            "output": str(output.resolve()),
            "size": _size(output),
            "items": fingerprint.items,
            "input": fingerprint.value,
        }
        new = _path(output).with_suffix(".part")
        new.write_text(json.dumps(facts), "utf-8")
        new.replace(_path(output))


def read_receipt(output: Path) -> tuple[int, str] | None:
    """Return the number of items and the hash of the input that an output is from.

    None if there is no receipt, or if the output has another size than at its end.
    """
    facts = _read(_path(output))
    if facts.get("size") != _size(output) or facts.get("output") != str(output.resolve()):
        return None
    return int(facts["items"]), str(facts["input"])


def _folder() -> Path:
    return data_folder() / "outputs"


def _path(output: Path) -> Path:
    name = blake2b(str(output.resolve()).encode(errors="surrogateescape"), digest_size=16)
    return _folder() / f"{name.hexdigest()}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
