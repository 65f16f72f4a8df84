"""Relaxation and drift at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _realisations, _store
from sgdynamics.experiments.gross2024 import _relaxation, _relaxation_modes

pytestmark = pytest.mark.long

# both networks of one shape, which compiles once
CONFIG = _relaxation.RelaxationConfig(
    inputs=6, hidden=2, samples=60, replicas=2048, steps=200, records=4, small_inputs=6, small_hidden=2,
    small_samples=60, small_replicas=4096, balance_times=1.5, small_records=4,
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


def test_variances_grow_as_the_recursion_says(result):
    case = _relaxation._case(CONFIG, _relaxation._ensembles.named(jax.random.key(CONFIG.seed), "relaxation"))
    h, modes, idle = _relaxation_modes.modes_and_rest(case)
    law = np.asarray(case.law().covariance_after(50)) / case.unit
    assert np.abs(result.data["growth_law"][1] - np.diagonal(modes.T @ law @ modes)).max() < 1e-10
    assert np.abs(case.hessian @ modes - modes * h[None, :]).max() < 1e-12
    assert np.abs(case.hessian @ idle).max() < 1e-12


def test_memory_is_the_regression_on_the_start():
    χ = np.random.default_rng(0).normal(size=(1, 64, 2))
    noise = np.random.default_rng(1).normal(size=(1, 64, 2))
    later = 0.5 * χ + noise
    both = _relaxation_modes.memory(np.concatenate([χ, later]))
    assert both[:, 0] == pytest.approx(np.ones((32, 2)))
    one = np.linalg.lstsq(χ[0, :2, :1], later[0, :2, 0], rcond=None)[0]
    assert both[0, 1, 0] == pytest.approx(one[0])


def test_the_line_between_a_wrong_law_and_the_right_one():
    right, wrong = np.array([1.0, 3.0]), np.array([2.0, 2.0])
    at = lambda values: (
        _relaxation_modes.along(_realisations.over_realisations(np.stack([values, values])), right, wrong).value
    )
    assert (at(right), at(wrong), at((right + wrong) / 2)) == (1, 0, 0.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("hidden", 31), ("samples", 30), ("replicas", 65), ("records", 7), ("small_samples", 6), ("balance_times", 0.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _relaxation.RelaxationConfig(**{field: value})
