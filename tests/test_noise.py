"""The noise of the minibatch gradient, against all the minibatches there are."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.data import Dataset, FreshLabels, Teacher
from sgdynamics.samplers import Epochs, FullBatch, Online, WithoutReplacement, WithReplacement

RNG = np.random.default_rng(0)
KEY = jax.random.key(4)
P = 5
X, Y1, Y2 = RNG.normal(size=(P, 3)), RNG.normal(size=P), RNG.normal(size=(P, 2))
FALSE_ALARM = 1e-6


def linear():
    return sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1))


def mlp():
    return sgd.Problem(sgd.networks.MLP((3, 2, 2), key=KEY), Dataset(X, Y2))


def classes():
    return sgd.Problem(sgd.networks.MLP((3, 2, 2), key=KEY), Dataset(X, np.arange(P) % 2), sgd.cross_entropy)


def somewhere(problem, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=problem.parameters.shape))


def enumerated(problem, sampler, θ):
    """The covariance of the gradient over all equally likely minibatches."""
    S, indices = sampler.batch_size, range(P)
    repeats = isinstance(sampler, WithReplacement)
    batches = np.array(list(product(indices, repeat=S) if repeats else combinations(indices, S)))
    gradient = lambda batch: problem.gradient(θ, problem.data.take(batch, KEY))
    return np.cov(np.asarray(jax.vmap(gradient)(jnp.asarray(batches))).T, bias=True)


def scores(samples, expected):
    """z of every entry of the second moment of zero-mean samples."""
    n = samples.shape[0]
    products = samples[:, :, None] * samples[:, None, :]
    error = products.std(axis=0) / np.sqrt(n)
    return (products.mean(axis=0) - expected) / np.where(error > 0, error, 1)


def worst(entries):
    return stats.norm.isf(FALSE_ALARM / 2 / entries)


# --- minibatches of a finite data set -------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [linear, mlp, classes])
@pytest.mark.parametrize("sampler", [WithReplacement(2), WithoutReplacement(2), WithoutReplacement(3), Epochs(5)])
def test_finite_sample_noise_is_that_of_all_minibatches(problem, sampler):
    problem = problem()
    θ = somewhere(problem)
    expected = enumerated(problem, sampler, θ)
    assert np.abs(noise.FiniteSample(problem, sampler).covariance(θ) - expected).max() < 1e-12


def test_finite_sample_noise_depends_on_the_state_and_the_factor():
    problem = linear()
    model = noise.FiniteSample(problem, 2)
    assert jnp.abs(model.covariance(somewhere(problem)) - model.covariance(somewhere(problem, 1))).max() > 1e-3
    other = noise.FiniteSample(problem, WithoutReplacement(2))
    assert jnp.allclose(other.covariance(problem.parameters) * 4 / 3, model.covariance(problem.parameters), rtol=1e-12)


def test_the_full_batch_has_no_noise():
    problem = mlp()
    assert not noise.minibatch(problem, FullBatch()).covariance(somewhere(problem)).any()


def test_without_label_noise_an_interpolating_minimum_has_no_noise():
    problem = sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X[:2], Y1[:2]))
    assert jnp.abs(noise.FiniteSample(problem, 1).covariance(problem.minimum())).max() < 1e-20


# --- fresh labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [sgd.networks.Linear(3, 2), sgd.networks.MLP((3, 2, 2), key=KEY)])
def test_label_noise_is_that_of_the_jacobian(network):
    problem = sgd.Problem(network, FreshLabels(Dataset(X, Y2), 0.3))
    θ = somewhere(problem)
    J = jax.jacobian(problem.predictions)(θ).reshape(-1, θ.size)
    expected = 0.3**2 / 4 * J.T @ J / P
    assert jnp.allclose(noise.LabelNoise(problem, 4).covariance(θ), expected, rtol=1e-12, atol=1e-15)
    everything = noise.LabelNoise(problem, FullBatch()).covariance(θ)
    assert jnp.allclose(everything, expected * 4 / P, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("sampler", [WithReplacement(2), WithoutReplacement(3), FullBatch()])
def test_fresh_labels_add_to_the_minibatch_noise(sampler):
    problem = sgd.Problem(sgd.networks.Linear(3, 2), FreshLabels(Dataset(X, Y2), 0.7))
    θ, n = somewhere(problem), 20_000

    def gradient(step):
        return problem.gradient(θ, sampler.draw(problem.data, None, step, KEY)[0])

    gradients = jax.jit(jax.vmap(gradient))(jnp.arange(n, dtype=jnp.int32))
    samples = np.asarray(gradients) - np.asarray(problem.gradient(θ))
    model = noise.minibatch(problem, sampler)
    assert np.abs(scores(samples, model.covariance(θ))).max() < worst(21)
    parts = model.noises
    for part in parts:  # neither part alone is enough
        if not isinstance(sampler, FullBatch):
            assert np.abs(scores(samples, part.covariance(θ))).max() > worst(21)


# --- streams --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [sgd.networks.Linear(3, 2), sgd.networks.DeepLinear((3, 4, 2), key=KEY)])
@pytest.mark.parametrize("std", [0.0, 0.5])
def test_online_noise_is_the_covariance_of_a_streams_gradients(network, std):
    teacher = Teacher(RNG.normal(size=(2, 3)), std)
    problem = sgd.Problem(network, teacher)
    θ, n = somewhere(problem), 40_000
    samples = np.asarray(problem.example_gradients(θ, teacher.sample(KEY, n))) - np.asarray(problem.gradient(θ))
    C = np.asarray(noise.OnlineLinear(problem, Online(1)).covariance(θ))
    limit = worst(C.size)
    assert np.abs(scores(samples, C)).max() < limit
    # without the transposed term of (x xᵀ − 1), i.e. Δ G alone, C would be this
    W, pull_back = jax.vjp(lambda θ: problem.unflatten(θ).matrix(), θ)
    J = jax.vmap(lambda e: pull_back(e.reshape(W.shape))[0])(jnp.eye(W.size)).T
    Δ = teacher.matrix - W
    without = J @ (np.kron(Δ @ Δ.T, np.eye(3)) + std**2 * np.eye(6)) @ J.T
    assert np.abs(scores(samples, np.asarray(without))).max() > 2 * limit


def test_online_noise_of_one_layer_is_exact():
    """⟨(x xᵀ − 1)_ab (x xᵀ − 1)_cd⟩ = δ_ac δ_bd + δ_ad δ_bc of normal numbers."""
    teacher = Teacher(RNG.normal(size=(2, 3)), 0.5)
    problem = sgd.Problem(sgd.networks.Linear(3, 2), teacher)
    θ = somewhere(problem)
    Δ, δ = np.asarray(teacher.matrix - θ.reshape(2, 3)), np.eye(3)
    fourth = np.einsum("ac,bd->abcd", δ, δ) + np.einsum("ad,bc->abcd", δ, δ)
    C = np.einsum("ia,jc,abcd->ibjd", Δ, Δ, fourth) + 0.25 * np.einsum("ij,bd->ibjd", np.eye(2), δ)
    model = noise.minibatch(problem, Online(4))
    assert np.abs(model.covariance(θ) - C.reshape(6, 6) / 4).max() < 1e-12
    assert not noise.minibatch(problem, FullBatch()).covariance(θ).any()


# --- other structures -----------------------------------------------------------------------------------------


def test_frozen_noise_is_held_at_the_minimum_or_where_told():
    problem = linear()
    minimum, elsewhere = problem.minimum(), somewhere(problem)
    C = noise.FiniteSample(problem, 2).covariance
    assert jnp.allclose(noise.frozen(problem, 2).covariance(elsewhere), C(minimum), rtol=1e-12)
    assert jnp.allclose(noise.frozen(problem, 2, at=elsewhere).covariance(minimum), C(elsewhere), rtol=1e-12)


def test_constant_noise_has_its_covariance_singular_or_not():
    root = RNG.normal(size=(3, 2))
    C = root @ root.T
    assert jnp.allclose(noise.Constant(C).covariance(jnp.zeros(3)), C, rtol=1e-12, atol=1e-14)


def test_independent_noises_add():
    a, b = noise.Constant(np.diag([1.0, 2.0])), noise.Constant(np.array([[1.0, 0.5], [0.5, 1.0]]))
    θ = jnp.zeros(2)
    assert jnp.allclose(noise.Sum((a, b)).covariance(θ), a.covariance(θ) + b.covariance(θ), rtol=1e-12)


def test_hessian_proportional_and_isotropic_noise_have_the_trace_of_the_minibatches():
    problem = linear()
    minimum = problem.minimum()
    C, H = noise.FiniteSample(problem, 2).covariance(minimum), problem.hessian(minimum)
    shaped = noise.hessian_proportional(problem, 2).covariance(minimum)
    round_ = noise.isotropic(problem, 2).covariance(minimum)
    assert jnp.allclose(shaped, H * jnp.trace(C) / jnp.trace(H), rtol=1e-10, atol=1e-14)
    assert jnp.allclose(round_, jnp.eye(3) * jnp.trace(C) / 3, rtol=1e-10, atol=1e-14)
    assert jnp.allclose(noise.hessian_proportional(problem, 2, scale=2.0).covariance(minimum), 2 * H, atol=1e-13)
    assert jnp.allclose(noise.isotropic(problem, 2, variance=2.0).covariance(minimum), 2 * jnp.eye(3), atol=1e-13)


def models():
    fresh = sgd.Problem(sgd.networks.Linear(3, 1), FreshLabels(Dataset(X, Y1), 0.7))
    stream = sgd.Problem(sgd.networks.Linear(3, 1), Teacher(RNG.normal(size=(1, 3)), 0.5))
    return {
        "finite": noise.FiniteSample(linear(), 2),
        "frozen": noise.frozen(linear(), 2, at=jnp.ones(3)),
        "constant": noise.isotropic(linear(), 2),
        "sum": noise.minibatch(fresh, 2),
        "stream": noise.minibatch(stream, Online(2)),
    }


@pytest.mark.parametrize("name", models())
def test_draws_have_the_stated_covariance(name):
    model, θ, n = models()[name], jnp.array([0.5, -1.0, 2.0]), 20_000
    samples = np.asarray(jax.vmap(model.sample, (None, 0))(θ, jax.random.split(KEY, n)))
    C = np.asarray(model.covariance(θ))
    assert np.abs(samples.mean(0) / np.sqrt(C.diagonal() / n)).max() < worst(3)
    assert np.abs(scores(samples, C)).max() < worst(6)
    assert np.abs(scores(samples, 1.2 * C)).max() > worst(6)


@pytest.mark.parametrize("name", models())
def test_noise_is_linear_in_its_sources(name):
    model, θ = models()[name], jnp.array([0.5, -1.0, 2.0])
    a, b = (noise.normals(jax.random.key(k), model.sources(), θ.dtype) for k in (0, 1))
    both = jax.tree.map(lambda a, b: 2 * a - 3 * b, a, b)
    assert jnp.allclose(model.apply(θ, both), 2 * model.apply(θ, a) - 3 * model.apply(θ, b), rtol=1e-11, atol=1e-13)


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: noise.FiniteSample(linear(), WithoutReplacement(6)), "batch_size = 6"),
        (lambda: noise.FiniteSample(linear(), Online(1)), "sampler = Online"),
        (lambda: noise.LabelNoise(linear(), 1), "LabelNoise needs data.FreshLabels"),
        (lambda: noise.OnlineLinear(linear(), Online(1)), "OnlineLinear needs a data.Teacher"),
        (lambda: noise.Constant(np.array([[1.0, 2.0], [0.0, 1.0]])), "covariance = .*symmetric"),
        (lambda: noise.Constant(np.diag([1.0, -1.0])), "covariance = .*positive semidefinite"),
        (lambda: noise.Constant(np.diag([1.0, np.nan])), "covariance = .*finite"),
        (lambda: noise.isotropic(linear(), 2, variance=-1.0), "variance = -1.0"),
        (lambda: noise.hessian_proportional(linear(), 2, scale=float("nan")), "scale = nan"),
    ],
)
def test_noise_that_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_nonlinear_network_on_a_stream_has_no_noise_model():
    problem = sgd.Problem(sgd.networks.MLP((3, 2, 1), key=KEY), Teacher(np.ones((1, 3)), 0.5))
    with pytest.raises(ValueError, match=r"MLP.*teacher.sample.*FiniteSample"):
        noise.minibatch(problem, Online(1))
    with pytest.raises(ValueError, match="OnlineLinear"):
        noise.FiniteSample(problem, FullBatch())


def test_a_constant_noise_may_be_given_by_any_root():
    B = np.random.default_rng(3).normal(size=(3, 5))
    noise = sgd.noise.Constant(root=B)
    assert noise.sources().shape == (5,)
    np.testing.assert_allclose(noise.covariance(jnp.zeros(3)), B @ B.T, rtol=1e-12)
    np.testing.assert_allclose(sgd.noise.Constant(B @ B.T).covariance(jnp.zeros(3)), B @ B.T, rtol=1e-10)


@pytest.mark.parametrize("given", [{}, {"covariance": np.eye(2), "root": np.eye(2)}])
def test_a_constant_noise_has_a_covariance_or_a_root(given):
    with pytest.raises(ValueError, match="either a covariance or a root"):
        sgd.noise.Constant(**given)
