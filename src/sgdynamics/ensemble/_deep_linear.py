"""Deep linear networks on an endless teacher: the replicas' loop with replicas in the last axis.

With layers W_l of shape [d_l, d_{l−1}, replicas], a product of small matrices is a sum of a few long products of
numbers, where `vmap` makes thousands of matrix products too small to be fast. Three steps are of that kind:

    SGD, Online         v ← βv + (1/S) Σ_s W_>lᵀ ε_s (W_<l x_s)ᵀ − λ W_l,      W_l ← W_l + η v,     ε = y − W x
    SGD, FullBatch      the same with ε xᵀ replaced by its mean Δ = M − W
    Langevin            W_l ← W_l + W_>lᵀ [Δ dt + √(η/S) (Δ (G + Gᵀ)/√2 + σ Z) √dt] W_<lᵀ − λ W_l dt

and the last with σ_iso √(η dt) z in place of the noise, where that is isotropic (Corlouer et al., Prop. 3.1 and 3.2;
App. H.3). Drift and noise are pulled back to the layers together. The draws are those of
the reference step: the same replica makes the same path, to rounding.

Every product stands behind a fence, a conditional that always holds: XLA's CPU compiler would otherwise fuse it into
each of its consumers and compute it once for each.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sgdynamics._problem import squared_error
from sgdynamics._random import unrolled
from sgdynamics._types import Scalar, Step
from sgdynamics.data import Teacher
from sgdynamics.dynamics import SGD, AbstractDynamics, Langevin, State, at_step, increment
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.networks import DeepLinear
from sgdynamics.noise import Isotropic, OnlineLinear
from sgdynamics.samplers import FullBatch, Online

# sums over the batch are written out: beyond this, programs grow and matrix products win
MOST_EXAMPLES = 16
# sums over widths are written out too
WIDEST = 64
# going to another layout and back costs about as much as this many steps
LEAST_STEPS = 2

Layers = list[Float[Array, "_ _ replicas"]]


class DeepLinearKernel(eqx.Module):
    """The kernel for one kind of step; `noisy_labels` false: label noise is not even drawn."""

    noisy_labels: bool = eqx.field(static=True)

    def __call__(self, dynamics: SGD | Langevin, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        shapes = [W.shape for W in dynamics.problem.network.weights]
        state, keys = replicas.states, unrolled(replicas.keys)
        position = _cut(state.position.T, shapes)
        if isinstance(dynamics, Langevin):
            body = lambda layers, i: self._langevin(dynamics, keys, layers, replicas.step + i)
            return State(_flat(repeat(steps, body, position)))
        body = lambda carry, i: self._descend(dynamics, keys, carry[0], carry[1], replicas.step + i)
        position, velocity = repeat(steps, body, (position, _cut(state.velocity.T, shapes)))
        return State(_flat(position), _flat(velocity), state.memory)

    def _descend(self, sgd: SGD, keys: Array, layers: Layers, velocity: Layers, step: Step) -> tuple[Layers, Layers]:
        """One step of SGD."""
        dtype = layers[0].dtype
        η, β, λ = (at_step(h, step, dtype) for h in (sgd.learning_rate, sgd.momentum, sgd.weight_decay))
        fence = _fence(step)
        if isinstance(sgd.sampler, FullBatch):
            before = _products(layers, fence)
            descent = _pulled_back(layers, before, sgd.problem.data.matrix[:, :, None] - before[-1], fence)
        else:
            descent = self._minibatch(sgd.problem.data, sgd.sampler.batch_size, keys, layers, step, fence)
        velocity = [β * v + g - λ * W for W, v, g in zip(layers, velocity, descent, strict=True)]
        return [W + η * v for W, v in zip(layers, velocity, strict=True)], velocity

    def _minibatch(self, teacher: Teacher, size: int, keys: Array, layers: Layers, step: Step, fence) -> Layers:
        """−∇L of the minibatch: errors carried back through the layers, times their inputs."""
        draw = jax.vmap(lambda key: teacher.draws(jax.random.fold_in(key, step), size))
        x, ξ = fence(lambda keys: tuple(jnp.transpose(draws, (2, 1, 0)) for draws in draw(keys)), keys)
        inputs = [x]  # [width, examples, replicas]
        for W in layers:
            inputs.append(fence(_product, W, inputs[-1]))
        target = jnp.tensordot(teacher.matrix, x, 1)
        target = target + teacher.label_noise_std * ξ if self.noisy_labels else target
        error = (target - inputs.pop()) / size
        descent = []
        for W, a in zip(layers[::-1], inputs[::-1], strict=True):
            descent.append(fence(_product_transposed, error, a))
            error = fence(_transposed_product, W, error)
        return descent[::-1]

    def _langevin(self, langevin: Langevin, keys: Array, layers: Layers, step: Step) -> Layers:
        """One step of the SDE: `substeps` of Euler-Maruyama."""
        dtype = layers[0].dtype
        dt = langevin.time_step(step).astype(dtype) / langevin.substeps
        η, λ = (at_step(h, step, dtype) for h in (langevin.learning_rate, langevin.weight_decay))

        def substep(j: Array, layers: Layers) -> Layers:
            n = step * langevin.substeps + j.astype(step.dtype)
            fence = _fence(n)
            draw = jax.vmap(lambda key: increment(key, n, dt, langevin.sources()))
            dW = fence(lambda keys: jax.tree.map(lambda draws: jnp.moveaxis(draws, 0, -1), draw(keys)), keys)
            before = _products(layers, fence)
            Δ = langevin.problem.data.matrix[:, :, None] - before[-1]
            if isinstance(langevin.noise, Isotropic):
                descent = _pulled_back(layers, before, Δ * dt, fence)
                kicks = _cut(jnp.sqrt(η * langevin.noise.variance) * dW, [W.shape[:2] for W in layers])
                descent = [d + kick for d, kick in zip(descent, kicks, strict=True)]
            else:
                S = jnp.sqrt(η / langevin.noise.batch_size) * self._source(langevin.problem.data, Δ, dW, fence)
                descent = _pulled_back(layers, before, Δ * dt + S, fence)
            return [W + d - λ * dt * W for W, d in zip(layers, descent, strict=True)]

        return jax.lax.fori_loop(0, langevin.substeps, substep, layers)

    def _source(self, teacher: Teacher, Δ: Array, dW: tuple[Array, Array], fence: Callable) -> Array:
        """Δ (G + Gᵀ)/√2 + σ Z."""
        G, Z = dW
        half = jnp.sqrt(jnp.asarray(0.5, Δ.dtype))
        S = fence(lambda Δ, G: _product(Δ, (G + jnp.swapaxes(G, 0, 1)) * half), Δ, G)
        return S + teacher.label_noise_std * Z if self.noisy_labels else S


# --- products of matrices [rows, columns, replicas] -----------------------------------------------------------


def _product(A: Array, B: Array) -> Array:
    """A B."""
    return sum(A[:, j, None, :] * B[None, j, :, :] for j in range(A.shape[1]))


def _transposed_product(A: Array, B: Array) -> Array:
    """Aᵀ B."""
    return sum(A[j, :, None, :] * B[j, None, :, :] for j in range(A.shape[0]))


def _product_transposed(A: Array, B: Array) -> Array:
    """A Bᵀ."""
    return sum(A[:, j, None, :] * B[None, :, j, :] for j in range(A.shape[1]))


def _products(layers: Layers, fence: Callable) -> Layers:
    """W_1, W_2 W_1, …, W_L … W_1."""
    products = [layers[0]]
    for W in layers[1:]:
        products.append(fence(_product, W, products[-1]))
    return products


def _pulled_back(layers: Layers, before: Layers, S: Array, fence: Callable) -> Layers:
    """W_>lᵀ S W_<lᵀ for every layer; `before` are `_products(layers)`."""
    pulled = []
    for l in range(len(layers) - 1, 0, -1):
        pulled.append(fence(_product_transposed, S, before[l - 1]))
        S = fence(_transposed_product, layers[l], S)
    return [S, *pulled[::-1]]


def _fence(step: Step) -> Callable:
    """`fence(f, *args)` is f(*args), computed once whatever becomes of the result."""

    def fence(function: Callable, *args: Array) -> Any:
        nothing = lambda *args: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(function, *args))
        return jax.lax.cond(step >= 0, function, nothing, *args)

    return fence


# --- layouts --------------------------------------------------------------------------------------------------


def _cut(θ: Float[Array, "parameters replicas"], shapes: list[tuple[int, int]]) -> Layers:
    cuts = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    return [part.reshape(*shape, -1) for part, shape in zip(jnp.split(θ, cuts), shapes, strict=True)]


def _flat(layers: Layers) -> Float[Array, "replicas parameters"]:
    return jnp.concatenate([W.reshape(-1, W.shape[-1]) for W in layers]).T


def build(dynamics: AbstractDynamics, every: int) -> DeepLinearKernel | None:
    """The kernel, where it is for this dynamics and worth while; else None."""
    if every < LEAST_STEPS or not isinstance(dynamics, SGD | Langevin):
        return None
    problem = dynamics.problem
    is_online = isinstance(problem.data, Teacher) and isinstance(problem.network, DeepLinear)
    if not (is_online and problem.example_loss is squared_error and _small(problem.network) and _drawn(dynamics)):
        return None
    return DeepLinearKernel(_not_zero(problem.data.label_noise_std))


def _small(network: DeepLinear) -> bool:
    return max(max(W.shape) for W in network.weights) <= WIDEST


def _drawn(dynamics: SGD | Langevin) -> bool:
    """Whether the noise is one that the kernel draws."""
    if isinstance(dynamics, Langevin):
        return dynamics.order == 1 and (
            isinstance(dynamics.noise, Isotropic) or (dynamics.fused and isinstance(dynamics.noise, OnlineLinear))
        )
    sampler = dynamics.sampler
    return isinstance(sampler, FullBatch) or (isinstance(sampler, Online) and sampler.batch_size <= MOST_EXAMPLES)


def _not_zero(value: Scalar) -> bool:
    try:
        return bool(value != 0)
    except jax.errors.ConcretizationTypeError:
        return True
