"""What a result needs besides its parameters to be run again: versions, device, platform, commit."""

import datetime
import platform
from typing import Any

import jax

from sgdynamics import _versions


def provenance() -> dict[str, Any]:
    """The circumstances of a run that starts now, as JSON values."""
    devices = jax.devices()
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions.versions(),
        "platform": platform.platform(),
        "devices": {"backend": jax.default_backend(), "kind": devices[0].device_kind, "count": len(devices)},
        "processes": jax.process_count(),
        "x64": jax.config.read("jax_enable_x64"),
        "commit": _versions.commit(),
    }
