"""Prints processor time of an update of Tripod and HFS beside the beta-VAE's, on conv64 and adain, one thread.

python docs/models/update_cost.py
"""

from __future__ import annotations

import time

import torch

from disentangle_bench.config.resolve import resolve
from disentangle_bench.data.files import data_folder
from disentangle_bench.registry import dataset_class
from disentangle_bench.training.trainer import Trainer

UPDATES = 3


def main() -> None:
    """Measure and print, one line a row."""
    torch.set_num_threads(1)
    dataset = dataset_class("rooms3d").load(data_folder(None))
    for network, batch in (("conv64", 64), ("adain", 4)):
        for model in ("beta_vae", "hfs", "tripod"):
            words = [f"training.network={network}", f"training.batch_size={batch}"]
            trainer = Trainer(resolve(model, "rooms3d", "smoke", 0, words).spec, dataset, torch.device("cpu"))
            trainer.update()
            began = time.process_time()
            for _ in range(UPDATES):
                trainer.update()
            milliseconds = 1000 * (time.process_time() - began) / UPDATES
            print(f"{network:8} {batch:3} images  {model:9} {milliseconds:8.0f} ms")


if __name__ == "__main__":
    main()
