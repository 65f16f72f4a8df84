"""Replica-steps per second of one-layer regression: N = 100, P = 200, S = 10, 1,024 replicas in float32.

Against NumPy vectorised over replicas, in its faster form here (batched matrix products; einsum is slower), with
and without a covariance every 20 steps. NumPy gathers no statistics at all.
"""

import jax
import numpy as np

import sgdynamics as sgd
from benchmarks.timing import Timing, interleaved

INPUTS, SAMPLES, BATCH_SIZE, REPLICAS, LEARNING_RATE = 100, 200, 10, 1024, 0.1
STEPS, EVERY, NUMPY_STEPS = 1000, 20, 100


def numpy_sgd(x: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
    """SGD of all replicas at once, as a careful user of NumPy writes it."""
    rng = np.random.default_rng(0)
    w = np.zeros((REPLICAS, INPUTS), np.float32)
    rate = np.float32(LEARNING_RATE / BATCH_SIZE)
    for _ in range(steps):
        indices = rng.integers(0, SAMPLES, (REPLICAS, BATCH_SIZE))
        batch = x[indices]
        residuals = np.matmul(batch, w[:, :, None])[:, :, 0] - y[indices]
        w -= rate * np.matmul(residuals[:, None, :], batch)[:, 0]
    return w


def run() -> dict[str, Timing]:
    """NumPy, `simulate` with its chosen kernel, and `simulate` with the reference step."""
    key = jax.random.key(0)
    data = sgd.data.teacher_student(key, samples=SAMPLES, inputs=INPUTS, label_noise_std=0.5)
    problem = sgd.Problem(sgd.networks.Linear(INPUTS, 1), data)
    descent = sgd.SGD(problem, learning_rate=LEARNING_RATE, sampler=BATCH_SIZE)
    x, y = np.asarray(data.x, np.float32), np.asarray(data.y, np.float32)

    def simulate(statistic, kernel=None):
        run = lambda: sgd.simulate(
            descent, statistic, replicas=REPLICAS, steps=STEPS, every=EVERY, key=key, kernel=kernel
        )
        return lambda: run().state.position

    contenders = {
        "NumPy, no statistics": lambda: numpy_sgd(x, y, NUMPY_STEPS),
        "simulate, mean every 20": simulate(sgd.statistics.Mean()),
        "simulate, covariance every 20": simulate(sgd.statistics.Covariance()),
        "simulate, covariance every 20, reference step": simulate(
            sgd.statistics.Covariance(), sgd.ensemble.reference_kernel
        ),
    }
    work = {name: REPLICAS * (NUMPY_STEPS if name.startswith("NumPy") else STEPS) for name in contenders}
    return interleaved(contenders, work)
