"""Fig. 3: a trajectory in the plane of two Hessian eigenvectors in three losses, and variances over curvature."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._kunin2023._plane import contours, trajectory, variances
from sgdynamics.plotting._style import panels

LOSSES = {
    "training_loss": "training loss (with λ)",
    "test_loss": "test loss",
    "modified_loss": r"modified loss $\Psi_\theta$ (10)",
}


def fig3(data: xr.Dataset) -> Figure:
    """Above the network's plane of q_1 and q_k, below the three cases over their modes."""
    figure, axes = panels(2, 3, width=3.4, height=3.2)
    x, y = data["q_1"].values, data["q_k"].values
    for panel, (name, title) in zip(axes[0], LOSSES.items(), strict=True):
        contours(panel, x, y, data[name].values)
        trajectory(panel, data, "network")
        panel.set(title=title, xlabel=r"$q_1\cdot(\theta-\theta^*)$  [w]", aspect="equal")
        panel.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    k = data.attrs["last"][data.attrs["cases"].index("network")]
    axes[0, 0].set_ylabel(rf"$q_{{{k}}}\cdot(\theta-\theta^*)$  [w]")
    for panel, case, words in zip(axes[1], data.attrs["cases"], data.attrs["words"], strict=True):
        variances(panel, data, case, ("law", "(10), scaled", "Gibbs law of the loss, scaled"))
        panel.set_title(words)
    axes[1, 0].set_ylabel("variance of position along the mode  [w²]")
    above, below = (row[0].get_legend_handles_labels() for row in axes)
    figure.legend(above[0] + below[0], above[1] + below[1], loc="outside lower center", ncols=4)
    return figure
