"""The exact first and second moments of minibatch SGD on a model linear in θ, and of the SDE that models it.

One output, loss L = (1/2P) Σ_μ r_μ², r = X θ − y, momentum β, weight decay λ (wd), learning rate η:

    v ← β v − g_B(θ) − λ θ,    θ ← θ + η v,

where the batch gradient g_B has mean g = H θ − b, H = XᵀX/P, b = Xᵀy/P, and, batches being drawn
independently, covariance c [(1/P) Σ_μ g_μ g_μᵀ − g gᵀ], g_μ = r_μ x_μ; c = 1/S with replacement,
(P−S)/(S(P−1)) without [Gross et al., (2.14) and App. C]. About the stationary mean μ = K⁻¹ b, K = H + λ, with
δ = θ − μ, r = X μ − y, J = Xᵀ r / P = −λ μ, the noise averaged over δ of mean m, second moment M = E δδᵀ is

    Ξ(m, M) = c [(1/P) Σ_μ (x_μᵀ M x_μ + 2 r_μ x_μᵀ m + r_μ²) x_μ x_μᵀ − H M H − H m Jᵀ − J mᵀ H − J Jᵀ],

which closes the moments: over z = (δ, v), F = [[1 − ηK, ηβ], [−K, β]], g = (η, 1),

    E z ← F E z,      E z zᵀ ← F (E z zᵀ) Fᵀ + (g gᵀ) ⊗ Ξ.

The SDE dθ = −(∇L + λθ) dt + √(η C(θ)) dW has dm/dt = −K m, dM/dt = −K M − M K + η Ξ(m, M).
The terms linear in m vanish in the stationary state only. `_mode_pairs` solves the stationary equations.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.theory.recursion._mode_pairs import continuous_pairs, discrete_pairs
from sgdynamics.theory.recursion._model import Examples, LinearModel, linear_model
from sgdynamics.theory.recursion._solution import constant, solve
from sgdynamics.theory.recursion._stability import (
    continuous_criticality,
    criticality,
    discrete_criticality,
    provided_solved,
    provided_stable,
)

PhaseMatrix = Float[Array, "phase phase"]  # over (θ, v)


class MinibatchMoments(eqx.Module):
    """Mean and second moments of minibatch SGD on a model that is linear in θ, exact in discrete time.

    - `x`: [samples, inputs], derivatives of the output with respect to θ; `y`: [samples], targets.
    - `sampling_factor`: c, covariance of the batch gradient per covariance of one example's: 1/S with
      replacement, (P−S)/(S(P−1)) without, 0 for full batches.
    - `learning_rate`, `momentum`, `weight_decay`: as in v ← βv − g − λθ, θ ← θ + ηv.

    Phase space is (δ, v), δ = θ − `mean`: vectors are [2 inputs], matrices [2 inputs, 2 inputs]. Without
    momentum v has no memory and the θ block is all. Samples ≤ inputs is allowed: directions that no example
    sees never move. Differentiable in both modes with respect to all six arguments.

    **Raises** `ValueError` for shapes that do not match, values that are not finite or out of range.
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
        momentum: RealScalar = 0.0,
        weight_decay: RealScalar = 0.0,
    ):
        self.x, self.y = _data(x, y)
        float64 = _checks.float64
        self.learning_rate = _checks.positive("learning_rate", float64("learning_rate", learning_rate))
        self.sampling_factor = _checks.not_negative("sampling_factor", float64("sampling_factor", sampling_factor))
        self.momentum = _checks.momentum("momentum", float64("momentum", momentum))
        self.weight_decay = _checks.not_negative("weight_decay", float64("weight_decay", weight_decay))

    @property
    def mean(self) -> Vector:
        """μ = K⁻¹ b, the stationary mean of θ, [inputs] (of minimum norm where K is singular)."""
        return self._model().mean

    @property
    def noise(self) -> Matrix:
        """C(μ), covariance of the batch gradient at the stationary mean, [inputs, inputs]."""
        return self.sampling_factor * self._model().stationary_noise()

    def transition(self) -> PhaseMatrix:
        """F of E z ← F E z, [2 inputs, 2 inputs]."""
        return jnp.eye(2 * self.x.shape[1]) + _deviation(self._model().curvature, self)

    def step(
        self, mean: Real[ArrayLike, " phase"], second_moment: Real[ArrayLike, "phase phase"]
    ) -> tuple[Float[Array, " phase"], Float[Array, "phase phase"]]:
        """(E z, E z zᵀ) after one step of SGD, from those before it; z = (θ − μ, v)."""
        return self.after(1, mean, second_moment)

    def after(
        self, steps: int, mean: Real[ArrayLike, " phase"], second_moment: Real[ArrayLike, "phase phase"]
    ) -> tuple[Float[Array, " phase"], Float[Array, "phase phase"]]:
        """(E z, E z zᵀ) after `steps` steps of SGD; the covariance is E z zᵀ − E z (E z)ᵀ."""
        size = 2 * self.x.shape[1]
        m = _checks.shaped("mean", _checks.float64("mean", mean), (size,))
        M = _checks.float64("second_moment", second_moment)
        M = _checks.shaped("second_moment", M, (size, size))
        return _after(self, m, M, _checks.count("steps", steps, least=0))

    def stationary_covariance(self) -> PhaseMatrix:
        """Stationary covariance of (θ, v), [2 inputs, 2 inputs].

        **Raises** where the second moments grow without limit, with the largest stable learning rate.
        """
        M = self.response(self.noise)
        return (M + M.T) / 2

    def weight_covariance(self) -> Matrix:
        """Stationary covariance of θ, [inputs, inputs]."""
        d = self.x.shape[1]
        return self.stationary_covariance()[:d, :d]

    def response(self, source: Real[ArrayLike, "inputs inputs"]) -> PhaseMatrix:
        """The stationary E z z'ᵀ that a gradient noise of (cross-)covariance `source` at the mean builds up.

        For several outputs o that share their minibatches and inputs, block (o, o') of the covariance is the
        response to c [(1/P) Σ_μ r_μo r_μo' x_μ x_μᵀ − J_o J_o'ᵀ], in general not a symmetric matrix.
        """
        source = _checks.shaped("source", _checks.float64("source", source), (self.x.shape[1],) * 2)
        M, critical, residual = _discrete_response(self, source)
        M = provided_stable(M, self.x, critical, self._settings())
        return provided_solved(M, residual)

    def criticality(self) -> Scalar:
        """< 1 iff second moments stay bounded (∞ where even the mean does not); see `_mode_pairs`."""
        return discrete_criticality(self.x, **self._settings())

    def is_stable(self) -> Bool[Array, ""]:
        """Whether there is a stationary covariance."""
        return self.criticality() < 1

    def _settings(self) -> dict[str, Scalar]:
        return {
            "learning_rate": self.learning_rate,
            "sampling_factor": self.sampling_factor,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }

    def _model(self) -> LinearModel:
        return linear_model(self.x, self.y, self.weight_decay)


class LangevinMoments(eqx.Module):
    """Mean and second moments of the SDE dθ = −(∇L + λθ) dt + √(η C(θ)) dW, state-dependent noise included.

    Arguments, checks and derivatives as in `MinibatchMoments`, without momentum; moments are those of
    δ = θ − `mean`, [inputs] and [inputs, inputs]; time t = learning_rate × step.
    """

    x: Examples
    y: Float[Array, " samples"]
    learning_rate: Scalar
    sampling_factor: Scalar
    weight_decay: Scalar

    def __init__(
        self,
        x: Real[ArrayLike, "samples inputs"],
        y: Real[ArrayLike, " samples"],
        *,
        learning_rate: RealScalar,
        sampling_factor: RealScalar,
        weight_decay: RealScalar = 0.0,
    ):
        moments = MinibatchMoments(
            x, y, learning_rate=learning_rate, sampling_factor=sampling_factor, weight_decay=weight_decay
        )
        self.x, self.y = moments.x, moments.y
        self.learning_rate, self.sampling_factor = moments.learning_rate, moments.sampling_factor
        self.weight_decay = moments.weight_decay

    @property
    def mean(self) -> Vector:
        """μ = K⁻¹ b, the stationary mean of θ, [inputs]."""
        return self._model().mean

    @property
    def noise(self) -> Matrix:
        """C(μ), covariance of the batch gradient at the stationary mean, [inputs, inputs]."""
        return self.sampling_factor * self._model().stationary_noise()

    def rates(
        self, mean: Real[ArrayLike, " inputs"], second_moment: Real[ArrayLike, "inputs inputs"]
    ) -> tuple[Vector, Matrix]:
        """(dm/dt, dM/dt) = (−K m, −K M − M K + η Ξ(m, M)), per unit of t."""
        m, M = _checks.float64("mean", mean), _checks.float64("second_moment", second_moment)
        model = self._model()
        KM = model.curvature @ M
        noise = self.learning_rate * self.sampling_factor * model.noise(m, M)
        return -model.curvature @ m, noise - KM - (model.curvature @ M.T).T

    def stationary_covariance(self) -> Matrix:
        """Stationary covariance of θ, [inputs, inputs].

        **Raises** where the second moments grow without limit, with the largest stable learning rate.
        """
        M = self.response(self.noise)
        return (M + M.T) / 2

    def response(self, source: Real[ArrayLike, "inputs inputs"]) -> Matrix:
        """The stationary E δ δ'ᵀ for gradient noise of (cross-)covariance `source` at the mean."""
        source = _checks.shaped("source", _checks.float64("source", source), (self.x.shape[1],) * 2)
        M, critical, residual = _continuous_response(self, source)
        M = provided_stable(M, self.x, critical, self._settings(), continuous=True)
        return provided_solved(M, residual)

    def criticality(self) -> Scalar:
        """< 1 iff second moments stay bounded; see `_mode_pairs`."""
        return continuous_criticality(self.x, **self._settings())

    def is_stable(self) -> Bool[Array, ""]:
        """Whether there is a stationary covariance."""
        return self.criticality() < 1

    def _settings(self) -> dict[str, Scalar]:
        return {
            "learning_rate": self.learning_rate,
            "sampling_factor": self.sampling_factor,
            "weight_decay": self.weight_decay,
        }

    def _model(self) -> LinearModel:
        return linear_model(self.x, self.y, self.weight_decay)


def _data(x, y) -> tuple[Examples, Float[Array, " samples"]]:
    x = _checks.float64("x", x)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"x has shape {x.shape}, but it must be [samples, inputs], neither of them 0.")
    return x, _checks.shaped("y", _checks.float64("y", y), x.shape[:1], remedy="One target for each row of x.")


def _deviation(curvature: Matrix, moments: MinibatchMoments) -> PhaseMatrix:
    """F − 1 = [[−ηK, ηβ], [−K, β − 1]]: apart from 1 no small number is lost."""
    η, β = moments.learning_rate, moments.momentum
    one = jnp.eye(len(curvature))
    return jnp.block([[-η * curvature, η * β * one], [-curvature, (β - 1) * one]])


def _inject(noise: Matrix, learning_rate: Scalar) -> PhaseMatrix:
    """(g gᵀ) ⊗ noise, g = (η, 1): what gradient noise does to (θ, v)."""
    g = jnp.stack([learning_rate, jnp.ones_like(learning_rate)])
    return jnp.kron(jnp.outer(g, g), noise)


@eqx.filter_jit
def _after(moments: MinibatchMoments, mean: Array, second_moment: Array, steps: int) -> tuple[Array, Array]:
    model = moments._model()
    d = len(model.mean)
    F = jnp.eye(2 * d) + _deviation(model.curvature, moments)

    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        m, M = carry
        noise = moments.sampling_factor * model.noise(m[:d], M[:d, :d])
        return (F @ m, F @ M @ F.T + _inject(noise, moments.learning_rate)), None

    return jax.lax.scan(step, (mean, second_moment), length=steps)[0]


@jax.jit
def _discrete_response(moments: MinibatchMoments, source: Matrix) -> tuple[Array, Array, Array]:
    model, d = moments._model(), moments.x.shape[1]
    D = _deviation(model.curvature, moments)
    pairs, stable = discrete_pairs(*constant(moments.x), **constant(moments._settings()))

    def equation(M: PhaseMatrix) -> PhaseMatrix:
        noise = moments.sampling_factor * model.noise_response(M[:d, :d])
        DM = D @ M
        return -(DM + M @ D.T + DM @ D.T) - _inject(noise, moments.learning_rate)

    M, residual = solve(equation, pairs, _inject(source, moments.learning_rate))
    return M, criticality(pairs, stable), residual


@jax.jit
def _continuous_response(moments: LangevinMoments, source: Matrix) -> tuple[Array, Array, Array]:
    model, η = moments._model(), moments.learning_rate
    pairs, stable = continuous_pairs(*constant(moments.x), **constant(moments._settings()))

    def equation(M: Matrix) -> Matrix:
        noise = moments.sampling_factor * model.noise_response(M)
        return model.curvature @ M + M @ model.curvature - η * noise

    M, residual = solve(equation, pairs, η * source)
    return M, criticality(pairs, stable), residual
