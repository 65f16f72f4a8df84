"""Before Fig. 24: how much of the loss that fluctuations cost is spared by epochs.

    E L − L(θ*) = ½ Σ_i h_i σ_i²,      reduction = 1 − Σ h_i σ_i²(epochs)/Σ h_i σ_i²(with replacement)

The slides' 62 % is one network's, at one learning rate. With frozen noise C_ii the reduction is

    1 − Σ C_ii r(3 h_i/h_cross)/Σ C_ii,      small ηh, M (1 − β) ≫ 1, sampling factors apart,

of the spectrum and of h_1/h_cross alone: for C ∝ H, h_i = h_1 i^−p and 5,000 modes it is 62 % at h_1/h_cross = 30.9,
14.6 and 3.93 for p = 0.75, 1 and 1.25. The slides sketch it by a brace, σ² = σ_max² above h_cross and ∝ h, smaller,
below. Read as an equation, with the asymptote σ_max² h/h_cross below, it is r → min(1, h/h_cross), too large by a
factor of up to 1.84.

Measured on linear regression of a chosen spectrum, against second order in the noise's dependence on θ; and on a
network at its minimum at several learning rates, M (1 − β) = 10, where the frozen law at that M is the limit η → 0.
L includes ½ λ|θ|². Fig. 24 itself is of the variances along the modes, which other experiments have: the picture here
is of the 62 % on its slide.
"""

from collections.abc import Sequence

import numpy as np

from sgdynamics.experiments._progress import Progress
from sgdynamics.experiments._registry import Experiment, Result, register
from sgdynamics.experiments._variables import dataset, measurement, variable
from sgdynamics.experiments.kuehn2025 import _fig24_network, _fig24_regression
from sgdynamics.experiments.kuehn2025 import _late_phase as late
from sgdynamics.experiments.kuehn2025._fig24_claims import (
    Excess,
    Setting,
    expected_reduction,
    map_claims,
    network_claims,
    regression_claims,
    spared,
)
from sgdynamics.experiments.kuehn2025._fig24_config import Fig24Config
from sgdynamics.experiments.kuehn2025._fig24_network import brace, frozen_reduction, next_order, setting_of
from sgdynamics.experiments.kuehn2025._fig24_spectra import MODES, power_law, reduction, required_stiffness
from sgdynamics.experiments.kuehn2025._source import source
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory


def run(config: Fig24Config, progress: Progress) -> Result:
    """The map; the regression; the network at each learning rate."""
    regression, regression_runs = _fig24_regression.measured(config, progress)
    minimum = late.minimum(config.network, config.size)
    network, runs = {}, dict(regression_runs)
    for stiffness in config.stiffness:
        network[stiffness], more = _fig24_network.measured(minimum, stiffness, config, progress)
        runs |= more
    of = _setting(minimum, config)
    required = {p: required_stiffness(power_law(MODES, p)) for p in config.exponents}
    claims = [
        *map_claims(),
        *regression_claims(regression, _fig24_regression.brace(config), float(config.batches)),
        *network_claims(network, of),
    ]
    return Result(_data(config, regression, network, minimum, required), claims, runs)


def _setting(minimum: late.Minimum, config: Fig24Config) -> Setting:
    settings = {x: setting_of(minimum, x, config) for x in config.stiffness}
    return Setting(
        {x: s.learning_rate for x, s in settings.items()}, {x: next_order(minimum, s) for x, s in settings.items()},
        {x: brace(minimum, x, config) for x in settings},
        {x: brace(minimum, x, config, theory.crossover_function) for x in settings},
        round(minimum.samples // config.network_batch_size * (1 - config.momentum), 9),
    )  # fmt: skip


# --- what is stored -----------------------------------------------------------------------------------------


def _data(config: Fig24Config, regression: dict[str, Excess], network: dict, minimum: late.Minimum, required: dict):
    grid, p, x = np.geomspace(0.05, 300, 60), np.asarray(config.exponents), np.asarray(config.stiffness)
    curve = np.geomspace(x[0] / 3, x[-1] * 2, 30)
    words, h = "reduction of the excess loss", power_law(config.inputs, config.exponent)
    of = {
        "map": variable(("exponent", "stiffness"), _map(p, grid), f"{words}, h_i = h_1 i^−p, {MODES} modes"),
        "required": variable("exponent", [required[q] for q in p], "h_1/h_cross where the reduction is 62 %"),
        "regression_stiffness": variable("", _fig24_regression.stiffness(config), "h_1/h_cross of the regression"),
        "regression_frozen": variable("stiffness", reduction(h, grid), f"{words}, regression, frozen noise"),
        "regression_law": variable("", expected_reduction(regression), f"{words}, regression, second order"),
        "network_frozen": variable(
            "curve",
            [frozen_reduction(minimum, setting_of(minimum, c, config)) for c in curve],
            f"{words}, frozen noise",
        ),
        "network_brace": variable("curve", [brace(minimum, c, config) for c in curve], f"{words}, slides' brace"),
    }
    of |= measurement("regression", "", spared(regression), f"{words}, regression")
    of |= _measured("network", "run", [spared(network[s]) for s in config.stiffness], f"{words}, network")
    for name in ("epochs", "replacement"):
        runs = [network[s][name] for s in config.stiffness]
        of |= _measured(f"excess_{name}", "run", [run.relative for run in runs], f"excess loss over frozen law, {name}")
    coordinates = {
        "stiffness": variable("stiffness", grid, "h_1/h_cross"),
        "exponent": variable("exponent", p, "exponent p of the spectrum"),
        "curve": variable("curve", curve, "h_1/h_cross"),
        "run": variable("run", x, "h_1/h_cross of the network"),
        "learning_rate": variable("run", [setting_of(minimum, s, config).learning_rate for s in x], "learning rate"),
    }
    return dataset(of, coordinates)


def _map(exponents: np.ndarray, grid: np.ndarray) -> np.ndarray:
    return np.stack([reduction(power_law(MODES, p), grid) for p in exponents])


def _measured(name: str, dim: str, estimates: Sequence[Estimate], words: str) -> dict:
    """Scalars of independent ensembles along one axis."""
    values, errors = ([float(getattr(e, part)) for e in estimates] for part in ("value", "standard_error"))
    return {
        name: variable(dim, values, f"{words}, measured"),
        f"{name}_error": variable(dim, errors, f"{words}, standard error"),
    }


FIG24 = register(
    Experiment(
        name="kuehn2025/fig24",
        summary="the loss that fluctuations cost, with epochs and with replacement",
        source=source("slides before Fig. 24"),
        config=Fig24Config,
        presets={
            "quick": Fig24Config(regression_replicas=128, regression_epochs=40, replicas=32, epochs=21),
            "paper": Fig24Config(
                inputs=64,
                regression_replicas=1024,
                regression_epochs=200,
                stiffness=(1.0, 2.0, 3.0, 5.0, 10.0),
                replicas=512,
                epochs=105,
            ),
        },
        run=run,
        figure="kuehn2025/fig24",
    )
)
