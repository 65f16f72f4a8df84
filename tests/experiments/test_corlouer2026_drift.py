"""The printed formulas of Corlouer et al. that are wrong, in small: verdicts, and the helpers against other routes."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from sgdynamics import experiments, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.corlouer2026 import _drift, _drift_claims, _drift_printed

pytestmark = pytest.mark.long

CONFIG = _drift.DriftConfig(
    networks=((3, 4, 2),), singular_values=(1.0, 0.5), states=((0.1, 0.05), (0.5, 0.05)), replicas=12288
)


@pytest.fixture(scope="module")
def result():
    return _drift.run(CONFIG, experiments.Silence())


def test_verdicts_data_and_figure(result):
    claims = {claim.id: claim for claim in result.claims}
    assert not {id: claim.verdict for id, claim in claims.items() if not claim.as_expected}
    assert "3-4-2/exact decoupling/published" in claims
    assert {id.rsplit("/", 2)[-2] for id in claims if id.endswith("/control")} == {"no Itô drift", "modes alone"}
    check_described(result.data)
    assert len(plotting.draw("corlouer2026/drift", result.data).axes) == 2


def test_the_exponent_is_the_integral():
    mode = _drift_printed.Mode(1.0, 3, 0.01, 0.3)
    at = lambda function, w: float(function(jnp.array([w]))[0])
    expected = quad(lambda w: 2 * at(mode.drift, w) / at(mode.diffusion, w), 0.2, 0.6, epsrel=1e-9)[0]
    assert mode.exponent(0.2, 0.6) == pytest.approx(expected, rel=1e-9)


def test_slope_is_the_ratio_of_a_multiple():
    rng = np.random.default_rng(0)
    form = rng.uniform(0.5, 2, (3, 2))
    noise = rng.normal(size=(3, 400, 2))
    values = 0.3 * form[:, None, :] + 0.1 * (noise - noise.mean(axis=1, keepdims=True))
    estimate = _drift_claims.slope(values, form)
    assert float(estimate.value) == pytest.approx(0.3, rel=1e-12)
    # of least squares with equal weights: σ / √(n Σ form²)
    assert float(estimate.standard_error) == pytest.approx(0.1 / np.sqrt(400 * np.sum(form**2)), rel=0.15)


@pytest.mark.parametrize(
    "bad",
    [
        {"networks": ((3, 2, 3),)},
        {"networks": ((3, 3),)},
        {"states": ((0.1, 0.05, 0.05), (0.5, 0.3, 0.1))},
        {"label_noises": (0.3, 0.0)},
        {"singular_values": (0.4, 0.7, 1.0)},
        {"temperature": 0.0},
        {"replicas": 1},
    ],
)
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        _drift.DriftConfig(**bad)
