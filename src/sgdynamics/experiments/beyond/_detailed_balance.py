"""Broken detailed balance, measured: SGD turns in the planes of its current.

The paper shows the spectra of Q (Fig. 5c) and of a covariance that detailed balance would make different. The
current itself is a rotation (`theory.regression.rotation`): with y = (weights − w*) in coordinates that are white
in the stationary state, R(τ) = E[y(t+τ) y(t)ᵀ] over a lag τ and G(τ) = (R − Rᵀ)/(2τ),

    ω_k = G_ba                       angular velocity in plane k = (a, b): E[y_a dy_b − y_b dy_a] / (2 dt)
    tr[Gᵀ D⁻¹ G(τ)]                 E⟨F(y) ∘ dy⟩/dt: work of the theory's force F = D⁻¹G y on measured displacements
    tr[G(τ)ᵀ D⁻¹ G(τ)]              entropy production with nothing assumed of the circulation

The first two are linear in a measured covariance, so without bias; the third is a mean over pairs of independent
groups of replicas, so without bias too. All three are compared with the exact discrete law at the same lag,
R = (1 − ηH)ᵏ M; over ten steps the entropy production is seen smaller by O(10 ηh) than that of the continuous process.
Error over signal does not depend on the lag as long as τ γ ≪ 1, because consecutive displacements add up: the short
lag measures the rates, longer ones show how the correlation grows and decays.

Where it ends: (N/P)² tr H for P ≫ N, from `theory.regression.large_sample_entropy_production`; towards P = N it
grows like N/(P − N) (typical data; the mean over data is infinite for P = N + 1, where C may be singular).
Controls: ω = 0 against SGD; and the SDE with C ∝ H, which obeys detailed balance and must stand still.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles, _regression
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.beyond._turning import Measured, Turning
from sgdynamics.statistics import Estimate
from sgdynamics.theory import regression

GROSS = "Gross, Raulf and Räth (2024)"
SECTION = f"{GROSS}, Sec. II C"


@dataclass(frozen=True)
class DetailedBalanceConfig:
    """The stationary current at several numbers of samples, and of other dynamics at the first of them."""

    inputs: int = 100
    """N."""
    ratios: tuple[float, ...] = (1.2, 2.0, 5.0)
    """P/N of the data sets that are simulated; the first one closely."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 1024
    """SGD replicas at each ratio."""
    steps: int = 4000
    """SGD steps."""
    every: int = 10
    """Steps between two records, and the lag over which the current is measured."""
    lags: tuple[int, ...] = (20, 50, 100, 200, 400, 800, 1600)
    """Lags of the correlation that is drawn, in steps; multiples of `every`."""
    sde_replicas: int = 256
    """Replicas of each stochastic differential equation."""
    sde_steps: int = 400
    """Their steps, each of a learning rate."""
    substeps: int = 8
    """Euler-Maruyama steps a learning rate of the SDE with SGD's noise: its own error is O(ηh/16)."""
    average_ratios: tuple[float, ...] = (1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
    """P/N of the averages over data, increasing."""
    realisations: int = 50
    """Data sets in each average."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "steps", "every", "sde_steps", "substeps"):
            _checks.count(name, getattr(self, name))
        for name in ("replicas", "sde_replicas"):
            _checks.count(name, getattr(self, name), least=32, remedy="One replica in each of 32 groups.")
        _checks.count("realisations", self.realisations, least=2)
        for name in ("learning_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        self._check_ratios()
        for lag in self.lags:
            allowed = f"a multiple of every = {self.every}, at most steps = {self.steps}"
            _checks.require("lags", lag, lag % self.every == 0 and self.every <= lag <= self.steps, allowed=allowed)
        some = any(lag <= self.sde_steps for lag in self.lags)
        _checks.require("lags", self.lags, some, allowed=f"not all beyond sde_steps = {self.sde_steps}")

    def _check_ratios(self) -> None:
        _checks.require("ratios", self.ratios, len(self.ratios) > 0, allowed="at least one")
        least = 1 + 3 / self.inputs  # below, the mean over data has no variance, or does not exist
        for name in ("ratios", "average_ratios"):
            for ratio in getattr(self, name):
                _checks.require(name, ratio, ratio >= least, allowed=f"at least {least:g}")
        increasing = len(self.average_ratios) > 0 and list(self.average_ratios) == sorted(set(self.average_ratios))
        _checks.require("average_ratios", self.average_ratios, increasing, allowed="increasing")

    def case(self, ratio: float, key: jax.Array) -> Regression:
        """One data set."""
        return _regression.teacher_student(
            key, samples=round(ratio * self.inputs), inputs=self.inputs, label_noise_std=self.label_noise_std,
            learning_rate=self.learning_rate, batch_size=self.batch_size,
        )  # fmt: skip


def run(config: DetailedBalanceConfig, progress: Progress) -> Result:
    """One ensemble of SGD at each ratio, two of other dynamics at the first, and averages over data."""
    parts = [Part(config, ratio, progress) for ratio in config.ratios]
    others = Others(parts[0], progress)
    average = Average.over_data(config)
    claims = [claim for part in parts for claim in part.claims()] + others.claims() + average.claims()
    variables = {**others.variables(), **average.variables()}
    for part in parts:
        variables |= part.variables()
    ensembles = {part.label: part.ensemble.provenance for part in parts} | others.provenance
    return Result(_data(config, variables, parts), claims, ensembles)


class Part:
    """SGD on one data set, started from its own law."""

    def __init__(self, config: DetailedBalanceConfig, ratio: float, progress: Progress):
        self.config, self.ratio, self.label = config, ratio, f"P/N = {ratio:g}"
        key = _ensembles.named(jax.random.key(config.seed), self.label)
        self.key, self.case = key, config.case(ratio, key)
        self.turning = Turning(self.case, config.every)
        statistics = self.turning.statistics(config.lags if ratio == config.ratios[0] else (config.every,))
        self.ensemble = _ensembles.simulate(
            self.case.descent(), statistics, progress, self.label, key=key, replicas=config.replicas,
            steps=config.steps, every=config.every, initial=self.case.prediction,
        )  # fmt: skip

    @cached_property
    def measured(self) -> Measured:
        """The current at the short lag."""
        return self.turning.measured(self.ensemble.estimates["short"])

    @cached_property
    def expected(self) -> np.ndarray:
        """G of the exact law at the short lag."""
        return self.turning.current(self.turning.exact(self.config.every), self.config.every)

    def claims(self) -> list[Claim]:
        """The rotation and the entropy production of SGD's exact law; no detailed balance."""
        turning, prefix = self.turning, self.label
        expected = np.asarray(turning.rates(self.expected))
        fastest = evidence(self.measured.fastest)
        radians = turning.planes.rates[0] / turning.planes.damping[0]
        work, square = float(turning.work(self.expected)), turning.square(self.expected, self.expected)
        return [
            Claim.equality(
                f"{prefix}/angular velocity", f"{SECTION}; exact discrete law",
                f"rate of turning in the fastest plane, {radians:.2g} radians in a relaxation time", **fastest,
                expected=expected[0], resolution=expected[0] / 2,
            ),
            Claim.rejection(
                f"{prefix}/angular velocity/control", f"{GROSS}, Eq. 2.33", "not detailed balance: no turning",
                **fastest, expected=expected[0], rejected=0.0,
            ),
            Claim.equality(
                f"{prefix}/angular velocity/published", f"{GROSS}, Eqs. 2.30, 2.32",
                "the current −Q M⁻¹ (w − w*) p as printed, without λ/2", **fastest,
                expected=2 / self.config.learning_rate * expected[0], resolution=expected[0],
                note="In the scan this line is damaged; it may have lost the factor.",
            ),
            Claim.bound(
                f"{prefix}/all planes", f"{SECTION}; exact discrete law",
                "rates of turning in all planes agree (p-value)",
                sgd.compare(self.measured.rates, expected, level=LEVEL).p_value, 0.0, LEVEL, side="at least",
            ),
            Claim.equality(
                f"{prefix}/entropy production", SECTION,
                f"work of the force of the current, per time; {turning.continuum:.4g} in continuous time",
                **evidence(self.measured.work), expected=work, resolution=work / 4,
            ),
            Claim.equality(
                f"{prefix}/entropy production, measured current", SECTION,
                "entropy production, from pairs of groups of replicas, the circulation not assumed",
                **evidence(self.measured.entropy), expected=square, resolution=square / 2,
            ),
        ]  # fmt: skip

    def variables(self) -> dict[str, Variable]:
        """Angular velocities of all planes."""
        name, words = f"rate_{self.ratio:g}", f"angular velocity, {self.label}"
        exact = self.turning.rates(self.expected)
        return measurement(f"{name}_sgd", "plane", self.measured.rates, f"{words}, SGD", "1/t") | {
            f"{name}_exact": variable("plane", exact, f"{words}, exact law at the same lag", "1/t")
        }


class Others:
    """At the first ratio: how the correlation grows and decays, in SGD and in two SDEs."""

    def __init__(self, part: Part, progress: Progress):
        self.part, self.config, self.turning = part, part.config, part.turning
        case, config = part.case, part.config
        self.covariance = case.law("multiplicative")
        self.lags = tuple(lag for lag in config.lags if lag <= config.sde_steps)
        start = partial(_normal, mean=case.minimum)
        C = 2 * np.trace(self.turning.diffusion_of_weights) / config.learning_rate
        # the SDE with C = c H has M = (η/2) c 1; drift and noise commute: detailed balance holds at any step size
        c = C / np.trace(self.turning.hessian)
        balanced = case.langevin(1, sgd.noise.Constant(c * self.turning.hessian))
        runs = {
            "SDE": (case.langevin(config.substeps), config.sde_replicas, np.linalg.cholesky(self.covariance)),
            "SDE, C ∝ H": (balanced, config.replicas, np.sqrt(config.learning_rate * c / 2) * np.eye(config.inputs)),
        }
        ensembles = {
            name: _ensembles.simulate(
                dynamics, self.turning.statistics(self.lags), progress, name, key=part.key, replicas=replicas,
                steps=config.sde_steps, every=config.every, initial=partial(start, root=root),
            )
            for name, (dynamics, replicas, root) in runs.items()
        }  # fmt: skip
        self.provenance = {name: ensemble.provenance for name, ensemble in ensembles.items()}
        self.estimates = {name: ensemble.estimates for name, ensemble in ensembles.items()}

    @cached_property
    def curves(self) -> dict[str, Estimate]:
        """½ E[y_a(t) y_b(t+τ) − y_b(t) y_a(t+τ)] in the fastest plane of SGD, [lags]."""
        sources = {"SGD": self.part.ensemble.estimates} | self.estimates
        return {name: source["plane"].map(_antisymmetric) for name, source in sources.items()}

    def measured(self, name: str) -> Measured:
        """The current at the short lag of one of the SDEs, in SGD's coordinates."""
        return self.turning.measured(self.estimates[name]["short"])

    def exact(self, lags: Iterable[int]) -> np.ndarray:
        """The curve of SGD's exact law, [lags]."""
        return _antisymmetric(np.stack([self.turning.exact(int(lag)) for lag in lags]))

    def claims(self) -> list[Claim]:
        """SGD's correlation at all lags; the SDE turns as SGD does; the SDE with C ∝ H does not turn."""
        agreement = sgd.compare(self.curves["SGD"], self.exact(self.config.lags), level=LEVEL).p_value
        return [
            Claim.bound(
                "correlation at all lags", f"{SECTION}; exact discrete law",
                "antisymmetric correlation in the fastest plane agrees at every lag (p-value)",
                agreement, 0.0, LEVEL, side="at least",
            ),
            *self._sde(),
            *self._balanced(),
        ]  # fmt: skip

    def _sde(self) -> list[Claim]:
        turning, measured, every = self.turning, self.measured("SDE"), self.config.every
        G = turning.current(turning.continuous(every, self.covariance), every)
        rate, work = float(turning.rates(G)[0]), float(turning.work(G))
        of_sgd = float(turning.rates(self.part.expected)[0])
        h = float(self.part.case.curvature[-1])
        return [
            Claim.equality(
                "SDE/angular velocity", SECTION, f"the SDE with SGD's noise, {self.config.substeps} substeps",
                **evidence(measured.fastest), expected=rate, resolution=rate,
            ),
            Claim.equality(
                "SDE/entropy production", SECTION, "work of the force of SGD's current in the SDE",
                **evidence(measured.work), expected=work, resolution=work / 2,
            ),
            Claim.bound(
                "SDE/turns like SGD", "exact laws", "difference of the angular velocities of SDE and SGD, relative: "
                "discreteness, at most ηh of the stiffest mode", abs(rate / of_sgd - 1), 0.0,
                self.config.learning_rate * h, side="at most",
            ),
        ]  # fmt: skip

    def _balanced(self) -> list[Claim]:
        measured, expected = self.measured("SDE, C ∝ H"), self.part.expected
        rate, work = float(self.turning.rates(expected)[0]), float(self.turning.work(expected))
        return [
            Claim.equality(
                "SDE, C ∝ H/angular velocity", f"{GROSS}, Eq. 2.33", "detailed balance: no turning in SGD's plane",
                **evidence(measured.fastest), expected=0.0, resolution=rate,
            ),
            Claim.equality(
                "SDE, C ∝ H/entropy production", f"{GROSS}, Eq. 2.33", "detailed balance: SGD's force does no work",
                **evidence(measured.work), expected=0.0, resolution=work / 2,
            ),
            Claim.rejection(
                "SDE, C ∝ H/entropy production/control", f"{GROSS}, Eq. 2.33", "noise of the wrong shape: not SGD",
                **evidence(measured.work), expected=0.0, rejected=work,
            ),
        ]  # fmt: skip

    def variables(self) -> dict[str, Variable]:
        """The correlation in the fastest plane against the lag."""
        words = "antisymmetric correlation in the fastest plane"
        names = {"SGD": ("curve_sgd", "lag"), "SDE": ("curve_sde", "lag_sde"), "SDE, C ∝ H": ("curve_c_h", "lag_sde")}
        out = {}
        for label, (name, dim) in names.items():
            out |= measurement(name, dim, self.curves[label], f"{words}, {label}")
        fine = np.unique(np.round(np.geomspace(1, 1.5 * max(self.config.lags), 100)).astype(int))
        η = self.config.learning_rate
        return out | {
            "curve_exact": variable("lag_exact", self.exact(fine.tolist()), f"{words}, exact law of SGD"),
            "lag": variable("lag", η * np.array(self.config.lags), "lag", "t"),
            "lag_sde": variable("lag_sde", η * np.array(self.lags), "lag", "t"),
            "lag_exact": variable("lag_exact", η * fine, "lag", "t"),
        }


@dataclass(frozen=True)
class Average:
    """Entropy production per relaxation, over tr H, of many data sets of the SDE with frozen noise."""

    ratios: tuple[float, ...]
    exact: list[Estimate]
    scatter: list[float]
    leading: list[Estimate]
    difference: Estimate

    @classmethod
    def over_data(cls, config: DetailedBalanceConfig) -> "Average":
        key = _ensembles.named(jax.random.key(config.seed), "averages")

        def of_one(key: jax.Array, ratio: float) -> Any:
            data = config.case(ratio, key).data
            h = jnp.linalg.eigvalsh(regression.hessian(data.x))
            leading = regression.large_sample_entropy_production(h, data.samples)
            return jnp.stack([regression.entropy_production(data.x, data.y), leading]) / jnp.sum(h)

        values = [
            np.asarray(each(lambda key, r=r: of_one(key, r), jax.random.split(key, config.realisations)))
            for r in config.average_ratios
        ]
        return cls(
            config.average_ratios, [over_realisations(v[:, 0]) for v in values],
            [float(np.std(v[:, 0], ddof=1)) for v in values], [over_realisations(v[:, 1]) for v in values],
            over_realisations(values[-1][:, 0] / values[-1][:, 1]),
        )  # fmt: skip

    def claims(self) -> list[Claim]:
        """It vanishes with the samples, as derived."""
        ratio = self.ratios[-1]
        return [
            Claim.equality(
                "many samples/entropy production", "leading order in N/P, derived",
                f"average over data at P/N = {ratio:g}, in units of (1/P) Σ (h_i − h_j)²/(h_i + h_j)",
                **evidence(self.difference), expected=1.0, tolerance=2 / ratio, resolution=0.2,
            )
        ]  # fmt: skip

    def variables(self) -> dict[str, Variable]:
        """Averages against P/N."""
        words, ratios = "entropy production over tr H", np.array(self.ratios)
        values = [float(estimate.value) for estimate in self.exact]
        return {
            "average_ratio": variable("average_ratio", ratios, "P/N"),
            "entropy": variable("average_ratio", values, f"{words}, average over data"),
            "entropy_error": variable(
                "average_ratio", [float(e.standard_error) for e in self.exact], f"{words}, standard error"
            ),
            "entropy_scatter": variable("average_ratio", self.scatter, f"{words}, scatter over data"),
            "entropy_leading": variable(
                "average_ratio", [float(e.value) for e in self.leading], f"{words}, many samples, average over data"
            ),
        }


def _normal(key: jax.Array, *, mean: jax.Array, root: np.ndarray) -> jax.Array:
    return mean + jnp.asarray(root) @ jax.random.normal(key, mean.shape)


def _antisymmetric(R: Any) -> Any:
    return (R[:, 1, 0] - R[:, 0, 1]) / 2


def _data(config: DetailedBalanceConfig, variables: dict[str, Variable], parts: list[Part]) -> Any:
    """All of it, with the measured entropy production at each ratio."""
    trace = [float(jnp.sum(part.case.curvature)) for part in parts]
    work = [part.measured.work for part in parts]
    exact = [float(part.turning.work(part.expected)) for part in parts]
    words = "entropy production over tr H"
    variables |= {
        "work_sgd": variable(
            "ratio", [float(w.value) / h for w, h in zip(work, trace, strict=True)], f"{words}, SGD, measured"
        ),
        "work_sgd_error": variable(
            "ratio", [float(w.standard_error) / h for w, h in zip(work, trace, strict=True)], f"{words}, standard error"
        ),
        "work_exact": variable(
            "ratio", [value / h for value, h in zip(exact, trace, strict=True)], f"{words}, exact law, same lag"
        ),
    }
    names = ("average_ratio", "lag", "lag_sde", "lag_exact")
    coordinates = {name: variables.pop(name) for name in names}
    coordinates |= {
        "ratio": variable("ratio", np.array(config.ratios), "P/N"),
        "plane": variable("plane", np.arange(1, config.inputs // 2 + 1), "number of the plane, 1 the fastest"),
    }
    return dataset(variables, coordinates).assign_attrs(ratios=list(config.ratios))


DETAILED_BALANCE = register(
    Experiment(
        name="beyond/detailed_balance",
        summary="broken detailed balance measured: rates of turning and entropy production",
        source=SECTION,
        config=DetailedBalanceConfig,
        presets={
            "quick": DetailedBalanceConfig(
                inputs=50, ratios=(1.2, 2.0), lags=(10, 20, 50, 100, 200, 400, 800), sde_replicas=512, sde_steps=200,
                average_ratios=(1.1, 1.5, 3.0, 20.0), realisations=20,
            ),
            "paper": DetailedBalanceConfig(replicas=4096, steps=20_000, sde_replicas=1024, sde_steps=1000),
        },
        run=run,
        figure="beyond/detailed_balance",
    )
)  # fmt: skip
"""The stationary current of SGD, as rotation and as entropy production."""
