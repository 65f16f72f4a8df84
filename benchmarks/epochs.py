"""Replica-steps per second with `Epochs`: N = 100, P = 200, S = 10 (20 batches an epoch), 1,024 replicas in float32.

What drawing the orders costs: the same step without it (every epoch goes through the examples in their own order),
and with batches drawn with replacement; in the residual kernel's loop and in the reference step. Drawing is at most
a third of the step where the ratio of `epochs` is at least 0.67.
"""

import jax
from jaxtyping import Array, Int

import sgdynamics as sgd
from benchmarks.timing import Timing, interleaved
from sgdynamics.samplers import Epochs, WithReplacement

INPUTS, SAMPLES, BATCH_SIZE, REPLICAS, LEARNING_RATE = 100, 200, 10, 1024, 0.1
STEPS, EVERY = 1000, 63
SAMPLERS = {
    "the given order": lambda: GivenOrder(BATCH_SIZE),
    "epochs": lambda: Epochs(BATCH_SIZE),
    "with replacement": lambda: WithReplacement(BATCH_SIZE),
}


class GivenOrder(Epochs):
    """`Epochs` whose order is never drawn."""

    def indices(self, samples: int, memory: Int[Array, " samples"], step, key):
        first = step % self.batches_per_epoch(samples) * self.batch_size
        return jax.lax.dynamic_slice_in_dim(memory, first, self.batch_size), memory


def base(contender: str) -> str:
    """What a contender is compared with: the same loop without drawing."""
    return f"{contender.partition(', ')[0]}, the given order"


def run(rounds: int = 15) -> dict[str, Timing]:
    """The kernel's loop and the reference step, with each sampler; work in replica-steps."""
    key = jax.random.key(0)
    data = sgd.data.teacher_student(key, samples=SAMPLES, inputs=INPUTS, label_noise_std=0.5)
    problem = sgd.Problem(sgd.networks.Linear(INPUTS, 1), data)

    def simulate(sampler, kernel):
        descent = sgd.SGD(problem, learning_rate=LEARNING_RATE, sampler=sampler)
        run = lambda: sgd.simulate(
            descent, sgd.statistics.Mean(), replicas=REPLICAS, steps=STEPS, every=EVERY, key=key, kernel=kernel
        )
        return lambda: run().state.position

    contenders = {
        f"{loop}, {name}": simulate(make(), kernel)
        for loop, kernel in (("kernel", None), ("reference step", sgd.ensemble.reference_kernel))
        for name, make in SAMPLERS.items()
    }
    return interleaved(contenders, dict.fromkeys(contenders, REPLICAS * STEPS), rounds)
