"""The variance-flatness relation of nonlinear networks at a tiny size, and its pieces against independent oracles."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _ivfr_nonlinear as ivfr


@pytest.fixture(scope="module")
def result():
    config = ivfr.IvfrNonlinearConfig(
        networks=("tanh",), samples=60, classes=2, hidden=2, replicas=128, burn_in=256, steps=200, every=50, modes=8,
        weight_decay=0.05,
    )  # fmt: skip
    return ivfr.run(config, experiments.Silence())


def test_every_verdict_is_the_expected_one(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/control")} == {
        "tanh, mse/isotropic noise/control",
        "tanh, cross-entropy/isotropic noise/control",
        "tanh, cross-entropy/no relation/control",
    }
    assert verdicts == dict.fromkeys(verdicts, "reproduced")


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/ivfr_nonlinear", result.data)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["tanh, mse", "tanh, cross-entropy"]


def test_the_exponent_is_that_of_a_power_law_in_the_width():
    width = np.array([0.3, 1.0, 2.0, 7.0])
    assert ivfr.exponent(5 * width**-4.0, width**-2) == pytest.approx(4)


def test_the_law_is_the_fixed_point_of_the_linear_map():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 4, 4))
    law = ivfr.Law(A @ A.T / 20, B @ B.T, learning_rate=0.3, weight_decay=0.1)
    step = np.eye(4) - 0.3 * (law.hessian + 0.1 * np.eye(4))
    M = np.zeros((4, 4))
    for _ in range(2000):
        M = step @ M @ step + 0.3**2 * law.noise
    np.testing.assert_allclose(law.covariance, M, rtol=1e-10)
    a = np.linalg.eigvalsh(law.hessian) + 0.1
    even = 0.3 * np.trace(law.noise) / 4 / (2 * a - 0.3 * a**2)
    np.testing.assert_allclose(np.linalg.eigvalsh(law.isotropic), np.sort(even))


def test_components_of_one_half_and_variances_of_the_other():
    rng = np.random.default_rng(1)
    scale = np.array([3.0, 2.0, 1.0])
    V, variances = ivfr.halves(rng.normal(size=(5, 1024, 3)) * scale, modes=2)
    np.testing.assert_allclose(np.abs(V[:2].T), np.eye(2), atol=0.1)
    assert bool(jnp.all(jnp.abs(variances.z(scale[:2] ** 2)) < 5))


def test_curvature_and_noise_of_one_layer_are_those_of_regression():
    config = ivfr.IvfrNonlinearConfig(samples=40, classes=2)
    problem = ivfr.problem("linear", "mse", config)
    θ, gradient = ivfr.minimum(problem, config.weight_decay)
    law = ivfr.law_at(problem, θ, config)
    x = np.concatenate([problem.data.x, np.ones((40, 1))], axis=1)
    W = np.concatenate([θ[:128].reshape(2, 64), θ[128:, None]], axis=1)
    y = np.asarray(problem.data.y)
    assert gradient < 1e-7
    np.testing.assert_allclose((x @ W.T - y).T @ x / 40 + config.weight_decay * W, 0, atol=1e-8)
    assert np.trace(law.hessian) == pytest.approx(2 * (x**2).sum() / 40)
    rows = (x @ W.T - y)[:, :1] * x[:, :64]
    np.testing.assert_allclose(law.noise[:64, :64], np.cov(rows.T, bias=True) / 10, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("networks", ("cubic",)), ("replicas", 10), ("modes", 2), ("weight_decay", 0.0), ("classes", 1), ("scale", -1.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ivfr.IvfrNonlinearConfig(**{field: value})
