"""The commands ``dbench data ...``: list, download, prepare, check and look at datasets. No logic here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench.cli import options as opt
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.data.official import OfficialDataset

DATA_DIR = opt.options("Options", opt.DATA_DIR)


@click.group()
def data() -> None:
    """Get, check and look at datasets."""


def _classes(names: str) -> list[Any]:
    from disentangle_bench.registry import DATASETS, dataset_class

    return [dataset_class(name) for name in DATASETS.names(names)]


def _official(names: str) -> list[type[OfficialDataset]]:
    """Return the classes of ``names``; raise ``BenchError`` for one without official files."""
    from disentangle_bench.data.official import OfficialDataset

    classes = _classes(names)
    for dataset in classes:
        if not issubclass(dataset, OfficialDataset):
            raise BenchError(f"{dataset.card.name} has no official files: there is nothing to download, add or remove.")
    return classes


def _folder(data_dir: str | None) -> Path:
    from disentangle_bench.data.files import data_folder

    return data_folder(data_dir)


def _state(dataset: Any, folder: Path) -> str:
    from disentangle_bench.data.official import OfficialDataset

    if not issubclass(dataset, OfficialDataset):
        return "needs no download"
    try:
        if dataset.prepared(folder) is not None:
            return "prepared"
    except BenchError:
        return "damaged: run dbench data prepare"
    absent = dataset.missing(folder)
    if not absent:
        return "downloaded"
    part = any((folder / f"{file.name}.part").exists() for file in absent)
    return "partly downloaded" if part or len(absent) < len(dataset.card.files) else "not here"


@data.command("list")
@DATA_DIR
def list_(data_dir: str | None) -> None:
    """List all datasets, and whether each is ready in the data folder."""
    from disentangle_bench.registry import DATASETS

    folder = _folder(data_dir)
    rows = []
    for name in DATASETS.entries:
        try:
            dataset = DATASETS.load(name)
        except BenchError as error:  # a broken plug-in must not hide the other datasets
            rows.append((name, "broken", "", str(error)))
            continue
        c, h, w = dataset.card.image_shape
        rows.append((name, _state(dataset, folder), f"{dataset.card.n:,} x {h}x{w}x{c}", dataset.card.summary))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        click.echo("  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[3]]))


@data.command()
@click.argument("name")
@DATA_DIR
def info(name: str, data_dir: str | None) -> None:
    """Print the card of the dataset NAME, or of an image file."""
    from disentangle_bench.data.files import megabytes
    from disentangle_bench.data.sheet import value

    folder = _folder(data_dir)
    for dataset in _classes(name):
        card = dataset.card
        c, h, w = card.image_shape
        click.echo(f"{card.name}, version {card.version}: {card.summary}")
        combinations = f"{len(card.grid):,} combinations of factors" if card.factor_names else "no factors"
        click.echo(f"images     {card.n:,} of {h} x {w} x {c}, {combinations}")
        if card.resized:
            click.echo(f"resized    {card.resized}")
        if card.factor_names:
            click.echo("factors    slowest first; position 0 has all factors 0")
        for k, (factor, size) in enumerate(zip(card.factor_names, card.factor_sizes, strict=True)):
            some = [value(card, k, j) for j in range(size)]
            shown = ", ".join(some if size <= 12 else [*some[:3], "...", some[-1]])
            click.echo(f"           {factor:20} {size:4}  {shown}")
        click.echo(f"licence    {card.licence}\ncite       {card.citation}")
        if card.source:
            click.echo(f"source     {card.source}")
        for file in card.files:
            check = (
                f"sha256 {file.sha256}" if file.sha256 else f"md5 {file.md5}" if file.md5 else "no checksum published"
            )
            note = " (of an earlier upload: a different one is logged, not rejected)" if file.advisory else ""
            click.echo(f"file       {file.name}, {megabytes(file.size)}, {check}{note}")
            for url in file.urls:
                click.echo(f"           {url}")
        for note in card.notes:
            click.echo(f"note       {note}")
        click.echo(f"here       {_state(dataset, folder)}, in {folder}")


@data.command()
@click.argument("names")
@opt.options("Options", opt.OFFLINE, opt.DATA_DIR)
def download(names: str, offline: bool, data_dir: str | None) -> None:
    """Download the official files of NAMES.

    NAMES are comma-separated. dbench data prepare makes the files ready for use.
    """
    from disentangle_bench.data.download import fetch, is_offline
    from disentangle_bench.data.official import missing_file
    from disentangle_bench.runner.progress import downloads

    folder = _folder(data_dir)
    with downloads() as report:
        for dataset in _official(names):
            for file in dataset.missing(folder):
                if offline or is_offline():
                    raise missing_file(dataset.card, file, folder)
                fetch(file, folder, dataset.card.name, report)
            for path in dataset.paths(folder):
                click.echo(path)


@data.command()
@click.argument("names")
@opt.options("Options", opt.OFFLINE, opt.DATA_DIR)
def prepare(names: str, offline: bool, data_dir: str | None) -> None:
    """Prepare NAMES (comma-separated), downloading what is missing."""
    from disentangle_bench.runner.progress import downloads

    folder = _folder(data_dir)
    with downloads() as report:
        for dataset in _classes(names):
            dataset.prepare(folder, download=not offline, report=report)
            click.echo(f"{dataset.card.name} is ready in {folder}")


@data.command()
@click.argument("names")
@DATA_DIR
def verify(names: str, data_dir: str | None) -> None:
    """Check the checksums of all files of NAMES (comma-separated)."""
    from disentangle_bench.runner.progress import downloads

    folder = _folder(data_dir)
    with downloads() as report:
        for dataset in _official(names):
            for line in dataset.verify(folder, report):
                click.echo(line)


@data.command()
@click.argument("name", required=False)
@DATA_DIR
def path(name: str | None, data_dir: str | None) -> None:
    """Print the data folder, or the files of the dataset NAME in it."""
    folder = _folder(data_dir)
    if name is None:
        click.echo(folder)
        return
    for dataset in _official(name):
        here = [file for file in [*dataset.paths(folder), dataset.array_path(folder)] if file.exists()]
        if not here:
            raise BenchError(f"{name} is not in {folder}: run `dbench data prepare {name}`.")
        for file in here:
            click.echo(file)


@data.command()
@click.argument("names")
@opt.options("Options", opt.YES, opt.DATA_DIR)
def remove(names: str, yes: bool, data_dir: str | None) -> None:
    """Delete the files of NAMES from the data folder.

    NAMES are comma-separated. Files that were added as links stay where they are.
    """
    folder = _folder(data_dir)
    for dataset in _official(names):
        files = dataset.traces(folder)
        for file in files:
            click.echo(file)
        if not files:
            click.echo(f"{dataset.card.name} is not in {folder}")
        elif yes or click.confirm(f"delete these {len(files)} files of {dataset.card.name}?"):
            for file in files:
                file.unlink(missing_ok=True)


@data.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@DATA_DIR
def add(name: str, files: tuple[Path, ...], data_dir: str | None) -> None:
    """Check official FILES of the dataset NAME and link to them.

    Nothing is copied: the files must stay where they are.
    """
    from disentangle_bench.data.official import adopt
    from disentangle_bench.runner.progress import downloads

    folder = _folder(data_dir)
    datasets = _official(name)
    if len(datasets) != 1:
        raise BenchError(f"{name!r} names {len(datasets)} datasets: give one dataset and its files.")
    (dataset,) = datasets
    with downloads() as report:
        for file in files:
            click.echo(adopt(dataset.card, dataset.accepted_files(), file, folder, report))


@data.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: NAME.png]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random images.")
@DATA_DIR
def show(name: str, out: Path | None, seed: int, data_dir: str | None) -> None:
    """Draw a picture of the dataset NAME.

    It has a row for each factor, then random images with their factors.
    """
    from disentangle_bench.data.sheet import draw_sheet

    folder = _folder(data_dir)
    for dataset in _classes(name):
        target = out or Path(f"{Path(dataset.card.name).stem}.png")
        draw_sheet(dataset.load(folder), target, seed)
        click.echo(target)
