"""Epochs of regression at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _epochs_regression
from sgdynamics.experiments.beyond import _epochs_regression_claims as _claims
from sgdynamics.experiments.beyond._epochs_regression_case import Case, data, exact
from sgdynamics.theory import epochs, regression

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _epochs_regression.EpochsRegressionConfig(
        inputs=3, decades=1.5, static_samples=1000, static_batches=(10,), samples=40, batch_size=2,
        learning_rates=(0.05,), tiny_samples=8, tiny_inputs=2, tiny_rate=0.5,
    )  # fmt: skip
    return _epochs_regression.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert set(verdicts.values()) == {"reproduced"}, verdicts
    assert {id for id in verdicts if id.endswith("/control")} == {
        *(f"M = 10{β}/{law}/control" for β in ("", ", β = 0.9") for law in ("commuting", "independent batches")),
        *(f"η = 0.05/{law}/control" for law in ("flattest mode, frozen", "next flattest mode, frozen", "no shift")),
        *(f"P = 8{β}/{law}/control" for β in ("", ", β = 0.9") for law in ("second order", "frozen")),
        "P = 8/first order of the mean/control",
    }  # fmt: skip


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    titles = [axes.get_title() for axes in plotting.draw("beyond/epochs_regression", result.data).axes]
    assert titles == ["variances", "means", "flattest mode"]


def test_the_data_are_residuals_whose_noise_does_not_commute_with_the_hessian():
    drawn = data(jax.random.key(1), samples=4000, inputs=3, decades=1.0, label_noise_std=0.5, uneven=True)
    np.testing.assert_allclose(regression.minimum(drawn.x, drawn.y), 0, atol=1e-12)
    even = data(jax.random.key(1), samples=4000, inputs=3, decades=1.0, label_noise_std=0.5, uneven=False)
    of = lambda some: Case("", some, 0.01, 40).commutator
    assert of(drawn) > 0.1 > 2 * of(even)


def test_a_case_has_the_laws_of_theory():
    drawn = data(jax.random.key(2), samples=8, inputs=2, decades=1.0, label_noise_std=0.5, uneven=True)
    case = Case("", drawn, 0.1, 2)
    setting = {"learning_rate": 0.1, "batch_size": 2}
    means = np.asarray(epochs.regression_means(case.data.x, case.data.y, **setting))
    np.testing.assert_allclose(case.laws.mean, means.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(case.laws.spread, np.cov(means.T, bias=True), rtol=1e-8, atol=1e-20)
    V = case.modes
    law = V.T @ case.commuting(case.laws.frozen) @ V
    np.testing.assert_allclose(law, np.diag(case.along(case.laws.frozen)), atol=1e-15)


@pytest.fixture(scope="module")
def enumerated():
    """Of small data sets, at two learning rates: what all orders add to the variances of the two flattest modes over
    what second order adds, less 1 [sets, rates, modes]; the mean in units of first order, less 1, and ε [sets, rates].
    """
    rest = np.array([[_rest(seed, η) for η in (0.01, 0.1)] for seed in range(12)])
    return rest[..., :2], rest[..., 2], rest[..., 3]


def _rest(seed: int, learning_rate: float) -> np.ndarray:
    drawn = data(jax.random.key(seed), samples=10, inputs=3, decades=2.0, label_noise_std=0.5, uneven=False)
    case = Case("", drawn, learning_rate, 2)
    mean, covariance = exact(*case.arguments)
    frozen, second, whole = (np.asarray(case.along(C)) for C in (case.laws.frozen, case.laws.whole, covariance))
    weight = np.linalg.solve(case.laws.whole, case.laws.mean)
    part = weight @ np.asarray(mean) / (weight @ np.asarray(case.laws.mean))
    return np.array([*((whole - frozen) / (second - frozen) - 1)[:2], part - 1, case.laws.size])


def test_the_next_order_is_within_the_tolerance_on_enumerated_data_sets(enumerated):
    """Linear in ε with a constant of order 1/P, in either flat mode; tolerances are not generous either."""
    rest, _, ε = enumerated
    slope = (rest[:, 1] - rest[:, 0]) / (ε[:, 1] - ε[:, 0])[:, None]
    constant = rest[:, 0] - slope * ε[:, :1]
    assert np.all((slope > 0) & (slope < _claims.NEXT_ORDER)) and np.max(slope) > _claims.NEXT_ORDER / 2
    assert np.all(abs(constant) < _claims.BEYOND_PAIRS / 10) and np.max(abs(constant)) > _claims.BEYOND_PAIRS / 20


def test_the_mean_s_next_order_is_within_the_tolerance_on_most_enumerated_data_sets(enumerated):
    _, mean, ε = enumerated
    assert np.mean(abs(mean[:, 1]) < _claims.NEXT_ORDER * ε[:, 1]) > 0.8


@pytest.mark.parametrize(
    ("field", "value"),
    [("static_batches", (3,)), ("batch_size", 7), ("learning_rates", (0.2, 0.1)), ("momentum", 0.0),
     ("tiny_samples", 18), ("tiny_batch_size", 5), ("replicas", 0), ("decades", -1.0)],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _epochs_regression.EpochsRegressionConfig(**{field: value})
