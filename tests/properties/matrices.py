"""Strategies for the matrices of the theory: few sizes, for which little is compiled, and many values."""

import numpy as np
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SIZE = 3
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # an example that fails is not explained, which takes minutes

factors = st.floats(0.25, 4.0, allow_subnormal=False)
"""Positive numbers that something is scaled by."""
curvatures = st.floats(0.1, 2.0, allow_subnormal=False)
learning_rates = st.floats(0.01, 0.4, allow_subnormal=False)
"""Below 2/curvature at every curvature of these strategies, with any momentum."""
momenta = st.floats(0.0, 0.9, allow_subnormal=False)
entries = st.floats(-2.0, 2.0, allow_subnormal=False)


def squares(size: int = SIZE):
    return arrays(float, (size, size), elements=entries)


def rotations(size: int = SIZE):
    """Orthogonal matrices: Q of the QR decomposition, of a matrix that is moved away from singular ones."""
    return squares(size).map(lambda A: np.linalg.qr(A + 5 * np.eye(size))[0])


@st.composite
def hessians(draw, size: int = SIZE, least: float = 0.1):
    """Symmetric, with eigenvalues from `least` to 2."""
    values = draw(arrays(float, size, elements=st.floats(least, 2.0, allow_subnormal=False)))
    O = draw(rotations(size))
    H = (O * values) @ O.T
    return (H + H.T) / 2


@st.composite
def covariances(draw, size: int = SIZE, ranks: tuple[int, ...] | None = None):
    """Symmetric and positive semi-definite, of any rank above 0; sizes of order one."""
    rank = draw(st.sampled_from(ranks or tuple(range(1, size + 1))))
    root = draw(arrays(float, (size, rank), elements=entries)) + np.eye(size, rank)
    C = root @ root.T
    return (C + C.T) / 2


@st.composite
def drifts(draw, size: int = SIZE):
    """Not symmetric, eigenvalues with positive real parts: a symmetric positive part and any antisymmetric one."""
    A = draw(squares(size))
    return draw(hessians(size)) + (A - A.T) / 2


def is_covariance(M, slack: float = 1e-10) -> bool:
    """Whether M is symmetric with no negative eigenvalue, to `slack` of its largest entry."""
    M = np.asarray(M)
    size = np.abs(M).max(initial=0.0)
    return bool(np.all(np.abs(M - M.T) <= slack * size) and np.linalg.eigvalsh((M + M.T) / 2)[0] >= -slack * size)


def near(a, b, slack: float = 1e-8) -> bool:
    """Whether two arrays agree, to `slack` of the largest entry of either."""
    a, b = np.asarray(a), np.asarray(b)
    size = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= slack * size))
