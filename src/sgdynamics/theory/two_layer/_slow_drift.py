"""Where noise carries two linear layers along their minima: the slow drop of Gross et al. (2024), Sec. III C 2.

With m the mean of θ = (first, second) over runs and Σ its covariance, the moments to second order in the noise are

    m ← m − η ∇[L + ½ tr(∇²L Σ)](m),      Σ ← (1 − η ∇²L) Σ (1 − η ∇²L) + η² C,      ∇²L and C at m.

L is of fourth order in θ, so that E ∇L = ∇[L + ½ tr(∇²L Σ)] exactly where third moments are 0, as in a normal law;
what is left out is these (a third cumulant of size η³ a step, −η ∇⁴L/6 times it), what Σ does to the slope ∇²L and the
noise C that it feels, η Σ² and η² Σ. From weights without spread one step is exact, m and Σ alike, and

    E 𝓑 = 𝓑(m) + [Σ in its place],      𝓑 = W₂ᵀ W₂ − W₁ W₁ᵀ,      E W₁W₁ᵀ = M₁M₁ᵀ + Σ_i Cov((W₁)_·i, (W₁)_·i),

then grows by η `balance_drift`. The paper sees the drop of |W₂|², "reserved for a future study": noise makes the minima
slope towards the flat, and the mean slides down that slope, −η ∇½ tr(∇²L Σ), at a speed of second order in η.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from sgdynamics import _checks
from sgdynamics._types import Matrix, RealScalar, Scalar, Vector
from sgdynamics.theory.regression import sampling_factor
from sgdynamics.theory.two_layer._arguments import Data, First, Second, data, layers, positive
from sgdynamics.theory.two_layer._bases import Frame, identity_frame
from sgdynamics.theory.two_layer._noise import frame_gradient, frame_hessian, frame_noise


class SlowDrift(NamedTuple):
    """Moments of the weights at the start and after each record.

    `first`, `second`: the mean layers; `covariance`: Σ over θ = (first, second), row by row.
    """

    first: Float[Array, "records hidden inputs"]
    second: Float[Array, "records outputs hidden"]
    covariance: Float[Array, "records parameters parameters"]

    @property
    def first_square(self) -> Float[Array, "records hidden hidden"]:
        """E W₁ W₁ᵀ."""
        records, hidden, inputs = self.first.shape
        Σ = self.covariance[:, : hidden * inputs, : hidden * inputs]
        spread = jnp.einsum("tiaja->tij", Σ.reshape(records, hidden, inputs, hidden, inputs))
        return jnp.einsum("tia,tja->tij", self.first, self.first) + spread

    @property
    def second_square(self) -> Float[Array, "records hidden hidden"]:
        """E W₂ᵀ W₂."""
        records, outputs, hidden = self.second.shape
        Σ = self.covariance[:, -outputs * hidden :, -outputs * hidden :]
        spread = jnp.einsum("taiaj->tij", Σ.reshape(records, outputs, hidden, outputs, hidden))
        return jnp.einsum("tai,taj->tij", self.second, self.second) + spread

    @property
    def balance(self) -> Float[Array, "records hidden hidden"]:
        """E 𝓑."""
        return self.second_square - self.first_square


def slow_drift(
    first: Real[ArrayLike, "hidden inputs"],
    second: Real[ArrayLike, "outputs hidden"],
    x: Real[ArrayLike, "samples inputs"],
    y: Real[ArrayLike, "samples *outputs"],
    *,
    learning_rate: RealScalar,
    batch_size: RealScalar,
    steps: int,
    records: int = 1,
    replacement: bool = True,
) -> SlowDrift:
    """Mean and covariance of SGD's weights from (first, second), all runs alike at the start, to second order in noise.

    - `steps`: between two records; `records`: how many, beside the start. `records + 1` entries come back.

    Any weights, minimum or not, and any inputs. The reverse derivative keeps every step in memory.
    **Raises** `ValueError` for layers that do not chain, data that do not fit, impossible batches, and where the
    moments grow beyond all bounds.
    """
    W1, W2 = layers(first, second)
    samples = data(W1, W2, x, y)
    η, c = positive("learning_rate", learning_rate), sampling_factor(len(samples.x), batch_size, replacement)
    steps, records = _checks.count("steps", steps), _checks.count("records", records)
    drift = _moments(W1, W2, samples, η, c, steps=steps, records=records)
    bounded = jnp.all(jnp.isfinite(jax.lax.stop_gradient(drift.covariance[-1])))
    return _checks.provided(
        drift, "learning_rate", learning_rate, bounded, allowed="small enough for moments to stay finite"
    )


@partial(jax.jit, static_argnames=("steps", "records"))
def _moments(W1: First, W2: Second, samples: Data, η: Scalar, c: Scalar, *, steps: int, records: int) -> SlowDrift:
    at = partial(_network, samples, W1.shape, W2.shape)
    θ = jnp.concatenate([W1.reshape(-1), W2.reshape(-1)])
    step = partial(_step, at, η, c)

    def record(carry: tuple[Vector, Matrix], _: None):
        return jax.lax.scan(step, carry, None, length=steps)[0], carry

    end, kept = jax.lax.scan(record, (θ, jnp.zeros((len(θ), len(θ)))), None, length=records)
    m, Σ = (jnp.concatenate([a, b[None]]) for a, b in zip(kept, end, strict=True))
    return SlowDrift(m[:, : W1.size].reshape(-1, *W1.shape), m[:, W1.size :].reshape(-1, *W2.shape), Σ)


def _step(
    at: Callable[[Vector], tuple[Frame, Data]], η: Scalar, c: Scalar, moments: tuple[Vector, Matrix], _: None
) -> tuple[tuple[Vector, Matrix], None]:
    m, Σ = moments
    here = at(m)
    slope = jax.grad(lambda θ: jnp.sum(frame_hessian(*at(θ)) * Σ) / 2)(m)
    T = jnp.eye(len(m)) - η * frame_hessian(*here)
    return (m - η * (frame_gradient(*here) + slope), T @ Σ @ T.T + η**2 * c * frame_noise(*here, "exact")), None


def _network(samples: Data, one: tuple[int, int], two: tuple[int, int], θ: Vector) -> tuple[Frame, Data]:
    """The coordinates θ themselves, and the data with the residuals that these weights leave."""
    W1, W2 = θ[: one[0] * one[1]].reshape(one), θ[one[0] * one[1] :].reshape(two)
    residuals = samples.targets - (samples.x @ W1.T) @ W2.T
    return identity_frame(W1, W2), samples._replace(residuals=residuals)
