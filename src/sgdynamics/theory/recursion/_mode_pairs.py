"""Stationary second moments under state-dependent minibatch noise: from d² unknowns to `samples`.

The equation for M (of θ, or of (θ, v): s = 1 or 2 components for each of d modes) is

    L(M) − (g gᵀ) ⊗ 𝒩(M_θθ) = B,      𝒩(M) = c [(1/P) Xᵀ diag(x_μᵀ M x_μ) X − H M H],    H = Xᵀ X / P,

where L does not mix pairs (i, j) of eigenmodes of H. Neither does H M H; only the P numbers
q_μ = x_μᵀ M_θθ x_μ couple them. For each pair let G_ij be the inverse, [s², s²], of L_ij + c h_i h_j (g⊗g) eᵀ
(e reads θθ) and R_ij = eᵀ G_ij (g⊗g) its response. Then

    (1 − A) q = q⁰,   A_μν = (c/P) Σ_ij x_μi x_νi R_ij x_μj x_νj,   q⁰_μ = Σ_ij x_μi (eᵀ G_ij B_ij) x_μj,
    M_ij = G_ij [B_ij + (g⊗g) (c/P) Σ_μ q_μ x_μi x_μj],

symmetric and in P unknowns; applying A costs O(P d²).

Stability. L⁻¹ and 𝒩 are positive maps (L = 1 − F⊗F with a stable F, or the Lyapunov map), so the moments
stay bounded iff the spectral radius of L⁻¹ (g gᵀ)⊗𝒩 is below 1. Its θθ part multiplies 𝒩 by the responses
R⁰_ij of L alone; these are positive [for two AR(2) modes (1−β²)/Π(1 − z_i z_j')], and 𝒩 is self-adjoint, so
this is 1/R⁰ − 𝒩 > 0 as a quadratic form, i.e. 1/R − (c/P) 𝒳ᵀ𝒳 > 0 with 𝒳 M = q: the largest eigenvalue of
A = (c/P) 𝒳 R 𝒳ᵀ is below 1. We call that eigenvalue the criticality.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

DENSE_SAMPLES, DENSE_WORK = 1000, 2e9  # beyond P or P² d², conjugate gradients instead of a dense system
TOLERANCE, ITERATIONS = 1e-13, 2000
KRYLOV = 60

Modes = Float[Array, "modes"]
Pairs = Float[Array, "modes modes"]
Samples = Float[Array, "samples"]


def eigenmodes(
    x: Float[Array, "samples inputs"],
) -> tuple[Modes, Float[Array, "inputs modes"], Bool[Array, "modes"]]:
    """(h, V, null): eigenvalues of H = xᵀx/P, ascending, its eigenvectors, and which eigenvalues are 0."""
    h, V = jnp.linalg.eigh(x.T @ x / len(x))
    null = h <= 4 * len(h) * jnp.finfo(h.dtype).eps * h[-1]
    return jnp.where(null, 0, h), V, null


class ModePairs(eqx.Module):
    """The equation in the eigenbasis of H. Only for values: derivatives go through the defining equation."""

    basis: Float[Array, "inputs modes"]
    x: Float[Array, "samples modes"]  # the examples in that basis
    weight: Float[Array, ""]  # c/P
    inverse: Float[Array, "modes modes p p"]  # G, p = s²
    inward: Float[Array, "p"]  # g⊗g: where the noise enters
    outward: Float[Array, "p"]  # e: where it is read

    def response(self) -> Pairs:
        """R_ij = eᵀ G_ij (g⊗g)."""
        return self.inverse @ self.inward @ self.outward

    def adjoint(self) -> "ModePairs":
        """The transposed equation: G transposed, noise and reading exchanged; A is the same."""
        return ModePairs(self.basis, self.x, self.weight, jnp.swapaxes(self.inverse, -1, -2), self.outward, self.inward)

    def coupling(self, q: Samples) -> Samples:
        """A q in O(P d²)."""
        return read(self.x, self.response() * self.spread(q))

    def spread(self, q: Samples) -> Pairs:
        """(c/P) Σ_μ q_μ x_μ x_μᵀ."""
        return self.weight * (self.x.T * q[None, :]) @ self.x

    def dense_coupling(self) -> Float[Array, "samples samples"]:
        """A in O(P² d²)."""
        R = self.response()

        def row(x: Modes) -> Samples:
            return read(self.x * x[None, :], R)

        return self.weight * jax.lax.map(row, self.x)

    def is_small(self) -> bool:
        samples, modes = self.x.shape
        return samples <= DENSE_SAMPLES and samples**2 * modes**2 <= DENSE_WORK

    def criticality(self) -> Float[Array, ""]:
        """The largest eigenvalue of A: the moments are bounded iff it is below 1 (and the mean is stable)."""
        if self.is_small():
            return jnp.linalg.eigvalsh(self.dense_coupling())[-1]
        return largest_eigenvalue(self.coupling, jnp.ones(len(self.x)))

    def solve(self, B: Float[Array, "sd sd"]) -> Float[Array, "sd sd"]:
        """M for a right-hand side B, both over (θ, …) with components outside, modes inside."""
        base = jnp.einsum("ijpq,ijq->ijp", self.inverse, self._to_pairs(B))
        q = self._solve_samples(read(self.x, base @ self.outward))
        return self._from_pairs(base + (self.inverse @ self.inward) * self.spread(q)[..., None])

    def _solve_samples(self, q0: Samples) -> Samples:
        if self.is_small():
            return jnp.linalg.solve(jnp.eye(len(q0)) - self.dense_coupling(), q0)
        cg = jax.scipy.sparse.linalg.cg
        return cg(lambda q: q - self.coupling(q), q0, tol=TOLERANCE, maxiter=ITERATIONS)[0]

    def _to_pairs(self, B: Float[Array, "sd sd"]) -> Float[Array, "modes modes p"]:
        d = len(self.basis)
        s = len(B) // d
        blocks = jnp.einsum("ki,akbl,lj->ijab", self.basis, B.reshape(s, d, s, d), self.basis)
        return blocks.reshape(d, d, s * s)

    def _from_pairs(self, pairs: Float[Array, "modes modes p"]) -> Float[Array, "sd sd"]:
        d = len(self.basis)
        s = round(pairs.shape[-1] ** 0.5)
        blocks = pairs.reshape(d, d, s, s)
        return jnp.einsum("ki,ijab,lj->akbl", self.basis, blocks, self.basis).reshape(s * d, s * d)


def read(x: Float[Array, "samples modes"], W: Pairs) -> Samples:
    """x_μᵀ W x_μ."""
    return jnp.sum((x @ W) * x, axis=1)


def discrete_pairs(x, *, learning_rate, sampling_factor, momentum, weight_decay) -> tuple[ModePairs, Array]:
    """(pairs, whether the mean is stable) of SGD over (θ, v), F = 1 + D, D_i = [[−ηk, ηβ], [−k, β−1]].

    L = 1 − F⊗F = −(D⊗1 + 1⊗D + D⊗D) is formed without cancellation.
    """
    η, β = learning_rate, momentum
    h, V, null = eigenmodes(x)
    k = h + weight_decay
    null = null & (k <= 0)
    one = jnp.ones_like(k)
    D = jnp.stack([jnp.stack([-η * k, η * β * one], -1), jnp.stack([-k, (β - 1) * one], -1)], -2)
    unit = jnp.broadcast_to(jnp.eye(2), D.shape)
    L = -(kron_pairs(D, unit) + kron_pairs(unit, D) + kron_pairs(D, D))
    inward = jnp.stack([η * η, η, η, jnp.ones_like(η)])
    outward = jnp.array([1.0, 0.0, 0.0, 0.0])
    pairs = _pairs(x, h, V, null, L, inward, outward, sampling_factor)
    return pairs, η * k[-1] < 2 * (1 + β)


def continuous_pairs(x, *, learning_rate, sampling_factor, weight_decay) -> tuple[ModePairs, Array]:
    """(pairs, True) of the SDE: L M = K M + M K, noise η 𝒩(M)."""
    h, V, null = eigenmodes(x)
    k = h + weight_decay
    L = (k[:, None] + k[None, :])[..., None, None]
    one = jnp.ones(1)
    pairs = _pairs(x, h, V, null & (k <= 0), L, learning_rate * one, one, sampling_factor)
    return pairs, jnp.array(True)


def underdamped_pairs(x, *, learning_rate, sampling_factor, momentum, weight_decay) -> tuple[ModePairs, Array]:
    """(pairs, True) of the SDE with momentum, over θ alone: see `_underdamped`."""
    η, β = learning_rate, momentum
    h, V, null = eigenmodes(x)
    k = h + weight_decay
    L = (1 - β) * (k[:, None] + k[None, :]) + η * (1 + β) / (4 * (1 - β)) * (h[:, None] - h[None, :]) ** 2
    one = jnp.ones(1)
    pairs = _pairs(x, h, V, null & (k <= 0), L[..., None, None], η * one, one, sampling_factor)
    return pairs, jnp.array(True)


def _pairs(x, h, V, null, L, inward, outward, sampling_factor) -> ModePairs:
    """Invert every pair; a pair of null modes neither moves nor is driven, and its G is 0."""
    read_and_enter = inward[:, None] * outward[None, :]
    hh = sampling_factor * h[:, None] * h[None, :]
    L = L + hh[..., None, None] * jnp.expand_dims(read_and_enter, (0, 1))
    frozen = (null[:, None] & null[None, :])[..., None, None]
    unit = jnp.broadcast_to(jnp.eye(L.shape[-1]), L.shape)
    inverse = jnp.where(frozen, 0, jnp.linalg.inv(jnp.where(frozen, unit, L)))
    return ModePairs(V, x @ V, sampling_factor / len(x), inverse, inward, outward)


def kron_pairs(F: Float[Array, "modes s s"], E: Float[Array, "modes s s"]) -> Float[Array, "modes modes p p"]:
    """F_i ⊗ E_j for all pairs: (F M Eᵀ)_ab = Σ F_ac E_bd M_cd."""
    d, s, _ = F.shape
    return jnp.einsum("iac,jbd->ijabcd", F, E).reshape(d, d, s * s, s * s)


def largest_eigenvalue(apply: Callable[[Array], Array], start: Array) -> Float[Array, ""]:
    """The largest eigenvalue of a symmetric positive map, by Lanczos with full reorthogonalisation.

    The maps here have a positive leading eigenvector, which a positive `start` is sure to contain.
    """
    steps = min(KRYLOV, start.size)

    def normalised(v: Array) -> tuple[Array, Array]:
        norm = jnp.linalg.norm(v)
        return norm, jnp.where(norm > 0, v / jnp.where(norm > 0, norm, 1), 0)

    def advance(carry, i):
        basis, v, scale = carry
        basis = basis.at[i].set(v)
        w = apply(v.reshape(start.shape)).reshape(-1)
        diagonal = v @ w
        scale = jnp.maximum(scale, jnp.linalg.norm(w))
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            w = w - basis.T @ (basis @ w)
        # what is left after the space is exhausted is rounding, and must not be blown up to a vector
        off, w = normalised(jnp.where(jnp.linalg.norm(w) > 1e-12 * scale, w, 0))
        return (basis, w, scale), (diagonal, off)

    first = (*normalised(start.reshape(-1))[1:], jnp.zeros(()))
    empty = jnp.zeros((steps, start.size))
    diagonal, off = jax.lax.scan(advance, (empty, *first), jnp.arange(steps))[1]
    tridiagonal = jnp.diag(diagonal) + jnp.diag(off[:-1], 1) + jnp.diag(off[:-1], -1)
    return jnp.linalg.eigvalsh(tridiagonal)[-1]
