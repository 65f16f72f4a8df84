"""Draws made of plain numbers are those of `jax.random`, bit for bit."""

import jax
import jax.numpy as jnp
import pytest

from sgdynamics.ensemble import _pallas_draws as draws

KEYS = jax.random.split(jax.random.key(3), 4)
PLACES = jnp.tile(jnp.arange(300, dtype=jnp.uint32), (4, 1))


def words(keys):
    data = jax.random.key_data(keys)
    return data[:, :1], data[:, 1:]


def test_bits():
    expected = jax.vmap(lambda key: jax.random.bits(key, (300,), jnp.uint32))(KEYS)
    assert jnp.array_equal(draws.bits(words(KEYS), PLACES), expected)
    assert not jnp.any(draws.bits(words(KEYS[::-1]), PLACES) == expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_normals(dtype):
    expected = jax.vmap(lambda key: jax.random.normal(key, (100, 3), dtype).reshape(-1))(KEYS)
    made = jax.jit(lambda key: draws.normal(key, PLACES, jnp.dtype(dtype)))(words(KEYS))
    assert made.dtype == dtype and jnp.array_equal(made, expected)


def test_keys():
    folded = jax.vmap(lambda key: jax.random.fold_in(key, 1234))(KEYS)
    assert jnp.array_equal(jnp.hstack(draws.fold_in(words(KEYS), jnp.int32(1234))), jax.random.key_data(folded))
    parts = jax.random.key_data(jax.vmap(lambda key: jax.random.split(key, 3))(KEYS))  # [keys, parts, words]
    made = draws.fold_in(words(KEYS), jnp.tile(jnp.arange(3), (4, 1)))
    assert jnp.array_equal(jnp.stack(made, -1), parts)


def test_what_is_done_once_is_what_it_would_be():
    made = jax.jit(lambda x: draws.together(lambda: (x + 1, {"twice": 2 * x})))(jnp.arange(3))
    assert made[0].tolist() == [1, 2, 3] and made[1]["twice"].tolist() == [0, 2, 4]


def test_other_generators_are_not_drawn():
    assert draws.drawable(KEYS)
    assert not draws.drawable(jax.random.split(jax.random.key(0, impl="rbg"), 2))
