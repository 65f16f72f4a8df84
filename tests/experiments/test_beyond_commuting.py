"""How far from commuting, at a tiny size; the measures and the laws against independent ones."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import experiments, plotting
from sgdynamics.experiments import _store
from sgdynamics.experiments.beyond import _commuting, _commuting_claims, _commuting_laws, _commuting_measures
from sgdynamics.theory import momentum

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = _commuting.CommutingConfig(
        targets=("parity",), networks=(), inputs=6, modes=6, few_groups=5, realisations=4, momenta=(0.0, 0.9),
        rate=1.0, batch_size=64, replicas=512, steps=1000, every=10,
    )  # fmt: skip
    return _commuting.run(config, experiments.Silence())


def test_the_verdicts_of_the_ensembles_are_the_expected_ones(result):
    """Six components of the images are too few to tell what H and Σ are, and for K⁻¹Σ to have a negative eigenvalue:
    nothing else may be contradicted."""
    verdicts = {claim.id: claim for claim in result.claims}
    contradicted = {claim.id for claim in result.claims if not (claim.as_expected or claim.verdict == "undecided")}
    assert contradicted == {"printed/positive/published"}
    for name in ("modes coupled", "turning"):
        assert verdicts[f"momentum = 0.9/{name}"].verdict == "reproduced"
        assert verdicts[f"momentum = 0.9/{name}/published"].verdict == "not reproduced"
    for name in ("phase space", "trace/exact", "first component/exact", "printed/control", "no inertia/control"):
        assert verdicts[f"momentum = 0.9/{name}"].verdict == "reproduced"
    assert verdicts["printed/symmetric/published"].verdict == "not reproduced"
    assert verdicts["printed/variances of modes"].verdict == "reproduced"
    assert verdicts["momentum = 0.9/commuting law, trace"].verdict == "reproduced"


def test_the_error_of_what_is_compared_with_counts():
    of = lambda value, error, groups: SimpleNamespace(
        measured=SimpleNamespace(value=[value], standard_error=[error], degrees_of_freedom=groups)
    )
    found = _commuting_claims._above(of(1.0, 3.0, 11), of(4.0, 8.0, 19), 0, 0.5)
    freedom = (9 + 16) ** 2 / (81 / 11 + 256 / 19)
    assert found == pytest.approx({"measured": -1.0, "standard_error": 5.0, "degrees_of_freedom": freedom})


def test_the_result_is_described_and_drawn(result):
    _store.check_described(result.data)
    figure = plotting.draw("beyond/commuting", result.data)
    assert len(figure.axes) == 7


def test_measures_vanish_where_they_should_and_count_what_does_not_commute():
    H = np.diag([3.0, 1.0])
    np.testing.assert_allclose(_commuting_measures.measures(H, 2 * H, np.eye(2), np.arange(2)), [0, 0, 0, 1, 0],
                               atol=1e-14)  # fmt: skip
    C = np.array([[3.0, 0.5], [0.5, 2.0]])
    c2, angle, share, slope, scatter = _commuting_measures.measures(H, C, np.eye(2), np.arange(2))
    # [H, C] = ((0, 1), (−1, 0)), HC = ((9, 1.5), (0.5, 2))
    assert c2 == pytest.approx(2 / (4 * (81 + 2.25 + 0.25 + 4)))
    assert angle == pytest.approx(1 - 11**2 / (10 * 13.5))
    assert share == pytest.approx(0.5 / 13.5)
    assert (slope, scatter) == pytest.approx((np.log(1.5) / np.log(3), np.log(2) ** 2 / 4))


def test_groups_of_a_network_add_up_to_the_whole():
    x, y = (np.asarray(jax.random.normal(jax.random.key(i), shape)) for i, shape in ((0, (12, 2)), (1, (12, 1))))
    network = sgd.networks.MLP((2, 2, 1), key=jax.random.key(2))
    problem = sgd.Problem(network, sgd.data.Dataset(jnp.asarray(x), jnp.asarray(y)))
    order = np.random.default_rng(0).permutation(12)
    parts = _commuting_measures.of_network(problem, problem.parameters, 3, order)
    H, C = parts.matrices(None)
    np.testing.assert_allclose(H, problem.hessian(problem.parameters), atol=1e-12)
    g = np.asarray(problem.example_gradients(problem.parameters))
    np.testing.assert_allclose(C, np.cov(g.T, bias=True), atol=1e-12)
    assert not np.allclose(parts.matrices(0)[0], H)


@pytest.mark.parametrize("β", [0.0, 0.9])
def test_laws_against_dense_linear_algebra(β):
    x, y = jax.random.normal(jax.random.key(0), (40, 3)), jax.random.normal(jax.random.key(1), (40,))
    case = _commuting_laws.case(sgd.data.Dataset(x, y), rate=0.2, momentum=β, batch_size=16)
    dense = momentum.recursion(np.diag(case.h), case.C, learning_rate=case.η, momentum=β).stationary_covariance()
    general = case.law("general")
    np.testing.assert_allclose(general, dense[:3, :3], rtol=1e-9)
    np.testing.assert_allclose(_commuting_laws.turning(dense),
                               general * (case.h[:, None] - case.h) / (1 - β), atol=1e-9)  # fmt: skip
    np.testing.assert_allclose(case.circulation, case.law("exact") * (case.h[:, None] - case.h) / (1 - β), atol=1e-9)
    # inertia's factor is what momentum takes from the coupling that first-order dynamics of the same step has
    s, sums, products = (
        _commuting_laws.inertia(case.h, case.η, β),
        np.add.outer(case.h, case.h),
        np.outer(case.h, case.h),
    )
    uncoupled = case.η * case.C / ((1 - β) * (sums - case.η / (1 + β) * products))
    np.testing.assert_allclose(general, s * uncoupled, rtol=1e-9)


@pytest.mark.parametrize(
    ("field", "value"),
    [("targets", ("class",)), ("networks", ("residual",)), ("size", "huge"), ("momenta", (1.0,)), ("few_groups", 1)],
)
def test_bad_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        _commuting.CommutingConfig(**{field: value})
