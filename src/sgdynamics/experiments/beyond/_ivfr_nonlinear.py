"""The inverse variance-flatness relation (IVFR) of nonlinear networks on real digits, and what predicts it.

With v_i the principal components of SGD's stationary weight fluctuations about a minimum θ*,

    Var_i = ⟨(v_iᵀ δθ)²⟩,      κ_i = v_iᵀ H v_i,  H = ∇²L(θ*),      F_i ∝ κ_i^{−1/2},

    Var ∝ F^{−ψ}:      ψ = 2 d ln Var / d ln κ,

by regression over the leading components. That is the convention of Feng and Tu (2021), who found ψ ≈ 4 with
cross-entropy, and of Gross et al. (2024), Sec. III C 3, where κ ∝ M₂₂ gives ψ = 2. L is the loss without weight
decay λ; θ* is the minimum of L + λ/2 |θ|², without which cross-entropy has none. SGD's law linearised there is

    M_ij = η C_ij / (h_i + h_j − η h_i h_j)      in the eigenbasis of H + λ, of eigenvalues h

(`predict`, frozen form), C = cov(∇ℓ)/S the minibatch noise at θ*. A relu network has no smooth minimum, and its law
is that of one whose relu is averaged over fluctuations of the pre-activations: see `_ivfr_networks`. Components and
variances of one sample would be related by chance, and components of large measured variance overestimated:
components are taken from one half of the replicas, variances from the other. ψ of the measurement and of the law
are compared on the same components, so that their own sampling error enters both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.beyond._ivfr_case import GROUPS, Case, Laws, halves
from sgdynamics.experiments.beyond._ivfr_networks import LOSSES, NETWORKS, AveragedRelu, first_digits, problem
from sgdynamics.statistics import Snapshots

SOURCE = "Gross, Raulf and Räth (2024), Sec. III C 3 and outlook; Feng and Tu (2021)"
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
    channels: tuple[int, ...] = (4, 4)
    """Channels of the convolutional network's stages."""
    smoothing: float = 0.02
    """Width s over which relu is averaged for its law: by the law, SGD's pre-activations fluctuate by 0.01 to 0.03."""
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
        for name in ("scale", "smoothing", "learning_rate", "weight_decay"):
            _checks.positive(name, getattr(self, name))
        if not set(self.networks) <= set(NETWORKS):
            raise ValueError(f"networks = {self.networks}, but each must be one of {', '.join(NETWORKS)}.")


def problems(network: str, loss: str, config: IvfrNonlinearConfig) -> tuple[sgd.Problem, sgd.Problem]:
    """What SGD learns, and what has a smooth minimum: the same, but for relu."""
    data = first_digits(loss, samples=config.samples, classes=config.classes, scale=config.scale)
    sizes: dict[str, Any] = {"classes": config.classes, "hidden": config.hidden, "channels": config.channels}
    key = jax.random.key(config.seed)
    learned = problem(network, loss, data, key=key, **sizes)
    if network != "relu":
        return learned, learned
    return learned, problem(network, loss, data, AveragedRelu(config.smoothing), key=key, **sizes)


def measure(network: str, loss: str, config: IvfrNonlinearConfig, progress: Progress) -> tuple[Case, dict]:
    """The minimum, the law there, and SGD started there."""
    name, rough, smooth = f"{network}, {loss}", *problems(network, loss, config)
    descent = _descent(rough, config)
    θ, prediction = _known(smooth, config)
    steps = tuple(range(config.every, config.steps + 1, config.every))
    ensemble = _ensembles.simulate(
        descent, Snapshots(steps), progress, name, key=jax.random.key(config.seed), replicas=config.replicas,
        burn_in=config.burn_in, steps=config.steps, every=config.every, initial=θ, dtype=jnp.float32,
    )  # fmt: skip
    if ensemble.diverged:
        raise ValueError(f"{ensemble.diverged} replicas of {name} diverged: lower learning_rate.")
    components, variances = halves(ensemble.estimates.values, config.modes)
    return Case(name, Laws(prediction, config.weight_decay), components, variances), ensemble.provenance


def _descent(problem: sgd.Problem, config: IvfrNonlinearConfig) -> sgd.SGD:
    return sgd.SGD(
        problem, learning_rate=config.learning_rate, sampler=config.batch_size, weight_decay=config.weight_decay
    )


@once
def _known(problem: sgd.Problem, config: IvfrNonlinearConfig) -> tuple[jax.Array, sgd.Prediction]:
    """The minimum, and the law there."""
    θ = problem.minimum(config.weight_decay)
    return θ, sgd.predict(_descent(problem, config), at=θ, form="frozen")


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
    harmonic, isotropic = case.predicted(case.laws.harmonic), case.predicted(case.laws.isotropic)
    averaged = "no smooth minimum: started and linearised where it is with relu averaged over fluctuations"
    note = averaged if case.name.startswith("relu") else ""
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
    along = lambda law: np.stack([case.along(law(case.laws)) for case in cases])
    predicted = lambda law: [case.predicted(law(case.laws)) for case in cases]
    laws: dict[str, tuple[Callable[[Laws], np.ndarray], str]] = {
        "harmonic": (lambda laws: laws.harmonic, "law linearised at the minimum"),
        "isotropic": (lambda laws: laws.isotropic, "isotropic noise"),
        "proportional": (lambda laws: laws.proportional, "noise proportional to the Hessian"),
    }
    gradients = [float(case.laws.modes.gradient_norm) for case in cases]
    words, axes = "variance along the component", ("case", "mode")
    variances = over_realisations(np.stack([np.asarray(case.variances.groups) for case in cases], axis=1))
    variables: dict[str, Variable] = measurement("variance", axes, variances, words, "w²") | {
        "exponent": variable("case", [case.measured.value for case in cases], "ψ, measured"),
        "exponent_error": variable("case", [case.measured.standard_error for case in cases], "ψ, standard error"),
        "curvature": variable(axes, [case.curvatures for case in cases], "curvature of the loss", "loss/w²"),
        "gradient": variable("case", gradients, "norm of the gradient left", "loss/w"),
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
            "quick": IvfrNonlinearConfig(NETWORKS[1:], samples=120, replicas=128, burn_in=1024, steps=1000),
            "paper": IvfrNonlinearConfig(samples=400, classes=4, hidden=8, channels=(4, 4), replicas=512),
        },
        run=run,
        figure="beyond/ivfr_nonlinear",
    )
)
