"""Fig. 21 at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig21, _fig21_claims
from sgdynamics.experiments.kuehn2025._fig21_claims import Measured, Setting
from sgdynamics.statistics import Estimate

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
    published = {claim.id for claim in result.claims if claim.id.endswith("/published")}
    assert published == {"base/τ at the crossover/published"} | {
        f"{name}/{quantity}/published"
        for name in ("base", "η = 0.04", "S = 1")
        for quantity in ("flat time", "crossover")
    }
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
    setting = Setting(0.02, 8, momentum, 1200)
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
