"""Mean, variance, covariance, kurtosis: exact values, merging, precision, derivatives, bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sgdynamics import statistics
from sgdynamics.statistics import (
    Covariance,
    Groups,
    Kurtosis,
    Loss,
    Mean,
    Norm,
    Projection,
    Records,
    Variance,
)

PLAIN = {
    "mean": (Mean(), lambda x: x.mean(0)),
    "variance": (Variance(), lambda x: x.var(0)),
    "kurtosis": (Kurtosis(), lambda x: stats.kurtosis(x)),
    "covariance": (Covariance(), lambda x: np.cov(x.T, bias=True)),
    "about": (Covariance(about=[1.0, 2.0, 3.0]), lambda x: (x - [1, 2, 3]).T @ (x - [1, 2, 3]) / len(x)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_statistic_of_all_groups_is_numpys(record, name):
    """One group: no jackknife correction, so the value is the plain one."""
    statistic, plain = PLAIN[name]
    x = np.random.default_rng(0).normal(size=(5, 13, 3)) + 50
    estimate = record.estimate(statistic, x, groups=1)
    assert np.allclose(estimate.value, plain(x[1:].reshape(-1, 3)), rtol=1e-10, atol=1e-10)
    several = record.estimate(statistic, x, groups=5)
    assert several.value.shape == estimate.value.shape and np.all(several.standard_error > 0)
    assert several.quantity == statistic.quantity and several.of is None


@pytest.mark.parametrize("name", PLAIN)
def test_merging_records_in_any_order(record, name):
    statistic, _ = PLAIN[name]
    x = np.random.default_rng(1).normal(size=(10, 12, 3)) + np.linspace(0, 5, 10)[:, None, None]
    whole = record.estimate(statistic, x, groups=4)
    a, b, c = (record.sums(statistic, x[i : j + 1], groups=4) for i, j in ((0, 3), (3, 5), (5, 9)))

    def merge(a, b):
        return record.merged(statistic, a, b)

    for merged in (
        merge(merge(a, b), c),
        merge(a, merge(b, c)),
        merge(c, merge(b, a)),
        merge(merge(b, a), c),
    ):
        estimate = statistic.finalise(merged)
        assert np.allclose(estimate.value, whole.value, rtol=1e-10, atol=1e-10)
        assert np.allclose(estimate.standard_error, whole.standard_error, rtol=1e-9)


def test_merging_other_replicas(record):
    x = np.random.default_rng(2).normal(size=(4, 24, 3))
    halves = [record.sums(Covariance(), part, groups=1) for part in (x[:, :9], x[:, 9:])]
    merged = Covariance().finalise(Covariance().merge(*halves, other_replicas=True))
    assert np.allclose(merged.value, np.cov(x[1:].reshape(-1, 3).T, bias=True))
    with pytest.raises(ValueError, match="same number of groups"):
        Mean().merge(record.sums(Mean(), x, groups=2), record.sums(Mean(), x, groups=3))


def test_float32_far_from_the_origin(record):
    """Offset 1e4, deviations of a few units in the last place: no digit of what is stored is lost."""
    x = (1e4 + 1e-2 * np.random.default_rng(3).normal(size=(40, 64, 3))).astype(np.float32)
    estimate = record.estimate(Covariance(), x, groups=1)
    exact = np.cov(x[1:].astype(np.float64).reshape(-1, 3).T, bias=True)
    assert np.allclose(estimate.value, exact, rtol=1e-6, atol=1e-11)
    mean = record.estimate(Mean(), x, groups=1).value
    assert np.allclose(mean, x[1:].astype(np.float64).mean((0, 1)), rtol=1e-10)


def test_float32_sums_of_many_records(record):
    """10⁵ records in float32 against the same in float64, to 1e-5 (the compensation gives far less)."""
    groups, statistic = Groups(8, 2), Covariance()
    alive = jnp.ones(8, bool)
    phase = jnp.linspace(0, 3, 16, dtype=jnp.float32).reshape(8, 2)

    def state(k, dtype):
        turn = (k % 997).astype(jnp.float32) * jnp.float32(0.1) + phase
        return record.States((jnp.float32(5) + jnp.sin(turn)).astype(dtype))

    @jax.jit
    def run():
        def body(k, both):
            return tuple(statistic.update(s, state(k, d), alive, k) for s, d in zip(both, dtypes, strict=True))

        dtypes = (jnp.float32, jnp.float64)
        zero = record.States(jnp.zeros((8, 2), jnp.float32)), record.States(jnp.zeros((8, 2)))
        first = tuple(statistic.init(z, alive, groups, Records(100_000)) for z in zero)
        return jax.lax.fori_loop(0, 100_000, body, first)

    narrow, exact = run()
    assert narrow.moments[2].total.dtype == jnp.float32
    assert np.allclose(statistic.finalise(narrow).value, statistic.finalise(exact).value, rtol=1e-5, atol=1e-6)


def test_sums_do_not_grow_with_records_and_keep_the_dtype(record):
    states = record.States(jnp.ones((12, 3), jnp.float32), jnp.ones((12, 3), jnp.float32))
    alive = jnp.ones(12, bool)
    of = statistics.velocity
    for statistic in (Mean(), Kurtosis(of), Covariance(Projection(np.eye(3)[:, :2])), Mean(Norm())):
        few, many = (statistic.init(states, alive, Groups(12, 4), Records(n)) for n in (2, 10**8))
        assert [x.shape for x in jax.tree.leaves(few)] == [x.shape for x in jax.tree.leaves(many)]
        after = statistic.update(few, states, alive, jnp.int32(0))
        kinds = [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(few)]
        assert kinds == [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(after)]
        assert not any(x.dtype == jnp.float64 for x in jax.tree.leaves(after))


def test_observables(record):
    rng = np.random.default_rng(4)
    x, v = rng.normal(size=(2, 3, 8, 4))
    directions, origin = rng.normal(size=(4, 2)), rng.normal(size=4)
    mean = record.estimate(Mean(Projection(directions, origin)), x)
    assert np.allclose(mean.value, ((x[1:] - origin) @ directions).mean((0, 1))) and mean.of == "projection"
    one = record.estimate(Mean(Projection(directions[:, 0])), x)
    assert np.allclose(one.value, (x[1:] @ directions[:, 0]).mean())
    assert np.allclose(record.estimate(Mean(Norm(origin)), x).value, np.linalg.norm(x[1:] - origin, axis=-1).mean())
    speed = record.estimate(Mean(statistics.velocity), x, velocity=v)
    assert np.allclose(speed.value, v[1:].mean((0, 1))) and speed.of == "velocity"
    assert record.estimate(Covariance(Norm()), x).value.shape == (1, 1)
    square = Covariance(lambda s: s.position.reshape(2, 2))
    assert np.allclose(record.estimate(square, x).value, record.estimate(Covariance(), x).value)


def test_loss_on_own_and_other_data(record):
    class Problem(eqx.Module):
        target: jax.Array

        def loss(self, theta, data=None):
            return 0.5 * jnp.sum((theta - (self.target if data is None else data)) ** 2)

    x = np.random.default_rng(5).normal(size=(3, 8, 2))
    problem, other = Problem(jnp.ones(2)), jnp.array([3.0, 4.0])
    train, test = (record.estimate(Loss(problem, data), x) for data in (None, other))
    assert np.allclose(train.value, 0.5 * ((x[1:] - 1) ** 2).sum(-1).mean()) and train.quantity == "loss"
    assert np.allclose(test.value, 0.5 * ((x[1:] - [3, 4]) ** 2).sum(-1).mean())
    with pytest.raises(ValueError, match="problem"):
        Loss(3)


@pytest.mark.parametrize("statistic", [Mean(Norm()), Covariance(), statistics.Displacement((1, 2))])
def test_derivatives_through_a_scan(statistic, record):
    """Reverse mode against central differences, with one replica dead from the start and full of nan."""
    start = jnp.asarray(np.random.default_rng(6).normal(size=(9, 2))).at[4].set(jnp.nan)
    alive = jnp.ones(9, bool).at[4].set(False)
    noise = jnp.asarray(np.random.default_rng(7).normal(size=(5, 9, 2)))

    @jax.jit
    def measured(rate):
        first = record.States(start * rate)
        empty = statistic.init(first, alive, Groups(9, 3), Records(5))

        def body(carry, k):
            states, sums = carry
            states = record.States(states.position * (1 - rate) + rate * noise[k])
            return (states, statistic.update(sums, states, alive, k)), None

        (_, sums), _ = jax.lax.scan(body, (first, empty), jnp.arange(5))
        return jnp.sum(jnp.sin(statistic.finalise(sums).value))

    # the loop above lets nan reach derivatives of the dead replica's own path, as no ensemble does
    start = jnp.where(alive[:, None], start, 1e30)
    rate, h = 0.3, 1e-6
    numeric = (measured(rate + h) - measured(rate - h)) / (2 * h)
    assert np.isclose(jax.grad(measured)(rate), numeric, rtol=1e-6)
    assert np.isclose(jax.jvp(measured, (rate,), (1.0,))[1], numeric, rtol=1e-6)


def test_size_is_checked_before_anything_runs(record):
    states, alive = record.States(jnp.zeros((64, 1001))), jnp.ones(64, bool)
    with pytest.raises(ValueError, match=r"32 groups x 1001² components = 32,064,032.*Projection"):
        Covariance().init(states, alive, Groups(64), Records(10))
    sums = Covariance(allow_large=True).init(states, alive, Groups(64, 2), Records(10))
    assert sums.moments[2].total.shape == (2, 1001, 1001)
    Covariance().init(states, alive, Groups(64, 16), Records(10))
    with pytest.raises(ValueError, match="overflow"):
        Mean().init(states, alive, Groups(64, 1), Records(10**8))


def test_bad_observables_are_refused(record):
    x = np.zeros((2, 4, 3))
    with pytest.raises(ValueError, match="no velocity"):
        record.estimate(Mean(statistics.velocity), x)
    with pytest.raises(ValueError, match="directions has 2 rows, but the state has 3"):
        record.estimate(Mean(Projection(np.eye(2))), x)
    with pytest.raises(ValueError, match="finite"):
        Projection(np.full((3, 1), np.nan))
    with pytest.raises(ValueError, match="origin has shape"):
        Projection(np.eye(3), np.zeros(2))
    with pytest.raises(ValueError, match="real floating"):
        record.estimate(Mean(lambda s: s.position > 0), x)
    with pytest.raises(ValueError, match="about has 2 components"):
        record.estimate(Covariance(about=[0.0, 1.0]), x)
