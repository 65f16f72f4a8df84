"""Fig. 25 at a tiny size: what is claimed and drawn; the valley's laws against Gauss and Hermite."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig25, _fig25_case, _fig25_valley

pytestmark = pytest.mark.long

Config = _fig25_case.Fig25Config
η, σ, D = 0.1, 0.3, 2
VALLEY = _fig25_valley.problem(D)
Z = np.array([0.4, -0.2, 1.1])


@pytest.fixture(scope="module")
def result():
    config = Config(transverse=12, noise_std=0.04, curvatures=(0.2, 1.5), steps=1000, early=100, replicas=1024)
    return _fig25.run(config, experiments.Silence())


def test_every_claim_comes_out(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert {claim.id for claim in result.claims if claim.kind == "rejection"} == {
        f"{name}/control"
        for name in (
            "Anti-PGD/speed/of the other noise", "Anti-PGD/speed/of the effective loss",
            "PGD/speed/of the other noise",
        )
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("kuehn2025/fig25", result.data)
    assert len(figure.axes) == 3 and len(figure.legends[0].get_texts()) == 7


def hermite(function):
    """E function(ξ), ξ ~ N(0, σ²) in each parameter: exact for polynomials of degree 9."""
    x, w = np.polynomial.hermite_e.hermegauss(5)
    points = σ * np.array(list(itertools.product(x, repeat=D + 1)))
    weights = np.prod(list(itertools.product(w / w.sum(), repeat=D + 1)), axis=1)
    return np.tensordot(weights, np.asarray(jax.vmap(function)(jnp.asarray(points))), axes=1)


def test_the_loss_is_that_of_the_valley():
    u, v = Z[:D], Z[D]
    assert abs(VALLEY.loss(jnp.asarray(Z)) - v**2 * (u @ u) / 2) < 1e-14
    assert abs(jnp.trace(VALLEY.hessian(jnp.asarray(Z))) - (D * v**2 + u @ u)) < 1e-13


def test_the_mean_gradient_is_that_of_the_effective_loss():
    """Catalogue 3.9, of degree 4 exactly."""
    effective = jax.grad(lambda θ: VALLEY.loss(θ) + σ**2 / 2 * jnp.trace(VALLEY.hessian(θ)))
    mean = hermite(lambda ξ: VALLEY.gradient(jnp.asarray(Z) + ξ))
    assert np.abs(mean - effective(jnp.asarray(Z))).max() < 1e-13
    assert np.abs(mean - VALLEY.gradient(jnp.asarray(Z))).max() > 0.01


@pytest.mark.parametrize("name", ["anticorrelated_step", "uncorrelated_step"])
def test_one_step_of_the_laws(name):
    def after(ξ):
        θ = jnp.asarray(Z) + (ξ if name == "anticorrelated_step" else 0)
        new = jnp.asarray(Z) - η * VALLEY.gradient(θ) + (0 if name == "anticorrelated_step" else ξ)
        return jnp.stack([new[D], jnp.sum(new[:D] ** 2)])

    law = getattr(_fig25_valley, name)(Z[D], Z[:D] @ Z[:D], D, η, σ**2)
    assert np.abs(hermite(after) - law).max() < 1e-13


def test_on_the_floor_the_laws_reach_their_rates():
    few = {"transverse": 10, "learning_rate": η, "std": 3e-4}
    for x in (0.2, 1.5):
        anti, plain = (
            law(np.sqrt(x / η), 200, **few)[0][100:]
            for law in (_fig25_valley.anticorrelated, _fig25_valley.uncorrelated)
        )
        assert abs(_fig25_valley.rate(anti, **few) * (2 - x) / 2 - 1) < 2e-3
        assert abs(_fig25_valley.rate(plain, **few) * x * (2 - x) - 1) < 2e-3


@pytest.mark.parametrize(
    ("field", "value"),
    [("curvatures", (2.5,)), ("transverse", 1), ("learning_rate", 0.0), ("early", 2000), ("replicas", 0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Config(**{field: value})
