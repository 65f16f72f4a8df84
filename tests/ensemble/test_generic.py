"""The kernel for networks of small layers makes the paths of the reference step."""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import paths_of
import pytest
from paths_of import distance

import sgdynamics as sgd
from sgdynamics._problem import cross_entropy
from sgdynamics.data import Dataset, FreshLabels, Teacher, teacher_student
from sgdynamics.ensemble import _generic, reference_kernel
from sgdynamics.networks import MLP
from sgdynamics.samplers import Epochs, FullBatch, Online, WithoutReplacement

KEY = jax.random.key(2)
DATA = teacher_student(KEY, samples=20, inputs=3, label_noise_std=0.5)
CLASSES = Dataset(DATA.x, jnp.argmax(DATA.x, axis=1))
NETWORK = MLP((3, 5, 4, 1), key=KEY)
PROBLEM = sgd.Problem(NETWORK, DATA)
# float32: rounding 6e-8, some ten operations deep, in each of at most 1,000 steps, as a random walk
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}


def decaying(step):
    return 0.2 / (1.0 + 0.01 * step.astype(float))


CASES = {
    "plain": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4),
    "momentum, decay, schedule": lambda: sgd.SGD(
        PROBLEM, learning_rate=decaying, sampler=WithoutReplacement(3), momentum=0.5, weight_decay=0.05
    ),
    "epochs": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=Epochs(5), momentum=0.3),
    "classes, relu": lambda: sgd.SGD(
        sgd.Problem(MLP((3, 6, 3), jax.nn.relu, key=KEY), CLASSES, cross_entropy), learning_rate=0.1, sampler=4
    ),
    "fresh labels": lambda: sgd.SGD(sgd.Problem(NETWORK, FreshLabels(DATA, 0.3)), learning_rate=0.1, sampler=4),
    "online": lambda: sgd.SGD(
        sgd.Problem(NETWORK, Teacher(np.ones((1, 3)), 0.3)), learning_rate=0.05, sampler=Online(2)
    ),
}


ends = partial(paths_of.ends, replicas=3, starts=paths_of.around_the_start, key=KEY)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_makes_the_reference_paths(case):
    dynamics = CASES[case]()
    kernel = _generic.build(dynamics, 10, jnp.float32, math.inf)
    assert kernel is not None
    for dtype, tolerance in TOLERANCE.items():
        fast, slow = (ends(dynamics, dtype, k) for k in (kernel, reference_kernel))
        assert fast.position.dtype == dtype
        assert distance(fast.position, slow.position) < tolerance
        # a difference of positions
        assert distance(fast.velocity, slow.velocity) < 10 * tolerance
        if slow.memory is not None:
            assert jnp.array_equal(fast.memory, slow.memory)


@pytest.mark.long
def test_blocks_of_replicas_are_put_together_again():
    dynamics = sgd.SGD(sgd.Problem(MLP((3, 2, 1), key=KEY), DATA), learning_rate=0.1, sampler=Epochs(5))
    fast, slow = (
        ends(dynamics, jnp.float64, k, 7, replicas=2 * _generic.BLOCK + 3)
        for k in (_generic.GenericKernel(), reference_kernel)
    )
    assert jax.tree.map(jnp.shape, fast) == jax.tree.map(jnp.shape, slow)
    assert distance(fast.position, slow.position) < 1e-13


@pytest.mark.long
def test_another_learning_rate_is_another_path():
    one, other = (
        ends(sgd.SGD(PROBLEM, learning_rate=η, sampler=4), jnp.float64, _generic.GenericKernel(), 20)
        for η in (0.1, 0.1001)
    )
    assert distance(one.position, other.position) > 1e-5


def test_a_weight_that_is_not_used_only_decays():
    class Idle(eqx.Module):
        used: jax.Array
        idle: jax.Array

        def __call__(self, x):
            return self.used @ x

    problem = sgd.Problem(Idle(jnp.ones((1, 3)), jnp.ones(2)), DATA)
    dynamics = sgd.SGD(problem, learning_rate=0.1, sampler=4, weight_decay=0.5)
    kernel = _generic.build(dynamics, 10, jnp.float32, math.inf)
    fast, slow = (ends(dynamics, jnp.float64, k, 20) for k in (kernel, reference_kernel))
    assert distance(fast.position, slow.position) < 1e-13


@pytest.mark.parametrize(
    "dynamics",
    [
        lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=FullBatch()),
        lambda: sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=4),
        lambda: sgd.SGD(sgd.Problem(MLP((3, 65, 65, 1), key=KEY), DATA), learning_rate=0.1, sampler=4),
        pytest.param(
            lambda: sgd.SGD(
                sgd.Problem(sgd.networks.ConvNet((2,), 1, key=KEY), Dataset(np.ones((4, 64)), np.ones(4))),
                learning_rate=0.1,
                sampler=4,
            ),
            marks=pytest.mark.long,
        ),
    ],
    ids=["full batch", "an SDE", "wide", "convolutions"],
)
def test_what_it_is_not_for_goes_to_the_reference_step(dynamics):
    assert _generic.build(dynamics(), 10, jnp.float32, math.inf) is None
