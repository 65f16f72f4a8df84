"""A problem: losses, derivatives, parameters in order, minima, populations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import _problem
from sgdynamics.data import Dataset, FreshLabels, Teacher

RNG = np.random.default_rng(0)
KEY = jax.random.key(2)
X = RNG.normal(size=(7, 3))
Y1, Y2 = RNG.normal(size=7), RNG.normal(size=(7, 2))


def cube(prediction, target):
    return jnp.sum(jnp.abs(prediction - target) ** 3)


def problems():
    mlp = sgd.networks.MLP((3, 4, 2), key=KEY)
    deep = sgd.networks.DeepLinear((3, 4, 2), key=KEY)
    return {
        "one output": sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1)),
        "two outputs": sgd.Problem(sgd.networks.Linear(3, 2), Dataset(X, Y2)),
        "fresh labels": sgd.Problem(deep, FreshLabels(Dataset(X, Y2), 0.5)),
        "deep": sgd.Problem(deep, Dataset(X, Y2)),
        "mlp": sgd.Problem(mlp, Dataset(X, Y2)),
        "classes": sgd.Problem(mlp, Dataset(X, np.arange(7) % 2), sgd.cross_entropy),
        "own loss": sgd.Problem(mlp, Dataset(X, Y2), cube),
    }


@pytest.fixture(params=problems())
def problem(request):
    return problems()[request.param]


def somewhere(problem, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=problem.parameters.shape))


# --- losses ---------------------------------------------------------------------------------------------------


def test_squared_error_is_half_the_square_summed_over_outputs():
    W = jnp.asarray(RNG.normal(size=(2, 3)))
    two = sgd.Problem(sgd.networks.Linear(3, 2), Dataset(X, Y2))
    one = sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1))
    column = sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1[:, None]))
    assert jnp.allclose(two.loss(W.ravel()), np.sum((X @ W.T - Y2) ** 2) / 14, rtol=1e-13)
    assert jnp.allclose(one.loss(W[0]), np.sum((X @ W[0] - Y1) ** 2) / 14, rtol=1e-13)
    assert jnp.array_equal(one.loss(W[0]), column.loss(W[0]))


def test_cross_entropy_of_a_class_is_that_of_its_one_hot_vector():
    f, classes = jnp.array([0.3, -1.0, 2.0]), jnp.eye(3)
    expected = -np.log(np.exp(f) / np.exp(f).sum())
    for k in range(3):
        assert jnp.allclose(sgd.cross_entropy(f, jnp.array(k)), expected[k], rtol=1e-13)
        assert jnp.allclose(sgd.cross_entropy(f, classes[k]), expected[k], rtol=1e-13)


@pytest.mark.parametrize("target", [3, -1, -3, 100])
def test_cross_entropy_of_a_class_that_is_not_there_is_nan(target):
    assert jnp.isnan(sgd.cross_entropy(jnp.zeros(3), jnp.array(target)))
    assert jnp.isnan(jax.jit(sgd.cross_entropy)(jnp.zeros(3), jnp.array(target)))


def test_other_data_can_be_asked_for(problem):
    θ = somewhere(problem)
    part = problem.data.take(jnp.array([0, 2]), KEY)
    if isinstance(problem.data, Dataset):
        assert jnp.allclose(problem.loss(θ, part), problem.example_losses(θ)[jnp.array([0, 2])].mean(), rtol=1e-13)
    assert jnp.allclose(problem.gradient(θ, part), problem.example_gradients(θ, part).mean(0), atol=1e-13)


# --- derivatives ----------------------------------------------------------------------------------------------


def test_gradient_is_the_mean_of_the_examples(problem):
    θ = somewhere(problem)
    assert jnp.allclose(problem.loss(θ), problem.example_losses(θ).mean(), rtol=1e-13)
    assert jnp.allclose(problem.gradient(θ), problem.example_gradients(θ).mean(axis=0), rtol=1e-12, atol=1e-13)


def test_weighted_gradient_is_the_weighted_sum_of_the_examples(problem):
    θ, a = somewhere(problem), jnp.asarray(RNG.normal(size=7))
    assert jnp.allclose(problem.weighted_gradient(θ, a), a @ problem.example_gradients(θ), rtol=1e-12, atol=1e-13)


def test_derivatives_are_those_of_finite_differences(problem):
    θ, h = somewhere(problem), 1e-4
    for direction in np.random.default_rng(1).normal(size=(2, θ.size)) / np.sqrt(θ.size):
        forward, back = θ + h * direction, θ - h * direction
        slope = (problem.loss(forward) - problem.loss(back)) / (2 * h)
        bend = (problem.gradient(forward) - problem.gradient(back)) / (2 * h)
        # errors: h² × a third derivative (10 is generous), and rounding 1e-16/h
        assert jnp.allclose(problem.gradient(θ) @ direction, slope, atol=100 * h**2)
        assert jnp.allclose(problem.hessian(θ) @ direction, bend, atol=100 * h**2)


def test_regressions_hessian_is_the_inputs_covariance_for_each_output():
    H = X.T @ X / 7
    problem = problems()["two outputs"]
    assert jnp.allclose(problem.hessian(somewhere(problem)), np.kron(np.eye(2), H), atol=1e-13)


# --- parameters -----------------------------------------------------------------------------------------------


def test_unflatten_is_undone_by_parameters(problem):
    θ = somewhere(problem)
    assert jnp.array_equal(sgd.Problem(problem.unflatten(θ), problem.data, problem.example_loss).parameters, θ)


def test_layers_come_in_order_each_row_by_row():
    network = problems()["mlp"].unflatten(jnp.arange(26.0))
    (W1, b1), (W2, b2) = ((layer.weight, layer.bias) for layer in network.layers)
    assert jnp.array_equal(W1, np.arange(12.0).reshape(4, 3)) and jnp.array_equal(b1, np.arange(12.0, 16))
    assert jnp.array_equal(W2, np.arange(16.0, 24).reshape(2, 4)) and jnp.array_equal(b2, [24.0, 25.0])


def test_a_wrong_number_of_parameters_is_refused():
    with pytest.raises(ValueError, match="θ has 4 entries, but the network has 3"):
        problems()["one output"].loss(jnp.zeros(4))


# --- minima ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_minimum_of_regression_is_least_squares_or_ridge(decay):
    problem = problems()["one output"]
    expected = np.linalg.solve(X.T @ X / 7 + decay * np.eye(3), X.T @ Y1 / 7)
    assert jnp.allclose(problem.minimum(decay), expected, rtol=1e-11)
    assert jnp.allclose(problem.minimum(decay, start=somewhere(problem)), expected, rtol=1e-11)


def test_the_minimum_with_too_few_samples_has_minimum_norm():
    problem = sgd.Problem(sgd.networks.Linear(7, 1), Dataset(X.T, Y1[:3]))
    expected = np.linalg.pinv(X.T) @ Y1[:3]
    assert jnp.allclose(problem.minimum(), expected, rtol=1e-10, atol=1e-12)
    start = somewhere(problem)
    nearest = expected + start - np.linalg.pinv(X.T) @ X.T @ start
    assert jnp.allclose(problem.minimum(start=start), nearest, rtol=1e-10, atol=1e-12)


@pytest.mark.long
def test_the_minimum_of_an_mlp_is_a_minimum():
    x = RNG.normal(size=(40, 2))
    y = np.tanh(x @ [1.0, -1.0]) + 0.3 * RNG.normal(size=40)
    problem = sgd.Problem(sgd.networks.MLP((2, 2, 1), key=KEY), Dataset(x, y))
    θ = problem.minimum(weight_decay=0.05)
    assert jnp.linalg.norm(problem.gradient(θ) + 0.05 * θ) < 2e-10 * (1 + jnp.linalg.norm(problem.gradient(θ * 0)))
    assert jnp.linalg.eigvalsh(problem.hessian(θ)).min() + 0.05 > 0
    assert problem.loss(θ) + 0.025 * θ @ θ < problem.loss(problem.parameters)


def test_a_minimum_that_is_not_reached_is_an_error():
    with pytest.raises(ValueError, match=r"gradient\| at the end of minimum\(\) = .*steps"):
        problems()["mlp"].minimum(steps=1)
    with pytest.raises(ValueError, match=r"weight_decay = -1.0"):
        problems()["mlp"].minimum(-1.0)


def test_a_minimum_takes_a_traced_weight_decay():
    problem = problems()["one output"]
    assert jnp.allclose(
        jax.jit(lambda decay: problem.minimum(decay))(jnp.asarray(0.1)), problem.minimum(0.1), rtol=1e-12
    )


# --- populations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [sgd.networks.Linear(3, 2), sgd.networks.DeepLinear((3, 4, 2), key=KEY)])
def test_a_populations_loss_and_gradient_are_the_means_of_samples(network):
    teacher = Teacher(RNG.normal(size=(2, 3)), 0.8)
    problem = sgd.Problem(network, teacher)
    θ, n = somewhere(problem), 40_000
    sample = teacher.sample(KEY, n)
    losses, gradients = problem.example_losses(θ, sample), problem.example_gradients(θ, sample)
    z = (problem.loss(θ) - losses.mean()) / (losses.std() / np.sqrt(n))
    scores = (problem.gradient(θ) - gradients.mean(0)) / (gradients.std(0) / np.sqrt(n))
    assert abs(z) < 6 and jnp.abs(scores).max() < 6  # false alarm 2e-9 each
    without_labels = (problem.loss(θ) - 0.8**2 - losses.mean()) / (losses.std() / np.sqrt(n))
    assert abs(without_labels) > 6


def test_a_population_without_closed_form_is_a_fixed_sample():
    problem = sgd.Problem(sgd.networks.MLP((3, 4, 2), key=KEY), Teacher(RNG.normal(size=(2, 3)), 0.4))
    θ = somewhere(problem)
    assert problem.example_losses(θ).shape == (10_000,)
    assert jnp.array_equal(problem.loss(θ), problem.loss(θ))
    assert jnp.allclose(problem.loss(θ), problem.example_losses(θ).mean(), rtol=1e-13)


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network, y, message",
    [
        (sgd.networks.Linear(4, 1), Y1, r"the network cannot be applied to an input of shape \(3,\)"),
        (sgd.networks.Linear(3, 2), Y1, r"y has shape \[samples\], .*\[samples, 2\]. Give y one column"),
        (sgd.networks.Linear(3, 1), Y2, r"y has shape \[samples, 2\], .*\[samples, 1\]. Give y one column"),
        (sgd.networks.Linear(3, 2), np.arange(7) % 2, r"one column .*classes, use loss=sgdynamics.cross_entropy"),
    ],
)
def test_networks_and_data_that_do_not_fit_are_refused(network, y, message):
    with pytest.raises(ValueError, match=message):
        sgd.Problem(network, Dataset(X, y))


@pytest.mark.parametrize("y", [Y1, np.eye(2)[np.arange(7) % 2].astype(int), Y2[:, :1]])
def test_cross_entropy_wants_classes_or_probabilities(y):
    with pytest.raises(ValueError, match=r"y has shape \[samples(, \d)?\] and.*classes.*probabilities \[samples, 2\]"):
        sgd.Problem(sgd.networks.Linear(3, 2), Dataset(X, y), sgd.cross_entropy)


@pytest.mark.parametrize(
    "outputs, y, message",
    [
        (3, [0, 1, 2, 3, 0, 1, 2], r"y holds the class 3.*outputs = 3.*0 … 2.*from 0.*one output per class"),
        (3, [0, 1, 2, -1, 0, 1, 9], r"y holds the class -1.*0 … 2"),
        (
            1,
            [0, 1, 0, 1, 0, 1, 0],
            r"the class 1.*outputs = 1.*needs one output per class; for two classes use two",
        ),
    ],
)
def test_classes_that_no_output_stands_for_are_refused(outputs, y, message):
    network = sgd.networks.Linear(3, outputs)
    with pytest.raises(ValueError, match=message):
        sgd.Problem(network, Dataset(X, np.array(y)), sgd.cross_entropy)
    # what is traced cannot be read: it is nan
    loss = lambda y: sgd.Problem(network, Dataset(X, y), sgd.cross_entropy).loss(jnp.zeros(3 * outputs))
    assert jnp.isnan(jax.jit(loss)(jnp.array(y)))
    assert jnp.allclose(jax.jit(loss)(jnp.zeros(7, int)), np.log(outputs), rtol=1e-13)


def test_a_loss_is_a_scalar():
    with pytest.raises(ValueError, match=r"loss has shape \(2,\)"):
        sgd.Problem(sgd.networks.Linear(3, 2), Dataset(X, Y2), lambda f, y: (f - y) ** 2)


def test_data_and_parameters_must_be_there(without_type_checks):
    with pytest.raises(ValueError, match=r"data is a tuple, .* Give sgdynamics.data.Dataset\(x, y\)"):
        sgd.Problem(sgd.networks.Linear(3, 1), (X, Y1))
    with pytest.raises(ValueError, match=r"^loss = 'mse', .*squared_error"):
        sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1), loss="mse")
    with pytest.raises(ValueError, match="nothing to train"):
        _ = sgd.Problem(eqx.nn.Identity(), Dataset(X, X)).parameters


@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_a_teacher_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match=r"Teacher whose matrix has shape .* widths"):
        sgd.Problem(sgd.networks.DeepLinear((3, 4, 2), key=KEY), Teacher(np.ones(shape), 0.0))


# --- minima of larger networks ------------------------------------------------------------------------------


def larger(samples):
    x, y = np.random.default_rng(samples).normal(size=(2, samples, 10))
    return sgd.Problem(sgd.networks.MLP((10, 19, 1), key=jax.random.key(1)), sgd.data.Dataset(x, y[:, 0]))


@pytest.mark.long
@pytest.mark.parametrize("samples, newton", [(15, True), (16, False)])
def test_a_larger_network_descends_before_newton(samples, newton, monkeypatch):
    """229 parameters: L-BFGS first, and alone where the Hessian is not built."""
    problem = larger(samples)
    if not newton:
        monkeypatch.setattr(_problem, "DENSE_HESSIAN_LIMIT", 100)
        monkeypatch.setattr(_problem, "newton", None)
    θ = problem.minimum(0.05)
    gradient = lambda θ: problem.gradient(θ) + 0.05 * θ
    assert jnp.linalg.norm(gradient(θ)) <= 1e-10 * (1 + jnp.linalg.norm(gradient(problem.parameters)))
    lowest = jnp.linalg.eigvalsh(problem.hessian(θ) + 0.05 * jnp.eye(229))[0]
    assert lowest > -1e-9
    with pytest.raises(ValueError, match=r"\|gradient\| at the end of minimum\(\)"):
        problem.minimum(0.05, steps=0)


def test_a_large_regression_descends(monkeypatch):
    monkeypatch.setattr(_problem, "DENSE_HESSIAN_LIMIT", 4)
    x, y = np.random.default_rng(3).normal(size=(2, 12, 5))
    problem = sgd.Problem(sgd.networks.Linear(5, 1), sgd.data.Dataset(x, y[:, 0]))
    np.testing.assert_allclose(problem.minimum(), np.linalg.lstsq(x, y[:, 0])[0], rtol=1e-7)


def test_products_with_the_hessian_are_the_hessians():
    problem = larger(15)
    θ = problem.parameters
    H = jax.jit(jax.hessian(problem.loss))(θ)
    np.testing.assert_allclose(eqx.filter_jit(problem.hessian)(θ), H, atol=1e-13)  # more than HESSIAN_CHUNK parameters
    v = jnp.cos(jnp.arange(229.0))
    np.testing.assert_allclose(problem.hessian_product(θ, v), H @ v, atol=1e-12)
    h, V = np.linalg.eigh(H)
    found = problem.leading_modes(θ, 4, weight_decay=0.1)
    np.testing.assert_allclose(found.values, h[::-1][:4] + 0.1, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * V[:, ::-1][:, :4], axis=0)), 1, rtol=1e-8)
    assert np.max(found.residuals) < 1e-8 * h[-1]


def test_a_minimum_has_the_derivatives_of_the_implicit_function():
    problem = sgd.Problem(sgd.networks.MLP((3, 2, 1), key=KEY), Dataset(X, Y1))
    start = problem.minimum(0.03)  # from afar small changes can lead into another basin

    def of(decay, y):
        return jnp.sum(jnp.sin(sgd.Problem(problem.network, Dataset(X, y)).minimum(decay, start=start)))

    v, h = jnp.cos(jnp.arange(7.0)), 1e-5
    slopes = jax.grad(of, argnums=(0, 1))(0.03, jnp.asarray(Y1))
    np.testing.assert_allclose(slopes[0], (of(0.03 + h, Y1) - of(0.03 - h, Y1)) / (2 * h), rtol=1e-4)
    np.testing.assert_allclose(slopes[1] @ v, (of(0.03, Y1 + h * v) - of(0.03, Y1 - h * v)) / (2 * h), rtol=1e-4)
    np.testing.assert_allclose(jax.jvp(lambda d: of(d, Y1), (0.03,), (1.0,))[1], slopes[0], rtol=1e-9)
