"""Weak errors by Monte Carlo: E f at T/4, 2T/4, 3T/4, T under each model, less that under SGD.

Each differential equation is first converged in dt, by levels of coupled paths (Giles, Oper. Res. 56, 2008): with E_m
the expectation in m substeps of `SmallNoiseHeun`,

    E_2 = E_1 + E[f(fine) − f(coarse)],        E_4 = E_2 + E[f(fine) − f(coarse)],

where the coarse path is driven by the sums of the fine one's increments, so that the differences need few replicas;
and so on to E_8 where the last difference Δ is not within the standard error. |Δ| plus its own error bounds what is
left (Δ/3 at order 2, Δ at order 1), and is part of the error of the result.

Paths, observables and averages are in float32, whose rounding is no part of the stated errors.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import sgdynamics as sgd
from sgdynamics.dynamics import AbstractDynamics, SmallNoiseHeun, State, increment

OBSERVABLES = ("loss", "θ along a direction", "|θ|²")
PARTS = 4  # of the time T, at whose ends errors are taken
LEVELS = (1, 2, 4)  # substeps of the coarse paths, of which the last is taken only where it is needed
FEWER = 32  # as many replicas for the differences between levels


class Observables(eqx.Module):
    """(L(θ), u·θ, |θ|²), u = (1, …, 1)/√parameters."""

    problem: sgd.Problem

    def __call__(self, state: State) -> Float[Array, " observables"]:
        return self.at(state.position)

    def at(self, θ: Float[Array, " parameters"]) -> Float[Array, " observables"]:
        along = jnp.sum(θ) / np.sqrt(θ.shape[0]).astype(θ.dtype)
        return jnp.stack([self.problem.loss(θ), along, jnp.sum(θ**2)])


class Difference(eqx.Module):
    """An observable of the fine path less that of the coarse one."""

    of: Observables

    def __call__(self, state: State) -> Float[Array, " observables"]:
        fine, coarse = jnp.split(state.position, 2)
        return self.of.at(fine) - self.of.at(coarse)


class Coupled(AbstractDynamics):
    """Two paths of one equation, on one Brownian motion: position (fine, coarse), 2 m and m = `substeps` steps."""

    takes_velocity: ClassVar[bool] = False
    scheme: SmallNoiseHeun

    def initial_position(self) -> Float[Array, " both"]:
        θ = self.scheme.initial_position()
        return jnp.concatenate([θ, θ])

    def init(self, position: Float[Array, " both"], velocity: None = None) -> State:
        return State(position)

    def step(self, state: State, step: Array, key: Array) -> State:
        process, fine_coarse = self.scheme.process, jnp.split(state.position, 2)
        dt = process.time_step(step).astype(state.position.dtype) / process.substeps
        t = jnp.zeros_like(dt)  # the equations are autonomous

        def substep(j: Array, paths: tuple[Array, Array]) -> tuple[Array, Array]:
            fine, coarse = paths
            n = 2 * (step * process.substeps + j.astype(step.dtype))
            first, second = (increment(key, n + i, dt / 2, process.sources()) for i in range(2))
            fine = self.scheme.after(t, self.scheme.after(t, fine, dt / 2, first), dt / 2, second)
            return fine, self.scheme.after(t, coarse, dt, jax.tree.map(jnp.add, first, second))

        return State(jnp.concatenate(jax.lax.fori_loop(0, process.substeps, substep, tuple(fine_coarse))))

    def time_step(self, step: Array) -> Array:
        return self.scheme.time_step(step)


class Means(NamedTuple):
    """Estimates [parts, observables], their standard errors, and what dt may still add."""

    value: np.ndarray
    error: np.ndarray
    bias: np.ndarray
    diverged: int


def means(dynamics: AbstractDynamics, of: Any, time: float, η: float, replicas: int, seed: int) -> Means:
    """E f at the end of each part of the time; parts of one number of steps share one compiled program."""
    steps, state, values, errors, diverged = round(time / PARTS / η), None, [], [], 0
    for part in range(PARTS):
        key = jax.random.fold_in(jax.random.key(seed), part)
        run = sgd.simulate(dynamics, sgd.statistics.Mean(of=of), replicas=replicas, steps=steps, every=steps,
                           initial=state, key=key, kernel=sgd.ensemble.reference_kernel)  # fmt: skip
        state, diverged = run.state, max(diverged, run.diverged)
        values.append(np.asarray(run.estimates.value, float))
        errors.append(np.asarray(run.estimates.standard_error, float))
    value = np.array(values)
    return Means(value, np.array(errors), np.zeros_like(value), diverged)


def converged(
    equation: Any, of: Observables, time: float, η: float, replicas: int, seed: int, levels: tuple[int, ...] = LEVELS
) -> Means:
    """E f under a differential equation, `equation(substeps)`, by levels of ever more substeps."""
    total = means(SmallNoiseHeun(equation(1)), of, time, η, replicas, seed)
    for m in levels:
        coupled, fewer = Coupled(SmallNoiseHeun(equation(m))), max(replicas // FEWER, 32)
        Δ = means(coupled, Difference(of), time, η, fewer, seed + m)
        bound = np.abs(Δ.value) + Δ.error
        diverged = total.diverged + Δ.diverged
        total = Means(total.value + Δ.value, np.hypot(total.error, Δ.error), bound, diverged)
        if m > 1 and np.all(bound <= total.error):
            break
    return total
