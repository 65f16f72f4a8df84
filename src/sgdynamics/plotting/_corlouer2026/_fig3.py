"""Fig. 3: when SGD and its SDE learn, and how the diffusion along each mode peaks."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

MARKERS = {"SGD": "o", "SDE": "s"}
PUBLISHED = 200 / 30


def fig3(data: xr.Dataset) -> Figure:
    """(a) one draw, (b) times of every replica, (c) ratios, (d, e) diffusion, (f) widths; one colour for each mode."""
    figure, ((example, times, ratios), (*diffusion, widths)) = panels(2, 3, width=3.7, height=3.0)
    ends = [0, data.sizes["exponent"] - 1]
    _example(example, data, ends)
    _times(times, data)
    _ratios(ratios, data)
    for axes, end in zip(diffusion, ends[::-1], strict=True):
        _diffusion(axes, data.isel(exponent=end))
    _widths(widths, data)
    for letter, axes in zip("abcdef", (example, times, ratios, *diffusion, widths), strict=True):
        axes.set_title(f"({letter}) {axes.get_title()}".strip(), loc="left")
        axes.set_title("")
    _legends(figure, data)
    return figure


def _modes(data: xr.Dataset):
    return list(zip(range(data.sizes["mode"]), COLOURS, strict=False))


def _example(axes: Axes, data: xr.Dataset, ends: list[int]) -> None:
    for end in ends:
        one = data.isel(exponent=end)
        for mode, colour in _modes(data):
            path = one["example"].isel(mode=mode)
            theory(axes, one["example_time"], path.sel(dynamics="gradient descent"), None, colour)
            for name, start in (("SGD", 0), ("SDE", 2)):
                few = {"point": slice(start, None, 4)}
                y = path.sel(dynamics=name)[few]
                simulation(axes, one["example_time"][few], y, None, None, colour, MARKERS[name], markersize=3)
    γs = " and ".join(f"{float(data['exponent'][end]):g}" for end in ends)
    axes.set(xscale="log", xlabel="time  [learning rate × step]", ylabel="amplitude of the mode  [w]")
    axes.set_title(f"one draw, γ = {γs} (left, right)")


def _times(axes: Axes, data: xr.Dataset) -> None:
    at = {name: data["learning_time"].sel(dynamics=name) for name in MARKERS}
    both = np.array([min(float(t.min()) for t in at.values()), max(float(t.max()) for t in at.values())])
    theory(axes, both, both, None, BLACK)
    published(axes, both, PUBLISHED * both, None)
    for mode, colour in _modes(data):
        for γ, marker in zip(data["exponent"].values, "o^vD", strict=False):
            of = data["exponent_of"].values == γ
            x, y = (at[name].isel(mode=mode).values[of] for name in ("SDE", "SGD"))
            simulation(axes, x, y, None, None, colour, marker, markersize=3)
    axes.set(xscale="log", yscale="log", xlabel="learned by the SDE at  [t]", ylabel="learned by SGD at  [t]")
    axes.text(both[0], 0.9 * PUBLISHED * both[1], "dashed: 200 over 30", color=GREY, va="top", fontsize=8)
    axes.set_title("every replica (○ γ = {:g}, △ γ = {:g})".format(*data["exponent"].values[:2]))


def _grouped(axes: Axes, data: xr.Dataset, name: str) -> None:
    """`name` against γ, modes and dynamics side by side."""
    for i in range(data.sizes["exponent"]):
        for mode, colour in _modes(data):
            for j, (dynamics, marker) in enumerate(MARKERS.items()):
                at = {"exponent": i, "mode": mode}
                y, error = (data[which][at].sel(noisy=dynamics) for which in (name, f"{name}_error"))
                simulation(axes, i + 0.2 * (mode - 1) + 0.08 * (j - 0.5), y, error, None, colour, marker)
    axes.set_xticks(range(data.sizes["exponent"]), [f"γ = {γ:g}" for γ in data["exponent"].values])


def _ratios(axes: Axes, data: xr.Dataset) -> None:
    _grouped(axes, data, "ratio")
    n = data.sizes["exponent"]
    place = n + 0.2 * (np.arange(data.sizes["substeps"]) - 1)
    order = np.argsort(data["substeps"].values)
    y, error = (data[name].values[order] for name in ("converged", "converged_error"))
    simulation(axes, place, y, error, None, BLACK, MARKERS["SDE"])
    words = ", ".join(str(value) for value in data["substeps"].values[order])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    axes.set_xticks(range(n + 1), [*labels, f"SDE over SGD,\n{words} substeps"])
    axes.axhline(1.0, color=BLACK, linewidth=1, zorder=1)
    axes.set(ylabel="time / gradient descent's")
    axes.set_title("mean of paired ratios")


def _diffusion(axes: Axes, data: xr.Dataset) -> None:
    for mode, colour in _modes(data):
        theory(axes, data["lag"], data["formula"].sel(noisy="SGD").isel(mode=mode), None, colour)
        for name, start in (("SGD", 0), ("SDE", 2)):
            at = {"mode": mode, "point": slice(start, None, 4)}
            y, error = (data[which].sel(noisy=name)[at] for which in ("diffusion", "diffusion_error"))
            simulation(axes, data["lag"][at["point"]], y, error, None, colour, MARKERS[name], markersize=3)
    axes.axvline(0.0, color=GREY, linestyle=":", linewidth=1)
    axes.set(yscale="log", xlabel="time since the mode was learned  [t]")
    axes.set(ylabel="diffusion along the mode  [w²/t]", ylim=(float(data["formula"].max()) / 3e3, None))
    axes.set_title(f"γ = {float(data['exponent']):g}")


def _widths(axes: Axes, data: xr.Dataset) -> None:
    _grouped(axes, data, "width")
    axes.set(ylabel="time above half of the peak  [t]", ylim=(0, None))
    axes.set_title("widths of the peaks")


def _legends(figure: Figure, data: xr.Dataset) -> None:
    modes = [
        Line2D([], [], color=colour, marker="o", linestyle="", markerfacecolor="white", label=f"{s:g}")
        for s, (_, colour) in zip(data["mode"].values, _modes(data), strict=False)
    ]
    kinds = [Line2D([], [], color=BLACK, label="(a) gradient descent; (d, e) (7) along SGD")]
    kinds += [
        Line2D([], [], color=BLACK, marker=marker, linestyle="", markerfacecolor="white", label=name)
        for name, marker in MARKERS.items()
    ]
    figure.legend(handles=modes, title="s", loc="outside right upper")
    figure.legend(handles=kinds, loc="outside lower center", ncols=3)
