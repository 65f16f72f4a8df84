"""Broken detailed balance at a tiny size: what is claimed, what must come out; its pieces against slow oracles."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.beyond import _detailed_balance
from sgdynamics.experiments.beyond._turning import Turning
from sgdynamics.theory import ou

pytestmark = pytest.mark.long

TINY = _detailed_balance.DetailedBalanceConfig(
    inputs=5, ratios=(2.0,), replicas=512, steps=1000, every=10, lags=(10, 50, 100), sde_replicas=512, sde_steps=200,
    average_ratios=(2.0, 20.0), realisations=400,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _detailed_balance.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/published")} == {"P/N = 2/angular velocity/published"}
    assert {id for id in verdicts if id.endswith("/control")} == {
        "P/N = 2/angular velocity/control",
        "SDE, C ∝ H/entropy production/control",
    }
    assert [claim.id for claim in result.claims if not claim.as_expected] == []


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    assert all(np.isfinite(variable).all() for variable in result.data.values())
    axes = plotting.draw("beyond/detailed_balance", result.data).axes
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["P/N = 2"]


@pytest.fixture(scope="module")
def turning():
    return Turning(TINY.case(2.0, jax.random.key(1)), 1)


def test_the_work_of_an_sde_is_its_entropy_production(turning):
    """Over a lag that vanishes, of the SDE with frozen noise; SGD's own M differs from its M by O(η)."""
    frozen = np.asarray(turning.case.law("lyapunov"))
    slow = Turning(turning.case, 1)
    slow.__dict__["covariance"] = frozen
    G = slow.current(slow.exact(1), 1)
    assert slow.work(G) == pytest.approx(slow.continuum, rel=1e-6)
    assert slow.square(G, G) == pytest.approx(slow.continuum, rel=1e-6)


def test_correlations_are_those_of_the_predicted_law(turning):
    B = turning.directions
    expected = B.T @ np.asarray(turning.case.prediction.autocovariance(7)) @ B
    np.testing.assert_allclose(turning.exact(7), expected, atol=1e-9)
    law = turning.case.process
    expected = B.T @ np.asarray(law.autocovariance(7 * TINY.learning_rate)) @ B
    np.testing.assert_allclose(turning.continuous(7, law.stationary_covariance()), expected, atol=1e-9)


def test_an_odd_number_of_inputs_leaves_one_direction_that_does_not_turn(turning):
    B = turning.directions
    np.testing.assert_allclose(B.T @ turning.covariance @ B, np.eye(5), atol=1e-9)
    G = turning.current(turning.exact(1), 1)
    np.testing.assert_allclose(G[-1], 0, atol=1e-9)
    # the same in any coordinates: of the process that has this drift and this M
    law = ou.OrnsteinUhlenbeck(turning.hessian, 2 * turning.diffusion_of_weights)
    assert turning.work(G) == pytest.approx(float(law.entropy_production()), rel=1e-7)


def test_work_along_a_path_is_the_work_of_its_covariance(turning):
    """Σ F(midpoint)·Δy along paths that close, where stationarity is exact, against tr(Kᵀ G)."""
    y = np.random.default_rng(0).normal(size=(20, 50, TINY.inputs))
    after = np.roll(y, -1, axis=1)
    by_path = np.mean(np.sum(((y + after) / 2 @ turning.force.T) * (after - y), axis=-1)) / TINY.learning_rate
    R = np.einsum("rti,rtj->ij", after, y) / (20 * 50)
    assert turning.work(turning.current(R, 1)) == pytest.approx(by_path, rel=1e-10)


def test_the_square_from_pairs_of_groups_has_no_bias(turning):
    """Currents with ten times as much noise as signal; false-alarm rate about 1e-6."""
    expected = turning.current(turning.exact(1), 1)
    rng = np.random.default_rng(1)
    noise = 10 * np.abs(expected).max() * rng.normal(size=(4000, *expected.shape))
    groups = expected + noise
    measured = turning.entropy_production(over_realisations(groups))
    square = turning.square(expected, expected)
    assert abs(float(measured.value) - square) < 5 * float(measured.standard_error)
    biased = np.mean([turning.square(G, G) for G in groups[:200]])
    assert biased > square + 20 * float(measured.standard_error)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ratios", (0.9,)), ("ratios", ()), ("lags", (15,)), ("lags", (3000, 20_000)), ("replicas", 10),
        ("average_ratios", (2.0, 1.5)), ("lags", (2000,)), ("realisations", 1), ("learning_rate", -1.0),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _detailed_balance.DetailedBalanceConfig(**{field: value})
