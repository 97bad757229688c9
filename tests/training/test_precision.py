"""Lower precision and compilation: what they touch, what they leave alone, and that records say so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

from disentangle_bench.config.grids import expand
from disentangle_bench.registry import MODELS
from disentangle_bench.store import runs
from disentangle_bench.training import precision
from disentangle_bench.training.trainer import Interrupted, Trainer
from support.blobs import Blobs
from support.small_runs import CPU, same, spec, state, trained

BF16 = "training.precision=bf16"


def fresh(folder, *arguments, **options):
    return Trainer(spec(*arguments), Blobs(), CPU, **options)


@pytest.mark.parametrize("model", MODELS.entries)
def test_bf16_trains_every_model_near_fp32(tmp_path, model):
    fp32_logs, bf16_logs = fresh(tmp_path / "a", model).update(), fresh(tmp_path / "b", model, BF16).update()
    for name, value in fp32_logs.items():
        assert bf16_logs[name].dtype == torch.float32
        # A nearest value can change; sums over few images of few latents then move more than by rounding.
        torch.testing.assert_close(bf16_logs[name], value, rtol=0.1, atol=0.02)
    assert any(not torch.equal(bf16_logs[name], value) for name, value in fp32_logs.items())


@pytest.mark.slow
def test_bf16_keeps_weights_and_evaluation_in_fp32(tmp_path):
    trainer = trained(tmp_path, "factor_qvae", BF16)
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    plain = fresh(tmp_path / "plain", "factor_qvae")
    plain.model.load_state_dict(trainer.model.state_dict())
    plain.model.eval()
    x = next(trainer.training_images(16))
    with torch.inference_mode():
        # bf16 would be off by 1e-3; the order of sums in fp32 may depend on where the weights lie in memory.
        torch.testing.assert_close(trainer.model.encoder(x), plain.model.encoder(x), rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
def test_bf16_resumes_to_the_bit(tmp_path):
    whole = trained(tmp_path / "whole", "factor_vae", BF16)
    trainer = fresh(tmp_path / "parts", "factor_vae", BF16)
    with pytest.raises(Interrupted):
        trainer.run(tmp_path / "parts", should_stop=lambda: trainer.step == 5)
    assert same(state(whole), state(trained(tmp_path / "parts", "factor_vae", BF16)))


@pytest.mark.parametrize("precision", ["tf32", "fp32"])
def test_tf32_is_allowed_in_updates_only(tmp_path, precision):
    trainer = fresh(tmp_path, "beta_vae", f"training.precision={precision}")
    losses, flags = trainer.model.losses, []

    def watched(x, step, noise):
        flags.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return losses(x, step, noise)

    trainer.model.losses = watched
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    trainer.update()
    assert flags == [(precision == "tf32",) * 2]
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_another_precision_than_the_protocols_is_off_protocol():
    (protocol_spec,) = expand("qlae", "rooms3d", "1", "cpu")
    (fp32_spec,) = expand("qlae", "rooms3d", "1", "cpu", ["training.precision=fp32"])
    (bf16_spec,) = expand("qlae", "rooms3d", "1", "cpu", ["training.precision=bf16"])
    assert fp32_spec == protocol_spec
    assert bf16_spec.changed == (BF16,)
    assert bf16_spec.digest != protocol_spec.digest


WORDS = ["run", "--models", "beta_vae", "--datasets", "rooms3d", "--protocol", "smoke", "--seeds", "1", "--compile"]
FEW = ["--set", "training.updates=2", "--set", "scoring.train_images=100", "--set", "scoring.test_images=40"]


@pytest.mark.thorough
def test_the_record_says_whether_networks_were_compiled(tmp_path, dbench, monkeypatch):
    """By the command; the compiler itself, which takes a minute, is switched off."""
    monkeypatch.setattr(torch._dynamo.config, "disable", True)
    result = dbench(*WORDS, *FEW, "--set", BF16, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    (record,) = runs.load_records(tmp_path)
    assert record.content["environment"]["compile"] is True
    assert record.spec.training.precision == "bf16"
    assert not record.content["ranked"]
    assert "compile" not in record.spec.model_dump_json()


@pytest.mark.thorough
def test_a_machine_without_a_compiler_is_told_what_to_do(tmp_path):
    environment = os.environ | {"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("CXX", None)
    command = [sys.executable, "-m", "disentangle_bench", *WORDS, "--out", str(tmp_path / "out")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "--compile needs a C++ compiler: install one, such as g++, or leave --compile out" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("model", ["beta_vae", "factor_qvae"])
def test_compiled_networks_give_the_same_numbers_up_to_rounding(tmp_path, model):
    plain, compiled = fresh(tmp_path / "a", model), fresh(tmp_path / "b", model, compile=True)
    for _ in range(3):
        expected, actual = plain.update(), compiled.update()
        for name, value in expected.items():
            torch.testing.assert_close(actual[name], value, rtol=1e-3, atol=1e-5)
    assert list(plain.model.state_dict()) == list(compiled.model.state_dict())


@pytest.mark.parametrize(("flags", "warned"), [("fpu avx2", True), ("fpu avx512_bf16", False), ("amx_bf16", False)])
def test_bf16_on_a_cpu_without_its_instructions_is_called_slow(tmp_path, monkeypatch, caplog, flags, warned):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    fresh(tmp_path, "beta_vae", BF16)
    assert ("slower than fp32" in caplog.text) == warned
