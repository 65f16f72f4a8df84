"""A stochastic differential equation through diffrax: any solver, step control, adjoint, dense output."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike as ArrayLike
from jaxtyping import Real

from sgdynamics import _checks
from sgdynamics._types import PRNGKey, Vector
from sgdynamics.dynamics._brownian import StepBrownianPath, StepLevyPath
from sgdynamics.dynamics._interface import State
from sgdynamics.dynamics._ito import AbstractItoProcess
from sgdynamics.dynamics._standard_form import LANGEVIN_SOLVERS, StandardForm
from sgdynamics.dynamics._underdamped import Phase, UnderdampedLangevin


class Drift(eqx.Module):
    """The drift as a vector field: a module, so that a second call with other numbers compiles nothing."""

    process: AbstractItoProcess | UnderdampedLangevin

    def __call__(self, t, y, args):
        return self.process.drift(t, y)


class Diffusion(eqx.Module):
    """The diffusion as a vector field."""

    process: AbstractItoProcess | UnderdampedLangevin

    def __call__(self, t, y, args):
        return self.process.diffusion(t, y)


def terms(process: AbstractItoProcess | UnderdampedLangevin, path: diffrax.AbstractBrownianPath) -> diffrax.MultiTerm:
    """The process as diffrax knows it: dy = drift dt + diffusion dW, y = θ or (θ, v)."""
    return diffrax.MultiTerm(diffrax.ODETerm(Drift(process)), diffrax.ControlTerm(Diffusion(process), path))


def solve(
    process: AbstractItoProcess | UnderdampedLangevin,
    *,
    steps: int,
    key: PRNGKey,
    initial: Real[ArrayLike, " parameters"] | State | None = None,
    solver: diffrax.AbstractSolver | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
    saveat: diffrax.SaveAt | None = None,
    **options: Any,
) -> diffrax.Solution:
    """One path of `process` over `steps` steps (t from 0 to steps × time step), by `diffrax.diffeqsolve`.

    Arguments
    - initial: θ at t = 0 [parameters], or a `State`; None: the process' own. A velocity not given is 0.
    - solver: `diffrax.Euler()` if None, the one that is right for Itô equations with any noise. Solvers of the
      Stratonovich kind need the drift corrected first (not of an `UnderdampedLangevin`, where the two are one);
      `ItoMilstein` needs commutative noise. An `UnderdampedLangevin` with constant, invertible noise is solved
      by `ALIGN`, `ShOULD` and `QUICSORT`, too.
    - path: the Brownian path; None: increments keyed by the step, the same as the ensemble's loop draws from
      this key (steps of time step/substeps only). For adaptive steps give a `diffrax.VirtualBrownianTree`: of
      `process.sources()`, or for the three solvers of one component for each parameter, with their Lévy areas.
    - saveat and further options go to `diffeqsolve` (`stepsize_controller`, `adjoint`, `max_steps`, …).

    The solution is θ, or (θ, v) for an `UnderdampedLangevin` (its `scheme` is the loop's alone). The three solvers
    work in other variables (`_standard_form`), in which errors of adaptive steps and events are measured; saved
    values and dense output (linear between steps) are of (θ, v).
    Derivatives: reverse mode by default, `adjoint=diffrax.ForwardMode()` for forward mode; of a Brownian tree none
    with respect to times, and so to the learning rate. `BacksolveAdjoint` takes neither Euler nor the three.
    """
    steps = _checks.count("steps", steps)
    y = start(process, initial)
    dtype = jax.tree.leaves(y)[0].dtype
    duration = process.time_step(jnp.asarray(0)).astype(dtype)
    dt = duration / process.substeps
    options = {"max_steps": steps * process.substeps + 1, **options}
    saveat = diffrax.SaveAt(t1=True) if saveat is None else saveat
    solver = diffrax.Euler() if solver is None else solver
    # what the coefficients refuse is told as they put it, not wrapped into what diffrax makes of it
    jax.eval_shape(process.drift, jnp.zeros_like(dt), y)
    span = (jnp.zeros_like(dt), steps * duration, dt)
    if isinstance(process, UnderdampedLangevin) and isinstance(solver, LANGEVIN_SOLVERS):
        return _in_standard_form(process, solver, span, y, key, path, saveat, options)
    path = StepBrownianPath(dt, process.sources(), key) if path is None else path  # pyright: ignore[reportCallIssue]
    return diffrax.diffeqsolve(terms(process, path), solver, *span, y, saveat=saveat, **options)


def _in_standard_form(process: UnderdampedLangevin, solver, span, y: Phase, key, path, saveat, options):
    """The solution in (θ, v) of one of diffrax's Langevin solvers, which know isotropic noise only."""
    form = StandardForm(process, y[0])
    # pyright takes jaxtyping's axis names for names
    path = StepLevyPath(span[2], _like(y[0]), key) if path is None else path  # pyright: ignore
    saveat, (t0, t1, dt) = form.saving(saveat), span
    solution = diffrax.diffeqsolve(form.terms(path), solver, t0, t1, dt, form.enter(y), saveat=saveat, **options)
    return form.leaving(solution)


def start(process: AbstractItoProcess | UnderdampedLangevin, initial: Any) -> Vector | Phase:
    """Where a path starts: θ, or (θ, v)."""
    initial = process.initial_position() if initial is None else initial
    if isinstance(initial, tuple):
        raise ValueError("initial is a tuple. Give a velocity with its position as State(position, velocity).")
    given = initial if isinstance(initial, State) else State(_floating(initial))
    state = process.init(given.position, given.velocity)
    return state.position if state.velocity is None else (state.position, state.velocity)


def _floating(x: Real[ArrayLike, " parameters"]) -> Vector:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _like(θ: Vector) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(θ.shape, θ.dtype)
