"""Brownian motion addressed by the integer step.

    W(t_{n+1}) − W(t_n) = √dt · z_n,        z_n ~ N(0, 1) from the key folded by n

on the grid t_n = n dt, n = 0, 1, 2 …, for steps of fixed size only. The ensemble's loop and diffrax draw the
same increments from the same key; any other interval is refused, because its increment would not be the sum of
the ones inside it. Adaptive steps need `diffrax.VirtualBrownianTree`.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sgdynamics._types import PRNGKey, Scalar, Step
from sgdynamics.noise import normals

AREAS = 1  # what a step's key is folded by for its Lévy areas


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
        return increment(self.key, _number(t0, t1, self.time_step), self.time_step, self.sources)


class StepLevyPath(diffrax.AbstractBrownianPath):
    """The path above with its space-time and space-time-time Lévy areas, drawn independently in every step:

        H = ∫ (W_s − s W_dt/dt) ds / dt ~ N(0, dt/12),      K = ∫ (W_s − s W_dt/dt) (dt/2 − s) ds / dt² ~ N(0, dt/720)

    (Foster, Lyons and Oberhauser, 2021). W is `increment`'s. Unlike `diffrax.VirtualBrownianTree` it has
    derivatives with respect to the time step.
    """

    time_step: Scalar
    sources: jax.ShapeDtypeStruct = eqx.field(static=True)
    key: PRNGKey
    levy_area = diffrax.SpaceTimeTimeLevyArea

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return jnp.inf

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        if t1 is None:
            raise ValueError("a StepLevyPath has no values, only increments. Use diffrax.VirtualBrownianTree.")
        step, dt = _number(t0, t1, self.time_step), self.time_step
        W = increment(self.key, step, dt, self.sources)
        if not use_levy:
            return W
        h, k = jax.random.normal(jax.random.fold_in(jax.random.fold_in(self.key, step), AREAS), (2, *W.shape), W.dtype)
        H, K = jnp.sqrt(dt / 12) * h, jnp.sqrt(dt / 720) * k
        return diffrax.SpaceTimeTimeLevyArea(dt=dt, W=W, H=H, K=K)


def _number(t0, t1, time_step: Scalar) -> Step:
    """The number of the step from t0 to t1."""
    step = jnp.round(t0 / time_step)
    # a time reached by adding up steps is off the grid by rounding only
    slack = 1e-3 * time_step
    off = (jnp.abs(t0 - step * time_step) > slack) | (jnp.abs(t1 - t0 - time_step) > slack)
    return eqx.error_if(
        step.astype(jnp.int32), off | (t0 < -slack),
        "A Brownian path keyed by the step was asked for an increment off its grid. Use diffrax.StepTo or "
        "ConstantStepSize with exactly this time step from t = 0, or diffrax.VirtualBrownianTree.",
    )  # fmt: skip
