"""Exact moments of epochs against every order of a tiny data set, and with them what frozen noise misses: the second
order of the multiplicative noise, the limits of vanishing learning rates."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.theory import epochs


def small(samples, inputs=2, seed=1, noise=1.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, inputs)) @ np.diag(np.linspace(1.2, 0.6, inputs))
    return x, x @ rng.normal(size=inputs) + noise * rng.normal(size=samples)


def over_all_orders(x, y, η, S, β, λ):
    """Moments of (w, u) at each position by averaging over all P! orders, in raw weights."""
    (P, N), M = x.shape, len(x) // S
    d = 2 * N + 1
    one = np.eye(N)
    paths = []
    for order in itertools.permutations(range(P)):
        A, path = np.eye(d), []
        for batch in np.reshape(order[: M * S], (M, S)):
            path.append(A)
            H, b = x[batch].T @ x[batch] / S + λ * one, x[batch].T @ y[batch] / S
            step = np.zeros((d, d))
            step[0, 0] = 1
            step[1 : N + 1] = np.hstack([η * b[:, None], one - η * H, β * one])
            step[N + 1 :] = np.hstack([η * b[:, None], -η * H, β * one])
            A = step @ A
        paths.append([*path, A])
    A = np.array(paths)
    E = np.einsum("pij,pkl->ikjl", A[:, -1], A[:, -1]).reshape(d * d, d * d) / len(A)
    # the fixed point with 1 in the corner
    rest = np.linalg.solve(np.eye(d * d - 1) - E[1:, 1:], E[1:, 0])
    X = np.concatenate([[1], rest]).reshape(d, d)
    X = np.einsum("plij,jk,plmk->lim", A[:, :-1], X, A[:, :-1]) / len(A)
    return X[:, 0, 1:], X[:, 1:, 1:] - X[:, 0, 1:, None] * X[:, 0, None, 1:]


@pytest.mark.parametrize(
    ("samples", "batch_size", "momentum", "weight_decay"),
    [(5, 2, 0.0, 0.0), (5, 2, 0.9, 0.3), (6, 2, 0.5, 0.0), (6, 1, 0.9, 0.0)],
)
def test_exact_moments_are_those_of_all_orders(samples, batch_size, momentum, weight_decay):
    x, y = small(samples)
    w = np.linalg.solve(x.T @ x / samples + weight_decay * np.eye(2), x.T @ y / samples)
    mean, covariance = over_all_orders(x, y, 0.3, batch_size, momentum, weight_decay)
    means, covariances = epochs.regression_moments(
        x, y, learning_rate=0.3, batch_size=batch_size, momentum=momentum, weight_decay=weight_decay
    )
    np.testing.assert_allclose(means + np.concatenate([w, 0 * w])[None], mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(covariances, covariance, rtol=0, atol=1e-12)
    assert np.abs(covariance).max() > 1e-4


def steep_and_flat(samples, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 2)) * np.array([[1.0, 0.15]])
    return x, x @ rng.normal(size=2) + 0.5 * rng.normal(size=samples)


def compiled(f, x, y, S):
    """f of the learning rate and momentum."""
    return jax.jit(lambda η, β=0.0: f(x, y, learning_rate=η, batch_size=S, momentum=β))


@pytest.mark.long
def test_frozen_noise_misses_the_flat_mode_and_the_second_order_has_it():
    """Exact but for moments of four batches beyond pairs, O(1/P)."""
    samples = 14
    x, y = steep_and_flat(samples)
    v = np.linalg.eigh(x.T @ x)[1][:, 0]

    @jax.jit
    def along_the_flat_mode(η):
        settings = {"learning_rate": η, "batch_size": 2}
        every = (
            epochs.regression_moments(x, y, **settings)[1][:, :2, :2],
            epochs.regression_covariances(x, y, **settings),
            epochs.regression_corrections(x, y, **settings)[0],
            epochs.regression_second_order(x, y, **settings),
        )
        return [v @ jnp.mean(covariances, axis=0) @ v for covariances in every]

    exact, frozen, first, second = along_the_flat_mode(0.03)
    assert exact > 1.05 * frozen  # the negative control: noise frozen at the minimum
    assert abs((exact - frozen - first) / second - 1) < 4 / samples


@pytest.mark.long
def test_the_first_order_of_the_mean_errs_in_the_second():
    x, y = steep_and_flat(8)
    exact, first = compiled(epochs.regression_moments, x, y, 2), compiled(epochs.regression_means, x, y, 2)
    errors = [np.abs(np.asarray(exact(η, 0.5)[0])[:, :2] - first(η, 0.5)).max() for η in (0.04, 0.02, 0.01)]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((ratios > 3.2) & (ratios < 5)), ratios  # 4 in the limit; of the mean itself, 2


@pytest.mark.parametrize(
    ("f", "limit", "momenta"),
    [
        (epochs.regression_means, epochs.regression_flat_mean, [0.0, 0.5]),
        # with momentum for long epochs only
        pytest.param(epochs.regression_floor, epochs.regression_flat_floor, [0.0], marks=pytest.mark.long),
    ],
)
def test_limits_are_reached_as_the_learning_rate(f, limit, momenta):
    x, y = steep_and_flat(24)
    f, limit = compiled(f, x, y, 2), compiled(limit, x, y, 2)
    for β in momenta:
        errors = [jnp.linalg.norm(jnp.mean(f(η, β), axis=0) / limit(η, β) - 1) for η in (4e-3, 2e-3, 1e-3)]
        ratios = np.divide(errors[:-1], errors[1:])
        assert errors[-1] < 0.05
        assert np.all((ratios > 1.7) & (ratios < 2.3)), ratios


def test_the_limit_of_the_mean_is_the_gradients_covariance_with_the_hessian():
    """−(η/2) H⁻¹ E[dH_B g_B], over all batches."""
    x, y = small(6)
    r, H = y - x @ np.linalg.lstsq(x, y, rcond=None)[0], x.T @ x / 6
    batches = [list(batch) for batch in itertools.combinations(range(6), 2)]
    product = np.mean([(x[B].T @ x[B] / 2 - H) @ (-x[B].T @ r[B] / 2) for B in batches], axis=0)
    limit = epochs.regression_flat_mean(x, y, learning_rate=0.3, batch_size=2)
    np.testing.assert_allclose(limit, -0.15 * np.linalg.solve(H, product), rtol=1e-12)


@pytest.mark.long
def test_long_epochs_of_normal_inputs_have_the_floor_in_closed_form():
    x, y = steep_and_flat(6000)
    η, S = 1e-4, 60
    h, V = np.linalg.eigh(x.T @ x / len(x))
    theories = (epochs.regression_floor, epochs.regression_flat_floor, epochs.regression_covariances)
    theories = [compiled(f, x, y, S) for f in theories]
    for β in (0.0, 0.5):
        average = lambda M: np.asarray(M).reshape(-1, 2, 2).mean(axis=0)
        floor, flat, frozen = (np.diag(V.T @ average(f(η, β)) @ V) for f in theories)
        np.testing.assert_allclose(floor, flat, rtol=0.08)
        expected = epochs.flat_floor(h, learning_rate=η, batch_size=S, momentum=β)
        np.testing.assert_allclose(flat / frozen, expected, rtol=0.15)


def by_pairs(x, y, η, S, β, epochs_before):
    """(E δ¹δ¹ᵀ, E δ²δᵀ) at the positions of the last of some epochs, from pairs of Gaussian dH and b, step by step."""
    (P, N), M = x.shape, len(x) // S
    r, H = y - x @ np.linalg.lstsq(x, y, rcond=None)[0], x.T @ x / P
    steps, c = M * epochs_before, (P - S) / (S * (P - 1))
    t = np.arange(steps)
    correlation = np.where(t[:, None] // M == t[None, :] // M, -S / (P - S), 0.0) + np.eye(steps) * P / (P - S)
    C = c * np.einsum("m,mi,mj->ij", r**2, x, x) / P
    K = lambda X: c * (np.einsum("...m,mi,mj->...ij", np.einsum("mi,...ij,mj->...m", x, X, x), x, x) / P - H @ X @ H)
    R, now, u = [], np.zeros((N, N)), np.zeros((N, N))
    for n in range(steps):  # response of w to a kick, n + 1 steps after
        u = β * u - η * H @ now + (np.eye(N) if n == 0 else 0)
        now = now + u
        R.append(now)
    lags = t[:, None] - t[None, :] - 1
    L = np.where((lags >= 0)[:, :, None, None], np.array(R)[np.maximum(lags, 0)], 0)  # δ_t = Σ_s L_ts kick_s
    whole = lambda X: X.swapaxes(1, 2).reshape(steps * N, steps * N)
    blocks = lambda X: X.reshape(steps, N, steps, N).swapaxes(1, 2)
    path = lambda source: blocks(whole(L) @ whole(source) @ whole(L).T)
    δδ = path(η**2 * correlation[:, :, None, None] * C)
    floor = path(η**2 * correlation[:, :, None, None] * K(δδ))
    # δ²_t = η² Σ_{s>n} L_ts dH_s L_sn dH_n δ_n
    rest = η**2 * blocks(whole(L) @ whole(correlation[:, :, None, None] * K(L)) @ whole(δδ))
    at = t[-M:]
    return floor[at, at], rest[at, at]


@pytest.mark.parametrize(
    ("samples", "batch_size", "momentum"), [pytest.param(7, 2, 0.5, marks=pytest.mark.long), (6, 1, 0.0)]
)
def test_the_second_order_is_that_of_all_pairs_step_by_step(samples, batch_size, momentum):
    x, y = small(samples)
    settings = {"learning_rate": 0.4, "batch_size": batch_size, "momentum": momentum}
    floor, rest = by_pairs(x, y, 0.4, batch_size, momentum, epochs_before=20)
    np.testing.assert_allclose(epochs.regression_floor(x, y, **settings), floor, rtol=1e-6, atol=1e-10)
    total = floor + rest + np.swapaxes(rest, 1, 2)
    np.testing.assert_allclose(epochs.regression_second_order(x, y, **settings), total, rtol=1e-6, atol=1e-10)
    assert np.abs(rest).max() > 1e-3 * np.abs(floor).max()


@pytest.mark.long
@pytest.mark.parametrize("f", [epochs.regression_moments, epochs.regression_second_order])
def test_moments_and_second_order_can_be_differentiated_and_compiled(f):
    x, y = small(5)
    x, ε = jnp.asarray(x), 1e-5
    last = lambda result: result[1] if isinstance(result, tuple) else result
    total = lambda η, x: jnp.sum(last(f(x, y, learning_rate=η, batch_size=2, momentum=0.5)))
    slope = lambda η, x: jax.jvp(total, (η, x), (1.0, 0.1 * x))
    (low, _), (high, _), (_, expected) = (jax.jit(slope)(0.3 + s, x * (1 + 0.1 * s)) for s in (-ε, ε, 0.0))
    np.testing.assert_allclose(expected, (high - low) / (2 * ε), rtol=1e-6)
    of_rate, of_x = jax.jit(jax.grad(total, argnums=(0, 1)))(0.3, x)
    np.testing.assert_allclose(of_rate + 0.1 * jnp.sum(of_x * x), expected, rtol=1e-9)


@pytest.mark.long
def test_moments_are_refused_beyond_the_limit_of_stability_and_only_there():
    x, y = small(4)

    def radius(η):
        """Of the second moments of δ over an epoch of all orders, one example after the other."""
        steps = np.eye(2) - η * x[:, :, None] * x[:, None, :]
        orders = [np.linalg.multi_dot([steps[i] for i in order]) for order in itertools.permutations(range(4))]
        second = np.einsum("pij,pkl->ikjl", orders, orders).reshape(4, 4) / len(orders)
        return np.abs(np.linalg.eigvals(second)).max()

    low, high = 0.0, 2 / np.linalg.eigvalsh(x.T @ x / 4)[-1]
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < 1 else (low, middle)
    assert radius(0.5 * low) < 1 < radius(1.01 * low)
    epochs.regression_moments(x, y, learning_rate=0.999 * low, batch_size=1)
    with pytest.raises(ValueError, match="learning_rate"):
        epochs.regression_moments(x, y, learning_rate=1.001 * low, batch_size=1)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("batch_size", 1, "2359296"), ("learning_rate", 9.0, "stationary"), ("momentum", 1.0, "momentum"),
     ("batch_size", 21, "batch_size"), ("weight_decay", -1.0, "weight_decay")],
)  # fmt: skip
def test_what_has_no_answer_is_refused(field, value, words):
    x, y = small(18 if words.isdigit() else 6)
    with pytest.raises(ValueError, match=words):
        epochs.regression_moments(x, y, **{"learning_rate": 0.1, "batch_size": 2, field: value})


def test_directions_without_data_need_weight_decay():
    x = small(4)[0] * np.array([[1.0, 0.0]])
    y = np.arange(4.0)
    with pytest.raises(ValueError, match="weight decay"):
        epochs.regression_moments(x, y, learning_rate=0.1, batch_size=2)
    covariances = epochs.regression_moments(x, y, learning_rate=0.1, batch_size=2, weight_decay=0.1)[1]
    np.testing.assert_allclose(covariances[:, 1], 0, atol=1e-15)


def test_the_largest_floor_is_where_curvature_is_least():
    with pytest.raises(ValueError, match="curvatures"):
        epochs.flat_floor(np.array([1.0, 0.0]), learning_rate=0.1, batch_size=1)
    np.testing.assert_allclose(
        epochs.flat_floor(np.array([1.0, 0.1]), learning_rate=0.1, batch_size=1), 0.025 * np.array([2.01, 10.2])
    )
