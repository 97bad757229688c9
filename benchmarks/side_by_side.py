"""Speed of the suite beside what a user would otherwise pick, as one table.

    python benchmarks/side_by_side.py                # print it
    python benchmarks/side_by_side.py --write        # and put it into docs/speed.md

Compared are an update of the beta-VAE (``conv64``, 64 images, one thread) with the same compiled or in bfloat16, with a
bare PyTorch loop and with the beta-VAEs of disent and pythae around the same network; DCI with scikit-learn's boosted
trees on the same codes; and batches of images with PNG files read by a DataLoader. disent and pythae are optional:
without them their rows say so.

Updates and DCI are measured in processor seconds of this process, which hold on a busy machine too; alternatives take
turns, and the median of the turns is reported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from sklearn.ensemble import GradientBoostingClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.files import data_folder
from disentangle_bench.metrics import _trees as trees
from disentangle_bench.registry import dataset_class
from disentangle_bench.training.precision import cpu_computes_bfloat16
from disentangle_bench.training.trainer import Trainer, build_optimizer, to_float

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- side by side: begin -->", "<!-- side by side: end -->"
CPU = torch.device("cpu")
BETA, LEARNING_RATE = 4.0, 1e-3

Row = tuple[str, str, str, str]
"""What is measured, by whom, the time or rate, and how it compares with this suite."""


def processor_seconds(alternatives: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the median processor seconds of one call of each alternative, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for turn in range(turns + 1):
        for name, call in alternatives.items():
            began = time.process_time()
            call()
            if turn:  # the first call allocates and compiles
                seconds[name].append(time.process_time() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def step(parameters: Any, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Return an update of ``parameters`` by Adam."""
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)

    def update() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return update


def bare(trainer: Trainer, x: Tensor) -> Callable[[], None]:
    """Return the update that one would write by hand for this network."""
    model, optimizer = trainer.model, build_optimizer(trainer.model, trainer.spec.training)

    def update() -> None:
        mean, log_variance = model.encoder(x).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        loss = nn.functional.mse_loss(model.decoder(z), x) + 1e-4 * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def disent_update(trainer: Trainer, x: Tensor) -> Callable[[], None]:
    """Return an update of disent's beta-VAE: its encoder and decoder are those of ``conv64``."""
    from disent.frameworks.vae import BetaVae
    from disent.model import AutoEncoder
    from disent.model.ae import DecoderConv64, EncoderConv64

    shape, latents = tuple(x.shape[1:]), trainer.model.config.latents
    networks = AutoEncoder(
        encoder=EncoderConv64(x_shape=shape, z_size=latents, z_multiplier=2),
        decoder=DecoderConv64(x_shape=shape, z_size=latents),
    )
    framework = BetaVae(model=networks, cfg=BetaVae.cfg(beta=BETA, loss_reduction="mean_sum"))
    framework.log = lambda *args, **kwargs: None  # there is no Lightning trainer to log to
    framework.log_dict = lambda *args, **kwargs: None
    batch = {"x_targ": (x,)}
    return step(framework.parameters(), lambda: framework.do_training_step(batch, 0))


def pythae_update(trainer: Trainer, x: Tensor) -> Callable[[], None]:
    """Return an update of pythae's beta-VAE around the suite's own encoder and decoder."""
    from pythae.data.datasets import DatasetOutput
    from pythae.models import BetaVAE, BetaVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = trainer.model.encoder

        def forward(self, images: Tensor) -> Any:
            mean, log_variance = self.network(images).chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = trainer.model.decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z))

    config = BetaVAEConfig(input_dim=tuple(x.shape[1:]), latent_dim=trainer.model.config.latents, beta=BETA)
    model = BetaVAE(config, encoder=Encoder(), decoder=Decoder())
    batch = DatasetOutput(data=x)
    return step(model.parameters(), lambda: model(batch).loss)


FRAMEWORKS = {"disent": disent_update, "pythae": pythae_update}


def updates(tiny: bool) -> list[Row]:
    """Compare updates of the beta-VAE."""
    torch.set_num_threads(1)
    dataset = dataset_class("rooms3d").load(data_folder(None))
    batch = 4 if tiny else 64
    words = [f"training.batch_size={batch}", "training.network=conv64"]
    spec = resolve("beta_vae", "rooms3d", "cpu", 0, words).spec

    def trainer() -> Trainer:
        return Trainer(spec, dataset, CPU)

    own = trainer()
    x = to_float(own.images(own.stream.batch(0)))
    alternatives: dict[str, Callable[[], object]] = {"disentangle-bench": own.update}
    if not tiny:
        alternatives["disentangle-bench --compile"] = Trainer(spec, dataset, CPU, compile=True).update
        lowered = spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "bf16"})})
        alternatives["disentangle-bench --precision bf16"] = Trainer(lowered, dataset, CPU).update
    alternatives["bare PyTorch"] = bare(trainer(), x)
    missing = {}
    for name, update in FRAMEWORKS.items():
        if importlib.util.find_spec(name) is None:
            missing[name] = "not installed"
        else:
            alternatives[f"{name} {importlib.metadata.version(name)}"] = update(trainer(), x)
    seconds = processor_seconds(alternatives, 2 if tiny else 15)
    base = seconds["disentangle-bench"]
    what = f"beta-VAE, an update of {batch} images"
    rows = [(what, name, f"{1e3 * value:.0f} ms", f"{value / base:.2f} x") for name, value in seconds.items()]
    return rows + [(what, name, reason, "") for name, reason in missing.items()]


def dci(tiny: bool) -> list[Row]:
    """Compare the boosted trees of DCI: one factor of eight classes, twelve continuous latents."""
    rows_drawn = 200 if tiny else 5000
    generator = np.random.default_rng(0)
    factors = generator.integers(8, size=(rows_drawn, 1))
    codes = generator.normal(size=(rows_drawn, 12)) + 2.0 * factors * (np.arange(12) == 0)
    with threadpool_limits(1):
        seconds = processor_seconds(
            {
                "disentangle-bench": lambda: trees.fit(codes, factors),
                "scikit-learn": lambda: GradientBoostingClassifier().fit(codes, factors[:, 0]),
            },
            1 if tiny else 3,
        )
    base = seconds["disentangle-bench"]
    what = f"DCI's trees, one factor, {rows_drawn:,} rows"
    return [(what, name, f"{value:.2f} s", f"{value / base:.0f} x") for name, value in seconds.items()]


class PNGs(torch.utils.data.Dataset[Tensor]):
    """The usual way: a file for each image, read with Pillow by the workers of a DataLoader."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(map(str, folder.glob("*.png")))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> Tensor:
        with Image.open(self.files[k]) as image:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def images(tiny: bool) -> list[Row]:
    """Compare the reading of images, in images per second of wall time, two workers against none."""
    dataset = dataset_class("rooms3d").load(data_folder(None))
    count, batch = (100, 10) if tiny else (5000, 250)
    index = np.random.default_rng(0).permutation(len(dataset))[:count]
    batches = dataset.place(CPU)

    def ours() -> None:
        for start in range(0, count, batch):
            batches(index[start : start + batch])

    with tempfile.TemporaryDirectory() as folder:
        for k in index:
            Image.fromarray(dataset.images([k])[0]).save(Path(folder, f"{k:06}.png"))
        loader = torch.utils.data.DataLoader(
            PNGs(Path(folder)), batch_size=batch, shuffle=True, num_workers=2, persistent_workers=True
        )

        def files() -> None:
            for _ in loader:
                pass

        rates = {}
        for name, read in {"disentangle-bench": ours, "PNG files, DataLoader": files}.items():
            seconds = []
            for _ in range(3):  # the first starts the workers
                began = time.perf_counter()
                read()
                seconds.append(time.perf_counter() - began)
            rates[name] = count / min(seconds[1:])
    base = rates["disentangle-bench"]
    return [
        ("images of rooms3d", name, f"{rate:,.0f} images/s", f"1/{base / rate:.0f}") for name, rate in rates.items()
    ]


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown, with machine and date."""
    lines = [
        f"Measured on {datetime.now(UTC):%d %B %Y} on {processor()} (torch {torch.__version__}, "
        f"{'with' if cpu_computes_bfloat16() else 'without'} instructions for bfloat16) by",
        "`python benchmarks/side_by_side.py --write`; updates and trees in processor seconds of one thread.",
        "",
        "| what | by | time or rate | against disentangle-bench |",
        "| --- | --- | ---: | ---: |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines)


@click.command()
@click.option("--write", is_flag=True, help="Put the table into docs/speed.md.")
@click.option("--tiny", is_flag=True, help="A test of the script: few images, few turns.")
def main(write: bool, tiny: bool) -> None:
    """Measure and print the table."""
    text = table([*updates(tiny), *dci(tiny), *images(tiny)])
    click.echo(text)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
