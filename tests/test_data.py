"""Loading good data: the embedded MNIST, npz files, folders of IDX files.

The IDX files here are written by `struct`, on their own; nothing of the
package writes any.
"""

import gzip
import hashlib
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from mnistpipe import data
from mnistpipe.data import sources

NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def make_arrays(shape=(5, 7), classes=4, train=24, test=9):
    generator = np.random.default_rng(7)

    def pixels(count):
        return generator.integers(0, 256, (count, *shape), np.uint8)

    return {
        "x_train": pixels(train),
        "y_train": (np.arange(train) % classes).astype(np.uint8),
        "x_test": pixels(test),
        "y_test": (np.arange(test) % classes).astype(np.uint8),
    }


def write_idx(folder, arrays, *, packed=(), dotted=False):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        lengths = b"".join(struct.pack(">I", n) for n in array.shape)
        content = bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()
        file = NAMES[name]
        if dotted:
            file = file.replace("-idx", ".idx")
        if name in packed:
            file, content = file + ".gz", gzip.compress(content)
        (folder / file).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def mnist():
    return data.load()


class TestEmbedded:
    def test_is_mnist(self, mnist):
        assert mnist.name == "mnist"
        assert mnist.classes == 10
        assert mnist.train.images.shape == (60_000, 28, 28, 1)
        assert mnist.test.images.shape == (10_000, 28, 28, 1)
        assert len(mnist.train) == 60_000
        # The beginnings of the published files.
        assert mnist.train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
        assert mnist.test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
        counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert np.bincount(mnist.train.labels).tolist() == counts

    def test_statistics_of_the_literature(self, mnist):
        pixels = mnist.train.images / 255
        assert round(float(pixels.mean()), 4) == 0.1307
        assert round(float(pixels.std()), 4) == 0.3081

    def test_types(self, mnist):
        for part in (mnist.train, mnist.test):
            assert part.images.dtype == np.uint8
            assert part.labels.dtype == np.int64
            assert part.images.flags.c_contiguous
            assert not part.images.flags.writeable
            assert not part.labels.flags.writeable

    def test_hashes(self, mnist):
        arrays = {
            "x_train": mnist.train.images,
            "y_train": mnist.train.labels.astype(np.uint8),
            "x_test": mnist.test.images,
            "y_test": mnist.test.labels.astype(np.uint8),
        }
        for name, array in arrays.items():
            came = hashlib.sha256(array.tobytes()).hexdigest()
            assert came == sources.MNIST_SHA256[name]
        beginnings = ["741c9888", "1feba77c", "6d87418d", "ddeff807"]
        assert [h[:8] for h in sources.MNIST_SHA256.values()] == beginnings

    @pytest.mark.parametrize("name", NAMES)
    def test_another_hash_is_refused(self, monkeypatch, name):
        monkeypatch.setitem(sources.MNIST_SHA256, name, "0" * 64)
        with pytest.raises(data.DataError) as caught:
            data.load()
        text = str(caught.value)
        assert f"mnist.npz, {name}: expected" in text
        assert "0" * 64 in text and "installation" in text

    def test_licence_lists_the_hashes(self):
        text = (
            sources.resources.files("mnistpipe.data")
            .joinpath("MNIST-LICENSE.md")
            .read_text(encoding="utf-8")
        )
        for wanted in ("Yann LeCun", "Corinna Cortes", "CC BY-SA 3.0"):
            assert wanted in text
        for name, digest in sources.MNIST_SHA256.items():
            assert f"`{name}`" in text and digest in text

    def test_fingerprint_is_fixed(self, mnist):
        # Run folders store it: a change here breaks the resuming of old runs.
        assert mnist.fingerprint == (
            "0ca25098011d851a9c1e34617f769a224ad1d0376acfbdabfc4476287a2eaa85"
        )


class TestIdx:
    @pytest.mark.parametrize("dotted", [False, True])
    @pytest.mark.parametrize("packed", [(), tuple(NAMES), ("x_train",)])
    def test_names_and_packing(self, tmp_path, packed, dotted):
        arrays = make_arrays()
        folder = write_idx(
            tmp_path / "set", arrays, packed=packed, dotted=dotted
        )
        digits = data.load(folder)
        assert (digits.name, digits.classes) == ("set", 4)
        assert digits.train.images.shape == (24, 5, 7, 1)
        assert np.array_equal(digits.train.images[..., 0], arrays["x_train"])
        assert np.array_equal(digits.test.images[..., 0], arrays["x_test"])
        assert np.array_equal(digits.train.labels, arrays["y_train"])
        assert np.array_equal(digits.test.labels, arrays["y_test"])

    def test_gzip_is_told_by_content(self, tmp_path):
        folder = write_idx(tmp_path / "set", make_arrays())
        expected = data.load(folder).fingerprint
        images = folder / NAMES["x_train"]
        images.write_bytes(gzip.compress(images.read_bytes()))
        labels = folder / NAMES["y_train"]
        labels.rename(folder / (NAMES["y_train"] + ".gz"))
        assert data.load(folder).fingerprint == expected

    def test_plain_comes_before_gzipped(self, tmp_path):
        folder = write_idx(tmp_path / "set", make_arrays())
        expected = data.load(folder).fingerprint
        (folder / (NAMES["x_train"] + ".gz")).write_bytes(b"not looked at")
        assert data.load(folder).fingerprint == expected

    def test_gzip_in_several_members(self, tmp_path):
        folder = write_idx(tmp_path / "set", make_arrays())
        expected = data.load(folder).fingerprint
        images = folder / NAMES["x_train"]
        content = images.read_bytes()
        images.write_bytes(
            gzip.compress(content[:100]) + gzip.compress(content[100:])
        )
        assert data.load(folder).fingerprint == expected

    def test_like_fashion_mnist(self, tmp_path):
        """The files of Debian's dataset-fashion-mnist: gzipped, these names."""
        arrays = make_arrays((28, 28), 10, 600, 100)
        folder = tmp_path / "fashion-mnist"
        write_idx(folder, arrays, packed=tuple(NAMES))
        assert sorted(os.listdir(folder)) == [
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte.gz",
        ]
        digits = data.load(str(folder) + os.sep)
        assert (digits.name, digits.classes) == ("fashion-mnist", 10)
        assert digits.train.images.shape == (600, 28, 28, 1)

    def test_links_within_the_folder_and_to_it(self, tmp_path):
        folder = write_idx(tmp_path / "set", make_arrays())
        (folder / NAMES["x_test"]).rename(folder / "elsewhere")
        (folder / NAMES["x_test"]).symlink_to("elsewhere")
        (tmp_path / "link").symlink_to(folder)
        assert data.load(tmp_path / "link").name == "link"

    def test_name_of_the_current_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(write_idx(tmp_path / "set", make_arrays()))
        assert data.load(".").name == "set"


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_is_the_same_data_as_idx(self, tmp_path, save):
        arrays = make_arrays()
        save(tmp_path / "mine.npz", **arrays)
        digits = data.load(tmp_path / "mine.npz")
        folder = write_idx(tmp_path / "set", arrays)
        assert digits.name == "mine"
        assert digits.fingerprint == data.load(folder).fingerprint

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_channels(self, tmp_path, channels):
        arrays = make_arrays((6, 4, channels))
        np.savez(tmp_path / "a.npz", **arrays)
        digits = data.load(tmp_path / "a.npz")
        assert digits.train.images.shape == (24, 6, 4, channels)
        assert np.array_equal(digits.train.images, arrays["x_train"])

    @pytest.mark.parametrize(
        "dtype", ["int64", ">i2", "uint16", "float16", "float32", ">f8"]
    )
    def test_other_types_of_whole_numbers(self, tmp_path, dtype):
        arrays = make_arrays()
        np.savez(tmp_path / "a.npz", **arrays)
        arrays["x_train"] = arrays["x_train"].astype(dtype)
        np.savez(tmp_path / "b.npz", **arrays)
        a, b = data.load(tmp_path / "a.npz"), data.load(tmp_path / "b.npz")
        assert a.fingerprint == b.fingerprint

    @pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", ">i4"])
    def test_types_of_labels(self, tmp_path, dtype):
        arrays = make_arrays()
        arrays["y_train"] = arrays["y_train"].astype(dtype)
        np.savez(tmp_path / "a.npz", **arrays)
        labels = data.load(tmp_path / "a.npz").train.labels
        assert labels.dtype == np.int64
        assert np.array_equal(labels, np.arange(24) % 4)

    def test_fortran_order(self, tmp_path):
        arrays = make_arrays((6, 4, 3))
        expected = arrays["x_train"]
        arrays["x_train"] = np.asfortranarray(expected)
        np.savez(tmp_path / "a.npz", **arrays)
        images = data.load(tmp_path / "a.npz").train.images
        assert np.array_equal(images, expected)
        assert images.flags.c_contiguous

    def test_other_members_are_left_alone(self, tmp_path):
        arrays = make_arrays()
        np.savez(tmp_path / "a.npz", notes=np.array([{}]), **arrays)
        assert data.load(tmp_path / "a.npz").classes == 4

    def test_fingerprint_sees_every_array(self, tmp_path):
        prints = set()
        for changed in (None, *NAMES):
            arrays = make_arrays()
            if changed:
                arrays[changed] = arrays[changed][::-1]
            np.savez(tmp_path / "a.npz", **arrays)
            prints.add(data.load(tmp_path / "a.npz").fingerprint)
        assert len(prints) == 5


def test_imports_neither_tensorflow_nor_scikit_learn():
    code = (
        "import sys; from mnistpipe import data; data.load();"
        "print([m for m in ('tensorflow', 'keras', 'sklearn')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
