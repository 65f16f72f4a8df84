"""App. H.4: original and modified potential with an ensemble, and the area that its paths sweep."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

EVERY = 5  # grid points between two arrows


def potentials(data: xr.Dataset) -> Figure:
    """Left the original potential, in the middle the modified one with its current, right the swept area."""
    figure, axes = panels(columns=3, width=3.3, height=3.6)
    original, modified, area = axes[0]
    _potential(original, data, "original", f"original potential Φ  [{data['original'].units}]")
    _potential(modified, data, "modified", f"modified potential Ψ  [{data['modified'].units}]")
    x1, x2 = data["ellipse_original"].values.T
    published(original, x1, x2, r"2σ of $e^{-κΦ}$", linewidth=1.8)
    x1, x2 = data["ellipse_modified"].values.T
    theory(modified, x1, x2, r"2σ of $e^{-κΨ}$", COLOURS[1])
    _arrows(modified, data)
    _area(area, data)
    handles = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def _potential(axes: Axes, data: xr.Dataset, name: str, title: str) -> None:
    style: Any = {"colors": BLACK, "linewidths": 0.5, "alpha": 0.5}
    largest = float(data[name].max())
    axes.contour(data["x1"], data["x2"], data[name].T, levels=largest * np.linspace(0.02, 0.8, 8) ** 2, **style)
    axes.plot(*data["cloud"].values.T, ".", color=COLOURS[5], markersize=2, alpha=0.8, label="replicas", zorder=1)
    axes.plot(*data["path"].values.T, color=COLOURS[0], linewidth=0.8, label="path of one replica", zorder=2)
    axes.set(xlabel="x₁  [x]", ylabel="x₂  [x]", aspect="equal", title=title)


def _arrows(axes: Axes, data: xr.Dataset) -> None:
    """The current's velocity where there are replicas: inside three standard deviations."""
    some: Any = {"x1": slice(2, None, EVERY), "x2": slice(2, None, EVERY)}
    force, Ψ = data["force"].isel(some), data["modified"].isel(some)
    inside = (Ψ <= float(data.attrs["three_sigma"])).values
    x1, x2 = np.meshgrid(data["x1"].isel(x1=some["x1"]), data["x2"].isel(x2=some["x2"]), indexing="ij")
    u, v = force.values[inside].T
    axes.quiver(x1[inside], x2[inside], u, v, color=COLOURS[2], angles="xy", width=0.008, zorder=4,
                label="velocity j of the current")  # fmt: skip


def _area(axes: Axes, data: xr.Dataset) -> None:
    unit = 1e5
    theory(axes, data["any_lag"], unit * data["area_theory"], "current −Q U (x − b)", COLOURS[1])
    simulation(axes, data["lag"], unit * data["area"], unit * data["area_error"], "ensemble", COLOURS[0])
    axes.axhline(0, color=GREY, linestyle="--", label="detailed balance")
    axes.set(xlabel="lag  [t]", ylabel="area swept in a lag  [10⁻⁵ x²]", xlim=(0, None), title="rotation")
