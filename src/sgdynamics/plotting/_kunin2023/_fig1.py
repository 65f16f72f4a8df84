"""Fig. 1: local and global displacement after training has been resumed."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig1(data: xr.Dataset) -> Figure:
    """One colour for each network; the linear one for longer on the right."""
    figure, axes = panels(columns=3, width=3.9, height=3.9)
    near, far, long = axes[0]
    handles = []
    for name, colour in zip(data.attrs["networks"], COLOURS, strict=False):
        _local(near, data, name, colour)
        _global(far, data, name, colour)
        c, error = float(data[f"{name}_exponent"]), float(data[f"{name}_exponent_error"])
        label = (
            f"{name.replace('_', ' ')}: c = {c:.2f} ± {error:.2f}, theory {float(data[f'{name}_theory_exponent']):.2f}"
        )
        handles.append(Line2D([], [], color=colour, marker="o", markerfacecolor="white", label=label))
    near.set(xlabel="step k", ylabel="|δ_k|²  [w²]", yscale="log", title="local displacement")
    far.set(xlabel="step k", ylabel="|Δ_k|²  [w²]", xscale="log", yscale="log", title="global displacement")
    _long(long, data)
    figure.legend(handles=handles, title="networks, points: SGD, lines: theory", loc="outside lower left", ncols=2)
    figure.legend(*long.get_legend_handles_labels(), loc="outside lower right")
    return figure


def _local(axes: Axes, data: xr.Dataset, name: str, colour: str) -> None:
    thin = slice(None, None, max(1, data.sizes["window"] // 30))
    value, error = (data[f"{name}_local{end}"][thin] for end in ("", "_error"))
    simulation(axes, data["window"][thin], value, error, None, colour, alpha=0.6, markersize=3)
    axes.axhline(float(data[f"{name}_speed"]), color=colour)


def _global(axes: Axes, data: xr.Dataset, name: str, colour: str) -> None:
    k = data["step"]
    theory(axes, k, data[f"{name}_theory"], None, colour)
    simulation(axes, k, data[f"{name}_global"], data[f"{name}_global_error"], None, colour, markersize=3)
    first, last = data.attrs["fitted"]
    fitted = k[(k >= first) & (k <= last)]
    axes.plot(
        fitted, data[f"{name}_prefactor"] * fitted ** data[f"{name}_exponent"], color=BLACK, linewidth=0.8, zorder=4
    )


def _long(axes: Axes, data: xr.Dataset) -> None:
    k = data["long_step"]
    rows = (
        ("stationary", "long_theory", "from the stationary law", COLOURS[0]),
        ("minimum", "long_theory_minimum", "from θ*", COLOURS[1]),
    )
    for name, curve, label, colour in rows:
        theory(axes, k, data[curve], None, colour)
        simulation(axes, k, data[f"long_{name}"], data[f"long_{name}_error"], label, colour, markersize=3)
    below = data["long_fit"] < 30 * data["long_saturation"]
    published(axes, k[below], data["long_fit"][below], "power law of the early steps")
    axes.axhline(float(data["long_saturation"]), color=GREY, linestyle=":", label="2 tr Cov θ")
    axes.set(xlabel="step k", ylabel="|Δ_k|²  [w²]", xscale="log", yscale="log", title="linear network, for longer")
