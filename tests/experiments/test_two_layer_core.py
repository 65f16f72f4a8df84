"""The two-layer problem of the experiments: its minimum, its laws, its balance, each against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.experiments import _noise_targets, _two_layer
from sgdynamics.experiments._two_layer_observables import local_covariance
from sgdynamics.noise import FiniteSample
from sgdynamics.statistics import Estimate, SnapshotsEstimate

INPUTS, HIDDEN, OUTPUTS, SAMPLES = 4, 3, 2, 12
SIZES = {"samples": SAMPLES, "inputs": INPUTS, "hidden": HIDDEN, "outputs": OUTPUTS}
REST = {"label_noise_std": 0.5, "learning_rate": 0.2, "batch_size": 3}


def pure_noise(**options):
    return _two_layer.pure_noise(jax.random.key(3), **SIZES | REST | options)


@pytest.fixture(scope="module")
def case():
    return pure_noise()


def test_the_origin_is_a_minimum_of_the_whole_data_set(case):
    x, y = np.asarray(case.data.x), np.asarray(case.data.y)
    best = np.linalg.lstsq(x, y, rcond=None)[0].T
    first, second = case.layers
    assert np.abs(second @ first - best).max() < 1e-8
    assert case.gradient_norm < 1e-9
    assert case.residual_variance == pytest.approx(np.mean((y - x @ best.T) ** 2), rel=1e-12)
    assert case.first_strengths == pytest.approx(np.linalg.eigvalsh(first @ first.T)[::-1])
    assert case.second_strengths == pytest.approx(np.linalg.eigvalsh(second @ second.T)[::-1])


def test_compressed_data_have_the_same_loss_and_gradient(case):
    θ = jnp.asarray(np.random.default_rng(0).normal(size=case.origin.shape))
    small = _noise_targets.compressed(case.data)
    assert small.samples == INPUTS + OUTPUTS
    problem = case.problem  # which is made once, and not while something is traced
    whole = jax.jit(jax.value_and_grad(lambda θ: problem.loss(θ)))(θ)
    part = jax.jit(jax.value_and_grad(lambda θ: problem.loss(θ, small)))(θ)
    assert abs(whole[0] - part[0]) < 1e-12
    assert jnp.abs(whole[1] - part[1]).max() < 1e-12


def test_directions_hold_all_of_hessian_and_noise(case):
    V, problem = np.asarray(case.directions), case.problem
    H = jax.jit(lambda θ: problem.hessian(θ))(case.origin)
    C = jax.jit(lambda θ: FiniteSample(problem, case.batch_size).covariance(θ))(case.origin)
    assert np.abs(V @ case.hessian @ V.T - H).max() < 1e-8
    assert np.abs(V @ case.noise_covariance() @ V.T - C).max() < 1e-8
    assert len(case.rates) == INPUTS * OUTPUTS
    # with independent residuals of one variance noise and curvature are proportional; this data set's are not
    e = np.asarray(case.data.y - case.problem.predictions(case.origin))
    See = jnp.asarray(e.T @ e / SAMPLES)
    J = jax.jacfwd(lambda z: case.problem.unflatten(case.origin + V @ z).matrix())(jnp.zeros(V.shape[1]))
    wick = jnp.einsum("oiz,ok,ij,kjy->zy", J, See, case.data.x.T @ case.data.x / SAMPLES, J) / case.batch_size
    assert np.abs(case.noise_covariance("wick") - wick).max() < 1e-8
    assert np.abs(case.noise_covariance("wick") - case.noise_covariance()).max() > 1e-3


@pytest.mark.parametrize("noise", ["exact", "wick"])
def test_covariances_are_stationary(case, noise):
    M, law = np.asarray(case.covariance(noise)), case.law(noise)
    T = np.asarray(law.transition)
    assert np.abs(T @ M @ T.T + law.noise - M).max() < 1e-14
    continuous, process = np.asarray(case.covariance(noise, discrete=False)), case.process(noise)
    A = np.asarray(process.drift)
    assert np.abs(A @ continuous + continuous @ A.T - process.noise).max() < 1e-14
    assert np.linalg.matrix_rank(M, tol=1e-12) == len(case.rates)
    variances, modes = case.modes(noise)
    assert np.abs(modes * variances[None, :] @ modes.T - M).max() < 1e-14
    assert np.all(np.diff(variances) <= 0)


def test_white_inputs_and_independent_residuals_have_the_law_of_the_paper():
    case = pure_noise(whitened=True, outputs=1, input_variance=0.5)
    x = np.asarray(case.data.x)
    assert np.abs(x.T @ x / SAMPLES - 0.5 * np.eye(INPUTS)).max() < 1e-12
    assert case.input_variance == pytest.approx(0.5)
    law = sgd.theory.two_layer.stationary_covariance(
        *case.layers, learning_rate=case.learning_rate, batch_size=case.batch_size,
        residual_variance=case.residual_variance,
    )  # fmt: skip
    assert np.abs(case.covariance("wick", discrete=False) - law).max() < 1e-9
    assert case.second_layer == slice(INPUTS, None)
    variances = np.diagonal(case.covariance("wick", discrete=False))[case.second_layer]
    D1, D2 = case.first_strengths, case.second_strengths
    assert variances == pytest.approx(case.unit * D1 / (D1 + D2), rel=1e-6)


def test_the_balance_drifts_as_over_all_batches_of_one(case):
    one = _two_layer.TwoLayer(case.data, HIDDEN, case.origin, 0.2, 1)
    W1, W2 = case.layers
    x, e = np.asarray(case.data.x), np.asarray(case.data.y - case.problem.predictions(case.origin))
    drifts = []
    for μ in range(SAMPLES):
        moved1 = W1 + 0.2 * W2.T @ np.outer(e[μ], x[μ])
        moved2 = W2 + 0.2 * np.outer(e[μ], x[μ]) @ W1.T
        drifts.append(moved2.T @ moved2 - moved1 @ moved1.T - W2.T @ W2 + W1 @ W1.T)
    assert np.abs(one.balance_drift() - np.mean(drifts, axis=0) / 0.2).max() < 1e-8
    σ2, σx2 = one.residual_variance, one.input_variance
    white = pure_noise(whitened=True, outputs=1)
    W1, W2 = white.layers
    σ2, σx2 = white.residual_variance, white.input_variance
    expected = white.learning_rate / 3 * σ2 * σx2 * (W1 @ W1.T - INPUTS * W2.T @ W2)
    assert np.abs(white.balance_drift("wick") - expected).max() < 1e-12
    assert white.balance_time == pytest.approx(3 / (white.learning_rate * σ2 * σx2 * INPUTS))


def test_starts_are_drawn_from_the_law(case):
    M, n = np.asarray(case.covariance()), 4000
    θ = case.starts(jax.random.key(0), n, M)
    z = np.asarray((θ - case.origin[None, :]) @ case.directions)
    scatter = np.sqrt((np.outer(M.diagonal(), M.diagonal()) + M**2) / n)
    assert np.abs((z.T @ z / n - M) / scatter).max() < 6
    assert np.abs(θ - case.origin[None, :] - z @ case.directions.T).max() < 1e-12
    assert case.coordinates(sgd.State(θ[0])) == pytest.approx(z[0], abs=1e-12)


def test_the_local_covariance_leaves_the_drift_of_the_mean_out():
    z = np.random.default_rng(0).normal(size=(5, 64, 2)) * [1.0, 2.0]
    drifting = z + np.arange(5)[:, None, None] * [10.0, 0.0]
    groups = drifting.reshape(5, 8, 8, 2)
    estimate = local_covariance(snapshots(drifting), groups=8)
    each = [np.mean([np.cov(groups[t, g].T) for t in range(5)], axis=0) for g in range(8)]
    assert np.abs(estimate.value - np.mean(each, axis=0)).max() < 1e-12
    assert np.abs(estimate.standard_error - np.std(each, axis=0, ddof=1) / 8**0.5).max() < 1e-12
    with pytest.raises(ValueError, match="groups = 7"):
        local_covariance(snapshots(z), groups=7)
    with pytest.raises(ValueError, match="snapshots"):
        local_covariance(snapshots(z * np.nan), groups=8)


def snapshots(values):
    zero = jnp.zeros(2)
    mean = Estimate(zero, zero, zero[None], jnp.ones(1), jnp.int64(0), jnp.int64(0), quantity="mean")
    values = jnp.asarray(values)
    return SnapshotsEstimate(mean, values, jnp.arange(len(values)), jnp.ones(values.shape[1], bool))


def test_initialisations():
    draw = lambda name: _noise_targets.initial(jax.random.key(0), (30, 20, 1), name)
    large, small, balanced = (draw(name).weights for name in ("large", "small", "balanced"))
    assert [float(jnp.std(W)) for W in large] == pytest.approx([30**-0.5, 20**-0.5], rel=0.4)
    for W, V in zip(small, large, strict=True):
        assert jnp.abs(W - 0.01 * V).max() < 1e-15
    W1, W2 = balanced
    assert jnp.abs(W2.T @ W2 - W1 @ W1.T).max() < 1e-12
    assert jnp.abs(W2 @ W1 - draw("large").matrix()).max() < 1e-12
    with pytest.raises(ValueError, match="initialisation = 'other'"):
        draw("other")


def test_inputs_have_the_covariance_asked_for():
    Σ = [[2.0, 0.5, 0, 0], [0.5, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 3]]
    x = np.asarray(pure_noise(input_covariance=Σ, whitened=True).data.x)
    assert np.abs(x.T @ x / SAMPLES - Σ).max() < 1e-12
    with pytest.raises(ValueError, match="both given"):
        pure_noise(input_covariance=Σ, input_variance=1.0)
    with pytest.raises(ValueError, match="input_covariance"):
        pure_noise(input_covariance=-np.eye(4))
    with pytest.raises(ValueError, match="samples = 4, but it must be at least inputs"):
        pure_noise(samples=4)
