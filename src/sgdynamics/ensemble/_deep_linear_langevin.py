"""The Langevin equation of deep linear networks on an endless teacher: the loop with replicas in the last axis.

    W_l ← W_l + W_>lᵀ [Δ dt + √(η/S) (Δ (G + Gᵀ)/√2 + σ Z) √dt] W_<lᵀ − λ W_l dt,        Δ = M − W

and with σ_iso √(η dt) z in place of the noise, where that is isotropic (Corlouer et al., Prop. 3.1 and 3.2; App. H.3).
Drift and noise are pulled back to the layers together: no matrix of the parameters' size is ever made. The draws are
those of the reference step: the same replica makes the same path, to rounding.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from sgdynamics._checks import known_zero
from sgdynamics._types import Scalar, Step
from sgdynamics.data import Teacher
from sgdynamics.dynamics import AbstractDynamics, Langevin, State, at_step
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._deep_linear import LEAST_STEPS, is_deep_linear
from sgdynamics.ensemble._normals import Pipeline, drawn_in, one_stream
from sgdynamics.ensemble._stacks import (
    Matrices,
    cut,
    flat,
    in_blocks,
    once,
    product,
    products,
    pulled_back,
    runtime_one,
)
from sgdynamics.noise import Isotropic, OnlineLinear


class DeepLinearLangevinKernel(eqx.Module):
    """The kernel for the SDE of order 1; `noisy_labels` false: label noise is not even drawn."""

    noisy_labels: bool = eqx.field(static=True)

    def __call__(self, dynamics: Langevin, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        block = lambda keys, θ: [self._run(dynamics, θ, keys, replicas.step, steps)]
        return State(*in_blocks(block, replicas.keys, replicas.states.position))

    def _run(self, langevin: Langevin, θ: Array, keys: Array, step: Step, steps: Int[Array, ""] | int) -> Array:
        one, pipeline = runtime_one(step, θ.dtype), self._pipeline(langevin, keys, θ.dtype)
        first = step * langevin.substeps

        def substep(carry, i):
            layers, drawn = carry
            n = first + i
            # not n // substeps: n may wrap
            number = step + i // langevin.substeps
            layers = self._substep(langevin, layers, number, pipeline.normals(drawn), one)
            return layers, pipeline.next(drawn, n)

        shapes = [W.shape for W in langevin.problem.network.weights]
        return flat(repeat(steps * langevin.substeps, substep, (cut(θ, shapes), pipeline.start(first)))[0])

    def _pipeline(self, langevin: Langevin, keys: Array, dtype) -> Pipeline:
        outputs, inputs = langevin.problem.data.matrix.shape
        if isinstance(langevin.noise, Isotropic):
            return Pipeline(one_stream(keys), ((langevin.noise.parameters,),), 1, dtype)
        shapes = ((inputs, inputs), (outputs, inputs))[: 1 + self.noisy_labels]
        return Pipeline(one_stream(keys), shapes, 2, dtype)

    def _substep(
        self, langevin: Langevin, layers: list[Matrices], step: Step, z: list[Array], one: Array
    ) -> list[Matrices]:
        """One step of Euler-Maruyama."""
        teacher, dtype = langevin.problem.data, one.dtype
        dt = langevin.time_step(step).astype(dtype) / langevin.substeps
        η, λ = (at_step(h, step, dtype) for h in (langevin.learning_rate, langevin.weight_decay))
        before = products(layers, one)
        Δ = once(teacher.matrix[:, :, None] - before[-1], one)
        if isinstance(langevin.noise, Isotropic):
            descent = pulled_back(layers, before, once(Δ * dt, one), one)
            kicks = cut(jnp.sqrt(η * langevin.noise.variance * dt) * z[0], [W.shape[:2] for W in layers])
            descent = [d + kick for d, kick in zip(descent, kicks, strict=True)]
        else:
            noise = jnp.sqrt(η * dt / langevin.noise.batch_size) * self._source(teacher, Δ, z, one)
            descent = pulled_back(layers, before, once(Δ * dt + noise, one), one)
        return [W + d - λ * dt * W for W, d in zip(layers, descent, strict=True)]

    def _source(self, teacher: Teacher, Δ: Matrices, z: list[Array], one: Scalar) -> Matrices:
        """Δ (G + Gᵀ)/√2 + σ Z."""
        H = once((z[0] + jnp.swapaxes(z[0], 0, 1)) * jnp.sqrt(jnp.asarray(0.5, Δ.dtype)), one)
        S = product(Δ, H)
        return S + teacher.label_noise_std * z[1] if self.noisy_labels else S


def build(dynamics: AbstractDynamics, every: int, dtype) -> DeepLinearLangevinKernel | None:
    """The kernel, where it is for this dynamics and worth while; else None."""
    if every < LEAST_STEPS or not drawn_in(dtype) or type(dynamics) is not Langevin or dynamics.order != 1:
        return None
    drawn = type(dynamics.noise) is Isotropic or (dynamics.fused and type(dynamics.noise) is OnlineLinear)
    if not (drawn and is_deep_linear(dynamics.problem)):
        return None
    return DeepLinearLangevinKernel(not known_zero(dynamics.problem.data.label_noise_std))
