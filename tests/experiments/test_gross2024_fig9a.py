"""Fig. 9(a) at a tiny size, and the measurement of principal directions against its definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig9a, _principal
from sgdynamics.statistics import Estimate, SnapshotsEstimate


@pytest.fixture(scope="module")
def result():
    config = _fig9a.Fig9aConfig(inputs=8, hidden=6, samples=(8000,), batch_size=50, replicas=4096, steps=40)
    return _fig9a.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {"P = 8000/second form/published", "P = 8000/ψ/published"}
    assert {id for id in ids if id.endswith("/control")} == {
        f"P = 8000/{law}/control" for law in ("(3.36)", "isotropic", "ψ of Feng and Tu")
    }
    assert not [claim for claim in result.claims if not claim.as_expected]


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig9a", result.data)
    assert figure.axes[0].get_title() == "loss along modes of W₂, P = 8000"
    assert len(figure.axes) == 2


def test_principal_directions_come_from_one_half_and_variances_from_the_other():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    first, second = (rng.normal(size=(2, 64, 3)) * scale for scale in ([3.0, 1.0, 0.3], [1.0, 2.0, 0.5]))
    drift = rng.normal(size=(2, 1, 3))  # of the mean, between snapshots: no part of a variance
    values = np.concatenate([first @ turn.T, second @ turn.T], axis=1) + 10 * drift
    measured = _principal.principal(_snapshots(values), 2, groups=4)
    one = sum(np.cov(snapshot, rowvar=False) for snapshot in values[:, :64]) / 2
    expected = np.linalg.eigh(one)[1][:, :0:-1]
    assert np.abs(np.sum(measured.directions * expected, axis=0)) == pytest.approx([1, 1])
    groups = values[:, 64:].reshape(2, 4, 16, 3)
    variances = [[np.cov(groups[t, g], rowvar=False) for t in range(2)] for g in range(4)]
    assert measured.variances.value == pytest.approx(_principal.along(measured.directions, np.mean(variances, (0, 1))))
    assert measured.variances.value[1] > measured.variances.value[0]


def test_the_exponent_of_a_power_law():
    curvatures = np.array([0.1, 0.4, 2.0, 3.0])
    assert _principal.exponent(jnp.asarray(5 * curvatures**0.7), curvatures) == pytest.approx(1.4)


def _snapshots(values):
    zero = jnp.zeros(2)
    mean = Estimate(zero, zero, zero[None], jnp.ones(1), jnp.int64(0), jnp.int64(0), quantity="mean")
    return SnapshotsEstimate(mean, jnp.asarray(values), jnp.arange(2), jnp.ones(values.shape[1], bool))


@pytest.mark.parametrize(
    ("field", "value"), [("samples", (50,)), ("replicas", 100), ("steps", 6), ("hidden", 60), ("amplitude", 0.0)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig9a.Fig9aConfig(**{field: value})
