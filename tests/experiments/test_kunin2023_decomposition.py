"""App. D.2 at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest
import scipy.linalg

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _decomposition, _decomposition_laws

CONFIG = _decomposition_laws.DecompositionConfig(inputs=3, samples=15, replicas=2048, steps=200)

WRONG = ("covariance", "negative variance")


@pytest.fixture(scope="module")
def result():
    return _decomposition.run(CONFIG, experiments.Silence())


@pytest.mark.long
def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    ids = {claim.id for claim in result.claims}
    assert {id for id in ids if id.endswith("/control")} == {
        "SDE/commuting noise/control",
        "SGD/SDE/control",
        "SDE/detailed balance/control",
        "SGD/detailed balance/control",
        "algebra/recipe is not symmetric/control",
        "algebra/identity/control",
        "algebra/no potential/control",
        *(f"{name}/{what} of the recipe/control" for name in ("SDE", "SGD") for what in WRONG),
    }
    assert {id for id in ids if id.endswith("/published")} == {"algebra/recipe/published"}


@pytest.mark.long
def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("kunin2023/decomposition", result.data).legends[0].get_texts()]
    assert len(labels) == len(set(labels)) == 5


def test_the_right_law_solves_the_lyapunov_equation_and_the_recipe_its_own():
    laws = _decomposition_laws.laws(CONFIG)
    (A, D), κ = laws.matrices, laws.inverse_temperature
    expected = scipy.linalg.solve_continuous_lyapunov(A, 2 * D / κ)
    np.testing.assert_allclose(laws.covariance, expected, atol=1e-12)
    Q, U = laws.printed
    np.testing.assert_allclose(A @ Q + Q @ A, A @ D - D @ A, atol=1e-12)
    np.testing.assert_allclose((D + Q) @ U, A, atol=1e-12)


def test_where_they_commute_the_commuting_law_is_the_law():
    H, C = np.diag([1.0, 0.2]), np.diag([0.3, 0.7])
    η, β, zero, one = 0.2, 0.8, np.zeros((2, 2)), np.eye(2)
    c0 = 2 / (η * (1 + β))
    drift, noise = np.block([[zero, -one], [c0 * H, c0 * (1 - β) * one]]), scipy.linalg.block_diag(zero, η * c0**2 * C)
    law = _decomposition_laws.commuting_covariance(H, C, η, β)
    np.testing.assert_allclose(law, scipy.linalg.solve_continuous_lyapunov(drift, noise), atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"), [("inputs", 1), ("samples", 5), ("momentum", 1.0), ("batch_size", 0), ("learning_rate", 0.0)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _decomposition_laws.DecompositionConfig(**{field: value})
