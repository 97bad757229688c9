"""Scores of all runs of a folder: one run's fault is not the others', and no file of the current folder is executed."""

from __future__ import annotations

import numpy as np

from disentangle_bench.scoring.score import score_results
from disentangle_bench.store import runs
from support import records


def test_damaged_runs_are_named_and_the_others_are_scored(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    names = []
    for seed in range(3):
        folder = records.write_run(tmp_path, records.spec("qlae", seed))
        factors = rng.integers(0, 3, (90, 2))
        np.savez(folder / "codes.npz", codes=factors + 0.1 * rng.normal(size=factors.shape), factors=factors)
        names.append(folder.name)
    (tmp_path / "runs" / names[0] / "codes.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "runs" / names[1] / "matrices.npz").write_bytes(b"PK\x03\x04")
    for module in ("multiprocessing", "signal", "pickle", "pandas"):
        (tmp_path / f"{module}.py").write_text("import os; os._exit(3)")
    monkeypatch.chdir(tmp_path)
    seen = []
    found, failed = score_results(tmp_path, "mig", [], jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert sorted(failed) == sorted(names[:2])
    assert "codes.npz" in failed[names[0]]
    assert names[1] in failed[names[1]]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    scored = {record.folder.name for record in found for row in record.scores if row["metric"] == "mig"}
    assert scored == {names[2]}
    assert runs.read_records(tmp_path).problems == {}
