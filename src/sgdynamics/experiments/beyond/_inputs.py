"""Broken detailed balance for other inputs: correlated, heavy-tailed, binary, real.

The paper's data are normal and white. What breaks detailed balance is that C and H do not commute, which needs no
normal law; how much, and how it vanishes with the samples, depends on fourth moments. Compared in numbers without
dimension: radians that the fastest plane turns in its own relaxation time, ω/γ; entropy production over tr H; and
the relative errors |M' − M|/|M| of the paper's two approximations (2.33) and (2.34), M the exact covariance.

Many samples, P → ∞ (derived; moments in `_input_laws`): residuals at the minimum are the label noise, independent of x,
so that C(w*) → (σ²/S) H (2.20) for *any* inputs, by 1 − K/P in the trace with

    K = E[xᵀΣ⁻¹x |x|²] / tr Σ = N + 2 for normal inputs, κ (N + 2) for elliptical, N + 2 + e for independent entries.

The multiplicative part of (2.19), H w̃w̃ᵀ H + (w̃ᵀH w̃) H, is a fourth moment of normal inputs and fails for others:
elliptical tails multiply it by about κ, however large N; of independent entries only O(1/N) of it depends on the tails.
Student inputs of ν degrees of freedom have no ν-th moment: the averages over data that test this use a larger ν, for
which they have a variance. Real data (digits) are no linear teacher with Gaussian inputs and independent noise, and
break detailed balance more than such data with their spectrum would.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import each, over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._regression import Regression
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.beyond._input_laws import LAWS, draw, fourth_moment, variances
from sgdynamics.experiments.beyond._turning import Measured, Turning
from sgdynamics.statistics import Covariance, Estimate
from sgdynamics.theory import regression

GROSS = "Gross, Raulf and Räth (2024)"
DIGITS = "digits"
MEASURES = ("turning", "entropy", "balanced", "isotropic")


@dataclass(frozen=True)
class InputsConfig:
    """One data set of each law of inputs, and averages over many."""

    inputs: int = 50
    """N of the data that are drawn."""
    ratio: float = 2.0
    """Their P/N, above 1."""
    degrees_of_freedom: int = 5
    """Of Student's t, above 4, whole; the smaller, the heavier the tails."""
    digits: bool = True
    """Whether the handwritten digits (scikit-learn) are among the data; N = 61, P = 1797, the target their parity."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise of the data that are drawn."""
    replicas: int = 1024
    """SGD replicas of each data set."""
    steps: int = 4000
    """SGD steps."""
    every: int = 10
    """Steps between two records, and the lag over which the current is measured."""
    realisations: int = 50
    """Data sets in each average of the measures."""
    large_inputs: int = 10
    """N of the data sets of many samples."""
    large_samples: int = 1000
    """Their P."""
    large_degrees_of_freedom: int = 12
    """Of Student's t in these, above 8, whole: sample fourth moments then have a variance."""
    large_realisations: int = 400
    """How many of them."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "steps", "every", "large_inputs"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=32, remedy="One replica in each of 32 groups.")
        for name in ("realisations", "large_realisations"):
            _checks.count(name, getattr(self, name), least=2)
        _checks.count("large_samples", self.large_samples, least=20 * self.large_inputs)
        for name in ("learning_rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        least = 1 + 3 / self.inputs
        _checks.require("ratio", self.ratio, self.ratio >= least, allowed=f"at least {least:g}")
        for name, least in (("degrees_of_freedom", 5), ("large_degrees_of_freedom", 9)):
            _checks.count(name, getattr(self, name), least=least, remedy="The moments would not exist.")

    @property
    def samples(self) -> int:
        """P."""
        return round(self.ratio * self.inputs)

    def drawn(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(x, y) of one data set of each law, leading axis laws, with the same linear teacher and label noise."""
        inputs, teacher, noise = jax.random.split(key, 3)
        x = draw(inputs, self.samples, self.inputs, self.degrees_of_freedom)
        u = jax.random.normal(teacher, (self.inputs,))
        return x, x @ u + self.label_noise_std * jax.random.normal(noise, (1, self.samples))


def run(config: InputsConfig, progress: Progress) -> Result:
    """One ensemble for each kind of data, averages over data, and many samples."""
    cases = _cases(config)
    parts = [Part(config, name, case, progress) for name, case in cases.items()]
    large = Large(config)
    claims = [claim for part in parts for claim in part.claims()] + large.claims()
    ensembles = {part.name: part.provenance for part in parts}
    return Result(_data(config, parts, _averages(config), large), claims, ensembles)


def _cases(config: InputsConfig) -> dict[str, Regression]:
    key = _ensembles.named(jax.random.key(config.seed), "data")
    drawn = zip(LAWS, *once(config.drawn)(key), strict=True)
    data = {law: sgd.data.Dataset(x, y) for law, x, y in drawn}
    if config.digits:
        data[DIGITS] = sgd.data.digits("parity")
    return {name: Regression(one, config.learning_rate, config.batch_size) for name, one in data.items()}


class Part:
    """SGD on one data set, started from its own law."""

    def __init__(self, config: InputsConfig, name: str, case: Regression, progress: Progress):
        self.config, self.name, self.case = config, name, case
        self.turning = Turning(case, config.every)
        statistics = {"short": self.turning.statistics((config.every,))["short"], "covariance": Covariance()}
        ensemble = _ensembles.simulate(
            case.descent(), statistics, progress, name, key=jax.random.key(config.seed), replicas=config.replicas,
            steps=config.steps, every=config.every, initial=case.prediction,
        )  # fmt: skip
        self.estimates, self.provenance = ensemble.estimates, ensemble.provenance

    @cached_property
    def measured(self) -> Measured:
        """The current at the short lag."""
        return self.turning.measured(self.estimates["short"])

    @cached_property
    def expected(self) -> np.ndarray:
        """G of the exact law at the short lag."""
        return self.turning.current(self.turning.exact(self.config.every), self.config.every)

    @cached_property
    def scale(self) -> dict[str, float]:
        """What makes each measure a pure number: γ of the fastest plane, tr H."""
        return {"turning": float(self.turning.planes.damping[0]), "entropy": float(jnp.sum(self.case.curvature))}

    @cached_property
    def exact(self) -> dict[str, float]:
        """The measures, from the exact law; rates at the short lag, as they are measured."""
        M = self.turning.covariance
        rates = {
            "turning": float(self.turning.rates(self.expected)[0]) / self.scale["turning"],
            "entropy": float(self.turning.work(self.expected)) / self.scale["entropy"],
        }
        return rates | {name: float(np.linalg.norm(law - M) / np.linalg.norm(M)) for name, law in self.wrong.items()}

    @cached_property
    def wrong(self) -> dict[str, np.ndarray]:
        """The covariances of (2.33) and (2.34)."""
        return {
            "balanced": np.asarray(self.case.law("detailed_balance")),
            "isotropic": np.asarray(self.case.law("isotropic")),
        }

    @cached_property
    def observed(self) -> dict[str, Estimate]:
        """The measures, from SGD; an error of a matrix is the exact law's, times where the measurement lies on the line
        from the wrong law (0) to the exact one (1), so that sampling noise is no distance."""
        rates = {
            "turning": self.measured.fastest.map(lambda ω: ω / self.scale["turning"]),
            "entropy": self.measured.work.map(lambda work: work / self.scale["entropy"]),
        }
        return rates | {
            name: self.position(law).map(lambda c, name=name: c * self.exact[name]) for name, law in self.wrong.items()
        }

    def position(self, law: np.ndarray) -> Estimate:
        """Where the measured covariance lies between a wrong law and the exact one."""
        return between(self.estimates["covariance"], wrong=law, right=self.turning.covariance)

    def claims(self) -> list[Claim]:
        """The exact law holds, and detailed balance does not."""
        name, exact, observed = self.name, self.exact, self.observed
        agreement = sgd.compare(self.estimates["covariance"], self.turning.covariance, level=LEVEL).p_value
        turning = evidence(observed["turning"])
        return (self._real() if name == DIGITS else []) + [
            Claim.bound(
                f"{name}/covariance", "exact discrete law", "covariance of the weights agrees (p-value)",
                agreement, 0.0, LEVEL, side="at least",
            ),
            Claim.equality(
                f"{name}/turning", "exact discrete law", "radians in a relaxation time of the fastest plane, ω/γ",
                **turning, expected=exact["turning"], resolution=exact["turning"] / 2,
            ),
            Claim.rejection(
                f"{name}/turning/control", f"{GROSS}, Eq. 2.33", "not detailed balance: no turning", **turning,
                expected=exact["turning"], rejected=0.0,
            ),
            Claim.equality(
                f"{name}/entropy production", "exact discrete law", "work of the force of the current, over tr H",
                **evidence(observed["entropy"]), expected=exact["entropy"], resolution=exact["entropy"] / 2,
            ),
            Claim.rejection(
                f"{name}/detailed balance/control", f"{GROSS}, Eq. 2.33",
                "not (2.33): error of its covariance, relative; 0 if it were right", **evidence(observed["balanced"]),
                expected=exact["balanced"], rejected=0.0,
            ),
        ]  # fmt: skip

    def _real(self) -> list[Claim]:
        """More entropy production than Gaussian inputs of that spectrum, with independent label noise, would have."""
        h = self.case.curvature
        noise = regression.large_sample_entropy_production(h, self.case.samples) / jnp.sum(h)
        return [
            Claim.rejection(
                f"{self.name}/entropy of label noise/control", "leading order in N/P, derived",
                "not what a Gaussian teacher-student set would make: (1/P) Σ (h_i − h_j)²/(h_i + h_j), over tr H",
                **evidence(self.observed["entropy"]), expected=self.exact["entropy"], rejected=noise,
            )
        ]  # fmt: skip


def _averages(config: InputsConfig) -> dict[str, list[Estimate]]:
    """The measures of the SDE with frozen noise, averaged over data of each law."""
    settings: dict[str, Any] = {"learning_rate": config.learning_rate, "batch_size": config.batch_size}

    def measures(x: jax.Array, y: jax.Array) -> jax.Array:
        M = regression.stationary_covariance(x, y, form="lyapunov", **settings)
        H, norm = regression.hessian(x), jnp.linalg.norm(M)
        planes = regression.rotation(H, M)
        errors = [
            jnp.linalg.norm(regression.stationary_covariance(x, y, form=form, **settings) - M) / norm
            for form in ("detailed_balance", "isotropic")
        ]
        entropy = regression.entropy_production(x, y) / jnp.trace(H)
        return jnp.stack([planes.rates[0] / planes.damping[0], entropy, *errors])

    def of_one(key: jax.Array) -> jax.Array:
        return jax.lax.map(lambda data: measures(*data), config.drawn(key))

    key = _ensembles.named(jax.random.key(config.seed), "averages")
    values = np.asarray(each(of_one, jax.random.split(key, config.realisations)))
    return {name: [over_realisations(values[:, law, m]) for law in range(len(LAWS))] for m, name in enumerate(MEASURES)}


class Large:
    """Many samples: the trace of the noise, over that of (2.20) at the minimum and of (2.19) far from it."""

    def __init__(self, config: InputsConfig):
        self.config = config
        key = _ensembles.named(jax.random.key(config.seed), "many samples")
        values = np.asarray(each(self._ratios, jax.random.split(key, config.large_realisations)))
        self.minimum = [over_realisations(values[:, law, 0]) for law in range(len(LAWS))]
        self.multiplicative = [over_realisations(values[:, law, 1]) for law in range(len(LAWS))]

    def _ratios(self, key: jax.Array) -> jax.Array:
        """[laws, 2]: without σ, which cancels, and with w̃ = (1, …, 1)."""
        N, P = self.config.large_inputs, self.config.large_samples
        inputs, noise = jax.random.split(key)
        y, one = jax.random.normal(noise, (P,)), jnp.ones(N)
        formula = regression.large_sample_noise_covariance

        def of_law(data: tuple[jax.Array, jax.Array]) -> jax.Array:
            x, v = data
            at_minimum = regression.noise_covariance(x, y, regression.minimum(x, y), batch_size=1)
            away = regression.noise_covariance(x, jnp.zeros(P), one, batch_size=1)
            expected = [
                formula(jnp.diag(v), batch_size=1, label_noise_std=1.0),
                formula(jnp.diag(v), one, batch_size=1, label_noise_std=0.0),
            ]
            return jnp.stack([jnp.trace(C) / jnp.trace(E) for C, E in zip((at_minimum, away), expected, strict=True)])

        x = draw(inputs, P, N, self.config.large_degrees_of_freedom)
        return jax.lax.map(of_law, (x, jnp.stack([variances(law, N) for law in LAWS])))

    def expected_minimum(self, law: str) -> float:
        """1 − K/P."""
        κ, e = fourth_moment(law, self.config.large_degrees_of_freedom)
        return 1 - (κ * (self.config.large_inputs + 2) + e) / self.config.large_samples

    def expected_multiplicative(self, law: str) -> float:
        """(1 − 1/P) (E[(w̃·x)² |x|²] − |Σw̃|²) over the trace of (2.19), exact for any P."""
        κ, e = fourth_moment(law, self.config.large_degrees_of_freedom)
        v = variances(law, self.config.large_inputs)
        fourth = κ * (2 * np.sum(v**2) + np.sum(v) ** 2) + e * np.sum(v**2)
        return float((1 - 1 / self.config.large_samples) * (fourth - np.sum(v**2)) / (np.sum(v**2) + np.sum(v) ** 2))

    def claims(self) -> list[Claim]:
        """(2.20) holds for all inputs, (2.19) for normal ones."""
        claims = []
        for law, minimum, multiplicative in zip(LAWS, self.minimum, self.multiplicative, strict=True):
            expected, formula = self.expected_minimum(law), self.expected_multiplicative(law)
            claims += [
                Claim.equality(
                    f"many samples/{law}/at the minimum", f"{GROSS}, Eq. 2.20; 1 − K/P derived",
                    f"tr C(w*) over (σ²/S) tr Σ, P = {self.config.large_samples}", **evidence(minimum),
                    expected=expected, tolerance=(2 * (1 - expected)) ** 2, resolution=0.1,
                ),
                Claim.equality(
                    f"many samples/{law}/multiplicative", f"{GROSS}, Eq. 2.19; fourth moments derived",
                    "trace of the multiplicative noise over that of (2.19)", **evidence(multiplicative),
                    expected=formula, resolution=0.1,
                ),
            ]  # fmt: skip
            if fourth_moment(law, self.config.large_degrees_of_freedom) != (1, 0):
                claims.append(
                    Claim.rejection(
                        f"many samples/{law}/multiplicative/control", f"{GROSS}, Eq. 2.19",
                        "not the fourth moments of normal inputs", **evidence(multiplicative), expected=formula,
                        rejected=1.0,
                    )
                )  # fmt: skip
        return claims


def _data(config: InputsConfig, parts: list[Part], averages: dict[str, list[Estimate]], large: Large) -> Any:
    """Everything against the kind of inputs."""
    words = {
        "turning": "radians in a relaxation time, fastest plane",
        "entropy": "entropy production over tr H",
        "balanced": "relative error of (2.33)",
        "isotropic": "relative error of (2.34)",
    }
    variables: dict[str, Variable] = {}
    for name, long_name in words.items():
        variables |= _stacked(f"{name}_sgd", "data", [part.observed[name] for part in parts], f"{long_name}, SGD")
        exact = [part.exact[name] for part in parts]
        variables[f"{name}_exact"] = variable("data", exact, f"{long_name}, exact law")
        variables |= _stacked(f"{name}_average", "law", averages[name], f"{long_name}, average over data")
    words = {"minimum": "noise at the minimum over (2.20)", "multiplicative": "multiplicative noise over (2.19)"}
    for name, long_name in words.items():
        variables |= _stacked(f"{name}_measured", "law", getattr(large, name), long_name)
        expected = [getattr(large, f"expected_{name}")(law) for law in LAWS]
        variables[f"{name}_expected"] = variable("law", expected, f"{long_name}, derived")
    coordinates = {
        "data": variable("data", np.array([part.name for part in parts]), "inputs"),
        "law": variable("law", np.array(LAWS), "inputs"),
    }
    return dataset(variables, coordinates)


def _stacked(name: str, dim: str, estimates: list[Estimate], long_name: str) -> dict[str, Variable]:
    return {
        name: variable(dim, [float(e.value) for e in estimates], long_name),
        f"{name}_error": variable(dim, [float(e.standard_error) for e in estimates], f"{long_name}, standard error"),
    }


INPUTS = register(
    Experiment(
        name="beyond/inputs",
        summary="broken detailed balance for correlated, heavy-tailed, binary and real inputs",
        source=f"{GROSS}, Sec. II C, for inputs that are not normal",
        config=InputsConfig,
        presets={
            "quick": InputsConfig(inputs=30, replicas=512, realisations=40, large_realisations=60),
            "paper": InputsConfig(inputs=100, replicas=4096, steps=10_000, realisations=200, large_realisations=2000),
        },
        run=run,
        figure="beyond/inputs",
    )
)
"""Broken detailed balance, input by input."""
