"""Tasks in processes: every one is answered, a killed process costs its task only, and an interruption ends all."""

from __future__ import annotations

import os
import signal
import time

import pytest

from disentangle_bench.processes import answers, further_tasks

TARGET = "test_processes:square"


def square(first, channel):
    """Answer numbers by their squares; 13 kills the process, and -1 takes for ever."""
    for task in further_tasks(first):
        if task == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if task == -1:
            channel.send(os.getpid())
            time.sleep(600)
        channel.send(task**2)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")]))


def test_every_task_is_answered_and_a_killed_process_costs_its_own():
    tasks = [1, 2, 13, 3, 4, 5]
    assert dict(answers(TARGET, tasks, 2)) == {0: 1, 1: 4, 2: None, 3: 9, 4: 16, 5: 25}


def test_leaving_kills_the_processes():
    working = answers(TARGET, [-1, -1, -1], 2)
    _, pid = next(working)
    working.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
