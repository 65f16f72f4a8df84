"""Averages over Gaussian data of leverages, residual weights and C, against data that are drawn: false-alarm rate
1e-5 for each number."""

import numpy as np
import pytest
from scipy.stats import norm

from sgdynamics.theory import regression

REALISATIONS, σ, S = 20_000, 0.7, 5


@pytest.mark.parametrize(("P", "N", "variance"), [(7, 3, None), (30, 5, 0.5), (4, 3, None)])
def test_averages_are_those_of_drawn_data(P, N, variance):
    σx2 = 1 / N if variance is None else variance
    rng = np.random.default_rng(1)
    x = np.sqrt(σx2) * rng.normal(size=(REALISATIONS, P, N))
    y = σ * rng.normal(size=(REALISATIONS, P, 1))
    projector = x @ np.linalg.pinv(x)
    K = (projector @ y - y)[..., 0] ** 2 / P
    C = np.einsum("rmi,rm,rmj->rij", x, K, x) / S
    inputs = {"label_noise_std": σ, "batch_size": S, "input_variance": variance}
    c = regression.mean_noise_variance(P, N, **inputs)
    checks = {
        "leverage": ((projector[:, 0, 0] - N / P) ** 2, regression.leverage_variance(P, N)),
        "K": (K[:, 0], regression.mean_residual_weight(P, N, label_noise_std=σ)),
        "K²": (K[:, 0] ** 2, regression.mean_square_residual_weight(P, N, label_noise_std=σ)),
        "C_00": (C[:, 0, 0], c),
        "tr C": (np.trace(C, axis1=1, axis2=2), N * c),
        "C_01": (C[:, 0, 1], 0.0),
    }
    for name, (values, expected) in checks.items():
        error = values.std(ddof=1) / np.sqrt(REALISATIONS)
        assert abs(values.mean() - float(expected)) <= norm.isf(5e-6) * error, name


def test_nothing_is_left_at_the_threshold():
    N = np.array([4, 5, 6])
    assert regression.leverage_variance(5, N)[1:].tolist() == [0, 0]
    assert regression.mean_residual_weight(5, N, label_noise_std=1)[1:].tolist() == [0, 0]
    assert regression.mean_square_residual_weight(5, N, label_noise_std=1)[1:].tolist() == [0, 0]
    np.testing.assert_allclose(
        regression.mean_noise_variance(5, N, label_noise_std=1, batch_size=2, input_variance=3), [1.5 / 7, 0, 0]
    )
