"""One run: what it refuses before it trains, and what it keeps when it is resumed."""

from __future__ import annotations

import errno
import fcntl
import json
import os

import pytest
import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.rooms3d import Rooms3D
from disentangle_bench.errors import BenchError
from disentangle_bench.models.ae import AE
from disentangle_bench.registry import MODELS, Entry
from disentangle_bench.runner import attempt as attempts
from disentangle_bench.runner.environment import PARTS
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import check_plugins, check_writable
from disentangle_bench.scoring.score import Scores
from disentangle_bench.store import runs
from disentangle_bench.training.checkpoints import CHECKPOINT, PREVIOUS, read_checkpoint, write_checkpoint
from disentangle_bench.training.trainer import Trainer


@pytest.fixture
def spec():
    return resolve("ae", "rooms3d", "smoke", 0, ["training.updates=4"]).spec


def attempt(spec, out, stop_at=None, **resources):
    """Attempt a run here; ``stop_at`` is an update after which it is asked to stop."""
    done = 0

    def report(phase, step, total):
        nonlocal done
        done = step

    resources = Resources(devices="cpu", checkpoint_seconds=0, **resources)
    return attempts.attempt(spec, out, resources, report, lambda: done == stop_at)


@pytest.mark.slow
def test_a_run_resumed_with_other_threads_keeps_both_parts(spec, tmp_path, monkeypatch, caplog):
    """It has the bits of neither one nor two threads, so the record must not say two alone."""
    monkeypatch.setattr(attempts, "score", lambda *arguments: Scores())
    assert attempt(spec, tmp_path, stop_at=2) == ("stopped", "stopped after update 2 of 4")
    assert attempt(spec, tmp_path, threads=2) == ("done", "")
    record = runs.read_record(runs.run_folder(tmp_path, spec))
    parts = [(part["from_update"], part["threads"]) for part in record.content["parts"]]
    assert parts == [(0, 1), (2, 2)]
    assert "is resumed in another environment (threads 1 -> 2)" in caplog.text
    assert not (record.folder / PARTS).exists()


def test_a_run_in_one_environment_has_no_parts(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "score", lambda *arguments: Scores())
    attempt(spec, tmp_path, stop_at=2)
    attempt(spec, tmp_path)
    assert "parts" not in runs.read_record(runs.run_folder(tmp_path, spec)).content


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_what_has_another_version_than_planned_is_refused(spec, tmp_path, kind):
    planned = spec.model_copy(update={f"{kind}_version": 99})
    outcome, message = attempt(planned, tmp_path)
    assert outcome == "failed"
    assert f"the {kind} {getattr(spec, kind)!r} is version " in message
    assert "planned with version 99: give dbench run or dbench plan --keep again" in message
    assert not list(tmp_path.glob("runs/*/checkpoint.pt"))


def test_a_checkpoint_that_can_be_read_and_not_used_is_skipped(spec, tmp_path, caplog):
    """The generation before it is taken; without one, training begins anew."""
    dataset, device = Rooms3D.load(tmp_path), torch.device("cpu")
    trainer = Trainer(spec, dataset, device)
    for _ in range(2):
        trainer.update()
        trainer.save(tmp_path)
    content = (tmp_path / PREVIOUS).read_bytes()
    state = read_checkpoint(tmp_path / CHECKPOINT)
    state["model"].popitem()
    write_checkpoint(tmp_path, state)
    (tmp_path / PREVIOUS).write_bytes(content)
    resumed = Trainer(spec, dataset, device)
    resumed.restore(tmp_path)
    assert resumed.step == 1
    assert f"{CHECKPOINT} cannot be used and is skipped" in caplog.text
    write_checkpoint(tmp_path, state)
    resumed = Trainer(spec, dataset, device)
    resumed.restore(tmp_path)
    assert resumed.step == 0
    initial_state = Trainer(spec, dataset, device).model.state_dict()
    assert all(torch.equal(tensor, initial_state[name]) for name, tensor in resumed.model.state_dict().items())


class Plain(torch.nn.Module):
    """No model of the suite's at all."""


class WrongShape(AE):
    """Breaks one rule: what it decodes has another shape."""

    def decode(self, codes):
        return super().decode(codes)[..., :-1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Plain", "the model 'mine' (Plain) has no 'version'"),
        ("WrongShape", "the model 'mine' breaks the suite's contract: "),
        ("Missing", "cannot be imported"),
    ],
)
def test_a_plugin_that_breaks_the_contract_is_found_before_training(spec, monkeypatch, name, message):
    monkeypatch.setitem(MODELS.entries, "mine", Entry("mine", f"{__name__}:{name}", "", group="plugin"))
    with pytest.raises(BenchError) as error:
        check_plugins([spec.model_copy(update={"model": "mine"})])
    assert message in str(error.value)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_line(monkeypatch, tmp_path, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BenchError, match=r"file system without file locks .* give a folder on another"):
        check_writable(tmp_path / "out")


def test_the_command_of_a_failure_names_the_data_and_the_threads(spec, tmp_path):
    attempt(spec.model_copy(update={"model_version": 99}), tmp_path, threads=2, data=tmp_path / "data")
    (path,) = tmp_path.glob("runs/*/failed.json")
    assert json.loads(path.read_text())["command"].endswith(f"--data-dir {tmp_path / 'data'} --threads 2")
