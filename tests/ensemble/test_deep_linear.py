"""The kernel for deep linear networks makes the paths of the reference step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.ensemble import DeepLinearKernel, advance, cast, choose, reference_kernel, replicate
from sgdynamics.samplers import FullBatch, Online

KEY = jax.random.key(4)
REPLICAS, STEPS = 4, 12
# rounding, some hundred operations deep, times the few steps
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-13}


def problem(widths, label_noise_std):
    teacher = np.random.default_rng(0).normal(size=(widths[-1], widths[0]))
    return sgd.Problem(sgd.networks.DeepLinear(widths, key=KEY), sgd.data.Teacher(teacher, label_noise_std))


def ends(dynamics, dtype, kernel=None):
    chosen = choose(dynamics, every=STEPS, dtype=jnp.dtype(dtype)) if kernel is None else kernel
    dynamics, chosen = cast((dynamics, chosen), dtype)
    start = jnp.outer(jnp.linspace(0.8, 1.2, REPLICAS, dtype=dtype), dynamics.initial_position())
    start = replicate(dynamics, start, None, KEY)
    return jax.jit(lambda: advance(dynamics, start, jnp.int32(STEPS), chosen).states)(), chosen


def decaying(step):
    return 0.02 / (1.0 + step.astype(float))


CASES = {
    "online": lambda: sgd.SGD(problem((4, 3, 5, 2), 0.3), learning_rate=0.02, sampler=Online(3)),
    "momentum, decay, schedule": lambda: sgd.SGD(
        problem((3, 3), 0.0),
        learning_rate=lambda k: 0.02 / (1.0 + k.astype(float)),
        sampler=Online(1),
        momentum=0.5,
        weight_decay=0.1,
    ),
    "full batch": lambda: sgd.SGD(problem((4, 5, 2), 0.3), learning_rate=0.02, sampler=FullBatch()),
    "langevin": lambda: sgd.Langevin(
        problem((4, 3, 5, 2), 0.3), learning_rate=0.02, sampler=Online(2), weight_decay=0.1, substeps=2
    ),
    "langevin without label noise": lambda: sgd.Langevin(
        problem((4, 4), 0.0), learning_rate=0.02, sampler=Online(1), substeps=1
    ),
    "isotropic": lambda: sgd.Langevin(
        problem((4, 3, 2), 0.3), learning_rate=0.02, sampler=Online(2), noise=sgd.noise.Isotropic(18, 0.7), substeps=3
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_makes_the_reference_paths(case):
    dynamics = CASES[case]()
    for dtype, tolerance in TOLERANCE.items():
        fast, kernel = ends(dynamics, dtype)
        assert isinstance(kernel, DeepLinearKernel) and fast.position.dtype == dtype
        slow, _ = ends(dynamics, dtype, reference_kernel)
        moved = jnp.linalg.norm(slow.position - dynamics.initial_position().astype(dtype)[None, :])
        assert moved > 0.1
        assert jnp.abs(fast.position - slow.position).max() < tolerance * moved
        if slow.velocity is not None:
            assert jnp.abs(fast.velocity - slow.velocity).max() < 100 * tolerance * jnp.abs(slow.velocity).max()


@pytest.mark.parametrize(
    "other",
    [
        lambda: sgd.SGD(problem((4, 3, 2), 0.3), learning_rate=0.02, sampler=Online(100)),
        lambda: sgd.SGD(problem((100, 3, 2), 0.3), learning_rate=0.02, sampler=Online(1)),
        lambda: sgd.Langevin(problem((4, 3, 2), 0.3), learning_rate=0.02, sampler=Online(1), order=2),
        lambda: sgd.Langevin(
            problem((4, 3, 2), 0.3), learning_rate=0.02, sampler=Online(1), noise=sgd.noise.Constant(np.eye(18))
        ),
    ],
    ids=["large batch", "wide", "order 2", "constant noise"],
)
def test_what_it_is_not_for_goes_to_the_reference_step(other):
    assert choose(other(), every=STEPS, dtype=jnp.dtype(jnp.float32)) is reference_kernel


def test_another_network_that_is_linear_goes_to_the_reference_step():
    linear = sgd.Problem(sgd.networks.Linear(3, 2), sgd.data.Teacher(np.ones((2, 3)), 0.1))
    dynamics = sgd.SGD(linear, learning_rate=0.02, sampler=Online(1))
    assert choose(dynamics, every=STEPS, dtype=jnp.dtype(jnp.float32)) is reference_kernel
