"""Fig. 5: phase planes of single modes, their spectra, and how fast they turn."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

POINTS = 60


def fig5(data: xr.Dataset) -> Figure:
    """Two rows for each case: phase planes, and below each the spectra of that mode; on the right the rotation."""
    cases = data.attrs["cases"]
    figure, axes = panels(2 * len(cases), 4, width=2.8, height=2.3)
    for k, case in enumerate(cases):
        planes, spectra = axes[2 * k], axes[2 * k + 1]
        shown = [int(i) for i in np.atleast_1d(data.attrs[f"{case}_drawn"])]
        for j in range(3):
            if j < len(shown):
                _plane(planes[j], data, case, shown[j])
                _spectra(spectra[j], data, case, shown[j])
            else:
                planes[j].set_visible(False)
                spectra[j].set_visible(False)
        _rates(planes[3], data, case)
        _peaks(spectra[3], data, case)
    handles = [
        Line2D([], [], color=GREY, linewidth=0.6, label="one replica"),
        Line2D([], [], color=BLACK, label="1σ and 2σ of the law"),
        Line2D([], [], color=COLOURS[0], marker="o", markerfacecolor="white", label="position: SGD, theory"),
        Line2D([], [], color=COLOURS[1], marker="s", markerfacecolor="white", label="velocity: SGD, theory"),
        Line2D([], [], color=BLACK, linestyle=":", label="predicted peaks"),
        Line2D([], [], color=COLOURS[2], marker="o", markerfacecolor="white", label="rotation: SGD, theory"),
        Line2D([], [], color=GREY, linestyle="--", label="∝ K, as printed"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _plane(axes: Axes, data: xr.Dataset, case: str, i: int) -> None:
    δ, v = data[f"{case}_path"][:, :, i].values.T
    axes.plot(δ, v, color=GREY, linewidth=0.5)
    axes.plot(δ[0], v[0], "o", color=GREY, markersize=3)
    for size in (1, 2):
        around = size * data[f"{case}_ellipse"][i]
        theory(axes, around[:, 0], around[:, 1], colour=BLACK, linewidth=1.0)
    mode, K = int(data[f"{case}_mode"][i]), float(data[f"{case}_curvature"][i])
    axes.set(xlabel="position δ  [w]", ylabel="velocity v  [w/t]")
    axes.set_title(f"{case}, mode {mode}, K = {K:.2g}/t", loc="left")
    axes.ticklabel_format(style="sci", scilimits=(-2, 3))


def _spectra(axes: Axes, data: xr.Dataset, case: str, i: int) -> None:
    """Each in units of its largest expected power."""
    ω = data[f"{case}_frequency"]
    last = min(len(ω), 1 + int(np.searchsorted(ω, 3 * float(data[f"{case}_velocity_peak"][i]) + 0.1)))
    thin = np.unique(np.round(np.linspace(0, last - 1, POINTS)).astype(int))
    for kind, colour, marker in (("position", COLOURS[0], "o"), ("velocity", COLOURS[1], "s")):
        expected = data[f"{case}_{kind}_theory"][:, i]
        unit = float(expected.max())
        theory(axes, ω[:last], expected[:last] / unit, colour=colour)
        values, errors = data[f"{case}_{kind}"][thin, i] / unit, data[f"{case}_{kind}_error"][thin, i] / unit
        simulation(axes, ω[thin], values, errors, None, colour, marker, markersize=3)
        peak = float(data[f"{case}_{kind}_peak"][i])
        if np.isfinite(peak):
            axes.axvline(peak, color=colour, linestyle=":", linewidth=1.0)
    axes.set(xlabel="frequency  [rad per step]", ylabel="power / largest", ylim=(0, None))


def _rates(axes: Axes, data: xr.Dataset, case: str) -> None:
    K, rate = data[f"{case}_curvature"], -data[f"{case}_rotation_theory"]
    theory(axes, K, rate, colour=COLOURS[2])
    published(axes, K, float(rate[0]) * K / float(K[0]))
    simulation(axes, K, -data[f"{case}_rotation"], data[f"{case}_rotation_error"], None, COLOURS[2])
    axes.set(xlabel="curvature K  [1/t]", ylabel="clockwise rotation\n[rad per step]", xscale="log", yscale="log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(case, loc="left")


def _peaks(axes: Axes, data: xr.Dataset, case: str) -> None:
    """Measured over predicted, on the diagonal where they agree."""
    predicted = np.concatenate([data[f"{case}_{kind}_peak"].values for kind in ("position", "velocity")])
    ends = np.array([0.8 * np.nanmin(predicted), 1.25 * np.nanmax(predicted)])
    theory(axes, ends, ends, colour=BLACK, linewidth=1.0)
    for kind, colour, marker in (("position", COLOURS[0], "o"), ("velocity", COLOURS[1], "s")):
        at = f"{case}_{kind}_peak"
        values, errors = data[f"{at}_measured"], data[f"{at}_measured_error"]
        simulation(axes, data[at], values, errors, None, colour, marker, markersize=4)
    axes.set(xlabel="predicted peak  [rad per step]", ylabel="measured peak\n[rad per step]")
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
