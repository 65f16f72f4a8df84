"""What goes into a result's data set: every variable with its unit and a name that a label can show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sgdynamics.statistics import Estimate

Variable = tuple[tuple[str, ...], np.ndarray, dict[str, str]]


def described(long_name: str, units: str = "1") -> dict[str, str]:
    """The attributes of a variable; "1" is the unit of a pure number."""
    return {"units": units, "long_name": long_name}


def variable(dims: str | Sequence[str], values: Any, long_name: str, units: str = "1") -> Variable:
    """A variable or a coordinate over named axes ("" or () for a scalar)."""
    dims = ((dims,) if dims else ()) if isinstance(dims, str) else tuple(dims)
    return dims, np.asarray(values), described(long_name, units)


def measurement(
    name: str, dims: str | Sequence[str], estimate: Estimate, long_name: str, units: str = "1"
) -> dict[str, Variable]:
    """`name` and `name_error`: a measured quantity with its standard error."""
    return {
        name: variable(dims, estimate.value, f"{long_name}, measured", units),
        f"{name}_error": variable(dims, estimate.standard_error, f"{long_name}, standard error", units),
    }


def dataset(variables: Mapping[str, Variable], coordinates: Mapping[str, Variable] | None = None) -> xr.Dataset:
    """The data set of these variables and coordinates."""
    return xr.Dataset(dict(variables), dict(coordinates or {}))
