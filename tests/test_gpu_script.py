"""The scripts of ``benchmarks`` run to their ends, small, on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from disentangle_bench.store.runs import load_records

ROOT = Path(__file__).parents[1]


@pytest.mark.thorough
@pytest.mark.parametrize("stage", ["updates", "layouts", "shared", "evidence"])
def test_a_stage_of_the_gpu_script(tmp_path, stage):
    env = {**os.environ, "DEVICE": "cpu", "TINY": "1"}
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(tmp_path), stage]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "stages.jsonl").read_text()) | {"seconds": 0} == {
        "stage": stage,
        "seconds": 0,
        "status": 0,
    }
    if stage == "evidence":
        for dataset in ("rooms3d", "dsprites_rendered"):
            records = load_records(tmp_path / "results" / dataset)
            assert [record.spec.model for record in records] == ["beta_vae", "factor_qvae"]
        return
    rows = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert rows
    assert not [row["error"] for row in rows if "error" in row]


@pytest.mark.thorough
def test_the_comparison_with_other_libraries():
    command = [sys.executable, str(ROOT / "benchmarks" / "side_by_side.py"), "--tiny"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines() if line[:1] == "|"]
    by = [row[1].split()[0] for row in rows[2:]]
    assert by.count("disentangle-bench") == 3
    assert {"bare", "disent", "pythae", "scikit-learn", "PNG"} < set(by)
    assert all(row[2] for row in rows)
