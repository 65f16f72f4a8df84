"""The underdamped equation with constant noise in the form that diffrax's own solvers of it take:

    dx = y dt,      dy = −γ y dt − u f(x) dt + √(2 γ u) dW,      θ = S x,   v = S y,   S = √(η/(2 (1 − β))) C^{1/2}

with γ = c₀ (1 − β), u = c₀, f(x) = S⁻¹ [∇L(S x) + λ S x], W of as many components as θ. C must be the same at every
θ and invertible. Errors of the paths are of order dt² (`ALIGN`) or dt³ (`ShOULD`, `QUICSORT`), of Euler's of order dt.
f need not be a gradient: the solvers (`ALIGN`, `ShOULD`, `QUICSORT`; Foster, Lyons and
Oberhauser, 2021) only use that noise enters through the velocity.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from sgdynamics import _checks
from sgdynamics._linalg import symmetric_root
from sgdynamics._types import Matrix, Scalar, Vector
from sgdynamics.dynamics._underdamped import Phase, UnderdampedLangevin
from sgdynamics.noise import AbstractNoise, Constant, Frozen, Isotropic, Sum

LANGEVIN_SOLVERS = (diffrax.ALIGN, diffrax.ShOULD, diffrax.QUICSORT)
INSTEAD = 'Use another solver, such as diffrax.Euler(), or simulate() with scheme="splitting".'
LEAST = 1e-10  # of C's eigenvalues, as a part of the largest, for C to count as invertible; in 32 bits more


class StandardForm(eqx.Module):
    """The change of variables S, its inverse, and the process in the new ones."""

    process: UnderdampedLangevin
    S: Matrix
    inverse: Matrix

    def __init__(self, process: UnderdampedLangevin, θ: Vector):
        for name in ("learning_rate", "momentum", "weight_decay"):
            if callable(getattr(process, name)):
                raise ValueError(f"{name} is a schedule, but this solver needs constant coefficients. {INSTEAD}")
        self.process = process
        η, β, _, _ = self.coefficients(θ.dtype)
        self.S = jnp.sqrt(η / (2 * (1 - β))) * symmetric_root(_covariance(process.noise, θ))
        self.inverse = jnp.linalg.inv(self.S)

    def __call__(self, x: Vector, args: Any = None) -> Vector:
        """f(x)."""
        θ = self.S @ x
        _, _, λ, _ = self.coefficients(θ.dtype)
        return self.inverse @ (self.process.problem.gradient(θ) + λ * θ)

    def coefficients(self, dtype) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """η, β, λ and c₀, the same in every step."""
        return self.process.coefficients(jnp.zeros((), jnp.int32), dtype)

    def terms(self, path: diffrax.AbstractBrownianPath) -> diffrax.MultiTerm:
        _, β, _, c0 = self.coefficients(self.S.dtype)
        drift = diffrax.UnderdampedLangevinDriftTerm(c0 * (1 - β), c0, self)
        return diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(c0 * (1 - β), c0, path))

    def enter(self, phase: Phase) -> Phase:
        """(x, y) of (θ, v)."""
        return self.inverse @ phase[0], self.inverse @ phase[1]

    def leave(self, phase: Phase) -> Phase:
        """(θ, v) of (x, y)."""
        return self.S @ phase[0], self.S @ phase[1]

    def saving(self, saveat: diffrax.SaveAt) -> diffrax.SaveAt:
        """`saveat`, whose functions see (θ, v)."""
        is_one = lambda x: isinstance(x, diffrax.SubSaveAt)
        one = lambda sub: eqx.tree_at(lambda s: s.fn, sub, SavedPhase(sub.fn, self.S))
        return eqx.tree_at(lambda s: s.subs, saveat, jax.tree.map(one, saveat.subs, is_leaf=is_one))

    def leaving(self, solution: diffrax.Solution) -> diffrax.Solution:
        """`solution`, whose dense output is of (θ, v); what it saved is already."""
        if solution.interpolation is None:
            return solution
        dense = DensePhase(solution.interpolation, self)
        return eqx.tree_at(lambda s: s.interpolation, solution, dense)


class DensePhase(diffrax.AbstractPath):
    """Dense output of (x, y), as (θ, v)."""

    inner: diffrax.AbstractPath
    form: StandardForm

    @property
    def t0(self):
        return self.inner.t0

    @property
    def t1(self):
        return self.inner.t1

    def evaluate(self, t0, t1=None, left=True):
        return self.form.leave(self.inner.evaluate(t0, t1, left))

    def derivative(self, t, left=True):
        return self.form.leave(self.inner.derivative(t, left))


class SavedPhase(eqx.Module):
    """What is saved of (x, y): `fn` of (θ, v)."""

    fn: Callable
    S: Matrix

    def __call__(self, t: Scalar, phase: Phase, args: Any) -> Any:
        return self.fn(t, (self.S @ phase[0], self.S @ phase[1]), args)


def _covariance(noise: AbstractNoise, θ: Vector) -> Matrix:
    """The covariance of a constant noise, where it is invertible."""
    if not _is_constant(noise):
        raise ValueError(
            f"noise is a {type(noise).__name__}, which may depend on θ, but this solver needs one that does not: "
            f"noise.frozen, noise.Constant, noise.Isotropic, or a Sum of them. {INSTEAD}"
        )
    C = noise.covariance(θ)
    eigenvalues = jnp.linalg.eigvalsh(jax.lax.stop_gradient(C))
    least = max(LEAST, 20 * len(C) * float(jnp.finfo(C.dtype).eps))
    return _checks.provided(
        C, "smallest eigenvalue of the noise covariance", eigenvalues[0], eigenvalues[0] > least * eigenvalues[-1],
        allowed=f"> {least:.1g} × the largest, or this solver's change of variables does not exist", remedy=INSTEAD,
    )  # fmt: skip


def _is_constant(noise: AbstractNoise) -> bool:
    if isinstance(noise, Sum):
        return all(_is_constant(part) for part in noise.noises)
    return isinstance(noise, Constant | Frozen | Isotropic)
