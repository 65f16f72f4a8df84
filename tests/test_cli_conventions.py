"""What users of other programs expect of this one: help that teaches, completion, JSON, messages, files that open."""

import dataclasses
import json
import logging
import math
import re
import shutil
import subprocess

import jax
import numpy as np
import pytest
import xarray as xr

import example_experiment
import sgdynamics as sgd
from sgdynamics import cli, experiments
from sgdynamics.cli import _completion, _documents, _help
from sgdynamics.cli._commands import COMMANDS


@pytest.fixture(autouse=True)
def example(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return example_experiment.install(monkeypatch)


def shown(capsys, *arguments, code=0):
    """What a command prints and says, where it ends with this code."""
    try:
        ended = cli.main(arguments)
    except SystemExit as end:
        ended = end.code
    captured = capsys.readouterr()
    assert ended == code, captured.err
    return captured


# --- help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_there_is_and_what_to_try(capsys, option):
    text = shown(capsys, option).out
    assert text == _help.HELP and max(map(len, text.splitlines())) <= 120
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", text, re.MULTILINE), command
    for part in ("Try first:", "Where results go:", "Exit codes:", "Read on:", "--json", "--verbose", "--version"):
        assert part in text


def test_what_help_suggests_is_there(monkeypatch):
    monkeypatch.undo()  # the experiments of the library
    suggested = re.findall(r"^  sgdynamics (?:run )?(\S+)", _help.HELP, re.MULTILINE)
    assert suggested and set(suggested) <= set(experiments.names())


def test_help_of_an_experiment_says_where_it_comes_from(capsys):
    text = shown(capsys, "run", "example/tiny", "--help").out
    assert (
        "A tiny run." in text and "nobody (2026)" in text and "--inner.substeps INT" in text and "-v, --verbose" in text
    )


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("demo", "run")])
def test_every_command_has_help(capsys, command):
    assert f"usage: sgdynamics {command}" in shown(capsys, command, "--help").out


# --- what is mistyped -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["rnu"], ["command = rnu", "Did you mean run"]),
        (["reprot"], ["command = reprot", "Did you mean report"]),
        ([], ["no command", "demo, list, run"]),
        (["run"], ["NAME", "sgdynamics run --help"]),
        (["run", "example/tinny"], ["example/tinny", "Did you mean example/tiny"]),
        (["run", "example/tiny", "--step", "3"], ["--step", "--steps"]),
        (["run", "example/tiny", "--steps", "-1"], ["steps = -1", "≥ 1"]),
        (["run", "example/tiny", "--steps", "x"], ["--steps", "'x'"]),
        (["run", "example/*", "--presett", "quick"], ["--presett", "--preset"]),
        (["completion", "fish"], ["fish", "bash"]),
        (["completion"], ["SHELL"]),
        (["list", "--jsn"], ["--jsn", "--json"]),
    ],
)
def test_a_slip_is_named_and_answered_with_what_was_meant(capsys, arguments, named):
    said = shown(capsys, *arguments, code=2)
    assert said.out == "" and "Traceback" not in said.err and len(said.err.splitlines()) <= 24
    assert all(part in said.err for part in named), said.err


# --- completion -----------------------------------------------------------------------------------------------


def completed(*words):
    """What bash offers for the last word."""
    script = _completion.script("bash")
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sgdynamics; printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}", "-", "sgdynamics", *words],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(run.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there to be asked")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], {"reproduce", "report"}),
        (["run", "exa"], {"example/tiny"}),
        (["run", "nothing"], set()),
        (["run", "example/tiny", "--in"], {"--inner.substeps"}),
        (["run", "example/tiny", "--preset", ""], {"quick", "paper"}),
        (["run", "example/tiny", "--out", ""], set()),
        (["run", "example/tiny", "--quiet", "--wi"], {"--widths"}),
        (["run", "example/other", "--wi"], set()),
        (["run", "'example/*'", "--jo"], {"--jobs"}),
        (["plot", "--format", "s"], {"svg"}),
        (["plot", "resul"], set()),
        (["completion", ""], {"bash", "zsh", "tcsh"}),
    ],
)
def test_bash_completes_commands_experiments_options_and_values(words, offered):
    assert completed(*words) == offered


@pytest.mark.parametrize(
    "name", ["demo", "gross2024/fig5b", "corlouer2026/fig1", "kunin2023/fig5", "beyond/any_network"]
)
def test_the_options_that_are_offered_are_those_of_help(capsys, monkeypatch, name):
    monkeypatch.undo()  # the experiments of the library
    offered = set(_completion.table()[f"run {name}"])
    helped = set(re.findall(r"(?<!\S)--[a-z][\w.-]*", shown(capsys, "run", name, "--help").out))
    assert offered == helped


def test_a_script_is_printed_for_each_shell(capsys):
    scripts = {shell: shown(capsys, "completion", shell).out for shell in ("bash", "zsh", "tcsh")}
    assert all("example/tiny" in script and sgd.__version__ in script for script in scripts.values())
    assert scripts["zsh"].startswith("#compdef sgdynamics\n")
    assert scripts["tcsh"].splitlines()[1].startswith("complete sgdynamics ")
    assert len(set(scripts.values())) == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_shell_itself_can_read_its_script(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not there to be asked")
    path = tmp_path / "script"
    path.write_text(_completion.script(shell))
    check = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, timeout=60)
    assert check.returncode == 0 and check.stderr == ""


# --- JSON -----------------------------------------------------------------------------------------------------


def parsed(text):
    """The document, if it is strict JSON: no NaN, no Infinity."""

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_list_as_json(capsys):
    document = parsed(shown(capsys, "list", "--json").out)
    assert document == {
        "sgdynamics": sgd.__version__,
        "command": "list",
        "experiments": [
            {"name": "example/tiny", "source": "nobody (2026)", "summary": "a tiny run", "presets": ["quick", "paper"]}
        ],
    }


ENTRY = {"name", "folder", "found", "seconds", "error", "as_expected", "claims"}


def test_a_run_as_json(capsys, tmp_path):
    said = shown(capsys, "run", "example/tiny", "--quiet", "--no-figure", "--json")
    document = parsed(said.out)
    assert (document["sgdynamics"], document["command"], document["as_expected"]) == (sgd.__version__, "run", True)
    (entry,) = document["experiments"]
    assert set(entry) == ENTRY and all(key in _documents.__doc__ for key in ENTRY)
    assert entry["folder"] == str(tmp_path / "results/example/tiny") and entry["found"] is entry["error"] is None
    stored = json.loads((tmp_path / "results/example/tiny/claims.json").read_text())
    assert entry["claims"] == [claim | {"as_expected": True} for claim in stored]
    assert said.err == "written to results/example/tiny\n"
    again = shown(capsys, "run", "example/tiny", "--quiet", "--no-figure", "--json")
    (found,) = parsed(again.out)["experiments"]
    assert found["found"].startswith("20") and found["claims"] == entry["claims"] and "--force repeats" in again.err


def test_many_runs_as_json(capsys):
    def broken(config, progress):
        raise FloatingPointError("no luck")

    def wrong(config, progress):
        claims = [example_experiment.claim(), dataclasses.replace(example_experiment.claim(), id="x/published")]
        return experiments.Result(example_experiment.data(), claims)

    tiny = experiments.get("example/tiny")
    experiments.register(dataclasses.replace(tiny, name="example/broken", run=broken))
    experiments.register(dataclasses.replace(tiny, name="example/wrong", run=wrong))
    said = shown(capsys, "run", "example/*", "--jobs", "1", "--quiet", "--no-figure", "--json", code=1)
    document = parsed(said.out)
    rows = {entry["name"]: entry for entry in document["experiments"]}
    assert not document["as_expected"] and all(set(entry) == ENTRY for entry in rows.values())
    judged = {name: (entry["as_expected"], len(entry["claims"])) for name, entry in rows.items()}
    assert judged == {"example/tiny": (True, 1), "example/broken": (False, 0), "example/wrong": (False, 2)}
    assert rows["example/broken"]["error"] == "FloatingPointError: no luck" and rows["example/tiny"]["error"] is None
    assert [claim["as_expected"] for claim in rows["example/wrong"]["claims"]] == [True, False]
    assert "3 experiments" in said.err and "report.html" in said.err


def test_numbers_that_are_not_finite_are_null(capsys):
    def odd(config, progress):
        claim = dataclasses.replace(example_experiment.claim(), measured=math.nan, z=math.inf, verdict="undecided")
        return experiments.Result(example_experiment.data(), [claim])

    experiments.register(dataclasses.replace(experiments.get("example/tiny"), name="example/odd", run=odd))
    for command in (["example/odd"], ["example/od*", "--jobs", "1"]):
        (entry,) = parsed(
            shown(capsys, "run", *command, "--quiet", "--no-figure", "--json", code=len(command) > 1).out
        )["experiments"]
        (claim,) = entry["claims"]
        assert claim["measured"] is None and claim["z"] is None and claim["expected"] == 1.0
        assert claim["verdict"] == "undecided" and not claim["as_expected"]
    with pytest.raises(ValueError, match="NaN is no JSON"):
        parsed('{"measured": NaN}')


def test_what_is_refused_prints_no_document(capsys):
    assert shown(capsys, "run", "example/tiny", "--json", "--steps", "0", code=2).out == ""


def test_strict_values():
    value = {"a": [1.0, -math.inf, ("x", math.nan)], "b": {"c": True, "d": None}}
    assert _documents.strict(value) == {"a": [1.0, None, ["x", None]], "b": {"c": True, "d": None}}


# --- what the library tells -----------------------------------------------------------------------------------


def test_the_library_is_silent_until_it_is_asked():
    handlers = logging.getLogger("sgdynamics").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


@pytest.mark.parametrize("option", ["-v", "--verbose"])
@pytest.mark.parametrize("name", ["example/tiny", "example/*"])
def test_verbose_tells_what_is_done_on_standard_error(capsys, option, name):
    logger = logging.getLogger("sgdynamics")
    before = list(logger.handlers), logger.level
    jobs = ["--jobs", "1"] if "*" in name else []
    quiet = shown(capsys, "run", name, *jobs, "--quiet", "--no-figure")
    told = shown(capsys, "run", name, *jobs, "--quiet", "--no-figure", "--force", option)
    assert quiet.err == "" and "example/tiny: stored in" in told.err and "stored in" not in told.out
    assert re.match(r"\d\d:\d\d:\d\d sgdynamics\.experiments\._run: example/tiny: computed", told.err)
    assert (logger.handlers, logger.level) == before


def ensemble(**options):
    data = sgd.data.teacher_student(jax.random.key(0), samples=12, inputs=2, label_noise_std=0.5)
    descent = sgd.SGD(sgd.Problem(sgd.networks.Linear(2, 1), data), learning_rate=0.1, sampler=4)
    how = {"replicas": 8, "steps": 10, "groups": 4, "key": jax.random.key(1)} | options
    return sgd.simulate(descent, sgd.statistics.Covariance(), **how)


@pytest.mark.long
def test_simulate_tells_its_kernel_and_its_checkpoints(caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="sgdynamics"):
        run = ensemble(checkpoint=tmp_path / "run")
        ensemble(checkpoint=tmp_path / "run")
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert f"SGD, 8 replicas: kernel {run.provenance['kernel']} on" in told
    assert told.index("started") < told.index("saved") < told.index("finished") < told.index("resumed")
    assert {record.name.partition(".")[0] for record in caplog.records if record.name.startswith("sgd")} == {
        "sgdynamics"
    }


# --- files that open ------------------------------------------------------------------------------------------


def test_a_stored_result_opens_with_plain_xarray(capsys, tmp_path):
    shown(capsys, "run", "example/tiny", "--quiet", "--no-figure")
    with xr.open_dataset(tmp_path / "results/example/tiny/data.nc") as data:
        np.testing.assert_array_equal(data.variance, np.arange(10.0) ** 2)
        assert data.variance.attrs == {"units": "1", "long_name": "variance of the weight"}
        assert data.attrs["experiment"] == "example/tiny"


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_an_ensemble_opens_with_plain_xarray(tmp_path, ending):
    run = ensemble()
    run.save(tmp_path / f"run.{ending}")
    with xr.open_dataset(tmp_path / f"run.{ending}") as data:
        xr.testing.assert_identical(data.load(), run.to_xarray())
        assert "provenance" in data.attrs
