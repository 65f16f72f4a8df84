"""App. B at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _bayesian

pytestmark = pytest.mark.long

CONFIG = _bayesian.BayesianConfig(
    inputs=3, samples=8, weight_decay=0.1, variances=(3.0,), learning_rates=(0.2, 0.1), replicas=512, relaxations=16.0,
    learning_rate=0.2, temperature=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _bayesian.run(CONFIG, experiments.Silence())


@pytest.fixture(scope="module")
def case():
    return _bayesian.drawn(CONFIG, jax.random.key(0))


def test_every_verdict_is_the_expected_one(result):
    # distances are small differences, which a tiny run need not resolve; it may not contradict them
    distances = [claim for claim in result.claims if claim.kind == "equality"]
    assert all(claim.verdict != "not reproduced" for claim in distances)
    assert {
        claim.id: claim.verdict for claim in result.claims if not claim.as_expected and claim not in distances
    } == {}
    assert {claim.id for claim in result.claims if claim.id.endswith("/control")} == {
        "fixed_rate/frozen noise/control",
        "posterior/frozen noise/control",
        "preconditioned/C at the minimum/control",
        "plain/posterior at any temperature/control",
    }


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/bayesian", result.data)
    assert len(figure.axes) == 3 and len(figure.legends[0].get_texts()) == 4


def test_the_case_is_that_of_the_regularised_loss(case):
    problem = case.regression.problem
    minimum = jnp.asarray(case.minimum)
    gradient = problem.gradient(minimum) + case.weight_decay * minimum
    assert np.abs(gradient).max() < 1e-14
    assert np.abs(case.hessian - problem.hessian(minimum) - case.weight_decay * np.eye(3)).max() < 1e-13


def test_the_distance_is_that_of_the_deviation_from_one(case):
    η, v = 0.2, 0.05
    M = case.gibbs(η * v / 2) + 0.01 * np.ones((3, 3))
    deviation = 2 / (η * v) * case.hessian @ M - np.eye(3)
    assert np.allclose(_bayesian._deviation(case, M, η, v), deviation, atol=1e-12)
    h, V = np.linalg.eigh(case.hessian)
    Q = (h[:, None] - h[None]) / (h[:, None] + h[None]) * (V.T @ case.noise @ V)
    size = np.sqrt(np.linalg.norm(case.noise) ** 2 + np.linalg.norm(Q) ** 2)
    assert np.isclose(_bayesian._frozen(case, v), size / (v * np.sqrt(3)), rtol=1e-10)


def test_the_first_order_is_the_slope_of_the_exact_law(case):
    η = 1e-4
    options = {"learning_rate": η, "sampling_factor": 1 / CONFIG.batch_size, "weight_decay": CONFIG.weight_decay}
    v = 2 * case.temperature / η
    M = np.asarray(_bayesian.exact(case.x, case.y, injected_variance=v, **options))
    distance = np.linalg.norm(_bayesian._deviation(case, M, η, v)) / np.sqrt(3)
    assert np.isclose(_bayesian._first_order(case, η), distance, rtol=1e-3)
    assert abs(_bayesian._frozen(case, v) / distance - 1) > 0.1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 7), ("replicas", 0), ("learning_rate", 0.0), ("variances", (1.0, -1.0)), ("weight_decay", -0.1),
        ("learning_rates", (0.4, 0.3)), ("temperature", 0.0),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(_bayesian.BayesianConfig(), **{field: value})
