"""Arguments that the papers' packages share: hyperparameters, curvatures, matrices, forms."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from sgdynamics import _checks

SADDLE = "Along negative curvature there is no stationary law: go to a minimum, or leave the mode out."


class Hyperparameters(NamedTuple):
    """η > 0, β in [0, 1) and λ ≥ 0, each of the shape it was given."""

    learning_rate: Array
    momentum: Array
    weight_decay: Array

    @property
    def stiffness(self) -> Array:
        """c₀ = 2/(η(1 + β)): dv = −c₀ [g + …] dt."""
        return 2 / (self.learning_rate * (1 + self.momentum))

    @property
    def friction(self) -> Array:
        """c₀ (1 − β) = 2(1 − β)/(η(1 + β)): the rate, per unit of t, at which v decays where nothing pulls."""
        return self.stiffness * (1 - self.momentum)


def hyperparameters(learning_rate: ArrayLike, momentum: ArrayLike, weight_decay: ArrayLike = 0.0) -> Hyperparameters:
    η = _checks.positive("learning_rate", _checks.float64("learning_rate", learning_rate))
    β = _checks.momentum("momentum", _checks.float64("momentum", momentum))
    λ = _checks.not_negative("weight_decay", _checks.float64("weight_decay", weight_decay))
    return Hyperparameters(η, β, λ)


def single(setting: Hyperparameters) -> Hyperparameters:
    """`setting`, where each is a number: matrices belong to one setting."""
    for name, value in zip(setting._fields, setting, strict=True):
        _checks.shaped(name, value, (), remedy="Use jax.vmap for several.")
    return setting


def form(value: str, known: tuple[str, ...]) -> str:
    """`value`, where it is one of the `known`."""
    if value not in known:
        raise ValueError(f"form = {value!r}, but it must be one of {', '.join(map(repr, known))}.")
    return value


def curvature(value: ArrayLike, name: str = "curvature") -> Array:
    """h ≥ 0, of any shape."""
    return _checks.not_negative(name, _checks.float64(name, value), remedy=SADDLE)


def variance(value: ArrayLike, name: str = "noise_variance") -> Array:
    """A variance ≥ 0, of any shape."""
    return _checks.not_negative(name, _checks.float64(name, value))


def whole(steps: ArrayLike, least: int = 0) -> Array:
    """Whole numbers of steps, as integers of 64 bits; whole floats are taken as what they mean."""
    k = _checks.not_negative("steps", jnp.asarray(steps), remedy="Only the later law is determined.")
    k = _checks.require("steps", k, k == jnp.floor(k), allowed="whole numbers",
                        remedy="Only the forms in continuous time know parts of a step.")  # fmt: skip
    return _checks.require("steps", k.astype(jnp.int64), k >= least, allowed=f"≥ {least}")


def modes(curvature_: ArrayLike, noise_variance: ArrayLike) -> tuple[Array, Array]:
    """h [modes] and C_ii [modes], of one shape; numbers stand for one mode, or for all alike."""
    h, C = curvature(curvature_), variance(noise_variance)
    if max(h.ndim, C.ndim) > 1 or (h.ndim == C.ndim and h.shape != C.shape):
        raise ValueError(
            f"curvature and noise_variance have shapes {h.shape} and {C.shape}, but each must be a number or have one "
            "entry for each mode, [modes]. Of a noise covariance C give the diagonal of VᵀCV, with the Hessian's "
            "eigenvectors V."
        )
    h, C = broadcast(h, C)
    return h.reshape(-1), C.reshape(-1)


def broadcast(*arrays: Array) -> list[Array]:
    """All of one shape, under NumPy's rules (which the session may have switched off)."""
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in arrays))
    return [jnp.broadcast_to(x, shape) for x in arrays]


def stable(learning_rate: Array, momentum: Array, total_curvature: Array) -> Array:
    """`learning_rate`, where η × (curvature + weight decay) < 2 (1 + β): all of one shape."""
    ok = learning_rate * total_curvature < 2 * (1 + momentum)
    allowed = "below 2 (1 + momentum) / (curvature + weight_decay)"
    if _checks.is_concrete(ok) and not bool(jnp.all(ok)):
        largest = jnp.min(jnp.where(ok, jnp.inf, 2 * (1 + momentum) / total_curvature))
        allowed = f"{allowed} = {_checks.shown(largest)}"
    return _checks.require(
        "learning_rate", learning_rate, ok,
        allowed=allowed,
        remedy="Beyond it the iteration grows without limit: reduce it.",
    )  # fmt: skip


def hessian_and_noise(hessian: ArrayLike, noise_covariance: ArrayLike) -> tuple[Array, Array]:
    """H symmetric, of any signs, and C a covariance of the same shape; both symmetric to the last digit."""
    H = _checks.symmetric("hessian", _checks.float64("hessian", hessian))
    C = _checks.covariance("noise_covariance", _checks.float64("noise_covariance", noise_covariance), like=H)
    return H, (C + C.T) / 2


def restoring(hessian: Array, weight_decay: Array) -> Array:
    """K = H + λ."""
    return hessian + weight_decay * jnp.eye(len(hessian))


NULL = 1e-10  # of the largest curvature, or variance: what projections leave of 0 by rounding


def not_repelling(total_hessian: Array) -> Array:
    """K = H + λ, where it has no negative eigenvalue."""
    values = jnp.linalg.eigvalsh(jax.lax.stop_gradient(total_hessian))
    return _checks.require(
        "hessian", total_hessian, values >= -NULL * jnp.max(jnp.abs(values)),
        allowed="free of negative curvature (weight decay added)", remedy=SADDLE,
    )  # fmt: skip


def attracting(hessian: Array, noise_covariance: Array, setting: Hyperparameters) -> Array:
    """K = H + λ, where it has no negative eigenvalue and no noise reaches its null space."""
    K = not_repelling(restoring(hessian, setting.weight_decay))
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(K))
    most = jnp.max(jnp.abs(values))
    C = jax.lax.stop_gradient(noise_covariance)
    reaching = jnp.where(values > NULL * most, 0, jnp.sum(vectors * (C @ vectors), axis=0))
    return _checks.provided(
        K, "noise_covariance", noise_covariance, reaching <= NULL * jnp.max(jnp.abs(C)),
        allowed="0 in directions without curvature",
        remedy="There the variance grows without limit: leave them out, or add weight decay.",
    )  # fmt: skip
