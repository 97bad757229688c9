"""The networks: how they start, how large they are, and that they compute what they say."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest
from torch import nn
from torch.nn import functional as F

from disentangle_bench.errors import BenchError
from disentangle_bench.models import adversary
from disentangle_bench.models.networks import Conv64, Residual
from disentangle_bench.registry import model_class

QUARTER = Residual(width=0.25)


def seeded(make, *arguments):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make(*arguments)


def assert_normal(values, deviation):
    """Mean, standard deviation and the whole distribution of N(0, deviation), within sampling error."""
    n = values.numel()
    assert abs(values.mean()) < 5 * deviation / math.sqrt(n)
    assert values.std() == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))
    assert kstest(values.flatten()[:100_000] / deviation, "norm").pvalue > 1e-4


@pytest.fixture(scope="module")
def full():
    """The encoder and decoder of 12 latents of one scalar each, on 64 x 64 colour images, at full width."""
    residual = Residual()
    return seeded(residual.encoder, (3, 64, 64), 12), seeded(residual.decoder, 12, (3, 64, 64))


def layers(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def test_residual_starts_from_narrow_normal_weights_and_no_biases(full):
    encoder, decoder = full
    # 6 blocks of 4 convolutions, and one more where the channels change; the first or last; linear layers.
    assert len(layers(encoder)) == 6 * 4 + 2 + 1 + 3
    assert len(layers(decoder)) == 6 * 4 + 3 + 1 + 1
    for layer in layers(encoder) + layers(decoder):
        assert_normal(layer.weight.detach(), 0.02)
        assert not layer.bias.any()


def test_the_discriminator_starts_the_same_way():
    discriminator = seeded(adversary.discriminator, 12 * 64, 5)
    assert len(layers(discriminator)) == 6
    for layer in layers(discriminator):
        assert_normal(layer.weight.detach(), 0.02)
        assert not layer.bias.any()


def model(name, **settings):
    cls = model_class(name)
    return seeded(lambda: cls(cls.Config(**settings), image_shape=(3, 64, 64), n_train=100, network=QUARTER))


def test_codebooks_start_as_their_models_say():
    even = model("qlae", latents=12).codebooks
    assert even.shape == (12, 10, 1)
    for row in even:
        assert row[:, 0].tolist() == pytest.approx([-0.5 + i / 9 for i in range(10)], abs=1e-7)
    assert_normal(model("qlae", latents=1000, initial="normal").codebooks.detach(), 1.0)
    assert_normal(model("factor_qvae", latents=4, symbols=10_000, gamma=0).codebook.detach(), 1.0)
    vectors = model("vq_vae", latents=4).codebook.detach()
    assert vectors.shape == (512, 64)
    bound = math.sqrt(3 / 64)
    assert kstest(vectors.flatten(), "uniform", args=(-bound, 2 * bound)).pvalue > 1e-4


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_residual_has_the_released_sizes(full):
    """Of the released code of Baykal et al. 2024, with 12 latents on 64 x 64 colour images."""
    assert count(full[0]) == 19_092_556
    assert count(full[1]) == 2_871_619
    assert count(adversary.discriminator(12 * 64, 5)) == 4_775_002


def test_conv64_has_the_published_sizes():
    """From the table of Locatello et al. 2019, kernels all 4 x 4: weights and biases, layer by layer."""
    encoder = [
        3 * 32 * 16 + 32,
        32 * 32 * 16 + 32,
        32 * 64 * 16 + 64,
        64 * 64 * 16 + 64,
        1024 * 256 + 256,
        256 * 12 + 12,
    ]
    decoder = [
        12 * 256 + 256,
        256 * 1024 + 1024,
        64 * 64 * 16 + 64,
        64 * 32 * 16 + 32,
        32 * 32 * 16 + 32,
        32 * 3 * 16 + 3,
    ]
    assert count(Conv64().encoder((3, 64, 64), 12)) == sum(encoder)
    assert count(Conv64().decoder(12, (3, 64, 64))) == sum(decoder)


def test_residual_at_full_width_makes_codes_and_images(full):
    encoder, decoder = full
    codes = encoder(torch.rand(2, 3, 64, 64))
    assert codes.shape == (2, 12)
    images = decoder(codes)
    assert images.shape == (2, 3, 64, 64)
    # At the start all branches are nearly silent: images are the shift, grey.
    assert images.mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("network", [Conv64(), QUARTER], ids=["conv64", "residual"])
def test_networks_take_all_image_sizes(network, side, channels):
    shape = (channels, side, side)
    encoder, decoder = network.encoder(shape, 5), network.decoder(5, shape)
    images = torch.rand(2, *shape)
    with torch.no_grad():
        assert encoder(images).shape == (2, 5)
        assert decoder(encoder(images)).shape == images.shape


@pytest.mark.parametrize(("network", "multiple"), [(Conv64(), 16), (QUARTER, 4)], ids=["conv64", "residual"])
def test_sides_that_do_not_fit_are_an_error(network, multiple):
    for h, w in ((multiple + 2, multiple), (multiple, multiple + 2)):
        with pytest.raises(BenchError, match=f"multiples of {multiple}, not {h} x {w} pixels"):
            network.encoder((3, h, w), 5)
        with pytest.raises(BenchError, match=f"multiples of {multiple}, not {h} x {w} pixels"):
            network.decoder(5, (3, h, w))


# --- the residual network by hand -----------------------------------------------------------------------------------


class Weights:
    """A module's weights and biases, taken one layer after the other."""

    def __init__(self, module):
        values = list(module.parameters())
        self.pairs = list(zip(values[::2], values[1::2], strict=True))

    def convolve(self, x):
        weight, bias = self.pairs.pop(0)
        return F.conv2d(x, weight, bias, padding=(weight.shape[-1] - 1) // 2)

    def multiply(self, x):
        weight, bias = self.pairs.pop(0)
        return x @ weight.T + bias

    def block(self, x, channels, kernels):
        """A convolution of 1 where the channels change, plus 1/36 of four convolutions, each after a ReLU."""
        identity = x if x.shape[1] == channels else self.convolve(x)
        for kernel in kernels:
            assert self.pairs[0][0].shape[-1] == kernel
            x = self.convolve(x.clamp(min=0))
        return identity + x / 36


def encoder_by_hand(module, x):
    weights = Weights(module)
    x = weights.convolve(x - 0.5)
    for channels, pooled in ((32, True), (64, True), (128, False)):
        for _ in range(2):
            x = weights.block(x, channels, kernels=(3, 3, 3, 1))
        if pooled:
            b, c, h, w = x.shape
            x = x.reshape(b, c, h // 2, 2, w // 2, 2).amax(dim=(3, 5))
    x = x.reshape(len(x), -1)
    for _ in range(3):
        x = weights.multiply(x.clamp(min=0))
    assert not weights.pairs
    return x


def decoder_by_hand(module, z, h, w):
    weights = Weights(module)
    x = weights.multiply(z).reshape(len(z), 64, h // 4, w // 4)
    for channels, doubled in ((128, True), (64, True), (32, False)):
        for _ in range(2):
            x = weights.block(x, channels, kernels=(1, 3, 3, 3))
        if doubled:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    x = weights.convolve(x.clamp(min=0)) + 0.5
    assert not weights.pairs
    return x


def test_residual_computes_what_it_says():
    """In float64 at quarter width, with weights so large that both paths of every block matter."""
    encoder, decoder = QUARTER.encoder((3, 8, 12), 7).double(), QUARTER.decoder(7, (3, 8, 12)).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in [*encoder.parameters(), *decoder.parameters()]:
            scale = 2 / math.sqrt(parameter[0].numel()) if parameter.dim() > 1 else 0.5
            parameter.normal_(std=scale, generator=generator)
        x = torch.rand(2, 3, 8, 12, generator=generator, dtype=torch.float64)
        z = torch.randn(2, 7, generator=generator, dtype=torch.float64)
        codes, images = encoder(x), decoder(z)
        for output, expected in ((codes, encoder_by_hand(encoder, x)), (images, decoder_by_hand(decoder, z, 8, 12))):
            assert output.std() > 0.1
            assert (output - expected).abs().max() < 1e-9
