"""The metrics give what the original implementations give, for every golden file."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from disentangle_bench.metrics import infomec, mig, modularity, sap
from disentangle_bench.metrics._information import standardise
from support import sklearn_oracles
from support.metric_goldens import NAMES, load

VARIANTS = ("hsu2023", "factorqvae2024", "tripod2024")
CASES = [(name, variant) for name in NAMES for variant in VARIANTS if f"infomec_{variant}" in load(name).expected]


def test_there_are_discrete_and_continuous_golden_files() -> None:
    assert {load(name).discrete for name in NAMES} == {True, False}
    assert len(NAMES) >= 9


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_infomec(name: str, variant: str) -> None:
    case = load(name)
    expected = case.expected[f"infomec_{variant}"]
    result = infomec(case.codes, case.factors, discrete=case.discrete, n_train=case.n_train, variant=variant)
    # The originals break ties with unseeded noise, so their own continuous scores differ by up to 5e-5 among runs.
    tolerance = 1e-9 if case.discrete else 1e-4
    assert result["modularity"] == pytest.approx(expected["infom"], abs=tolerance)
    assert result["compactness"] == pytest.approx(expected["infoc"], abs=tolerance)
    np.testing.assert_allclose(result["nmi"], expected["nmi"], atol=tolerance)
    # A fit that is cut off at the iteration cap carries the rounding of every step with it.
    assert result["explicitness"] == pytest.approx(expected["infoe"], abs=2e-4)
    assert result["active"].tolist() == expected["active_latents"]
    assert result.notes == {}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("metric", [mig, modularity, sap], ids=lambda metric: metric.__name__)
def test_locatello2019(name: str, metric) -> None:  # type: ignore[no-untyped-def]
    case = load(name)
    result = metric(case.codes, case.factors, n_train=case.n_train)
    assert result["score"] == pytest.approx(case.expected[f"{metric.__name__}_locatello2019"], abs=1e-9)


SLOW = ["mixed_discrete10", "full_continuous", "full_discrete64"]


@pytest.mark.parametrize(
    "name", ["mixed_continuous", "perfect_discrete", *(pytest.param(name, marks=pytest.mark.thorough) for name in SLOW)]
)
def test_infomec_is_what_scikit_learn_gives(name: str) -> None:
    case = load(name)
    rows, factors = case.n_train, case.factors
    result = infomec(case.codes, factors, discrete=case.discrete, n_train=rows)
    scaled = standardise(case.codes, case.codes[:rows])
    if case.discrete:
        information = sklearn_oracles.plug_in_information(case.codes[:rows], factors[:rows])
    else:
        information = sklearn_oracles.nearest_neighbour_information(scaled[:rows], factors[:rows], 10, 0)
    entropies = [scipy.stats.entropy(np.bincount(column[:rows])) for column in factors.T]
    np.testing.assert_allclose(result.nmi, information / np.array(entropies)[:, None], atol=1e-12)
    tasks = [(column, np.arange(rows, len(factors)), int(column.max()) + 1) for column in factors.T]
    losses = sklearn_oracles.probe_losses(case.codes if case.discrete else None, scaled, rows, tasks, 100)
    probed = 1 - losses / np.log([[classes] for _, _, classes in tasks])
    np.testing.assert_allclose(result.explicitness_by_factor, probed[:, 0], atol=5e-4)
    # Held-out losses of separable codes grow with the norm of the coefficients, and so do their differences.
    np.testing.assert_allclose(result.explicitness_heldout_by_factor, np.maximum(probed[:, 1], 0), atol=2e-3)
