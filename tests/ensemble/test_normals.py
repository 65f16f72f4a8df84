"""Numbers drawn with replicas last are those of `jax.random`: the uniform ones to the last bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.ensemble import _normals

KEYS = jax.random.split(jax.random.key(3), 5)
TYPES = [jnp.dtype("float32"), jnp.dtype("float64")]


@pytest.mark.long
@pytest.mark.parametrize("shapes", [((3,), (2, 4)), ((11, 7), (5,))], ids=["one piece", "pieces"])
def test_where_counters_are_laid_out_otherwise(shapes):
    with jax.threefry_partitionable(False):
        assert not isinstance(_normals.one_stream(KEYS), tuple)
        the_draws_are_those_of_jax(TYPES[0], shapes)


@pytest.mark.parametrize("dtype", [pytest.param(TYPES[0], marks=pytest.mark.long), TYPES[1]], ids=str)
@pytest.mark.parametrize(
    "shapes", [((3,), (2, 4)), pytest.param(((11, 7), (5,)), marks=pytest.mark.long)], ids=["one piece", "pieces"]
)
def test_the_draws_of_two_streams(dtype, shapes):
    the_draws_are_those_of_jax(dtype, shapes)


def the_draws_are_those_of_jax(dtype, shapes):
    pipeline = _normals.Pipeline(_normals.one_stream(KEYS), shapes, 2, dtype)
    carry = jax.jit(lambda: pipeline.next(pipeline.start(jnp.int32(6)), jnp.int32(6)))()
    drawn = jax.jit(lambda carry: pipeline.normals(carry))(carry)
    lowest = np.nextafter(dtype.type(-1), dtype.type(1))

    def reference(key):
        both = jax.random.split(jax.random.fold_in(key, 7))
        uniform = lambda key, shape: jax.random.uniform(key, shape, dtype, lowest, 1).reshape(-1)
        normal = lambda key, shape: jax.random.normal(key, shape, dtype)
        return [[draw(key, shape) for key, shape in zip(both, shapes, strict=True)] for draw in (uniform, normal)]

    uniform, normal = jax.jit(jax.vmap(reference))(KEYS)
    u = carry[1].reshape(-1, len(KEYS))[: sum(int(np.prod(shape)) for shape in shapes)]
    assert jnp.array_equal(u, jnp.concatenate(uniform, axis=1).T)
    for mine, theirs in zip(drawn, normal, strict=True):
        assert mine.dtype == dtype
        # compilers may contract products and sums of erf⁻¹ in another way in another program
        np.testing.assert_allclose(mine, jnp.moveaxis(theirs, 0, -1), rtol=8 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_uniform_numbers_to_the_ends_of_their_interval(dtype):
    lowest = np.nextafter(dtype.type(-1), dtype.type(1))
    zeros, ones = jnp.zeros(1, jnp.uint32), jnp.full(1, 2**32 - 1, jnp.uint32)
    assert _normals.uniform(zeros, zeros, dtype) == lowest
    largest = _normals.uniform(ones, ones if dtype.itemsize == 8 else zeros, dtype)
    assert 1 - 4 * jnp.finfo(dtype).eps < largest[0] < 1


def test_one_stream_is_not_split():
    pipeline = _normals.Pipeline(_normals.one_stream(KEYS), ((4,),), 1, jnp.dtype(float))
    (drawn,) = pipeline.normals(pipeline.start(jnp.int32(2)))
    reference = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 2), (4,)))(KEYS)
    np.testing.assert_allclose(drawn, reference.T, rtol=1e-14)


def test_nothing_is_drawn_where_nothing_is_asked_for():
    pipeline = _normals.Pipeline(_normals.one_stream(KEYS), (), 2, jnp.dtype(float))
    carry = pipeline.start(jnp.int32(0))
    assert carry is None and pipeline.next(carry, jnp.int32(0)) is None and pipeline.normals(carry) == []
