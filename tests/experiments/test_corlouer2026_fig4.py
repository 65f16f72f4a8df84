"""Fig. 4 at a tiny size; the linear map and the dense root against independent oracles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, noise, plotting, samplers
from sgdynamics.experiments import _store
from sgdynamics.experiments._students import Paths
from sgdynamics.experiments.corlouer2026 import _collapse, _fig4
from sgdynamics.experiments.corlouer2026._matrix_root import EigenRoot
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig4.Fig4Config(
        singular_values=(1.0, 0.6), width=3, learning_rate=0.02, batch_size=4, replicas=512, time=20.0, records=20,
        early=2.0,
        jitters=(1e-2,), jitter_replicas=64, root_width=2, root_replicas=8,
    )  # fmt: skip
    return _fig4.run(config, experiments.Silence())


def test_verdicts(result):
    verdicts = {claim.id: claim.verdict for claim in result.claims}
    assert {id for id in verdicts if id.endswith("/published")} == {"small starts/SDE/a width/published"}
    assert {id for id in verdicts if id.endswith("/control")} == {
        "near/SGD/one mode alone/control", "near/SDE/one mode alone/control", "isotropic/variance η/control",
    }  # fmt: skip
    assert "stopped early/SGD/a width" in verdicts
    assert not [(claim.id, claim.measured, claim.standard_error) for claim in result.claims if not claim.as_expected]


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    assert len(plotting.draw("corlouer2026/fig4", result.data).axes) == 2


def test_the_linear_map_is_the_second_moment_of_one_step():
    rng = np.random.default_rng(0)
    κ, δ, η, b = np.array([2.0, 1.5, 1.0]), np.array([0.3, 0.0, 0.0]), 0.1, 2
    x = rng.standard_normal((400_000, b, 3))
    moved = δ - η * np.einsum("nbi,i,nbj->nj", x, δ, x) / b * κ
    expected = _collapse.mean_squares(κ, 0.09, η / b, η, np.array([1]))[0]
    np.testing.assert_allclose((moved**2).mean(axis=0), expected, rtol=0.01)


def test_the_map_without_noise_is_gradient_descent():
    p = _collapse.mean_squares(np.array([2.0, 1.0]), 1.0, 0.0, 0.1, np.array([0, 1, 3]))
    np.testing.assert_allclose(p, [[1, 0], [0.8**2, 0], [0.8**6, 0]], rtol=1e-12)


def test_the_dense_root_has_the_covariance_of_the_noise():
    student = _collapse.student((1.0, 0.6), 3, 2, 0.1, 2, 0)
    exact = noise.OnlineLinear(student.problem, samplers.Online(2))
    θ = _collapse.small(student, 1.0, 0, 2)[0]
    B = jax.vmap(lambda z: EigenRoot(exact).apply(θ, z))(jnp.eye(len(θ))).T
    C = np.asarray(exact.covariance(θ))
    np.testing.assert_allclose(B @ B.T, C, atol=1e-12 * C.max())


def test_the_first_row_is_that_of_the_cross_amplitudes():
    student = _collapse.student((1.0, 0.6, 0.3), 3, 3, 0.1, 1, 0)
    θ = _collapse.small(student, 1.0, 0, 2)
    row = _collapse.first_row(Paths(student, np.zeros(1), np.asarray(θ)[None], {}))
    for one, flat in zip(row[0], θ, strict=True):
        X = deep_linear.cross_mode_amplitudes(student.weights(flat), student.teacher.matrix)
        np.testing.assert_allclose(one, np.asarray(X)[0] * [1, *np.sign(one[1:] * X[0, 1:])] - [1, 0, 0], atol=1e-12)


def test_spread_averages_to_the_unbiased_variance():
    values = np.asarray(jax.random.normal(jax.random.key(0), (3, 7)))
    np.testing.assert_allclose(_collapse.spread(values).mean(axis=-1), values.var(axis=-1, ddof=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("replicas", 1), ("jitters", (0.0,)), ("early", 99.0), ("jitter_replicas", 999), ("root_width", 2), ("depth", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig4.Fig4Config(**{field: value})
