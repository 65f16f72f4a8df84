"""Fig. 1: modes learned one by one, and the diffusion along each."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig1(data: xr.Dataset) -> Figure:
    """(a) amplitudes, (b) diffusion; one colour for each mode, vertical lines where (9) puts the peak."""
    figure, ((left, right),) = panels(1, 2, width=4.4)
    few = data.isel(time=slice(0, None, max(1, data.sizes["time"] // 60)))
    for mode, colour in zip(range(data.sizes["mode"]), COLOURS, strict=False):
        for axes, name in ((left, "amplitudes"), (right, "diffusion")):
            at = {"mode": mode}
            theory(axes, data["time"], data[f"flow_{name}"][at], None, colour)
            simulation(
                axes, few["time"], few[name][at], few[f"{name}_error"][at], f"{data['mode'].values[mode]:g}", colour
            )
            axes.axvline(float(data["peak_time"][at]), color=colour, linestyle=":", linewidth=1)
        published(right, data["time"], data["formula"][{"mode": mode}], None)
    left.set(xlabel="time  [learning rate × step]", ylabel="amplitude of the mode  [w]")
    right.set(xlabel="time  [learning rate × step]", ylabel="diffusion along the mode  [w²/t]")
    kinds = [
        Line2D([], [], color=BLACK, label="gradient descent; (7) along it"),
        Line2D([], [], color=GREY, linestyle="--", label="(7) at SGD's amplitudes, mean"),
        Line2D([], [], color=BLACK, linestyle=":", label="amplitude (9) reached"),
    ]
    figure.legend(handles=left.get_legend_handles_labels()[0], title="s  (points: SGD)", loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=3)
    return figure
