"""The commands that say what there is: list, show, info."""

from __future__ import annotations

import click

from disentangle_bench.cli import options as opt


@click.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "metrics", "protocols"]))
def list_(what: str) -> None:
    """List the names that other commands take, with the group that each belongs to."""
    if what == "protocols":
        from disentangle_bench.config.protocols import listed_protocols

        rows = [(name, f"version {version}", summary) for name, version, summary in listed_protocols()]
    else:
        from disentangle_bench.registry import DATASETS, METRICS, MODELS

        table = {"models": MODELS, "datasets": DATASETS, "metrics": METRICS}[what]
        rows = [(entry.name, entry.group, table.summary(entry.name)) for entry in table.entries.values()]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, group, summary in rows:
        click.echo(f"{name:{widths[0]}}  {group:{widths[1]}}  {summary}")


@click.command()
@click.argument("model")
@click.argument("dataset")
@opt.options(
    "Options",
    opt.PROTOCOL,
    opt.option(
        "--against",
        metavar="PROTOCOL",
        help="Print only what differs from the run under this protocol; --set is for both.",
    ),
    opt.SET,
)
def show(model: str, dataset: str, protocol: str, against: str | None, changes: tuple[str, ...]) -> None:
    """Print every value that decides a run of MODEL on DATASET, and where each comes from."""
    from disentangle_bench.config.resolve import comparison, resolve

    resolved = resolve(model, dataset, protocol, 0, changes)
    if against is not None:
        for line in comparison(resolved, resolve(model, dataset, against, 0, changes)):
            click.echo(line)
        return
    values = resolved.values
    width = max(map(len, values))
    for key, value in values.items():
        click.echo(f"{key:{width}} = {value!s:<14} # {resolved.sources[key]}")


@click.command()
@opt.options("Options", opt.DATA_DIR)
def info(data_dir: str | None) -> None:
    """Print versions, devices, folders and caches: what a bug report needs."""
    import os
    import platform
    from importlib import metadata

    from disentangle_bench import __file__ as package
    from disentangle_bench import __version__
    from disentangle_bench.cores import available
    from disentangle_bench.data.files import data_folder

    rows = {"disentangle-bench": f"{__version__} in {os.path.dirname(package)}"}
    rows |= {"python": f"{platform.python_version()}, {platform.platform()}", "cores": str(available())}
    for name in ("torch", "numpy", "scipy", "scikit-learn", "numba", "pandas", "matplotlib", "pydantic", "ray"):
        try:
            rows[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            rows[name] = "not installed"
    rows["devices"] = _devices()
    folder = data_folder(data_dir)
    rows["data folder"] = f"{folder}{'' if folder.is_dir() else ' (not there yet)'}"
    for name in (
        "DBENCH_DATA",
        "DBENCH_OFFLINE",
        "NUMBA_CACHE_DIR",
        "CUDA_VISIBLE_DEVICES",
        "WANDB_MODE",
        "MPLBACKEND",
    ):
        if name in os.environ:
            rows[name] = os.environ[name]
    for group in ("models", "datasets", "metrics", "networks"):
        if plugins := [point.value for point in metadata.entry_points(group=f"disentangle_bench.{group}")]:
            rows[f"plug-in {group}"] = ", ".join(plugins)
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:{width}}  {value}")


def _devices() -> str:
    try:
        import torch
    except ModuleNotFoundError:
        return "none that train: PyTorch is not installed"
    names = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return ", ".join(["cpu", *names])
