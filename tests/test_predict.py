"""Predictions against the theory they are made of, and against the enumeration of all minibatches."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import sgdynamics as sgd
from sgdynamics import noise, samplers, theory
from sgdynamics.theory.recursion import MinibatchMoments
from sgdynamics.theory.regression import stationary_covariance

KEY = jax.random.key(0)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def problem_of(x, y):
    return sgd.Problem(sgd.networks.Linear(x.shape[1], y.reshape(len(y), -1).shape[1]), sgd.data.Dataset(x, y))


X = normal(0, 12, 3)
Y = X @ normal(1, 3) + normal(2, 12)
H = X.T @ X / 12
PROBLEM = problem_of(X, Y)
SETTINGS = dict(learning_rate=0.1, sampler=3)


def assert_close(a, b, relative):
    a, b = np.asarray(a), np.asarray(b)
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(b)


# --- against theory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize("momentum, weight_decay", [(0.0, 0.0), (0.8, 0.0), (0.0, 0.3), (0.6, 0.1)])
def test_sgd_has_the_exact_law(replacement, momentum, weight_decay):
    sampler = (samplers.WithReplacement if replacement else samplers.WithoutReplacement)(3)
    rest = dict(learning_rate=0.1, momentum=momentum, weight_decay=weight_decay)
    prediction = sgd.predict(sgd.SGD(PROBLEM, sampler=sampler, **rest))
    exact = stationary_covariance(X, Y, batch_size=3, replacement=replacement, form="exact", **rest)
    assert_close(prediction.covariance, exact, 1e-12)
    assert_close(prediction.mean, np.linalg.solve(H + weight_decay * np.eye(3), X.T @ Y / 12), 1e-12)
    c = 1 / 3 if replacement else (12 - 3) / (3 * 11)
    phase = MinibatchMoments(X, Y, sampling_factor=c, **rest).stationary_covariance()
    assert_close(prediction.phase_covariance, phase, 1e-12)
    assert_close(prediction.velocity_covariance, phase[3:, 3:], 1e-12)


def test_langevin_has_the_law_of_its_noise():
    settings = dict(learning_rate=0.1, batch_size=3)
    multiplicative = sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS))
    frozen = sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS, noise=noise.frozen(PROBLEM, 3)))
    assert_close(multiplicative.covariance, stationary_covariance(X, Y, **settings, form="multiplicative"), 1e-12)
    assert_close(frozen.covariance, stationary_covariance(X, Y, **settings, form="lyapunov"), 1e-12)
    assert multiplicative.phase_covariance is None and multiplicative.velocity_covariance is None


def test_langevin_of_order_2_has_the_modified_drift():
    """−∇(L_λ + (η/4)|∇L_λ|²) = −(K + (η/2) K²) δ."""
    process = sgd.Langevin(PROBLEM, **SETTINGS, weight_decay=0.2, order=2, noise=noise.frozen(PROBLEM, 3))
    K = H + 0.2 * np.eye(3)
    w = np.linalg.solve(H, X.T @ Y / 12)
    gradients = (X @ w - Y)[:, None] * X
    C = gradients.T @ gradients / 12 / 3
    expected = scipy.linalg.solve_continuous_lyapunov(K + 0.05 * K @ K, 0.1 * C)
    assert_close(sgd.predict(process).covariance, expected, 1e-11)


def test_isotropic_noise_gives_its_variance_over_twice_the_curvature():
    process = sgd.Langevin(PROBLEM, **SETTINGS, noise=noise.isotropic(PROBLEM, 3, variance=0.7))
    assert_close(sgd.predict(process).covariance, 0.1 * 0.7 / 2 * np.linalg.inv(H), 1e-12)


@pytest.mark.parametrize("dynamics", [sgd.SGD, sgd.Langevin])
def test_full_batches_do_not_fluctuate(dynamics):
    prediction = sgd.predict(dynamics(PROBLEM, learning_rate=0.1, sampler=samplers.FullBatch()))
    np.testing.assert_array_equal(prediction.covariance, 0)
    assert_close(prediction.mean, np.linalg.lstsq(X, Y, rcond=None)[0], 1e-12)


def test_linear_process_has_the_law_of_its_continuous_time():
    A, root, m = np.array([[1.0, 0.5], [-0.3, 0.4]]), normal(3, 2, 2), normal(4, 2)
    prediction = sgd.predict(sgd.LinearProcess(A, root @ root.T, m, time_step=0.7))
    process = theory.ou.OrnsteinUhlenbeck(A, root @ root.T, m)
    M = scipy.linalg.solve_continuous_lyapunov(A, root @ root.T)
    assert_close(prediction.covariance, M, 1e-12)
    assert_close(prediction.autocovariance(3), process.autocovariance(2.1), 1e-11)
    np.testing.assert_array_equal(prediction.mean, m)
    assert abs(prediction.slowest_rate - np.linalg.eigvals(A).real.min()) < 1e-12


# --- against the enumeration of all minibatches -------------------------------------------------------------


def enumerated(x, y, *, batch_size, replacement, η, β, λ, label_noise_std=0.0):
    """The stationary second moments over (θ, v) of z ← A_B z + a_B, averaged over every minibatch B."""
    draw = itertools.product if replacement else lambda indices, repeat: itertools.permutations(indices, repeat)
    batches = [list(batch) for batch in draw(range(len(x)), repeat=batch_size)]
    outputs = y.shape[1]
    d = outputs * x.shape[1]
    one = np.eye(d)
    hessians = [np.kron(np.eye(outputs), x[B].T @ x[B] / batch_size) for B in batches]
    slopes = [(y[B].T @ x[B] / batch_size).ravel() for B in batches]
    mean = np.linalg.solve(np.mean(hessians, 0) + λ * one, np.mean(slopes, 0))
    square, source = np.zeros((4 * d * d, 4 * d * d)), np.zeros((2 * d, 2 * d))
    into = np.concatenate([η * one, one])  # a gradient's way into (θ, v)
    for h, b in zip(hessians, slopes, strict=True):
        A = np.block([[one, η * β * one], [0 * one, β * one]])
        A[:, :d] -= into @ (h + λ * one)
        a = -into @ (h @ mean - b + λ * mean)
        square += np.kron(A, A) / len(batches)
        # labels drawn afresh for every place in the batch: (1/S²) Σ_s x_s x_sᵀ σ²
        fresh = label_noise_std**2 / batch_size * h
        source += (np.outer(a, a) + into @ fresh @ into.T) / len(batches)
    M = np.linalg.solve(np.eye(4 * d * d) - square, source.ravel()).reshape(2 * d, 2 * d)
    return mean, M


TINY_X, TINY_Y = normal(5, 4, 2), normal(6, 4, 2)
TINY = dict(learning_rate=0.3, momentum=0.4, weight_decay=0.1)


@pytest.mark.parametrize("replacement", [True, False])
def test_several_outputs_against_all_minibatches(replacement):
    sampler = (samplers.WithReplacement if replacement else samplers.WithoutReplacement)(2)
    prediction = sgd.predict(sgd.SGD(problem_of(TINY_X, TINY_Y), sampler=sampler, **TINY))
    mean, phase = enumerated(TINY_X, TINY_Y, batch_size=2, replacement=replacement, η=0.3, β=0.4, λ=0.1)
    assert_close(prediction.mean, mean, 1e-12)
    assert_close(prediction.phase_covariance, phase, 1e-11)
    assert np.linalg.norm(phase[:2, 2:4]) > 0.01 * np.linalg.norm(phase[:2, :2])  # outputs are correlated


@pytest.mark.parametrize("outputs", [1, 2])
def test_fresh_labels_against_all_minibatches(outputs):
    y = TINY_Y[:, :outputs]
    fresh = sgd.data.FreshLabels(sgd.data.Dataset(TINY_X, y), 0.8)
    problem = sgd.Problem(sgd.networks.Linear(2, outputs), fresh)
    prediction = sgd.predict(sgd.SGD(problem, sampler=2, **TINY))
    settings = dict(batch_size=2, replacement=True, η=0.3, β=0.4, λ=0.1)
    _, phase = enumerated(TINY_X, y, **settings, label_noise_std=0.8)
    _, without = enumerated(TINY_X, y, **settings)
    assert_close(prediction.phase_covariance, phase, 1e-11)
    assert np.linalg.norm(phase - without) > 0.1 * np.linalg.norm(phase)


def test_fresh_labels_with_full_batches_leave_the_label_noise():
    """Additive noise σ²/P · H: M = 1 − (1 − ηH)² below η² σ²/P H, mode by mode."""
    problem = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.FreshLabels(sgd.data.Dataset(X, Y), 0.8))
    M = sgd.predict(sgd.SGD(problem, learning_rate=0.1, sampler=samplers.FullBatch())).covariance
    h, V = np.linalg.eigh(H)
    assert_close(M, (V * (0.01 * 0.64 / 12 * h / (1 - (1 - 0.1 * h) ** 2))) @ V.T, 1e-11)


def test_fresh_labels_of_the_sde_add_label_noise_to_the_multiplicative_law():
    """H M + M H = η Ξ(M) with C(w*) + σ²/S · H in the place of C(w*), as 9 dense equations."""
    problem = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.FreshLabels(sgd.data.Dataset(X, Y), 0.8))
    M = np.asarray(sgd.predict(sgd.Langevin(problem, **SETTINGS)).covariance)
    residuals = X @ np.linalg.lstsq(X, Y, rcond=None)[0] - Y
    noise = sum((r**2 + x @ M @ x) * np.outer(x, x) for r, x in zip(residuals, X, strict=True)) / 12 - H @ M @ H
    source = 0.1 * (noise / 3 + 0.64 / 3 * H)
    assert_close(H @ M + M @ H, source, 1e-11)


# --- what a prediction offers -------------------------------------------------------------------------------


PROCESSES = {
    "SGD": sgd.SGD(PROBLEM, **SETTINGS),
    "momentum": sgd.SGD(PROBLEM, **SETTINGS, momentum=0.7, weight_decay=0.1),
    "multiplicative": sgd.Langevin(PROBLEM, **SETTINGS, weight_decay=0.1),
    "frozen": sgd.Langevin(PROBLEM, **SETTINGS, noise=noise.frozen(PROBLEM, 3)),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_the_law_has_the_covariance(name):
    prediction = sgd.predict(PROCESSES[name])
    expected = prediction.phase_covariance if name == "momentum" else prediction.covariance
    assert_close(prediction.law.stationary_covariance(), expected, 1e-11)


@pytest.mark.parametrize("degenerate", [normal(7, 2, 3), np.c_[X[:, :2], X[:, 0] + X[:, 1]]])
def test_directions_that_no_example_sees_neither_move_nor_relax(degenerate):
    y = normal(8, len(degenerate))
    unseen = scipy.linalg.null_space(degenerate)
    for dynamics in (sgd.SGD, sgd.Langevin):
        prediction = sgd.predict(dynamics(problem_of(degenerate, y), learning_rate=0.05, sampler=2))
        assert prediction.slowest_rate == 0
        assert np.abs(prediction.covariance @ unseen).max() < 1e-14
        np.testing.assert_allclose(prediction.law.stationary_covariance(), prediction.covariance, atol=1e-13)


def test_autocovariance_counts_steps():
    sde = sgd.predict(PROCESSES["multiplicative"])
    decay = scipy.linalg.expm(-0.1 * 4 * (H + 0.1 * np.eye(3)))
    assert_close(sde.autocovariance(4), decay @ sde.covariance, 1e-11)
    plain = sgd.predict(PROCESSES["SGD"])
    assert_close(plain.autocovariance(4), np.linalg.matrix_power(np.eye(3) - 0.1 * H, 4) @ plain.covariance, 1e-11)
    heavy = sgd.predict(PROCESSES["momentum"])
    K, one = H + 0.1 * np.eye(3), np.eye(3)
    F = np.block([[one - 0.1 * K, 0.07 * one], [-K, 0.7 * one]])
    expected = (np.linalg.matrix_power(F, 4) @ heavy.phase_covariance)[:3, :3]
    assert_close(heavy.autocovariance(4), expected, 1e-11)
    assert heavy.autocovariance(jnp.arange(5)).shape == (5, 3, 3)


def test_slowest_rate_is_that_of_the_softest_mode():
    softest = np.linalg.eigvalsh(H)[0]
    rates = {name: float(sgd.predict(process).slowest_rate) for name, process in PROCESSES.items()}
    assert math.isclose(rates["SGD"], -math.log(1 - 0.1 * softest) / 0.1, rel_tol=1e-11)
    assert math.isclose(rates["multiplicative"], softest + 0.1, rel_tol=1e-11)
    roots = np.roots([1, -(1 + 0.7 - 0.1 * (softest + 0.1)), 0.7])  # z² − (1 + β − ηk) z + β
    assert math.isclose(rates["momentum"], -math.log(np.abs(roots).max()) / 0.1, rel_tol=1e-9)


DRAWS = 20_000


@pytest.mark.long
def test_loss_is_the_mean_over_draws():
    """|z| > 5 in 1 of 1.7 million seeds."""
    prediction = sgd.predict(PROCESSES["SGD"])
    draws = jax.vmap(prediction.draw)(jax.random.split(KEY, DRAWS)).position
    losses = jax.vmap(PROBLEM.loss)(draws)
    z = (losses.mean() - prediction.loss(PROBLEM)) / (losses.std() / DRAWS**0.5)
    assert abs(z) < 5
    # the fluctuations are seen: without them the loss would be this many errors away
    assert (losses.mean() - PROBLEM.loss(prediction.mean)) / (losses.std() / DRAWS**0.5) > 50
    test = sgd.data.Dataset(normal(9, 5, 3), normal(10, 5))
    losses = jax.vmap(lambda θ: PROBLEM.loss(θ, test))(draws)
    assert abs(losses.mean() - prediction.loss(PROBLEM, test)) < 5 * losses.std() / DRAWS**0.5


def test_draws_have_the_covariance_of_phase_space():
    """Whitened, each of the 21 entries has variance (1 + δ_ij)/n and |z| > 6 in 1 of 500 million."""
    prediction = sgd.predict(PROCESSES["momentum"])
    states = jax.vmap(prediction.draw)(jax.random.split(KEY, DRAWS))
    δ = np.c_[states.position - prediction.mean[None], states.velocity]
    white = np.linalg.solve(np.linalg.cholesky(prediction.phase_covariance), δ.T)
    z = (white @ white.T / DRAWS - np.eye(6)) / np.sqrt((1 + np.eye(6)) / DRAWS)
    assert np.abs(z).max() < 6
    assert np.abs(white.mean(axis=1)).max() * DRAWS**0.5 < 6
    assert sgd.predict(PROCESSES["frozen"]).draw(KEY).velocity is None


def scaled(p):
    """The problem with inputs and targets times those of p."""
    return problem_of(p["inputs"] * X, p["targets"] * Y)


def of(kind, **fixed):
    """p -> the dynamics with the rates in p."""

    def make(p):
        rates = {name: p[name] for name in ("learning_rate", "momentum", "weight_decay") if name in p}
        return kind(scaled(p), sampler=3, **rates, **fixed)

    return make


def fresh_labels(p):
    data = sgd.data.FreshLabels(sgd.data.Dataset(X, Y), p["label_noise"])
    return sgd.SGD(sgd.Problem(sgd.networks.Linear(3, 1), data), learning_rate=p["learning_rate"], sampler=3)


def epochs(p):
    return sgd.SGD(scaled(p), learning_rate=p["learning_rate"], momentum=p["momentum"], sampler=samplers.Epochs(3))


def ornstein_uhlenbeck(p):
    drift = jnp.stack([jnp.stack([p["friction"], 0.3]), jnp.array([0.0, 0.5])])
    return sgd.LinearProcess(drift, jnp.diag(jnp.stack([1.0, p["temperature"]])), time_step=0.1)


ALL = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1, "inputs": 1.1, "targets": 0.9}
LAWS = {
    "SGD": (ALL, of(sgd.SGD)),
    "epochs": ({name: ALL[name] for name in ALL if name != "weight_decay"}, epochs),
    "fresh labels": ({"learning_rate": 0.1, "label_noise": 0.3}, fresh_labels),
    "Langevin": ({name: ALL[name] for name in ALL if name != "momentum"}, of(sgd.Langevin)),
    "underdamped": (ALL, of(sgd.UnderdampedLangevin)),
    "LinearProcess": ({"friction": 0.7, "temperature": 0.5}, ornstein_uhlenbeck),
}


@pytest.mark.parametrize("name", LAWS)
def test_predictions_have_derivatives(name):
    """Mean, covariance and loss, in both modes, against central differences of relative step 1e-5: their own error is
    10⁻¹⁰ times the third derivative, and rounding, 10⁻¹¹ of the value."""
    at, make = LAWS[name]

    def law(p):
        found = sgd.predict(make(p))
        loss = jnp.zeros(()) if name == "LinearProcess" else found.loss(PROBLEM)
        return {"mean": found.mean, "covariance": found.covariance, "loss": loss}

    compiled, step = jax.jit(law), 1e-5
    forward, reverse = jax.jit(jax.jacfwd(law))(at), jax.jit(jax.jacrev(law))(at)
    size = compiled(at)
    for k in at:
        above, below = compiled(at | {k: at[k] * (1 + step)}), compiled(at | {k: at[k] * (1 - step)})
        for part in size:
            slope = (above[part] - below[part]) / (2 * step * at[k])
            allowed = 1e-6 * jnp.max(jnp.abs(slope)) + 1e-9 * jnp.max(jnp.abs(size[part]))
            assert jnp.max(jnp.abs(forward[part][k] - slope)) <= allowed, (k, part)
            assert jnp.max(jnp.abs(reverse[part][k] - slope)) <= allowed, (k, part)
    assert jnp.max(jnp.abs(jnp.stack([jnp.max(jnp.abs(forward["covariance"][k])) for k in at]))) > 1e-3


# --- what is refused ----------------------------------------------------------------------------------------


def test_at_must_be_a_minimum():
    for λ in (0.0, 0.3):
        descent = sgd.SGD(PROBLEM, **SETTINGS, weight_decay=λ)
        minimum = PROBLEM.minimum(weight_decay=λ)
        assert_close(sgd.predict(descent, at=minimum).covariance, sgd.predict(descent).covariance, 1e-14)
        with pytest.raises(ValueError, match=r"at.*no minimum.*problem\.minimum"):
            sgd.predict(descent, at=minimum + 0.01)
    with pytest.raises(ValueError, match="no minimum"):
        sgd.predict(sgd.SGD(PROBLEM, **SETTINGS, weight_decay=0.3), at=PROBLEM.minimum())


def test_32_bits_are_refused_with_the_line_to_add():
    with jax.enable_x64(False), pytest.raises(ValueError) as error:
        sgd.predict(PROCESSES["SGD"])
    assert 'jax.config.update("jax_enable_x64", True)' in str(error.value)


@pytest.mark.parametrize("name", ["learning_rate", "momentum", "weight_decay"])
def test_schedules_are_refused(name):
    settings = SETTINGS | {name: lambda step: 0.1 / (1 + step)}
    with pytest.raises(ValueError, match=f"{name} is a schedule"):
        sgd.predict(sgd.SGD(PROBLEM, **settings))


def test_dynamics_without_a_known_law_are_refused():
    with pytest.raises(ValueError, match=r"Epochs.*regression_moments"):
        sgd.predict(sgd.SGD(PROBLEM, learning_rate=0.1, sampler=samplers.Epochs(3)), form="exact")
    teacher = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Teacher(np.ones((1, 3)), 0.1))
    with pytest.raises(ValueError, match=r"Teacher.*finite data set"):
        sgd.predict(sgd.SGD(teacher, learning_rate=0.1, sampler=samplers.Online(3)), form="exact")
    mlp = sgd.Problem(sgd.networks.MLP([3, 4, 1], key=KEY), sgd.data.Dataset(X, Y))
    with pytest.raises(ValueError, match=r"MLP.*networks\.Linear"):
        sgd.predict(sgd.SGD(mlp, **SETTINGS), form="exact")
    ito = sgd.ItoProcess(lambda t, θ: -θ, lambda t, θ: 0 * θ + 1, initial=np.zeros(1), time_step=0.1)
    with pytest.raises(ValueError, match=r"dynamics is a ItoProcess.*LinearProcess"):
        sgd.predict(ito)
    with pytest.raises(ValueError, match=r"order 2.*noise\.frozen"):
        sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS, order=2))


def test_noise_of_other_data_is_refused():
    other = problem_of(X + 1, Y)
    with pytest.raises(ValueError, match="other data"):
        sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS, noise=noise.minibatch(other, 3)))
    same = problem_of(X, Y)
    accepted = sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS, noise=noise.minibatch(same, 3)))
    assert_close(accepted.covariance, sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS)).covariance, 1e-14)
    twice = noise.Sum((noise.minibatch(PROBLEM, 3), noise.minibatch(PROBLEM, 3)))
    with pytest.raises(ValueError, match="noise = Sum"):
        sgd.predict(sgd.Langevin(PROBLEM, **SETTINGS, noise=twice))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_unstable_learning_rates_are_refused_with_the_largest_stable_one(momentum):
    settings = dict(batch_size=3, momentum=momentum)
    largest = float(theory.regression.largest_stable_learning_rate(X, **settings))
    predict = lambda η: sgd.predict(sgd.SGD(PROBLEM, learning_rate=η, sampler=3, momentum=momentum))
    with pytest.raises(ValueError, match=rf"largest stable learning rate, {largest:.4g}"):
        predict(1.01 * largest)
    assert np.isfinite(predict(0.99 * largest).covariance).all()
