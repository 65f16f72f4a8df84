"""The one-mode process in small: what is claimed, what is stored and drawn, and its pieces against other sources."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, norm

from sgdynamics import experiments, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.corlouer2026._one_mode import OneMode
from sgdynamics.experiments.corlouer2026._one_mode_ensemble import cdf_between, largest_gap
from sgdynamics.experiments.corlouer2026._stationary import run
from sgdynamics.experiments.corlouer2026._stationary_study import StationaryConfig

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = StationaryConfig(
        depths=(2,), temperatures=(0.04,), replicas=1536, cells=300, steps=100, time=14.0, settling=7.0, stages=(0.5,)
    )
    return run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert all(claim.as_expected for claim in result.claims), [c.id for c in result.claims if not c.as_expected]
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {
        "L = 2/mean above s/published",
        "L = 2/mean/published",
        "L = 2/zero of the drift/published",
    }
    assert {id for id in ids if id.endswith("/control")} == {
        "L = 2/maximum of p at the zero of the drift/control",
        "L = 2/mean at the zero of the drift/control",
        "L = 2/law on the way, drift as printed/control",
    }


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    axes = plotting.draw("corlouer2026/stationary", result.data).axes
    assert [ax.get_title() for ax in axes] == ["L = 2, on the way", "L = 2, t = 14"]


def test_drift_and_diffusion_of_two_layers_by_hand():
    s, β, σ, w = 0.8, 0.02, 0.3, np.array([0.1, 0.5, 1.1])
    mode, noise = OneMode(s, 2, β, σ), 2 * (s - w) ** 2 + σ**2
    assert np.allclose(mode.drift(jnp.asarray(w)), 2 * w * (s - w) + β * w * noise)
    assert np.allclose(mode.diffusion(jnp.asarray(w)), 4 * β * w**2 * noise)
    assert np.isclose(mode.variance, mode.diffusion(jnp.asarray(s)) / (2 * mode.rate))
    assert np.isclose(mode.tail_exponent(1e7), -3.5, atol=1e-4)


def test_the_largest_gap_is_that_of_kolmogorov():
    sample = np.sort(np.random.default_rng(3).normal(size=50))
    assert np.isclose(largest_gap(sample, norm.cdf(sample)), kstest(sample, "norm").statistic)
    assert np.allclose(
        cdf_between(np.array([0.0, 1.0, 3.0]), np.array([0.25, 0.75]), np.array([0.5, 2.0])), [0.125, 0.625]
    )


@pytest.mark.parametrize(
    "bad", [{"depths": (1,)}, {"substeps": 1}, {"settling": 18.0}, {"stages": (0.01,)}, {"temperatures": (0.0,)}]
)
def test_bad_values_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        StationaryConfig(**bad)
