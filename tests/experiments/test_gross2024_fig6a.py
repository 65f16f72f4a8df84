"""Fig. 6(a) at a tiny size."""

import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig6a

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig6a.Fig6aConfig(
        inputs=20, samples=400, replicas=256, steps=200, every=20, realisations=20, small_inputs=10, ratios=(2.0,),
        small_realisations=50,
    )  # fmt: skip
    return _fig6a.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {"mean variance/published"}
    assert len([id for id in ids if id.endswith("/control")]) == 2
    # 50 data sets of 10 modes resolve a rank correlation of 0.2 only
    assert all(claim.as_expected for claim in result.claims if claim.id != "P/N = 2/no dependence")


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    plotting.draw("gross2024/fig6a", result.data)


@pytest.mark.parametrize(
    ("field", "value"), [("samples", 100), ("ratios", (1.0,)), ("largest_perturbation", 0.0), ("steps", 0)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig6a.Fig6aConfig(**{field: value})
