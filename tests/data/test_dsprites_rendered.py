import hashlib
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from disentangle_bench.data import outlines
from disentangle_bench.data.dsprites import DSprites
from disentangle_bench.data.dsprites_rendered import DSpritesRendered, packed
from disentangle_bench.testing import check_dataset

GRID = DSpritesRendered.card.grid
GOLDEN = "76adb0ee74227be1f8f493b6aaebe6b6c3f1f0fd87fd8d2f128cd3618fa1b74c"


@pytest.fixture(scope="module")
def sprites():
    return DSpritesRendered.load(Path("nothing is read"))


def inside(shape, u, v):
    """Whether the points (u, v) lie in the outline at scale 1, from its definition, by counting crossings."""
    if shape == 0:
        return np.maximum(np.abs(u), np.abs(v)) < 9.5995
    if shape == 1:
        t = (np.arange(54) + 0.5) * 2 * math.pi / 54
        corners = np.stack([12.77 * np.cos(t), 7.23 * np.sin(t)], axis=1)
    else:
        half_turn = np.linspace(0, math.pi, 181)
        t = np.concatenate([half_turn, half_turn + math.pi])
        x = 9.596 * np.sin(t) ** 3
        y = -(8.607 * np.cos(t) - 3.314 * np.cos(2 * t) - 1.3255 * np.cos(3 * t) - 0.6635 * np.cos(4 * t)) - 1.436
        corners = np.stack([x, y], axis=1)
    is_inside = np.zeros(u.shape, dtype=bool)
    for (xa, ya), (xb, yb) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if ya != yb:
            is_inside ^= ((ya > v) != (yb > v)) & (u < xa + (v - ya) * (xb - xa) / (yb - ya))
    return is_inside


def defined(factors):
    """An image from its definition: a pixel is on if its centre is inside."""
    shape, scale, orientation, x, y = factors
    s, angle = 0.5 + 0.1 * scale, orientation * 2 * math.pi / 39
    row, column = np.mgrid[:64, :64]
    dx, dy = (column + 0.5 - 16 - 32 * x / 31) / s, (row + 0.5 - 16 - 32 * y / 31) / s
    u, v = math.cos(angle) * dx - math.sin(angle) * dy, math.sin(angle) * dx + math.cos(angle) * dy
    return 255 * inside(shape, u, v).astype(np.uint8)


def test_card_is_the_grid_of_dsprites():
    assert DSpritesRendered.card.name == "dsprites_rendered"
    assert DSpritesRendered.card.factor_names == DSprites.card.factor_names
    assert DSpritesRendered.card.factor_sizes == DSprites.card.factor_sizes == (3, 6, 40, 32, 32)
    assert len(GRID) == 737_280


def test_images_are_the_published_ones(sprites):
    """A change of pixels must bump the card's version."""
    images = sprites.images(np.arange(0, 737_280, 997))
    assert hashlib.sha256(images.tobytes()).hexdigest() == GOLDEN


def test_images_equal_their_definition(sprites):
    index = np.random.default_rng(1).integers(737_280, size=240)
    index[:6] = 0, 737_279, *GRID.index([[s, 5, 39, 31, 0] for s in range(3)]), 245_760
    images = sprites.images(index)
    assert images.dtype == np.uint8
    assert images.shape == (240, 64, 64, 1)
    for image, factors in zip(images[..., 0], GRID.factors(index), strict=True):
        np.testing.assert_array_equal(image, defined(factors), err_msg=str(factors))


def real_images():
    """258 images of the original, a file that lies beside the checkout of some developers."""
    setting = os.environ.get("DBENCH_TEST_DSPRITES")
    path = Path(setting) if setting else Path(__file__).parents[2].parent / "shared" / "data" / "dsprites_real258.npz"
    if not path.is_file():
        pytest.skip("set DBENCH_TEST_DSPRITES to dsprites_real258.npz, images of the original dSprites")
    with np.load(path, allow_pickle=False) as file:
        return file["imgs"], file["index"], file["latents_classes"]


def test_images_are_those_of_the_original_up_to_two_pixels(sprites):
    original, index, classes = real_images()
    np.testing.assert_array_equal(sprites.factors(index), classes[:, 1:])
    assert original.size == 1_056_768
    assert np.count_nonzero(sprites.images(index)[..., 0] // 255 != original) <= 2


def test_the_first_and_the_last_orientation_are_one(sprites):
    factors = GRID.factors(np.random.default_rng(2).integers(737_280, size=300))
    first, last = factors.copy(), factors.copy()
    first[:, 2], last[:, 2] = 0, 39
    np.testing.assert_array_equal(sprites.images(GRID.index(first)), sprites.images(GRID.index(last)))


@pytest.mark.parametrize("factor", [3, 4])
def test_positions_move_to_the_right_and_down(sprites, factor):
    factors = np.tile([2, 5, 7, 4, 4], (32, 1))
    factors[:, factor] = np.arange(32)
    images = sprites.images(GRID.index(factors))[..., 0] / 255
    centre = (images.sum(axis=factor - 2) * np.arange(64)).sum(axis=1) / images.sum(axis=(1, 2))
    np.testing.assert_allclose(np.diff(centre), 32 / 31, atol=0.15)


def test_scales_grow_the_area_as_their_square(sprites):
    factors = np.tile([0, 0, 3, 16, 16], (6, 1))
    factors[:, 1] = np.arange(6)
    area = (sprites.images(GRID.index(factors)) > 0).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(area / (2 * 9.5995) ** 2, (0.5 + 0.1 * np.arange(6)) ** 2, rtol=0.05)


@pytest.mark.parametrize(("orientation", "sign"), [(5, -1), (34, 1)])
def test_orientations_turn_counter_clockwise(sprites, orientation, sign):
    """The lying ellipse rises to the right at first, where rows are counted downwards."""
    image = sprites.images(GRID.index([[1, 5, orientation, 16, 16]]))[0, :, :, 0]
    row, column = np.nonzero(image)
    assert sign * np.cov(row, column)[0, 1] > 10


@pytest.mark.parametrize("block", [1000, 100_000])
def test_packed_batches_equal_images(sprites, monkeypatch, block):
    """As on a device, on a part of the set."""
    part = type("Part", (DSpritesRendered,), {"card": DSpritesRendered.card, "__len__": lambda self: 5000})()
    index = np.random.default_rng(3).integers(5000, size=64)
    batch = packed(part, torch.device("cpu"), block)(index)
    assert batch.dtype == torch.uint8
    assert batch.shape == (64, 1, 64, 64)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), sprites.images(index))
    with pytest.raises(IndexError, match=r"0 \.\. 4999"):
        packed(part, torch.device("cpu"))([5000])


def test_the_contract(sprites):
    check_dataset(sprites)


@pytest.mark.parametrize("position", [-1, 737_280])
def test_positions_outside_are_refused(sprites, position):
    with pytest.raises(IndexError, match=r"0 \.\. 737279"):
        sprites.images([0, position])


def test_crossings_fit_their_scratch_memory():
    """The compiled loop does not check; no straight line through an outline may cross it more than eight times."""
    corners, begins = outlines.polygons()
    for begin, end in itertools.pairwise(begins):
        y = corners[begin:end, 1]
        low, high = np.minimum(y[:-1], y[1:]), np.maximum(y[:-1], y[1:])
        line = np.linspace(y.min(), y.max(), 500)
        assert ((low <= line[:, None]) & (line[:, None] < high)).sum(axis=1).max() <= 4


@pytest.mark.thorough
def test_images_that_are_alike_differ_in_orientation_only(sprites):
    """18,432 of orientation 0 and 39, and small squares and ellipses that are alike after a half or quarter turn."""
    positions_by_image = {}
    for block in np.arange(737_280).reshape(-1, 4096):
        for k, image in zip(block, sprites.images(block), strict=True):
            positions_by_image.setdefault(hashlib.blake2b(image.tobytes(), digest_size=12).digest(), []).append(int(k))
    assert len(positions_by_image) == 715_756
    for alike in positions_by_image.values():
        factors = GRID.factors(alike)
        assert (factors[:, [0, 1, 3, 4]] == factors[0, [0, 1, 3, 4]]).all()


def test_the_card_needs_neither_torch_nor_numba():
    code = (
        "import sys, disentangle_bench.data.dsprites_rendered as d; "
        "sys.exit('torch' in sys.modules or 'numba' in sys.modules or not d.DSpritesRendered.card)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
