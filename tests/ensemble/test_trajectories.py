"""Trajectories on the disk: against snapshots of the same run and the reference step by hand; cut off and taken up."""

import collections
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from crashes import Crash, crashing_after

import sgdynamics as sgd
from sgdynamics.ensemble import Checkpoint, Trajectories, _run, _trajectory_store
from sgdynamics.samplers import Epochs

pytest.importorskip("zarr")
import xarray as xr

KEY = jax.random.key(5)
DATA = sgd.data.teacher_student(KEY, samples=12, inputs=3, label_noise_std=0.5)
PROBLEM = sgd.Problem(sgd.networks.Linear(3, 1), DATA)
STEPS = (8, 16, 24, 32, 40, 48, 56)


def descent(learning_rate=0.1, **options):
    return sgd.SGD(PROBLEM, learning_rate=learning_rate, sampler=Epochs(4), momentum=0.5, **options)


def simulated(path, dynamics=None, *, statistics=None, frames=None, **options):
    options = {"replicas": 6, "groups": 3, "steps": 62, "burn_in": 70, "every": 4, "key": KEY} | options
    statistics = sgd.statistics.Mean() if statistics is None else statistics
    trajectories = Trajectories(path, **({"every": 2} | (frames or {})))
    return sgd.simulate(dynamics or descent(), statistics, trajectories=trajectories, **options)


def opened(path):
    with xr.open_zarr(path, consolidated=path.suffix == ".zarr") as data:
        return data.load()


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def short_chunks(monkeypatch):
    monkeypatch.setattr(_run, "CHUNK_SECONDS", 0.0)


@pytest.fixture
def blocks_of_three(monkeypatch):
    monkeypatch.setattr(_trajectory_store, "CHUNK_BYTES", 3 * 6 * 3 * 4)


def test_frames_are_the_snapshots_of_the_run(tmp_path, blocks_of_three):
    ensemble = simulated(tmp_path / "a.zarr", statistics=sgd.statistics.Snapshots(STEPS))
    data = opened(tmp_path / "a.zarr")
    assert data.position.dims == ("steps", "replicas", "parameters") and data.position.dtype == np.float32
    assert data.steps.values.tolist() == list(STEPS)
    assert np.array_equal(data.position, ensemble.estimates.values)
    assert data.position.attrs["units"] == "w" and "each replica" in data.position.attrs["long_name"]
    assert json.loads(data.attrs["provenance"])["replicas"] == 6
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert sorted(path.name for path in (tmp_path / "a.zarr/position/c").iterdir()) == ["0", "1", "2"]


def test_a_run_with_trajectories_is_the_run_without(tmp_path):
    one = simulated(tmp_path / "a.zarr")
    other = sgd.simulate(descent(), sgd.statistics.Mean(), replicas=6, groups=3, steps=62, burn_in=70, every=4, key=KEY)
    numbers = lambda ensemble: jax.tree.leaves((ensemble.estimates, ensemble.state, ensemble.alive))
    assert all(map(np.array_equal, numbers(one), numbers(other)))


def test_frames_are_those_of_the_reference_step(tmp_path):
    dynamics = sgd.SGD(PROBLEM, learning_rate=0.1, sampler=sgd.samplers.WithReplacement(4))
    simulated(tmp_path / "a.zarr", dynamics, burn_in=0, steps=5, every=1, replicas=2, dtype=jnp.float64,
              frames={"every": 1})  # fmt: skip
    _, key = jax.random.split(KEY)
    step = jax.jit(lambda state, k, key: dynamics.step(state, k, key))
    for r, path in enumerate(np.moveaxis(opened(tmp_path / "a.zarr").position.values, 1, 0)):
        state = dynamics.init(dynamics.initial_position())
        for k in range(5):
            state = step(state, jnp.int32(k), jax.random.fold_in(key, r))
            np.testing.assert_allclose(path[k], state.position, rtol=1e-12)


@pytest.mark.parametrize("of, name, axes, unit", [
    (sgd.statistics.Norm(), "norm", (), "w"),
    (sgd.statistics.Projection(jnp.eye(3)[:, :2]), "projection", ("directions",), "w"),
    (lambda state: jnp.outer(state.position, state.position), "lambda", ("components", "components_2"), "[lambda]"),
])  # fmt: skip
def test_any_observable(tmp_path, of, name, axes, unit):
    ensemble = simulated(tmp_path / "a.zarr", statistics=sgd.statistics.Snapshots(STEPS), frames={"of": of})
    observed = jax.vmap(jax.vmap(lambda position: of(sgd.State(position))))(ensemble.estimates.values)
    found = opened(tmp_path / "a.zarr")[name]
    assert found.dims == ("steps", "replicas", *axes) and found.attrs["units"] == unit
    np.testing.assert_allclose(found, observed, rtol=1e-6)


def test_velocities(tmp_path):
    options = {"steps": 4, "every": 1, "frames": {"of": sgd.statistics.velocity, "every": 1}}
    ensemble = simulated(tmp_path / "a.zarr", **options)
    found = opened(tmp_path / "a.zarr").velocity
    assert np.array_equal(found[-1], ensemble.state.velocity)
    assert found.dims == ("steps", "replicas", "parameters") and found.attrs["units"] == "w/t"


@pytest.mark.filterwarnings("ignore:.*diverged")
@pytest.mark.parametrize("learning_rate, dead", [(8.0, 3), (30.0, 6)])
def test_the_dead_are_nan_from_then_on(tmp_path, learning_rate, dead, blocks_of_three):
    initial = jnp.where(jnp.arange(6) % 2 == 0, 1e4, 0.0)[:, None] * jnp.ones((1, 3))
    snapshots, sizes = sgd.statistics.Snapshots(tuple(range(1, 61))), {"burn_in": 0, "steps": 60, "every": 1}
    ensemble = simulated(
        tmp_path / "a.zarr", descent(learning_rate), statistics=snapshots, initial=initial, frames={"every": 1}, **sizes
    )
    found = opened(tmp_path / "a.zarr").position
    assert found.shape == (60, 6, 3) and np.array_equal(found, ensemble.estimates.values, equal_nan=True)
    gone = np.isnan(found.values).any(axis=2)
    assert not gone[0].any() and np.array_equal(gone, np.maximum.accumulate(gone, axis=0))
    assert gone[-1].sum() == dead == ensemble.diverged


def test_replicas_that_are_kept_are_as_they_are(tmp_path):
    with pytest.warns(UserWarning, match="diverged"):
        ensemble = simulated(tmp_path / "a.zarr", descent(30.0), divergence="keep", steps=56)
    np.testing.assert_array_equal(opened(tmp_path / "a.zarr").position[-1], ensemble.state.position)


@pytest.mark.parametrize("steps", [71, 74, 82, 95, 110, 126, 130])
def test_cut_off_and_taken_up_it_is_the_same_to_the_last_bit(tmp_path, short_chunks, blocks_of_three, steps):
    simulated(tmp_path / "once.zarr")
    path, often = tmp_path / "twice.zarr", Checkpoint(tmp_path / "run", seconds=0)
    with pytest.raises(Crash):
        simulated(path, checkpoint=often, progress=crashing_after(steps))
    half = opened(tmp_path / "twice.zarr.partial")
    assert not path.exists() and half.steps.values.tolist() == list(STEPS[: half.steps.size])
    (tmp_path / "twice.zarr.partial/position/0.0123.partial").write_text("half a chunk")
    told = []
    simulated(path, checkpoint=often, progress=told.append)
    assert told[0] >= steps - 6
    assert contents(path) == contents(tmp_path / "once.zarr")
    simulated(path, checkpoint=often)  # it is over
    assert contents(path) == contents(tmp_path / "once.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["once.zarr", "run", "twice.zarr"]


@pytest.mark.filterwarnings("ignore:.*diverged")
def test_a_run_without_living_replicas_is_taken_up_too(tmp_path, short_chunks, blocks_of_three):
    options = {"dynamics": descent(60.0), "burn_in": 0, "steps": 400, "every": 1, "frames": {"every": 3}}
    simulated(tmp_path / "once.zarr", **options)
    often = Checkpoint(tmp_path / "run", seconds=0)
    path = tmp_path / "twice.zarr"
    simulated(path, checkpoint=often, **options)
    path.rename(tmp_path / "twice.zarr.partial")  # as if it had ended just before
    simulated(path, checkpoint=often, **options)
    assert contents(path) == contents(tmp_path / "once.zarr") and opened(path).steps.size == 133


def crashed(path, **options):
    with pytest.raises(Crash):
        simulated(path, progress=crashing_after(100), **options)


def test_another_configuration_is_refused(tmp_path, short_chunks):
    often = Checkpoint(tmp_path / "run", seconds=0)
    crashed(tmp_path / "a.zarr", checkpoint=often)
    before = contents(tmp_path / "a.zarr.partial")
    with pytest.raises(ValueError, match=r"trajectories.every: 2 there, 1 here"):
        simulated(tmp_path / "a.zarr", checkpoint=often, frames={"every": 1})
    with pytest.raises(ValueError, match=r"another configuration \(dynamics.learning_rate: 0.1 .* 0.2"):
        simulated(tmp_path / "a.zarr", descent(0.2), checkpoint=Checkpoint(tmp_path / "new", seconds=0))
    assert contents(tmp_path / "a.zarr.partial") == before


def test_a_checkpoint_without_its_trajectories_is_refused(tmp_path, short_chunks):
    often = Checkpoint(tmp_path / "run", seconds=0)
    crashed(tmp_path / "a.zarr", checkpoint=often)
    with pytest.raises(ValueError, match=r"has come to frame 3, but .*b.zarr.partial is not there"):
        simulated(tmp_path / "b.zarr", checkpoint=often)


def test_frames_that_the_checkpoint_counts_and_the_disk_has_not(tmp_path, short_chunks):
    import zarr

    often = Checkpoint(tmp_path / "run", seconds=0)
    crashed(tmp_path / "a.zarr", checkpoint=often)
    zarr.open_group(tmp_path / "a.zarr.partial")["position"].resize((1, 6, 3))
    with pytest.raises(ValueError, match=r"has come to frame 3, but .*a.zarr.partial has 1 only"):
        simulated(tmp_path / "a.zarr", checkpoint=often)


def test_earlier_trajectories_stay_until_the_new_ones_are_whole(tmp_path, short_chunks):
    path = tmp_path / "a.zarr"
    simulated(path)
    before = contents(path)
    with pytest.raises(ValueError, match=r"a.zarr exists.*overwrite=True"):
        simulated(path)
    crashed(path, dynamics=descent(0.2), frames={"overwrite": True})
    assert contents(path) == before
    simulated(path, descent(0.2), frames={"overwrite": True})
    after = contents(path)
    assert before != after and [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_what_is_left_half_written_needs_consent(tmp_path, short_chunks):
    crashed(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match=r"a.zarr.partial is left of a run that was cut off"):
        simulated(tmp_path / "a.zarr")
    simulated(tmp_path / "a.zarr", frames={"overwrite": True})
    assert opened(tmp_path / "a.zarr").steps.size == 7


def test_two_runs_on_one_path(tmp_path):
    def second(steps):
        with pytest.raises(ValueError, match="in use by another run"):
            simulated(tmp_path / "a.zarr", frames={"overwrite": True})
        found.append(steps)

    found = []
    simulated(tmp_path / "a.zarr", progress=second)
    assert found and opened(tmp_path / "a.zarr").steps.size == 7


def test_a_full_disk_is_foreseen(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    free = lambda number: monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, number))
    frame = 6 * 3 * 4
    free(7 * frame - 1)
    with pytest.raises(ValueError, match=r"7 frames of 6 replicas take .*MiB, but .* left. Record every=4"):
        simulated(tmp_path / "a.zarr")
    simulated(tmp_path / "a.zarr", frames={"every": 4})
    free(10)
    with pytest.raises(ValueError, match=r"Record less: of="):
        simulated(tmp_path / "b.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_disk_that_fails_ends_the_run(tmp_path, monkeypatch, blocks_of_three):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarr.Array.__setitem__", full)
    with pytest.raises(OSError, match="No space left"):
        simulated(tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'a.nc, but trajectories need one that ends in "\.zarr"'):
        Trajectories(tmp_path / "a.nc")
    with pytest.raises(ValueError, match="every = 0"):
        Trajectories(tmp_path / "a.zarr", every=0)
    with pytest.raises(ValueError, match="every = 16, but it must be at most the number of records, 15"):
        simulated(tmp_path / "a.zarr", frames={"every": 16})
    assert not list(tmp_path.iterdir())


def test_frames_larger_than_a_chunk_are_cut_between_replicas(tmp_path, monkeypatch):
    monkeypatch.setattr(_trajectory_store, "CHUNK_BYTES", 2 * 3 * 4)
    ensemble = simulated(tmp_path / "a.zarr", statistics=sgd.statistics.Snapshots(STEPS))
    assert np.array_equal(opened(tmp_path / "a.zarr").position, ensemble.estimates.values)
    assert len([p for p in (tmp_path / "a.zarr/position/c").rglob("*") if p.is_file()]) == 7 * 3


SCRIPT = r"""
import sys, jax
folder, devices, stop, process, processes, port = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(devices))
if int(processes) > 1:
    jax.distributed.initialize("127.0.0.1:" + port, int(processes), int(process))
import sgdynamics as sgd
from sgdynamics.ensemble import Checkpoint, Trajectories, _run
_run.CHUNK_SECONDS = 0.0
key = jax.random.key(5)
data = sgd.data.teacher_student(key, samples=12, inputs=3, label_noise_std=0.5)
dynamics = sgd.SGD(sgd.Problem(sgd.networks.Linear(3, 1), data), learning_rate=0.1, sampler=4)
done = 0
def progress(steps):
    global done
    done += steps
    if done > int(stop):
        sys.exit(3)
result = sgd.simulate(
    dynamics, sgd.statistics.Snapshots(tuple(range(2, 41, 2))), replicas=13, groups=5, steps=40, key=key,
    progress=progress, checkpoint=Checkpoint(folder + "/run", seconds=0),
    trajectories=Trajectories(folder + "/a.zarr", every=2),
)
import numpy as np, xarray as xr
found = xr.open_zarr(folder + "/a.zarr").position
assert np.array_equal(found, result.estimates.values)
assert result.provenance["devices"] == int(devices) * int(processes)
"""


def ran(folder, devices, stop=10**6, processes=1):
    """The exit code of the run, of as many processes."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = lambda process: map(str, (folder, devices, stop, process, processes, port))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *words(process)], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for process in range(processes)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=300)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    (code,) = {process.returncode for process in running}
    assert code in (0, 3), said[0][-3000:]
    return code


@pytest.mark.long
def test_on_two_devices_and_from_one_to_two(tmp_path: pathlib.Path):
    once, moved = tmp_path / "once", tmp_path / "moved"
    assert ran(once, 2) == 0
    assert ran(moved, 1, stop=17) == 3 and ran(moved, 2) == 0
    one, two = (opened(folder / "a.zarr").position for folder in (once, moved))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_of_two_processes_the_first_writes_all(tmp_path: pathlib.Path):
    once, moved = tmp_path / "once", tmp_path / "moved"
    assert ran(once, 1, processes=2) == 0
    assert ran(moved, 1, stop=17, processes=2) == 3 and ran(moved, 1) == 0
    one, two = (opened(folder / "a.zarr").position for folder in (once, moved))
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
