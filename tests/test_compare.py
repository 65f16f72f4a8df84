"""`compare` on ensembles whose law is known: right laws pass, wrong ones do not, whatever is not tested is said.

Unless told otherwise a comparison is at level 10⁻³: the right law is called wrong by 1 in 1,000 seeds.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import sgdynamics as sgd
from sgdynamics import statistics

KEY = jax.random.key(7)
COVARIANCE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.5]])
MEAN = np.array([1.0, -2.0, 0.5])


@eqx.filter_jit
def recorded(statistic, records, groups):
    """The sums of `records` [records, replicas, components], independent of each other."""
    alive = jnp.ones(records.shape[1], bool)
    division, schedule = statistics.Groups(records.shape[1], groups), statistics.Records(len(records))
    sums = statistic.init(sgd.State(records[0]), alive, division, schedule)
    body = lambda k, sums: statistic.update(sums, sgd.State(records[k]), alive, k)
    return jax.lax.fori_loop(0, len(records), body, sums)


def gaussian(statistic, covariance=COVARIANCE, mean=MEAN, *, seed=0, replicas=1024, records=8, groups=32):
    """The estimate from independent Gaussian records."""
    z = np.random.default_rng(seed).normal(size=(records, replicas, len(mean)))
    x = mean + z @ np.linalg.cholesky(covariance).T
    return statistic.finalise(recorded(statistic, jnp.asarray(x), groups))


# --- right and wrong laws -----------------------------------------------------------------------------------


def test_the_right_covariance_agrees_and_a_wrong_one_differs():
    measured = gaussian(statistics.Covariance())
    assert sgd.compare(measured, COVARIANCE).verdict == "agrees"
    assert sgd.compare(measured, 1.15 * COVARIANCE).verdict == "differs"  # 15 % is 9 errors of √(2/8192)
    assert not sgd.compare(measured, np.diag(np.diag(COVARIANCE))).agrees


def test_false_alarms_are_as_rare_as_the_level_says():
    """200 independent ensembles at level 0.05: more than 23 alarms (0.1 % of such series at a rate of 0.05) would
    be too many; none at all (a chance of e^{−8} at a rate of 0.04) would mean that nothing is tested."""
    limit = scipy.stats.binom.isf(1e-4, 200, 0.05)
    statistic = statistics.Covariance()
    compare = lambda seed: sgd.compare(gaussian(statistic, seed=seed, replicas=512), COVARIANCE, level=0.05)
    alarms = sum(not compare(seed).agrees for seed in range(200))
    assert 0 < alarms <= limit


def test_false_alarms_stay_rare_where_groups_are_small_and_skew():
    """4 replicas in a group, 60 directions: uncorrected Student's t would raise 3 times as many alarms."""
    limit = scipy.stats.binom.isf(1e-4, 200, 0.05)
    statistic, one, zero = statistics.Covariance(), np.eye(60), np.zeros(60)
    measured = lambda seed: gaussian(statistic, one, zero, seed=seed, replicas=128, records=1)
    alarms = sum(not sgd.compare(measured(seed), one, level=0.05).agrees for seed in range(200))
    assert alarms <= limit


def test_the_whole_matrix_sees_what_the_variances_along_expected_directions_miss():
    expected = np.diag([1.0, 2.0, 3.0])
    root = np.sqrt(np.diag(expected))
    correlated = (np.eye(3) + 0.15 * (1 - np.eye(3))) * np.outer(root, root)
    variances, whole = sgd.compare(gaussian(statistics.Covariance(), correlated), expected).tests
    assert variances.p_value > 0.01
    assert whole.p_value < 1e-4
    comparison = sgd.compare(gaussian(statistics.Covariance(), correlated), expected)
    assert comparison.verdict == "differs"


def test_ordered_eigenvalues_would_condemn_the_right_law():
    """Why measured spectra are not tested: repulsion spreads the 40 equal eigenvalues of 1."""
    measured = gaussian(statistics.Covariance(), np.eye(40), np.zeros(40), records=1, replicas=2048)
    assert sgd.compare(measured, np.eye(40)).verdict == "agrees"
    spectrum = measured.map(jnp.linalg.eigvalsh)
    assert np.abs(spectrum.value - 1).max() > 5 * np.sqrt(2 / 2048)


def test_means_are_tested_along_every_direction():
    measured = gaussian(statistics.Mean())
    assert sgd.compare(measured, MEAN).verdict == "agrees"
    softest = np.linalg.eigh(COVARIANCE)[1][:, 0]
    wrong = MEAN + 0.1 * softest  # 0.1 is over 10 errors in this direction
    assert sgd.compare(measured, wrong).verdict == "differs"


def test_variances_are_tested_component_by_component():
    measured = gaussian(statistics.Variance())
    assert sgd.compare(measured, np.diag(COVARIANCE)).agrees
    assert not sgd.compare(measured, np.diag(COVARIANCE) * np.array([1, 1, 1.2])).agrees


DRIFT = np.array([[0.5, 1.0, 0.0], [-1.0, 0.6, 0.0], [0.0, 0.2, 0.8]])
PROCESS = sgd.LinearProcess(DRIFT, np.eye(3), MEAN, time_step=0.5)
EVERYTHING = {
    "autocovariance": statistics.Autocovariance((0, 1, 4)),
    "covariance": statistics.Covariance(),
    "kurtosis": statistics.Kurtosis(),
    "mean": statistics.Mean(),
    "variance": statistics.Halves(statistics.Variance()),
    "snapshots": statistics.Snapshots((4, 16)),
}
RUN = dict(replicas=2048, steps=40, key=KEY)


@pytest.fixture(scope="module")
def prediction():
    return sgd.predict(PROCESS)


@pytest.fixture(scope="module")
def ensemble(prediction):
    return sgd.simulate(PROCESS, EVERYTHING, initial=prediction, **RUN)


def test_all_that_a_prediction_knows_is_compared_and_the_rest_named(ensemble, prediction):
    comparison = sgd.compare(ensemble, prediction)
    assert comparison.verdict == "agrees", str(comparison)
    tested = {test.quantity.split()[-1] for test in comparison.tests}
    assert tested == {"autocovariance", "covariance", "mean", "variance"}
    unknown = " ".join(comparison.notes)
    assert len(comparison.notes) == 2 and "kurtosis" in unknown and "snapshots" in unknown


def test_other_processes_are_rejected_by_each_quantity(ensemble):
    shifted = sgd.predict(sgd.LinearProcess(DRIFT, np.eye(3), MEAN + 0.2, time_step=0.5))
    louder = sgd.predict(sgd.LinearProcess(DRIFT, 1.2 * np.eye(3), MEAN, time_step=0.5))
    faster = sgd.predict(sgd.LinearProcess(1.2 * DRIFT, 1.2 * np.eye(3), MEAN, time_step=0.5))
    estimates = ensemble.estimates
    for quantity, wrong in [
        ("mean", shifted),
        ("covariance", louder),
        ("variance", louder),
        ("autocovariance", faster),
    ]:
        assert sgd.compare(estimates[quantity], wrong).verdict == "differs", quantity
    assert sgd.compare(estimates["covariance"], faster).verdict == "agrees"  # the same covariance, in less time


def test_autocovariance_tells_a_process_from_its_reversal(ensemble, prediction):
    """Time reversal transposes E δx(t + lag) δx(t)ᵀ: only the whole matrices see it."""
    measured = ensemble.estimates["autocovariance"]
    M = np.asarray(prediction.covariance)
    reversed_drift = M @ DRIFT.T @ np.linalg.inv(M)
    reversal = sgd.predict(sgd.LinearProcess(reversed_drift, np.eye(3), MEAN, time_step=0.5))
    np.testing.assert_allclose(reversal.covariance, M, atol=1e-12)
    variances, whole = sgd.compare(measured, reversal).tests
    assert variances.p_value > 0.01
    assert whole.p_value < 1e-4


def test_arrays_serve_as_expectation(ensemble, prediction):
    lags = jnp.asarray([0, 1, 4])
    assert sgd.compare(ensemble.estimates["autocovariance"], prediction.autocovariance(lags)).agrees
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(3, 3, 3\)"):
        sgd.compare(ensemble.estimates["autocovariance"], prediction.covariance)


def test_trees_are_compared_leaf_by_leaf(ensemble, prediction):
    estimates = {name: ensemble.estimates[name] for name in ("covariance", "mean")}
    right = {"covariance": prediction.covariance, "mean": MEAN}
    assert sgd.compare(estimates, right).verdict == "agrees"
    assert sgd.compare(estimates, {"covariance": prediction, "mean": MEAN}).verdict == "agrees"
    comparison = sgd.compare(estimates, right | {"mean": MEAN + 0.3})
    worst = min(comparison.tests, key=lambda test: test.p_value)
    assert comparison.verdict == "differs" and "mean" in worst.quantity
    with pytest.raises(ValueError, match="expected holds 1 arrays, but measured holds 2"):
        sgd.compare(estimates, MEAN)


def test_spread_out_variances_in_32_bits_raise_no_alarm():
    """A spectrum over six decades, in a rotated basis: rounding of the large modes must not pass for a difference."""
    V = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    process = sgd.LinearProcess(np.eye(4), 2 * (V * np.array([1e-6, 1e-4, 1e-2, 1.0])) @ V.T, time_step=1.0)
    law = sgd.predict(process)
    run = dict(replicas=1024, steps=50, key=KEY, initial=law, dtype=jnp.float32)
    assert sgd.compare(sgd.simulate(process, statistics.Covariance(), **run), law).verdict == "agrees"


# --- had the run time to relax? -----------------------------------------------------------------------------


SLOW = sgd.LinearProcess(np.diag([0.01, 1.0]), np.diag([0.02, 2.0]), time_step=0.5)


def test_a_cold_start_is_undecided_and_says_how_many_steps_would_do():
    law = sgd.predict(SLOW)
    cold = sgd.simulate(SLOW, statistics.Covariance(), burn_in=20, **RUN)
    comparison = sgd.compare(cold, law)
    assert not comparison.agrees and comparison.verdict == "undecided"
    # 20 · 0.5 · 0.01 relaxation times; 5 would be 5/(0.01 · 0.5) steps
    assert "burn_in is 0.1 relaxation times" in str(comparison) and "1,000 steps" in str(comparison)
    assert sgd.compare([cold.estimates], [law]).notes == ()  # an estimate alone does not know its history
    assert sgd.compare(cold, [law]).verdict == "undecided"


def test_a_start_from_the_law_or_a_long_burn_in_decides():
    law = sgd.predict(SLOW)
    wrong = sgd.predict(sgd.LinearProcess(np.diag([0.01, 1.0]), np.diag([0.03, 2.0]), time_step=0.5))
    warm = sgd.simulate(SLOW, statistics.Covariance(), initial=law, **RUN)
    patient = sgd.simulate(SLOW, statistics.Covariance(), burn_in=1_000, **RUN)
    for run in (warm, patient):
        assert sgd.compare(run, law).verdict == "agrees"
        assert sgd.compare(run, law).notes == ()
        assert sgd.compare(run, wrong).verdict == "differs"


def test_a_law_for_small_learning_rates_says_so_where_it_differs():
    x = np.linspace(-1.5, 2.0, 8)[:, None]
    problem = sgd.Problem(sgd.networks.Linear(1, 1), sgd.data.Dataset(x, x[:, 0] + np.sin(9 * x[:, 0])))
    descent = lambda η: sgd.SGD(problem, learning_rate=η, sampler=1)
    frozen, exact = sgd.predict(descent(0.4), form="frozen"), sgd.predict(descent(0.4))
    how = {"steps": 40, "replicas": 4096, "key": RUN["key"]}
    run = sgd.simulate(descent(0.4), statistics.Variance(), initial=exact, burn_in=100, **how)
    assert sgd.compare(run, exact).verdict == "agrees"
    told = sgd.compare(run, frozen)
    assert told.verdict == "differs" and "noise of the minimum" in told.notes[-1] and "a tenth" in str(told)
    # of an array nothing is known
    assert sgd.compare(run.estimates, 2 * np.asarray(exact.covariance.diagonal())).notes == ()
    slow = descent(0.004)
    law = sgd.predict(slow, form="frozen")
    assert sgd.compare(sgd.simulate(slow, statistics.Variance(), initial=law, **how), law).notes == ()


# --- printing and refusals ----------------------------------------------------------------------------------


def test_printing_shows_the_numbers():
    measured = gaussian(statistics.Covariance())
    comparison = sgd.compare(measured, 1.5 * COVARIANCE, level=0.01)
    text = str(comparison)
    directions = comparison.tests[0]
    worst = np.argmax(np.abs(directions.t))
    value, error = directions.measured[worst], directions.standard_error[worst]
    for part in (statistics.format_with_error(value, error), f"{directions.expected[worst]:.6g}", "level 0.01"):
        assert part in text
    assert f"{directions.t[worst]:+.2f}" in text and text.splitlines()[-1].startswith("differs: p = ")


def test_positions_are_not_compared_with_phase_space():
    measured = gaussian(statistics.Covariance())
    with pytest.raises(ValueError, match=r"\(6, 6\).*\(3, 3\).*\(θ, v\)"):
        sgd.compare(measured, np.eye(6))
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(3, 3\)"):
        sgd.compare(measured, np.eye(4))


def test_what_cannot_be_compared_is_refused(prediction):
    measured = gaussian(statistics.Covariance())
    for level in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"level.*between 0 and 1"):
            sgd.compare(measured, COVARIANCE, level=level)
    with pytest.raises(ValueError, match="1 usable group of replicas, but an error needs 2"):
        sgd.compare(gaussian(statistics.Covariance(), groups=1), COVARIANCE)
    none = eqx.tree_at(lambda e: (e.weights, e.degrees_of_freedom), measured, (0 * measured.weights, jnp.asarray(0)))
    with pytest.raises(ValueError, match="covariance has no usable group of replicas: all replicas diverged"):
        sgd.compare(none, COVARIANCE)
    with pytest.raises(ValueError, match="no estimate"):
        sgd.compare({"covariance": np.eye(3)}, COVARIANCE)
    with pytest.raises(ValueError, match="not finite"):
        sgd.compare(measured, COVARIANCE * np.nan)
    with pytest.raises(ValueError, match="kurtosis"):
        sgd.compare(gaussian(statistics.Kurtosis()), prediction)
