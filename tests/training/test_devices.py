"""Everything happens on the device that a run is given.

Where there is no GPU, torch's default device is one that holds no numbers (``meta``): what makes a tensor and does not
say where makes it there, and the run fails or differs. The other tests need CUDA.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.files import data_folder
from disentangle_bench.registry import MODELS, dataset_class, model_class
from disentangle_bench.runner.environment import repeatable
from disentangle_bench.scoring.encode import draw, encode
from disentangle_bench.scoring.score import score
from disentangle_bench.store.runs import load_records
from disentangle_bench.testing import check_dataset, check_model
from disentangle_bench.training.trainer import Interrupted, Trainer
from support.blobs import Blobs

CPU = torch.device("cpu")


def spec(model, *changes):
    defaults = ["training.updates=4", "training.batch_size=8", "scoring.train_images=60", "scoring.test_images=30"]
    fixed = MODELS.entries[model].fixed
    if "discriminator_layers" in model_class(model).Config.model_fields and "discriminator_layers" not in fixed:
        defaults.append("model.discriminator_layers=1")
    return resolve(model, "rooms3d", "smoke", 0, [*defaults, "scoring.images=all", *changes]).spec


def trained(run_spec, folder, device, stop=None, capture=False, dataset=None):
    """A run to its end, interrupted and resumed at ``stop``."""
    dataset = dataset or Blobs()
    if stop is not None:
        trainer = Trainer(run_spec, dataset, device, capture=capture)
        with pytest.raises(Interrupted):
            trainer.run(folder, should_stop=lambda: trainer.step == stop)
    trainer = Trainer(run_spec, dataset, device, capture=capture)
    trainer.restore(folder)
    trainer.run(folder)
    return trainer


def evaluated(trainer, device):
    return encode(trainer.model, Blobs(), trainer.spec, device, lambda done, total: None)


def arrays(trainer, device):
    """All that a run gives, as numpy arrays by name."""
    evaluation = evaluated(trainer, device)
    numbers = {name: tensor.cpu().numpy() for name, tensor in trainer.model.state_dict().items()}
    numbers |= {f"history {i}": np.array(list(row.values())) for i, row in enumerate(trainer.history)}
    numbers |= {"codes": evaluation.codes.values, "errors": evaluation.squared_error}
    if evaluation.codes.discrete:
        numbers["indices"] = evaluation.codes.indices
    numbers |= draw(trainer.model, Blobs(), evaluation, device)
    scores = score(evaluation, {"mse": "heldout", "latents": "hsu2023", "mig": "locatello2019"})
    return numbers | {f"{row['metric']}.{row['score']}": np.array(row["value"]) for row in scores.rows}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


RELEASED = ["training.steps=in_turn", "training.clock=optimiser_steps", "scoring.codes=sample"]
WAYS = [(model, []) for model in MODELS.entries]
WAYS += [(model, RELEASED) for model in ("beta_vae", "factor_vae", "factor_qvae")]
WAYS += [(model, ["training.precision=bf16"]) for model in ("beta_vae", "factor_qvae")]
WAYS += [("beta_vae", ["training.precision=tf32"])]


@pytest.mark.parametrize(("model", "changes"), WAYS)
def test_nothing_is_made_on_the_default_device(tmp_path, model, changes):
    results = []
    for default_device in (nullcontext(), torch.device("meta")):
        with default_device:
            trainer = trained(spec(model, *changes), tmp_path / str(len(results)), CPU, stop=2)
            results.append(arrays(trainer, CPU))
    assert_same(*results)


def test_the_check_itself_finds_a_tensor_on_the_default_device(tmp_path, monkeypatch):
    beta_vae = model_class("beta_vae")
    losses = beta_vae.losses

    def careless(self, x, step, noise):
        terms, logs = losses(self, x, step, noise)
        return {"autoencoder": terms["autoencoder"] + torch.zeros(1)[0]}, logs

    monkeypatch.setattr(beta_vae, "losses", careless)
    trained(spec("beta_vae"), tmp_path / "a", CPU)
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trained(spec("beta_vae"), tmp_path / "b", CPU)


@pytest.mark.parametrize("model", ["beta_tcvae", "factor_qvae", "vq_vae"])
def test_models_keep_the_contract_whatever_the_default_device(model):
    with torch.device("meta"):
        check_model(model_class(model), image_shape=(1, 16, 16))


@pytest.mark.parametrize("name", ["rooms3d", "dsprites_rendered"])
def test_datasets_are_placed_where_they_are_asked_to(name):
    with torch.device("meta"):
        check_dataset(dataset_class(name).load(data_folder(None)), device="cpu")


CUDA = torch.device("cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def repeats():
    """The settings that a run's process has."""
    with repeatable(1):
        yield


@needs_cuda
@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize("network", ["conv64", "residual"])
@pytest.mark.parametrize("model", MODELS.entries)
def test_a_run_on_cuda_resumes_to_the_same_bits(tmp_path, model, network):
    run_spec = spec(model, f"training.network={network}")
    whole, parts = (trained(run_spec, tmp_path / str(stop), CUDA, stop) for stop in (None, 2))
    assert_same(arrays(whole, CUDA), arrays(parts, CUDA))
    assert all(tensor.device.type == "cuda" for tensor in whole.model.state_dict().values())


@needs_cuda
@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize("model", MODELS.entries)
def test_a_new_model_has_the_same_weights_codes_and_scores_on_cuda(tmp_path, model):
    """Close ones: sums are added in another order."""
    on_cpu, on_cuda = (Trainer(spec(model), Blobs(), device) for device in (CPU, CUDA))
    for a, b in zip(on_cpu.model.state_dict().values(), on_cuda.model.state_dict().values(), strict=True):
        assert torch.equal(a, b.cpu())
    first, second = evaluated(on_cpu, CPU), evaluated(on_cuda, CUDA)
    np.testing.assert_allclose(first.squared_error, second.squared_error, rtol=1e-3)
    if first.codes.discrete:  # a code in the middle between two symbols may go to either
        assert np.mean(first.codes.indices == second.codes.indices) > 0.99
    else:
        np.testing.assert_allclose(first.codes.values, second.codes.values, atol=1e-4)
    values = [score(e, {"mse": "heldout", "latents": "hsu2023"}).rows for e in (first, second)]
    for a, b in zip(*values, strict=True):
        assert a["value"] == pytest.approx(b["value"], rel=0.01, nan_ok=True), a["score"]


@needs_cuda
@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("network", ["conv64", "residual"])
@pytest.mark.parametrize("model", ["beta_vae", "vq_vae", "factor_qvae"])
def test_lower_precision_on_cuda_resumes_to_the_same_bits_near_those_of_fp32(tmp_path, model, network, precision):
    network = f"training.network={network}"
    run_spec = spec(model, network, f"training.precision={precision}")
    whole, parts = (trained(run_spec, tmp_path / str(stop), CUDA, stop) for stop in (None, 2))
    assert_same(arrays(whole, CUDA), arrays(parts, CUDA))
    full = trained(spec(model, network), tmp_path / "full", CUDA)
    assert all(parameter.dtype == torch.float32 for parameter in whole.model.parameters())
    for row, exact in zip(whole.history, full.history, strict=True):
        assert row["mse"] == pytest.approx(exact["mse"], rel=0.1)


def state(trainer):
    """All numbers of a trainer: weights, Adam's moments, noise and history."""
    moments = trainer.optimizer.state_dict()["state"]
    numbers = {f"{i}.{key}": value.cpu().numpy() for i, part in moments.items() for key, value in part.items()}
    numbers |= {name: tensor.cpu().numpy() for name, tensor in trainer.model.state_dict().items()}
    numbers |= {f"history {i}": np.array(list(row.values())) for i, row in enumerate(trainer.history)}
    return numbers | {"noise": trainer.generator.get_state().numpy()}


@needs_cuda
@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize("dataset", ["rooms3d", None], ids=["resident", "copied"])
@pytest.mark.parametrize("model", MODELS.entries)
def test_captured_updates_give_the_bits_of_uncaptured_ones(tmp_path, model, dataset):
    """Also when a run is interrupted and resumed, captured or not: weights, moments, noise and history."""
    images = dataset and dataset_class(dataset).load(data_folder(None))
    run_spec = spec(model, "training.updates=9")
    assert model_class(model).capturable
    plain = trained(run_spec, tmp_path / "plain", CUDA, dataset=images)
    captured = trained(run_spec, tmp_path / "captured", CUDA, dataset=images, capture=True)
    resumed = trained(run_spec, tmp_path / "resumed", CUDA, stop=5, dataset=images, capture=True)
    assert captured.captured
    assert_same(state(plain), state(captured))
    assert_same(state(plain), state(resumed))


@needs_cuda
@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize("changes", [RELEASED, ["training.precision=bf16"], ["training.network=residual"]], ids=str)
def test_captured_updates_give_the_same_bits_in_every_way_of_training(tmp_path, changes):
    run_spec = spec("factor_qvae", "training.updates=9", *changes)
    plain, captured = (trained(run_spec, tmp_path / str(c), CUDA, capture=c) for c in (False, True))
    assert_same(state(plain), state(captured))


@needs_cuda
@pytest.mark.usefixtures("repeats")
def test_the_global_generator_of_cuda_is_left_alone(tmp_path):
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    evaluated(trained(spec("factor_qvae", *RELEASED), tmp_path, CUDA), CUDA)
    assert torch.equal(before, torch.cuda.get_rng_state())


@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_command_on_cuda(dbench, tmp_path, precision):
    options = ["--datasets", "rooms3d", "--seeds", "1", "--protocol", "smoke", "--precision", precision]
    result = dbench(
        "run", "--models", "beta_vae,factor_qvae", *options, "--device", "cuda", "--out", tmp_path / "results"
    )
    assert result.returncode == 0, result.stderr
    records = load_records(tmp_path / "results")
    assert [record.spec.model for record in records] == ["beta_vae", "factor_qvae"]
    for record in records:
        assert record.spec.training.precision == precision
        assert record.content["environment"]["device"] == "cuda"
        assert record.content["environment"]["device_name"] == torch.cuda.get_device_name()
        weights = 4 * record.content["parameters"]
        assert 3 * weights < record.content["peak_memory"]["device"] < 10e9  # weights and Adam's two moments at least
        assert all(np.isfinite(row["value"]) for row in record.scores if row["metric"] == "mse")
