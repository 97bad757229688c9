import colorsys
import hashlib
import itertools
import logging
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from disentangle_bench.data import raycaster, rooms3d
from disentangle_bench.data.rooms3d import HUES, SKY, Rooms3D
from disentangle_bench.errors import BenchError

GRID = Rooms3D.card.grid
GOLDEN = "a351ffd40a188fc832253826f71be4fd90eff693956d5856138f1ddfa8dabc6f"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def rooms(folder):
    return Rooms3D.load(folder)


@pytest.fixture(scope="module")
def masks(rooms, folder):
    return np.load(folder / "rooms3d-v1.npy")


def composed(masks, index):
    """Images from their definition, in 64-bit integers, one at a time."""
    out = []
    for floor, wall, object_hue, *case in GRID.factors(index):
        stack = masks[np.ravel_multi_index(case, (8, 4, 15))].astype(np.int64)
        colours = np.stack([HUES[floor], HUES[wall], HUES[object_hue], SKY]).astype(np.int64)
        out.append(((stack[:, :, :, None] * colours[:, None, None, :]).sum(axis=0) * 2 + 255) // 510)
    return np.array(out)


def traversal(rooms, factor, at=(2, 5, 8, 4, 1, 3)):
    """Images along one factor, the others held."""
    factors = np.tile(at, (GRID.sizes[factor], 1))
    factors[:, factor] = np.arange(GRID.sizes[factor])
    return rooms.images(GRID.index(factors))


def test_card_is_the_grid_of_shapes3d():
    from disentangle_bench.data.shapes3d import Shapes3D

    assert Rooms3D.card.name == "rooms3d"
    assert Rooms3D.card.factor_names == Shapes3D.card.factor_names
    assert Rooms3D.card.factor_sizes == Shapes3D.card.factor_sizes == (10, 10, 10, 8, 4, 15)
    assert len(GRID) == 480_000


def test_hues_are_exact():
    exact = [[255 * v for v in colorsys.hsv_to_rgb(k / 10, 1, 1)] for k in range(10)]
    np.testing.assert_allclose(HUES, exact, atol=1e-9)


def test_images_are_the_published_ones(rooms):
    """A change of pixels must bump the card's version."""
    images = rooms.images(np.arange(0, 480_000, 997))
    assert hashlib.sha256(images.tobytes()).hexdigest() == GOLDEN


def test_images_equal_their_definition(rooms, masks):
    index = np.random.default_rng(1).integers(480_000, size=300)
    images = rooms.images(index)
    assert images.dtype == np.uint8
    assert images.shape == (300, 64, 64, 3)
    np.testing.assert_array_equal(images, composed(masks, index))


def test_masks_of_a_pixel_fit_a_byte(masks):
    """The 16-bit sum of the compiled loop relies on it."""
    assert masks.sum(axis=1, dtype=np.int64).max() <= 255


def test_the_compiled_loop_rounds_every_sum_to_nearest():
    """All sums 254 a + b, that is 0 .. 255 * 255; few of them occur in rooms."""
    levels = np.arange(256)
    masks = np.zeros((1, 4, 1, 256), dtype=np.uint8)
    masks[0, 0], masks[0, 3] = 254, 1
    colours = np.zeros((256, 4, 256), dtype=np.uint16)
    colours[:, 0], colours[:, 3] = levels[:, None], levels
    out = np.empty((256, 1, 256), dtype=np.uint8)
    rooms3d._compiled()(masks, colours, np.zeros(256, dtype=np.int64), levels, out)
    np.testing.assert_array_equal(out[:, 0], ((254 * levels[:, None] + levels) * 2 + 255) // 510)


@pytest.mark.parametrize("way", ["place", "place_masks"])
def test_batches_equal_images(rooms, way):
    index = np.random.default_rng(2).integers(480_000, size=64)
    with torch.device("meta"):  # whatever the default device is, tensors go where they were told to
        batch = getattr(rooms, way)(torch.device("cpu"))(index)
    assert batch.device.type == "cpu"
    assert batch.dtype == torch.uint8
    assert batch.shape == (64, 3, 64, 64)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), rooms.images(index))


def test_batches_do_not_share_memory(rooms):
    batches = rooms.place(torch.device("cpu"))
    first = batches(np.array([0]))
    copy = first.clone()
    batches(np.array([479_999]))
    assert torch.equal(first, copy)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_cuda_equal_images(rooms):
    index = np.random.default_rng(3).integers(480_000, size=64)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        batch = rooms.place(torch.device("cuda"))(index)
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).cpu().numpy(), rooms.images(index))


@pytest.mark.parametrize("position", [-1, 480_000])
def test_positions_outside_are_refused(rooms, position):
    with pytest.raises(IndexError, match=r"0 \.\. 479999"):
        rooms.images([0, position])


@pytest.mark.parametrize("factor", [0, 1, 2])
def test_a_hue_changes_its_part_and_nothing_else(rooms, masks, factor):
    part = masks[np.ravel_multi_index((4, 1, 3), (8, 4, 15)), factor] > 0
    images = traversal(rooms, factor)
    for a, b in itertools.pairwise(images):
        changes = (a != b).any(axis=-1)
        assert not (changes & ~part).any()
        assert changes.sum() > 0.9 * part.sum()


@pytest.mark.parametrize("factor", range(6))
def test_every_step_of_a_factor_is_visible(rooms, factor):
    images = traversal(rooms, factor).astype(int)
    change = (np.abs(images[1:] - images[:-1]).max(axis=-1) > 40).sum(axis=(1, 2))
    assert change.min() >= 20  # pixels


def test_every_case_differs_and_shows_all_parts(masks):
    assert len(np.unique(masks.reshape(480, -1), axis=0)) == 480
    assert ((masks > 100).sum(axis=(2, 3)) > 150).all()


@pytest.mark.thorough
def test_all_images_differ(rooms):
    digests = set()
    for block in np.arange(480_000).reshape(100, -1):
        digests.update(hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in rooms.images(block))
    assert len(digests) == 480_000


def test_the_object_is_nowhere_cut_off(masks):
    object_mask = masks[:, 2]
    assert object_mask[:, 1:-1, 1:-1].sum(dtype=np.int64) == object_mask.sum(dtype=np.int64)


def extent(mask):
    """Where the clearly visible part of a mask begins and ends: rows, then columns."""
    rows, columns = np.flatnonzero((mask > 20).any(axis=1)), np.flatnonzero((mask > 20).any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize("scale", [0, 7])
def test_the_ball_is_where_perspective_puts_it(masks, scale):
    """Against angles: a ball of radius r seen from distance d fills asin(r / d) to each side."""
    radius, tan = 0.123 * (0.75 + 0.5 * scale / 7), math.tan(math.radians(24.5))
    sink, distance = 0.221 - radius, math.hypot(0.75, 0.221 - radius)
    middle_angle, half_angle = math.atan(sink / 0.75), math.asin(radius / distance)
    top, bottom, left, right = extent(masks[np.ravel_multi_index((scale, 2, 7), (8, 4, 15)), 2])
    assert top == pytest.approx(32 * (1 + math.tan(middle_angle - half_angle) / tan), abs=1)
    assert bottom == pytest.approx(32 * (1 + math.tan(middle_angle + half_angle) / tan), abs=1)
    assert left + right == 64


@pytest.mark.parametrize("scale", [0, 7])
def test_the_cube_is_where_perspective_puts_it(masks, scale):
    size, tan = 0.75 + 0.5 * scale / 7, math.tan(math.radians(24.5))
    front = 0.75 - 0.1015 * size
    top, bottom, left, right = extent(masks[np.ravel_multi_index((scale, 0, 7), (8, 4, 15)), 2])
    assert bottom == pytest.approx(32 * (1 + 0.221 / front / tan), abs=1)
    assert right - left == pytest.approx(64 * 0.1015 * size / front / tan, abs=2)
    nearest = front if 0.207 * size > 0.221 else 0.75 + 0.1015 * size  # seen from below the top's front edge or above
    assert top == pytest.approx(32 * (1 + (0.221 - 0.207 * size) / nearest / tan), abs=1)


def test_opposite_orientations_mirror_the_shapes_outlines(masks):
    """The light comes from the left, so only the coverage mirrors, not the shading."""
    stack = masks.reshape(8, 4, 15, 4, 64, 64)[:, :, :, 3]
    np.testing.assert_array_equal(stack, stack[:, :, ::-1, :, ::-1])


def test_rendering_one_orientation_gives_its_masks(masks):
    second_masks = raycaster.render_orientation(4)
    np.testing.assert_array_equal(second_masks, masks.reshape(8, 4, 15, 4, 64, 64)[:, :, 4])


def damage_a_byte(content):
    return content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]


@pytest.mark.parametrize(
    "damage", [damage_a_byte, lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"PK\x03\x04 not a numpy file"]
)
def test_a_damaged_cache_is_drawn_again(folder, rooms, tmp_path, caplog, damage):
    content = (folder / "rooms3d-v1.npy").read_bytes()
    file = tmp_path / "rooms3d-v1.npy"
    file.write_bytes(damage(content))
    with caplog.at_level(logging.WARNING):
        second_rooms = Rooms3D.load(tmp_path)
    assert [r.getMessage() for r in caplog.records] == [f"{file} is damaged; drawing it again"]
    assert file.read_bytes() == content
    np.testing.assert_array_equal(second_rooms.images([7]), rooms.images([7]))


def test_a_cache_is_used(folder, rooms, monkeypatch):
    monkeypatch.setattr(rooms3d, "render", lambda: pytest.fail("drawn although it is there"))
    np.testing.assert_array_equal(Rooms3D.load(folder).images([7]), rooms.images([7]))


def test_a_machine_that_draws_other_pixels_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms3d, "render", lambda: np.zeros((480, 4, 64, 64), dtype=np.uint8))
    with pytest.raises(BenchError, match="not be comparable") as error:
        Rooms3D.load(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "rooms3d-v1.npy").exists()


def test_a_folder_that_cannot_be_written_serves_all_the_same(rooms, tmp_path):
    (tmp_path / "file").touch()
    second_rooms = Rooms3D.load(tmp_path / "file" / "data")
    np.testing.assert_array_equal(second_rooms.images([7]), rooms.images([7]))


def test_two_processes_at_once_draw_once(tmp_path):
    code = (
        "import logging, sys, pathlib; from disentangle_bench.data.rooms3d import Rooms3D;"
        "logging.basicConfig(level=logging.INFO); sys.stdin.readline();"
        "Rooms3D.load(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    logs = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], logs
    assert "".join(logs).count("drawing the masks") == 1


def test_the_card_needs_neither_torch_nor_numba():
    code = "import sys, disentangle_bench.data.rooms3d; sys.exit('torch' in sys.modules or 'numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
