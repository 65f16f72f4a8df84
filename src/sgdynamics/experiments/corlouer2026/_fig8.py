"""Fig. 8: Frobenius norms of the layers during training.

Once all modes are learned, a balanced network has |W_l|² = Σ_α s_α^{2/L} in every layer, whatever it started from. From
small weights the start's d_l d_{l−1} d^{−γ} adds to that, less what the learned directions had of it: norms grow by far
more than the imbalance changes, which is why r_l falls (Fig. 7).
"""

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, Weights
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.experiments.corlouer2026._training import TrainingConfig, along_time, train_all

NEARLY = 0.02  # the imbalance that SGD's noise has made by then, relative


def run(config: TrainingConfig, progress: Progress) -> Result:
    """Both starts at both depths."""
    ensembles = train_all(config, progress)
    variables, coordinates = along_time(ensembles, {"norm": (norms, "|W_l|, mean over l", "weight")})
    expected = [balanced_norm(ensembles[f"L = {L}, balanced"]) for L in config.depths]
    data = dataset(variables, coordinates).assign_attrs(depths=list(config.depths), balanced_norms=expected)
    claims = [claim for L in config.depths for claim in _claims(L, ensembles)]
    return Result(data, claims, {name: paths.provenance for name, paths in ensembles.items()})


def norms(paths: Paths) -> np.ndarray:
    """|W_l| [records, replicas, L]."""
    return paths.map(_norms)


def _norms(W: Weights) -> jax.Array:
    return jnp.stack([jnp.linalg.norm(layer) for layer in W])


def balanced_norm(paths: Paths) -> float:
    """√Σ_α s_α^{2/L}: every layer's norm in a balanced network that has learned all modes."""
    return float(np.sqrt(np.sum(paths.student.singular_values ** (2 / paths.student.depth))))


def _claims(depth: int, ensembles: dict[str, Paths]) -> list[Claim]:
    L = f"L = {depth}"
    small, balanced = (norms(ensembles[f"{L}, {start}"]) for start in ("small", "balanced"))
    expected = balanced_norm(ensembles[f"{L}, balanced"])
    end = over_realisations((balanced[-1] ** 2).mean(axis=-1) / expected**2)
    return [
        Claim.bound(
            f"{L}/small weights/norms grow", source("Fig. 8"),
            "layers grow during training: |W_l| at the end over that at the start, mean over layers",
            **evidence(over_realisations((small[-1] / small[0]).mean(axis=-1))), expected=1.0, side="at least",
        ),
        Claim.equality(
            f"{L}/balanced weights/norm at the end", source("Fig. 8; assumption A1"),
            f"|W_l|² is Σ_α s_α^(2/L), mean over layers, relative, within {NEARLY:g}",
            **evidence(end), expected=1.0, resolution=NEARLY, tolerance=NEARLY,
        ),
        Claim.rejection(
            f"{L}/balanced weights/one layer has learned all/control", source("Fig. 8"),
            "not Σ_α s_α², which one layer alone would have, the others staying orthogonal",
            **evidence(end), expected=1.0,
            rejected=float(np.sum(ensembles[f"{L}, balanced"].student.singular_values ** 2)) / expected**2,
        ),
    ]  # fmt: skip


FIG8 = register(
    Experiment(
        name="corlouer2026/fig8",
        summary="Frobenius norms of the layers during training",
        source=source("Fig. 8"),
        config=TrainingConfig,
        presets={"quick": TrainingConfig(records=200), "paper": TrainingConfig(replicas=256, records=400)},
        run=run,
        figure="corlouer2026/fig8",
    )
)
