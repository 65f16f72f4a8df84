"""Table I: weights, loss and fluctuations against the label noise, for three ways of sampling."""

import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import COLOURS, GREY, panels, simulation, theory

PANELS = {
    "distance": (1, "weights: |E w − u|  [weight]", "σ  [output]"),
    "loss": (2, "final loss  [output²]", "σ²  [output²]"),
    "variance": (2, "fluctuations: tr Cov w  [weight²]", "σ²  [output²]"),
}
MARKERS = ("o", "s", "^")


def table1(data: xr.Dataset) -> Figure:
    """One panel for each column of the table; laws as lines, SGD as points."""
    figure, axes = panels(1, 3, width=3.2, height=3.3)
    for panel, (name, (power, label, abscissa)) in zip(axes[0], PANELS.items(), strict=True):
        x = data["label_noise_std"] ** power
        for i, kind in enumerate(data["sampling"].values):
            at = {"sampling": kind}
            theory(panel, x, data[f"{name}_theory"].sel(at), None, COLOURS[i])
            value, error = data[name].sel(at), data[f"{name}_error"].sel(at)
            simulation(panel, x, value, error, None, COLOURS[i], MARKERS[i])
        panel.set(xlabel=abscissa, ylabel=label, xscale="log", yscale="log")
        title = f"N > P, σ = {float(data['label_noise_over'][-1]):g}: {float(data[f'{name}_over'][-1]):.2g}"
        panel.set_title(title, loc="right", color=GREY)
    kinds = [
        Line2D([], [], color=COLOURS[i], marker=MARKERS[i], markerfacecolor="white", label=str(kind))
        for i, kind in enumerate(data["sampling"].values)
    ]
    figure.legend(handles=kinds, title="lines: theory, points: SGD, N < P", loc="outside lower center", ncols=3)
    return figure
