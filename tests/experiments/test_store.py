"""A stored result is whole or absent, and comes back as it was."""

import json

import pytest
import xarray as xr

from example_experiment import claim, data
from sgdynamics.experiments import Record, load, save
from sgdynamics.experiments._store import check_destination


def record(**more) -> Record:
    fields = {
        "experiment": "example/tiny",
        "figure": "tiny",
        "parameters": {"steps": 3},
        "provenance": {"commit": None},
        "data": data(),
        "claims": (claim(),),
    }
    return Record(**(fields | more))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip(tmp_path):
    save(tmp_path / "a" / "result", record())
    stored = load(tmp_path / "a" / "result")
    xr.testing.assert_identical(stored.data, data())
    assert stored.claims == (claim(),)
    assert (stored.experiment, stored.figure, stored.parameters) == ("example/tiny", "tiny", {"steps": 3})


def test_data_opens_with_plain_xarray_and_says_where_it_comes_from(tmp_path):
    save(tmp_path / "result", record())
    with xr.open_dataset(tmp_path / "result" / "data.nc") as opened:
        assert opened.variance.attrs == {"units": "1", "long_name": "variance of the weight"}
        assert opened.attrs["experiment"] == "example/tiny"
        assert json.loads(opened.attrs["config"])["parameters"] == {"steps": 3}


def test_claims_are_a_list_with_the_contracts_fields(tmp_path):
    save(tmp_path / "result", record())
    (entry,) = json.loads((tmp_path / "result" / "claims.json").read_text())
    contract = {"id", "source", "statement", "measured", "standard_error", "expected", "verdict"}
    assert contract <= set(entry)


def fails(path):
    path.write_bytes(b"half a picture")
    raise RuntimeError("the picture failed")


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="picture"):
        save(tmp_path / "result", record(), fails)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_earlier_result(tmp_path):
    save(tmp_path / "result", record())
    before = contents(tmp_path / "result")
    with pytest.raises(RuntimeError, match="picture"):
        save(tmp_path / "result", record(parameters={"steps": 9}), fails)
    assert contents(tmp_path / "result") == before
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_nothing_stands_at_the_destination_before_the_end(tmp_path):
    def looks(path):
        assert not (tmp_path / "result").exists()
        path.write_bytes(b"")

    save(tmp_path / "result", record(), looks)
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_new_result_replaces_the_old_one(tmp_path):
    save(tmp_path / "result", record(), lambda path: path.write_bytes(b"picture"))
    save(tmp_path / "result", record(parameters={"steps": 9}))
    assert load(tmp_path / "result").parameters == {"steps": 9}
    assert sorted(contents(tmp_path / "result")) == ["claims.json", "config.json", "data.nc"]
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_folder_of_other_files_is_never_replaced(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="would be lost"):
        save(tmp_path, record())
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        save(tmp_path / "file", record())


@pytest.mark.parametrize("name", ["data.nc", "claims.json", "config.json"])
def test_a_missing_file_is_named(tmp_path, name):
    save(tmp_path / "result", record())
    (tmp_path / "result" / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load(tmp_path / "result")


@pytest.mark.parametrize("name", ["data.nc", "claims.json", "config.json"])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"[1]", lambda b: b"3"])
def test_a_damaged_file_is_an_error_that_says_so(tmp_path, name, damage):
    save(tmp_path / "result", record())
    path = tmp_path / "result" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="run the experiment again"):
        load(tmp_path / "result")


def test_a_flipped_byte_is_an_error_that_names_the_file(tmp_path):
    """netCDF would read another number, silently."""
    save(tmp_path / "result", record())
    path = tmp_path / "result" / "data.nc"
    whole = path.read_bytes()
    at = whole.index(data().variance.values.tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert xr.load_dataset(path).variance[0] != data().variance[0]
    with pytest.raises(ValueError, match=r"data\.nc is no stored result.*SHA-256.*run the experiment again"):
        load(tmp_path / "result")


def test_an_edited_claim_is_an_error_that_names_the_file(tmp_path):
    save(tmp_path / "result", record())
    path = tmp_path / "result" / "claims.json"
    path.write_text(path.read_text().replace("1.01", "1.02"))
    with pytest.raises(ValueError, match=r"claims\.json is no stored result.*SHA-256"):
        load(tmp_path / "result")


def edited(folder, **changes):
    """The configuration of a stored result, with some entries replaced, or left out where None."""
    path = folder / "config.json"
    entries = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in entries.items() if value is not None}))


def test_a_result_of_before_there_were_digests_is_read(tmp_path):
    save(tmp_path / "result", record())
    edited(tmp_path / "result", sha256=None)
    assert load(tmp_path / "result").claims == (claim(),)


@pytest.mark.parametrize("name", ["experiment", "figure", "parameters", "provenance", "sha256"])
@pytest.mark.parametrize("value", [3, [1], True])
def test_entries_of_the_wrong_type_are_named(tmp_path, name, value):
    save(tmp_path / "result", record())
    edited(tmp_path / "result", **{name: value})
    with pytest.raises(ValueError, match=rf"{name} = .*run the experiment again"):
        load(tmp_path / "result")


@pytest.mark.parametrize(("name", "value"), [("measured", "1.01"), ("z", [1]), ("id", 3), ("verdict", None)])
def test_claims_of_the_wrong_type_are_named(tmp_path, name, value):
    save(tmp_path / "result", record())
    edited(tmp_path / "result", sha256=None)
    path = tmp_path / "result" / "claims.json"
    path.write_text(json.dumps([json.loads(path.read_text())[0] | {name: value}]))
    with pytest.raises(ValueError, match=rf"{name} = .*run the experiment again"):
        load(tmp_path / "result")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"out = .*file/result cannot be made"):
        check_destination(tmp_path / "file" / "result")


def test_data_without_units_or_names_is_refused(tmp_path):
    bare = data()
    del bare.variance.attrs["units"]
    with pytest.raises(ValueError, match="variance lacks units"):
        save(tmp_path / "result", record(data=bare))
    unnamed = data().rename(time="dim_0")
    with pytest.raises(ValueError, match="dim_0"):
        save(tmp_path / "result", record(data=unnamed))


def test_claims_with_one_id_are_refused(tmp_path):
    with pytest.raises(ValueError, match="variance"):
        save(tmp_path / "result", record(claims=(claim(), claim())))
