"""Anti-correlated noise behind the descent: its recursion, its stationary law, and who shares a draw."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sgdynamics as sgd
from sgdynamics.data import Dataset
from sgdynamics.dynamics import inject_anticorrelated_noise, inject_noise
from sgdynamics.statistics import Snapshots

KEY, N, η = jax.random.key(5), 3, 0.4
CURVATURES = np.array([0.0, 0.3, 3.0])  # a flat mode, and one of ηh > ½
PROBLEM = sgd.Problem(sgd.networks.Linear(N, 1), Dataset(np.diag(np.sqrt(N * CURVATURES)), np.zeros(N)))
STEPS = tuple(range(7))


def descent(noise, before):
    return sgd.Descent(PROBLEM, optax.chain(before, noise(0.25, KEY)), sgd.samplers.FullBatch())


def run(noise, before, *, replicas=4, records=STEPS, initial=None, key=KEY):
    """An ensemble in 64 bits, with the positions [records, replicas, parameters]."""
    ensemble = sgd.simulate(
        descent(noise, before), Snapshots(records), replicas=replicas, steps=records[-1], key=key,
        initial=np.zeros(N) if initial is None else initial, dtype=jnp.float64,
    )  # fmt: skip
    return ensemble, np.asarray(ensemble.estimates.values)


def test_all_that_it_adds_is_the_last_draw_of_the_plain_noise():
    walks = run(inject_noise, optax.scale(0.0))[1]
    ξ = np.diff(walks, axis=0)
    added = run(inject_anticorrelated_noise, optax.scale(0.0))[1]
    assert np.allclose(added[1:], ξ, atol=1e-14) and (added[0] == 0).all()
    assert len(np.unique(ξ)) == ξ.size and 0.3 < ξ.std() < 0.7


def test_the_recursion_is_that_of_anti_pgd():
    ξ = np.diff(run(inject_noise, optax.scale(0.0))[1], axis=0, prepend=0.0)
    θ = run(inject_anticorrelated_noise, optax.sgd(η), initial=np.ones(N))[1]
    expected = θ[:-1] * (1 - η * CURVATURES) + np.diff(ξ, axis=0)
    assert np.allclose(θ[1:], expected, atol=1e-14)


def test_a_run_that_goes_on_remembers_the_last_draw():
    first, _ = run(inject_anticorrelated_noise, optax.scale(0.0))
    second, θ = run(inject_anticorrelated_noise, optax.scale(0.0), initial=first.state, key=jax.random.key(6))
    assert np.allclose(θ[-1], second.state.memory[1][-1].last, atol=1e-14)
    assert not np.isclose(θ[1], θ[0]).any()


def test_variances_are_those_of_the_exact_law():
    """18 variances of 20,000 normal draws each; 5 errors: a false alarm in 10⁵ such tests."""
    R, x, σ2, steps = 20_000, η * CURVATURES, 0.25, (1, 2, 40)
    u = (1 - x) ** 2
    sum_of = lambda k: np.where(u == 1, k, (1 - u**k) / np.where(u == 1, 1, 1 - u))
    plain = np.array([σ2 * sum_of(k) for k in steps])
    anti = np.array([σ2 * (1 + x**2 * sum_of(k - 1)) for k in steps])
    for noise, law in ((inject_noise, plain), (inject_anticorrelated_noise, anti)):
        θ = run(noise, optax.sgd(η), replicas=R, records=steps)[1]
        assert (np.abs(np.mean(θ**2, axis=1) / law - 1) < 5 * np.sqrt(2 / R)).all()
    # what both become in the end, as the module states it
    assert np.allclose(anti[-1], 2 * σ2 / (2 - x), rtol=1e-3)
    assert np.allclose(plain[-1, 1:], σ2 / (x * (2 - x))[1:], rtol=1e-3) and plain[-1, 0] == 40 * σ2


def test_z_is_independent_of_the_last_draw():
    R = 20_000
    ensemble, _ = run(inject_anticorrelated_noise, optax.sgd(η), replicas=R, records=(40,))
    ξ = np.asarray(ensemble.state.memory[1][-1].last)
    z = np.asarray(ensemble.state.position) - ξ
    x = η * CURVATURES[1:]
    assert np.abs(z[:, 0]).max() < 1e-12
    assert (np.abs(np.mean(z[:, 1:] ** 2, axis=0) / (0.25 * x / (2 - x)) - 1) < 5 * np.sqrt(2 / R)).all()
    correlation = z[:, 1:].T @ ξ / R / np.outer(z[:, 1:].std(axis=0), ξ.std(axis=0))
    assert np.abs(correlation).max() < 5 / np.sqrt(R)


def test_in_a_loop_of_ones_own_with_parameters_in_pieces_and_in_single_precision():
    pieces = {"a": jnp.ones(1, jnp.float32), "b": jnp.zeros(2, jnp.float32)}
    transformation = inject_anticorrelated_noise(4.0, KEY)
    state: Any = transformation.init(pieces)
    total: Any = pieces
    for _ in range(3):
        updates, state = transformation.update(jax.tree.map(jnp.zeros_like, pieces), state)
        total = jax.tree.map(jnp.add, total, updates)
    last = 2 * jax.random.normal(jax.random.fold_in(KEY, 2), (3,), jnp.float32)
    assert state.last.dtype == total["b"].dtype == jnp.float32 and int(state.count) == 3
    assert np.allclose(np.concatenate([total["a"] - 1, total["b"]]), last, atol=1e-6)


def test_bad_variances_are_refused_by_name():
    with pytest.raises(ValueError, match=r"variance = -1.0.*≥ 0"):
        inject_anticorrelated_noise(-1.0, KEY)
