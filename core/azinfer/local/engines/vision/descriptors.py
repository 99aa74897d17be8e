"""Descriptors of images: vectors of colours, shapes and their places, without a model.

They are similar for images that look alike: scaled, compressed or a little brighter.
They do not know what an image shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_SIZE, _CELLS, _ANGLES, _COLOURS = 64, 4, 8, 4
DIMENSIONS = _CELLS * _CELLS * (3 + _ANGLES) + _COLOURS**3


def describe(picture: Image.Image) -> np.ndarray:
    """Return the descriptor of an image: `DIMENSIONS` numbers, a unit vector.

    It has the mean colour of each of 16 places, how strong edges of 8 directions are there, and
    how much there is of each of 64 colours.

    Args:
        picture: The image in red, green and blue, of any size.
    """
    import numpy as np

    pixels = np.asarray(picture.resize((_SIZE, _SIZE)), dtype=np.float64) / 255
    places = pixels.reshape(_CELLS, _SIZE // _CELLS, _CELLS, _SIZE // _CELLS, 3).mean((1, 3))
    colours = _histogram(pixels)
    parts = (places.ravel() - 0.5, _edges(pixels.mean(2)).ravel(), colours)
    # Each part has the same weight, however many numbers it has.
    return _unit(np.concatenate([_unit(part) for part in parts]))


def _edges(grey: np.ndarray) -> np.ndarray:
    """Return how strong edges of each direction are in each place, shape `(16, 8)`."""
    import numpy as np

    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    angle = (np.arctan2(down, across) % np.pi) / np.pi * _ANGLES
    edges = np.zeros((_CELLS * _CELLS, _ANGLES))
    row, column = np.indices(grey.shape) * _CELLS // _SIZE
    np.add.at(edges, (row * _CELLS + column, angle.astype(int) % _ANGLES), strength)
    return edges


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """Return how much there is of each colour."""
    import numpy as np

    steps = np.minimum((pixels * _COLOURS).astype(int), _COLOURS - 1).reshape(-1, 3)
    index = (steps[:, 0] * _COLOURS + steps[:, 1]) * _COLOURS + steps[:, 2]
    return np.sqrt(np.bincount(index, minlength=_COLOURS**3) / len(index))


def _unit(vector: np.ndarray) -> np.ndarray:
    import numpy as np

    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
