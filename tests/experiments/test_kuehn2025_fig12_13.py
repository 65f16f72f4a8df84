"""Figs. 12 and 13 at a tiny size, and their tests against independent oracles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig12_13, _fig12_13_claims

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig12_13.Fig12And13Config(
        network="linear", samples=60, modes=4, batch_size=12, incomplete_batch_size=25, replicas=512
    )
    return _fig12_13.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert sum(claim.id.endswith("/control") for claim in result.claims) == 7


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("kuehn2025/fig12_13", result.data)
    assert [len(axes.get_lines()) > 0 for axes in figure.axes] == [True, True, True, False, False]


def test_noise_of_the_other_sampling_fails_the_claim_on_all_lags():
    ρ = np.random.default_rng(0).normal(0, 0.1, (512, 4)) + (np.arange(4) == 0)
    white, epochs = np.array([1.0, 0, 0, 0]), np.array([1.0, -0.25, -0.125, 0])
    verdict = lambda expected: _fig12_13_claims._joint("all", "Eq. 2", "", ρ, expected).verdict
    assert verdict(white) == "reproduced"
    assert verdict(epochs) == "not reproduced"


def test_correlations_by_hand():
    """Two replicas, one epoch of three batches after another, one mode."""
    noise = np.array([[1.0, 2, -3, 0, 4, -4, 2], [1.0, 1, -2, 5, -5, 0, 1]])[..., None]
    case = _fig12_13_claims.Sampled(noise, batches=3, lags=np.arange(2), expected=np.zeros(2))
    lag1 = [(1 * 2 - 2 * 3 + 0 + 0 - 16 - 8) / 6, (1 - 2 - 10 - 25 + 0 + 0) / 6]
    assert_allclose(case.autocorrelation[:, 1], lag1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "unknown"), ("size", "huge"), ("samples", 4000), ("batch_size", 30), ("batch_size", 200),
        ("incomplete_batch_size", 100), ("incomplete_batch_size", 300), ("replicas", 10),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig12_13.Fig12And13Config(**{field: value})
