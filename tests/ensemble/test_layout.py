"""Replicas and groups laid over devices: nothing is lost, doubled or mixed up, whether or not numbers divide."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from every_statistic import every_statistic

import sgdynamics as sgd
from sgdynamics.ensemble import reference_kernel, replicate
from sgdynamics.ensemble._layout import REPLICAS, Cut, Layout, cuts
from sgdynamics.ensemble._pieces import OneDevice, Task, resized
from sgdynamics.statistics import Groups

KEY = jax.random.key(4)
DATA = sgd.data.teacher_student(KEY, samples=20, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
DYNAMICS = sgd.SGD(PROBLEM, learning_rate=0.1, sampler=4, momentum=0.5)
SIZES = [(16, 8, 2), (13, 5, 2), (33, 32, 8), (5, 32, 8), (1, 32, 8), (64, 3, 5)]


@pytest.mark.parametrize("replicas, groups, devices", SIZES)
def test_lifted_is_what_was_laid(replicas, groups, devices):
    layout = Layout(Groups(replicas, groups), devices)
    for cut, number in [(REPLICAS, replicas), (Cut(1, "replicas"), replicas), (Cut(1, "groups"), layout.groups.count)]:
        x = jnp.arange(2 * number).reshape((number, 2) if cut.axis == 0 else (2, number))
        laid = layout.lay(x, cut)
        own = layout.own.replicas if cut.along == "replicas" else layout.own.count
        assert laid.shape[cut.axis] == devices * own
        assert np.array_equal(layout.lift(np.asarray(laid), cut), x) and np.array_equal(layout.lift(laid, cut), x)
    assert layout.lay(x, None) is x and layout.lift(x, None) is x


@pytest.mark.parametrize("replicas, groups, devices", SIZES)
def test_a_group_is_whole_on_one_device_and_padding_is_dead(replicas, groups, devices):
    layout = Layout(Groups(replicas, groups), devices)
    home = np.zeros(replicas, int)
    which, filled = layout.groups.places()
    home[which[filled]] = np.nonzero(filled)[0]
    laid = np.where(layout.filled(), layout.lay(jnp.asarray(home), REPLICAS), -1).reshape(-1, layout.own.members)
    assert layout.filled().sum() == replicas
    for number, places in enumerate(laid):
        assert set(places) <= {number, -1}


@pytest.mark.long
@pytest.mark.parametrize("replicas, groups, devices", [(13, 5, 2), (16, 8, 4), (9, 9, 2)])
def test_sums_of_shares_are_shares_of_the_sums(replicas, groups, devices):
    """Each device's updates by hand, one device after another, for every kind of statistic."""
    layout = Layout(Groups(replicas, groups), devices)
    positions = jax.random.normal(KEY, (11, replicas, 3)).at[6:, 4].set(jnp.nan)
    states = [replicate(DYNAMICS, x, 0.3 * x[:, ::-1], KEY) for x in positions]
    for name, statistic in every_statistic(PROBLEM, velocities=True).items():
        task = Task(DYNAMICS, statistic, reference_kernel, layout.groups, records=10, every=3, keep=False)
        shapes = lambda groups, task=task: task.sums_of(resized(states[0], groups.replicas), groups)
        where, own = cuts(shapes), jax.tree.structure(shapes(layout.own))
        start = OneDevice(task).open(states[0])
        whole = recorded(statistic, start, states[1:])
        shares = [
            recorded(statistic, jax.tree.unflatten(own, share(layout, device, start, where)), [
                share_of_replicas(layout, device, state) for state in states[1:]
            ])
            for device in range(devices)
        ]  # fmt: skip
        for cut, x, *parts in zip(where, jax.tree.leaves(whole), *map(jax.tree.leaves, shares), strict=True):
            joined = parts[0] if cut is None else layout.lift(jnp.concatenate(parts, axis=cut.axis), cut)
            np.testing.assert_allclose(joined, x, rtol=1e-13, atol=1e-13, err_msg=name)


def recorded(statistic, sums, states):
    update = eqx.filter_jit(lambda sums, states, alive, record: statistic.update(sums, states, alive, record))
    for record, state in enumerate(states):
        sums = update(sums, state.states, state.alive, jnp.int32(record))
    return sums


def share(layout, device, tree, where):
    """The arrays of the tree that one device has."""
    one = lambda x, cut: x if cut is None else jnp.split(layout.lay(x, cut), layout.devices, axis=cut.axis)[device]
    return [one(x, cut) for x, cut in zip(jax.tree.leaves(tree), where, strict=True)]


def share_of_replicas(layout, device, replicas):
    where = [REPLICAS if x.ndim else None for x in jax.tree.leaves(replicas)]
    ours = jax.tree.unflatten(jax.tree.structure(replicas), share(layout, device, replicas, where))
    filled = jnp.split(jnp.asarray(layout.filled()), layout.devices)[device]
    return eqx.tree_at(lambda r: r.alive, ours, ours.alive & filled)
