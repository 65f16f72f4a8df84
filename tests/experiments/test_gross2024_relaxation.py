"""Relaxation and drift at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _realisations, _store, _two_layer
from sgdynamics.experiments.gross2024 import _relaxation, _relaxation_drift

CONFIG = _relaxation.RelaxationConfig(
    inputs=4, hidden=3, samples=20, replicas=2048, steps=400, records=4, small_inputs=6, small_hidden=2,
    small_samples=60, small_replicas=1024, balance_times=6.0, small_records=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _relaxation.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {
        "equilibrium/isotropic/published",
        "rest/fixed/published",
    }
    assert {id for id in ids if id.endswith("/control")} == {
        "growth/one variance/control", "memory/one rate/control", "drift/stationary/control",
    }  # fmt: skip
    assert [claim.id for claim in result.claims if not claim.as_expected] == []


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("gross2024/relaxation", result.data).legends[0].get_texts()]
    assert labels[3:] == ["rate 0, mean", "(3.41), (3.42)", "theory", "SGD"]


def test_moments_begin_as_linear_response_and_keep_to_the_balance_drift():
    case = _two_layer.pure_noise(
        jax.random.key(2), samples=20, inputs=3, hidden=2, label_noise_std=0.3, learning_rate=0.1, batch_size=200
    )
    m, Σ = _relaxation_drift.moments(case, 5, 1)
    law = np.asarray(case.law().covariance_after(5))
    V = np.asarray(case.directions)
    assert np.abs(V.T @ Σ[1] @ V - law).max() < 1e-3 * np.abs(law).max()
    squares = _relaxation_drift._expected_squares(case, np.asarray(m), np.asarray(Σ))
    growth = np.diff(_relaxation_drift._balance(squares), axis=0)[0]
    drift = 5 * case.learning_rate * np.asarray(case.balance_drift())
    assert np.abs(growth - drift).max() < 5e-3 * np.abs(drift).max()


def test_variances_grow_as_the_recursion_says(result):
    case = _relaxation._case(CONFIG, _relaxation._ensembles.named(jax.random.key(CONFIG.seed), "relaxation"))
    h, modes, idle = _relaxation._modes(case)
    law = np.asarray(case.law().covariance_after(100)) / case.unit
    assert np.abs(result.data["growth_law"][1] - np.diagonal(modes.T @ law @ modes)).max() < 1e-10
    assert np.abs(case.hessian @ modes - modes * h[None, :]).max() < 1e-12
    assert np.abs(case.hessian @ idle).max() < 1e-12


def test_memory_is_the_regression_on_the_start():
    χ = np.random.default_rng(0).normal(size=(1, 64, 2))
    noise = np.random.default_rng(1).normal(size=(1, 64, 2))
    later = 0.5 * χ + noise
    both = _relaxation.memory(np.concatenate([χ, later]))
    assert both[:, 0] == pytest.approx(np.ones((32, 2)))
    one = np.linalg.lstsq(χ[0, :2, :1], later[0, :2, 0], rcond=None)[0]
    assert both[0, 1, 0] == pytest.approx(one[0])


def test_the_line_between_a_wrong_law_and_the_right_one():
    right, wrong = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    at = lambda values: (
        _relaxation.along(_realisations.over_realisations(np.stack([values, values])), right, wrong).value
    )
    assert (at(right), at(wrong), at((right + wrong) / 2)) == (1, 0, 0.5)
    assert jnp.ndim(at(right)) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", 31), ("samples", 30), ("replicas", 65), ("records", 7), ("small_samples", 6), ("balance_times", 0.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _relaxation.RelaxationConfig(**{field: value})
