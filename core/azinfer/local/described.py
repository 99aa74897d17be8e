"""Engines as a file describes them: read, compared and made."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azinfer.core.config import Table
from azinfer.local.synthetic import SyntheticEngine
from azinfer.local.weights import ALL, MINILM, Weights

Pull = Callable[[Weights], Path]


@dataclass(frozen=True, slots=True)
class Described:
    """An engine that is not made yet.

    Attributes:
        kind: Which one.
        settings: How it is to be, as pairs in the order of their names.
    """

    kind: str = "synthetic"
    settings: tuple[tuple[str, Any], ...] = ()


def described(table: Table, folder: Path) -> Described:
    """Read the field `engine` of a deployment: a kind, or a table with a kind and its settings.

    Args:
        table: The table of the deployment.
        folder: Where paths begin.

    Raises:
        ConfigurationError: There is no such engine, or a setting is none of it.
    """
    told = table.value("engine")
    if told is None:
        return Described()
    if isinstance(told, str):
        return _read(told, table, "engine", None, folder)
    inner = table.table("engine")
    found = _read(inner.needed("kind", str), inner, "kind", inner, folder)
    inner.close()
    return found


def _read(kind: str, where: Table, name: str, inner: Table | None, folder: Path) -> Described:
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise where.wrong(f"{kind!r} is unknown; {hint}there are {', '.join(_KINDS)}", name)
    if inner is None and kind != "synthetic":
        raise where.wrong(f'give a table: {{ kind = "{kind}", … }}', name)
    settings = _KINDS[kind](inner, folder) if inner is not None else {}
    given = {name: value for name, value in settings.items() if value is not None}
    return Described(kind, tuple(sorted(given.items())))


def _synthetic(table: Table, folder: Path) -> dict[str, Any]:
    dimensions = table.get("dimensions", int)
    if dimensions is not None and dimensions < 1:
        raise table.wrong("give at least 1", "dimensions")
    return {"text": table.get("text", str), "dimensions": dimensions}


def _gguf(table: Table, folder: Path) -> dict[str, Any]:
    path, model = table.get("path", str), table.get("model", str)
    names = [each.name for each in ALL]
    if (path is None) is (model is None):
        raise table.wrong(f"give a path, or as model one of {', '.join(names)}")
    if model is not None and model not in names:
        raise table.wrong(f"{model!r} is none of {', '.join(names)}", "model")
    if path is not None and not (folder / path).is_file():
        raise table.wrong(f"there is no file {folder / path}", "path")
    return {"path": None if path is None else folder / path, "model": model}


_KINDS: dict[str, Callable[[Table, Path], dict[str, Any]]] = {
    "synthetic": _synthetic,
    "gguf": _gguf,
}


class Engines:
    """Engines, each made once however many deployments describe it.

    Args:
        pull: Fetches the weights of a small model.
    """

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._made: dict[Described, Any] = {}

    def of(self, described: Described) -> Any:
        """The engine of a description.

        Raises:
            ConfigurationError: It cannot be made.
            InferenceError: Its weights cannot be had.
        """
        if described not in self._made:
            make = self._loaded if described.kind == "gguf" else SyntheticEngine
            self._made[described] = make(**dict(described.settings))
        return self._made[described]

    def _loaded(self, path: Path | None = None, model: str | None = None) -> Any:
        from azinfer.local.llama import GgufChat, GgufEmbeddings

        if path is not None:
            return GgufChat(path)
        known = next(each for each in ALL if each.name == model)
        return (GgufEmbeddings if known is MINILM else GgufChat)(self._pull(known))
