"""Grids on a real Ray: the bits of the local ones, also where a node is killed on the way."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.runner.resources import Resources
from support.commands import LONG, until
from support.grid_runs import contents

pytest.importorskip("ray", reason="ray is not installed: pip install '.[ray]'")
STORE = 100_000_000


@pytest.fixture
def cluster(monkeypatch):
    """A Ray of two nodes with one core each, and a head for the books only: ``(cluster, nodes)``."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster, [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    finally:
        cluster.shutdown()


def node_of(pid, nodes):
    """The node on which a process runs, by the parents of the process."""
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    while pid > 1:
        if pid in raylets:
            return raylets[pid]
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    raise AssertionError("on none of the nodes")


@pytest.fixture
def ray_command(command, cluster):
    """The command for the grid ``LONG`` on the cluster."""
    options = ["--executor", "ray", "--ray", f"address={cluster[0].address}", "--checkpoint-seconds", "0.5"]
    return command("there", *LONG, *options)


@pytest.mark.slow
def test_without_an_address_ray_is_started_here(command):
    options = ["--models", "qlae", "--seeds", "1"]
    local_command, ray_command = command("here", *options), command("there", *options, "--executor", "ray")
    local_command.complete(1)
    assert " done" in ray_command.complete(1)
    assert contents(ray_command.out) == contents(local_command.out)


@pytest.mark.slow
def test_a_whole_grid_with_a_node_killed(command, cluster):
    """Two models, two seeds, a node killed in the middle: the other ends it."""
    ray_cluster, nodes = cluster
    options = ["--models", "qlae,factor_vae", "--seeds", "2", "--set", "training.updates=60"]
    local_command, ray_command = (
        command("here", *options),
        command("there", *options, "--executor", "ray", "--ray", f"address={ray_cluster.address}"),
    )
    local_command.complete(4)
    ray_command.start()
    run_id, beat = ray_command.training()
    ray_cluster.remove_node(node_of(beat["pid"], nodes), allow_graceful=False)
    status, output = ray_command.wait()
    assert status == 0, output
    assert f"{run_id} retried" in output
    assert "4 finished" in output
    assert contents(ray_command.out) == contents(local_command.out)


@pytest.mark.thorough
def test_a_run_goes_on_from_its_checkpoint_when_its_node_is_killed(ray_command, cluster, undisturbed):
    ray_cluster, nodes = cluster
    ray_command.start()
    run_id, beat = ray_command.training()
    checkpoint = ray_command.out / "runs" / run_id / "checkpoint.pt"
    until(checkpoint.exists, "a checkpoint")
    node = node_of(beat["pid"], nodes)
    ray_cluster.remove_node(node, allow_graceful=False)
    until(lambda: ray_command.training()[1]["pid"] != beat["pid"], "another process")
    _, second = ray_command.training()
    assert node_of(second["pid"], [other for other in nodes if other is not node])
    assert second["done"] > 1, "from the checkpoint, not from the start"
    status, output = ray_command.wait()
    assert status == 0, output
    assert f"{run_id} retried" in output
    assert contents(ray_command.out) == undisturbed


@pytest.mark.thorough
def test_a_process_lost_twice_is_a_failure(ray_command):
    ray_command.start()
    _, first = ray_command.training()
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: ray_command.training()[1]["pid"] != first["pid"], "a second process")
    os.kill(ray_command.training()[1]["pid"], signal.SIGKILL)
    status, output = ray_command.wait()
    assert status == 1, output
    (failed,) = ray_command.out.glob("runs/*/failed.json")
    assert "ended unexpectedly, 2 times: WorkerCrashedError" in json.loads(failed.read_text())["error"]


@pytest.mark.thorough
def test_ctrl_c_leaves_checkpoints_and_the_same_command_goes_on(ray_command, undisturbed):
    ray_command.start()
    run_id, _ = ray_command.training()
    ray_command.process.send_signal(signal.SIGINT)
    status, output = ray_command.wait(60)
    assert status == 130, output
    assert f"{run_id} stopped: stopped after update" in output
    assert "Traceback" not in output
    assert list(ray_command.out.glob("runs/*/checkpoint.pt"))
    ray_command.complete(1)
    assert contents(ray_command.out) == undisturbed


def test_what_a_run_takes_of_a_cluster():
    from disentangle_bench.runner.executors.ray import shares

    gpus = {"CPU": 64.0, "GPU": 4.0}
    assert shares(Resources(threads=2), {"CPU": 8.0}) == ("cpu", {"num_cpus": 2, "num_gpus": 0})
    assert shares(Resources(runs_per_device=2), gpus) == ("cuda", {"num_cpus": 1, "num_gpus": 0.5})
    assert shares(Resources(devices="cpu", runs_per_device=2), gpus) == ("cpu", {"num_cpus": 1, "num_gpus": 0})


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"devices": "cuda:1"}, "give auto or cpu or cuda"),
        ({"executor_settings": "adress=auto"}, "unknown setting of --ray 'adress'. Did you mean 'address'?"),
        ({"threads": 10**6}, "--threads 1000000 is more than this machine's"),
        ({"jobs": 0}, "--jobs 0 does runs in this process"),
    ],
)
def test_what_no_cluster_can_give(resources, message):
    from disentangle_bench.runner.executors.ray import parse

    with pytest.raises(BenchError, match=re.escape(message)):
        parse(Resources(**resources))


@pytest.mark.slow
def test_an_address_that_nobody_has_is_one_line(command):
    ray_command = command(
        "there", "--models", "qlae", "--seeds", "1", "--executor", "ray", "--ray", "address=127.0.0.1:9"
    )
    status, output = ray_command.start().wait()
    assert status == 2, output
    assert "--ray address=127.0.0.1:9 cannot be reached" in output
    assert "Traceback" not in output
