"""Fig. 9(a) at a tiny size, and the measurement of principal directions against its definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _flatness, _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.gross2024 import _fig9a, _fig9a_claims, _principal
from sgdynamics.experiments.gross2024._fig9a_case import Case, Exponents, Route
from sgdynamics.statistics import Estimate, SnapshotsEstimate

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig9a.Fig9aConfig(
        inputs=8, hidden=6, samples=(8000,), batch_size=50, replicas=4096, steps=40, data_sets=4
    )
    return _fig9a.run(config, experiments.Silence())


def test_every_verdict_on_the_measurement_is_the_expected_one(result):
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/published")} == {"P = 8000/second form/published", "P = 8000/ψ/published"}
    assert {id for id in ids if id.endswith("/control")} == {
        f"P = 8000/{law}/control" for law in ("(3.36)", "isotropic", "ψ of Feng and Tu", "ψ = 2 along a_k")
    }
    assert not [claim for claim in result.claims if "/data sets/" not in claim.id and not claim.as_expected]
    assert len([id for id in ids if "/data sets/" in id]) == 4


def test_for_many_samples_the_exponents_of_a_data_set_are_the_closed_form(result):
    closed = result.data["at_8000_psi_closed_sets"].values
    assert np.ptp(closed) > 0.3
    for name in ("singular", "principal", "wick"):
        assert result.data[f"at_8000_psi_{name}_sets"].values == pytest.approx(closed, abs=0.05)


def _data_sets(principal):
    scatter = np.linspace(-0.05, 0.05, 16)
    others = Exponents(1.6 + scatter, principal + scatter, 1.6 + 0.9 * scatter, 1.6 + 0.8 * scatter)
    return others, {
        claim.id[len("P = 9/data sets/") :]: claim.verdict for claim in _fig9a_claims._data_sets(others, "P = 9")
    }


def test_means_over_data_sets_decide():
    assert set(_data_sets(1.85)[1].values()) == {"reproduced"}
    wrong = {id for id, verdict in _data_sets(2.0)[1].items() if verdict == "not reproduced"}
    assert wrong == {"ψ along principal directions is not 2"}
    assert _data_sets(1.6)[1]["noise turns eigenvectors"] == "not reproduced"


def _route(ψ):
    """Of measured variances that are those of linear response, a power law, but for 1 % between groups."""
    k = np.geomspace(0.1, 1.0, 8)
    groups = k ** (ψ / 2) * (1 + 0.01 * np.random.default_rng(0).normal(size=(32, 8)))
    return Route(k, over_realisations(groups), k ** (ψ / 2))


@pytest.mark.parametrize(("ψ", "tested"), [(1.95, False), (1.5, True)])
def test_two_is_tested_where_linear_response_differs_from_it(ψ, tested):
    case = object.__new__(Case)
    vars(case).update(measured=_route(ψ), singular=_route(1.4), drifted=0.0)
    claims = {claim.id: claim for claim in _fig9a_claims._principal(case, _data_sets(1.85)[0], "P = 9")}
    assert ("P = 9/ψ/published" in claims) == tested
    assert all(claim.as_expected for claim in claims.values())
    assert ("1.85 ± 0.03" in claims["P = 9/ψ along principal directions"].note) != tested


def test_a_mapped_estimate_is_that_of_map():
    one = over_realisations(1 + np.random.default_rng(0).random((8, 3)))
    ours, theirs = _flatness.mapped(one, lambda v: np.log(v)[:2] * v[2]), one.map(lambda v: jnp.log(v)[:2] * v[2])
    for name in ("value", "standard_error", "groups", "degrees_of_freedom"):
        assert np.asarray(getattr(ours, name)) == pytest.approx(np.asarray(getattr(theirs, name)), rel=1e-12)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig9a", result.data)
    assert figure.axes[0].get_title() == "loss along modes of W₂, P = 8000"
    assert len(figure.axes) == 3


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
    assert measured.variances.value == pytest.approx(_flatness.along(measured.directions, np.mean(variances, (0, 1))))
    assert measured.variances.value[1] > measured.variances.value[0]


def test_the_exponent_of_a_power_law():
    curvatures = np.array([0.1, 0.4, 2.0, 3.0])
    assert _flatness.exponent(5 * curvatures**0.7, curvatures) == pytest.approx(1.4)


def _snapshots(values):
    zero = jnp.zeros(2)
    mean = Estimate(zero, zero, zero[None], jnp.ones(1), jnp.int64(0), jnp.int64(0), quantity="mean")
    return SnapshotsEstimate(mean, jnp.asarray(values), jnp.arange(2), jnp.ones(values.shape[1], bool))


@pytest.mark.parametrize(
    ("field", "value"), [("samples", (50,)), ("replicas", 100), ("steps", 6), ("hidden", 60), ("data_sets", 1)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig9a.Fig9aConfig(**{field: value})
