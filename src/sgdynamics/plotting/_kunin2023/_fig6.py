"""Fig. 6: speed, what (12) makes of one estimate, and exponent over learning rate, batch size and momentum."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

LABELS = {"learning_rate": "learning rate η  [t]", "batch_size": "batch size S", "momentum": "momentum β"}


def fig6(data: xr.Dataset) -> Figure:
    """One colour for each network."""
    figure, axes = panels(rows=3, columns=3, width=3.3, height=2.3)
    for column, (sweep, label) in enumerate(LABELS.items()):
        top, middle, bottom = axes[:, column]
        for name, colour in zip(data.attrs["networks"], COLOURS, strict=False):
            _speed(top, data, f"{name}_{sweep}", data[sweep], colour)
            _ratio(middle, data, f"{name}_{sweep}", data[sweep], colour)
            _exponent(bottom, data, f"{name}_{sweep}", data[sweep], colour, name.replace("_", " "))
            if sweep == "batch_size" and f"{name}_resumed_exponent" in data:
                _resumed(bottom, data, f"{name}_resumed", data[sweep])
        published(middle, data[sweep], 0 * data[sweep] + 1, "(12), scaled from the speed measured at the default")
        bottom.axhline(1, color=GREY, linestyle=":")
        for ax in (top, middle, bottom):
            ax.set(xlabel=label, xscale="linear" if sweep == "momentum" else "log")
        top.set(ylabel="|δ|²  [w²]", yscale="log")
        middle.set(ylabel="|δ|² / (12)")
        bottom.set(ylabel="exponent c of |Δ_k|²")
    handles = {label: h for ax in axes.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _speed(axes: Axes, data: xr.Dataset, at: str, x: xr.DataArray, colour: str) -> None:
    theory(axes, x, data[f"{at}_speed_exact"], None, colour)
    published(axes, x, data[f"{at}_speed_scaled"])
    simulation(axes, x, data[f"{at}_speed"], data[f"{at}_speed_error"], None, colour)


def _ratio(axes: Axes, data: xr.Dataset, at: str, x: xr.DataArray, colour: str) -> None:
    scaled = data[f"{at}_speed_scaled"]
    theory(axes, x, data[f"{at}_speed_exact"] / scaled, None, colour)
    simulation(axes, x, data[f"{at}_speed"] / scaled, data[f"{at}_speed_error"] / scaled, None, colour)


def _exponent(axes: Axes, data: xr.Dataset, at: str, x: xr.DataArray, colour: str, label: str) -> None:
    theory(axes, x, data[f"{at}_exponent_exact"], f"{label}, theory", colour)
    simulation(axes, x, data[f"{at}_exponent"], data[f"{at}_exponent_error"], f"{label}, SGD", colour)


def _resumed(axes: Axes, data: xr.Dataset, at: str, x: xr.DataArray) -> None:
    """From where training at the default has ended."""
    label = "resumed from the default S"
    theory(axes, x, data[f"{at}_exponent_exact"], f"{label}, theory", BLACK, linewidth=0.8)
    simulation(axes, x, data[f"{at}_exponent"], data[f"{at}_exponent_error"], f"{label}, SGD", BLACK, marker="s")
