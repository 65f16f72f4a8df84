"""Fig. 2: loss and modes of a deep network under four dynamics."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, panels, simulation


def fig2(data: xr.Dataset) -> Figure:
    """Losses above, of one replica (lines) and of all (points); modes of that replica below."""
    figure, axes = panels(2, 2, width=4.2, height=2.8)
    names = {"gradient descent": 0, "SGD": 0, "anisotropic": 1, "isotropic": 1}
    few = data.isel(time=slice(0, None, 4))
    for (name, column), colour in zip(names.items(), COLOURS, strict=False):
        at, label = axes[0, column], name.replace(" ", "_")
        at.plot(data["time"], data[f"one_loss_{label}"], color=colour, linewidth=1)
        simulation(at, few["time"], few[f"loss_{label}"], few[f"loss_{label}_error"], name, colour, markersize=3)
    for at, label, title in zip(axes[1], ("gradient_descent", "SGD"), ("gradient descent", "SGD"), strict=True):
        for mode, colour in zip(range(data.sizes["mode"]), (*COLOURS, BLACK), strict=False):
            s = data["mode"].values[mode]
            at.plot(data["time"], data[f"one_modes_{label}"][:, mode], color=colour, label=f"s = {s:g}")
        at.set(
            xlabel="time  [learning rate × step]", ylabel="amplitude of the mode  [w]", title=f"{title}, one replica"
        )
    for at in axes[0]:
        at.set(ylabel="population loss  [y²]", ylim=(0, None))
        at.legend(title="points: mean of all, line: one replica")
    last = data["one_modes_gradient_descent"].values[:, -1]
    for at in axes.ravel():
        at.set_xlim(0, 1.6 * float(data["time"].values[(last > 0.95 * last[-1]).argmax()]))
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=data.sizes["mode"])
    return figure
