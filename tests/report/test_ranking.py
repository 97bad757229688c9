"""Ranks, their intervals and mean ranks against examples worked by hand and a slow bootstrap."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from disentangle_bench.report import leaderboard, ranking, statistics
from disentangle_bench.report.scores import score_table
from support import records as synthetic
from support.boards import board, record, three


def means(records) -> pd.DataFrame:
    scores = score_table(records)
    return ranking.mean_ranks(leaderboard.leaderboard(scores), ranking.Resamples(scores), 1)


def test_stretch_by_hand():
    # n = 3: t_2(0.975) = 4.3027, over 1.95996, times sqrt(3 / 2).
    assert statistics.stretch(3) == pytest.approx(4.3027 / 1.95996 * math.sqrt(1.5), abs=1e-4)


@pytest.mark.parametrize("n", [3, 6, 12])
def test_resampled_means_have_the_mean_and_the_widened_spread(n):
    x = np.random.default_rng(n).normal(size=n)
    means = statistics.resampled_means(x, stream=1)
    # A resample's mean has the variance sum((x - mean)^2) / n^2.
    spread = math.sqrt(((x - x.mean()) ** 2).sum()) / n * statistics.stretch(n)
    assert means.std() == pytest.approx(spread, rel=0.06)
    assert means.mean() == pytest.approx(x.mean(), abs=4 * spread / math.sqrt(len(means)))
    np.testing.assert_allclose(statistics.resampled_means(2 * x, stream=1), 2 * means)
    assert abs(np.corrcoef(means, statistics.resampled_means(x, stream=2))[0, 1]) < 0.1


def test_rank_interval_equals_a_slow_bootstrap():
    """All 27 x 27 x 27 resamples of three models with three seeds, widened and ranked one after the other."""
    groups = [[0.1, 0.3, 0.8], [0.35, 0.4, 0.45], [0.5, 0.9, 0.95]]
    draws_by_group = []
    for group in groups:
        centre = sum(group) / 3
        resamples = [sum(draw) / 3 for draw in itertools.product(group, repeat=3)]
        draws_by_group.append([centre + statistics.stretch(3) * (mean - centre) for mean in resamples])
    ranks = [sorted(draws, reverse=True).index(draws[0]) + 1 for draws in itertools.product(*draws_by_group)]
    expected = [np.quantile(ranks, share, method="nearest") for share in (0.025, 0.975)]
    records = [run for name, group in zip("abc", groups, strict=True) for run in three(name, group)]
    row = board(records).set_index("model").loc["a"]
    assert [row["rank_low"], row["rank_high"]] == expected == [1, 3]
    assert row["rank"] == 2 or row["rank"] == 3


def test_a_score_of_one_seed_beside_a_ranked_one_of_the_same_model_has_no_rank():
    records = [record("a", 0, {"dci.disentanglement": 0.1, "mig.score": 0.2})]
    records += three("a", [0.1, 0.2, 0.3])[1:] + three("b", [0.4, 0.5, 0.6])
    table = board(records).set_index(["model", "metric"])
    assert pd.isna(table.loc[("a", "mig"), "rank"])
    assert table.loc[("b", "dci"), "rank"] == 1


def test_clear_cut_ranks_have_intervals_of_one_rank_and_close_ones_do_not():
    records = three("a", [0.9, 0.9, 0.9]) + three("b", [0.5, 0.5, 0.5]) + three("c", [0.5, 0.5, 0.5])
    table = board(records).set_index("model")[["rank", "rank_low", "rank_high"]]
    assert table.values.tolist() == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    close_board = board(three("a", [0.5, 0.6, 0.7]) + three("b", [0.5, 0.61, 0.7])).set_index("model")
    assert close_board[["rank_low", "rank_high"]].values.tolist() == [[1, 2], [1, 2]]


def test_what_has_no_rank_has_no_interval_and_takes_no_part():
    table = board(three("a", [0.1, 0.2]) + three("b", [0.5, 0.5, 0.5])).set_index("model")
    assert table.loc["a", "rank_low"] is pd.NA
    assert table.loc["b", "rank_high"] == 1


def test_descriptive_scores_are_not_ranked():
    records = three("a", [4, 4, 4], "latents.active") + three("b", [5, 5, 5], "latents.active")
    for run in records:
        run.content["scores"][0]["ranked"] = False
    table = board(records)
    assert set(table["note"]) == {"descriptive"}
    assert set(table["direction"]) == {"none"}
    assert table["rank"].isna().all()


def scored(model, values, **spec):
    """Three equal seeds of one model with these scores."""
    return [record(model, seed, values, **spec) for seed in range(3)]


def test_mean_ranks_by_hand():
    # dci: a 1, b 2, c 3. mse (lower is better): b 1, then a and c tie at 2.5.
    records = scored("a", {"dci.disentanglement": 0.9, "mse.mse": 3.0})
    records += scored("b", {"dci.disentanglement": 0.5, "mse.mse": 1.0})
    records += scored("c", {"dci.disentanglement": 0.1, "mse.mse": 3.0})
    mean_ranks = means(records).set_index("model")
    assert mean_ranks["mean_rank"].to_dict() == {"b": 1.5, "a": 1.75, "c": 2.75}
    assert mean_ranks["ci_low"].tolist() == mean_ranks["ci_high"].tolist() == mean_ranks["mean_rank"].tolist()
    # Models beaten: b 1 + 2; a 2 + 0.5; c 0 + 0.5.
    assert mean_ranks["borda"].to_dict() == {"b": 3, "a": 2.5, "c": 0.5}
    assert mean_ranks["place"].tolist() == [1, 2, 3]
    assert set(mean_ranks["contests"]) == {2}


def test_mean_ranks_over_datasets_hold_models_with_settings_of_their_own_on_each():
    records = []
    for dataset, beta, (a, b) in (("one", 1.0, (0.9, 0.1)), ("two", 2.0, (0.3, 0.4))):
        spec = {"dataset": dataset, "settings": {"beta": beta}}
        records += scored("a", {"dci.disentanglement": a}, **spec) + scored("b", {"dci.disentanglement": b}, **spec)
    # c is on one dataset only: it takes part there and not over both.
    records += scored("c", {"dci.disentanglement": 0.5}, dataset="one")
    mean_ranks = means(records)
    assert mean_ranks[["dataset", "model", "mean_rank"]].values.tolist() == [
        ["one", "a", 1.0],
        ["one", "c", 2.0],
        ["one", "b", 3.0],
        ["two", "b", 1.0],
        ["two", "a", 2.0],
        ["", "a", 1.5],
        ["", "b", 1.5],
    ]
    assert set(mean_ranks[mean_ranks["dataset"] == ""]["contests"]) == {2}
    assert {
        name: str(dtype).replace("string", "str") for name, dtype in mean_ranks.dtypes.items()
    } == ranking.MEAN_DTYPES


def test_mean_ranks_never_mix_versions():
    records = []
    for version in (1, 2):
        for model, value in (("a", 0.9), ("b", 0.1)):
            spec = {"dataset_version": version, "protocol_version": 1}
            records += scored(model, {"dci.disentanglement": value if version == 1 else 1 - value}, **spec)
    mean_ranks = means(records)
    assert mean_ranks[["dataset", "dataset_version", "model"]].values.tolist() == [
        ["rooms3d", 1, "a"],
        ["rooms3d", 1, "b"],
        ["rooms3d", 2, "b"],
        ["rooms3d", 2, "a"],
    ]


def test_one_model_or_no_ranked_score_gives_no_mean_rank():
    assert means(scored("a", {"mse.mse": 1.0})).empty
    assert means(three("a", [0.1, 0.2]) + three("b", [0.1, 0.2])).empty
    assert list(means(scored("a", {"mse.mse": 1.0})).columns) == list(ranking.MEAN_DTYPES)


def test_the_order_of_the_records_does_not_matter(tmp_path):
    records = [record(model, seed) for model in synthetic.MODELS for seed in range(4)]
    assert_frame_equal(means(records), means(records[::-1]))
    assert_frame_equal(board(records), board(records[::-1]))


@pytest.mark.thorough
def test_rank_intervals_hold_the_true_rank():
    """Of five models with true means 0.02 apart and a spread of 0.05: at least 95 % of the intervals hold it."""
    rng, is_held = np.random.default_rng(0), []
    for _ in range(300):
        x = 0.02 * np.arange(5)[:, None] + rng.normal(0, 0.05, (5, 10))
        draws = np.stack([statistics.resampled_means(row, stream) for stream, row in enumerate(x)])
        ranks = stats.rankdata(-x.mean(axis=1), method="min").astype(float)
        low, high = statistics.rank_interval(statistics.drawn_ranks(draws, True, "min"), ranks)
        is_held.append((low <= [5, 4, 3, 2, 1]) & (high >= [5, 4, 3, 2, 1]))
    assert np.mean(is_held) >= 0.95
