"""Minibatches: which examples, how likely, and what that does to the noise."""

from itertools import combinations, permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics.data import Dataset, FreshLabels, Teacher
from sgdynamics.samplers import Epochs, FullBatch, Online, WithoutReplacement, WithReplacement, as_sampler
from sgdynamics.samplers._indices import distinct, high_word, order, uniform

KEY = jax.random.key(5)
FALSE_ALARM = 1e-6
RNG = np.random.default_rng(0)
EXTREME = np.array([0, 1, 2, 2**16 - 1, 2**16, 2**16 + 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)
INDEXED = [WithReplacement, WithoutReplacement, Epochs]


def numbered(samples):
    """Examples that carry their own number."""
    return Dataset(np.arange(samples, dtype=float)[:, None], np.arange(samples, dtype=float))


def draws(sampler, data, steps, key=KEY):
    """The batches [steps, batch] of one replica from step 0, as the numbers of the examples."""

    def step(memory, k):
        batch, memory = sampler.draw(data, memory, k, key)
        return memory, batch.x[:, 0].astype(int)

    return np.asarray(jax.lax.scan(step, sampler.init(data), jnp.arange(steps, dtype=jnp.int32))[1])


def drawn_by(sampler, data, replicas, steps):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(replicas))

    def one(key):
        step = lambda memory, k: sampler.draw(data, memory, k, key)[::-1]
        return jax.lax.scan(step, sampler.init(data), jnp.arange(steps, dtype=jnp.int32))[1].x[..., 0].astype(int)

    return np.asarray(jax.jit(jax.vmap(one))(keys))


# --- indices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 3, 200, 2**16 - 1, 2**16, 2**16 + 1, 70_001, 2**20 + 7, 2**31, 2**32 - 1])
def test_high_word_is_the_upper_half_of_the_product(factor):
    words = np.concatenate([EXTREME, RNG.integers(0, 2**32, 2_000, dtype=np.uint32)])
    exact = [int(u) * factor >> 32 for u in words]
    assert np.asarray(high_word(jnp.asarray(words), factor)).tolist() == exact


def test_high_word_takes_a_factor_for_each_word():
    words, factors = (RNG.integers(0, 2**32, 2_000, dtype=np.uint32) for _ in range(2))
    exact = [int(u) * int(p) >> 32 for u, p in zip(words, factors, strict=True)]
    assert np.asarray(high_word(jnp.asarray(words), jnp.asarray(factors))).tolist() == exact


def test_indices_are_the_high_words_of_the_keys_bits():
    words = jax.random.bits(KEY, (7,), jnp.uint32)
    expected = [int(u) * 100_003 >> 32 for u in words]
    assert uniform(KEY, 7, 100_003).tolist() == expected


def test_independent_indices_are_uniform_on_pairs():
    batches = drawn_by(WithReplacement(2), numbered(4), 200, 50).reshape(-1, 2)
    counts = np.bincount(batches @ [4, 1], minlength=16)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM
    different = counts * (1 - np.eye(4).ravel())  # without the repeats
    assert stats.chisquare(different).pvalue < FALSE_ALARM


@pytest.mark.parametrize("samples, size", [(5, 2), (5, 3), (4, 4), (6, 1), (6, 5)])
def test_distinct_indices_are_uniform_over_all_subsets(samples, size):
    keys = jax.random.split(KEY, 6_000)
    sets = np.sort(np.asarray(jax.vmap(lambda key: distinct(key, size, samples))(keys)), axis=1)
    assert sets.min() >= 0 and sets.max() < samples
    assert np.all(np.diff(sets, axis=1) > 0)  # all different
    subsets = {subset: i for i, subset in enumerate(combinations(range(samples), size))}
    counts = np.bincount([subsets[tuple(row)] for row in sets.tolist()], minlength=len(subsets))
    assert len(subsets) == 1 or stats.chisquare(counts).pvalue > FALSE_ALARM


def test_distinct_indices_of_a_large_set_are_distinct():
    indices = np.asarray(distinct(KEY, 500, 100_000))
    assert len(set(indices.tolist())) == 500 and indices.min() >= 0 and indices.max() < 100_000
    whole = np.asarray(distinct(KEY, 300, 300))
    assert sorted(whole.tolist()) == list(range(300))


# --- epochs ---------------------------------------------------------------------------------------------------


def shuffled(samples):
    """Fisher and Yates' shuffle inside out by Python's integers, from the same words."""
    words = np.asarray(jax.random.bits(KEY, (samples,), jnp.uint32)).tolist()
    order = []
    for i, word in enumerate(words):
        place = word * (i + 1) >> 32
        order.append(i)
        order[i], order[place] = order[place], i
    return order


@pytest.mark.parametrize("samples", [1, 2, 13, 2**16 + 5])
def test_an_order_is_that_of_the_plain_shuffle(samples):
    drawn = order(KEY, samples)
    assert drawn.dtype == jnp.int32 and drawn.tolist() == shuffled(samples)


def test_an_order_does_not_depend_on_the_precision():
    with jax.enable_x64(False):
        single = order(KEY, 13)
    assert single.dtype == jnp.int32 and np.array_equal(single, order(KEY, 13))


@pytest.mark.parametrize(
    "samples, size", [(12, 3), (12, 12), (12, 1), (1, 1), (13, 1), (13, 13), (13, 5), (13, 7), (30, 8), (300, 17)]
)
def test_an_epoch_uses_no_example_twice_and_leaves_out_the_remainder(samples, size):
    M = samples // size
    epochs = drawn_by(Epochs(size), numbered(samples), 8, 3 * M).reshape(24, M * size)
    assert np.all(np.diff(np.sort(epochs, axis=1), axis=1) > 0)
    assert epochs.min() >= 0 and epochs.max() < samples
    if samples % size == 0:
        assert np.array_equal(np.sort(epochs, axis=1), np.tile(np.arange(samples), (24, 1)))


def counts_of_subsets(counts, epochs, used):
    """p-value of how often each example is among `used` of them: the covariance of counts of uniform subsets of all P
    is n p(1−p) (I − 1/P) P/(P−1)."""
    samples, p = len(counts), used / len(counts)
    square = np.sum((counts - epochs * p) ** 2) / (epochs * p * (1 - p)) * (samples - 1) / samples
    return stats.chi2.sf(square, samples - 1)


def test_every_example_is_as_likely_left_out():
    epochs = drawn_by(Epochs(4), numbered(11), 1_000, 4).reshape(2_000, 8)
    assert counts_of_subsets(np.bincount(epochs.ravel(), minlength=11), 2_000, 8) > FALSE_ALARM
    rotated = (np.arange(8) + np.random.default_rng(0).integers(0, 8, (2_000, 1))) % 11  # which begin at 0 … 7 only
    assert counts_of_subsets(np.bincount(rotated.ravel(), minlength=11), 2_000, 8) < FALSE_ALARM


NUMBER = {order: i for i, order in enumerate(permutations(range(4)))}


def numbers(orders):
    """The orders [..., 4] as numbers below 24."""
    return np.array([NUMBER[tuple(order)] for order in orders.reshape(-1, 4).tolist()]).reshape(orders.shape[:-1])


def uniform_pvalue(cells, size):
    return stats.chisquare(np.bincount(cells, minlength=size)).pvalue


@pytest.fixture(scope="module")
def four():
    """The numbers of the orders of four examples [replicas, epochs]."""
    return numbers(drawn_by(Epochs(1), numbered(4), 24_000, 8).reshape(24_000, 2, 4))


def test_all_orders_are_as_likely(four):
    assert uniform_pvalue(four.ravel(), 24) > FALSE_ALARM


def test_the_orders_of_successive_epochs_are_independent(four):
    assert uniform_pvalue(24 * four[:, 0] + four[:, 1], 576) > FALSE_ALARM
    composed = np.concatenate([four[:, :1], (four[:, :1] + four[:, 1:] % 20) % 24], axis=1)  # not every step possible
    assert uniform_pvalue(24 * composed[:, 0] + composed[:, 1], 576) < FALSE_ALARM


@pytest.mark.parametrize("distance", [1, 2, 12_000])
def test_the_orders_of_two_replicas_are_independent(four, distance):
    first = np.arange(24_000) // distance % 2 == 0  # every replica in one pair
    pairs = 24 * four[first, 0] + four[np.roll(first, distance), 0]
    assert len(pairs) == 12_000 and uniform_pvalue(pairs, 576) > FALSE_ALARM
    assert uniform_pvalue(24 * four[first, 0] + four[first, 0], 576) < FALSE_ALARM


def riffle(rng):
    cut = rng.binomial(4, 0.5)
    first = np.sort(rng.permutation(4)[:cut])
    order = np.full(4, -1)
    order[first], order[order < 0] = np.arange(cut), np.arange(cut, 4)
    return order


def exchanges(place):
    """A shuffle by exchanges of place i with `place(i)`."""

    def shuffle(rng):
        order = np.arange(4)
        for i in range(4):
            j = place(rng, i)
            order[[i, j]] = order[[j, i]]
        return order

    return shuffle


NO_SHUFFLE = {
    "a rotation": lambda rng: np.roll(np.arange(4), rng.integers(4)),
    "a riffle": riffle,
    "exchanges with any place": exchanges(lambda rng, i: rng.integers(4)),
    "exchanges with another place": exchanges(lambda rng, i: rng.integers(max(i, 1))),
}


@pytest.mark.parametrize("shuffle", NO_SHUFFLE)
def test_what_is_no_uniform_shuffle_would_be_seen(shuffle):
    rng = np.random.default_rng(0)
    orders = np.array([NO_SHUFFLE[shuffle](rng) for _ in range(24_000)])
    assert uniform_pvalue(numbers(orders), 24) < FALSE_ALARM


def test_every_example_is_as_likely_in_every_place():
    """Of more examples than have all their orders counted; the counts [place, example] have (P−1)² free numbers."""
    orders = drawn_by(Epochs(6), numbered(30), 1_000, 10).reshape(2_000, 30)
    counts = np.stack([np.bincount(column, minlength=30) for column in orders.T])
    square = np.sum((counts - 2_000 / 30) ** 2) / (2_000 / 30) * 29 / 30
    assert FALSE_ALARM < stats.chi2.sf(square, 29**2) < 1 - FALSE_ALARM


def test_an_order_does_not_know_what_runs_beside_it():
    few, many = (drawn_by(Epochs(3), numbered(12), replicas, 8) for replicas in (2, 40))
    assert np.array_equal(few, many[:2])
    alone = draws(Epochs(3), numbered(12), 8, jax.random.fold_in(KEY, 1))
    assert np.array_equal(alone, few[1])


def test_an_epochs_order_depends_on_nothing_before_it():
    sampler, data = Epochs(2), numbered(6)
    late, _ = sampler.draw(data, jnp.arange(6, dtype=jnp.int32)[::-1], jnp.int32(9), KEY)
    assert np.array_equal(late.y, draws(sampler, data, 10)[9])


# --- noise factors --------------------------------------------------------------------------------------------


def all_batches(sampler, samples):
    indices = range(samples)
    drawn = (
        product(indices, repeat=sampler.batch_size)
        if isinstance(sampler, WithReplacement)
        else combinations(indices, sampler.batch_size)
    )
    return np.array(list(drawn))


@pytest.mark.parametrize("kind", INDEXED)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_covariance_factor_is_that_of_all_batches(kind, size):
    values = RNG.normal(size=(5, 3))
    means = values[all_batches(kind(size), 5)].mean(axis=1)
    one = np.cov(values.T, bias=True)
    factor = float(kind(size).covariance_factor(numbered(5)))
    assert np.abs(np.cov(means.T, bias=True) - factor * one).max() < 1e-12


def test_factors_of_a_stream_and_of_all_the_data():
    assert float(Online(4).covariance_factor(Teacher(np.eye(2), 0.1))) == 0.25
    assert float(FullBatch().covariance_factor(numbered(5))) == 0
    assert float(WithoutReplacement(1).covariance_factor(numbered(1))) == 0


# --- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [WithReplacement(3), WithoutReplacement(3)])
def test_a_draw_depends_on_key_and_step_only(sampler):
    data = numbered(50)
    path = draws(sampler, data, 20)
    alone, _ = sampler.draw(data, sampler.init(data), jnp.int32(17), KEY)
    assert np.array_equal(alone.y, path[17])
    assert len({tuple(batch) for batch in path.tolist()}) == 20
    assert not np.array_equal(path, draws(sampler, data, 20, jax.random.key(6)))


def test_a_streams_draw_depends_on_key_and_step():
    teacher = Teacher(np.eye(2), 0.1)
    batch = lambda step, key=KEY: Online(3).draw(teacher, None, jnp.int32(step), key)[0].x
    assert batch(1).shape == (3, 2) and jnp.array_equal(batch(1), batch(1))
    assert not jnp.any(batch(1) == batch(2)) and not jnp.any(batch(1) == batch(1, jax.random.key(6)))


def test_the_full_batch_is_all_the_data():
    data = numbered(5)
    assert FullBatch().draw(data, None, jnp.int32(0), KEY)[0] is data


@pytest.mark.parametrize("sampler", [WithReplacement(5), FullBatch()])
def test_fresh_labels_differ_between_steps(sampler):
    data = FreshLabels(numbered(5), 0.1)
    noise = lambda step: (lambda batch: batch.y - batch.x[:, 0])(sampler.draw(data, None, jnp.int32(step), KEY)[0])
    assert jnp.array_equal(noise(3), noise(3)) and not jnp.any(noise(3) == noise(4))
    assert 0 < jnp.abs(noise(3)).max() < 1  # 0.1 × normal numbers


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*INDEXED, Online])
@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_size_is_a_positive_whole_number(kind, size):
    with pytest.raises(ValueError, match=f"batch_size = {size}, .*whole number ≥ 1"):
        kind(size)


@pytest.mark.parametrize("kind", [WithoutReplacement, Epochs])
def test_a_batch_without_replacement_is_no_larger_than_the_data(kind):
    kind(5).check(numbered(5))
    with pytest.raises(ValueError, match=r"batch_size = 6.*5 samples.*WithReplacement"):
        kind(6).check(numbered(5))
    WithReplacement(6).check(numbered(5))


def test_streams_and_finite_data_need_their_own_samplers():
    with pytest.raises(ValueError, match=r"sampler = Online\(2\).*Dataset.*data.Teacher"):
        Online(2).check(numbered(5))
    for kind in INDEXED:
        with pytest.raises(ValueError, match=rf"sampler = {kind.__name__}.*Teacher.*Online\(batch_size\)"):
            kind(2).check(Teacher(np.eye(2), 0.1))
    FullBatch().check(numbered(5))
    FullBatch().check(Teacher(np.eye(2), 0.1))


def test_an_integer_means_with_replacement():
    assert as_sampler(3) == WithReplacement(3)
    assert as_sampler(Epochs(2)) == Epochs(2)
