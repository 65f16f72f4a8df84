"""A figure in words, for readers who do not see it: panels, axes, and what the marks stand for."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from sgdynamics.plotting._style import GREY

WORDS = {"log": "logarithmic", "symlog": "logarithmic on both sides of zero"}


def described(figure: Figure) -> str:
    """What is seen: for each panel its title, axes and marks by their labels, then the figure's own legends."""
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    # a colour bar is the key of another panel
    bars = [axes for axes in shown if axes.get_label() == "<colorbar>"]
    panels = [axes for axes in shown if axes not in bars]
    head = [f"{len(panels)} panels"] if len(panels) > 1 else []
    titles = [figure.get_suptitle(), *head]
    keys = [f"Key: {text}" for text in map(_legend, figure.legends) if text]
    colours = [f"Colours: {text}" for text in map(_of_a_bar, bars) if text]
    return " ".join(f"{_one_line(part)}." for part in (*titles, *map(_panel, panels), *colours, *keys) if part)


def _panel(axes: Axes) -> str:
    """One panel: "(a) relaxation: loss, logarithmic, against step. Lines: theory. Points with error bars: SGD."."""
    title = " ".join(filter(None, (axes.get_title(where) for where in ("left", "center", "right"))))
    x, y = (_axis(axes, name) for name in "xy")
    subject = f"{y} against {x}" if x and y else x or y
    parts = [": ".join(filter(None, (title, subject))), *_marks(axes)]
    legend = axes.get_legend()
    if legend is not None and legend.get_title().get_text():
        parts.append(f"The marks are labelled by {legend.get_title().get_text()}")
    return ". ".join(filter(None, parts))


def _axis(axes: Axes, name: str) -> str:
    label = getattr(axes, f"get_{name}label")()
    scale = WORDS.get(getattr(axes, f"get_{name}scale")())
    return f"{label} ({scale})" if label and scale else label


def _marks(axes: Axes) -> Iterable[str]:
    """The labels of points with error bars, of lines, of dashed grey ones; and whether there is a map of colours."""
    measured = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    parts = {id(line) for container in measured for line in (container.lines[0], *container.lines[1])}
    lines = [line for line in axes.lines if id(line) not in parts and len(line.get_xdata(orig=True)) > 0]
    wrong = [line for line in lines if _is_published(line)]
    points = [line for line in lines if line.get_linestyle() == "None"]
    rest = [line for line in lines if line not in wrong and line not in points]
    yield _listed("Points with error bars", [str(container.get_label()) for container in measured])
    yield _listed("Points", [str(line.get_label()) for line in points])
    yield _listed("Lines", [str(line.get_label()) for line in rest])
    yield _listed("Dashed grey lines, formulas that err or wrong models", [str(line.get_label()) for line in wrong])
    if axes.images or any(collection.get_array() is not None for collection in axes.collections):
        yield "A map of colours"


def _is_published(line: Line2D) -> bool:
    return line.get_linestyle() == "--" and to_hex(line.get_color()).lower() == GREY.lower()


def _listed(kind: str, labels: Sequence[str]) -> str:
    """The labels of one kind of mark, each once; how many marks there are where none has a label."""
    named = list(dict.fromkeys(label for label in labels if label and not label.startswith("_")))
    if not labels:
        return ""
    return f"{kind}: {', '.join(named)}" if named else f"{kind}: {len(labels)} without a label"


def _of_a_bar(axes: Axes) -> str:
    return axes.get_ylabel() or axes.get_xlabel() or axes.get_title()


def _legend(legend: Legend) -> str:
    title, labels = legend.get_title().get_text(), ", ".join(text.get_text() for text in legend.get_texts())
    return f"{title}: {labels}" if title else labels


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
