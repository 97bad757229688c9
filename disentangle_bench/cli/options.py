"""Options that several commands share, each defined once, and help pages that list options in sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from disentangle_bench.errors import unknown
from disentangle_bench.runner.executors import EXECUTORS

CRITERIA = ("mse", "loss", "udr", "dci.disentanglement")
SAMPLERS = ("random", "tpe")
RERUNS = ("missing", "failed", "all")
PRECISIONS = ("fp32", "tf32", "bf16")
# These names are repeated here, since a help page must not wait for the modules that define them; tests compare both.


class NumberOrAuto(click.IntRange):
    """A number from 1, or the word auto."""

    def __init__(self) -> None:
        super().__init__(min=1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number or ``auto``."""
        return value if value == "auto" else super().convert(value, param, ctx)


class OneOf(click.Choice):
    """A choice of names; any other name is an error of one line that suggests the nearest."""

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        super().__init__(names)
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ``value`` if it is one of the names."""
        if value not in self.choices:
            raise unknown(self.kind, str(value), self.choices)
        return value


class SectionedOption(click.Option):
    """An option that knows the section of the help page it is listed in."""

    def __init__(self, *declarations: Any, section: str = "Options", **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help page lists its options in sections, in the order of their first options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list of options per section; options without a section come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if row := parameter.get_help_record(ctx):
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


Described = tuple[tuple[str, ...], dict[str, Any]]
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def options(title: str, *listed: Described) -> Decorator:
    """Return one decorator that adds the options to a command, in their order, in the section ``title`` of its help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for names, attributes in reversed(listed):
            command = click.option(*names, cls=SectionedOption, section=title, **attributes)(command)
        return command

    return decorate


def option(*names: str, **attributes: Any) -> Described:
    """Describe an option as ``click.option`` does, for ``options``."""
    return names, attributes


def described(option: Described, **attributes: Any) -> Described:
    """Return an option with other ``attributes``, for a command in which they differ."""
    return option[0], option[1] | attributes


# What to run.
MODELS = option(
    "--models",
    required=True,
    metavar="NAMES",
    help="Model names or groups, comma-separated: paper (the paper's six; all means the same), extended (twelve more), "
    "every (all eighteen), plugin. See dbench list models.",
)
DATASETS = option(
    "--datasets",
    required=True,
    metavar="NAMES",
    help="Dataset names or paths of image files, comma-separated, or all. See dbench list datasets.",
)
SEEDS = option(
    "--seeds",
    default="5",
    metavar="SEEDS",
    show_default=True,
    help="A count (5 means seeds 0 to 4), a range (0-4) or a list (0,3,7); =3 is seed 3 alone.",
)
PROTOCOL = option(
    "--protocol",
    default="standard",
    show_default=True,
    metavar="NAME",
    help="Versioned set of choices that makes runs comparable, or a TOML file with one. See dbench list protocols.",
)
SET = option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value that dbench show prints, such as model.gamma=1e-3; a list (0,1e-3) makes a run for each "
    "value. Changed runs are off-protocol and never ranked. Repeatable.",
)
GRID = option(
    "--grid",
    "grid_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file whose table [grid] holds a list of values for each changed key.",
)
PRECISION = option(
    "--precision", type=OneOf("precision", PRECISIONS), help="Training precision.  [default: the protocol's]"
)
SEARCH = option(
    "--search",
    "budget",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    help="Run this many points of each model's search space, the default first, and score them on validation images. "
    "dbench select chooses among them.",
)
SEARCH_SEED = option(
    "--search-seed",
    metavar="SEED",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Seed that the points are drawn from.",
)
SETTINGS = option(
    "--settings",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that dbench select wrote: run its settings in place of the baselines'.",
)
SAMPLER = option(
    "--sampler",
    type=OneOf("sampler", SAMPLERS),
    default="random",
    show_default=True,
    help="random draws all points at once; tpe, of Optuna, draws in rounds, by the results so far.",
)
BY = option(
    "--by",
    type=OneOf("criterion", CRITERIA),
    metavar="CRITERION",
    help="mse, loss (the model's own), udr (needs several seeds), all three without labels, or dci.disentanglement "
    "(with the labels of 1,000 validation images).",
)

# Where and how.
EXECUTOR = option(
    "--executor",
    type=OneOf("executor", tuple(EXECUTORS)),
    default="local",
    show_default=True,
    help="Run on this machine, as Slurm jobs, or on a Ray cluster.",
)
DEVICE = option(
    "--device",
    "--devices",
    "devices",
    metavar="NAMES",
    default="auto",
    show_default=True,
    help="auto (the first GPU, else the CPU), cpu, cuda, or several: cuda:0,cuda:1.",
)
JOBS = option(
    "--jobs",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    help="Concurrent runs in all; 0 does them in this process, for debuggers.  [default: cores / threads on a CPU, "
    "else --runs-per-device on each device]",
)
RUNS_PER_DEVICE = option(
    "--runs-per-device",
    metavar="NUMBER",
    type=NumberOrAuto(),
    default=1,
    show_default=True,
    help="Concurrent runs per accelerator; auto measures how many are fastest and fit.",
)
THREADS = option(
    "--threads",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="CPU threads per run. Another number rounds sums differently, so it is recorded.",
)
COMPILE = option("--compile", is_flag=True, help="Compile the networks with torch.compile; recorded.")
CAPTURE = option(
    "--capture/--no-capture",
    default=True,
    help="On a CUDA device, record an update as a CUDA graph and replay it: the same bits, and for small networks "
    "up to thirteen times as fast; recorded.  [default: capture]",
)
DATA_DIR = option(
    "--data-dir", metavar="FOLDER", help="Folder with the datasets.  [default: $DBENCH_DATA or the user's cache]"
)
OFFLINE = option("--offline", is_flag=True, help="Download nothing; DBENCH_OFFLINE=1 does too.")
EXECUTOR_SETTINGS = tuple(
    option(f"--{name}", metavar="KEY=VALUE,...", default="", help=executor.settings)
    for name, executor in EXECUTORS.items()
    if executor.settings
)

# Results and resuming.
OUT = option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="FOLDER",
    help="Results folder.",
)
RERUN = option(
    "--rerun",
    type=OneOf("value of --rerun", RERUNS),
    default="missing",
    show_default=True,
    help="Run those without a record (failed ones are tried again), only failed ones, or all from the start.",
)
METRICS = option(
    "--metrics",
    metavar="NAMES",
    help="Print the scores of these metrics, comma-separated, and compute what the protocol has not; files too.",
)
VARIANT = option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME",
    help="Variant of all metrics that have it (NAME) or of one (METRIC=NAME). Repeatable.",
)
YES = option("--yes", is_flag=True, help="Do not ask for confirmation.")

# Codes from any source.
CODES = option(
    "--codes", type=click.Path(path_type=Path), metavar="FILE", help="Codes [n, d]: an .npy file or a table."
)
FACTORS = option(
    "--factors", type=click.Path(path_type=Path), metavar="FILE", help="Factors [n, k], in the same order."
)
CODES_COLUMNS = option(
    "--codes-columns", metavar="NAMES", help="Columns of a table that are codes, such as 'z*' or z0,z1."
)
FACTORS_COLUMNS = option("--factors-columns", metavar="NAMES", help="Columns of a table that are factors.")
N_TRAIN = option("--n-train", type=int, metavar="N", help="Rows that fit predictors.  [default: the first two thirds]")
DISCRETE = option("--discrete/--continuous", default=None, help="Whether codes are symbols.  [default: integers are]")
INPUT = (CODES, FACTORS, CODES_COLUMNS, FACTORS_COLUMNS, N_TRAIN, DISCRETE)


def words(text: str | None) -> tuple[str, ...]:
    """Return the comma-separated names in an option's text."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def reading(given: dict[str, Any]) -> Any:
    """Remove from ``given`` the options of ``INPUT`` that say how to read files, and return them as a ``Reading``."""
    from disentangle_bench.scoring.tables import Reading

    own: dict[str, Any] = {name: words(given.pop(name)) for name in ("codes_columns", "factors_columns")}
    return Reading(**own, **{name: given.pop(name) for name in ("n_train", "discrete")})


WHAT = options(
    "What to run", MODELS, DATASETS, SEEDS, PROTOCOL, SET, GRID, PRECISION, SEARCH, SEARCH_SEED, SETTINGS
)  # fmt: skip
MACHINE = (DEVICE, JOBS, RUNS_PER_DEVICE, THREADS, DATA_DIR)
