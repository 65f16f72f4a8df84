"""CIFAR-10's files, kept networks, words: what is broken is refused by name, and nothing hangs."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile

import mutations
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sgdynamics.data import _cifar10, cifar10, digits
from sgdynamics.experiments import _pretrained_cache

NAMES = [*_cifar10.FILES["train"], *_cifar10.FILES["test"]]
IMAGE = bytes([3]) + np.random.default_rng(0).bytes(_cifar10.PIXELS)
PACKED = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}
fuzzed = settings(deadline=None, max_examples=60, derandomize=True, database=None)


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in NAMES:
            member = tarfile.TarInfo(f"{_cifar10.FOLDER}/{name}")
            member.size = len(IMAGE)
            tar.addfile(member, io.BytesIO(IMAGE))
    return file.getvalue()


ARCHIVE = archive()


def read(path, **options):
    """The data set, checked; None where an error names the path or the file in it."""
    with mutations.no_hang():
        try:
            data = cifar10(path, pixels="raw", standardised_on=1, **options)
        except (ValueError, OSError) as error:
            assert str(path) in str(error) or any(name in str(error) for name in NAMES)
            return None
    assert data.x.shape == (data.samples, _cifar10.PIXELS) and data.y.shape == (data.samples, 10)
    assert float(data.x.min()) >= 0 and float(data.x.max()) <= 1
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cifar")


@pytest.mark.parametrize("suffix", PACKED)
@fuzzed
@given(content=st.data(), split=st.sampled_from(["train", "test"]))
def test_a_broken_archive_is_refused(folder, suffix, content, split):
    path = folder / f"broken{suffix}"
    path.write_bytes(content.draw(mutations.broken(PACKED[suffix](ARCHIVE))))
    read(path, split=split)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_an_archive_that_is_broken_anywhere(folder, suffix):
    """Found by fuzzing: where the header is whole, each compression has errors of its own."""
    path, whole = folder / f"middle{suffix}", PACKED[suffix](ARCHIVE)
    for at in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) * 3 + whole[at + 3 :])
        read(path)


@fuzzed
@given(mutations.broken(ARCHIVE))
def test_a_broken_archive_in_a_whole_wrapping(folder, content):
    path = folder / "inside.tar.gz"
    path.write_bytes(gzip.compress(content, 1))
    read(path)


@fuzzed
@given(st.integers(0, 499), st.binary(min_size=1, max_size=12))
@example(124, b"\x80" + (3073 * 10**15).to_bytes(11, "big"))
@example(124, b"\x80" + (3073 * 10**20).to_bytes(11, "big"))
@example(156, b"S")
@example(156, b"2")
def test_any_header_of_a_member(folder, at, change):
    """With its check sum put right, so that it is taken for what it says."""
    path = folder / "header.tar"
    path.write_bytes(with_header(at, change))
    read(path)


def with_header(at, change) -> bytes:
    header = bytearray(ARCHIVE[:512])
    header[at : at + len(change)] = change
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header[:512]) + ARCHIVE[512:]


def test_a_member_larger_than_any_memory_is_not_read(folder):
    """A sparse one: half a kilobyte in the archive, 3 TB when it is read."""
    path = folder / "sparse.tar"
    piece, size = b"%011o\0%011o\0" % (0, 512), (3073 * 10**9).to_bytes(11, "big")
    path.write_bytes(with_header(156, b"S" + bytes(229) + piece + bytes(73) + b"\x80" + size))
    with tarfile.open(path) as tar:
        assert tar.next().size == 3073 * 10**9
    assert read(path) is None


@fuzzed
@given(mutations.broken(IMAGE * 2))
def test_a_broken_file_is_refused_or_holds_whole_images(folder, content):
    path = folder / "data_batch_1.bin"
    path.write_bytes(content)
    data = read(path)
    whole = len(content) > 0 and len(content) % 3073 == 0 and max(content[::3073]) < 10
    assert (data is not None) == whole
    if whole:
        assert np.array_equal(
            np.asarray(data.x * 255).round(), np.frombuffer(content, np.uint8).reshape(-1, 3073)[:, 1:]
        )


def test_a_pickle_is_never_opened(folder):
    """The other version of CIFAR-10 is pickled, and a pickle runs what it likes."""
    ran = []

    class Hostile:
        def __reduce__(self):
            return ran.append, (1,)

    for name in ("data_batch_1.bin", "data_batch_1", "cifar-10-python.tar.gz"):
        (folder / name).write_bytes(pickle.dumps([1, Hostile.__name__] * 1_000))
        assert read(folder / name) is None
    network = folder / "pickled.npz"
    np.savez(network, parameters=np.array([{"a": 1}], object), recipe="r", seconds=1.0, digest="d", provenance="{}")
    assert _pretrained_cache.load(network, "r") is None
    assert not ran


@settings(fuzzed, max_examples=150)
@given(st.data())
def test_a_broken_network_is_none_or_the_one_that_was_kept(folder, data):
    path, values = folder / "network.npz", np.arange(20.0)
    _pretrained_cache.store(path, "recipe", values, 1.5, {"commit": None})
    plain = io.BytesIO()
    np.save(plain, values)
    path.write_bytes(data.draw(mutations.broken(path.read_bytes()) | mutations.broken(plain.getvalue())))
    with mutations.no_hang():
        kept = _pretrained_cache.load(path, "recipe")
    assert kept is None or np.array_equal(kept[0], values)


def test_an_array_or_strange_entries_in_place_of_a_network(folder):
    """Found by fuzzing: a bare array is no archive, a list no number, an entry of other bytes no array."""
    path, values = folder / "strange.npz", np.arange(20.0)
    with path.open("wb") as file:
        np.save(file, values)
    assert _pretrained_cache.load(path, "recipe") is None
    whole = {"parameters": values, "recipe": "recipe", "seconds": 1.0, "digest": "", "provenance": json.dumps({})}
    whole["digest"] = _pretrained_cache.digest(values.tobytes() + b"recipe")
    np.savez(path, **whole)
    assert _pretrained_cache.load(path, "recipe") is not None
    for name, wrong in [("seconds", [1.0, 2.0]), ("provenance", "[" * 100_000), ("parameters", values.astype(int))]:
        np.savez(path, **whole | {name: wrong})
        assert _pretrained_cache.load(path, "recipe") is None


@fuzzed
@given(st.text(max_size=8))
def test_words_that_are_none_of_the_allowed(folder, word):
    for function, argument, allowed in [
        (lambda value: _cifar10._one_of("target", value, ("class", "label", "animal")), "target", "label"),
        (lambda value: _cifar10._one_of("pixels", value, ("varying", "all", "raw")), "pixels", "raw"),
    ]:
        with pytest.raises(ValueError, match=argument) as refusal:
            function(word)
        assert repr(word) in str(refusal.value) and allowed in str(refusal.value)


def test_paths_that_no_file_has(folder):
    for path in ("\x00", "a" * 5_000, "", str(folder / "nowhere"), "/dev/null"):
        with pytest.raises((ValueError, OSError)), mutations.no_hang():
            cifar10(path, samples=1)
    assert digits("value").samples == 1_797
