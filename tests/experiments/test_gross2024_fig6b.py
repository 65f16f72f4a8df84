"""Fig. 6(b) at a tiny size, and the two measures of an inverse variance-flatness relation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _realisations, _regression, _store
from sgdynamics.experiments.gross2024 import _fig6b, _perturbation

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _fig6b.Fig6bConfig(
        inputs=12, samples=60, learning_rate=0.15, learning_rates=(0.003,), replicas=2048, steps=1000, runs=2,
        realisations=100,
    )  # fmt: skip
    return _fig6b.run(config, experiments.Silence())


def test_the_verdicts(result):
    claims = {claim.id: claim for claim in result.claims}
    decided = ["data set 0/slope", *(f"data set {i}/slope of frozen noise/control" for i in (0, 1))]
    decided += ["no dependence/η = 0.15/published", "data set 0/whole covariance", "data set 1/whole covariance"]
    assert set(decided) <= set(claims) and all(claims[id].as_expected for id in decided)
    # ranks of 12 modes scatter: the others may stay undecided, but must not contradict
    assert all(claim.as_expected or claim.verdict == "undecided" for claim in claims.values())


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    plotting.draw("gross2024/fig6b", result.data)


def test_the_slope_is_least_squares_and_the_rank_correlation_scipys_extremes():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(5, 5))
    M, (k, V) = jnp.asarray(A @ A.T), np.linalg.eigh(A + A.T)
    measured = _realisations.over_realisations(jnp.stack([M, M, M]))
    along = np.einsum("ik,ij,jk->k", V, M, V)
    assert float(_perturbation.slope(measured, V, k).value) == pytest.approx(np.polyfit(k, along, 1)[0], rel=1e-10)
    rising = _perturbation.rank_correlation(np.array([[1.0, 2, 3], [3.0, 2, 1]]), np.array([[4.0, 5, 6], [4.0, 5, 6]]))
    np.testing.assert_allclose(rising.groups, [1, -1])


def test_the_perturbed_loss_is_half_the_curvature():
    case = _regression.teacher_student(
        jax.random.key(0), samples=20, inputs=4, label_noise_std=0.5, learning_rate=0.1, batch_size=3
    )
    variances, curvatures = _perturbation.spectrum(case)
    V, sizes = _perturbation.directions(case.law()), jnp.array([-1.0, 0.5])
    assert np.all(np.diff(variances) <= 0)
    for i in range(4):
        evaluated = _perturbation.perturbed_loss(case, V[:, i], sizes)
        np.testing.assert_allclose(evaluated, sizes**2 * curvatures[i] / 2, rtol=1e-8)


@pytest.mark.parametrize(
    ("field", "value"), [("samples", 40), ("runs", 1), ("learning_rates", (0.1, -1.0)), ("replicas", 0)]
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _fig6b.Fig6bConfig(**{field: value})
