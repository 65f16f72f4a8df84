"""Fluctuations across the threshold at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _double_descent

pytestmark = pytest.mark.long

TINY = _double_descent.DoubleDescentConfig(
    samples=16, inputs=(3, 8, 13), simulated=(13,), overparameterised=32, realisations=300, replicas=2048, steps=2000,
    displaced_replicas=128, displaced_steps=1000,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return _double_descent.run(TINY, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/control")} == {
        "N = 13/isotropic/control", "N = 32/lasting/control", "threshold/fluctuations share the peak/control",
    }  # fmt: skip
    assert {"N = 8/data/total", "N = 8/data/spatial", "N = 13/total", "half/more than at N = 3"} <= set(verdicts)
    assert {id: verdict for id, verdict in verdicts.items() if verdict != "reproduced"} == {}


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/double_descent", result.data)
    assert [text.get_text() for text in figure.axes[3].get_legend().get_texts()] == ["N/P = 2"]
    measured = [name for name in result.data.data_vars if "theory" not in name]  # an average may be infinite
    assert all(np.isfinite(result.data[name]).all() for name in measured)


def test_quantities_of_a_data_set_follow_from_their_definitions():
    """M mode by mode, and the entropy production as the mean of uᵀ D⁻¹ u over the stationary law."""
    case = _double_descent.drawn(TINY, 6, jax.random.key(1))
    got = dict(zip(_double_descent.QUANTITIES, np.asarray(_double_descent.of_frozen_noise(TINY, case)), strict=True))
    x, y = np.asarray(case.data.x), np.asarray(case.data.y)
    h, V = np.linalg.eigh(x.T @ x / len(x))
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    η, S = TINY.learning_rate, TINY.batch_size
    N = η * V.T @ (x.T * (x @ w - y) ** 2) @ x @ V / (len(x) * S)
    M = N / (h[:, None] + h[None, :])
    Q = h[:, None] * M - N / 2
    velocity = -Q @ np.linalg.inv(M)
    expected = {
        "total": np.trace(M) / TINY.unit,
        "largest": np.linalg.eigvalsh(M)[-1] / TINY.unit,
        "fluctuating": np.trace(M) / 6 / (2 * TINY.label_noise_std**2),
        "spatial": np.sum(w**2) / 6 / (2 * TINY.label_noise_std**2),
        "irreversibility": np.linalg.norm(Q) / np.linalg.norm(h[:, None] * M),
        "circulation": np.linalg.norm(Q) / TINY.unit,
        "entropy": np.trace(velocity.T @ np.linalg.inv(N / 2) @ velocity @ M),
        "relaxation": 1 / (η * h[0]),
    }
    assert got == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("field", "value"), [("inputs", (12, 36)), ("simulated", (47,)), ("overparameterised", 48), ("realisations", 1)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _double_descent.DoubleDescentConfig(**{field: value})
