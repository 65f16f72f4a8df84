"""Figs. 12 and 13: how the gradient noise of successive batches is correlated, at fixed weights.

    cov(δg_k, δg_{k+h}) = C (δ_{h0} − (M − |h|)/(M(M − 1))),  |h| ≤ M          epochs, averaged over k      (2)
    cov(δg_k, δg_l) = −C/(M − 1) in one epoch, 0 across epochs                  epochs, at each position
    cov(δg_k, δg_l) = 0, k ≠ l                                                  with replacement

with M batches of S of P examples to an epoch, C = c C₁, C₁ the covariance of one example's gradient and
c = (P − S)/(S(P − 1)) without, 1/S with replacement. Where S does not divide P, the P mod S last examples of the order
are left out; the sum over an epoch is then not zero, and −1/(M − 1) becomes −S/(P − S).

The weights are a network's, at its minimum, and stay there, so that a batch of examples is a batch of their gradients:
the samplers draw from the gradients themselves. These are taken along leading eigenvectors of the Hessian, as far as
noise reaches them, and multiplied by C^{−½}: the components then are independent white noises but for the sampling,
and their average tr(C⁻¹ C_h)/tr(C⁻¹ C) is the sharpest measurement of what is a number in (2).
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sgdynamics import _checks
from sgdynamics._types import PRNGKey
from sgdynamics.data import Dataset
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._pretrained import RECIPES, Trained, pretrained
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.kuehn2025._fig12_13_claims import (
    START_EPOCHS,
    Sampled,
    epochs_claims,
    incomplete_claims,
    position_claims,
    positions_of,
    white_claims,
)
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.samplers import AbstractIndexSampler, Epochs, WithoutReplacement, WithReplacement
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

SILENT = 1e-9  # of the largest variance: no noise reaches a mode below it
BEYOND = 5  # lags above M


@dataclass(frozen=True)
class Fig12And13Config:
    """Batches of four samplings from one network's gradients."""

    network: str = "one_hidden"
    """Architecture of the network: linear, one_hidden, two_hidden, convolutional or residual."""
    size: str = "quick"
    """quick or full."""
    samples: int = 400
    """Examples P, the first of the network's training images."""
    modes: int = 12
    """Leading eigenvectors of the Hessian along which gradients are taken."""
    batch_size: int = 20
    """Minibatch size S, which divides P."""
    incomplete_batch_size: int = 120
    """Another size, which does not divide P."""
    replicas: int = 4096
    """Independent runs through the data."""
    seed: int = 0
    """Of the samplers."""

    def __post_init__(self):
        for name in ("samples", "modes", "batch_size", "incomplete_batch_size"):
            _checks.count(name, getattr(self, name))
        _checks.count("replicas", self.replicas, least=256, remedy="All lags are tested at once.")
        for name, value, among in (("size", self.size, RECIPES), ("network", self.network, RECIPES["full"])):
            if value not in among:
                raise ValueError(f"{name} = {value!r}, but it must be one of {', '.join(among)}.")
        most = RECIPES[self.size][self.network].samples
        _checks.require("samples", self.samples, self.samples <= most, allowed=f"at most the network's {most}")
        whole = self.samples % self.batch_size == 0 and 3 * self.batch_size <= self.samples
        _checks.require("batch_size", self.batch_size, whole, allowed=f"a divisor of {self.samples}, 3 or more times")
        rest = self.samples % self.incomplete_batch_size
        fits = rest != 0 and 2 * self.incomplete_batch_size <= self.samples
        _checks.require("incomplete_batch_size", self.incomplete_batch_size, fits, allowed="no divisor, twice or more")


def run(config: Fig12And13Config, progress: Progress) -> Result:
    """Four samplings of the same gradients."""
    gradients = _gradients(pretrained(config.network, config.size), config)
    S, key = config.batch_size, jax.random.key(config.seed)
    samplers = {
        "epochs": Epochs(S), "with replacement": WithReplacement(S), "fresh": WithoutReplacement(S),
        "incomplete": Epochs(config.incomplete_batch_size),
    }  # fmt: skip
    progress.stage("batches", len(samplers))
    cases = {}
    for name, sampler in samplers.items():
        cases[name] = _sampled(gradients, sampler, config.replicas, _ensembles.named(key, name))
        progress.advance(1)
    positions = positions_of(cases["epochs"])
    claims = [
        *epochs_claims(cases["epochs"], config.samples, S, float(np.abs(gradients).max())),
        *position_claims(cases["epochs"].batches, positions),
        *white_claims(cases), *incomplete_claims(cases["incomplete"]),
    ]  # fmt: skip
    return Result(_data(cases, positions), claims)


# --- the noise ----------------------------------------------------------------------------------------------


def _gradients(trained: Trained, config: Fig12And13Config) -> Float[Array, "samples modes"]:
    """C₁^{−½} Vᵀ(∇ℓ_μ − ∇L): what each example adds to the noise, with covariance 1."""
    V = trained.modes(config.modes).vectors
    data = Dataset(trained.problem.data.x[: config.samples], trained.problem.data.y[: config.samples])
    g = _along(trained.problem, trained.parameters, data, V)
    g = g - jnp.mean(g, axis=0, keepdims=True)
    variances, U = jnp.linalg.eigh(g.T @ g / len(g))
    heard = np.asarray(variances > SILENT * variances[-1])
    return (g @ U[:, heard]) / jnp.sqrt(variances[heard])[None]


@eqx.filter_jit
def _along(problem, θ, data, V):
    return problem.example_gradients(θ, data) @ V


def _sampled(
    gradients: Float[Array, "samples modes"], sampler: AbstractIndexSampler, replicas: int, key: PRNGKey
) -> Sampled:
    """Enough epochs for all lags from any position of the first two."""
    samples, S = len(gradients), sampler.batch_size
    M = samples // S
    lags = np.arange(M + min(BEYOND, M) + 1)
    steps = START_EPOCHS * M + int(lags[-1])
    data = Dataset(gradients, jnp.zeros(samples))
    noise = np.asarray(_noise(data, sampler, steps, jax.random.split(key, replicas)))
    noise = noise / np.sqrt(float(sampler.covariance_factor(data)))
    return Sampled(noise, M, lags, _expected(sampler, samples, lags))


@eqx.filter_jit
def _noise(data: Dataset, sampler: AbstractIndexSampler, steps: int, keys) -> Float[Array, "replicas steps modes"]:
    """The mean over each batch: a batch of gradients is drawn as a batch of examples would be."""
    draw = jax.vmap(lambda memory, step, key: sampler.draw(data, memory, step, key), in_axes=(0, None, 0))

    def one_step(memory, step):
        batches, memory = draw(memory, step, keys)
        return memory, jnp.mean(batches.x, axis=1)

    memory = jax.vmap(lambda key: sampler.init(data))(keys)
    noise = jax.lax.scan(one_step, memory, jnp.arange(steps, dtype=jnp.int32))[1]
    return jnp.swapaxes(noise, 0, 1)


def _expected(sampler: AbstractIndexSampler, samples: int, lags: np.ndarray) -> np.ndarray:
    if not isinstance(sampler, Epochs):
        return (lags == 0).astype(float)
    S, M = sampler.batch_size, sampler.batches_per_epoch(samples)
    return np.asarray(theory.noise_autocovariance(lags, batches_per_epoch=M, left_out=theory.left_out(samples, S)))


# --- what is stored -----------------------------------------------------------------------------------------


def _data(cases: dict[str, Sampled], positions: Estimate):
    variables, coordinates = {}, {}
    for name, case in cases.items():
        short, lag = name.replace(" ", "_"), "lag_incomplete" if name == "incomplete" else "lag"
        words = f"autocorrelation of the noise, {name}"
        variables |= measurement(short, lag, over_realisations(case.autocorrelation), words)
        variables[f"{short}_theory"] = variable(lag, case.expected, f"{words}, theory")
        coordinates[lag] = variable(lag, case.lags, "lag", "steps")
    k = np.arange(2 * cases["epochs"].batches)
    coordinates |= {name: variable(name, k, "batch in two epochs") for name in ("position", "other_position")}
    words = "correlation of the noise of two batches, epochs"
    variables |= measurement("positions", ("position", "other_position"), positions, words)
    batches = {f"{name.replace(' ', '_')}_batches": case.batches for name, case in cases.items()}
    return dataset(variables, coordinates).assign_attrs(**batches)


FIG12_13 = register(
    Experiment(
        name="kuehn2025/fig12_13",
        summary="correlation of the gradient noise of successive batches at fixed weights",
        source=source("Figs. 12 and 13"),
        config=Fig12And13Config,
        presets={
            "quick": Fig12And13Config(replicas=2048),
            "paper": Fig12And13Config(
                network="convolutional", size="full", samples=1400, modes=30, batch_size=20, incomplete_batch_size=400,
                replicas=4096,
            ),
        },
        run=run,
        figure="kuehn2025/fig12_13",
    )
)  # fmt: skip
"""Figs. 12 and 13: the noise's autocorrelation at fixed weights."""
