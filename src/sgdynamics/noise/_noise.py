"""The noise of the minibatch gradient: a linear map B(θ) from independent normal numbers z, with B Bᵀ = C(θ).

C is always the covariance of the *minibatch* gradient: batch size and finite-population factor c included
(`samplers`). No matrix root is ever needed:

    FiniteSample   B z = √(c/P) Σ_μ (z_μ − z̄) g_μ(θ)          C = c [(1/P) Σ_μ g_μ g_μᵀ − ḡ ḡᵀ]
                   (Gross, Raulf and Räth, Eq. 2.14, App. C): the gradient of a z-weighted loss
    LabelNoise     B z = σ/√(S P) Σ_μ J_μᵀ z_μ                 C = σ²/S · (1/P) Σ_μ J_μᵀ J_μ
                   labels drawn afresh; J_μ = ∂f(x_μ)/∂θ
    OnlineLinear   B z = (∂W/∂θ)ᵀ [Δ (G + Gᵀ)/√2 + σ Z] /√S    (Corlouer et al., Prop. 3.2; x ~ N(0, I))
                   Δ = M − W(θ); exact, in O(d³), with z = (G, Z)
    Frozen         B(θ) = B(θ₀), another noise held at one point
    Isotropic      B z = σ z                                   C = σ² 1, everywhere the same: plain Langevin dynamics
    Constant       B = any fixed matrix: C ∝ H, or what a user has
    Sum            independent noises add: C = Σ C_i
"""

from abc import abstractmethod
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Real
from jaxtyping import ArrayLike as ArrayLike

from sgdynamics import _checks
from sgdynamics._linalg import symmetric_root
from sgdynamics._problem import Problem, squared_error
from sgdynamics._types import Matrix, PRNGKey, RealScalar, Scalar, Vector
from sgdynamics.data import FreshLabels, Teacher
from sgdynamics.networks import AbstractLinearMap
from sgdynamics.samplers import AbstractSampler, FullBatch, as_sampler

Sources: TypeAlias = PyTree[Float[Array, "..."]]

CHUNK = 128  # directions, or examples, that are worked on at once


class AbstractNoise(eqx.Module):
    """Gradient noise at θ: `apply(θ, z)` has covariance `covariance(θ)` for z of independent normal numbers."""

    @abstractmethod
    def sources(self) -> PyTree[jax.ShapeDtypeStruct]:
        """The shapes (and dtypes) of z."""

    @abstractmethod
    def apply(self, θ: Vector, z: Sources) -> Vector:
        """B(θ) z."""

    def covariance(self, θ: Vector) -> Matrix:
        """C(θ) = B(θ) B(θ)ᵀ, dense: for tests and small problems."""
        flat = [leaf.reshape(-1, θ.shape[0]) for leaf in jax.tree.leaves(self._columns(θ))]
        B = jnp.concatenate(flat).T
        return B @ B.T

    def covariance_along(self, θ: Vector, directions: Float[Array, "parameters modes"]) -> Float[Array, "modes modes"]:
        """Dᵀ C(θ) D for the columns D of `directions`, from Dᵀ B: C itself is never built."""
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, θ.dtype), self.sources())
        pull_back = jax.vjp(lambda z: self.apply(θ, z), zero)[1]
        flat = lambda z: jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(z)])
        rows = jax.lax.map(lambda v: flat(pull_back(v)[0]), directions.T, batch_size=CHUNK)
        return rows @ rows.T

    def _columns(self, θ: Vector) -> PyTree:
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, θ.dtype), self.sources())
        return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), jax.jacfwd(lambda z: self.apply(θ, z))(zero))

    def sample(self, θ: Vector, key: PRNGKey) -> Vector:
        """One draw of the noise at θ."""
        return self.apply(θ, normals(key, self.sources(), θ.dtype))


def normals(key: PRNGKey, sources: PyTree[jax.ShapeDtypeStruct], dtype) -> Sources:
    """Independent standard normal numbers of the given shapes."""
    leaves, structure = jax.tree.flatten(sources)
    keys = [key] if len(leaves) == 1 else list(jax.random.split(key, len(leaves)))
    draws = [jax.random.normal(k, leaf.shape, dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, draws)


class AbstractGradientNoise(AbstractNoise):
    """A noise that, like the loss's gradient, is one vector-Jacobian product of `problem`: both come in one."""

    problem: eqx.AbstractVar[Problem]

    @abstractmethod
    def descend(self, θ: Vector, time: Scalar, scale: Scalar, z: Sources) -> Vector:
        """−∇L(θ) · time + scale · B(θ) z."""


class FiniteSample(AbstractGradientNoise):
    """The noise of drawing minibatches from a finite data set, with the exact covariance at every θ."""

    problem: Problem
    factor: Scalar

    def __init__(self, problem: Problem, sampler: AbstractSampler | int):
        sampler = as_sampler(sampler)
        sampler.check(problem.data)
        if isinstance(problem.data, Teacher):
            raise ValueError("noise = FiniteSample needs a finite data set, but data is a Teacher. Use OnlineLinear.")
        self.problem, self.factor = problem, sampler.covariance_factor(problem.data)

    def sources(self):
        return jax.ShapeDtypeStruct((self.problem.data.samples,), float)

    def apply(self, θ: Vector, z: Float[Array, " samples"]) -> Vector:
        return self.problem.weighted_gradient(θ, self._weights(z))

    def descend(self, θ: Vector, time: Scalar, scale: Scalar, z: Float[Array, " samples"]) -> Vector:
        return self.problem.weighted_gradient(θ, scale * self._weights(z) - time / z.shape[0])

    def covariance(self, θ: Vector) -> Matrix:
        g = self.problem.example_gradients(θ)
        δ = g - g.mean(axis=0, keepdims=True)
        return self.factor / g.shape[0] * (δ.T @ δ)

    def _weights(self, z: Float[Array, " samples"]) -> Float[Array, " samples"]:
        """a_μ with B z = Σ_μ a_μ g_μ."""
        return jnp.sqrt(self.factor / z.shape[0]) * (z - jnp.mean(z))


class LabelNoise(AbstractNoise):
    """What labels drawn afresh add to the gradient noise (`data.FreshLabels`, squared error)."""

    problem: Problem
    batch_size: Scalar

    def __init__(self, problem: Problem, sampler: AbstractSampler | int):
        if not isinstance(problem.data, FreshLabels) or problem.example_loss is not squared_error:
            raise ValueError("noise = LabelNoise needs data.FreshLabels and the loss squared_error.")
        sampler = as_sampler(sampler)
        sampler.check(problem.data)
        size = problem.data.samples if isinstance(sampler, FullBatch) else sampler.batch_size
        self.problem, self.batch_size = problem, jnp.asarray(size, float)

    def sources(self):
        return jax.ShapeDtypeStruct(self.problem.data.y.shape, float)

    def apply(self, θ: Vector, z: Float[Array, "samples *outputs"]) -> Vector:
        predictions, pull_back = jax.vjp(self.problem.predictions, θ)
        std = self.problem.data.label_noise_std / jnp.sqrt(self.batch_size * z.shape[0])
        return pull_back(std * z.reshape(predictions.shape))[0]


class OnlineLinear(AbstractGradientNoise):
    """The noise of fresh Gaussian examples from a `Teacher`, for any network that is a linear map."""

    problem: Problem
    batch_size: Scalar

    def __init__(self, problem: Problem, sampler: AbstractSampler):
        if not isinstance(problem.data, Teacher) or not isinstance(problem.network, AbstractLinearMap):
            raise ValueError(
                f"noise = OnlineLinear needs a data.Teacher and a linear network, but data is a "
                f"{type(problem.data).__name__} and the network a {type(problem.network).__name__}. "
                "Draw a data set from the teacher (teacher.sample) and use FiniteSample."
            )
        if problem.example_loss is not squared_error:
            raise ValueError("noise = OnlineLinear needs the loss squared_error.")
        sampler.check(problem.data)
        size = jnp.inf if isinstance(sampler, FullBatch) else sampler.batch_size
        self.problem, self.batch_size = problem, jnp.asarray(size, float)

    def sources(self):
        outputs, inputs = self.problem.data.matrix.shape
        return jax.ShapeDtypeStruct((inputs, inputs), float), jax.ShapeDtypeStruct((outputs, inputs), float)

    def apply(self, θ: Vector, z: tuple[Float[Array, "inputs inputs"], Float[Array, "outputs inputs"]]) -> Vector:
        W, pull_back = self._map(θ)
        return pull_back(self._source(W, z))[0]

    def descend(
        self, θ: Vector, time: Scalar, scale: Scalar, z: tuple[Float[Array, "inputs inputs"], Float[Array, "_ inputs"]]
    ) -> Vector:
        W, pull_back = self._map(θ)
        return pull_back(scale * self._source(W, z) - time * self.problem.data.population_gradient(W))[0]

    def _map(self, θ: Vector):
        """W(θ), and the product with its transposed Jacobian."""
        return jax.vjp(lambda θ: self.problem.unflatten(θ).matrix(), θ)

    def _source(self, W: Float[Array, "outputs inputs"], z) -> Float[Array, "outputs inputs"]:
        """The noise of −∂L/∂W: of covariance E[ε xᵀ − Δ]² over minibatches, ε = Δ x + σ ξ."""
        (G, Z), teacher = z, self.problem.data
        S = (teacher.matrix - W) @ (G + G.T) / jnp.sqrt(2.0).astype(W.dtype) + teacher.label_noise_std * Z
        return S / jnp.sqrt(self.batch_size)


class Frozen(AbstractNoise):
    """Another noise, held at the point `at` [parameters]: state-independent."""

    noise: AbstractNoise
    at: Vector

    def sources(self):
        return self.noise.sources()

    def apply(self, θ: Vector, z: Sources) -> Vector:
        return self.noise.apply(self.at, z)


class Isotropic(AbstractNoise):
    """C = `variance` · 1 for `parameters` of them, at every θ."""

    parameters: int = eqx.field(static=True)
    variance: Scalar

    def __init__(self, parameters: int, variance: RealScalar):
        self.parameters = _checks.count("parameters", parameters)
        self.variance = jnp.asarray(_checks.not_negative("variance", variance), jnp.result_type(float))

    def sources(self):
        return jax.ShapeDtypeStruct((self.parameters,), float)

    def apply(self, θ: Vector, z: Float[Array, " parameters"]) -> Vector:
        return jnp.sqrt(self.variance) * z


class Constant(AbstractNoise):
    """State-independent noise, with a given covariance C [parameters, parameters], of which B is the symmetric root,
    or with a given `root` B [parameters, sources] and C = B Bᵀ.

    With B = V diag(σ), V the Hessian's eigenvectors, every mode of a quadratic loss has noise of its own; the ensemble
    then steps mode by mode.
    """

    root: Float[Array, "parameters sources"]

    def __init__(
        self,
        covariance: Real[ArrayLike, "parameters parameters"] | None = None,
        *,
        root: Real[ArrayLike, "parameters sources"] | None = None,
    ):
        if (covariance is None) == (root is None):
            raise ValueError("noise = Constant needs either a covariance or a root, not both. Give one of them.")
        if root is not None:
            self.root = _checks.finite("root", jnp.asarray(root, jnp.result_type(float)))
            return
        covariance = _checks.finite("covariance", jnp.asarray(covariance, jnp.result_type(float)))
        self.root = symmetric_root(_checks.symmetric("covariance", covariance))

    def sources(self):
        return jax.ShapeDtypeStruct(self.root.shape[1:], float)

    def apply(self, θ: Vector, z: Float[Array, " sources"]) -> Vector:
        return self.root @ z


class Sum(AbstractNoise):
    """Independent noises, added."""

    noises: tuple[AbstractNoise, ...]

    def sources(self):
        return tuple(noise.sources() for noise in self.noises)

    def apply(self, θ: Vector, z: tuple[Sources, ...]) -> Vector:
        return sum(noise.apply(θ, part) for noise, part in zip(self.noises, z, strict=True))


def minibatch(problem: Problem, sampler: AbstractSampler | int) -> AbstractNoise:
    """The noise model that has the covariance of this sampler's minibatch gradients at every θ."""
    sampler = as_sampler(sampler)
    if isinstance(problem.data, Teacher):
        return OnlineLinear(problem, sampler)
    if isinstance(problem.data, FreshLabels):
        return Sum((FiniteSample(problem, sampler), LabelNoise(problem, sampler)))
    return FiniteSample(problem, sampler)


def frozen(problem: Problem, sampler: AbstractSampler | int, at: Vector | None = None) -> Frozen:
    """The minibatch noise, held at the minimum of the loss (or `at`): the additive noise of Eq. (2.17)."""
    at = problem.minimum() if at is None else jnp.asarray(at)
    return Frozen(minibatch(problem, sampler), at)


def hessian_proportional(
    problem: Problem, sampler: AbstractSampler | int, *, scale: RealScalar | None = None, at: Vector | None = None
) -> Constant:
    """C = scale · H at the minimum (or `at`), the approximation of Eq. (2.20).

    Unless told, `scale` is tr C / tr H of the minibatch noise there: the right total noise, the wrong shape.
    """
    at = problem.minimum() if at is None else jnp.asarray(at)
    H, C = problem.hessian(at), minibatch(problem, sampler).covariance(at)
    scale = jnp.trace(C) / jnp.trace(H) if scale is None else _checks.not_negative("scale", scale)
    return Constant(scale * H)


def isotropic(
    problem: Problem, sampler: AbstractSampler | int, *, variance: RealScalar | None = None, at: Vector | None = None
) -> Isotropic:
    """C = variance · 1. Unless told, `variance` is tr C / parameters of the minibatch noise at the minimum, or `at`."""
    parameters = problem.parameters.shape[0]
    if variance is None:
        at = problem.minimum() if at is None else jnp.asarray(at)
        variance = jnp.trace(minibatch(problem, sampler).covariance(at)) / parameters
    return Isotropic(parameters, variance)
