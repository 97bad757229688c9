"""The commands for plug-ins: new writes a template, check compares a plug-in with the suite's contract."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template

import click

from disentangle_bench.cli import options as opt
from disentangle_bench.errors import BenchError, one_line, unknown

KINDS = ("model", "metric", "dataset")
Points = Iterator[tuple[str, Callable[[], None]]]
"""Names of the points of a contract, each with its check, which raises if the point is broken."""


@click.command()
@click.argument("kind", type=opt.OneOf("kind of plug-in", KINDS), metavar="model|metric|dataset")
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write NAME.py, a commented model, metric or dataset that already passes dbench check."""
    from disentangle_bench.atomic import write_text

    if not re.fullmatch(r"[a-zA-Z]\w*", name):
        raise BenchError(f"{name!r} is no name for Python: give letters, digits and underscores, such as my_{kind}")
    path = Path(f"{name}.py")
    if path.exists():
        raise BenchError(f"{str(path)!r} is there already: give another name, or remove it")
    class_name = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    text = (Path(__file__).parent / "templates" / f"{kind}.py.txt").read_text(encoding="utf-8")
    write_text(path, Template(text).substitute(name=name, class_name=class_name))
    click.echo(f"{path} is written. Next: dbench check {path}")


@click.command()
@click.argument("target")
@opt.options("Options", opt.DATA_DIR)
def check(target: str, data_dir: str | None) -> None:
    """Check TARGET, a name, a Python file or an installed package, against the suite's contract.

    Prints a line for each point. The exit status is 0 if all are kept, and 1 otherwise.
    """
    from disentangle_bench.testing import Violation

    broken = 0
    for kind, name in _targets(target):
        click.echo(f"{kind} {name}")
        try:
            for point, rule in _points(kind, name, data_dir):
                broken += _verdict(point, rule, Violation)
        except Exception as error:  # the code of a plug-in may raise anything
            broken += _verdict("can be loaded", _raiser(error), Violation)
    click.echo("every point holds" if not broken else f"{broken} points are broken")
    if broken:
        sys.exit(1)


def _raiser(error: Exception) -> Callable[[], None]:
    def rule() -> None:
        raise error

    return rule


def _verdict(point: str, rule: Callable[[], None], plain: type[Exception]) -> bool:
    """Print whether a point is kept; return whether it is broken. Errors of type ``plain`` are shown without it."""
    try:
        rule()
    except Exception as error:  # the code of a plug-in may raise anything
        kind = "" if isinstance(error, plain | BenchError) else f"{type(error).__name__}: "
        click.echo(f"  BROKEN  {point}: {kind}{one_line(error)}")
        return True
    click.echo(f"  ok      {point}")
    return False


def _targets(target: str) -> list[tuple[str, str]]:
    """Return the kind and name of everything that ``target`` names."""
    from importlib import metadata

    from disentangle_bench import plugins
    from disentangle_bench.registry import DATASETS, METRICS, MODELS, NETWORKS

    tables = {table.kind: table for table in (MODELS, METRICS, DATASETS, NETWORKS)}
    if plugins.is_file(target):
        return [(kind, name) for kind, table in tables.items() for name in table.adopt_all(target)] or _nothing(target)
    named = [(kind, target) for kind, table in tables.items() if target in table.entries or table.opens(target)]
    if named:
        return named
    try:
        points = metadata.distribution(target).entry_points
    except (metadata.PackageNotFoundError, ValueError):
        known = [name for table in tables.values() for name in table.entries]
        raise unknown("model, metric, dataset, file or package", target, known) from None
    groups = {table.group: kind for kind, table in tables.items()}
    return [(groups[point.group], point.name) for point in points if point.group in groups] or _nothing(target)


def _nothing(target: str) -> list[tuple[str, str]]:
    raise BenchError(
        f"{target} has no model, metric, dataset or network: a model is a class that derives from "
        "disentangle_bench.Model; dbench new writes templates"
    )


def _points(kind: str, name: str, data_dir: str | None) -> Points:
    from disentangle_bench import registry, testing
    from disentangle_bench.data.files import data_folder

    if kind == "model":
        model = registry.model_class(name)
        yield from testing.model_points(model, model.Config(latents=4), (3, 64, 64), "conv64", quick=False)
    elif kind == "metric":
        module = registry.metric_module(name)
        yield "scores continuous and discrete codes in every variant", lambda: testing.check_metric(module)
    elif kind == "dataset":
        dataset = registry.dataset_class(name).load(data_folder(data_dir))
        yield "card, factors and images agree, here and on a device", lambda: testing.check_dataset(dataset)
    else:
        network = registry.network(name)
        yield "encodes and decodes images", lambda: testing.check_network(network)
