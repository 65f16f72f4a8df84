"""The figures of Gross, Raulf and Räth (2024), one module each."""

from sgdynamics.plotting._gross2024._bayesian import bayesian
from sgdynamics.plotting._gross2024._fig2a import fig2a
from sgdynamics.plotting._gross2024._fig2b import fig2b
from sgdynamics.plotting._gross2024._fig3a import fig3a
from sgdynamics.plotting._gross2024._fig3b import fig3b
from sgdynamics.plotting._gross2024._fig3c import fig3c
from sgdynamics.plotting._gross2024._fig4 import fig4
from sgdynamics.plotting._gross2024._fig5a import fig5a
from sgdynamics.plotting._gross2024._fig5b import fig5b
from sgdynamics.plotting._gross2024._fig5c import fig5c
from sgdynamics.plotting._gross2024._fig6a import fig6a
from sgdynamics.plotting._gross2024._fig6b import fig6b
from sgdynamics.plotting._gross2024._fig8_spectra import fig8_spectra
from sgdynamics.plotting._gross2024._fig8a import fig8a
from sgdynamics.plotting._gross2024._fig9a import fig9a
from sgdynamics.plotting._gross2024._fig9b import fig9b
from sgdynamics.plotting._gross2024._relaxation import relaxation
from sgdynamics.plotting._gross2024._table1 import table1

FIGURES = {
    "gross2024/bayesian": bayesian,
    "gross2024/fig2a": fig2a,
    "gross2024/fig2b": fig2b,
    "gross2024/fig3a": fig3a,
    "gross2024/fig3b": fig3b,
    "gross2024/fig3c": fig3c,
    "gross2024/fig4": fig4,
    "gross2024/fig5a": fig5a,
    "gross2024/fig5b": fig5b,
    "gross2024/fig5c": fig5c,
    "gross2024/fig6a": fig6a,
    "gross2024/fig6b": fig6b,
    "gross2024/fig8a": fig8a,
    "gross2024/fig8b": fig8_spectra,
    "gross2024/fig8c": fig8_spectra,
    "gross2024/fig9a": fig9a,
    "gross2024/fig9b": fig9b,
    "gross2024/relaxation": relaxation,
    "gross2024/table1": table1,
}
