"""SVAG: the law of its steps by enumeration, SGD at l = 1, draws addressed by the inner step."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.data import Dataset, Teacher
from sgdynamics.dynamics import SVAG
from sgdynamics.samplers import AbstractSampler, Epochs, FullBatch, Online, WithoutReplacement

RNG = np.random.default_rng(3)
KEY = jax.random.key(11)
X, Y = RNG.normal(size=(3, 2)), RNG.normal(size=3)


def linear():
    return sgd.Problem(sgd.networks.Linear(2, 1), Dataset(X, Y))


def mlp():
    return sgd.Problem(sgd.networks.MLP((2, 3, 1), key=KEY), Dataset(X, Y))


def path(dynamics, steps, key=KEY, start=None):
    """Positions after each step."""

    def step(state, k):
        state = dynamics.step(state, k, key)
        return state, state.position

    start = dynamics.init(dynamics.initial_position() if start is None else start)
    return jax.jit(lambda: jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))[1])()


def pairs(problem, θ, stretch):
    """a g_B + b g_B' for every pair of minibatches of one example."""
    root = np.sqrt(2 * stretch - 1)
    g = np.asarray(problem.example_gradients(θ))
    return np.array([(1 + root) / 2 * x + (1 - root) / 2 * y for x, y in itertools.product(g, g)])


@pytest.mark.parametrize("stretch", [1, 2, 8])
def test_an_inner_step_has_the_gradients_mean_and_the_amplified_covariance(stretch):
    """Over all nine pairs: exactly ∇L and l C. And what is drawn are these pairs, all equally often."""
    problem, θ = linear(), jnp.array([0.3, -0.2])
    law = pairs(problem, θ, stretch)
    C = noise.minibatch(problem, 1).covariance(θ)
    assert np.allclose(law.mean(axis=0), problem.gradient(θ), atol=1e-14)
    assert np.allclose(np.cov(law.T, bias=True), stretch * C, atol=1e-13)

    svag = SVAG(problem, learning_rate=0.1, sampler=1, stretch=stretch)
    draws = 3600
    drawn = eqx.filter_jit(jax.vmap(lambda n: svag.amplified_gradient(θ, n, KEY)))(jnp.arange(draws, dtype=jnp.int32))
    distance = np.linalg.norm(np.asarray(drawn)[:, None] - law[None], axis=2)
    assert distance.min(axis=1).max() < 1e-13
    counts = np.bincount(distance.argmin(axis=1), minlength=9)
    counts = counts.reshape(3, 3).sum(axis=1) if stretch == 1 else counts  # the second minibatch is not drawn
    expected = draws / counts.size
    assert np.sum((counts - expected) ** 2) / expected < 30  # of 8 degrees of freedom: p < 3e-4, and the key is fixed


def test_at_stretch_one_the_path_is_sgds():
    problem, options = mlp(), {"learning_rate": 0.2, "sampler": 2, "weight_decay": 0.1}
    ours, theirs = path(SVAG(problem, **options, stretch=1), 20), path(sgd.SGD(problem, **options), 20)
    assert jnp.abs(ours - theirs).max() < 1e-14
    assert jnp.abs(path(SVAG(problem, **options, stretch=2), 20) - theirs).max() > 1e-3


def test_inner_steps_are_numbered_on():
    """Six steps of l = 2 with learning rate η are inner steps 0 … 11, however they are grouped into steps."""
    svag = SVAG(linear(), learning_rate=0.2, sampler=2, stretch=2, weight_decay=0.1)

    def inner(θ, n):
        θ = θ - 0.1 * (svag.amplified_gradient(θ, n, KEY) + 0.1 * θ)
        return θ, θ

    positions = jax.lax.scan(inner, svag.initial_position(), jnp.arange(12, dtype=jnp.int32))[1]
    assert jnp.abs(path(svag, 6) - positions[1::2]).max() < 1e-14


def test_without_noise_it_is_gradient_descent_in_shorter_steps():
    ours = path(SVAG(linear(), learning_rate=0.2, sampler=FullBatch(), stretch=4), 5)
    theirs = path(sgd.SGD(linear(), learning_rate=0.05, sampler=FullBatch()), 20)
    assert jnp.abs(ours - theirs[3::4]).max() < 1e-13


def test_time_is_counted_in_learning_rates_and_schedules_are_followed():
    schedule = lambda step: 0.1 / (1 + step.astype(float))
    make = lambda rate: SVAG(linear(), learning_rate=rate, sampler=WithoutReplacement(2), stretch=3)
    assert float(make(schedule).time_step(jnp.array(3))) == 0.025
    state = make(0.1).init(jnp.ones(2))
    for k, rate in enumerate((0.1, 0.05)):
        state = make(rate).step(state, jnp.int32(k), KEY)
    assert jnp.abs(path(make(schedule), 2, start=jnp.ones(2))[-1] - state.position).max() < 1e-14


def test_the_ensembles_loop_runs_it_on_a_stream():
    problem = sgd.Problem(sgd.networks.DeepLinear((2, 2, 2), key=KEY), Teacher(np.eye(2), 0.5))
    svag = SVAG(problem, learning_rate=0.1, sampler=Online(2), stretch=2)
    run = sgd.simulate(svag, sgd.statistics.Mean(), replicas=3, steps=4, key=KEY, dtype=jnp.float64)
    own = jax.random.fold_in(jax.random.split(KEY)[1], 1)
    assert jnp.abs(run.state.position[1] - path(svag, 4, own)[-1]).max() < 1e-14
    assert run.provenance["hyperparameters"]["stretch"] == 2 and run.provenance["dynamics"] == "SVAG"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stretch": 0}, r"stretch = 0"),
        ({"learning_rate": -0.1}, r"learning_rate = -0.1.*≥ 0"),
        ({"weight_decay": -1.0}, r"weight_decay = -1.0"),
        ({"sampler": 0}, r"batch_size = 0"),
        ({"sampler": Epochs(1)}, r"sampler = Epochs.*independent.*WithoutReplacement"),
        ({"sampler": Online(1)}, r"sampler = Online"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SVAG(linear(), **{"learning_rate": 0.1, "sampler": 1, **options})


class Cyclic(AbstractSampler):
    """Example after example: a sampler of one's own, with a memory."""

    def init(self, data):
        return jnp.int32(0)

    def draw(self, data, memory, step, key):
        return data.take(memory[None], key), (memory + 1) % data.samples

    def covariance_factor(self, data):
        return jnp.array(1.0)

    def check(self, data):
        pass


def test_any_sampler_with_a_memory_is_refused():
    with pytest.raises(ValueError, match=r"sampler = Cyclic.*independent.*remembers.*WithReplacement"):
        SVAG(linear(), learning_rate=0.1, sampler=Cyclic())


def test_it_has_no_velocity_to_start_with():
    with pytest.raises(ValueError, match="velocity was given"):
        SVAG(linear(), learning_rate=0.1, sampler=1).init(jnp.zeros(2), jnp.zeros(2))
