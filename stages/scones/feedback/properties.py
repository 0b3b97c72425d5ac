"""Properties of pictures for measuring drift. They change with the camera, the light and the scene."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def properties(pictures: Pixels) -> dict[str, NDArray[np.float64]]:
    """Return each picture's mean red, green and blue and its contrast, the standard deviation of its grey values.

    ``pictures`` are (N, H, W, 3).
    """
    means = pictures.mean((1, 2))
    contrast = pictures.mean(3).std((1, 2))
    return {"red": means[:, 0], "green": means[:, 1], "blue": means[:, 2], "contrast": contrast}
