"""Fig. 5(c) at a tiny size: what is claimed, what must come out; extremes against theory's own matrices."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig5c

pytestmark = pytest.mark.long

CONFIG = _fig5c.Fig5cConfig(
    inputs=10, ratios=(1.2, 2.0, 10.0, 100.0), measured=(2.0,), replicas=256, steps=400, realisations=40
)


@pytest.fixture(scope="module")
def result():
    return _fig5c.run(CONFIG, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/published")} == {
        "P/N = 2/detailed balance, smallest eigenvalue/published",
        "P/N = 2/detailed balance, whole matrix/published",
        "P/N = 100/isotropic/published",
    }
    assert {id for id in verdicts if id.endswith("/control")} == {
        "P/N = 2/Q = 0/control", "P/N = 100/gap of Marchenko and Pastur/control"
    }  # fmt: skip
    assert [claim.id for claim in result.claims if not claim.as_expected] == []


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("gross2024/fig5c", result.data).legends[0].get_texts()]
    assert {"SGD, one data set", "detailed balance (2.33)", "isotropic (2.34)"} <= set(labels)


def test_extremes_are_those_of_theorys_matrices():
    case = _fig5c._case(CONFIG, 2.0, jax.random.key(1))
    h, C = (np.asarray(x)[None] for x in _fig5c.noise_along_modes(case))
    at = _fig5c.extremes(h, case.learning_rate * C, C)
    M, balanced = np.asarray(case.law("lyapunov")), np.asarray(case.law("detailed_balance"))
    Q = 2 / case.learning_rate * np.asarray(case.process.circulation())
    ends = lambda eigenvalues: np.sort(eigenvalues)[[0, -1]]
    np.testing.assert_allclose(at.frozen[0], ends(np.linalg.eigvals(M).real), rtol=1e-8)
    np.testing.assert_allclose(at.balanced[0], ends(np.linalg.eigvals(balanced).real), rtol=1e-8)
    np.testing.assert_allclose(at.circulation[0], ends(np.abs(np.linalg.eigvals(Q))), rtol=1e-6)
    np.testing.assert_allclose(at.distance[0], np.linalg.norm(balanced - M) / np.linalg.norm(M), rtol=1e-8)
    np.testing.assert_allclose(at.mean[0], np.trace(M) / CONFIG.inputs, rtol=1e-8)


@pytest.mark.parametrize(
    ("field", "value"),
    [("ratios", (1.2, 2.0, 10.0)), ("measured", (0.9,)), ("inputs", 11), ("realisations", 1), ("learning_rate", 0.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig5c.Fig5cConfig(**{field: value})
