"""Independent components of an autoencoder's codes: found, repeatable, invertible, saved, and harmless where dead."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from disentangle_bench.codes import Codes
from disentangle_bench.models import ae_ica
from disentangle_bench.models.ae_ica import AEICA, independent_components
from disentangle_bench.models.networks import network

D, N = 4, 3000


def built(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AEICA(AEICA.Config(latents=D), image_shape=(1, 32, 32), n_train=N, network=network("conv64"))
    return model.eval()


def batches(n):
    """Images that differ in a few ways, n at most, in uneven batches."""
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(300, 3, generator=generator) @ torch.rand(3, 32 * 32, generator=generator)
    return iter(images.reshape(300, 1, 32, 32)[:n].split(70))


def finished():
    model = built()
    with torch.no_grad():
        model.finish(batches)
    return model


def images():
    return torch.cat(list(batches(300)))


def sources():
    """Independent, of three shapes, mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    columns = [rng.uniform(-1, 1, N), rng.choice([-1.0, 1.0], N), rng.laplace(size=N), rng.uniform(0, 1, N) ** 2]
    raw = np.stack(columns, axis=1)
    return (raw - raw.mean(axis=0)) / raw.std(axis=0)


def test_finds_known_sources_up_to_order_and_sign():
    known_sources = sources()
    z = known_sources @ np.random.default_rng(1).standard_normal((D, D)) + [5.0, -2.0, 0.0, 30.0]
    mean, unmixing, _ = independent_components(z)
    components = (z - mean) @ unmixing.T
    correlation = np.abs(np.corrcoef(known_sources, components, rowvar=False)[:D, D:])
    assert sorted(correlation.argmax(axis=1)) == list(range(D))
    assert correlation.max(axis=1).min() > 0.99
    assert np.sort(correlation, axis=1)[:, -2].max() < 0.1
    np.testing.assert_allclose(components.std(axis=0), 1, rtol=1e-6)


def test_scale_and_shift_of_the_codes_do_not_matter():
    """Up to sign: principal directions have none of their own."""
    z = sources() @ np.random.default_rng(1).standard_normal((D, D))
    components = []
    for codes in (z, 1e-3 * z + 7):
        mean, unmixing, _ = independent_components(codes)
        components.append((codes - mean) @ unmixing.T)
    correlation = np.abs(np.corrcoef(*components, rowvar=False)[:D, D:])
    assert correlation.max(axis=1).min() > 1 - 1e-6


def test_the_mixing_is_the_inverse():
    z = sources() * [1.0, 1e-2, 1e-9, 0.0]
    _, unmixing, mixing = independent_components(z)
    np.testing.assert_allclose(mixing @ unmixing, np.eye(D), atol=1e-10)


def test_dead_latents_stay_small_and_do_not_disturb_the_others():
    known_sources = sources()[:, :2]
    z = np.zeros((N, D))
    z[:, :2] = known_sources @ [[1.0, 0.5], [-0.3, 2.0]]
    z[:, 2] = 3 + 1e-8 * np.random.default_rng(2).standard_normal(N)  # rounding
    z[:, 3] = 1
    mean, unmixing, _ = independent_components(z)
    components = (z - mean) @ unmixing.T
    spread = np.ptp(components, axis=0)
    live = spread > 1
    assert live.sum() == 2
    assert spread[~live].max() < 1e-3
    correlation = np.abs(np.corrcoef(known_sources, components[:, live], rowvar=False)[:2, 2:])
    assert correlation.max(axis=1).min() > 0.99


@pytest.mark.parametrize("live", [0, 1])
def test_with_fewer_than_two_live_latents_there_is_nothing_to_rotate(live):
    z = np.full((N, D), 2.0)
    z[:, :live] += sources()[:, :live]
    mean, unmixing, mixing = independent_components(z)
    components = (z - mean) @ unmixing.T
    assert np.isfinite(unmixing).all()
    assert (components.std(axis=0) > 0.5).sum() == live
    np.testing.assert_allclose(components @ mixing.T + mean, z)


def test_gaussian_codes_that_have_no_components_are_no_error(monkeypatch):
    """FastICA cannot converge; nobody is warned, and the codes are whitened all the same."""
    monkeypatch.setattr(ae_ica, "ITERATIONS", 2)
    z = np.random.default_rng(3).standard_normal((200, D)) * [1, 2, 3, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, unmixing, _ = independent_components(z)
    components = (z - mean) @ unmixing.T
    np.testing.assert_allclose(components.T @ components / len(z), np.eye(D), atol=1e-8)


def test_finishing_twice_gives_the_same_bits():
    model = finished()
    first = {name: value.clone() for name, value in model.state_dict().items()}
    assert not torch.equal(first["unmixing"], torch.eye(D))
    torch.manual_seed(99)
    with torch.no_grad():
        model.finish(batches)
    assert all(torch.equal(first[name], value) for name, value in model.state_dict().items())


def test_sources_are_white_and_reconstructions_are_the_autoencoders_own():
    model, x = finished(), images()
    with torch.inference_mode():
        values = model.encode(x).values
        z = model.encoder(x)
        torch.testing.assert_close(model.decode(Codes(values)), model.decoder(z), atol=1e-4, rtol=0)
        assert not torch.allclose(values, z, atol=0.1)
    covariance = np.cov(values.double().numpy(), rowvar=False, bias=True)
    live = np.diag(covariance) > 0.5
    assert live.sum() >= 3
    np.testing.assert_allclose(covariance[np.ix_(live, live)], np.eye(live.sum()), atol=1e-2)


def test_before_finish_codes_are_the_encoders_output():
    model, x = built(), images()
    with torch.inference_mode():
        torch.testing.assert_close(model.encode(x).values, model.encoder(x))


def test_a_finished_model_saved_and_loaded_gives_the_same_codes(tmp_path):
    model, x = finished(), images()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = built(seed=1)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.inference_mode():
        codes, loaded_codes = model.encode(x), other.encode(x)
        assert torch.equal(codes.values, loaded_codes.values)
        assert torch.equal(model.decode(codes), other.decode(loaded_codes))


def test_the_global_generators_are_left_alone():
    finished()  # imports libraries
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    finished()
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())
