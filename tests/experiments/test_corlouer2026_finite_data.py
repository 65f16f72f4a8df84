"""Finite data sets at a tiny size: verdicts, what is stored and drawn, and every formula against an oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import SGD, Problem, experiments, plotting, samplers, simulate
from sgdynamics.data import Teacher
from sgdynamics.experiments import _store
from sgdynamics.experiments._compiled import once
from sgdynamics.experiments.corlouer2026 import _finite_claims, _finite_data, _finite_population, _finite_sets
from sgdynamics.networks import DeepLinear
from sgdynamics.statistics import Snapshots
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _finite_data.FiniteDataConfig(
        sizes=(100, 1_000), singular_values=(1.0, 0.6), width=4, hidden=3, exponent=3.0, amplitude=0.05,
        batch_size=50, large_batch=50,  # the same: fewer programs
        replicas=8, time=20.0, records=40, data_sets=64, flow_records=140,
    )  # fmt: skip
    return _finite_data.run(config, experiments.Silence())


def test_verdicts(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    printed = {id for id in verdicts if id.endswith("/published")}
    assert printed == {"population/line between/published", "population/pairs/published"}
    assert {verdicts[id] for id in printed} == {"not reproduced"}
    exact = [id for id in verdicts if id.startswith("population/") and id not in printed]
    assert {verdicts[id] for id in exact} == {"reproduced"}
    assert verdicts["label noise/b = N/no noise"] == "reproduced"
    assert verdicts["label noise/epochs/the teacher/control"] == "reproduced"
    assert len([id for id in verdicts if id.endswith("/control")]) == 6
    # few data sets and replicas may leave a claim undecided, but contradict none
    assert {id for id in verdicts if verdicts[id] == "not reproduced"} == printed


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("corlouer2026/finite_data", result.data)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["N = 100", "N = 1,000"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("sizes", (100,)), ("sizes", (10, 100)), ("population", 3), ("label_noise_std", 0.0), ("learned", 1.0)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _finite_data.FiniteDataConfig(**{field: value})


@pytest.fixture(scope="module")
def case():
    teacher = Teacher.of_singular_values((1.0, 0.6), key=jax.random.key(1), inputs=3, outputs=4, label_noise_std=0.3)
    network = DeepLinear((3, 2, 4), key=jax.random.key(2))
    return teacher, network, teacher.sample(jax.random.key(3), 30)


def test_variance_along_a_mode_is_that_of_the_examples_gradients(case):
    teacher, network, data = case
    problem = Problem(network, data)
    a = once(deep_linear.mode_sensitivities)(network.weights, teacher.matrix)[:2]
    expected = np.var(np.asarray(problem.example_gradients(problem.parameters) @ a.T), axis=0)
    measured = _finite_sets.example_variance(network.matrix(), _finite_sets.tangents(network.weights, teacher, 2), data)
    np.testing.assert_allclose(measured, expected, rtol=1e-10)


def test_descent_is_full_batch_sgd(case):
    _, network, data = case
    problem = Problem(network, data)
    path = _finite_sets.descent(_finite_sets.Moments.of(data), network.weights, 0.05, 2, 5)
    dynamics = SGD(problem, learning_rate=0.05, sampler=samplers.FullBatch())
    kept = simulate(
        dynamics, Snapshots((0, 5, 10), allow_large=True), key=jax.random.key(0), replicas=1, steps=10, every=5,
        initial=problem.parameters, dtype=jnp.float64,
    ).estimates.values  # fmt: skip
    flat = jnp.concatenate([W.reshape(3, -1) for W in path], axis=1)
    np.testing.assert_allclose(flat, np.asarray(kept)[:, 0], rtol=1e-10)


def test_kurtosis_of_the_quadratic_form(case):
    teacher, network, _ = case
    clean = Teacher(teacher.matrix, 0.0).sample(jax.random.key(4), 200_000)
    gap = clean.y - clean.x @ network.matrix().T
    z = np.einsum("no,aoi,ni->na", gap, once(_finite_sets.tangents)(network.weights, teacher, 2), clean.x)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    kurtosis = once(_finite_sets.excess_kurtosis)(network.weights, teacher, 2)
    np.testing.assert_allclose(kurtosis, (z**4).mean(axis=0) - 3, rtol=0.15)


def test_least_squares_of_all_ranks_and_of_fewer(case):
    _, _, data = case
    moments, x, y = _finite_sets.Moments.of(data), np.asarray(data.x), np.asarray(data.y)
    full = np.linalg.lstsq(x, y)[0].T
    np.testing.assert_allclose(_finite_sets.least_squares(moments, 3), full, rtol=1e-10)
    # the fitted labels of the best map of rank 2 are the fitted labels' best approximation of rank 2
    U, s, Vt = np.linalg.svd(x @ full.T, full_matrices=False)
    fitted = x @ np.asarray(_finite_sets.least_squares(moments, 2)).T
    np.testing.assert_allclose(fitted, (U[:, :2] * s[:2]) @ Vt[:2], atol=1e-10)


def test_the_count_of_batches():
    g = np.array([[0.0], [1.0], [3.0]])
    # batches of two: means 0.5, 1.5, 2
    np.testing.assert_allclose(_finite_population.counted_covariance(g, 2), np.var([0.5, 1.5, 2.0]))
    assert _finite_population.counted_pairs(3, 2) == pytest.approx(1 / 3)


def test_slope():
    x = np.random.default_rng(0).normal(size=(50, 2))
    fit = _finite_claims.slope(x, 3 * x)
    assert float(fit.value) == pytest.approx(3)
    assert float(fit.standard_error) == pytest.approx(0, abs=1e-12)
