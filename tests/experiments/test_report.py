"""What the page of results is made of: where results lie, what holds in place of a printed statement, what to run."""

import dataclasses
import json
import shlex
import sys

import pytest

import example_experiment
import sgdynamics
from sgdynamics import cli, experiments, plotting
from sgdynamics.experiments import _again, _pictures, _store
from sgdynamics.experiments._report import _entries, _formulas, _write


@pytest.fixture(autouse=True)
def example(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return example_experiment.install(monkeypatch)


def claim(**fields):
    return dataclasses.replace(example_experiment.claim(), **fields)


# --- where results lie ------------------------------------------------------------------------------------------


def test_results_are_found_at_any_depth_and_what_is_none_is_not(tmp_path):
    experiments.run("example/tiny", out=tmp_path / "a/b", figure=False)
    experiments.run("example/tiny", out=tmp_path / "c", figure=False)
    for name in ("a/b.run", "a/.partial-1234-b"):
        (tmp_path / name).mkdir()
        for file in (_store.DATA, _store.CLAIMS, _store.CONFIG):
            (tmp_path / name / file).touch()
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/config.json").write_text("{}")
    assert _write.places(tmp_path) == ["a/b", "c"]
    (tmp_path / "c" / _store.DATA).unlink()
    assert _write.places(tmp_path) == ["a/b", "c"]  # damaged, and that must be seen
    (tmp_path / "c" / _store.CLAIMS).unlink()
    assert _write.places(tmp_path) == ["a/b"]


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no stored results"):
        experiments.write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_experiments_that_failed_are_known_from_the_account(tmp_path):
    rows = [{"name": "a", "error": None}, {"name": "b", "error": "ValueError: no"}]
    (tmp_path / _write.ACCOUNT).write_text(json.dumps({"experiments": rows}))
    assert _write._failures(tmp_path) == [("b", "ValueError: no")]


@pytest.mark.parametrize("account", ["", "[]", "{}", '{"experiments": 3}', '{"experiments": [{}]}', "[" * 100_000])
def test_an_account_that_cannot_be_read_is_none(tmp_path, account):
    (tmp_path / _write.ACCOUNT).write_text(account)
    assert _write._failures(tmp_path) == []


# --- claims -----------------------------------------------------------------------------------------------------


def test_the_kinds_of_claims_are_counted():
    wrong = claim(id="x/published", verdict="not reproduced")
    control = experiments.Claim.rejection("y", "", "", 1.0, 0.1, expected=1.0, rejected=9.0)
    surprise = claim(id="z/control", verdict="undecided")
    counted = _entries.count([claim(), wrong, control, surprise])
    assert counted == {"claims": 4, "published": 1, "controls": 2, "surprises": 1}
    assert _entries.count([claim(id="x/published", verdict="reproduced")])["surprises"] == 1


def test_equations_are_in_the_order_of_their_numbers():
    sources = ["Eq. 2.10", "Eq. 2.9", "App. B", "Eq. 10", "Eq. 2.9, second form"]
    wanted = ["App. B", "Eq. 2.9", "Eq. 2.9, second form", "Eq. 2.10", "Eq. 10"]
    assert sorted(sources, key=_entries.in_reading_order) == wanted
    assert _entries.in_reading_order("9" * 100)  # no number too long


@pytest.mark.parametrize(
    ("source", "paper"),
    [
        ("Gross et al. (2024), Eq. 2.30", "gross2024"),
        ("ours, on the model of Gross, Raulf and Räth (2024)", "gross2024"),
        ("Kunin et al. (2023); Gross et al. (2024)", "kunin2023"),
        ("Kühn and Rosenow (2025), Fig. 12", "kuehn2025"),
        ("ours", None),
    ],
)
def test_a_claim_is_about_the_paper_that_its_source_names_first(source, paper):
    assert _entries.paper_of_claim(claim(source=source)) == paper


def test_every_experiment_belongs_to_a_known_part(monkeypatch):
    monkeypatch.undo()
    assert {_entries.paper_of(name) for name in experiments.names()} == set(_entries.PAPERS) - {"other"}


# --- corrected formulas -----------------------------------------------------------------------------------------


def test_what_holds_is_the_claim_of_the_same_measurement():
    printed = claim(id="drift/published", measured=1.5, expected=2.0)
    same = claim(id="elsewhere", measured=1.5, expected=1.5)
    named = claim(id="drift", measured=3.0)
    excluded = dataclasses.replace(same, id="control", kind="rejection")
    assert _formulas.right(printed, [excluded, named, printed, same]) == [same]
    assert _formulas.right(printed, [excluded, named, printed]) == [named]
    below = claim(id="drift/exact", measured=3.0)
    other = claim(id="drifting/exact", measured=3.0)
    assert _formulas.right(printed, [other, printed, below]) == [below]
    assert _formulas.right(printed, [other, printed]) == []


# --- the command that runs it again -----------------------------------------------------------------------------


def parameters(**overrides):
    config = experiments.get("example/tiny").preset("quick")
    return _again._config.to_mapping(_again._config.updated(config, overrides))


@pytest.mark.parametrize(
    ("overrides", "command"),
    [
        ({}, "sgdynamics run example/tiny"),
        ({"steps": 20}, "sgdynamics run example/tiny --preset paper"),
        ({"steps": 11}, "sgdynamics run example/tiny --steps=11"),
        ({"steps": 20, "inner.substeps": -4}, "sgdynamics run example/tiny --preset paper --inner.substeps=-4"),
        ({"widths": (7, 8, 9)}, "sgdynamics run example/tiny --widths 7 8 9"),
        ({"learning_rate": 1e-30}, "sgdynamics run example/tiny --learning-rate=1e-30"),
    ],
)
def test_the_command_names_the_nearest_preset_and_what_differs(overrides, command):
    assert _again.again("example/tiny", parameters(**overrides)) == command


@pytest.mark.parametrize("overrides", [{}, {"steps": 20}, {"widths": (7, 8, 9), "inner.substeps": 3, "steps": 2}])
def test_the_command_computes_the_same(overrides, tmp_path):
    command = _again.again("example/tiny", parameters(**overrides))
    assert cli.main([*shlex.split(command)[1:], "--quiet", "--no-figure", "--out", "again"]) == 0
    assert experiments.load(tmp_path / "again").parameters == json.loads(json.dumps(parameters(**overrides)))


def test_the_folder_of_the_result_is_an_option_of_its_own(tmp_path):
    command = _again.again("example/tiny", parameters(steps=4), out="-my 'results'")
    assert command.startswith("sgdynamics run example/tiny --steps=4 --out=")
    assert cli.main([*shlex.split(command)[1:], "--quiet", "--no-figure"]) == 0
    assert experiments.load(tmp_path / "-my 'results'").parameters["steps"] == 4
    python = _again.again("example/tiny", parameters(widths=()), out="mine")
    assert python.endswith(", out='mine')")


@pytest.mark.parametrize("overrides", [{"optional": {"substeps": 3}}, {"widths": ()}])
def test_what_no_option_can_say_python_can(overrides, monkeypatch):
    command = _again.again("example/tiny", parameters(**overrides))
    told = {}
    monkeypatch.setattr(experiments, "run", lambda name, **more: told.update(more, name=name))
    exec(command, {})
    config = _again._config.updated(experiments.get("example/tiny").preset(told["preset"]), told["overrides"])
    assert _again._config.to_mapping(config) == parameters(**overrides)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [("example/other", {}, "there is none of that name"), ("example/tiny", {"gone": 3}, "no field 'gone'")],
)
def test_what_this_version_cannot_run_has_no_command(name, changes, message):
    with pytest.raises(ValueError, match=message):
        _again.again(name, parameters() | changes)


# --- pictures ---------------------------------------------------------------------------------------------------


def stored(tmp_path, *, figure=True):
    folder = experiments.run("example/tiny", out=tmp_path / "tiny", figure=figure).folder
    return experiments.load(folder), folder


def test_the_stored_picture_is_made_small_and_told_in_words(tmp_path):
    record, folder = stored(tmp_path)
    picture = _pictures.picture(record, folder)
    assert picture.kind == "png" and picture.content.startswith(_pictures.PNG)
    assert len(picture.content) < 0.6 * (folder / "figure.png").stat().st_size
    assert picture.words == "Lines: theory."


def test_vectors_are_taken_where_they_are_smaller(tmp_path):
    record, folder = stored(tmp_path)
    small = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    (folder / "figure.svg").write_bytes(small)
    assert _pictures.picture(record, folder).content == small
    (folder / "figure.svg").write_bytes(small + b"<!-- -->" * 100_000)
    assert _pictures.picture(record, folder).kind == "png"


def test_what_was_not_drawn_or_is_damaged_is_drawn_from_the_data(tmp_path):
    record, folder = stored(tmp_path, figure=False)
    fresh = _pictures.picture(record, folder)
    (folder / "figure.png").write_bytes(_pictures.PNG + b"nonsense")
    assert fresh.content == _pictures.picture(record, folder).content
    assert _pictures.picture(record, folder, drawn=False) == f"No picture was drawn: sgdynamics plot {folder}"


def test_without_matplotlib_the_page_says_how_to_draw(tmp_path, monkeypatch):
    record, folder = stored(tmp_path, figure=False)
    folder = folder.rename(tmp_path / "my result")
    monkeypatch.setitem(sys.modules, "sgdynamics.plotting", None)
    monkeypatch.delattr(sgdynamics, "plotting")
    assert _pictures.picture(record, folder) == f"No picture was drawn: sgdynamics plot '{folder}'"


def test_a_drawing_function_that_fails_is_told(tmp_path, monkeypatch):
    record, folder = stored(tmp_path)
    monkeypatch.setitem(plotting.figures, "tiny", lambda data: data["nothing"])
    assert _pictures.picture(record, folder).words == ""  # the stored one is shown nevertheless
    (folder / "figure.png").unlink()
    assert "KeyError" in _pictures.picture(record, folder)


@pytest.mark.parametrize(("format", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_drawn_in_any_format_and_again_the_same(tmp_path, format, head):
    folder = experiments.run("example/tiny", out=tmp_path / "tiny", figure=False).folder
    assert cli.main(["plot", str(folder), "--format", format]) == 0
    path = folder / f"figure.{format}"
    first = path.read_bytes()
    assert first.startswith(head)
    experiments.redraw(folder, format=format)
    assert path.read_bytes() == first
    assert experiments.load(folder).experiment == "example/tiny"


def test_an_unknown_format_is_refused(tmp_path):
    record, folder = stored(tmp_path, figure=False)
    with pytest.raises(ValueError, match="format = gif, but it must be one of png, svg, pdf"):
        experiments.draw(record, folder, format="gif")
