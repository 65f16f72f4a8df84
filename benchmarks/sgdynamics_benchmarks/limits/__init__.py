"""The machine's limit: one loop in C for each problem, compiled on the spot for this processor.

They make the library's own draws (threefry, keys folded by replica and step) and the library's steps, so that a test
holds them equal to it. They know one problem each and gather no statistics: what generality costs is the difference.
"""

import ctypes
import functools
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics_benchmarks.throughput import Missing, Round
from sgdynamics_benchmarks.timing import cores

SOURCES = pathlib.Path(__file__).parent
# what -ffast-math stands for, but for one thing: linked with that, the library would have the whole process flush
# subnormal numbers to zero as soon as it is loaded
ARITHMETIC = (
    "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math", "-freciprocal-math",
    "-ffinite-math-only", "-fno-rounding-math",
)  # fmt: skip
FLAGS = ("-O3", "-march=native", *ARITHMETIC, "-fopenmp", "-shared", "-fPIC", "-lm")
SECONDS = 120
"""What a compiler may take."""


def keys(run_key: jax.Array, replicas: int) -> np.ndarray:
    """The replicas' keys as `simulate` has them: the run's key folded by the replica, [replicas, 2] words."""
    folded = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(run_key, jnp.arange(replicas, dtype=jnp.uint32))
    return np.ascontiguousarray(jax.random.key_data(folded), np.uint32)


def regression(data, keys: np.ndarray, learning_rate: float, batch_size: int, steps: int) -> Round:
    """Residuals X w − y [replicas, samples] after so many steps from w = 0."""
    x, y = np.asarray(data.x, np.float64), np.asarray(data.y, np.float32).reshape(1, -1)
    K = np.ascontiguousarray(x @ x.T, np.float32)
    kernel, threads = library("regression").regression, cores()
    rate = ctypes.c_float(learning_rate)

    def run() -> np.ndarray:
        E = np.ascontiguousarray(np.broadcast_to(-y, (len(keys), y.shape[1])))
        arrays = (_pointer(E), _pointer(K), _pointer(keys))
        status = kernel(threads, len(keys), y.shape[1], batch_size, steps, 0, rate, *arrays)
        if status:
            raise ValueError("the C limit's batch_size or samples are larger than it was written for.")
        return E

    return Round(run, {"threads": threads} | compiler())


def deep_linear(weights: np.ndarray, teacher, keys: np.ndarray, learning_rate: float, steps: int) -> Round:
    """Weights [replicas, depth, width, width] of online SGD with batch size 1, so many steps after those given."""
    _, depth, width, _ = weights.shape
    M = np.ascontiguousarray(np.asarray(teacher.matrix).T, np.float32)
    kernel, threads = library("deep_linear", f"-DDEPTH={depth}", f"-DWIDTH={width}").deep_linear, cores()
    rate, noise = ctypes.c_float(learning_rate), ctypes.c_float(float(teacher.label_noise_std))

    def run() -> np.ndarray:
        W = np.array(weights, np.float32, order="C")
        kernel(threads, len(keys), steps, 0, rate, noise, _pointer(W), _pointer(M), _pointer(keys))
        return W

    return Round(run, {"threads": threads} | compiler())


@functools.cache
def library(name: str, *options: str) -> ctypes.CDLL:
    """`NAME.c`, compiled by the machine's own compiler, with options of its own."""
    with tempfile.TemporaryDirectory() as folder:
        built = pathlib.Path(folder) / f"{name}.so"
        answer = _compiled(str(SOURCES / f"{name}.c"), *options, *FLAGS, "-o", str(built))
        if answer.returncode:
            raise Missing(f"{_command()[0]} cannot compile {name}.c: {answer.stderr.strip()[-200:]}")
        try:
            return ctypes.CDLL(str(built))
        except OSError as error:
            raise Missing(f"{name}.c was compiled, but the library cannot be loaded: {error}") from error


def compiler() -> dict[str, str]:
    """The compiler's name and version, and the options for all of them."""
    answer = _compiled("--version")
    return {"compiler": (answer.stdout.splitlines() or ["unknown"])[0], "flags": " ".join(FLAGS)}


def _compiled(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([*_command(), *arguments], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"the C compiler {_command()[0]} cannot be run: {error}") from error


def _command() -> list[str]:
    """The compiler and the options that go with it: the variable CC may hold several words."""
    words = shlex.split(os.environ.get("CC", "cc")) or ["cc"]
    found = shutil.which(words[0])
    if found is None:
        raise Missing(f"there is no C compiler ({words[0]}); install one, or set CC")
    return [found, *words[1:]]


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
