"""Euler-Maruyama steps of the depth-4, 12×12 deep linear network's SDE: 1,024 replicas in float32.

Against the dense route: build the noise covariance Σ(θ) [576, 576], decompose it, multiply by normal numbers. That is
done for a few replicas, one after the other: its cost is per replica.
"""

import jax
import jax.numpy as jnp

import sgdynamics as sgd
from sgdynamics.networks import DeepLinear
from sgdynamics.samplers import Online
from sgdynamics.theory import deep_linear
from sgdynamics_benchmarks.timing import Timing, interleaved

WIDTHS, REPLICAS, DENSE_REPLICAS, STEPS, LEARNING_RATE = (12,) * 5, 1024, 8, 20, 0.005


def problem() -> sgd.Problem:
    """The teacher of Corlouer et al. and a network half-way to it."""
    teacher = sgd.data.Teacher.of_singular_values(key=jax.random.key(0), label_noise_std=0.3)
    network = DeepLinear.aligned(teacher.matrix, [0.5, 0.3, 0.1], WIDTHS, key=jax.random.key(1))
    return sgd.Problem(network, teacher)


def dense_step(learned: sgd.Problem, θ: jax.Array, key: jax.Array) -> jax.Array:
    """θ − η ∇L + √(η · η) Σ^{1/2} z, with Σ built and decomposed."""
    teacher = learned.data
    Σ = deep_linear.noise_covariance(
        learned.unflatten(θ).weights, teacher.matrix, label_noise_std=teacher.label_noise_std
    )
    values, vectors = jnp.linalg.eigh(Σ)
    z = jax.random.normal(key, θ.shape)
    return θ - LEARNING_RATE * learned.gradient(θ) + LEARNING_RATE * vectors @ (jnp.sqrt(jnp.maximum(values, 0)) * z)


def run(rounds: int = 7, *, reference: bool = True) -> dict[str, Timing]:
    """The dense route, the reference step (unless left out) and the kernel; work in replica-steps."""
    learned, key = problem(), jax.random.key(2)
    langevin = sgd.Langevin(learned, learning_rate=LEARNING_RATE, sampler=Online(1), substeps=1)

    def simulate(kernel=None):
        run = lambda: sgd.simulate(
            langevin, sgd.statistics.Mean(), replicas=REPLICAS, steps=STEPS, every=STEPS, key=key, kernel=kernel
        )
        return lambda: run().state.position

    keys = jax.random.split(key, DENSE_REPLICAS)
    dense = jax.jit(lambda θ: jax.lax.map(lambda key: dense_step(learned, θ, key), keys))
    contenders = {
        "dense: build Σ, decompose": lambda: dense(learned.parameters),
        "simulate, its kernel": simulate(),
    }
    if reference:
        contenders["simulate, reference step"] = simulate(sgd.ensemble.reference_kernel)
    work = {name: DENSE_REPLICAS if name.startswith("dense") else REPLICAS * STEPS for name in contenders}
    return interleaved(contenders, work, rounds)
