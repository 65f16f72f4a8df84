"""The gradient noise along SGD's path, and its autocorrelation (Fig. 14)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics.experiments import _ensembles

EPOCHS = 3  # that are recorded; k runs over all but the last


@eqx.filter_jit
def grams(dynamics: sgd.SGD, keys, steps: int):
    """E δg_k·δg_l of the batches that moved the weights, and of spectators, [groups, steps, steps] each; the loss at
    each step, [groups, steps]. Replicas of a group run together, groups one after the other."""
    problem, sampler = dynamics.problem, dynamics.sampler

    def one_step(state, memory, step, key):
        following = dynamics.step(state, step, key)
        loss, mean = jax.value_and_grad(problem.loss)(state.position)
        β = jnp.asarray(dynamics.momentum, mean.dtype)
        noise = β * state.velocity - following.velocity - mean
        other, memory = sampler.draw(problem.data, memory, step, _ensembles.named(key, "spectators"))
        watched = problem.gradient(state.position, other) - mean
        return following, memory, (noise, watched, loss)

    def group(keys):
        every = jax.vmap(one_step, in_axes=(0, 0, None, 0))

        def body(carry, step):
            state, memory = carry
            state, memory, out = every(state, memory, step, keys)
            return (state, memory), out

        state = jax.vmap(lambda key: dynamics.init(problem.parameters))(keys)
        start = (state, state.memory)
        noise, watched, loss = jax.lax.scan(body, start, jnp.arange(steps, dtype=jnp.int32))[1]
        return _gram(noise), _gram(watched), jnp.mean(loss, axis=1)

    return jax.lax.map(group, keys)


def _gram(noise: Float[Array, "steps replicas parameters"]) -> Float[Array, "steps steps"]:
    flat = noise.reshape(len(noise), -1)
    return flat @ flat.T / noise.shape[1]


@eqx.filter_jit
def path_kernels(dynamics: sgd.SGD, keys, steps: int) -> Float[Array, "paths steps steps"]:
    """tr cov_μ(∇ℓ_μ(θ_k), ∇ℓ_μ(θ_l)) along replicas' paths."""

    def path(key):
        def body(state, step):
            g = dynamics.problem.example_gradients(state.position)
            return dynamics.step(state, step, key), g - jnp.mean(g, axis=0, keepdims=True)

        state = dynamics.init(dynamics.problem.parameters)
        return _gram(jax.lax.scan(body, state, jnp.arange(steps, dtype=jnp.int32))[1])

    return jax.lax.map(path, keys)


def drifting(K: Float[Array, "steps steps"], M: int) -> Float[Array, "steps steps"]:
    """The spectators' Gram matrix, but for a factor: K on the diagonal, −K/(M − 1) in one epoch, 0 across epochs."""
    epoch = np.arange(len(K)) // M
    weight = np.where(epoch[:, None] == epoch, -1 / (M - 1), 0.0) * (1 - np.eye(len(K))) + np.eye(len(K))
    return K * weight


def autocorrelation(gram: Float[Array, "steps steps"], M: int) -> Float[Array, " lags"]:
    """ϱ(h), h = 1 … M, averaged over k in all epochs but the last."""
    size = jnp.sqrt(jnp.diagonal(gram))
    ϱ = gram / (size[:, None] * size[None, :])
    return jnp.stack([jnp.mean(jnp.diagonal(ϱ, h)[: (EPOCHS - 1) * M]) for h in range(1, M + 1)])
