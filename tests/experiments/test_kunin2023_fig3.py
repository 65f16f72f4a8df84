"""Figs. 3 and 4 share their ensembles: one tiny run of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from sgdynamics import experiments, plotting
from sgdynamics.experiments import _pretrained, _store
from sgdynamics.experiments.kunin2023 import _fig3, _fig4, _plane
from sgdynamics.experiments.kunin2023._plane import PlaneConfig
from sgdynamics.experiments.kunin2023._plane_claims import Quantity
from sgdynamics.theory.harmonic import HarmonicDescent

pytestmark = pytest.mark.long

TINY = PlaneConfig(
    network="one_hidden", size="quick", modes=24, replicas=256, steps=1000, network_replicas=192, network_steps=1000,
    burn_in=20, network_learning_rate=0.003, learning_rate=0.001,
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("networks")))
        recipe = _pretrained.Recipe("one_hidden", (3,), samples=60, weight_decay=0.05)
        patch.setitem(_pretrained.RECIPES["quick"], "one_hidden", recipe)
        found = _plane.cases(TINY, experiments.Silence())
        for module in (_fig3, _fig4):
            patch.setattr(module, "cases", lambda *_: found)
        yield found, {3: _fig3.run(TINY, experiments.Silence()), 4: _fig4.run(TINY, experiments.Silence())}


@pytest.mark.parametrize(("figure", "formula", "control"), [(3, "(10)", "Gibbs"), (4, "H", "isotropic")])
def test_what_the_numbers_decide(results, figure, formula, control):
    claims = {claim.id: claim for claim in results[1][figure].claims}
    cases, quantities = ("assumption 5", "digits", "network"), ("ratio", "exponent")
    kinds = ("law", f"near {formula}", f"{control}/control")
    required = {f"{case}/{quantity}/{kind}" for case in cases for quantity in quantities for kind in kinds}
    required |= {f"assumption 5/{quantity}/{formula}" for quantity in quantities}
    assert required <= claims.keys()
    far = f"network/exponent/near {formula}"  # a narrow range of h: too few modes
    assert [id for id, claim in claims.items() if not claim.as_expected and id != far] == []
    published = ["network/noise in every mode/published"] if figure == 3 else []
    assert [id for id in claims if id.endswith("/published")] == published


def test_what_the_harmonic_law_leaves_out_is_below_its_error(results):
    """Where the exact law is known: the noise that the spread adds, with features that are not Gaussian."""
    case, n = results[0][0], len(results[0][0].curvature)
    C = np.diag(case.hessian) / TINY.batch_size
    harmonic = HarmonicDescent(case.curvature, C, learning_rate=case.learning_rate, momentum=case.momentum)
    excess = np.diag(case.law)[:n] / np.diag(harmonic.phase_covariance())[:n] - 1
    assert 0.3 * case.error < excess.max() < case.error
    assert results[0][2].tolerance == 2 * results[0][2].error > 0 and results[0][1].tolerance == 0


def test_modes_without_noise_are_no_part_of_the_plane(results):
    network = results[0][2]
    assert network.silent > 0 and len(network.curvature) == 24 - network.silent
    assert len(network.curvature) <= network.last <= 24
    assert network.least < 1e-9
    claim = next(c for c in results[1][3].claims if c.id == "network/noise in every mode/published")
    assert claim.verdict == "not reproduced"


def test_the_ensembles_follow_their_laws(results):
    for case in results[0]:
        variance, law = np.diag(case.measured.value), np.diag(case.law)
        np.testing.assert_allclose(np.mean(variance / law), 1, atol=0.15)
        assert np.isfinite(case.path).all()


def test_assumption_5_holds_where_the_labels_are_noise(results):
    """There the law is that of (10) and (46) to O(η), of any discretisation."""
    case, n = results[0][0], len(results[0][0].curvature)
    law, h, K, η, β = np.diag(case.law), case.hessian, case.curvature, TINY.learning_rate, TINY.momentum
    assert case.proportional and not results[0][1].proportional
    np.testing.assert_allclose(law[:n], η / (2 * TINY.batch_size * (1 - β)) * h / K, rtol=case.discrete)
    np.testing.assert_allclose(law[n:], h / (TINY.batch_size * (1 - β**2)), rtol=case.discrete)


def test_data_and_pictures(results):
    for figure, result in results[1].items():
        _store.check_described(result.data)
        assert plotting.draw(f"kunin2023/fig{figure}", result.data).axes
    assert isinstance(results[1][3].data, xr.Dataset)


def test_the_modified_loss_is_round_and_the_training_loss_is_not(results):
    data = results[1][3].data
    middle = len(data["q_1"]) // 2
    extent = lambda name: float(data[name][-1, middle] / data[name][middle, -1])
    h = results[0][2].curvature
    np.testing.assert_allclose(extent("training_loss"), h[0] / h[-1], rtol=0.05)
    hessian = results[0][2].hessian
    np.testing.assert_allclose(extent("modified_loss"), (h[0] / hessian[0]) / (h[-1] / hessian[-1]), rtol=1e-10)


def test_exponents_and_ratios_of_a_power_law():
    h = np.geomspace(0.1, 10, 7)
    np.testing.assert_allclose(_plane.slope(h, jnp.asarray(3 * h**-1.5)), -1.5, rtol=1e-12)
    np.testing.assert_allclose(_plane.ratio(h), 0.01, rtol=1e-12)


def test_a_start_has_the_covariance_asked_for():
    A = np.random.default_rng(0).normal(size=(4, 4))
    V = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 2)))[0]
    M = A @ A.T
    start = _plane.Start(jnp.arange(5.0), jnp.asarray(V), jnp.linalg.cholesky(jnp.asarray(M)))
    states = start.states(jax.random.key(0), 20_000)
    δ = np.concatenate([(np.asarray(states.position) - np.arange(5.0)) @ V, states.velocity @ V], axis=1)
    np.testing.assert_allclose(δ.T @ δ / len(δ), M, atol=0.05 * np.abs(M).max())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "linear"), ("size", "huge"), ("modes", 1), ("modes", 62), ("momentum", 1.0), ("replicas", 0),
        ("steps", 999), ("network_steps", 10), ("burn_in", -1), ("learning_rate", 0.0), ("weight_decay", -1.0),
    ],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValueError, match=name):
        PlaneConfig(**{name: value})


def test_a_position_is_0_at_the_control_and_1_at_the_printed_formula():
    for relative, middle in ((True, 2.0), (False, 2.5)):
        quantity = Quantity("ratio", "words", lambda v: v, relative, 0.1)
        found = [float(quantity.position(x, 1.0, 4.0)) for x in (1.0, middle, 4.0)]
        np.testing.assert_allclose(found, [0, 0.5, 1], atol=1e-12)
