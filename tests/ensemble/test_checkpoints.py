"""Runs that are cut off and taken up again: the same to the last bit; what is broken, of another run, or in use."""

import json
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from crashes import Crash, crashing_after
from every_statistic import every_statistic

import sgdynamics as sgd
from sgdynamics.ensemble import Checkpoint, Interrupted, _run, checkpointing
from sgdynamics.ensemble._checkpoints import saving_for
from sgdynamics.ensemble._configuration import differences, table
from sgdynamics.samplers import Epochs

KEY = jax.random.key(5)
DATA = sgd.data.teacher_student(KEY, samples=12, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
STATISTICS = {"covariance": sgd.statistics.Covariance(), "lagged": sgd.statistics.Autocovariance((0, 4))}


def descent(learning_rate=0.1, **options):
    return sgd.SGD(PROBLEM, learning_rate=learning_rate, sampler=Epochs(4), momentum=0.5, **options)


def simulated(checkpoint=None, dynamics=None, statistics=STATISTICS, **options):
    options = {"replicas": 6, "groups": 3, "steps": 62, "burn_in": 70, "every": 4, "key": KEY} | options
    return sgd.simulate(dynamics or descent(), statistics, checkpoint=checkpoint, **options)


def numbers(ensemble):
    return jax.tree.leaves((ensemble.estimates, ensemble.state, ensemble.alive))


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(numbers(a), numbers(b), strict=True))


def long(*values):
    """Cases that `make test-long` runs: each compiles for a second or two."""
    return [pytest.param(*value, marks=pytest.mark.long) if isinstance(value, tuple)
            else pytest.param(value, marks=pytest.mark.long) for value in values]  # fmt: skip


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 0.0)


def often(folder, **options):
    return Checkpoint(folder, seconds=0, **options)


@pytest.mark.parametrize("steps", [100, *long(70, 74, 130, 132)])
def test_a_run_that_is_cut_off_goes_on_to_the_last_bit(tmp_path, steps):
    with pytest.raises(Crash):
        simulated(often(tmp_path), progress=crashing_after(steps))
    told = []
    again = simulated(often(tmp_path), progress=told.append)
    assert same(again, simulated())
    # what was done is not done again: of a chunk that was told of, but not kept, the one before counts
    assert sum(told) == 132 and told[0] >= steps - 6


@pytest.mark.long
def test_every_statistic_goes_on_to_the_last_bit(tmp_path):
    statistics = every_statistic(PROBLEM, velocities=True)
    options = {"statistics": statistics, "steps": 30, "every": 3}
    with pytest.raises(Crash):
        simulated(often(tmp_path), progress=crashing_after(88), **options)
    assert same(simulated(often(tmp_path), **options), simulated(**options))


def test_a_run_that_is_over_is_found(tmp_path):
    first = simulated(tmp_path)
    told = []
    second = simulated(tmp_path, progress=told.append)
    assert same(first, second) and told == [132]
    events = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert events == ["started", "saved", "finished", "resumed"]
    beat = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (beat["step"], beat["of"], beat["process"]) == (132, 132, os.getpid())


@pytest.mark.parametrize(
    "change, named",
    [
        ({"dynamics": descent(0.2)}, r"dynamics.learning_rate: 0.1 .* there, 0.2 .* here"),
        *long(
            ({"steps": 66}, "steps: 62 there, 66 here"),
            ({"key": jax.random.key(6)}, r"key: key \[0, 5\] there, key \[0, 6\] here"),
            ({"statistics": sgd.statistics.Mean()}, "statistics"),
            ({"dtype": jnp.float64}, "dtype: float32 there, float64 here"),
            ({"initial": jnp.ones(3)}, "initial"),
            ({"dynamics": descent(weight_decay=0.1)}, "dynamics.weight_decay"),
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_name(tmp_path, change, named):
    simulated(tmp_path)
    with pytest.raises(ValueError, match=named):
        simulated(tmp_path, **change)


@pytest.mark.long
def test_functions_are_told_apart_by_what_they_do(tmp_path):
    at = lambda scale: sgd.statistics.Mean(of=lambda state: scale * state.position)
    simulated(tmp_path, statistics=at(2.0))
    assert same(simulated(tmp_path, statistics=at(2.0)), simulated(statistics=at(2.0)))
    with pytest.raises(ValueError, match=r"statistics.of.scale: 2.0 there, 3.0 here"):
        simulated(tmp_path, statistics=at(3.0))
    with pytest.raises(ValueError, match=r"statistics.of"):
        simulated(tmp_path, statistics=sgd.statistics.Mean(of=lambda state: 2.0 + state.position))


SCALE = 2.0


def scaled(state, *, power=1):
    return SCALE * state.position**power


class Schedule:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate / (1 + step)


def test_what_a_function_uses_tells_it_apart(monkeypatch):
    before = table(of=scaled)
    assert table(of=scaled) == before
    monkeypatch.setitem(scaled.__kwdefaults__, "power", 2)
    assert differences(before, table(of=scaled)) == ["of.default power: 1 there, 2 here"]
    monkeypatch.setitem(scaled.__kwdefaults__, "power", 1)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert differences(before, table(of=scaled)) == ["of.global SCALE: 2.0 there, 3.0 here"]
    assert differences(table(of=Schedule(0.1)), table(of=Schedule(0.2))) == ["of.rate: 0.1 there, 0.2 here"]
    monkeypatch.setattr(Schedule, "__call__", lambda self, step: self.rate)
    assert table(of=Schedule(0.1)) != {"of": "test_checkpoints.Schedule", "of.rate": "0.1"}


WORDS = """
from sgdynamics.ensemble._checkpoints import saving_for
from sgdynamics.ensemble._configuration import digest, table
import jax, optax, sgdynamics as sgd
def of(state):
    return state.position if state in {"a", "b", "c", "d"} else str.join
data = sgd.data.teacher_student(jax.random.key(0), samples=5, inputs=2, label_noise_std=0.1)
problem = sgd.Problem(sgd.networks.MLP((2, 3, 1), jax.nn.relu, key=jax.random.key(1)), data)
chain = optax.chain(optax.clip(1.0), optax.adam(optax.cosine_decay_schedule(0.1, 100)))
print(digest(table(of=of, words={"x", "y", "z"}, method=str.join, object=jax.jit(of),
                   dynamics=sgd.Descent(problem, chain, sgd.samplers.Epochs(2)))))
"""


@pytest.mark.long
def test_a_configuration_is_the_same_in_every_process():
    ran = lambda seed: (
        subprocess.run(
            [sys.executable, "-c", WORDS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert ran("1") == ran("2") and len(ran("3")) == 21


def test_the_wish_to_stop_passes_between_processes():
    stop = pickle.loads(pickle.dumps(Interrupted("stopped at step 4", 15)))
    assert str(stop) == "stopped at step 4" and stop.signal == 15


def test_steps_beyond_31_bits_are_refused():
    with pytest.raises(ValueError, match=r"burn_in \+ steps = 2147483648, but"):
        simulated(steps=2**31 - 70)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def arrays_of(record):
    return [path for path in record.with_suffix("").rglob("*") if path.is_file() and path.stat().st_size]


def broken(how, record):
    {
        "truncated record": lambda: record.write_bytes(record.read_bytes()[:100]),
        "flipped record": lambda: flipped(record),
        "empty record": lambda: record.write_text(""),
        "record of something else": lambda: record.write_text('{"body": [], "sha256": 3}'),
        "flipped arrays": lambda: flipped(max(arrays_of(record), key=lambda path: path.stat().st_size)),
        "truncated arrays": lambda: max(arrays_of(record), key=lambda path: path.stat().st_size).write_bytes(b"x"),
        "missing file": lambda: arrays_of(record)[0].unlink(),
        "vanished arrays": lambda: [path.unlink() for path in arrays_of(record)],
    }[how]()


@pytest.mark.parametrize(
    "how",
    ["flipped record", "flipped arrays", *long("truncated record", "empty record", "record of something else",
     "truncated arrays", "missing file", "vanished arrays")],
)  # fmt: skip
def test_of_a_broken_checkpoint_the_one_before_is_used(tmp_path, how):
    with pytest.raises(Crash):
        simulated(often(tmp_path), progress=crashing_after(100))
    before, last = sorted(path for path in tmp_path.glob("*.json") if path.stem.isdigit())
    step = json.loads(before.read_text())["body"]["step"]
    broken(how, last)
    told = []
    with pytest.warns(UserWarning, match=rf"{last.name} is broken and not used"):
        again = simulated(often(tmp_path), progress=told.append)
    assert same(again, simulated())
    assert told[0] == step


@pytest.mark.long
def test_where_all_are_broken_the_run_begins_anew(tmp_path):
    with pytest.raises(Crash):
        simulated(often(tmp_path), progress=crashing_after(100))
    for record in tmp_path.glob("0*.json"):
        flipped(record)
    told = []
    with pytest.warns(UserWarning, match="is broken and not used"):
        assert same(simulated(often(tmp_path), progress=told.append), simulated())
    assert told[0] <= 64


@pytest.mark.long
@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_few_are_kept(tmp_path, keep):
    simulated(often(tmp_path, keep=keep))
    records = sorted(path.stem for path in tmp_path.glob("0*.json"))
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert len(records) == keep and records == folders


@pytest.mark.parametrize("number", [signal.SIGTERM, *long(signal.SIGINT)])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, interrupts_are_heard, number):
    before = signal.getsignal(signal.SIGTERM)
    progress = lambda steps: os.kill(os.getpid(), number) if steps == 4 else None
    with pytest.raises(Interrupted, match=r"stopped at step 74, with a checkpoint in") as error:
        simulated(tmp_path, progress=progress)
    assert error.value.signal == number and signal.getsignal(signal.SIGTERM) == before
    told = []
    assert same(simulated(tmp_path, progress=told.append), simulated())
    assert told[0] == 74


def test_two_runs_on_one_folder(tmp_path):
    def second(steps):
        with pytest.raises(ValueError, match="in use by another run"):
            simulated(tmp_path)
        found.append(steps)

    found = []
    simulated(tmp_path, progress=second)
    assert found
    simulated(tmp_path)  # the lock is free again


@pytest.mark.long
def test_a_lock_without_its_process_is_no_lock(tmp_path):
    (tmp_path / "lock").write_text("left by a process that was killed")
    simulated(tmp_path)


@pytest.mark.long
def test_a_folder_that_vanishes_is_made_anew(tmp_path):
    folder, steps = tmp_path / "run", []

    def progress(more):
        steps.append(more)
        if len(steps) == 5:
            shutil.rmtree(folder, ignore_errors=True)

    result = simulated(often(folder), progress=progress)
    assert same(result, simulated())
    told = []
    assert same(simulated(often(folder), progress=told.append), result) and told == [132]


def test_a_disk_that_fails_does_not_end_the_run(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orbax.checkpoint.AsyncCheckpointer.save", full)
    with pytest.warns(UserWarning, match="could not be written: .*No space left"):
        assert same(simulated(tmp_path), simulated())


def test_a_lazy_run_whose_folder_cannot_be_made_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    settings = Checkpoint(tmp_path, seconds=0, lazy=True)
    object.__setattr__(settings, "folder", tmp_path / "file" / "run")  # as if it had become one since
    with pytest.warns(UserWarning, match="cannot be written to"):
        assert same(simulated(settings), simulated())
    progress = lambda steps: os.kill(os.getpid(), signal.SIGTERM) if steps == 4 else None
    with pytest.warns(UserWarning), pytest.raises(Interrupted, match=r"could not be written and there is none"):
        simulated(settings, progress=progress)


def test_a_disk_that_stays_full_is_not_filled_further(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sgdynamics.ensemble._checkpoints._checksums", full)
    with pytest.warns(UserWarning, match="No space left"):
        simulated(often(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} <= {"lock", "log.jsonl", "heartbeat.json"}


def test_bad_folders_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match=r"checkpoint = .*file is a file, but it must be a folder"):
        simulated(file)
    with pytest.raises(ValueError, match=r"checkpoint = .* cannot be written to"):
        simulated(pathlib.Path("/proc/sgdynamics"))
    with pytest.raises(ValueError, match="checkpoint = True, but it must be a folder or a Checkpoint"):
        saving_for(True, dict)
    with pytest.raises(ValueError, match="seconds = -1"):
        Checkpoint(tmp_path, seconds=-1)
    with pytest.raises(ValueError, match="keep = 0"):
        Checkpoint(tmp_path, keep=0)


@pytest.mark.long
def test_runs_of_a_program_have_folders_of_their_own(tmp_path):
    def program(progress=False):
        with checkpointing(tmp_path, seconds=0):
            return simulated(), simulated(dynamics=descent(0.2), progress=progress)

    with pytest.raises(Crash):
        program(crashing_after(90))
    assert len(list(tmp_path.iterdir())) == 2
    told = []
    first, second = program(told.append)
    assert same(first, simulated()) and same(second, simulated(dynamics=descent(0.2)))
    assert 64 <= told[0] < 132


def test_a_short_run_of_a_program_leaves_nothing(tmp_path):
    with checkpointing(tmp_path / "runs"):
        simulated()
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_runs_in_a_thread_are_kept_too(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(simulated(often(tmp_path))))
    thread.start()
    thread.join()
    assert same(results[0], simulated())
