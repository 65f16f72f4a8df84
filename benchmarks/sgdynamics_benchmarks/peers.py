"""What contenders of several benchmarks share: `simulate`, JAX on all devices, a path for diffrax, PyTorch."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import sgdynamics as sgd
from sgdynamics_benchmarks.throughput import Contender, Missing, Round, peer
from sgdynamics_benchmarks.timing import cores


def simulated(
    dynamics: Any, *, replicas: int, steps: int, every: int, statistic: Any = None, kernel: Any = None, stride: int = 1
) -> Contender:
    """`simulate`, called as a user calls it; `stride`: how many of the other contenders' steps one of its steps is.

    A run in which replicas diverge measures nothing, and is an error.
    """
    statistic = sgd.statistics.Mean() if statistic is None else statistic

    def prepare():
        details: dict[str, Any] = {}

        def run():
            key = jax.random.key(0)
            ensemble = sgd.simulate(
                dynamics, statistic, replicas=replicas, steps=steps, every=every, key=key, kernel=kernel
            )
            if ensemble.provenance["diverged"]:
                raise FloatingPointError(f"{ensemble.provenance['diverged']} of {replicas} replicas diverged.")
            details.update({name: ensemble.provenance[name] for name in ("kernel", "devices", "dtype")})
            return ensemble.state.position

        return Round(run, details)

    return Contender(prepare, replicas * steps * stride)


def on_cuda(contender: Contender) -> Contender:
    """A contender that is for NVIDIA's GPUs only."""

    def prepare():
        if jax.default_backend() != "gpu":
            raise Missing("no CUDA device")
        return contender.prepare()

    return Contender(prepare, contender.work)


def on_all_devices(one_replica: Callable, replicas: int) -> Callable:
    """`vmap(one_replica)`, compiled, each device with its own share of the replicas and its own loop.

    Of the devices, as many as share out the replicas evenly.
    """
    number = max(n for n in range(1, jax.device_count() + 1) if replicas % n == 0)
    mesh = jax.make_mesh((number,), ("replicas",), axis_types=(AxisType.Auto,), devices=jax.devices()[:number])
    mapped = jax.vmap(one_replica)
    shared = P("replicas")
    return jax.jit(jax.shard_map(mapped, mesh=mesh, in_specs=shared, out_specs=shared, check_vma=False))


def keyed(one_replica: Callable, replicas: int, work: float) -> Contender:
    """A path as a function of a key, for all replicas on all devices."""

    def prepare():
        run = on_all_devices(one_replica, replicas)
        keys = jax.random.split(jax.random.key(0), replicas)
        return lambda: run(keys)

    return Contender(prepare, work)


class StepPath(diffrax.AbstractBrownianPath):
    """Increments of W from the key folded by the step's number, and nothing else: the cheapest path there is.

    The same draws as `dynamics.StepBrownianPath`, without its check that the steps lie on the grid.
    """

    time_step: jax.Array
    sources: Any = eqx.field(static=True)
    key: jax.Array
    levy_area = diffrax.BrownianIncrement

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return jnp.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        step = jnp.round(t0 / self.time_step).astype(jnp.int32)
        z = sgd.noise.normals(jax.random.fold_in(self.key, step), self.sources, self.time_step.dtype)
        return jax.tree.map(lambda leaf: jnp.sqrt(self.time_step) * leaf, z)


def end(solution: Any) -> jax.Array:
    """θ at the end of diffrax's solution, of θ or (θ, v)."""
    return jax.tree.leaves(solution.ys)[0][-1]


def torch() -> Any:
    """PyTorch."""
    return peer("torch")


def in_torch(run: Callable[[], Any]) -> Round:
    """`run` with as many of PyTorch's threads as make it faster: one, or one for each core.

    PyTorch may share its threads' library with others: they find it afterwards as it was.
    """
    module = torch()

    def with_threads(threads: int) -> Any:
        before = module.get_num_threads()
        module.set_num_threads(threads)
        try:
            return run()
        finally:
            module.set_num_threads(before)

    best = _fastest(with_threads, sorted({1, cores()}))
    return Round(lambda: with_threads(best), {"threads": best})


def _fastest(run: Callable[[int], Any], choices: list[int], samples: int = 3) -> int:
    """The choice with the least median of several samples, taken in turn after one to warm up."""
    seconds: dict[int, list[float]] = {choice: [] for choice in choices}
    for sample in range(1 + samples if len(choices) > 1 else 0):
        for choice in choices:
            started = time.perf_counter()
            run(choice)
            if sample:
                seconds[choice].append(time.perf_counter() - started)
    return min(choices, key=lambda choice: statistics.median(seconds[choice] or [0.0]))
