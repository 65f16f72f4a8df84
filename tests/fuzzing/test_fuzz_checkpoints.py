"""Broken and forged checkpoints: the result of the run that nothing happened to, or an error that names the folder."""

import hashlib
import json
import os
import shutil
import warnings

import jax
import mutations
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sgdynamics as sgd
from sgdynamics.ensemble import Checkpoint, _run

KEY = jax.random.key(5)
DATA = sgd.data.teacher_student(KEY, samples=12, inputs=3, label_noise_std=0.5)
DESCENT = sgd.SGD(sgd.Problem(sgd.networks.Linear(3, 1), DATA), learning_rate=0.1, sampler=4)
KEPT = 3
BODY = ("format", "stage", "done", "step", "recording", "devices", "arrays", "configuration", "source", "versions",
        "files")  # fmt: skip
fuzzed = settings(deadline=None, max_examples=60, derandomize=True, database=None)


def simulated(folder=None, key=KEY, progress=False):
    checkpoint = folder and Checkpoint(folder, seconds=0, keep=KEPT)
    sizes = {"replicas": 5, "groups": 3, "steps": 21, "burn_in": 70, "every": 3}
    return sgd.simulate(
        DESCENT, sgd.statistics.Covariance(), key=key, checkpoint=checkpoint, progress=progress, **sizes
    )


def same(a, b):
    leaves = lambda result: jax.tree.leaves((result.estimates, result.state, result.alive))
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(leaves(a), leaves(b), strict=True))


class Left(Exception):
    pass


class Runs:
    """A run that was left in midrun with three checkpoints, copies of its folder, and the run that was not left."""

    def __init__(self, folder, reference):
        self.origin, self.reference, self.count = folder, reference, 0

    def __repr__(self):
        return f"a run in {self.origin}"

    def copy(self):
        self.count += 1
        return shutil.copytree(self.origin, self.origin.with_name(f"copy{self.count}"))


def left(folder, key=KEY):
    done = 0

    def progress(steps):
        nonlocal done
        done += steps
        if done >= 82:
            raise Left

    with pytest.raises(Left):
        simulated(folder, key, progress)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    before, _run.CHUNK_SECONDS = _run.CHUNK_SECONDS, 0.0
    folder = tmp_path_factory.mktemp("runs") / "run"
    left(folder)
    yield Runs(folder, simulated())
    _run.CHUNK_SECONDS = before


def outcome(runs, folder):
    """'as before' where it went on from the last checkpoint, 'told' after a warning, 'refused' with an error that names
    the folder; anything but the right result fails."""
    told, last = [], json.loads((runs.origin / records(runs.origin)[-1].name).read_text())["body"]["step"]
    with warnings.catch_warnings(record=True) as warned, mutations.no_hang():
        warnings.simplefilter("always")
        try:
            result = simulated(folder, progress=told.append)
        except ValueError as error:
            assert str(folder) in str(error)
            return "refused"
        finally:
            _run.CHUNK_SECONDS = 0.0
    assert same(result, runs.reference), (told, [str(warning.message) for warning in warned])
    mine = [str(warning.message) for warning in warned if "checkpoint" in str(warning.message)]
    assert mine or told[0] == last
    return "told" if mine else "as before"


def few(cases, *quick):
    """As parameters; all but a few are for the long tests, because every one is a run that is taken up again."""
    of = lambda case: case if isinstance(case, tuple) else (case,)
    mark = lambda case: () if case in quick else pytest.mark.long
    return [pytest.param(*of(case), id=str(case)[:40], marks=mark(case)) for case in cases]


def records(folder):
    return sorted(path for path in folder.glob("*.json") if path.stem.isdigit())


def forged(path, change):
    """A record with another body, and the checksum that goes with it."""
    body = json.loads(path.read_text())["body"]
    body = change(body)
    sha = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"body": body, "sha256": sha}))


def test_the_run_goes_on_where_nothing_is_broken(runs):
    folder = runs.copy()
    assert len(records(folder)) == KEPT
    assert outcome(runs, folder) == "as before"


def test_a_checkpoint_of_other_numbers_gives_another_result(runs, tmp_path):
    """A negative control: the tests here would see a wrong result. It takes a whole checkpoint of another run under a
    configuration that is not its own, with all checksums right: nothing in it is false but where it comes from."""
    own = json.loads(records(runs.origin)[-1].read_text())["body"]["configuration"]
    other = tmp_path / "other"
    left(other, jax.random.key(6))
    for path in records(other):
        forged(path, lambda body: body | {"configuration": own})
    with pytest.raises(AssertionError):
        outcome(runs, other)


FORGED = [
    ("stage", -1), ("stage", 0), ("stage", 1), ("stage", 3), ("stage", 5), ("stage", 6), ("stage", 10**30),
    ("stage", True), ("stage", 2.0), ("stage", "2"), ("stage", None), ("stage", []),
    ("done", -1), ("done", 0), ("done", 1), ("done", 8), ("done", 2**31), ("done", 10**30), ("done", 4.0), ("done", {}),
    ("recording", False), ("recording", 1), ("recording", None),
    ("devices", 0), ("devices", -2), ("devices", 1), ("devices", 2), ("devices", 3), ("devices", 10**12),
    ("devices", 10**30), ("devices", True), ("devices", "2"), ("devices", [2]),
    ("arrays", []), ("arrays", None), ("arrays", [[[5, 3], "float32"]]), ("arrays", {}),
    ("format", 2), ("format", None), ("configuration", []), ("configuration", None),
    ("files", {}), ("files", []), ("files", None),
]  # fmt: skip


@pytest.mark.parametrize("name, value", few(FORGED, ("stage", 3), ("done", 8), ("devices", 10**12)))
def test_a_false_record_with_a_true_checksum_is_a_broken_one(runs, name, value):
    folder = runs.copy()
    forged(records(folder)[-1], lambda body: body | {name: value})
    assert outcome(runs, folder) == "told"


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in BODY if name != "step"])  # it is for whoever reads the record
def test_a_record_that_lacks_something_is_a_broken_one(runs, name):
    folder = runs.copy()
    forged(records(folder)[-1], lambda body: {key: value for key, value in body.items() if key != name})
    assert outcome(runs, folder) == "told"


@pytest.mark.long
@pytest.mark.parametrize("body", [None, [], 3, "body", [[]], {}], ids=repr)
def test_a_body_that_is_none_is_a_broken_one(runs, body):
    folder = runs.copy()
    forged(records(folder)[-1], lambda _: body)
    assert outcome(runs, folder) == "told"


@pytest.mark.long
@pytest.mark.parametrize("shape, dtype", [([6, 3], None), ([10**9, 10**9], None), ([-5, 3], None), (None, "float64"),
                                          (None, "no type"), (None, 3), ("5", None)])  # fmt: skip
def test_arrays_of_other_shapes_and_types_are_broken_ones(runs, shape, dtype):
    folder = runs.copy()
    change = lambda array: [array[0] if shape is None else shape, array[1] if dtype is None else dtype]
    forged(records(folder)[-1], lambda body: body | {"arrays": [change(body["arrays"][0]), *body["arrays"][1:]]})
    assert outcome(runs, folder) == "told"


def test_what_does_not_fit_the_run_is_told_however_it_fits_itself(runs):
    """Shapes laid out for so many devices that no memory holds them."""
    folder = runs.copy()
    devices = 10**10
    wide = lambda array: [[2 * devices if size == 5 else devices if size == 3 else size for size in array[0]], array[1]]
    forged(records(folder)[-1], lambda body: body | {"devices": devices, "arrays": [*map(wide, body["arrays"])]})
    assert outcome(runs, folder) == "told"


def rename(path, name):
    path.replace(path.with_name(name))


def swap(a, b):
    rename(a, "aside")
    rename(b, a.name)
    rename(a.with_name("aside"), b.name)


def instead(path, make):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make(path)


LAST, MIDDLE = -1, -2
CHANGED = {
    "arrays of two checkpoints swapped": lambda r, f: swap(f(r[LAST]), f(r[MIDDLE])),
    "records of two checkpoints swapped": lambda r, f: swap(r[LAST], r[MIDDLE]),
    "record under another number": lambda r, f: rename(r[LAST], "000777.json"),
    "record copied to another number": lambda r, f: shutil.copy(r[LAST], r[LAST].with_name("000777.json")),
    "deeply nested record": lambda r, f: r[LAST].write_text("[" * 200_000),
    "deeply nested body": lambda r, f: r[LAST].write_text('{"body": ' + "[" * 900 + "]" * 900 + ', "sha256": ""}'),
    "folder for record": lambda r, f: instead(r[LAST], lambda path: path.mkdir()),
    "file for folder": lambda r, f: instead(f(r[LAST]), lambda path: path.write_text("")),
    "pipe for record": lambda r, f: instead(r[LAST], os.mkfifo),
    "record links to itself": lambda r, f: instead(r[LAST], lambda path: path.symlink_to(path.name)),
    "folder links to itself": lambda r, f: instead(f(r[LAST]), lambda path: path.symlink_to(path.name)),
    "record links nowhere": lambda r, f: instead(r[LAST], lambda path: path.symlink_to("nowhere")),
    "link to its own folder inside": lambda r, f: (f(r[LAST]) / "loop").symlink_to("."),
    "file too many": lambda r, f: (f(r[LAST]) / "more").write_text("x"),
    "no records": lambda r, f: [path.unlink() for path in r],
    "no arrays": lambda r, f: [shutil.rmtree(f(path)) for path in r],
}
WHOLE = {  # where the last checkpoint is as it was, but for its number, or is not the last one any more
    "two checkpoints swapped": lambda r, f: (swap(r[LAST], r[MIDDLE]), swap(f(r[LAST]), f(r[MIDDLE]))),
    "names that are no numbers": lambda r, f: [r[0].with_name(name).write_text("{}") for name in
                                               ("²²²²²².json", "٣٣٣٣٣٣.json", "7.json", "9" * 200 + ".json", "x.json")],
    "folders that are no numbers": lambda r, f: [(r[0].parent / name).mkdir() for name in
                                                 ("²²²²²²", "9" * 200, ".partial-000008.json", "000099")],
    "links to elsewhere": lambda r, f: (r[0].parent / "000099").symlink_to("/"),
    "file where the next is to be": lambda r, f: (r[0].parent / f"{int(r[LAST].stem) + 1:06d}").write_text(""),
    "folder for the log": lambda r, f: instead(r[0].parent / "log.jsonl", lambda path: path.mkdir()),
    "no log": lambda r, f: (r[0].parent / "log.jsonl").unlink(),
}  # fmt: skip


@pytest.mark.parametrize("how", few(CHANGED, "arrays of two checkpoints swapped", "deeply nested record"))
def test_files_in_the_wrong_places(runs, how):
    folder = runs.copy()
    CHANGED[how](records(folder), lambda record: record.with_suffix(""))
    found = outcome(runs, folder) if how not in ("no records",) else begun_anew(runs, folder)
    assert found == ("as before" if how == "link to its own folder inside" else "told")


def begun_anew(runs, folder):
    told = []
    assert same(simulated(folder, progress=told.append), runs.reference)
    return "told" if told[0] <= 64 else f"begun at {told[0]}"


@pytest.mark.parametrize("how", few(WHOLE, "names that are no numbers"))
def test_what_is_beside_checkpoints_does_no_harm(runs, how):
    folder = runs.copy()
    WHOLE[how](records(folder), lambda record: record.with_suffix(""))
    if how == "two checkpoints swapped":  # both are whole: the one of the higher number is used, an older one
        assert same(simulated(folder), runs.reference)
    else:
        assert outcome(runs, folder) in ("as before", "told")


def test_a_folder_for_the_lock_is_refused(runs):
    folder = runs.copy()
    (folder / "lock").unlink()
    (folder / "lock").mkdir()
    assert outcome(runs, folder) == "refused"


def broken_record(runs, content):
    folder = runs.copy()
    path = records(folder)[-1]
    whole = path.read_bytes()
    path.write_bytes(content)
    found = outcome(runs, folder)
    assert (found == "as before") == (json_of(content) == json_of(whole))
    shutil.rmtree(folder)


def json_of(content):
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def contents(runs):
    return records(runs.origin)[-1].read_bytes()


@pytest.mark.long
@fuzzed
@given(st.data())
def test_broken_bytes_of_a_record(runs, data):
    broken_record(runs, data.draw(mutations.broken(contents(runs))))


@pytest.mark.long
@pytest.mark.parametrize("content", mutations.TEXTS, ids=lambda content: repr(content[:8]))
def test_texts_of_no_meaning(runs, content):
    broken_record(runs, content)


def broken_arrays(runs, data):
    folder = runs.copy()
    files = sorted(path for path in records(folder)[-1].with_suffix("").rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    content = data.draw(mutations.broken(whole) | st.none())
    path.unlink() if content is None else path.write_bytes(content)
    if data.draw(st.booleans()):  # the checksums are made to go with it: only what orbax itself checks is left
        forged(records(folder)[-1], lambda body: body | {"files": checksums(records(folder)[-1].with_suffix(""))})
    assert (outcome(runs, folder) == "as before") >= (content == whole)
    shutil.rmtree(folder)


def checksums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.long
@fuzzed
@given(st.data())
def test_broken_bytes_of_arrays(runs, data):
    broken_arrays(runs, data)


def any_value(runs, name, value):
    folder = runs.copy()
    forged(records(folder)[-1], lambda body: body | {name: value})
    outcome(runs, folder)  # 'refused' where it is another configuration, 'as before' where nothing depends on it
    shutil.rmtree(folder)


@pytest.mark.long
@fuzzed
@given(st.sampled_from(BODY), mutations.JSON)
@example("source", "another")
@example("versions", {})
@example("configuration", {"steps": "3"})
def test_any_value_in_a_record(runs, name, value):
    any_value(runs, name, value)
