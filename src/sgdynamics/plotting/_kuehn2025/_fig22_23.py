"""Figs. 22 and 23 of Kühn and Rosenow: variances and correlation time of a residual network."""

import xarray as xr
from matplotlib.figure import Figure

from sgdynamics.plotting._kuehn2025._late import LABELS, against_curvature, over_static, shared_legend
from sgdynamics.plotting._style import panels


def fig22_23(data: xr.Dataset) -> Figure:
    """All three quantities; below them, epochs over the law of static noise."""
    figure, axes = panels(2, 3, width=3.7, height=2.9)
    for column, quantity in zip(axes.T, LABELS, strict=True):
        against_curvature(column[0], data, quantity)
        over_static(column[1], data, quantity)
    shared_legend(figure, axes[:, 0], 4)
    return figure
