"""What principal components of the weights measure, of a network and of the law's own paths (`_late_components`)."""

from collections.abc import Mapping, Sequence

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.kuehn2025._late_claims import combined
from sgdynamics.experiments.kuehn2025._late_components import Window
from sgdynamics.experiments.kuehn2025._late_study import WORDS
from sgdynamics.experiments.kuehn2025._source import source

PLACE = source("after Fig. 17")
SQUARE = 2.0  # Σ ∝ H²
Windows = Mapping[str, Sequence[Window]]


def claims(network: Windows, paths: Windows, expected: float, laws: Mapping[str, float]) -> list[Claim]:
    """Windows ascending, of each sampling; `expected`: the full law's exponent, `laws`: the frozen ones'."""
    found = [_steep("components", sampling, windows[0]) for sampling, windows in network.items()]
    found += [_steep("law's paths", sampling, windows[0]) for sampling, windows in paths.items()]
    found += [
        Claim.rejection(
            f"components/{of.epochs} epochs/control", PLACE,
            "principal components do not measure the law's exponent along the Hessian's modes; as expected, the law's "
            "own paths'",
            **evidence(of.components), expected=own.components.value, rejected=expected,
        )
        for of, own in zip(network["epochs"], paths["epochs"], strict=False)
    ]  # fmt: skip
    return [*found, _falls(network["epochs"], paths["epochs"]), _basis(network["epochs"][-1], expected),
            _approach(paths["epochs"], laws["epochs"]), _alike(paths, laws)]  # fmt: skip


def _steep(of: str, sampling: str, short: Window) -> Claim:
    return Claim.bound(
        f"{of}/{WORDS[sampling]}/{short.epochs} epochs/as steep as H²", PLACE,
        f"d ln s/d ln F of principal components, {WORDS[sampling]}, is that of Σ ∝ H², 2, or steeper",
        expected=SQUARE, side="at least", **evidence(short.components),
    )  # fmt: skip


def _falls(network: Sequence[Window], paths: Sequence[Window]) -> Claim:
    """Of the same replicas, which is why the errors are those of the differences."""
    short, long = network[0], network[-1]
    fall = over_realisations(short.components.groups - long.components.groups)
    law = float(paths[0].components.value - paths[len(network) - 1].components.value)
    return Claim.bound(
        "components/less steep in a longer window", PLACE,
        f"principal components: exponent of {short.epochs} epochs less that of {long.epochs}, at least half of "
        f"what the law's own paths have, {law:.3g}",
        expected=law / 2, side="at least", **evidence(fall),
    )  # fmt: skip


def _basis(long: Window, expected: float) -> Claim:
    own = evidence(long.modes)
    return Claim.bound(
        f"Hessian's modes/{long.epochs} epochs/the law's exponent", PLACE,
        "along the Hessian's modes, same weights: the exponent is within 0.1 of the law's",
        expected=0.1, side="at most", **own | {"measured": abs(float(long.modes.value) - expected)},
    )  # fmt: skip


def _approach(paths: Sequence[Window], law: float) -> Claim:
    short, long = paths[0], paths[-1]
    distance = float(short.components.value) - law
    return Claim.bound(
        f"law's paths/{long.epochs} epochs/near the law's exponent", PLACE,
        f"principal components of a long window with many samples: distance from the law's exponent, {law:.3g}, over "
        f"that of {short.epochs} epochs is at most 0.2",
        expected=0.2, side="at most", **evidence(long.components.map(lambda value: (value - law) / distance)),
    )  # fmt: skip


def _alike(paths: Windows, laws: Mapping[str, float]) -> Claim:
    epochs, white = (paths[sampling][0] for sampling in ("epochs", "replacement"))
    law = laws["epochs"] - laws["replacement"]
    difference = float(epochs.components.value - white.components.value)
    return Claim.bound(
        f"law's paths/{epochs.epochs} epochs/do not tell samplings apart/control", PLACE,
        f"principal components: the exponents of both samplings differ by at most half of the laws' {law:.3g}",
        abs(difference), expected=law / 2, side="at most", **combined([epochs.components, white.components]),
    )  # fmt: skip
