"""Stochastic differential equations: one object, stepped by our loop and by diffrax."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.data import Dataset, FreshLabels, Teacher
from sgdynamics.dynamics import DiffusionOperator, StepBrownianPath
from sgdynamics.dynamics._brownian import increment
from sgdynamics.samplers import Online, WithoutReplacement
from sgdynamics.theory.deep_linear import modewise_diffusion, modewise_drift

RNG = np.random.default_rng(0)
KEY = jax.random.key(7)
X, Y1, Y2 = RNG.normal(size=(6, 3)), RNG.normal(size=6), RNG.normal(size=(6, 2))


def linear():
    return sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1))


def mlp():
    return sgd.Problem(sgd.networks.MLP((3, 2, 2), key=KEY), Dataset(X, Y2))


def stream():
    return sgd.Problem(sgd.networks.DeepLinear((3, 2, 2), key=KEY), Teacher(np.ones((2, 3)), 0.5))


def path(process, steps, key=KEY):
    """Positions after each step of our loop."""

    def step(state, k):
        state = process.step(state, k, key)
        return state, state.position

    start = process.init(process.initial_position())
    return jax.jit(lambda: jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))[1])()


def processes():
    fresh = sgd.Problem(sgd.networks.Linear(3, 1), FreshLabels(Dataset(X, Y1), 0.7))
    turning = lambda t, θ: jnp.array([-θ[1], θ[0]]) * (1 + t)
    shear = lambda t, θ: jnp.stack([θ, 1 + θ, jnp.ones(2)], axis=1) * 0.3
    return {
        "regression": sgd.Langevin(linear(), learning_rate=0.1, sampler=2),
        "weight decay": sgd.Langevin(mlp(), learning_rate=0.1, sampler=WithoutReplacement(2), weight_decay=0.1),
        "order 2": sgd.Langevin(mlp(), learning_rate=0.1, sampler=2, order=2, substeps=3),
        "two noises": sgd.Langevin(fresh, learning_rate=0.1, sampler=2, substeps=2),
        "stream": sgd.Langevin(stream(), learning_rate=0.05, sampler=Online(2), substeps=4),
        "isotropic": sgd.Langevin(linear(), learning_rate=0.1, sampler=2, noise=noise.isotropic(linear(), 2)),
        "decay in steps": sgd.Langevin(
            linear(), learning_rate=0.1, sampler=2, weight_decay=lambda step: 0.3 * (step % 2).astype(float)
        ),
        "any": sgd.ItoProcess(turning, shear, initial=np.array([1.0, 0.5]), time_step=0.1, noises=3, substeps=2),
    }


# --- our loop and diffrax -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weight decay", "order 2", "two noises", "stream", "decay in steps", "any"])
def test_the_loop_makes_the_path_of_diffraxs_euler(name):
    process, steps = processes()[name], 12
    saveat = diffrax.SaveAt(ts=process.time_step(jnp.array(0)) * jnp.arange(1.0, steps + 1))
    solution = sgd.solve(process, steps=steps, key=KEY, saveat=saveat)
    ours = path(process, steps)
    scale = jnp.abs(ours).max()
    # diffrax interpolates linearly between its steps, so that times off by rounding cost rounding
    assert jnp.abs(solution.ys - ours).max() < 1e-12 * scale


def test_another_key_is_another_path():
    a, b = (sgd.solve(processes()["any"], steps=3, key=jax.random.key(k)).ys[-1] for k in (0, 1))
    assert jnp.abs(a - b).max() > 1e-2


@pytest.mark.parametrize("sampler", [2, WithoutReplacement(2)])
def test_drift_and_noise_in_one_pass_are_drift_and_noise(sampler):
    problem = mlp()
    options = {"learning_rate": 0.1, "sampler": sampler, "weight_decay": 0.2}
    fused = sgd.Langevin(problem, **options)
    plain = sgd.Langevin(problem, **options, noise=noise.Sum((noise.FiniteSample(problem, sampler),)))
    assert fused.fused and not plain.fused
    assert jnp.abs(path(fused, 3)[-1] - jax.jit(lambda: path_of_sum(plain, 3))()).max() < 1e-12


@pytest.mark.parametrize("teacher", [0.0, 0.5])
def test_a_streams_drift_and_noise_in_one_pass(teacher):
    network = sgd.networks.DeepLinear((3, 4, 2), key=KEY)
    problem = sgd.Problem(network, sgd.data.Teacher(np.random.default_rng(1).normal(size=(2, 3)), teacher))
    model, θ = noise.minibatch(problem, sgd.samplers.Online(4)), problem.parameters
    z = noise.normals(KEY, model.sources(), θ.dtype)
    apart = -0.3 * problem.gradient(θ) + 0.7 * model.apply(θ, z)
    assert sgd.Langevin(problem, learning_rate=0.1, sampler=sgd.samplers.Online(4)).fused
    assert jnp.abs(model.descend(θ, jnp.array(0.3), jnp.array(0.7), z) - apart).max() < 1e-13


def path_of_sum(process, steps):
    """The path of a sum of one noise on the increments of that noise alone."""
    θ, dt = process.initial_position(), process.time_step(jnp.array(0)) / process.substeps
    for n in range(steps * process.substeps):
        dW = increment(KEY, jnp.int32(n), dt, process.noise.noises[0].sources())
        θ = θ + process.displacement(jnp.int32(n // process.substeps), n * dt, θ, dt, (dW,))
    return θ


def test_a_langevin_step_is_its_equation():
    problem, η, λ = mlp(), 0.1, 0.2
    process = sgd.Langevin(problem, learning_rate=η, sampler=2, weight_decay=λ, substeps=1)
    θ = problem.parameters
    z = jax.random.normal(jax.random.fold_in(KEY, 0), (6,))
    B = noise.FiniteSample(problem, 2).apply(θ, z)
    expected = θ - η * (problem.gradient(θ) + λ * θ) + np.sqrt(η) * np.sqrt(η) * B
    assert jnp.abs(path(process, 1)[0] - expected).max() < 1e-14


def test_the_second_order_drift_is_minus_the_gradient_of_the_modified_loss():
    problem, η, λ = mlp(), 0.3, 0.2
    total = lambda θ: problem.loss(θ) + λ / 2 * jnp.sum(θ**2)
    modified = lambda θ: total(θ) + η / 4 * jnp.sum(jax.grad(total)(θ) ** 2)
    θ = problem.parameters
    process = sgd.Langevin(problem, learning_rate=η, sampler=2, weight_decay=λ, order=2)
    first = sgd.Langevin(problem, learning_rate=η, sampler=2, weight_decay=λ)
    assert jnp.abs(process.drift(jnp.array(0.0), θ) + jax.grad(modified)(θ)).max() < 1e-13
    assert jnp.abs(first.drift(jnp.array(0.0), θ) + jax.grad(total)(θ)).max() < 1e-13


def test_one_substep_has_the_moments_of_an_sgd_step():
    problem = linear()
    process = sgd.Langevin(problem, learning_rate=0.1, sampler=2, substeps=1)
    σ = process.diffusion(jnp.array(0.0), problem.parameters).as_matrix()
    C = noise.FiniteSample(problem, 2).covariance(problem.parameters)
    assert jnp.allclose(σ @ σ.T * 0.1, 0.1**2 * C, rtol=1e-12, atol=1e-15)


def test_a_schedule_sets_drift_time_and_noise_of_each_step():
    halves = lambda step: 0.1 * 0.5 ** step.astype(float)
    process = sgd.Langevin(linear(), learning_rate=halves, sampler=2, substeps=1)
    second = sgd.Langevin(linear(), learning_rate=0.05, sampler=2, substeps=1)
    state = process.init(jnp.ones(3))
    a, b = (p.step(state, jnp.int32(1), KEY).position for p in (process, second))
    assert jnp.abs(a - b).max() < 1e-15
    with pytest.raises(ValueError, match=r"learning_rate is a schedule.*simulate"):
        sgd.solve(process, steps=2, key=KEY)


# --- weak order -----------------------------------------------------------------------------------------------

# dx = −x dt + b x dW:  E x² = e^{(b² − 2) t};  Euler's, at n steps of dt:  ((1 − dt)² + b² dt)ⁿ
B = 0.5


def euler_second_moment(dt, t=1.0):
    return ((1 - dt) ** 2 + B**2 * dt) ** round(t / dt)


def test_eulers_exact_moments_converge_with_weak_order_one():
    dt = 2.0 ** -np.arange(6, 12)
    errors = [abs(euler_second_moment(h) - np.exp(B**2 - 2)) for h in dt]
    order = np.polyfit(np.log(dt), np.log(errors), 1)[0]
    assert abs(order - 1) < 0.02  # the next term of the error is of relative size dt


def test_an_ensemble_has_eulers_moments_at_each_number_of_substeps():
    replicas, measured = 40_000, {}
    keys = jax.random.split(KEY, replicas)
    for substeps in (1, 2, 4):
        process = sgd.ItoProcess(
            lambda t, θ: -θ, lambda t, θ: B * θ, initial=np.array([1.0]), time_step=0.5, substeps=substeps
        )
        x = np.asarray(jax.jit(jax.vmap(lambda key, p=process: path(p, 2, key)[-1, 0]))(keys)) ** 2
        measured[substeps] = (x.mean(), x.std() / np.sqrt(replicas))
    for substeps, (moment, error) in measured.items():
        assert abs(moment - euler_second_moment(0.5 / substeps)) < 6 * error  # false alarm 2e-9
        assert abs(moment - np.exp(B**2 - 2)) > 6 * error  # not yet the equation's own
    errors = [np.exp(B**2 - 2) - moment for moment, _ in measured.values()]
    slack = 6 * sum(error for _, error in measured.values()) / errors[-1]
    assert abs(np.log2(errors[0] / errors[-1]) / 2 - 0.8) < slack  # 0.8: of the exact moments at these steps


# --- the diffusion operator -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["regression", "weight decay", "two noises", "stream", "isotropic"])
def test_the_operator_is_its_matrix(name):
    process = processes()[name]
    θ = process.initial_position() + 0.3
    operator = process.diffusion(jnp.array(0.0), θ)
    flat = lambda tree: jax.flatten_util.ravel_pytree(tree)[0]
    z = noise.normals(KEY, process.sources(), θ.dtype)
    matrix = operator.as_matrix()
    assert matrix.shape == (θ.size, flat(z).size) == (operator.out_size(), operator.in_size())
    assert jnp.allclose(operator.mv(z), matrix @ flat(z), rtol=1e-11, atol=1e-13)
    transposed = operator.transpose()
    assert jnp.allclose(flat(transposed.mv(θ)), matrix.T @ θ, rtol=1e-11, atol=1e-13)
    assert jnp.allclose(transposed.as_matrix(), matrix.T, atol=1e-13)
    assert jnp.allclose(lx.materialise(operator).mv(z), operator.mv(z), rtol=1e-11, atol=1e-13)
    assert jnp.allclose(matrix @ matrix.T, process.learning_rate * process.noise.covariance(θ), atol=1e-13)


def test_nothing_is_assumed_of_an_operators_structure():
    operator = DiffusionOperator(lambda z: 2 * z, jax.ShapeDtypeStruct((3,), jnp.float64))
    assert not lx.is_symmetric(operator) and not lx.is_diagonal(operator)


@pytest.mark.parametrize(
    "coefficient, kind",
    [
        (jnp.arange(2.0), lx.DiagonalLinearOperator),
        (jnp.ones((2, 3)), lx.MatrixLinearOperator),
        (lx.IdentityLinearOperator(jax.ShapeDtypeStruct((2,), jnp.float64)), lx.IdentityLinearOperator),
    ],
)
def test_a_diffusion_is_a_vector_a_matrix_or_an_operator(coefficient, kind):
    process = sgd.ItoProcess(lambda t, θ: -θ, lambda t, θ: coefficient, initial=np.array([0.0, 0.0]), time_step=0.1)
    assert isinstance(process.diffusion(jnp.array(0.0), jnp.zeros(2)), kind)


# --- Brownian paths -------------------------------------------------------------------------------------------


def step_path(dt, size=2):
    return StepBrownianPath(jnp.asarray(dt), jax.ShapeDtypeStruct((size,), jnp.float64), KEY)


def test_increments_are_those_of_their_step_and_all_distinct():
    dt, first = 1e-4, 40_960_000  # t = 4096, where keys made from float32 times repeat
    evaluate = jax.jit(jax.vmap(lambda n: step_path(dt, 1).evaluate(n * dt, (n + 1) * dt)[0]))
    W = np.asarray(evaluate(first + jnp.arange(10_000.0)))
    assert len(set(W.tolist())) == 10_000
    assert float(W[5]) == float(
        increment(KEY, jnp.int32(first + 5), jnp.asarray(dt), jax.ShapeDtypeStruct((1,), float))[0]
    )
    assert abs(W.var() / dt - 1) < 6 * np.sqrt(2 / 10_000)


@pytest.mark.parametrize("t0, t1", [(0.05, 0.15), (0.0, 0.2), (0.1, 0.15), (-0.1, 0.0), (0.2, 0.1)])
def test_an_interval_off_the_grid_is_refused(t0, t1):
    evaluate = eqx.filter_jit(lambda t0, t1: step_path(0.1).evaluate(t0, t1))
    assert evaluate(jnp.array(0.3), jnp.array(0.4)).shape == (2,)
    with pytest.raises(RuntimeError, match=r"off its grid.*VirtualBrownianTree"):
        jax.block_until_ready(evaluate(jnp.array(t0), jnp.array(t1)))


def test_values_and_levy_areas_are_refused():
    for arguments in ((0.0,), (0.0, 0.1, True, True)):
        with pytest.raises(ValueError, match=r"no values, no Lévy areas.*VirtualBrownianTree"):
            step_path(0.1).evaluate(*arguments)


def test_an_adaptive_solver_on_the_step_path_is_refused():
    process = processes()["any"]
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
    with pytest.raises(RuntimeError, match="off its grid"):
        sgd.solve(process, steps=4, key=KEY, solver=diffrax.Heun(), stepsize_controller=controller)


@pytest.mark.long
def test_a_brownian_tree_serves_any_step():
    """Additive noise: Euler on one path converges strongly with order 1."""
    process = sgd.ItoProcess(
        lambda t, θ: -(θ**3), lambda t, θ: jnp.ones(2), initial=np.array([1.0, -0.5]), time_step=0.25
    )
    tree = diffrax.VirtualBrownianTree(0.0, 1.0, tol=1e-4, shape=process.sources(), key=KEY)

    def end(substeps):
        finer = eqx.tree_at(lambda p: p.duration, process, jnp.asarray(0.25 / substeps))
        return sgd.solve(finer, steps=4 * substeps, key=KEY, path=tree).ys[-1]

    exact = end(256)
    coarse, fine = (jnp.linalg.norm(end(n) - exact) for n in (2, 16))
    assert coarse > 4 * fine  # 8 in the mean


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"learning_rate": -0.1}, r"learning_rate = -0.1"),
        ({"weight_decay": float("nan")}, r"weight_decay = nan"),
        ({"order": 3}, r"order = 3.*1 or 2"),
        ({"substeps": 0}, r"substeps = 0"),
        ({"sampler": Online(1)}, r"sampler = Online"),
    ],
)
def test_a_langevin_equation_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sgd.Langevin(linear(), **{"learning_rate": 0.1, "sampler": 2, **options})


def test_a_stream_needs_its_own_sampler():
    with pytest.raises(ValueError, match="Online"):
        sgd.Langevin(stream(), learning_rate=0.1, sampler=2)


@pytest.mark.parametrize("options, message", [({"time_step": 0.0}, "time_step = 0.0"), ({"noises": 0}, "noises = 0")])
def test_an_ito_process_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sgd.ItoProcess(lambda t, θ: θ, lambda t, θ: θ, **{"initial": np.ones(1), "time_step": 0.1, **options})


def test_a_first_order_process_has_no_velocity():
    with pytest.raises(ValueError, match="velocity was given"):
        processes()["any"].init(jnp.zeros(2), jnp.zeros(2))


def test_theorys_coefficients_run_in_32_bits_and_an_overshoot_is_counted():
    """Theory computes in 64 bits; one replica that steps below 0 is diverged, and the others go on."""
    settings = {"depth": 4, "learning_rate": 0.3, "batch_size": 1, "label_noise_std": 0.3}
    s = np.array([1.0, 0.7])
    process = sgd.ItoProcess(
        lambda t, w: modewise_drift(w, s, **settings), lambda t, w: jnp.sqrt(modewise_diffusion(w, s, **settings)),
        initial=np.array([0.3, 0.3]), time_step=0.1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="diverged"):
        run = sgd.simulate(process, sgd.statistics.Mean(), replicas=64, steps=20, key=KEY)
    assert run.state.position.dtype == jnp.float32
    assert 0 < run.diverged < 64
    assert jnp.all(jnp.isfinite(run.state.position[run.alive]))
