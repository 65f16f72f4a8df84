"""How minibatches are drawn: with replacement, without, and by shuffling epochs. By how much does it matter?

One data set, learning rates η and batch sizes S. Independent batches have the exact discrete law, without replacement
about (P−S)/(P−1) times that with it. In an epoch of M = P/S batches successive noises are anti-correlated
[Kühn and Rosenow, Eq. 2]: frozen noise then gives a mode of curvature h ≪ 3/(ηM) only ηhM/3 times the variance of
independent batches, although the noise of a single step is the same, and moves the mean of the weights off w* by

    −(η/2) H⁻¹ E[(H_B − H) g_B]      (ηhM ≪ 1; g_B the batch gradient at w*),

`theory.epochs.regression_means`. The multiplicative noise changes the covariance in its first order already
(`regression_corrections`); its second, which does not cancel over an epoch, is covered by a stated tolerance
(`regression_multiplicative_scale`). In the paper's Table I none of this is supposed to matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression, _samplings
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._samplings import KINDS, SAMPLERS, WORDS, Kind, Law
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.statistics import Covariance, Estimate, Mean, Projection, Variance, velocity

TABLE = "Gross, Raulf and Räth (2024), Table I, caption"
SOURCES: dict[Kind, str] = {
    "with": "ours: exact discrete law",
    "without": "ours: exact discrete law; Gross, Raulf and Räth (2024), App. C",
    "epochs": "ours: epochs to first order in the multiplicative noise; Kühn and Rosenow, Eq. 2",
}
RESOLUTION = 0.12  # relative, of a variance: sampling changes it by factors of 0.93 to 0.002
LINE = 24  # learning rates of a theory's line


@dataclass(frozen=True)
class SamplingConfig:
    """A grid of learning rates and batch sizes, three ways of sampling."""

    inputs: int = 10
    """N."""
    samples: int = 30
    """P."""
    learning_rates: tuple[float, ...] = (0.02, 0.1, 0.5)
    """Learning rates η; time t = η × step."""
    batch_sizes: tuple[int, ...] = (3, 10)
    """Minibatch sizes S, divisors of P and less than it."""
    closer: tuple[float, int] = (0.1, 3)
    """η and S, of those above, at which modes, mean, loss and gradient are looked at."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 512
    """SGD replicas of each ensemble."""
    records: int = 150
    """Records of each."""
    spacing: int = 10
    """Least number of steps between two records."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "samples", "records", "spacing"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=2)
        _checks.positive("label_noise_std", self.label_noise_std)
        _checks.require("inputs", self.inputs, self.inputs < self.samples, allowed=f"below samples = {self.samples}")
        for η in self.learning_rates:
            _checks.positive("learning_rates", η)
        for S in self.batch_sizes:
            fits = _checks.count("batch_sizes", S) < self.samples and self.samples % S == 0
            _checks.require("batch_sizes", S, fits, allowed=f"divisors of samples = {self.samples}, and less")
        known = len(self.closer) == 2 and self.closer[0] in self.learning_rates and self.closer[1] in self.batch_sizes
        _checks.require("closer", self.closer, known, allowed="a pair from learning_rates and batch_sizes")


@dataclass(frozen=True)
class Cell:
    """One ensemble beside its law. `modes`, `shift`: covariance along the Hessian's modes, and mean − w*; `gradient`:
    total variance of the batch gradient."""

    case: Regression
    law: Law
    modes: Estimate
    shift: Estimate
    gradient: Estimate
    provenance: Mapping[str, Any]

    @property
    def total(self) -> float:
        return float(np.trace(self.law.covariance))


Cells = Mapping[tuple[Kind, float, int], Cell]


def run(config: SamplingConfig, progress: Progress) -> Result:
    """An ensemble for every cell of the grid and way of sampling."""
    data = _data(config)
    cells = {
        (kind, η, S): _cell(config, Regression(data, η, S), kind, progress)
        for S in config.batch_sizes
        for kind in KINDS
        for η in config.learning_rates
    }
    claims = [claim for key, cell in cells.items() for claim in _of_total(cells, key, cell)]
    claims += [claim for S in config.batch_sizes for claim in _of_independence(config, cells, S)]
    claims += _closer({kind: cells[(kind, *config.closer)] for kind in KINDS})
    ensembles = {_label(*key): cell.provenance for key, cell in cells.items()}
    return Result(_stored(config, cells), claims, ensembles)


def _data(config: SamplingConfig):
    η, S = config.closer
    return _regression.teacher_student(
        jax.random.key(config.seed), samples=config.samples, inputs=config.inputs,
        label_noise_std=config.label_noise_std, learning_rate=η, batch_size=S,
    ).data  # fmt: skip


def _label(kind: Kind, η: float, S: int) -> str:
    return f"η = {η:g}, S = {S}/{WORDS[kind]}"


def _cell(config: SamplingConfig, case: Regression, kind: Kind, progress: Progress) -> Cell:
    label, batches = _label(kind, case.learning_rate, case.batch_size), case.samples // case.batch_size
    key, law = _ensembles.named(jax.random.key(config.seed), label), _samplings.law(case, kind)
    every, records = _samplings.spacing(batches, config.spacing), -(-config.records // batches) * batches
    # the start has the law that frozen noise gives; epochs have to find the little that is missing
    burn_in = round(1 / (case.learning_rate * float(case.curvature[0]))) if kind == "epochs" else 0
    modes = Projection(case.modes, case.minimum)
    ensemble = _ensembles.simulate(
        case.descent(SAMPLERS[kind](case.batch_size)),
        {"modes": Covariance(of=modes), "shift": Mean(of=modes), "gradient": Variance(of=velocity)}, progress, label,
        key=key, replicas=config.replicas, steps=records * every, every=every, burn_in=burn_in,
        initial=law.start(case, _ensembles.named(key, "start"), config.replicas),
    )  # fmt: skip
    measured = ensemble.estimates
    gradient = measured["gradient"].map(jnp.sum)
    return Cell(case, law, measured["modes"], measured["shift"], gradient, ensemble.provenance)


# --- the claims ---------------------------------------------------------------------------------------------


def _of_total(cells: Cells, key: tuple[Kind, float, int], cell: Cell) -> list[Claim]:
    """The total variance; under epoch shuffling it is not that of independent batches with the same noise."""
    kind, η, S = key
    total = cell.modes.map(jnp.trace)
    claims = [
        Claim.equality(
            f"{_label(*key)}/total variance", SOURCES[kind], "tr Cov w [weight²]", **evidence(total),
            expected=cell.total, resolution=RESOLUTION * cell.total, tolerance=np.trace(cell.law.neglected),
            note="tolerance: second order of the multiplicative noise" if kind == "epochs" else "",
        )
    ]  # fmt: skip
    if kind == "epochs":
        claims.append(
            Claim.rejection(
                f"{_label(*key)}/independent/control", SOURCES[kind],
                "not that of independent batches with the same noise in each step [weight²]",
                **evidence(total), expected=cell.total, rejected=cells["without", η, S].total,
            )
        )  # fmt: skip
    return claims


def _of_independence(config: SamplingConfig, cells: Cells, S: int) -> list[Claim]:
    """Table I's caption: the sampling method makes no difference."""
    η = config.closer[0]
    reference = cells["with", η, S].total
    return [
        Claim.equality(
            f"η = {η:g}, S = {S}/{WORDS[kind]}/independence/published", TABLE,
            "tr Cov w in that with replacement (exact): properties are independent of sampling",
            **evidence(cells[kind, η, S].modes.map(lambda M: jnp.trace(M) / reference)), expected=1.0,
            resolution=RESOLUTION,
        )
        for kind in ("without", "epochs")
        # with S ≪ P replacement is rare, and the paper says so: the difference must be one that is claimed away
        if kind == "epochs" or (S - 1) / (config.samples - 1) > 2 * RESOLUTION
    ]  # fmt: skip


def _closer(cells: Mapping[Kind, Cell]) -> list[Claim]:
    """At one learning rate and batch size: modes, gradient, excess loss, mean."""
    claims = [claim for kind in KINDS for claim in _of_gradient_and_loss(f"closer/{WORDS[kind]}", kind, cells[kind])]
    for name, rank in (("softest", 0), ("stiffest", -1)):
        claims.append(_of_mode(f"closer/epochs/{name} mode", cells["epochs"], rank))
    return [*claims, _not_frozen(cells["epochs"]), *_of_shift(cells["epochs"], cells["with"])]


def _of_gradient_and_loss(prefix: str, kind: Kind, cell: Cell) -> list[Claim]:
    H, law = np.diag(np.asarray(cell.case.curvature)), cell.law
    V = np.asarray(cell.case.modes)
    shift = V.T @ law.shift
    gradient, neglected = float(np.trace(law.gradient)), float(np.trace(H @ V.T @ law.neglected @ V))
    loss = float(np.trace(H @ (V.T @ law.covariance @ V + np.outer(shift, shift)))) / 2
    # the mean's share of the loss by theory: it is small, and measured on its own below
    of_mean = float(shift @ H @ shift) / 2
    h = jnp.asarray(cell.case.curvature)
    return [
        Claim.equality(
            f"{prefix}/gradient", SOURCES[kind], "total variance of the batch gradient [1/weight²]",
            **evidence(cell.gradient), expected=gradient, resolution=gradient / 20,
            # the multiplicative noise adds 2 H M/η of what it adds to M, as in any stationary state
            tolerance=2 * neglected / cell.case.learning_rate,
        ),
        Claim.equality(
            f"{prefix}/excess loss", SOURCES[kind], "E L − L* = ½ tr H E δδᵀ [output²]",
            **evidence(cell.modes.map(lambda M: jnp.sum(h * jnp.diag(M)) / 2 + of_mean)), expected=loss,
            resolution=RESOLUTION * loss, tolerance=neglected / 2,
        ),
    ]  # fmt: skip


def _of_mode(id: str, cell: Cell, rank: int) -> Claim:
    v = np.asarray(cell.case.modes)[:, rank]
    expected, neglected = float(v @ cell.law.covariance @ v), float(v @ cell.law.neglected @ v)
    return Claim.equality(
        id, SOURCES["epochs"], f"variance of the mode of curvature {float(cell.case.curvature[rank]):.3g} [weight²]",
        **evidence(cell.modes.map(lambda M: M[rank, rank])), expected=expected, resolution=RESOLUTION * expected,
        tolerance=neglected,
    )  # fmt: skip


def _not_frozen(cell: Cell) -> Claim:
    """Kühn and Rosenow's static noise, for this H and C: too little, by the third moments of batches."""
    frozen = float(np.trace(cell.law.frozen))
    return Claim.rejection(
        "closer/epochs/frozen noise/control", "Kühn and Rosenow, Assumption 2",
        "tr Cov w is not that of noise frozen at w*, in units of it",
        **evidence(cell.modes.map(lambda M: jnp.trace(M) / frozen)), expected=cell.total / frozen,
        rejected=1.0,
    )  # fmt: skip


def _of_shift(epochs: Cell, independent: Cell) -> list[Claim]:
    """The mean along the direction of the expected shift, in units of it: 1 under epoch shuffling, 0 otherwise."""
    shift = np.asarray(epochs.case.modes).T @ epochs.law.shift
    along = jnp.asarray(shift / (shift @ shift))
    statement = "mean weights off w*, along the expected shift and in its units"
    measured = evidence(epochs.shift.map(lambda m: along @ m))
    return [
        Claim.equality(
            "closer/epochs/shift of the mean", "ours: anti-correlated batches", statement, **measured, expected=1.0,
            resolution=0.5, tolerance=epochs.law.accuracy,
        ),
        Claim.rejection(
            "closer/epochs/unbiased/control", "ours: anti-correlated batches", f"{statement}: it is not zero",
            **measured, expected=1.0, rejected=0.0,
        ),
        Claim.equality(
            "closer/with replacement/no shift", "Gross, Raulf and Räth (2024), Eq. 2.27", statement,
            **evidence(independent.shift.map(lambda m: along @ m)), expected=0.0, resolution=1.0,
        ),
    ]  # fmt: skip


# --- what is stored -----------------------------------------------------------------------------------------


def _stored(config: SamplingConfig, cells: Cells) -> xr.Dataset:
    dims = ("sampling", "batch_size", "learning_rate")
    grid = lambda f: np.array(
        [[[float(f(cells[kind, η, S])) for η in config.learning_rates] for S in config.batch_sizes] for kind in KINDS]
    )
    total = {key: cell.modes.map(jnp.trace) for key, cell in cells.items()}
    of = {id(cell): total[key] for key, cell in cells.items()}
    reference = np.array([[cells["with", η, S].total for η in config.learning_rates] for S in config.batch_sizes])
    words = "total variance, in that with replacement"
    variables = {
        "ratio": variable(dims, grid(lambda cell: of[id(cell)].value) / reference, f"{words}, measured"),
        "ratio_error": variable(
            dims, grid(lambda cell: of[id(cell)].standard_error) / reference, f"{words}, standard error"
        ),
        "ratio_theory": variable(
            ("sampling", "batch_size", "learning_rate_theory"), _lines(config), f"{words}, theory"
        ),
        "total": variable(dims, grid(lambda cell: cell.total), "total variance, theory", "weight²"),
    }
    return dataset(variables | _modes(config, cells), _coordinates(config, cells)).assign_attrs(
        closer=f"η = {config.closer[0]:g}, S = {config.closer[1]}"
    )


def _rates(config: SamplingConfig) -> np.ndarray:
    return np.geomspace(min(config.learning_rates) / 1.5, max(config.learning_rates) * 1.2, LINE)


def _lines(config: SamplingConfig) -> np.ndarray:
    """Ratios of total variances over a fine grid of learning rates."""
    data = _data(config)
    total = lambda kind, S: [np.trace(_samplings.law(Regression(data, η, S), kind).covariance) for η in _rates(config)]
    return np.array([[np.divide(total(kind, S), total("with", S)) for S in config.batch_sizes] for kind in KINDS])


def _modes(config: SamplingConfig, cells: Cells) -> dict:
    η, S = config.closer
    unit, variables = η * config.label_noise_std**2 / (2 * S), {}
    for kind in KINDS:
        cell, words = cells[kind, η, S], f"variance of a mode, {WORDS[kind]}"
        measured = cell.modes.map(lambda M: jnp.diag(M) / unit)
        V, name = np.asarray(cell.case.modes), f"mode_{kind}"
        expected = np.einsum("ik,ij,jk->k", V, cell.law.covariance, V) / unit
        variables |= measurement(name, "curvature", measured, words, "ησ²/(2S)")
        variables[f"{name}_theory"] = variable("curvature", expected, f"{words}, theory", "ησ²/(2S)")
    return variables


def _coordinates(config: SamplingConfig, cells: Cells) -> dict:
    return {
        "sampling": variable("sampling", [WORDS[kind] for kind in KINDS], "way of sampling"),
        "batch_size": variable("batch_size", list(config.batch_sizes), "batch size S"),
        "learning_rate": variable("learning_rate", list(config.learning_rates), "learning rate η", "1/curvature"),
        "learning_rate_theory": variable("learning_rate_theory", _rates(config), "learning rate η", "1/curvature"),
        "curvature": variable("curvature", next(iter(cells.values())).case.curvature, "curvature h", "output²/weight²"),
    }


SAMPLING = register(
    Experiment(
        name="beyond/sampling",
        summary="with replacement, without, or by epochs: how far the stationary state depends on it",
        source="ours; Gross, Raulf and Räth (2024), Table I; Kühn and Rosenow (2025)",
        config=SamplingConfig,
        presets={
            "quick": SamplingConfig(),
            "paper": SamplingConfig(
                learning_rates=(0.02, 0.05, 0.1, 0.2, 0.5), batch_sizes=(1, 3, 10), replicas=2048, records=600
            ),
        },
        run=run,
        figure="beyond/sampling",
    )
)
