"""Fig. 4: where the first mode ends without label noise, and how its width falls on the way."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, panels, published, simulation, theory


def fig4(data: xr.Dataset) -> Figure:
    """(a) histograms of the distance from the singular value, by decades; (b) widths against time."""
    figure, ((left, right),) = panels(1, 2, width=4.4, height=3.9)
    names = [str(name) for name in data["ensemble"].values]
    cases = [str(case) for case in data["case"].values]
    colours = dict(zip(cases, COLOURS, strict=False))
    step = float(data["bin"][1] - data["bin"][0])
    edges = np.append(data["bin"] - step / 2, data["bin"][-1] + step / 2)
    for name in names:
        dashed = "--" if "near" in name else "-"
        left.stairs(
            data["share"].sel(ensemble=name), edges, color=_of(colours, name), linestyle=dashed, label=_words(name)
        )
    left.set(xlabel="log₁₀ |w − s| at the end", ylabel="share of replicas per decade", ylim=(0, None))
    for name in cases:
        right.plot(data["time"], data["std"].sel(case=name), color=colours[name], marker=".", linewidth=0.6)
    _near(right, data, colours)
    for value, name in zip(data["floor"].values, data["noise"].values, strict=True):
        right.axhline(value, color=colours[str(name)], linestyle=":", linewidth=1)
    right.set(yscale="log", xlabel="time  [learning rate × step]", ylabel="width of the first amplitude  [w]")
    right.set_ylim(1e-11, 1)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=3, title="small starts unless told"
    )
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def _near(axes: Axes, data: xr.Dataset, colours: dict[str, str]) -> None:
    """Root mean squares of the starts near the minimum."""
    for first, (name, marker) in enumerate((("SGD", "o"), ("SDE", "s"))):  # points of the two side by side
        theory(axes, data["time"], data[f"mapped_{name}"], f"linear map, {name}", colours[name])
        at = data.isel(time=slice(first, None, 2))
        simulation(axes, at["time"], at[f"rms_{name}"], at[f"rms_{name}_error"], f"{name}, near", colours[name], marker)
    published(axes, data["time"], data["alone"], "one mode alone")
    axes.plot([], [], color=BLACK, linestyle=":", linewidth=1, label="√(ηε/2)")


def _of(colours: dict[str, str], name: str) -> str:
    """Black for what has no colour of its own."""
    return colours.get(name.removesuffix(", near"), BLACK)


def _words(name: str) -> str:
    head, _, jitter = name.partition(" + ")
    return f"{head}, Σ + {jitter} · 1" if jitter else name
