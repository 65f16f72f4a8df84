"""The diffusion's peak as a predictor of learning, in small, and what is taken from each ensemble."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import spearmanr

from sgdynamics import experiments, networks, plotting
from sgdynamics.experiments._store import check_described
from sgdynamics.experiments.beyond import _peaks
from sgdynamics.experiments.beyond._diffusion_peak import DiffusionPeakConfig, exponent, run
from sgdynamics.theory import deep_linear

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def result():
    config = DiffusionPeakConfig(
        singular_values=(1.0, 0.5), width=3, depths=(2,), learning_rate=0.004, replicas=48, time=25.0, records=125
    )
    return run(config, experiments.Silence())


def seen(learned, peak, at_peak=0.6, **other):
    """One mode of s = 1, the same for every start."""
    three = lambda values: np.broadcast_to(np.asarray(values, float)[None, :, None], (3, len(learned), 1))
    predictors = {name: three(peak) for name in _peaks.PREDICTORS}
    options = {"noise": 0.0, "depth": 4, "s": np.array([1.0])} | other
    return _peaks.Seen(
        learned=three(learned), predictors=predictors, at_peak=three(np.full(len(learned), at_peak)), **options
    )


def test_the_verdicts(result):
    claims = {claim.id: claim for claim in result.claims}
    printed = {id for id in claims if id.endswith("/published")}
    assert printed == {"L = 2, σ = 0.24, s = 0.5/aligned/peak before learned/published"}
    assert all(claims[id].verdict == "not reproduced" for id in printed)
    assert claims["L = 2, σ = 0.24, s = 0.5/aligned/maximum after learned"].verdict == "reproduced"
    for mode in ("1", "0.5"):
        assert claims[f"L = 2, σ = 0, s = {mode}/aligned/lead"].verdict == "reproduced"
    for start in _peaks.STARTS[:2]:
        assert claims[f"L = 2, σ = 0, s = 1/{start}/rank correlation"].verdict == "reproduced"


def test_the_data_are_described_and_draw(result):
    check_described(result.data)
    assert result.data["lead"].dims == ("depth", "noise", "start", "mode")
    axes = plotting.draw("beyond/diffusion_peak", result.data).axes
    assert [ax.get_xlabel() for ax in axes] == ["depth"] * 2 + ["maximal diffusion at time  [t]"] * 2


@pytest.mark.parametrize(
    "bad",
    [{"depths": (1,)}, {"replicas": 2}, {"time": 0.0}, {"label_noise_stds": (-0.1,)}, {"singular_values": (0.0,)}],
)
def test_bad_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        DiffusionPeakConfig(**bad)


def test_the_lead_is_the_flow_from_the_peak():
    s, noise, depth = np.array([1.0, 0.2]), 0.2, 4
    measured = _peaks.lead(s, depth=depth, label_noise_std=noise)
    peak = float(deep_linear.diffusion_peak(1.0, depth=depth, label_noise_std=noise))
    exact, _ = quad(lambda w: 1 / (4 * w**1.5 * (1 - w)), peak, 0.95)
    assert np.allclose(measured[0], exact, rtol=1e-9)
    assert np.isnan(measured[1])


def test_heights_are_those_of_the_formula():
    one = seen([1.0, 2.0], [0.5, 1.0], noise=0.2)
    w = deep_linear.diffusion_peak(one.s, depth=4, label_noise_std=0.2)
    D = lambda w: deep_linear.modewise_diffusion(
        w, one.s, depth=4, learning_rate=0.1, batch_size=1, label_noise_std=0.2
    )
    assert np.allclose(one.height, D(w) / D(one.s), rtol=1e-12)
    assert np.allclose(one.threshold, 0.2**2 * 4 * 3 * 10 / 16)


def test_rank_correlations_have_the_jackknife_error_and_rank_what_never_comes_last():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 30, 1))
    y = x + rng.normal(size=x.shape)
    estimate = _peaks.rank_correlation(x, y)
    spearman = lambda x, y: spearmanr(x.ravel(), y.ravel()).statistic
    without = np.array([spearman(np.delete(x, i, axis=1), np.delete(y, i, axis=1)) for i in range(30)])
    full = spearman(x, y)
    assert np.allclose(estimate.value, 30 * full - 29 * np.mean(without))
    assert np.allclose(estimate.standard_error, np.sqrt(29 * np.var(without)))
    y[0, 3] = np.nan
    last = np.where(np.isnan(y), 100.0, y)
    assert np.allclose(_peaks.rank_correlation(x, y).groups, _peaks.rank_correlation(x, last).groups)


def test_replicas_that_do_not_learn_are_kept_apart():
    one = seen([2.0, 5.0, np.nan], [1.0, 6.0, 1.0])
    assert np.array_equal(one.leads[0, :, 0], [1.0, -1.0, np.nan], equal_nan=True)
    assert np.array_equal(one.late[0, :, 0], [False, True, False])
    assert np.allclose(one.scatter("diffusion"), np.std([1.0, -1.0], ddof=1))
    assert np.all(np.isnan(one.scatter("start")))
    assert float(_peaks.over_learned(one.leads[0, :, 0]).value) == 0.0
    assert np.isnan(_peaks.over_learned(one.leads[0, 1:, 0]).value)
    early = seen([2.0, 5.0, np.nan], [1.0, 6.0, 1.0], at_peak=0.1)
    assert np.array_equal(early.premature[0, :, 0], [True, False, False])


def test_entries_of_the_product_have_the_amplitude():
    depth = 5
    γ = exponent(0.02, width=6, depth=depth)
    draw = lambda key: networks.DeepLinear.small((6,) * (depth + 1), key=key, exponent=γ).matrix()
    W = jax.vmap(draw)(jax.random.split(jax.random.key(0), 1000))
    assert np.isclose(np.sqrt(np.mean(np.square(W))), 0.02, rtol=0.05)
