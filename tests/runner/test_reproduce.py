"""A recorded run again: what is equal, close or different, and why it may be."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from click.testing import CliRunner

from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.runner.reproduce import FOLDER, compare, reproduce
from disentangle_bench.runner.resources import Resources
from disentangle_bench.store import runs
from support import records

SCORES = {"dci.disentanglement": 0.5, "dci.completeness": 0.5, "mse.mse": 0.004, "infomec.modularity": math.nan}


def run(out, scores, **values):
    spec = records.spec("qlae", 0)
    folder = records.write_run(out, spec, scores, **values)
    records.write_history(folder, "qlae", 0)
    return runs.read_record(folder)


def test_verdicts_and_reasons(tmp_path):
    before = run(tmp_path / "a", SCORES, environment={"torch": "2.0", "device": "cpu"})
    scores = {**SCORES, "dci.completeness": 0.502, "mse.mse": 0.005}
    after = run(tmp_path / "b", scores, environment={"torch": "2.1", "device": "cpu"}, package={"version": "0.2.0"})
    path = after.folder / "history.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3][:-1] + ("1" if lines[3][-1] != "1" else "2")
    path.write_text("\n".join(lines))
    comparison = compare(before, after)
    verdicts = {row.score.partition(" ")[0]: row.verdict for row in comparison.comparisons}
    assert verdicts == {"dci.disentanglement": "equal", "dci.completeness": "close", "mse.mse": "different",
                        "infomec.modularity": "equal"}  # fmt: skip
    assert comparison.training == f"training first differs at update {lines[3].split(',')[0]}"
    assert comparison.reasons == ["torch: 2.0 then, 2.1 now", "package version: 0.1.0 then, 0.2.0 now"]
    assert not comparison.agrees
    assert compare(before, before).training == "training is equal in all 60 rows of its history"
    assert compare(before, before).agrees
    (before.folder / "history.csv").unlink()
    assert "cannot be compared" in compare(before, after).training


def test_what_cannot_be_reproduced(tmp_path):
    with pytest.raises(BenchError, match="there is no finished run in"):
        reproduce(tmp_path / "runs" / "x", Resources(data=tmp_path))
    folder = records.write_run(tmp_path, records.spec("qlae", 0, model_version=99))
    with pytest.raises(BenchError, match="of version 99 of the model 'qlae', here is version 1"):
        reproduce(folder, Resources(data=tmp_path))
    assert not (tmp_path / FOLDER).exists()


def test_a_run_is_equal_to_itself(smoke_grid, tmp_path):
    """The same spec on the same machine gives every score to the bit; an edited record has one that is different."""
    source = next(path for path in runs.run_folders(smoke_grid[0]) if "qlae" in path.name)
    folder = shutil.copytree(source, tmp_path / "runs" / source.name)
    before = (folder / "record.json").read_bytes()
    result = CliRunner().invoke(main, ["reproduce", str(folder), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "different" not in result.output
    assert "training is equal in all" in result.output
    assert (folder / "record.json").read_bytes() == before
    content = json.loads(before)
    content["scores"][0]["value"] += 0.25
    runs.write_record(folder, content)
    result = CliRunner().invoke(main, ["reproduce", str(folder), "--device", "cpu"])
    assert result.exit_code == 1, result.output
    assert result.output.count("different") == 1
