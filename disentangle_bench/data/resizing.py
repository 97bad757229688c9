"""Making images smaller, once, in one way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FILTER = "Pillow's Lanczos filter"
"""What ``resized`` does, for cards."""


def resized(image: npt.NDArray[np.uint8], image_shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """``image`` [h, w, c] or [h, w] at the size of ``image_shape`` (c, h, w), as [h, w, c].

    Lanczos, as disentanglement_lib does for Cars3D and SmallNORB. Pillow computes it in integers, so the bytes are
    the same on every machine.
    """
    from PIL import Image

    c, h, w = image_shape
    if image.shape[:2] != (h, w):
        image = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.LANCZOS))
    return image.reshape(h, w, c)
