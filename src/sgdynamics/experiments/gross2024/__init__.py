"""Gross, Raulf and Räth, Weight fluctuations in (deep) linear neural networks (2024): one module a figure."""

from sgdynamics.experiments.gross2024._bayesian import BAYESIAN as BAYESIAN
from sgdynamics.experiments.gross2024._fig2a import FIG2A as FIG2A
from sgdynamics.experiments.gross2024._fig2b import FIG2B as FIG2B
from sgdynamics.experiments.gross2024._fig3a import FIG3A as FIG3A
from sgdynamics.experiments.gross2024._fig3b import FIG3B as FIG3B
from sgdynamics.experiments.gross2024._fig3c import FIG3C as FIG3C
from sgdynamics.experiments.gross2024._fig4 import FIG4 as FIG4
from sgdynamics.experiments.gross2024._fig5a import FIG5A as FIG5A
from sgdynamics.experiments.gross2024._fig5b import FIG5B as FIG5B
from sgdynamics.experiments.gross2024._fig5c import FIG5C as FIG5C
from sgdynamics.experiments.gross2024._fig6a import FIG6A as FIG6A
from sgdynamics.experiments.gross2024._fig6b import FIG6B as FIG6B
from sgdynamics.experiments.gross2024._fig8a import FIG8A as FIG8A
from sgdynamics.experiments.gross2024._fig8b import FIG8B as FIG8B
from sgdynamics.experiments.gross2024._fig8c import FIG8C as FIG8C
from sgdynamics.experiments.gross2024._fig9a import FIG9A as FIG9A
from sgdynamics.experiments.gross2024._fig9b import FIG9B as FIG9B
from sgdynamics.experiments.gross2024._relaxation import RELAXATION as RELAXATION
from sgdynamics.experiments.gross2024._table1 import TABLE1 as TABLE1
