"""What of the machine is used: the cores, each as a device of JAX."""

import os

import jax


def cores() -> int:
    """The cores that this process may use, as far as its affinity says: a container's quota is not looked at."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_device_for_each_core() -> None:
    """Replicas are spread over devices: on CPUs every core becomes one, unless the user has said how many."""
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if told or "JAX_NUM_CPU_DEVICES" in os.environ or jax.config.jax_num_cpu_devices > 0:
        return
    try:
        jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError:
        pass  # JAX runs already: whoever started it has chosen
