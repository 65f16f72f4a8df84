"""App. G.3: potential and kinetic energy of SGD, mode by mode and in total, with noise that depends on θ.

Along an eigenvector of H, of curvature k = h + λ, the steps (2) are δ' = (1 + β − η k) δ − β δ₋ − η ξ. Where the past
does not predict the noise, E[ξ δ] = 0, the product with δ gives, in the stationary state and whatever C(θ) is,

    R₁ = (1 + β − η k) R₀ − β R₁,      Var v = 2 (R₀ − R₁)/η²,
    ½ k Var δ = ½ m Var v,             m = η (1 + β)/2,
    E L_λ = L_λ(μ) + E K,              K = ½ m |v|²,
    L_λ(μ) = L(μ₀) + ½ (μ − μ₀)ᵀ H (μ − μ₀) + ½ λ |μ|²

exactly in discrete time. Printed: E L_λ = E K + ½ λ |μ|², with E K = η σ² tr H/(4S(1 − β)), that is (12), by
Assumption 5 in continuous time. There σ² is the labels' noise; weight decay moves μ and adds (μ − μ₀)ᵀ H (μ − μ₀) to
the residuals, so that C does depend on λ (App. B says not). Without weight decay the print may agree by accident: the
residuals of the data are smaller than σ², the noise off the minimum is larger. Every ensemble starts from its exact
law, at η ∝ 1 − β.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sgdynamics as sgd
from sgdynamics import _checks
from sgdynamics.experiments import _ensembles
from sgdynamics.experiments._claims import LEVEL, Claim, evidence
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.kunin2023._equipartition_case import Case, kinetic, mass, masses, offset
from sgdynamics.experiments.kunin2023._source import source
from sgdynamics.statistics import Estimate, Mean

_predict = once(sgd.predict)
CLOSE = 0.05  # relative difference within which the printed kinetic energy is called right
RESIDUAL = "of this data set, by its residuals: their mean square is below σ², the more so the fewer the samples"
VISIBLE = 0.05  # relative difference of two masses, or of two energies, from which on they are held against each other


@dataclass(frozen=True)
class EquipartitionConfig:
    """Energies over momentum, with and without weight decay."""

    inputs: int = 8
    """Number of inputs d."""
    samples: int = 200
    """Number of samples N."""
    momenta: tuple[float, ...] = (0.0, 0.5, 0.9, 0.99)
    """Momenta β, in [0, 1)."""
    weight_decays: tuple[float, ...] = (0.0, 0.1)
    """Weight decays λ, in units of curvature; H is about 1/d."""
    rate: float = 2.0
    """η/(1 − β) with the learning rate η; time t = η × step."""
    batch_size: int = 4
    """Minibatch size S, drawn with replacement."""
    label_noise_std: float = 0.5
    """Standard deviation σ of the label noise."""
    replicas: int = 1024
    """SGD replicas of each ensemble."""
    steps: int = 2000
    """SGD steps."""
    every: int = 10
    """Steps between two records."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        for name in ("inputs", "batch_size", "replicas", "steps", "every"):
            _checks.count(name, getattr(self, name))
        _checks.count("samples", self.samples, least=self.inputs + 2)
        for name in ("rate", "label_noise_std"):
            _checks.positive(name, getattr(self, name))
        for name in ("momenta", "weight_decays"):
            values = getattr(self, name)
            several = len(values) > 0 and list(values) == sorted(set(values))
            _checks.require(name, values, several, allowed="ascending, and at least one")
        for value in self.momenta:
            _checks.require("momenta", value, 0 <= value < 1, allowed="in [0, 1)")
        for value in self.weight_decays:
            _checks.not_negative("weight_decays", value)


def run(config: EquipartitionConfig, progress: Progress) -> Result:
    """One ensemble for each momentum and weight decay, all on one data set."""
    key = jax.random.key(config.seed)
    parts = [[_at(config, key, β, λ, progress) for β in config.momenta] for λ in config.weight_decays]
    rows = list(zip(config.weight_decays, parts, strict=True))
    variables = {name: value for λ, row in rows for name, value in _row(config, key, λ, row).items()}
    flat = [part for row in parts for part in row]
    coordinates = {
        "momentum": variable("momentum", np.array(config.momenta), "momentum β"),
        "line": variable("line", _line(config), "momentum β of lines"),
        "mode": variable("mode", np.arange(1, config.inputs + 1), "mode of the Hessian, softest first"),
    }
    data = dataset(variables, coordinates).assign_attrs(weight_decays=list(config.weight_decays))
    return Result(data, [c for part in flat for c in part[2]], {part[3]: part[4] for part in flat})


def _at(config: EquipartitionConfig, key: jax.Array, β: float, λ: float, progress: Progress) -> tuple:
    label = f"momentum = {β:g}, weight decay = {λ:g}"
    case = _case(config, key, β, λ)
    ensemble = _ensembles.simulate(
        case.descent, Mean(of=case.energies), progress, label, key=key, replicas=config.replicas,
        steps=config.steps, every=config.every, initial=case.prediction,
    )  # fmt: skip
    measured = ensemble.estimates
    return case, measured, _claims(config, label, case, measured), label, ensemble.provenance


def _case(config: EquipartitionConfig, key: jax.Array, β: float, λ: float) -> Case:
    data = sgd.data.teacher_student(
        _ensembles.named(key, "data"), samples=config.samples, inputs=config.inputs,
        label_noise_std=config.label_noise_std,
    )  # fmt: skip
    η = config.rate * (1 - β)
    descent = sgd.SGD(
        sgd.Problem(sgd.networks.Linear(config.inputs, 1), data), learning_rate=jnp.asarray(η),
        sampler=config.batch_size, momentum=jnp.asarray(β), weight_decay=jnp.asarray(λ),
    )  # fmt: skip
    x, y = np.asarray(data.x), np.asarray(data.y)
    H = x.T @ x / len(x)
    h, V = np.linalg.eigh(H)
    return Case(descent, _predict(descent), H, h + λ, V, np.linalg.solve(H, x.T @ y / len(x)), η, β, λ)


def printed_energy(config: EquipartitionConfig, case: Case) -> float:
    """η σ² tr H/(4S(1 − β))."""
    return case.η * config.label_noise_std**2 * np.trace(case.hessian) / (4 * config.batch_size * (1 - case.β))


# --- claims -------------------------------------------------------------------------------------------------


def _claims(config: EquipartitionConfig, label: str, case: Case, measured: Estimate) -> list[Claim]:
    return (
        _mass_claims(label, case, measured)
        + _constant_claims(label, case, measured)
        + _size_claims(config, label, case, measured)
    )


def _mass_claims(label: str, case: Case, measured: Estimate) -> list[Claim]:
    """The energies are equal with the mass η(1 + β)/2, and with no other."""
    right, total = (1 + case.β) / 2, evidence(mass(case, measured))
    claims = [
        Claim.equality(
            f"{label}/total", source("App. G.3"),
            "(E L_λ − L_λ(μ))/E ½|v|² in units of η is (1 + β)/2: exact in discrete time, with noise that depends on θ",
            **total, expected=right, resolution=VISIBLE * right,
        ),
        Claim.bound(
            f"{label}/mode by mode", source("App. G.3"),
            "the same along every eigenvector of H (p-value of all)",
            sgd.compare(masses(case, measured), np.full(len(case.modes), right), level=LEVEL).p_value, 0.0, LEVEL,
            side="at least",
        ),
    ]  # fmt: skip
    for name, wrong in (("mass η", 1.0), ("mass η/2", 0.5)):
        if abs(wrong / right - 1) >= VISIBLE * 0.9:
            claims.append(
                Claim.rejection(
                    f"{label}/{name}/control", source("App. G.3"), f"no equipartition with the {name}",
                    **total, expected=right, rejected=wrong,
                )
            )  # fmt: skip
    return claims


def _constant_claims(label: str, case: Case, measured: Estimate) -> list[Claim]:
    """What remains of the loss without the kinetic energy."""
    exact, printed = case.constant("exact"), case.constant("published")
    found = evidence(offset(case, measured))
    if case.λ == 0:
        statement = "without weight decay E L − E K is the residual loss L(μ₀) of the data, which the paper leaves out"
        return [
            Claim.equality(
                f"{label}/constant", source("App. G.3"), statement, **found, expected=exact, resolution=0.05 * exact
            )
        ]
    return [
        Claim.equality(
            f"{label}/constant", source("App. G.3, repaired"),
            "E L_λ − E K = L_λ(μ) = L(μ₀) + ½ (μ − μ₀)ᵀ H (μ − μ₀) + ½ λ |μ|²",
            **found, expected=exact, resolution=(exact - printed) / 2, published=printed,
        ),
        Claim.equality(
            f"{label}/constant/published", source("App. G.3"), "E L_λ − E K = ½ λ |μ|² (+ L(μ₀))",
            **found, expected=printed, resolution=(exact - printed) / 2,
        ),
    ]  # fmt: skip


def _size_claims(config: EquipartitionConfig, label: str, case: Case, measured: Estimate) -> list[Claim]:
    """How large the kinetic energy is."""
    exact, printed = case.kinetic, printed_energy(config, case)
    found = evidence(kinetic(case, measured))
    claims = [
        Claim.equality(
            f"{label}/kinetic energy", source("App. G.3; exact discrete law"),
            "E K = η(1 + β)/4 tr Cov v of SGD's exact law, multiplicative noise included",
            **found, expected=exact, resolution=VISIBLE * exact, published=printed,
        )
    ]  # fmt: skip
    if case.λ == 0 and case.β >= 0.5 and abs(printed / exact - 1) < CLOSE:
        claims.append(
            Claim.equality(
                f"{label}/kinetic energy, printed", source("App. G.3, Eq. 12"),
                f"without weight decay E K = η σ² tr H/(4S(1 − β)) is right within {CLOSE:.0%}",
                **found, expected=printed, resolution=CLOSE * printed, tolerance=CLOSE * printed, note=RESIDUAL,
            )
        )  # fmt: skip
    if abs(printed / exact - 1) >= 2 * VISIBLE:
        claims.append(
            Claim.equality(
                f"{label}/kinetic energy/published", source("App. G.3, Eq. 12"),
                "E K = η σ² tr H/(4S(1 − β)): Assumption 5, σ the labels' noise, continuous time",
                **found, expected=printed, resolution=abs(printed - exact), note=RESIDUAL,
            )
        )  # fmt: skip
    return claims


# --- what is stored -----------------------------------------------------------------------------------------


def _row(config: EquipartitionConfig, key: jax.Array, λ: float, row: list[tuple]) -> dict[str, Variable]:
    """At one weight decay: measured over momentum, and the exact law's lines."""
    at, decay = f"at_{λ:g}", f"weight decay {λ:g}"
    over, modes = ("momentum",), ("momentum", "mode")
    quantities = (
        ("mass", over, mass, f"mass of equal energies, {decay}", "η"),
        ("masses", modes, masses, f"mass of equal energies of each mode, {decay}", "η"),
        ("kinetic", over, kinetic, f"kinetic energy, {decay}", "loss"),
        ("offset", over, offset, f"expected loss − kinetic energy, {decay}", "loss"),
    )
    variables: dict[str, Variable] = {}
    for name, dims, quantity, words, units in quantities:
        variables |= _stacked(f"{at}_{name}", dims, [quantity(*part[:2]) for part in row], words, units)
    cases = [_case(config, key, β, λ) for β in _line(config)]
    lines = {
        "kinetic_exact": ([case.kinetic for case in cases], "kinetic energy of the exact law"),
        "kinetic_printed": ([printed_energy(config, case) for case in cases], "kinetic energy as printed"),
        "offset_exact": ([case.constant("exact") for case in cases], "L_λ(μ)"),
        "offset_printed": ([case.constant("published") for case in cases], "½λ|μ|² + L(μ₀), as printed"),
    }
    for name, (values, words) in lines.items():
        variables[f"{at}_{name}"] = variable("line", np.array(values), f"{words}, {decay}", "loss")
    return variables | {f"{at}_curvature": variable("mode", cases[0].curvatures, f"curvature k, {decay}", "1/t")}


def _line(config: EquipartitionConfig) -> np.ndarray:
    """Momenta for a line: even in log(1 − β)."""
    return 1 - np.geomspace(1 - config.momenta[0], 1 - config.momenta[-1], 16)


def _stacked(name: str, dims: Any, estimates: list[Estimate], words: str, units: str) -> dict[str, Variable]:
    return {
        name: variable(dims, np.stack([e.value for e in estimates]), f"{words}, measured", units),
        f"{name}_error": variable(
            dims, np.stack([e.standard_error for e in estimates]), f"{words}, standard error", units
        ),
    }


EQUIPARTITION = register(
    Experiment(
        name="kunin2023/equipartition",
        summary="potential and kinetic energy of SGD, and the constant of the loss, over momentum and weight decay",
        source=source("App. G.3"),
        config=EquipartitionConfig,
        presets={
            "quick": EquipartitionConfig(),
            "paper": EquipartitionConfig(
                inputs=30, samples=5000, replicas=2048, steps=10_000, every=20, batch_size=16,
                momenta=(0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99), weight_decays=(0.0, 0.01, 0.1),
            ),
        },
        run=run,
        figure="kunin2023/equipartition",
    )
)  # fmt: skip
