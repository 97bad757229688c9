"""Name tables, setups and scores in tables and figures: briefly where that is unambiguous, otherwise in full."""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from disentangle_bench.report.scores import SCORE, SETUP, TABLE

if TYPE_CHECKING:
    import pandas as pd

HEADLINE = (
    "dci.disentanglement",
    "dci.completeness",
    "dci.informativeness",
    "infomec.modularity",
    "infomec.explicitness",
    "infomec.compactness",
    "mse.mse",
    "mse.psnr",
)
"""The scores that come first, in this order. The others follow alphabetically."""


MODEL_TITLES = {
    "beta_vae": "β-VAE",
    "factor_vae": "FactorVAE",
    "beta_tcvae": "β-TCVAE",
    "vq_vae": "VQ-VAE",
    "qlae": "QLAE",
    "factor_qvae": "FactorQVAE",
    "ae": "AE",
    "ae_ica": "AE + ICA",
    "bio_ae": "BioAE",
    "annealed_vae": "AnnealedVAE",
    "dip_vae_i": "DIP-VAE-I",
    "dip_vae_ii": "DIP-VAE-II",
    "dvae": "dVAE",
    "factor_dvae": "FactordVAE",
    "q_vae": "QVAE",
    "fsq": "FSQ",
    "tripod": "Tripod",
    "hfs": "HFS",
}
"""Models as their papers spell them. The order must never change: it decides colours and marks."""
METRIC_TITLES = {"dci": "DCI", "infomec": "InfoMEC", "mig": "MIG", "sap": "SAP", "mcc": "MCC", "udr": "UDR"}
SCORE_TITLES = {
    "mse.mse": "MSE",
    "mse.psnr": "PSNR",
    "infomec.explicitness_in_sample": "InfoMEC explicitness, in-sample",
    "latents.active": "active latents",
    "latents.perplexity": "codebook perplexity",
}


def model_title(name: str) -> str:
    """Return a model's display name: "FactorQVAE" for ``factor_qvae``; a plug-in keeps its own name."""
    return MODEL_TITLES.get(name, name)


def setup_title(name: str) -> str:
    """Return the display name of a setup (``setup_names``): only the model in it is spelled differently."""
    model, space, rest = name.partition(" ")
    return f"{model_title(model)}{space}{rest}"


def score_title(name: str) -> str:
    """Return the display name of a score (``score_names``): "DCI disentanglement" for ``dci.disentanglement``."""
    score, space, rest = name.partition(" ")
    metric, _, part = score.partition(".")
    title = SCORE_TITLES.get(score)
    if title is None:
        metric_name = METRIC_TITLES.get(metric, metric.replace("_", " "))
        title = metric_name if not part or part in (metric, "score") else f"{metric_name} {part.replace('_', ' ')}"
    return f"{title}{space}{rest}"


def look_number(model: str) -> int:
    """Return the number that decides a model's colour and mark, whatever other models there are."""
    order = list(MODEL_TITLES)
    return order.index(model) if model in order else len(order) + zlib.crc32(model.encode()) % (56 - len(order))


def look_numbers(setups: Iterable[tuple]) -> dict[tuple, int]:
    """Return the number that decides the look of each setup; all settings of one model share its colour."""
    last_index: dict[str, int] = {}
    numbers = {}
    for setup in setups:
        index = last_index[setup[0]] = last_index.get(setup[0], -1) + 1
        numbers[setup] = look_number(setup[0]) + index * len(COLOURS)
    return numbers


COLOURS = ("#0072b2", "#d55e00", "#008f68", "#b8588f", "#b97f00", "#3a95d0", "#1a1e23")
"""Colours of models in figures and in the page: those of Okabe and Ito, a little darker so that text is readable."""


def tables(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title and rows of each dataset x protocol; the title names versions where several are present."""
    versions = rows[TABLE].drop_duplicates()
    for key, part in rows.groupby(TABLE, sort=True):
        dataset, dataset_version, protocol, protocol_version = key
        same = versions[(versions["dataset"] == dataset) & (versions["protocol"] == protocol)]
        if len(same) > 1:
            dataset, protocol = f"{dataset} v{dataset_version}", f"{protocol} v{protocol_version}"
        yield f"{dataset}, {protocol}", part


def shared_settings(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the settings, as "name=value", that all setups of a table changed alike; nothing for a single setup."""
    setups = rows[SETUP].drop_duplicates()
    if len(setups) < 2:
        return ()
    first, *others = ([part for part in changed.split(" ") if "=" in part] for changed in setups["changed"])
    return tuple(part for part in first if all(part in other for other in others))


def setup_names(rows: pd.DataFrame, left_out: Sequence[str] = ()) -> dict[tuple, str]:
    """Return a name for each setup (a tuple of SETUP) in one table: the model, and whatever else sets it apart.

    The name includes the model's version where two versions are present, any changed settings except those in
    ``left_out``, and the digest of the settings where two setups would otherwise share a name.
    """
    setups = rows[SETUP].drop_duplicates()
    several = setups.groupby("model")["model_version"].nunique() > 1
    names = {}
    for key in sorted(setups.itertuples(index=False, name=None), key=_natural):
        model, version, changed, _ = key
        name = f"{model} v{version}" if several[model] else model
        settings = " ".join(part for part in changed.split(" ") if part not in left_out)
        names[key] = f"{name} ({settings})" if settings else name
    all_names = list(names.values())
    return {key: f"{name} [{key[3]}]" if all_names.count(name) > 1 else name for key, name in names.items()}


def _natural(setup: tuple) -> tuple:
    """Return a sort key of a setup that puts ``beta=10.0`` after ``beta=4.0``."""
    model, version, changed, settings = setup
    parts = re.split(r"(\d+(?:\.\d+)?)", changed)
    return (
        model,
        version,
        [(text, 0.0) if index % 2 == 0 else ("", float(text)) for index, text in enumerate(parts)],
        settings,
    )


def rows_of(board: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows of a table, with their columns as attributes."""
    yield from board.itertuples(index=False)


def score_names(rows: pd.DataFrame) -> dict[tuple, str]:
    """Return a name for each kind of score (a tuple of SCORE) in one table, headline scores first.

    The name includes variant and version where a score is present in several variants or versions.
    """
    kinds = rows[SCORE].drop_duplicates()
    several = kinds["score"].value_counts() > 1
    ordered = sorted(kinds.itertuples(index=False, name=None), key=lambda kind: (headline_place(kind[1]), *kind))
    return {kind: f"{kind[1]} ({kind[2]}, v{kind[3]})" if several[kind[1]] else kind[1] for kind in ordered}


def headline_place(score: str) -> int:
    """Return the position of a score among those that come first; all others share the position after them."""
    return HEADLINE.index(score) if score in HEADLINE else len(HEADLINE)


def file_name(text: str) -> str:
    """Return ``text`` as a file name: text that is not one already is spelled with ``_`` and gets a digest appended."""
    safe = re.sub(r"[^A-Za-z0-9._=-]+", "_", text).strip("._")[:80]
    return safe if text and safe == text else f"{safe or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def decimals(largest: float) -> int:
    """Return how many decimals show three significant digits in a column whose largest absolute value is this."""
    if not largest or not math.isfinite(largest):
        return 3
    return min(max(2 - math.floor(math.log10(min(largest, 0.99) if largest <= 1 else largest)), 0), 6)


def ranges(numbers: Iterable[int]) -> str:
    """Return ``0-2, 5`` for [0, 1, 2, 5]."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def seeds(numbers: Iterable[int]) -> str:
    """Return ``seed 1`` for one number, ``seeds 0-2, 5`` for several."""
    several = set(numbers)
    return f"seed{'s' if len(several) > 1 else ''} {ranges(several)}"
