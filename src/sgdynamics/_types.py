"""Array aliases and the axis names used in annotations.

Axis names: samples, inputs, outputs, parameters, modes, replicas, groups, steps, lags.
`Real*` aliases accept JAX arrays, NumPy arrays and Python scalars (what a user passes in);
the plain ones are JAX arrays (what the library passes on and returns).
"""

from collections.abc import Callable

from jaxtyping import Array, Bool, Float, Int, Key, Real
from jaxtyping import ArrayLike as ArrayLike

Scalar = Float[Array, ""]
Vector = Float[Array, " parameters"]
Matrix = Float[Array, "parameters parameters"]
Step = Int[Array, ""]
PRNGKey = Key[Array, ""]
RealScalar = Real[ArrayLike, ""]
Schedule = Callable[[Step], Scalar]
Mask = Bool[Array, " replicas"]
