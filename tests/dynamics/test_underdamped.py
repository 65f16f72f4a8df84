"""The underdamped Langevin equation in the ensemble's loop: its steps, its law, its stability, its derivatives."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.data import Dataset, FreshLabels
from sgdynamics.ensemble._starts import starts
from sgdynamics.samplers import Online

RNG = np.random.default_rng(5)
KEY = jax.random.key(7)
X, Y1, Y2 = RNG.normal(size=(6, 3)), RNG.normal(size=6), RNG.normal(size=(6, 2))


def linear():
    return sgd.Problem(sgd.networks.Linear(3, 1), Dataset(X, Y1))


def mlp():
    return sgd.Problem(sgd.networks.MLP((3, 2, 2), key=KEY), Dataset(X, Y2))


def underdamped(problem, sampler=2, **options):
    return sgd.UnderdampedLangevin(problem, sampler=sampler, **{"learning_rate": 0.1, "momentum": 0.6, **options})


def path(process, steps, key=KEY, velocity=None):
    """Positions and velocities after each step of the loop."""

    def step(state, k):
        state = process.step(state, k, key)
        return state, (state.position, state.velocity)

    start = process.init(process.initial_position(), velocity)
    return jax.jit(lambda: jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))[1])()


# --- the step -------------------------------------------------------------------------------------------------


def processes():
    fresh = sgd.Problem(sgd.networks.Linear(3, 1), FreshLabels(Dataset(X, Y1), 0.7))
    turns = lambda step: 0.2 * (step % 3).astype(float)
    return {
        "fused": underdamped(mlp(), weight_decay=0.1, substeps=3, scheme="euler"),
        "two noises, schedules": underdamped(fresh, momentum=turns, weight_decay=turns, substeps=2, scheme="euler"),
    }


@pytest.mark.parametrize("name", list(processes()))
def test_the_loop_makes_the_path_of_diffraxs_euler(name):
    process, steps = processes()[name], 7
    saveat = diffrax.SaveAt(ts=0.1 * jnp.arange(1.0, steps + 1))
    velocity = jnp.sin(jnp.arange(process.initial_position().size, dtype=float))
    start = sgd.State(process.initial_position(), velocity)
    solution = sgd.solve(process, steps=steps, key=KEY, saveat=saveat, initial=start)
    for theirs, ours in zip(solution.ys, path(process, steps, velocity=velocity), strict=True):
        assert jnp.abs(theirs - ours).max() < 1e-12 * jnp.abs(ours).max()


def by_hand(scheme, problem, θ, v, dW, dt, η, β, λ):
    """One substep, written out."""
    c0 = 2 / (η * (1 + β))
    γ = c0 * (1 - β)
    B = noise.FiniteSample(problem, 2).apply
    g = lambda θ: problem.gradient(θ) + λ * θ
    if scheme == "euler":
        return θ + v * dt, v - c0 * (g(θ) + (1 - β) * v) * dt + c0 * np.sqrt(η) * B(θ, dW)
    m, e = θ + v * dt / 2, np.exp(-γ * dt)
    kick = np.sqrt((1 - e**2) / (2 * γ) / dt) * B(m, dW)
    v = e * v - (1 - e) / (1 - β) * g(m) + c0 * np.sqrt(η) * kick
    return m + v * dt / 2, v


@pytest.mark.parametrize("scheme", ["euler", "splitting"])
def test_a_substep_is_its_equation_fused_or_not(scheme):
    problem, θ = mlp(), mlp().parameters
    v, dW, dt = jnp.cos(jnp.arange(float(θ.size))), jnp.asarray(RNG.normal(size=6)), jnp.asarray(0.07)
    options = {"momentum": 0.3, "weight_decay": 0.2, "scheme": scheme}
    fused = underdamped(problem, **options)
    plain = underdamped(problem, **options, noise=noise.Sum((noise.FiniteSample(problem, 2),)))
    assert fused.fused and not plain.fused
    expected = by_hand(scheme, problem, θ, v, dW, 0.07, 0.1, 0.3, 0.2)
    for process, increments in ((fused, dW), (plain, (dW,))):
        got = process.substep(jnp.int32(0), (θ, v), dt, increments)
        assert max(jnp.abs(a - b).max() for a, b in zip(got, expected, strict=True)) < 1e-13


def test_the_operator_is_its_matrix_of_the_right_covariance():
    process, t = underdamped(linear()), jnp.zeros(())
    θ = jnp.ones(3)
    operator = process.diffusion(t, (θ, θ))
    matrix, n = np.asarray(operator.as_matrix()), θ.size
    c0 = 2 / (0.1 * 1.6)
    expected = c0**2 * 0.1 * np.asarray(process.noise.covariance(θ))
    assert not matrix[:n].any() and np.allclose(matrix[n:] @ matrix[n:].T, expected, rtol=1e-11, atol=1e-13)
    assert jnp.allclose(operator.transpose().mv((θ, 2 * θ)), matrix[n:].T @ (2 * θ), rtol=1e-11, atol=1e-13)


def test_a_schedule_sets_all_coefficients_of_a_step():
    halves = lambda step: 0.1 * 0.5 ** step.astype(float)
    scheduled = underdamped(linear(), learning_rate=halves, momentum=lambda k: 0.3 * k.astype(float), substeps=2)
    second = underdamped(linear(), learning_rate=0.05, momentum=0.3, substeps=2)
    state = second.init(jnp.ones(3), jnp.ones(3))
    a, b = (p.step(state, jnp.int32(1), KEY) for p in (scheduled, second))
    assert jnp.allclose(a.position, b.position, rtol=1e-14) and jnp.allclose(a.velocity, b.velocity, rtol=1e-14)
    with pytest.raises(ValueError, match=r"learning_rate is a schedule.*simulate"):
        sgd.solve(scheduled, steps=2, key=KEY)


@pytest.mark.parametrize("scheme", ["euler", "splitting"])
def test_where_a_schedule_is_at_zero_nothing_moves(scheme):
    warming = underdamped(linear(), learning_rate=lambda k: 0.1 * jnp.minimum(k, 1).astype(float), scheme=scheme)
    state = warming.init(jnp.ones(3), jnp.ones(3))
    still, moved = (warming.step(state, jnp.int32(k), KEY) for k in (0, 1))
    assert jnp.array_equal(still.position, state.position) and jnp.allclose(still.velocity, state.velocity)
    assert jnp.isfinite(moved.position).all() and not jnp.allclose(moved.position, state.position)


def test_solve_takes_whole_numbers_and_says_how_a_velocity_is_given():
    process = underdamped(linear(), substeps=2)
    ends = [sgd.solve(process, steps=2, key=KEY, initial=start).ys[0] for start in (np.ones(3, int), jnp.ones(3))]
    assert jnp.array_equal(*ends) and not jnp.array_equal(ends[0][-1], jnp.ones(3))
    with pytest.raises(Exception, match=r"State"):
        sgd.solve(process, steps=2, key=KEY, initial=(jnp.ones(3), jnp.ones(3)))  # pyright: ignore[reportArgumentType]


# --- stability ------------------------------------------------------------------------------------------------


def radius(scheme, h, dt, η, β):
    """The spectral radius of a substep on the loss h θ²/2."""
    data = Dataset(np.array([[np.sqrt(h)]]), np.zeros(1))
    problem = sgd.Problem(sgd.networks.Linear(1, 1), data)
    process = underdamped(problem, 1, learning_rate=η, momentum=β, scheme=scheme)
    one = lambda y: jnp.stack(process.substep(jnp.int32(0), (y[:1], y[1:]), jnp.asarray(dt), jnp.zeros(1)))[:, 0]
    return np.abs(np.linalg.eigvals(np.asarray(jax.jit(jax.vmap(one))(jnp.eye(2))).T)).max()


@pytest.mark.parametrize("β, h", [(0.9, 3.0), (0.5, 4.0), (0.0, 0.4)])
def test_the_largest_stable_substeps_are_as_documented(β, h):
    η = 0.3
    c0 = 2 / (η * (1 + β))
    γ = c0 * (1 - β)
    inner = γ**2 - 4 * c0 * h
    friction = np.inf if inner < 0 else (γ - np.sqrt(inner)) / (c0 * h)
    euler = min((1 - β) / h, friction)
    grid = np.linspace(1e-3, 20 * η, 400_000)
    splitting = grid[np.argmax(grid * np.tanh(γ * grid / 2) > 2 * (1 - β) / h)]
    for scheme, limit in (("euler", euler), ("splitting", splitting)):
        assert radius(scheme, h, 0.999 * limit, η, β) < 1 < radius(scheme, h, 1.001 * limit, η, β)
    assert splitting > np.sqrt(2 * η * (1 + β) / h)


# --- the stationary law ---------------------------------------------------------------------------------------

H, C = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.8], [-0.8, 0.7]])
ETA, BETA, DECAY = 0.3, 0.9, 0.1


def quadratic():
    """The loss θᵀHθ/2."""
    x = np.sqrt(2) * np.linalg.cholesky(H).T
    return sgd.Problem(sgd.networks.Linear(2, 1), Dataset(x, np.zeros(2)))


def phase_law(η=ETA, β=BETA, λ=DECAY):
    """The covariance of (θ, v), from the Lyapunov equation of Eq. (4)."""
    c0, I = 2 / (η * (1 + β)), np.eye(2)
    A = np.block([[0 * I, -I], [c0 * (H + λ * I), c0 * (1 - β) * I]])
    N = np.zeros((4, 4))
    N[2:, 2:] = c0**2 * η * C
    return linalg.solve_continuous_lyapunov(A, N)


def scores(sample, covariance):
    """Deviations of a sample's second moments from those of a centred normal law, in standard errors."""
    variances = np.diag(covariance)
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / len(sample))
    return np.abs(sample.T @ sample / len(sample) - covariance) / error


LIMIT = stats.norm.isf(1e-7 / 2 / 10)  # ten different entries, false alarm 1e-7


def test_an_ensemble_has_the_stationary_law_of_the_equation_and_no_other():
    process = underdamped(
        quadratic(), learning_rate=ETA, momentum=BETA, weight_decay=DECAY, noise=noise.Constant(C), substeps=4,
        scheme="splitting",
    )  # fmt: skip
    # it starts in a law with the wrong velocities, and has forgotten it after 150 steps
    run = sgd.simulate(process, sgd.statistics.Mean(), replicas=8192, steps=150, key=KEY, initial=jnp.zeros(2))
    assert run.state.velocity is not None and run.state.position.dtype == jnp.float32
    sample = np.concatenate([run.state.position, run.state.velocity], axis=1).astype(float)
    law = phase_law()
    assert scores(sample, law).max() < LIMIT
    full = H + DECAY * np.eye(2)
    for rate in (ETA, ETA / (1 - BETA)):  # overdamped Langevin dynamics, without and with momentum's larger steps
        overdamped = linalg.solve_continuous_lyapunov(full, rate * C)
        assert scores(sample[:, :2], overdamped).max() > 1.5 * LIMIT


def test_replicas_start_from_a_predicted_law_with_velocities():
    problem = linear()
    expected = sgd.predict(sgd.SGD(problem, learning_rate=0.01, sampler=2, momentum=0.5))
    process = underdamped(problem, learning_rate=0.01, momentum=0.5)
    position, velocity = starts(process, expected, 2000, KEY)
    sample = np.concatenate([position - expected.mean[None, :], velocity], axis=1)
    assert scores(sample, np.asarray(expected.law.stationary_covariance())).max() < LIMIT


# --- derivatives, precision, sweeps ---------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["euler", "splitting"])
def test_derivatives_of_a_path_are_finite_differences(scheme):
    problem = mlp()
    θ = problem.parameters

    def end(numbers, start):
        η, β = numbers
        process = underdamped(problem, learning_rate=η, momentum=β, substeps=2, scheme=scheme)
        body = lambda state, k: (process.step(state, k, KEY), None)
        state, _ = jax.lax.scan(body, process.init(start), jnp.arange(3, dtype=jnp.int32))
        return jnp.sum(state.position**2) + jnp.sum(jnp.sin(state.velocity))

    numbers, δ = jnp.array([0.1, 0.4]), 1e-5
    value, slopes = jax.jit(end), jax.jit(jax.grad(end, argnums=(0, 1)))(numbers, θ)
    along = jnp.cos(jnp.arange(float(θ.size)))
    moves = [(jnp.array([δ, 0]), 0 * θ, slopes[0][0]), (jnp.array([0, δ]), 0 * θ, slopes[0][1]),
             (0 * numbers, δ * along, slopes[1] @ along)]  # fmt: skip
    for dn, dθ, slope in moves:
        difference = (value(numbers + dn, θ + dθ) - value(numbers - dn, θ - dθ)) / (2 * δ)
        assert abs(difference - slope) < 1e-6 * (1 + abs(slope))


def test_a_sweep_over_momentum_is_one_program_with_momentum_0_in_it():
    problem = linear()
    start = jnp.ones(3)

    def end(β):
        process = underdamped(problem, momentum=β, scheme="splitting", substeps=2)
        return process.step(process.init(start), jnp.int32(0), KEY)

    swept = jax.jit(jax.vmap(end))(jnp.array([0.0, 0.5, 0.99]))
    for i, β in enumerate((0.0, 0.5, 0.99)):
        assert jnp.allclose(swept.velocity[i], end(β).velocity, rtol=1e-12) and jnp.isfinite(swept.position).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"learning_rate": 0.0}, r"learning_rate = 0.0.*> 0"),
        ({"learning_rate": float("inf")}, r"learning_rate = inf"),
        ({"momentum": 1.0}, r"momentum = 1.0.*\[0, 1\)"),
        ({"momentum": -0.1}, r"momentum = "),
        ({"weight_decay": -1.0}, r"weight_decay = -1.0"),
        ({"substeps": 0}, r"substeps = 0"),
        ({"scheme": "heun"}, r"scheme = 'heun'.*'euler', 'splitting'"),
        ({"sampler": Online(1)}, r"sampler = Online"),
    ],
)
def test_an_equation_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        underdamped(linear(), **options)
