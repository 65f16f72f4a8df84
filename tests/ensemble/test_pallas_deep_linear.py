"""The GPU kernel for deep linear networks, by Pallas' interpreter: it makes the reference paths. And it lowers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.ensemble import _pallas_launch, advance, cast, reference_kernel, replicate
from sgdynamics.ensemble._pallas_deep_linear import build
from sgdynamics.samplers import FullBatch, Online

pytest.importorskip("jax.experimental.pallas.triton")
KEY = jax.random.key(4)
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}


def problem(widths, label_noise_std):
    teacher = np.random.default_rng(0).normal(size=(widths[-1], widths[0]))
    return sgd.Problem(sgd.networks.DeepLinear(widths, key=KEY), sgd.data.Teacher(teacher, label_noise_std))


CASES = {
    "online": lambda: sgd.SGD(problem((4, 3, 5, 2), 0.3), learning_rate=0.02, sampler=Online(3)),
    "momentum and decay": lambda: sgd.SGD(
        problem((3, 3), 0.0), learning_rate=0.02, sampler=Online(1), momentum=0.5, weight_decay=0.1
    ),
    "widths of one": lambda: sgd.SGD(problem((1, 2, 1), 0.3), learning_rate=0.02, sampler=Online(2)),
}


@eqx.filter_jit
def run(dynamics, start, steps, kernel):
    return advance(dynamics, start, steps, kernel).states


def ends(dynamics, dtype, kernel, steps, replicas=3, key=KEY):
    dynamics = cast(dynamics, dtype)
    start = jnp.outer(jnp.linspace(0.8, 1.2, replicas, dtype=dtype), dynamics.initial_position())
    return run(dynamics, replicate(dynamics, start, None, key), jnp.int32(steps), kernel)


def distance(a, b):
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


def agree(dynamics, dtype, steps):
    kernel = build(dynamics, 100, dtype, interpret=True)
    fast, slow = (ends(dynamics, dtype, k, steps) for k in (kernel, reference_kernel))
    assert fast.position.dtype == dtype and fast.position.shape == slow.position.shape
    assert distance(fast.position, slow.position) < TOLERANCE[dtype]
    assert distance(fast.velocity, slow.velocity) < 100 * TOLERANCE[dtype]  # a difference of positions, over 0.02
    other = ends(dynamics, dtype, kernel, steps, key=jax.random.key(10))
    assert distance(other.position, slow.position) > 1e-3


def test_it_makes_the_reference_paths_and_another_keys_are_others(monkeypatch):
    monkeypatch.setattr(_pallas_launch, "ENOUGH_PROGRAMS", 1)  # blocks of two, of which one is not full
    agree(CASES["online"](), jnp.float64, 12)


@pytest.mark.long
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES)
def test_it_makes_the_reference_paths_for_a_thousand_steps(case, dtype):
    agree(CASES[case](), dtype, 1000)


def test_label_noise_is_drawn_where_it_is_not_known_to_be_zero():
    noisy, clean = (
        build(sgd.SGD(problem((3, 3), σ), learning_rate=0.02, sampler=Online(1)), 100, jnp.float32) for σ in (0.1, 0.0)
    )
    assert noisy.noisy_labels and not clean.noisy_labels


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.long)])
def test_it_lowers_for_cuda_as_one_launch(dtype):
    dynamics = cast(sgd.SGD(problem((12, 5, 12), 0.3), learning_rate=0.02, sampler=Online(2)), dtype)
    kernel = build(dynamics, 100, dtype)
    launch = jax.jit(lambda start, steps: kernel(dynamics, start, steps))
    start = replicate(dynamics, jnp.tile(dynamics.initial_position(), (4096, 1)), None, KEY)
    program = launch.trace(start, jnp.int32(20)).lower(lowering_platforms=("cuda",)).as_text()
    assert program.count("custom_call @__gpu$xla.gpu.triton") == 1
    assert "stablehlo.while" not in program


REFUSED = {
    "a schedule": lambda: sgd.SGD(problem((3, 3), 0.1), learning_rate=lambda step: 0.1, sampler=Online(1)),
    "full batches": lambda: sgd.SGD(problem((3, 3), 0.1), learning_rate=0.1, sampler=FullBatch()),
    "large batches": lambda: sgd.SGD(problem((3, 3), 0.1), learning_rate=0.1, sampler=Online(100)),
    "too wide": lambda: sgd.SGD(problem((100, 100), 0.1), learning_rate=0.1, sampler=Online(1)),
    "an SDE": lambda: sgd.Langevin(problem((3, 3), 0.1), learning_rate=0.1, sampler=Online(1)),
    "another network": lambda: sgd.SGD(
        sgd.Problem(sgd.networks.Linear(3, 2), sgd.data.Teacher(np.ones((2, 3)), 0.1)),
        learning_rate=0.1, sampler=Online(1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_is_not_for_it_refuses(case):
    assert build(REFUSED[case](), 100, jnp.float32) is None
