"""The command line: what it prints, what it writes, how it refuses."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import example_experiment
from sgdynamics import cli, experiments, plotting
from sgdynamics.experiments.kunin2023 import _potentials


@pytest.fixture(autouse=True)
def example(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return example_experiment.install(monkeypatch)


def refused(capsys, *arguments) -> str:
    """What is printed where `arguments` end with exit code 2 and without a traceback."""
    try:
        code = cli.main(arguments)
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "" and "Traceback" not in captured.err
    return captured.err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sgdynamics 0.")


def test_list(capsys):
    assert cli.main(["list"]) == 0
    assert "example/tiny  nobody (2026)  a tiny run" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [60, 80, 200, 400])
def test_list_is_as_wide_as_the_terminal_and_whole_in_a_pipe(capsys, monkeypatch, columns):
    monkeypatch.undo()  # the experiments of the library
    monkeypatch.setenv("COLUMNS", str(columns))
    whole = printed(capsys, "list")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = printed(capsys, "list").splitlines()
    assert len(lines) == len(whole.splitlines()) and "…" not in whole
    widest = max(map(len, whole.splitlines()))
    assert widest > 200 and min(columns, widest) - 2 <= max(map(len, lines)) <= columns
    assert [line.split("  ")[0] for line in lines] == [line.split("  ")[0] for line in whole.splitlines()]
    assert any("…" in line for line in lines) == (columns < widest)
    if columns == 200:  # wide enough for names and sources: the last column alone is shortened
        assert all(
            line.removesuffix("…").rstrip() in full
            for line, full in zip(lines[2:], whole.splitlines()[2:], strict=True)
        )


def test_run_prints_the_claims_and_writes_the_result(capsys, tmp_path):
    assert cli.main(["run", "example/tiny"]) == 0
    out = capsys.readouterr().out
    assert "variance  1.010(10)         1  +1.0  reproduced" in out
    assert out.endswith("written to results/example/tiny\n")
    names = {path.name for path in (tmp_path / "results/example/tiny").iterdir()}
    assert names == {"data.nc", "claims.json", "config.json", "figure.png"}


def test_a_pattern_runs_all_that_match(capsys, tmp_path):
    experiments.register(dataclasses.replace(experiments.get("example/tiny"), name="example/other"))
    experiments.register(dataclasses.replace(experiments.get("example/tiny"), name="elsewhere"))
    assert cli.main(["run", "example/*", "--preset", "paper", "--out", "here", "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"example/tiny +\d+ +1 +0\n", out) and "elsewhere" not in out
    stored = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("config.json")}
    assert stored == {"here/example/tiny", "here/example/other"}
    assert json.loads((tmp_path / "here/example/tiny/config.json").read_text())["parameters"]["steps"] == 20
    account = json.loads((tmp_path / "here/reproduction.json").read_text())["experiments"]
    assert [(row["name"], row["claims"], row["surprises"]) for row in account] == [
        ("example/other", 1, 0), ("example/tiny", 1, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["run", "reproduce"])
def test_several_names_and_patterns_run_each_experiment_once(capsys, tmp_path, command):
    for name in ("example/other", "elsewhere", "left/out"):
        experiments.register(dataclasses.replace(experiments.get("example/tiny"), name=name))
    assert cli.main([command, "elsewhere", "example/*", "example/tiny", "--jobs", "1", "--quiet", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["experiments"]
    assert [entry["name"] for entry in entries] == ["elsewhere", "example/other", "example/tiny"]
    assert not (tmp_path / "results/left").exists()


def test_one_that_fails_does_not_keep_the_others_from_running(capsys):
    def broken(config, progress):
        raise FloatingPointError("no luck")

    tiny = experiments.get("example/tiny")
    experiments.register(dataclasses.replace(tiny, name="example/broken", run=broken))
    assert cli.main(["run", "example/*", "--jobs", "1", "--quiet"]) == 1
    out = capsys.readouterr().out
    assert "FloatingPointError: no luck" in out and "example/tiny" in out and "1 with surprises or failures" in out


@pytest.mark.long
def test_several_at_a_time_are_what_one_after_another_are(tmp_path):
    """Each in a process of its own, which knows the registered experiments."""
    config = _potentials.PotentialsConfig(replicas=256, burn_in=200, steps=40, lags=(4, 16))
    experiment = _potentials.POTENTIALS

    def rows(jobs):
        plans = [experiments.plan(experiment, config, out=tmp_path / f"{jobs}{i}", figure=False) for i in range(2)]
        return [(row.name, row.claims, row.surprises, row.text) for row in experiments.reproduce(plans, jobs=jobs)]

    assert rows(2) == rows(1)


def test_a_verdict_that_surprises_ends_a_pattern_with_1(capsys):
    tiny = experiments.get("example/tiny")
    wrong = lambda config, progress: experiments.Result(
        example_experiment.data(),
        [example_experiment.claim(), dataclasses.replace(example_experiment.claim(), id="x/published")],
    )
    experiments.register(dataclasses.replace(tiny, name="example/wrong", run=wrong))
    assert cli.main(["run", "example/*", "--jobs", "1", "--quiet", "--no-figure"]) == 1
    out = capsys.readouterr().out
    assert "not as expected: x/published: reproduced" in out and re.search(r"example/wrong +\d+ +2 +1\n", out)


def test_the_summary_tells_what_is_undecided_from_what_surprises():
    named = lambda id, **fields: dataclasses.replace(example_experiment.claim(), id=id, **fields)
    coarse = named("coarse", verdict="undecided")
    odd = [named("wrong", verdict="not reproduced"), named("diverged", verdict="undecided", measured=float("nan"))]
    assert experiments.summary([coarse, *odd]).splitlines() == [
        "3 claims",
        "not as expected: wrong: not reproduced",
        "not as expected: diverged: undecided",
        "undecided: coarse: the errors are too large to tell (more replicas)",
    ]


# --- the same again -------------------------------------------------------------------------------------------


def printed(capsys, *arguments) -> str:
    assert cli.main(arguments) == 0
    return capsys.readouterr().out


def test_the_same_again_shows_what_is_stored(capsys, monkeypatch):
    first = printed(capsys, "run", "example/tiny", "--quiet")
    monkeypatch.setattr(example_experiment, "data", None)  # nothing can be computed any more
    again = printed(capsys, "run", "example/tiny", "--quiet")
    told, empty, *shown, where = again.splitlines()
    assert re.fullmatch(r"found, computed at 20\S+: shown as it is stored; --force repeats", told) and empty == ""
    assert where == "found in results/example/tiny" and shown == first.splitlines()[:-1]


@pytest.mark.parametrize("command", [["run", "example/tiny"], ["demo"]])
def test_force_repeats(capsys, monkeypatch, command):
    monkeypatch.setitem(experiments._registry._experiments, "demo", experiments.get("example/tiny"))
    printed(capsys, *command, "--quiet")
    again = printed(capsys, *command, "--quiet", "--force")
    assert again.startswith("computed again: --force\n") and "written to results/" in again


def test_what_is_replaced_is_said_before_it_is_computed(capsys):
    printed(capsys, "run", "example/tiny", "--quiet")
    out = printed(capsys, "run", "example/tiny", "--quiet", "--steps", "12")
    assert out.startswith("replaces the result of other parameters: steps 10 → 12\n") and "written to" in out


@pytest.mark.parametrize("command", [["run", "example/*"], ["reproduce"]])
def test_many_again_find_what_is_stored(capsys, tmp_path, command):
    printed(capsys, *command, "--jobs", "1", "--quiet")
    again = printed(capsys, *command, "--jobs", "1", "--quiet")
    assert re.search(r"── example/tiny \(1 of 1, found, computed at 20\S+\)\n", again)
    assert "1 experiments, 1 of them found and not computed (--force repeats), 1 claims" in again
    (row,) = json.loads((tmp_path / "results/reproduction.json").read_text())["experiments"]
    assert row["found"].startswith("20") and row["claims"] == 1
    forced = printed(capsys, *command, "--jobs", "1", "--quiet", "--force")
    assert "computed again: --force\n" in forced and "found" not in forced


@pytest.mark.long
def test_processes_know_of_force_and_of_what_is_stored(tmp_path):
    config = _potentials.PotentialsConfig(replicas=256, burn_in=200, steps=40, lags=(4, 16))

    def plan(force):
        return experiments.plan(_potentials.POTENTIALS, config, out=tmp_path / f"{force}", figure=False, force=force)

    (made,) = experiments.reproduce([plan(False)], quiet=True)
    shutil.copytree(tmp_path / "False", tmp_path / "True")
    found, forced = sorted(experiments.reproduce([plan(False), plan(True)], jobs=2), key=lambda row: row.found is None)
    assert made.found is None and found.found and forced.found is None
    assert found.text == made.text and forced.text == f"computed again: --force\n{made.text}"


# --- options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [["--preset", "paper"], ["--preset=paper"]])
def test_preset_and_fields(preset, tmp_path):
    options = ["--inner.substeps", "3", "--widths", "7", "8", "9", "--out", "here", "--quiet"]
    assert cli.main(["run", "example/tiny", *preset, *options]) == 0
    parameters = json.loads((tmp_path / "here/config.json").read_text())["parameters"]
    assert (parameters["steps"], parameters["inner"], parameters["widths"]) == (
        20,
        {"substeps": 3},
        [7, 8, 9],
    )


def test_quiet_shows_no_bars(capsys):
    cli.main(["run", "example/tiny", "--quiet"])
    assert capsys.readouterr().err == ""


def test_no_figure(tmp_path):
    assert cli.main(["run", "example/tiny", "--no-figure"]) == 0
    assert not (tmp_path / "results/example/tiny/figure.png").exists()


def test_demo_is_the_run_of_that_name(monkeypatch, tmp_path):
    monkeypatch.setattr(experiments._registry, "_experiments", {"demo": experiments.get("example/tiny")})
    assert cli.main(["demo", "--out", "there"]) == 0
    assert (tmp_path / "there/claims.json").is_file()


def test_plot_draws_from_the_stored_result(tmp_path, capsys):
    cli.main(["run", "example/tiny"])
    figure = tmp_path / "results/example/tiny/figure.png"
    figure.unlink()
    assert cli.main(["plot", "results/example/tiny"]) == 0
    assert figure.is_file() and capsys.readouterr().out.endswith("written to results/example/tiny/figure.png\n")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "example/tiny", "--help"]])
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 0 and "usage: sgdynamics" in capsys.readouterr().out


def test_help_of_an_experiment_shows_its_fields_with_the_presets_values(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "example/tiny", "--preset", "paper", "--help"])
    out = capsys.readouterr().out
    assert "--inner.substeps INT" in out and "(default: 20)" in out and "(learning rates)" in out


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["run", "exmaple/tiny"], ["exmaple/tiny", "Did you mean example/tiny"]),
        (["run"], ["NAME"]),
        (["run", "nothing/*"], ["nothing/*", "sgdynamics list"]),
        (["run", "example/tiny", "example/tin"], ["experiment = example/tin,", "example/tiny"]),
        (["reproduce", "example/tiny", "nothing/*"], ["nothing/*", "sgdynamics list"]),
        (["run", "example/*", "--preset", "fast"], ["fast"]),
        ([], ["demo, list, run, reproduce, plot, bench"]),
        (["paint"], ["paint", "demo, list, run, reproduce, plot, bench"]),
        (["run", "example/tiny", "--preset", "fast"], ["preset = fast", "quick, paper"]),
        (["run", "example/tiny", "--preset"], ["--preset"]),
        (["run", "example/tiny", "--steps", "-3"], ["steps = -3", "whole number ≥ 1"]),
        (["run", "example/tiny", "--steps", "many"], ["--steps", "many", "int"]),
        (["run", "example/tiny", "--stepz", "3"], ["--stepz", "--steps"]),
        (["run", "example/tiny", "--learning-rate", "nan"], ["learning_rate = nan", "finite"]),
        (["run", "example/tiny", "--learning-rate=-inf"], ["learning_rate = -inf", "finite"]),
        (["run", "example/tiny", "--widths"], ["widths is empty", "at least one"]),
        (["run", "example/tiny", "--widths", "3", str(2**63)], [f"widths = {2**63}", "64 bits"]),
        (["run", "example/tiny", "--inner.substeps", str(-(2**64))], ["inner.substeps = -18", "64 bits"]),
        (["run", "example/tiny", "--force", "3"], ["3"]),
        (["run", "example/tiny", "--out", "file/result"], ["out = file/result", "cannot be made"]),
        (["run", "example/tiny", "--out", "file"], ["out = file", "is a file"]),
        (["run", "example/*", "--jobs", "0"], ["jobs = 0", "at least 1"]),
        (["run", "example/*", "--jobs", "some"], ["--jobs", "some", "int"]),
        (["run", "example/*", "--steps", "3"], ["--steps"]),
        (["run", "example/*", "--out", "file"], ["out = file/example/tiny", "cannot be made"]),
        (["reproduce", "--preset", "fast"], ["fast"]),
        (["reproduce", "--quiet", "--out"], ["--out"]),
        (["list", "--all"], ["--all"]),
        (["bench", "nothing"], ["nothing"]),
        (["bench", "--rounds", "0"], ["rounds = 0", "at least 1"]),
        (["bench", "--rounds", "many"], ["--rounds", "many", "int"]),
        (["bench", "--out", "file"], ["file"]),
        (["plot", "nowhere"], ["nowhere", "holds no stored result"]),
        (["plot", "file"], ["file", "holds no stored result"]),
        (["plot"], ["DIR"]),
    ],
)
def test_bad_values_are_named(capsys, tmp_path, arguments, shown):
    (tmp_path / "file").write_text("")
    message = refused(capsys, *arguments)
    assert all(part in message for part in shown)


@pytest.mark.parametrize("command", ["run", "reproduce"])
def test_the_last_part_of_a_name_is_answered_with_the_names_that_end_in_it(capsys, command):
    for paper in ("first", "second", "third", "fourth"):
        experiments.register(dataclasses.replace(experiments.get("example/tiny"), name=f"{paper}2026/fig5b"))
    experiments.register(dataclasses.replace(experiments.get("example/tiny"), name="fourth2026/fig15b"))
    meant = "first2026/fig5b or second2026/fig5b or third2026/fig5b or fourth2026/fig5b"
    assert f"there is none of that name. Did you mean {meant}?" in refused(capsys, command, "fig5b")
    assert "Did you mean fourth2026/fig15b?" in refused(capsys, command, "fig15b")
    assert "Did you mean" not in refused(capsys, command, "ig5b")  # no part of its own


def test_a_folder_of_other_files_is_refused(capsys, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    assert "would be lost" in refused(capsys, "run", "example/tiny", "--out", ".")


@pytest.mark.parametrize(
    ("name", "change", "shown"),
    [
        ("config.json", lambda text: text.replace(b"tiny", b"none"), ["figure = none"]),
        ("config.json", lambda text: text[:-5], ["config.json", "run the experiment again"]),
        ("config.json", lambda text: text.replace(b'"tiny"', b"[]"), ["figure = []", "run the experiment again"]),
        ("claims.json", lambda text: text.replace(b"1.01", b"1.02"), ["claims.json", "SHA-256"]),
        ("data.nc", lambda text: text[:200] + b"x" + text[201:], ["data.nc", "SHA-256"]),
    ],
)
def test_a_damaged_result_cannot_be_plotted(capsys, tmp_path, name, change, shown):
    printed(capsys, "run", "example/tiny", "--quiet")
    path = tmp_path / "results/example/tiny" / name
    path.write_bytes(change(path.read_bytes()))
    message = refused(capsys, "plot", "results/example/tiny")
    assert all(part in message for part in shown)


BUGGY = """
import sys, example_experiment
from sgdynamics import cli, experiments, plotting
plotting.figures["tiny"] = example_experiment.draw
experiments.register(example_experiment.EXPERIMENT)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["run", "example/tiny", "--steps", "13"], 1), (["run", "example/tiny", "--steps", "0"], 2)],
)
def test_the_exit_code_that_the_shell_sees(tmp_path, arguments, code):
    path = {"PYTHONPATH": str(pathlib.Path(example_experiment.__file__).parent)}
    program = [sys.executable, "-c", BUGGY, *arguments, "--quiet", "--no-figure"]
    ended = subprocess.run(program, env=os.environ | path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code and ("Traceback" in ended.stderr) == (code == 1)
    assert ("a bug, not a bad value" in ended.stderr) == (code == 1)
    assert not (tmp_path / "results").exists()


def test_a_bug_while_drawing_keeps_its_traceback(capsys, monkeypatch):
    printed(capsys, "run", "example/tiny", "--quiet")
    monkeypatch.setitem(plotting.figures, "tiny", lambda data: data["nothing"])
    with pytest.raises(KeyError, match="nothing"):
        cli.main(["plot", "results/example/tiny"])


def test_a_bug_in_one_of_many_shows_its_traceback(capsys):
    def broken(config, progress):
        raise ValueError("a bug, not a bad value")

    experiments.register(dataclasses.replace(experiments.get("example/tiny"), name="example/broken", run=broken))
    assert cli.main(["reproduce", "--jobs", "1", "--quiet"]) == 1
    assert "Traceback" in capsys.readouterr().out


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ValueError, match="a bug, not a bad value"):
        cli.main(["run", "example/tiny", "--steps", "13", "--quiet"])
