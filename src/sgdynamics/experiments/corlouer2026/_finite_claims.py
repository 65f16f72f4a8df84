"""What `corlouer2026/finite_data` claims; the laws stand in `_finite_data` and `_finite_sets`."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._students import crossing_times
from sgdynamics.experiments.corlouer2026._finite_sets import (
    Descent,
    Moments,
    Sets,
    amplitudes_of,
    least_squares,
)
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.statistics import Estimate

G1, G2, J3 = source("App. G.1"), source("App. G.2"), source("J.3")
CLOSE = 0.05  # of a learning time: SGD's own noise and finite steps, against gradient descent on the same data
FAR = 4.0  # standard deviations that a single data set may be away from the population
OFF = 0.2  # a diffusion that differs by that much is clearly off


def claims(
    plan: Descent, sets: list[Sets], runs: dict[str, Any], noisy: dict[str, Any], diffusion: np.ndarray, large: int
) -> list[Claim]:
    """Of gradient descent on many data sets, and of SGD on one of each size, without and with label noise.

    `diffusion`: along the first few replicas on the largest set, without replacement [records, replicas, modes].
    `large`: the batch size at which replacement matters.
    """
    largest = runs[f"{sets[-1].size}, without"]
    return [
        *_times(sets), *_of_sgd(plan, runs), *_scatter(sets), *_heights(sets[-1], largest, diffusion),
        *_overfitting(plan, sets), *_ends(plan, noisy),
        *_fluctuations(noisy, plan.student.batch_size, large, sets[0].size),
    ]  # fmt: skip


def exponent(sets: list[Sets]) -> Estimate:
    """x of rms deviation ∝ N^x of learning times from small weights, between the two largest sizes."""
    small, large = sets[-2:]
    squares = np.stack([np.mean(s.deviations[0] ** 2, axis=1) for s in (small, large)], axis=1)
    scale = 2 * np.log(large.size / small.size)
    return over_realisations(squares).map(lambda mean: (jnp.log(mean[1]) - jnp.log(mean[0])) / scale)


def slope(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Of the line through the origin that fits y [realisations, ...] to x; linearised, for its error."""
    steepness = np.sum(x * y) / np.sum(x * x)
    residual = (y - steepness * x) * x / np.mean(x * x)
    return over_realisations(steepness + residual.reshape(len(x), -1).mean(axis=1))


def _times(sets: list[Sets]) -> list[Claim]:
    x, largest = evidence(exponent(sets)), sets[-1]
    tried = f"from N = {sets[-2].size} to {largest.size}"
    law = slope(1 / largest.speed - 1, largest.deviations[1])
    return [
        Claim.equality(
            "many sets/learning times/exponent", G2, f"deviations from the online times fall like N^−1/2, {tried}",
            **x, expected=-0.5, resolution=0.25,
        ),
        Claim.rejection(
            "many sets/learning times/1 over N/control", G2, f"not like 1/N, {tried}", **x, expected=-0.5,
            rejected=-1.0,
        ),
        Claim.equality(
            f"N = {largest.size}/learning times", G2, "from aligned weights they are the online ones over vᵀ X̂ v: "
            "slope of their deviations against 1/(vᵀ X̂ v) − 1", **evidence(law), expected=1.0, resolution=0.2,
        ),
    ]  # fmt: skip


def _of_sgd(plan: Descent, runs: dict[str, Any]) -> list[Claim]:
    made = [
        Claim.equality(
            f"{name}/learning times", J3,
            f"SGD learns when gradient descent on the same data does, mean over the modes: within {CLOSE:g}",
            **evidence(_ratio(plan, run, plan.times_on(Moments.of(run.data))).map(jnp.mean)),
            expected=1.0, resolution=CLOSE, tolerance=CLOSE,
        )
        for name, run in runs.items()
    ]  # fmt: skip
    name, run = next(iter(runs.items()))
    online, own = plan.online[0], plan.times_on(Moments.of(run.data))
    worst = int(np.argmax(np.abs(own / online - 1)))
    control = Claim.rejection(
        f"{name}/online learning time/control", G2,
        f"not when it would online, s = {plan.student.singular_values[worst]:g}",
        **evidence(_ratio(plan, run, online).map(lambda ratio: ratio[worst])), expected=own[worst] / online[worst],
        rejected=1.0,
    )  # fmt: skip
    return [*made, control]


def _ratio(plan: Descent, run: Any, reference: np.ndarray) -> Estimate:
    """Learning times of SGD over `reference` [modes]."""
    level = plan.learned * plan.student.singular_values
    return over_realisations(crossing_times(run.paths.times, run.amplitudes, level) / reference)


def _scatter(sets: list[Sets]) -> list[Claim]:
    smallest, largest = sets[0], sets[-1]
    spread = lambda s: over_realisations(np.mean((s.diffusion - 1) ** 2, axis=1))
    made = [
        Claim.equality(
            f"N = {s.size}/scatter of the diffusion", G2,
            "mean square of the data's diffusion over Prop. 3.3's, −1, at the peaks, in units of (κ + 2)/N",
            **evidence(spread(s).map(lambda v, s=s: v * s.size / (2 + s.kurtosis.mean()))), expected=1.0,
            resolution=0.7,
        )
        for s in sets[1:]
    ]  # fmt: skip
    return [
        *made,
        Claim.bound(
            f"N = {smallest.size}/diffusion is off", G2, f"root mean square of the same, not in units, above {OFF:g}",
            **evidence(spread(smallest).map(jnp.sqrt)), expected=OFF, side="at least",
        ),
        Claim.equality(
            f"N = {largest.size}/diffusion", J3, "mean over data sets and modes of the data's over Prop. 3.3's",
            **evidence(over_realisations(largest.diffusion.mean(axis=1))), expected=1.0, resolution=0.02,
        ),
    ]  # fmt: skip


def _heights(largest: Sets, run: Any, diffusion: np.ndarray) -> list[Claim]:
    off = FAR * np.sqrt((2 + largest.kurtosis.max()) / largest.size)
    student, few = run.paths.student, replace(run.paths, positions=run.paths.positions[:, : diffusion.shape[1]])
    ratio = over_realisations(diffusion.max(axis=0) / few.diffusion.max(axis=0))
    return [
        Claim.equality(
            f"{largest.size}, without/s = {s:g}/height of the peak", J3,
            f"along SGD, over that of Prop. 3.3 on the same path: within {FAR:g} √((κ + 2)/N)",
            **evidence(ratio.map(lambda r, α=α: r[α])), expected=1.0, resolution=off, tolerance=off,
        )
        for α, s in enumerate(student.singular_values)
    ]  # fmt: skip


def _overfitting(plan: Descent, sets: list[Sets]) -> list[Claim]:
    smallest, largest = sets[0], sets[-1]
    d, σ, r = plan.student.widths[0], float(plan.noisy.label_noise_std), plan.student.modes
    missed = max(np.abs(s.missed).max() for s in sets)
    law = lambda s: σ**2 * r * (2 * d - r) / (2 * s.size)
    full = float(np.mean(largest.full_excess)) / law(largest)
    excess = over_realisations(largest.excess / law(largest))
    residual = over_realisations(smallest.residual.mean(axis=1))
    shift = over_realisations(np.mean(largest.shift**2, axis=1) * (largest.size - d - 1) / σ**2)
    return [
        Claim.equality(
            "label noise/end of gradient descent", G2, "is the data's least-squares map of as many modes: farthest "
            "amplitude in units of σ √(d/N)", missed / (σ * np.sqrt(d / smallest.size)), 0.0, expected=0.0,
            resolution=0.02, tolerance=0.02,
        ),
        Claim.equality(
            f"label noise/N = {largest.size}/shift of the amplitudes", G2, "its mean square in units of σ²/(N − d − 1)",
            **evidence(shift), expected=1.0, resolution=0.7,
        ),
        Claim.equality(
            f"label noise/N = {largest.size}/excess loss", G2, "of the population, in units of σ² r (2d − r)/(2N)",
            **evidence(excess), expected=1.0, resolution=0.2,
        ),
        Claim.rejection(
            f"label noise/N = {largest.size}/least squares of all ranks/control", G2,
            "not that of the least-squares map of all ranks: the noise's own modes are not there yet",
            **evidence(excess), expected=1.0, rejected=full,
        ),
        Claim.equality(
            f"label noise/N = {smallest.size}/diffusion at the end", G2,
            "by the residual noise, over the online value: 1 − (d + 2)/N; next order (d/N)²", **evidence(residual),
            expected=1 - (d + 2) / smallest.size,
            resolution=(d + 2) / smallest.size, tolerance=(d / smallest.size) ** 2,
        ),
    ]  # fmt: skip


def _ends(plan: Descent, noisy: dict[str, Any]) -> list[Claim]:
    """Of SGD on one small data set with label noise: where it ends, and how it fluctuates there."""
    student, any_run = plan.student, next(iter(noisy.values()))
    N, σ = any_run.data.samples, float(plan.noisy.label_noise_std)
    limit = np.asarray(amplitudes_of(least_squares(Moments.of(any_run.data), student.modes), plan.noisy, student.modes))
    unit = σ * np.sqrt(student.widths[0] / N)
    worst = int(np.argmax(np.abs(limit - student.singular_values)))
    expected = (limit[worst] - student.singular_values[worst]) / unit
    made = []
    for name in list(noisy)[:3]:
        kind = name.split(",")[0]
        shift = _late(noisy[name]).mean(axis=0)[:, worst] - student.singular_values[worst]
        end = evidence(over_realisations(shift / unit))
        made.append(
            Claim.equality(
                f"label noise/{kind}/shift of SGD", G2,
                f"N = {N}, second half of the run, mode that shifts most: that of the data's least-squares map, in "
                "units of σ √(d/N); tolerance for what is not learned yet", **end, expected=expected, resolution=0.1,
                tolerance=0.05,
            )
        )  # fmt: skip
    made.append(
        Claim.rejection(
            f"label noise/{kind}/the teacher/control", G2, "not the teacher", **end, expected=expected, rejected=0.0,
        )
    )  # fmt: skip
    return made


def _late(run: Any) -> np.ndarray:
    """Amplitudes in the second half of a run [records, replicas, modes]."""
    return run.amplitudes[len(run.paths.times) // 2 :]


def _variances(run: Any) -> np.ndarray:
    """Around the mean over the replicas at each time, averaged over times and modes [replicas]."""
    late = _late(run)
    n = late.shape[1]
    return np.mean((late - late.mean(axis=1, keepdims=True)) ** 2, axis=(0, 2)) * n / (n - 1)


def _fluctuations(noisy: dict[str, Any], small: int, batch: int, N: int) -> list[Claim]:
    variance = {name: _variances(run) for name, run in noisy.items()}
    few, many = (over_realisations(variance[name]) for name in (f"with, {batch}", f"without, {batch}"))
    ratio = many.value / few.value
    error = ratio * np.hypot(many.standard_error / many.value, few.standard_error / few.value)
    measured = {"measured": ratio, "standard_error": error, "degrees_of_freedom": few.degrees_of_freedom}
    epochs, white = variance[f"epochs, {small}"], variance[f"with, {small}"]
    everything = np.ptp(noisy[f"without, {N}"].paths.positions, axis=1).max()
    expected = (N - batch) / (N - 1)
    words = f"variance at the end, N = {N}, b = {batch}: without over with replacement, "
    return [
        Claim.equality(
            "label noise/without replacement/variance", G1, words + "(N − b)/(N − 1)", **measured, expected=expected,
            resolution=0.5 * (1 - expected),
        ),
        Claim.rejection(
            "label noise/without replacement/no correction/control", G1, words + "not 1", **measured, expected=expected,
            rejected=1.0,
        ),
        Claim.bound(
            "label noise/epochs/variance", G1,
            f"epochs over with replacement, b = {small}: far below (N − b)/(N − 1), as batches are anti-correlated",
            **evidence(over_realisations(epochs / white.mean())), expected=0.5, side="at most",
        ),
        Claim.equality(
            "label noise/b = N/no noise", G1, "all examples in every batch: farthest apart that replicas ever are",
            everything, 0.0, expected=0.0, resolution=1e-3, tolerance=1e-4,
        ),
    ]  # fmt: skip
