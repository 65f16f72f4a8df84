"""Fig. 3(b) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest
from scipy.stats import norm

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig3b
from sgdynamics.theory import regression


@pytest.fixture(scope="module")
def result():
    config = _fig3b.Fig3bConfig(inputs=40, ratios=(2.0, 10.0, 30.0), shown=(2.0, 10.0), realisations=60)
    return _fig3b.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert not [id for id in verdicts if id.endswith("/published")]
    controls = {id for id in verdicts if id.endswith("/control")}
    assert controls == {"exponent/inverse/control"} | {
        f"P/N = {ratio}/Hessian on average/control" for ratio in (2, 10, 30)
    }
    assert set(verdicts.values()) == {"reproduced"}


def test_noise_and_hessian_are_those_of_theory():
    rng, σ, S = np.random.default_rng(0), 0.3, 4
    x, ε, teacher = rng.normal(size=(9, 3)), rng.normal(size=9), rng.normal(size=3)
    y = x @ teacher + σ * ε
    C, H = _fig3b.noise_and_hessian(x, ε)
    expected = regression.noise_covariance(x, y, regression.minimum(x, y), batch_size=S)
    np.testing.assert_allclose(C * σ**2 / S, expected, rtol=1e-9, atol=1e-12)
    large = regression.large_sample_noise_covariance(regression.hessian(x), batch_size=S, label_noise_std=σ)
    np.testing.assert_allclose(H * σ**2 / S, large, rtol=1e-12)


def test_averages_over_the_label_noise_are_those_of_drawn_noise(monkeypatch):
    """False-alarm rate 1e-5 for each; several blocks."""
    monkeypatch.setattr(_fig3b, "BLOCK", 2)
    rng, draws = np.random.default_rng(1), 20_000
    x = rng.normal(size=(7, 3))
    drawn = []
    for ε in rng.normal(size=(draws, 7)):
        C, H = _fig3b.noise_and_hessian(x, ε)
        drawn.append((np.trace(C), np.sum((C - H) ** 2)))
    mean, error = np.mean(drawn, axis=0), np.std(drawn, axis=0, ddof=1) / np.sqrt(draws)
    assert np.all(np.abs(mean - _fig3b.expected(x)) <= norm.isf(5e-6) * error)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig3b", result.data)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["P/N = 2", "P/N = 10"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("ratios", (2.0, 1.1)), ("ratios", (0.9,)), ("shown", (3.0,)), ("large", 50.0), ("realisations", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig3b.Fig3bConfig(**{field: value})
