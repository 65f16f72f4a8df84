"""Epoch noise in a quadratic loss, against the enumeration of every order of a tiny epoch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.theory import epochs, momentum
from sgdynamics.theory.recursion import LinearRecursion

MOMENTA = (0.0, 0.9)
DECADES = np.geomspace(1e-4, 1.0, 9)


def enumerated(H, gradients, η, β, batch_size):
    """Cov (θ, u) after l = 0 … M−1 batches, from all P! orders of the examples' gradient noises [P, d]; and C."""
    P, d = gradients.shape
    M, one = P // batch_size, np.eye(d)
    T = np.block([[one - η * H, β * one], [-η * H, β * one]])
    kick = -η * np.vstack([one, one])
    orders = np.array(list(itertools.permutations(range(P))))[:, : M * batch_size]
    noises = gradients[orders].reshape(len(orders), M, batch_size, d).mean(2)
    x, inside = np.zeros((len(orders), 2 * d)), []
    for step in range(M):
        inside.append(x.T @ x / len(orders))
        x = x @ T.T + noises[:, step] @ kick.T
    over_epoch, A = np.linalg.matrix_power(T, M), x.T @ x / len(orders)
    start = np.linalg.solve(np.eye(4 * d * d) - np.kron(over_epoch, over_epoch), A.ravel()).reshape(2 * d, 2 * d)
    powers = [np.linalg.matrix_power(T, step) for step in range(M)]
    return np.array([F @ start @ F.T + Q for F, Q in zip(powers, inside, strict=True)]), np.cov(noises[:, 0].T, ddof=0)


def centred(rng, shape):
    g = rng.normal(size=shape)
    return g - g.mean(0)


def close(measured, expected, rtol=1e-12):
    np.testing.assert_allclose(measured, expected, rtol=rtol, atol=rtol * np.max(np.abs(expected)))


@pytest.mark.parametrize("β", MOMENTA)
@pytest.mark.parametrize(("samples", "batch_size"), [(6, 1), (6, 2), (7, 2), (5, 3)])
def test_all_moments_of_non_commuting_modes_equal_the_enumeration_of_all_orders(samples, batch_size, β):
    rng = np.random.default_rng(samples + batch_size)
    B = rng.normal(size=(2, 2))
    H, g, η = B @ B.T, centred(rng, (samples, 2)), 0.15
    expected, C = enumerated(H, g, η, β, batch_size)
    assert np.abs(H @ C - C @ H).max() > 0.01
    setting = {
        "learning_rate": η, "momentum": β, "batches_per_epoch": samples // batch_size,
        "left_out": epochs.left_out(samples, batch_size),
    }  # fmt: skip
    close(epochs.position_covariances(H, C, **setting), expected)
    close(epochs.phase_covariance(H, C, **setting), expected.mean(0))
    close(epochs.stationary_covariance(H, C, **setting), expected.mean(0)[:2, :2])
    # noise that does cancel over an epoch is another one
    other = epochs.phase_covariance(H, C, **setting | {"left_out": 0.0 if samples % batch_size else 0.1})
    assert np.abs(other - expected.mean(0)).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("β", MOMENTA)
def test_one_mode_over_four_decades_of_curvature_equals_the_enumeration(β):
    g = centred(np.random.default_rng(1), (6, 1))
    weights, velocities = [], []
    for h in DECADES:
        found, C = enumerated(np.array([[h]]), g, 0.7, β, 1)
        weights.append(found[:, 0, 0]), velocities.append(found[:, 1, 1])
    setting = {"learning_rate": 0.7, "momentum": β, "batches_per_epoch": 6}
    measured = epochs.position_variances(DECADES, float(C), **setting)
    # the enumeration itself loses digits of 1 − T^{2M} in flat modes
    close(measured[0], np.array(weights), 1e-11)
    close(measured[1], np.array(velocities), 1e-11)
    for average, position in zip(epochs.stationary_variances(DECADES, float(C), **setting), measured, strict=True):
        close(average, position.mean(-1))


@pytest.mark.parametrize(("batches", "β"), [(2, 0.0), (2, 0.9), (20, 0.999), (500, 0.9)])
def test_the_average_over_the_epoch_and_its_positions_are_one_law_at_any_curvature(batches, β):
    """Two routes that share no formula; the published closed form joins them where it has digits."""
    limit = 4 * (1 + β)
    h = np.concatenate([[0.0, 1e-300], np.geomspace(1e-14, 0.2, 10), np.array([0.3, 0.6, 0.9]) * limit])
    setting = {"learning_rate": 0.5, "momentum": β, "batches_per_epoch": batches}
    average, position = (f(h, 1.3, **setting) for f in (epochs.stationary_variances, epochs.position_variances))
    published = epochs.stationary_variances(h[2:], 1.3, **setting, form="published")
    steep = h[2:] > 1e-3
    for exact, each, printed in zip(average, position, published, strict=True):
        np.testing.assert_allclose(exact, each.mean(-1), rtol=2e-11)
        np.testing.assert_allclose(printed[steep], exact[2:][steep], rtol=1e-7 if β < 0.99 else 1e-3)
    assert np.abs(published[0][0] / average[0][2] - 1) > 1  # no digit left at ηh = 5e-15


@pytest.mark.long
def test_coloured_recursion_has_the_same_law_and_the_same_correlations_in_time():
    rng = np.random.default_rng(5)
    A, B = rng.normal(size=(2, 3, 3))
    H, C, η, β, M, κ = A @ A.T / 3, B @ B.T, 0.2, 0.6, 9, 0.2
    one = np.eye(3)
    T, kick = np.block([[one - η * H, β * one], [-η * H, β * one]]), -η * np.vstack([one, one])
    lags = np.arange(1, M)
    memory = epochs.noise_autocovariance(lags, batches_per_epoch=M, left_out=κ)
    coloured = np.array([kick @ (ρ * C) @ kick.T for ρ in memory])
    recursion = LinearRecursion(T, kick @ C @ kick.T, coloured)
    setting = {"learning_rate": η, "momentum": β, "batches_per_epoch": M, "left_out": κ}
    close(epochs.phase_covariance(H, C, **setting), recursion.stationary_covariance(), 1e-10)
    h, V = np.linalg.eigh(H)
    law = epochs.HarmonicEpochs(h, V.T @ C @ V, **setting)
    asked = np.array([[0, 1, -2], [M - 1, M, 3 * M]])
    close(V @ law.autocovariance(asked) @ V.T, recursion.autocovariance(asked)[..., :3, :3], 1e-10)
    close(law.start_covariance(), law.position_covariances()[0])
    assert float(law.slowest_rate()) > 0


def test_both_expressions_of_the_correlation_time_agree():
    """(18): cov(u_k, u_{k+h}) = 2R_h − R_{h−1} − R_{h+1}, summed to where it has died."""
    setting = {"learning_rate": 0.3, "momentum": 0.8, "batches_per_epoch": 12}
    h = np.array([0.02, 0.3, 2.0])
    law = epochs.HarmonicEpochs(h, np.eye(3), **setting)
    R = np.einsum("hii->hi", law.autocovariance(np.arange(4000)))
    velocities = 2 * R[1:-1] - R[:-2] - R[2:]
    lag = np.arange(1, len(R) - 1)[:, None]
    np.testing.assert_allclose(
        (lag * velocities).sum(0) / velocities.sum(0), epochs.correlation_time(h, **setting), rtol=1e-9
    )
    white = epochs.correlation_time(h, **setting | {"left_out": 1.0})
    np.testing.assert_allclose(white, (1 + 0.8) / (0.3 * h), rtol=1e-13)


def test_the_noise_of_an_epoch_sums_to_nothing():
    for M in (2, 5, 40):
        noise = epochs.noise_autocovariance(np.arange(-M - 3, M + 4), batches_per_epoch=M)
        assert noise[M + 3] == 1 and np.all(noise[:3] == 0) and np.all(noise[-3:] == 0)
        np.testing.assert_allclose(noise.sum(), 0, atol=1e-15)
        # without the average over the position it is −1/(M − 1), which alone would sum to nothing over 2M − 1 lags too
        np.testing.assert_allclose(noise[M + 4], -1 / M, rtol=1e-14)
    assert epochs.noise_autocovariance(3, batches_per_epoch=7).shape == ()


def test_limits_that_the_slides_state():
    setting = {"learning_rate": 0.01, "momentum": 0.9, "batches_per_epoch": 200_000}
    for exact, printed in zip(*(epochs.flat_variances(2.0, **setting, form=f) for f in ("exact", "published")),
                              strict=True):  # fmt: skip
        np.testing.assert_allclose(exact, printed, rtol=2e-4)
    np.testing.assert_allclose(
        epochs.flat_correlation_time(momentum=0.9, batches_per_epoch=200_000),
        epochs.flat_correlation_time(momentum=0.9, batches_per_epoch=200_000, form="published"), rtol=2e-4,
    )  # fmt: skip
    # catalogue 3.4: at M = 100 (20) is far off, and (19) misses a factor at large ηh
    short = setting | {"batches_per_epoch": 100}
    ratios = [e / p for e, p in zip(epochs.flat_variances(2.0, **short),
                                    epochs.flat_variances(2.0, **short, form="published"), strict=True)]  # fmt: skip
    np.testing.assert_allclose(ratios, [0.772, 0.836], atol=5e-4)
    exact, printed = (epochs.white_variances(0.5, 1.0, learning_rate=1.0, momentum=0.0, form=f)
                      for f in ("exact", "published"))  # fmt: skip
    np.testing.assert_allclose([e / p for e, p in zip(exact, printed, strict=True)], 4 / 3, rtol=1e-14)
    np.testing.assert_allclose(epochs.flat_correlation_time(momentum=0.0, batches_per_epoch=100), 101 / 3, rtol=1e-14)
    assert float(
        epochs.crossover_curvature(learning_rate=0.005, momentum=0.9, batches_per_epoch=1000)
    ) == pytest.approx(0.06)


def test_a_flat_mode_is_a_bridge():
    weights, velocities = epochs.position_variances(0.0, 2.0, learning_rate=0.3, momentum=0.0, batches_per_epoch=10)
    step = np.arange(10)
    close(weights, 0.09 * 2.0 * step * (10 - step) / 9)
    close(velocities, 0.09 * 2.0 * np.ones(10))


def test_the_crossover_is_one_function():
    ratio = np.geomspace(1e-3, 30, 20)
    setting = {"learning_rate": 1e-4, "momentum": 0.9, "batches_per_epoch": 100_000}
    h = ratio * epochs.crossover_curvature(**setting)
    white = epochs.white_variances(h, 1.0, learning_rate=1e-4, momentum=0.9)[0]
    exact = epochs.stationary_variances(h, 1.0, **setting)[0]
    np.testing.assert_allclose(epochs.crossover_function(ratio), exact / white, rtol=2e-3)
    x = 3 * ratio
    np.testing.assert_allclose(epochs.crossover_function(ratio), 1 - 2 * (np.exp(-x) - 1 + x) / x**2, rtol=1e-8)
    assert epochs.crossover_function(0.0) == 0
    gradient = jax.vmap(jax.grad(epochs.crossover_function))(jnp.array([0.0, 0.1, 0.2]))
    np.testing.assert_allclose(gradient[0], 1.0, rtol=1e-14)


def test_excess_loss_is_half_the_trace():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 4, 4))
    H, C = A @ A.T, B @ B.T
    setting = {"learning_rate": 0.05, "momentum": 0.5, "batches_per_epoch": 20}
    h, V = np.linalg.eigh(H)
    variance = epochs.stationary_variances(h, np.diag(V.T @ C @ V), **setting)[0]
    close(epochs.excess_loss(h, variance), np.trace(H @ epochs.stationary_covariance(H, C, **setting)) / 2)


def test_epochs_without_cancellation_are_white_noise():
    """κ = 1 (two batches never of one epoch) is the law of theory.momentum."""
    rng = np.random.default_rng(2)
    A, B = rng.normal(size=(2, 3, 3))
    H, C, setting = A @ A.T, B @ B.T, {"learning_rate": 0.1, "momentum": 0.7}
    expected = momentum.recursion(H, C, **setting).stationary_covariance()
    scale = np.kron(np.diag([1.0, 0.1]), np.eye(3))
    measured = epochs.phase_covariance(H, C, **setting, batches_per_epoch=13, left_out=1.0)
    close(measured, scale @ expected @ scale, 1e-10)


@pytest.mark.long
def test_derivatives_equal_finite_differences():
    rng = np.random.default_rng(3)
    A, B = rng.normal(size=(2, 3, 3))
    H, C = A @ A.T / 3, B @ B.T

    def total(η, β, s):
        found = epochs.phase_covariance(s * H, C, learning_rate=η, momentum=β, batches_per_epoch=6)
        positions = epochs.position_covariances(s * H, C, learning_rate=η, momentum=β, batches_per_epoch=6)
        return jnp.sum(found * jnp.arange(36.0).reshape(6, 6)) + jnp.sum(positions[2])

    at, total = (0.2, 0.6, 1.1), jax.jit(total)
    moved = lambda argument, e: total(*(a + e * (i == argument) for i, a in enumerate(at)))
    finite = [(moved(argument, 1e-5) - moved(argument, -1e-5)) / 2e-5 for argument in range(3)]
    np.testing.assert_allclose(jax.jit(jax.grad(total, (0, 1, 2)))(*at), finite, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(total, (0, 1, 2)))(*at), finite, rtol=1e-6)
    setting = {"learning_rate": 0.2, "momentum": 0.5, "batches_per_epoch": 9}
    flat = lambda h: epochs.stationary_variances(h, 1.0, **setting)[0]
    bridge = lambda h: epochs.position_variances(h, 1.0, **setting)[0].mean()
    for law in (flat, bridge):
        np.testing.assert_allclose(jax.grad(law)(0.0), (law(1e-6) - law(0.0)) / 1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("curvature", -1.0, "curvature"), ("noise_variance", -1.0, "noise_variance"), ("momentum", 1.0, "momentum"),
     ("learning_rate", 4.1, "learning_rate"), ("batches_per_epoch", 0, "batches_per_epoch"),
     ("left_out", 1.5, "left_out"), ("form", "printed", "form")],
)  # fmt: skip
def test_bad_arguments_are_named(field, value, says):
    good = {"curvature": 1.0, "noise_variance": 1.0, "learning_rate": 0.1, "momentum": 0.5, "batches_per_epoch": 5}
    with pytest.raises(ValueError, match=says):
        epochs.stationary_variances(**good | {field: value})


def test_what_does_not_cancel_may_not_reach_flat_modes():
    with pytest.raises(ValueError, match="left_out"):
        epochs.stationary_variances(0.0, 1.0, learning_rate=0.1, momentum=0.0, batches_per_epoch=5, left_out=0.1)
    with pytest.raises(ValueError, match="noise"):
        epochs.stationary_covariance(np.diag([1.0, 0.0]), np.eye(2), learning_rate=0.1, momentum=0.0,
                                     batches_per_epoch=5, left_out=0.1)  # fmt: skip
    with pytest.raises(ValueError, match="hessian"):
        epochs.stationary_covariance(np.diag([1.0, -0.1]), np.eye(2), learning_rate=0.1, momentum=0.0,
                                     batches_per_epoch=5)  # fmt: skip
    found = epochs.stationary_covariance(np.diag([1.0, 0.0]), np.eye(2), learning_rate=0.1, momentum=0.0,
                                         batches_per_epoch=5)  # fmt: skip
    np.testing.assert_allclose(found[1, 1], 0.01 * 6 / 6, rtol=1e-12)


def test_flat_modes_may_be_compiled():
    law = lambda η: epochs.stationary_covariance(
        np.diag([1.0, 0.0]), np.eye(2), learning_rate=η, momentum=0.5, batches_per_epoch=4
    )
    close(jax.jit(law)(0.2), law(0.2))


@pytest.mark.parametrize(
    ("call", "says"),
    [(lambda law: law.autocovariance(np.zeros(0, int)), "lag"),
     (lambda law: epochs.noise_autocovariance(0.5, batches_per_epoch=3), "lag"),
     (lambda law: epochs.flat_correlation_time(momentum=0.0, batches_per_epoch=1), "batches_per_epoch"),
     (lambda law: epochs.crossover_curvature(learning_rate=1.0, momentum=0.0, batches_per_epoch=2.5), "batches_per_ep"),
     (lambda law: epochs.stationary_variances(0.0, 1.0, learning_rate=1.0, momentum=0.0, batches_per_epoch=3,
                                              form="published"), "curvature"),
     (lambda law: epochs.excess_loss(np.array([1.0, 2.0]), np.ones(1)), "weight_variance")],
)  # fmt: skip
def test_what_has_no_answer_is_refused(call, says):
    law = epochs.HarmonicEpochs(np.array([1.0, 2.0]), np.eye(2), learning_rate=0.1, momentum=0.9, batches_per_epoch=3)
    with pytest.raises(ValueError, match=says):
        call(law)


def test_left_out_share():
    assert float(epochs.left_out(200, 10)) == 0
    assert float(epochs.left_out(7, 2)) == pytest.approx(1 / 5)
    with pytest.raises(ValueError, match="batch_size"):
        epochs.left_out(5, 6)
