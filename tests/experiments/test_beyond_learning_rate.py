"""The continuum's error over learning rates and batch sizes, at a tiny size."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _learning_rate

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _learning_rate.LearningRateConfig(
        inputs=10, samples=30, learning_rates=(0.003, 0.01, 0.3, 6.0), batch_sizes=(1, 10), realisations=20,
        ensemble_rates=(0.5, 1.0), ensemble_batches=(10, 10), replicas=1024, steps=800,
        paper_inputs=10, paper_samples=30, paper_realisations=20,
    )  # fmt: skip
    return _learning_rate.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {
        "agrees well/0.5 of the limit/published", "multiplicative noise without N/published"
    }  # fmt: skip
    assert {id for id in ids if id.endswith("/control")} == {
        "η = 0.5, S = 10/continuum/control", "η = 1, S = 10/continuum/control",
        "smallest eigenvalue errs as the trace/control",
    }  # fmt: skip
    assert [claim.id for claim in result.claims if not claim.as_expected] == []


def test_errors_are_negative_and_missing_only_where_unstable(result):
    data = result.data
    errors, limit = data["error_exact"].values, data["limit"].values
    stable = data["learning_rate"].values[:, None] < _learning_rate.SAFE * limit[None, :]
    np.testing.assert_array_equal(np.isfinite(errors), stable)
    assert np.all(errors[stable] < 0) and not stable.all()
    # either cause alone errs less than both
    both = stable & np.isfinite(data["error_multiplicative"].values)
    assert np.all(errors[both] < data["error_multiplicative"].values[both])
    assert np.all(errors[stable] < data["error_additive"].values[stable])


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("beyond/learning_rate", result.data).legends[0].get_texts()]
    assert {"first order", "SGD measured, S = 10", "discrete time alone, any S"} <= set(labels)


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 10), ("learning_rates", (0.1, 0.01)), ("ensemble_batches", (1, 1, 10)), ("ensemble_batches", (4,) * 4),
     ("paper_rate", 0.0), ("realisations", 1)],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _learning_rate.LearningRateConfig(**{field: value})
