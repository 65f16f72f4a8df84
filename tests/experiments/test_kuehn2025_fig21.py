"""Fig. 21 at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig21, _fig21_claims
from sgdynamics.experiments.kuehn2025._fig21_claims import Measured
from sgdynamics.experiments.kuehn2025._setting import Setting
from sgdynamics.statistics import Estimate
from sgdynamics.theory import epochs as theory

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig21.Fig21Config(
        samples=120, batch_size=2, learning_rates=(0.04,), batch_sizes=(1,), momenta=(0.0,), softest=0.004,
        stiffest=150.0, per_decade=6, replicas=256, epochs=80,
    )  # fmt: skip
    return _fig21.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    # M (1 − β) is 6, 12 and 60: the slides' approximations hold within its inverse, and at the first two it shows
    ids = lambda ending: {claim.id for claim in result.claims if claim.id.endswith(ending)}
    few, quantities = ("base", "η = 0.04", "S = 1"), ("flat time", "crossover")
    assert ids("/asymptote") == {f"{name}/{quantity}/asymptote" for name in (*few, "β = 0") for quantity in quantities}
    assert ids("/asymptote not yet reached") == {
        f"{name}/{quantity}/asymptote not yet reached" for name in few for quantity in quantities
    }
    assert not ids("/published")
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "β = 0/sharp crossover/control", "learning rate η/λ_cross stays/control",
        "batch size S/λ_cross stays/control", "momentum β/λ_cross stays/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("kuehn2025/fig21", result.data)
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes[:3]]
    assert labels == [["$η$ = 0.02", "$η$ = 0.04"], ["$S$ = 1", "$S$ = 2"], ["$β$ = 0", "$β$ = 0.9"]]


def test_a_line_in_the_inverse_time_is_found_exactly():
    λ = np.array([0.1, 0.5, 2.0, 7.0])
    intercept, slope = _fig21_claims.line(λ, jnp.asarray(1 / (3 + 0.25 * λ)))
    np.testing.assert_allclose((intercept, slope), (3, 0.25), rtol=1e-12)


@pytest.mark.parametrize(("momentum", "curved"), [(0.0, 0.01), (0.9, 0.015)])
def test_exact_times_give_back_the_exact_crossover(momentum, curved):
    setting = Setting(0.02, momentum, 8, 1200)
    λ = setting.crossover * np.geomspace(0.01, 20, 24)
    τ = jnp.asarray(setting.times(λ))
    exact = Estimate(τ, 0 * τ, τ[None], jnp.ones(1), jnp.asarray(1), jnp.asarray(0), quantity="τ")
    measured = Measured(setting, λ, exact)
    np.testing.assert_allclose(measured.flat_time_ratio.value, setting.flat_time_exact, rtol=2e-3)
    np.testing.assert_allclose(measured.crossover_ratio.value, setting.crossover_exact, rtol=curved)
    assert measured.crossover_bias < curved
    # without momentum τ_SGD is (M + 1)/3, not M/3
    if momentum == 0:
        np.testing.assert_allclose(setting.flat_time_exact, 151 / 150, rtol=1e-12)


def test_the_crossover_is_that_of_theory():
    setting = Setting(0.02, 0.9, 8, 1200)
    λ = theory.crossover_curvature(learning_rate=0.02, momentum=0.9, batches_per_epoch=150)
    np.testing.assert_allclose(setting.crossover, λ, rtol=1e-14)


@pytest.mark.parametrize("batches", [60, 300, 1000])
def test_the_approximations_are_as_good_as_stated(batches):
    """τ/τ_SGD − 1 is (1 − 4β + β²)/((1 + β) n), n = M (1 − β), but for a relative few/n; it is below 1/n throughout."""
    for β in (0.0, 0.25, 0.5, 0.75, 0.9):
        setting = Setting(0.02, β, 1, batches)
        n, exact = batches * (1 - β), setting.flat_time_exact
        assert abs((exact - 1) * n - (1 - 4 * β + β**2) / (1 + β)) < 3 / n
        assert abs(exact - 1) <= (1 + 1e-9) / n
        assert abs(setting.crossover_exact - 1) <= 1 / n


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 0), ("learning_rates", (0.02,)), ("learning_rates", (-1.0,)), ("batch_sizes", (7,)),
        ("momenta", (1.0,)), ("softest", 1.0), ("stiffest", 4.0), ("stiffest", 1e5), ("per_decade", 2), ("replicas", 4),
        ("epochs", 0),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig21.Fig21Config(**{field: value})
