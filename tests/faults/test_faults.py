"""A small part of `make faults`, and that it would see what it looks for."""

import json
import signal

import numpy as np
import pytest

from sgdynamics_faults import devices, disks, kills
from sgdynamics_faults.cases import CASES, FORMS, KINDS
from sgdynamics_faults.kills import Place
from sgdynamics_faults.processes import Job, confirmed, difference, events, finished, unconfirmed


def test_every_kind_of_statistic_is_in_a_run_that_is_killed():
    killed = {name for name, _ in kills.TRIALS}
    assert {kind for name in killed for kind in CASES[name].statistics} == set(KINDS) and killed == set(CASES)
    assert not CASES.keys() & FORMS.keys() and set(devices.EQUAL) < set(FORMS)  # a worker knows a run by its name


def saved(path, **arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return path


def test_one_bit_is_a_difference(tmp_path):
    x = np.array([1.0, np.nan, -0.0])
    one = saved(tmp_path / "one.npz", **{"000 [0]": x})
    assert difference(one, saved(tmp_path / "same.npz", **{"000 [0]": x})).equal
    bit = difference(one, saved(tmp_path / "bit.npz", **{"000 [0]": np.array([np.nextafter(1, 2), np.nan, -0.0])}))
    assert not bit.equal and 0 < bit.estimates < 1e-15 and bit.state == 0
    assert not difference(one, saved(tmp_path / "zero.npz", **{"000 [0]": np.abs(x)})).equal
    assert difference(one, saved(tmp_path / "nan.npz", **{"000 [0]": np.ones(3)})).estimates == 1
    assert not difference(one, saved(tmp_path / "type.npz", **{"000 [0]": x.astype(np.float32)})).equal
    assert not difference(one, saved(tmp_path / "more.npz", **{"000 [0]": x, "001 [1]": x})).equal


def test_a_folder_that_lost_a_checkpoint_is_seen(tmp_path):
    record = lambda number, step: (tmp_path / f"{number:06d}.json").write_text(json.dumps({"body": {"step": step}}))
    log = lambda **event: (tmp_path / "log.jsonl").open("a").write(json.dumps(event) + "\n")
    record(3, 30), record(4, 40), (tmp_path / "000004").mkdir(), (tmp_path / "000005").mkdir()
    assert confirmed(tmp_path) == (4, 40) and unconfirmed(tmp_path) == ["000005"]
    before, trial = kills._begin(tmp_path), kills.Trial("regression", 1, ["run"])
    log(event="resumed", step=40)
    kills._check(trial, tmp_path, before)
    assert trial.losses == [] and trial.resumed == [(40, 40)]
    (tmp_path / "000004.json").unlink()
    log(event="started", steps=100)
    kills._check(trial, tmp_path, before._replace(begun=1))
    assert len(trial.losses) == 2 and "began at step 0" in trial.losses[1]


def test_kills_are_spread_over_all_moments():
    chosen = kills.moments(10, kills.random.Random(0))
    assert {kind: chosen.count(kind) for kind in kills.MOMENTS} == dict.fromkeys(kills.MOMENTS, 2)
    assert chosen[-2:] == ["end", "end"]


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_that_is_killed_again_and_again_loses_nothing(tmp_path, count):
    place = Place(tmp_path / "runs", tmp_path / "cache", tmp_path / "references")
    folder = place.references / str(count)
    finished(Job(["draws"], None, str(folder), count), folder / "log.log", place.cache)
    trial = kills.killed("draws", count, 4, 1, place)
    assert trial.losses == [] and trial.kills == 4 and trial.ends >= 1 and trial.interrupted_saves >= 1
    trial = kills.interrupted("draws", count, signal.SIGTERM, place)
    assert trial.losses == [] and trial.kills == 2 and len(trial.resumed) == 3


@pytest.mark.long
def test_folders_that_fail(tmp_path):
    found = disks.outcomes(tmp_path / "disks", tmp_path / "cache")
    assert len(found) == 5 and all(outcome["passes"] for outcome in found), found
    assert events(tmp_path / "disks" / "vanished", "finished")


def test_what_the_writer_fails_at_as_it_is_closed_costs_nothing(tmp_path, monkeypatch):
    """A disk that is full at the very end: orbax raises what it could not write once more, at each call."""
    errors, closed = [OSError(28, "No space left on device")], []

    def close(self):
        if errors:
            raise errors.pop()
        closed.append(self)

    monkeypatch.setattr("orbax.checkpoint.AsyncCheckpointer.close", close)
    whole = CASES["draws"].simulate(140, burn_in=0)
    result = CASES["draws"].simulate(140, burn_in=0, checkpoint=tmp_path)
    assert np.array_equal(result.state.position, whole.state.position) and not errors
    assert CASES["draws"].simulate(140, burn_in=0, checkpoint=tmp_path).provenance["steps_done"] == 140 and closed
