"""The kernel for deep linear networks makes the paths of the reference step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.ensemble import (
    DeepLinearKernel,
    DeepLinearLangevinKernel,
    advance,
    cast,
    choose,
    reference_kernel,
    replicate,
)
from sgdynamics.samplers import FullBatch, Online

KEY = jax.random.key(4)
REPLICAS, STEPS = 4, 12
# rounding, some hundred operations deep, times the few steps
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-13}


def problem(widths, label_noise_std):
    teacher = np.random.default_rng(0).normal(size=(widths[-1], widths[0]))
    return sgd.Problem(sgd.networks.DeepLinear(widths, key=KEY), sgd.data.Teacher(teacher, label_noise_std))


def ends(dynamics, dtype, kernel=None, steps=STEPS, replicas=REPLICAS, key=KEY):
    chosen = choose(dynamics, every=STEPS, dtype=jnp.dtype(dtype)) if kernel is None else kernel
    dynamics, chosen = cast((dynamics, chosen), dtype)
    start = jnp.outer(jnp.linspace(0.8, 1.2, replicas, dtype=dtype), dynamics.initial_position())
    start = replicate(dynamics, start, None, key)
    return jax.jit(lambda: advance(dynamics, start, jnp.int32(steps), chosen).states)(), chosen


CASES = {
    "online": lambda: sgd.SGD(problem((4, 3, 5, 2), 0.3), learning_rate=0.02, sampler=Online(3)),
    "one example, layers of one shape": lambda: sgd.SGD(
        problem((3, 4, 4, 4, 2), 0.3), learning_rate=0.02, sampler=Online(1)
    ),
    "no label noise": lambda: sgd.SGD(problem((4, 5, 3), 0.0), learning_rate=lambda k: 0.02, sampler=Online(2)),
    "more numbers than are drawn at once": lambda: sgd.SGD(
        problem((7, 3, 5), 0.3), learning_rate=0.02, sampler=Online(7), momentum=0.5
    ),
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


# the short run has one case of each kernel in `test_every_kernel`
SHORT = {"full batch"}


@pytest.mark.parametrize(
    "case", [case if case in SHORT else pytest.param(case, marks=pytest.mark.long) for case in CASES]
)
def test_the_kernel_makes_the_reference_paths(case):
    dynamics = CASES[case]()
    for dtype, tolerance in TOLERANCE.items():
        fast, kernel = ends(dynamics, dtype)
        assert isinstance(kernel, DeepLinearKernel | DeepLinearLangevinKernel) and fast.position.dtype == dtype
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
    chosen = choose(other(), every=STEPS, dtype=jnp.dtype(jnp.float32))
    assert not isinstance(chosen, DeepLinearKernel | DeepLinearLangevinKernel)


def test_another_network_that_is_linear_goes_to_the_reference_step():
    linear = sgd.Problem(sgd.networks.Linear(3, 2), sgd.data.Teacher(np.ones((2, 3)), 0.1))
    dynamics = sgd.SGD(linear, learning_rate=0.02, sampler=Online(1))
    assert not isinstance(choose(dynamics, every=STEPS, dtype=jnp.dtype(jnp.float32)), DeepLinearKernel)


def close(fast, slow, tolerance):
    return jnp.linalg.norm(fast - slow) < tolerance * jnp.linalg.norm(slow)


@pytest.mark.long
@pytest.mark.parametrize("case", ["one example, layers of one shape", "isotropic"])
def test_more_replicas_than_a_block_has(case):
    fast, slow = (ends(CASES[case](), jnp.float64, kernel, replicas=35)[0] for kernel in (None, reference_kernel))
    assert close(fast.position, slow.position, 1e-13)


@pytest.mark.long
@pytest.mark.parametrize("case", ["one example, layers of one shape", "full batch", "langevin"])
def test_no_step_changes_nothing(case):
    dynamics = CASES[case]()
    still, _ = ends(dynamics, jnp.float64, steps=0)
    start = jnp.outer(jnp.linspace(0.8, 1.2, REPLICAS), dynamics.initial_position())
    assert jnp.array_equal(still.position, start)
    assert still.velocity is None or not still.velocity.any()


@pytest.mark.long
@pytest.mark.parametrize("case", ["one example, layers of one shape", "langevin"])
def test_counters_laid_out_otherwise_draw_what_they_draw(case):
    with jax.threefry_partitionable(False):
        fast, slow = (ends(CASES[case](), jnp.float64, k, replicas=35)[0] for k in (None, reference_kernel))
    other, _ = ends(CASES[case](), jnp.float64, replicas=35)
    assert close(fast.position, slow.position, 1e-13) and not close(other.position, slow.position, 1e-3)


def near_the_minimum(make, depth=4, width=12):
    """The teacher is known already: paths stay where two of them do not drift apart."""
    teacher = sgd.data.Teacher.of_singular_values(np.ones(width), key=KEY, label_noise_std=0.3)
    network = sgd.networks.DeepLinear.aligned(teacher.matrix, np.full(width, 0.9), (width,) * (depth + 1), key=KEY)
    return make(sgd.Problem(network, teacher))


@pytest.mark.long
@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-5), (jnp.float64, 1e-12)])
@pytest.mark.parametrize(
    "make",
    [
        lambda problem: sgd.SGD(problem, learning_rate=0.005, sampler=Online(1)),
        lambda problem: sgd.SGD(problem, learning_rate=0.002, sampler=Online(2), momentum=0.5, weight_decay=0.01),
        lambda problem: sgd.Langevin(problem, learning_rate=0.005, sampler=Online(1), substeps=1),
    ],
    ids=["sgd", "momentum and decay", "langevin"],
)
def test_a_thousand_steps_later_it_is_the_same_path(make, dtype, tolerance):
    dynamics = near_the_minimum(make)
    fast, slow = (ends(dynamics, dtype, kernel, steps=1000)[0] for kernel in (None, reference_kernel))
    assert not close(slow.position, dynamics.initial_position().astype(dtype)[None, :], 0.05)
    assert close(fast.position, slow.position, tolerance)


# --- the compiled program -------------------------------------------------------------------------------------


def program(dynamics, replicas=REPLICAS):
    """The kernel's program, optimised, with the step and its number unknown."""
    kernel = choose(dynamics, every=STEPS, dtype=jnp.dtype(jnp.float32))
    dynamics, kernel = cast((dynamics, kernel), jnp.float32)
    start = jnp.outer(jnp.ones(replicas, jnp.float32), dynamics.initial_position())
    run = jax.jit(lambda start, steps: kernel(dynamics, start, steps))
    return run.lower(replicate(dynamics, start, None, KEY), jnp.int32(STEPS)).compile().as_text()


def count(text, operation):
    return text.count(f" {operation}(")


# a loop over the steps; where there are many numbers, one that draws them in pieces, before the steps and in them, and
# one that makes them normal; where there are many replicas, one over blocks
LOOPS = {
    ("one example, layers of one shape", 4): 1,
    ("one example, layers of one shape", 70): 2,
    ("langevin", 4): 1,
    ("more numbers than are drawn at once", 4): 4,
}


@pytest.mark.parametrize(
    "case, replicas", [case if case[1] == 70 else pytest.param(*case, marks=pytest.mark.long) for case in LOOPS]
)
def test_the_program_is_loops_of_arithmetic(case, replicas):
    text = program(CASES[case](), replicas)
    assert count(text, "while") == LOOPS[case, replicas]
    assert count(text, "conditional") == 3  # fences before the first step
    for slow in ("custom-call", "all-reduce", "all-gather", "send", "recv", "infeed", "outfeed", "dot"):
        assert count(text, slow) == 0, slow


def test_numbers_are_drawn_once_and_apart_from_where_they_are_used():
    """Threefry shows by its shifts, erf⁻¹ by its logarithm. Drawn where they are used, numbers would be so again for
    every use, and their keys for every number."""
    computations = program(CASES["one example, layers of one shape"]()).split("\n\n")
    normal = [part for part in computations if count(part, "log-plus-one")]
    assert [count(part, "shift-right-logical") for part in normal] == [0]
    assert any(0 < count(part, "shift-right-logical") < 30 for part in computations), "keys are made again"
    assert count(max(computations, key=lambda part: count(part, "fusion")), "concatenate") == 0
