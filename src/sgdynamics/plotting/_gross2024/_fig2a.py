"""Fig. 2(a): the elements of the projector X⁺X."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory


def fig2a(data: xr.Dataset) -> Figure:
    """The variances in scaled coordinates, their local exponent, and their dependence on N at fixed P."""
    figure, axes = panels(1, 3, width=3.5, height=3.4)
    inputs = [int(N) for N in data["inputs"].values]
    _variances(axes[0, 0], data, inputs)
    _exponents(axes[0, 1], data, inputs)
    _fixed(axes[0, 2], data)
    handles = [Line2D([], [], marker="o", color=c, markerfacecolor="white", label=f"N = {N}", linestyle="none")
               for N, c in zip(inputs, COLOURS, strict=False)]  # fmt: skip
    handles += [
        Line2D([], [], color=BLACK, label="Haar, exact"),
        Line2D([], [], color=GREY, linestyle="--", label="printed power laws"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


SIZES = (7.0, 5.0, 3.0)  # one within the other, where points coincide


def _variances(axes: Axes, data: xr.Dataset, inputs: list[int]) -> None:
    for kind, marker in (("off", "o"), ("on", "s")):
        theory(axes, data["fine"], data[f"{kind}_{inputs[-1]}_exact"], None, BLACK, linewidth=1.0)
        for N, colour, size in zip(inputs, COLOURS, SIZES, strict=False):
            value, error = data[f"{kind}_{N}"], data[f"{kind}_{N}_error"]
            simulation(axes, data["ratio"], value, error, None, colour, marker, markersize=size)
    s = data["fine"].where(data["fine"] > 2)
    published(axes, s, 5 / 6**3 * (s / 6) ** data.attrs["printed"])
    axes.set(xlabel="samples per input  s = P/N", ylabel="N × variance of the elements", xscale="log", yscale="log")
    axes.annotate("diagonal (squares)", (0.42, 0.72), xycoords="axes fraction")
    axes.annotate("off-diagonal\n(circles)", (0.12, 0.3), xycoords="axes fraction")


def _exponents(axes: Axes, data: xr.Dataset, inputs: list[int]) -> None:
    theory(axes, data["fine"], data[f"exponent_{inputs[-1]}_exact"], None, BLACK, linewidth=1.0)
    for N, colour, size in zip(inputs, COLOURS, SIZES, strict=False):
        value, error = data[f"exponent_{N}"], data[f"exponent_{N}_error"]
        simulation(axes, data["between"], value, error, None, colour, markersize=size)
    axes.axhline(data.attrs["printed"], color=GREY, linestyle="--")
    axes.set(xlabel="samples per input  s = P/N", ylabel="local exponent of s, off-diagonal", xscale="log")
    axes.set(xlim=(1.3, None), ylim=(-2.2, 0))


def _fixed(axes: Axes, data: xr.Dataset) -> None:
    inputs, law = data["inputs"], data["fixed_exact"]
    theory(axes, inputs, law, None, BLACK)
    for i, colour in zip(range(inputs.size), COLOURS, strict=False):
        at = {"inputs": [i]}
        simulation(axes, inputs[i : i + 1], data["fixed"].isel(at), data["fixed_error"].isel(at), None, colour)
    published(axes, inputs, law[0] * (inputs / inputs[0]) ** -1.0)
    axes.set(xlabel=f"inputs N, at P = {data.attrs['samples']} samples", ylabel="variance, off-diagonal")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(inputs.values, [str(N) for N in inputs.values])
    axes.minorticks_off()
