"""Resizing by a named filter, against that filter written out."""

import numpy as np
import pytest

from disentangle_bench.data.resizing import resized


def cubic(x):
    """Keys' cubic with a = -0.5."""
    x = np.abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


KERNELS = {"lanczos": lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0), "bicubic": cubic}


def smaller(image, side, kernel):
    """The kernel, stretched by the scale, normalised, along one axis and then the other."""
    size = image.shape[0]
    scale = size / side
    centre = (np.arange(side) + 0.5) * scale
    weight = KERNELS[kernel]((np.arange(size) + 0.5 - centre[:, None]) / scale)
    weight /= weight.sum(axis=1, keepdims=True)
    out = np.einsum("yi,ijc->yjc", weight, image.astype(float))
    out = np.einsum("xj,yjc->yxc", weight, np.clip(np.rint(out), 0, 255))
    return np.clip(np.rint(out), 0, 255)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("size", "channels"), [(128, 3), (96, 1), (64, 3)])
def test_resizing_is_the_filter_of_that_name(size, channels, kernel):
    image = np.random.default_rng(0).integers(256, size=(size, size, channels), dtype=np.uint8)
    picture = image[..., 0] if channels == 1 else image
    small = resized(picture, (channels, 64, 64), kernel)
    assert small.shape == (64, 64, channels)
    # Vertical and horizontal in the other order, so a rounded value may differ by one.
    assert np.abs(small - smaller(image.transpose(1, 0, 2), 64, kernel).transpose(1, 0, 2)).max() <= 1
