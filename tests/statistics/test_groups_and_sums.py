"""The division into groups, the ledger, and sums of many terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgdynamics.statistics import Groups, Records
from sgdynamics.statistics._groups import Ledger
from sgdynamics.statistics._running import Running, replaced


@pytest.mark.parametrize("replicas, count", [(12, 4), (13, 4), (5, 32), (1, 1), (100, 7)])
def test_each_replica_is_in_one_group_and_sizes_differ_by_one(replicas, count):
    groups = Groups(replicas, count)
    x = jnp.arange(replicas)
    present = groups.present(jnp.ones(replicas, bool))
    sizes = present.sum(1)
    assert groups.split(x).shape == present.shape == (groups.count, groups.members)
    assert sorted(np.asarray(groups.split(x))[np.asarray(present)]) == list(range(replicas))
    assert sizes.max() - sizes.min() <= 1
    assert jnp.array_equal(groups.join(groups.split(x)), x)


@pytest.mark.parametrize("arguments", [(0, 4), (4, 0), (4, -1)])
def test_impossible_groups_are_refused(arguments):
    with pytest.raises(ValueError, match="whole number"):
        Groups(*arguments)
    with pytest.raises(ValueError, match="every"):
        Records(10, 0)
    with pytest.raises(ValueError, match="records = 0"):
        Records(0, 1)


def test_a_death_spoils_a_group_only_after_a_contribution():
    groups = Groups(6, 3)
    ledger = Ledger.open(groups, jnp.ones(6, bool))
    one_dead = jnp.ones(6, bool).at[0].set(False)
    ledger = ledger.record(one_dead)
    assert not ledger.spoiled.any() and ledger.usable().all()
    ledger = ledger.record(one_dead.at[5].set(False))
    assert ledger.spoiled.tolist() == [False, False, True]
    assert ledger.usable().tolist() == [True, True, False]


def test_merged_ledgers_see_deaths_between_them():
    groups = Groups(6, 3)
    early = Ledger.open(groups, jnp.ones(6, bool)).record(jnp.ones(6, bool))
    later_alive = jnp.ones(6, bool).at[2].set(False)
    late = Ledger.open(groups, later_alive).record(later_alive)
    for merged in (early.merge(late, False), late.merge(early, False)):
        assert merged.usable().tolist() == [True, False, True]
        assert merged.members.tolist() == [2, 1, 2]
    others = early.merge(late, True)
    assert others.usable().all() and others.members.tolist() == [4, 3, 4]


def test_a_million_float32_terms_lose_nothing():
    term = jnp.float32(0.1)

    @jax.jit
    def run():
        def body(_, both):
            return both[0].add(term), both[1] + term

        return jax.lax.fori_loop(0, 1_000_000, body, (Running.zero((), jnp.float32), jnp.float32(0)))

    compensated, plain = run()
    exact = 1_000_000 * float(term)
    assert abs(float(compensated.wide()) / exact - 1) < 1e-9
    assert abs(float(plain) / exact - 1) > 1e-3  # what the compensation is for


def test_replaced_sums_keep_their_low_bits():
    zero = {"a": Running.zero((3,), jnp.float32), "n": Running.zero((), jnp.uint32)}
    wide = {"a": jnp.array([1 + 1e-12, -3e5 - 1e-7, 0.1]), "n": jnp.array(2.0**32 - 1)}
    kept = replaced(zero, wide)
    assert jnp.allclose(kept["a"].wide(), wide["a"], rtol=1e-13, atol=0)
    assert int(kept["n"].total) == 2**32 - 1
