"""Resize images with one filter per dataset, once and in integers, so that the bytes are the same on every machine."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

FILTERS = {"lanczos": "Pillow's Lanczos filter", "bicubic": "Pillow's bicubic filter"}
"""Filters of ``resized``, as named in cards."""


def resized(
    image: npt.NDArray[np.uint8], image_shape: tuple[int, int, int], resample: Literal["lanczos", "bicubic"]
) -> npt.NDArray[np.uint8]:
    """Return ``image`` [h, w, c] or [h, w] at the size of ``image_shape`` (c, h, w), as [h, w, c].

    disentanglement_lib uses Lanczos for Cars3D and SmallNORB; the published results on Isaac3D and Falcor3D use bicubic
    (QLAE, Tripod and FactorQVAE, the first two with TensorFlow).
    """
    from PIL import Image

    c, h, w = image_shape
    if image.shape[:2] != (h, w):
        image = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling[resample.upper()]))
    return image.reshape(h, w, c)
