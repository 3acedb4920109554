"""Feeds damaged IDX and npz data to `mnistpipe.data.load`, and counts.

    python tools/fuzz_data.py --inputs=100000 --seed=1

Whatever the bytes, loading must either succeed with arrays as documented or
raise DataError with one line that names the file. Any other outcome ends with
its traceback and the command that repeats this one input. Two fifths of the
inputs are damaged inside and then packed again with correct checksums, so that
they reach the code behind the checks of gzip and zip. On a slow disk, TMPDIR=
/dev/shm saves most of the time.
"""

import argparse
import gzip
import io
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from mnistpipe import data

LAYERS = ("idx", "idx.gz", "inside idx.gz", "npz", "inside npz")
IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
# Lengths and words that are worth trying in a header.
WORDS = (
    [struct.pack(">I", n) for n in (0, 1, 2, 12, 2**16, 2**31, 2**32 - 1)]
    + [struct.pack("<I", n) for n in (0, 1, 2**16, 2**32 - 1)]
    + [b"|O", b"<f8", b"<i8", b">u2", b"(", b")", b"[", b"-", b"9" * 20]
    + [b"True", b"{", b"\n", b"PK\x01\x02", b"PK\x05\x06", b"\x1f\x8b"]
)

KINDS = ("put", "insert", "cut", "end", "repeat")
Edit = tuple[str, int, bytes]


def edits(rng: random.Random) -> list[Edit]:
    """Draws one to four edits; half of the places are in the header."""
    return [
        (
            rng.choice(KINDS),
            rng.randint(0, rng.choice((60, 4000))),
            rng.choice((rng.choice(WORDS), rng.randbytes(rng.randint(1, 8)))),
        )
        for _ in range(rng.randint(1, 4))
    ]


def small_set() -> dict[str, np.ndarray]:
    """A valid set of 12 and 6 pictures of 4 × 5 pixels, 3 classes."""
    pixels = np.arange(18 * 20, dtype=np.uint16).astype(np.uint8)
    pixels = pixels.reshape(18, 4, 5)
    labels = (np.arange(18) % 3).astype(np.uint8)
    arrays = pixels[:12], labels[:12], pixels[12:], labels[12:]
    return dict(zip(IDX_NAMES, arrays, strict=True))


def idx_bytes(array: np.ndarray) -> bytes:
    """Writes uint8 values as an IDX file."""
    sizes = (0x800 + array.ndim, *array.shape)
    return struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes()


def npy_bytes(array: np.ndarray) -> bytes:
    """Writes an array as NumPy does."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zip_bytes(members: dict[str, bytes]) -> bytes:
    """Packs members as NumPy's savez_compressed does."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def gzipped(content: bytes) -> bytes:
    """Compresses without a time, so that a seed gives the same bytes."""
    return gzip.compress(content, 1, mtime=0)


def damage(content: bytes, changes: list[Edit]) -> bytes:
    """Applies edits one after the other; positions wrap around."""
    for kind, position, word in changes:
        at = position % (len(content) + 1)
        head, tail = content[:at], content[at:]
        content = {
            "put": head + word + tail[len(word) :],
            "insert": head + word + tail,
            "cut": head + tail[len(word) :],
            "end": head,
            "repeat": head + tail[:64] + tail,
        }[kind]
    return content


def load(path: Path) -> str:
    """Loads; returns "loaded" or "refused" if the outcome is allowed."""
    try:
        digits = data.load(path)
    except data.DataError as error:
        text = str(error)
        assert text.startswith(str(path)) and text.isprintable(), text
        return "refused"
    for part in (digits.train, digits.test):
        images, labels = part.images, part.labels
        assert images.dtype == np.uint8 and images.ndim == 4
        assert labels.dtype == np.int64 and labels.ndim == 1
        assert len(images) == len(labels) > 0
        assert 0 <= labels.min() <= labels.max() < digits.classes
    return "loaded"


class Harness:
    """Keeps a valid set on disk, damages one file of the set, and loads."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.npz = folder / "idx", folder / "set.npz"
        self.folder.mkdir()
        arrays = small_set()
        self.idx = {name: idx_bytes(array) for name, array in arrays.items()}
        self.npy = {name: npy_bytes(array) for name, array in arrays.items()}
        self.archive = zip_bytes(self.npy)
        for name, content in self.idx.items():
            (self.folder / IDX_NAMES[name]).write_bytes(content)

    def try_one(self, layer: str, name: str, changes: list[Edit]) -> str:
        """Loads the set with one file damaged."""
        if layer == "npz":
            self.npz.write_bytes(damage(self.archive, changes))
            return load(self.npz)
        if layer == "inside npz":
            inside = self.npy | {name: damage(self.npy[name], changes)}
            self.npz.write_bytes(zip_bytes(inside))
            return load(self.npz)
        path, whole = self.folder / IDX_NAMES[name], self.idx[name]
        if layer == "idx.gz":
            path.write_bytes(damage(gzipped(whole), changes))
        else:
            pack = gzipped if layer == "inside idx.gz" else bytes
            path.write_bytes(pack(damage(whole, changes)))
        outcome = load(self.folder)
        path.write_bytes(whole)
        return outcome


def fuzz(inputs: int, seed: int, first: int) -> Counter[tuple[str, str]]:
    """Tries inputs from `first` on; raises on the first wrong outcome.

    An input is a function of the seed and its number alone.
    """
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder))
        for number in range(first, first + inputs):
            rng = random.Random(f"{seed}:{number}")
            layer, name = rng.choice(LAYERS), rng.choice(list(IDX_NAMES))
            changes = edits(rng)
            try:
                counts[layer, harness.try_one(layer, name, changes)] += 1
            except Exception:
                print(
                    f"layer={layer!r}, name={name!r}, changes={changes!r}; "
                    f"again: --seed={seed} --first={number} --inputs=1",
                    file=sys.stderr,
                )
                raise
    return counts


def main() -> None:
    """Runs, and prints a table of outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    begin = time.perf_counter()
    counts = fuzz(options.inputs, options.seed, options.first)
    for layer in LAYERS:
        refused, loaded = counts[layer, "refused"], counts[layer, "loaded"]
        print(f"{layer:14} {refused:7} refused {loaded:7} loaded")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{sum(counts.values())} inputs, no other outcome, "
        f"{time.perf_counter() - begin:.0f} s, peak {peak} MiB"
    )


if __name__ == "__main__":
    main()
