"""Samplers of any sizes: indices in range, none twice in a batch or an epoch, and the factor of their noise."""

import itertools

import jax
import jax.numpy as jnp
import matrices
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdynamics import samplers
from sgdynamics.data import Dataset
from sgdynamics.theory import regression

SIZES = ((1, 1), (5, 1), (5, 2), (6, 3), (7, 7))  # samples, batch: few, for each is compiled
varied = settings(deadline=None, max_examples=15, derandomize=True, database=None, phases=matrices.PHASES)
keys = st.integers(-(2**63), 2**63 - 1)
steps = st.integers(0, 2**31 - 20)
kinds = (samplers.WithReplacement, samplers.WithoutReplacement, samplers.Epochs)


@pytest.mark.parametrize("samples, batch", SIZES)
@pytest.mark.parametrize("kind", kinds)
@varied
@given(seed=keys, epoch=st.integers(0, 10**8))
def test_indices_are_in_range_and_none_comes_twice_where_none_may(kind, samples, batch, seed, epoch):
    sampler, key = kind(batch), jax.random.key(seed)
    per_epoch = samples // batch
    drawn = np.asarray(an_epoch(sampler, samples, per_epoch, key, epoch * per_epoch))
    assert drawn.shape == (per_epoch, batch) and drawn.min() >= 0 and drawn.max() < samples
    if kind is not samplers.WithReplacement:
        assert all(len(set(row)) == batch for row in drawn.tolist())
    if kind is samplers.Epochs:
        assert len(set(drawn.ravel().tolist())) == per_epoch * batch  # a permutation where the batch divides


def _an_epoch(sampler, samples, per_epoch, key, first):
    memory, rows = jnp.arange(samples, dtype=jnp.int32) if isinstance(sampler, samplers.Epochs) else None, []
    for k in range(per_epoch):
        step = jnp.asarray(first + k)
        indices, memory = sampler.indices(samples, memory, step, jax.random.fold_in(key, step))
        rows.append(indices)
    return jnp.stack(rows)


an_epoch = jax.jit(_an_epoch, static_argnums=(1, 2))


@varied
@given(st.integers(2, 7), st.data())
def test_the_factor_is_that_of_all_batches_there_are(samples, data):
    """cov(batch mean) = c · cov(one example), by enumeration of all batches, for any values of the examples."""
    batch = data.draw(st.integers(1, min(samples, 4)))
    values = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=samples, max_size=samples)), float)
    dataset = Dataset(np.ones((samples, 1)), values)
    for kind, all_batches in [
        (samplers.WithReplacement, itertools.product(values, repeat=batch)),
        (samplers.WithoutReplacement, itertools.combinations(values, batch)),
        (samplers.Epochs, itertools.combinations(values, batch)),
    ]:
        means = np.array([np.mean(chosen) for chosen in all_batches])
        factor = float(kind(batch).covariance_factor(dataset))
        assert abs(means.var() - factor * values.var()) <= 1e-9
        replacement = kind is samplers.WithReplacement
        assert abs(factor - float(regression.sampling_factor(samples, batch, replacement))) <= 1e-15


@varied
@given(st.integers(1, 10**6), st.data())
def test_every_words_index_is_in_range(samples, data):
    """⌊P u/2³²⌋ of any word, against integers of any size."""
    words = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4))
    indices = samplers.WithReplacement(1).indices_of(jnp.asarray(words, jnp.uint32), samples)
    assert np.asarray(indices).tolist() == [samples * word >> 32 for word in words]
