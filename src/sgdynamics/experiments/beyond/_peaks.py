"""When the diffusion along a mode is highest, and when the mode is learned: what an ensemble of SGD shows of both.

The lead is the time in between. Rank correlations are over replicas, with the error of the jackknife; there a mode
that is not learned within the run ranks last.
"""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import Paths, Student, Weights, crossing_times, peak_times
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Estimate
from sgdynamics.theory import deep_linear

STARTS = ("small", "balanced", "aligned")
LEARNED = 0.95  # of its singular value: a mode counts as learned
BEGUN = 0.3  # of its singular value: before, a mode has not begun
PREDICTORS = {
    "diffusion": "time of the maximal diffusion",
    "amplitude": "time at which the amplitude (9) is reached, as without label noise",
    "early": "time at which 30 % of the mode are reached",
    "speed": "time at which the amplitude grows fastest",
    "loss": "time at which the loss has fallen by half of the mode's share",
    "start": "minus the amplitude at the start",
}
Times = Float[np.ndarray, "starts replicas modes"]


@dataclass(frozen=True)
class Seen:
    """What one ensemble shows, with a label noise σ at a depth L."""

    noise: float
    depth: int
    s: np.ndarray
    learned: Times
    predictors: dict[str, Times]
    """By the names in `PREDICTORS`."""
    at_peak: Times
    """Amplitude where the diffusion is highest, in units of s."""

    @cached_property
    def ranks(self) -> dict[str, Estimate]:
        """Rank correlation with the learning time, of every predictor [starts, modes]."""
        return {name: rank_correlation(times, self.learned) for name, times in self.predictors.items()}

    @property
    def late(self) -> np.ndarray:
        """Whether the diffusion is highest after the mode is learned [starts, replicas, modes]."""
        return self.leads < 0

    @property
    def premature(self) -> np.ndarray:
        """Whether it is highest before the mode begins to be learned, and the mode is [starts, replicas, modes]."""
        return (self.leads > 0) & (self.at_peak < BEGUN)

    @property
    def leads(self) -> Times:
        """From the maximal diffusion to learned; nan where the mode is not learned within the run."""
        return self.learned - self.predictors["diffusion"]

    def scatter(self, predictor: str) -> np.ndarray:
        """Standard deviation of the time from predictor to learned, over the replicas that learn [starts, modes];
        nan for the amplitude at the start, which is no time, and where fewer than two learn."""
        delays = self.learned - self.predictors[predictor] * (np.nan if predictor == "start" else 1.0)
        known = np.isfinite(delays)
        n = known.sum(axis=1)
        mean = np.where(known, delays, 0.0).sum(axis=1) / np.maximum(n, 1)
        squares = np.where(known, (delays - mean[:, None]) ** 2, 0.0).sum(axis=1)
        return np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.nan)

    @property
    def predicted(self) -> np.ndarray:
        """Gradient flow's lead [modes]; nan where there is no peak."""
        return lead(self.s, depth=self.depth, label_noise_std=self.noise)

    @property
    def threshold(self) -> np.ndarray:
        """σ² in that of (10) [modes]."""
        return (self.noise / np.asarray(deep_linear.largest_peaked_noise(self.s, depth=self.depth))) ** 2

    @property
    def height(self) -> np.ndarray:
        """D(w*)/D(s) of (7) [modes]: inf without label noise, nan where there is no peak."""
        w = np.asarray(deep_linear.diffusion_peak(self.s, depth=self.depth, label_noise_std=self.noise))
        exponent = 4 * (self.depth - 1) / self.depth
        if self.noise == 0:
            return np.full(len(w), np.inf)
        return (w / self.s) ** exponent * (2 * (self.s - w) ** 2 / self.noise**2 + 1)


def lead(s: np.ndarray, *, depth: int, label_noise_std: float) -> np.ndarray:
    """Gradient flow's time from (9) to learned [modes]; nan where there is no peak."""
    w = np.asarray(deep_linear.diffusion_peak(s, depth=depth, label_noise_std=label_noise_std))
    exists = np.isfinite(w)
    time = deep_linear.learning_time(LEARNED * s, np.where(exists, w, s / 2), s, depth=depth)
    return np.where(exists, np.asarray(time), np.nan)


def observe(paths: Paths) -> Seen:
    """The times of one ensemble, whose replicas come in equal blocks, one for each of `STARTS`."""
    student, times = paths.student, paths.times
    s, noise = student.singular_values, student.hyperparameters["label_noise_std"]
    w, D, loss = np.split(paths.map(lambda W: _watched(student, W)), [len(s), 2 * len(s)], axis=-1)
    peak = np.asarray(deep_linear.diffusion_peak(s, depth=student.depth, label_noise_std=0.0))
    blocks = lambda values: values.reshape(len(STARTS), -1, len(s))
    predictors = {
        "diffusion": peak_times(times, D),
        "amplitude": crossing_times(times, w, peak),
        "early": crossing_times(times, w, BEGUN * s),
        "speed": peak_times(times, np.gradient(w, times, axis=0)),
        "loss": crossing_times(times, -loss, -_half_way(student)),
        "start": -w[0],
    }
    at_peak = np.take_along_axis(w, np.argmax(D, axis=0)[None], axis=0)[0] / s
    return Seen(
        noise, student.depth, s, blocks(crossing_times(times, w, LEARNED * s)),
        {name: blocks(values) for name, values in predictors.items()}, blocks(at_peak),
    )  # fmt: skip


def _watched(student: Student, W: Weights) -> jax.Array:
    """Amplitudes, diffusion and loss as one array, for which one program is compiled."""
    M, modes = student.teacher.matrix, student.modes
    diffusion = jnp.diagonal(deep_linear.mode_diffusion(W, M, **student.hyperparameters))[:modes]
    loss = student.teacher.population_loss(DeepLinear.of(W).matrix())
    return jnp.concatenate([deep_linear.mode_amplitudes(W, M)[:modes], diffusion, loss[None]])


def _half_way(student: Student) -> np.ndarray:
    """Population loss with all stronger modes learned, this one half, the weaker not at all [modes]."""
    shares = student.singular_values**2 / 2
    floor = float(student.teacher.label_noise_std) ** 2 * student.widths[-1] / 2
    return floor + shares.sum() - np.cumsum(shares) + shares / 2


def rank_correlation(x: Times, y: Times) -> Estimate:
    """Spearman's over the replicas, by the jackknife [starts, modes]; what never came (nan) ranks last."""
    x, y = (np.where(np.isnan(values), np.inf, values) for values in (x, y))
    n = x.shape[1]
    full = _spearman(x, y)
    without = np.stack([_spearman(np.delete(x, i, axis=1), np.delete(y, i, axis=1)) for i in range(n)])
    return over_realisations(n * full - (n - 1) * without, "rank correlation")


def _spearman(x: Times, y: Times) -> np.ndarray:
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    x, y = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    norms = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(norms > 0, (x * y).sum(axis=1) / np.where(norms > 0, norms, 1.0), 0.0)


def over_learned(values: Float[np.ndarray, " replicas"]) -> Estimate:
    """The mean over the replicas in which the mode is learned; nan where these are fewer than two."""
    values = values[np.isfinite(values)]
    return over_realisations(values if len(values) > 1 else np.full(2, np.nan))
