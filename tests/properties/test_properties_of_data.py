"""What laws of a data set's own noise must obey, for any data: regression, deep linear and two-layer networks.

With r = Xw − y and g_μ = r_μ x_μ:

- the examples' order does not matter;
- y → y + X u moves the minimum by u and nothing else: residuals and covariances stay;
- y → αy scales residuals by α, covariances by α²;
- X → X O turns them: M → Oᵀ M O;
- X → αX with η → η/α²: weights are measured in 1/α, and ηH is the same: M → M/α², C → α² C.
"""

import jax
import matrices
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sgdynamics.theory import deep_linear, regression, two_layer

P, N = 9, 3
varied = settings(deadline=None, max_examples=10, derandomize=True, database=None, phases=matrices.PHASES)
FORMS = ("exact", "additive", "multiplicative", "lyapunov")


def law(form, **more):
    return jax.jit(
        lambda x, y, η: regression.stationary_covariance(x, y, learning_rate=η, batch_size=2, form=form, **more)
    )


LAWS = {form: law(form) for form in FORMS}
LAWS["exact, with momentum, without replacement"] = law("exact", momentum=0.7, replacement=False)


@jax.jit
def noise(x, y):
    w = regression.minimum(x, y)
    return w, regression.noise_covariance(x, y, w, batch_size=2), regression.hessian(x)


def data_of(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(P, N)) / np.sqrt(N), rng.normal(size=P), rng.normal(size=N), rng.permutation(P)


@pytest.mark.parametrize("name", LAWS)
@varied
@given(st.integers(0, 2**32), matrices.factors, matrices.rotations(), st.floats(0.001, 0.03))
def test_stationary_covariances_of_regression(name, seed, α, O, η):
    x, y, u, order = data_of(seed)
    of = LAWS[name]
    M = of(x, y, η)
    assert matrices.is_covariance(M) and float(np.trace(M)) > 0
    assert matrices.near(of(x[order], y[order], η), M)
    assert matrices.near(of(x, y + x @ u, η), M)
    assert matrices.near(of(x, α * y, η), α**2 * M)
    assert matrices.near(of(x @ O, y, η), O.T @ M @ O)
    assert matrices.near(of(α * x, y, η / α**2), M / α**2)


@pytest.mark.parametrize("discrete, continuous", [("exact", "multiplicative"), ("additive", "lyapunov")])
@varied
@given(st.integers(0, 2**32))
def test_discrete_and_continuous_laws_of_regression(discrete, continuous, seed):
    """The relative error halves with η, in each direction's own units of the softest curvature."""
    x, y, _, _ = data_of(seed)
    h = np.linalg.eigvalsh(x.T @ x / P)
    assume(h[0] > 0.02)

    def error(η):
        M = LAWS[continuous](x, y, η)
        return np.linalg.norm(LAWS[discrete](x, y, η) - M) / np.linalg.norm(M)

    coarse, fine = error(0.01), error(0.005)
    assert coarse < 0.05 and 0.4 < fine / coarse < 0.6


@varied
@given(st.integers(0, 2**32), matrices.factors, matrices.rotations())
def test_noise_at_the_minimum(seed, α, O):
    x, y, u, order = data_of(seed)
    w, C, H = noise(x, y)
    assert matrices.is_covariance(C) and matrices.is_covariance(H)
    assert matrices.near(noise(x[order], y[order])[1], C)
    moved = noise(x, y + x @ u)
    assert matrices.near(moved[0], w + u) and matrices.near(moved[1], C)
    assert matrices.near(noise(α * x, y)[1], α**2 * C)
    turned = noise(x @ O, y)
    for before, after in [(O.T @ w, turned[0]), (O.T @ C @ O, turned[1]), (O.T @ H @ O, turned[2])]:
        assert matrices.near(after, before)


@jax.jit
def deep(weights, teacher, σ, S):
    setting = {"learning_rate": 0.1, "batch_size": S, "label_noise_std": σ}
    return (
        deep_linear.noise_covariance(weights, teacher, label_noise_std=σ, batch_size=S),
        deep_linear.mode_diffusion(weights, teacher, **setting),
        deep_linear.mode_amplitudes(weights, teacher), deep_linear.imbalance(weights),
    )  # fmt: skip


@varied
@given(st.integers(0, 2**32), matrices.factors, matrices.rotations(), matrices.rotations())
def test_deep_linear_networks(seed, α, O, R):
    """Noise is a covariance and goes as 1/S; turning hidden units, or inputs and teacher, changes nothing that is seen;
    at the teacher the noise is the labels', of variance σ²."""
    rng = np.random.default_rng(seed)
    W, V, teacher = (rng.normal(size=(3, 3)) for _ in range(3))
    teacher = teacher + np.diag([6.0, 3.0, 0.0])
    C, D, amplitudes, r = deep((W, V), teacher, 0.5, 2.0)
    assert matrices.is_covariance(C) and matrices.is_covariance(D) and np.all((r >= 0) & (r <= 1))
    assert matrices.near(deep((W, V), teacher, 0.5, 2 * α)[0], C / α)
    hidden = deep((O @ W, V @ O.T), teacher, 0.5, 2.0)
    inputs = deep((W @ R.T, V), teacher @ R.T, 0.5, 2.0)
    for again in (hidden, inputs):
        for before, after in zip((D, amplitudes, r), again[1:], strict=True):
            assert matrices.near(after, before)
    assert matrices.near(np.linalg.eigvalsh(hidden[0]), np.linalg.eigvalsh(C))
    learnt = deep((W, V), V @ W, 0.5, 2.0)[0]
    assert matrices.near(deep((W, V), V @ W, 0.5 * α, 2.0)[0], α**2 * learnt)


@jax.jit
def two(first, second, η, e):
    setting = {"learning_rate": η, "batch_size": 2, "residual_variance": e}
    process = two_layer.fluctuations(first, second, input_variance=0.5, **setting)
    basis = two_layer.directions(first, second)
    M = two_layer.stationary_covariance(first, second, **setting)
    return process.drift, process.noise, basis, basis @ M @ basis.T, two_layer.second_layer_variances(
        first, second, **setting
    )  # fmt: skip


@varied
@given(st.integers(0, 2**32), matrices.factors, matrices.rotations(2))
def test_two_layer_networks(seed, α, O):
    """A M + M Aᵀ = N; M goes as η and as the residuals' variance; hidden units turned turn it, and no variance."""
    rng = np.random.default_rng(seed)
    first, second = np.eye(2, 3) + 0.3 * rng.normal(size=(2, 3)), np.eye(2) + 0.3 * rng.normal(size=(2, 2))
    A, noise_, _, M, variances = two(first, second, 0.1, 0.5)
    assert matrices.is_covariance(M) and matrices.is_covariance(noise_) and np.all(variances >= 0)
    assert matrices.near(A @ M + M @ A.T, noise_)
    assert matrices.near(two(first, second, 0.1 * α, 0.5)[3], α * M)
    assert matrices.near(two(first, second, 0.1, 0.5 * α)[3], α * M)
    turned = two(O @ first, second @ O.T, 0.1, 0.5)
    over = np.block([[np.kron(O, np.eye(3)), np.zeros((6, 4))], [np.zeros((4, 6)), np.kron(np.eye(2), O)]])
    assert matrices.near(turned[3], over @ M @ over.T) and matrices.near(turned[4], variances)
