"""One style, nothing global, pictures that can be looked at."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import example_experiment
from sgdynamics import plotting


@pytest.fixture
def axes():
    return plotting.panels()[1][0, 0]


def luminance(colour):
    """The W3C's relative luminance."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_theory_is_a_line_simulation_points_with_errors_print_dashed_grey(axes):
    x = np.arange(3.0)
    plotting.theory(axes, x, x, "theory")
    plotting.published(axes, x, x, "printed")
    plotting.simulation(axes, x, x, 0.1 * x, "simulation")
    line, dashed, points = axes.lines[:3]
    assert (line.get_linestyle(), dashed.get_linestyle(), points.get_linestyle()) == ("-", "--", "None")
    assert dashed.get_color() == plotting.GREY and points.get_marker() == "o"
    bars = axes.collections[0].get_segments()
    assert [bar[1, 1] - bar[0, 1] for bar in bars] == pytest.approx([0.0, 0.2, 0.4])


def test_a_simulation_shares_the_colour_of_its_theory(axes):
    plotting.theory(axes, [0, 1], [0, 1])
    plotting.simulation(axes, [0, 1], [0, 1], 0.1)
    assert axes.lines[0].get_color() == axes.lines[1].get_color()


def test_colours_differ_and_stand_out_from_white():
    assert len(set(plotting.COLOURS)) == len(plotting.COLOURS)
    contrast = [1.05 / (luminance(colour) + 0.05) for colour in plotting.COLOURS]
    assert min(contrast[:2]) > 3.0  # the two that are used first, at the W3C's bound for graphics
    assert min(contrast) > 2.0


def test_legend_only_where_something_is_labelled(axes):
    plotting.theory(axes, [0, 1], [0, 1])
    plotting.legend(axes)
    assert axes.get_legend() is None
    plotting.theory(axes, [0, 1], [0, 1], "labelled")
    plotting.legend(axes)
    assert axes.get_legend() is not None


@pytest.mark.parametrize(("ending", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_draw_and_write(monkeypatch, tmp_path, ending, head):
    monkeypatch.setitem(plotting.figures, "tiny", example_experiment.draw)
    before = dict(matplotlib.rcParams)
    path = tmp_path / f"figure.{ending}"
    plotting.write(plotting.draw("tiny", example_experiment.data()), path)
    assert path.read_bytes().startswith(head)
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_figure_is_named():
    with pytest.raises(ValueError, match="figure = nothing"):
        plotting.find("nothing")
