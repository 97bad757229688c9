"""Splits and streams: pure functions of seeds, golden on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from disentangle_bench.training.batches import Stream, permutation, split


def test_permutation_is_the_same_everywhere():
    """Golden: a change of these numbers is a change of every protocol's version."""
    assert permutation(12, "split", 12).tolist() == PERMUTATION
    assert split(480_000).test[:6].tolist() == TEST_IMAGES


PERMUTATION = [6, 9, 10, 4, 0, 3, 1, 2, 8, 11, 7, 5]
TEST_IMAGES = [476703, 5691, 469661, 343019, 185546, 130947]


def test_split_shares_every_image_once():
    parts = split(1003)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (802, 100, 101)
    positions = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(positions.tolist()) == list(range(1003))


def test_a_stream_shows_every_image_once_per_epoch():
    images = np.arange(100, 110)
    stream = Stream(images, batch_size=4, seed=0)
    drawn_images = np.concatenate([stream.batch(step) for step in range(5)])
    assert sorted(drawn_images[:10]) == sorted(drawn_images[10:]) == images.tolist()
    assert drawn_images[:10].tolist() != drawn_images[10:].tolist()


def test_a_batch_may_be_larger_than_the_dataset():
    stream = Stream(np.arange(3), batch_size=7, seed=0)
    assert np.bincount(np.concatenate([stream.batch(0), stream.batch(1), stream.batch(2)])).tolist() == [7, 7, 7]


def test_batches_are_a_function_of_seed_and_step():
    images = np.arange(1000)
    forward = [Stream(images, 64, seed=3).batch(step).tolist() for step in range(20)]
    stream = Stream(images, 64, seed=3)
    assert [stream.batch(step).tolist() for step in reversed(range(20))] == forward[::-1]
    assert Stream(images, 64, seed=4).batch(0).tolist() != forward[0]


@pytest.mark.parametrize("n", [10, 1000])
def test_orders_look_random(n):
    """The position of an image, over many orders, is spread evenly: mean and variance of a uniform distribution."""
    positions = np.array([np.flatnonzero(permutation(n, "test", key) == 0)[0] for key in range(2000)]) / (n - 1)
    assert positions.mean() == pytest.approx(0.5, abs=0.03)
    assert positions.var() == pytest.approx((n + 1) / (n - 1) / 12, rel=0.1)
