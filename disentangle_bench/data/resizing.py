"""Image resizing: one filter per dataset, computed once and in integers, so the bytes are the same on every machine."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

FILTERS = {"lanczos": "Pillow's Lanczos filter", "bicubic": "Pillow's bicubic filter"}
"""Filters of ``resized``, as cards name them."""


def resized(
    image: npt.NDArray[np.uint8], image_shape: tuple[int, int, int], resample: Literal["lanczos", "bicubic"]
) -> npt.NDArray[np.uint8]:
    """Return ``image`` [h, w, c] or [h, w] at the size of ``image_shape`` (c, h, w), as [h, w, c].

    Lanczos is what disentanglement_lib uses for Cars3D and SmallNORB, bicubic what the published results on Isaac3D
    and Falcor3D use (QLAE, Tripod and FactorQVAE, the first two by TensorFlow).
    """
    from PIL import Image

    c, h, w = image_shape
    if image.shape[:2] != (h, w):
        image = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling[resample.upper()]))
    return image.reshape(h, w, c)
