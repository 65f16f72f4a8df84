"""Fig. 3(a) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _regression, _store
from sgdynamics.experiments.gross2024 import _fig3a

pytestmark = pytest.mark.long

CONFIG = _fig3a.Fig3aConfig(inputs=10, ratios=(1.5,), replicas=512, steps=1200, every=10, realisations=4)


@pytest.fixture(scope="module")
def result():
    return _fig3a.run(CONFIG, experiments.Silence())


@pytest.fixture(scope="module")
def case():
    return _regression.teacher_student(
        jax.random.key(3), samples=7, inputs=3, label_noise_std=0.5, learning_rate=0.7, batch_size=2
    )


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert [id for id in verdicts if id.endswith("/control")] == ["P/N = 1.5/Hessian/control"]
    assert not [id for id in verdicts if id.endswith("/published")]
    assert set(verdicts.values()) == {"reproduced"}


def test_the_expected_noise_keeps_the_weights_stationary(case):
    """M = (1 − ηH) M (1 − ηH) + η² E ξξᵀ."""
    x, M = np.asarray(case.data.x), np.asarray(case.prediction.covariance)
    step = np.eye(3) - 0.7 * x.T @ x / 7
    np.testing.assert_allclose(step @ M @ step + 0.7**2 * _fig3a.stationary_noise(case), M, rtol=1e-9, atol=1e-12)


def test_the_observable_is_the_minibatch_noise_of_the_step(case):
    x, y, η = case.data.x, case.data.y, 0.7
    before, batch = jnp.array([0.3, -1.0, 2.0]), jnp.array([5, 2])
    of_batch = x[batch].T @ (x[batch] @ before - y[batch]) / 2
    expected = of_batch - x.T @ (x @ before - y) / 7
    noise = _fig3a.GradientNoise(x.T @ x / 7, case.minimum, jnp.asarray(η))
    found = noise(SimpleNamespace(position=before - η * of_batch, velocity=-of_batch))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    labels = [text.get_text() for text in plotting.draw("gross2024/fig3a", result.data).legends[0].get_texts()]
    assert labels == ["1.5"]


@pytest.mark.parametrize(
    ("field", "value"), [("ratios", (0.9,)), ("replicas", 0), ("learning_rate", 0.0), ("realisations", 1)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig3a.Fig3aConfig(**{field: value})
