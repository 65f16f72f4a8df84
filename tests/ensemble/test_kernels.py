"""Kernels make the paths of the reference step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset, FreshLabels, teacher_student
from sgdynamics.ensemble import RegressionKernel, advance, cast, choose, reference_kernel, replicate
from sgdynamics.samplers import Epochs, FullBatch, WithoutReplacement, WithReplacement

KEY = jax.random.key(9)
DATA = teacher_student(KEY, samples=40, inputs=10, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(10, 1), DATA)
DECAYING = optax.exponential_decay(0.8, transition_steps=100, decay_rate=0.8)
# float32: rounding 6e-8 a step, remembered for 1/(learning rate × curvature) ≈ 100 steps at most as a random walk
# of length 10, times the condition number of X (3); to which 1e-5 leaves room
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}


def ends(dynamics, dtype, steps=1000, replicas=8):
    kernel = choose(dynamics, every=steps, dtype=jnp.dtype(dtype))
    assert isinstance(kernel, RegressionKernel)
    dynamics, kernel = cast((dynamics, kernel), dtype)
    start = replicate(dynamics, jnp.ones((replicas, 10), dtype), None, KEY)
    run = jax.jit(lambda kernel: advance(dynamics, start, jnp.int32(steps), kernel).states, static_argnums=0)
    fast = jax.jit(lambda: advance(dynamics, start, jnp.int32(steps), kernel).states)()
    return fast, run(reference_kernel)


def distance(a, b):
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "options",
    [
        {"sampler": WithReplacement(4)},
        {"sampler": WithoutReplacement(4), "momentum": 0.8, "weight_decay": 0.05},
        {"sampler": Epochs(6), "learning_rate": DECAYING, "momentum": 0.5},
        {"sampler": WithReplacement(3), "momentum": lambda step: 0.5 * (step % 2).astype(float)},
    ],
    ids=["plain", "momentum and decay", "epochs and schedule", "momentum in steps"],
)
def test_the_residual_form_makes_the_reference_paths(options, dtype):
    fast, slow = ends(sgd.SGD(PROBLEM, **{"learning_rate": 0.5, **options}), dtype)
    assert fast.position.dtype == dtype
    assert distance(fast.position, slow.position) < TOLERANCE[dtype]
    assert distance(fast.velocity, slow.velocity) < 10 * TOLERANCE[dtype]  # a difference of positions


def test_another_hyperparameter_is_another_path():
    one, other = (ends(sgd.SGD(PROBLEM, learning_rate=η, sampler=4), jnp.float64)[0] for η in (0.5, 0.501))
    assert distance(one.position, other.position) > 1e-5


def test_a_column_of_labels_is_the_same_problem():
    column = sgd.Problem(sgd.networks.Linear(10, 1), Dataset(DATA.x, DATA.y[:, None]))
    fast, slow = ends(sgd.SGD(column, learning_rate=0.5, sampler=4), jnp.float64, steps=100)
    assert distance(fast.position, slow.position) < 1e-12


def test_a_dead_replica_spoils_no_other():
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.5, sampler=4)
    kernel = choose(dynamics, every=100, dtype=jnp.float64)
    position = jnp.ones((4, 10))
    run = lambda start: advance(dynamics, replicate(dynamics, start, None, KEY), 100, kernel)
    clean, spoiled = run(position), run(position.at[1].set(jnp.nan))
    assert spoiled.alive.tolist() == [True, False, True, True]
    others = np.array([0, 2, 3])
    assert jnp.array_equal(clean.states.position[others], spoiled.states.position[others])


def regression(x, y=None):
    y = jnp.arange(len(x), dtype=float) if y is None else y
    return sgd.Problem(sgd.networks.Linear(x.shape[1], 1), Dataset(x, y))


def wide():
    return np.random.default_rng(0).normal(size=(5, 10))


def ill_conditioned(condition=1e4):
    return np.random.default_rng(0).normal(size=(40, 3)) * np.array([1.0, 1.0, 1 / condition])


REFERENCE_ONLY = {
    "records too close": (lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=2), 1),
    "too few samples": (lambda: sgd.SGD(regression(wide()), learning_rate=0.1, sampler=2), 100),
    "ill-conditioned inputs": (lambda: sgd.SGD(regression(ill_conditioned()), learning_rate=0.1, sampler=2), 100),
    "singular inputs": (lambda: sgd.SGD(regression(np.ones((40, 2))), learning_rate=0.1, sampler=2), 100),
    "more samples than a Gram matrix may have": (
        lambda: sgd.SGD(regression(np.random.default_rng(0).normal(size=(20_000, 2))), learning_rate=0.1, sampler=1),
        100,
    ),
    "full batches": (lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=FullBatch()), 100),
    "optax": (lambda: sgd.Descent(PROBLEM, optax.sgd(0.1), 2), 100),
    "an SDE": (lambda: sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=2), 100),
    "fresh labels": (
        lambda: sgd.SGD(
            sgd.Problem(sgd.networks.Linear(10, 1), FreshLabels(DATA, 0.1)), learning_rate=0.1, sampler=2
        ),
        100,
    ),
    "another loss": (
        lambda: sgd.SGD(
            sgd.Problem(sgd.networks.Linear(10, 1), DATA, lambda f, y: jnp.sum(jnp.abs(f - y))),
            learning_rate=0.1, sampler=2,
        ),
        100,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCE_ONLY)
def test_the_reference_runs_where_the_residual_form_would_be_wrong(case):
    make, every = REFERENCE_ONLY[case]
    assert choose(make(), every=every, dtype=jnp.float32) is reference_kernel


def test_the_condition_that_is_allowed_depends_on_the_precision():
    dynamics = sgd.SGD(regression(ill_conditioned()), learning_rate=0.1, sampler=2)
    assert isinstance(choose(dynamics, every=100, dtype=jnp.float64), RegressionKernel)
    assert choose(dynamics, every=100, dtype=jnp.bfloat16) is reference_kernel
