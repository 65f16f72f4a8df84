"""The kernels of linear regression make the paths of the reference step, and the cheapest is chosen."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import paths_of
import pytest
from paths_of import distance

import sgdynamics as sgd
from sgdynamics.data import Dataset, FreshLabels, teacher_student
from sgdynamics.ensemble import (
    CountsKernel,
    ParametersKernel,
    ResidualKernel,
    advance,
    cast,
    choose,
    reference_kernel,
    replicate,
)
from sgdynamics.ensemble import _regression_counts as counts
from sgdynamics.ensemble import _regression_parameters as parameters
from sgdynamics.ensemble import _regression_residual as residual
from sgdynamics.ensemble._regression_cost import nanoseconds
from sgdynamics.samplers import Epochs, FullBatch, WithoutReplacement, WithReplacement

KEY = jax.random.key(9)
DATA = teacher_student(KEY, samples=40, inputs=10, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(10, 1), DATA)
DECAYING = optax.exponential_decay(0.8, transition_steps=100, decay_rate=0.8)
BUILDS = {"residuals": residual.build, "counts": counts.build, "parameters": parameters.build}
# float32: rounding 6e-8 a step, remembered for 1/(learning rate × curvature) ≈ 100 steps at most as a random walk
# of length 10, times the condition number of X (3); to which 1e-5 leaves room
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}


def ends(dynamics, dtype, form="residuals", steps=1000, replicas=8):
    kernels = BUILDS[form](dynamics, steps, dtype), reference_kernel
    run = lambda kernel: paths_of.ends(dynamics, dtype, kernel, steps, replicas, starts=paths_of.ones, key=KEY)
    return tuple(map(run, kernels))


CASES = {
    "plain": {"sampler": WithReplacement(4)},
    "many rows": {"sampler": WithReplacement(37), "weight_decay": 0.05},
    "momentum and decay": {"sampler": WithoutReplacement(4), "momentum": 0.8, "weight_decay": 0.05},
    "epochs and schedule": {"sampler": Epochs(6), "learning_rate": DECAYING},
    "momentum in steps": {"sampler": WithReplacement(3), "momentum": lambda step: 0.5 * (step % 2).astype(float)},
}


@pytest.mark.parametrize("form", BUILDS)
@pytest.mark.parametrize("case", CASES)
def test_every_form_makes_the_reference_paths(case, form):
    for dtype, tolerance in TOLERANCE.items():
        fast, slow = ends(sgd.SGD(PROBLEM, **{"learning_rate": 0.5, **CASES[case]}), dtype, form)
        assert fast.position.dtype == dtype
        assert distance(fast.position, slow.position) < tolerance
        assert distance(fast.velocity, slow.velocity) < 10 * tolerance  # a difference of positions


@pytest.mark.parametrize("form", BUILDS)
def test_no_step_is_no_step(form):
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.5, sampler=4)
    start = replicate(dynamics, jnp.ones((3, 10)), jnp.ones((3, 10)), KEY)
    kernel = BUILDS[form](dynamics, 10, jnp.float64)
    for steps in (0, jnp.int32(0)):
        end = advance(dynamics, start, steps, kernel).states
        assert distance(end.position, start.states.position) < 1e-13
        assert distance(end.velocity, start.states.velocity) < 1e-13


@pytest.mark.long
@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-5), (jnp.float64, 1e-12)])
def test_residuals_are_exact_up_to_the_largest_condition_that_is_allowed(dtype, tolerance):
    """Errors of conversions add up record by record: against the reference in float64."""
    condition = 0.99 * residual.LARGEST_CONDITION[jnp.dtype(dtype).name]
    U, _, Vt = np.linalg.svd(np.random.default_rng(0).normal(size=(60, 10)), full_matrices=False)
    problem = regression(U * np.geomspace(1, 1 / condition, 10) @ Vt * 8, np.random.default_rng(1).normal(size=60))
    dynamics = sgd.SGD(problem, learning_rate=0.5, sampler=4)
    kernel = residual.build(dynamics, 20, dtype)
    options = {"replicas": 32, "steps": 1000, "every": 20, "key": KEY}
    fast = sgd.simulate(dynamics, sgd.statistics.Mean(), kernel=kernel, dtype=dtype, **options)
    slow = sgd.simulate(dynamics, sgd.statistics.Mean(), kernel=reference_kernel, dtype=jnp.float64, **options)
    assert distance(fast.state.position.astype(jnp.float64), slow.state.position) < tolerance


class Own(sgd.SGD):
    """A step of one's own."""


@pytest.mark.parametrize("form", BUILDS)
def test_a_subclass_is_not_taken_for_sgd(form):
    assert BUILDS[form](Own(PROBLEM, learning_rate=0.1, sampler=2), 100, jnp.float32) is None


def test_data_that_are_traced_have_no_residual_form():
    def chosen(x):
        dynamics = sgd.SGD(sgd.Problem(sgd.networks.Linear(10, 1), Dataset(x, DATA.y)), learning_rate=0.1, sampler=2)
        assert isinstance(choose(dynamics, every=100, dtype=jnp.float32), ParametersKernel | CountsKernel)
        return x

    jax.eval_shape(chosen, DATA.x)


@pytest.mark.parametrize("form", BUILDS)
def test_no_replica_spoils_another(form):
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.5, sampler=4)
    kernel = BUILDS[form](dynamics, 20, jnp.float64)
    run = lambda start: advance(dynamics, replicate(dynamics, start, None, KEY), 20, kernel)
    clean, spoiled = run(jnp.ones((4, 10))), run(jnp.ones((4, 10)).at[1].set(jnp.nan))
    others = np.array([0, 2, 3])
    assert jnp.array_equal(clean.states.position[others], spoiled.states.position[others])


def test_another_hyperparameter_is_another_path():
    one, other = (ends(sgd.SGD(PROBLEM, learning_rate=η, sampler=4), jnp.float64)[0] for η in (0.5, 0.501))
    assert distance(one.position, other.position) > 1e-5


def test_a_column_of_labels_is_the_same_problem():
    column = sgd.Problem(sgd.networks.Linear(10, 1), Dataset(DATA.x, DATA.y[:, None]))
    fast, slow = ends(sgd.SGD(column, learning_rate=0.5, sampler=4), jnp.float64, steps=100)
    assert distance(fast.position, slow.position) < 1e-12


def regression(x, y=None):
    y = jnp.arange(len(x), dtype=float) if y is None else y
    return sgd.Problem(sgd.networks.Linear(x.shape[1], 1), Dataset(x, y))


def wide():
    return np.random.default_rng(0).normal(size=(5, 10))


def ill_conditioned(condition=1e3):
    return np.random.default_rng(0).normal(size=(40, 3)) * np.array([1.0, 1.0, 1 / condition])


NOT_IN_RESIDUALS = {
    "too few samples": wide(),
    "ill-conditioned inputs": ill_conditioned(),
    "singular inputs": np.ones((40, 2)),
    "more samples than a Gram matrix may have": np.random.default_rng(0).normal(size=(20_000, 2)),
}


@pytest.mark.parametrize("case", NOT_IN_RESIDUALS)
def test_another_form_runs_where_residuals_would_be_wrong(case):
    dynamics = sgd.SGD(regression(NOT_IN_RESIDUALS[case]), learning_rate=0.1, sampler=2)
    assert residual.build(dynamics, 100, jnp.float32) is None
    assert isinstance(choose(dynamics, every=100, dtype=jnp.float32), ParametersKernel | CountsKernel)


def test_the_condition_that_is_allowed_depends_on_the_precision():
    dynamics = sgd.SGD(regression(ill_conditioned()), learning_rate=0.1, sampler=2)
    assert isinstance(residual.build(dynamics, 100, jnp.float64), ResidualKernel)
    assert residual.build(dynamics, 100, jnp.bfloat16) is None


REFERENCE_ONLY = {
    "full batches": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=FullBatch()),
    "optax": lambda: sgd.Descent(PROBLEM, optax.sgd(0.1), 2),
    "an SDE": lambda: sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=2),
    "fresh labels": lambda: sgd.SGD(
        sgd.Problem(sgd.networks.Linear(10, 1), FreshLabels(DATA, 0.1)), learning_rate=0.1, sampler=2
    ),
    "another loss": lambda: sgd.SGD(
        sgd.Problem(sgd.networks.Linear(10, 1), DATA, lambda f, y: jnp.sum(jnp.abs(f - y))),
        learning_rate=0.1, sampler=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCE_ONLY)
@pytest.mark.parametrize("form", BUILDS)
def test_what_is_no_regression_is_refused(case, form):
    assert BUILDS[form](REFERENCE_ONLY[case](), 100, jnp.float32) is None


# what was measured fastest, by 15 % and more: (P, N, S, every) -> the form
FASTEST = {
    (200, 100, 10, 20): "residuals",
    (470, 253, 2, 100): "residuals",
    (200, 20, 100, 20): "counts",
    (200, 100, 200, 20): "counts",
    (100, 70, 100, 20): "counts",
    (100, 80, 200, 100): "counts",
    (1000, 10, 300, 20): "counts",
    (5000, 100, 10, 20): "parameters",
    (1000, 100, 10, 20): "parameters",
    (500, 100, 10, 20): "parameters",
    (500, 30, 10, 20): "parameters",
    (200, 100, 2, 1): "parameters",
}


@pytest.mark.parametrize("sizes", FASTEST)
def test_the_cost_rule_chooses_what_was_measured_fastest(sizes):
    costs = nanoseconds(*sizes)
    assert min(costs, key=costs.__getitem__) == FASTEST[sizes]


# --- the compiled program -------------------------------------------------------------------------------------

# of the steps, and of the last one, which makes the velocity
LOOPS = 2


def program(kernel, dynamics):
    """The kernel's program, optimised, with the number of steps unknown."""
    dynamics, kernel = cast((dynamics, kernel), jnp.float32)
    start = replicate(dynamics, jnp.ones((8, 10), jnp.float32), None, KEY)
    return jax.jit(lambda start, steps: kernel(dynamics, start, steps)).lower(start, jnp.int32(9)).compile().as_text()


def faults(text, loops=LOOPS):
    """What makes a loop slow: other loops in it (threefry's rounds are one, rolled), draws that are put together in one
    array, calls and transfers to the host, collectives."""
    kinds = "infeed|outfeed|send|recv|all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    found = re.findall(rf" ({kinds})(?:-start)?\(", text) + re.findall(
        r'custom_call_target="([^"]*callback[^"]*)"', text
    )
    # random words, but not the pairs of them that keys are
    found += ["draws put together"] * len(re.findall(r"= u32\[(?!\d+,2\]|2,\d+\])[^\]]*\][^=]* concatenate\(", text))
    return found + ["another loop"] * (text.count(" while(") - loops)


@pytest.mark.parametrize("form", BUILDS)
def test_the_program_is_one_loop_over_the_steps(form):
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.5, sampler=4)
    assert faults(program(BUILDS[form](dynamics, 20, jnp.float32), dynamics)) == []


def test_slow_loops_would_be_seen():
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.5, sampler=4)
    assert "another loop" in faults(program(reference_kernel, dynamics), loops=1)
    together = jax.jit(
        lambda key: jnp.sort(jnp.concatenate([jax.random.bits(k, (5,), jnp.uint32) for k in jax.random.split(key)]))
    )
    text = together.lower(KEY).compile().as_text()
    assert "draws put together" in faults(text)
