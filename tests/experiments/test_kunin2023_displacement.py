"""Eq. (13) at a tiny size: what is claimed, what must come out, what is stored and drawn; its formulas."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _displacement
from sgdynamics.experiments.kunin2023._displacement_claims import second_order
from sgdynamics.experiments.kunin2023._displacement_velocity import lags_of
from sgdynamics.experiments.kunin2023._spectrum_case import case, left_over, with_curvatures, zero_crossing
from sgdynamics.theory import momentum

pytestmark = pytest.mark.long

CONFIG = _displacement.DisplacementConfig(
    curvatures=(1.0, 0.3, 0.1), momenta=(0.0, 0.5), samples=20, replicas=768, every=10, last=1000, spans=8
)


@pytest.fixture(scope="module")
def result():
    return _displacement.run(CONFIG, experiments.Silence())


@pytest.fixture(scope="module")
def at(result):
    """The case at momentum 0.5 of the same configuration."""
    data = with_curvatures(jax.random.key(CONFIG.seed), CONFIG.curvatures, CONFIG.samples, CONFIG.label_noise_std)
    return case(data, learning_rate=0.2, momentum=0.5, batch_size=CONFIG.batch_size)


def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    published = {claim.id.split("/", 1)[1] for claim in result.claims if claim.id.endswith("/published")}
    assert published == {"Eq. 13 as printed, k = 1000/published", "ζ = 2/stays positive/published"}
    controls = {claim.id.split("/", 1)[1] for claim in result.claims if claim.id.endswith("/control")}
    assert controls >= {
        "Eq. 13 repaired, k = 1000/control", "growth from 500 to 1000/control",
        "ζ = 2/the SDE's correlation at lag 1/control", "ζ = 2/sum over lags/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    texts = [text.get_text() for text in plotting.draw("kunin2023/displacement", result.data).legends[0].get_texts()]
    assert {"SGD", "exact, discrete time", "(13) as printed: C_l(j)"} <= set(texts)


def test_with_the_variances_of_the_exact_law_the_sum_over_modes_is_exact(at):
    steps = np.array([1, 7, 100])
    R = np.asarray(at.prediction.autocovariance(np.array([0, *steps])))
    expected = 2 * (np.trace(R[0]) - np.trace(R[1:], axis1=1, axis2=2))
    np.testing.assert_allclose(at.displacement(steps), expected, rtol=1e-9)
    np.testing.assert_allclose(at.saturation, 2 * np.trace(at.prediction.covariance))
    frozen = at.prediction.law.noise[3:, 3:]  # E C(θ), as the recursion over (θ, v) has it
    np.testing.assert_allclose(at.noise, np.diag(at.modes.T @ frozen @ at.modes), rtol=1e-9)


def test_data_have_the_curvatures_that_they_were_given(at):
    np.testing.assert_allclose(at.curvatures, CONFIG.curvatures)


def test_what_is_left_over_is_the_sum_of_correlations_at_instants(at):
    times = at.η * np.arange(1, 20_000)
    correlations = [np.asarray(momentum.velocity_correlation(times, K, **at.setting)) for K in at.curvatures]
    np.testing.assert_allclose(left_over(at), [1 + 2 * c.sum() for c in correlations], rtol=1e-9)


def test_what_is_left_over_is_known_to_second_order_within_the_bound_of_the_rest(at):
    expected, rest = second_order(at)
    off = np.abs(left_over(at) - expected)
    assert off.max() < rest < 0.02 * expected.min()
    assert np.abs(left_over(at) - expected[0] * 1.1).min() > rest


def test_the_correlation_of_an_overdamped_velocity_is_zero_and_lowest_where_it_says(at):
    (lags,) = lags_of([at])
    assert lags.damping_ratio == pytest.approx(2.04, abs=0.01)
    crossing = float(zero_crossing(lags.damping_ratio)) / (float(momentum.damping(at.η, at.β)))
    correlation = lambda t: np.asarray(momentum.velocity_correlation(t, lags.curvature, **at.setting))
    assert abs(correlation(crossing)) < 1e-14
    around = correlation(2 * crossing * np.array([0.99, 1.0, 1.01]))
    assert around[1] < min(around[0], around[2]) < 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("momenta", (1.0,)), ("momenta", (0.5, 0.5)), ("curvatures", (0.1, 1.0)), ("rate", 0.0), ("last", 1500),
     ("samples", 3), ("spans", 0)],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _displacement.DisplacementConfig(**{field: value})
