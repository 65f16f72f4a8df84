"""Fig. 7: how balanced the weights are during training, from small and from balanced weights.

    B_l = W_l W_lᵀ − W_{l+1}ᵀ W_{l+1},        r_l = |B_l| / (|W_l W_lᵀ| + |W_{l+1}ᵀ W_{l+1}|)                   (33)

Gradient flow keeps every B_l. A step of SGD changes it by exactly η² (g_l g_lᵀ − g_{l+1}ᵀ g_{l+1}), so that

    d E B_l / dt = η E[g_l g_lᵀ − g_{l+1}ᵀ g_{l+1}]            gradients g of the minibatch (`balance_drift`):

of order η/b, and never back to 0. From small weights r_l falls, but only because the weights grow: |B_l| stays nearly
what it was with two layers. With four, training takes ten times as long, and the drift makes much more of it than
small weights had at the start: then r_l ends no lower from small than from balanced weights.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sgdynamics.experiments._claims import PUBLISHED, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Paths, Weights
from sgdynamics.experiments._variables import dataset
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.experiments.corlouer2026._training import TrainingConfig, along_time, train_all
from sgdynamics.theory import deep_linear

BALANCED = 1e-3  # gradient descent from the same weights, with its finite steps, ends at 1e-4
LITTLE = 0.2  # relative change that we would call little


def run(config: TrainingConfig, progress: Progress) -> Result:
    """Both starts at both depths."""
    ensembles = train_all(config, progress)
    quantities = {
        "ratio": (ratio, "imbalance r_l, mean over l", "1"),
        "size": (size, "|B_l|, mean over l", "weight²"),
    }
    variables, coordinates = along_time(ensembles, quantities)
    data = dataset(variables, coordinates).assign_attrs(depths=list(config.depths))
    claims = [claim for L in config.depths for claim in _claims(L, ensembles)]
    return Result(data, claims, {name: paths.provenance for name, paths in ensembles.items()})


def ratio(paths: Paths) -> np.ndarray:
    """r_l [records, replicas, L − 1]."""
    return paths.map(deep_linear.imbalance)


def size(paths: Paths) -> np.ndarray:
    """|B_l|, the numerator of (33) [records, replicas, L − 1]."""
    return paths.map(_sizes)


def growth(paths: Paths) -> tuple[np.ndarray, np.ndarray]:
    """tr B_l at the end less that at the start, and the integral of its drift along the path [replicas, L − 1].

    They differ by a martingale, of mean 0, and by the error of the trapezoidal rule over the records.
    """
    student, traces = paths.student, paths.map(_traces)
    drift = paths.map(_drifts, student.teacher.matrix, *map(jnp.asarray, student.hyperparameters.values()))
    return traces[-1] - traces[0], np.trapezoid(drift, paths.times, axis=0)


def _sizes(W: Weights) -> jax.Array:
    return jnp.stack([jnp.linalg.norm(B) for B in deep_linear.balances(W)])


def _traces(W: Weights) -> jax.Array:
    return jnp.stack([jnp.trace(B) for B in deep_linear.balances(W)])


def _drifts(W: Weights, teacher: jax.Array, η: jax.Array, b: jax.Array, σ: jax.Array) -> jax.Array:
    drift = deep_linear.balance_drift(W, teacher, learning_rate=η, batch_size=b, label_noise_std=σ, form="sgd")
    return jnp.stack([jnp.trace(part) for part in drift])


def _claims(depth: int, ensembles: dict[str, Paths]) -> list[Claim]:
    L = f"L = {depth}"
    small, balanced = ensembles[f"{L}, small"], ensembles[f"{L}, balanced"]
    # noise has by then unbalanced deep networks by more than small weights were from the start
    deep = PUBLISHED * (depth > 2)
    return [*_small(L, deep, small), *_balanced(L, deep, small, balanced)]


def _small(L: str, deep: str, small: Paths) -> list[Claim]:
    r, numerator = (values.mean(axis=-1) for values in (ratio(small), size(small)))
    return [
        Claim.bound(
            f"{L}/small weights/r falls", source("App. I.2, Fig. 7"),
            "balance increases: r_l at the end over that at the start, mean over layers and replicas",
            **evidence(over_realisations(r[-1] / r[0])), expected=1.0, side="at most",
        ),
        Claim.bound(
            f"{L}/small weights/the numerator changes little{deep}", source("App. I.2, Fig. 7(c), (d)"),
            f"only because weights grow: relative change of |B_l|, mean over layers, at most {LITTLE:g}",
            **evidence(over_realisations(np.abs(numerator[-1] / numerator[0] - 1))), expected=LITTLE, side="at most",
        ),
    ]  # fmt: skip


def _balanced(L: str, deep: str, small: Paths, balanced: Paths) -> list[Claim]:
    final = over_realisations(ratio(balanced)[-1].mean(axis=-1))
    measured, predicted = growth(balanced)
    l = int(np.argmax(np.abs(predicted.mean(axis=0))))
    mean, paired = over_realisations(measured[:, l]), over_realisations((measured - predicted)[:, l])
    expected = float(predicted[:, l].mean())
    found = evidence(mean) | {"standard_error": paired.standard_error}
    most = np.minimum.reduce(ratio(small).mean(axis=-1))
    return [
        Claim.bound(
            f"{L}/balanced weights/preserved/published", source("Assumption A1"),
            f"balance is preserved at all times: r_l at the end, mean over layers, at most {BALANCED:g}",
            **evidence(final), expected=BALANCED, side="at most",
        ),
        Claim.equality(
            f"{L}/balanced weights/drift of the balance", source("Eq. 33; exact drift of the balance"),
            f"tr B_{l + 1} has grown by the integral of its drift along the path (error: of the difference)",
            **found, expected=expected, resolution=abs(expected) / 4,
        ),
        Claim.rejection(
            f"{L}/balanced weights/no drift/control", source("Assumption A1"), f"tr B_{l + 1} has not kept its value 0",
            **found, expected=expected, rejected=0.0,
        ),
        Claim.bound(
            f"{L}/small weights never get there{deep}", source("App. I.2"),
            "least r_l along training from small weights over r_l at the end from balanced ones",
            **evidence(over_realisations(most / float(final.value))), expected=1.0, side="at least",
        ),
    ]  # fmt: skip


FIG7 = register(
    Experiment(
        name="corlouer2026/fig7",
        summary="balance of the layers during training, from small and from balanced weights",
        source=source("Fig. 7"),
        config=TrainingConfig,
        presets={"quick": TrainingConfig(), "paper": TrainingConfig(replicas=256, records=1600)},
        run=run,
        figure="corlouer2026/fig7",
    )
)
