"""The kernels for linear processes make the paths of the reference step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import paths_of
import pytest
from paths_of import distance

from sgdynamics.dynamics import LinearModes, LinearProcess
from sgdynamics.ensemble import _linear, reference_kernel

KEY = jax.random.key(5)
DRAWS = np.random.default_rng(0)
# rounding of a step, remembered for a relaxation time of about ten steps
TOLERANCE = {jnp.float32: 1e-5, jnp.float64: 1e-12}
MODES, PARAMETERS = 3, 5
VECTORS = np.linalg.qr(DRAWS.normal(size=(PARAMETERS, MODES)))[0]
DRIFT = np.stack([[[0.0, -1.0], [h, 0.5]] for h in (0.2, 1.0, 3.0)])
ROTATING = np.array([[0.5, 1.0], [-1.0, 0.2]])
JOINT_ROOT = DRAWS.normal(size=(2 * MODES, 2 * MODES))


def modes(vectors=None, noise=None):
    noise = np.stack([[[0.1, 0.02], [0.02, c]] for c in (0.1, 0.4, 0.2)]) if noise is None else noise
    mean = None if vectors is None else np.arange(float(len(vectors)))
    return LinearModes(DRIFT, noise, mean, vectors, time_step=0.3)


CASES = {
    "modes": modes,
    "fewer modes than parameters": lambda: modes(VECTORS),
    "joint noise": lambda: modes(VECTORS, JOINT_ROOT @ JOINT_ROOT.T),
    "process": lambda: LinearProcess(ROTATING, np.eye(2) + 0.3, np.arange(2.0), time_step=0.3),
}


ends = partial(paths_of.ends, replicas=4, starts=paths_of.ones, key=KEY)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_the_kernel_makes_the_reference_paths(case):
    dynamics = CASES[case]()
    kernel = _linear.build(dynamics, 10, jnp.float32)
    assert kernel is not None
    for dtype, tolerance in TOLERANCE.items():
        fast, slow = (ends(dynamics, dtype, k) for k in (kernel, reference_kernel))
        assert fast.position.dtype == dtype
        assert distance(fast.position, slow.position) < tolerance
        if slow.velocity is not None:
            assert distance(fast.velocity, slow.velocity) < tolerance


@pytest.mark.long
def test_another_duration_is_another_path():
    kernel = _linear.LinearProcessKernel()
    one, other = (LinearProcess(np.eye(1), np.eye(1), time_step=h) for h in (0.3, 0.301))
    assert distance(*(ends(d, jnp.float64, kernel, 20).position for d in (one, other))) > 1e-5


def test_records_in_every_step_leave_no_room():
    assert _linear.build(modes(VECTORS), 1, jnp.float32) is None
