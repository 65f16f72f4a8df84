"""What `predict` returns: the stationary law of a dynamics, to second order."""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real
from jaxtyping import ArrayLike as ArrayLike

from sgdynamics import _checks
from sgdynamics._linalg import symmetric_root
from sgdynamics._problem import Problem
from sgdynamics._types import Matrix, PRNGKey, Scalar, Vector
from sgdynamics.data import Data
from sgdynamics.dynamics import State
from sgdynamics.theory.epochs import HarmonicEpochs
from sgdynamics.theory.harmonic import HarmonicDescent, HarmonicLangevin, HarmonicUnderdamped
from sgdynamics.theory.ou import OrnsteinUhlenbeck
from sgdynamics.theory.recursion import LinearRecursion

Law: TypeAlias = (
    OrnsteinUhlenbeck | LinearRecursion | HarmonicDescent | HarmonicEpochs | HarmonicLangevin | HarmonicUnderdamped
)
SPAN = 1e-6  # how much of a direction may lie outside the modes


class Flatness(eqx.Module):
    """The loss along the principal components of the weights' fluctuations (Gross et al., Eq. 3.37).

    - variances [components], descending; directions [parameters, components], orthonormal.
    - curvatures κ [components]: L(θ* + a v) = L(θ*) + ½ κ a² + …, without weight decay.
    """

    variances: Float[Array, " components"]
    directions: Float[Array, "parameters components"]
    curvatures: Float[Array, " components"]


class Modes(eqx.Module):
    """The eigenmodes of the Hessian at the minimum, in which a harmonic law is solved.

    - curvatures [modes]: eigenvalues of ∇²L + weight_decay, descending; exactly 0 in the `null` directions, whose
      eigenvalue is below `cut` × the largest and in which nothing moves.
    - vectors [parameters, modes]; residuals |H v − h v| [modes] (0 to rounding, unless found by products).
    - gradient_norm: |∇L + weight_decay θ| that was left at the minimum.
    """

    curvatures: Float[Array, " modes"]
    vectors: Float[Array, "parameters modes"]
    residuals: Float[Array, " modes"]
    gradient_norm: Scalar
    cut: Scalar

    @property
    def rank(self) -> Int[Array, ""]:
        """How many modes lie above the cut."""
        return jnp.sum(self.curvatures > 0)


class Prediction(eqx.Module):
    """The stationary law of a dynamics, to second order.

    - mean [parameters], covariance [parameters, parameters]: of θ. Where the law is known in leading `modes` only
      (of a network above 4,000 parameters, or as asked for), `covariance` and what is made of it is an error, `along`
      gives it in their span, and `draw` gives states that scatter in them alone.
    - phase_covariance [2 parameters, 2 parameters]: of (θ, v), where there is a velocity; else None.
    - law: the linear process, about the mean, that has this covariance and these correlations in time:
      an `OrnsteinUhlenbeck` or a `LinearRecursion` over the parameters, over (θ, v) where there is momentum; or a
      `HarmonicDescent`, `HarmonicEpochs`, `HarmonicLangevin` or `HarmonicUnderdamped` over the coordinates in `modes`.
      That of shuffled epochs depends on the position in the epoch: all here is its average over the epoch, but for
      `draw`, which is the law between two epochs, where a run begins; `law.position_covariances()` has them all.
    - modes: the eigenmodes of the Hessian behind a harmonic law; None for the others.
    - slowest_rate: the smallest rate of relaxation, per unit of t: of a harmonic law among the modes that move; of the
      others 0 where a direction never relaxes.
    - time_step: t per step. form: what was solved, in words; of: of which dynamics.
    """

    mean: Vector
    law: Law
    slowest_rate: Scalar
    time_step: Scalar
    modes: Modes | None
    known_covariance: Float[Array, "modes modes"]  # of θ, or of the coordinates in `modes`
    known_phase_covariance: Float[Array, "phase phase"] | None
    form: str = eqx.field(static=True)
    of: str = eqx.field(static=True)
    known_start: tuple[Vector, Float[Array, "coordinates coordinates"]] | None = None  # where `draw` has another law

    @property
    def covariance(self) -> Matrix:
        """Covariance of θ [parameters, parameters]."""
        return self._lifted(self.known_covariance)

    @property
    def phase_covariance(self) -> Float[Array, "phase phase"] | None:
        """Covariance of (θ, v) [2 parameters, 2 parameters], None where there is no velocity."""
        if self.known_phase_covariance is None or self.modes is None:
            return self.known_phase_covariance
        k, M = self.modes.curvatures.shape[0], self.known_phase_covariance
        blocks = [[self._lifted(M[i : i + k, j : j + k]) for j in (0, k)] for i in (0, k)]
        return jnp.block(blocks)

    @property
    def velocity_covariance(self) -> Matrix | None:
        """Covariance of the velocity, None where there is none."""
        phase, d = self.known_phase_covariance, self.known_covariance.shape[0]
        return None if phase is None else self._lifted(phase[d:, d:])

    @property
    def variances(self) -> Vector:
        """Of each parameter [parameters]."""
        return jnp.diagonal(self.covariance)

    def along(self, directions: Real[ArrayLike, "parameters directions"]) -> Float[Array, "directions directions"]:
        """Covariance of the coordinates Dᵀ(θ − mean) along the columns D of `directions`.

        Raises `ValueError` where only leading modes are known and a direction does not lie in their span.
        """
        D = _checks.float64("directions", directions)
        D = _checks.shaped("directions", D, (*self.mean.shape, *D.shape[-1:]), "One direction per column.")
        if self.modes is None:
            return D.T @ self.known_covariance @ D
        inside = self.modes.vectors.T @ D
        if self._is_partial:
            outside = jnp.linalg.norm(D - self.modes.vectors @ inside) / jnp.linalg.norm(D)
            _checks.require("the part of `directions` outside the leading modes", outside, outside <= SPAN,
                            allowed=f"below {SPAN}", remedy="Ask predict() for more `modes`.")  # fmt: skip
        return inside.T @ self.known_covariance @ inside

    def autocovariance(self, lag: Int[ArrayLike, "*lags"]) -> Float[Array, "*lags parameters parameters"]:
        """E[δθ(k + lag) δθ(k)ᵀ] for a lag in steps."""
        d = self.known_covariance.shape[0]
        if isinstance(self.law, LinearRecursion | HarmonicDescent | HarmonicEpochs):
            return self._lifted(self.law.autocovariance(lag)[..., :d, :d])
        time = jnp.asarray(lag).astype(self.time_step.dtype) * self.time_step
        return self._lifted(self.law.autocovariance(time)[..., :d, :d])

    def circulation(self) -> Matrix:
        """Q = (E[δθ δθ'ᵀ] − transpose)/2 per unit of t [parameters, parameters]; 0 under detailed balance.

        In continuous time Q = A M − N/2 (`theory.ou`), with momentum its block of the positions, E[δθ vᵀ]; of a
        recursion −(R₁ − R₁ᵀ)/(2η) with the autocovariance R₁ of one step, which tends to it.
        """
        if isinstance(self.law, LinearRecursion):
            R = self.autocovariance(1)
            return (R.T - R) / (2 * self.time_step)
        d = self.known_covariance.shape[0]
        return self._lifted(self.law.circulation()[:d, :d])

    def flatness(self, problem: Problem, data: Data | None = None, components: int | None = None) -> Flatness:
        """The curvature of the loss along the principal components of the covariance, `components` of them."""
        variances, U = jnp.linalg.eigh(self.known_covariance)
        U = U if self.modes is None else self.modes.vectors @ U
        count = U.shape[1] if components is None else _checks.count("components", components)
        variances, U = variances[::-1][:count], U[:, ::-1][:, :count]
        curvature = lambda v: v @ problem.hessian_product(self.mean, v, data)
        return Flatness(variances, U, jax.lax.map(curvature, U.T, batch_size=64))

    def loss(self, problem: Problem, data: Data | None = None) -> Scalar:
        """E L(θ) = L(mean) + ½ tr(∇²L · covariance): exact where L is quadratic (Gross et al., 2.26)"""
        return problem.loss(self.mean, data) + jnp.sum(problem.hessian(self.mean, data) * self.covariance) / 2

    def draw(self, key: PRNGKey) -> State:
        """A state with this mean and covariance (of shuffled epochs: that between two), normally distributed."""
        phase, d = self.known_phase_covariance, self.known_covariance.shape[0]
        mean, covariance = self.start()
        δ = symmetric_root(covariance) @ jax.random.normal(key, covariance.shape[:1], covariance.dtype)
        lift = (lambda x: x) if self.modes is None else lambda x: self.modes.vectors @ x
        return State(mean + lift(δ[:d]), None if phase is None else lift(δ[d:]))

    def start(self) -> tuple[Vector, Float[Array, "coordinates coordinates"]]:
        """Mean of θ, and covariance in the known coordinates (of θ, or θ and v), of where `draw` lets a run begin."""
        phase, d = self.known_phase_covariance, self.known_covariance.shape[0]
        if self.known_start is not None:
            return self.known_start
        if not isinstance(self.law, HarmonicEpochs):
            return self.mean, self.known_covariance if phase is None else phase
        between = self.law.start_covariance()  # of (θ, u), u = η v
        scale = jnp.repeat(jnp.stack([jnp.ones(()), 1 / self.time_step]), d)
        return self.mean, between[:d, :d] if phase is None else scale[:, None] * between * scale[None, :]

    @property
    def _is_partial(self) -> bool:
        return self.modes is not None and self.modes.vectors.shape[0] > self.modes.vectors.shape[1]

    def _lifted(self, M: Float[Array, "*lags modes modes"]) -> Float[Array, "*lags parameters parameters"]:
        """From coordinates in the modes to the parameters."""
        if self.modes is None:
            return M
        V = self.modes.vectors
        if self._is_partial:
            raise ValueError(
                f"the covariance of all {V.shape[0]} parameters is not known, that in {V.shape[1]} leading modes is. "
                "Use prediction.along(directions) or prediction.known_covariance, or ask for all modes."
            )
        return V @ M @ V.T
