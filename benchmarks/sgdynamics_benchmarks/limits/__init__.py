"""The machine's limit: one loop in C for each problem, compiled on the spot for this processor.

They make the library's own draws (threefry, keys folded by replica and step) and the library's steps, so that a test
holds them equal to it. They know one problem each and gather no statistics: what generality costs is the difference.
"""

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics_benchmarks.throughput import Missing

SOURCES = pathlib.Path(__file__).parent
FLAGS = ("-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-lm")


def keys(run_key: jax.Array, replicas: int) -> np.ndarray:
    """The replicas' keys as `simulate` has them: the run's key folded by the replica, [replicas, 2] words."""
    folded = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(run_key, jnp.arange(replicas, dtype=jnp.uint32))
    return np.ascontiguousarray(jax.random.key_data(folded), np.uint32)


def regression(data, keys: np.ndarray, learning_rate: float, batch_size: int, steps: int) -> Callable[[], np.ndarray]:
    """Residuals X w − y [replicas, samples] after so many steps from w = 0."""
    x, y = np.asarray(data.x, np.float64), np.asarray(data.y, np.float32).reshape(1, -1)
    K = np.ascontiguousarray(x @ x.T, np.float32)
    kernel = library("regression").regression
    rate = ctypes.c_float(learning_rate)

    def run() -> np.ndarray:
        E = np.ascontiguousarray(np.broadcast_to(-y, (len(keys), y.shape[1])))
        status = kernel(len(keys), y.shape[1], batch_size, steps, 0, rate, _pointer(E), _pointer(K), _pointer(keys))
        if status:
            raise ValueError("the C limit's batch_size or samples are larger than it was written for.")
        return E

    return run


def deep_linear(
    weights: np.ndarray, teacher, keys: np.ndarray, learning_rate: float, steps: int
) -> Callable[[], np.ndarray]:
    """Weights [replicas, depth, width, width] of online SGD with batch size 1, so many steps after those given."""
    _, depth, width, _ = weights.shape
    M = np.ascontiguousarray(np.asarray(teacher.matrix).T, np.float32)
    kernel = library("deep_linear", f"-DDEPTH={depth}", f"-DWIDTH={width}").deep_linear
    rate, noise = ctypes.c_float(learning_rate), ctypes.c_float(float(teacher.label_noise_std))

    def run() -> np.ndarray:
        W = np.array(weights, np.float32, order="C")
        kernel(len(keys), steps, 0, rate, noise, _pointer(W), _pointer(M), _pointer(keys))
        return W

    return run


@functools.cache
def library(name: str, *options: str) -> ctypes.CDLL:
    """`NAME.c`, compiled by the machine's own compiler, with options of its own."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise Missing("there is no C compiler (cc); install one, or set CC")
    with tempfile.TemporaryDirectory() as folder:
        built = pathlib.Path(folder) / f"{name}.so"
        command = [compiler, str(SOURCES / f"{name}.c"), *options, *FLAGS, "-o", str(built)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if answer.returncode:
            raise Missing(f"{compiler} cannot compile {name}.c: {answer.stderr.strip()[-200:]}")
        loaded = ctypes.CDLL(str(built))
    return loaded


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
