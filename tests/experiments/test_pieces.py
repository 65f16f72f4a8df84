"""What experiments share: averages over data, cheap compilation, the line between two laws, described variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import sgdynamics as sgd
from sgdynamics.experiments import _between, _compiled, _ensembles, _realisations, _regression, _variables
from sgdynamics.experiments._claims import Claim, evidence
from sgdynamics.statistics import Covariance
from sgdynamics.theory import regression


def test_the_error_over_realisations_is_that_of_their_scatter():
    values = np.random.default_rng(0).normal(size=(50, 3))
    estimate = _realisations.over_realisations(values)
    np.testing.assert_allclose(estimate.value, values.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(estimate.standard_error, values.std(axis=0, ddof=1) / np.sqrt(50), rtol=1e-14)
    assert int(estimate.degrees_of_freedom) == 49
    first = estimate.map(lambda v: 2 * v[0] + 1)
    np.testing.assert_allclose(first.standard_error, 2 * estimate.standard_error[0], rtol=1e-12)
    with pytest.raises(ValueError, match="realisations = 1"):
        _realisations.over_realisations(values[:1])


def test_a_difference_of_independent_estimates_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(2, 1, 5), rng.normal(0, 3, 40)
    found = _realisations.difference(*map(_realisations.over_realisations, (a, b)))
    expected = stats.ttest_ind(a, b, equal_var=False)
    measured, error, ν = (float(found[name]) for name in ("measured", "standard_error", "degrees_of_freedom"))
    np.testing.assert_allclose((measured, measured / error, ν), (a.mean() - b.mean(), expected.statistic, expected.df))
    # exact values: no error, and no division by zero
    exact = _realisations.difference(*(_realisations.over_realisations(np.full(4, v)) for v in (3.0, 1.0)))
    assert (exact["measured"], exact["standard_error"]) == (2.0, 0.0)


def test_each_is_the_function_of_every_key():
    keys = jax.random.split(jax.random.key(1), 5)
    draw = lambda key: jax.random.normal(key, (2,))
    expected = np.stack([draw(key) for key in keys])
    for batch in (1, 2):
        np.testing.assert_allclose(_realisations.each(draw, keys, batch=batch), expected, rtol=1e-12)


def test_once_is_the_function_inside_a_program_and_outside():
    calls = []

    @_compiled.once
    def scaled(x, *, by):
        calls.append(by)
        return by * x

    np.testing.assert_array_equal(scaled(jnp.arange(3.0), by=2), [0, 2, 4])
    scaled(jnp.ones(3), by=2)
    assert calls == [2]  # traced once, for all arrays of one shape
    np.testing.assert_array_equal(jax.jit(lambda x: scaled(x, by=3))(jnp.ones(2)), [3, 3])
    assert float(jax.grad(lambda x: scaled(x, by=3.0))(1.0)) == 3


def test_a_law_compiled_once_is_the_law():
    case = _regression.teacher_student(
        jax.random.key(0), samples=12, inputs=4, label_noise_std=0.5, learning_rate=0.1, batch_size=3
    )
    plain = regression.stationary_covariance(case.data.x, case.data.y, learning_rate=0.1, batch_size=3)
    np.testing.assert_allclose(case.law(), plain, rtol=1e-10)
    np.testing.assert_allclose(case.prediction.covariance, plain, rtol=1e-10)
    np.testing.assert_allclose(case.modes @ jnp.diag(case.curvature) @ case.modes.T, case.problem.hessian(case.minimum))
    z = case.modes.T @ plain @ case.modes
    np.testing.assert_allclose(case.along_modes(plain), jnp.diagonal(z), rtol=1e-10)


def test_between_is_0_at_the_wrong_law_1_at_the_right_one_and_linear():
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, 4, 4))
    right, wrong = jnp.asarray(A @ A.T + np.eye(4)), jnp.asarray(B @ B.T)
    for c in (0.0, 0.3, 1.0):
        measured = _realisations.over_realisations(jnp.stack([wrong + c * (right - wrong)] * 3))
        assert float(_between.between(measured, wrong=wrong, right=right).value) == pytest.approx(c, abs=1e-10)
    lopsided = wrong + jnp.asarray([[0, 1.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    measured = _realisations.over_realisations(jnp.stack([right] * 3))
    assert float(_between.between(measured, wrong=lopsided, right=right).value) == pytest.approx(1)


def test_between_sees_less_noise_than_the_trace_does():
    """Sampled covariances of a law whose soft direction alone differs: the least-squares weights find it."""
    right, wrong = jnp.diag(jnp.asarray([100.0, 1.0])), jnp.diag(jnp.asarray([100.0, 1.5]))
    x = np.random.default_rng(1).normal(size=(30, 200, 2)) * np.array([10.0, 1.0])
    measured = _realisations.over_realisations(jnp.einsum("gri,grj->gij", x, x) / 200)
    sharp = _between.between(measured, wrong=wrong, right=right)
    blunt = measured.map(lambda M: (jnp.trace(M) - 101.5) / (101 - 101.5))
    assert float(sharp.standard_error) < float(blunt.standard_error) / 20
    assert abs(float(sharp.value) - 1) < 4 * float(sharp.standard_error)


def test_labels_give_draws_of_their_own():
    key = jax.random.key(0)
    assert jnp.array_equal(
        jax.random.key_data(_ensembles.named(key, "a")), jax.random.key_data(_ensembles.named(key, "a"))
    )
    drawn = {name: float(jax.random.normal(_ensembles.named(key, name))) for name in ("ab", "ba", "a")}
    assert len(set(drawn.values())) == 3  # "ab" and "ba" have the same letters


def test_a_measurement_is_two_described_variables():
    estimate = _realisations.over_realisations(jnp.arange(6.0).reshape(3, 2))
    data = _variables.dataset(
        _variables.measurement("m", "mode", estimate, "variance", "weight²"),
        {"mode": _variables.variable("mode", np.arange(2), "mode")},
    )
    assert data["m"].attrs == {"units": "weight²", "long_name": "variance, measured"}
    assert set(data.data_vars) == {"m", "m_error"} and data["mode"].attrs["units"] == "1"
    assert _variables.variable("", 1.0, "a number")[0] == ()


def test_evidence_is_what_a_claim_takes():
    estimate = _realisations.over_realisations(jnp.array([0.9, 1.0, 1.1, 1.2]))
    claim = Claim.equality("x", "here", "it is 1", **evidence(estimate), expected=1.0, resolution=2.0)
    assert claim.verdict == "reproduced" and claim.degrees_of_freedom == 3
    assert claim.measured == pytest.approx(1.05) and claim.level == 1e-4


def test_an_ensemble_reports_its_stage_and_is_addressed_by_its_label():
    class Heard:
        stages, steps = [], 0

        def stage(self, name, steps):
            self.stages.append((name, steps))

        def advance(self, steps=1):
            self.steps += steps

        def close(self):
            pass

    case = _regression.teacher_student(
        jax.random.key(0), samples=12, inputs=4, label_noise_std=0.5, learning_rate=0.1, batch_size=3
    )
    heard, key, sizes = Heard(), jax.random.key(5), {"replicas": 8, "steps": 16, "every": 8, "groups": 4}
    ensemble = _ensembles.simulate(case.descent(), Covariance(), heard, "SGD", key=key, **sizes)
    plain = sgd.simulate(case.descent(), Covariance(), key=_ensembles.named(key, "SGD"), **sizes)
    assert heard.stages == [("SGD", 16)] and heard.steps == 16
    np.testing.assert_array_equal(ensemble.state.position, plain.state.position)
