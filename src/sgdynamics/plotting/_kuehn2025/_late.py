"""Panels of Figs. 17, 18, 22 and 23: a quantity against the Hessian's eigenvalue, and measured over theory."""

from collections.abc import Iterable

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, GREY, published, simulation, theory

SAMPLINGS = (("replacement", "with replacement", COLOURS[1], "s"), ("epochs", "epochs", COLOURS[0], "o"))
LABELS = {
    "weights": "weight variance $σ_θ^2$  [w²]",
    "velocities": "velocity variance $σ_u^2$  [w²/step²]",
    "times": "correlation time $τ$  [step]",
}
SHOWN = 48  # modes


def against_curvature(axes: Axes, data: xr.Dataset, quantity: str) -> None:
    """Points of both samplings; exact theory of C = cλ as lines; the slides' asymptotes dashed."""
    curve, modes = data["curve"], thinned(data)
    published(axes, curve, data[f"{quantity}_curve_stiff"], "asymptotes (19), (20), C ∝ H")
    published(axes, curve, data[f"{quantity}_curve_flat"])
    for sampling, label, colour, marker in SAMPLINGS:
        theory(axes, curve, data[f"{quantity}_curve_{sampling}"], f"{label}: static noise, C ∝ H", colour)
        values, errors = (modes[f"{quantity}_{sampling}{kind}"] for kind in ("", "_error"))
        simulation(axes, modes["curvature"], values, errors, f"{label}: SGD", colour, marker, markersize=3)
    crossing(axes, data)
    shown = [float(data[f"{quantity}_{sampling}"].min()) for sampling, *_ in SAMPLINGS]
    shown += [float(data[f"{quantity}_{sampling}"].max()) for sampling, *_ in SAMPLINGS]
    axes.set(xscale="log", yscale="log", ylabel=LABELS[quantity], ylim=(min(shown) / 2.5, max(shown) * 2.5))


def over_static(axes: Axes, data: xr.Dataset, quantity: str) -> None:
    """Of epochs: measured over the law of frozen noise, and what noise that depends on θ adds by theory."""
    modes = thinned(data)
    frozen, values = modes[f"{quantity}_epochs_frozen"], modes[f"{quantity}_epochs"]
    axes.axhline(1, color=GREY, linestyle="--", linewidth=1.0)
    full = modes[f"{quantity}_epochs_full"] / frozen
    label = "theory: noise depends on θ"
    axes.plot(modes["curvature"], full, "_", color=BLACK, markersize=7, zorder=4, label=label)
    errors = modes[f"{quantity}_epochs_error"] / frozen
    simulation(axes, modes["curvature"], values / frozen, errors, None, COLOURS[0], markersize=3)
    crossing(axes, data)
    axes.set(xscale="log", xlabel="eigenvalue of the Hessian $λ$  [1/t]", ylabel="epochs: SGD / static-noise theory")


def crossing(axes: Axes, data: xr.Dataset) -> None:
    axes.axvline(float(data.attrs["crossover"]), color=GREY, linestyle=":", linewidth=1.0, label="$λ_{cross}$")


def shared_legend(figure: Figure, axes: Iterable[Axes], columns: int) -> None:
    """What the panels' own legends would say, once, below them."""
    found = [panel.get_legend_handles_labels() for panel in axes]
    handles = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def thinned(data: xr.Dataset) -> xr.Dataset:
    return data.isel(mode=slice(None, None, max(1, -(-data.sizes["mode"] // SHOWN))))
