"""Fig. 8(c): spectra of the weight covariance from large initial weights."""

from sgdynamics.experiments._registry import Experiment, register
from sgdynamics.experiments.gross2024 import _fig8_spectra
from sgdynamics.experiments.gross2024._source import source

FIG8C = register(
    Experiment(
        name="gross2024/fig8c",
        summary="weight covariance of two linear layers from large initial weights",
        source=source("Fig. 8(c)"),
        config=_fig8_spectra.SpectraConfig,
        presets=_fig8_spectra.presets("large"),
        run=_fig8_spectra.run,
        figure="gross2024/fig8c",
    )
)
