"""Metrics of disentanglement, as pure functions of arrays: one file each, imported here by name.

    from disentangle_bench.metrics import dci, infomec
    scores = infomec(codes, factors, discrete=True)

A metric's function and its file share a name. Here the name is the function; the file, with its ``CARD`` and
``score``, is ``importlib.import_module("disentangle_bench.metrics.dci")``, or names can be taken out of it:
``from disentangle_bench.metrics.dci import CARD``. Importing this is cheap: scikit-learn, scipy and numba are
imported when a metric is computed.
"""

# Imported at once and not through a lazy __getattr__: importing a submodule later binds its name here to the module,
# and would hide the function. The module is bound first and the function after it only if both happen here.
from disentangle_bench.metrics.beta_vae_score import beta_vae_score
from disentangle_bench.metrics.dci import dci
from disentangle_bench.metrics.factor_vae_score import factor_vae_score
from disentangle_bench.metrics.infomec import infomec
from disentangle_bench.metrics.latents import latents
from disentangle_bench.metrics.mig import mig
from disentangle_bench.metrics.modularity import modularity
from disentangle_bench.metrics.mse import mse
from disentangle_bench.metrics.sap import sap

__all__ = ["beta_vae_score", "dci", "factor_vae_score", "infomec", "latents", "mig", "modularity", "mse", "sap"]
