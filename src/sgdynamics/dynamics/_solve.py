"""A stochastic differential equation through diffrax: any solver, step control, adjoint, dense output."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp

from sgdynamics import _checks
from sgdynamics._types import PRNGKey, Vector
from sgdynamics.dynamics._brownian import StepBrownianPath
from sgdynamics.dynamics._ito import AbstractItoProcess


class Drift(eqx.Module):
    """The drift as a vector field: a module, so that a second call with other numbers compiles nothing."""

    process: AbstractItoProcess

    def __call__(self, t, θ, args):
        return self.process.drift(t, θ)


class Diffusion(eqx.Module):
    """The diffusion as a vector field."""

    process: AbstractItoProcess

    def __call__(self, t, θ, args):
        return self.process.diffusion(t, θ)


def terms(process: AbstractItoProcess, path: diffrax.AbstractBrownianPath) -> diffrax.MultiTerm:
    """The process as diffrax knows it: dθ = drift dt + diffusion dW."""
    return diffrax.MultiTerm(diffrax.ODETerm(Drift(process)), diffrax.ControlTerm(Diffusion(process), path))


def solve(
    process: AbstractItoProcess,
    *,
    steps: int,
    key: PRNGKey,
    initial: Vector | None = None,
    solver: diffrax.AbstractSolver | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
    saveat: diffrax.SaveAt | None = None,
    **options: Any,
) -> diffrax.Solution:
    """One path of `process` over `steps` steps (t from 0 to steps × time step), by `diffrax.diffeqsolve`.

    Arguments
    - initial: θ at t = 0 [parameters]; None: the process' own.
    - solver: `diffrax.Euler()` if None, the one that is right for Itô equations with any noise. Solvers of the
      Stratonovich kind need the drift corrected first; `ItoMilstein` needs commutative noise.
    - path: the Brownian path; None: increments keyed by the step, the same as the ensemble's loop draws from
      this key (steps of time step/substeps only). For adaptive steps give a `diffrax.VirtualBrownianTree`.
    - saveat and further options go to `diffeqsolve` (`stepsize_controller`, `adjoint`, `max_steps`, …).
    """
    steps = _checks.count("steps", steps)
    θ = process.initial_position() if initial is None else jnp.asarray(initial)
    duration = process.time_step(jnp.asarray(0)).astype(θ.dtype)
    dt = duration / process.substeps
    path = StepBrownianPath(dt, process.sources(), key) if path is None else path  # pyright: ignore[reportCallIssue]
    options = {"max_steps": steps * process.substeps + 1, **options}
    saveat = diffrax.SaveAt(t1=True) if saveat is None else saveat
    solver = diffrax.Euler() if solver is None else solver
    return diffrax.diffeqsolve(
        terms(process, path), solver, jnp.zeros_like(dt), steps * duration, dt, θ, saveat=saveat, **options
    )
