"""The variance-flatness relation of nonlinear networks at a tiny size, and its pieces against independent oracles."""

import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _flatness, _store
from sgdynamics.experiments._realisations import over_realisations
from sgdynamics.experiments.beyond import _ivfr_case, _ivfr_networks
from sgdynamics.experiments.beyond import _ivfr_nonlinear as ivfr

pytestmark = pytest.mark.long


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
    assert _flatness.exponent(5 * width**-4.0, width**-2) == pytest.approx(4)


@pytest.fixture(scope="module")
def one_layer():
    """A single layer on two digits: regression, where H and C are known."""
    config = ivfr.IvfrNonlinearConfig(samples=40, classes=2)
    problem, same = ivfr.problems("linear", "mse", config)
    assert same is problem
    descent = sgd.SGD(problem, learning_rate=0.3, sampler=10, weight_decay=config.weight_decay)
    θ = problem.minimum(config.weight_decay)
    return problem, np.asarray(θ), _ivfr_case.Laws(sgd.predict(descent, at=θ, form="frozen"), config.weight_decay)


def test_curvature_and_noise_of_one_layer_are_those_of_regression(one_layer):
    problem, θ, laws = one_layer
    x, y = np.concatenate([problem.data.x, np.ones((40, 1))], axis=1), np.asarray(problem.data.y)
    W = np.concatenate([θ[:128].reshape(2, 64), θ[128:, None]], axis=1)
    np.testing.assert_allclose((x @ W.T - y).T @ x / 40 + 0.01 * W, 0, atol=1e-8)
    assert laws.curvatures.sum() == pytest.approx(2 * (x**2).sum() / 40)
    rows = (x @ W.T - y)[:, :1] * x[:, :64]
    C = laws.vectors @ laws.prediction.law.noise @ laws.vectors.T
    np.testing.assert_allclose(C[:64, :64], np.cov(rows.T, bias=True) / 10, atol=1e-12)


def test_controls_have_the_noise_trace_and_the_shape_they_name(one_layer):
    _, _, laws = one_layer
    h, η = laws.curvatures + 0.01, 0.3
    answer = η / (2 * h - η * h**2)
    total = np.trace(laws.prediction.law.noise)
    np.testing.assert_allclose(laws.isotropic, np.diag(answer * total / len(h)), atol=1e-12)
    positive = np.maximum(laws.curvatures, 0)
    np.testing.assert_allclose(laws.proportional, np.diag(answer * total * positive / positive.sum()), atol=1e-12)
    np.testing.assert_allclose(np.diag(laws.harmonic), answer * np.diag(laws.prediction.law.noise), atol=1e-12)


def test_along_a_component_is_the_quadratic_form_of_the_parameters(one_layer):
    problem, θ, laws = one_layer
    V = np.linalg.qr(np.random.default_rng(2).normal(size=(len(θ), 3)))[0]
    case = _ivfr_case.Case("linear, mse", laws, V, over_realisations(np.ones((2, 3))))
    np.testing.assert_allclose(case.curvatures, np.diag(V.T @ problem.hessian(jnp.asarray(θ)) @ V), atol=1e-12)
    np.testing.assert_allclose(case.along(laws.harmonic), np.diag(V.T @ laws.prediction.covariance @ V), atol=1e-12)


def test_averaged_relu_is_the_average_of_relu():
    z, (ξ, weight) = np.array([-2.0, -0.1, 0.0, 0.3, 4.0]), np.polynomial.hermite_e.hermegauss(200)
    average = (np.maximum(z[:, None] + 0.5 * ξ, 0) * weight).sum(axis=1) / weight.sum()
    np.testing.assert_allclose(_ivfr_networks.AveragedRelu(0.5)(jnp.asarray(z)), average, atol=3e-3)


def test_only_relu_is_linearised_as_another_network():
    learned, smooth = ivfr.problems("relu", "mse", ivfr.IvfrNonlinearConfig(smoothing=1e-3))
    assert learned.network.activation is not smooth.network.activation
    np.testing.assert_array_equal(learned.parameters, smooth.parameters)
    np.testing.assert_allclose(learned.loss(learned.parameters), smooth.loss(learned.parameters), atol=1e-4)


def test_components_of_one_half_and_variances_of_the_other():
    rng = np.random.default_rng(1)
    scale = np.array([3.0, 2.0, 1.0])
    V, variances = _ivfr_case.halves(rng.normal(size=(5, 1024, 3)) * scale, modes=2)
    np.testing.assert_allclose(np.abs(V[:2].T), np.eye(2), atol=0.1)
    assert bool(jnp.all(jnp.abs(variances.z(scale[:2] ** 2)) < 5))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("networks", ("cubic",)),
        ("replicas", 10),
        ("modes", 2),
        ("weight_decay", 0.0),
        ("classes", 1),
        ("scale", -1.0),
        ("smoothing", 0.0),
    ],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ivfr.IvfrNonlinearConfig(**{field: value})
