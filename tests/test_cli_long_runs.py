"""Runs from the command line that are stopped and resumed, that meet another, and that several processes share."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import filelock
import jax
import numpy as np
import psutil
import pytest
import xarray as xr

import example_experiment
import sgdynamics as sgd
from sgdynamics import cli, experiments
from sgdynamics.experiments._ensembles import simulate

NAME = "example/long"


def data_of(ensemble):
    described = {"units": "w²", "long_name": "covariance of the weights"}
    value = np.asarray(ensemble.estimates.value)
    return xr.Dataset({"covariance": (("parameters", "others"), value, described)})


def run(config, progress):
    """Two ensembles, one after the other."""
    data = sgd.data.teacher_student(jax.random.key(0), samples=12, inputs=3, label_noise_std=0.5)
    problem = sgd.Problem(sgd.networks.Linear(3, 1), data)
    ensembles = [
        simulate(
            sgd.SGD(problem, learning_rate=η, sampler=4), sgd.statistics.Covariance(), progress, f"η = {η}",
            key=jax.random.key(1), replicas=13, steps=90, every=3, groups=5,
        )
        for η in (0.1, 0.2)
    ]  # fmt: skip
    claims = [example_experiment.claim()]
    return experiments.Result(data_of(ensembles[1]), claims, {"sgd": ensembles[1].provenance})


def install():
    tiny = experiments.get("example/tiny")
    experiments.register(dataclasses.replace(tiny, name=NAME, run=run))


@pytest.fixture(autouse=True)
def example(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    example_experiment.install(monkeypatch)
    install()


class Signalling(experiments.Silence):
    """Sends this process a signal in the second ensemble."""

    def __init__(self, number):
        self.number, self.stages = number, 0

    def stage(self, name, steps):
        self.stages += 1

    def advance(self, steps=1):
        if self.stages == 2 and self.number:
            os.kill(os.getpid(), self.number)
            self.number = None


def command(*options):
    return cli.main(["run", NAME, "--no-figure", *options])


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_can_be_resumed(monkeypatch, capsys, tmp_path, interrupts_are_heard, number):
    assert command("--out", "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "Bars", lambda: Signalling(number))
        assert command() == 128 + number
    assert "stopped at step" in capsys.readouterr().err
    left = tmp_path / "results/example/long.run"
    assert not (tmp_path / "results/example/long").exists() and len(list(left.glob("*/0*.json"))) == 1
    assert command() == 2
    assert "--resume" in capsys.readouterr().err
    assert command("--resume") == 0
    assert not left.exists()
    stored, whole = (experiments.load(tmp_path / name) for name in ("results/example/long", "whole"))
    assert stored.data.identical(whole.data)


@pytest.mark.long
def test_a_stopped_run_can_be_begun_anew(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(experiments, "Bars", lambda: Signalling(signal.SIGTERM))
        command()
    assert command("--force") == 0
    assert not (tmp_path / "results/example/long.run").exists()


@pytest.mark.long
def test_two_runs_of_one_result(capsys, tmp_path):
    folder = tmp_path / "results/example/long.run"
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / "lock"):
        assert command() == 2
    assert "is being computed by another process" in capsys.readouterr().err
    assert command() == 0


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_cli_long_runs as here, example_experiment
from sgdynamics import cli, experiments
experiments.register(example_experiment.EXPERIMENT)
here.install()
sys.exit(cli.main(["run", here.NAME, "--no-figure", *sys.argv[2:]]))
"""


@pytest.mark.long
def test_processes_share_a_run(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2"}
    here = str(pathlib.Path(__file__).parent)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, here, "--distributed"], cwd=tmp_path, text=True,
            env=environment | {"JAX_PROCESS_ID": str(process)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for process in range(2)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    assert ["written to" in out for out, _ in said] == [True, False]  # the first alone writes
    assert command("--out", "alone") == 0
    stored, alone = (experiments.load(tmp_path / name) for name in ("results/example/long", "alone"))
    np.testing.assert_allclose(stored.data.covariance, alone.data.covariance, rtol=1e-5)
    how = json.loads((tmp_path / "results/example/long/config.json").read_text())["provenance"]["ensembles"]["sgd"]
    assert how["processes"] == 2 and how["devices"] >= 2


def test_processes_that_cannot_meet_say_so(monkeypatch, capsys):
    def alone(*arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", alone)
    assert command("--distributed") == 2
    assert "JAX_COORDINATOR_ADDRESS" in capsys.readouterr().err


ENDLESS = """
import dataclasses, os, pathlib, sys
sys.path.insert(0, {here!r})
import jax
import example_experiment
import sgdynamics as sgd
from sgdynamics import cli, experiments
from sgdynamics.experiments._ensembles import simulate

class Told(experiments.Silence):
    def advance(self, steps=1):
        pathlib.Path(f"running-{{os.getpid()}}").touch()

def run(config, progress):
    data = sgd.data.teacher_student(jax.random.key(0), samples=12, inputs=3, label_noise_std=0.5)
    descent = sgd.SGD(sgd.Problem(sgd.networks.Linear(3, 1), data), learning_rate=0.1, sampler=4)
    sizes = {{"key": jax.random.key(1), "replicas": 8, "steps": 2**30, "groups": 4}}
    simulate(descent, sgd.statistics.Mean(), Told(), "for ever", **sizes)

for name in ("endless/a", "endless/b", "endless/c"):  # also in the processes that this one starts
    experiments.register(dataclasses.replace(example_experiment.EXPERIMENT, name=name, run=run))
if __name__ == "__main__":
    sys.exit(cli.main(["run", *sys.argv[1:], "--no-figure", "--quiet"]))
"""


def waited_for(condition, seconds=300):
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def alive(group):
    """The processes of a group that have not ended: those that have, and were not asked how, do not count."""
    with_status = [(p.pid, p.info["status"]) for p in psutil.process_iter(["status"])]
    return [pid for pid, status in with_status if status != psutil.STATUS_ZOMBIE and in_group(pid, group)]


def in_group(pid, group):
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid) == group
    return False


@pytest.mark.long
@pytest.mark.parametrize("number, everyone", [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_several_at_a_time_are_stopped_with_checkpoints(tmp_path, interrupts_are_heard, number, everyone):
    """ctrl-C reaches all processes of a terminal, `kill` the first alone: both end all of them, resumably."""
    script = tmp_path / "script.py"
    script.write_text(ENDLESS.format(here=str(pathlib.Path(__file__).parent)))
    first = subprocess.Popen(
        [sys.executable, script, "endless/*", "--jobs", "2"], cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert waited_for(lambda: len(list(tmp_path.glob("running-*"))) == 2)
        os.killpg(first.pid, number) if everyone else os.kill(first.pid, number)
        said = first.communicate(timeout=300)
        assert first.returncode == 128 + signal.SIGINT and "--resume goes on" in said[1], said
        assert waited_for(lambda: not alive(first.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
    left = {path.relative_to(tmp_path).parts[2] for path in tmp_path.glob("results/endless/*.run/*/0*.json")}
    assert left == {"a.run", "b.run"}  # two had begun, each left a checkpoint; the third did not begin
    again = subprocess.run(
        [sys.executable, script, "endless/a"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 2 and "--resume" in again.stderr, again  # there is something to go on from
