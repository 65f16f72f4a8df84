"""Averages over Gaussian data, against data that are drawn: false-alarm rate 1e-5 for each number."""

import numpy as np
import pytest
from scipy.stats import norm

from sgdynamics.theory import regression

σ, σ_u, η, S = 0.7, 1.3, 0.1, 5
REALISATIONS = 4000


def realisations(P, N, variance):
    """L*, population loss, |w*|²/N and tr M of (2.30) of many data sets, each by its definition."""
    rng = np.random.default_rng(0)
    x = np.sqrt(variance) * rng.normal(size=(REALISATIONS, P, N))
    u = σ_u * rng.normal(size=(REALISATIONS, N, 1))
    y = x @ u + σ * rng.normal(size=(REALISATIONS, P, 1))
    w = np.linalg.pinv(x) @ y
    r = x @ w - y
    H = x.transpose(0, 2, 1) @ x / P
    C = (x * r**2).transpose(0, 2, 1) @ x / (P * S)
    return {
        "loss": (r**2).mean(axis=(1, 2)) / 2,
        "population": (σ**2 + variance * ((w - u) ** 2).sum(axis=(1, 2))) / 2,
        "weight": (w**2).mean(axis=(1, 2)),
        "variance": η / 2 * np.trace(np.linalg.pinv(H, rcond=1e-9) @ C, axis1=1, axis2=2),
    }


@pytest.mark.parametrize(("P", "N", "variance"), [(14, 4, None), (14, 4, 0.5), (5, 16, None), (5, 16, 0.5)])
def test_averages_are_those_of_drawn_data(P, N, variance):
    drawn = realisations(P, N, 1 / N if variance is None else variance)
    teacher = {"label_noise_std": σ, "teacher_std": σ_u, "input_variance": variance}
    expected = {
        "loss": regression.mean_final_loss(P, N, label_noise_std=σ),
        "population": regression.mean_population_loss(P, N, **teacher),
        "weight": regression.mean_square_weight(P, N, **teacher),
        "variance": regression.mean_total_variance(P, N, label_noise_std=σ, learning_rate=η, batch_size=S),
    }
    for name, values in drawn.items():
        error = values.std(ddof=1) / np.sqrt(REALISATIONS)
        assert abs(values.mean() - float(expected[name])) <= norm.isf(5e-6) * error + 1e-12, name


def test_at_the_threshold_the_solution_diverges_and_the_fluctuations_vanish():
    N = np.array([9, 10, 11])
    assert np.isinf(regression.mean_population_loss(10, N, label_noise_std=σ)).all()
    assert np.isinf(regression.mean_square_weight(10, N, label_noise_std=σ)).all()
    variance = regression.mean_total_variance(10, N, label_noise_std=σ, learning_rate=η, batch_size=S)
    np.testing.assert_allclose(variance, [η * σ**2 / (2 * S) * 9 / 12, 0, 0], rtol=1e-12)


def test_the_total_variance_is_greatest_at_half_as_many_inputs_as_samples():
    N = np.arange(1, 40)
    variance = regression.mean_total_variance(40, N, label_noise_std=σ, learning_rate=η, batch_size=S)
    assert N[np.argmax(variance)] == 20
    np.testing.assert_allclose(variance, variance[::-1], rtol=1e-12)
