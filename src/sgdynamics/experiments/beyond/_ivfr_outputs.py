"""Two linear layers with several outputs: the inverse variance-flatness relation (IVFR) of both.

W₁ = A S₁ Bᵀ, W₂ = U S₂ Vᵀ, D = S² (0 beyond the rank), white inputs, residuals as in `_ivfr`. The kernels
K₁ = W₂ W₂ᵀ ⊗ 1 and K₂ = 1 ⊗ W₁ᵀ W₁ commute, so that (3.34) and (3.37) hold for any number of outputs, for each
pair of an output direction l and an input direction k:

    second layer, along u_l a_kᵀ      variance (ησ²/2S) D1_k/(D1_k + D2_l),      κ = σ_x² D1_k
    first layer,  along v_l b_kᵀ      variance (ησ²/2S) D2_l/(D1_k + D2_l),      κ = σ_x² D2_l

At given l and k, ψ₂ = 2 D2_l/(D1_k + D2_l) and ψ₁ = 2 D1_k/(D1_k + D2_l): ψ₁ + ψ₂ = 2. With one output κ of the first
layer has one value, and there is no relation; it arises with the second output, among the input directions that W₁
transmits, k ≤ N_h. Beyond (N_i > N_h, D1_k = 0) variances are all ησ²/2S, as those of the second layer are in output
directions that W₂ does not reach (l > N_h, D2_l = 0).
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._flatness import along, exponent, mapped
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.beyond import _ivfr
from sgdynamics.experiments.beyond._ivfr import SOURCE, Layered, Measured

LAYERS = (1, 2)


@dataclass(frozen=True)
class IvfrOutputsConfig:
    """SGD at minima of two-layer networks, for each number of outputs."""

    outputs: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of outputs N_o."""
    inputs: int = 8
    """N_i."""
    hidden: int = 4
    """N_h."""
    samples: int = 300
    """Examples P of pure noise, on which the gradient flow comes to rest."""
    target_std: float = 0.3
    """Standard deviation of that noise."""
    distinct: int = 40
    """Distinct inputs; each occurs 2 N_o times, with residuals ± σ √N_o in one output."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.03
    """σ of the residuals in each output."""
    replicas: int = 512
    """SGD replicas of each network, a multiple of 64; half for components, half for variances."""
    steps: int = 1000
    """SGD steps from the predicted law; short against the balance time S/(η σ²) t."""
    every: int = 50
    """Steps between two records."""
    least_share: float = 0.02
    """Components of smaller shares m are left out: drift along the minima shows there."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("samples", "batch_size", "steps", "every"):
            _checks.count(name, getattr(self, name))
        for outputs in self.outputs:
            _checks.count("outputs", outputs)
        _checks.count("hidden", self.hidden, least=2)
        _checks.count("inputs", self.inputs, least=self.hidden)
        _checks.count("distinct", self.distinct, least=self.inputs + 1)
        for name in ("learning_rate", "label_noise_std", "target_std", "least_share"):
            _checks.positive(name, getattr(self, name))
        _checks.require("replicas", self.replicas, self.replicas % 64 == 0 and self.replicas >= 128,
                        allowed="multiples of 64 from 128")  # fmt: skip


def run(config: IvfrOutputsConfig, progress: Progress) -> Result:
    """One ensemble for each number of outputs."""
    variables, claims, ensembles = {}, [], {}
    for outputs in config.outputs:
        label = f"{outputs} outputs"
        measured = _ivfr.simulate(
            _case(outputs, config), progress, label, key=jax.random.key(config.seed), config=config
        )
        claims.append(_ivfr.closed_form(label, measured.case))
        for l in LAYERS:
            variables |= _described(outputs, l, measured, config)
            claims += _claims(label, outputs, l, measured, config)
        ensembles[label] = measured.provenance
    return Result(dataset(variables).assign_attrs(outputs=list(config.outputs)), claims, ensembles)


def _case(outputs: int, config: IvfrOutputsConfig) -> Layered:
    key = _ensembles.named(jax.random.key(config.seed), f"{outputs} outputs")
    weights = _ivfr.resting(
        key, (config.inputs, config.hidden, outputs), samples=config.samples, target_std=config.target_std
    )
    return _ivfr.at(
        weights, key, samples=config.distinct, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rate, batch_size=config.batch_size,
        input_variances=np.full(config.inputs, 1 / config.inputs),
    )  # fmt: skip


# --- closed form ------------------------------------------------------------------------------------------------


def pairs(weights: Any, l: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """m and κ/σ_x² of the first or second layer [pairs], directions in columns: pairs with both D above 0."""
    (A, s1, Bt), (U, s2, Vt) = (np.linalg.svd(W, full_matrices=False) for W in weights)
    D1, D2 = np.tile(s1**2, len(s2)), np.repeat(s2**2, len(s1))
    directions = np.kron(Vt.T, Bt.T) if l == 1 else np.kron(U, A)
    own = D2 if l == 1 else D1
    return own / (D1 + D2), own, directions


# --- what is stored ---------------------------------------------------------------------------------------------


def _described(outputs: int, l: int, measured: Measured, config: IvfrOutputsConfig) -> dict[str, Variable]:
    name, words = f"outputs_{outputs}_layer_{l}", f"layer {l}, {outputs} outputs"
    V = measured.components(l, config.least_share)
    variances, (predicted, κ) = measured.variances(l, V), measured.expected(l, V)
    m, own, directions = pairs(measured.case.weights, l)
    component, pair, unit = f"{name}_component", f"{name}_pair", "ησ²/(2S)"
    stored = measurement(f"{name}_variance", component, variances, f"variance, {words}", unit) | {
        f"{name}_curvature": variable(component, κ, f"curvature along the component, {words}"),
        f"{name}_predicted": variable(component, predicted, f"variance predicted along the component, {words}", unit),
        f"{name}_share": variable(pair, m, f"share in closed form, {words}"),
        f"{name}_pair_curvature": variable(pair, own / config.inputs, f"curvature in closed form, {words}"),
    }
    stored |= measurement(f"{name}_pair_variance", pair, measured.variances(l, directions), f"variance, {words}", unit)
    if _relation(outputs, l):
        stored |= measurement(f"{name}_exponent", "", _exponent(l, measured, V), f"exponent ψ of components, {words}")
        stored |= measurement(f"{name}_pair_exponent", "", _pair_exponent(l, measured, config), f"ψ of pairs, {words}")
        expected = {"exponent_law": exponent(predicted, κ), "pair_exponent_law": _expected(l, measured, config)}
        stored |= {f"{name}_{end}": variable("", ψ, f"ψ in closed form, {words}") for end, ψ in expected.items()}
    return stored


def _relation(outputs: int, l: int) -> bool:
    """Whether curvatures of the layer differ."""
    return l == 2 or outputs > 1


def _exponent(l: int, measured: Measured, V: np.ndarray):
    κ = along(V, measured.case.hessian[measured.case.layer(l), measured.case.layer(l)])
    return mapped(measured.variances(l, V), lambda v: exponent(v, κ))


def _pair_exponent(l: int, measured: Measured, config: IvfrOutputsConfig):
    V, _, own = _transmitted(l, measured, config)
    return mapped(measured.variances(l, V), lambda v: exponent(v, own))


def _expected(l: int, measured: Measured, config: IvfrOutputsConfig) -> float:
    return float(exponent(*_transmitted(l, measured, config)[1:]))


def _transmitted(l: int, measured: Measured, config: IvfrOutputsConfig) -> tuple[np.ndarray, ...]:
    """Directions of the pairs, with their variances and curvatures in closed form, at finite learning rate."""
    m, _, V = pairs(measured.case.weights, l)
    V = V[:, m >= config.least_share]
    return V, *measured.expected(l, V)


# --- claims -----------------------------------------------------------------------------------------------------


def _claims(label: str, outputs: int, l: int, measured: Measured, config: IvfrOutputsConfig) -> list[Claim]:
    prefix, V = f"{label}/layer {l}", measured.components(l, config.least_share)
    position, own = _ivfr.block(measured, l, config.least_share)
    found = evidence(position)
    claims = [
        Claim.equality(
            f"{prefix}/shares", SOURCE, "covariance on the line from isotropic (0) to D_own/(D1 + D2) (1)", **found,
            expected=1.0, resolution=0.25, tolerance=own, note=_ivfr.OWN_NOISE,
        ),
        Claim.rejection(f"{prefix}/isotropic/control", SOURCE, "not isotropic", **found, expected=1.0, rejected=0.0),
    ]  # fmt: skip
    if not _relation(outputs, l):
        return [*claims, _ivfr.no_relation(prefix, l, measured, V)]
    return claims + _exponents(prefix, l, measured, V, config)


def _exponents(prefix: str, l: int, measured: Measured, V: np.ndarray, config: IvfrOutputsConfig) -> list[Claim]:
    ψ, of_pairs = evidence(_exponent(l, measured, V)), evidence(_pair_exponent(l, measured, config))
    law = float(exponent(*measured.expected(l, V)))
    return [
        Claim.equality(f"{prefix}/exponent", SOURCE, "ψ of the principal components, against the law along them", **ψ,
                       expected=law, resolution=0.25),
        Claim.equality(f"{prefix}/exponent of pairs", SOURCE, "ψ along pairs (l, k) that both layers transmit",
                       **of_pairs, expected=_expected(l, measured, config), resolution=0.25),
        Claim.rejection(f"{prefix}/shuffled/control", SOURCE, "ψ of pairs is not the 0 of shuffled ones", **of_pairs,
                        rejected=0.0, resolution=0.5),
        Claim.equality(f"{prefix}/exponent is 2/published", SOURCE, "ψ = 2", **ψ, expected=2.0, resolution=0.5),
    ]  # fmt: skip


IVFR_OUTPUTS = register(
    Experiment(
        name="beyond/ivfr_outputs",
        summary="variance and flatness of both layers against the number of outputs",
        source=SOURCE,
        config=IvfrOutputsConfig,
        presets={
            "quick": IvfrOutputsConfig(),
            "paper": IvfrOutputsConfig(
                outputs=(1, 2, 3, 4, 6, 8), learning_rate=0.05, replicas=4096, steps=4000, every=100
            ),
        },
        run=run,
        figure="beyond/ivfr_outputs",
    )
)
