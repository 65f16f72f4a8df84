"""Does the law that `predict` gives for any network hold: a tanh network on the digits, against an SGD ensemble.

At the minimum θ* of L + ½λ|θ|², with K = ∇²L(θ*) + λ and C the covariance of the minibatch gradient there,

    M_ij = η C_ij / (h_i + h_j − η h_i h_j)        in the eigenbasis of K, of eigenvalues h

(Gross et al., App. A, with the whole Hessian instead of its Gauss-Newton part). It is frozen: C and ∇²L are taken at
θ*, whereas the network meets others along its fluctuations. These are of variance η, so that measured variances over
predicted ones are 1 + O(η), which enough replicas see at any η: it is the limit of small η that must be 1.

The replicas start from the law. A mode has had the time to leave it where h t > 10, and only those are tested.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._between import between
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.statistics import Covariance, Estimate, Projection
from sgdynamics.theory.harmonic import HarmonicDescent

SOURCE = "Gross, Raulf and Räth (2024), App. A"
DEAD = 1e-9  # of the largest variance: a mode without noise, whose ratio means nothing
CLOSE = 0.05  # how far above the law variances may be at the smallest learning rate: it is of order η
RELAXED = 10.0  # relaxation times that a tested mode must have had


@dataclass(frozen=True)
class AnyNetworkConfig:
    """A two-layer tanh network that tells odd from even digits, at several learning rates."""

    hidden: int = 31
    """Hidden units: 63 parameters each, and one more."""
    samples: int = 1797
    """Images P, the first of 1,797."""
    learning_rates: tuple[float, ...] = (0.0125, 0.05, 0.1)
    """Learning rates η, ascending; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    weight_decay: float = 0.01
    """Weight decay λ."""
    time: float = 100.0
    """Length of each run in units of t."""
    records: int = 100
    """Records of the covariance in each run."""
    modes: int = 30
    """Leading Hessian modes that are followed."""
    replicas: int = 1024
    """SGD replicas at each learning rate."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("hidden", "samples", "batch_size", "records", "modes", "replicas"):
            _checks.count(name, getattr(self, name))
        for name in ("weight_decay", "time"):
            _checks.positive(name, getattr(self, name))
        rates = self.learning_rates
        if len(rates) < 2 or not all(0 < a < b for a, b in itertools.pairwise(rates)):
            raise ValueError(f"learning_rates = {rates}, but they must be at least two, positive and ascending.")


def run(config: AnyNetworkConfig, progress: Progress) -> Result:
    """The minimum once, then one ensemble at each learning rate against its own law."""
    key = jax.random.key(config.seed)
    whole = sgd.data.digits("parity")
    data = sgd.data.Dataset(whole.x[: config.samples], whole.y[: config.samples])
    network = sgd.networks.MLP((data.x.shape[1], config.hidden, 1), key=_ensembles.named(key, "network"))
    problem = sgd.Problem(network, data)
    progress.stage("minimum", 1)
    θ = problem.minimum(config.weight_decay)
    parts = [_at(η, problem, θ, config, progress, key) for η in config.learning_rates]
    curvatures = parts[0].law.modes.curvatures[: config.modes]
    tested = int(np.sum(np.asarray(curvatures) * config.time > RELAXED))
    _checks.require("time", config.time, tested > 0, allowed=f"above {RELAXED} relaxation times of the stiffest mode")
    coordinates = {"mode": variable("mode", np.arange(1, config.modes + 1), "mode, from the stiffest")}
    variables = {"curvature": variable("mode", curvatures, "Hessian eigenvalue h, weight decay included", "1/t")}
    for part in parts:
        variables |= part.variables(config.modes)
    claims = _claims(parts, tested)
    result = dataset(variables, coordinates).assign_attrs(
        learning_rates=list(config.learning_rates), tested=tested, parameters=len(θ)
    )
    return Result(result, claims, {f"η = {part.learning_rate:g}": part.provenance for part in parts})


@dataclass(frozen=True)
class Part:
    """One learning rate: its law, the covariance that was measured along the leading modes, and its control's."""

    learning_rate: float
    law: sgd.Prediction
    measured: Estimate
    expected: np.ndarray
    isotropic: np.ndarray
    provenance: dict[str, Any]

    @property
    def ratios(self) -> Estimate:
        """Measured over predicted variances [modes]."""
        expected = jnp.diagonal(jnp.asarray(self.expected))
        return self.measured.map(lambda M: jnp.diagonal(M) / expected, "ratio")

    def variables(self, modes: int) -> dict[str, Variable]:
        label, of = f"at_{self.learning_rate:g}", f"η = {self.learning_rate:g}"
        variance = self.measured.map(jnp.diagonal, "variance")
        return {
            **measurement(f"{label}_sgd", "mode", variance, f"variance along the mode, {of}", "θ²"),
            **measurement(f"{label}_ratio", "mode", self.ratios, f"measured over predicted variance, {of}"),
            f"{label}_law": variable("mode", np.diag(self.expected), f"predicted variance, {of}", "θ²"),
            f"{label}_isotropic": variable("mode", np.diag(self.isotropic), f"of isotropic noise, {of}", "θ²"),
        }


def _at(
    η: float, problem: sgd.Problem, θ: jax.Array, config: AnyNetworkConfig, progress: Progress, key: jax.Array
) -> Part:
    descent = sgd.SGD(problem, learning_rate=η, sampler=config.batch_size, weight_decay=config.weight_decay)
    law = sgd.predict(descent, at=θ)
    V = law.modes.vectors[:, : config.modes]
    every = max(1, round(config.time / η / config.records))
    ensemble = _ensembles.simulate(
        descent, Covariance(of=Projection(V, θ)), progress, f"η = {η:g}", key=key, replicas=config.replicas,
        steps=every * config.records, every=every, initial=law, dtype=jnp.float32,
    )  # fmt: skip
    variances = jnp.diagonal(law.along(V))
    _checks.require(
        "the smallest predicted variance", jnp.min(variances), jnp.min(variances) > DEAD * jnp.max(variances),
        allowed="above 0: some hidden units are off", remedy="Lower weight_decay.",
    )  # fmt: skip
    control = _isotropic(law)[: config.modes, : config.modes]
    return Part(η, law, ensemble.estimates, np.asarray(law.along(V)), control, ensemble.provenance)


def _isotropic(law: sgd.Prediction) -> np.ndarray:
    """The covariance in the modes under the same total noise, but in no direction more than in another."""
    h, C = law.modes.curvatures, law.law.noise
    noise = jnp.diag(jnp.trace(C) / len(h) * jnp.ones_like(h))
    return np.asarray(HarmonicDescent(h, noise, learning_rate=law.law.learning_rate).stationary_covariance())


def _claims(parts: list[Part], tested: int) -> list[Claim]:
    small, large = parts[0], parts[-1]
    head = slice(0, tested)
    block = small.measured.map(lambda M: M[head, head], "covariance")
    expected = small.expected[head, head]
    control = between(block, wrong=small.isotropic[head, head], right=expected)
    means = [part.ratios.map(lambda r: jnp.mean(r[head]), "mean ratio") for part in (small, large)]
    return [
        Claim.bound(
            "small learning rate/law", SOURCE,
            f"η = {small.learning_rate:g}: measured over predicted variance, mean over the {tested} modes with "
            f"h t > {RELAXED:g}", **evidence(means[0]), expected=1 + CLOSE, side="at most",
        ),
        Claim.bound(
            "limit of small learning rates/whole covariance", SOURCE,
            "covariance in these modes, in units of the predicted one, extrapolated to η = 0: every entry is that of 1 "
            "(p-value)", _entries(small, large, head), 0.0, LEVEL, side="at least",
        ),
        Claim.rejection(
            "small learning rate/isotropic noise/control", SOURCE,
            "not that of isotropic noise: on the line from that law (0) to the predicted one (1)",
            **evidence(control), expected=1.0, rejected=0.0,
        ),
        _extrapolated(small.learning_rate, large.learning_rate, *means),
        Claim.bound(
            "large learning rate/frozen noise errs", SOURCE,
            f"η = {large.learning_rate:g}: variances above the frozen law, mean ratio over these modes",
            **evidence(means[1]), expected=1.0, side="at least",
        ),
    ]  # fmt: skip


def _entries(small: Part, large: Part, head: slice) -> float:
    """The p-value of (η₂ R₁ − η₁ R₂)/(η₂ − η₁) = 1, R = M_law^{−½} M M_law^{−½}; groups are independent."""
    η1, η2 = small.learning_rate, large.learning_rate

    def whitened(part: Part) -> np.ndarray:
        values, U = np.linalg.eigh(part.expected[head, head])
        root = U / np.sqrt(values)[None, :] @ U.T
        return root @ np.asarray(part.measured.groups)[:, head, head] @ root

    limit = (η2 * whitened(small) - η1 * whitened(large)) / (η2 - η1)
    upper = np.triu_indices(limit.shape[1])
    return sgd.compare(over_realisations(limit[:, *upper]), np.eye(limit.shape[1])[upper], level=LEVEL).p_value


def _extrapolated(η1: float, η2: float, small: Estimate, large: Estimate) -> Claim:
    """(η₂ r₁ − η₁ r₂)/(η₂ − η₁): the ratio at η = 0, if it is linear in η."""
    a, b = η2 / (η2 - η1), η1 / (η2 - η1)
    value = a * float(small.value) - b * float(large.value)
    error = float(np.hypot(a * float(small.standard_error), b * float(large.standard_error)))
    return Claim.equality(
        "limit of small learning rates", SOURCE, "mean ratio of measured to predicted variances, extrapolated to η = 0",
        value, error, 1.0, resolution=0.1,
    )  # fmt: skip


ANY_NETWORK = register(
    Experiment(
        name="beyond/any_network",
        summary="the law that predict gives for a tanh network on the digits, against an SGD ensemble",
        source=SOURCE,
        config=AnyNetworkConfig,
        presets={
            "quick": AnyNetworkConfig(learning_rates=(0.0125, 0.1), replicas=384, time=60.0, records=60),
            "paper": AnyNetworkConfig(),
        },
        run=run,
        figure="beyond/any_network",
    )
)
