"""Replicas spread over devices, of one process or of many, each device with a loop of its own over its share.

Replicas do not know of each other, and statistics add up within groups of replicas. So the whole loop, steps and sums,
is the same program on every device, on other replicas: no collective. Only where sums are opened, and at the end, are
shares brought together. The draws, addressed by replica and step, are the same on any number of devices.

On CPUs a device is a core (`jax.config.update("jax_num_cpu_devices", n)` before JAX starts): two loops on a core each
are faster than one loop whose every operation is shared out between two cores. What all replicas share, such as the
data, is copied to each of them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from sgdynamics.ensemble._layout import Cut, Layout
from sgdynamics.statistics import Groups

AXIS = "replicas"
EVERYWHERE = PartitionSpec()
WORTH = 0.8  # of the time that one device takes: padding may eat up what is shared out


def mesh_for(groups: Groups, mesh: Mesh | None) -> Mesh | None:
    """The devices that share out the groups, in a row; None for one device.

    Those of the user's `mesh`; otherwise all devices of all processes or, in one process, as many as shorten the
    work, unless the user has chosen a device (`jax.default_device`).
    """
    if mesh is not None:
        return _row(mesh.devices.ravel())
    devices = jax.devices()
    if jax.process_count() > 1:
        return _row(devices)
    if jax.config.jax_default_device is not None:
        return None
    number = worth_using(groups, len(devices))
    return None if number == 1 else _row(devices[:number])


def worth_using(groups: Groups, devices: int) -> int:
    """Of so many devices, the smallest number that makes the work as short as it gets; 1 where little is gained."""
    places = lambda number: Layout(groups, number).own.replicas
    number = min(range(1, devices + 1), key=places)
    return number if places(number) <= WORTH * groups.replicas else 1


def check_mesh(mesh: Any) -> None:
    """An error where `mesh` is no mesh, or leaves out a process."""
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh is {mesh!r}, but it must be a jax.sharding.Mesh: jax.make_mesh((n,), ('replicas',)).")
    processes = {device.process_index for device in mesh.devices.flat}
    missing = sorted(set(range(jax.process_count())) - processes)
    if missing:
        raise ValueError(
            f"mesh has no device of the processes {missing}, but every process must have one, or it would wait "
            "for the others for ever. Make it of all of jax.devices()."
        )


def spec(cut: Cut | None) -> PartitionSpec:
    return EVERYWHERE if cut is None else PartitionSpec(*[None] * cut.axis, AXIS)


def placed(x: Any, mesh: Mesh, cut: Cut | None = None) -> Any:
    """An array that every process has whole, on the devices of the mesh: to each its share, or to all a copy."""
    if not eqx.is_array_like(x) or isinstance(x, bool | int | float | complex):
        return x
    if _is_key(x):
        return jax.random.wrap_key_data(placed(jax.random.key_data(x), mesh, cut), impl=jax.random.key_impl(x))
    sharding = NamedSharding(mesh, spec(cut))
    if sharding.is_fully_addressable:
        return jax.device_put(x, sharding)
    values = np.asarray(x)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def everywhere(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree, its arrays copied to every device of the mesh."""
    return jax.tree.map(lambda x: placed(x, mesh), tree)


def gathered(x: Any) -> Any:
    """An array as one device would have it, in every process."""
    if _is_key(x):
        return jax.random.wrap_key_data(jnp.asarray(gathered(jax.random.key_data(x))), impl=jax.random.key_impl(x))
    if x.is_fully_addressable:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def agreed(*numbers: int) -> tuple[int, ...]:
    """The numbers of the first process: those of different processes depend on their clocks."""
    if jax.process_count() == 1:
        return numbers
    return tuple(int(n) for n in multihost_utils.broadcast_one_to_all(np.array(numbers, np.int32)))


def any_process(wish: bool) -> bool:
    """Whether a process wishes it."""
    if jax.process_count() == 1:
        return wish
    return bool(np.any(multihost_utils.process_allgather(np.array(wish))))


def _row(devices: Any) -> Mesh:
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
