"""The singular bases of the two layers: Gross et al. (2024), (3.23)-(3.24).

    W₂ = U S₂ Vᵀ,    W₁ = A S₁ Bᵀ,    D₂ = S₂²  [outputs, or hidden if there are fewer],    D₁ = S₁²  [hidden],
    z₁ = Vᵀ δW₁  [min(outputs, hidden), inputs],        z₂ = Uᵀ δW₂ A  [outputs, hidden],

U and A square, V and B thin. The paper's z₂ has no Uᵀ, which for one output is a sign; for several it makes the
variances of z₂ those of the singular bases. Every force and every noise near the minimum passes through

    Uᵀ δw = S₂ z₁ + z₂ S₁ Bᵀ,                                                     δw = W₂ δW₁ + δW₂ W₁,

so that nothing else moves to linear order: (1 − V Vᵀ) δW₁ is frozen, and so are the columns of z₂ beyond the rank of
W₁. Parameters are flattened layer by layer, row by row, and so are z = (z₁, z₂).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics.theory.two_layer._arguments import First, Second, layers


class Frame(NamedTuple):
    """Orthonormal columns in which fluctuations are counted: δW₁ = V z₁, δW₂ = U z₂ Aᵀ, and the layers there.

    - `before`: Aᵀ W₁ [hidden, inputs]; `after`: Uᵀ W₂ V [outputs, min(outputs, hidden)].
    """

    U: Float[Array, "outputs outputs"]
    V: Float[Array, "hidden kept"]
    A: Float[Array, "hidden hidden"]
    before: Float[Array, "hidden inputs"]
    after: Float[Array, "outputs kept"]


class Singular(NamedTuple):
    """The frame of the singular bases; `first` S₁ and `second` S₂, as many as there are; `B` [inputs, modes]."""

    frame: Frame
    first: Float[Array, " modes"]
    second: Float[Array, " kept"]
    B: Float[Array, "inputs modes"]


def directions(
    first: Real[ArrayLike, "hidden inputs"], second: Real[ArrayLike, "outputs hidden"]
) -> Float[Array, "parameters reduced"]:
    """Orthonormal columns of θ whose coordinates are z = (z₁, z₂), flattened row by row: z = directionsᵀ δθ.

    There are min(outputs, hidden)·inputs + outputs·hidden of them; near a minimum of full rank nothing fluctuates
    outside them. The last outputs·hidden belong to the second layer alone, the others to the first alone.
    Singular vectors are fixed up to a sign, and where singular values are equal one choice of many: derivatives exist
    where they differ and where hidden ≤ inputs and outputs ≤ hidden.
    """
    return _columns(singular_bases(*layers(first, second)).frame)


@jax.jit
def _columns(frame: Frame) -> Float[Array, "parameters reduced"]:
    inputs = frame.before.shape[1]
    one = jnp.kron(frame.V, jnp.eye(inputs))
    two = jnp.kron(frame.U, frame.A)
    return jnp.concatenate(
        [
            jnp.concatenate([one, jnp.zeros((one.shape[0], two.shape[1]))], axis=1),
            jnp.concatenate([jnp.zeros((two.shape[0], one.shape[1])), two], axis=1),
        ]
    )


@jax.jit
def singular_bases(W1: First, W2: Second) -> Singular:
    """The singular value decompositions of both layers, with U and A completed to square matrices."""
    U, S2, Vt = jnp.linalg.svd(W2, full_matrices=W2.shape[0] > W2.shape[1])
    A, S1, Bt = jnp.linalg.svd(W1, full_matrices=W1.shape[0] > W1.shape[1])
    before = padded(S1, A.shape[0])[:, None] * _rows(Bt, A.shape[0])
    after = jnp.eye(U.shape[0], len(S2)) * S2[None, :]
    return Singular(Frame(U, Vt.T, A, before, after), S1, S2, Bt[: len(S1)].T)


def singular_values(
    first: Real[ArrayLike, "hidden inputs"], second: Real[ArrayLike, "outputs hidden"]
) -> tuple[Float[Array, " modes"], Float[Array, " kept"]]:
    """(S₁, S₂), [min(hidden, inputs)] and [min(outputs, hidden)], descending: D₁ = S₁², D₂ = S₂²."""
    W1, W2 = layers(first, second)
    S1, S2 = (jnp.linalg.svd(W, full_matrices=False, compute_uv=False) for W in (W1, W2))
    return S1, S2


def identity_frame(W1: First, W2: Second) -> Frame:
    """All parameters as they are: z = θ."""
    outputs, hidden = W2.shape
    return Frame(jnp.eye(outputs), jnp.eye(hidden), jnp.eye(hidden), W1, W2)


@jax.jit
def jacobian(frame: Frame) -> Float[Array, "entries reduced"]:
    """∂(Uᵀ w)/∂z, [outputs·inputs, reduced], all flattened row by row."""
    inputs = frame.before.shape[1]
    one = jnp.kron(frame.after, jnp.eye(inputs))
    two = jnp.kron(jnp.eye(frame.U.shape[0]), frame.before.T)
    return jnp.concatenate([one, two], axis=1)


def padded(values: Float[Array, " modes"], size: int) -> Float[Array, " size"]:
    """`values` with zeros up to `size`: directions that the layer has no singular value for."""
    return jnp.concatenate([values, jnp.zeros(size - len(values))])


def _rows(matrix: Array, size: int) -> Array:
    """`matrix` with rows of zeros up to `size`."""
    return jnp.concatenate([matrix, jnp.zeros((size - matrix.shape[0], matrix.shape[1]))])
