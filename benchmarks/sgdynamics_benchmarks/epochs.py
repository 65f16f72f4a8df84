"""Replica-steps per second with `Epochs`: N = 100, P = 200, S = 10 (20 batches an epoch), 1,024 replicas in float32.

What drawing the orders costs: the same step without it (every epoch goes through the examples in their own order),
and with batches drawn with replacement; in the residual kernel's loop and in the reference step. Drawing is at most
a third of the step where the ratio of `epochs` is at least 0.67.
"""

from dataclasses import asdict

import jax
from jaxtyping import Array, Int

import sgdynamics as sgd
from sgdynamics.samplers import Epochs, WithReplacement
from sgdynamics_benchmarks import peers, regression
from sgdynamics_benchmarks.throughput import Record, measure

EVERY = 63
SAMPLERS = {"the given order": lambda size: GivenOrder(size), "epochs": Epochs, "with replacement": WithReplacement}
LOOPS = {"simulate": None, "simulate, reference step": sgd.ensemble.reference_kernel}


class GivenOrder(Epochs):
    """`Epochs` whose order is never drawn.

    It overrides a concrete method, as nothing in the library does: kernels know epochs by their class, and are to run
    here what they run for those.
    """

    def indices(self, samples: int, memory: Int[Array, " samples"], step, key):
        first = step % self.batches_per_epoch(samples) * self.batch_size
        return jax.lax.dynamic_slice_in_dim(memory, first, self.batch_size), memory


def run(quick: bool = False, rounds: int | None = None) -> Record:
    """The chosen kernel's loop and the reference step, with each sampler."""
    size = regression.QUICK if quick else regression.Size()
    problem = regression.descent(size).problem
    contenders, base = {}, {}
    for loop, kernel in LOOPS.items():
        steps = max(2 * EVERY, size.steps // (1 if kernel is None else 4))
        for name, sampler in SAMPLERS.items():
            descent = sgd.SGD(problem, learning_rate=regression.LEARNING_RATE, sampler=sampler(size.batch_size))
            contenders[f"{loop}, {name}"] = peers.simulated(
                descent, replicas=size.replicas, steps=steps, every=EVERY, kernel=kernel
            )
            base[f"{loop}, {name}"] = f"{loop}, the given order"
    record = measure(contenders, quick=quick, rounds=rounds)
    title = f"epochs, N = {size.inputs}, P = {size.samples}, S = {size.batch_size}, R = {size.replicas}, float32"
    return record | {"title": title, "base": base, "size": asdict(size)}
