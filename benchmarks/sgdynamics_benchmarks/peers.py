"""What contenders of several benchmarks share: `simulate`, JAX on all devices, PyTorch with all cores."""

import time
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import sgdynamics as sgd
from sgdynamics_benchmarks.throughput import Contender, peer
from sgdynamics_benchmarks.timing import cores


def simulated(
    dynamics: Any, *, replicas: int, steps: int, every: int, statistic: Any = None, kernel: Any = None, stride: int = 1
) -> Contender:
    """`simulate`, called as a user calls it; `stride`: how many of the other contenders' steps one of its steps is."""
    statistic = sgd.statistics.Mean() if statistic is None else statistic

    def run():
        key = jax.random.key(0)
        return sgd.simulate(
            dynamics, statistic, replicas=replicas, steps=steps, every=every, key=key, kernel=kernel
        ).state.position

    return Contender(lambda: run, replicas * steps * stride)


def on_all_devices(one_replica: Callable) -> Callable:
    """`vmap(one_replica)`, compiled, each device with its own share of the replicas and its own loop."""
    mesh = jax.make_mesh((jax.device_count(),), ("replicas",), axis_types=(AxisType.Auto,))
    mapped = jax.vmap(one_replica)
    shared = P("replicas")
    return jax.jit(jax.shard_map(mapped, mesh=mesh, in_specs=shared, out_specs=shared, check_vma=False))


def keyed(one_replica: Callable, replicas: int, work: float) -> Contender:
    """A path as a function of a key, for all replicas on all devices."""

    def prepare():
        run = on_all_devices(one_replica)
        keys = jax.random.split(jax.random.key(0), replicas)
        return lambda: run(keys)

    return Contender(prepare, work)


def end(solution: Any) -> jax.Array:
    """θ at the end of diffrax's solution, of θ or (θ, v)."""
    return jax.tree.leaves(solution.ys)[0][-1]


def torch() -> Any:
    """PyTorch, with a thread for each core."""
    module = peer("torch")
    module.set_num_threads(cores())
    return module


def in_torch(run: Callable[[], Any]) -> Callable[[], Any]:
    """`run` with as many of PyTorch's threads as make it faster: one, or one for each core."""
    module = torch()
    seconds = {}
    for threads in {1, cores()}:
        module.set_num_threads(threads)
        run()
        started = time.perf_counter()
        run()
        seconds[threads] = time.perf_counter() - started
    best = min(seconds, key=seconds.__getitem__)

    def wrapped():
        module.set_num_threads(best)
        return run()

    return wrapped
