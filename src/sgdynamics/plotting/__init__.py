"""Pictures, drawn from stored results alone; the only importer of matplotlib.

`figures` maps the name of a figure to a function from a result's data to a `matplotlib.figure.Figure`. No
pyplot: nothing global is left behind, and no window is needed.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sgdynamics draws its figures with matplotlib, which is not installed. Install the extra `plot`: "
        "pip install 'sgdynamics[plot]'"
    ) from error

from sgdynamics.plotting._described import described as described
from sgdynamics.plotting._figures import compact as compact
from sgdynamics.plotting._figures import draw as draw
from sgdynamics.plotting._figures import figures as figures
from sgdynamics.plotting._figures import find as find
from sgdynamics.plotting._figures import write as write
from sgdynamics.plotting._style import BLACK as BLACK
from sgdynamics.plotting._style import COLOURS as COLOURS
from sgdynamics.plotting._style import GREY as GREY
from sgdynamics.plotting._style import STYLE as STYLE
from sgdynamics.plotting._style import legend as legend
from sgdynamics.plotting._style import panels as panels
from sgdynamics.plotting._style import published as published
from sgdynamics.plotting._style import simulation as simulation
from sgdynamics.plotting._style import theory as theory
