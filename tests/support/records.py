"""Synthetic results folders for the report's tests: what ``dbench run`` would have left behind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from disentangle_bench.config.protocols import PROTOCOLS
from disentangle_bench.spec import RunSpec

MODELS = ("beta_vae", "factor_vae", "beta_tcvae", "vq_vae", "qlae", "factor_qvae")
FACTORS = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
SCORES = (
    ("dci", "disentanglement", True, "", 0.3, 0.6),
    ("dci", "completeness", True, "", 0.3, 0.5),
    ("dci", "informativeness", True, "", 0.7, 0.25),
    ("infomec", "modularity", True, "", 0.3, 0.5),
    ("infomec", "explicitness", True, "", 0.6, 0.35),
    ("infomec", "compactness", True, "", 0.2, 0.5),
    ("mse", "mse", False, "", 0.002, 0.006),
    ("mse", "psnr", True, "dB", 22.0, 6.0),
)
EXTRA = {
    "factor_vae": ("kl", "tc", "discriminator"),
    "factor_qvae": ("kl", "tc", "discriminator"),
    "beta_tcvae": ("mi", "tc", "dimension_kl"),
    "beta_vae": ("kl",),
}


def spec(model: str = "beta_vae", seed: int = 0, /, **values: Any) -> RunSpec:
    """A spec by the protocol ``cpu``, but for ``values``."""
    protocol = PROTOCOLS[values.get("protocol", "cpu")]
    content: dict[str, Any] = {
        "model": model,
        "model_version": 1,
        "dataset": "rooms3d",
        "dataset_version": 1,
        "protocol": protocol.name,
        "protocol_version": 1,
        "seed": seed,
        "settings": {"latents": 10, "beta": 1.0},
        "training": protocol.training,
        "scoring": protocol.scoring,
    }
    return RunSpec.model_validate(content | values)


def content(run: RunSpec, scores: dict[str, float | None] | None = None, **values: Any) -> dict[str, Any]:
    """What ``record.json`` of this run says; ``scores`` by full name, plausible ones if None."""
    if scores is None:
        rng = np.random.default_rng([run.seed, sum(map(ord, run.model))])
        level = np.random.default_rng(sum(map(ord, run.model))).uniform(0.2, 0.9)
        # What is good for disentanglement is not good for reconstruction, more or less.
        scores = {
            f"{metric}.{name}": low + spread * float(np.clip(level + rng.normal(0, 0.08), 0, 1))
            for metric, name, _, _, low, spread in SCORES
        }
    details = {f"{metric}.{name}": (higher, unit) for metric, name, higher, unit, _, _ in SCORES}
    rows = []
    for full, value in scores.items():
        metric, _, name = full.partition(".")
        higher, unit = details.get(full, (True, ""))
        finite = value is not None and math.isfinite(value)
        row = {"metric": metric, "score": name, "value": value if finite else None, "higher_is_better": higher}
        rows.append(
            row | {"unit": unit, "variant": run.scoring.metrics.get(metric, "default"), "version": 1, "paper": ""}
        )
    record = {
        "schema": 1,
        "run_id": run.run_id,
        "digest": run.digest,
        "spec": run.model_dump(mode="json"),
        "ranked": (run.protocol not in PROTOCOLS or PROTOCOLS[run.protocol].ranked) and not run.changed,
        "dataset": {"factor_names": list(FACTORS), "factor_sizes": [10, 10, 10, 8, 4, 15]},
        "package": {"version": "0.1.0", "commit": "abc"},
        "environment": {"python": "3.11", "device": "cpu"},
        "parameters": 500_000,
        "seconds": {"training": 100.0, "encoding": 1.0, "metrics": {"dci": 2.0}},
        "scores": rows,
        "notes": {},
        "finished": "2026-11-24T03:00:00+00:00",
    }
    return record | values


def write_run(out: Path, run: RunSpec, scores: dict[str, float | None] | None = None, **values: Any) -> Path:
    """Write the run's ``record.json``; gives its folder."""
    folder = out / "runs" / run.run_id.translate({0: "_", ord("/"): "_"})[-120:]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(content(run, scores, **values)), encoding="utf-8")
    return folder


def write_failure(out: Path, run: RunSpec, error: str) -> Path:
    """Write the run's ``failed.json``; gives its folder."""
    folder = out / "runs" / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    failure = {"schema": 1, "run_id": run.run_id, "spec": run.model_dump(mode="json"), "error": error}
    (folder / "failed.json").write_text(json.dumps(failure | {"traceback": "", "command": ""}), encoding="utf-8")
    return folder


def write_history(folder: Path, model: str, seed: int, rows: int = 60, updates: int = 10_000) -> None:
    """Write a ``history.csv`` of falling curves."""
    rng = np.random.default_rng([seed, sum(map(ord, model))])
    step = np.linspace(0, updates - 1, rows).astype(int)
    fall = np.exp(-step / updates * 6)
    table = {"step": step, "learning_rate": 1e-3 * (1 + np.cos(np.pi * step / updates)) / 2}
    table["mse"] = (0.004 + 0.08 * fall) * np.exp(rng.normal(0, 0.08, rows))
    for index, name in enumerate(EXTRA.get(model, ("quantisation",))):
        table[name] = (0.2 + index + 5 * (1 - fall)) * np.exp(rng.normal(0, 0.05, rows))
    table["loss"] = table["mse"] + 0.01 * table[next(iter(EXTRA.get(model, ("quantisation",))))]
    lines = [",".join(table), *(",".join(f"{column[i]:.6g}" for column in table.values()) for i in range(rows))]
    (folder / "history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_matrices(folder: Path, seed: int = 0, latents: int = 10, inactive: int = 2) -> None:
    """Write ``matrices.npz``: a noisy assignment of latents to factors, the last latents inactive."""
    rng = np.random.default_rng([seed, latents])
    k = len(FACTORS)
    nmi = 0.15 * rng.random((k, latents))
    nmi[np.arange(k), rng.permutation(latents - inactive)[:k] % latents] += 0.7 * rng.random(k)
    active = np.arange(latents) < latents - inactive
    nmi[:, ~active] = 0
    importance = nmi.T / nmi.sum(axis=1)
    np.savez(folder / "matrices.npz", **{"dci.importance": importance, "infomec.nmi": nmi, "infomec.active": active})


def write_pictures(folder: Path, seed: int = 0, latents: int = 10, m: int = 8, steps: int = 8, side: int = 64) -> None:
    """Write ``pictures.npz``: coloured discs for images; each latent of a traversal changes one thing."""
    rng = np.random.default_rng(seed)
    originals = np.stack([_disc(rng.random(6), side) for _ in range(m)])
    blurred = (originals.astype(float) * 0.8 + 25).astype(np.uint8)
    start = rng.random(6)
    traversals = np.empty((latents, steps, side, side, 3), dtype=np.uint8)
    for latent in range(latents):
        for step, value in enumerate(np.linspace(0.05, 0.95, steps)):
            point = start.copy()
            if latent < 6:
                point[latent] = value
            traversals[latent, step] = _disc(point, side)
    np.savez(folder / "pictures.npz", originals=originals, reconstructions=blurred, traversals=traversals)


def _disc(point: np.ndarray, side: int) -> np.ndarray:
    import colorsys

    floor, wall, body = ((np.array(colorsys.hsv_to_rgb(hue, 0.8, 0.9)) * 255).astype(np.uint8) for hue in point[:3])
    y, x = np.mgrid[:side, :side] / side
    image = np.where((y > 0.6)[..., None], floor, wall)
    radius, flat = 0.1 + 0.2 * point[3], 0.5 + point[4]
    inside = (x - 0.2 - 0.6 * point[5]) ** 2 + ((y - 0.55) * flat) ** 2 < radius**2
    return np.where(inside[..., None], body, image).astype(np.uint8)


def write_grid(
    out: Path, models: tuple[str, ...] = MODELS, seeds: int = 3, companions: bool = True, **values: Any
) -> Path:
    """A whole grid with all files beside the records; gives ``out``."""
    for model in models:
        for seed in range(seeds):
            folder = write_run(out, spec(model, seed, **values))
            if companions:
                write_history(folder, model, seed)
                write_matrices(folder, seed)
                if seed == 0:
                    write_pictures(folder, seed)
    return out
