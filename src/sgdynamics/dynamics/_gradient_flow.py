"""Gradient flow, the limit of SGD without noise and of small steps, and where it ends.

    dθ/dt = −∇L(θ) − λ θ

Which of the many minima of a deep network is reached depends on the start (Gross, Raulf and Räth, Eq. 3.17): the
flow of a deep linear network keeps W_{l+1}ᵀ W_{l+1} − W_l W_lᵀ (Eq. 3.6), as no Newton step would.

An explicit solver follows the flow to its end: near a minimum its steps are as long as it is stable, a few over
the largest curvature, so that as many are needed as curvatures differ.
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp

from sgdynamics import _checks
from sgdynamics._problem import Problem
from sgdynamics._types import RealScalar, Scalar, Vector
from sgdynamics.dynamics import _interface


class Flow(eqx.Module):
    """−∇L − λθ, as a vector field."""

    problem: Problem
    weight_decay: Scalar

    def __call__(self, t, θ, args=None) -> Vector:
        return -self.problem.gradient(θ) - self.weight_decay * θ

    def speed(self, θ: Vector) -> Scalar:
        """|∇L + λθ|."""
        return jnp.linalg.norm(self(0.0, θ))


class Steady(eqx.Module):
    """Whether the flow has all but stopped."""

    flow: Flow
    allowed: Scalar

    def __call__(self, t, θ, args, **kwargs):
        return self.flow.speed(θ) <= self.allowed


def gradient_flow(
    problem: Problem,
    start: Vector | None = None,
    *,
    weight_decay: RealScalar = 0.0,
    tolerance: RealScalar = 1e-10,
    time: RealScalar = jnp.inf,
    accuracy: RealScalar = 1e-12,
    max_steps: int = 100_000,
    solver: diffrax.AbstractSolver | None = None,
) -> Vector:
    """Where the gradient flow from `start` comes to rest, θ [parameters].

    Arguments
    - start: θ at t = 0 (None: `problem.parameters`). A saddle is a point of rest, too: a start on it stays there.
    - tolerance: at rest, |∇L + λθ| ≤ tolerance × (1 + its value at the start), as in `problem.minimum`.
    - time, max_steps: the flow must come to rest within this time and this number of the solver's steps.
    - accuracy: of a step, relative and absolute: a tenth of `tolerance` or less, or the flow never seems to rest.
    - solver: of diffrax, with a step-size control; `Dopri8()` if None. An implicit one (`Kvaerno5()`) needs fewer
      steps where curvatures differ by many orders, each for a linear system with all parameters.

    Derivatives in forward mode (`jax.jvp`, `jax.jacfwd`) are those of the solver's steps and hold to about
    `tolerance`; reverse mode raises.
    Raises `ValueError` where the flow does not come to rest, with the gradient that is left, and without 64 bits.
    """
    _checks.x64()
    problem = _interface.problem(problem)
    _checks.not_negative("weight_decay", weight_decay)
    _checks.positive("tolerance", tolerance)
    _checks.positive("accuracy", accuracy)
    _checks.require("time", time, jnp.asarray(time) > 0, allowed="> 0")
    max_steps = _checks.count("max_steps", max_steps)
    θ = jnp.asarray(problem.parameters if start is None else start, float)
    θ = _checks.shaped("start", _checks.finite("start", θ), problem.parameters.shape)
    flow = Flow(problem, jnp.asarray(weight_decay, float))
    solver = diffrax.Dopri8() if solver is None else solver
    ε, T, δ = (jnp.asarray(number, float) for number in (tolerance, time, accuracy))
    end, reached, left, allowed = _integrate(flow, θ, ε, T, δ, max_steps, solver)
    return _checks.provided(
        end, "|gradient| at the end of gradient_flow()", left, left <= allowed,
        allowed=f"at most {allowed}; the flow got as far as time {reached}",
        remedy="Allow more `time` or `max_steps`, or a larger `tolerance`.",
    )  # fmt: skip


@eqx.filter_jit
def _integrate(
    flow: Flow, θ: Vector, tolerance: Scalar, time: Scalar, accuracy: Scalar, max_steps: int, solver
) -> tuple[Vector, Scalar, Scalar, Scalar]:
    """θ at the end, the time there, the gradient that is left, and what of it is allowed."""
    allowed = tolerance * (1 + flow.speed(θ))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(flow), solver, 0.0, time, None, θ, event=diffrax.Event(Steady(flow, allowed)),
        stepsize_controller=diffrax.PIDController(rtol=accuracy, atol=accuracy), max_steps=max_steps,
        adjoint=diffrax.ForwardMode(), throw=False,
    )  # fmt: skip
    assert solution.ys is not None and solution.ts is not None  # SaveAt(t1=True) is the default
    end = solution.ys[-1]
    return end, solution.ts[-1], flow.speed(end), allowed
