"""Grids on a real Slurm: the bits of the local ones, whatever happens to the jobs on the way."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from grids import LONG, contents, until


@pytest.fixture
def both(command, slurm):
    """``both("--models", "qlae")`` are the same command for this machine and for Slurm."""

    def make(*words, slurm_words="poll=0.5"):
        there = ["--executor", "slurm", "--slurm", slurm_words]
        return command("here", *words), command("there", *words, *there, environment=slurm.environment)

    return make


def queue(slurm, form="%A|%T"):
    return [line.split("|") for line in slurm.command("squeue", "-h", "--array", "-o", form).splitlines()]


def test_a_grid_ends_with_the_same_bits(both):
    here, there = both("--models", "qlae,beta_vae", "--seeds", "1")
    here.complete(2)
    assert " started" in there.complete(2)
    assert contents(there.out) == contents(here.out)
    assert not list(there.out.glob("slurm/*")), "submitit's files go with the jobs"


def test_a_cancelled_job_is_reported_and_the_same_command_goes_on(both, slurm, undisturbed):
    _, there = both(*LONG)
    there.start()
    run_id, _ = there.training()
    ((job, _),) = queue(slurm)
    slurm.command("scancel", job)
    status, printed = there.wait()
    assert status == 0, printed
    assert f"left: {run_id}: stopped after update" in printed
    assert "(its Slurm job was cancelled)" in printed
    assert list(there.out.glob("runs/*/checkpoint.pt"))
    assert not list(there.out.glob("runs/*/*ed.json"))
    assert not queue(slurm), "a cancelled job must not come back"
    there.complete(1)
    assert contents(there.out) == undisturbed


@pytest.mark.slow
def test_a_job_told_to_end_is_requeued_also_while_slurmctld_is_away(both, slurm, undisturbed):
    """The signal is the one that Slurm sends before the time limit and on preemption."""
    _, there = both(*LONG)
    there.start()
    _, beat = there.training()
    ((job, _),) = queue(slurm)
    slurm.stop_controller()
    try:
        os.kill(beat["pid"], signal.SIGUSR2)
        until(lambda: list(there.out.glob("runs/*/checkpoint.pt")), "a checkpoint")
        time.sleep(2)
        assert there.process.poll() is None, "the command must wait for slurmctld"
    finally:
        slurm.start_controller()
    until(lambda: "Restarts=1" in slurm.command("scontrol", "show", "job", job), "the requeue")
    status, printed = there.wait()
    assert status == 0, printed
    assert "1 finished" in printed
    assert contents(there.out) == undisturbed


@pytest.mark.slow
def test_jobs_go_on_without_the_command_and_are_taken_over(both, slurm, undisturbed):
    _, there = both(*LONG)
    there.start()
    there.training()
    there.process.kill()
    there.process.communicate()
    ((job, state),) = queue(slurm)
    assert state == "RUNNING"
    there.start()
    time.sleep(3)
    assert [row[0] for row in queue(slurm)] == [job], "no second job"
    status, printed = there.wait()
    assert status == 0, printed
    assert "1 finished" in printed
    assert contents(there.out) == undisturbed


def test_ctrl_c_cancels_the_jobs_with_checkpoints(both, slurm):
    _, there = both(*LONG)
    there.start()
    there.training()
    began = time.monotonic()
    there.process.send_signal(signal.SIGINT)
    status, printed = there.wait()
    assert time.monotonic() - began < 15
    assert status == 130, printed
    assert "Traceback" not in printed
    assert list(there.out.glob("runs/*/checkpoint.pt"))
    assert not queue(slurm)


@pytest.mark.slow
def test_a_lost_job_is_submitted_once_more(both, slurm, undisturbed):
    _, there = both(*LONG)
    there.start()
    _, first = there.training()
    os.kill(first["pid"], signal.SIGKILL)
    status, printed = there.wait()
    assert status == 0, printed
    assert " retried" in printed
    assert contents(there.out) == undisturbed


@pytest.mark.slow
def test_a_job_lost_twice_is_a_failure(both, slurm):
    _, there = both(*LONG)
    there.start()
    _, first = there.training()
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: there.training()[1]["pid"] != first["pid"], "a second process")
    _, second = there.training()
    os.kill(second["pid"], signal.SIGKILL)
    status, printed = there.wait()
    assert status == 1, printed
    (failed,) = there.out.glob("runs/*/failed.json")
    content = json.loads(failed.read_text())
    assert "ended unexpectedly, 2 times: Slurm says FAILED" in content["error"]
    assert content["command"].startswith("dbench run --models beta_vae")


@pytest.mark.slow
def test_a_whole_grid_with_everything_at_once(both, slurm):
    """All models, two seeds. Jobs reach their real time limit, one is cancelled, slurmctld is restarted."""
    words = ["--models", "all", "--seeds", "2"]
    here, there = both(*words, slurm_words="poll=0.5,time=1,signal_delay_s=5")
    long_here, long_there = both(*LONG[:-1], "training.updates=2000", slurm_words="poll=0.5,time=1,signal_delay_s=5")
    long_there.start()
    run_id, _ = long_there.training()
    ((limited, _),) = queue(slurm)
    there.start()
    there.training()
    slurm.stop_controller()
    time.sleep(3)
    slurm.start_controller()
    others = until(lambda: [job for job, state in queue(slurm) if job != limited and state == "RUNNING"], "a job")
    slurm.command("scancel", others[0])
    status, printed = there.wait()
    assert status == 0, printed
    assert "left: " in printed
    until(lambda: "Restarts=0" not in slurm.command("scontrol", "show", "job", limited), f"{run_id} at its limit")
    there.start()
    status, printed = there.wait()
    assert status == 0, printed
    status, printed = long_there.wait()
    assert status == 0, printed
    here.complete(12)
    long_here.complete(1)
    assert len(contents(here.out)) == 13
    assert contents(there.out) == contents(here.out)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gpu", "--slurm 'gpu' is not understood: give key=value"),
        ("time=", "--slurm 'time=' is not understood"),
        ("array=0-3", "--slurm array=... is set by dbench"),
        ("time=2", "--slurm time=2 (minutes) is too short"),
        ("poll=often", "--slurm poll=often is not understood: give a number above 0"),
        ("poll=0.5,partition=nowhere", "Slurm did not take the jobs: Batch job submission failed: Invalid partition"),
        ("poll=0.5,no_such_option=1", "Slurm did not take the jobs"),
    ],
)
def test_what_slurm_does_not_take_is_one_line(both, given, said):
    _, there = both("--models", "qlae", "--seeds", "1", slurm_words=given)
    status, printed = there.start().wait()
    assert status == 2, printed
    assert said in printed
    assert "Traceback" not in printed
    assert not list(there.out.glob("slurm/*"))
