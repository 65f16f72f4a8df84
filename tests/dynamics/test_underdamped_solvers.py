"""diffrax's own solvers of the underdamped Langevin equation, through a change of variables."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics import noise
from sgdynamics.data import Dataset
from sgdynamics.dynamics import StepLevyPath

pytestmark = pytest.mark.long
RNG = np.random.default_rng(3)
KEY = jax.random.key(1)
X, Y = RNG.normal(size=(8, 2)), RNG.normal(size=(8, 1))
ROOT = RNG.normal(size=(5, 5))
C = ROOT @ ROOT.T / 5 + 0.1 * np.eye(5)
START = sgd.State(jnp.array([0.3, -0.8, 0.5, 0.9, -0.4]), jnp.array([1.0, 0.0, -0.5, 0.2, 0.1]))


def problem():
    return sgd.Problem(sgd.networks.MLP((2, 1, 1), key=KEY), Dataset(X, Y))


def underdamped(η=0.2, β=0.7, **options):
    options = {"noise": noise.Constant(C), "weight_decay": 0.1, "substeps": 8, **options}
    return sgd.UnderdampedLangevin(problem(), learning_rate=η, sampler=2, momentum=β, **options)


def ends(solution):
    return np.concatenate(solution.ys, axis=1)[-1]


def paths(*solvers):
    """Positions and velocities after every substep, relative to the largest of them."""
    saveat = diffrax.SaveAt(t0=True, steps=True, dense=True)
    solve = lambda solver: sgd.solve(underdamped(), steps=3, key=KEY, initial=START, solver=solver, saveat=saveat)
    found = [solve(solver) for solver in solvers]
    return found, [np.concatenate(solution.ys, axis=1)[:25] for solution in found]


def test_quicsort_follows_eulers_path_and_saves_positions_and_velocities():
    """From one key both have the same W, so that Euler's error is what is between them."""
    (_, solution), (euler, best) = paths(diffrax.Euler(), diffrax.QUICSORT())
    assert 1e-3 < np.abs(euler - best).max() / np.abs(best).max() < 0.3
    assert np.allclose(best[0], np.concatenate([START.position, START.velocity]), rtol=1e-13)
    assert np.allclose(np.concatenate(solution.evaluate(solution.ts[7])), best[7], rtol=1e-10, atol=1e-12)


def test_the_better_the_solver_the_nearer_its_path():
    _, found = paths(diffrax.QUICSORT(), diffrax.ShOULD(), diffrax.ALIGN(), diffrax.Heun(), diffrax.Euler())
    distance = [np.abs(path - found[0]).max() / np.abs(found[0]).max() for path in found[1:]]
    assert distance[0] < 1e-4 < distance[1] < 3e-2 and distance[2] < 0.1 and max(distance) == distance[3]


def test_a_function_of_what_is_saved_sees_positions_and_velocities():
    half = lambda t, phase, args: jnp.concatenate(phase) / 2
    subs = [diffrax.SubSaveAt(t1=True, fn=half), diffrax.SubSaveAt(ts=jnp.array([0.2, 0.4]))]
    run = lambda saveat: sgd.solve(
        underdamped(substeps=1), steps=2, key=KEY, initial=START, solver=diffrax.ALIGN(), saveat=saveat
    )
    halves, phases = run(diffrax.SaveAt(subs=subs)).ys
    assert jnp.allclose(2 * halves[-1], jnp.concatenate(phases, axis=1)[-1], rtol=1e-12)


def test_derivatives_of_a_path_forwards():
    derivatives_are_finite_differences(diffrax.QUICSORT(), True, diffrax.ForwardMode())


@pytest.mark.parametrize(
    "solver", [diffrax.Euler(), diffrax.ALIGN(), diffrax.ShOULD(), diffrax.QUICSORT()], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("adjoint", [diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint()], ids=str)
def test_derivatives_of_a_path_backwards(solver, adjoint):
    derivatives_are_finite_differences(solver, False, adjoint)


def derivatives_are_finite_differences(solver, forwards, adjoint):
    """With respect to the learning rate, the momentum and the start."""

    def end(x):
        process = underdamped(x[0], x[1], substeps=2)
        θ, v = sgd.solve(process, steps=2, key=KEY, solver=solver, initial=x[2:], adjoint=adjoint).ys
        return jnp.sum(θ**2) + jnp.sum(jnp.sin(v))

    def along(x, u):
        if forwards:
            return jax.jvp(end, (x,), (u,))
        value, slopes = jax.value_and_grad(end)(x)
        return value, slopes @ u

    x, δ, along = jnp.concatenate([jnp.array([0.2, 0.7]), START.position]), 1e-5, jax.jit(along)
    for u in (jnp.eye(7)[0], jnp.eye(7)[1], jnp.array([0, 0, 0.3, -0.5, 0.7, 0.2, -0.4])):
        difference = (along(x + δ * u, u)[0] - along(x - δ * u, u)[0]) / (2 * δ)
        assert abs(difference - along(x, u)[1]) < 1e-6 * (1 + abs(difference))


def test_levy_areas_have_their_variances_and_the_loops_increments():
    path = StepLevyPath(jnp.asarray(0.3), jax.ShapeDtypeStruct((4,), jnp.float64), KEY)
    evaluate = jax.jit(jax.vmap(lambda n: path.evaluate(0.3 * n, 0.3 * (n + 1), use_levy=True)))
    levy = evaluate(jnp.arange(5000.0))
    sample = np.stack([levy.W.ravel() / np.sqrt(0.3), levy.H.ravel() / np.sqrt(0.3 / 12),
                       levy.K.ravel() / np.sqrt(0.3 / 720)])  # fmt: skip
    assert np.abs(sample @ sample.T / 20_000 - np.eye(3)).max() < 6 * np.sqrt(2 / 20_000)  # false alarm 2e-8
    assert jnp.allclose(path.evaluate(jnp.asarray(0.6), jnp.asarray(0.9)), levy.W[2], rtol=1e-12)
    with pytest.raises(ValueError, match=r"no values.*VirtualBrownianTree"):
        path.evaluate(0.0)


def test_adaptive_steps_on_a_brownian_tree():
    shape = jax.ShapeDtypeStruct((5,), jnp.float64)
    tree = diffrax.VirtualBrownianTree(0.0, 0.6 + 1e-9, 1e-3, shape, KEY, diffrax.SpaceTimeLevyArea)
    run = lambda tolerance: sgd.solve(
        underdamped(), steps=3, key=KEY, initial=START, solver=diffrax.ALIGN(), path=tree, max_steps=4000,
        stepsize_controller=diffrax.PIDController(rtol=0.0, atol=tolerance, pcoeff=0.1, icoeff=0.3, dtmin=1e-3),
    )  # fmt: skip
    coarse, fine = run(jnp.asarray(3e-2)), run(jnp.asarray(1e-4))
    assert fine.stats["num_steps"] > 2 * coarse.stats["num_steps"]
    assert np.abs(ends(coarse) - ends(fine)).max() < 0.05 * np.abs(ends(fine)).max()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"noise": None}, r"noise is a FiniteSample, which may depend on θ.*noise.frozen.*diffrax.Euler"),
        ({"noise": noise.Constant(np.diag([1.0, 1, 1, 1, 0]))}, r"smallest eigenvalue.*splitting"),
        ({"noise": noise.Isotropic(5, 0.0)}, r"smallest eigenvalue"),
        ({"momentum": lambda step: 0.5}, r"momentum is a schedule"),
        ({"weight_decay": lambda step: 0.5}, r"weight_decay is a schedule"),
    ],
)
def test_noise_that_such_a_solver_cannot_have_is_refused(options, message):
    process = underdamped(β=options.pop("momentum", 0.7), **options)
    with pytest.raises(ValueError, match=message):
        sgd.solve(process, steps=1, key=KEY, solver=diffrax.QUICSORT())


@pytest.mark.parametrize("solver", [diffrax.ALIGN(), diffrax.QUICSORT()], ids=lambda s: type(s).__name__)
def test_backsolving_is_refused_by_diffrax(solver):
    with pytest.raises(NotImplementedError, match="BacksolveAdjoint"):
        sgd.solve(underdamped(), steps=1, key=KEY, solver=solver, adjoint=diffrax.BacksolveAdjoint())
