"""Fig. 5(a): fluctuations and losses against the number of inputs."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, panels, published, simulation, theory

TEMPORAL, SPATIAL, TRAIN, TEST = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[3]
POINT = {"linestyle": "none", "color": BLACK}
KINDS = [
    Line2D([], [], color=BLACK, label="theory, average over data (right: exact)"),
    Line2D([], [], marker="o", markerfacecolor="white", label="SGD", **POINT),
    Line2D([], [], marker="_", markersize=10, label="exact law of the same data", **POINT),
    Line2D([], [], marker="s", markersize=3, label="minimum, drawn data sets", **POINT),
    Line2D([], [], color=GREY, linestyle="--", label="isotropic (2.34)"),
]


def fig5a(data: xr.Dataset) -> Figure:
    """Fluctuations in time; what peaks at the threshold; what dies out beyond it."""
    figure, axes = panels(1, 3, width=3.7, height=3.6)
    _temporal(axes[0, 0], data)
    _peaks(axes[0, 1], data)
    _dying(axes[0, 2], data)
    figure.legend(handles=KINDS, loc="outside lower center", ncols=5)
    return figure


def _temporal(axes: Axes, data: xr.Dataset) -> None:
    unit = data.attrs["isotropic"]
    theory(axes, data["inputs_theory"], data["temporal_theory"] / unit, None, TEMPORAL)
    exact = {"linestyle": "none", "marker": "_", "markersize": 10}
    axes.plot(data["inputs"], data["temporal_exact"] / unit, color=TEMPORAL, **exact)
    value, error = data["temporal_sgd"] / unit, data["temporal_sgd_error"] / unit
    simulation(axes, data["inputs"], value, error, None, TEMPORAL)
    published(axes, data["inputs_theory"], 0 * data["temporal_theory"] + 1)
    axes.set(xlabel="inputs N", ylabel="temporal variance of weights  [ησ²/(2S)]", ylim=(-0.03, 1.1))
    _threshold(axes, data)


def _peaks(axes: Axes, data: xr.Dataset) -> None:
    about = {"spatial": (SPATIAL, "spatial variance"), "test": (TEST, "test loss"), "train": (TRAIN, "training loss")}
    for name, (colour, words) in about.items():
        line = data[f"{name}_theory"].where(data[f"{name}_theory"] > 0)
        theory(axes, data["inputs_theory"], line, words, colour)
        simulation(axes, data["inputs"], data[f"{name}_sgd"], data[f"{name}_sgd_error"], None, colour)
        average = data[f"{name}_data"].where(data[f"{name}_data"] > 1e-12)
        axes.errorbar(
            data["inputs_data"], average, data[f"{name}_data_error"], fmt="s", markersize=3, color=colour, alpha=0.6
        )  # fmt: skip
    _threshold(axes, data)
    axes.set(xlabel="inputs N", ylabel="weights [weight²], losses [output²]", yscale="log", ylim=(5e-3, 300))
    axes.legend(loc="upper left")


def _dying(axes: Axes, data: xr.Dataset) -> None:
    names = [name for name in data.data_vars if str(name).startswith("dying") and str(name).endswith("_exact")]
    for exact, colour in zip(names, COLOURS, strict=False):
        name = str(exact).removesuffix("_exact")
        theory(axes, data["step"], data[exact], None, colour)
        simulation(axes, data["step"], data[name], data[f"{name}_error"], f"N = {name.split('_')[1]}", colour)
    axes.set(xlabel="step", ylabel="total variance, displaced start  [weight²]", xscale="log", ylim=(0, None))
    axes.set_title(f"P = {int(data['samples'])}", loc="left")
    axes.legend(loc="best")


def _threshold(axes: Axes, data: xr.Dataset) -> None:
    axes.axvline(float(data["samples"]), color=GREY, linestyle=":", linewidth=0.8, zorder=0)
