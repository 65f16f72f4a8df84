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
    "cooling": 0.2,
    "momentum": 0.4,
    "weight_decay": 0.05,
    "inputs": X,
    "targets": Y,
    "start": jnp.array([0.3, -0.2, 0.5]),
}


def learned(p):
    """(dynamics, initial), with a learning rate η/(1 + cooling · step)."""
    problem = sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(p["inputs"], p["targets"]))
    rates = {name: p[name] for name in ("momentum", "weight_decay")}
    schedule = lambda step: p["learning_rate"] / (1 + p["cooling"] * step.astype(float))
    return sgd.SGD(problem, learning_rate=schedule, sampler=every_sequence(), **rates), p["start"]


def exact(p):
    """Means and covariances of weights and velocities after the last step, the loss there, and the squared distance
    that the last two steps went, by the recursion of the moments."""
    rates = {name: p[name] for name in ("momentum", "weight_decay")}
    schedule = lambda step: p["learning_rate"] / (1 + p["cooling"] * step)
    of_step = lambda step: MinibatchMoments(
        p["inputs"], p["targets"], learning_rate=schedule(step), sampling_factor=1.0, **rates
    )
    μ = of_step(0).mean
    mean = jnp.concatenate([p["start"] - μ, jnp.zeros(3)])
    second = jnp.outer(mean, mean)
    from_then = second  # E z zᵀ of now and of the last but two
    for step in range(STEPS):
        if step == STEPS - 2:
            before, from_then = second, second
        from_then = of_step(step).transition() @ from_then
        mean, second = of_step(step).after(1, mean, second)
    covariance = second - jnp.outer(mean, mean)
    x, residuals = p["inputs"], p["inputs"] @ μ - p["targets"]
    loss = jnp.mean((x @ mean[:3] + residuals) ** 2 + jnp.einsum("mi,ij,mj->m", x, covariance[:3, :3], x)) / 2
    return {
        "mean": μ + mean[:3],
        "velocity": mean[3:],
        "covariance": covariance[:3, :3],
        "of velocity": jnp.diag(covariance)[3:],
        "loss": loss,
        "displacement": jnp.trace((second + before - 2 * from_then)[:3, :3]),
    }


def at_the_end(problem):
    """The statistics of `exact` after the last step, and those that jackknife makes n/(n − 1) as large."""
    s = sgd.statistics
    linear = {"mean": s.Mean(), "velocity": s.Mean(of=s.velocity), "loss": s.Loss(problem)}
    return linear, {"covariance": s.Covariance(), "of velocity": s.Variance(of=s.velocity)}


def values(tree):
    return jax.tree.map(lambda e: e.value, tree, is_leaf=lambda x: isinstance(x, sgd.statistics.Estimate))


def furthest(found, expected):
    """The largest deviation of any entry, relative to it, or to a thousandth of the largest of its array."""
    sizes = lambda b: jnp.maximum(jnp.abs(b), 1e-3 * jnp.max(jnp.abs(b)))
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.max(jnp.where(a == b, 0, jnp.abs(a - b) / sizes(b)))) for a, b in pairs)


@pytest.mark.must_hold
def test_derivatives_of_the_expectation_itself_are_those_of_exact_theory():
    n, slopes = 2**STEPS, jax.jit(jax.jacfwd(exact))(AT)
    run = {"replicas": n, "groups": n, "key": KEY}
    last, window = {"steps": 1, "burn_in": STEPS - 1}, {"steps": 2, "burn_in": STEPS - 2}
    # the loss of the data that are given, which do not move with the parameters of the run
    linear, squares = at_the_end(sgd.Problem(sgd.networks.Linear(3, 1), sgd.data.Dataset(X, Y)))
    of_data = jax.jit(jax.grad(lambda p: exact(AT | p)["loss"]))
    still = {name: AT[name] for name in AT if name not in ("inputs", "targets")}
    found = values(sgd.sensitivity(learned, AT, linear | squares, mode="forward", **run, **last).derivatives)
    # one replica a group: the jackknife makes n/(n − 1) of the covariance of all there is
    larger = {name: jax.tree.map(lambda x: x * n / (n - 1), slopes[name]) for name in squares}
    expected = slopes | larger
    for name in ("mean", "velocity", *squares):
        assert furthest(found[name], expected[name]) < 1e-9, name
    assert furthest({name: found["loss"][name] for name in still}, of_data(still)) < 1e-9
    went = sgd.sensitivity(
        learned, AT, sgd.statistics.GlobalDisplacement((2,)), mode="forward", **run, **window
    ).derivatives
    assert furthest(jax.tree.map(lambda x: x[0], values(went)), slopes["displacement"]) < 1e-9
    back = sgd.sensitivity(learned, AT, {"mean": sgd.statistics.Mean()}, mode="reverse", **run, **last)
    assert furthest(values(back.derivatives), {"mean": slopes["mean"]}) < 1e-9
    wrong = jax.jit(jax.jacfwd(exact))(AT | {"learning_rate": 0.101})
    assert furthest(values(back.derivatives), {"mean": wrong["mean"]}) > 1e-3


# --- every dynamics and statistic, against differences of the same draws ---------------------------------------------

DATA = sgd.data.teacher_student(KEY, samples=12, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
NETWORK = sgd.Problem(sgd.networks.MLP((3, 4, 1), jnp.tanh, key=KEY), DATA)
TEACHER = np.eye(3)
LINEAR = sgd.networks.DeepLinear((3, 3, 3), key=KEY)
ORIGIN = jnp.array([0.3, -0.2, 0.5])


def scaled(problem, p):
    """The problem with inputs and targets times those of p."""
    data = sgd.data.Dataset(p.get("inputs", 1.0) * DATA.x, p.get("targets", 1.0) * DATA.y)
    return sgd.Problem(problem.network, data)


def of(kind, problem, start, **fixed):
    """p -> (dynamics, initial): p has rates, and factors of inputs, targets and the start."""

    def make(p):
        rates = {name: p[name] for name in ("learning_rate", "momentum", "weight_decay") if name in p}
        return kind(scaled(problem, p), **rates, **fixed), p.get("start", 1.0) * start

    return make


def schedules(p):
    cooled = lambda name: lambda step: p[name] / (1 + 0.1 * step.astype(float))
    return sgd.SGD(PROBLEM, sampler=4, **{name: cooled(name) for name in p})


def label_noise(p):
    problem = sgd.Problem(LINEAR, sgd.data.Teacher(TEACHER, p["label_noise"]))
    return sgd.SGD(problem, learning_rate=p["learning_rate"], sampler=sgd.samplers.Online(2)), p[
        "start"
    ] * problem.parameters


def langevin_of_a_deep_linear_network(p):
    problem = sgd.Problem(LINEAR, sgd.data.Teacher(TEACHER, p["label_noise"]))
    langevin = sgd.Langevin(problem, learning_rate=p["learning_rate"], sampler=sgd.samplers.Online(2), substeps=2)
    return langevin, p["start"] * problem.parameters


def fresh_labels(p):
    problem = sgd.Problem(PROBLEM.network, sgd.data.FreshLabels(DATA, p["label_noise"]))
    return sgd.SGD(problem, learning_rate=0.1, sampler=4)


def injected(p):
    noise = sgd.dynamics.inject_noise(p["variance"], key=jax.random.key(0))
    return sgd.Descent(NETWORK, optax.chain(noise, optax.sgd(p["learning_rate"], momentum=0.5)), 4)


def second_order(p):
    noise = sgd.noise.isotropic(PROBLEM, 4, variance=p["temperature"])
    return sgd.Langevin(PROBLEM, learning_rate=p["learning_rate"], sampler=4, noise=noise, order=2, substeps=2), ORIGIN


def underdamped_with_temperature(p):
    noise = sgd.noise.hessian_proportional(PROBLEM, 4, scale=p["temperature"])
    return sgd.UnderdampedLangevin(PROBLEM, learning_rate=0.1, momentum=p["momentum"], sampler=4, noise=noise), ORIGIN


def double_well(p):
    drift = lambda t, θ: -p["height"] * (θ**3 - θ)
    diffusion = lambda t, θ: p["noise"] * jnp.sqrt(1 + θ**2)
    return sgd.ItoProcess(drift, diffusion, initial=ORIGIN, time_step=0.1, substeps=2), p["start"] * ORIGIN


def ornstein_uhlenbeck(p):
    drift, noise = jnp.diag(jnp.array([p["friction"], 1.0])), jnp.diag(jnp.array([1.0, p["temperature"]]))
    return sgd.LinearProcess(drift, noise, time_step=0.1)


def modes(p):
    one = jnp.array([[0.0, -1.0], [p["curvature"], p["friction"]]])
    noise = jnp.array([[0.0, 0.0], [0.0, p["temperature"]]])
    return sgd.LinearModes(jnp.stack([one, 2 * one]), jnp.stack([noise, noise]), time_step=0.1)


ALL = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1, "inputs": 1.1, "targets": 0.9, "start": 0.7}
CONTINUOUS = {name: ALL[name] for name in ALL if name != "momentum"}
DYNAMICS = {
    "SGD": (ALL, of(sgd.SGD, PROBLEM, ORIGIN, sampler=4)),
    "SGD of a network in epochs": (ALL, of(sgd.SGD, NETWORK, NETWORK.parameters, sampler=Epochs(4))),
    "schedules": ({"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.1}, schedules),
    "label noise": ({"learning_rate": 0.1, "label_noise": 0.3, "start": 0.7}, label_noise),
    "fresh labels": ({"label_noise": 0.3}, fresh_labels),
    "Adam": ({"learning_rate": 0.1}, lambda p: sgd.Descent(NETWORK, optax.adam(p["learning_rate"]), 4)),
    "injected noise": ({"learning_rate": 0.1, "variance": 0.2}, injected),
    "SVAG": (
        {"learning_rate": 0.1, "weight_decay": 0.1, "start": 0.7},
        of(sgd.dynamics.SVAG, PROBLEM, ORIGIN, sampler=4, stretch=2),
    ),
    "Langevin": (CONTINUOUS, of(sgd.Langevin, NETWORK, NETWORK.parameters, sampler=4, substeps=2)),
    "Langevin of second order": ({"learning_rate": 0.1, "temperature": 0.3}, second_order),
    "Langevin of a deep linear network": (
        {"learning_rate": 0.1, "label_noise": 0.3, "start": 0.7},
        langevin_of_a_deep_linear_network,
    ),
    "underdamped": (ALL, of(sgd.UnderdampedLangevin, PROBLEM, ORIGIN, sampler=4, substeps=2)),
    "underdamped with a temperature": ({"momentum": 0.5, "temperature": 0.3}, underdamped_with_temperature),
    "ItoProcess": ({"height": 0.8, "noise": 0.3, "start": 0.7}, double_well),
    "LinearProcess": ({"friction": 0.7, "temperature": 0.5}, ornstein_uhlenbeck),
    "LinearModes": ({"curvature": 0.7, "friction": 0.5, "temperature": 0.4}, modes),
}


IN_SHORT = ("SGD", "Langevin")


def every_smooth_statistic():
    s = sgd.statistics
    return {
        "mean": s.Mean(),
        "variance": s.Variance(),
        "kurtosis": s.Kurtosis(),
        "covariance": s.Covariance(),
        "about a point": s.Covariance(about=jnp.ones(3)),
        "norm": s.Mean(of=s.Norm()),
        "velocity": s.Variance(of=s.velocity),
        "loss": s.Loss(PROBLEM),
        "autocovariance": s.Autocovariance((0, 1, 3)),
        "displacement": s.Displacement((1, 2, 4)),
        "global displacement": s.GlobalDisplacement((1, 2, 4)),
        "rotation": s.AngularVelocity(s.PhaseSpace(jnp.eye(3)[:, :2], jnp.zeros(3))),
        "spectrum": s.PowerSpectrum(4),
        "spectrum about a point": s.PowerSpectrum(4, about=jnp.ones(3)),
        "halves": s.Halves(s.Mean()),
        "learning curve": s.Snapshots((1, 3, 9)),
    }


def four_statistics():
    s = sgd.statistics
    return {"mean": s.Mean(), "covariance": s.Covariance(), "norm": s.Mean(of=s.Norm()), "lag": s.Displacement((1, 2))}


RUN = {"replicas": 16, "steps": 9, "burn_in": 2, "groups": 8, "key": KEY}
H = 1e-5  # relative: H² × (third derivative/first, hundreds) and 1e-16/H are both below 1e-7


def estimated(make, statistics, p):
    made = make(p)
    dynamics, initial = made if isinstance(made, tuple) else (made, None)
    found = measure(dynamics, statistics, initial=initial, **RUN)
    paths = lambda x: isinstance(x, sgd.statistics.SnapshotsEstimate)
    return values(jax.tree.map(lambda x: x.mean if paths(x) else x, found, is_leaf=paths))


def differences(function, at):
    """Central ones, of numbers by name: at each leaf of what `function` gives, one for each name."""
    sides = jnp.array([1 + H, 1 - H])
    both = {name: {other: (x * sides if other == name else jnp.full(2, x)) for other, x in at.items()} for name in at}
    ends = jax.jit(jax.vmap(function))({name: jnp.concatenate([both[k][name] for k in at]) for name in at})
    slope = lambda x, i, name: (x[2 * i] - x[2 * i + 1]) / (2 * H * at[name])
    return jax.tree.map(lambda x: {name: slope(x, i, name) for i, name in enumerate(at)}, ends)


def weights(x):
    return jnp.cos(jnp.arange(1.0, x.size + 1)).reshape(x.shape)


def assert_like_differences(at, make, statistics):
    """Forward and reverse derivatives are those of differences of the same draws."""
    of_p = lambda p: estimated(make, statistics, p)
    expected = differences(of_p, at)
    forward = values(sgd.sensitivity(make, at, statistics, mode="forward", **RUN).derivatives)
    assert furthest(forward, expected) < 1e-4

    # backwards from each statistic, all its entries weighed
    leaves = lambda p: [jnp.sum(weights(x) * x) for x in jax.tree.leaves(of_p(p))]
    reverse = jax.jit(jax.jacrev(leaves))(jax.tree.map(jnp.asarray, at))
    is_slope = lambda x: isinstance(x, dict) and set(x) == set(at)
    for found, slopes in zip(reverse, jax.tree.leaves(expected, is_leaf=is_slope), strict=True):
        for name in at:
            weighed = weights(slopes[name]) * slopes[name]
            assert abs(found[name] - weighed.sum()) <= 1e-4 * jnp.abs(weighed).max(), name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.must_hold if name in IN_SHORT else ()) for name in DYNAMICS]
)
def test_derivatives_of_every_dynamics(name):
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        assert_like_differences(*DYNAMICS[name], four_statistics())


@pytest.mark.parametrize("name", ["SGD", "underdamped"])
def test_derivatives_of_every_smooth_statistic(name):
    at, make = DYNAMICS[name]
    assert_like_differences({k: at[k] for k in ("learning_rate", "momentum")}, make, every_smooth_statistic())


def test_a_path_for_given_draws_changes_as_theory_says():
    """One mode: x ← F x + √Q ξ, F = exp(−k t), Q = N (1 − F²)/2k, with the ξ of the run."""
    time, at = 0.3, {"drift": 0.8, "noise": 0.5}
    number = lambda x: jnp.reshape(x, (1, 1))
    process = lambda p: sgd.LinearProcess(number(p["drift"]), number(p["noise"]), time_step=time)
    curve = sgd.statistics.Snapshots(range(10))
    run = {"replicas": 16, "steps": 9, "groups": 8, "key": KEY, "initial": jnp.array([0.7])}
    paths = jax.jit(lambda: measure(process(at), curve, **run))().values[..., 0]
    F = lambda p: jnp.exp(-p["drift"] * time)
    root = lambda p: jnp.sqrt(p["noise"] * (1 - F(p) ** 2) / (2 * p["drift"]))
    ξ = (paths[1:] - F(at) * paths[:-1]) / root(at)

    def theory(p):
        x = [jnp.full(16, 0.7)]
        for draw in ξ:
            x.append(F(p) * x[-1] + root(p) * draw)
        return jnp.stack(x)

    slopes = jax.jacfwd(lambda p: jnp.mean(theory(p), axis=1))(at)
    start = run.pop("initial")
    found = sgd.sensitivity(lambda p: (process(p), start), at, curve, mode="forward", **run)
    assert furthest(jax.tree.map(lambda x: x[..., 0], values(found.derivatives)), slopes) < 1e-10
    assert furthest(jax.jacfwd(theory)(at)["drift"].mean(1), slopes["drift"]) < 1e-12
    assert jnp.abs(ξ).max() > 1  # there were draws


@pytest.mark.parametrize("every", [1, 50])
def test_memory_backwards_grows_as_the_root_of_the_steps(every):
    """16 times the steps: 4 times the states that are remembered, and 16 times if each were."""

    def bytes_of(steps):
        run = {"replicas": 32, "steps": steps, "every": every, "groups": 8, "key": KEY}
        loss = lambda η: measure(sgd.SGD(NETWORK, learning_rate=η, sampler=4), sgd.statistics.Mean(), **run)
        return (
            jax.jit(jax.grad(lambda η: loss(η).value.sum())).lower(0.1).compile().memory_analysis().temp_size_in_bytes
        )

    assert bytes_of(6400) < 6 * bytes_of(400)


# --- errors --------------------------------------------------------------------------------------------------------


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
    make = lambda η: sgd.SGD(PROBLEM, learning_rate=η, sampler=4)
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


def test_shares_in_which_a_replica_diverges_are_left_out_and_counted():
    def make(p, start):
        explosive = sgd.ItoProcess(lambda t, θ: p * θ**3 - θ, lambda t, θ: 0.1 * θ, initial=ORIGIN, time_step=0.1)
        return explosive, start

    start = jnp.full((64, 3), 0.2).at[5].set(5.0)
    run = {"replicas": 64, "steps": 9, "key": KEY}
    slope = lambda start, **how: sgd.sensitivity(lambda p: make(p, start), 1.0, sgd.statistics.Mean(), **run, **how)
    back, each = slope(start, mode="reverse"), slope(start, mode="forward", groups=64).derivatives
    shares = back.derivatives.weights.size
    kept = np.delete(np.arange(64).reshape(shares, -1), 5 * shares // 64, axis=0).ravel()
    assert back.estimates.left_out == back.derivatives.left_out == each.left_out == 1
    assert jnp.allclose(back.derivatives.value, each.groups[kept].mean(0), rtol=1e-10)
    lost = slope(start + 5, mode="reverse").derivatives
    assert jnp.isnan(lost.value).all() and lost.left_out == shares


def test_bad_questions_are_refused():
    make, run = lambda η: sgd.SGD(PROBLEM, learning_rate=η, sampler=4), RUN
    with pytest.raises(ValueError, match="Histogram, which counts events"):
        sgd.sensitivity(make, 0.1, sgd.statistics.Histogram(jnp.linspace(0.0, 1.0, 3)), **run)
    with pytest.raises(ValueError, match="at = 1, but it must be a tree of floating-point"):
        sgd.sensitivity(make, 1, sgd.statistics.Mean(), **run)
    with pytest.raises(ValueError, match="replicas = 17, but mode = 'reverse'"):
        sgd.sensitivity(make, 0.1, sgd.statistics.Mean(), mode="reverse", **run | {"replicas": 17})
    with pytest.raises(ValueError, match="every = 10, but it must be at most steps = 9"):
        sgd.sensitivity(make, 0.1, sgd.statistics.Mean(), every=10, **run)
