"""Fig. 6: cross modes during training, w_αγ = u_αᵀ W v_γ with α ≠ γ.

The paper neglects them (A2). From small weights, which know nothing of the teacher, most stay small; a few grow while a
mode is learned, of a mode being learned with another. And alignment is not kept even by weights that start aligned:
the noise drives w_αγ at the rate

    D_αγ = β (Σ_l w_α^{2(L−l)/L} w_γ^{2(l−1)/L})² ((s_α − w_α)² + σ²)                (`modewise_cross_diffusion`)

of the order of a mode's own, which is why amplitudes are not the independent processes of Prop. 3.5.
"""

import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, crossing_times
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.experiments.corlouer2026._training import TrainingConfig, along_time, train_all

SMALL = 0.05  # |w_αγ| that we would call negligible beside singular values of 0.4 to 1
ALIGNED = 1e-3  # gradient descent from the same weights leaves cross modes of 3e-6, rounding
ALWAYS = 0.9  # share of the replicas
MAJORITY = 0.5
RISING = (0.02, 0.95)  # of its singular value: between these a mode is being learned


def run(config: TrainingConfig, progress: Progress) -> Result:
    """Small and aligned weights at both depths."""
    ensembles = train_all(config, progress, starts=("small", "aligned"))
    modes = range(len(config.singular_values))
    quantities = {f"mode_{α}": (lambda paths, α=α: paths.amplitudes[..., α], f"mode {α}", "w") for α in modes}
    quantities |= {
        f"cross_{α}_{γ}": (lambda paths, α=α, γ=γ: sizes(paths)[..., α, γ], f"|w_αγ|, modes {α} and {γ}", "w")
        for α in modes for γ in modes if α != γ
    }  # fmt: skip
    variables, coordinates = along_time(ensembles, quantities)
    data = dataset(variables, coordinates).assign_attrs(depths=list(config.depths), modes=len(modes))
    claims = [claim for L in config.depths for claim in _claims(f"L = {L}", ensembles)]
    claims.append(_not_always_the_first(ensembles))
    return Result(data, claims, {name: paths.provenance for name, paths in ensembles.items()})


def sizes(paths: Paths) -> np.ndarray:
    """|w_αγ| of all pairs, 0 in place of the modes themselves [records, replicas, modes, modes]."""
    every = np.abs(paths.cross_amplitudes)
    return every * (1 - np.eye(every.shape[-1]))


def share_negligible(paths: Paths) -> np.ndarray:
    """How many of the cross modes are negligible, averaged over the training [replicas]."""
    pairs = ~np.eye(paths.cross_amplitudes.shape[-1], dtype=bool)
    return (sizes(paths)[..., pairs] < SMALL).mean(axis=(0, 2))


def largest(paths: Paths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cross mode that grows largest, of each replica: its two modes [replicas, 2], size, and time."""
    size = sizes(paths)
    records, replicas, modes, _ = size.shape
    flat = np.moveaxis(size, 1, 0).reshape(replicas, records, modes**2)
    at, pair = np.unravel_index(flat.reshape(replicas, -1).argmax(axis=1), (records, modes**2))
    return np.stack(np.divmod(pair, modes), axis=1), flat.max(axis=(1, 2)), paths.times[at]


def while_learning(paths: Paths) -> np.ndarray:
    """Whether the largest cross mode peaks while a mode of its is being learned, or as long again after [replicas]."""
    pairs, _, when = largest(paths)
    begun, done = (
        crossing_times(paths.times, paths.amplitudes, share * paths.student.singular_values) for share in RISING
    )
    beyond = np.full((len(when), paths.cross_amplitudes.shape[-1] - paths.student.modes), np.nan)
    begun, done = np.hstack([begun, beyond]), np.hstack([done, beyond])  # absent modes are never learned
    rising = (begun <= when[:, None]) & (when[:, None] <= 2 * done - begun)
    return np.take_along_axis(rising, pairs, axis=1).any(axis=1).astype(float)


def _not_always_the_first(ensembles: dict[str, Paths]) -> Claim:
    pairs = np.concatenate([largest(paths)[0] for name, paths in ensembles.items() if name.endswith("small")])
    first = (np.sort(pairs, axis=1) == [0, 1]).all(axis=1).astype(float)
    return Claim.bound(
        "small weights/the largest is not always that of modes 0 and 1", source("App. I.1, of one run; ours"),
        f"the cross mode of the first two modes need not have the largest peak: share of replicas, at most {ALWAYS:g}",
        **evidence(over_realisations(first)), expected=ALWAYS, side="at most",
    )  # fmt: skip


def _claims(L: str, ensembles: dict[str, Paths]) -> list[Claim]:
    small, aligned = ensembles[f"{L}, small"], ensembles[f"{L}, aligned"]
    _, height, _ = largest(small)
    noise = over_realisations(largest(aligned)[1])
    return [
        Claim.bound(
            f"{L}/small weights/most are small", source("App. I.1, Fig. 6"),
            f"the majority of cross modes is small for most of training: share of pairs and times below {SMALL:g}",
            **evidence(over_realisations(share_negligible(small))), expected=MAJORITY, side="at least",
        ),
        Claim.bound(
            f"{L}/small weights/a few are not", source("App. I.1, Fig. 6"),
            f"the largest cross mode of a replica is not: its height, mean over replicas, at least {SMALL:g}",
            **evidence(over_realisations(height)), expected=SMALL, side="at least",
        ),
        Claim.bound(
            f"{L}/small weights/it peaks while a mode is learned", source("App. I.1, Fig. 6"),
            "the largest cross mode peaks while a mode of its is learned, or as long again after: share of replicas",
            **evidence(over_realisations(while_learning(small))), expected=MAJORITY, side="at least",
        ),
        Claim.bound(
            f"{L}/aligned weights/stay aligned/published", source("Assumption A2"),
            f"weights that start aligned stay aligned: height of the largest cross mode, at most {ALIGNED:g}",
            **evidence(noise), expected=ALIGNED, side="at most",
        ),
        Claim.rejection(
            f"{L}/aligned weights/as large as from small weights/control", source("App. I.1"),
            "but noise alone does not make cross modes as large as small weights bring along",
            **evidence(noise), expected=0.0, rejected=float(over_realisations(height).value),
        ),
    ]  # fmt: skip


FIG6 = register(
    Experiment(
        name="corlouer2026/fig6",
        summary="cross modes during training, from small and from aligned weights",
        source=source("Fig. 6"),
        config=TrainingConfig,
        presets={"quick": TrainingConfig(records=800), "paper": TrainingConfig(replicas=256, records=800)},
        run=run,
        figure="corlouer2026/fig6",
    )
)
