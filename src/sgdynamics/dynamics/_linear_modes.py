"""Linear processes of position and velocity by their exact transitions, mode by mode.

In orthonormal modes V, δ = Vᵀ (θ − m) and u = Vᵀ v, each mode has a drift A_i [2, 2] of its own,

    d(δ_i, u_i) = −A_i (δ_i, u_i) dt + noise    ⇒    (δ_i, u_i) ← e^{−A_i h} (δ_i, u_i) + ξ_i,
    cov(ξ_i, ξ_j) = ∫₀ʰ e^{−A_i s} N_ij e^{−A_jᵀ s} ds.

The decay takes O(modes) operations. The kick ξ does too where the modes have independent noise; else the joint
covariance has one root, made once. Products with V come on top unless the modes are the parameters.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real
from jaxtyping import ArrayLike as ArrayLike

from sgdynamics import _checks
from sgdynamics._linalg import pair_transition, scaled_root, transition
from sgdynamics._types import PRNGKey, RealScalar, Scalar, Step, Vector
from sgdynamics.dynamics._interface import AbstractDynamics, State

ORTHONORMAL = 1e-6
Phase = Float[Array, "2 modes"]  # (δ, u)


class LinearModes(AbstractDynamics):
    """An Ornstein-Uhlenbeck process of positions and velocities in modes that do not mix, stepped exactly.

    Arguments
    - drift: A_i [modes, 2, 2], of each mode's (position, velocity), in that order; singular, defective, complex
      eigenvalues: anything that stays finite.
    - noise: covariance per unit of t: [modes, 2, 2], of modes with independent noise, or [2 modes, 2 modes] over
      (all positions, all velocities). It may be singular, and detailed balance may be broken.
    - mean: m [parameters], 0 unless given. vectors: V [parameters, modes], orthonormal; None: the parameters are the
      modes. With fewer modes than parameters all else stays as it is.
    - time_step: what `steps` counts, of any size.

    The law after one step is that of the equation after `time_step`: ten steps of 1 are one of 10.

    Raises `ValueError` for shapes that do not fit, a `noise` that is no covariance, vectors that are not orthonormal,
    or a `time_step` that is not positive.
    """

    takes_velocity: ClassVar[bool] = True
    excess: Float[Array, "modes 2 2"]
    """e^{−A_i h} − 1."""
    kick: Float[Array, "modes 2 2"] | Float[Array, "phase phase"]
    mean: Vector
    vectors: Float[Array, "parameters modes"] | None
    duration: Scalar

    def __init__(
        self,
        drift: Real[ArrayLike, "modes 2 2"],
        noise: Real[ArrayLike, "modes 2 2"] | Real[ArrayLike, "phase phase"],
        mean: Real[ArrayLike, " parameters"] | None = None,
        vectors: Real[ArrayLike, "parameters modes"] | None = None,
        *,
        time_step: RealScalar,
    ):
        A = _checks.finite("drift", jnp.asarray(drift, jnp.result_type(float)))
        N = _checks.finite("noise", jnp.asarray(noise, A.dtype))
        modes = A.shape[0]
        if A.shape != (modes, 2, 2) or N.shape not in (A.shape, (2 * modes, 2 * modes)):
            raise ValueError(
                f"drift and noise have shapes {A.shape} and {N.shape}, but they must be [modes, 2, 2], and "
                "[modes, 2, 2] or [2 modes, 2 modes]."
            )
        self.vectors = None if vectors is None else _orthonormal(jnp.asarray(vectors, A.dtype), modes)
        parameters = (modes,) if self.vectors is None else self.vectors.shape[:1]
        m = jnp.zeros(parameters, A.dtype) if mean is None else _checks.finite("mean", jnp.asarray(mean, A.dtype))
        self.mean = _checks.shaped("mean", m, parameters, remedy="One entry for each parameter.")
        self.duration = jnp.asarray(_checks.positive("time_step", time_step), A.dtype)
        self.excess = _finite(pair_transition(A, None, self.duration)[0])
        self.kick = (_joint if N.ndim == 2 else _independent)(A, N, self.duration)

    def step(self, state: State, step: Step, key: PRNGKey) -> State:
        assert state.velocity is not None
        V = self.vectors
        before = jnp.stack([state.position - self.mean, state.velocity])
        before = before if V is None else before @ V
        z = jax.random.normal(jax.random.fold_in(key, step), before.shape, before.dtype)
        moved = self.moved(before, z)
        moved = moved if V is None else moved @ V.T
        return State(state.position + moved[0], state.velocity + moved[1])

    def moved(self, before: Phase, z: Phase) -> Phase:
        """By how much a step moves (δ, u) from `before`, given its normal numbers z."""
        return _apart(self.excess, before) + self._kicked(z)

    def _kicked(self, z: Phase) -> Phase:
        if self.kick.ndim == 3:
            return _apart(self.kick, z)
        return (self.kick @ z.reshape(-1)).reshape(z.shape)

    def transition(self) -> tuple[Float[Array, "phase phase"], Float[Array, "phase phase"]]:
        """(F, Q) over (θ, v): a step takes x to F x + noise of covariance Q, x = (θ − mean, v)."""
        R = _dense(self.kick) if self.kick.ndim == 3 else self.kick
        E, Q = _dense(self.excess), R @ R.T
        if self.vectors is not None:
            lift = jnp.kron(jnp.eye(2, dtype=E.dtype), self.vectors)
            E, Q = lift @ E @ lift.T, lift @ Q @ lift.T
        return jnp.eye(len(E), dtype=E.dtype) + E, Q

    def init(self, position: Vector, velocity: Vector | None = None) -> State:
        return State(position, jnp.zeros_like(position) if velocity is None else velocity)

    def initial_position(self) -> Vector:
        return self.mean

    def time_step(self, step: Step) -> Scalar:
        return self.duration


def _apart(blocks: Float[Array, "modes 2 2"], x: Phase) -> Phase:
    """Each mode's block times its (δ, u)."""
    return blocks[:, :, 0].T * x[0][None, :] + blocks[:, :, 1].T * x[1][None, :]


def _independent(A: Array, N: Array, t: Scalar) -> Float[Array, "modes 2 2"]:
    N = _checks.provided(N, "noise", N, jnp.all(N == jnp.swapaxes(N, 1, 2)), allowed="symmetric in each mode")
    lowest, size = jnp.min(jnp.linalg.eigvalsh(N)), jnp.max(jnp.abs(N))
    N = _checks.provided(N, "noise", N, lowest >= -20 * jnp.finfo(N.dtype).eps * size, allowed="positive semidefinite")
    return _triangular(jax.vmap(transition, in_axes=(0, 0, None))(A, N, t)[1])


def _triangular(Q: Float[Array, "modes 2 2"]) -> Float[Array, "modes 2 2"]:
    """R with R Rᵀ = Q in each mode, 0 above the diagonal."""
    first = _sqrt(Q[:, 0, 0])
    second = Q[:, 0, 1] / jnp.where(first > 0, first, 1)
    return jnp.stack([jnp.stack([first, 0 * first], -1), jnp.stack([second, _sqrt(Q[:, 1, 1] - second**2)], -1)], -2)


def _sqrt(x: Array) -> Array:
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _joint(A: Array, N: Array, t: Scalar) -> Float[Array, "phase phase"]:
    modes = len(A)
    N = _checks.symmetric("noise", N).reshape(2, modes, 2, modes).transpose(0, 2, 1, 3)
    Q = _finite(pair_transition(A, N, t)[1])
    return scaled_root(Q.transpose(0, 2, 1, 3).reshape(2 * modes, 2 * modes))


def _dense(blocks: Float[Array, "modes 2 2"]) -> Float[Array, "phase phase"]:
    return jnp.block([[jnp.diag(blocks[:, a, b]) for b in (0, 1)] for a in (0, 1)])


def _finite(value: Array) -> Array:
    allowed = "short enough for the growth of an unstable drift to stay finite"
    return _checks.require("time_step", value, jnp.isfinite(value), allowed=allowed)


def _orthonormal(V: Array, modes: int) -> Array:
    V = _checks.finite("vectors", V)
    if V.ndim != 2 or V.shape[1] != modes or V.shape[0] < modes:
        raise ValueError(f"vectors has shape {V.shape}, but it must be [parameters, modes] with {modes} modes.")
    error = jnp.max(jnp.abs(V.T @ V - jnp.eye(modes, dtype=V.dtype)))
    return _checks.provided(
        V, "the overlap of different vectors", error, error <= ORTHONORMAL, allowed=f"below {ORTHONORMAL}",
        remedy="Modes are orthonormal: jnp.linalg.eigh gives such.",
    )  # fmt: skip
