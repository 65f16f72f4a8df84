"""Anti-PGD on a tiny network: what is claimed and drawn; the law's pieces against dense derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.data import Dataset
from sgdynamics.experiments import _store
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.beyond import _anti_pgd, _anti_pgd_case, _anti_pgd_law

pytestmark = pytest.mark.long
RNG = np.random.default_rng(3)
PROBLEM = sgd.Problem(
    sgd.networks.MLP((2, 3, 2), key=jax.random.key(4)), Dataset(RNG.normal(size=(7, 2)), RNG.normal(size=(7, 2)))
)
TEST = Dataset(RNG.normal(size=(5, 2)), RNG.normal(size=(5, 2)))
θ, λ, η = PROBLEM.parameters, 2.0, 0.2  # at any point, convex enough for the law's algebra
SIZE = θ.size


@pytest.fixture(scope="module")
def result():
    config = _anti_pgd_case.AntiPGDConfig(hidden=3, samples=60, weight_decay=0.05, replicas=320, steps=100)
    return _anti_pgd.run(config, experiments.Silence())


@pytest.fixture(scope="module")
def at():
    return _anti_pgd_law.derivatives(PROBLEM, TEST, θ, λ)


def test_the_law_holds_and_its_controls_are_excluded(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    # so small a network's PGD stays within order σ²: that this fails is the full one's
    assert {id for id, verdict in verdicts.items() if verdict != "reproduced"} <= {"equal σ/PGD by order σ²/control"}
    assert not [id for id in verdicts if id.endswith("/published")]
    assert {id for id in verdicts if id.endswith("/control")} == {
        "Anti-PGD/no force/control", "Anti-PGD/effective loss alone/control", "Anti-PGD/test loss at θ/control",
        "equal σ/PGD by order σ²/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/anti_pgd", result.data)
    assert len(figure.axes) == 3 and len(figure.legends[0].get_texts()) == 6


def test_the_trace_is_that_of_the_hessian():
    assert abs(_anti_pgd_law.trace(PROBLEM, θ) - jnp.trace(PROBLEM.hessian(θ))) < 1e-12


def test_derivatives_are_those_of_the_dense_hessian(at):
    third = once(jax.jacfwd(lambda θ: PROBLEM.hessian(θ)))(θ)
    Q = np.asarray(at.modes)
    assert np.abs(at.forces - np.einsum("abc,ai,bi->ic", third, Q, Q)).max() < 1e-12
    second = once(jax.hessian(lambda θ: _anti_pgd_law.trace(PROBLEM, θ)))(θ)
    assert np.abs(at.trace_hessian - second).max() < 1e-11
    assert np.abs(Q @ np.diag(at.curvatures) @ Q.T - PROBLEM.hessian(θ) - λ * np.eye(SIZE)).max() < 1e-12


@pytest.mark.parametrize("anticorrelated", [True, False])
def test_variances_are_those_of_the_recursion(anticorrelated):
    """θ_{k+1} = (1 − x) θ_k + ξ_{k+1} − [Anti-PGD] ξ_k, as a sum over all ξ, ξ_0 = 0."""
    a, σ, K = np.array([0.1, 1.0, 7.0]), 0.3, 6
    found = _anti_pgd_law.variances(a, K, learning_rate=η, std=σ, anticorrelated=anticorrelated)
    for i, x in enumerate(η * a):
        weights = np.zeros(K + 1)  # of θ_k on ξ_1, …, ξ_K
        for k in range(K + 1):
            assert abs(found[k, i] - σ**2 * weights @ weights) < 1e-15
            weights = (1 - x) * weights
            if k < K:
                weights[k + 1] += 1
                weights[k] -= anticorrelated * (k > 0)


def test_means_descend_the_loss_that_the_variances_smooth(at):
    """From the start, one step down ∇{L_λ + ½ tr(H V)}; the second step at the new place."""
    V = RNG.uniform(0, 0.01, (3, SIZE))
    s = np.array([0.001, 0.002, 0.0])
    m = _anti_pgd_law.means(PROBLEM, θ, at, jnp.asarray(V), jnp.asarray(s), η, λ)
    smooth = lambda place, S: jax.grad(lambda p: jnp.sum(PROBLEM.hessian(p) * S) / 2)(place)
    of = lambda v: jnp.asarray(at.modes @ np.diag(v) @ np.asarray(at.modes).T)
    down = lambda place, k: (
        PROBLEM.gradient(place) + λ * place + smooth(place, s[k] * jnp.eye(SIZE)) + smooth(θ, of(V[k] - s[k]))
    )
    first = θ - η * down(θ, 0)
    assert np.abs(m[1] - first).max() < 1e-13
    assert np.abs(m[2] - (first - η * down(first, 1))).max() < 1e-13


def test_what_fluctuations_add_to_the_trace(at):
    V = RNG.uniform(size=SIZE)
    Q = np.asarray(at.modes)
    expected = np.trace(np.asarray(at.trace_hessian) @ Q @ np.diag(V) @ Q.T) / 2
    assert abs(_anti_pgd_law.rounding(at, at.trace_hessian, V[None])[0] - expected) < 1e-11


def test_fluctuations_raise_the_test_loss_by_its_own_hessian(at):
    """Its mean over θ ± δ, δ of variance σ² along each mode, to order σ²."""
    σ, Q = 1e-4, np.asarray(at.modes)
    around = np.asarray(θ) + σ * np.concatenate([Q.T, -Q.T])
    here, moved = (np.asarray(_anti_pgd_law.losses(PROBLEM, TEST, jnp.asarray(p))) for p in (θ[None], around))
    added = np.sum(moved - here) / 2
    law = _anti_pgd_law.rounding(at, at.test_hessian, np.full((1, SIZE), σ**2))[0]
    assert abs(added / law - 1) < 1e-5


def test_the_remainder_is_of_fourth_order(at):
    of = lambda σ: float(_anti_pgd_law.remainder(PROBLEM, θ, at.trace_hessian, σ, jax.random.key(1)))
    assert abs(of(0.02) / of(0.01) / 16 - 1) < 0.1


@pytest.mark.parametrize(("field", "value"), [("hidden", 0), ("noise_std", 0.0), ("steps", 10), ("weight_decay", -1.0)])
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _anti_pgd_case.AntiPGDConfig(**{field: value})
