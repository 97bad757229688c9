"""Consistency and UDR of several runs' codes; minimality and sufficiency of one run's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group, spearmanr

from disentangle_bench.codes import Codes
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import consistency, minimality, udr

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(2000, 4)) * [1.0, 2.0, 0.5, 1.5] + [3, 0, 0, -1]
ROTATION = ortho_group.rvs(4, random_state=1)


def test_a_permuted_copy_is_consistent_in_every_way() -> None:
    copy = -3.0 * CODES[:, [2, 0, 3, 1]] * [1, -1, 1, 1] + 7
    assert consistency([CODES, Codes(copy)]).scores == pytest.approx({"permutation": 1, "rigid": 1, "linear": 1})


def test_a_rotated_copy_is_rigid_and_no_permutation() -> None:
    result = consistency([CODES, CODES @ ROTATION])
    assert (result.rigid, result.linear) == (pytest.approx(1), pytest.approx(1))
    assert result.permutation < 0.8


def test_a_sheared_copy_is_linear_only() -> None:
    result = consistency([CODES, CODES @ RNG.normal(size=(4, 4))])
    assert result.linear == pytest.approx(1)
    assert result.permutation <= result.rigid < 0.95


def test_the_maps_are_the_best_ones() -> None:
    other = CODES @ ROTATION + RNG.normal(size=CODES.shape)
    x, y = CODES - CODES.mean(axis=0), other - other.mean(axis=0)
    result = consistency([CODES, other])
    turn, _ = orthogonal_procrustes(x, y)
    rotated_x = x @ turn
    scale = (rotated_x * y).sum() / (rotated_x**2).sum()
    assert result.rigid == pytest.approx(1 - ((y - scale * rotated_x) ** 2).sum() / (y**2).sum())
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert result.arrays["linear"][0, 1] == pytest.approx(1 - ((y - fitted) ** 2).sum() / (y**2).sum())


def test_unrelated_runs_and_collapsed_runs_are_not_consistent() -> None:
    noise = RNG.normal(size=(3, 2000, 4))
    assert max(consistency(list(noise)).scores.values()) < 0.02
    dead = consistency([CODES, np.full((2000, 4), 0.1)])
    assert set(dead.scores.values()) == {0.0}
    assert dead.notes == {"codes": "0 with run 1: its codes do not vary"}
    huge = consistency([CODES * 1e30, CODES])
    assert huge.permutation == pytest.approx(1)


def test_udr_is_one_for_one_to_one_latents_and_lower_for_mixed_ones() -> None:
    copies = [CODES[:, [2, 0, 3, 1]], np.exp(CODES / 4), -CODES]
    assert udr(copies).score == pytest.approx(1, abs=0.1)  # what is left are chance correlations in the sums
    mixed = udr([CODES, CODES @ ROTATION, CODES @ ortho_group.rvs(4, random_state=2)])
    assert mixed.score < 0.6


def test_udr_by_the_book_and_without_dead_latents() -> None:
    runs = [CODES, CODES + RNG.normal(size=CODES.shape), CODES @ ROTATION]
    runs = [np.column_stack([run, np.full(2000, 0.1)]) for run in runs]
    pairs = np.full((3, 3), np.nan)
    for a in range(3):
        for b in range(3):
            if a == b:
                continue
            relation = np.abs([[spearmanr(runs[a][:, i], runs[b][:, j])[0] for j in range(4)] for i in range(4)])
            rows = sum(line.max() ** 2 / line.sum() for line in relation)
            columns = sum(line.max() ** 2 / line.sum() for line in relation.T)
            pairs[a, b] = (rows + columns) / 8
    result = udr(runs)
    np.testing.assert_allclose(result.pairs, pairs)
    np.testing.assert_allclose(result.by_run, np.nanmedian(pairs, axis=1))
    assert udr([CODES, np.full((2000, 4), 0.1)]).score == 0.0


@pytest.mark.parametrize("metric", [consistency, udr])
def test_groups_that_cannot_be_compared(metric) -> None:
    with pytest.raises(BenchError, match="1 run was given; two or more"):
        metric([CODES])
    with pytest.raises(BenchError, match=r"codes of run 1 have shape \[2000, 3\], those of run 0 \[2000, 4\]"):
        metric([CODES, CODES[:, :3]])
    with pytest.raises(BenchError, match="codes hold nan"):
        metric([CODES, CODES * np.nan])


def test_minimality_and_sufficiency_on_a_grid() -> None:
    grid = np.stack(np.meshgrid(np.arange(4), np.arange(2), indexing="ij"), axis=-1).reshape(-1, 2)
    identity_result = minimality(grid, grid)
    assert identity_result.scores == pytest.approx({"minimality": 1, "sufficiency": 1})
    half_result = minimality(grid // [2, 1], grid)  # a latent that holds half of a factor is minimal and not sufficient
    assert half_result.scores == pytest.approx({"minimality": 1, "sufficiency": 0.75})
    result = minimality(grid[:, :1] + 4 * grid[:, 1:], grid)  # one that holds both is sufficient for each
    assert result.minimality == pytest.approx(2 / 3)
    assert result.sufficiency == pytest.approx(1)


def test_minimality_of_constants() -> None:
    grid = np.tile(np.stack(np.meshgrid(np.arange(4), np.arange(2), indexing="ij"), axis=-1).reshape(-1, 2), (3, 1))
    padded = minimality(np.column_stack([grid, np.full(24, 0.1)]), np.column_stack([grid, np.ones(24, int)]))
    assert padded.scores == pytest.approx({"minimality": 1, "sufficiency": 1})
    assert padded.notes == {
        "minimality": "constant latents are left out: 2",
        "factors": "left out, constant over the training rows: 2",
    }
    assert minimality(np.full((24, 2), 0.1), grid).scores == {"minimality": 0.0, "sufficiency": 0.0}
