"""Tests the FactorQVAE paper's claims on the runs of results folders, and writes them into ``claims.md``.

    python docs/results/claims.py RESULTS [RESULTS ...]

A claim is a contrast: the mean of some rows minus the mean of others, by dataset and score. The interval resamples the
seeds of each row on their own; the probability of improvement is the mean over pairs of rows.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from disentangle_bench.atomic import write_text
from disentangle_bench.report.statistics import LEVEL, probability_of_improvement, resampled_means
from disentangle_bench.spec import Scalar
from disentangle_bench.store.runs import Record, load_records

PAGE = Path(__file__).with_name("claims.md")
MARKED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
PROTOCOL = ("cpu", 2)
FEWEST = 3
"""Seeds of each row that a contrast needs."""

SCORES = {
    "dci.disentanglement": True,
    "dci.completeness": True,
    "dci.informativeness": True,
    "infomec.modularity": True,
    "infomec.explicitness": True,
    "infomec.compactness": True,
    "mse.mse": False,
}
"""The scores that are compared, and whether more is better."""

Values: TypeAlias = dict[tuple[str, str], npt.NDArray[np.float64]]
"""One row's values over seeds, by dataset and score."""


@dataclass(frozen=True)
class Row:
    """A model, with the settings that a user changed: none for a row under the protocol."""

    model: str
    changes: Mapping[str, Scalar] = field(default_factory=dict)

    def holds(self, record: Record) -> bool:
        """Whether a record is a run of this row."""
        changed = tuple(f"model.{key}={value}" for key, value in sorted(self.changes.items()))
        protocol = (record.spec.protocol, record.spec.protocol_version)
        return record.spec.model == self.model and record.spec.changed == changed and protocol == PROTOCOL


@dataclass(frozen=True)
class Claim:
    """What is claimed, and the rows whose means are subtracted: ``first`` minus ``second``."""

    text: str
    first: tuple[Row, ...]
    second: tuple[Row, ...]


SIX = ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae")
FACTOR_QVAE = Row("factor_qvae")
CLAIMS = (
    Claim(
        "Discrete latents are better than continuous ones",
        (Row("vq_vae"), Row("qlae"), FACTOR_QVAE),
        (Row("beta_vae"), Row("factor_vae"), Row("beta_tcvae")),
    ),
    Claim("Scalars are better than vectors", (FACTOR_QVAE,), (Row("factor_qvae", {"embedding_dim": 16}),)),
    Claim(
        "One global codebook is better than one per latent",
        (FACTOR_QVAE,),
        (Row("factor_qvae", {"codebook": "per_latent"}),),
    ),
    Claim("Total correlation helps", (FACTOR_QVAE,), (Row("q_vae"),)),
    *(Claim(f"FactorQVAE is better than {model}", (FACTOR_QVAE,), (Row(model),)) for model in SIX),
    Claim("The same dose helps QVAE", (Row("q_vae"),), (Row("q_vae", {"temperature_decay": 1e-5}),)),
    Claim("The same dose helps FactorQVAE", (FACTOR_QVAE,), (Row("factor_qvae", {"temperature_decay": 1e-5}),)),
    Claim("The same dose helps QLAE", (Row("qlae"),), (Row("qlae", {"weight_decay": 0.1}),)),
)


@dataclass(frozen=True)
class Contrast:
    """One claim on one dataset and score: the difference of means, its interval, and the probability of improvement."""

    dataset: str
    score: str
    difference: float
    low: float
    high: float
    probability: float
    seeds: int


def values(row: Row, records: Sequence[Record]) -> Values:
    """The values of a row over its seeds."""
    by_key: dict[tuple[str, str], dict[int, float]] = {}
    for record in filter(row.holds, records):
        for score in record.scores:
            name = f"{score['metric']}.{score['score']}"
            by_key.setdefault((record.spec.dataset, name), {})[record.spec.seed] = score["value"]
    return {key: np.array([by_seed[seed] for seed in sorted(by_seed)]) for key, by_seed in by_key.items()}


def contrasts(claim: Claim, records: Sequence[Record]) -> list[Contrast]:
    """The claim on every dataset and score of which all its rows have enough seeds."""
    sides = [[values(row, records) for row in rows] for rows in (claim.first, claim.second)]
    rows = []
    for dataset in sorted({key[0] for side in sides for row in side for key in row}):
        for score, higher in SCORES.items():
            first, second = ([row.get((dataset, score), np.empty(0)) for row in side] for side in sides)
            if min(map(len, first + second)) < FEWEST or not np.isfinite(np.concatenate(first + second)).all():
                continue
            streams = iter(range(len(first) + len(second)))
            means = [np.mean([x.mean() for x in side]) for side in (first, second)]
            draws = [np.mean([resampled_means(x, next(streams)) for x in side], axis=0) for side in (first, second)]
            low, high = np.quantile(draws[0] - draws[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            pairs = [probability_of_improvement(x, y, higher) for x in first for y in second]
            seeds = min(map(len, first + second))
            difference = float(means[0] - means[1])
            rows.append(Contrast(dataset, score, difference, float(low), float(high), float(np.mean(pairs)), seeds))
    return rows


def verdict(contrast: Contrast) -> str:
    """What the interval says, and no more."""
    if contrast.low <= 0 <= contrast.high:
        return "not decided"
    return "for" if (contrast.difference > 0) == SCORES[contrast.score] else "against"


def section(claim: Claim, records: Sequence[Record]) -> str:
    """A claim's heading and table."""
    head = f"### {claim.text}\n\n"
    rows = contrasts(claim, records)
    if not rows:
        return head + f"Not tested: fewer than {FEWEST} seeds of one of its rows.\n"
    lines = [
        "| dataset | score | difference | 95 % interval | probability of improvement | seeds | the interval speaks |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        digits = 5 if row.score == "mse.mse" else 3
        ends = f"{row.low:+.{digits}f} to {row.high:+.{digits}f}"
        lines.append(
            f"| {row.dataset} | {row.score} | {row.difference:+.{digits}f} | {ends} | {row.probability:.2f} | {row.seeds} "
            f"| {verdict(row)} |"
        )
    return head + "\n".join(lines) + "\n"


def page(text: str, folders: Sequence[Path]) -> str:
    """The page with the contrasts of all records in these folders."""
    records = [record for folder in folders for record in load_records(folder)]
    body = "\n".join(section(claim, records) for claim in CLAIMS)
    return MARKED.sub(lambda match: f"{match[1]}\n{body}\n{match[2]}", text)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(f"usage: python {sys.argv[0]} RESULTS [RESULTS ...]")
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8"), [Path(word) for word in sys.argv[1:]]))
