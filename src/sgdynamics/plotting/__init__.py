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

from ._figures import draw as draw
from ._figures import figures as figures
from ._figures import find as find
from ._figures import write as write
from ._style import BLACK as BLACK
from ._style import COLOURS as COLOURS
from ._style import GREY as GREY
from ._style import legend as legend
from ._style import panels as panels
from ._style import published as published
from ._style import simulation as simulation
from ._style import theory as theory
