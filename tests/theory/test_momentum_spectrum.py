"""Spectra against Fourier sums of autocovariances, integrals, and the largest value on a fine grid."""

import jax
import numpy as np
import pytest
import scipy.linalg

from sgdynamics.theory import momentum

OF = {"position": 0, "velocity": 1}
CASES = [(h, β) for β in (0.0, 0.5, 0.9) for h in (0.1, 0.8, 9.0)]
C, η, λ = 1.7, 0.2, 0.05


def setting(β):
    return dict(learning_rate=η, momentum=β, weight_decay=λ)


def autocovariance(most, h, β):
    """E[x_{k+n} x_kᵀ] of (θ, v) for n = 0 … most, step by step."""
    T = np.array([[1 - η * (h + λ), η * β], [-(h + λ), β]])
    R = [scipy.linalg.solve_discrete_lyapunov(T, C * np.outer([η, 1], [η, 1]))]
    for _ in range(most):
        R.append(T @ R[-1])
    return np.array(R)


@pytest.mark.parametrize("of", list(OF))
def test_discrete_spectra_are_the_fourier_sums_of_the_autocovariance(of):
    i, ω = OF[of], np.linspace(-np.pi, np.pi, 401)[:-1]
    lags = np.arange(3000)
    for h, β in CASES:
        R = autocovariance(lags[-1], h, β)[:, i, i]
        expected = R[0] + 2 * np.cos(np.outer(ω, lags[1:])) @ R[1:]
        got = np.asarray(momentum.power_spectrum(ω, h, C, of=of, **setting(β)))
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-10)


def test_integrals_are_the_variances():
    """Discrete: the mean over the circle. The SDE: quadrature over ω = ω₀ tan x."""
    ω = np.linspace(-np.pi, np.pi, 4097)[:-1]
    x = (np.arange(20_000) + 0.5) / 20_000 * np.pi - np.pi / 2
    for h, β in CASES:
        for of, i in OF.items():
            M = autocovariance(0, h, β)[0]
            got = np.mean(momentum.power_spectrum(ω, h, C, of=of, **setting(β)))
            np.testing.assert_allclose(got, M[i, i], rtol=1e-9)
            variance = np.array([η * C / (2 * (1 - β) * (h + λ)), C / (1 - β**2)])[i]
            ω0 = np.asarray(momentum.natural_frequency(h, **setting(β)))
            S = momentum.power_spectrum(ω0 * np.tan(x), h, C, of=of, form="sde", **setting(β))
            np.testing.assert_allclose(np.mean(S * ω0 / np.cos(x) ** 2) / 2, variance, rtol=1e-6)


@pytest.mark.parametrize("of", list(OF))
def test_peaks(of):
    """Among them a mode that alternates, one at momentum 0, and overdamped ones, whose position has no peak."""
    ω = np.linspace(0, np.pi, 100_001)
    peaks = []
    for h, β in [*CASES, (14.0, 0.9), (14.0, 0.5)]:
        exact = float(momentum.peak_frequency(h, of=of, **setting(β)))
        largest = ω[np.argmax(momentum.power_spectrum(ω, h, C, of=of, **setting(β)))]
        np.testing.assert_allclose(0 if np.isnan(exact) else exact, largest, atol=4e-5)
        sde = float(momentum.peak_frequency(h, of=of, form="sde", **setting(β)))
        grid = 10 * ω / η
        largest = grid[np.argmax(momentum.power_spectrum(grid, h, C, of=of, form="sde", **setting(β)))]
        np.testing.assert_allclose(0 if np.isnan(sde) else sde, largest, atol=4e-3)
        peaks.append(exact)
    assert np.any(np.isnan(peaks)) == (of == "position")
    assert np.any(np.array(peaks) == np.pi)
    assert np.any((np.array(peaks) > 0) & (np.array(peaks) < 3))


def test_the_sde_is_the_limit_of_small_learning_rates():
    ω, h, β, small = 0.9, 0.6, 1 - 1e-4, 1e-4
    exact = momentum.power_spectrum(ω * small, h, C, learning_rate=small, momentum=β)
    sde = momentum.power_spectrum(ω, h, C, learning_rate=small, momentum=β, form="sde")
    np.testing.assert_allclose(exact, sde / small, rtol=1e-3)


def test_derivatives_shapes_and_errors():
    f = lambda x: momentum.power_spectrum(x[0], x[1], x[2], learning_rate=x[3], momentum=x[4])
    x = np.array([0.3, 0.8, C, 0.2, 0.5])
    slopes = jax.jit(jax.jacrev(f))(x)
    differences = [(f(x + s) - f(x - s)) / (2 * s.sum()) for s in 1e-6 * np.eye(5)]
    np.testing.assert_allclose(slopes, differences, rtol=1e-6)
    assert momentum.power_spectrum(np.ones((3, 1)), np.ones(2), C, **setting(0.5)).shape == (3, 2)
    assert momentum.peak_frequency(np.ones(2), **setting(0.5)).shape == (2,)
    with pytest.raises(ValueError, match="curvature"):
        momentum.power_spectrum(0.1, 0.0, C, learning_rate=η, momentum=0.5)
    with pytest.raises(ValueError, match="learning_rate"):
        momentum.peak_frequency(50.0, **setting(0.5))
    with pytest.raises(ValueError, match="of = 'speed'"):
        momentum.peak_frequency(1.0, of="speed", **setting(0.5))
    with pytest.raises(ValueError, match="form"):
        momentum.power_spectrum(0.1, 1.0, C, form="published", **setting(0.5))


def test_the_velocitys_peak_has_derivatives_without_momentum():
    peak = lambda β: momentum.peak_frequency(0.2, learning_rate=0.1, momentum=β, of="velocity")
    assert np.isfinite(jax.grad(peak)(0.0)) and peak(0.0) == np.pi
