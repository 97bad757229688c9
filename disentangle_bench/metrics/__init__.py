"""Metrics of disentanglement, as pure functions of arrays.

    from disentangle_bench.metrics import dci, infomec
    result = infomec(codes, factors, discrete=True)
    result.modularity, result["nmi"]

Importing this is cheap: scikit-learn, scipy and numba are imported when a metric is computed.
"""

from disentangle_bench.metrics._beta_vae_score import beta_vae_score
from disentangle_bench.metrics._consistency import consistency
from disentangle_bench.metrics._dci import dci
from disentangle_bench.metrics._factor_vae_score import factor_vae_score
from disentangle_bench.metrics._infomec import infomec
from disentangle_bench.metrics._latents import latents
from disentangle_bench.metrics._mcc import mcc
from disentangle_bench.metrics._mig import mig
from disentangle_bench.metrics._minimality import minimality
from disentangle_bench.metrics._modularity import modularity
from disentangle_bench.metrics._mse import mse
from disentangle_bench.metrics._sap import sap
from disentangle_bench.metrics._udr import udr
from disentangle_bench.metrics.metric import MetricResult

__all__ = [
    "MetricResult",
    "beta_vae_score",
    "consistency",
    "dci",
    "factor_vae_score",
    "infomec",
    "latents",
    "mcc",
    "mig",
    "minimality",
    "modularity",
    "mse",
    "sap",
    "udr",
]
