"""SGD and descent by optax: the same steps on the same minibatches."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset
from sgdynamics.dynamics import at_step
from sgdynamics.samplers import Epochs, FullBatch, Online, WithoutReplacement, WithReplacement

RNG = np.random.default_rng(0)
KEY = jax.random.key(6)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))
DECAYING = optax.exponential_decay(0.2, transition_steps=5, decay_rate=0.7)


def mlp():
    return sgd.Problem(sgd.networks.MLP((3, 4, 2), key=KEY), Dataset(X, Y))


def path(dynamics, steps=30, key=KEY):
    """Positions and velocities after each step."""

    def step(state, k):
        state = dynamics.step(state, k, key)
        return state, (state.position, state.velocity)

    start = dynamics.init(dynamics.initial_position())
    return jax.jit(lambda: jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))[1])()


def test_sgd_by_hand_on_three_numbers():
    """y = w x on (1, 2): g = w − 2. From w = 1, v = 0 with η = 0.5, β = 0.5, λ = 1:
    v = 1 − 1 = 0, w = 1;  then the same again; from w = 0: v = 2, w = 1;  v = 1 + 1 − 1 = 1, w = 1.5;
    v = 0.5 + 0.5 − 1.5 = −0.5, w = 1.25."""
    problem = sgd.Problem(sgd.networks.Linear(1, 1), Dataset(np.ones((1, 1)), np.full(1, 2.0)))
    descent = sgd.SGD(problem, learning_rate=0.5, sampler=FullBatch(), momentum=0.5, weight_decay=1.0)
    w, v = path(descent, 3)
    assert w.ravel().tolist() == [1.0, 1.5, 1.25] and v.ravel().tolist() == [2.0, 1.0, -0.5]


def test_a_start_has_the_velocity_it_is_given():
    descent = sgd.SGD(mlp(), learning_rate=0.1, sampler=2, momentum=0.9)
    θ = descent.initial_position()
    assert not descent.init(θ).velocity.any()
    assert jnp.array_equal(descent.init(θ, 2 * θ).velocity, 2 * θ)


@pytest.mark.parametrize("learning_rate", [0.1, DECAYING], ids=["constant", "decaying"])
@pytest.mark.parametrize("momentum, decay", [(0.0, 0.0), (0.9, 0.0), (0.9, 0.02)])
@pytest.mark.parametrize("sampler", [WithReplacement(3), Epochs(4)], ids=["with", "epochs"])
def test_sgd_is_optaxs_step_by_step(learning_rate, momentum, decay, sampler):
    problem = mlp()
    ours = sgd.SGD(problem, learning_rate=learning_rate, sampler=sampler, momentum=momentum, weight_decay=decay)
    transformation = optax.chain(optax.add_decayed_weights(decay), optax.sgd(learning_rate, momentum=momentum or None))
    theirs = sgd.Descent(problem, transformation, sampler)
    (θ, _), (φ, moved) = path(ours), path(theirs)
    assert jnp.abs(θ - φ).max() < 1e-12
    before = jnp.concatenate([problem.parameters[None], φ[:-1]])
    assert jnp.allclose(moved, φ - before, atol=1e-14)
    assert jnp.abs(θ[-1] - problem.parameters).max() > 0.1  # it did move


def test_another_momentum_is_not_the_same_path():
    make = lambda momentum: sgd.SGD(mlp(), learning_rate=0.1, sampler=3, momentum=momentum)
    assert jnp.abs(path(make(0.9))[0] - path(make(0.89))[0]).max() > 1e-4


def test_momentum_and_weight_decay_can_be_schedules():
    problem = mlp()
    ramp = lambda step: 0.05 * step.astype(float)
    descent = sgd.SGD(problem, learning_rate=0.1, sampler=FullBatch(), momentum=ramp, weight_decay=ramp)
    θ, v = problem.parameters, jnp.zeros_like(problem.parameters)
    for k in range(5):
        v = 0.05 * k * v - problem.gradient(θ) - 0.05 * k * θ
        θ = θ + 0.1 * v
    assert jnp.abs(path(descent, 5)[0][-1] - θ).max() < 1e-14


def test_time_is_counted_in_learning_rates_or_steps():
    constant = sgd.SGD(mlp(), learning_rate=0.1, sampler=2)
    scheduled = sgd.SGD(mlp(), learning_rate=DECAYING, sampler=2)
    assert float(constant.time_step(jnp.array(7))) == 0.1
    assert jnp.allclose(scheduled.time_step(jnp.array(10)), 0.2 * 0.7**2, rtol=1e-12)
    assert float(sgd.Descent(mlp(), optax.adam(0.1), 2).time_step(jnp.array(7))) == 1


def test_the_readable_step_follows_a_stream():
    problem = sgd.Problem(sgd.networks.DeepLinear((3, 4, 2), key=KEY), sgd.data.Teacher(np.ones((2, 3)), 0.1))
    descent = sgd.SGD(problem, learning_rate=0.1, sampler=Online(2))
    batch = problem.data.sample(jax.random.fold_in(KEY, 0), 2)
    expected = problem.parameters - 0.1 * problem.gradient(problem.parameters, batch)
    assert jnp.abs(path(descent, 1)[0][0] - expected).max() < 1e-15


def test_any_optax_transformation_learns():
    problem = mlp()
    with jax.numpy_dtype_promotion("standard"):  # Adam mixes floats and integers
        θ, _ = path(sgd.Descent(problem, optax.adam(0.05), WithoutReplacement(6)), 200)
    assert problem.loss(θ[-1]) < 0.7 * problem.loss(problem.parameters)


BAD = [
    ({"learning_rate": -0.1}, r"learning_rate = -0.1.*≥ 0"),
    ({"learning_rate": float("nan")}, r"learning_rate = nan.*finite"),
    ({"learning_rate": float("inf")}, r"learning_rate = inf.*finite"),
    ({"momentum": 1.0}, r"momentum = 1.0.*\[0, 1\)"),
    ({"momentum": -0.1}, r"momentum = -0.1.*\[0, 1\)"),
    ({"momentum": float("nan")}, r"momentum = nan.*\[0, 1\)"),
    ({"weight_decay": -1.0}, r"weight_decay = -1.0"),
    ({"sampler": 0}, r"batch_size = 0"),
    ({"sampler": Epochs(13)}, r"batch_size = 13.*12 samples"),
    ({"sampler": Online(1)}, r"sampler = Online"),
]


@pytest.mark.parametrize("options, message", BAD)
def test_bad_hyperparameters_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        sgd.SGD(mlp(), **{"learning_rate": 0.1, "sampler": 2, **options})


TRAININGS = {
    "SGD": lambda problem, η: sgd.SGD(problem, learning_rate=η, sampler=2),
    "Descent": lambda problem, η: sgd.Descent(problem, optax.sgd(η), 2),
    "Langevin": lambda problem, η: sgd.Langevin(problem, learning_rate=η, sampler=2),
    "UnderdampedLangevin": lambda problem, η: sgd.UnderdampedLangevin(
        problem, learning_rate=η, sampler=2, momentum=0.5
    ),
    "SVAG": lambda problem, η: sgd.dynamics.SVAG(problem, learning_rate=η, sampler=2, stretch=2),
    "gradient_flow": lambda problem, η: sgd.dynamics.gradient_flow(problem),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_network_alone_is_no_problem(name, without_type_checks):
    with pytest.raises(ValueError, match=r"problem is a MLP, .*Problem: sgdynamics.Problem\(network, data\)"):
        TRAININGS[name](sgd.networks.MLP((3, 4, 2), key=KEY), 0.1)


@pytest.mark.parametrize("name", ["SGD", "Langevin", "UnderdampedLangevin", "SVAG"])
@pytest.mark.parametrize("learning_rate", ["0.1", None, {"a": 0.1}], ids=str)
def test_a_hyperparameter_is_a_number_or_a_schedule(name, learning_rate, without_type_checks):
    with pytest.raises(ValueError, match=r"learning_rate = .*must be a number, or a schedule"):
        TRAININGS[name](mlp(), learning_rate)
    TRAININGS[name](mlp(), np.float32(0.1))


@pytest.mark.parametrize("transformation", [0.1, "adam", optax.adam], ids=["number", "name", "not called"])
def test_an_optimiser_is_one_of_optax(transformation, without_type_checks):
    with pytest.raises(ValueError, match=r"transformation = .*one of optax, such as optax.adam"):
        sgd.Descent(mlp(), transformation, 2)


def test_a_vector_of_learning_rates_is_refused():
    with pytest.raises((ValueError, TypeError), match=r"learning_rate"):
        sgd.SGD(mlp(), learning_rate=np.array([0.1, 0.2]), sampler=2)


def test_traced_hyperparameters_are_checked_at_run_time():
    problem = mlp()

    @eqx.filter_jit
    def one_step(learning_rate, momentum):
        descent = sgd.SGD(problem, learning_rate=learning_rate, sampler=2, momentum=momentum)
        return descent.step(descent.init(problem.parameters), jnp.int32(0), KEY).position

    expected = path(sgd.SGD(problem, learning_rate=0.1, sampler=2, momentum=0.5), 1)[0][0]
    assert jnp.abs(one_step(jnp.array(0.1), jnp.array(0.5)) - expected).max() < 1e-15
    for bad, message in (((-0.1, 0.5), "learning_rate must be finite and ≥ 0"), ((0.1, 1.0), r"momentum must be in")):
        with pytest.raises(RuntimeError, match=message):
            jax.block_until_ready(one_step(*map(jnp.array, bad)))


def test_a_schedule_is_read_in_the_precision_of_the_run():
    assert at_step(DECAYING, jnp.int32(3), jnp.float32).dtype == jnp.float32


def test_a_descent_refuses_a_velocity():
    with pytest.raises(ValueError, match="velocity was given"):
        sgd.Descent(mlp(), optax.adam(0.1), 2).init(mlp().parameters, mlp().parameters)
