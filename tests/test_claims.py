"""Contrasts of claims: differences, intervals and what they are said to show, on records whose numbers are known."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.store.runs import load_records
from support.records import spec, write_run

ROOT = Path(__file__).parents[1]
claims = runpy.run_path(str(ROOT / "docs" / "results" / "claims.py"))


@pytest.fixture
def results(tmp_path):
    """Five seeds of FactorQVAE and of QVAE: disentanglement 0.5 apart, completeness alike, error lower by 0.001."""
    rng = np.random.default_rng(0)
    for model, level, error in (("factor_qvae", 0.8, 0.003), ("q_vae", 0.3, 0.004)):
        for seed in range(5):
            noise = 0.01 * rng.standard_normal(3)
            scores = {"dci.disentanglement": level + noise[0], "dci.completeness": 0.5 + 10 * noise[1]}
            write_run(tmp_path, spec(model, seed, protocol_version=2), scores | {"mse.mse": error + 0.001 * noise[2]})
    return load_records(tmp_path)


def test_a_contrast_says_what_its_interval_says_and_no_more(results):
    claim = next(claim for claim in claims["CLAIMS"] if claim.text == "Total correlation helps")
    rows = {row.score: row for row in claims["contrasts"](claim, results)}
    assert set(rows) == {"dci.disentanglement", "dci.completeness", "mse.mse"}
    best = rows["dci.disentanglement"]
    assert best.difference == pytest.approx(0.5, abs=0.02)
    assert 0.45 < best.low < best.difference < best.high < 0.55
    assert best.probability == 1
    assert best.seeds == 5
    verdicts = {score: claims["verdict"](row) for score, row in rows.items()}
    assert verdicts == {"dci.disentanglement": "for", "dci.completeness": "not decided", "mse.mse": "for"}


def test_a_claim_turned_round_is_spoken_against(results):
    reversed_claim = claims["Claim"]("turned", (claims["Row"]("q_vae"),), (claims["Row"]("factor_qvae"),))
    row = next(row for row in claims["contrasts"](reversed_claim, results) if row.score == "dci.disentanglement")
    assert claims["verdict"](row) == "against"
    assert row.probability == 0


def test_rows_of_other_settings_or_versions_are_not_taken_for_the_protocols(tmp_path):
    for seed in range(3):
        write_run(tmp_path, spec("factor_qvae", seed, protocol_version=2, changed=("model.gamma=0.001",)), None)
        write_run(tmp_path, spec("q_vae", seed, protocol_version=1), None)
    records = load_records(tmp_path)
    assert all("Not tested" in claims["section"](claim, records) for claim in claims["CLAIMS"])


def test_the_page_has_a_place_for_the_tables():
    page = (ROOT / "docs" / "results" / "claims.md").read_text(encoding="utf-8")
    assert "Not tested" in claims["page"](page, [])
