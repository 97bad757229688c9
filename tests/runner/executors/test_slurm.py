"""Grids on a real Slurm: the bits of the local ones, whatever happens to the jobs on the way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.runner.executors.slurm_job import seconds
from disentangle_bench.runner.resources import Resources
from support.commands import GRID, LONG, until
from support.grid_runs import contents


@pytest.fixture
def both(command, slurm):
    """``both("--models", "qlae")`` are the same command for this machine and for Slurm."""

    def make(*options, slurm_options="poll=0.5"):
        executor_options = ["--executor", "slurm", "--slurm", slurm_options]
        return command("here", *options), command("there", *options, *executor_options, environment=slurm.environment)

    return make


def queue(slurm, form="%A|%T"):
    return [line.split("|") for line in slurm.command("squeue", "-h", "--array", "-o", form).splitlines()]


def job_of(pid):
    """The job of a process, in the form that Slurm's commands take for one of an array; and its own number."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    environment = dict(variable.partition("=")[::2] for variable in variables)
    return f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}", environment["SLURM_JOB_ID"]


def restarts(slurm, job):
    return int(re.search(r"Restarts=(\d+)", slurm.command("scontrol", "show", "job", job))[1])


@pytest.mark.slow
def test_a_grid_ends_with_the_same_bits(both):
    local_command, slurm_command = both("--models", "qlae,beta_vae", "--seeds", "1")
    local_command.complete(2)
    assert " started" in slurm_command.complete(2)
    assert contents(slurm_command.out) == contents(local_command.out)
    assert not list(slurm_command.out.glob("slurm/*")), "submitit's files go with the jobs"


@pytest.mark.thorough
def test_a_cancelled_job_is_reported_and_the_same_command_goes_on(both, slurm, undisturbed):
    _, slurm_command = both(*LONG)
    slurm_command.start()
    run_id, _ = slurm_command.training()
    ((job, _),) = queue(slurm)
    slurm.command("scancel", job)
    status, output = slurm_command.wait()
    assert status == 75, output
    assert f"left: {run_id}: stopped after update" in output
    assert "(its Slurm job was cancelled)" in output
    assert list(slurm_command.out.glob("runs/*/checkpoint.pt"))
    assert not list(slurm_command.out.glob("runs/*/*ed.json"))
    assert not queue(slurm), "a cancelled job must not come back"
    slurm_command.complete(1)
    assert contents(slurm_command.out) == undisturbed


@pytest.mark.slow
def test_a_job_told_to_end_is_requeued_also_while_slurmctld_is_away(both, slurm, undisturbed):
    """The signal is the one that Slurm sends before the time limit and on preemption. It goes to the job that has the
    number of its array: only this one may be requeued.
    """
    _, slurm_command = both(*LONG, "--seeds", "2")
    slurm_command.start()
    beats = [slurm_command.training(f"seed{seed}")[1] for seed in range(2)]
    jobs = {
        job: (number == job.partition("_")[0], beat["pid"]) for beat in beats for job, number in [job_of(beat["pid"])]
    }
    ((requeued_job, pid),) = ((job, pid) for job, (is_array, pid) in jobs.items() if is_array)
    (other,) = set(jobs) - {requeued_job}
    slurm.stop_controller()
    try:
        os.kill(pid, signal.SIGUSR2)
        until(lambda: list(slurm_command.out.glob("runs/*/checkpoint.pt")), "a checkpoint")
        time.sleep(2)
        assert slurm_command.process.poll() is None, "the command must wait for slurmctld"
    finally:
        slurm.start_controller()
    until(lambda: restarts(slurm, requeued_job), "the requeue")
    status, output = slurm_command.wait()
    assert status == 0, output
    assert "2 finished" in output
    assert " retried" not in output
    assert (restarts(slurm, requeued_job), restarts(slurm, other)) == (1, 0)
    assert undisturbed.items() <= contents(slurm_command.out).items()


@pytest.mark.thorough
def test_jobs_go_on_without_the_command_and_are_taken_over(both, slurm, undisturbed):
    _, slurm_command = both(*LONG)
    slurm_command.start()
    slurm_command.training()
    slurm_command.process.kill()
    slurm_command.process.communicate()
    ((job, state),) = queue(slurm)
    assert state == "RUNNING"
    slurm_command.start()
    time.sleep(3)
    assert [row[0] for row in queue(slurm)] == [job], "no second job"
    status, output = slurm_command.wait()
    assert status == 0, output
    assert "1 finished" in output
    assert contents(slurm_command.out) == undisturbed


@pytest.mark.thorough
def test_ctrl_c_cancels_the_jobs_with_checkpoints(both, slurm):
    _, slurm_command = both(*LONG)
    slurm_command.start()
    slurm_command.training()
    slurm_command.process.send_signal(signal.SIGINT)
    status, output = slurm_command.wait(60)
    assert status == 130, output
    assert "Traceback" not in output
    assert list(slurm_command.out.glob("runs/*/checkpoint.pt"))
    assert not queue(slurm)


@pytest.mark.thorough
def test_a_lost_job_is_submitted_once_more(both, slurm, undisturbed):
    _, slurm_command = both(*LONG)
    slurm_command.start()
    _, first = slurm_command.training()
    os.kill(first["pid"], signal.SIGKILL)
    status, output = slurm_command.wait()
    assert status == 0, output
    assert " retried" in output
    assert contents(slurm_command.out) == undisturbed


@pytest.mark.thorough
def test_a_job_lost_twice_is_a_failure(both, slurm):
    _, slurm_command = both(*LONG)
    slurm_command.start()
    _, first = slurm_command.training()
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: slurm_command.training()[1]["pid"] != first["pid"], "a second process")
    _, second = slurm_command.training()
    os.kill(second["pid"], signal.SIGKILL)
    status, output = slurm_command.wait()
    assert status == 1, output
    (failed,) = slurm_command.out.glob("runs/*/failed.json")
    content = json.loads(failed.read_text())
    assert "ended unexpectedly, 2 times: Slurm says FAILED" in content["error"]
    assert content["command"].startswith("dbench run --models beta_vae")


@pytest.mark.slow
def test_a_whole_grid_with_everything_at_once(both, slurm):
    """Three models and one long run. That reaches its real time limit, a job is cancelled half-way, and slurmctld is
    restarted in between.
    """
    limits = "poll=0.5,time=1,signal_delay_s=5"
    _, long_command = both(*LONG[:-1], "training.updates=2500", slurm_options=limits)
    options = ("--models", "beta_vae,factor_vae,qlae", "--seeds", "1", "--set", "training.updates=150")
    # Only the long run is to reach its limit: on a busy machine, scoring alone may take these a minute.
    local_command, slurm_command = both(*options, slurm_options="poll=0.5,time=10,signal_delay_s=5")
    long_command.start()
    long_run, _ = long_command.training()
    ((limited, _),) = queue(slurm)
    slurm_command.start()
    slurm_command.training("smoke-b")
    slurm.stop_controller()
    time.sleep(3)
    slurm.start_controller()
    cancelled, beat = slurm_command.training("factor_vae")
    slurm.command("scancel", job_of(beat["pid"])[0])
    status, output = slurm_command.wait()
    assert status == 75, output
    assert f"left: {cancelled}: stopped " in output
    assert "2 finished" in output
    status, output = long_command.wait()
    assert status == 0, output
    assert restarts(slurm, limited) > 0, f"{long_run} was not at its limit"
    slurm_command.complete(1)
    local_command.complete(3)
    runs = contents(slurm_command.out)
    del runs[long_run]
    assert runs == contents(local_command.out)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("gpu", "--slurm 'gpu' is not understood: give key=value"),
        ("time=", "--slurm 'time=' is not understood"),
        ("array=0-3", "--slurm array=... is set by dbench"),
        ("time=2", "--slurm time=2 .minutes. is too short"),
        ("poll=often", "--slurm poll=often is not understood: give a number above 0"),
        ("poll=0", "--slurm poll=0 is not understood: give a number above 0"),
        ("time=4h", "--slurm time=4h is not understood: give minutes .240., hours:minutes:seconds"),
        ("partion=gpu", "unknown key of --slurm 'partion'. Did you mean 'partition'?"),
    ],
)
def test_malformed_words(option, message):
    with pytest.raises(BenchError, match=message):
        parse_slurm(option)


def parse_slurm(option):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[slurm]'")
    from disentangle_bench.runner.executors.slurm import parse

    return parse(Resources(executor_settings=option, threads=2, jobs=3))


def test_words_that_submitit_does_not_know_go_to_sbatch():
    settings = parse_slurm("partition=gpu, time=90,gres=gpu:1,signal-delay-s=30,licenses=a:1,poll=0.5")
    assert settings.known() == {
        "partition": "gpu",
        "time": 90,
        "gres": "gpu:1",
        "cpus_per_task": 2,
        "array_parallelism": 3,
        "signal_delay_s": 30,
        "wckey": None,
    }
    assert settings.others() == {"licenses": "a:1", "signal": "B:USR2@30", "requeue": True}
    assert settings.poll == 0.5


@pytest.mark.parametrize("time", ["240", "90:00", "4:00:00", "1-12", "1-12:30:00", "UNLIMITED"])
def test_times_as_sbatch_takes_them(time):
    assert parse_slurm(f"time={time}").time == time


@pytest.mark.parametrize(
    ("time_left", "expected"),
    [("0:58", 58), ("1:00:01", 3601), ("2-00:00:10", 172810), ("UNLIMITED", float("inf")), ("INVALID", float("inf"))],
)
def test_the_time_a_job_has_left(time_left, expected):
    assert seconds(time_left) == expected


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line(both):
    _, slurm_command = both("--models", "qlae", "--seeds", "1", slurm_options="partition=nowhere")
    status, output = slurm_command.start().wait()
    assert status == 2, output
    assert "Slurm did not take the jobs: Batch job submission failed: Invalid partition" in output
    assert "Traceback" not in output
    assert not list(slurm_command.out.glob("slurm/*"))


@pytest.mark.slow
def test_the_script_in_the_documentation(command, slurm, tmp_path, undisturbed):
    """``dbench worker`` under a script of one's own: told to end, it is requeued and goes on; cancelled, it is not."""
    page = (Path(__file__).parents[3] / "docs" / "clusters.md").read_text()
    (script,) = (
        block for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) if block.startswith("#!/bin/bash")
    )
    script = script.replace("#SBATCH --gres=gpu:1\n", "").replace(
        "dbench worker", f"{sys.executable} -m disentangle_bench worker"
    )
    (tmp_path / "runs.sh").write_text(script.replace("results/cpu", "there"))
    grid = command("there", *LONG)
    plan_command = [sys.executable, "-m", "disentangle_bench", "plan", *GRID, *LONG, "--keep", "--out", str(grid.out)]
    run_id = subprocess.check_output(plan_command, text=True)
    (tmp_path / "runs.txt").write_text(run_id)
    submit = ["sbatch", "--parsable", "--array=1-1", f"--chdir={tmp_path}", str(tmp_path / "runs.sh")]
    array = slurm.command(*submit).strip()
    for name in ("requeued", "cancelled"):
        grid.training()
        ((job, _),) = queue(slurm)
        slurm.command("scancel", *(["--signal=TERM", "--batch"] if name == "requeued" else []), job)
        until(lambda: list(grid.out.glob("runs/*/checkpoint.pt")), "a checkpoint")
        until(lambda: not list(grid.out.glob("runs/*/progress.json")), "the end of the process")
    until(lambda: not queue(slurm), "the end of the cancelled job")
    assert restarts(slurm, f"{array}_1") == 1
    slurm.command(*submit)
    until(lambda: list(grid.out.glob("runs/*/record.json")), "a record")
    assert contents(grid.out) == undisturbed
