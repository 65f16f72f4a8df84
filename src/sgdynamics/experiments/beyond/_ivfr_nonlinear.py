"""The inverse variance-flatness relation (IVFR) of nonlinear networks on real digits, and what predicts it.

With v_i the principal components of SGD's stationary weight fluctuations about a minimum θ*,

    Var_i = ⟨(v_iᵀ δθ)²⟩,      κ_i = v_iᵀ H v_i,  H = ∇²L(θ*),      F_i ∝ κ_i^{−1/2},

    Var ∝ F^{−ψ}:      ψ = 2 d ln Var / d ln κ,

by regression over the leading components. That is the convention of Feng and Tu (2021), who found ψ ≈ 4 with
cross-entropy, and of Gross et al. (2024), Sec. III C 3, where κ ∝ M₂₂ gives ψ = 2. L is the loss without weight
decay λ; θ* is the minimum of L + λ/2 |θ|², without which cross-entropy has none. SGD's law linearised there is

    M_ij = η C_ij / (a_i + a_j − η a_i a_j)      in the eigenbasis of H + λ, of eigenvalues a,

C = cov(∇ℓ)/S the minibatch noise at θ*. Components and variances of one sample would be related by chance, and
components of large measured variance overestimated: components are taken from one half of the replicas,
variances from the other. ψ of the measurement and of the law are compared on the same components, so that their
own sampling error enters both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from scipy.optimize import minimize

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.data import Dataset, digits
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.networks import MLP, ConvNet
from sgdynamics.statistics import Estimate, Snapshots

SOURCE = "Gross, Raulf and Räth (2024), Sec. III C 3 and outlook; Feng and Tu (2021)"
LOSSES: dict[str, Callable] = {"mse": sgd.squared_error, "cross-entropy": sgd.cross_entropy}
NETWORKS = ("linear", "tanh", "relu", "convolutional")
GROUPS = 32  # of replicas, between which errors are measured
RESOLUTION = 0.3  # of ψ: isotropic noise is further away than that


@dataclass(frozen=True)
class IvfrNonlinearConfig:
    """SGD about a minimum, for each network and each loss."""

    networks: tuple[str, ...] = NETWORKS
    """Of "linear" (one layer), "tanh", "relu" (two layers), "convolutional"."""
    samples: int = 200
    """Images P, the first of the chosen classes."""
    classes: int = 3
    """Digits 0, 1, … that are told apart."""
    scale: float = 1.0
    """Factor on the standardised images, whose total variance is 1."""
    hidden: int = 4
    """Hidden units of the two-layer networks."""
    channels: tuple[int, ...] = (3, 3)
    """Channels of the convolutional network's stages."""
    learning_rate: float = 0.2
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    weight_decay: float = 0.01
    """Weight decay λ."""
    replicas: int = 256
    """SGD replicas of each network and loss; half of them give the components, half the variances."""
    burn_in: int = 3000
    """Steps that are not recorded."""
    steps: int = 2000
    """SGD steps after those."""
    every: int = 250
    """Steps between two records."""
    modes: int = 20
    """Leading components, over which ψ is fitted."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("samples", "hidden", "batch_size", "burn_in", "steps", "every"):
            _checks.count(name, getattr(self, name))
        _checks.count("modes", self.modes, least=3)
        _checks.count("classes", self.classes, least=2)
        _checks.count("replicas", self.replicas, least=2 * GROUPS)
        for name in ("scale", "learning_rate", "weight_decay"):
            _checks.positive(name, getattr(self, name))
        if not set(self.networks) <= set(NETWORKS):
            raise ValueError(f"networks = {self.networks}, but each must be one of {', '.join(NETWORKS)}.")


@dataclass(frozen=True)
class Law:
    """What is known at the minimum: H and C of one network and loss, and the covariance M of SGD linearised there."""

    hessian: np.ndarray
    noise: np.ndarray
    learning_rate: float
    weight_decay: float

    @cached_property
    def covariance(self) -> np.ndarray:
        return self._answering(self.noise)

    @cached_property
    def isotropic(self) -> np.ndarray:
        """The control: noise of the same trace without a preferred direction."""
        return self._of_same_trace(np.eye(len(self.noise)))

    @cached_property
    def proportional(self) -> np.ndarray:
        """Of noise C ∝ H (its positive part): the relation is then the weight decay's, M ∝ H (H + λ)⁻¹."""
        h, U = np.linalg.eigh(self.hessian)
        return self._of_same_trace((U * np.maximum(h, 0)) @ U.T)

    def _of_same_trace(self, shape: np.ndarray) -> np.ndarray:
        return self._answering(np.trace(self.noise) / np.trace(shape) * shape)

    def _answering(self, noise: np.ndarray) -> np.ndarray:
        a, U = np.linalg.eigh(self.hessian + self.weight_decay * np.eye(len(noise)))
        η = self.learning_rate
        return U @ (η * (U.T @ noise @ U) / (a[:, None] + a - η * a[:, None] * a)) @ U.T


def exponent(variances: Any, curvatures: Any, xp: Any = np) -> Any:
    """ψ = 2 d ln Var / d ln κ by least squares over the components."""
    x = np.log(curvatures) - np.mean(np.log(curvatures))
    return 2 * xp.sum(xp.asarray(x / np.sum(x**2)) * xp.log(variances))


def minimum(problem: sgd.Problem, weight_decay: float) -> tuple[np.ndarray, float]:
    """θ* of L + λ/2 |θ|² by L-BFGS, and the norm of the gradient that is left: a relu network may end on a kink."""
    objective = once(lambda θ: jax.value_and_grad(lambda θ: problem.loss(θ) + weight_decay / 2 * θ @ θ)(θ))
    numbers = lambda θ: tuple(np.asarray(part, float) for part in objective(jnp.asarray(θ)))
    options = {"maxiter": 1000, "maxfun": 2000, "ftol": 0.0, "gtol": 1e-8, "maxcor": 30}
    end = minimize(numbers, np.asarray(problem.parameters), jac=True, method="L-BFGS-B", options=options)
    return end.x, float(np.linalg.norm(numbers(end.x)[1]))


def law_at(problem: sgd.Problem, θ: Any, config: IvfrNonlinearConfig) -> Law:
    """H by automatic differentiation and C from per-example gradients, both dense."""
    hessian, gradients = map(np.asarray, _derivatives(problem, jnp.asarray(θ)))
    G = gradients - gradients.mean(axis=0)
    return Law(hessian, G.T @ G / len(G) / config.batch_size, config.learning_rate, config.weight_decay)


@once
def _derivatives(problem: sgd.Problem, θ: jax.Array) -> tuple[jax.Array, jax.Array]:
    """H [parameters, parameters], and the gradient of each example [samples, parameters]."""
    one = lambda x, y: jax.grad(problem.loss)(θ, Dataset(x[None], y[None]))
    return jax.hessian(problem.loss)(θ), jax.vmap(one)(problem.data.x, problem.data.y)


def problem(network: str, loss: str, config: IvfrNonlinearConfig) -> sgd.Problem:
    """A network that tells the first digits apart: one-hot targets with "mse", classes with "cross-entropy"."""
    every = digits("value", pixels="all")
    label = np.rint(np.asarray(every.y - every.y.min())).astype(int)
    chosen = np.flatnonzero(label < config.classes)[: config.samples]
    targets = label[chosen] if loss == "cross-entropy" else np.eye(config.classes)[label[chosen]]
    data = Dataset(every.x[chosen] * config.scale, targets)
    key, inputs = _ensembles.named(jax.random.key(config.seed), network), every.x.shape[1]
    networks = {
        "linear": lambda: MLP((inputs, config.classes), key=key),
        "tanh": lambda: MLP((inputs, config.hidden, config.classes), key=key),
        "relu": lambda: MLP((inputs, config.hidden, config.classes), jax.nn.relu, key=key),
        "convolutional": lambda: ConvNet(config.channels, config.classes, key=key),
    }
    return sgd.Problem(networks[network](), data, LOSSES[loss])


@dataclass(frozen=True)
class Case:
    """One network with one loss: the law at its minimum, and SGD's variances along measured components."""

    name: str
    law: Law
    gradient: float
    components: np.ndarray
    variances: Estimate

    def along(self, matrix: np.ndarray) -> np.ndarray:
        return np.einsum("di,de,ei->i", self.components, matrix, self.components)

    @cached_property
    def curvatures(self) -> np.ndarray:
        return self.along(self.law.hessian)

    @cached_property
    def measured(self) -> Estimate:
        return self.variances.map(lambda v: exponent(v, self.curvatures, jnp), "exponent")

    def predicted(self, covariance: np.ndarray) -> float:
        """ψ of a law's variances along the same components."""
        return float(exponent(self.along(covariance), self.curvatures))


def halves(positions: Float[ArrayLike, "records replicas parameters"], modes: int) -> tuple[np.ndarray, Estimate]:
    """The leading components of one half of the replicas, and the variances of the other half along them."""
    X = np.asarray(positions, float)
    half = X.shape[1] // 2
    first, second = (part - part.mean(axis=1, keepdims=True) for part in (X[:, :half], X[:, half:]))
    _, _, Vt = np.linalg.svd(first.reshape(-1, X.shape[2]), full_matrices=False)
    V = Vt[:modes].T
    n = second.shape[1]
    squares = ((second @ V) ** 2).mean(axis=0) * n / (n - 1)
    grouped = squares[: n - n % GROUPS].reshape(GROUPS, -1, modes).mean(axis=1)
    return V, over_realisations(grouped, "variance")


def measure(network: str, loss: str, config: IvfrNonlinearConfig, progress: Progress) -> tuple[Case, dict]:
    """The minimum, the law there, and SGD started there."""
    name, learned = f"{network}, {loss}", problem(network, loss, config)
    θ, gradient = minimum(learned, config.weight_decay)
    descent = sgd.SGD(
        learned, learning_rate=config.learning_rate, sampler=config.batch_size, weight_decay=config.weight_decay
    )
    steps = tuple(range(config.every, config.steps + 1, config.every))
    ensemble = _ensembles.simulate(
        descent, Snapshots(steps), progress, name, key=jax.random.key(config.seed), replicas=config.replicas,
        burn_in=config.burn_in, steps=config.steps, every=config.every, initial=θ,
    )  # fmt: skip
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {name} diverged: lower learning_rate.")
    components, variances = halves(ensemble.estimates.values, config.modes)
    return Case(name, law_at(learned, θ, config), gradient, components, variances), ensemble.provenance


def run(config: IvfrNonlinearConfig, progress: Progress) -> Result:
    """Every network with both losses."""
    cases, provenance = {}, {}
    for network in config.networks:
        for loss in LOSSES:
            cases[network, loss], provenance[f"{network}, {loss}"] = measure(network, loss, config, progress)
    claims = [claim for (_, loss), case in cases.items() for claim in _claims(case, loss)]
    claims += [_contrast(network, cases) for network in config.networks]
    return Result(_data(list(cases.values())), claims, provenance)


def _claims(case: Case, loss: str) -> list[Claim]:
    """The linearised law gives ψ; isotropic noise does not; with cross-entropy there is an IVFR, of ψ below 4."""
    found = evidence(case.measured)
    harmonic, isotropic = case.predicted(case.law.covariance), case.predicted(case.law.isotropic)
    note = f"gradient left at the minimum: {case.gradient:.1e}"
    claims = [
        Claim.equality(
            f"{case.name}/harmonic law", SOURCE, "ψ of SGD is that of the law linearised at the minimum, frozen noise",
            **found, expected=harmonic, resolution=RESOLUTION, note=note,
        ),
        Claim.rejection(
            f"{case.name}/isotropic noise/control", SOURCE, "ψ is not that of noise without a preferred direction",
            **found, expected=harmonic, rejected=isotropic,
        ),
    ]  # fmt: skip
    if loss == "cross-entropy":
        claims += [
            Claim.rejection(
                f"{case.name}/no relation/control", SOURCE, "with cross-entropy there is an IVFR: ψ is not 0",
                **found, expected=harmonic, rejected=0.0,
            ),
            Claim.bound(
                f"{case.name}/not 4", SOURCE, "ψ is at most 2, half of what Feng and Tu found in their setting",
                **found, expected=2.0, side="at most",
            ),
        ]  # fmt: skip
    return claims


def _contrast(network: str, cases: dict[tuple[str, str], Case]) -> Claim:
    """Two independent ensembles: their errors add in squares."""
    entropy, mse = cases[network, "cross-entropy"].measured, cases[network, "mse"].measured
    error = float(np.hypot(entropy.standard_error, mse.standard_error))
    return Claim.bound(
        f"{network}/the loss makes it", SOURCE, "ψ with cross-entropy minus ψ with mean squared error, same network",
        float(entropy.value - mse.value), error, 0.0, side="at least", degrees_of_freedom=GROUPS - 1,
    )  # fmt: skip


def _data(cases: list[Case]):
    along = lambda law: np.stack([case.along(law(case.law)) for case in cases])
    predicted = lambda law: [case.predicted(law(case.law)) for case in cases]
    laws: dict[str, tuple[Callable[[Law], np.ndarray], str]] = {
        "harmonic": (lambda law: law.covariance, "law linearised at the minimum"),
        "isotropic": (lambda law: law.isotropic, "isotropic noise"),
        "proportional": (lambda law: law.proportional, "noise proportional to the Hessian"),
    }
    words, axes = "variance along the component", ("case", "mode")
    variances = over_realisations(np.stack([np.asarray(case.variances.groups) for case in cases], axis=1))
    variables: dict[str, Variable] = measurement("variance", axes, variances, words, "w²") | {
        "exponent": variable("case", [case.measured.value for case in cases], "ψ, measured"),
        "exponent_error": variable("case", [case.measured.standard_error for case in cases], "ψ, standard error"),
        "curvature": variable(axes, [case.curvatures for case in cases], "curvature of the loss", "loss/w²"),
        "gradient": variable("case", [case.gradient for case in cases], "norm of the gradient left", "loss/w"),
    }
    for name, (law, which) in laws.items():
        variables[f"variance_{name}"] = variable(axes, along(law), f"{words}, {which}", "w²")
        variables[f"exponent_{name}"] = variable("case", predicted(law), f"ψ, {which}")
    coordinates = {
        "case": variable("case", [case.name for case in cases], "network, loss"),
        "mode": variable("mode", np.arange(1, len(cases[0].curvatures) + 1), "rank of the component"),
    }
    return dataset(variables, coordinates)


IVFR_NONLINEAR = register(
    Experiment(
        name="beyond/ivfr_nonlinear",
        summary="inverse variance-flatness relation of nonlinear networks on digits, against the linearised law",
        source=SOURCE,
        config=IvfrNonlinearConfig,
        presets={
            "quick": IvfrNonlinearConfig(samples=120, replicas=192, burn_in=1024, steps=1000),
            "paper": IvfrNonlinearConfig(samples=400, classes=4, hidden=8, channels=(4, 4), replicas=512),
        },
        run=run,
        figure="beyond/ivfr_nonlinear",
    )
)
