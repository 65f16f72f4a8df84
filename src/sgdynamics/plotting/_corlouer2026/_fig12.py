"""Fig. 12: variance of the first mode's amplitude against the time step."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory


def fig12(data: xr.Dataset) -> Figure:
    """(a) while it is learned and at the end, from small starts; (b) near the minimum, where a linear map tells it."""
    figure, ((left, right),) = panels(1, 2, width=4.2, height=3.7)
    near, *small = data.attrs["labels"]
    for name, words, colour in zip(("early", "end"), small, COLOURS[1:], strict=False):
        simulation(left, data["time_step"], data[name], data[f"{name}_error"], words, colour)
    left.axhline(1e-8, color=GREY, linestyle=":", linewidth=1, label="standard deviation 10⁻⁴")
    left.set(yscale="log", ylabel="variance of the first amplitude  [w²]")
    theory(right, data["fineness"], data["mapped"] * 1e12, "linear map", BLACK)
    simulation(right, data["time_step"], data["near"] * 1e12, data["near_error"] * 1e12, near, COLOURS[0])
    right.set(ylabel="variance of the first amplitude  [10⁻¹² w²]", ylim=(0, None))
    for axes in (left, right):
        axes.axvline(data.attrs["learning_rate"], color=GREY, linewidth=0.8, linestyle="--")
        axes.set(xscale="log", xlabel="time step of the simulation  [t]")
    right.plot([], [], color=GREY, linewidth=0.8, linestyle="--", label="learning rate")
    handles = [handle for axes in (left, right) for handle in axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
