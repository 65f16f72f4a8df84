"""Fig. 6: cross modes during training."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation


def fig6(data: xr.Dataset) -> Figure:
    """Sizes of the cross modes among the learned modes, depths in rows, small and aligned starts in columns."""
    depths, modes = data.attrs["depths"], data.attrs["modes"]
    figure, axes = panels(len(depths), 2, width=4.2, height=2.8)
    for row, depth in zip(axes, depths, strict=True):
        for panel, start in zip(row, ("small", "aligned"), strict=True):
            _panel(panel, data, f"L{depth}_{start}", modes)
            panel.set_title(f"L = {depth}, {start} weights")
        row[0].set_ylabel("|w_αγ|, mean over replicas  [w]")
    for panel in axes[-1]:
        panel.set_xlabel("time  [learning rate × step]")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def _panel(axes: Axes, data: xr.Dataset, label: str, modes: int) -> None:
    time = data[f"time_{label}"]
    for α in range(modes):
        words = "modes, a tenth" if α == 0 else None
        axes.plot(time, data[f"mode_{α}_{label}"] / 10, color=GREY, linewidth=0.8, label=words)
    pairs = [(α, γ) for α in range(modes) for γ in range(modes) if α != γ]
    for (α, γ), colour in zip(pairs, (*COLOURS, BLACK), strict=False):
        name = f"cross_{α}_{γ}_{label}"
        simulation(axes, time, data[name], data[f"{name}_error"], f"α = {α}, γ = {γ}", colour, markersize=2)
    last = data[f"mode_{modes - 1}_{label}"]
    axes.set_xlim(0, 1.3 * float(time.values[(last.values > 0.95 * last.values[-1]).argmax()]))
