"""The conformance checks over the registry, and that they find planted faults."""

from __future__ import annotations

import pytest
import torch

from disentangle_bench.codes import Codes
from disentangle_bench.models.beta_vae import BetaVAE
from disentangle_bench.models.factor_vae import FactorVAE
from disentangle_bench.models.model import Model
from disentangle_bench.models.qlae import QLAE
from disentangle_bench.registry import MODELS, model_class, model_config
from disentangle_bench.testing import Violation, check_model
from support.every_model import EVERY_MODEL


@pytest.mark.parametrize("image_shape", [(3, 64, 64), (1, 32, 32)])
@pytest.mark.parametrize("name", EVERY_MODEL)
def test_every_model_keeps_the_contract(name, image_shape):
    check_model(model_class(name), config=model_config(name, {"latents": 4}), image_shape=image_shape)


def planted(model, **methods):
    """A copy of a model's class with some methods replaced (the classes are final, so not a subclass)."""
    return type(model.__name__, (Model,), {**vars(model), **methods, "__slots__": ()})


def rebuilt(model, **methods):
    faulty = planted(model, **methods)

    def init(self, config, *, image_shape, n_train, network):
        torch.nn.Module.__init__(self)
        self.__dict__.update(model(config, image_shape=image_shape, n_train=n_train, network=network).__dict__)

    faulty.__init__ = init
    return faulty


def test_the_copy_itself_passes():
    check_model(rebuilt(BetaVAE))


def test_finds_a_codebook_without_gradient():
    def losses(self, x, step, noise):
        return {"autoencoder": (self.decoder(self.encoder(x)) - x).square().mean()}, {}

    with pytest.raises(Violation, match="codebooks gets no gradient"):
        check_model(rebuilt(QLAE, losses=losses))


def test_finds_a_discriminator_that_leaks_into_the_encoder():
    def losses(self, x, step, noise):
        losses, logs = FactorVAE.losses(self, x, step, noise)
        leak = self.discriminator(self.encoder(x)[:, : self.config.latents]).square().mean()
        return losses | {"discriminator": lambda: losses["discriminator"]() + leak}, logs

    with pytest.raises(Violation, match=r"encoder.* gets a gradient from the losses of autoencoder and discriminator"):
        check_model(rebuilt(FactorVAE, losses=losses))


def test_finds_the_global_generator():
    def losses(self, x, step, noise):
        losses, logs = BetaVAE.losses(self, x, step, noise)
        return {"autoencoder": losses["autoencoder"] * (1 + torch.rand(()))}, logs

    with pytest.raises(Violation, match="global random generator"):
        check_model(rebuilt(BetaVAE, losses=losses))


def test_finds_an_encode_that_is_not_deterministic():
    generator = torch.Generator()

    def encode(self, x):
        values = BetaVAE.encode(self, x).values
        return Codes(values + torch.randn(values.shape, generator=generator).to(values))

    with pytest.raises(Violation, match="not deterministic"):
        check_model(rebuilt(BetaVAE, encode=encode))


def test_finds_a_wrong_shape():
    def encode(self, x):
        return Codes(BetaVAE.encode(self, x).values[:, :-1])

    def decode(self, codes):
        return torch.zeros(len(codes.values), 3, 64, 64)

    with pytest.raises(Violation, match=r"values \(8, 3\), not \(8, 4\)"):
        check_model(rebuilt(BetaVAE, encode=encode, decode=decode))


def test_finds_a_finish_that_builds_on_its_own_results():
    def finish(self, images):
        self.encoder[-1].bias += sum(self.encode(x).values.sum(0) for x in images(5)).repeat(2)

    with pytest.raises(Violation, match="finish finds something else the second time"):
        check_model(rebuilt(BetaVAE, finish=finish))


def test_finds_a_parameter_nobody_optimises():
    def param_groups(self):
        return [{"params": list(self.encoder.parameters())}]

    with pytest.raises(Violation, match="every parameter of the model exactly once"):
        check_model(rebuilt(BetaVAE, param_groups=param_groups))


def test_models_share_functions_and_do_not_inherit():
    for name in MODELS.entries:
        assert model_class(name).__bases__ == (Model,)
