"""The kernel for any network makes the paths of the reference step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import paths_of
import pytest
from paths_of import distance

import sgdynamics as sgd
from sgdynamics.data import Dataset, FreshLabels, Teacher, teacher_student
from sgdynamics.ensemble import choose, reference_kernel
from sgdynamics.ensemble._network import NetworkKernel, build
from sgdynamics.networks import MLP, ConvNet
from sgdynamics.samplers import Epochs, FullBatch, Online, WithReplacement

KEY = jax.random.key(6)
DATA = teacher_student(KEY, samples=20, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(MLP((3, 5, 1), key=KEY), DATA)
IMAGES = Dataset(np.random.default_rng(0).normal(size=(6, 64)), np.arange(6.0))
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}

CASES = {
    "plain": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4),
    "epochs, momentum, decay, schedule": lambda: sgd.SGD(
        PROBLEM,
        learning_rate=lambda k: 0.2 / (1.0 + 0.01 * k.astype(float)),
        sampler=Epochs(5),
        momentum=0.5,
        weight_decay=0.05,
    ),
    "online": lambda: sgd.SGD(
        sgd.Problem(MLP((3, 5, 1), key=KEY), Teacher(np.ones((1, 3)), 0.3)), learning_rate=0.05, sampler=Online(2)
    ),
    "convolutions": lambda: sgd.SGD(
        sgd.Problem(ConvNet((2,), 1, key=KEY), IMAGES), learning_rate=0.01, sampler=WithReplacement(2)
    ),
}


ends = partial(paths_of.ends, replicas=3, starts=paths_of.around_the_start, key=KEY)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_makes_the_reference_paths(case):
    dynamics, steps = CASES[case](), 100 if case == "convolutions" else 1000
    kernel = build(dynamics, 10)
    assert isinstance(kernel, NetworkKernel)
    for dtype, tolerance in TOLERANCE.items():
        fast, slow = (ends(dynamics, dtype, k, steps) for k in (kernel, reference_kernel))
        assert fast.position.dtype == dtype and jnp.abs(fast.position - slow.position[:1]).max() > 0.01
        assert distance(fast.position, slow.position) < tolerance
        assert distance(fast.velocity, slow.velocity) < 10 * tolerance  # a difference of positions
        if slow.memory is not None:
            assert jnp.array_equal(fast.memory, slow.memory)


@pytest.mark.long
def test_another_learning_rate_is_another_path():
    one, other = (
        ends(sgd.SGD(PROBLEM, learning_rate=η, sampler=4), jnp.float64, NetworkKernel(), 20) for η in (0.1, 0.1001)
    )
    assert distance(one.position, other.position) > 1e-5


def test_it_is_chosen_where_nothing_more_special_is():
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4)
    chosen = choose(dynamics, every=10, dtype=jnp.float32, replica_steps=1000)
    assert isinstance(chosen, NetworkKernel)


class Own(sgd.SGD):
    pass


OTHERS = {
    "full batch": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=FullBatch()),
    "an SDE": lambda: sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=4),
    "fresh labels": lambda: sgd.SGD(
        sgd.Problem(MLP((3, 5, 1), key=KEY), FreshLabels(DATA, 0.3)), learning_rate=0.1, sampler=4
    ),
    "a user's own step": lambda: Own(PROBLEM, learning_rate=0.1, sampler=4),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_it_is_not_for_is_refused(case):
    assert build(OTHERS[case](), 10) is None
