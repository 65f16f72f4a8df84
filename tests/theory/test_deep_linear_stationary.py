"""The one-mode law, its peak of diffusion and the mean of the whole network, against quadrature and linearisation."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from sgdynamics.theory import deep_linear

rng = np.random.default_rng(5)


def drift_and_diffusion(L, s, β, σ):
    """Of one mode, written out."""

    def drift(w):
        return L * w ** (2 - 2 / L) * (s - w) + β / 2 * L * (L - 1) * w ** (3 - 4 / L) * (2 * (s - w) ** 2 + σ**2)

    return drift, lambda w: β * L**2 * (2 * (s - w) ** 2 + σ**2) * w ** (4 - 4 / L)


def log_density(L, s, β, σ):
    drift, diffusion = drift_and_diffusion(L, s, β, σ)

    def value(w):
        return quad(lambda z: 2 * drift(z) / diffusion(z), s, w, epsabs=1e-13, epsrel=1e-13)[0] - np.log(diffusion(w))

    return value


@pytest.mark.parametrize("L, s, β, σ", [(2, 1.0, 0.02, 0.4), (3, 0.7, 0.05, 0.3), (4, 1.4, 0.01, 0.9)])
def test_moments_are_those_of_the_density(L, s, β, σ):
    scale = σ * np.sqrt(β * L / 2 * s ** (2 - 2 / L))
    log_p = log_density(L, s, β, σ)
    x, weights = np.polynomial.legendre.leggauss(120)
    lower, upper = max(s - 12 * scale, 0), s + 12 * scale
    w = (lower + upper) / 2 + (upper - lower) / 2 * x
    p = weights * np.exp([log_p(x) - log_p(s) for x in w])
    mean = np.sum(p * w) / np.sum(p)
    variance = np.sum(p * (w - mean) ** 2) / np.sum(p)
    value = deep_linear.stationary_moments(s, depth=L, learning_rate=2 * β, batch_size=2, label_noise_std=σ)
    np.testing.assert_allclose(value, (mean, variance), rtol=1e-10)
    assert value[0].shape == ()


@pytest.mark.parametrize("L, s", [(2, 1.0), (3, 0.6), (5, 1.7)])
def test_small_noise(L, s):
    """The table of the module: each deviation from its first order is of second order; the printed zero is not."""
    σ, β = 0.3, 1e-5
    settings = dict(depth=L, learning_rate=β, batch_size=1, label_noise_std=σ)
    first = deep_linear.stationary_expansion(s, **settings)
    drift, _ = drift_and_diffusion(L, s, β, σ)
    zero = brentq(drift, s * (1 - 1e-3), s * (1 + 1e-3), xtol=1e-15)
    # log p is flat at its maximum, where 2μ = D'; D is a square times a power
    scale = float(np.sqrt(first.variance))

    def slope(w):
        return β * L**2 * (-4 * (s - w) * w + (2 * (s - w) ** 2 + σ**2) * (4 - 4 / L)) * w ** (3 - 4 / L)

    mode = brentq(lambda w: 2 * drift(w) - slope(w), s - scale, s + scale, xtol=1e-15)
    mean, variance = deep_linear.stationary_moments(s, **settings)
    measured = np.array([zero, mean, mode]) - s
    np.testing.assert_allclose(measured, np.array(first[:3]) - s, rtol=2e-3)
    np.testing.assert_allclose(variance, first.variance, rtol=1e-3)
    printed = deep_linear.stationary_expansion(s, form="published", **settings)
    assert abs((printed.drift_zero - s) / (zero - s) - 1) > 0.5
    np.testing.assert_allclose(printed.variance, first.variance, rtol=1e-14)


def test_no_label_noise_leaves_the_modes_at_their_places():
    def moments(σ):
        return deep_linear.stationary_moments(
            np.array([1.0, 0.5]), depth=3, learning_rate=0.01, batch_size=np.array([[1.0], [2.0]]), label_noise_std=σ
        )

    mean, variance = moments(0.0)
    np.testing.assert_array_equal(mean, [[1.0, 0.5]] * 2)
    np.testing.assert_array_equal(variance, np.zeros((2, 2)))
    assert np.all(np.isfinite(jax.jit(jax.jacfwd(lambda σ: moments(σ)[0]))(0.0)))


def test_moments_have_derivatives():
    def mean_and_variance(s, η, σ):
        return deep_linear.stationary_moments(s, depth=3, learning_rate=η, batch_size=2.0, label_noise_std=σ)

    jax.test_util.check_grads(jax.jit(mean_and_variance), (0.8, 0.05, 0.3), order=1, modes=("rev",))


@pytest.mark.parametrize("L", [2, 3, 6])
def test_the_peak_is_where_diffusion_is_largest(L):
    s = np.array([0.6, 1.0, 1.5])
    σ = 0.9 * np.asarray(deep_linear.largest_peaked_noise(s, depth=L))
    peak = np.asarray(deep_linear.diffusion_peak(s, depth=L, label_noise_std=σ))
    for mode in range(3):
        _, D = drift_and_diffusion(L, s[mode], 1.0, σ[mode])
        _, slope = jax.jvp(D, (peak[mode],), (1.0,))
        assert abs(slope) < 1e-13 * D(peak[mode])
        assert D(peak[mode]) > max(D(peak[mode] * 0.99), D(peak[mode] * 1.01))
    np.testing.assert_allclose(
        deep_linear.diffusion_peak(s, depth=L, label_noise_std=0.0), s * 2 * (L - 1) / (3 * L - 2), rtol=1e-14
    )


def test_no_peak_at_and_above_the_threshold():
    """At equality the peak is an inflection: s = 1, L = 2, σ² = 1/4, all of them exact numbers."""
    σ = np.array([0.499, 0.5, 0.501])
    peak = deep_linear.diffusion_peak(1.0, depth=2, label_noise_std=σ)
    np.testing.assert_array_equal(np.isnan(peak), [False, True, True])
    assert deep_linear.largest_peaked_noise(1.0, depth=2) == 0.5
    slope = jax.grad(lambda σ: deep_linear.diffusion_peak(1.0, depth=2, label_noise_std=σ))
    assert slope(0.4) > 0


@pytest.mark.parametrize("L, fraction", [(2, 0.721), (3, 0.710), (4, 0.705), (6, 0.701)])
def test_the_peak_is_the_maximum_below_a_fraction_of_the_threshold(L, fraction):
    value = deep_linear.dominant_peak_fraction(depth=L)
    assert round(value, 3) == fraction
    largest = deep_linear.largest_peaked_noise(1.0, depth=L)
    for factor, dominant in ((0.98, True), (1.02, False)):
        _, D = drift_and_diffusion(L, 1.0, 1.0, float(largest) * np.sqrt(factor * value))
        assert (D(np.linspace(0.01, 0.9, 1000)).max() > D(1.0)) == dominant


class BalancedMinimum:
    """The linearisation about a balanced minimum, by derivatives of the whole network; θ row by row."""

    def __init__(self, singular_values, widths):
        s, L = np.asarray(singular_values), len(widths) - 1
        Q = [np.linalg.qr(rng.normal(size=(d, d)))[0] for d in widths]
        layers = []
        for l in range(1, L + 1):
            core = np.zeros((widths[l], widths[l - 1]))
            core[: len(s), : len(s)] = np.diag(s ** (1 / L))
            layers.append(Q[l] @ core @ Q[l - 1].T)
        self.widths, self.θ = widths, np.concatenate([layer.ravel() for layer in layers])
        self.U, self.V = Q[-1][:, : len(s)], Q[0][:, : len(s)]
        self.teacher = np.asarray(self.product(self.θ))

    def product(self, θ):
        W, start = jnp.eye(self.widths[0]), 0
        for inputs, outputs in zip(self.widths[:-1], self.widths[1:], strict=True):
            W = θ[start : start + inputs * outputs].reshape(outputs, inputs) @ W
            start += inputs * outputs
        return W

    def amplitudes(self, θ):
        return jnp.diagonal(self.U.T @ self.product(θ) @ self.V)

    def loss(self, θ):
        return jnp.sum((self.product(θ) - self.teacher) ** 2) / 2

    def shift(self, β, σ):
        """J ⟨x⟩ + ½ tr(C Hess w) with H C + C H = βΣ and H ⟨x⟩ = −½ ∇³L : C, on the range of H."""

        def derivatives(θ):
            return (jax.jacobian(self.product)(θ), jax.hessian(self.loss)(θ), jax.jacobian(self.amplitudes)(θ),
                    jax.hessian(self.amplitudes)(θ))  # fmt: skip

        G, H, J, curvature = (np.asarray(x) for x in jax.jit(derivatives)(self.θ))
        G = G.reshape(-1, len(self.θ))
        h, E = np.linalg.eigh(H)
        E, h = E[:, h > 1e-9], h[h > 1e-9]
        # label noise alone is left at the minimum: the gradient's covariance is σ² Gᵀ G
        noise = β * σ**2 * (G @ E).T @ (G @ E)
        C = E @ (noise / (h[:, None] + h[None, :])) @ E.T
        force = jax.jit(jax.grad(lambda θ: jnp.sum(jax.hessian(self.loss)(θ) * C)))(self.θ)
        mean = -E @ ((E.T @ np.asarray(force)) / h) / 2
        return J @ mean + np.einsum("ij,aij->a", C, curvature) / 2


@pytest.mark.parametrize(
    "s, widths",
    [
        ([1.2, 0.5], [2, 3, 4]),
        ([1.1, 0.5], [4, 3, 2, 3]),
        ([1.1, 0.5, 0.0], [3, 4, 3, 4]),
        ([0.8, 0.3, 0.0], [3, 3, 4, 3, 3]),
    ],
)
def test_the_mean_of_the_network(s, widths):
    """With more layers or modes than needed, rectangular, and with modes that are absent."""
    β, σ = 0.01, 0.3
    expected = BalancedMinimum(s, widths).shift(β, σ)
    value = deep_linear.mean_shift(
        np.array(s), inputs=widths[0], outputs=widths[-1], depth=len(widths) - 1, learning_rate=2 * β, batch_size=2,
        label_noise_std=σ,
    )  # fmt: skip
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-15)
    present = np.array(s)[np.array(s) > 0]
    wrong = deep_linear.stationary_expansion(
        present, depth=len(widths) - 1, learning_rate=β, batch_size=1, label_noise_std=σ
    )
    assert np.all(np.abs((wrong.mean - present) / expected[: len(present)] - 1) > 0.2)
