"""Fits of planted parameters, with errors that cover; designs that gain what theory says can be gained; sweeps."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd

KEY = jax.random.key(11)
DATA = sgd.data.teacher_student(KEY, samples=12, inputs=2, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(2, 1), DATA)
DRIFT = jnp.array([[1.0, 0.3], [0.0, 0.5]])
PLANTED = {"friction": jnp.log(1.4), "temperature": jnp.log(0.6)}
STATISTICS = {"covariance": sgd.statistics.Covariance(), "lags": sgd.statistics.Autocovariance((2, 8))}
RUN = {"replicas": 64, "steps": 40, "burn_in": 20, "every": 2, "groups": 32}


def ornstein_uhlenbeck(p):
    """A friction that all modes share, and a temperature."""
    noise = 2 * jnp.exp(p["temperature"]) * jnp.eye(2)
    return sgd.LinearProcess(jnp.exp(p["friction"]) * DRIFT, noise, time_step=0.2)


def measured(seed, run=RUN):
    planted = ornstein_uhlenbeck(PLANTED)
    return sgd.simulate(planted, STATISTICS, key=jax.random.key(seed), dtype=jnp.float64, **run).estimates


START = {"friction": jnp.array(0.0), "temperature": jnp.array(0.0)}


@pytest.mark.must_hold
def test_planted_parameters_are_found_within_four_errors_in_twenty_of_twenty():
    pulls = []
    for seed in range(20):
        found = sgd.fit(
            ornstein_uhlenbeck, START, STATISTICS, measured(100 + seed), key=jax.random.fold_in(KEY, seed), **RUN
        )
        assert found.converged
        pulls.append([(found.parameters[n] - PLANTED[n]) / found.standard_error[n] for n in PLANTED])
    pulls = np.array(pulls)
    assert np.abs(pulls).max() < 4
    # χ² of 40 by 40 is below 0.3 or above 2.2 once in 10⁵
    assert 0.3 < np.mean(pulls**2) < 2.2
    errors = [float(found.standard_error[n]) for n in PLANTED]
    assert max(errors) < 0.2  # and it is not by large errors


def langevin(p):
    """A noise scale: C = scale · H."""
    noise = sgd.noise.hessian_proportional(PROBLEM, 2, scale=jnp.exp(p["scale"]), at=MINIMUM)
    return sgd.Langevin(PROBLEM, learning_rate=0.2, sampler=2, noise=noise), MINIMUM


def underdamped(p):
    """A friction, (1 − β)/β-like, and a temperature."""
    noise = sgd.noise.isotropic(PROBLEM, 2, variance=jnp.exp(p["temperature"]))
    friction = {"learning_rate": 0.2, "momentum": jax.nn.sigmoid(p["momentum"])}
    return sgd.UnderdampedLangevin(PROBLEM, sampler=2, noise=noise, **friction), MINIMUM


MINIMUM = PROBLEM.minimum()
OTHERS = {
    "noise scale of a Langevin equation": (langevin, {"scale": jnp.log(0.4)}, {"scale": jnp.array(0.0)}),
    "friction and temperature of inertia": (
        underdamped,
        {"momentum": jnp.array(0.6), "temperature": jnp.log(0.3)},
        {"momentum": jnp.array(0.0), "temperature": jnp.array(0.0)},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_noise_scales_and_frictions_of_equations_are_found_in_twenty_of_twenty(name):
    make, planted, start = OTHERS[name]
    run, pulls = RUN | {"replicas": 128}, []
    process, initial = make(planted)
    for seed in range(20):
        key, other = jax.random.split(jax.random.fold_in(KEY, seed))
        seen = sgd.simulate(process, STATISTICS, initial=initial, key=key, dtype=jnp.float64, **run).estimates
        found = sgd.fit(make, start, STATISTICS, seen, key=other, **run)
        assert found.converged
        pulls.append([(found.parameters[n] - planted[n]) / found.standard_error[n] for n in planted])
        assert max(float(found.standard_error[n]) for n in planted) < 0.3
    assert np.abs(pulls).max() < 4
    # χ² of 20 by 20 is below 0.2 or above 3 once in 10⁵
    assert 0.2 < np.mean(np.square(pulls)) < 3


def test_the_momentum_of_sgd_is_found_by_its_equation():
    """The equation with inertia whose autocovariances are those of SGD with momentum has its momentum; that of other
    SGD it has not."""
    run = RUN | {"replicas": 256, "steps": 120, "burn_in": 60}
    make = lambda p: (
        sgd.UnderdampedLangevin(PROBLEM, learning_rate=0.02, momentum=jax.nn.sigmoid(p), sampler=2),
        MINIMUM,
    )
    found = []
    for β in (0.8, 0.6):
        descent = sgd.SGD(PROBLEM, learning_rate=0.02, momentum=β, sampler=2)
        seen = sgd.simulate(descent, STATISTICS, initial=MINIMUM, key=jax.random.key(3), dtype=jnp.float64, **run)
        found.append(sgd.fit(make, jnp.array(0.5), STATISTICS, seen.estimates, key=KEY, **run))
        assert found[-1].converged
    logit = jnp.log(0.8 / 0.2)
    assert abs(found[0].parameters - logit) < 4.5 * found[0].standard_error
    assert abs(found[1].parameters - logit) > 6 * found[1].standard_error


def test_many_values_of_few_replicas_do_not_bias_a_fit():
    """192 values of 256 replicas. Least squares, whose slopes share the draws of the residuals, have z of the friction
    at 1.55(15) on average here."""
    H = jnp.diag(jnp.linspace(0.06, 0.23, 8))
    model = lambda p: (
        sgd.LinearProcess(jnp.exp(p[0]) * H, 0.007 * jnp.exp(p[0] + p[1]) * H, jnp.zeros(8), time_step=0.1),
        jnp.zeros(8),
    )
    statistics = {"covariance": sgd.statistics.Covariance(), "lags": sgd.statistics.Autocovariance((10, 40))}
    run = {"replicas": 256, "steps": 400, "every": 10, "burn_in": 800}
    process, initial = model(jnp.zeros(2))
    pulls = []
    for seed in range(40):
        key, other = jax.random.split(jax.random.fold_in(KEY, seed))
        seen = sgd.simulate(process, statistics, initial=initial, key=key, dtype=jnp.float64, **run).estimates
        found = sgd.fit(model, jnp.zeros(2), statistics, seen, key=other, **run)
        assert found.converged
        pulls.append(found.parameters / found.standard_error)
    # a mean of 40 beyond 0.7 is a false alarm once in 10⁵
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.7
    assert 0.5 < np.std(pulls) < 1.6


def test_a_model_that_cannot_do_it_says_so():
    wrong = lambda p: sgd.LinearProcess(jnp.exp(p) * jnp.eye(2), 1.2 * jnp.eye(2), time_step=0.2)
    run = RUN | {"replicas": 512}
    found = sgd.fit(wrong, jnp.array(0.0), STATISTICS, measured(7, run), key=KEY, **run)
    z = jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(found.z)])
    assert jnp.abs(z).max() > 6
    right = sgd.fit(ornstein_uhlenbeck, START, STATISTICS, measured(7, run), key=KEY, **run)
    z = jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(right.z)])
    assert jnp.abs(z).max() < 5


def test_an_effective_temperature_of_sgd():
    """The factor on the noise with which an Ornstein-Uhlenbeck process has the variance of SGD along a direction is
    that between the exact discrete law and the Lyapunov equation."""
    rate, direction = 0.3, sgd.statistics.Projection(jnp.array([0.6, 0.8]))
    descent = sgd.SGD(PROBLEM, learning_rate=rate, sampler=2)
    run = RUN | {"steps": 300, "burn_in": 50, "replicas": 256, "every": 5}
    variance = sgd.statistics.Variance(of=direction)
    seen = sgd.simulate(descent, variance, key=jax.random.key(2), dtype=jnp.float64, **run).estimates
    H = PROBLEM.hessian(PROBLEM.minimum())
    C = sgd.Langevin(PROBLEM, learning_rate=rate, sampler=2).noise.covariance(PROBLEM.minimum())
    model = lambda p: sgd.LinearProcess(H, jnp.exp(p) * rate * C, time_step=rate)
    found = sgd.fit(model, jnp.array(0.0), variance, seen, key=KEY, transformation=optax.sgd(0.7), **run)
    along = lambda M: direction.directions @ M @ direction.directions
    white = sgd.theory.ou.OrnsteinUhlenbeck(H, rate * C).stationary_covariance()
    expected = jnp.log(along(sgd.predict(descent).covariance) / along(white))
    assert found.converged
    assert abs(found.parameters - expected) < 4.5 * found.standard_error
    assert abs(found.parameters) > 3 * found.standard_error  # a control: the Lyapunov equation itself is excluded


def test_bad_questions_are_refused():
    seen = measured(1)
    with pytest.raises(ValueError, match="measured is of the structure"):
        sgd.fit(ornstein_uhlenbeck, START, STATISTICS, seen["covariance"], key=KEY, **RUN)
    with pytest.raises(ValueError, match="measured has a covariance of shape"):
        one = sgd.LinearProcess(jnp.eye(3), jnp.eye(3), time_step=0.2)
        of_three = sgd.simulate(one, STATISTICS, key=KEY, dtype=jnp.float64, **RUN).estimates
        sgd.fit(ornstein_uhlenbeck, START, STATISTICS, of_three, key=KEY, **RUN)
    with pytest.raises(ValueError, match="do not tell apart"):
        idle = lambda p: ornstein_uhlenbeck({"friction": p["friction"], "temperature": jnp.array(0.0)})
        sgd.fit(idle, START, STATISTICS, seen, key=KEY, **RUN)
    with pytest.raises(ValueError, match="not finite"):
        unstable = lambda p: sgd.SGD(PROBLEM, learning_rate=jnp.exp(p), sampler=2)
        sgd.fit(unstable, jnp.log(1e6), STATISTICS, seen, key=KEY, **RUN)
    with pytest.raises(ValueError, match="measured has a mean that is not finite"):
        mean = sgd.statistics.Mean()
        found = sgd.simulate(one, mean, key=KEY, dtype=jnp.float64, **RUN).estimates
        lost = eqx.tree_at(lambda e: e.value, found, found.value * jnp.nan)
        sgd.fit(lambda p: one, jnp.array(0.0), mean, lost, key=KEY, **RUN)
    with pytest.raises(ValueError, match="no errors at all"):
        still = lambda p: sgd.LinearProcess(jnp.eye(2) + p, jnp.zeros((2, 2)), time_step=0.2)
        mean = sgd.statistics.Mean()
        at_rest = sgd.simulate(still(0.0), mean, key=KEY, dtype=jnp.float64, **RUN).estimates
        sgd.fit(still, jnp.array(0.0), mean, at_rest, key=KEY, **RUN)


def test_a_design_finds_what_theory_finds():
    """The learning rate of least mean loss after a few steps from a given start, by the exact recursion of moments."""
    moments = lambda η: sgd.theory.recursion.MinibatchMoments(DATA.x, DATA.y, learning_rate=η, sampling_factor=1 / 2)
    H = PROBLEM.hessian(PROBLEM.minimum())
    start = jnp.array([1.0, -1.0])

    @jax.jit
    def excess(η):
        m = jnp.concatenate([start - PROBLEM.minimum(), jnp.zeros(2)])
        _, second = moments(η).after(6, m, jnp.outer(m, m))
        return jnp.trace(H @ second[:2, :2]) / 2

    rates = jnp.linspace(0.05, 0.9, 400)
    losses = jax.vmap(excess)(rates)
    best = rates[jnp.argmin(losses)]
    make = lambda p: (sgd.SGD(PROBLEM, learning_rate=jnp.exp(p), sampler=2), start)
    with jax.numpy_dtype_promotion("standard"):  # as optax's Adam needs
        found = sgd.design(
            make, jnp.log(0.1), sgd.statistics.Loss(PROBLEM), replicas=256, burn_in=5, steps=1, key=KEY,
            transformation=optax.adam(optax.exponential_decay(0.1, 40, 0.5)), iterations=120,
        )  # fmt: skip
    assert found.change.z(0.0) < -6
    assert excess(jnp.exp(found.parameters)) < losses.min() + 0.02 * (excess(0.1) - losses.min())
    assert abs(jnp.exp(found.parameters) / best - 1) < 0.3
    assert found.history.shape == (120,)


def test_a_design_needs_one_number():
    with pytest.raises(ValueError, match=r"statistic has a value of shape \(2,\)"):
        make = lambda p: sgd.SGD(PROBLEM, learning_rate=p, sampler=2)
        sgd.design(make, 0.1, sgd.statistics.Mean(), replicas=8, steps=2, key=KEY, iterations=1)


# --- sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep_is_each_run_for_itself():
    rates, momenta = jnp.array([0.05, 0.1, 0.2]), jnp.array([0.0, 0.5, 0.9])
    make = lambda p: sgd.SGD(PROBLEM, learning_rate=p["learning_rate"], momentum=p["momentum"], sampler=3)
    run = {"replicas": 8, "steps": 6, "groups": 4, "key": KEY}
    statistics = {"mean": sgd.statistics.Mean(), "loss": sgd.statistics.Loss(PROBLEM)}
    swept = sgd.sweep(make, {"learning_rate": rates, "momentum": momenta}, statistics, at_once=2, **run)
    assert swept["loss"].value.shape == (3,) and swept["mean"].groups.shape == (3, 4, 2)
    one = sgd.simulate(make({"learning_rate": 0.2, "momentum": 0.9}), statistics, dtype=jnp.float64, **run).estimates
    assert jnp.allclose(one["mean"].value, swept["mean"].value[2], rtol=1e-12)
    assert jnp.allclose(one["loss"].standard_error, swept["loss"].standard_error[2], rtol=1e-10)


def test_bad_sweeps_are_refused():
    make = lambda p: sgd.SGD(PROBLEM, learning_rate=p["a"], momentum=p["b"], sampler=3)
    run = {"replicas": 8, "steps": 6, "key": KEY}
    with pytest.raises(ValueError, match=r"over has arrays of shapes \[\(3,\), \(2,\)\]"):
        sgd.sweep(make, {"a": jnp.ones(3), "b": jnp.ones(2)}, sgd.statistics.Mean(), **run)
    with pytest.raises(ValueError, match="over has arrays of shapes"):
        sgd.sweep(make, {"a": 0.1, "b": jnp.ones(2)}, sgd.statistics.Mean(), **run)
    with pytest.raises(ValueError, match=r"over has arrays of shapes \[\(\), \(\)\]"):
        sgd.sweep(make, (0.1, 0.2), sgd.statistics.Mean(), **run)


def test_lists_of_numbers_are_settings_too():
    make = lambda p: sgd.SGD(PROBLEM, learning_rate=p["a"], sampler=3)
    run = {"statistics": sgd.statistics.Mean(), "replicas": 8, "steps": 6, "key": KEY}
    listed, array = (sgd.sweep(make, {"a": rates}, **run) for rates in ([0.05, 0.1], jnp.array([0.05, 0.1])))
    alone = sgd.sweep(lambda η: make({"a": η}), [0.05, 0.1], **run)
    assert jnp.array_equal(listed.value, array.value) and jnp.array_equal(alone.value, array.value)
    assert not jnp.array_equal(array.value[0], array.value[1])


def test_a_sweep_warns_of_the_settings_that_diverge():
    make = lambda η: sgd.SGD(PROBLEM, learning_rate=η, sampler=3)
    run = {"statistics": sgd.statistics.Mean(), "replicas": 8, "steps": 60, "groups": 4, "key": KEY}
    with pytest.warns(UserWarning, match=r"diverged.* in 2 of 3 settings. Of 4 .*: 4 in setting 1, 4 in setting 2"):
        found = sgd.sweep(make, jnp.array([0.05, 1e6, 1e7]), **run)
    assert jnp.isnan(found.value[1:]).all() and jnp.isfinite(found.value[0]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sgd.sweep(make, jnp.array([0.05, 0.1, 0.2]), **run)
        # traced, nothing can be read
        jax.jit(lambda rates: sgd.sweep(make, rates, **run).value)(jnp.array([0.05, 1e6, 1e7]))


def test_a_seed_is_no_key(without_type_checks):
    make = lambda η: sgd.SGD(PROBLEM, learning_rate=η, sampler=3)
    run = {"replicas": 8, "steps": 6, "key": 0}
    for call in (sgd.sensitivity, sgd.sweep, sgd.design):
        at = jnp.array([0.1]) if call is sgd.sweep else 0.1
        with pytest.raises(ValueError, match=r"key = 0, but it must be a key: jax.random.key\(0\)"):
            call(make, at, sgd.statistics.Loss(PROBLEM), **run)
