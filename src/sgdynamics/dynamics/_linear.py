"""Linear processes by their exact transitions: no error of time discretisation, at any step size.

dx = −A (x − m) dt + √N dW    ⇒    x(t + h) = m + e^{−Ah} (x(t) − m) + ξ,    cov ξ = ∫₀ʰ e^{−As} N e^{−Aᵀs} ds
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike as ArrayLike
from jaxtyping import Real

from sgdynamics import _checks
from sgdynamics._linalg import scaled_root, transition
from sgdynamics._types import Matrix, PRNGKey, RealScalar, Scalar, Step, Vector
from sgdynamics.dynamics._interface import AbstractDynamics, State


class LinearProcess(AbstractDynamics):
    """An Ornstein-Uhlenbeck process, stepped exactly.

    Arguments: `drift` A and `noise` N [parameters, parameters] (N a covariance rate, not its root), `mean` m
    [parameters], and `time_step`, what `steps` counts. A may be singular, N may be singular, and detailed
    balance may be broken.
    """

    takes_velocity: ClassVar[bool] = False
    decay: Matrix
    kick: Matrix
    mean: Vector
    duration: Scalar

    def __init__(
        self,
        drift: Real[ArrayLike, "parameters parameters"],
        noise: Real[ArrayLike, "parameters parameters"],
        mean: Real[ArrayLike, " parameters"] | None = None,
        *,
        time_step: RealScalar,
    ):
        A = _checks.finite("drift", jnp.asarray(drift, jnp.result_type(float)))
        N = _checks.finite("noise", jnp.asarray(noise, A.dtype))
        m = jnp.zeros(A.shape[0], A.dtype) if mean is None else _checks.finite("mean", jnp.asarray(mean, A.dtype))
        if A.shape != N.shape or A.shape != m.shape * 2:
            raise ValueError(f"drift, noise and mean have shapes {A.shape}, {N.shape} and {m.shape}: they do not fit.")
        N = _checks.symmetric("noise", N)
        self.mean, self.duration = m, jnp.asarray(_checks.positive("time_step", time_step), A.dtype)
        self.decay, covariance = transition(A, N, self.duration)
        self.kick = scaled_root(covariance)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        z = jax.random.normal(jax.random.fold_in(key, step), self.mean.shape, state.position.dtype)
        return State(self.mean + self.decay @ (state.position - self.mean) + self.kick @ z)

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        if velocity is not None:
            raise ValueError("velocity was given, but a LinearProcess keeps it inside its position. Leave it out.")
        return State(position)

    def initial_position(self) -> Vector:
        return self.mean

    def time_step(self, step: Step) -> Scalar:
        return self.duration
