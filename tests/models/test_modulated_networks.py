"""Networks whose decoders are modulated by their inputs, adain and style: sizes, values, memory, models, resuming."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from disentangle_bench.errors import BenchError
from disentangle_bench.models import networks
from disentangle_bench.models.networks import AdaIN, Style, hidden_layers, lay_out
from disentangle_bench.registry import model_class, model_config, network
from disentangle_bench.testing import check_model, check_network
from disentangle_bench.training.trainer import Trainer
from support.blobs import Blobs
from support.small_runs import CPU, same, spec

NARROW = {"adain": AdaIN(width=1 / 16), "style": Style(width=1 / 16)}
both = pytest.mark.parametrize("name", NARROW)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_adain_has_the_sizes_of_its_layers():
    """Twelve latents, 64 x 64 colour images: weights and biases, layer by layer of the released code's lists."""

    def block(before, after):
        identity = 0 if before == after else before * after + after
        return identity + 9 * before * after + after + 2 * after + 9 * after * after + after + 2 * after

    encoder = 0
    for before, width, after in ((3, 32, 64), (64, 64, 128), (128, 128, 256), (256, 256, 512)):
        encoder += block(before, width) + block(width, width) + 4 * width * after + after
    encoder += 512 * 512 + 512 + 2 * 512 + 512 * 12 + 12
    decoder = 512 * 4 * 4 + 12 * 256 + 256 + 2 * 256 + 256 * 256 + 256 + 2 * 256
    for width, after in ((512, 256), (256, 128), (128, 64), (64, 3)):
        decoder += 4 * (9 * width * width + width + 256 * 2 * width + 2 * width) + 9 * width * after + after
    assert count(network("adain").encoder((3, 64, 64), 12)) == encoder == 4_098_092
    assert count(network("adain").decoder(12, (3, 64, 64))) == decoder == 16_140_163


def test_style_has_the_sizes_of_its_layers():
    encoder, before = 0, 3
    for width in (32, 64, 128, 256):
        encoder += 9 * before * width + 9 * width * width + 16 * width * width + 3 * 2 * width
        before = width
    encoder += 4096 * 256 + 256 + 256 * 256 + 256 + 256 * 12 + 12
    decoder = 256 * 4 * 4 + 12 * 256 + 256 + 256 * 256 + 256
    before = 256
    for width in (256, 128, 64, 32):
        decoder += 9 * before * width + 9 * width * width + 16 * width * width + 3 * (256 * 2 * width + 2 * width)
        before = width
    decoder += 9 * 32 * 3
    assert count(network("style").encoder((3, 64, 64), 12)) == encoder == 3_684_524
    assert count(network("style").decoder(12, (3, 64, 64))) == decoder == 3_967_136


# --- by hand, from parameters in their order --------------------------------------------------------------------------


class Weights:
    """A module's parameters, taken one after the other."""

    def __init__(self, module):
        self.values = list(module.parameters())

    def take(self, n=2):
        weights, self.values = self.values[:n], self.values[n:]
        return weights

    def linear(self, x):
        weight, bias = self.take()
        return x @ weight.T + bias

    def normed(self, x):
        """A linear layer, layer norm, GELU."""
        x = self.linear(x)
        weight, bias = self.take()
        deviation = (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        return gelu((x - x.mean(1, keepdim=True)) / deviation * weight + bias)

    def convolve(self, x, bias=True, stride=1, transposed=False):
        weight, *rest = self.take(2 if bias else 1)
        function = F.conv_transpose2d if transposed else F.conv2d
        return function(x, weight, *rest, stride=stride, padding=0 if weight.shape[-1] == 1 else 1)


def gelu(x):
    return x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def instance(x, epsilon):
    variance, mean = x.var((2, 3), correction=0, keepdim=True), x.mean((2, 3), keepdim=True)
    return (x - mean) / (variance + epsilon).sqrt()


def by_channel(numbers):
    return numbers.reshape(*numbers.shape, 1, 1)


def doubled(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def adain_encoder(module, x):
    weights, x = Weights(module), 2 * x - 1
    for width in (2, 4, 8, 16):
        for _ in range(2):
            identity = x if x.shape[1] == width else weights.convolve(x)
            for _ in range(2):
                x = instance(weights.convolve(x), 1e-5)
                scale, shift = weights.take()
                x = gelu(x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1))
            x = identity + x
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, w // 2)
        x = weights.convolve(x)
    x = weights.linear(weights.normed(x.mean((2, 3))))
    assert not weights.values
    return x


def adain_decoder(module, z):
    weights = Weights(module)
    condition = weights.normed(weights.normed(z))
    (x,) = weights.take(1)
    hidden = [condition]
    for _ in range(4):
        layers = [(weights.take(), weights.take()) for _ in range(4)]
        for pair in (layers[:2], layers[2:]):
            out = x
            for (kernel, bias), (weight, offset) in pair:
                scale, shift = by_channel(condition @ weight.T + offset).chunk(2, dim=1)
                out = gelu(instance(F.conv2d(out, kernel, bias, padding=1), 1e-5) * (1 + scale) + shift)
            x = x + out
        x = weights.convolve(doubled(x))
        hidden.append(x)
    assert not weights.values
    return hidden[:-1], x


def style_encoder(module, x):
    weights = Weights(module)
    for _ in range(4):
        for stride in (1, 1, 2):
            x = instance(weights.convolve(x, bias=False, stride=stride), 1e-6)
            scale, shift = weights.take()
            x = leaky(x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1))
    x = x.reshape(len(x), -1)
    x = weights.linear(weights.linear(weights.linear(x).relu()).relu())
    assert not weights.values
    return x


def style_decoder(module, z):
    weights = Weights(module)
    style = weights.linear(weights.linear(z).relu()).relu()
    (x,) = weights.take(1)
    x, hidden = x.repeat(len(z), 1, 1, 1), [style]
    for _ in range(4):
        for stride in (1, 1, 2):
            x = instance(leaky(weights.convolve(x, bias=False, stride=stride, transposed=True)), 1e-6)
            scale, bias = by_channel(weights.linear(style).relu()).chunk(2, dim=1)
            x = x * scale + bias
        hidden.append(x)
    x = weights.convolve(x, bias=False)
    assert not weights.values
    return hidden, x


@pytest.mark.parametrize(
    ("name", "encode", "decode"), [("adain", adain_encoder, adain_decoder), ("style", style_encoder, style_decoder)]
)
def test_networks_compute_what_they_say(name, encode, decode):
    """In float64 with random affine parameters; the hidden layers, which penalties read, are compared too."""
    generator = torch.Generator().manual_seed(0)
    encoder = NARROW[name].encoder((3, 32, 48), 5).double()
    decoder = NARROW[name].decoder(5, (3, 32, 48)).double()
    with torch.no_grad():
        for parameter in [*encoder.parameters(), *decoder.parameters()]:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        x = torch.rand(3, 3, 32, 48, generator=generator, dtype=torch.float64)
        z = torch.randn(3, 5, generator=generator, dtype=torch.float64)
        assert (encoder(x) - encode(encoder, x)).abs().max() < 1e-9
        hidden, images = hidden_layers(decoder, z), decoder(z)
        expected_hidden, expected = decode(decoder, z)
        assert images.std() > 0.1
        assert len(hidden) == len(expected_hidden) == (4 if name == "adain" else 5)
        for layer, other in zip([*hidden, images], [*expected_hidden, expected], strict=True):
            assert (layer - other).abs().max() < 1e-9


# --- how they are used ------------------------------------------------------------------------------------------------


@both
def test_memory_formats_give_the_same_numbers(name):
    encoder, decoder = NARROW[name].encoder((3, 32, 32), 4).double(), NARROW[name].decoder(4, (3, 32, 32)).double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    results = []
    for order in (torch.channels_last, torch.contiguous_format):
        for module in (encoder, decoder):
            lay_out(module, order)
        images = decoder(encoder(x.contiguous(memory_format=order)))
        assert images.is_contiguous(memory_format=order)
        results.append(images)
    torch.testing.assert_close(*results)


@both
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 64, 96)])
def test_they_keep_the_contract_of_networks(name, shape):
    check_network(NARROW[name], image_shape=shape)


@both
def test_sides_that_do_not_fit_are_an_error(name):
    for h, w in ((16, 32), (32, 40)):
        with pytest.raises(BenchError, match=f"multiples of 16 from 32 on, not {h} x {w} pixels"):
            network(name).encoder((3, h, w), 5)
        with pytest.raises(BenchError, match=f"multiples of 16 from 32 on, not {h} x {w} pixels"):
            network(name).decoder(5, (3, h, w))


@pytest.mark.parametrize("model", ["beta_vae", "factor_qvae", "vq_vae"])
def test_models_take_adain(monkeypatch, model):
    monkeypatch.setitem(networks.NETWORKS, "adain", NARROW["adain"])
    config = model_config(model, {"latents": 3})
    check_model(model_class(model), config, image_shape=(1, 32, 32), network_name="adain", quick=True)


class WideBlobs(Blobs):
    """Blobs in a corner of images of 32 x 32."""

    card = type(Blobs.card)("blobs", 1, "", ("row", "column", "grey"), (10, 10, 3), (1, 32, 32), "CC0", "")

    def images(self, index):
        return super().images(index).repeat(2, axis=1).repeat(2, axis=2)


@both
def test_a_resumed_run_has_the_same_bits(tmp_path, monkeypatch, name):
    monkeypatch.setitem(networks.NETWORKS, name, NARROW[name])
    changes = [f"training.network={name}", "training.updates=6", "training.batch_size=4"]
    whole, first, second = (Trainer(spec("qlae", *changes), WideBlobs(), CPU) for _ in range(3))
    whole.run()
    for _ in range(3):
        first.update()
    first.save(tmp_path)
    second.restore(tmp_path)
    assert second.step == 3
    second.run()
    assert same(whole.model.state_dict(), second.model.state_dict())


def test_hidden_layers_of_a_sequence_are_its_activations():
    decoder = network("conv64").decoder(3, (1, 16, 16))
    hidden = hidden_layers(decoder, torch.rand(2, 3))
    assert [layer.shape[1] for layer in hidden] == [256, 64, 64, 32, 32]
    assert hidden_layers(nn.Sequential(nn.Linear(3, 4)), torch.rand(2, 3)) == []
    with pytest.raises(BenchError, match="class Bilinear are not known"):
        hidden_layers(nn.Bilinear(2, 2, 2), torch.zeros(1, 2))
