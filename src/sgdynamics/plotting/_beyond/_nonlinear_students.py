"""Two-layer students of a linear teacher, linear, tanh and relu: amplitudes, diffusion, and one against the other."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, simulation, theory


def nonlinear_students(data: xr.Dataset) -> Figure:
    """A column for each activation; rows: amplitudes and diffusion over time, diffusion over amplitude."""
    columns = data.sizes["student"]
    figure, axes = panels(3, columns, width=3.2, height=2.4)
    for column in range(columns):
        one = data.isel(student=column)
        _column(axes[0][column], axes[1][column], axes[2][column], one)
        axes[0][column].set_title(str(one["student"].values))
    highest = 2 * float(data["diffusion"].max())
    for panel in axes[1]:
        panel.set_ylim(1e-5 * highest, highest)
    axes[0][0].set_ylabel("amplitude  [w]")
    axes[1][0].set_ylabel("diffusion  [w²/t]")
    axes[2][0].set_ylabel("diffusion / peak of (7)")
    kinds = [
        Line2D([], [], color=BLACK, label="closed form; (7)"),
        Line2D([], [], color=GREY, linestyle=":", label="peak by (9)"),
    ]
    modes = axes[0][0].get_legend_handles_labels()[0]
    figure.legend(handles=modes, title="s  (points: SGD)", loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=2)
    return figure


def _column(top, middle, bottom, data: xr.Dataset) -> None:
    few = data.isel(time=slice(0, None, max(1, data.sizes["time"] // 50)))
    is_linear = str(data["student"].values) == "identity"
    for mode, colour in zip(range(data.sizes["mode"]), COLOURS, strict=False):
        at = {"mode": mode}
        for axes, name in ((top, "amplitudes"), (middle, "diffusion")):
            label = f"{data['mode'].values[mode]:g}"
            simulation(axes, few["time"], few[name][at], few[f"{name}_error"][at], label, colour)
        if is_linear:
            theory(middle, data["time"], data["closed_form"][at], None, colour)
        simulation(bottom, data["level"], data["profile"][at], data["profile_error"][at], None, colour)
    theory(bottom, data["fraction"], data["formula"], None, BLACK)
    bottom.axvline(0.5, color=GREY, linestyle=":", linewidth=1)
    top.set(xlabel="time  [learning rate × step]")
    middle.set(xlabel="time  [learning rate × step]", yscale="log")
    bottom.set(xlabel="amplitude / singular value")
