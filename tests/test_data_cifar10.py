"""CIFAR-10's binary format, on small files of it that the tests write; the download, from a server of their own."""

import functools
import hashlib
import http.server
import io
import sys
import tarfile
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgdynamics as sgd
from sgdynamics.data import _cifar10, cifar10

COUNT = 4  # images in a file
LABELS = np.random.default_rng(0).integers(0, 10, (6, COUNT)).astype(np.uint8)
IMAGES = np.random.default_rng(1).integers(0, 256, (6, COUNT, 3, 32, 32)).astype(np.uint8)
IMAGES[:, :, 1, 5, 7] = 200  # one pixel never varies
CONSTANT = 1024 + 5 * 32 + 7
NAMES = [*_cifar10.FILES["train"], *_cifar10.FILES["test"]]


def content(k):
    """One file, byte by byte as the format is described: class, red, green, blue, each row by row."""
    file = io.BytesIO()
    for label, image in zip(LABELS[k], IMAGES[k], strict=True):
        file.write(bytes([label]))
        for colour in image:
            for row in colour:
                file.write(bytes(row.tolist()))
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    for k, name in enumerate(NAMES):
        (inner / name).write_bytes(content(k))
    return tmp_path


@pytest.fixture
def archive(folder, tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder / "cifar-10-batches-bin", "cifar-10-batches-bin")
    return path


def standardised(images, reference):
    flat, of = images.reshape(len(images), -1) / 1.0, reference.reshape(len(reference), -1) / 1.0
    varies = of.std(axis=0) > 0
    return ((flat - of.mean(axis=0)) / np.where(varies, of.std(axis=0), np.inf) / np.sqrt(varies.sum())), varies


def test_training_images_are_standardised_in_the_order_of_the_files(folder):
    data = cifar10(folder)
    images = IMAGES[:5].reshape(-1, 3, 32, 32)
    x, varies = standardised(images, images)
    assert not varies[CONSTANT] and varies.sum() == 3071
    assert data.x.dtype == jnp.float64 and np.allclose(data.x, x[:, varies], atol=1e-15)
    assert abs(float(jnp.sum(data.x**2)) / data.samples - 1) < 1e-12  # tr H
    y = np.eye(10)[LABELS[:5].ravel()]
    assert np.allclose(data.y, y - y.mean(axis=0), atol=1e-15)


def test_an_image_is_given_to_a_convolutional_network_as_it_is(folder):
    raw = cifar10(folder, pixels="raw").x.reshape(-1, 3, 32, 32)
    assert np.allclose(raw, IMAGES[:5].reshape(-1, 3, 32, 32) / 255, atol=1e-15)
    whole = cifar10(folder, pixels="all")
    assert whole.x.shape == (20, 3072) and not whole.x[:, CONSTANT].any()
    network = sgd.networks.ConvNet((1,), 10, image=(3, 32, 32), key=jax.random.key(0))
    assert jnp.isfinite(sgd.Problem(network, whole).loss(sgd.Problem(network, whole).parameters))


def test_the_test_images_are_prepared_as_the_training_images_were(folder):
    train, rest = IMAGES[:5].reshape(-1, 3, 32, 32), IMAGES[5]
    for count in (None, 6):
        data = cifar10(folder, split="test", samples=3, standardised_on=count)
        x, varies = standardised(rest[:3], train[:count])
        assert np.allclose(data.x, x[:, varies], atol=1e-14)
        y = np.eye(10)
        assert np.allclose(data.y, y[LABELS[5, :3]] - y[LABELS[:5].ravel()[:count]].mean(axis=0), atol=1e-15)
    assert jnp.array_equal(cifar10(folder, samples=6).x, cifar10(folder, samples=6, standardised_on=6).x)


def test_other_targets(folder):
    labels = cifar10(folder, target="label").y
    assert jnp.issubdtype(labels.dtype, jnp.integer) and np.array_equal(labels, LABELS[:5].ravel())
    animals = np.where(np.isin(LABELS[:5].ravel(), [0, 1, 8, 9]), -1.0, 1.0)
    assert np.allclose(cifar10(folder, target="animal").y, animals - animals.mean())


def test_folder_inner_folder_archive_and_one_file_give_the_same(folder, archive):
    expected = cifar10(folder)
    for path in (folder / "cifar-10-batches-bin", str(folder), archive):
        assert jnp.array_equal(cifar10(path).x, expected.x) and jnp.array_equal(cifar10(path).y, expected.y)
    alone = cifar10(folder / "cifar-10-batches-bin" / "data_batch_1.bin", pixels="raw")
    assert jnp.array_equal(alone.x, cifar10(folder, pixels="raw", samples=COUNT).x)


def test_no_more_than_was_asked_for_is_read(folder):
    for name in NAMES[2:]:
        (folder / "cifar-10-batches-bin" / name).unlink()
    assert cifar10(folder, samples=COUNT + 1).samples == COUNT + 1
    with pytest.raises(FileNotFoundError, match=r"data_batch_3.bin.*Get the binary version from https"):
        cifar10(folder)


def test_in_32_bits(folder):
    with jax.enable_x64(False):
        data = cifar10(folder)
    assert data.x.dtype == jnp.float32 and np.allclose(data.x, cifar10(folder).x, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples = 0"),
        ({"samples": 21}, "samples = 21, but there are 20 images"),
        ({"split": "test", "samples": 5}, "samples = 5, but there are 4 images"),
        ({"split": "test", "standardised_on": 21}, "standardised_on = 21, but there are 20 images"),
        ({"samples": 1}, "all pixels are constant"),
    ],
)
def test_arguments_that_do_not_fit_are_named(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        cifar10(folder, **arguments)


def test_words_are_named():
    with pytest.raises(ValueError, match=r"target = 'colour', but it must be one of 'class', 'label'"):
        _cifar10._one_of("target", "colour", ("class", "label"))


def test_broken_files_are_named(folder, archive):
    first = folder / "cifar-10-batches-bin" / "data_batch_1.bin"
    with pytest.raises(ValueError, match=r"path = None.*download=True"):
        cifar10()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        cifar10(folder / "nowhere")
    with pytest.raises(ValueError, match="one file, which has no split"):
        cifar10(first, split="test")
    for wrong in (content(0)[:-1], b""):
        first.write_bytes(wrong)
        with pytest.raises(ValueError, match=rf"data_batch_1.bin has {len(wrong)} bytes, but images of 3073"):
            cifar10(folder, samples=1)
    first.write_bytes(bytes([10]) + content(0)[1:])
    with pytest.raises(ValueError, match=r"data_batch_1\.bin has class 10"):
        cifar10(folder)
    whole = archive.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:5000] + b"\0" * 5000 + whole[10000:], b"no archive"):
        archive.write_bytes(broken)
        with pytest.raises((ValueError, FileNotFoundError), match=r"(whole archive|in it).*download=True"):
            cifar10(archive)


def test_an_archive_that_leads_elsewhere_is_not_followed(folder, tmp_path):
    hostile, secret = tmp_path / "hostile.tar.gz", folder / "cifar-10-batches-bin" / "data_batch_1.bin"
    before = sorted(tmp_path.rglob("*"))
    with tarfile.open(hostile, "w:gz") as tar:
        for name in NAMES[1:]:
            tar.add(folder / "cifar-10-batches-bin" / name, f"../cifar-10-batches-bin/{name}")
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    for split, name in (("train", "data_batch_1"), ("test", "test_batch")):
        with pytest.raises(FileNotFoundError, match=f"has no cifar-10-batches-bin/{name}.bin in it"):
            cifar10(hostile, split=split, samples=1, pixels="raw", standardised_on=1)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, hostile])


# --- download -----------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(archive, monkeypatch):
    """The archive's address on this machine, and its hash, in place of the official ones."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = functools.partial(Quiet, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(_cifar10, "URL", f"http://127.0.0.1:{running.server_port}/{archive.name}")
        monkeypatch.setattr(_cifar10, "HASH", f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}")
        yield running
        running.shutdown()


def test_a_download_is_kept_and_not_repeated(folder, server, tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    kept = tmp_path / "kept"
    data = cifar10(kept, download=True)
    assert jnp.array_equal(data.x, cifar10(folder).x)
    assert [file.name for file in kept.iterdir()] == ["cifar-10-binary.tar.gz"]
    monkeypatch.setattr(_cifar10, "URL", "http://127.0.0.1:9/not-there.tar.gz")
    assert jnp.array_equal(cifar10(kept, download=True).x, data.x)
    with pytest.raises(OSError, match=r"could not be fetched.*give its `path`"):
        cifar10(tmp_path / "other", download=True)


def test_a_download_with_another_hash_is_refused(server, tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setattr(_cifar10, "HASH", "sha256:" + "0" * 64)
    with pytest.raises(ValueError, match="hash"):
        cifar10(tmp_path / "kept", download=True)
    assert not list((tmp_path / "kept").glob("*"))


def test_without_pooch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"sgdynamics\[download\]"):
        cifar10(download=True)
