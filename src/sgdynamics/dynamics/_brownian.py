"""Brownian motion addressed by the integer step.

    W(t_{n+1}) − W(t_n) = √dt · z_n,        z_n ~ N(0, 1) from the key folded by n

on the grid t_n = n dt, n = 0, 1, 2 …, for steps of fixed size only. The ensemble's loop and diffrax draw the
same increments from the same key; any other interval is refused, because its increment would not be the sum of
the ones inside it. Adaptive steps and Lévy areas need `diffrax.VirtualBrownianTree`.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sgdynamics._types import PRNGKey, Scalar, Step
from sgdynamics.noise import normals


def increment(key: PRNGKey, step: Step, time_step: Scalar, sources: PyTree[jax.ShapeDtypeStruct]) -> PyTree:
    """W(t_{n+1}) − W(t_n) for n = `step`, of the given shapes."""
    z = normals(jax.random.fold_in(key, step), sources, time_step.dtype)
    return jax.tree.map(lambda leaf: jnp.sqrt(time_step) * leaf, z)


class StepBrownianPath(diffrax.AbstractBrownianPath):
    """The path above, for `diffrax` with steps of exactly `time_step` from t = 0."""

    time_step: Scalar
    sources: PyTree[jax.ShapeDtypeStruct] = eqx.field(static=True)
    key: PRNGKey
    levy_area = diffrax.BrownianIncrement

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return jnp.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        if t1 is None or use_levy:
            raise ValueError(
                "a StepBrownianPath has increments over its own steps only: no values, no Lévy areas. "
                "Use diffrax.VirtualBrownianTree."
            )
        step = jnp.round(t0 / self.time_step)
        # a time reached by adding up steps is off the grid by rounding only
        slack = 1e-3 * self.time_step
        off = (jnp.abs(t0 - step * self.time_step) > slack) | (jnp.abs(t1 - t0 - self.time_step) > slack)
        step = eqx.error_if(
            step.astype(jnp.int32), off | (t0 < -slack),
            "StepBrownianPath was asked for an increment off its grid. Use diffrax.StepTo or ConstantStepSize with "
            "exactly this time step from t = 0, or diffrax.VirtualBrownianTree.",
        )  # fmt: skip
        return increment(self.key, step, self.time_step, self.sources)
