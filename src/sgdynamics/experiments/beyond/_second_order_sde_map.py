"""One mode of SGD with momentum, of its SDE (3), of Euler-Maruyama of (3), of the first-order SDE: how they differ.

Everything is counted in steps (η = 1), so that α = ηK and β are all there is; C = 1. With x = (1 − β)/(1 + β):

    SDE (3)         Var θ, Var v    SGD's times 1 − α/(2(1 + β))
                    C_v(1)          → e^{−2x} as α → 0, instead of β = e^{−2 artanh x}
                    decay           x once it oscillates, instead of −ln √β = artanh x; for small α right to O(α²)
                    frequency       √(2α/(1 + β) − x²), for β → 1 √α instead of 2 arcsin(√α/2)
                    critical α      (1 − β)²/(2(1 + β)), instead of (1 − √β)²
    Euler (3)       v' = {(3β − 1) v − 2(Kθ + ξ)}/(1 + β), θ' = θ + v at a time step of η: not SGD, which has β and 1
                    where it has (3β − 1)/(1 + β) and 2/(1 + β), and v' where it has v. Stable for α < 1 − β
                    (SGD: 2(1 + β)); Var θ = (2β + α)/{α(1 − β − α)(4β + α)}
    first order     dθ = −K/(1 − β) θ dt + …: the same Var θ as (3); decay α/(1 − β), less than SGD's by
                    α(1 + β)/(2(1 − β)²) + O(α²), relatively
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from sgdynamics.experiments._compiled import once
from sgdynamics.theory import momentum as theory
from sgdynamics.theory.harmonic import HarmonicDescent, HarmonicUnderdamped

Values = Float[np.ndarray, "*points"]
Points = Values | Sequence[float] | float


class Mode(NamedTuple):
    """What is compared, per step; C = 1 and η = 1."""

    variance: Values
    """Var θ."""
    speed: Values
    """Var v."""
    memory: Values
    """Correlation of v with itself a step later."""
    decay: Values
    """−ln of the slowest root's modulus."""
    frequency: Values
    """Its argument, rad."""
    step: Values
    """E(θ_{k+1} − θ_k)²."""
    persistence: Values
    """E(θ_{k+n} − θ_k)² after n = `persistence_steps`."""


def _laws(law: type) -> Callable[[ArrayLike, ArrayLike], Array]:
    """Covariances of (θ, v) at points (α, β), [points, 2, 2]."""

    def one(α: Array, β: Array) -> Array:
        return law(α[None], jnp.ones((1, 1)), learning_rate=1.0, momentum=β).phase_covariance()

    return once(eqx.filter_vmap(one))


_descents, _equations = _laws(HarmonicDescent), _laws(HarmonicUnderdamped)


def persistence_steps(momentum: Points) -> np.ndarray:
    """1/(1 − β), for which a velocity persists, in whole steps."""
    return np.asarray(np.rint(1 / (1 - np.asarray(momentum, float))), int)


def descent(stiffness: Points, momentum: Points) -> Mode:
    """SGD, exact in discrete time; nan where it is unstable, α ≥ 2(1 + β)."""
    α, β = np.asarray(stiffness, float), np.asarray(momentum, float)
    stable = α < 2 * (1 + β)
    at, setting = np.where(stable, α, 1.0), {"learning_rate": 1.0, "momentum": β}
    P = np.asarray(_descents(jnp.asarray(at), jnp.asarray(β)))
    F = [np.asarray(theory.propagator_after(n, at, **setting)) for n in (1, persistence_steps(β))]
    rates = (theory.decay_per_step(at, **setting), theory.oscillation_frequency_per_step(at, **setting))
    return Mode(*(np.where(stable, value, np.nan) for value in _mode(P, F, *rates)))


def equation(stiffness: Points, momentum: Points) -> Mode:
    """The SDE (3), sampled once a step; it has a law at every α."""
    α, β = np.asarray(stiffness, float), np.asarray(momentum, float)
    setting = {"learning_rate": 1.0, "momentum": β}
    P = np.asarray(_equations(jnp.asarray(α), jnp.asarray(β)))
    F = [np.asarray(theory.propagator(n, α, **setting)) for n in (1.0, persistence_steps(β))]
    return _mode(P, F, theory.decay_rate(α, **setting), theory.oscillation_frequency(α, **setting))


def _mode(P: np.ndarray, F: list[np.ndarray], decay: ArrayLike, frequency: ArrayLike) -> Mode:
    """From the covariance P of (θ, v): that at a lag is F P."""
    once_later, persistent = (f @ P for f in F)
    moved = lambda R: 2 * (P[:, 0, 0] - R[:, 0, 0])
    return Mode(
        P[:, 0, 0], P[:, 1, 1], once_later[:, 1, 1] / P[:, 1, 1], np.asarray(decay), np.asarray(frequency),
        moved(once_later), moved(persistent),
    )  # fmt: skip


def ratios(stiffness: Points, momentum: Points) -> dict[str, Values]:
    """SDE over SGD of all of `Mode`; nan where SGD is unstable, and for the frequency where neither turns (infinite
    where the SDE alone does)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = zip(equation(stiffness, momentum), descent(stiffness, momentum), strict=True)
        return {name: a / b for name, (a, b) in zip(Mode._fields, pairs, strict=True)}


def euler_transition(stiffness: float, momentum: float) -> Float[np.ndarray, "2 2"]:
    """F of (θ, v), of Euler-Maruyama of (3) at a time step of η."""
    α, β = stiffness, momentum
    return np.array([[1.0, 1.0], [-2 * α / (1 + β), (3 * β - 1) / (1 + β)]])


def euler_variance(stiffness: Points, momentum: Points) -> Values:
    """Its Var θ; nan where it is unstable, α ≥ 1 − β."""
    α, β = np.asarray(stiffness, float), np.asarray(momentum, float)
    left = np.where(α < 1 - β, 1 - β - α, np.nan)
    return np.asarray((2 * β + α) / (α * left * (4 * β + α)))


def first_order_decay(stiffness: Points, momentum: Points) -> Values:
    """Decay per step of the first-order SDE, whose learning rate is η/(1 − β)."""
    return np.asarray(np.asarray(stiffness, float) / (1 - np.asarray(momentum, float)))


MEASURED = ("variance", "speed", "memory", "decay", "frequency", "friction")


def from_lags(R: jax.Array) -> jax.Array:
    """`MEASURED`: Var θ, Var v, C_v(1), decay, argument and F_vv, of covariances of (θ, v) at lags 0 and 1, [2, 2, 2].

    F = R(1) R(0)⁻¹ holds for every linear process, and its slowest root is what decays last.
    """
    P, later = R[0], R[1]
    F = later @ jnp.linalg.inv(P)
    half, determinant = jnp.trace(F) / 2, jnp.linalg.det(F)
    square = half**2 - determinant
    height, turns = jnp.sqrt(jnp.abs(square)), square < 0
    modulus = jnp.where(turns, jnp.sqrt(jnp.abs(determinant)), jnp.abs(half) + height)
    angle = jnp.arctan2(jnp.where(turns, height, 0), half)
    return jnp.stack([P[0, 0], P[1, 1], later[1, 1] / P[1, 1], -jnp.log(modulus), angle, F[1, 1]])
