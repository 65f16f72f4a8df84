"""The GPU kernel for regression, by Pallas' interpreter: it makes the reference paths. And it lowers for CUDA."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset, FreshLabels, teacher_student
from sgdynamics.ensemble import _pallas_launch, advance, cast, reference_kernel, replicate
from sgdynamics.ensemble._pallas_regression import build
from sgdynamics.samplers import FullBatch, WithoutReplacement

pytest.importorskip("jax.experimental.pallas.triton")
KEY = jax.random.key(9)
DATA = teacher_student(KEY, samples=40, inputs=10, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(10, 1), DATA)
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}


DESCENT = sgd.SGD(PROBLEM, learning_rate=0.5, sampler=5, momentum=0.8, weight_decay=0.05)


@eqx.filter_jit
def run(dynamics, start, steps, kernel):
    return advance(dynamics, start, steps, kernel)


def starting(dtype=jnp.float64, replicas=5, key=KEY):
    return replicate(DESCENT, jnp.ones((replicas, 10), dtype), None, key)


def interpreted(dynamics, dtype=jnp.float64):
    return build(dynamics, 100, dtype, interpret=True)


def distance(a, b):
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


def agree(dynamics, dtype, steps, **start):
    fast, slow = (
        run(cast(dynamics, dtype), starting(dtype, **start), jnp.int32(steps), kernel).states
        for kernel in (interpreted(dynamics, dtype), reference_kernel)
    )
    assert fast.position.dtype == dtype and fast.position.shape == slow.position.shape
    assert distance(fast.position, slow.position) < TOLERANCE[dtype]
    assert distance(fast.velocity, slow.velocity) < 10 * TOLERANCE[dtype]  # a difference of positions


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.long), jnp.float64])
def test_it_makes_the_reference_paths(dtype):
    agree(DESCENT, dtype, 1000)


def test_another_key_is_another_path():
    one, other = (
        run(DESCENT, starting(key=key), jnp.int32(50), interpreted(DESCENT)) for key in (KEY, jax.random.key(10))
    )
    assert distance(one.states.position, other.states.position) > 1e-3


def test_how_a_run_is_cut_changes_nothing():
    whole = parts = starting()
    for steps in (11, 0, 19):
        parts = run(DESCENT, parts, jnp.int32(steps), interpreted(DESCENT))
    whole = run(DESCENT, whole, jnp.int32(30), interpreted(DESCENT))
    assert parts.step == whole.step and jnp.array_equal(parts.states.position, whole.states.position)


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.long), 13])
def test_blocks_and_batches_that_do_not_come_out_even(batch_size, monkeypatch):
    monkeypatch.setattr(_pallas_launch, "ENOUGH_PROGRAMS", 1)
    monkeypatch.setattr("sgdynamics.ensemble._pallas_regression.MOST_BYTES", 2048)  # blocks of 4, 4 rows at a time
    agree(sgd.SGD(PROBLEM, learning_rate=0.3, sampler=batch_size), jnp.float64, 50, replicas=7)


@pytest.mark.long
def test_a_dead_replica_spoils_no_other_of_its_block(monkeypatch):
    monkeypatch.setattr(_pallas_launch, "ENOUGH_PROGRAMS", 1)
    clean = starting(replicas=4)
    spoiled = eqx.tree_at(lambda r: r.states.position, clean, clean.states.position.at[1].set(jnp.nan))
    clean, spoiled = (run(DESCENT, start, jnp.int32(20), interpreted(DESCENT)) for start in (clean, spoiled))
    assert spoiled.alive.tolist() == [True, False, True, True]
    others = np.array([0, 2, 3])
    assert jnp.array_equal(clean.states.position[others], spoiled.states.position[others])


@pytest.mark.long
def test_a_sweep_over_learning_rates_is_as_many_runs():
    def position(rate, kernel):
        sweep = sgd.SGD(PROBLEM, learning_rate=rate, sampler=4)
        return advance(sweep, starting(), jnp.int32(20), kernel).states.position

    rates, kernel = jnp.array([0.1, 0.4]), interpreted(sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4))
    fast, slow = (jax.vmap(position, in_axes=(0, None))(rates, k) for k in (kernel, reference_kernel))
    assert distance(fast, slow) < 1e-12 and distance(fast[0], fast[1]) > 1e-3


@pytest.mark.long
def test_keys_of_another_generator_go_to_the_reference_step():
    start = starting(key=jax.random.key(1, impl="rbg"))
    fast, slow = (run(DESCENT, start, jnp.int32(5), kernel) for kernel in (interpreted(DESCENT), reference_kernel))
    assert jnp.array_equal(fast.states.position, slow.states.position)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.long)])
def test_it_lowers_for_cuda_as_one_launch(dtype):
    dynamics, kernel = cast(DESCENT, dtype), build(DESCENT, 100, dtype)
    launch = jax.jit(lambda start, steps: kernel(dynamics, start, steps))
    program = launch.trace(starting(dtype, 4096), jnp.int32(20)).lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("custom_call @__gpu$xla.gpu.triton") == 1
    assert "stablehlo.while" not in program


def wide():
    x = np.random.default_rng(0).normal(size=(5, 2000))
    return sgd.Problem(sgd.networks.Linear(2000, 1), Dataset(x, np.arange(5.0)))


REFUSED = {
    "a schedule": lambda: sgd.SGD(PROBLEM, learning_rate=optax.constant_schedule(0.1), sampler=2),
    "another sampler": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=WithoutReplacement(2)),
    "full batches": lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=FullBatch()),
    "too many inputs": lambda: sgd.SGD(wide(), learning_rate=0.1, sampler=2),
    "optax": lambda: sgd.Descent(PROBLEM, optax.sgd(0.1), 2),
    "an SDE": lambda: sgd.Langevin(PROBLEM, learning_rate=0.1, sampler=2),
    "fresh labels": lambda: sgd.SGD(
        sgd.Problem(sgd.networks.Linear(10, 1), FreshLabels(DATA, 0.1)), learning_rate=0.1, sampler=2
    ),
    "another loss": lambda: sgd.SGD(
        sgd.Problem(sgd.networks.Linear(10, 1), DATA, lambda f, y: jnp.sum(jnp.abs(f - y))),
        learning_rate=0.1,
        sampler=2,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_is_not_for_it_refuses(case):
    assert build(REFUSED[case](), 100, jnp.float32) is None


def test_precisions_and_records():
    assert build(DESCENT, 100, jnp.float32) is not None
    assert build(DESCENT, 100, jnp.bfloat16) is None
    assert build(DESCENT, 1, jnp.float32) is None


@pytest.mark.parametrize(
    "platform, capability, worth",
    [
        ("gpu", "9.0", True),
        ("cuda", "8.6", True),
        ("gpu", "12.0", True),
        ("gpu", "7.0", False),
        ("gpu", "gfx942", False),
    ],
)
def test_gpus_that_it_is_for(platform, capability, worth):
    assert _pallas_launch.worth(SimpleNamespace(platform=platform, compute_capability=capability)) is worth


def test_it_is_not_for_cpus():
    assert _pallas_launch.worth(jax.local_devices(backend="cpu")[0]) is False
