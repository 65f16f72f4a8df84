"""A weak scheme for small noise: Heun's step for the drift, the noise applied halfway down the drift.

For dθ = f dt + √ε σ dW (for a Langevin equation ε is the learning rate), in steps of length h,

    N = √ε σ(t + h/2, θ + f h/2) ΔW,       θ ← θ + h/2 [f(t, θ) + f(t + h, θ + f h + N)] + N.

Its weak error is O(h² + ε² h), against O(h) of Euler-Maruyama: of order 2 where the noise is additive, and beyond it
only what Itô's double integrals and the curvature of σ add remains, of the square of the noise. (Errors in powers of
the step and of the noise: Milstein and Tretyakov, SIAM J. Numer. Anal. 34, 2142, 1997; this scheme's is measured.)
With h = η/m and ε = η the error is O(η²/m² + η³/m), beside which the O(η) and O(η²) by which the
modified equations miss SGD can be measured at m of a few. No derivative of σ and no Lévy area is needed.
"""

from typing import ClassVar

import jax
from jaxtyping import PyTree

from sgdynamics._types import PRNGKey, Scalar, Step, Vector
from sgdynamics.dynamics._brownian import increment
from sgdynamics.dynamics._interface import AbstractDynamics, State
from sgdynamics.dynamics._ito import AbstractItoProcess


class SmallNoiseHeun(AbstractDynamics):
    """Another Itô process (`Langevin`, `ItoProcess`), stepped by this scheme instead of Euler-Maruyama.

    The process says how many `substeps` make one step; the Brownian increments are those that its own steps would
    draw. A substep costs two drifts and one noise. Raises `ValueError` for hyperparameters that are schedules: within
    a step the scheme reads the coefficients by time.
    """

    takes_velocity: ClassVar[bool] = False
    process: AbstractItoProcess

    def __init__(self, process: AbstractItoProcess):
        if not isinstance(process, AbstractItoProcess):
            raise ValueError(
                f"process is a {type(process).__name__}, but it must be a first-order Itô process, such as Langevin."
            )
        for name in ("learning_rate", "weight_decay"):
            if callable(getattr(process, name, None)):
                raise ValueError(f"{name} is a schedule, but here it must be constant. Step the process itself.")
        self.process = process

    def initial_position(self) -> Vector:
        return self.process.initial_position()

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        return self.process.init(position, velocity)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        substeps = self.process.substeps
        dt = self.process.time_step(step).astype(state.position.dtype) / substeps

        def substep(j, θ):
            n = step * substeps + j.astype(step.dtype)
            dW = increment(key, n, dt, self.process.sources())
            return self.after(n.astype(dt.dtype) * dt, θ, dt, dW)

        return State(jax.lax.fori_loop(0, substeps, substep, state.position))

    def after(self, t: Scalar, θ: Vector, dt: Scalar, dW: PyTree) -> Vector:
        """θ one substep on, for one Brownian increment."""
        f = self.process.drift(t, θ)
        N = self.process.diffusion(t + dt / 2, θ + f * dt / 2).mv(dW)
        return θ + dt / 2 * (f + self.process.drift(t + dt, θ + f * dt + N)) + N

    def time_step(self, step: Step) -> Scalar:
        return self.process.time_step(step)
