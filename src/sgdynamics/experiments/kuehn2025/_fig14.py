"""Fig. 14: anti-correlated noise at the start of training, where (2), derived for fixed weights, need not hold.

    δg_k = g_B(θ_k) − ∇L(θ_k),      ϱ(h) = E δg_k·δg_{k+h}/√(E|δg_k|² E|δg_{k+h}|²), averaged over k

along SGD's own path from a network's initialisation. At fixed weights Σ_{h≥1} ϱ(h) = −½, by (2). Moving weights change
that in two ways, which spectators tell apart: another order of the examples, of which the path knows nothing, whose
noise is evaluated along the same path.

    drift       the gradients of one example at θ_k and θ_l are not the same. For spectators, exactly,
                ϱ_kl = −1/(M − 1) · K_kl/√(K_kk K_ll) in one epoch and 0 across epochs, with
                K_kl = E tr cov_μ(∇ℓ_μ(θ_k), ∇ℓ_μ(θ_l)) over paths
    feedback    the batches drawn so far have moved the weights, and so the noise of those that are left; momentum
                spreads it over 1/(1 − β) steps

With replacement δg_{k+h} has mean 0 given all that was before, wherever the weights are: ϱ(h) = 0 exactly, h ≥ 1.

Learning rates are given as η/(1 − β), with which weights drift alike at any momentum.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import RECIPES
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.kuehn2025._fig14_claims import Case, claims_at, claims_over_rates
from sgdynamics.experiments.kuehn2025._fig14_noise import EPOCHS, autocorrelation, drifting, grams, path_kernels
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.samplers import Epochs, WithReplacement
from sgdynamics.theory import epochs as theory

GROUPS = 32  # of replicas, between which errors are measured
PATHS = 16  # replicas whose path's K is evaluated


@dataclass(frozen=True)
class Fig14Config:
    """Replicas of the first epochs of training, from one initialisation."""

    network: str = "one_hidden"
    """Architecture of the network: linear, one_hidden, two_hidden, convolutional or residual."""
    samples: int = 400
    """Examples P, the first of the training images."""
    batch_size: int = 20
    """Minibatch size S, which divides P."""
    momenta: tuple[float, ...] = (0.0, 0.9)
    """Momenta β, each in [0, 1)."""
    rates: tuple[float, ...] = (0.0125, 0.025, 0.1)
    """η/(1 − β), ascending, at least three; time t = η × step."""
    replicas: int = 512
    """SGD replicas at each rate and momentum, a multiple of 32."""
    seed: int = 0
    """Of the samplers."""

    def __post_init__(self):
        recipes = RECIPES["quick"]
        if self.network not in recipes:
            raise ValueError(f"network = {self.network!r}, but it must be one of {', '.join(recipes)}.")
        for name in ("samples", "batch_size", "replicas"):
            _checks.count(name, getattr(self, name))
        most = recipes[self.network].samples
        _checks.require("samples", self.samples, self.samples <= most, allowed=f"at most {most}")
        whole = self.samples % self.batch_size == 0 and self.batches >= 3
        _checks.require("batch_size", self.batch_size, whole, allowed=f"a divisor of {self.samples}, 3 or more times")
        _checks.require("replicas", self.replicas, self.replicas % GROUPS == 0, allowed=f"a multiple of {GROUPS}")
        for momentum in self.momenta:
            _checks.momentum("momenta", momentum)
        for rate in self.rates:
            _checks.positive("rates", rate)
        ascending = len(self.rates) >= 3 and list(self.rates) == sorted(set(self.rates))
        _checks.require("rates", self.rates, ascending, allowed="three or more, ascending")

    @property
    def batches(self) -> int:
        """M."""
        return self.samples // self.batch_size


def run(config: Fig14Config, progress: Progress) -> Result:
    """Every rate and momentum in epochs; the largest rate with replacement, too."""
    problem, M = _problem(config), config.batches
    progress.stage("rates and momenta", len(config.momenta) * len(config.rates))
    variables: dict[str, Variable] = {}
    claims, sums = [], []
    for β in config.momenta:
        cases = []
        for rate in config.rates:
            cases.append(_case(problem, rate, β, config))
            progress.advance(1)
        white = _own(problem, config.rates[-1], β, config, WithReplacement(config.batch_size))
        claims += [claim for case in cases for claim in claims_at(case)]
        claims += claims_over_rates(cases, white.map(lambda G: jnp.sum(autocorrelation(G, M))))
        variables |= _curves(cases[-1], white, β, M)
        sums.append(cases)
    return Result(_data(variables, sums, config), claims)


def _problem(config: Fig14Config) -> sgd.Problem:
    """At its initialisation, in single precision."""
    recipe = RECIPES["quick"][config.network]
    train = recipe.data()[0]
    data = sgd.data.Dataset(train.x[: config.samples], train.y[: config.samples])
    single = lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x
    return jax.tree.map(single, sgd.Problem(recipe.network(), data))


def _case(problem: sgd.Problem, rate: float, β: float, config: Fig14Config) -> Case:
    sampler, steps = Epochs(config.batch_size), EPOCHS * config.batches
    dynamics, key = _dynamics(problem, rate, β, sampler), _key(config, f"β = {β:g}, {rate:g}")
    own, spectators, loss = grams(dynamics, jax.random.split(key, (GROUPS, config.replicas // GROUPS)), steps)
    paths = path_kernels(dynamics, jax.random.split(_ensembles.named(key, "paths"), PATHS), steps)
    wide = lambda values: over_realisations(np.asarray(values, float))
    M = config.batches
    along = wide(paths).map(lambda K: autocorrelation(drifting(K, M), M))
    curve = lambda G: wide(G).map(lambda G: autocorrelation(G, M))
    return Case(β, rate, M, curve(own), curve(spectators), along, np.asarray(loss).mean(axis=0))


def _own(problem: sgd.Problem, rate: float, β: float, config: Fig14Config, sampler):
    """Gram matrices of the noise under another sampling."""
    key = jax.random.split(_key(config, f"white, β = {β:g}"), (GROUPS, config.replicas // GROUPS))
    found = grams(_dynamics(problem, rate, β, sampler), key, EPOCHS * config.batches)[0]
    return over_realisations(np.asarray(found, float))


def _dynamics(problem: sgd.Problem, rate: float, β: float, sampler) -> sgd.SGD:
    return sgd.SGD(problem, learning_rate=rate * (1 - β), sampler=sampler, momentum=β)


def _key(config: Fig14Config, label: str) -> PRNGKey:
    return _ensembles.named(jax.random.key(config.seed), label)


# --- what is stored -----------------------------------------------------------------------------------------


def _curves(case: Case, white, β: float, M: int) -> dict[str, Variable]:
    """ϱ(h) at the largest rate."""
    label, words = f"momentum_{β:g}", f"autocorrelation of the noise, momentum {β:g}"
    found = measurement(f"{label}_own", "lag", case.own, words)
    found |= measurement(f"{label}_spectators", "lag", case.spectators, f"{words}, spectators")
    found |= measurement(f"{label}_path", "lag", case.path, f"{words}, drift alone")
    measured = white.map(lambda G: autocorrelation(G, M))
    found |= measurement(f"{label}_with_replacement", "lag", measured, f"{words}, with replacement")
    return found | {f"{label}_loss": variable("step", case.loss, f"loss, momentum {β:g}")}


def _data(variables: dict[str, Variable], cases: list[list[Case]], config: Fig14Config):
    h, M = np.arange(1, config.batches + 1), config.batches
    static = theory.noise_autocovariance(h, batches_per_epoch=M)
    variables = variables | {"static": variable("lag", static, "autocorrelation of the noise at fixed weights, (2)")}
    for name in ("own", "spectators", "path"):
        totals = [[getattr(case, name).map(jnp.sum) for case in row] for row in cases]
        for kind, words in (("value", "measured"), ("standard_error", "standard error")):
            values = [[float(getattr(total, kind)) for total in row] for row in totals]
            ending = "_error" if kind == "standard_error" else ""
            text = f"sum of the autocorrelation over lags from 1, {name}, {words}"
            variables[f"sum_{name}{ending}"] = variable(("momentum", "rate"), values, text)
    coordinates = {
        "lag": variable("lag", h, "lag", "steps"),
        "step": variable("step", np.arange(EPOCHS * M), "step"),
        "momentum": variable("momentum", list(config.momenta), "momentum"),
        "rate": variable("rate", list(config.rates), "learning rate over 1 − β", "[t]"),
    }
    return dataset(variables, coordinates).assign_attrs(momenta=list(config.momenta), batches=M)


FIG14 = register(
    Experiment(
        name="kuehn2025/fig14",
        summary="anti-correlated gradient noise at the start of training, where the weights move",
        source=source("Fig. 14"),
        config=Fig14Config,
        presets={
            "quick": Fig14Config(replicas=384),
            "paper": Fig14Config(rates=(0.00625, 0.0125, 0.025, 0.05, 0.1), replicas=1024),
        },
        run=run,
        figure="kuehn2025/fig14",
    )
)
"""Fig. 14: the noise's autocorrelation at the start of training."""
