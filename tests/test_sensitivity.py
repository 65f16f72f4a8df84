"""Derivatives of ensembles: against exact theory where every sequence of minibatches is made once, against finite
differences with common draws, and with errors that cover."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import t as students_t

import sgdynamics as sgd
from sgdynamics.ensemble import measure
from sgdynamics.samplers import AbstractSampler, Epochs
from sgdynamics.theory.recursion import MinibatchMoments

KEY = jax.random.key(4)
RNG = np.random.default_rng(3)
X, Y = jnp.asarray(RNG.normal(size=(2, 3))), jnp.asarray(RNG.normal(size=2))
STEPS = 6


class EverySequence(AbstractSampler):
    """One example of two a step: replica r takes those that the digits of r say, so that 2^steps replicas are all
    the sequences there are, and their average the expectation itself. `keys` are the replicas' own."""

    keys: jax.Array

    def draw(self, data, memory, step, key):
        same = jnp.all(jax.random.key_data(self.keys) == jax.random.key_data(key)[None], axis=1)
        digit = (jnp.argmax(same).astype(step.dtype) >> step) & 1
        return data.take(digit[None], key), memory

    def covariance_factor(self, data):
        return jnp.ones(())

    def check(self, data):
        pass


def every_sequence():
    run_key = jax.random.split(KEY)[1]
    numbers = jnp.arange(2**STEPS, dtype=jnp.uint32)
    return EverySequence(jax.vmap(jax.random.fold_in, in_axes=(None, 0))(run_key, numbers))


AT = {
    "learning_rate": 0.1,
    "momentum": 0.4,
    "weight_decay": 0.05,
    "inputs": X,
    "targets": Y,
    "start": jnp.array([0.3, -0.2, 0.5]),
}


def learned(p):
    """(dynamics, initial)."""
    problem = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(p["inputs"], p["targets"]))
    rates = {name: p[name] for name in ("learning_rate", "momentum", "weight_decay")}
    return sgd.SGD(problem, sampler=every_sequence(), **rates), p["start"]


def exact(p):
    """Mean and covariance of the weights after the last step, by the recursion of the moments."""
    rates = {name: p[name] for name in ("learning_rate", "momentum", "weight_decay")}
    moments = MinibatchMoments(p["inputs"], p["targets"], sampling_factor=1.0, **rates)
    start = jnp.concatenate([p["start"] - moments.mean, jnp.zeros(3)])
    mean, second = moments.after(STEPS, start, jnp.outer(start, start))
    return {"mean": moments.mean + mean[:3], "covariance": (second - jnp.outer(mean, mean))[:3, :3]}


def furthest(found, expected):
    return max(
        float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    )


def values(tree):
    return jax.tree.map(lambda e: e.value, tree, is_leaf=lambda x: isinstance(x, sgd.statistics.Estimate))


@pytest.mark.long
def test_derivatives_of_the_expectation_itself_are_those_of_exact_theory():
    statistics = {"mean": sgd.statistics.Mean(), "covariance": sgd.statistics.Covariance()}
    n = 2**STEPS
    run = {"replicas": n, "steps": 1, "burn_in": STEPS - 1, "groups": n, "key": KEY}
    found = sgd.sensitivity(learned, AT, statistics, mode="forward", **run)
    slopes = jax.jit(jax.jacfwd(exact))(AT)
    # one replica a group: the jackknife makes n/(n − 1) of the covariance of all there is
    slopes["covariance"] = jax.tree.map(lambda x: x * n / (n - 1), slopes["covariance"])
    assert furthest(values(found.derivatives), slopes) < 1e-10
    back = sgd.sensitivity(learned, AT, {"mean": sgd.statistics.Mean()}, mode="reverse", **run)
    assert furthest(values(back.derivatives), {"mean": slopes["mean"]}) < 1e-10
    wrong = jax.jit(jax.jacfwd(exact))(AT | {"learning_rate": 0.101})
    assert furthest(values(back.derivatives), {"mean": wrong["mean"]}) > 1e-4


# --- every dynamics and statistic, against differences of the same draws ---------------------------------------------

DATA = sgd.data.teacher_student(KEY, samples=12, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
NETWORK = sgd.Problem(sgd.networks.MLP((3, 4, 1), jnp.tanh, key=KEY), DATA)
TEACHER = np.eye(3)
LINEAR = sgd.networks.DeepLinear((3, 3, 3), key=KEY)


def schedule(p):
    return sgd.SGD(PROBLEM, learning_rate=lambda step: p / (1 + 0.1 * step.astype(float)), sampler=4)


def label_noise(p):
    online = sgd.samplers.Online(2)
    return sgd.SGD(sgd.Problem(LINEAR, sgd.data.Teacher(TEACHER, p)), learning_rate=0.1, sampler=online)


def ornstein_uhlenbeck(p):
    return sgd.LinearProcess(jnp.diag(jnp.array([p, 1.0])), jnp.diag(jnp.array([1.0, p])), time_step=0.1)


DYNAMICS = {
    "SGD": (0.1, lambda p: sgd.SGD(PROBLEM, learning_rate=p, sampler=4)),
    "momentum": (0.5, lambda p: sgd.SGD(PROBLEM, learning_rate=0.1, momentum=p, sampler=Epochs(4))),
    "weight decay of a network": (0.1, lambda p: sgd.SGD(NETWORK, learning_rate=0.1, weight_decay=p, sampler=4)),
    "schedule": (0.1, schedule),
    "label noise": (0.3, label_noise),
    "initial weights": (0.7, lambda p: (sgd.SGD(NETWORK, learning_rate=0.1, sampler=4), p * NETWORK.parameters)),
    "targets": (
        1.1,
        lambda p: sgd.SGD(
            sgd.Problem(PROBLEM.network, sgd.data.Dataset(DATA.x, p * DATA.y)), learning_rate=0.1, sampler=4
        ),
    ),
    "Adam": (0.1, lambda p: sgd.Descent(NETWORK, optax.adam(p), 4)),
    "Langevin": (0.1, lambda p: sgd.Langevin(NETWORK, learning_rate=p, sampler=4, substeps=2)),
    "underdamped": (
        0.5,
        lambda p: sgd.UnderdampedLangevin(PROBLEM, learning_rate=0.1, momentum=p, sampler=4, substeps=2),
    ),
    "LinearProcess": (0.7, ornstein_uhlenbeck),
}


def every_smooth_statistic():
    s = sgd.statistics
    return {
        "mean": s.Mean(),
        "variance": s.Variance(),
        "kurtosis": s.Kurtosis(),
        "covariance": s.Covariance(),
        "norm": s.Mean(of=s.Norm()),
        "velocity": s.Variance(of=s.velocity),
        "loss": s.Loss(PROBLEM),
        "autocovariance": s.Autocovariance((0, 1, 3)),
        "displacement": s.Displacement((1, 2, 4)),
        "global displacement": s.GlobalDisplacement((1, 2, 4)),
        "rotation": s.AngularVelocity(s.PhaseSpace(jnp.eye(3)[:, :2], jnp.zeros(3))),
        "spectrum": s.PowerSpectrum(4),
        "halves": s.Halves(s.Mean()),
    }


def four_statistics():
    s = sgd.statistics
    return {"mean": s.Mean(), "covariance": s.Covariance(), "norm": s.Mean(of=s.Norm()), "lag": s.Displacement((1, 2))}


RUN = {"replicas": 16, "steps": 9, "burn_in": 2, "groups": 8, "key": KEY}
H = 1e-5  # relative: H² × (third derivative/first, hundreds) and 1e-16/H are both below 1e-7


def assert_like_differences(at, make, statistics):
    """Forward and reverse derivatives are those of differences of the same draws."""

    def estimates(p):
        made = make(p)
        dynamics, initial = made if isinstance(made, tuple) else (made, None)
        return values(measure(dynamics, statistics, initial=initial, **RUN))

    def weighed(p):  # one number that all of them are in
        return sum(jnp.sum(jnp.cos(jnp.arange(1.0, x.size + 1)) * x.ravel()) for x in jax.tree.leaves(estimates(p)))

    both = jax.jit(jax.vmap(estimates))(at * jnp.array([1 + H, 1 - H]))
    differences = jax.tree.map(lambda x: (x[0] - x[1]) / (2 * H * at), both)
    forward = sgd.sensitivity(make, at, statistics, mode="forward", **RUN)
    assert furthest(values(forward.derivatives), differences) < 1e-4
    flat = jnp.concatenate([jnp.cos(jnp.arange(1.0, x.size + 1)) * x.ravel() for x in jax.tree.leaves(differences)])
    assert abs(jax.jit(jax.grad(weighed))(at) - flat.sum()) < 1e-4 * jnp.abs(flat).max()


@pytest.mark.long
@pytest.mark.parametrize("name", DYNAMICS)
def test_derivatives_of_every_dynamics(name):
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        assert_like_differences(*DYNAMICS[name], four_statistics())


@pytest.mark.long
def test_derivatives_of_every_smooth_statistic():
    assert_like_differences(0.5, DYNAMICS["momentum"][1], every_smooth_statistic())


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_the_stationary_law_changes_as_theory_says(mode):
    """d Cov/dη of SGD, started from its law, against that of the exact discrete law: beyond the bound once in 10⁶."""
    descent = lambda η: sgd.SGD(PROBLEM, learning_rate=η, sampler=4)
    make = lambda η: (lambda dynamics: (dynamics, sgd.predict(dynamics)))(descent(η))
    law = lambda η: sgd.predict(descent(η)).covariance
    run = {"replicas": 512, "steps": 60, "burn_in": 60, "every": 3, "key": KEY}
    found = sgd.sensitivity(make, 0.15, sgd.statistics.Covariance(), mode=mode, **run).derivatives
    slope = jax.jit(jax.jacfwd(law))(0.15)
    bound = students_t.isf(1e-6 / 2 / 9, found.degrees_of_freedom)
    assert jnp.abs(found.z(slope)).max() < bound
    assert jnp.abs(found.z(0.5 * slope)).max() > bound  # a control


def test_a_run_measured_is_the_run_simulated():
    make = DYNAMICS["SGD"][1]
    one = sgd.simulate(make(0.1), sgd.statistics.Mean(), dtype=jnp.float64, **RUN).estimates
    other = jax.jit(lambda η: measure(make(η), sgd.statistics.Mean(), **RUN))(0.1)
    assert jnp.allclose(one.value, other.value, rtol=1e-12) and jnp.allclose(one.groups, other.groups, rtol=1e-12)


def test_few_parameters_go_forward_and_many_back():
    network = lambda θ: (sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4), θ)
    run = RUN | {"steps": 2, "burn_in": 0}
    many = sgd.sensitivity(network, PROBLEM.parameters, sgd.statistics.Loss(PROBLEM), **run)
    assert many.mode == "forward"  # three parameters
    schedule = lambda η: sgd.SGD(PROBLEM, learning_rate=lambda step: η[step], sampler=4)
    found = sgd.sensitivity(schedule, jnp.full(8, 0.1), sgd.statistics.Loss(PROBLEM), **run)
    assert found.mode == "reverse" and found.derivatives.value.shape == (8,)
    assert jnp.all(found.derivatives.value[:2] != 0) and jnp.all(found.derivatives.value[2:] == 0)


def test_bad_questions_are_refused():
    make, run = DYNAMICS["SGD"][1], RUN
    with pytest.raises(ValueError, match="Histogram, which counts events"):
        sgd.sensitivity(make, 0.1, sgd.statistics.Histogram(jnp.linspace(0.0, 1.0, 3)), **run)
    with pytest.raises(ValueError, match="at = 1, but it must be a tree of floating-point"):
        sgd.sensitivity(make, 1, sgd.statistics.Mean(), **run)
    with pytest.raises(ValueError, match="replicas = 17, but mode = 'reverse'"):
        sgd.sensitivity(make, 0.1, sgd.statistics.Mean(), mode="reverse", **run | {"replicas": 17})
    with pytest.raises(ValueError, match="every = 10, but it must be at most steps = 9"):
        sgd.sensitivity(make, 0.1, sgd.statistics.Mean(), every=10, **run)
