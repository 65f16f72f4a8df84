"""Fig. 3(c) at a tiny size: what is claimed, what must come out, what is stored and drawn."""

import numpy as np
import pytest
from scipy.stats import norm

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.gross2024 import _fig3c
from sgdynamics.theory import regression


@pytest.fixture(scope="module")
def result():
    config = _fig3c.Fig3cConfig(inputs=12, ratios=(1.5, 4.0, 10.0), realisations=300)
    return _fig3c.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert not [id for id in verdicts if id.endswith("/published")]
    controls = {id for id in verdicts if id.endswith("/control")}
    assert controls == {f"P/N = {ratio}/commutes with H/control" for ratio in ("1.5", "4", "10")}
    assert {"decrease", "exponent", "absolute growth"} <= set(verdicts)
    assert set(verdicts.values()) == {"reproduced"}


def test_the_matrix_is_theory_s_noise_in_the_modes():
    rng, σ, S = np.random.default_rng(0), 0.3, 4
    x, ε, teacher = rng.normal(size=(9, 3)), rng.normal(size=9), rng.normal(size=3)
    y = x @ teacher + σ * ε
    C = np.asarray(regression.noise_covariance(x, y, regression.minimum(x, y), batch_size=S))
    h, V = np.linalg.eigh(x.T @ x / 9)
    U, descending = _fig3c.decomposed(x)
    np.testing.assert_allclose(descending, h[::-1], rtol=1e-10)
    np.testing.assert_allclose(U.T @ U, np.eye(3), atol=1e-12)
    found = np.sqrt(np.outer(descending, descending)) * _fig3c.mixing(U, ε) * σ**2 / S
    np.testing.assert_allclose(np.abs(found), np.abs(V.T @ C @ V)[::-1, ::-1], rtol=1e-9, atol=1e-12)


def test_expected_squares_are_those_of_drawn_noise():
    """False-alarm rate 1e-5 for each entry."""
    rng, draws = np.random.default_rng(1), 20_000
    U = _fig3c.decomposed(rng.normal(size=(7, 3)))[0]
    squares = np.array([_fig3c.mixing(U, ε) ** 2 for ε in rng.normal(size=(draws, 7))])
    mean, error = squares.mean(axis=0), squares.std(axis=0, ddof=1) / np.sqrt(draws)
    assert np.all(np.abs(mean - _fig3c.expected_squares(U)) <= norm.isf(5e-6) * error)


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("gross2024/fig3c", result.data)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["P/N = 1.5", "P/N = 4", "P/N = 10"]


@pytest.mark.parametrize(
    ("field", "value"), [("ratios", (2.0, 1.5)), ("ratios", (0.9, 2.0)), ("inputs", 1), ("realisations", 1)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig3c.Fig3cConfig(**{field: value})
