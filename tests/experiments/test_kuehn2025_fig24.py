"""The loss that epochs spare, at a tiny size; the reduction of a spectrum, by other means."""

import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025 import _fig24, _fig24_claims, _fig24_spectra
from sgdynamics.experiments.kuehn2025 import _late_phase as late

TINY = {
    "inputs": 4, "batches": 12, "regression_replicas": 64, "regression_epochs": 60, "network_batch_size": 20,
    "stiffness": (0.3, 1.0, 3.0), "replicas": 512, "epochs": 63,
}  # fmt: skip


def small_minimum(*_):
    """Of a regression with weight decay, in place of a network's."""
    rng, λ = np.random.default_rng(0), 0.01
    x, y = rng.normal(size=(200, 4)) * [1.0, 0.8, 0.5, 0.3], rng.normal(size=200)
    problem = sgd.Problem(sgd.networks.Linear(4, 1), sgd.data.Dataset(x, y))
    h, V = np.linalg.eigh(x.T @ x / 200 + λ * np.eye(4))
    θ = np.linalg.solve(x.T @ x / 200 + λ * np.eye(4), x.T @ y / 200)
    gradients = ((x @ θ - y)[:, None] * x) @ V
    return late.Minimum(problem, jnp.asarray(θ), λ, h[::-1], V[:, ::-1], np.var(gradients, axis=0)[::-1])


@pytest.fixture(scope="module")
def result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(late, "minimum", small_minimum)
        return _fig24.run(_fig24.Fig24Config(**TINY), experiments.Silence())


@pytest.mark.long
def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    kinds = {suffix: {c.id for c in result.claims if c.id.endswith(suffix)} for suffix in ("/published", "/control")}
    assert kinds["/published"] == set()
    braces = [claim for claim in result.claims if claim.id.endswith("/the brace taken literally")]
    assert [claim.kind for claim in braces] == ["rejection", "rejection"]
    assert kinds["/control"] == {f"{case}/independent batches/control" for case in ("regression", "network")}


@pytest.mark.long
def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    assert len(plotting.draw("kuehn2025/fig24", result.data).axes) == 2


def test_flat_and_stiff_spectra():
    """Far below the crossover r = h/h_cross, far above it r = 1 − 2/(3 h/h_cross)."""
    h = np.array([1.0, 0.5])
    assert _fig24_spectra.reduction(h, 1e-6) == pytest.approx(1 - 1e-6 * np.sum(h**2) / np.sum(h), abs=1e-9)
    assert _fig24_spectra.reduction(h, 1e4) == pytest.approx(2 / 3e4 * 2 / np.sum(h), rel=1e-3)


def test_the_catalogue_s_stiffness():
    """31, 14.6 and 3.9 for 62 % of 5,000 modes."""
    found = [_fig24_spectra.required_stiffness(_fig24_spectra.power_law(5000, p)) for p in (0.75, 1.0, 1.25)]
    np.testing.assert_allclose(found, [31, 14.6, 3.9], rtol=0.01)


def test_exact_reduction_of_one_mode():
    """Without momentum, by powers of the transition: a sum over one epoch's permutation noise, solved directly."""
    M, η = 6, 3 * 1.0 / 6
    a, C = 1 - η, np.eye(M) - (1 - np.eye(M)) / (M - 1)
    positions, across = [], np.zeros(M)
    for l in range(M):  # after l batches of an epoch: these, and all of the epochs before
        weights = np.where(np.arange(M) < l, a ** (l - 1.0 - np.arange(M)), 0) if l else across
        before = a ** (l + np.arange(M))[::-1]
        positions.append(weights @ C @ weights + before @ C @ before / (1 - a ** (2 * M)))
    expected = 1 - np.mean(positions) * (1 - a**2)
    found = _fig24_spectra.exact_reduction(np.ones(1), 1.0, momentum=0.0, batches=M)
    assert found == pytest.approx(expected, abs=1e-9)


def test_spared_carries_both_errors():
    rng = np.random.default_rng(0)
    pair = {
        name: _fig24_claims.Excess(over_realisations(mean + spread * rng.normal(size=4000)), 1.0)
        for name, mean, spread in (("epochs", 1.0, 0.5), ("replacement", 4.0, 1.0))
    }
    spared = _fig24_claims.spared(pair)
    assert spared.value == pytest.approx(0.75, abs=0.01)
    assert spared.standard_error == pytest.approx(0.25 * np.hypot(0.5, 0.25) / np.sqrt(4000), rel=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("replicas", 8), ("stiffness", (1.0, 2.0)), ("epochs", 20), ("network_batch_size", 3), ("network", "none"),
     ("inputs", 1000), ("momentum", 1.0)],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig24.Fig24Config(**{field: value})
