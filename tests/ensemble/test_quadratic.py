"""The kernel for differential equations on quadratic losses makes the paths of the reference step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import paths_of
import pytest
from paths_of import distance

import sgdynamics as sgd
from sgdynamics.data import Dataset, teacher_student
from sgdynamics.ensemble import _quadratic, reference_kernel

KEY = jax.random.key(3)
DATA = teacher_student(KEY, samples=20, inputs=5, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(5, 1), DATA)
TWO_OUTPUTS = sgd.Problem(sgd.networks.Linear(5, 2), Dataset(DATA.x, jnp.stack([DATA.y, 1 - DATA.y], 1)))
ALIGNED = sgd.Problem(sgd.networks.Linear(3, 1), Dataset(jnp.diag(jnp.array([1.0, 2.0, 0.5])), jnp.arange(3.0)))
TEACHER = sgd.Problem(sgd.networks.Linear(3, 2), sgd.data.Teacher(np.ones((2, 3)), 0.3))
# float32: rounding 6e-8 a substep, remembered for at most 4,000 substeps (flat directions) as a random walk
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}


def decaying(step):
    return 0.3 / (1.0 + 0.01 * step.astype(float))


def langevin(problem=PROBLEM, **options):
    return sgd.Langevin(problem, **{"learning_rate": 0.3, "sampler": 4, "substeps": 2, **options})


def underdamped(problem=PROBLEM, **options):
    common = {"learning_rate": 0.3, "sampler": 4, "momentum": 0.7, "substeps": 4, **options}
    return sgd.UnderdampedLangevin(problem, **common)


FROZEN = sgd.noise.frozen(PROBLEM, 4)
CASES = {
    "frozen": lambda: langevin(noise=FROZEN, weight_decay=0.1),
    "order 2, schedule": lambda: langevin(noise=FROZEN, order=2, learning_rate=decaying),
    "splitting": lambda: underdamped(noise=sgd.noise.hessian_proportional(PROBLEM, 4), weight_decay=0.1),
    "euler, schedule": lambda: underdamped(noise=FROZEN, scheme="euler", learning_rate=decaying),
    "two outputs, a sum": lambda: underdamped(
        TWO_OUTPUTS, noise=sgd.noise.Sum((sgd.noise.Isotropic(10, 0.2), sgd.noise.frozen(TWO_OUTPUTS, 4)))
    ),
    "modes are inputs": lambda: langevin(ALIGNED, noise=sgd.noise.Isotropic(3, 0.2)),
    "a teacher": lambda: underdamped(TEACHER, sampler=sgd.samplers.Online(4), noise=sgd.noise.Isotropic(6, 0.2)),
}


ends = partial(paths_of.ends, replicas=4, starts=paths_of.ones, key=KEY)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_the_modes_make_the_reference_paths(case):
    dynamics = CASES[case]()
    kernel = _quadratic.build(dynamics, 10, jnp.float32)
    assert kernel is not None
    for dtype, tolerance in TOLERANCE.items():
        fast, slow = (ends(dynamics, dtype, k) for k in (kernel, reference_kernel))
        assert fast.position.dtype == dtype
        assert distance(fast.position, slow.position) < tolerance
        if slow.velocity is not None:
            assert distance(fast.velocity, slow.velocity) < tolerance


@pytest.mark.long
def test_only_noise_along_the_modes_is_elementwise():
    ranks = lambda case: [K.ndim for K in _quadratic.build(CASES[case](), 10, jnp.float32).noise.matrices]
    assert ranks("modes are inputs") == ranks("a teacher") == [1]
    assert ranks("frozen") == [2] and ranks("two outputs, a sum") == [2, 2]


@pytest.mark.long
def test_another_noise_is_another_path():
    def ends_of(variance):
        dynamics = langevin(noise=sgd.noise.Isotropic(5, variance))
        return ends(dynamics, jnp.float64, _quadratic.build(dynamics, 10, jnp.float64), steps=10)

    assert distance(ends_of(0.2).position, ends_of(0.201).position) > 1e-5


@pytest.mark.parametrize(
    "dynamics",
    [
        langevin,
        lambda: langevin(noise=sgd.noise.Sum((FROZEN, sgd.noise.minibatch(PROBLEM, 4)))),
        lambda: langevin(sgd.Problem(PROBLEM.network, DATA, lambda f, y: jnp.sum(jnp.abs(f - y))), noise=FROZEN),
        lambda: langevin(sgd.Problem(sgd.networks.MLP((5, 1), key=KEY), DATA), noise=sgd.noise.Isotropic(6, 0.1)),
        lambda: sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4),
    ],
    ids=["the sampler's noise", "a sum with it", "another loss", "another network", "SGD"],
)
def test_what_is_not_quadratic_or_not_additive_is_refused(dynamics):
    assert _quadratic.build(dynamics(), 10, jnp.float32) is None


def test_a_traced_problem_is_refused():
    def built(x):
        problem = sgd.Problem(PROBLEM.network, Dataset(x, DATA.y))
        return _quadratic.build(langevin(problem, noise=sgd.noise.Isotropic(5, 0.1)), 10, jnp.float32) is None

    found = []
    jax.eval_shape(lambda x: found.append(built(x)), DATA.x)
    assert found == [True]
