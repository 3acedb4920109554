"""Bad and hostile data: one line that names the file, and nothing else.

Each case damages a valid set in one way and gives the words that its message
must hold.
"""

import gzip
import io
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from mnistpipe import data
from mnistpipe.data import examples, npz

ROOT = Path(__file__).parents[1]
IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


def idx(*shape, magic=None, values=None):
    header = struct.pack(">I", 0x800 + len(shape) if magic is None else magic)
    header += b"".join(struct.pack(">I", n) for n in shape)
    return header + (bytes(int(np.prod(shape))) if values is None else values)


def labels_of(count, classes=3):
    return bytes(i % classes for i in range(count))


GOOD_IDX = {
    IMAGES: idx(12, 4, 5),
    LABELS: idx(12, values=labels_of(12)),
    TEST_IMAGES: idx(6, 4, 5),
    TEST_LABELS: idx(6, values=labels_of(6)),
}


def refusal(path, *, names=None):
    """The message of loading; it is one line and begins with the file."""
    with pytest.raises(data.DataError) as caught:
        data.load(path)
    text = str(caught.value)
    assert text.startswith(str(names or path))
    assert text.isprintable()
    assert len(text) < 800 + len(str(path))
    assert "expected" in text and "; got " in text
    return text


def folder_with(tmp_path, **changes):
    """Writes the good set with files replaced (bytes) or left out (None)."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name, content in (GOOD_IDX | changes).items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def packed(content):
    return gzip.compress(content, mtime=0)


def flipped(content, place):
    place %= len(content)
    return (
        content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
    )


HUGE = 2**32 - 1
BIG_ZEROS = 64 << 20

BAD_IDX = {
    "empty file": (IMAGES, b"", "only 0 bytes"),
    "three bytes": (IMAGES, b"\0\0\x08", "only 3 bytes"),
    "header cut": (IMAGES, idx(12, 4, 5)[:15], "only 15 bytes"),
    "labels as images": (IMAGES, GOOD_IDX[LABELS], "got magic 0x00000801"),
    "images as labels": (LABELS, GOOD_IDX[IMAGES], "got magic 0x00000803"),
    "float magic": (IMAGES, idx(12, 4, 5, magic=0xD03), "0x00000d03"),
    "little-endian": (IMAGES, idx(12, 4, 5, magic=0x3080000), "0x03080000"),
    "text": (IMAGES, b"<html>404</html>", "magic 0x3c68746d"),
    "one byte short": (IMAGES, idx(12, 4, 5)[:-1], "256 bytes", "255 bytes"),
    "one byte more": (IMAGES, idx(12, 4, 5) + b"\0", "256 bytes", "257"),
    "labels cut": (LABELS, GOOD_IDX[LABELS][:-3], "20 bytes", "17 bytes"),
    "count too high": (TEST_IMAGES, idx(7, 4, 5)[:-20], "156 bytes", "136"),
    "no images": (IMAGES, idx(0, 4, 5), "non-empty", "(0, 4, 5)"),
    "no height": (IMAGES, idx(12, 0, 5), "non-empty", "(12, 0, 5)"),
    "no labels": (LABELS, idx(0), "non-empty", "(0,)"),
    "huge count": (IMAGES, idx(HUGE, 4, 5, values=b""), "at most", f"{HUGE}"),
    "huge sides": (IMAGES, idx(12, HUGE, HUGE, values=b""), "at most 4096"),
    "huge labels": (LABELS, idx(HUGE, values=b""), f"at most {2**30} bytes"),
    "fewer labels": (LABELS, idx(11, values=labels_of(11)), "12 labels", "11"),
    "more labels": (TEST_LABELS, idx(7, values=labels_of(7)), "6 labels", "7"),
    "other test shape": (TEST_IMAGES, idx(6, 5, 4), "(4, 5, 1)", "(5, 4, 1)"),
    "label too high": (LABELS, idx(12, values=labels_of(11) + b"\xc8"), "200"),
    "class missing": (
        LABELS,
        idx(12, values=bytes([0, 1, 3] * 4)),
        "none of class 2",
    ),
    "labels from 1": (
        LABELS,
        idx(12, values=bytes([1, 2, 3] * 4)),
        "none of class 0",
    ),
    "one class": (LABELS, idx(12), "two classes"),
    "unknown test label": (
        TEST_LABELS,
        idx(6, values=bytes([0, 1, 2, 3, 0, 1])),
        "0 to 2; got label 3",
    ),
    "gzip cut": (IMAGES, packed(idx(12, 4, 5))[:-9], "undamaged"),
    "gzip header only": (IMAGES, packed(b"x")[:10], "undamaged"),
    "gzip magic only": (IMAGES, b"\x1f\x8b", "undamaged"),
    "gzip checksum": (IMAGES, flipped(packed(idx(12, 4, 5)), -6), "CRC"),
    "gzip body": (IMAGES, flipped(packed(bytes(999)), 12), "undamaged"),
    "gzip trailing": (IMAGES, packed(idx(12, 4, 5)) + b"more", "undamaged"),
    "gzip twice": (IMAGES, packed(packed(idx(12, 4, 5))), "magic 0x1f8b"),
    "gzip short inside": (
        IMAGES,
        packed(idx(12, 4, 5)[:-1]),
        "240 bytes",
        "239",
    ),
    "gzip long inside": (IMAGES, packed(idx(12, 4, 5) + b"\0"), "more than"),
    "gzip bomb": (IMAGES, packed(idx(12, 4, 5) + bytes(BIG_ZEROS)), "more"),
    "gzip huge": (LABELS, packed(idx(HUGE, values=b"")), "at most"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx(tmp_path, case):
    name, content, *words = BAD_IDX[case]
    folder = folder_with(tmp_path, **{name: content})
    text = refusal(folder, names=folder / name)
    for word in words:
        assert word in text


@pytest.mark.parametrize("name", GOOD_IDX)
def test_missing_idx_file(tmp_path, name):
    folder = folder_with(tmp_path, **{name: None})
    text = refusal(folder)
    assert name in text.split("; got ")[0]
    assert f"{name}.gz" in text
    for there in set(GOOD_IDX) - {name}:
        assert there in text.split("; got ")[1]


def test_empty_folder_and_crowded_folder(tmp_path):
    assert refusal(tmp_path).endswith("got nothing")
    for i in range(100):
        (tmp_path / f"{i:03}{'x' * 200}").touch()
    assert refusal(tmp_path).endswith("and 92 more")


class TestPaths:
    def test_missing(self, tmp_path):
        text = refusal(tmp_path / "nope.npz")
        assert "No such file" in text

    @pytest.mark.parametrize("name", ["a.csv", "a", "a.npy", "a.npz.gz"])
    def test_other_types(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"1,2,3")
        text = refusal(tmp_path / name)
        assert "an .npz file, a folder of IDX files or a folder of" in text

    def test_empty_path(self):
        with pytest.raises(data.DataError, match="expected a path"):
            data.load("")

    @pytest.mark.parametrize("path", ["a\0b.npz", "x" * 5000, "a\nb\x1b[2J"])
    def test_impossible_paths(self, path):
        with pytest.raises(data.DataError) as caught:
            data.load(path)
        assert str(caught.value).isprintable()

    def test_folder_as_npz(self, tmp_path):
        (tmp_path / "a.npz").mkdir()
        assert "train-images" in refusal(tmp_path / "a.npz")

    def test_folder_in_place_of_a_file(self, tmp_path):
        folder = folder_with(tmp_path, **{IMAGES: None})
        (folder / IMAGES).mkdir()
        text = refusal(folder, names=folder / IMAGES)
        assert text.endswith("expected a regular file; got a folder")

    def test_named_pipes_do_not_hang(self, tmp_path):
        os.mkfifo(tmp_path / "a.npz")
        assert "special file" in refusal(tmp_path / "a.npz")
        folder = folder_with(tmp_path, **{LABELS: None})
        os.mkfifo(folder / LABELS)
        assert "special file" in refusal(folder, names=folder / LABELS)

    def test_link_out_of_the_folder(self, tmp_path):
        folder = folder_with(tmp_path, **{LABELS: None})
        secret = tmp_path / "secret"
        secret.write_bytes(GOOD_IDX[LABELS])
        (folder / LABELS).symlink_to(secret)
        text = refusal(folder, names=folder / LABELS)
        assert f"a file inside {folder}" in text and str(secret) in text

    def test_link_out_to_a_sibling_of_a_like_name(self, tmp_path):
        folder = folder_with(tmp_path, **{LABELS: None})
        (tmp_path / "set-2").mkdir()
        (tmp_path / "set-2" / LABELS).write_bytes(GOOD_IDX[LABELS])
        (folder / LABELS).symlink_to(f"../set-2/{LABELS}")
        assert "a link to" in refusal(folder, names=folder / LABELS)

    @pytest.mark.parametrize("target", ["nowhere", LABELS])
    def test_link_to_nowhere_or_to_itself(self, tmp_path, target):
        folder = folder_with(tmp_path, **{LABELS: None})
        (folder / LABELS).symlink_to(target)
        refusal(folder, names=folder / LABELS)

    @pytest.mark.parametrize("what", ["file", "folder", "npz"])
    def test_unreadable(self, what):
        # Not in tmp_path, which only its owner may enter: root reads
        # everything, so as root this is somebody else's look.
        with tempfile.TemporaryDirectory() as above:
            Path(above).chmod(0o755)
            folder = folder_with(Path(above))
            npz_file = folder / "a.npz"
            npz_file.write_bytes(npz_bytes())
            closed, asked = {
                "file": (folder / LABELS, folder),
                "folder": (folder, folder),
                "npz": (npz_file, npz_file),
            }[what]
            closed.chmod(0)
            with somebody_else():
                text = refusal(asked, names=folder)
            closed.chmod(0o700)
        assert "Permission denied" in text


@contextmanager
def somebody_else():
    """Takes root's rights away for a while; does nothing for others."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def good_arrays():
    return {
        "x_train": np.arange(240, dtype=np.uint8).reshape(12, 4, 5),
        "y_train": np.arange(12) % 3,
        "x_test": np.arange(120, dtype=np.uint8).reshape(6, 4, 5),
        "y_test": np.arange(6) % 3,
    }


def npz_bytes(save=np.savez, **changes):
    buffer = io.BytesIO()
    arrays = good_arrays() | changes
    save(buffer, **{k: v for k, v in arrays.items() if v is not None})
    return buffer.getvalue()


def with_values(array, *values, dtype=np.float32):
    array = array.astype(dtype)
    array.flat[: len(values)] = values
    return array


X = good_arrays()["x_train"]
Y = good_arrays()["y_train"]
BAD_ARRAYS = {
    "objects": ("x_train", np.array([{}] * 12, object), "dtype object"),
    "object labels": ("y_train", Y.astype(object), "dtype object"),
    "text labels": ("y_train", Y.astype(str), "integer labels", "dtype"),
    "float labels": ("y_train", Y.astype(float), "integer labels", "float64"),
    "complex": ("x_train", X.astype(complex), "uint8 pixels", "complex"),
    "bool": ("x_train", X > 3, "uint8 pixels", "dtype bool"),
    "dates": ("x_train", X.astype("M8[s]"), "uint8 pixels", "datetime64"),
    "records": ("x_train", np.zeros((12, 4, 5), "u1,u1"), "uint8 pixels"),
    "NaN": ("x_train", with_values(X, np.nan, np.nan), "infinity in 2 places"),
    "infinity": ("x_test", with_values(X[:6], -np.inf), "infinity in 1 places"),
    "fractions": ("x_train", with_values(X, 0.5), "whole numbers"),
    "in [0, 1]": ("x_train", (X / 255).astype("f4"), "whole", "rint(255"),
    "only 0.0 and 1.0": (
        "x_train",
        (X > 9) * 1.0,
        "0.0 to 1.0",
        "np.rint(255 * x)",
    ),
    "negative": ("x_train", with_values(X, -1, dtype=int), "values from -1"),
    "256": ("x_train", with_values(X, 256, dtype=int), "to 256"),
    "flat": ("x_train", X.reshape(12, 20), "[N, H, W]", "(12, 20)"),
    "five axes": ("x_train", X[..., None, None], "(12, 4, 5, 1, 1)"),
    "no axis": ("x_train", np.uint8(3), "got shape ()"),
    "many axes": ("x_train", X.reshape(12, 20, *[1] * 30), "32 dimensions"),
    "channels first": (
        "x_train",
        np.zeros((12, 3, 28, 28), np.uint8),
        "channels, last",
    ),
    "no channels": ("x_train", X[..., None][..., :0], "(12, 4, 5, 0)"),
    "empty": ("x_test", X[:0], "non-empty", "(0, 4, 5)"),
    "cube": ("y_train", Y[:, None, None], "[N]", "(12, 1, 1)"),
    "1001 columns": ("y_train", np.eye(1001)[Y], "one-hot", "(12, 1001)"),
    "negative label": ("y_train", with_values(Y, -1, dtype=int), "from -1"),
    "label 1000": ("y_train", with_values(Y, 1000, dtype=int), "to 1000"),
    "label 2**64-1": (
        "y_train",
        with_values(Y, 2**64 - 1, dtype=np.uint64),
        f"to {2**64 - 1}",
    ),
    "label too high for int64": (
        "y_test",
        np.array([2**63] * 6, np.uint64),
        f"to {2**63}",
    ),
    "class missing": ("y_train", Y * 2, "none of class 1", "2 missing"),
    "one class": ("y_train", Y * 0, "two classes"),
    "unknown test label": ("y_test", np.full(6, 3), "0 to 2; got label 3"),
    "fewer labels": ("y_train", Y[:-1], "12 labels", "got 11"),
    "other test shape": ("x_test", X[:6, :3], "(4, 5, 1)", "(3, 5, 1)"),
    "colour test": ("x_test", X[:6, ..., None].repeat(3, 3), "(4, 5, 3)"),
    "too wide": ("x_train", np.zeros((1, 1, 4097), np.uint8), "at most 4096"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(tmp_path, case, save):
    name, array, *words = BAD_ARRAYS[case]
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes(save, **{name: array}))
    text = refusal(path, names=f"{path}, {name}")
    for word in words:
        assert word in text


@pytest.mark.parametrize("name", good_arrays())
def test_missing_array(tmp_path, name):
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes(**{name: None, "z": Y}))
    text = refusal(path)
    assert name not in text.split("; got ")[1]
    assert "z" in text.split("; got ")[1]


def npy(array=X, text=None, version=1):
    """Bytes of an .npy with the header's text replaced."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, (1, 0))
    content = buffer.getvalue()
    if text is None:
        return content
    length = struct.unpack("<H", content[8:10])[0]
    packing = "<H" if version == 1 else "<I"
    text = text.encode("latin1") if isinstance(text, str) else text
    start = b"\x93NUMPY" + bytes([version, 0]) + struct.pack(packing, len(text))
    return start + text + content[10 + length :]


def header(shape="(12, 4, 5)", descr="'|u1'", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n"


def zipped(*, method=zipfile.ZIP_DEFLATED, **members):
    """A zip of the good arrays with members replaced, added or left out."""
    contents = {k: npy(v) for k, v in good_arrays().items()} | members
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def declared(content, name, size):
    """The zip with another uncompressed size in the member's two headers."""
    content = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(name.encode(), content.index(signature))
        place = content.rindex(signature, 0, place)
        content[place + offset : place + offset + 4] = struct.pack("<I", size)
    return bytes(content)


def twice():
    buffer = io.BytesIO(npz_bytes())
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("y_test.npy", npy(Y[:6]))
    return buffer.getvalue()


def encrypted():
    """The good zip with its members' flag of encryption set."""
    content = bytearray(npz_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + offset] |= 1
            place = content.find(signature, place + 1)
    return bytes(content)


def crowded():
    """A directory of 60,000 members, more than 4 MiB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(60_000):
            archive.writestr(f"{i:050}", b"")
    return buffer.getvalue()


GOOD = npz_bytes()
PACKED = npz_bytes(np.savez_compressed)
BAD_NPZ = {
    "empty file": (lambda: b"", "not a zip"),
    "text": (lambda: b"hello\n", "not a zip"),
    "cut at the end": (lambda: GOOD[:-1], "undamaged"),
    "cut in half": (lambda: GOOD[: len(GOOD) // 2], "undamaged"),
    "first half missing": (lambda: GOOD[len(GOOD) // 2 :], ""),
    "one more byte": (lambda: GOOD + b"\0", "ends with its directory"),
    "other data after it": (lambda: GOOD + b"x" * 100, "ends with its"),
    "bytes flipped": (lambda: flipped(GOOD, GOOD.index(X.tobytes())), "CRC"),
    "bytes flipped, packed": (lambda: flipped(PACKED, 80), "x_train"),
    "no members": (lambda: b"PK\5\6" + bytes(18), "got nothing"),
    "duplicates": (twice, "twice y_test.npy"),
    "encrypted": (encrypted, "not encrypted"),
    "bzip2": (lambda: zipped(method=zipfile.ZIP_BZIP2), "method 12"),
    "lzma": (lambda: zipped(method=zipfile.ZIP_LZMA), "method 14"),
    "crowded": (crowded, "directory of at most"),
    "names with escapes": (
        lambda: npz_bytes(x_train=None, **{"\x1b[2J\n": Y}),
        r"\x1b[2J\n",
    ),
    "member not npy": (lambda: zipped(x_train=b"GIF89a"), "header with"),
    "empty member": (lambda: zipped(y_test=b""), "header with"),
    "pickle": (lambda: zipped(x_train=b"\x80\x04N."), "header with"),
    "version 3": (
        lambda: zipped(x_train=npy(text=header(), version=3)),
        "version (3, 0)",
    ),
    "header no dict": (lambda: zipped(x_train=npy(text="[]")), "header with"),
    "header with code": (
        lambda: zipped(x_train=npy(text=header("__import__('os').getcwd()"))),
        "header with",
    ),
    "header nested": (
        lambda: zipped(x_train=npy(text="(" * 9000)),
        "header with",
    ),
    "header of minus signs": (
        lambda: zipped(x_train=npy(text=header("-" * 9000 + "1"))),
        "header with",
    ),
    "header of 64 KiB": (
        lambda: zipped(x_train=npy(text=header() + " " * 60_000)),
        "header with",
    ),
    "header of 4 GiB": (
        lambda: zipped(
            x_train=npy(text=header(), version=2)[:8] + b"\xff" * 4000
        ),
        "header with",
    ),
    "negative shape": (
        lambda: zipped(x_train=npy(text=header("(-12, -4, 5)"))),
        "(-12, -4, 5)",
    ),
    "shape of text": (
        lambda: zipped(x_train=npy(text=header("('a', 4, 5)"))),
        "header with",
    ),
    "shape overflows": (
        lambda: zipped(x_train=npy(text=header(f"({2**62}, 4, 4)"))),
        f"at most {2**30} bytes",
    ),
    "dtype unknown": (
        lambda: zipped(x_train=npy(text=header(descr="'zzz'"))),
        "header with",
    ),
    "dtype of a gigabyte": (
        lambda: zipped(x_train=npy(text=header(descr="'|V1000000000'"))),
        "uint8 pixels",
    ),
    "header says more": (
        lambda: zipped(x_train=npy(text=header("(13, 4, 5)"))),
        "(13, 4, 5)",
    ),
    "header says less": (
        lambda: zipped(x_train=npy(text=header("(11, 4, 5)"))),
        "(11, 4, 5)",
    ),
    "trailing in member": (lambda: zipped(x_train=npy() + b"\0"), "bytes for"),
    "zip bomb": (
        lambda: zipped(x_train=npy() + bytes(BIG_ZEROS)),
        f"got {BIG_ZEROS + 368} bytes",
    ),
    "zip bomb with its header": (
        lambda: zipped(
            y_test=npy(text=header(f"({2**27 + 1},)", "'<i8'"))[:-240]
            + bytes(BIG_ZEROS)
        ),
        f"at most {2**30} bytes",
    ),
    "declares less than it holds": (
        lambda: declared(zipped(), "x_train", 300),
        "CRC",
    ),
    "declares less, header too": (
        lambda: declared(
            zipped(x_train=npy(X[:9]) + bytes(999)), "x_train", 128 + 180
        ),
        "CRC",
    ),
    "declares more than it holds": (
        lambda: declared(
            zipped(x_train=npy(text=header("(99, 4, 5)"))),
            "x_train",
            len(npy(text=header("(99, 4, 5)"))) - 240 + 1980,
        ),
        "expected",
    ),
}


@pytest.mark.parametrize("case", BAD_NPZ)
@pytest.mark.filterwarnings("error")
def test_bad_npz(tmp_path, case):
    make, word = BAD_NPZ[case]
    path = tmp_path / "a.npz"
    path.write_bytes(make())
    assert word in refusal(path)


def test_objects_are_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)

    bombs = np.array([Bomb()] * 12, object)
    np.savez(tmp_path / "a.npz", **(good_arrays() | {"y_train": bombs}))
    assert "dtype object" in refusal(
        tmp_path / "a.npz", names=f"{tmp_path / 'a.npz'}, y_train"
    )
    assert not (tmp_path / "was here").exists()


def test_the_limit_is_over_all_four_arrays(tmp_path, monkeypatch):
    arrays = good_arrays()
    total = sum(array.nbytes for array in arrays.values())
    path = tmp_path / "a.npz"
    path.write_bytes(GOOD)
    monkeypatch.setattr(npz, "MAX_BYTES", total)
    assert data.load(path).classes == 3
    monkeypatch.setattr(npz, "MAX_BYTES", total - 1)
    assert f"with {arrays['y_test'].nbytes - 1} bytes left" in refusal(
        path, names=f"{path}, y_test"
    )


def test_bombs_are_refused_in_little_memory(tmp_path):
    """The header says 7 GB of floats: refused before anything is unpacked."""
    count = 900 << 20
    path = tmp_path / "bomb.npz"
    start = npy(text=header(f"({count // 100}, 10, 10)", "'<f8'"))[:-240]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in good_arrays().items():
            with archive.open(f"{name}.npy", "w") as member:
                if name != "x_train":
                    member.write(npy(array))
                    continue
                member.write(start)
                for _ in range(8):
                    member.write(bytes(1 << 20))
    code = (
        "import sys, resource; from mnistpipe import data\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: data.load(sys.argv[1])\n"
        "except data.DataError as error: print(error)\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(peak - used)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    text, grown = done.stdout.splitlines()
    assert f"at most {examples.MAX_BYTES} bytes" in text
    assert int(grown) < 16 << 10  # KiB
