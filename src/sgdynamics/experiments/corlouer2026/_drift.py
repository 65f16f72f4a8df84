"""The printed formulas of Sec. 3 and 5.1 that are wrong, each beside the right one, its definition, and an ensemble.

In units of β, with balanced and aligned weights, the Itô drift ½ tr(Σ Hess w_α) of Prop. 3.4 is

    ½ { L(L−1) w_α^{3−4/L} [2 (s_α − w_α)² + σ²]
        + (s_α − w_α) Σ_{γ≠α} (s_γ − w_γ) Σ_k 2(L−k) w_α^{(2L−2−2k)/L} w_γ^{(L−2+2k)/L} },

where the paper prints

    L(L−1) w^{2−4/L} [(s − w) + σ]            (6)             L(L−1) w^{2−4/L} [(s − w) + σ/2]            (14)

and concludes that modes evolve independently; the drift of one depends on all others. Nor do weights stay aligned:
crossed amplitudes u_αᵀ W v_γ diffuse, at rates comparable with those of the modes. Also

    Prop. 3.1   J_l = W_<lᵀ ⊗ W_>l, and so g_l = −(W_<l ⊗ W_>lᵀ) vec Δ; printed g_l = −(W_<l ⊗ W_>l) vec Δ
    Prop. 3.4   μ_grad = +(v ⊗ u)ᵀ Σ_l K_l δ; printed with a minus
    Eq. 16      the integral of 2μ/D ~ z^{−2+2/L} from 0 does not converge; any other lower limit gives the density

The ensembles take one step from the same weights (`_drift_steps`).
"""

from dataclasses import dataclass

import jax
import numpy as np

from sgdynamics import _checks
from sgdynamics.data import Teacher
from sgdynamics.experiments._ensembles import named
from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._students import Student
from sgdynamics.experiments._variables import Variable, dataset, variable
from sgdynamics.experiments.corlouer2026 import _drift_steps
from sgdynamics.experiments.corlouer2026._drift_claims import Measured, claims_of
from sgdynamics.experiments.corlouer2026._drift_printed import LIMITS, Mode, any_lower_limit, lower_limit, transposed
from sgdynamics.experiments.corlouer2026._drift_steps import Case
from sgdynamics.experiments.corlouer2026._source import source
from sgdynamics.theory import deep_linear


@dataclass(frozen=True)
class DriftConfig:
    """One step from balanced and aligned weights, many times."""

    networks: tuple[tuple[int, ...], ...] = ((6, 6, 6), (6, 6, 6, 6), (6, 6, 6, 6, 6), (5, 7, 4, 6))
    """Widths d_0, …, d_L of each network."""
    singular_values: tuple[float, ...] = (1.0, 0.7, 0.4)
    """Of the teacher, descending."""
    states: tuple[tuple[float, ...], ...] = ((0.05, 0.05, 0.05), (0.6, 0.3, 0.05), (0.9, 0.6, 0.2))
    """Amplitudes of the modes. The first two share the last, so that what others do to its drift can be seen."""
    label_noises: tuple[float, ...] = (0.0, 0.3)
    """Standard deviations σ; the first is 0."""
    temperature: float = 0.005
    """β of (16)."""
    replicas: int = 16384
    """Steps of each kind from each state."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        _checks.require("singular_values", self.singular_values, len(self.singular_values) > 0, allowed="at least one")
        s = _checks.positive("singular_values", np.asarray(self.singular_values))
        if list(s) != sorted(s, reverse=True):
            raise ValueError(f"singular_values = {self.singular_values}, but they must descend: states are in order.")
        for widths in self.networks:
            if len(widths) < 3 or min(widths) < len(s):
                raise ValueError(f"networks has {widths}, but each needs 2 layers and the width of {len(s)} modes.")
        states = _checks.positive("states", np.asarray(self.states))
        if states.shape != (len(states), len(s)) or len(states) < 2 or states[0, -1] != states[1, -1]:
            raise ValueError("states must hold an amplitude of every mode, and the first two share the last.")
        _checks.not_negative("label_noises", np.asarray(self.label_noises))
        if len(self.label_noises) < 2 or self.label_noises[0] or not all(self.label_noises[1:]):
            raise ValueError(f"label_noises = {self.label_noises}, but the first must be 0 and the others not.")
        _checks.positive("temperature", self.temperature)
        _checks.count("replicas", self.replicas, least=2)


def run(config: DriftConfig, progress: Progress) -> Result:
    """Each network in turn, and what needs none."""
    key = jax.random.key(config.seed)
    networks = []
    for widths in config.networks:
        progress.stage("-".join(map(str, widths)), 1)
        networks.append(_measured(config, widths, named(key, str(widths))))
        progress.advance(1)
    square = (min(config.networks[0]),) * 4
    depths = sorted({len(widths) - 1 for widths in config.networks})
    s, β, σ = config.singular_values[0], config.temperature, config.label_noises[-1]
    modes = [Mode(s, depth, β, σ) for depth in depths]
    claims = [claim for network in networks for claim in claims_of(network)]
    claims += transposed(_student(config, square, 0.0, key), named(key, "weights"))
    claims += [claim for mode in modes for claim in lower_limit(mode)]
    claims.append(any_lower_limit(modes[-1]))
    return Result(_data(config, networks, modes), claims, {})


def _measured(config: DriftConfig, widths: tuple[int, ...], key: jax.Array) -> Measured:
    cases = [
        Case(_student(config, widths, σ, key), state, named(key, "bases"))
        for σ in config.label_noises
        for state in config.states
    ]
    steps = _drift_steps.steps(cases, named(key, "steps"), config.replicas)
    return Measured(widths, cases, _drift_steps.definition(cases), steps)


def _student(config: DriftConfig, widths: tuple[int, ...], σ: float, key: jax.Array) -> Student:
    teacher = Teacher.of_singular_values(
        config.singular_values, key=named(key, "teacher"), inputs=widths[0], outputs=widths[-1], label_noise_std=σ
    )
    return Student(teacher, widths, learning_rate=1.0)


def _data(config: DriftConfig, networks: list[Measured], modes: list[Mode]):
    shape = (len(config.label_noises), len(config.states), len(config.singular_values))
    by_case = lambda values: np.stack([np.reshape(value, shape) for value in values])
    dims, units = ("network", "label_noise", "state", "mode"), "w β"
    variables: dict[str, Variable] = {}
    for name, words in (("sde", "Itô drift of the SDE's steps"), ("sgd", "second-order drift of SGD's steps")):
        steps = [getattr(network.steps, name) for network in networks]
        error = by_case([np.std(values, axis=1, ddof=1) / np.sqrt(values.shape[1]) for values in steps])
        variables[name] = variable(dims, by_case([values.mean(axis=1) for values in steps]), words, units)
        variables[f"{name}_error"] = variable(dims, error, f"{words}, standard error", units)
    for form in deep_linear.MODEWISE_FORMS:
        values = by_case([network.of(lambda case, form=form: case.ito(form)) for network in networks])
        variables[form] = variable(dims, values, f"Itô drift, {form.replace('_', ' ')}", units)
    finite = by_case([network.of(lambda case: case.ito() + case.finite_steps()) for network in networks])
    variables |= {
        "exact_sgd": variable(dims, finite, "Itô drift and drift of finite steps", units),
        "definition": variable(dims, by_case([network.definition for network in networks]), "½ tr(Σ Hess w)", units),
        "amplitude": variable(("state", "mode"), config.states, "amplitude", "w"),
        "exponent": variable(("depth", "lower"), [mode.integrals() for mode in modes], "∫ 2μ/D from there to s/2"),
    }
    coordinates = {
        "network": variable("network", [network.name for network in networks], "widths"),
        "label_noise": variable("label_noise", list(config.label_noises), "label noise, standard deviation", "w"),
        "mode": variable("mode", list(config.singular_values), "singular value of the mode", "w"),
        "depth": variable("depth", [mode.depth for mode in modes], "layers"),
        "lower": variable("lower", list(LIMITS), "lower limit", "w"),
    }
    return dataset(variables, coordinates)


DRIFT = register(
    Experiment(
        name="corlouer2026/drift",
        summary="printed formulas of Secs. 3 and 5 that are wrong, beside the right ones and an ensemble",
        source=source("Props. 3.1-3.5, Eqs. 6, 14, 16"),
        config=DriftConfig,
        presets={
            "quick": DriftConfig(),
            "paper": DriftConfig(networks=((12,) * 3, (12,) * 4, (12,) * 5, (10, 14, 8, 12)), replicas=65536),
        },
        run=run,
        figure="corlouer2026/drift",
    )
)
