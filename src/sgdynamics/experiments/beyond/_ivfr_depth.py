"""Does the inverse variance-flatness relation (IVFR) arise in every layer of a deep linear network?

    variance (ησ²/2S) m,    m_l = the layer's share of the kernel,    κ_l = its own part of the curvature     (`_ivfr`)

    first layer     one output: κ is the same in all directions, whatever they fluctuate       no relation
    last layer      ψ = 2 d ln Var/d ln κ ≤ 2, and 2 only where the first layer carries all fluctuations
    between         ψ_l = 2 [1 − ⟨j − 1⟩/(l − 1)], j averaged over layers by their shares: of either sign

The sign turns where the layer lies before the mean ⟨j⟩: there stiffer directions fluctuate less. Two layers are
Eq. (3.34) and (3.37), ψ = 2 D₂/(D₁ + D₂). The formula for ψ_l holds where layers share their singular bases
("aligned"); it is never above 2, and not below 0 in the last layer. Where they do not ("flow": where gradient flow on
targets of pure noise ends), the shares are still the eigenvalues of P_ll, but ψ is a regression over them. One layer
alone has m = 1 in all directions: ψ = 0.

Principal components are taken from half of the replicas, variances from the other half; a law's ψ is that of its
variances along the same components, those with m above `least_share`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.experiments._flatness import exponent, mapped, steepness
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, measurement, variable
from sgdynamics.experiments.beyond import _ivfr
from sgdynamics.experiments.beyond._ivfr import SOURCE, Layered, Measured

KINDS = ("aligned", "flow")
UNEQUAL = 0.2  # relative scatter of the shares from which a layer is told from an isotropic one
POINTS = 50  # of a curve


@dataclass(frozen=True)
class IvfrDepthConfig:
    """SGD at minima of linear networks with one output, at each depth."""

    depths: tuple[int, ...] = (2, 3, 4, 5)
    """Numbers of layers L, each at least 2."""
    inputs: int = 8
    """N_i."""
    hidden: int = 6
    """Hidden units of every hidden layer."""
    strengths: tuple[float, float] = (0.2, 1.8)
    """Least and largest squared singular value s of the aligned layers."""
    samples: int = 300
    """Examples P of pure noise, on which the gradient flow of "flow" comes to rest."""
    target_std: float = 0.3
    """Standard deviation of that noise."""
    distinct: int = 40
    """Distinct inputs; each occurs twice, with residuals σ and −σ."""
    learning_rate: float = 0.1
    """Learning rate η; time t = η × step."""
    batch_size: int = 10
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.03
    """σ, the size of every residual."""
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
        for name in ("samples", "distinct", "batch_size", "steps", "every"):
            _checks.count(name, getattr(self, name))
        for depth in self.depths:
            _checks.count("depths", depth, least=2)
        _checks.count("hidden", self.hidden, least=3)
        _checks.count("inputs", self.inputs, least=self.hidden)
        _checks.count("distinct", self.distinct, least=self.inputs + 1)
        for name in ("learning_rate", "label_noise_std", "target_std", "least_share"):
            _checks.positive(name, getattr(self, name))
        _checks.require("strengths", self.strengths, len(self.strengths) == 2, allowed="two: least and largest")
        least, largest = self.strengths
        _checks.require("strengths", self.strengths, 0 < least < largest, allowed="ascending and positive")
        _checks.require("replicas", self.replicas, self.replicas % 64 == 0 and self.replicas >= 128,
                        allowed="multiples of 64 from 128")  # fmt: skip


def run(config: IvfrDepthConfig, progress: Progress) -> Result:
    """Both kinds of minima at each depth, and one layer as a control."""
    variables, claims, ensembles = _one_layer(config, progress)
    for depth in config.depths:
        for kind in KINDS:
            measured = _measure(kind, depth, config, progress)
            claims.append(_ivfr.closed_form(f"{kind}, depth {depth}", measured.case))
            for l in range(1, depth + 1):
                variables |= _described(kind, depth, l, measured, config)
                claims += _claims(kind, depth, l, measured, config)
            ensembles[f"{kind}, depth {depth}"] = measured.provenance
    data = dataset(variables).assign_attrs(depths=list(config.depths), kinds=list(KINDS))
    return Result(data, claims, ensembles)


def strengths(config: IvfrDepthConfig) -> np.ndarray:
    """s, ascending [hidden]."""
    return np.geomspace(*config.strengths, config.hidden)


def _case(kind: str, depth: int, config: IvfrDepthConfig) -> Layered:
    key = _ensembles.named(jax.random.key(config.seed), f"{kind}, depth {depth}")
    if kind == "aligned":
        weights = _ivfr.aligned(key, depth, config.inputs, strengths(config))
    else:
        widths = (config.inputs, *(depth - 1) * (config.hidden,), 1)
        weights = _ivfr.resting(key, widths, samples=config.samples, target_std=config.target_std)
    return _at(weights, key, config, np.full(config.inputs, 1 / config.inputs))


def _at(weights: list[np.ndarray], key: Any, config: IvfrDepthConfig, input_variances: np.ndarray) -> Layered:
    return _ivfr.at(
        weights, key, samples=config.distinct, label_noise_std=config.label_noise_std,
        learning_rate=config.learning_rate, batch_size=config.batch_size, input_variances=input_variances,
    )  # fmt: skip


def _measure(kind: str, depth: int, config: IvfrDepthConfig, progress: Progress) -> Measured:
    key = jax.random.key(config.seed)
    return _ivfr.simulate(_case(kind, depth, config), progress, f"{kind}, depth {depth}", key=key, config=config)


# --- closed form of aligned layers ------------------------------------------------------------------------------


def aligned_shares(weights: Any, s: np.ndarray) -> np.ndarray:
    """m_l = a_l s^{l−1} / Σ_j a_j s^{j−1}, a_l = |A_l|² [layers, modes]."""
    own = aligned_curvatures(weights, s)
    return own / own.sum(axis=0, keepdims=True)


def aligned_curvatures(weights: Any, s: np.ndarray) -> np.ndarray:
    """κ_l/σ_x² = a_l s^{l−1} [layers, modes]."""
    after = [np.eye(1)]
    for W in weights[:0:-1]:
        after.append(after[-1] @ W)
    a = np.array([np.sum(A**2) for A in after[::-1]])
    return a[:, None] * s[None] ** np.arange(len(a))[:, None]


def local_exponents(shares: np.ndarray) -> np.ndarray:
    """ψ_l = 2 [1 − ⟨j − 1⟩/(l − 1)] of the layers l = 2 … L [layers − 1, modes]."""
    before = np.arange(len(shares))
    return 2 * (1 - (before @ shares)[None] / before[1:, None])


# --- what is stored ---------------------------------------------------------------------------------------------


def _described(kind: str, depth: int, l: int, measured: Measured, config: IvfrDepthConfig) -> dict[str, Variable]:
    name, words = f"{kind}_{depth}_{l}", f"layer {l} of {depth}, {kind}"
    V = measured.components(l, config.least_share)
    predicted, κ = measured.expected(l, V)
    variances = measured.variances(l, V)
    m, own, _ = measured.case.shares(l)
    law = _law(l)
    stored = measurement(f"{name}_variance", f"{name}_component", variances, f"variance, {words}", "ησ²/(2S)") | {
        f"{name}_curvature": variable(f"{name}_component", κ, f"curvature along the component, {words}"),
        f"{name}_predicted": variable(f"{name}_component", predicted, f"variance predicted there, {words}", "ησ²/(2S)"),
        f"{name}_share": variable(f"{name}_mode", m, f"share of the kernel, {words}"),
        f"{name}_share_curvature": variable(f"{name}_mode", own, f"curvature of that mode, {words}"),
    }
    kept, slope = m >= config.least_share, "exponent ψ" if l > 1 else "d ln κ/d ln Var"
    stored |= measurement(f"{name}_slope", "", mapped(variances, lambda v: law(v, κ)), f"{slope}, {words}")
    stored[f"{name}_slope_law"] = variable("", law(predicted, κ), f"{slope} along the same components, law, {words}")
    stored[f"{name}_slope_modes"] = variable("", law(m[kept], own[kept]), f"{slope} along the law's modes, {words}")
    return stored | (_curve(name, words, l, measured.case, config) if kind == "aligned" else {})


def _curve(name: str, words: str, l: int, case: Layered, config: IvfrDepthConfig) -> dict[str, Variable]:
    s, dim = np.geomspace(*config.strengths, POINTS), f"{name}_curve"
    m, κ = aligned_shares(case.weights, s), aligned_curvatures(case.weights, s) / config.inputs
    kept, variance = m[l - 1] >= config.least_share, m[l - 1] / (1 - config.learning_rate * κ.sum(axis=0) / 2)
    return {
        f"{name}_curve_variance": variable(dim, variance[kept], f"variance in closed form, {words}", "ησ²/(2S)"),
        f"{name}_curve_curvature": variable(dim, κ[l - 1][kept], f"curvature in closed form, {words}"),
    }


def _law(l: int) -> Callable:
    return exponent if l > 1 else steepness


# --- claims -----------------------------------------------------------------------------------------------------


def _claims(kind: str, depth: int, l: int, measured: Measured, config: IvfrDepthConfig) -> list[Claim]:
    prefix = f"{kind}, depth {depth}/layer {l}"
    V = measured.components(l, config.least_share)
    # a block that is nearly isotropic cannot be told from an isotropic one
    unequal = _ivfr.anisotropy(measured.case, l, config.least_share) >= UNEQUAL
    claims = [_block(prefix, l, measured, config)] if unequal else []
    claims += [_ivfr.no_relation(prefix, l, measured, V)] if l == 1 else [_exponent(prefix, l, measured, V)]
    if l == depth:
        claims += _last(prefix, l, measured, V, config)
    if kind == "aligned" and l == 2:
        claims += _stiffest(prefix, measured)
    return claims


def _block(prefix: str, l: int, measured: Measured, config: IvfrDepthConfig) -> Claim:
    found, own = _ivfr.block(measured, l, config.least_share)
    return Claim.equality(
        f"{prefix}/block of the projector", SOURCE,
        "covariance of the layer, on the line from the isotropic one (0) to the block of the projector (1)",
        **evidence(found), expected=1.0, resolution=0.25, tolerance=own, note=_ivfr.OWN_NOISE,
    )  # fmt: skip


def _exponent(prefix: str, l: int, measured: Measured, V: np.ndarray) -> Claim:
    predicted, κ = measured.expected(l, V)
    between = l < len(measured.case.weights)  # curvatures may be close there, and ψ is of either sign
    return Claim.equality(
        f"{prefix}/exponent", SOURCE, "ψ of the measured components, against linear response along them",
        **evidence(mapped(measured.variances(l, V), lambda v: exponent(v, κ))),
        expected=float(exponent(predicted, κ)), resolution=1.0 if between else 0.25,
    )  # fmt: skip


def _last(prefix: str, l: int, measured: Measured, V: np.ndarray, config: IvfrDepthConfig) -> list[Claim]:
    """The last layer obeys, with less than 2."""
    κ = measured.expected(l, V)[1]
    ψ = evidence(mapped(measured.variances(l, V), lambda v: exponent(v, κ)))
    return [
        Claim.rejection(f"{prefix}/isotropic/control", SOURCE, "the layer does not fluctuate isotropically",
                        **evidence(_ivfr.block(measured, l, config.least_share)[0]), expected=1.0, rejected=0.0),
        Claim.rejection(f"{prefix}/shuffled/control", SOURCE, "ψ is not the 0 of shuffled pairs", **ψ, rejected=0.0,
                        resolution=0.5),
        Claim.equality(f"{prefix}/exponent is 2/published", SOURCE, "ψ = 2", **ψ, expected=2.0, resolution=0.5),
    ]  # fmt: skip


def _stiffest(prefix: str, measured: Measured) -> list[Claim]:
    """Over the three stiffest modes of the second layer: closed form, and whether the relation holds there."""
    V = _second_modes(measured.case)[:, -3:]
    predicted, κ = measured.expected(2, V)
    ψ = evidence(mapped(measured.variances(2, V), lambda v: exponent(v, κ)))
    expected, statement = float(exponent(predicted, κ)), "ψ of the three stiffest modes of layer 2"
    claims = [Claim.equality(f"{prefix}/stiffest", SOURCE, f"{statement}, closed form", **ψ, expected=expected,
                             resolution=1.0)]  # fmt: skip
    if expected < 0:
        claims.append(
            Claim.bound(f"{prefix}/general/published", SOURCE, f"the IVFR generally arises: {statement} is above 0",
                        **ψ, expected=0.0, side="at least", note="the layer lies before the mean layer ⟨j⟩")
        )  # fmt: skip
    return claims


def _second_modes(case: Layered) -> np.ndarray:
    """Directions A₂ᵀ ⊗ W₁ v_j of aligned layers, softest first [weights, modes]."""
    after = _ivfr.product([np.eye(len(case.weights[1])), *case.weights[2:]])
    Q = np.linalg.svd(case.weights[0], full_matrices=False)[0]
    return np.kron(after.T / np.linalg.norm(after), Q[:, ::-1])


def _one_layer(config: IvfrDepthConfig, progress: Progress) -> tuple[dict[str, Variable], list[Claim], dict]:
    """The control: inputs of unequal variances make curvatures unequal, but not the fluctuations."""
    name, key = "depth 1", _ensembles.named(jax.random.key(config.seed), "depth 1")
    variances = np.geomspace(*config.strengths, config.inputs)
    case = _at([np.asarray(jax.random.normal(key, (1, config.inputs)))], key, config, variances)
    measured = _ivfr.simulate(case, progress, name, key=key, config=config)
    found, (expected, κ) = measured.variances(1, np.eye(config.inputs)), measured.expected(1, np.eye(config.inputs))
    ψ = mapped(found, lambda v: exponent(v, κ))
    stored = measurement("one_variance", "one_component", found, "variance, one layer", "ησ²/(2S)")
    stored |= measurement("one_slope", "", ψ, "exponent ψ, one layer")
    stored["one_curvature"] = variable("one_component", κ, "curvature, one layer")
    of_law = float(exponent(expected, κ))
    return stored, [
        Claim.equality(f"{name}/no relation", SOURCE, "ψ of one layer is 0, up to one step's length", **evidence(ψ),
                       expected=0.0, resolution=0.2, tolerance=abs(of_law)),
        Claim.rejection(f"{name}/exponent/control", SOURCE, "one layer does not have ψ = 2", **evidence(ψ),
                        expected=0.0, rejected=2.0),
    ], {name: measured.provenance}  # fmt: skip


IVFR_DEPTH = register(
    Experiment(
        name="beyond/ivfr_depth",
        summary="variance and flatness in each layer of deep linear networks",
        source=SOURCE,
        config=IvfrDepthConfig,
        presets={
            "quick": IvfrDepthConfig(depths=(2, 3, 5)),
            "paper": IvfrDepthConfig(learning_rate=0.05, replicas=4096, steps=4000, every=100),
        },
        run=run,
        figure="beyond/ivfr_depth",
    )
)
