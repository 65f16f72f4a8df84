"""What must hold of deep linear networks' noise: its covariance, its sampler, its cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sgdynamics as sgd
from sgdynamics.noise import OnlineLinear, normals
from sgdynamics.samplers import Online
from sgdynamics.theory import deep_linear
from sgdynamics_benchmarks import deep_linear as bench
from sgdynamics_benchmarks import langevin
from sgdynamics_benchmarks.throughput import measure, ratios

pytestmark = pytest.mark.long

KEY = jax.random.key(11)
BATCHES = 50


def network(widths, label_noise_std):
    teacher = sgd.data.Teacher(np.random.default_rng(1).normal(size=(widths[-1], widths[0])), label_noise_std)
    problem = sgd.Problem(sgd.networks.DeepLinear(widths, key=KEY), teacher)
    Σ = deep_linear.noise_covariance(problem.network.weights, teacher.matrix, label_noise_std=teacher.label_noise_std)
    return problem, np.asarray(Σ)


def p_value(covariances, expected):
    """Of the largest t among the entries of the mean of independent covariances, corrected for their number."""
    mean, error = covariances.mean(axis=0), covariances.std(axis=0, ddof=1) / np.sqrt(len(covariances))
    t = np.abs(mean - expected)[np.triu_indices(len(expected))] / error[np.triu_indices(len(expected))]
    return min(1.0, 2 * len(t) * stats.t.sf(t.max(), len(covariances) - 1))


@pytest.mark.parametrize("widths", [(3, 3, 3), (4, 2, 5, 3)], ids=["square", "of any widths"])
def test_the_noise_covariance_is_that_of_a_million_gradients(widths):
    problem, Σ = network(widths, 0.5)
    θ, mean = problem.parameters, problem.gradient(problem.parameters)

    @jax.jit
    def covariance(key):
        g = problem.example_gradients(θ, problem.data.sample(key, 1_000_000 // BATCHES)) - mean[None, :]
        return g.T @ g / len(g)

    covariances = np.stack([covariance(key) for key in jax.random.split(KEY, BATCHES)])
    assert p_value(covariances, Σ) > 1e-5
    # the label noise alone, and the data term without its transposed half, are not it
    quiet = deep_linear.noise_covariance(problem.network.weights, problem.data.matrix, label_noise_std=0.0)
    assert p_value(covariances, Σ - np.asarray(quiet) / 2) < 1e-5
    assert p_value(covariances, np.asarray(quiet)) < 1e-5


def test_the_sampler_has_that_covariance_and_one_without_the_commutation_matrix_has_not():
    problem, Σ = network((4, 2, 5, 3), 0.5)
    model, θ = OnlineLinear(problem, Online(1)), problem.parameters
    W, pull_back = jax.vjp(lambda θ: problem.unflatten(θ).matrix(), θ)

    def wrong(z):
        G, Z = z
        return pull_back(jnp.sqrt(2.0) * (problem.data.matrix - W) @ G + problem.data.label_noise_std * Z)[0]

    def covariances(sampler):
        def one(key):
            ξ = jax.vmap(lambda k: sampler(normals(k, model.sources(), θ.dtype)))(jax.random.split(key, 4000))
            return ξ.T @ ξ / len(ξ)

        return np.stack([np.asarray(jax.jit(one)(key)) for key in jax.random.split(KEY, BATCHES)])

    assert p_value(covariances(lambda z: model.apply(θ, z)), Σ) > 1e-5
    assert p_value(covariances(wrong), Σ) < 1e-5


def test_a_step_costs_fifty_times_less_than_the_dense_route():
    contenders = langevin.contenders(langevin.Size(replicas=1024, steps=20))
    ours, dense = "simulate", "dense: build Σ, decompose"
    record = measure({name: contenders[name] for name in (ours, dense)}, quick=True, rounds=1)
    assert ratios(record, ours, dense)[0] > 50


def test_memory_of_a_replica_is_that_of_its_parameters():
    """Twice the replicas take as many bytes more as a few copies of their parameters and draws."""
    problem = bench.problem()
    langevin = sgd.Langevin(problem, learning_rate=0.005, sampler=Online(1), substeps=1)
    kernel = sgd.ensemble.choose(langevin, every=20, dtype=jnp.dtype(jnp.float32))
    langevin, kernel = sgd.ensemble.cast((langevin, kernel), jnp.float32)

    def temporary(replicas):
        θ = jax.ShapeDtypeStruct((replicas, problem.parameters.size), jnp.float32)
        run = lambda θ: sgd.ensemble.advance(
            langevin, sgd.ensemble.replicate(langevin, θ, None, KEY), jnp.int32(20), kernel
        )
        return jax.jit(run).lower(θ).compile().memory_analysis().temp_size_in_bytes

    extra = (temporary(1024) - temporary(512)) / 512
    assert extra < 20 * 4 * problem.parameters.size < 4 * problem.parameters.size**2 / 20
