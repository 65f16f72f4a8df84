"""The law of any network at its minimum, against theory's closed forms, a slow NumPy construction and an ensemble."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import _predict, noise, samplers
from sgdynamics.dynamics import gradient_flow
from sgdynamics.statistics import Covariance, Projection
from sgdynamics.theory import deep_linear, two_layer
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LinearRecursion
from sgdynamics.theory.regression import stationary_covariance

KEY = jax.random.key(0)
SETTINGS = dict(learning_rate=0.3, sampler=4)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def assert_close(a, b, relative):
    a, b = np.asarray(a), np.asarray(b)
    assert np.linalg.norm(a - b) <= relative * np.linalg.norm(b)


X, Y = normal(0, 40, 3), normal(1, 40)
LINEAR = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(X, Y))


# --- one layer ----------------------------------------------------------------------------------------------


def test_on_one_layer_the_frozen_form_is_that_of_regression():
    rest = dict(learning_rate=0.3, batch_size=4)
    discrete = sgd.predict(sgd.SGD(LINEAR, **SETTINGS), form="frozen")
    continuous = sgd.predict(sgd.Langevin(LINEAR, **SETTINGS), form="frozen")
    assert_close(discrete.covariance, stationary_covariance(X, Y, **rest, form="additive"), 1e-10)
    assert_close(continuous.covariance, stationary_covariance(X, Y, **rest, form="lyapunov"), 1e-10)
    assert "discrete" in discrete.form and "continuous" in continuous.form and "frozen" in discrete.form
    exact = sgd.predict(sgd.SGD(LINEAR, **SETTINGS))
    assert_close(discrete.mean, exact.mean, 1e-10)
    assert np.linalg.norm(discrete.covariance - exact.covariance) > 0.02 * np.linalg.norm(exact.covariance)


# --- two layers ---------------------------------------------------------------------------------------------


def two_layers(outputs=1, seed=2):
    """A linear network at the minimum that the gradient flow from a random start leads to."""
    x, y = normal(seed, 60, 4), normal(seed + 1, 60, outputs)
    problem = sgd.Problem(sgd.networks.DeepLinear((4, 3, outputs), key=jax.random.key(seed)), sgd.data.Dataset(x, y))
    return problem, gradient_flow(problem)


@pytest.mark.long
def test_on_two_layers_it_is_the_two_layer_theory():
    problem, θ = two_layers(outputs=2)
    W1, W2 = problem.unflatten(θ).weights
    data = (W1, W2, problem.data.x, problem.data.y)
    D = two_layer.directions(W1, W2)
    rest = dict(learning_rate=0.3, batch_size=4)
    discrete = sgd.predict(sgd.SGD(problem, **SETTINGS), at=θ)
    continuous = sgd.predict(sgd.Langevin(problem, **SETTINGS), at=θ)
    assert int(discrete.modes.rank) == 4 * 2
    expected = two_layer.linear_response_recursion(*data, **rest).stationary_covariance()
    assert_close(discrete.along(D), expected, 1e-8)
    assert_close(continuous.along(D), two_layer.linear_response(*data, **rest).stationary_covariance(), 1e-8)
    # outside these directions nothing moves
    assert abs(float(jnp.trace(discrete.covariance) - jnp.trace(expected))) < 1e-9 * float(jnp.trace(expected))


def test_white_noise_of_one_variance_gives_the_closed_form():
    """With C = (σ²/S) H of exactly white inputs, M = (ησ²/2S) × the projector onto the range of H (3.30)."""
    problem, θ = two_layers()
    values, vectors = np.linalg.eigh(problem.hessian(θ))
    moving = values > 1e-6
    V = vectors[:, moving]
    C = noise.Constant(0.7 / 4 * (V * values[moving]) @ V.T)
    M = sgd.predict(sgd.Langevin(problem, learning_rate=0.3, sampler=4, noise=C), at=θ).covariance
    assert_close(M, 0.3 * 0.7 / 8 * V @ V.T, 1e-8)


# --- any network, against a construction that knows nothing of modes -----------------------------------------


def tanh_problem(data=None):
    data = sgd.data.Dataset(INPUTS, TARGETS) if data is None else data
    return sgd.Problem(sgd.networks.MLP((2, 3, 1), key=KEY), data)


INPUTS = normal(4, 30, 2)
TARGETS = np.tanh(2 * INPUTS[:, 0]) - INPUTS[:, 1] + 0.5 * normal(5, 30)
TANH = tanh_problem()
DECAY = 0.01
MINIMUM = TANH.minimum(DECAY)


def slow_law(problem, θ, *, η, β, λ, batch_size):
    """The covariance over (θ, v) by dense matrices and a Kronecker system."""
    d = len(θ)
    x, y = problem.data.x, problem.data.y
    one = lambda θ, x, y: (problem.unflatten(θ)(x)[0] - y) ** 2 / 2
    H = np.mean([jax.hessian(one)(θ, a, b) for a, b in zip(x, y, strict=True)], axis=0) + λ * np.eye(d)
    g = np.stack([jax.grad(one)(θ, a, b) for a, b in zip(x, y, strict=True)])
    C = np.cov(g.T, bias=True) / batch_size
    one = np.eye(d)
    T = np.block([[one - η * H, η * β * one], [-H, β * one]])
    kick = np.concatenate([η * one, one])
    noise = kick @ C @ kick.T
    M = np.linalg.solve(np.eye(4 * d * d) - np.kron(T, T), noise.ravel()).reshape(2 * d, 2 * d)
    return H, C, T, noise, M


@pytest.fixture(scope="module")
def slow():
    return {β: slow_law(TANH, MINIMUM, η=0.2, β=β, λ=DECAY, batch_size=4) for β in (0.0, 0.7)}


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_a_tanh_network(slow, momentum):
    d = len(MINIMUM)
    H, _, T, noise_, M = slow[momentum]
    dynamics = sgd.SGD(TANH, learning_rate=0.2, sampler=4, momentum=momentum, weight_decay=DECAY)
    prediction = sgd.predict(dynamics, at=MINIMUM)
    assert_close(prediction.covariance, M[:d, :d], 1e-8)
    assert_close(prediction.modes.curvatures, np.linalg.eigvalsh(H)[::-1], 1e-9)
    R = (np.linalg.matrix_power(T, 3) @ M)[:d, :d]
    assert_close(prediction.autocovariance(3), R, 1e-8)
    assert_close(prediction.autocovariance(-3), R.T, 1e-8)
    R1 = (T @ M)[:d, :d]
    assert_close(prediction.circulation(), (R1.T - R1) / (2 * 0.2), 1e-7)
    np.testing.assert_allclose(prediction.variances, np.diag(M[:d, :d]), rtol=1e-7)
    if momentum:
        assert_close(prediction.phase_covariance, M, 1e-8)
        assert_close(prediction.velocity_covariance, M[d:, d:], 1e-8)
        assert LinearRecursion(T, noise_).stationary_covariance().shape == prediction.phase_covariance.shape
    else:
        assert prediction.phase_covariance is None
    assert "decay" not in prediction.form and np.allclose(prediction.mean, MINIMUM)


@pytest.mark.parametrize("order", [1, 2])
def test_its_langevin_equation(slow, order):
    H, C, *_ = slow[0.0]
    process = sgd.Langevin(TANH, learning_rate=0.2, sampler=4, weight_decay=DECAY, order=order)
    prediction = sgd.predict(process)  # finds the minimum itself
    law = OrnsteinUhlenbeck(H if order == 1 else H + 0.1 * H @ H, 0.2 * C)
    assert_close(prediction.mean, MINIMUM, 1e-6)
    assert_close(prediction.covariance, law.stationary_covariance(), 1e-6)
    assert_close(prediction.circulation(), law.circulation(), 1e-5)
    assert_close(prediction.autocovariance(2), law.autocovariance(0.4), 1e-6)


def test_leading_modes_are_exact_without_the_others(monkeypatch):
    dynamics = sgd.SGD(TANH, learning_rate=0.2, sampler=4, momentum=0.7, weight_decay=DECAY)
    whole = sgd.predict(dynamics, at=MINIMUM)
    monkeypatch.setattr(_predict._harmonic, "DENSE_LIMIT", 5)  # then by products with the Hessian
    part = sgd.predict(dynamics, at=MINIMUM, modes=4)
    V = whole.modes.vectors[:, :4]
    assert_close(part.along(V), whole.along(V), 1e-8)
    assert_close(part.modes.curvatures, whole.modes.curvatures[:4], 1e-10)
    assert "leading 4 of 13" in part.form and float(part.modes.residuals.max()) < 1e-10
    with pytest.raises(ValueError, match=r"outside the leading modes.*more `modes`"):
        part.along(np.eye(13)[:, :2])
    with pytest.raises(ValueError, match=r"covariance of all 13 parameters.*along"):
        _ = part.covariance
    assert part.draw(KEY).position.shape == (13,)


def test_flatness_is_the_curvature_along_principal_components():
    prediction = sgd.predict(sgd.SGD(TANH, learning_rate=0.2, sampler=4, weight_decay=DECAY), at=MINIMUM)
    flatness = prediction.flatness(TANH, components=5)
    values, vectors = np.linalg.eigh(prediction.covariance)
    np.testing.assert_allclose(flatness.variances, values[::-1][:5], rtol=1e-8)
    H = np.asarray(TANH.hessian(MINIMUM))
    expected = [v @ H @ v for v in vectors.T[::-1][:5]]
    np.testing.assert_allclose(flatness.curvatures, expected, rtol=1e-6)
    excess = np.trace(H @ prediction.covariance) / 2
    np.testing.assert_allclose(prediction.loss(TANH), TANH.loss(MINIMUM) + excess, rtol=1e-10)


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "momentum"])
def test_derivatives(name):
    def trace(value):
        settings = dict(learning_rate=0.2, weight_decay=DECAY, momentum=0.5) | {name: value}
        return jnp.trace(sgd.predict(sgd.SGD(TANH, sampler=4, **settings)).covariance)

    at = {"learning_rate": 0.2, "weight_decay": DECAY, "momentum": 0.5}[name]
    h = 1e-4 * at
    np.testing.assert_allclose(jax.grad(trace)(at), (trace(at + h) - trace(at - h)) / (2 * h), rtol=1e-4)


# --- other noise --------------------------------------------------------------------------------------------


def test_an_online_deep_linear_network_has_the_noise_of_its_stream():
    teacher = sgd.data.Teacher.of_singular_values((1.0, 0.6), key=KEY, inputs=2, outputs=2, label_noise_std=0.5)
    problem = sgd.Problem(sgd.networks.DeepLinear((2, 2, 2), key=KEY), teacher)
    θ = gradient_flow(problem)
    prediction = sgd.predict(sgd.SGD(problem, learning_rate=0.05, sampler=samplers.Online(2)), at=θ)
    W = problem.unflatten(θ).weights
    C = deep_linear.noise_covariance(W, teacher.matrix, label_noise_std=0.5, batch_size=2)
    V = prediction.modes.vectors
    assert_close(V @ prediction.law.noise @ V.T, C, 1e-7)


def test_fresh_labels_add_their_noise():
    fresh = tanh_problem(sgd.data.FreshLabels(sgd.data.Dataset(INPUTS, TARGETS), 0.8))
    prediction = sgd.predict(sgd.SGD(fresh, learning_rate=0.2, sampler=4, weight_decay=DECAY), at=MINIMUM)
    without = sgd.predict(sgd.SGD(TANH, learning_rate=0.2, sampler=4, weight_decay=DECAY), at=MINIMUM)
    J = np.asarray(jax.jacobian(TANH.predictions)(MINIMUM))[:, 0]
    V = without.modes.vectors
    added = V @ (prediction.law.noise - without.law.noise) @ V.T
    assert_close(added, 0.8**2 / 4 * J.T @ J / 30, 1e-9)


# --- points that are no minimum -----------------------------------------------------------------------------

DESCENT = sgd.SGD(TANH, learning_rate=0.2, sampler=4, weight_decay=DECAY)


def test_a_point_with_a_gradient_is_refused():
    with pytest.raises(ValueError, match=r"\|gradient\| at the minimum = .*no minimum.*problem\.minimum"):
        sgd.predict(DESCENT, at=TANH.parameters)


def test_it_is_refused_under_jit_too():
    covariance = eqx.filter_jit(lambda θ: sgd.predict(DESCENT, at=θ).covariance)
    assert_close(covariance(MINIMUM), sgd.predict(DESCENT, at=MINIMUM).covariance, 1e-10)
    with pytest.raises(RuntimeError, match="no minimum"):
        covariance(TANH.parameters)


def test_a_point_beside_the_minimum_is_refused():
    """Its gradient is tiny; what matters is that a tenth of a standard deviation is not."""
    prediction = sgd.predict(DESCENT, at=MINIMUM)
    softest = prediction.modes.vectors[:, -1]
    std = float(jnp.sqrt(prediction.known_covariance[-1, -1]))
    slow = sgd.SGD(TANH, learning_rate=1e-5, sampler=4, weight_decay=DECAY)  # fluctuations 140 times smaller
    near = MINIMUM + 0.02 * std * softest
    assert sgd.predict(DESCENT, at=near).mean is not None
    with pytest.raises(ValueError, match=r"distance to the minimum.*standard deviations"):
        sgd.predict(slow, at=near)


def test_a_saddle_is_refused():
    problem, _ = two_layers()
    with pytest.raises(ValueError, match=r"lowest curvature at the minimum = -.*saddle"):
        sgd.predict(sgd.SGD(problem, **SETTINGS), at=np.zeros(15))


def test_a_saddle_is_refused_without_the_hessian_too(monkeypatch):
    monkeypatch.setattr(_predict._harmonic, "DENSE_LIMIT", 5)
    problem = sgd.Problem(sgd.networks.DeepLinear((30, 4, 1), key=KEY), sgd.data.Dataset(normal(6, 40, 30), Y))
    with pytest.raises(ValueError, match=r"lowest curvature at the minimum = -.*saddle"):
        sgd.predict(sgd.SGD(problem, **SETTINGS), at=np.zeros(124), modes=1)


def test_noise_along_flat_directions_is_refused():
    problem, θ = two_layers()
    process = sgd.Langevin(problem, **SETTINGS, noise=noise.Isotropic(15, 0.1))
    with pytest.raises(ValueError, match=r"flat directions.*weight_decay"):
        sgd.predict(process, at=θ)


def test_weight_decay_makes_them_stiff():
    """One hidden unit: the scale of its layers, flat without weight decay, has the curvature that decay gives it."""
    network = sgd.networks.DeepLinear((3, 1, 1), key=KEY)
    problem = sgd.Problem(network, sgd.data.Dataset(X, X @ np.ones(3) + Y))
    process = sgd.Langevin(problem, **SETTINGS, weight_decay=0.1, noise=noise.Isotropic(4, 0.1))
    prediction = sgd.predict(process)
    K = problem.hessian(prediction.mean) + 0.1 * np.eye(4)
    assert int(prediction.modes.rank) == 4
    assert_close(prediction.covariance, 0.3 * 0.1 / 2 * np.linalg.inv(K), 1e-7)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"at has shape \(3,\).*problem\.parameters"):
        sgd.predict(DESCENT, at=np.zeros(3))
    with pytest.raises(ValueError, match=r"at is a MLP.*problem\.parameters"):
        sgd.predict(DESCENT, at=TANH.unflatten(MINIMUM))
    with pytest.raises(ValueError, match="noise is a Isotropic of other parameters than the 13"):
        sgd.predict(sgd.Langevin(TANH, **SETTINGS, noise=noise.Isotropic(7, 1.0)), at=MINIMUM)
    with pytest.raises(ValueError, match="form = 'additive'"):
        sgd.predict(DESCENT, form="additive")
    with pytest.raises(ValueError, match="modes = 14"):
        sgd.predict(DESCENT, modes=14)
    with pytest.raises(ValueError, match=r"modes = 3.*frozen"):
        sgd.predict(sgd.SGD(LINEAR, **SETTINGS), form="exact", modes=3)
    with pytest.raises(ValueError, match="learning_rate"):
        sgd.predict(sgd.SGD(TANH, learning_rate=50.0, sampler=4, weight_decay=DECAY), at=MINIMUM)
    with pytest.raises(ValueError, match="learning_rate"):
        sgd.predict(sgd.SGD(TANH, learning_rate=50.0, sampler=samplers.Epochs(4), weight_decay=DECAY), at=MINIMUM)


# --- against an ensemble ------------------------------------------------------------------------------------


def test_an_ensemble_has_the_predicted_law():
    """1,024 replicas from the law, at a learning rate where what the frozen form leaves out is below the errors.

    False alarms 1e-4; the control, the law with the same total noise but isotropic, is refused.
    """
    η, steps = 0.005, 3_000
    dynamics = sgd.SGD(TANH, learning_rate=η, sampler=4, weight_decay=DECAY)
    expected = sgd.predict(dynamics, at=MINIMUM)
    V = expected.modes.vectors[:, :3]
    assert η * float(expected.modes.curvatures[2]) * steps > 10
    statistic = Covariance(of=Projection(V, MINIMUM))
    run = sgd.simulate(dynamics, statistic, replicas=1024, steps=steps, every=50, initial=expected, key=KEY)
    assert sgd.compare(run.estimates, expected.along(V), level=1e-4).agrees
    C = noise.Isotropic(13, np.trace(expected.law.noise) / 13)
    isotropic = sgd.Langevin(TANH, learning_rate=η, sampler=4, weight_decay=DECAY, noise=C)
    assert not sgd.compare(run.estimates, sgd.predict(isotropic, at=MINIMUM).along(V), level=1e-4).agrees
