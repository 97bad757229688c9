"""The compiled trees against scikit-learn's, tree by tree where no draw is involved, and their own promises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from disentangle_bench.metrics import _trees as trees


def problem(seed: int, n: int, d: int, classes: int, values: int | None = None):
    """Codes [n, d] (integers below ``values``, or continuous) of which the first tells of the labels [n, 1]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    codes = rng.normal(size=(n, d))
    codes[:, 0] += 1.5 * labels
    if values is not None:
        codes = np.floor((codes - codes.min()) / (np.ptp(codes) + 1e-9) * values).astype(np.int64)
    return codes, labels[:, None]


def fit_sklearn(codes, labels, seed=0, stages=100):
    return GradientBoostingClassifier(n_estimators=stages, random_state=seed).fit(codes, labels[:, 0])


def decision_sklearn(model, codes):
    raw = model.decision_function(codes)
    return raw[:, None] if raw.ndim == 1 else raw


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("values", [None, 40, 5, 2])
def test_one_latent_gives_scikit_learns_predictions(classes, values):
    """With one latent no draw between latents is left, so all 100 stages must agree to rounding."""
    codes, labels = problem(classes, 400, 1, classes, values)
    fitted = trees.fit(codes[:300], labels[:300])
    oracle = fit_sklearn(codes[:300], labels[:300])
    assert fitted.binned == (values is not None)
    for part, decision in ((codes[:300], fitted.train_decision[0]), (codes[300:], fitted.decision(codes[300:])[0])):
        np.testing.assert_allclose(decision, decision_sklearn(oracle, part), rtol=1e-7, atol=1e-7)
        np.testing.assert_array_equal(fitted.labels((decision,))[:, 0], oracle.predict(part))
    assert fitted.importance.tolist() == [[1.0]]


@pytest.mark.parametrize(("classes", "values"), [(2, None), (4, None), (4, 30)])
def test_early_trees_are_scikit_learns_split_by_split(classes, values):
    """Several latents: the same latent, threshold and leaf value in every node (no ties in so few stages)."""
    codes, labels = problem(1, 3000, 4, classes, values)
    fitted = trees.fit(codes, labels)
    oracle = fit_sklearn(codes, labels, stages=4)
    feature, threshold, value = fitted._trees
    for stage in range(4):
        for column, tree in enumerate(oracle.estimators_[stage]):
            stack = [(0, 0)]
            while stack:
                node, oracle_node = stack.pop()
                left, right = tree.tree_.children_left[oracle_node], tree.tree_.children_right[oracle_node]
                if left < 0:
                    assert node >= 7 or feature[column, stage, node] < 0
                    while node < 7:
                        node = 2 * node + 1
                    expected = 0.1 * tree.tree_.value[oracle_node, 0, 0]
                    assert value[column, stage, node - 7] == pytest.approx(expected, rel=1e-9, abs=1e-12)
                    continue
                assert feature[column, stage, node] == tree.tree_.feature[oracle_node]
                assert threshold[column, stage, node] == tree.tree_.threshold[oracle_node]
                stack += [(2 * node + 1, left), (2 * node + 2, right)]


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "values"), [(2, None), pytest.param(5, None, marks=pytest.mark.thorough), (5, 12)])
def test_importance_lies_within_scikit_learns_own_spread(classes, values):
    codes, labels = problem(2, 500, 5, classes, values)
    oracle_importances = np.stack([fit_sklearn(codes, labels, seed).feature_importances_ for seed in range(4)])
    spread = np.ptp(oracle_importances, axis=0).max()
    importance = trees.fit(codes, labels).importance[:, 0]
    assert np.abs(importance - oracle_importances.mean(axis=0)).max() <= max(2 * spread, 1e-3)


def test_values_closer_than_1e_7_are_one_value_as_in_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (400, 1))
    grid = np.concatenate([np.arange(20) * 6e-8, 1 + np.arange(20) * 3e-7])
    codes = grid[rng.integers(0, 20, 400) + 20 * (labels[:, 0] == 2)][:, None]
    fitted, oracle = trees.fit(codes, labels), fit_sklearn(codes, labels)
    np.testing.assert_allclose(fitted.train_decision[0], decision_sklearn(oracle, codes), rtol=1e-7, atol=1e-7)
    assert trees.fit(codes * 1e-8, labels).importance.sum() == 0  # the whole range is one value


def test_both_searches_find_the_same_splits(monkeypatch):
    codes, labels = problem(4, 600, 4, 5, 30)
    labels = np.concatenate([labels, labels % 2], axis=1)
    bins = trees.fit(codes, labels)
    monkeypatch.setattr(trees, "MAX_BINS", 0)
    lists = trees.fit(codes, labels)
    assert (bins.binned, lists.binned) == (True, False)
    np.testing.assert_allclose(bins.importance, lists.importance, atol=1e-9)
    for by_bins, by_lists in zip(bins.train_decision, lists.train_decision, strict=True):
        np.testing.assert_allclose(by_bins, by_lists, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("values", [None, 30])
def test_the_number_of_threads_changes_no_bit(values):
    codes, labels = problem(5, 500, 4, 5, values)
    labels = np.concatenate([labels, labels % 2, labels % 3], axis=1)
    one_thread = trees.fit(codes, labels, threads=1)
    for threads in (2, 5):
        more_threads = trees.fit(codes, labels, threads=threads)
        assert more_threads.importance.tobytes() == one_thread.importance.tobytes()
        pairs = zip(one_thread.decision(codes, threads=1), more_threads.decision(codes, threads=threads), strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)
        pairs = zip(one_thread.train_decision, more_threads.train_decision, strict=True)
        assert all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("values", [None, 30])
def test_reading_the_trees_gives_what_growing_them_gave(values):
    codes, labels = problem(6, 300, 3, 4, values)
    fitted = trees.fit(codes, np.concatenate([labels, labels % 2], axis=1))
    for grown_decision, read_decision in zip(fitted.train_decision, fitted.decision(codes), strict=True):
        np.testing.assert_array_equal(grown_decision, read_decision)


@pytest.mark.parametrize("values", [None, 30])
def test_twin_latents_share_the_importance_by_the_seed(values):
    codes, labels = problem(7, 400, 3, 4, values)
    single_importance = trees.fit(codes, labels).importance[:, 0]
    twins = [trees.fit(codes[:, [0, 0, 1, 2]], labels, seed=seed).importance[:, 0] for seed in (0, 1)]
    for twin in twins:
        assert 0.35 < twin[0] / (twin[0] + twin[1]) < 0.65
        assert twin[0] + twin[1] == pytest.approx(single_importance[0], abs=0.02)
    assert twins[0][0] != twins[1][0]


def test_codes_with_257_values_go_to_sorted_lists_with_256_to_histograms():
    labels = (np.arange(514) % 3)[:, None]
    assert trees.fit((np.arange(514) % 256)[:, None], labels).binned
    assert not trees.fit((np.arange(514) % 257)[:, None], labels).binned


@pytest.mark.parametrize("values", [None, 30])
def test_a_factor_of_one_class_has_no_importance_and_is_predicted(values):
    codes, labels = problem(8, 100, 2, 3, values)
    fitted = trees.fit(codes, np.concatenate([np.full_like(labels, 6), labels], axis=1))
    assert fitted.importance[:, 0].tolist() == [0.0, 0.0]
    assert fitted.importance[:, 1].sum() == pytest.approx(1)
    assert set(fitted.labels(fitted.decision(codes))[:, 0]) == {6}
    np.testing.assert_allclose(fitted.importance[:, 1], trees.fit(codes, labels).importance[:, 0], atol=0.02)


def test_constant_latents_leave_the_frequencies():
    labels = np.array([0, 1, 1, 2])[:, None]
    fitted = trees.fit(np.ones((4, 3)), labels)
    assert fitted.importance.tolist() == [[0.0]] * 3
    raw = fitted.train_decision[0]
    np.testing.assert_allclose(np.exp(raw[0]) / np.exp(raw[0]).sum(), [0.25, 0.5, 0.25])
    assert fitted.labels(fitted.train_decision)[:, 0].tolist() == [1, 1, 1, 1]


def test_a_pure_node_is_a_leaf_as_in_scikit_learn():
    """The first stage's gradients are +-1/2 and their sums exact, so that not even rounding is left to split on."""
    codes, labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 2), np.array([[0], [0], [1], [1]] * 2)
    fitted, oracle = trees.fit(codes, labels), fit_sklearn(codes, labels, stages=1)
    assert fitted._trees[0][0, 0].tolist() == [0, -1, -1, -1, -1, -1, -1]
    assert oracle.estimators_[0, 0].tree_.node_count == 3
    assert fitted.importance[:, 0].tolist() == pytest.approx([1, 0])
