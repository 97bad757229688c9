"""Run a whole grid, or an adaptive search with Optuna's TPE in rounds that depend on the results.

The studies are in ``search.journal`` of the results folder, a text file of JSON lines from which nothing is unpickled.
Trial t of a study is point t + 1 of the search. Point 0 is the default, which the study does not see, since it may lie
outside the ranges. A search that was stopped and is resumed draws no point twice.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench.config.baselines import Range
from disentangle_bench.config.grids import expand
from disentangle_bench.config.search import SPACE_VERSION, Search, base_changes, point, space
from disentangle_bench.errors import BenchError, extra, unknown
from disentangle_bench.runner.resources import Resources
from disentangle_bench.runner.run import Outcome, run_grid
from disentangle_bench.scoring import selection
from disentangle_bench.spec import RunSpec, SearchPoint, seed_for
from disentangle_bench.store import runs

if TYPE_CHECKING:
    import optuna

JOURNAL = "search.journal"
ROUND = 4
"""Number of points of each model that are drawn at a time and run side by side."""


def do(
    what: Mapping[str, Any],
    out: Path,
    resources: Resources,
    *,
    rerun: str = "missing",
    records: runs.Records | None = None,
) -> Outcome:
    """Do the runs that ``config.grids.expand(**what)`` returns: all at once, or in the rounds of an adaptive search.

    ``rerun`` and ``records`` are as for ``run_grid``. Raises ``BenchError`` as ``check`` and ``run_grid`` do.
    """
    search = check(what, rerun)
    if search is None or not search.by:
        return run_grid(expand(**what), out, resources, rerun=rerun, records=records)
    return _adaptive(what, search, out, lambda specs: run_grid(specs, out, resources))


def check(what: Mapping[str, Any], rerun: str = "missing") -> Search | None:
    """Return the search in ``what``, if there is one; raise ``BenchError`` if it cannot be done with these options."""
    search: Search | None = what.get("search")
    if search is None or search.sampler == "random":
        if search is not None and search.by:
            raise BenchError("--by goes with --sampler tpe: dbench select --by chooses among points drawn at random")
        return search
    if what.get("grid_file") or rerun != "missing":
        raise BenchError("--sampler tpe goes without --grid, --dry-run and --rerun: leave them out")
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise BenchError(f"--sampler tpe needs Optuna: {extra('search')}") from error
    if not search.by:
        raise BenchError("--sampler tpe draws by the results so far: give --by and a criterion")
    if search.by not in selection.CRITERIA:
        raise unknown("criterion", search.by, selection.CRITERIA)
    if any("," in change for change in what.get("changes", ())):
        raise BenchError("--sampler tpe takes one value of each --set: search each of the lists in a folder of its own")
    return search


def _adaptive(
    what: Mapping[str, Any], search: Search, out: Path, run: Callable[[Sequence[RunSpec]], Outcome]
) -> Outcome:
    """Do a search in rounds and return the outcome of all rounds together; end early if a round leaves runs undone.

    In each round, ``run`` gets the defaults and all points drawn so far, for all seeds, and skips finished runs.
    """
    defaults = expand(**{**what, "search": dataclasses.replace(search, budget=1)})
    asked, total = (what["protocol"], what.get("changes", ()), search, out), Outcome()
    seeds = list(dict.fromkeys(spec.seed for spec in defaults))
    subjects = [spec for spec in defaults if spec.seed == seeds[0]]
    for first in range(1, max(2, search.budget), ROUND):
        last = min(first + ROUND, search.budget)
        points = [spec for one in subjects for spec in _ask(one, *asked, last)]
        specs = [*defaults, *(spec.model_copy(update={"seed": seed}) for seed in seeds for spec in points)]
        outcome = run(specs)
        total.finished += outcome.finished
        total.skipped = sorted({*total.skipped, *outcome.skipped} - set(total.finished))
        total.failed |= outcome.failed
        total.left |= outcome.left
        total.records = outcome.records
        if outcome.left:
            break
    return total


def _ask(
    default: RunSpec, protocol: str, changes: Sequence[str], search: Search, out: Path, until: int
) -> list[RunSpec]:
    """Tell one model's study the results so far, and return the specs with seed 0 of its points 1 to ``until`` - 1."""
    import optuna

    study = _study(default, search, out)
    if study.trials:
        numbers = _values(default, search, out)
        for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
            if trial.number + 1 in numbers:
                study.tell(trial.number, numbers[trial.number + 1])
    ranges = {key: _distribution(one) for key, one in space(default.model).items()}
    study.sampler = optuna.samplers.TPESampler(
        seed=seed_for("search", default.model, search.seed, "tpe", len(study.trials)) % 2**32
    )
    while len(study.trials) < until - 1:
        study.ask(ranges)
    specs = []
    for trial in itertools.islice(study.trials, until - 1):
        search_point = SearchPoint(point=trial.number + 1, seed=search.seed, sampler="tpe", space_version=SPACE_VERSION)
        specs.append(point(default.model, default.dataset, protocol, changes, search_point, trial.params))
    return specs


def _study(default: RunSpec, search: Search, out: Path) -> optuna.Study:
    """Return the study of one model, loaded if it exists and new otherwise."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    parts = (
        default.run_id.rpartition("-seed")[0],
        *base_changes(default),
        str(search.seed),
        search.by,
        str(SPACE_VERSION),
    )
    out.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=" ".join(parts),
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(out / JOURNAL))),
        direction="maximize" if selection.CRITERIA[search.by].higher_is_better else "minimize",
        load_if_exists=True,
    )


def _values(default: RunSpec, search: Search, out: Path) -> dict[int, float]:
    """Return the criterion's value of each finished point of one model."""
    for one in selection.trials(out, "tpe", search.seed):
        if base_changes(one.spec) != base_changes(default):
            continue
        if all(getattr(one.spec, name) == getattr(default, name) for name in ("model", "dataset", "protocol")):
            return selection.values(one, search.by)
    return {}


def _distribution(one: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if one.choice:
        return CategoricalDistribution(one.choice)
    assert one.log
    return FloatDistribution(*one.log, log=True)
