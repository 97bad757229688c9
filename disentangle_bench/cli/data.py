"""The commands ``dbench data ...``: what datasets there are, getting, checking and looking at them. No logic here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.data.official import OfficialDataset

DATA_DIR = click.option("--data-dir", help="Folder with the datasets.  [default: $DBENCH_DATA or the user's cache]")
OFFLINE = click.option("--offline", is_flag=True, help="Download nothing; also by DBENCH_OFFLINE=1.")


@click.group()
def data() -> None:
    """Get, check and look at datasets."""


def _classes(names: str) -> list[Any]:
    from disentangle_bench.registry import DATASETS, dataset_class

    return [dataset_class(name) for name in DATASETS.names(names)]


def _official(names: str) -> list[type[OfficialDataset]]:
    """The classes called ``names`` that have official files; one that has none is an error."""
    from disentangle_bench.data.official import OfficialDataset

    found = []
    for chosen in _classes(names):
        if not (isinstance(chosen, type) and issubclass(chosen, OfficialDataset)):
            raise BenchError(f"{chosen.card.name} has no official files: there is nothing to download, add or remove.")
        found.append(chosen)
    return found


def _folder(data_dir: str | None) -> Path:
    from disentangle_bench.data.files import data_folder

    return data_folder(data_dir)


def _state(chosen: Any, folder: Path) -> str:
    from disentangle_bench.data.official import OfficialDataset

    if not (isinstance(chosen, type) and issubclass(chosen, OfficialDataset)):
        return "needs no download"
    try:
        if chosen.prepared(folder) is not None:
            return "prepared"
    except BenchError:
        return "damaged: run dbench data prepare"
    absent = chosen.missing(folder)
    if not absent:
        return "downloaded"
    part = any((folder / f"{file.name}.part").exists() for file in absent)
    return "partly downloaded" if part or len(absent) < len(chosen.card.files) else "not here"


@data.command("list")
@DATA_DIR
def list_(data_dir: str | None) -> None:
    """List all datasets, and which of them are ready in the data folder."""
    from disentangle_bench.registry import DATASETS

    folder = _folder(data_dir)
    rows = []
    for name in DATASETS.entries:
        try:
            chosen = DATASETS.load(name)
        except BenchError as error:  # a broken plug-in is no reason to show nothing
            rows.append((name, "broken", "", str(error)))
            continue
        c, h, w = chosen.card.image_shape
        rows.append((name, _state(chosen, folder), f"{len(chosen.card.grid):,} x {h}x{w}x{c}", chosen.card.summary))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        click.echo("  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[3]]))


@data.command()
@click.argument("name")
@DATA_DIR
def info(name: str, data_dir: str | None) -> None:
    """Print the card of the dataset NAME (or of a file of images)."""
    from disentangle_bench.data.files import megabytes
    from disentangle_bench.data.sheet import value

    folder = _folder(data_dir)
    for chosen in _classes(name):
        card = chosen.card
        c, h, w = card.image_shape
        click.echo(f"{card.name}, version {card.version}: {card.summary}")
        click.echo(f"images     {h} x {w} x {c}, {len(card.grid):,} combinations of factors")
        if card.resized:
            click.echo(f"resized    {card.resized}")
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
            note = " (of an earlier upload: another is told, not refused)" if file.advisory else ""
            click.echo(f"file       {file.name}, {megabytes(file.size)}, {check}{note}")
            for url in file.urls:
                click.echo(f"           {url}")
        for note in card.notes:
            click.echo(f"note       {note}")
        click.echo(f"here       {_state(chosen, folder)}, in {folder}")


@data.command()
@click.argument("names")
@OFFLINE
@DATA_DIR
def download(names: str, offline: bool, data_dir: str | None) -> None:
    """Download the official files of NAMES (comma-separated) without preparing them."""
    from disentangle_bench.data.download import fetch, is_offline
    from disentangle_bench.data.official import missing_file
    from disentangle_bench.runner.bars import bars

    folder = _folder(data_dir)
    with bars() as report:
        for chosen in _official(names):
            for file in chosen.missing(folder):
                if offline or is_offline():
                    raise missing_file(chosen.card, file, folder)
                fetch(file, folder, chosen.card.name, report)
            for path in chosen.paths(folder):
                click.echo(path)


@data.command()
@click.argument("names")
@OFFLINE
@DATA_DIR
def prepare(names: str, offline: bool, data_dir: str | None) -> None:
    """Make NAMES (comma-separated) ready for use, downloading what is missing."""
    from disentangle_bench.runner.bars import bars

    folder = _folder(data_dir)
    with bars() as report:
        for chosen in _classes(names):
            chosen.prepare(folder, download=not offline, report=report)
            click.echo(f"{chosen.card.name} is ready in {folder}")


@data.command()
@click.argument("names")
@DATA_DIR
def verify(names: str, data_dir: str | None) -> None:
    """Read the files of NAMES (comma-separated) from end to end and compare their checksums."""
    from disentangle_bench.runner.bars import bars

    folder = _folder(data_dir)
    with bars() as report:
        for chosen in _official(names):
            for line in chosen.verify(folder, report):
                click.echo(line)


@data.command()
@click.argument("name", required=False)
@DATA_DIR
def path(name: str | None, data_dir: str | None) -> None:
    """Print the data folder, or the files of the dataset NAME that are in it."""
    folder = _folder(data_dir)
    if name is None:
        click.echo(folder)
        return
    for chosen in _official(name):
        here = [file for file in [*chosen.paths(folder), chosen.array_path(folder)] if file.exists()]
        if not here:
            raise BenchError(f"{name} is not in {folder}: run `dbench data prepare {name}`.")
        for file in here:
            click.echo(file)


@data.command()
@click.argument("names")
@click.option("--yes", is_flag=True, help="Do not ask.")
@DATA_DIR
def remove(names: str, yes: bool, data_dir: str | None) -> None:
    """Delete the files of NAMES (comma-separated) from the data folder; files that were added by a link stay."""
    folder = _folder(data_dir)
    for chosen in _official(names):
        files = chosen.traces(folder)
        for file in files:
            click.echo(file)
        if not files:
            click.echo(f"{chosen.card.name} is not in {folder}")
        elif yes or click.confirm(f"delete these {len(files)} files of {chosen.card.name}?"):
            for file in files:
                file.unlink(missing_ok=True)


@data.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@DATA_DIR
def add(name: str, files: tuple[Path, ...], data_dir: str | None) -> None:
    """Use official FILES of the dataset NAME that you have already; they are checked, and linked, not copied."""
    from disentangle_bench.data.official import adopt
    from disentangle_bench.runner.bars import bars

    folder = _folder(data_dir)
    (chosen,) = _official(name)
    with bars() as report:
        for file in files:
            click.echo(adopt(chosen.card, chosen.accepted_files(), file, folder, report))


@data.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: NAME.png]")
@click.option("--seed", default=0, show_default=True, help="Chooses the random images.")
@DATA_DIR
def show(name: str, out: Path | None, seed: int, data_dir: str | None) -> None:
    """Draw a sheet of the dataset NAME: a row for each factor, then random images with their factors."""
    from disentangle_bench.data.sheet import draw_sheet

    folder = _folder(data_dir)
    for chosen in _classes(name):
        target = out or Path(f"{Path(chosen.card.name).stem}.png")
        draw_sheet(chosen.load(folder), target, seed)
        click.echo(target)
