"""Preconditioned gradients and injected noise: what a step does, and that no two replicas share a draw."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset
from sgdynamics.dynamics import inject_noise, precondition
from sgdynamics.ensemble._core import advance, replicate
from sgdynamics.samplers import FullBatch
from sgdynamics.statistics import Snapshots

RNG = np.random.default_rng(1)
KEY = jax.random.key(11)
N = 3
A = RNG.normal(size=(N, N))
PROBLEM = sgd.Problem(sgd.networks.Linear(N, 1), Dataset(RNG.normal(size=(8, N)), RNG.normal(size=8)))


def draws(transformation, *, replicas=4, steps=3, sampler=None, key=KEY):
    """Updates u [steps, replicas, parameters], float64, of replicas as `simulate` makes them."""
    descent = sgd.Descent(PROBLEM, transformation, sampler or FullBatch())
    start = jnp.broadcast_to(descent.initial_position(), (replicas, N))

    @jax.jit
    def positions():
        first = replicate(descent, start, None, key)
        step = lambda replicas, _: (advance(descent, replicas, 1), replicas.states.position)
        return jax.lax.scan(step, first, length=steps + 1)[1]

    return np.diff(positions(), axis=0)


def noise(variance=1.0, key=KEY):
    """Noise without a gradient."""
    return optax.chain(optax.scale(0.0), inject_noise(variance, key))


@pytest.mark.parametrize("matrix", [A, A[0], 0.7], ids=["matrix", "diagonal", "scalar"])
def test_the_gradient_is_multiplied_by_the_matrix(matrix):
    g = np.asarray(PROBLEM.gradient(PROBLEM.parameters))
    full = matrix if np.ndim(matrix) == 2 else np.diag(np.broadcast_to(matrix, N))
    u = draws(optax.chain(precondition(matrix), optax.sgd(0.1)), replicas=1, steps=1)[0, 0]
    assert np.abs(u + 0.1 * full @ g).max() < 1e-14 and np.abs(g).min() > 0.01


def test_parameters_in_pieces_are_taken_flat():
    pieces = {"a": jnp.ones(1), "b": jnp.arange(2.0)}
    transformation = precondition(A)
    u, _ = transformation.update(pieces, transformation.init(pieces))
    assert np.allclose(np.concatenate([u["a"], u["b"]]), A @ [1, 0, 1], atol=1e-15)


def test_every_replica_step_and_parameter_has_a_draw_of_its_own():
    u = draws(noise(), replicas=2048, steps=6).reshape(6, 2048, N)
    assert len(np.unique(u)) == u.size
    flat = np.moveaxis(u, 1, 0).reshape(2048, -1)
    # standard normal scatter of sampled moments: 18 means, 18 × 18 correlations, none beyond 5 errors
    assert np.abs(flat.mean(0)).max() < 5 / np.sqrt(2048)
    correlation = flat.T @ flat / 2048
    assert np.abs(correlation - np.eye(6 * N)).max() < 5 * np.sqrt(2 / 2048)
    assert abs((flat**4).mean() - 3) < 5 * np.sqrt(96 / flat.size)


def test_draws_belong_to_a_replica_and_to_a_noise():
    one, other = jax.random.split(KEY)
    first, second = draws(noise(1.0, one)), draws(noise(4.0, other), replicas=2)
    assert not np.isclose(2 * first[:, :2], second).any()
    both = draws(optax.chain(optax.scale(0.0), inject_noise(1.0, one), inject_noise(4.0, other)), replicas=2)
    assert np.allclose(both, first[:, :2] + second, atol=1e-14)


def test_injected_noise_leaves_the_minibatches_as_they_are():
    chain = lambda v: optax.chain(inject_noise(v, KEY), optax.sgd(0.1))
    plain = draws(optax.sgd(0.1), sampler=2, steps=1)
    assert np.array_equal(plain, draws(chain(0.0), sampler=2, steps=1))
    assert np.allclose(draws(chain(1.0), sampler=2, steps=1) - plain, -0.1 * draws(noise(), steps=1), atol=1e-14)


def test_in_a_loop_of_ones_own_draws_follow_the_number_of_updates():
    transformation = inject_noise(4.0, KEY)
    zero = jnp.zeros(2)
    first, state = transformation.update(zero, transformation.init(zero))
    second, state = transformation.update(zero, state)
    assert np.allclose(first, 2 * jax.random.normal(jax.random.fold_in(KEY, 0), (2,)), atol=1e-15)
    assert not np.isclose(first, second).any() and int(state.count) == 2
    keyed, _ = transformation.update(zero, transformation.init(zero), key=jax.random.key(3))
    assert not np.isclose(first, keyed).any()


def test_an_ensemble_in_single_precision_with_replicas_of_their_own():
    descent = sgd.Descent(PROBLEM, optax.chain(inject_noise(1.0, KEY), precondition(A), optax.sgd(0.1)), FullBatch())
    θ = sgd.simulate(descent, Snapshots((1,)), replicas=3, steps=1, key=KEY).state.position
    assert θ.dtype == jnp.float32 and len(np.unique(θ)) == 3 * N


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inject_noise(-1.0, KEY), "variance = -1.0.*≥ 0"),
        (lambda: inject_noise(np.ones(2), KEY), "variance"),
        (lambda: precondition(np.inf), "matrix = inf.*finite"),
        (lambda: draws(precondition(np.eye(2))), r"matrix has shape \(2, 2\).*3 parameters"),
    ],
)
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
