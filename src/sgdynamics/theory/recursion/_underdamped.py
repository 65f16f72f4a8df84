"""The exact second moments of the SDE with momentum on a model linear in θ, with its state-dependent noise:

    dδ = v dt,      dv = −c₀ (K δ + (1 − β) v) dt + c₀ √η C(θ)^{1/2} dW,      c₀ = 2/(η (1 + β))  [Kunin et al., (3)].

C(θ) = Ξ of `_minibatch` is quadratic in δ: the second moments close. In the stationary state E[δ vᵀ] + E[v δᵀ] = 0,
and, velocities eliminated, M = E[δ δᵀ] obeys an equation of its own,

    (1 − β) (K M + M K) + η (1 + β)/(4 (1 − β)) [K, [K, M]] = η Ξ(0, M),
    E[δ vᵀ] = (K M − M K)/(2 (1 − β)),      E[v vᵀ] = (K M + M K)/(η (1 + β)),

pair by pair that of `theory.harmonic.HarmonicUnderdamped` with the noise Ξ(0, M) in the place of C.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.theory.recursion._minibatch import MinibatchMoments, PhaseMatrix
from sgdynamics.theory.recursion._mode_pairs import underdamped_pairs
from sgdynamics.theory.recursion._model import Examples, LinearModel, linear_model
from sgdynamics.theory.recursion._solution import constant, solve
from sgdynamics.theory.recursion._stability import (
    criticality,
    provided_solved,
    provided_stable,
    underdamped_criticality,
    underdamped_limit,
)


class UnderdampedMoments(eqx.Module):
    """Mean and second moments of dθ = v dt, dv = −c₀ (∇L + λθ + (1 − β) v) dt + c₀ √(η C(θ)) dW.

    Arguments, checks and derivatives as in `MinibatchMoments`; moments are those of (δ, v), δ = θ − `mean`,
    [2 inputs] and [2 inputs, 2 inputs]; time t = learning_rate × step. At momentum 0 there is inertia still:
    `LangevinMoments` is the limit of small learning rates.
    """

    x: Examples
    y: Float[Array, " samples"]
    learning_rate: Scalar
    sampling_factor: Scalar
    momentum: Scalar
    weight_decay: Scalar

    def __init__(
        self,
        x: Real[ArrayLike, "samples inputs"],
        y: Real[ArrayLike, " samples"],
        *,
        learning_rate: RealScalar,
        sampling_factor: RealScalar,
        momentum: RealScalar,
        weight_decay: RealScalar = 0.0,
    ):
        moments = MinibatchMoments(
            x, y, learning_rate=learning_rate, sampling_factor=sampling_factor, momentum=momentum,
            weight_decay=weight_decay,
        )  # fmt: skip
        self.x, self.y = moments.x, moments.y
        self.learning_rate, self.sampling_factor = moments.learning_rate, moments.sampling_factor
        self.momentum, self.weight_decay = moments.momentum, moments.weight_decay

    @property
    def mean(self) -> Vector:
        """μ = K⁻¹ b, the stationary mean of θ, [inputs]."""
        return self._model().mean

    @property
    def noise(self) -> Matrix:
        """C(μ), covariance of the batch gradient at the stationary mean, [inputs, inputs]."""
        return self.sampling_factor * self._model().stationary_noise()

    def drift(self) -> PhaseMatrix:
        """A of dE z/dt = −A E z, z = (δ, v), [2 inputs, 2 inputs]."""
        K, c0 = self._model().curvature, self._c0()
        one = jnp.eye(len(K))
        return jnp.block([[0 * one, -one], [c0 * K, c0 * (1 - self.momentum) * one]])

    def rates(
        self, mean: Real[ArrayLike, " phase"], second_moment: Real[ArrayLike, "phase phase"]
    ) -> tuple[Float[Array, " phase"], Float[Array, "phase phase"]]:
        """d/dt of (E z, E z zᵀ), z = (θ − μ, v), per unit of t."""
        d = self.x.shape[1]
        m = _checks.shaped("mean", _checks.float64("mean", mean), (2 * d,))
        P = _checks.shaped("second_moment", _checks.float64("second_moment", second_moment), (2 * d, 2 * d))
        A, noise = self.drift(), self.sampling_factor * self._model().noise(m[:d], P[:d, :d])
        return -A @ m, jnp.pad(self._c0() ** 2 * self.learning_rate * noise, (d, 0)) - A @ P - P @ A.T

    def stationary_covariance(self) -> PhaseMatrix:
        """Stationary covariance of (θ, v), [2 inputs, 2 inputs].

        **Raises** where the second moments grow without limit, with the largest stable learning rate.
        """
        P = self.response(self.noise)
        return (P + P.T) / 2

    def response(self, source: Real[ArrayLike, "inputs inputs"]) -> PhaseMatrix:
        """The stationary E z z'ᵀ for gradient noise of (cross-)covariance `source` at the mean."""
        source = _checks.shaped("source", _checks.float64("source", source), (self.x.shape[1],) * 2)
        P, critical, residual = _response(self, source)
        P = provided_stable(P, self.x, critical, self._settings(), limit=underdamped_limit)
        return provided_solved(P, residual)

    def criticality(self) -> Scalar:
        """< 1 iff second moments stay bounded; see `_mode_pairs`."""
        return underdamped_criticality(self.x, **self._settings())

    def is_stable(self) -> Bool[Array, ""]:
        """Whether there is a stationary covariance."""
        return self.criticality() < 1

    def _c0(self) -> Scalar:
        return 2 / (self.learning_rate * (1 + self.momentum))

    def _settings(self) -> dict[str, Scalar]:
        names = ("learning_rate", "sampling_factor", "momentum", "weight_decay")
        return {name: getattr(self, name) for name in names}

    def _model(self) -> LinearModel:
        return linear_model(self.x, self.y, self.weight_decay)


@jax.jit
def _response(moments: UnderdampedMoments, source: Matrix) -> tuple[Array, Array, Array]:
    model, η, β = moments._model(), moments.learning_rate, moments.momentum
    K = model.curvature
    pairs, stable = underdamped_pairs(*constant(moments.x), **constant(moments._settings()))

    def equation(M: Matrix) -> Matrix:
        crossed = K @ M - M @ K
        inertia = η * (1 + β) / (4 * (1 - β)) * (K @ crossed - crossed @ K)
        return (1 - β) * (K @ M + M @ K) + inertia - η * moments.sampling_factor * model.noise_response(M)

    M, residual = solve(equation, pairs, η * source)
    crossed, velocity = (K @ M - M @ K) / (2 * (1 - β)), (K @ M + M @ K) / (η * (1 + β))
    return jnp.block([[M, crossed], [-crossed, velocity]]), criticality(pairs, stable), residual
