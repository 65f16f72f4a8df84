"""Stored results and claims with broken files: a whole record, or an error that names the file."""

import json
import math
import subprocess
import sys
import typing

import mutations
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import example_experiment
from sgdynamics.experiments import Claim, Record, load, save

FILES = ("data.nc", "claims.json", "config.json")
CLAIM = example_experiment.claim(published=1.3, note="ein Vorzeichen").to_json()
fuzzed = settings(deadline=None, max_examples=80, derandomize=True, database=None)


class Stored(tuple):
    """A folder, and what its files hold when they are whole; an example that fails is printed without the latter."""

    def __repr__(self):
        return f"the result in {self[0]}"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "result"
    parts = "example/tiny", "tiny", {"steps": 3}, {"commit": None}
    save(folder, Record(*parts, example_experiment.data(), (example_experiment.claim(),)))
    return Stored((folder, {name: (folder / name).read_bytes() for name in FILES}))


def read(stored, **changed):
    """The record, where it is whole; None where an error names the folder."""
    folder, whole = stored
    for name in FILES:
        (folder / name).write_bytes(changed.get(name.partition(".")[0], whole[name]))
    with mutations.no_hang():
        try:
            record = load(folder)
        except (ValueError, OSError) as error:
            assert str(folder) in str(error)
            return None
    assert isinstance(record.experiment, str) and isinstance(record.figure, str)
    assert all(map(is_whole, record.claims))
    assert record.data.identical(example_experiment.data())
    return record


def is_whole(claim):
    hints = typing.get_type_hints(Claim)
    return all(type(value) in (typing.get_args(hints[name]) or (hints[name],)) or value in typing.get_args(hints[name])
               for name, value in vars(claim).items())  # fmt: skip


def test_the_whole_result_is_read(stored):
    assert read(stored).claims == (example_experiment.claim(),)


@fuzzed
@given(st.data())
def test_no_broken_data_reach_the_library_that_reads_them(stored, data):
    """HDF5 waits for ever for some broken files (see below): the digest tells before it opens one."""
    content = data.draw(mutations.broken(stored[1]["data.nc"]))
    assert (read(stored, data=content) is None) == (content != stored[1]["data.nc"])


@fuzzed
@given(st.data())
def test_broken_claims_are_refused(stored, data):
    content = data.draw(mutations.broken(stored[1]["claims.json"]))
    assert (read(stored, claims=content) is None) == (content != stored[1]["claims.json"])


@fuzzed
@given(st.data())
def test_a_broken_configuration_is_refused_or_whole(stored, data):
    read(stored, config=data.draw(mutations.broken(stored[1]["config.json"]) | mutations.JSON.map(as_bytes)))


@fuzzed
@given(st.sampled_from(["experiment", "figure", "parameters", "provenance", "sha256"]), mutations.JSON)
@example("sha256", {})
@example("sha256", None)
@example("experiment", [])
def test_any_value_of_a_part_of_the_configuration(stored, name, value):
    config = json.loads(stored[1]["config.json"])
    record = read(stored, config=as_bytes(config | {name: value}))
    assert record is None or name == "sha256" or repr(getattr(record, name)) == repr(value)


@fuzzed
@given(mutations.JSON)
def test_any_claims_of_a_result_without_digests(stored, value):
    config = json.loads(stored[1]["config.json"])
    del config["sha256"]
    assert read(stored, config=as_bytes(config), claims=as_bytes(value)) is None or value == []


def test_json_that_is_too_deep(stored):
    assert read(stored, config=b"[" * 50_000) is None


@pytest.mark.parametrize("content", mutations.TEXTS, ids=lambda content: repr(content[:8]))
def test_texts_of_no_meaning(stored, content):
    assert read(stored, config=content) is None


@pytest.mark.long
def test_broken_data_of_a_result_without_digests(stored):
    """In a process of its own: the size 2⁶⁴ − 16 of a string in the file's heap has HDF5 2.0 wait for ever.

    Found by fuzzing, and why results have digests; those of before them had none.
    """
    folder, whole = stored
    read(stored)
    (folder / "config.json").write_bytes(as_bytes({**json.loads(whole["config.json"]), "sha256": {}}))
    data, heap = whole["data.nc"], whole["data.nc"].index(b"GCOL")
    endless = data[: heap + 24] + (2**64 - 16).to_bytes(8, "little") + data[heap + 32 :]
    assert outcome(folder, data) == "read"
    assert outcome(folder, data[: len(data) // 2]) == outcome(folder, b"") == "refused"
    assert outcome(folder, endless) in ("hangs", "refused")
    assert read(stored, data=endless) is None


def outcome(folder, content) -> str:
    (folder / "data.nc").write_bytes(content)
    program = (
        "import sys, xarray\n"
        "from sgdynamics.experiments import load\n"
        "try:\n    load(sys.argv[1])\n    print('read')\n"
        "except ValueError as error:\n    print('refused' if sys.argv[1] in str(error) else error)"
    )
    try:
        ended = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "hangs"
    return ended.stdout.strip() or f"exit code {ended.returncode}"


@fuzzed
@given(st.sampled_from(sorted(CLAIM)), mutations.JSON)
def test_any_value_of_a_claims_field(name, value):
    with mutations.no_hang():
        try:
            claim = Claim.from_json(CLAIM | {name: value})
        except ValueError as error:
            assert name in str(error)
            return
    assert is_whole(claim)
    assert claim.to_json()[name] == value or isinstance(value, float | int)


@fuzzed
@given(st.dictionaries(st.sampled_from(sorted(CLAIM)) | st.text(max_size=5), mutations.JSON))
def test_any_fields_of_a_claim(entry):
    with mutations.no_hang():
        try:
            assert is_whole(Claim.from_json(entry))
        except ValueError as error:
            assert "a claim lacks the fields" in str(error) or "must be" in str(error)


@fuzzed
@given(st.floats(), st.floats(), st.none() | st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")))
def test_claims_come_back_from_json(measured, error, expected, note):
    """Numbers that are not finite as null, and null as nan where there must be a number."""
    claim = Claim("a/ß", "A (2026)", note, measured, error, expected, "undecided", note=note)
    again = Claim.from_json(json.loads(json.dumps(claim.to_json(), allow_nan=False)))
    for before, after in zip(vars(claim).values(), vars(again).values(), strict=True):
        finite = not isinstance(before, float) or math.isfinite(before)
        assert after == before if finite else after is None or math.isnan(after)


def as_bytes(value) -> bytes:
    return json.dumps(value).encode()
