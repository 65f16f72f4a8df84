"""Fig. 12 at a tiny size: verdicts, the variance by the linear map, what is refused."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.corlouer2026 import _fig12

pytestmark = pytest.mark.long

TINY = _fig12.Fig12Config(
    singular_values=(1.0, 0.6), width=3, learning_rate=0.02, batch_size=4, coarse=(8, 4, 1), fine=(2,), replicas=64,
    near_replicas=2048, early=1.6, compared=2.4, time=16.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _fig12.run(TINY, experiments.Silence())


def test_verdicts(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/published")} == {
        "near/finer is narrower/published", "end/coarsest is wide/published",
    }  # fmt: skip
    assert {id for id in verdicts if id.endswith("/control")} == {"near/no trend/control"}
    assert not [(claim.id, claim.measured, claim.standard_error) for claim in result.claims if not claim.as_expected]


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    assert len(plotting.draw("corlouer2026/fig12", result.data).axes) == 2


def test_the_mapped_variance_of_one_mode_is_the_closed_form():
    one = _fig12.Fineness(TINY, np.array([2.0]), 1.0, *(np.zeros((4, 2)),) * 3)
    τ, β, k = 0.02, 0.005, 120
    growth = (1 - τ * 2) ** 2 + 2 * τ * β * 4
    np.testing.assert_allclose(one.mapped(τ), 1e-6 * (growth**k - (1 - τ * 2) ** (2 * k)), rtol=1e-9)


def test_the_slope_is_that_of_a_straight_line():
    one = _fig12.Fineness(TINY, np.array([2.0]), 1.0, *(np.zeros((4, 2)),) * 3)
    np.testing.assert_allclose(one.slope(3.0 - 5.0 * TINY.time_steps), -5.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"), [("coarse", (0,)), ("compared", 2.5), ("time", 3.2), ("near_replicas", 1), ("depth", 1)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig12.Fig12Config(**{field: value})


def test_two_time_steps_make_no_trend():
    with pytest.raises(ValueError, match="fewer than three"):
        _fig12.Fig12Config(coarse=(2,), fine=(2,))
