"""The figures of Kühn and Rosenow (2025), one module each."""

from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

FIGURES: dict[str, Callable[[xr.Dataset], Figure]] = {}
