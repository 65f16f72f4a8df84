"""App. E: free energies along the Fokker-Planck flow."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import COLOURS, GREY, panels, published, simulation, theory

LEAST = 3e-3  # κ⁻¹: below it, points are noise
TITLES = {"h4": "process of H.4", "sgd": "SGD in phase space"}


def free_energy(data: xr.Dataset) -> Figure:
    """Above from afar, below from the Gibbs law of the original loss at another temperature; left H.4, right SGD."""
    figure, axes = panels(2, 2, width=4.0, height=2.7)
    for (key, title), column in zip(TITLES.items(), axes.T, strict=True):
        far, original = column
        _curve(far, data, f"{key}_far", "modified", COLOURS[0], "F with the modified loss Ψ")
        shown = data[f"{key}_far_modified_theory"] > LEAST
        last = float(data[f"{key}_far_any_time"].values[shown.values][-1])
        far.set(yscale="log", ylim=(LEAST, None), title=f"{title}, from afar")
        _curve(original, data, f"{key}_tempered", "modified", COLOURS[0], "F with the modified loss Ψ")
        _curve(original, data, f"{key}_tempered", "original", COLOURS[1], "F with the original loss")
        original.axhline(0, color=GREY, linewidth=0.6)
        original.set(title=f"{title}, from a tempered Gibbs law", ylim=(-0.05, None))
        for ax in column:
            ax.set(xlabel="time  [t]", ylabel="F above its least value  [κ⁻¹]", xlim=(-0.03 * last, 1.03 * last))
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _curve(axes: Axes, data: xr.Dataset, key: str, loss: str, colour: str, label: str) -> None:
    name, time = f"{key}_{loss}", data[f"{key}_time"]
    draw = theory if loss == "modified" else published
    style = {} if loss == "modified" else {"linewidth": 1.6}
    draw(axes, data[f"{key}_any_time"], data[f"{name}_theory"], f"{label}, closed form", **style)
    simulation(axes, time, data[name], data[f"{name}_error"], f"{label}, ensemble", colour)
