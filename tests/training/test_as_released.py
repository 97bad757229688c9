"""What the protocol factorqvae2024 does as the released code does it: splits, samples of images, sampled codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from disentangle_bench.codes import Codes
from disentangle_bench.config.resolve import resolve
from disentangle_bench.registry import MODELS
from disentangle_bench.scoring.encode import encode
from disentangle_bench.training.batches import evaluation_sample, split_of
from disentangle_bench.training.trainer import Trainer
from support.blobs import Blobs

CPU = torch.device("cpu")
N = len(Blobs())
GAUSSIAN = ["beta_vae", "factor_vae", "beta_tcvae", "annealed_vae", "dip_vae_i", "dip_vae_ii", "hfs"]


def spec(*changes, model="beta_vae", seed=0):
    resolved = resolve(model, "rooms3d", "smoke", 0, ["training.updates=3", "training.batch_size=4", *changes]).spec
    return resolved.model_copy(update={"seed": seed})


def parts(run_spec):
    split = split_of(run_spec, N)
    return [set(part.tolist()) for part in (split.train, split.validation, split.test)]


def test_a_fixed_split_is_the_same_for_all_seeds():
    assert parts(spec(seed=0)) == parts(spec(seed=1))


def test_a_split_by_seed_differs_by_seed_and_shares_every_image_once():
    first, second, other = (parts(spec("training.split=seed", seed=seed)) for seed in (3, 3, 4))
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert [len(part) for part in first] == [240, 30, 30]
    assert set.union(*first) == set(range(N))


@pytest.mark.parametrize("seed", [3, 4])
def test_no_test_image_of_the_split_by_seed_is_in_training(tmp_path, seed):
    run_spec = spec("training.split=seed", seed=seed)
    trainer = Trainer(run_spec, Blobs(), CPU)
    epochs = np.concatenate([trainer.stream.batch(step) for step in range(120)])  # two epochs
    train, _, test = parts(run_spec)
    assert set(epochs.tolist()) == train
    images, n_train = evaluation_sample(run_spec, N)
    assert set(images.tolist()) == test
    assert not test & train
    assert n_train == 20  # the smoke protocol's 400 of 600, of 30


def test_images_of_all_are_drawn_with_replacement_from_the_whole_dataset():
    changes = "scoring.train_images=20000", "scoring.test_images=10000"
    index, n_train = evaluation_sample(spec("scoring.images=all", *changes), N)
    assert n_train == 20_000
    counts = np.bincount(index, minlength=N)
    assert len(counts) == N
    # 100 of each are expected; this statistic has N-1 degrees of freedom: mean 299, standard deviation 24.5.
    assert 299 - 5 * 24.5 < ((counts - 100) ** 2 / 100).sum() < 299 + 5 * 24.5


def test_images_of_all_differ_by_seed_and_are_repeatable():
    first, second, other = (evaluation_sample(spec("scoring.images=all", seed=seed), N)[0] for seed in (3, 3, 4))
    assert len(first) == 600
    assert first.tolist() == second.tolist()
    assert first.tolist() != other.tolist()
    fixed = [evaluation_sample(spec(seed=seed), N)[0].tolist() for seed in (3, 4)]
    assert fixed[0] == fixed[1]


class Scored:
    """A barely trained model, and its codes of 2,200 images of all."""

    def __init__(self, folder, model):
        self.spec = spec("scoring.images=all", "scoring.train_images=2000", model=model)
        self.trainer = Trainer(self.spec, Blobs(), CPU)
        self.model = self.trainer.run()
        if model in GAUSSIAN:  # spreads of e^-1.5 to e^0.5: those of a new model are near 1, where squares are too
            d = self.model.config.latents
            self.model.encoder[-1].bias.data[d:] = torch.linspace(-3, 1, d)

    def evaluation(self, kind, seed=0):
        scoring = self.spec.scoring.model_copy(update={"codes": kind})
        run_spec = self.spec.model_copy(update={"scoring": scoring, "seed": seed})
        return encode(self.model, Blobs(), run_spec, CPU, lambda done, total: None)

    def images(self, seed=0):
        index, _ = evaluation_sample(self.spec.model_copy(update={"seed": seed}), N)
        return self.trainer.images(index).float() / 255

    def noise(self, seed=0):
        """Sampled codes, less their posteriors' means, divided by their standard deviations."""
        with torch.inference_mode():
            mean, log_variance = self.model.encoder(self.images(seed)).split(self.model.config.latents, dim=1)
        return (self.evaluation("sample", seed).codes.values - mean.numpy()) / np.sqrt(np.exp(log_variance.numpy()))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_sampled_codes_have_the_posteriors_means_and_deviations(tmp_path, name):
    noise = Scored(tmp_path, name).noise()
    n, d = noise.shape
    assert n == 2200
    assert all(kstest(column, "norm").pvalue > 1e-4 for column in noise.T)
    assert np.abs(np.corrcoef(noise.T) - np.eye(d)).max() < 5 / np.sqrt(n)
    # No batch repeats another's noise: in single precision some numbers agree by chance.
    assert len(np.unique(noise)) > 0.99 * noise.size


def test_sampled_codes_are_repeatable_and_differ_by_seed(tmp_path):
    model = Scored(tmp_path, "beta_vae")
    first, second = (model.evaluation("sample").codes.values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(model.noise(seed=0) - model.noise(seed=1)).mean() > 0.5


@pytest.mark.parametrize("kind", ["mean", "sample"])
def test_the_reconstruction_error_is_that_of_the_codes(tmp_path, kind):
    scored = Scored(tmp_path, "beta_vae")
    evaluation, x = scored.evaluation(kind), scored.images()
    with torch.inference_mode():
        images = scored.model.decode(Codes(torch.from_numpy(evaluation.codes.values)))
        means = scored.model.encode(x).values.numpy()
    np.testing.assert_allclose(evaluation.squared_error, (images - x).square().mean(dim=(1, 2, 3)), rtol=1e-5)
    assert np.allclose(evaluation.codes.values, means, atol=1e-5) == (kind == "mean")


@pytest.mark.parametrize("name", [name for name in MODELS.entries if name not in GAUSSIAN])
def test_codes_that_are_not_gaussian_are_not_sampled(tmp_path, name):
    model = Scored(tmp_path, name)
    sampled, plain = (model.evaluation(kind).codes for kind in ("sample", "mean"))
    np.testing.assert_array_equal(sampled.values, plain.values)
    np.testing.assert_array_equal(sampled.indices, plain.indices)
