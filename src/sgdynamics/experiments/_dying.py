"""More inputs than samples: no noise at the minimum, so that fluctuations of displaced weights die out (2.16).

Half of the replicas start at w*, half beside it, displaced equally along all P modes that move; the other modes
never do. The total variance is held against the exact second moments of the transient. In float64: in float32,
what starts at w* would be displaced by rounding.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._regression import Regression
from sgdynamics.statistics import Estimate, Projection, Snapshots
from sgdynamics.theory import regression

ROUNDING = 1e-20  # variance of resting weights, in that of displaced ones, that float64 may leave
RECORDS = 12  # that are kept, at most, evenly spaced in the logarithm


@dataclass(frozen=True)
class Dying:
    """Total variance of the weights after `steps`, from w* and from beside it, measured and exact."""

    steps: np.ndarray
    displaced: Estimate
    resting: np.ndarray
    exact: np.ndarray
    provenance: dict


def dying(
    case: Regression,
    progress: Progress,
    label: str,
    *,
    key: jax.Array,
    displacement: float,
    replicas: int,
    steps: int,
    every: int,
) -> Dying:
    """Both halves of one ensemble, and the exact variances of the displaced one."""
    P, half, kept = case.samples, replicas // 2, kept_records(steps, every)
    V, w = np.asarray(case.modes)[:, -P:], np.asarray(case.minimum)
    start = np.where(np.arange(2 * half)[:, None] < half, w, w + displacement * V.sum(axis=1))
    ensemble = _ensembles.simulate(
        case.descent(), Snapshots((kept * every).tolist(), of=Projection(V, w)), progress, label, key=key,
        replicas=2 * half, steps=steps, every=every, initial=start, dtype=jnp.float64,
    )  # fmt: skip
    mean, exact = once(regression.mode_moments_after)(
        case.data.x, case.data.y, V, np.full(P, displacement), np.zeros(P), learning_rate=case.learning_rate,
        batch_size=case.batch_size, records=steps // every, every=every,
    )  # fmt: skip
    values, means = np.asarray(ensemble.estimates.values), np.asarray(mean)[kept]
    displaced = np.sum((values[:, half:] - means[:, None]) ** 2, axis=2)
    resting = np.sum(values[:, :half] ** 2, axis=2).mean(axis=1)
    variance = np.asarray(exact).sum(axis=1)[kept]
    return Dying(kept * every, over_realisations(displaced.T), resting, variance, ensemble.provenance)


def kept_records(steps: int, every: int) -> np.ndarray:
    """The records that are kept, the last among them."""
    return np.unique(np.round(np.geomspace(1, steps // every, RECORDS)).astype(int))


def claims_of_dying(prefix: str, source: str, result: Dying) -> list[Claim]:
    """The variance falls as the exact second moments do; it does not last; at the minimum there is none."""
    peak, last = int(np.argmax(result.exact)), float(result.exact[-1])
    share = last / float(result.exact[peak])
    return [
        Claim.equality(
            f"{prefix}/dying out", "ours: exact second moments in the transient",
            f"total variance of displaced weights after {result.steps[-1]} steps [weight²]",
            **evidence(result.displaced.map(lambda v: v[-1])), expected=last, resolution=last / 2,
        ),
        Claim.rejection(
            f"{prefix}/lasting/control", source, "the fluctuations of displaced weights do not last: part of their "
            f"variance at step {result.steps[peak]} that is left at step {result.steps[-1]}",
            **evidence(result.displaced.map(lambda v: v[-1] / v[peak])), expected=share, rejected=1.0,
        ),
        Claim.bound(
            f"{prefix}/at rest", source, "variance of weights that start at w*, in that of displaced ones",
            float(result.resting[-1]) / last, 0.0, ROUNDING, side="at most",
        ),
    ]  # fmt: skip
