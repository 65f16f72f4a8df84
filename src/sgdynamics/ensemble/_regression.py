"""SGD on one-output linear regression: what its three forms of the replicas' loop share.

With x_i the rows of X [samples, inputs], E = X w − y the residuals and i_1 … i_S the indices of a minibatch,

    v ← βv + F − λw,      w ← w + ηv,      F = −(1/S) Σ_s E_{i_s} x_{i_s}.

    parameters   F from 2 S gathered rows of length N                                   (`_regression_parameters`)
    counts       F = −(1/S) Xᵀ (n ∘ E), with n_i how often i was drawn: two products of matrices over all replicas
                 (`_regression_counts`)
    residuals    w ↦ E, F ↦ X F: S gathered rows of length P of the Gram matrix X Xᵀ   (`_regression_residual`)

All make the draws of the sampler: the same replica makes the same path as by the reference step, to rounding. Which is
the cheapest depends on sizes only (`nanoseconds`).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from sgdynamics._checks import known_zero
from sgdynamics._random import WORDS_APART, unrolled, words
from sgdynamics._types import Step
from sgdynamics.data import Dataset
from sgdynamics.dynamics import SGD, AbstractDynamics, at_step
from sgdynamics.ensemble._core import Replicas, repeat
from sgdynamics.ensemble._fence import fence
from sgdynamics.samplers import AbstractIndexSampler, WithReplacement

# rows are added up in one pass over the sums, so many at a time; beyond, programs grow and gain nothing. (Up to here
# `words` come one by one, beyond as one array, which can be cut.)
ROWS_AT_ONCE = WORDS_APART

Indices: TypeAlias = Sequence[Int[Array, " replicas"]] | Int[Array, "batch replicas"]
Variables: TypeAlias = Float[Array, "replicas n"]
Memory: TypeAlias = Any


class Terms(eqx.Module):
    """Which terms of the step there are; a term that is known to be absent costs nothing."""

    momentum: bool = eqx.field(static=True)
    weight_decay: bool = eqx.field(static=True)

    @staticmethod
    def of(dynamics: SGD) -> "Terms":
        return Terms(not known_zero(dynamics.momentum), not known_zero(dynamics.weight_decay))


def is_regression(dynamics: AbstractDynamics) -> bool:
    """SGD on a plain finite data set, drawn by index, with a linear network of one output."""
    # a subclass may have a step of its own
    if not (type(dynamics) is SGD and isinstance(dynamics.sampler, AbstractIndexSampler)):
        return False
    problem = dynamics.problem
    if not (problem.is_linear_regression and type(problem.data) is Dataset):
        return False
    return problem.parameters.size == problem.data.x.shape[1]


class Steps(eqx.Module):
    """v ← βv + F − λ (x + offset), x ← x + ηv, in whatever variables x and v are; F = `force(x, indices, step)`."""

    dynamics: SGD
    terms: Terms
    keys: Key[Array, " replicas"]
    force: Callable[[Array, Indices, Step], Array]
    offset: Float[Array, "1 n"] | float = 0.0

    def many(
        self, x: Variables, v: Variables, memory: Memory, first: Step, steps: Int[Array, ""] | int
    ) -> tuple[Variables, Variables, Memory]:
        """(x, v, memory) after `steps` steps from number `first` on."""
        return repeat(steps, lambda carry, i: self.one(carry[0], carry[1], carry[2], first + i), (x, v, memory))

    def many_without_momentum(
        self, x: Variables, memory: Memory, first: Step, steps: Int[Array, ""] | int
    ) -> tuple[Variables, Memory]:
        """(x, memory): where v is made anew in every step, it need not be carried along."""

        def body(carry, i):
            x, _, memory = self.one(carry[0], None, carry[1], first + i)
            return x, memory

        return repeat(steps, body, (x, memory))

    def one(self, x: Variables, v: Variables | None, memory: Memory, step: Step) -> tuple[Variables, Variables, Memory]:
        """(x, v, memory) after step number `step`; v is not looked at without momentum."""
        η, β, λ = (at_step(h, step, x.dtype) for h in self._hyperparameters())
        indices, memory = minibatch(self.dynamics, memory, self.keys, step)
        pull = self.force(x, indices, step)
        pull = pull - λ * (x + self.offset) if self.terms.weight_decay else pull
        v = β * v + pull if self.terms.momentum else pull
        return x + η * v, v, memory

    def _hyperparameters(self) -> tuple[Any, Any, Any]:
        return self.dynamics.learning_rate, self.dynamics.momentum, self.dynamics.weight_decay


def descend(
    dynamics: SGD, terms: Terms, replicas: Replicas, steps: Int[Array, ""] | int, force: Callable
) -> tuple[Variables, Variables, Memory]:
    """(w, v, memory) after `steps` steps in the parameters.

    Without momentum v is not carried from step to step, only made in the last one.
    """
    descent = Steps(dynamics, terms, unrolled(replicas.keys), force)
    w, v, memory, first = replicas.states.position, replicas.states.velocity, replicas.states.memory, replicas.step
    if terms.momentum:
        return descent.many(w, v, memory, first, steps)
    last = last_of(steps)
    w, memory = descent.many_without_momentum(w, memory, first, steps - last)
    return descent.many(w, v, memory, first + steps - last, last)


def last_of(steps: Int[Array, ""] | int) -> Int[Array, ""] | int:
    """1, the last of the steps; 0 where there is none."""
    return min(steps, 1) if isinstance(steps, int) else jnp.minimum(steps, 1)


def minibatch(dynamics: SGD, memory: Memory, keys: Key[Array, " replicas"], step: Step) -> tuple[Indices, Memory]:
    """The sampler's indices of every replica, as long vectors over replicas."""
    sampler, samples = dynamics.sampler, dynamics.problem.data.x.shape[0]
    folded = fence(step, lambda keys: jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step), keys)
    if type(sampler) is WithReplacement:
        draw = lambda keys: jax.tree.map(
            lambda word: sampler.indices_of(word, samples), words(keys, sampler.batch_size)
        )
        return fence(step, draw, folded), memory

    def draw(folded, memory):
        indices, memory = jax.vmap(lambda key, memory: sampler.indices(samples, memory, step, key))(folded, memory)
        return indices.T, memory

    return fence(step, draw, folded, memory)


def combine_rows(
    E: Float[Array, "replicas samples"], matrix: Float[Array, "samples n"], indices: Indices
) -> Float[Array, "replicas n"]:
    """−(1/S) Σ_s E_{i_s} · row i_s of the matrix."""
    batch, total = len(indices), jnp.zeros((E.shape[0], matrix.shape[1]), matrix.dtype)

    def add(total, indices):
        for index in indices:
            # the indices are known to be inside
            weight = jnp.take_along_axis(E, index[:, None], axis=1, mode="promise_in_bounds") / batch
            total = total - weight * matrix.at[index].get(mode="promise_in_bounds")
        return total

    if batch <= ROWS_AT_ONCE:
        return add(total, indices)
    cut = lambda i: jax.lax.dynamic_slice_in_dim(indices, i * ROWS_AT_ONCE, ROWS_AT_ONCE)
    done = batch // ROWS_AT_ONCE
    total = jax.lax.fori_loop(0, done, lambda i, total: add(total, cut(i)), total)
    return add(total, indices[done * ROWS_AT_ONCE :])


def stacked(indices: Indices) -> Int[Array, "replicas batch"]:
    """The indices as one array, replicas first."""
    return indices.T if isinstance(indices, jax.Array) else jnp.stack(indices, axis=1)
