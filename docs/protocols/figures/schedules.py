"""Draws ``schedules.png``: learning rate, updates and temperature over training under two protocols.

python docs/protocols/figures/schedules.py
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter

from disentangle_bench.config.resolve import resolve
from disentangle_bench.models.quantise import temperature
from disentangle_bench.registry import MODELS, model_class
from disentangle_bench.report.figures.style import COLOURS, figure, style
from disentangle_bench.spec import Training
from disentangle_bench.training.trainer import learning_rate

DATASET = "shapes3d"
PROTOCOLS = {"standard": "standard: equal updates", "factorqvae2024": "factorqvae2024: equal optimiser steps"}
POINTS = 400
LOOKS: dict[int, dict[str, Any]] = {
    1: {"color": COLOURS[0], "linestyle": "-", "linewidth": 2.2, "marker": "o", "markersize": 6, "zorder": 3},
    2: {"color": COLOURS[1], "linestyle": (0, (4, 2)), "linewidth": 1.5, "marker": "s", "markersize": 4, "zorder": 4},
}
"""Of models with so many players; where two curves lie on each other, both are seen."""


@dataclass(frozen=True)
class Schedule:
    """How one class of models is trained."""

    players: int
    training: Training

    @property
    def updates(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Updates of the autoencoder at which curves are drawn: the first, the last, and some between."""
        return np.linspace(0, self.training.updates - 1, POINTS).round().astype(np.int64)

    @property
    def rates(self) -> list[float]:
        return [learning_rate(self.training, int(update)) for update in self.updates]

    def temperatures(self, decay: float) -> list[float]:
        """Temperature of relaxed samples, by the clock that the protocol gives to models."""
        clock = self.players if self.training.clock == "optimiser_steps" else 1
        return [temperature(decay, clock * int(update)) for update in self.updates]


def schedule(model: str, protocol: str, *changes: str) -> tuple[Schedule, Any]:
    """A model's schedule under a protocol, and its settings."""
    spec = resolve(model, DATASET, protocol, 0, changes).spec
    config = model_class(model).Config.model_validate(spec.settings)
    return Schedule(config.players, spec.training), config


def schedules(protocol: str) -> dict[Schedule, list[str]]:
    """The models of the suite by the schedule that they have under a protocol."""
    found: dict[Schedule, list[str]] = {}
    for model in MODELS.names("all"):
        found.setdefault(schedule(model, protocol)[0], []).append(model)
    return found


def short(value: float) -> str:
    """Three digits, such as 1.25e-6."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def draw(
    axes: Any, one: Schedule, values: Any, text: str, offset: tuple[float, float] = (7, 0), label: str = ""
) -> None:
    """One curve over optimiser steps, with a mark and a word where training ends."""
    look = LOOKS[one.players]
    steps = one.players * (one.updates + 1)
    axes.plot(steps, values, markevery=[-1], clip_on=False, label=label, **look)
    at = steps[-1], values[-1]
    axes.annotate(text, at, offset, textcoords="offset points", color=look["color"], va="center")


def main(target: Path) -> None:
    """Draw the picture."""
    with style():
        made = figure(7.2, 5.4)
        grid = made.subplots(3, 2, sharex=True, sharey="row")
        for (rates, updates, temperatures), (protocol, title) in zip(grid.T, PROTOCOLS.items(), strict=True):
            rates.set_title(title, fontweight="bold", fontsize=8.5, pad=10)
            for one, models in schedules(protocol).items():
                kind = "with a discriminator" if one.players > 1 else "no discriminator"
                last = one.rates[-1]
                draw(
                    rates,
                    one,
                    one.rates,
                    short(last),
                    (7, 5 if last < 1e-4 else 0),
                    textwrap.fill(f"{kind}: {', '.join(models)}", 62),
                )
                draw(updates, one, one.updates + 1, f"{one.training.updates:,}")
            for number, change in enumerate(((), ("model.gamma=0",))):
                one, config = schedule("factor_qvae", protocol, *change)
                values = one.temperatures(config.temperature_decay)
                text = f"{values[-1]:.3f}" + (" (gamma = 0)" if change else "")
                draw(temperatures, one, values, text, (7, 5 - 13 * number))
            temperatures.set_xlabel("optimiser steps, each on 256 images of its own")
        thousands = FuncFormatter(lambda value, _: f"{value:,.0f}")
        grid[0, 0].set(ylabel="learning rate", ylim=(0, 1.05e-3), yticks=(0, 5e-4, 1e-3))
        grid[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value) if value else "0"))
        grid[1, 0].set(ylabel="updates of the autoencoder", ylim=(0, 105_000), yticks=(0, 50_000, 100_000))
        grid[1, 0].yaxis.set_major_formatter(thousands)
        grid[2, 0].set(ylabel="temperature of factor_qvae", ylim=(0, 1.05))
        grid[2, 0].set(xlim=(0, 240_000), xticks=(0, 50_000, 100_000, 150_000, 200_000))
        grid[2, 0].xaxis.set_major_formatter(thousands)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside upper center", ncols=2)
        made.savefig(target, dpi=200, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png"))
