"""Power spectra by Welch's method, streamed.

Records are cut into segments of N that overlap. With δ = x − reference, a window w and
X(ω_j) = Σ_n w_n δ_n exp(−iω_j n `every`), ω_j = 2πj/(N `every`),

    S(ω_j) = `every` · E|X(ω_j)|² / Σ_n w_n²        over segments and replicas,

the two-sided density of the sampled path, in rad per step: ∫ S dω/2π from −π/every to π/every (the sum over
all N frequencies, divided by N `every`) is the variance, weighted by w². For a real x, S(−ω) = S(ω), and only
ω ≥ 0 is kept. Power above π/every is folded back: record every step where it matters.

The constant to subtract is the mean of the ensemble, not of each segment: replicas give it almost without
error, and so the variance is whole and low frequencies are not eaten. It is subtracted at the end, from sums
about the reference, X → X − mW, W the transform of the window and m = E X(0)/W(0).

Leakage: E S is the true spectrum convolved with |W|²/(N Σ w²). A peak is widened to 2 to 4 lines of 2π/(N `every`),
and a path that wanders much further in a segment than it fluctuates leaks into all frequencies, as ω⁻⁶ with
the Hann window and as ω⁻² with none. `expected` has the leakage of a known autocovariance exactly.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Real

from .. import _checks
from .._types import ArrayLike, Mask
from . import _running
from ._base import AbstractAccumulator, Record, Records, check_counts, check_size, counted, ratio
from ._estimate import Estimate, jackknife
from ._groups import Groups, Ledger
from ._observables import Observable, floating, masked, mean_of_living, name_of, observe_vector

LARGEST = 10**8  # numbers
WINDOWS = {"rectangular": (1.0,), "hann": (0.5, 0.5), "blackman": (0.42, 0.5, 0.08)}  # Σ_j (−1)^j a_j cos(2πjn/N)


class SpectrumSums(eqx.Module):
    """Sums of (segments, |X|², Re X, Im X), each [groups, …], and the latest records, about `reference`."""

    ledger: Ledger
    reference: Float[Array, " components"]
    moments: Any
    latest: Float[Array, "segment replicas components"]
    every: int = eqx.field(static=True)


class PowerSpectrum(AbstractAccumulator):
    """The two-sided power spectrum of each component of an observable, [segment//2 + 1, components].

    The estimate has `frequencies` ω ≥ 0 in rad per step, and ∫ S dω/2π over both signs is the variance. An
    observable of any shape is taken row by row; a scalar has one component.

    - `segment`: records in a segment. Lines are 2π/(segment · every) apart.
    - `window`: "hann" (periodic), "blackman" or "rectangular"; `overlap` in [0, 1): the fraction of a
      segment that the next has in common with it, rounded down to records.
    - `about` [components]: a known point to subtract, in place of the ensemble's mean.
    - `detrend`: subtract each segment's own mean instead, for paths that wander; this removes power at the
      lowest lines, and the integral is no longer the variance.

    A segment is complete at records segment, segment + hop, …, and only then is anything transformed, group by
    group. The latest segment × replicas × components numbers are kept (and once more while they are being
    transformed), whatever the number of steps; more than 10⁸ must be consented to with `allow_large`.
    """

    segment: int = eqx.field(static=True)
    of: Observable | None
    about: Float[Array, " components"] | None
    window: str = eqx.field(static=True)
    overlap: float = eqx.field(static=True)
    detrend: bool = eqx.field(static=True)
    allow_large: bool = eqx.field(static=True)
    quantity: str = eqx.field(static=True)

    def __init__(
        self,
        segment: int,
        of: Observable | None = None,
        *,
        window: str = "hann",
        overlap: float = 0.5,
        about: Any = None,
        detrend: bool = False,
        allow_large: bool = False,
    ):
        if window not in WINDOWS:
            raise ValueError(f"window = {window!r}, but it must be one of {', '.join(map(repr, WINDOWS))}.")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap = {overlap}, but it must be in [0, 1). 0.5 is a good choice.")
        if about is not None and detrend:
            raise ValueError("about is given and detrend = True, but only one constant can be subtracted. Drop one.")
        self.segment = _checks.count("segment", segment, least=4)
        self.of = of
        self.about = None if about is None else floating("about", about).ravel()
        self.window = window
        self.overlap = overlap
        self.detrend = detrend
        self.allow_large = allow_large
        self.quantity = "power spectrum"

    @property
    def hop(self) -> int:
        """Records from the start of a segment to that of the next."""
        return self.segment - int(self.overlap * self.segment)

    def frequencies(self, every: int = 1) -> Float[np.ndarray, " frequencies"]:
        """ω_j in rad per step, from 0 to π/every."""
        return 2 * math.pi / (self.segment * every) * np.arange(self.segment // 2 + 1)

    def expected(
        self, autocovariance: Real[ArrayLike, "segment *components"], every: int = 1
    ) -> Float[np.ndarray, "frequencies *components"]:
        """E S with its leakage, for the autocovariances at lags 0, every, …, (segment − 1)·every of a stationary
        process about its mean: every · Σ_l R(l) (w ⋆ w)(l) cos(ω l every)/Σ w². Not with `detrend`."""
        w, R = self._weights(), np.asarray(autocovariance, float)
        if self.detrend or R.shape[:1] != (self.segment,):
            raise ValueError(
                f"autocovariance has shape {R.shape} and detrend = {self.detrend}, but there must be one "
                f"for each lag below segment = {self.segment}, and no detrend."
            )
        pairs = np.correlate(w, w, "full")[self.segment - 1 :].reshape(-1, *(1,) * (R.ndim - 1))
        half = np.fft.rfft(pairs * R, 2 * self.segment, axis=0)[: self.segment + 1 : 2].real
        return every * (2 * half - pairs[:1] * R[:1]) / np.sum(w**2)

    def init(self, states: Any, alive: Mask, groups: Groups, records: Records) -> SpectrumSums:
        check_counts(groups, records)
        if isinstance(records.count, int) and records.count < self.segment:
            raise ValueError(
                f"segment = {self.segment}, but only {records.count} records will be made. "
                "Use a shorter segment, or simulate longer."
            )
        x = observe_vector(self.of, states, alive)
        self._check(x)
        shape = (groups.count, self.segment // 2 + 1, x.shape[1])
        line = jax.ShapeDtypeStruct(shape, x.dtype)
        zero = _running.zeros((jax.ShapeDtypeStruct(shape[:1], jnp.uint32), line, line, line))
        reference = mean_of_living(x, alive) if self.about is None else self.about.astype(x.dtype)
        latest = jnp.zeros((self.segment, *x.shape), x.dtype)
        return SpectrumSums(Ledger.open(groups, alive), reference, zero, latest, records.every)

    def _check(self, x: Float[Array, "replicas components"]) -> None:
        if self.about is not None:
            _checks.shaped("about", self.about, x.shape[1:], "Give one number for each component observed.")
        check_size(
            f"the latest records, segment {self.segment} x replicas {x.shape[0]} x components {x.shape[1]}",
            self.segment * x.size,
            LARGEST,
            self.allow_large,
            "Use shorter segments, look at fewer components with of=statistics.Projection(directions)",
        )

    def update(self, sums: SpectrumSums, states: Any, alive: Mask, record: Record) -> SpectrumSums:
        done = jnp.asarray(record).astype(jnp.int32) + 1
        x = masked(alive, observe_vector(self.of, states, alive) - sums.reference[None])
        # a ring, written outside the condition: what a branch returns, XLA copies
        latest = sums.latest.at[(done - 1) % self.segment].set(x)
        complete = (done >= self.segment) & ((done - self.segment) % self.hop == 0)
        moments = jax.lax.cond(
            complete,
            lambda moments: _running.add(moments, self._terms(latest, done, sums.ledger.groups, alive)),
            lambda moments: moments,
            sums.moments,
        )
        return SpectrumSums(sums.ledger.record(alive), sums.reference, moments, latest, sums.every)

    def _terms(self, latest: Array, done: Array, groups: Groups, alive: Mask) -> tuple[Array, ...]:
        """What a complete segment adds to the sums of each group."""
        present = groups.present(alive)
        w = jnp.asarray(self._weights(), latest.dtype)[None, :, None]

        def group(part: tuple[Array, Array]) -> tuple[Array, ...]:
            δ = masked(part[1], jnp.roll(part[0], -done % self.segment, axis=1))
            if self.detrend:
                δ = δ - jnp.mean(δ, axis=1, keepdims=True)
            X = jnp.fft.rfft(w * δ, axis=1)
            return jnp.sum(X.real**2 + X.imag**2, axis=0), jnp.sum(X.real, axis=0), jnp.sum(X.imag, axis=0)

        return counted(present), *jax.lax.map(group, (groups.split(jnp.moveaxis(latest, 0, 1)), present))

    def merge(self, a: SpectrumSums, b: SpectrumSums, *, other_replicas: bool = False) -> SpectrumSums:
        """Segments do not run across the seam."""
        ledger = a.ledger.merge(b.ledger, other_replicas)
        shift = (b.reference - a.reference).astype(_running.wide())
        moved = self._shifted(_running.widened(b.moments), jnp.zeros_like(shift) if self.detrend else shift)
        both = _running.replaced(a.moments, jax.tree.map(jnp.add, _running.widened(a.moments), moved))
        return SpectrumSums(ledger, a.reference, both, a.latest, a.every)

    def _shifted(self, moments: Any, shift: Float[Array, " components"]) -> Any:
        """Sums [..., frequencies, components] with δ + shift in the place of δ: X + shift · W."""
        count, power, real, imaginary = moments
        W = np.fft.rfft(self._weights())[:, None]
        a, b = (jnp.broadcast_to(jnp.asarray(part) * shift[None], power.shape) for part in (W.real, W.imag))
        n = count[..., None, None]
        power = power + 2 * (a * real + b * imaginary) + n * (a**2 + b**2)
        return count, power, real + n * a, imaginary + n * b

    def value(self, totals: Any, reference: Array) -> Array:
        """The density in rad per record."""
        w = self._weights()
        count, _, real, _ = totals
        if self.about is None and not self.detrend:
            totals = self._shifted(totals, -ratio(real[0], count) / float(np.sum(w)))
        return ratio(totals[1], count) / float(np.sum(w**2))

    def estimate(self, sums: SpectrumSums, usable: Bool[Array, " groups"]) -> Estimate:
        return jackknife(
            lambda totals: sums.every * self.value(totals, sums.reference),
            self.grouped(sums),
            sums.ledger.members,
            usable,
            quantity=self.quantity,
            of=name_of(self.of),
            frequencies=jnp.asarray(self.frequencies(sums.every)),
        )

    def _weights(self) -> Float[np.ndarray, " segment"]:
        """The window, periodic in the segment."""
        phase = 2 * np.pi * np.arange(self.segment) / self.segment
        return np.sum([(-1) ** j * a * np.cos(j * phase) for j, a in enumerate(WINDOWS[self.window])], axis=0)
