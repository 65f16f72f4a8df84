"""Eq. (13): displacement over decades of steps, and the velocity's correlation of an overdamped mode."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory


def displacement(data: xr.Dataset) -> Figure:
    """A column for each momentum: above the displacement, below the correlation of the velocity."""
    momenta = data.attrs["momenta"]
    figure, axes = panels(2, len(momenta), width=3.3, height=2.8)
    for β, column in zip(momenta, axes.T, strict=True):
        _distance(column[0], data, β)
        _correlation(column[1], data, β)
    axes[0, 0].set_ylabel("E|θ_k − θ_0|²  [w²]")
    axes[1, 0].set_ylabel("correlation of the velocity, R_j/R_0")
    handles = {
        label: handle for ax in axes[:, -1] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _distance(axes: Axes, data: xr.Dataset, β: float) -> None:
    k, name = data["step"], f"at_{β:g}"
    curve = lambda form: data[f"{name}_{form}"]
    simulation(axes, k, curve("measured"), curve("measured_error"), "SGD", COLOURS[0])
    theory(axes, k, curve("exact"), "exact, discrete time", COLOURS[0])
    theory(axes, k, curve("sde"), "the SDE, exact", COLOURS[1], linestyle="-.", linewidth=1.2)
    axes.plot(k, curve("published_repaired"), "--", color=GREY, label="(13) repaired: C_l(ηj)")
    axes.plot(k, curve("published"), ":", color=GREY, label="(13) as printed: C_l(j)")
    end = float(data[f"{name}_saturation"])
    axes.axhline(end, color=BLACK, linewidth=0.6, label="2 tr Cov θ")
    least = float(curve("measured").min())
    axes.set(
        xscale="log", yscale="log", xlabel="distance k  [step]", title=f"momentum {β:g}", ylim=(least / 3, 30 * end)
    )


def _correlation(axes: Axes, data: xr.Dataset, β: float) -> None:
    name = f"at_{β:g}_velocity"
    end = max(8.0, 3.2 * float(data[f"{name}_crossing"]))
    near = data.isel(lag=data["lag"].values <= end, any_lag=data["any_lag"].values <= end)
    theory(axes, near["any_lag"], near[f"{name}_exact"], None, COLOURS[0])
    theory(axes, near["any_lag"], near[f"{name}_sde"], None, COLOURS[1], linestyle="-.", linewidth=1.2)
    simulation(axes, near["lag"], near[name], near[f"{name}_error"], None, COLOURS[0])
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.set(
        xlabel="lag  [step]",
        xlim=(0, None),
        ylim=(-0.1, 0.35),
        title=f"mode with ζ = {float(data[f'{name}_ratio']):.2f}",
    )
