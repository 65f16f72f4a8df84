"""First corrections to the continuum against the exact laws at small learning rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.theory import regression


@pytest.fixture(scope="module")
def examples():
    return sgd.data.teacher_student(jax.random.key(5), samples=12, inputs=4, label_noise_std=0.5)


def second_order(examples, form, replacement, η=1e-3):
    """(M(η)/η − M₁)/η for η → 0, by Richardson's extrapolation."""

    def quotient(η):
        law = lambda form: regression.stationary_covariance(
            examples.x, examples.y, learning_rate=η, batch_size=3, form=form, replacement=replacement
        )
        return (law(form) - law("lyapunov")) / η**2

    return 2 * quotient(η / 2) - quotient(η)


@pytest.mark.parametrize("replacement", [True, False])
def test_corrections_are_those_of_the_three_laws(examples, replacement):
    M, D, K = regression.continuum_corrections(examples.x, examples.y, batch_size=3, replacement=replacement)
    frozen = regression.stationary_covariance(
        examples.x, examples.y, learning_rate=1.0, batch_size=3, form="lyapunov", replacement=replacement
    )
    np.testing.assert_allclose(M, frozen, rtol=1e-10)
    for form, expected in (("additive", D), ("multiplicative", K), ("exact", D + K)):
        found = second_order(examples, form, replacement)
        np.testing.assert_allclose(found, expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_discrete_time_mode_by_mode(examples):
    M, D, _ = regression.continuum_corrections(examples.x, examples.y, batch_size=1)
    h, V = np.linalg.eigh(np.asarray(regression.hessian(examples.x)))
    ratio = np.outer(h, h) / np.add.outer(h, h)
    np.testing.assert_allclose(V.T @ np.asarray(D) @ V, ratio * (V.T @ np.asarray(M) @ V), rtol=1e-9, atol=1e-14)
