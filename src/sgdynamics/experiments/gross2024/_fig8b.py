"""Fig. 8(b): spectra of the weight covariance from small initial weights."""

from sgdynamics.experiments._registry import Experiment, register
from sgdynamics.experiments.gross2024 import _fig8_spectra
from sgdynamics.experiments.gross2024._source import source

FIG8B = register(
    Experiment(
        name="gross2024/fig8b",
        summary="weight covariance of two linear layers from small initial weights",
        source=source("Fig. 8(b)"),
        config=_fig8_spectra.SpectraConfig,
        presets=_fig8_spectra.presets("small"),
        run=_fig8_spectra.run,
        figure="gross2024/fig8b",
    )
)
