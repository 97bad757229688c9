"""Correlated training data: the law of the draws, and that nothing else of a run changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from disentangle_bench.config.protocols import is_ranked, protocol
from disentangle_bench.config.resolve import resolve
from disentangle_bench.data import correlation
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import dataset_class
from disentangle_bench.spec import Data, RunSpec
from disentangle_bench.training.batches import Stream, WeightedStream, evaluation_sample, stream_of
from disentangle_bench.training.trainer import Trainer
from support.blobs import Blobs
from support.small_runs import CPU, same, spec

CARDS = {name: dataset_class(name).card for name in ("rooms3d", "mpi3d_real_complex", "dsprites")}
CASES = [(name, named) for name, card in CARDS.items() for named in correlation.named_sets(card.factor_names)]
PAIR = Data(correlation="row:column:0.1")
DRAWS = 100_000


def test_the_sets_are_those_of_the_paper():
    assert len([case for case in CASES if case[0] == "rooms3d"]) == 13
    assert len([case for case in CASES if case[0] == "mpi3d_real_complex"]) == 13
    assert set(correlation.NAMES) == {named for _, named in CASES}
    for name, first, second, sigma in [
        ("single_1", "floor_hue", "wall_hue", 0.1),
        ("double_2_004", "scale", "shape", 0.04),
        ("conf_2", "wall_hue", "orientation", 0.2),
    ]:
        assert (first, second, sigma) in correlation.pairs(name, CARDS["rooms3d"])
    assert len(correlation.pairs("conf_1", CARDS["mpi3d_real_complex"])) == 6


def law(card, pairs, names):
    """The probabilities of two factors' values: products of the pairs' weights, summed over all other factors."""
    letters = dict(zip(card.factor_names, "abcdefgh", strict=False))
    scaled = {
        name: np.arange(size) / (size - 1) for name, size in zip(card.factor_names, card.factor_sizes, strict=True)
    }
    tables, subscripts = [], []
    for first, second, sigma in pairs:
        tables.append(np.exp(-((scaled[first][:, None] - scaled[second][None]) ** 2) / (2 * sigma * sigma)))
        subscripts.append(letters[first] + letters[second])
    for name in names:
        tables.append(np.ones(len(scaled[name])))
        subscripts.append(letters[name])
    table = np.einsum(",".join(subscripts) + "->" + "".join(letters[name] for name in names), *tables, optimize=True)
    return table / table.sum()


@pytest.mark.parametrize(("name", "named"), CASES)
def test_frequencies_follow_the_law(name, named):
    """Of every pair of a set, and of the first with a factor that is in no pair, by chi-square."""
    card = CARDS[name]
    pairs = correlation.pairs(named, card)
    images = np.arange(card.n)
    weights = correlation.weights(named, card, card.grid.factors(images))
    factors = card.grid.factors(WeightedStream(images, weights, DRAWS, seed=1).batch(3))
    free = [factor for factor in card.factor_names if not any(factor in pair[:2] for pair in pairs)]
    for first, second in [pair[:2] for pair in pairs] + [(pairs[0].first, other) for other in free[:1]]:
        i, j = card.factor_names.index(first), card.factor_names.index(second)
        shape = card.factor_sizes[i], card.factor_sizes[j]
        counts = np.bincount(np.ravel_multi_index((factors[:, i], factors[:, j]), shape), minlength=shape[0] * shape[1])
        expected = law(card, pairs, (first, second)).flatten() * DRAWS
        rare = expected < 10
        observed, expected_counts = [*counts[~rare], counts[rare].sum()], [*expected[~rare], expected[rare].sum()]
        assert len(expected_counts) > 3
        if expected_counts[-1] < 10:  # a rest too small for a cell of its own
            observed[-2:], expected_counts[-2:] = [sum(observed[-2:])], [sum(expected_counts[-2:])]
        assert chisquare(observed, expected_counts).pvalue > 1e-4, (first, second)


def test_batches_are_a_closed_form_of_seed_and_step():
    weights = np.array([0, 5, 0, 1, 2], dtype=np.int64)
    stream = WeightedStream(np.arange(10, 15), weights, 7, seed=3)
    forward = [stream.batch(step).tolist() for step in range(20)]
    second_stream = WeightedStream(np.arange(10, 15), weights, 7, seed=3)
    assert [second_stream.batch(step).tolist() for step in reversed(range(20))] == forward[::-1]
    assert forward[0] != forward[1]
    assert WeightedStream(np.arange(10, 15), weights, 7, seed=4).batch(0).tolist() != forward[0]
    assert {image for batch in forward for image in batch} == {11, 13, 14}, "no weight, no draws"
    assert forward[0] == [11, 14, 11, 11, 11, 11, 11]


def test_uncorrelated_draws_are_those_of_the_stream_before():
    """Golden: what runs of version 0.1.0 were trained on."""
    stream = stream_of(spec("beta_vae", "training.batch_size=6"), Blobs(), 6)
    assert isinstance(stream, Stream)
    assert [stream.batch(step).tolist() for step in (0, 57)] == BEFORE


BEFORE = [[74, 219, 259, 264, 89, 64], [105, 5, 135, 207, 245, 15]]


def test_only_training_images_are_drawn_and_evaluation_is_as_it_was():
    plain = spec("beta_vae")
    correlated = plain.model_copy(update={"data": PAIR})
    stream = stream_of(correlated, Blobs(), 500)
    assert set(stream.batch(0)) <= set(stream_of(plain, Blobs(), 500).images)
    assert set(stream.sample(2000)) <= set(stream.images)
    factors = Blobs().factors(stream.batch(1))
    assert np.abs(factors[:, 0] - factors[:, 1]).mean() < 1.2 < np.abs(np.subtract.outer(range(10), range(10))).mean()
    for index, second_index in zip(evaluation_sample(plain, 300), evaluation_sample(correlated, 300), strict=True):
        np.testing.assert_array_equal(index, second_index)


def test_a_resumed_run_has_the_same_bits(tmp_path):
    plain = spec("factor_vae", "training.updates=6", "training.batch_size=4")
    correlated = plain.model_copy(update={"data": PAIR})
    whole, first, second = (Trainer(correlated, Blobs(), CPU) for _ in range(3))
    whole.run()
    for _ in range(3):
        first.update()
    first.save(tmp_path)
    second.restore(tmp_path)
    second.run()
    assert same(whole.model.state_dict(), second.model.state_dict())
    other = Trainer(plain, Blobs(), CPU).run()
    assert not torch.equal(other.encoder[0].weight, whole.model.encoder[0].weight)


def test_strength_is_the_total_correlation_of_the_factors():
    card = CARDS["rooms3d"]
    assert correlation.strength("none", card) == 0
    table = law(card, correlation.pairs("single_1", card), ("floor_hue", "wall_hue"))
    product = np.outer(table.sum(1), table.sum(0))
    expected = (table * np.log(table / product)).sum()
    assert correlation.strength("single_1", card) == pytest.approx(expected, abs=1e-6)
    widths = [correlation.strength(f"floor_hue:wall_hue:{sigma}", card) for sigma in (0.05, 0.1, 0.4, 10)]
    assert widths == sorted(widths, reverse=True)
    both_strength = correlation.strength("floor_hue:wall_hue:0.1 + shape:scale:0.1", card)
    assert both_strength == pytest.approx(sum(correlation.strength(f"single_{k}", card) for k in (1, 2)), abs=1e-6)


@pytest.mark.parametrize(
    ("dataset", "correlation", "message"),
    [
        ("rooms3d", "single_9", "unknown correlation of rooms3d 'single_9'"),
        ("isaac3d", "single_1", "isaac3d has no named correlations: write pairs"),
        ("rooms3d", "floor_hue:wall:0.1", "unknown factor of rooms3d 'wall'"),
        ("rooms3d", "floor_hue:wall_hue", "takes pairs FACTOR:FACTOR:SIGMA"),
        ("rooms3d", "floor_hue:floor_hue:0.1", "takes pairs FACTOR:FACTOR:SIGMA"),
        ("rooms3d", "floor_hue:wall_hue:0", "takes pairs FACTOR:FACTOR:SIGMA"),
        ("rooms3d", "floor_hue:wall_hue:x", "takes pairs FACTOR:FACTOR:SIGMA"),
    ],
)
def test_what_cannot_be_read_is_refused_before_training(dataset, correlation, message):
    with pytest.raises(BenchError, match=message) as error:
        resolve("beta_vae", dataset, "smoke", 0, [f"data.correlation={correlation}"])
    assert "\n" not in str(error.value)


def test_a_set_chosen_by_hand_is_off_protocol_and_the_familys_is_ranked():
    by_hand = resolve("beta_vae", "rooms3d", "standard", 0, ["data.correlation=single_1"]).spec
    family = resolve("beta_vae", "rooms3d", "standard-correlated-single_1", 0).spec
    plain = resolve("beta_vae", "rooms3d", "standard", 0).spec
    assert by_hand.changed == ("data.correlation=single_1",)
    assert not is_ranked(by_hand)
    assert is_ranked(family)
    assert family.protocol == "standard-correlated-single_1"
    assert family.training == plain.training
    assert family.scoring == plain.scoring
    assert len({spec.digest for spec in (by_hand, family, plain)}) == 3
    assert is_ranked(RunSpec.model_validate_json(family.model_dump_json()))
    assert resolve("beta_vae", "rooms3d", "cpu-correlated-conf_1", 0).spec.training.network == "conv64"
    with pytest.raises(BenchError, match="dsprites 'triple_1'"):
        resolve("beta_vae", "dsprites", "standard-correlated-triple_1", 0)
    for name in ("quick-correlated-single_1", "standard-correlated-single_9"):
        with pytest.raises(BenchError, match=f"unknown protocol '{name}'. Did you mean '.*-correlated-single_"):
            protocol(name)
