"""What noise that depends on θ adds, at a tiny size; its closed forms against recursions and sampled averages."""

import jax
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.kunin2023 import _multiplicative_case as case
from sgdynamics.experiments.kunin2023 import _multiplicative_law as law
from sgdynamics.experiments.kunin2023 import _multiplicative_noise
from sgdynamics.theory.harmonic import HarmonicDescent

H = np.array([0.05, 0.1, 0.4])


def gaussian(learning_rate):
    return law.gaussian_variances(H, label_noise_std=0.5, learning_rate=learning_rate, momentum=0.9, batch_size=4)


def population_noise(variances, σ2=0.25, S=4):
    """E C(θ) of x ~ N(0, diag H), by the Gaussian fourth moments E x_i² x_j² = h_i h_j (1 + 2 δ_ij)."""
    fourth = np.outer(H, H) * (1 + 2 * np.eye(3))
    return (σ2 * H + fourth @ variances - H**2 * variances) / S


def test_the_gaussian_law_reproduces_its_own_noise():
    M, frozen, A = gaussian(0.3)
    assert 0.2 < A < 0.9
    for variances, noise in ((M, population_noise(M)), (frozen, population_noise(0 * H))):
        process = HarmonicDescent(H, np.diag(noise), learning_rate=0.3, momentum=0.9)
        np.testing.assert_allclose(np.diag(process.stationary_covariance()), variances, rtol=1e-12)


@pytest.mark.parametrize(("side", "bounded"), [(0.98, True), (1.02, False)])
def test_second_moments_are_bounded_up_to_criticality_1(side, bounded):
    low, high = 0.01, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian(middle)[2] < 1 else (low, middle)
    η, β = side * low, 0.9
    # per mode (E δ², E δv, E v²) under one step
    F = np.stack([np.array([[1 - η * h, η * β], [-h, β]]) for h in H])
    second = np.zeros((12, 12))
    for i in range(3):
        second[4 * i : 4 * i + 4, 4 * i : 4 * i + 4] = np.kron(F[i], F[i])
        noise = population_noise(np.eye(3)[i], σ2=0.0)
        for j in range(3):
            second[4 * j : 4 * j + 4, 4 * i] += noise[j] * np.kron([η, 1], [η, 1])
    assert (np.max(np.abs(np.linalg.eigvals(second))) < 1) == bounded


def test_the_leading_order_is_the_slope_of_the_gaussian_law():
    h = np.full(5, 0.2)
    M, frozen, _ = law.gaussian_variances(h, label_noise_std=0.5, learning_rate=1e-4, momentum=0.9, batch_size=4)
    ε = 1e-4 * 1.0 / (2 * 4 * 0.1)
    np.testing.assert_allclose(M.sum() / frozen.sum() - 1, law.leading(ε, 5), rtol=1e-3)


def test_the_noise_factor_is_1_for_the_noise_of_assumption_5():
    x = jax.random.normal(jax.random.key(0), (200_000, 3))
    y = 0.5 * jax.random.normal(jax.random.key(1), (200_000,))
    np.testing.assert_allclose(law.noise_factor(x, y, 0.5), 1, atol=0.02)
    few_x, few_y = np.asarray(x[:10]), np.asarray(y[:10])
    r = few_y - few_x @ np.linalg.lstsq(few_x, few_y, rcond=None)[0]
    Σ = (few_x * r[:, None] ** 2).T @ few_x
    expected = np.trace(np.linalg.solve(few_x.T @ few_x, Σ)) / (0.25 * 3)
    np.testing.assert_allclose(law.noise_factor(x[:10], y[:10], 0.5), expected)


@pytest.fixture(scope="module")
def result():
    config = case.MultiplicativeNoiseConfig(
        inputs=4, samples=40, few_samples=12, slope_samples=1200, momenta=(0.5, 0.9), replicas=2048, steps=1000,
        realisations=8, few_realisations=10_000, growth_steps=200,
    )  # fmt: skip
    return _multiplicative_noise.run(config, experiments.Silence())


@pytest.mark.long
def test_every_verdict_is_the_expected_one(result):
    assert [claim.id for claim in result.claims if not claim.as_expected] == []
    assert {claim.id for claim in result.claims if claim.id.endswith("/published")} == {
        "few samples, weaker/Assumption 5/published",
        "Assumption 5/average/published",
    }


@pytest.mark.long
def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    axes = plotting.draw("kunin2023/multiplicative_noise", result.data).axes
    assert [len(panel.get_lines()) > 2 for panel in axes] == [True] * 3


@pytest.mark.parametrize(
    ("field", "value"),
    [("momenta", (0.5, 1.0)), ("strengths", (0.3, 0.1)), ("contrast", 1.0), ("growth", 1.0), ("few_samples", 9)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        case.MultiplicativeNoiseConfig(**{field: value})
