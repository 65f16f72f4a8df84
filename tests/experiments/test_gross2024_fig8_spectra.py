"""Fig. 8(b), (c) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.gross2024 import _fig8_runs, _fig8_spectra

pytestmark = pytest.mark.long

SMALL = {"inputs": 4, "hidden": 3, "samples": (40,), "learning_rates": (0.05, 0.4), "replicas": 2048}


@pytest.fixture(scope="module")
def config():
    return _fig8_spectra.SpectraConfig("large", **SMALL, label_noise_std=0.1, time=40.0, run_time=100.0, runs=4)


@pytest.fixture(scope="module")
def result(config):
    return _fig8_spectra.run(config, experiments.Silence())


def test_what_a_tiny_run_decides(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    published = "P = 40/(3.36) but for the few largest/published"
    assert {id for id in verdicts if id.endswith("/published")} == {published}
    sure = ("whole/every mode", "first/every mode", "second/every mode", "Wick/control", "uncoupled/control",
            "(3.36)/control", "beyond linear response", "balance drift",
            "balance is conserved/control")  # fmt: skip
    assert verdicts[published] == "not reproduced"
    assert verdicts["P = 40/small learning rate"] != "not reproduced"  # too few replicas to decide
    assert {name: verdicts[f"P = 40/{name}"] for name in sure} == dict.fromkeys(sure, "reproduced")


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig8c", result.data)
    assert "SGD, P = 40" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert np.all(np.isfinite(result.data["one_run"]))


def test_a_law_keeps_its_own_start_and_forgets_another(config):
    case = _fig8_spectra._case(config, 40)
    window = _fig8_runs.Window(case, 40, None, np.zeros((3, 64, 15)), {})
    T, Q = (np.asarray(part) for part in (case.law().transition, case.law().noise))
    M = np.asarray(case.covariance())
    assert np.abs(window.of_law(T, Q) - M).max() < 1e-15
    powers = [np.linalg.matrix_power(T, k) for k in range(200, 401, 40)]
    assert np.abs(window.of_law(T, 0 * Q) - np.mean([P @ M @ P.T for P in powers], axis=0)).max() < 1e-15
    long = _fig8_runs.Window(case, 4000, None, window.positions, {})
    assert long.wick == pytest.approx(np.asarray(case.covariance("wick")), abs=1e-3 * case.unit)


def test_measured_balance_and_norm_of_known_motion(config):
    case = _fig8_spectra._case(config, 40)
    W1, W2 = (np.asarray(layer) for layer in case.layers)
    t = 40 * _fig8_runs.RECORDS // 2 * case.learning_rate
    scale = np.sqrt(1 - np.array([0.0, 1.0, 2.0]) * t / case.balance_time)  # |W₂|² falls linearly
    θ = np.stack([np.concatenate([W1.ravel(), (s * W2).ravel()]) for s in scale])
    window = _fig8_runs.Window(case, 40, None, np.repeat(θ[:, None], 64, axis=1), {})
    assert float(window.second_norm.value) == pytest.approx(-1)
    drift, moved = np.asarray(case.balance_drift()), -W2.T @ W2 / case.balance_time
    assert float(window.balance.value) == pytest.approx(np.sum(moved * drift) / np.sum(drift**2))


def test_a_line_is_carried_to_zero():
    draws = np.random.default_rng(0).normal(size=(3, 8)) * 0.01
    rates = np.array([0.1, 0.2, 0.4])
    measured = [over_realisations(2 + 3 * rate + noise) for rate, noise in zip(rates, draws, strict=True)]
    intercept, slope = _fig8_runs.at_zero(rates, measured)
    weights = 1 / np.array([float(m.standard_error) for m in measured])
    expected = np.polyfit(rates, [float(m.value) for m in measured], 1, w=weights)
    assert [float(slope.value), float(intercept.value)] == pytest.approx(list(expected))


@pytest.mark.parametrize(
    ("field", "value"),
    [("initialisation", "none"), ("samples", (4, 30)), ("learning_rates", (0.2, 0.1)), ("replicas", 100), ("runs", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig8_spectra.SpectraConfig(**{field: value})
