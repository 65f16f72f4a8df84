"""Data sets, label noise, teachers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics.data import Dataset, FreshLabels, Teacher, digits, teacher_student
from sgdynamics.data._digits import _target

KEY = jax.random.key(0)
X, Y = np.arange(12.0).reshape(4, 3), np.arange(4.0)
FALSE_ALARM = 1e-6


def test_a_data_set_keeps_its_arrays():
    data = Dataset(X, Y)
    assert data.samples == 4
    assert jnp.array_equal(data.x, X) and jnp.array_equal(data.y, Y)


def test_take_gives_the_examples_at_the_indices_with_repeats():
    batch = Dataset(X, Y).take(jnp.array([2, 0, 2]), KEY)
    assert jnp.array_equal(batch.x, X[[2, 0, 2]]) and jnp.array_equal(batch.y, Y[[2, 0, 2]])


@pytest.mark.parametrize(
    "x, y, message",
    [
        (X[:, 0], Y, r"x has shape \(4,\).*\[samples, inputs\]"),
        (X, Y[:3], r"y has shape \(3,\).*4 samples"),
        (X, np.array(1.0), "y has shape"),
        (X[:0], Y[:0], "x has 0 samples"),
        (np.where(X == 5, np.nan, X), Y, "x = .*1 non-finite.*must be finite. Drop"),
        (X, np.where(Y == 3, np.inf, Y), "y = .*must be finite"),
    ],
)
def test_bad_data_are_refused_by_name(x, y, message):
    with pytest.raises(ValueError, match=message):
        Dataset(x, y)


def test_a_split_is_a_partition():
    train, test = Dataset(X, Y).split(KEY, 3)
    assert (train.samples, test.samples) == (3, 1)
    assert sorted([*train.y.tolist(), *test.y.tolist()]) == Y.tolist()
    assert jnp.array_equal(train.x[:, 0], 3 * train.y)  # rows stay with their labels


@pytest.mark.parametrize("samples", [0, 4, -1])
def test_a_split_leaves_something_on_both_sides(samples):
    with pytest.raises(ValueError, match=f"samples = {samples}"):
        Dataset(X, Y).split(KEY, samples)


def test_fresh_labels_have_the_stated_noise_anew_for_each_key():
    data = FreshLabels(Dataset(X, Y), 0.5)
    indices = jnp.zeros(20_000, int)
    first, again, other = (data.take(indices, jax.random.key(k)).y for k in (1, 1, 2))
    assert jnp.array_equal(first, again) and not jnp.any(first == other)
    scaled = np.asarray((first - Y[0]) / 0.5)
    assert stats.kstest(scaled, "norm").pvalue > FALSE_ALARM
    assert stats.kstest(scaled * 0.9, "norm").pvalue < FALSE_ALARM  # a wrong variance is seen
    assert jnp.array_equal(data.clean().y, Y)


def test_label_noise_is_a_non_negative_float_on_float_labels():
    with pytest.raises(ValueError, match=r"label_noise_std = -1.0.*≥ 0"):
        FreshLabels(Dataset(X, Y), -1.0)
    with pytest.raises(ValueError, match="y has dtype int64"):
        FreshLabels(Dataset(X, Y.astype(int)), 1.0)


def test_a_teacher_streams_its_law():
    M = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]])
    batch = Teacher(M, 0.3).sample(KEY, 20_000)
    assert batch.x.shape == (20_000, 3) and batch.y.shape == (20_000, 2)
    noise = np.asarray(batch.y - batch.x @ M.T)
    for numbers in (batch.x.ravel(), noise.ravel() / 0.3):
        assert stats.kstest(np.asarray(numbers), "norm").pvalue > FALSE_ALARM
    # x and noise independent: correlations of n pairs have standard deviation 1/√n
    z = np.asarray(batch.x).T @ noise / 0.3 / np.sqrt(20_000)
    assert np.abs(z).max() < stats.norm.isf(FALSE_ALARM / 2 / 6)


@pytest.mark.parametrize("matrix, std", [(np.full((2, 2), np.nan), 0.1), (np.eye(2), -0.1), (np.eye(2), np.nan)])
def test_a_teacher_refuses_bad_numbers(matrix, std):
    with pytest.raises(ValueError, match=r"matrix|label_noise_std"):
        Teacher(matrix, std)


def test_teacher_student_inputs_have_variance_one_over_inputs():
    data = teacher_student(KEY, samples=400, inputs=50, label_noise_std=0.0)
    assert data.x.shape == (400, 50) and data.y.shape == (400,)
    assert stats.kstest(np.asarray(data.x).ravel() * np.sqrt(50), "norm").pvalue > FALSE_ALARM


def test_teacher_student_labels_are_the_teachers_plus_noise():
    u = np.arange(6.0).reshape(2, 3)
    exact = teacher_student(KEY, samples=2_000, inputs=3, outputs=2, teacher=u, label_noise_std=0.0)
    noisy = teacher_student(KEY, samples=2_000, inputs=3, outputs=2, teacher=u, label_noise_std=0.5)
    assert jnp.allclose(exact.y, exact.x @ u.T, rtol=1e-14) and jnp.array_equal(exact.x, noisy.x)
    assert stats.kstest(np.asarray(noisy.y - exact.y).ravel() / 0.5, "norm").pvalue > FALSE_ALARM
    one = teacher_student(KEY, samples=5, inputs=3, teacher=u[0], label_noise_std=0.0)
    assert jnp.allclose(one.y, one.x @ u[0], rtol=1e-14)


def test_teacher_student_takes_a_singular_input_covariance():
    C = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    x = np.asarray(teacher_student(KEY, samples=20_000, inputs=3, label_noise_std=0.0, input_covariance=C).x)
    assert np.all(x[:, 2] == 0)
    # Wishart: var of an entry of the sample covariance is (C_ii C_jj + C_ij²)/n
    error = np.sqrt((np.outer(C.diagonal(), C.diagonal()) + C**2) / 20_000)[:2, :2]
    z = ((x.T @ x / 20_000 - C)[:2, :2]) / error
    assert np.abs(z).max() < stats.norm.isf(FALSE_ALARM / 2 / 3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"samples": 0}, "samples = 0"),
        ({"inputs": -2}, "inputs = -2"),
        ({"outputs": -1}, "outputs = -1"),
        ({"label_noise_std": -0.1}, "label_noise_std = -0.1"),
        ({"label_noise_std": float("nan")}, "label_noise_std = nan"),
        ({"teacher": np.ones(4)}, r"teacher has shape \(4,\).*\(1, 3\)"),
        ({"input_covariance": np.eye(4)}, r"input_covariance has shape \(4, 4\)"),
        ({"input_covariance": np.diag([1.0, 1.0, -1.0])}, "input_covariance = .*positive semidefinite"),
    ],
)
def test_teacher_student_refuses_bad_arguments(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        teacher_student(KEY, **{"samples": 5, "inputs": 3, "label_noise_std": 0.1, **options})


def test_digits_are_centred_with_total_variance_one():
    data = digits()
    assert data.samples == 1797
    assert jnp.abs(data.x.mean(axis=0)).max() < 1e-14 and abs(data.y.mean()) < 1e-14
    assert jnp.allclose(data.x.var(axis=0), 1 / data.x.shape[1], rtol=1e-12)
    assert set(np.round(np.asarray(data.y - data.y.min()), 12)) == {0.0, 2.0}
    assert digits("class").y.shape == (1797, 10)
    assert len(set(np.asarray(digits("value").y).tolist())) == 10


def test_digits_name_their_targets():
    with pytest.raises(ValueError, match="'parity', 'value', 'class'"):
        _target(np.arange(3), "colour")


def test_a_teacher_has_the_singular_values_it_was_given():
    teacher = Teacher.of_singular_values(key=KEY, label_noise_std=0.3)
    s = np.linalg.svd(np.asarray(teacher.matrix), compute_uv=False)
    assert np.allclose(s, [1.0, 0.7, 0.4] + 9 * [0.0], atol=1e-14)
    assert Teacher.of_singular_values([2.0], key=KEY, inputs=3, outputs=5).matrix.shape == (5, 3)


def test_a_teachers_population_loss_and_gradient_are_those_of_many_examples():
    teacher, W = Teacher(np.array([[1.0, -2.0, 0.5], [0.3, 0.0, 1.0]]), 0.7), jnp.ones((2, 3))
    batch = teacher.sample(KEY, 200_000)
    losses = np.asarray(jnp.sum((batch.y - batch.x @ W.T) ** 2, axis=1)) / 2
    error = losses.std() / np.sqrt(len(losses))
    assert abs(losses.mean() - teacher.population_loss(W)) < 5 * error < 0.1
    assert jnp.allclose(jax.grad(teacher.population_loss)(W), teacher.population_gradient(W), atol=1e-14)


@pytest.mark.parametrize("values", [[1.0] * 4, [-1.0], np.ones((1, 1)), [np.inf]])
def test_impossible_singular_values_are_refused(values):
    with pytest.raises(ValueError, match="singular_values"):
        Teacher.of_singular_values(values, key=KEY, inputs=3)
