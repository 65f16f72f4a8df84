"""Replicas spread over the devices of one machine, each device with a loop of its own over its share.

Replicas do not know of each other, so the step loop is the same program on every device, on other replicas: no
collective. The statistics' sums are spread with their groups of replicas. The draws, addressed by replica and step,
are the same on any number of devices.

On CPUs a device is a core (`jax.config.update("jax_num_cpu_devices", n)` before JAX starts): two loops on a core each
are faster than one loop whose every operation is shared out between two cores. What all replicas share, such as the
data, is copied to each of them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from sgdynamics.dynamics import AbstractDynamics, State
from sgdynamics.ensemble._core import Kernel, Replicas
from sgdynamics.statistics import Groups

AXIS = "replicas"
SPREAD, EVERYWHERE = PartitionSpec(AXIS), PartitionSpec()


class Spread(eqx.Module):
    """A kernel that gives each device of the mesh its share of the replicas."""

    kernel: Kernel
    mesh: Mesh = eqx.field(static=True)

    def __call__(self, dynamics: AbstractDynamics, replicas: Replicas, steps: Int[Array, ""] | int) -> State:
        arrays, static = eqx.partition((dynamics, self.kernel), eqx.is_array)
        number = None if isinstance(steps, int) else steps

        def own(arrays, states, keys, alive, step, number):
            dynamics, kernel = eqx.combine(arrays, static)
            return kernel(dynamics, Replicas(states, keys, alive, step), steps if number is None else number)

        shares = (EVERYWHERE, SPREAD, SPREAD, SPREAD, EVERYWHERE, EVERYWHERE)
        on_each = jax.shard_map(own, mesh=self.mesh, in_specs=shares, out_specs=SPREAD, check_vma=False)
        return on_each(arrays, replicas.states, replicas.keys, replicas.alive, replicas.step, number)


def mesh_for(groups: Groups) -> Mesh | None:
    """The CPU devices that share out the groups of replicas evenly, as many as can; None where that is one, and where
    the user has chosen a device (`jax.default_device`)."""
    devices = jax.devices()
    if devices[0].platform != "cpu" or not groups.even or jax.config.jax_default_device is not None:
        return None
    number = max(n for n in range(1, len(devices) + 1) if groups.count % n == 0)
    return None if number == 1 else Mesh(np.array(devices[:number]), (AXIS,), axis_types=(AxisType.Auto,))


def everywhere(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree, copied to every device of the mesh."""
    return jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, EVERYWHERE)) if eqx.is_array(x) else x, tree)


def spread(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree with its arrays' first axis, replicas, cut into a share for each device; scalars are copied."""
    one = lambda x: jax.device_put(x, NamedSharding(mesh, SPREAD if x.ndim else EVERYWHERE)) if eqx.is_array(x) else x
    return jax.tree.map(one, tree)


def spread_sums(sums: PyTree, mesh: Mesh, of_twice_as_many: PyTree) -> PyTree:
    """The statistics' sums, cut along replicas or groups: the axis that is longer in `of_twice_as_many`, the shapes of
    the sums of twice as many replicas and groups."""

    def one(x: Any, other: Any) -> Any:
        if not eqx.is_array(x):
            return x
        longer = [axis for axis, (n, m) in enumerate(zip(x.shape, other.shape, strict=True)) if m > n]
        cut = PartitionSpec(*[None] * longer[0], AXIS) if longer else EVERYWHERE
        return jax.device_put(x, NamedSharding(mesh, cut))

    # the trees differ in what is not an array: how many replicas there are
    leaves, structure = jax.tree.flatten(sums)
    return jax.tree.unflatten(structure, map(one, leaves, jax.tree.leaves(of_twice_as_many)))


def gathered(tree: PyTree) -> PyTree:
    """The tree as one device would have left it."""

    def one(x: Any) -> Any:
        if not eqx.is_array(x):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        return jnp.asarray(np.asarray(x))

    return jax.tree.map(one, tree)
