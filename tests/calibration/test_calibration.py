"""The calibration judges rightly, its laws are right, and a small part of it: `make calibrate` is all of it.

Where statistics are judged here, all rows together raise a false alarm with probability 10⁻³; seeds are fixed.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
import sgdynamics_calibration.__main__ as command
from sgdynamics import statistics
from sgdynamics_calibration import alarms, bias, cases, derivatives, exact, judge, power
from sgdynamics_calibration.derivatives import Derived
from sgdynamics_calibration.sample import Sample, compared

# --- the judge ----------------------------------------------------------------------------------------------


def test_students_t_passes_and_what_is_not_is_rejected():
    rng = np.random.default_rng(5)
    z = lambda: rng.standard_t(31, size=200)
    right = {str(i): z() for i in range(40)}
    assert judge.rejected(right, 31) == []
    wrong = {
        "small errors": 1.6 * z(),
        "large errors": 0.55 * z(),
        "shifted": z() + 0.8,
        "heavy": rng.standard_t(1.5, 200),
    }
    assert judge.rejected(right | wrong, 31) == list(wrong)


def test_errors_a_little_too_small_everywhere_are_seen():
    rng = np.random.default_rng(6)
    assert judge.rejected({str(i): 1.3 * rng.standard_t(31, size=200) for i in range(40)}, 31)


def test_estimates_that_are_not_finite_are_rejected():
    z = np.random.default_rng(7).standard_t(31, size=200)
    z[:20] = np.nan
    assert not judge.judged(z, 31).passes(rows=40)


def test_alarms_are_held_to_the_level():
    uniform = np.random.default_rng(8).uniform(size=400)
    assert all(found.passes for found in alarms.counted(uniform))
    assert not any(found.passes for found in alarms.counted(uniform / 8))
    assert not alarms.silent({"a": uniform}) and alarms.silent({"a": np.ones(400)})


# --- laws by other means ------------------------------------------------------------------------------------


def test_first_passage_and_extremes_are_those_of_paths():
    decay, level, steps, paths = 0.8, 1.0, 12, 100_000
    rng = np.random.default_rng(9)
    x = rng.normal(size=paths)
    highest, passed = x.copy(), np.where(x >= level, 0, -1)
    for step in range(1, steps + 1):
        x = decay * x + np.sqrt(1 - decay**2) * rng.normal(size=paths)
        highest, passed = np.maximum(highest, x), np.where((passed < 0) & (x >= level), step, passed)
    fraction, time = exact.first_passage(decay, level, steps)
    times = passed[passed >= 0]
    assert abs(np.mean(passed >= 0) - fraction) < 5 * np.sqrt(fraction * (1 - fraction) / paths)
    assert abs(times.mean() - time) < 5 * times.std() / np.sqrt(len(times))
    assert abs(highest.mean() - exact.mean_maximum(decay, steps)) < 5 * highest.std() / np.sqrt(paths)


def test_the_mean_maximum_of_two_is_known():
    np.testing.assert_allclose(exact.mean_maximum(0.3, 1), np.sqrt((1 - 0.3) / np.pi), rtol=1e-9)


def test_the_spectrum_by_definition_is_what_the_statistic_expects():
    R = np.array([1.0, 0.5]) * 0.8 ** np.arange(16)[:, None]
    np.testing.assert_allclose(exact.spectrum(R), statistics.PowerSpectrum(16).expected(R), rtol=1e-12)


def test_the_angle_of_a_damped_turn_is_that_of_the_turn():
    turn = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    S = np.array([[2.0, 0.3], [0.0, 0.5]])
    np.testing.assert_allclose(exact.rotation(np.eye(2), 0.7 * turn), 0.4, rtol=1e-12)
    Σ = S @ S.T
    assert exact.rotation(Σ, 0.7 * np.eye(2) @ Σ) == pytest.approx(0, abs=1e-12)


# --- a small part -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shuffled():
    """(case, ensembles) of 40 seeds of shuffled epochs."""
    case = cases.epochs()
    return case, [case.run(seed) for seed in range(40)]


@pytest.mark.long
def test_the_statistics_of_shuffled_epochs_are_calibrated(shuffled):
    case, ensembles = shuffled
    found = [case.z(ensemble) for ensemble in ensembles]
    z = {name: np.array([one[name] for one in found]) for name in case.rows}
    assert judge.rejected(z, 31) == []
    # the same judge on errors of half the size
    assert set(judge.rejected({name: 2 * one for name, one in z.items()}, 31)) == set(z)


@pytest.mark.long
def test_compare_raises_no_more_alarms_than_its_level(shuffled):
    p = np.array([compared(*shuffled[:1], ensemble).p_value for ensemble in shuffled[1]])
    assert all(found.passes for found in alarms.counted(p))


DRIFT, NOISE = np.array([[0.5, 1.0], [-1.0, 0.6]]), np.eye(2)


@pytest.fixture(scope="module")
def small():
    """z of mean and covariance of a small process, 40 seeds of one program, and naive ones."""
    process = sgd.LinearProcess(DRIFT, NOISE, time_step=0.3)
    law = sgd.predict(process)
    M = np.asarray(law.covariance)
    made = {"mean": statistics.Mean(), "covariance": statistics.Covariance()}
    expected = {"mean": np.zeros(2), "covariance": M}
    groups, records = statistics.Groups(128, 16), statistics.Records(24)

    def one(seed):
        key, positions = seed
        replicas = sgd.ensemble.replicate(process, positions, None, key)
        is_statistic = lambda x: isinstance(x, statistics.AbstractStatistic)
        each = lambda f, *trees: jax.tree.map(f, made, *trees, is_leaf=is_statistic)
        sums = each(lambda s: s.init(replicas.states, replicas.alive, groups, records))
        _, sums = sgd.ensemble.evolve(process, made, replicas, sums, first_record=0, records=24, every=1)
        estimates = {name: made[name].finalise(sums[name]) for name in made}
        weights = {name: 1.0 + np.arange(np.size(x)).reshape(np.shape(x)) for name, x in expected.items()}
        z = {
            name: cases.combined(e, weights[name]).z(np.vdot(weights[name], expected[name]))
            for name, e in estimates.items()
        }
        w = weights["mean"]
        return z | {"naive": estimates["mean"].value @ w / np.sqrt(w @ M @ w / (128 * 24))}

    starts = np.random.default_rng(11).normal(size=(40, 128, 2)) @ np.linalg.cholesky(M).T
    seeds = jax.random.split(jax.random.key(11), 40), jnp.asarray(starts)
    return {name: np.asarray(z) for name, z in jax.jit(lambda seeds: jax.lax.map(one, seeds))(seeds).items()}


def test_mean_and_covariance_are_calibrated(small):
    z = {name: small[name] for name in ("mean", "covariance")}
    assert judge.rejected(z, 15) == []
    assert set(judge.rejected({name: 2 * one for name, one in z.items()}, 15)) == set(z)


def test_records_are_not_independent(small):
    assert judge.rejected({"naive": small["naive"]}, 15) == ["naive"]


@pytest.mark.long
def test_no_statistic_is_forgotten():
    types = {type(s) for make in cases.CASES.values() for s in make().statistics.values()}
    public = {
        s for s in vars(statistics).values() if isinstance(s, type) and issubclass(s, statistics.AbstractStatistic)
    }
    abstract = {statistics.AbstractStatistic, statistics.AbstractAccumulator}
    assert public - abstract == types


@pytest.mark.long
def test_the_jackknife_takes_the_bias_of_the_kurtosis_off():
    found = bias.measured(names=("Kurtosis",))["Kurtosis"]
    assert found.within(rows=1)
    # −6/65 of √(24/64), in units that the weights of two components leave alone but for their sum
    assert abs(found.plain) > 5 * found.error and abs(found.bias) < abs(found.plain) / 4


@pytest.mark.long
@pytest.mark.parametrize("name", power.DUELS)
def test_wrong_models_are_rejected_and_right_ones_are_not(name):
    assert power.fought(name, seeds=2).passes


# --- derivatives and fits -----------------------------------------------------------------------------------


@pytest.mark.longest
@pytest.mark.parametrize("mode", derivatives.MODES)
def test_derivatives_of_descent_are_calibrated(mode):
    z, df = derivatives.responses()["sgd"].z(40, mode)
    assert df == {"forward": 31, "reverse": 15}[mode]
    assert judge.rejected(z, df) == []
    assert set(judge.rejected({name: 2.5 * one for name, one in z.items()}, df)) == set(z)


@pytest.mark.longest
def test_the_derivative_of_the_start_counts():
    z, df = derivatives.responses()["sgd"].z(40, "forward", derivatives.descent_from_a_fixed_start)
    assert "Covariance" in judge.rejected(z, df)


@pytest.mark.longest
def test_fits_of_a_process_are_calibrated():
    fits = [derivatives.fitted(seed) for seed in range(30)]
    assert all(fit.converged for fit in fits)
    z = derivatives.fit_z(fits)
    assert judge.rejected(z, 62) == []
    assert set(judge.rejected({name: 2.5 * one for name, one in z.items()}, 62)) == set(z)


@pytest.mark.longest
def test_exact_derivatives_are_differences_of_the_law():
    law, η, h = derivatives.responses()["sgd"].law, jnp.asarray(cases.LEARNING_RATE), 1e-5
    slope, above, below = jax.jit(lambda η: (jax.jacfwd(law)(η), law(η + h), law(η - h)))(η)
    for name in slope:
        np.testing.assert_allclose(slope[name], (above[name] - below[name]) / (2 * h), rtol=1e-6)


def test_z_of_fits_are_in_units_of_their_errors():
    covariance = jnp.array([[0.04, 0.03], [0.03, 0.09]])
    errors = {"friction": jnp.array(0.2), "temperature": jnp.array(0.3)}
    found = {"friction": derivatives.PLANTED["friction"] + 0.2, "temperature": derivatives.PLANTED["temperature"] - 0.6}
    fit = sgd.Fit(found, errors, covariance, {}, {}, True, 3)
    z = derivatives.fit_z([fit, fit])
    assert z["friction"] == pytest.approx([1, 1]) and z["temperature"] == pytest.approx([-2, -2])
    assert z["temperature/friction"] == pytest.approx(2 * [-0.8 / np.sqrt(0.04 + 0.09 - 2 * 0.03)])
    assert derivatives.beside([fit, fit]) == pytest.approx([0, 0])


# --- the command --------------------------------------------------------------------------------------------


def drawn(scale=1.0):
    """As if sampled: z of all rows of the epochs, p-values, and naive z."""
    rng = np.random.default_rng(12)
    z = {("epochs", name): scale * rng.standard_t(31, size=200) for name in ("Mean", "Variance", "Covariance", "Loss")}
    return Sample(z, {"epochs": rng.uniform(size=200)}, 3 * rng.standard_t(31, size=200))


def derived(scale=1.0, converged=200):
    """As if sampled: z of two derivatives, of a fit and of a control."""
    rng = np.random.default_rng(13)
    df = {("sgd", "forward"): 31, ("sgd", "reverse"): 15, ("process", "fit"): 62}
    z = {row: scale * rng.standard_t(of, size=200) for row, of in df.items()}
    return Derived(z, df, converged, 200, {"wrong": (3 * rng.standard_t(31, size=200), 31)})


def test_one_fit_that_has_not_converged_is_told():
    assert command.of_derivatives(drawn(), derived())["passes"]
    assert not command.of_derivatives(drawn(), derived(converged=199))["passes"]
    assert not command.of_derivatives(drawn(), derived(1.8))["passes"]


def test_what_is_wrong_must_be_rejected():
    assert command.controls(drawn(), derived())["passes"]
    right = dataclasses.replace(derived(), controls={"right": (np.random.default_rng(14).standard_t(31, 200), 31)})
    assert not command.controls(drawn(), right)["passes"]


@pytest.mark.parametrize(("scale", "code"), [(1.0, 0), (1.8, 1)])
def test_the_command_prints_writes_and_says_whether_all_is_well(monkeypatch, tmp_path, capsys, scale, code):
    monkeypatch.setattr(command, "sample", lambda seeds, told: drawn(scale))
    monkeypatch.setattr(derivatives, "derived", lambda seeds, told: derived())
    kinds = {name: cases.Row(lambda e: e, np.zeros(())) for name in ("Mean", "Variance", "Covariance", "Loss")}
    fake = cases.Case(3, None, None, {}, kinds, None)
    monkeypatch.setattr(command, "CASES", {"epochs": lambda: fake})
    seen = {"Kurtosis": bias.Bias(0.0, 0.2, 0.01, 10_000, True)}
    monkeypatch.setattr(bias, "measured", lambda: seen)
    monkeypatch.setattr(power, "fought", lambda name: power.Outcome(10, 0, {"wrong": 10}))
    assert command.main(["--out", str(tmp_path / "here")]) == code
    record = json.loads((tmp_path / "here/calibration.json").read_text())
    assert record["passes"] == (code == 0) and len(record["parts"]) == 6
    assert "jax" in record["machine"]["versions"]
    said = capsys.readouterr().out
    assert "| Covariance" in said and ("FAILS" in said) == (code == 1)


def test_what_fails_fails():
    assert not power.Outcome(10, 0, {"wrong": 9}).passes
    assert not power.Outcome(10, 2, {"wrong": 10}).passes
    assert power.Outcome(10, 1, {"wrong": 10}).passes
    assert not bias.Bias(0.1, 0.2, 0.01, 10_000, False).within(7)
    assert not bias.Bias(0.0, 0.0, 0.01, 10_000, True).within(7)


def test_too_few_seeds_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--seeds", "3"])
    assert "--seeds 3, but there must be at least 20" in capsys.readouterr().err
