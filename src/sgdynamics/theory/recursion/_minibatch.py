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

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from sgdynamics import _checks, _linalg
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.theory.recursion._mode_pairs import (
    ModePairs,
    continuous_pairs,
    discrete_pairs,
    eigenmodes,
    largest_eigenvalue,
    read,
)

Examples = Float[Array, "samples inputs"]
PhaseMatrix = Float[Array, "phase phase"]  # over (θ, v)


class LinearModel(NamedTuple):
    """Examples and targets with everything that follows from them: K, μ, r, J of the module's docstring."""

    x: Examples
    hessian: Matrix
    curvature: Matrix  # K = H + λ
    mean: Vector  # μ, of minimum norm where K is singular
    residuals: Float[Array, " samples"]  # X μ − y
    gradient: Vector  # J

    def noise(self, mean: Vector, second_moment: Matrix) -> Matrix:
        """Ξ(m, M) / c."""
        cross = jnp.outer(self.hessian @ mean, self.gradient)
        r2 = 2 * self.residuals * (self.x @ mean) + self.residuals**2
        constant = scatter(self.x, r2) - cross - cross.T - jnp.outer(self.gradient, self.gradient)
        return self.noise_response(second_moment) + constant

    def noise_response(self, second_moment: Matrix) -> Matrix:
        """The part linear in M: (1/P) Σ (xᵀ M x) x xᵀ − H M H."""
        return scatter(self.x, read(self.x, second_moment)) - self.hessian @ second_moment @ self.hessian

    def stationary_noise(self) -> Matrix:
        """C(μ) / c."""
        return scatter(self.x, self.residuals**2) - jnp.outer(self.gradient, self.gradient)


def scatter(x: Examples, weights: Float[Array, " samples"]) -> Matrix:
    """(1/P) Σ_μ weights_μ x_μ x_μᵀ."""
    return (x.T * weights[None, :]) @ x / len(x)


@jax.jit
def linear_model(x: Examples, y: Float[Array, " samples"], weight_decay: Scalar) -> LinearModel:
    mean = _linalg.least_squares(x, y, weight_decay)
    hessian = x.T @ x / len(x)
    curvature = hessian + weight_decay * jnp.eye(x.shape[1])
    # not xᵀr/P, whose rounding at λ = 0 would be all there is
    return LinearModel(x, hessian, curvature, mean, x @ mean - y, -weight_decay * mean)


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
        self.sampling_factor = _checks.not_negative(
            "sampling_factor", float64("sampling_factor", sampling_factor)
        )
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
        M, criticality, residual = _discrete_response(self, source)
        M = provided_stable(M, self.x, criticality, self._settings())
        return provided_solved(M, residual)

    def criticality(self) -> Scalar:
        """< 1 iff second moments stay bounded (∞ where even the mean does not); see `_mode_pairs`."""
        return _discrete_criticality(self.x, **self._settings())

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
        M, criticality, residual = _continuous_response(self, source)
        M = provided_stable(M, self.x, criticality, self._settings(), continuous=True)
        return provided_solved(M, residual)

    def criticality(self) -> Scalar:
        """< 1 iff second moments stay bounded; see `_mode_pairs`."""
        return _continuous_criticality(self.x, **self._settings())

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
    return x, _checks.shaped(
        "y", _checks.float64("y", y), x.shape[:1], remedy="One target for each row of x."
    )


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


def _solve(equation, pairs: ModePairs, right: Array) -> tuple[Array, Array]:
    """The solution of equation(M) = right by `pairs`, and its relative residual."""
    M = jax.lax.custom_linear_solve(
        equation,
        right,
        solve=lambda _, b: pairs.solve(b),
        transpose_solve=lambda _, b: pairs.adjoint().solve(b),
    )
    misfit = jnp.linalg.norm(jax.lax.stop_gradient(equation(M) - right))
    size = jnp.linalg.norm(jax.lax.stop_gradient(right))
    return M, misfit / jnp.where(size > 0, size, 1)


@jax.jit
def _discrete_response(moments: MinibatchMoments, source: Matrix) -> tuple[Array, Array, Array]:
    model, d = moments._model(), moments.x.shape[1]
    D = _deviation(model.curvature, moments)
    pairs, stable = discrete_pairs(*_constant(moments.x), **_constant(moments._settings()))

    def equation(M: PhaseMatrix) -> PhaseMatrix:
        noise = moments.sampling_factor * model.noise_response(M[:d, :d])
        DM = D @ M
        return -(DM + M @ D.T + DM @ D.T) - _inject(noise, moments.learning_rate)

    M, residual = _solve(equation, pairs, _inject(source, moments.learning_rate))
    return M, _criticality(pairs, stable), residual


@jax.jit
def _continuous_response(moments: LangevinMoments, source: Matrix) -> tuple[Array, Array, Array]:
    model, η = moments._model(), moments.learning_rate
    pairs, stable = continuous_pairs(*_constant(moments.x), **_constant(moments._settings()))

    def equation(M: Matrix) -> Matrix:
        noise = moments.sampling_factor * model.noise_response(M)
        return model.curvature @ M + M @ model.curvature - η * noise

    M, residual = _solve(equation, pairs, η * source)
    return M, _criticality(pairs, stable), residual


def _constant(tree):
    return jax.tree.map(jax.lax.stop_gradient, (tree,) if isinstance(tree, jax.Array) else tree)


def _criticality(pairs: ModePairs, stable: Bool[Array, ""]) -> Scalar:
    return jnp.where(stable, pairs.criticality(), jnp.inf)


@jax.jit
def _discrete_criticality(x: Examples, **settings: Scalar) -> Scalar:
    return _criticality(*discrete_pairs(x, **settings))


@jax.jit
def _continuous_criticality(x: Examples, **settings: Scalar) -> Scalar:
    return _criticality(*continuous_pairs(x, **settings))


def provided_stable(M, x, criticality, settings: dict[str, Scalar], continuous: bool = False):
    """M, or the error that there is no stationary law, naming the largest stable learning rate."""
    η = settings["learning_rate"]
    remedy = "Beyond it the second moments of SGD grow without limit: reduce it, or enlarge the batch."
    allowed = "small enough for a stationary covariance"
    if _checks.is_concrete(criticality) and not bool(criticality < 1):
        rest = {name: value for name, value in settings.items() if name != "learning_rate"}
        largest = largest_stable_learning_rate(x, **rest, continuous=continuous)
        allowed = f"below the largest stable learning rate, {float(largest):.4g}"
    return _checks.provided(M, "learning_rate", η, criticality < 1, allowed=allowed, remedy=remedy)


def provided_solved(M, residual):
    """M, or an error where rounding or slow convergence spoiled it (within rounding of instability)."""
    return _checks.provided(
        M, "learning_rate", residual, residual < 1e-8, allowed="further from the limit of stability: the "
        "number shown is the relative residual of the stationary equation",
    )  # fmt: skip


def largest_stable_learning_rate(
    x: Real[ArrayLike, "samples inputs"],
    *,
    sampling_factor: RealScalar,
    momentum: RealScalar = 0.0,
    weight_decay: RealScalar = 0.0,
    continuous: bool = False,
) -> Scalar:
    """The learning rate at which the second moments cease to be bounded, [] (∞ for an SDE without noise).

    Without momentum, M − T(M) > 0 for some M > 0 reads K M + M K > η Z(M), Z(M) = K M K + 𝒩(M) (the SDE has
    Z = 𝒩): the limit is 1/(largest eigenvalue of Z relative to K·+·K). With momentum, bisection on the
    criticality below the limit of the mean, 2 (1 + β)/k_max.
    """
    x = _checks.float64("x", x)
    c = _checks.not_negative("sampling_factor", _checks.float64("sampling_factor", sampling_factor))
    β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
    wd = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    if continuous or (_checks.is_concrete(β) and bool(β == 0)):
        return _linear_limit(x, c, wd, continuous)
    return _bisected_limit(x, c, β, wd)


@eqx.filter_jit
def _linear_limit(x: Examples, c: Scalar, weight_decay: Scalar, continuous: bool) -> Scalar:
    h, V, _ = eigenmodes(x)
    k = h + weight_decay
    sums = k[:, None] + k[None, :]
    root = jnp.where(sums > 0, 1 / jnp.sqrt(jnp.where(sums > 0, sums, 1)), 0)
    hh, kk = h[:, None] * h[None, :], 0 if continuous else k[:, None] * k[None, :]
    modes = x @ V

    def relative(M: Matrix) -> Matrix:
        W = root * M
        return root * (kk * W + c * (scatter(modes, read(modes, W)) - hh * W))

    largest = largest_eigenvalue(relative, jnp.diag(jnp.where(k > 0, k, 0)))
    return jnp.where(largest > 0, 1 / largest, jnp.inf)


@jax.jit
def _bisected_limit(x: Examples, c: Scalar, momentum: Scalar, weight_decay: Scalar) -> Scalar:
    k = eigenmodes(x)[0][-1] + weight_decay

    def halve(_, bounds: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bounds
        middle = (low + high) / 2
        stable = _discrete_criticality(
            x, learning_rate=middle, sampling_factor=c, momentum=momentum, weight_decay=weight_decay
        ) < 1  # fmt: skip
        return jnp.where(stable, middle, low), jnp.where(stable, high, middle)

    bounds = (jnp.zeros_like(k), 2 * (1 + momentum) / k)
    return jax.lax.fori_loop(0, 24, halve, bounds)[0]
