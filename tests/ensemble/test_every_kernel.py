"""What holds of every kernel: blocks of replicas, steps whose number has wrapped, and what it must refuse."""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.data import Teacher, teacher_student
from sgdynamics.dynamics import LinearModes, LinearProcess
from sgdynamics.ensemble import (
    _deep_linear,
    _deep_linear_langevin,
    _generic,
    _linear,
    _network,
    _pallas_deep_linear,
    _pallas_launch,
    _pallas_regression,
    _quadratic,
    reference_kernel,
    replicate,
)
from sgdynamics.noise import frozen
from sgdynamics.samplers import Online

KEY = jax.random.key(7)
DATA = teacher_student(KEY, samples=6, inputs=2, label_noise_std=0.5)
STUDENT = sgd.Problem(sgd.networks.DeepLinear((2, 2, 1), key=KEY), Teacher(np.ones((1, 2)), 0.3))
LINE = sgd.Problem(sgd.networks.Linear(2, 1), DATA)
NETWORK = sgd.Problem(sgd.networks.MLP((2, 2, 1), key=KEY), DATA)
MODES = np.stack([[[0.0, -1.0], [h, 0.5]] for h in (0.2, 3.0)])
# more than a block, and a number that fills the blocks up with a copy of one
REPLICAS, STEPS = 35, 6


def descent(problem, sampler):
    return sgd.SGD(problem, learning_rate=0.05, sampler=sampler)


def langevin(problem, sampler, noise=None):
    return sgd.Langevin(problem, learning_rate=0.05, sampler=sampler, noise=noise, substeps=2)


DYNAMICS = {
    "deep linear": lambda: descent(STUDENT, Online(1)),
    "deep linear langevin": lambda: langevin(STUDENT, Online(2)),
    "quadratic": lambda: langevin(LINE, 2, frozen(LINE, 2)),
    "linear modes": lambda: LinearModes(MODES, np.tile(np.eye(2) * 0.1, (2, 1, 1)), time_step=0.3),
    "linear process": lambda: LinearProcess(np.eye(2), np.eye(2), time_step=0.3),
    "generic": lambda: descent(NETWORK, 2),
    "network": lambda: descent(NETWORK, 2),
    "pallas deep linear": lambda: descent(STUDENT, Online(1)),
    "pallas regression": lambda: descent(LINE, 2),
}
BUILD = {
    "deep linear": _deep_linear.build,
    "deep linear langevin": _deep_linear_langevin.build,
    "quadratic": _quadratic.build,
    "linear modes": _linear.build,
    "linear process": _linear.build,
    "generic": partial(_generic.build, replica_steps=math.inf),
    "network": lambda dynamics, every, dtype: _network.build(dynamics, every),
    "pallas deep linear": _pallas_deep_linear.build,
    "pallas regression": _pallas_regression.build,
}
ON_CPUS = [case for case in BUILD if not case.startswith("pallas")]
needs_triton = pytest.mark.skipif(_pallas_launch.triton is None, reason="JAX has no way to Triton")
EVERYWHERE = [case if case in ON_CPUS else pytest.param(case, marks=needs_triton) for case in BUILD]


def starting(dynamics, key=KEY):
    start = jnp.linspace(0.8, 1.2, REPLICAS)[:, None] * (1 + dynamics.initial_position())[None, :]
    return replicate(dynamics, start, None, key)


@pytest.mark.parametrize("case", ON_CPUS)
def test_blocks_of_replicas(case):
    """They are put together again; a dead replica spoils no other, not even where its copy fills up a block; and past
    the largest whole number of 32 bits the draws go on."""
    dynamics = DYNAMICS[case]()
    kernel = BUILD[case](dynamics, 100, jnp.float64)
    run, reference = (jax.jit(lambda start, k=k: k(dynamics, start, STEPS)) for k in (kernel, reference_kernel))
    start, dead = starting(dynamics), np.array([0, 3, REPLICAS - 1])
    late = eqx.tree_at(lambda r: r.step, start, jnp.int32(2**31 - 4))
    fast, slow = run(late).position, reference(late).position
    assert jnp.linalg.norm(fast - slow) < 1e-12 * jnp.linalg.norm(slow - start.states.position)
    spoiled = run(eqx.tree_at(lambda r: r.states.position, late, late.states.position.at[dead].set(jnp.nan))).position
    assert jnp.isnan(spoiled[dead]).any(axis=1).all()
    others = np.setdiff1d(np.arange(REPLICAS), dead)
    assert jnp.array_equal(spoiled[others], fast[others])


@pytest.mark.parametrize("case", EVERYWHERE)
def test_precisions(case):
    built = {dtype: BUILD[case](DYNAMICS[case](), 100, dtype) for dtype in (jnp.float32, jnp.float64)}
    assert None not in built.values()
    if case != "network":  # the reference step's operations, in any precision
        assert all(BUILD[case](DYNAMICS[case](), 100, dtype) is None for dtype in (jnp.bfloat16, jnp.float16))


@pytest.mark.parametrize("case", [case for case in ON_CPUS if case != "network"])
def test_keys_that_draw_otherwise_in_blocks_are_refused(case):
    dynamics = DYNAMICS[case]()
    start, kernel = starting(dynamics, jax.random.key(0, impl="rbg")), BUILD[case](dynamics, 100, jnp.float64)
    with pytest.raises(ValueError, match="keys are of rbg"):
        jax.eval_shape(lambda start: kernel(dynamics, start, STEPS), start)


# --- classes of a user's own ------------------------------------------------------------------------------------

PARTS = {
    "dynamics": lambda d: d,
    "problem": lambda d: d.problem,
    "data": lambda d: d.problem.data,
    "network": lambda d: d.problem.network,
    "sampler": lambda d: d.sampler,
    "noise": lambda d: d.noise,
}
STREAM = ("dynamics", "problem", "data", "network", "sampler")
OWN = {
    "deep linear": STREAM,
    "deep linear langevin": (*STREAM[:-1], "noise"),
    "quadratic": (*STREAM[:-1], "noise"),
    "linear modes": ("dynamics",),
    "linear process": ("dynamics",),
    "generic": ("dynamics", "problem", "sampler"),
    "network": ("dynamics", "problem", "data", "sampler"),
    "pallas deep linear": STREAM,
    "pallas regression": STREAM,
}


def own(x):
    """The same, of a class of a user's own that may draw in another way."""

    class Own(type(x)):
        def draw(self, *args):
            return super().draw(*args)

    made = object.__new__(Own)
    made.__dict__.update(x.__dict__)
    return made


@pytest.mark.parametrize("case", EVERYWHERE)
def test_a_subclass_is_refused(case):
    dynamics = DYNAMICS[case]()
    assert BUILD[case](dynamics, 100, jnp.float32) is not None
    for part in OWN[case]:
        other = own(dynamics) if part == "dynamics" else eqx.tree_at(PARTS[part], dynamics, replace_fn=own)
        assert isinstance(PARTS[part](other), type(PARTS[part](dynamics)))
        assert BUILD[case](other, 100, jnp.float32) is None, part


@pytest.mark.parametrize("case", ["quadratic", "linear modes", "linear process"])
def test_products_of_matrices_in_all_bits(case):
    """GPUs would make them in fewer."""
    dynamics = (
        DYNAMICS[case]()
        if case != "linear modes"
        else LinearModes(MODES, np.eye(4), None, np.eye(3)[:, :2], time_step=0.3)
    )
    kernel = BUILD[case](dynamics, 100, jnp.float32)
    program = str(jax.make_jaxpr(lambda start: kernel(dynamics, start, STEPS))(starting(dynamics)))
    assert program.count("dot_general[") == program.count("precision=(Precision.HIGHEST") > 0
