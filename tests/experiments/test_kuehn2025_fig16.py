"""Fig. 16 at a tiny size, and its regression against the toy loss that it stands for."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig16, _fig16_claims
from sgdynamics.theory import epochs as theory

TINY = _fig16.Fig16Config(samples=200, replicas=1024, momentum=0.5, relaxations=2.0, epochs=4)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    return _fig16.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "epochs/white noise in the flat direction/control",
        "with replacement/anti-correlated noise in the flat direction/control",
        "bridge/same at every position/control",
        "bridge/once an epoch is enough/control",
    }


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("kuehn2025/fig16", result.data)
    assert [axes.get_title() for axes in figure.axes] == ["epochs", "with replacement", "variance over the epoch"]


def test_the_regression_is_the_toy():
    """H, C₁ ∝ H, the gradient, and per-example curvatures that leave the other direction alone."""
    toy, θ, zero = _fig16.problem(TINY), jnp.array([0.3, -2.0]), jnp.zeros(2)
    h = TINY.curvatures
    assert_allclose(toy.hessian(zero), np.diag(h), atol=1e-15)
    assert_allclose(toy.gradient(θ), h * θ, atol=1e-14)
    g = np.asarray(toy.example_gradients(zero))
    assert_allclose(g.T @ g / len(g), TINY.label_noise_std**2 * np.diag(h), atol=1e-14)
    assert_allclose(np.asarray(toy.data.x).prod(axis=1), 0)


def test_the_spread_adds_as_much_noise_as_stated():
    """E over θ of the covariance of an example's gradient, over that at the minimum: 1 + h σ_θ²/σ², σ_θ² = spread²."""
    toy, h, spread = _fig16.problem(TINY), TINY.curvatures, np.array([0.3, 0.7])
    corners = [
        jnp.array(s, float) * spread for s in ((1, 1), (1, -1), (-1, 1), (-1, -1))
    ]  # their covariance is spread²
    C = np.mean([np.cov(toy.example_gradients(θ).T, bias=True) for θ in corners], axis=0)
    assert_allclose(np.diag(C) / (TINY.label_noise_std**2 * h), 1 + h * spread**2 / TINY.label_noise_std**2)


def test_positions_count_the_batches_done():
    """Without momentum and curvature, k batches leave k (M − k)/(M − 1) η² C: nothing after the last."""
    case = _fig16_claims.Toy(np.array([1e-9, 1e-9]), np.ones(2), 1.0, 0.0, 8, 1.0)
    k = np.arange(1, 9)
    assert_allclose(case.by_position()[0, 1], k * (8 - k) / 7, atol=1e-6)


@pytest.mark.parametrize(("momentum", "batches", "end"), [(0.0, 100, 0.0076), (0.9, 1000, 0.032)])
def test_the_bridge_is_nearly_closed_far_below_the_crossover(momentum, batches, end):
    """The variance after an epoch, over its average, at 1 % of the crossover; values from exact evaluation (catalogue),
    given to two digits."""
    step = {"learning_rate": 1.0, "momentum": momentum, "batches_per_epoch": batches}
    h = 0.01 * theory.crossover_curvature(**step)
    profile = theory.position_variances(h, 1.0, **step)[0]
    digit = {0.0076: 5e-5, 0.032: 5e-4}[end]
    assert_allclose(profile[0] / profile.mean(), end, atol=digit)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 2002), ("samples", 20), ("batch_size", 3), ("momentum", 1.0), ("steep", 0.5), ("steep", 2000.0),
        ("flat", 2.0), ("replicas", 10), ("epochs", 1), ("relaxations", 0.0), ("learning_rate", -1.0),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    expected = "samples" if field == "batch_size" else field
    with pytest.raises(ValueError, match=expected):
        _fig16.Fig16Config(**{field: value})
