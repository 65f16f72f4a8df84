"""The ensembles of Fig. 3, what is asked of them, and what its picture shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import Paths, crossing_times
from sgdynamics.experiments._variables import dataset, variable
from sgdynamics.statistics import Estimate
from sgdynamics.theory import deep_linear

LEARNED = 0.95  # of its singular value: a mode counts as learned
DYNAMICS = ("gradient descent", "SGD", "SDE")


@dataclass(frozen=True)
class Track:
    """Learning times and the diffusion along the modes of one ensemble, computed where they are asked for."""

    paths: Paths

    @property
    def times(self) -> np.ndarray:
        return self.paths.times

    @property
    def amplitudes(self) -> np.ndarray:
        return self.paths.amplitudes

    @property
    def diffusion(self) -> np.ndarray:
        return self.paths.diffusion

    @cached_property
    def formula(self) -> np.ndarray:
        """(7) at the amplitudes of the paths; 0 where an amplitude is not yet positive [records, replicas, modes]."""
        student, w = self.paths.student, np.maximum(self.amplitudes, 1e-12)
        options = {"depth": student.depth, **student.hyperparameters}
        return np.asarray(deep_linear.modewise_diffusion(w, student.singular_values, **options))

    @cached_property
    def learned(self) -> np.ndarray:
        """When each mode is learned [replicas, modes]; nan where it is not."""
        return crossing_times(self.times, self.amplitudes, LEARNED * self.paths.student.singular_values)

    @property
    def all_learned(self) -> np.ndarray:
        """When the last mode is learned [replicas]."""
        return self.learned.max(axis=1)

    @property
    def fallen(self) -> np.ndarray:
        """D_α when its mode is learned, over its highest value before [replicas, modes]."""
        learned = self.learned
        before = np.where(self.times[:, None, None] <= learned, self.diffusion, 0).max(axis=0)
        return at_times(self.times, self.diffusion, learned[None])[0] / before

    @property
    def widths(self) -> np.ndarray:
        """How long D_α is above half its maximum, to one record [replicas, modes]."""
        above = self.diffusion >= self.diffusion.max(axis=0) / 2
        return above.sum(axis=0) * (self.times[1] - self.times[0])


def at_times(times: np.ndarray, values: np.ndarray, when: np.ndarray) -> np.ndarray:
    """`values` [records, replicas, modes] at times `when` [points, replicas, modes] of their own, by straight lines."""
    index = np.clip(np.searchsorted(times, when) - 1, 0, len(times) - 2)
    share = (when - times[index]) / (times[index + 1] - times[index])
    low, high = (np.take_along_axis(values, index + j, axis=0) for j in (0, 1))
    return low + share * (high - low)


def ratio(above: np.ndarray, below: np.ndarray) -> Estimate:
    """The geometric mean of paired ratios over replicas, with its error [...]; bias removed by `Estimate.map`."""
    return over_realisations(np.log(above / below), "log ratio").map(jnp.exp)


def tracks_data(exponents: Sequence[float], scales: list[dict[str, Track]]) -> xr.Dataset:
    """What the picture shows; `scales` hold the tracks of one γ each, by their names."""
    s = scales[0]["SGD"].paths.student.singular_values
    learned = [np.concatenate([scale[name].learned for scale in scales]) for name in DYNAMICS]
    to_flow = [
        [ratio(scale[name].learned, scale["gradient descent"].learned) for name in DYNAMICS[1:]] for scale in scales
    ]
    widths = [[over_realisations(scale[name].widths) for name in DYNAMICS[1:]] for scale in scales]
    substeps = [name for name in scales[0] if name.startswith("SDE, ")]
    converged = [ratio(scales[0][name].all_learned, scales[0]["SGD"].all_learned) for name in substeps]
    variables = {
        "learning_time": variable(("dynamics", "replica", "mode"), learned, "time when the mode is learned", "t"),
        "exponent_of": variable(
            "replica", np.repeat(exponents, [len(scale["SGD"].learned) for scale in scales]), "γ of the replica"
        ),
        **_stacked("ratio", ("exponent", "noisy", "mode"), to_flow, "learning time over gradient descent's"),
        **_stacked("width", ("exponent", "noisy", "mode"), widths, "time above half of the peak", "t"),
        **_stacked("converged", ("substeps",), converged, "SDE's time for all modes over SGD's, first γ"),
        **_around_learning(scales),
        **_example(scales),
    }
    coordinates = {
        "exponent": variable("exponent", exponents, "γ: variance width^−γ of initial weights"),
        "dynamics": variable("dynamics", list(DYNAMICS), "dynamics"),
        "noisy": variable("noisy", list(DYNAMICS[1:]), "dynamics with noise"),
        "substeps": variable("substeps", [int(name[5:]) for name in substeps], "substeps of the SDE"),
        "mode": variable("mode", s, "singular value of the mode", "w"),
    }
    return dataset(variables, coordinates)


def _stacked(name: str, dims: tuple[str, ...], estimates, long_name: str, units: str = "1") -> dict:
    """`measurement` of estimates in nested lists."""
    part = lambda nest, what: [part(one, what) for one in nest] if isinstance(nest, list) else getattr(nest, what)
    return {
        name: variable(dims, np.asarray(part(estimates, "value")), f"{long_name}, measured", units),
        f"{name}_error": variable(dims, np.asarray(part(estimates, "standard_error")), f"{long_name}, error", units),
    }


def _around_learning(scales: list[dict[str, Track]]) -> dict:
    """D_α and (7) on the way, against the time to when the path itself learns the mode: replicas in step."""
    tracks = [[scale[name] for name in DYNAMICS[1:]] for scale in scales]
    before = min(5.0, *(track.learned.min() for pair in tracks for track in pair))
    after = min(2.5, *((track.times[-1] - track.learned).min() for pair in tracks for track in pair))
    lag = np.linspace(-before, after, 61)
    aligned = lambda track, values: np.moveaxis(
        at_times(track.times, values, track.learned + lag[:, None, None]), 1, 0
    )  # fmt: skip
    means = [[over_realisations(aligned(track, track.diffusion)) for track in pair] for pair in tracks]
    formula = [[aligned(track, track.formula).mean(axis=0) for track in pair] for pair in tracks]
    dims = ("exponent", "noisy", "point", "mode")
    return {
        "lag": variable("point", lag, "time since the mode was learned", "t"),
        **_stacked("diffusion", dims, means, "diffusion along the mode", "w²/t"),
        "formula": variable(dims, np.asarray(formula), "(7) along the same paths", "w²/t"),
    }


def _example(scales: list[dict[str, Track]]) -> dict:
    """Amplitudes from one draw of the weights, replica 0, at times in equal ratios."""
    ends = [scale["SGD"].all_learned[0] for scale in scales]
    times = np.stack([np.geomspace(end / 30, 1.1 * end, 61) for end in ends])
    path = lambda track, when: at_times(track.times, track.amplitudes[:, :1], when[:, None, None])[:, 0]
    paths = [
        [path(scale[name], np.minimum(when, scale["SGD"].times[-1])) for name in DYNAMICS]
        for scale, when in zip(scales, times, strict=True)
    ]
    return {
        "example_time": variable(("exponent", "point"), times, "time, learning rate × step", "t"),
        "example": variable(
            ("exponent", "dynamics", "point", "mode"), np.asarray(paths), "amplitude of the mode, one replica", "w"
        ),
    }
