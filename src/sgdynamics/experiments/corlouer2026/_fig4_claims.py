"""What the endings of Fig. 4 of Corlouer et al. (2026) are held against."""

import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.corlouer2026 import _collapse
from sgdynamics.experiments.corlouer2026._fig4_endings import Endings
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.statistics import Estimate

POINT = 1e-4  # narrower than this, a histogram like the paper's shows a point
WIDE = 1e-2  # wider than this, it shows a width
FLAT = 0.05  # relative size of what ηε/2 leaves out, for ε ≤ 1: ηh/2 and multiples of ηε/s²


def claims(endings: Endings) -> list[Claim]:
    """Collapse, its pace, the widths of isotropic noise, and what makes a width where none should be."""
    return [*_collapsed(endings), *_paces(endings), *_widths(endings), *_early(endings), *_roots(endings)]


def _std(values: np.ndarray) -> dict:
    return evidence(_collapse.variance(values).map(jnp.sqrt))


def _collapsed(endings: Endings) -> list[Claim]:
    stds = {name: _std(endings.small[name][-1, :, 0]) for name in ("SGD", "SDE")}
    return [
        *(Claim.bound(f"small starts/{name}/a point", source("Prop. 5.2 (i)"),
                      f"{name} ends in a point: standard deviation of w_1 below {POINT:g}", **std, expected=POINT,
                      side="at most") for name, std in stds.items()),
        Claim.bound("small starts/SDE/a width/published", source("Fig. 4(b)"),
                    f"(1) does not end in a point: standard deviation of w_1 above {POINT:g}", **stds["SDE"],
                    expected=POINT, side="at least"),
    ]  # fmt: skip


def _paces(endings: Endings) -> list[Claim]:
    """Near the minimum, against the linear map, which leaves out terms of a few displacements."""
    return [claim for name in endings.near for claim in _pace(endings, name)]


def _pace(endings: Endings, name: str) -> list[Claim]:
    row, mapped = endings.near[name], endings.mapped(name)
    first, late = endings.record(endings.compared), endings.record(2 * endings.compared)
    total = over_realisations((row[first] ** 2).sum(axis=-1) / mapped[first].sum())
    own = over_realisations(row[late, :, 0] ** 2 / mapped[late, 0])
    lone = np.exp(-endings.lone_rate * endings.times[late]) * mapped[0, 0] / mapped[late, 0]
    return [
        Claim.equality(f"near/{name}/mean square", "ours",
                       f"Σ_γ δ_γ² over the linear map's at t = {endings.times[first]:.3g} is 1", **evidence(total),
                       expected=1.0, resolution=0.3, tolerance=4 * endings.displacement),
        Claim.rejection(f"near/{name}/one mode alone/control", source("Prop. 3.5"),
                        f"(w − s)² over the linear map's at t = {endings.times[late]:.3g} is not what one mode alone "
                        "leaves, which falls with 2h − O(β)", **evidence(own), expected=1.0, rejected=lone),
    ]  # fmt: skip


def _widths(endings: Endings) -> list[Claim]:
    """Variance where isotropic noise has settled, the last third of the run, over ηε/2."""
    last = endings.times >= 2 / 3 * endings.times[-1]
    over = lambda name, V: _collapse.variance(endings.small[name][last, :, 0]).map(lambda v: v / V)
    ratios: dict[str, Estimate] = {name: over(name, V) for name, V in endings.floors.items()}
    return [
        *(Claim.equality(f"{name}/variance", source("App. H.3") if name == "isotropic" else "ours",
                         f"variance of w_1 over ηε/2 is 1, ε = {endings.variances[name]:g}", **evidence(ratio),
                         expected=1.0, resolution=0.5, tolerance=FLAT) for name, ratio in ratios.items()),
        Claim.rejection("isotropic/variance η/control", "ours", "variance of w_1 over ηε/2 is not 2, that of η ε",
                        **evidence(ratios["isotropic"]), expected=1.0, rejected=2.0),
    ]  # fmt: skip


def _early(endings: Endings) -> list[Claim]:
    """Stopped while the first mode is learned, from small starts."""
    at = endings.record(endings.early)
    values = {name: endings.small[name][at, :, 0] for name in ("SGD", "SDE")}
    sgd, sde = (_collapse.spread(values[name]) for name in ("SGD", "SDE"))
    excess = over_realisations(np.stack([sgd, sde], axis=-1)).map(lambda V: V[1] / V[0] - 1)
    time = f"stopped at t = {endings.times[at]:.3g}"
    return [
        *(Claim.bound(f"stopped early/{name}/a width", "ours", f"{time}, {name} has a width above {WIDE:g}",
                      **_std(amplitude), expected=WIDE, side="at least") for name, amplitude in values.items()),
        Claim.equality("stopped early/SDE no wider than SGD", "ours",
                       f"{time}, the SDE's variance over SGD's less 1, from the same starts", **evidence(excess),
                       expected=0.0, resolution=0.75),
    ]  # fmt: skip


def _roots(endings: Endings) -> list[Claim]:
    """Roots of Σ as a dense route takes them."""
    ε = max(endings.jitters)
    return [
        Claim.bound(f"matrix root/ε = {ε:g} added/a width", "ours",
                    f"with ε on the diagonal of Σ the standard deviation stays above {POINT:g}",
                    **_std(endings.small[f"SDE + {ε:g}"][-1, :, 0]), expected=POINT, side="at least"),
        Claim.bound("matrix root/eigenvectors in 32 bits/a point", "ours",
                    f"with eigenvectors in 32 bits it falls below {POINT:g}", **_std(endings.root), expected=POINT,
                    side="at most"),
    ]  # fmt: skip
