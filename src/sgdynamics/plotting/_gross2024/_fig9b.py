"""Fig. 9(b): the loss along the first layer's principal directions, their variance, and one against the other."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sgdynamics.plotting._style import BLACK, COLOURS, legend, panels, published, simulation, theory

SERIES = {"sgd": ("SGD", COLOURS[0], "o"), "sde": ("SDE (3.15)", COLOURS[1], "s")}


def fig9b(data: xr.Dataset) -> Figure:
    """Loss and variance by index, then loss against variance in the range of linear theory."""
    figure, axes = panels(1, 3, width=3.8, height=3.5)
    _by_index(axes[0, 0], data, "loss")
    axes[0, 0].set(title="loss along principal directions of W₁", ylabel="δL  [$θ^2 σ_x^2 D_2/2$]")
    _by_index(axes[0, 1], data, "variance")
    axes[0, 1].set(title="their variance", ylabel="variance  [$ησ_e^2/2S$]", yscale="log")
    _relation(axes[0, 2], data)
    for panel in axes[0]:
        legend(panel)
    return figure


def _by_index(axes: Axes, data: xr.Dataset, quantity: str) -> None:
    for name, (label, colour, marker) in SERIES.items():
        error = data[f"{quantity}_{name}_error"] if quantity == "variance" else None
        simulation(axes, data["index"], data[f"{quantity}_{name}"], error, label, colour, marker, alpha=0.8)
    theory(axes, data["mode"], data[f"{quantity}_response"], "linear response", BLACK)
    axes.set_xlabel("index, largest variance first")


def _relation(axes: Axes, data: xr.Dataset) -> None:
    """Along the same modes: SGD's and the SDE's variances, linear response's, and a relation with ψ = 2."""
    loss, expected = data["loss_response"], data["variance_response"]
    for name, (label, colour, marker) in SERIES.items():
        simulation(axes, data[f"range_{name}"], loss, None, label, colour, marker, alpha=0.8)
    axes.plot(expected, loss, "x", color=BLACK, label="linear response", zorder=4)
    published(axes, expected, expected * float(loss.mean() / expected.mean()), "ψ = 2")
    axes.set(title="loss against variance, $N_i$ modes", xlabel="variance  [$ησ_e^2/2S$]")
    axes.set(xlim=(0, None), ylim=(0, 2.2))
    axes.set_ylabel("δL  [$θ^2 σ_x^2 D_2/2$]")
