"""Training with both samplings, at a tiny size."""

import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kuehn2025 import _fig26

TINY = {"channels": (2,), "samples": 80, "test_samples": 100, "epochs": 6, "early": 3, "records": 3, "replicas": 24}


@pytest.fixture(scope="module")
def result():
    return _fig26.run(_fig26.Fig26Config(**TINY), experiments.Silence())


@pytest.mark.long
def test_what_is_claimed_and_stored(result):
    """So few networks decide no sign; they start alike, and learn."""
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "sampling does not matter/control"
    }
    assert "not reproduced" not in {claim.verdict for claim in result.claims if claim.kind != "rejection"}
    data = result.data
    assert list(data["epoch"]) == [0, 1, 2, 3, 6]
    for quantity in _fig26.QUANTITIES:
        assert float(data[f"{quantity}_difference"][0]) == 0
    assert np.all(data["train_loss_epochs"][-1] < data["train_loss_epochs"][0])
    assert float(data["train_accuracy_epochs"][-1]) > 0.2
    _store.check_described(data)
    assert len(plotting.draw("kuehn2025/fig26", data).axes) == 4


def test_the_learning_rate_decays():
    η = _fig26.Decaying(0.1, 20.0)
    np.testing.assert_allclose([float(η(k)) for k in (0, 20)], [0.1, 0.1 / np.e], rtol=1e-6)


def test_differences_are_taken_between_pairs():
    """What two networks of one start share is no error."""
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(1, 400)), 0.1 * rng.normal(size=(1, 400))
    curves = {"epochs": {"loss": shared + own + 0.3}, "replacement": {"loss": shared}}
    found = _fig26.difference(curves, "loss", 0)
    assert found.value == pytest.approx(0.3, abs=0.03)
    assert found.standard_error == pytest.approx(0.005, rel=0.2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("momentum", 1.0), ("early", 30), ("batch_size", 500), ("samples", 1700), ("learning_rate", 0.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig26.Fig26Config(**{field: value})
