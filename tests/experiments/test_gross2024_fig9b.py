"""Fig. 9(b) at a tiny size, and its pieces against their definitions."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store, _two_layer
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.gross2024 import _fig9b, _fig9b_claims, _fig9b_layer

CONFIG = _fig9b.Fig9bConfig(inputs=4, hidden=3, samples=30, batch_size=50, replicas=1024, steps=40)


@pytest.fixture(scope="module")
def result():
    return _fig9b.run(CONFIG, experiments.Silence())


def test_every_verdict_that_so_few_modes_decide_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/control")} == {
        f"{name}/{wrong}/control" for name in ("SGD", "SDE") for wrong in ("ψ = 2", "null directions stay")
    }
    assert not [id for id in verdicts if id.endswith("/published")]
    assert "not reproduced" not in verdicts.values()
    assert {verdicts[id] for id in verdicts if id.endswith("stay/control")} == {"reproduced"}
    loss = result.data["loss_sgd"].values
    assert loss[4:].max() < 0.1 * loss[:4].min()


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig9b", result.data)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert sorted(labels) == ["SDE (3.15)", "SGD", "linear response"]


@pytest.fixture(scope="module")
def case():
    return _two_layer.pure_noise(
        jax.random.key(0), samples=30, inputs=4, hidden=3, label_noise_std=1.0, learning_rate=0.1, batch_size=50
    )


def test_curvatures_are_those_of_the_loss(case):
    v = np.random.default_rng(0).normal(size=(12, 2))
    first, second = case.layers
    x, y = np.asarray(case.data.x), np.asarray(case.data.y)
    loss = lambda W1: 0.5 * np.mean(np.sum((y - x @ W1.T @ second.T) ** 2, axis=1))
    rises = [loss(first + v[:, k].reshape(3, 4)) - loss(first) for k in range(2)]
    assert _fig9b_layer.curvatures(case, v) / 2 == pytest.approx(np.array(rises), rel=1e-6)


def test_modes_of_the_range_are_those_of_the_whole_covariance(case):
    V = np.asarray(case.directions)
    whole = (V @ np.asarray(case.covariance()) @ V.T)[:12, :12]
    values, vectors = _fig9b_layer.first_modes(case)
    lifted = _fig9b_layer.range_directions(case) @ vectors
    assert np.abs(lifted * values @ lifted.T - whole).max() < 1e-12
    assert np.abs(lifted.T @ lifted - np.eye(4)).max() < 1e-12


def test_slope_and_ratio():
    variances = np.array([0.2, 0.5, 1.0])
    assert _fig9b_claims.relation_slope(variances, 3 * variances**0.6) == pytest.approx(0.6)
    one, other = (over_realisations(factor * np.ones((4, 2))) for factor in (3.0, 2.0))
    assert _fig9b_claims.log_ratio(one, other).value == pytest.approx(np.log(1.5))


@pytest.mark.parametrize(
    ("field", "value"), [("samples", 30), ("replicas", 100), ("steps", 6), ("hidden", 1), ("substeps", (2, 2))]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig9b.Fig9bConfig(**{field: value})
