"""SGD with momentum and shuffled epochs in a quadratic loss, in the eigenbasis of the Hessian:

    u_k = β u_{k−1} − η (h δ_{k−1} + ξ_k),      δ_k = δ_{k−1} + u_k,

with ξ the noise of `_autocovariance`, of covariance C between the modes. Its second moments are `_moments` (averaged
over the position in the epoch) and `_positions` (at each), mixed with those of white noise where examples are left out.
Across time, averaged over the position, the state x = (δ, u) of a mode, its transition T, kick b = −η (1, 1) and
r_n = Tⁿ b give

    R_h = E[x_{k+h} x_kᵀ],   R_{h+1} = T R_h + b E[ξ_{k+h+1} x_kᵀ],
    E[ξ_{k+m} x_kᵀ] = −ϱ C Σ_{n=0}^{M−m−1} (M − m − n)/M r_nᵀ  for 1 ≤ m < M, 0 beyond.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from sgdynamics import _checks
from sgdynamics._types import RealScalar, Scalar
from sgdynamics.theory import _arguments
from sgdynamics.theory.epochs import _autocovariance, _moments, _positions
from sgdynamics.theory.epochs._moments import Moments, Pair
from sgdynamics.theory.epochs._response import means
from sgdynamics.theory.harmonic import HarmonicDescent
from sgdynamics.theory.harmonic._modes import covariance, joined, mode_noise, stiffness


class HarmonicEpochs(eqx.Module):
    """u ← β u − η (h δ + ξ), δ ← δ + u with the noise of shuffled epochs, in mode coordinates.

    - `curvature`: h ≥ 0, [modes]: eigenvalues of the Hessian of the loss plus weight decay.
    - `noise`: C, [modes, modes]: covariance of the minibatch gradient in the basis of its eigenvectors.
    - `learning_rate`: η > 0, []; `momentum`: β in [0, 1), [].
    - `batches_per_epoch`: M; `left_out`: κ in [0, 1], [], see `left_out`.

    The law depends on the position in the epoch: methods give its average unless they say so. Phase space is (δ, u),
    all of δ first, u_k = δ_k − δ_{k−1}. Modes of curvature 0 may have noise where κ = 0. All methods are differentiable
    with respect to all arrays.

    **Raises** `ValueError` for negative curvature, a `noise` that is no covariance, a learning rate of
    2 (1 + β)/max h or more, fewer than one batch, and with κ > 0 for noise where the curvature is 0.
    """

    curvature: Float[Array, " modes"]
    noise: Float[Array, "modes modes"]
    learning_rate: Scalar
    momentum: Scalar
    left_out: Scalar
    batches_per_epoch: int = eqx.field(static=True)

    def __init__(
        self,
        curvature: Real[ArrayLike, " modes"],
        noise: Real[ArrayLike, "modes modes"],
        *,
        learning_rate: RealScalar,
        momentum: RealScalar = 0.0,
        batches_per_epoch: int,
        left_out: RealScalar = 0.0,
    ):
        h = stiffness("curvature", curvature)
        η, β, _ = _arguments.single(_arguments.hyperparameters(learning_rate, momentum))
        self.curvature, self.momentum = h, β
        self.learning_rate = _arguments.stable(η, β, jnp.max(h))
        self.batches_per_epoch = _checks.count("batches_per_epoch", batches_per_epoch)
        self.left_out = _checks.shaped("left_out", _autocovariance.share(left_out), ())
        C = _checks.shaped("noise", _checks.float64("noise", noise), 2 * h.shape)
        # what does not cancel over an epoch must have a restoring force, as white noise must
        self.noise = covariance("noise", C) if _is_zero(left_out) else mode_noise(C, "curvature", h)

    def stationary_covariance(self) -> Float[Array, "modes modes"]:
        """M of δ, averaged over the position in the epoch, [modes, modes]."""
        return self._scaled(_mean(*self._pair, self.left_out, self.batches_per_epoch)).weights

    def velocity_covariance(self) -> Float[Array, "modes modes"]:
        """E[u uᵀ], averaged over the position in the epoch, [modes, modes]."""
        return self._scaled(_mean(*self._pair, self.left_out, self.batches_per_epoch)).velocities

    def phase_covariance(self) -> Float[Array, "phase phase"]:
        """The covariance of (δ, u), averaged over the position in the epoch, [2 modes, 2 modes]."""
        return _joined(self._scaled(_mean(*self._pair, self.left_out, self.batches_per_epoch)))

    def position_covariances(self) -> Float[Array, "positions phase phase"]:
        """The covariance of (δ, u) after l = 0 … M−1 batches of the epoch, [positions, 2 modes, 2 modes]."""
        each = _each(*self._pair, self.left_out, self.batches_per_epoch)
        return jax.vmap(lambda moments: _joined(self._scaled(moments)))(each)

    def start_covariance(self) -> Float[Array, "phase phase"]:
        """The covariance of (δ, u) between two epochs, [2 modes, 2 modes]."""
        return _joined(self._scaled(_start(*self._pair, self.left_out, self.batches_per_epoch)))

    def autocovariance(self, lag: Int[ArrayLike, "*lags"]) -> Float[Array, "*lags modes modes"]:
        """E[δ_{k+lag} δ_kᵀ] averaged over the position of k, for whole lags (negative: transposes); lags concrete."""
        lags = _lags(lag)
        found = _lagged(self, tuple(int(h) for h in np.abs(lags).ravel())).reshape(*lags.shape, *self.noise.shape)
        return jnp.where(jnp.asarray(lags)[..., None, None] < 0, jnp.swapaxes(found, -1, -2), found)

    def circulation(self) -> Float[Array, "modes modes"]:
        """−(R₁ − R₁ᵀ)/(2 learning_rate), R₁ the autocovariance after one step: antisymmetric, per unit of t."""
        R = self.autocovariance(1)
        return (R.T - R) / (2 * self.learning_rate)

    def decay(self) -> Float[Array, " modes"]:
        """−log of the modulus of each mode's larger root, per step; 0 where the curvature is 0."""
        return self._noiseless.decay()

    def slowest_rate(self) -> Scalar:
        """The smallest decay among modes of curvature > 0, per unit of t; infinite where there is none."""
        return self._noiseless.slowest_rate()

    @property
    def _noiseless(self) -> HarmonicDescent:
        nothing = jnp.zeros_like(self.noise)
        return HarmonicDescent(self.curvature, nothing, learning_rate=self.learning_rate, momentum=self.momentum)

    @property
    def _pair(self) -> Pair:
        α = self.learning_rate * self.curvature
        return Pair(α[:, None], α[None, :], self.momentum[None, None])

    def _scaled(self, moments: Moments) -> Moments:
        return Moments(*(self.learning_rate**2 * self.noise * moment for moment in moments))


def _lags(lag: Int[ArrayLike, "*lags"]) -> np.ndarray:
    try:
        lags = np.asarray(lag)
    except jax.errors.TracerArrayConversionError:
        raise ValueError("lag is traced, but how far back the noise is followed depends on it: give numbers.") from None
    whole = np.issubdtype(lags.dtype, np.integer) and lags.size > 0
    return _checks.require("lag", lags, whole, allowed="one whole number of steps, or several")


def _is_zero(left_out: RealScalar) -> bool:
    """As it was given: inside a compiled program even a constant array has no value yet."""
    try:
        return bool(np.all(np.asarray(left_out) == 0))
    except jax.errors.TracerArrayConversionError:
        return False


@partial(jax.jit, static_argnums=4)
def _mean(first: Array, second: Array, momentum: Array, left_out: Array, batches: int) -> Moments:
    A, B = means(*_arguments.broadcast(first[:, 0], momentum[0, 0], jnp.asarray(float(batches))))
    pair = Pair(first, second, momentum)
    complete = _moments.complete_epochs(pair, (A[:, None], B[:, None]), (A[None, :], B[None, :]))
    return _mixed(complete, _moments.white(pair), left_out)


@partial(jax.jit, static_argnums=4)
def _each(first: Array, second: Array, momentum: Array, left_out: Array, batches: int) -> Moments:
    pair = Pair(first, second, momentum)
    white = _moments.white(pair)
    return jax.vmap(lambda moments: _mixed(moments, white, left_out))(_positions.complete_epochs(pair, batches))


@partial(jax.jit, static_argnums=4)
def _start(first: Array, second: Array, momentum: Array, left_out: Array, batches: int) -> Moments:
    pair = Pair(first, second, momentum)
    return _mixed(_positions.between_epochs(pair, batches), _moments.white(pair), left_out)


def _mixed(complete: Moments, white: Moments, left_out: Array) -> Moments:
    """κ parts white, 1 − κ of complete epochs."""
    return Moments(*((1 - left_out) * c + left_out * w for c, w in zip(complete, white, strict=True)))


def _joined(moments: Moments) -> Float[Array, "phase phase"]:
    θθ, θu, uθ, uu = moments
    return joined(jnp.stack([jnp.stack([θθ, θu]), jnp.stack([uθ, uu])]))


@partial(jax.jit, static_argnums=1)
def _lagged(law: HarmonicEpochs, lags: tuple[int, ...]) -> Float[Array, "lags modes modes"]:
    M, η, β, α = law.batches_per_epoch, law.learning_rate, law.momentum, law.learning_rate * law.curvature
    T = jnp.stack([jnp.stack([1 - α, β + 0 * α], -1), jnp.stack([-α, β + 0 * α], -1)], -2)
    moments = law._scaled(_mean(*law._pair, law.left_out, M))
    R = jnp.stack([jnp.stack([moments.weights, moments.weight_velocity], -1),
                   jnp.stack([moments.velocity_weight, moments.velocities], -1)], -2)  # fmt: skip
    memory = _memory(T, -η * jnp.ones((len(α), 2)), M) * (1 - law.left_out) / (M * max(M - 1, 1))
    wanted = jnp.asarray(lags)

    def step(carry, h):
        R, out = carry
        out = jnp.where((wanted == h)[:, None, None], R[None, :, :, 0, 0], out)
        old = jnp.where(h + 1 < M, memory[jnp.clip(M - h - 1, 0, M - 1)], 0)
        kicked = -η * -law.noise[:, :, None] * old[None, :, :]  # b E[ξ xᵀ], the same in both rows
        return (jnp.einsum("iab,ijbc->ijac", T, R) + kicked[:, :, None, :], out), None

    start = (R, jnp.zeros((len(lags), *law.noise.shape)))
    return jax.lax.scan(step, start, jnp.arange(max(lags) + 1))[0][1]


def _memory(T: Float[Array, "modes 2 2"], b: Float[Array, "modes 2"], M: int) -> Float[Array, "lengths modes 2"]:
    """Σ_{n<l} (l − n) r_n for l = 0 … M−1."""

    def step(carry, _):
        r, once, twice = carry
        once = once + r
        return (jnp.einsum("iab,ib->ia", T, r), once, twice + once), twice

    return jax.lax.scan(step, (b, jnp.zeros_like(b), jnp.zeros_like(b)), length=M)[1]
