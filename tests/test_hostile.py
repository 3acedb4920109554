"""Bad and hostile runs, data and pictures, given to evaluate and predict.

Each case changes a good set-up in one way and gives words that the one line of
error must hold. Everything is in a fresh folder: `run` and `other` are finished
runs, `digits` a folder of pictures, `few.npz` the data, `a.png` a picture.
"""

import io
import json
import os
import shutil
import struct
import zipfile
import zlib

import h5py
import helpers
import numpy as np
import pytest
import scoring_helpers
from PIL import Image

from mnistpipe import evaluate, predict
from mnistpipe.networks import networkfile
from mnistpipe.recipes import RECIPES

RUN = "--run=run"
DIGITS = "--data=digits"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    npz = scoring_helpers.save_npz(folder / "few.npz")
    for seed, name in enumerate(("run", "other")):
        scoring_helpers.finished_run(folder / name, npz, seed=seed)
    test = helpers.few_digits().test
    for index in range(20):
        place = folder / "digits" / str(test.labels[index])
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(test.images[index, ..., 0])
        image.save(place / f"{index}.png")
    image.save(folder / "a.png")
    return folder


@pytest.fixture
def place(good, tmp_path, monkeypatch):
    shutil.copytree(good, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def metrics_with(**changes):
    def change(place):
        path = place / "run" / "metrics.json"
        metrics = json.loads(path.read_text()) | changes
        metrics = {k: v for k, v in metrics.items() if v is not ...}
        path.write_text(json.dumps(metrics))

    return change


def setting_with(part, **changes):
    def change(place):
        metrics = json.loads((place / "run" / "metrics.json").read_text())
        metrics_with(**{part: metrics[part] | changes})(place)

    return change


def file_with(name, content):
    def change(place):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)

    return change


def rewritten(change, method=zipfile.ZIP_STORED):
    """Changes the parts, bytes by name, of the run's network."""

    def rewrite(place):
        path = place / "run" / "last.keras"
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        change(parts)
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)

    return rewrite


def config_with(change):
    def rewrite(parts):
        config = json.loads(parts[networkfile.CONFIG])
        change(config["config"]["layers"])
        parts[networkfile.CONFIG] = json.dumps(config).encode()

    return rewritten(rewrite)


def weights_with(change):
    def rewrite(parts):
        buffer = io.BytesIO(parts[networkfile.WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            change(file["layers/dense/vars"])
        parts[networkfile.WEIGHTS] = buffer.getvalue()

    return rewritten(rewrite)


def huge_units(layers):
    layers[-1]["config"]["units"] = 10**9


def huge_input(layers):
    inputs = layers[0]["config"]
    name = "batch_shape" if "batch_shape" in inputs else "batch_input_shape"
    inputs[name] = [None, 30_000, 30_000, 1]


def unknown_input(layers):
    inputs = layers[0]["config"]
    name = "batch_shape" if "batch_shape" in inputs else "batch_input_shape"
    inputs[name] = [None, None, None, 1]


def past_flatten(layers):
    layers[-1]["inbound_nodes"] = layers[-2]["inbound_nodes"]


def a_lambda(layers):
    layers[1] |= {"module": "keras.layers", "class_name": "Lambda"}


def with_nan(group):
    group["0"][...] = np.nan


def lazily_huge(group):
    del group["0"]
    # No byte of it is in the file.
    group.create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000))


def late_huge(group):
    del group["0"]
    group.create_dataset("0", (10**6, 10**6), "f4")


def external_data(group):
    del group["0"]
    group.create_dataset(
        "0", (784, 10), "f4", external=[("/etc/passwd", 0, 784 * 40)]
    )


def external_link(group):
    del group["0"]
    group["0"] = h5py.ExternalLink("/elsewhere/other.h5", "/x")


def soft_link(group):
    del group["0"]
    group["0"] = h5py.SoftLink("/layers/dense/vars/1")


def circle(group):
    group["round"] = group.parent


def strings(group):
    del group["0"]
    group.create_dataset("0", data=["a", "b"], dtype=h5py.string_dtype())


def members_added(parts):
    parts["../../evil.py"] = b"print('evil')"


def no_weights(parts):
    del parts[networkfile.WEIGHTS]


def nested(parts):
    parts[networkfile.CONFIG] = b"[" * 100_000


def truncated(place):
    path = place / "run" / "last.keras"
    path.write_bytes(path.read_bytes()[:-500])


def of_another_arch(place):
    network = helpers.tiny_network(RECIPES["pool2m"])
    network.save(place / "run" / "last.keras")


def for_other_images(place):
    digits = helpers.few_digits()
    npz = scoring_helpers.save_npz(
        place / "small.npz",
        x_train=digits.train.images[:, 4:-4, 4:-4],
        x_test=digits.test.images[:, 4:-4, 4:-4],
    )
    scoring_helpers.finished_run(place / "small", npz)


def of_a_lazy_recipe(place):
    still = {
        "rotation": 0,
        "width_shift": 0,
        "height_shift": 0,
        "shear": 0,
        "zoom": 0,
    }
    scoring_helpers.finished_run(
        place / "still", place / "few.npz", recipe=still
    )


def moved_network(place):
    (place / "run" / "last.keras").rename(place / "run" / "best.keras")


def pipe(name):
    def change(place):
        path = place / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return change


def link(name, target):
    return lambda place: (place / name).symlink_to(target)


def sparse(name, size):
    def change(place):
        with open(place / name, "wb") as file:
            file.truncate(size)

    return change


def chunk(kind, content):
    checked = kind + content
    return (
        struct.pack(">I", len(content))
        + checked
        + struct.pack(">I", zlib.crc32(checked))
    )


def png(width, height, rows):
    """A PNG of 8-bit grey whose header may lie."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def png_with_text(size):
    text = b"Comment\0\0" + zlib.compress(bytes(size), 9)
    whole = png(28, 28, bytes(29 * 28))
    return whole[:33] + chunk(b"zTXt", text) + whole[33:]


def saved(name, pixels, **how):
    return file_with(
        name, lambda path: Image.fromarray(pixels).save(path, **how)
    )


def cut_png(path):
    buffer = io.BytesIO()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (90, 90), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue()[:4000])


def npz_with(**changes):
    return lambda place: scoring_helpers.save_npz(place / "bad.npz", **changes)


def train_part_alone(place):
    digits = helpers.few_digits()
    np.savez(place / "bad.npz", x_train=digits.train.images)


def cleared(place):
    shutil.rmtree(place / "digits")
    (place / "digits").mkdir()


def no_change(place):
    """The arguments are what is wrong."""


FEW = helpers.few_digits().test
BAD_RUN = {
    "no run": (no_change, [], "run: expected the folder"),
    "empty among the runs": (no_change, ["--run=run,"], "got 'run,'"),
    "the same run twice": (no_change, ["--run=run,run/"], "each run once"),
    "no folder": (no_change, ["--run=gone"], "gone", "no such folder"),
    "a file for a run": (no_change, ["--run=few.npz"], "few.npz", "a file"),
    "a zero byte": (no_change, ["--run=a\0b"], "run"),
    "an escape sequence": (no_change, ["--run=a\x1b[2Jb"], "run"),
    "a long name": (no_change, [f"--run={'a' * 5000}"], "name too long"),
    "an empty folder": (
        lambda place: (place / "new").mkdir(),
        ["--run=new"],
        "finished run, with metrics.json; got nothing",
    ),
    "a run that goes on": (
        lambda place: (place / "run" / "metrics.json").unlink(),
        [RUN],
        "finished run, with metrics.json; got flags.cfg",
    ),
    "no metrics": (file_with("run/metrics.json", b""), [RUN], "as JSON"),
    "metrics of text": (
        file_with("run/metrics.json", b"accuracy: 99.9"),
        [RUN],
        "metrics.json: expected the figures of a run, as JSON",
    ),
    "metrics cut": (
        lambda place: (place / "run" / "metrics.json").write_text(
            (place / "run" / "metrics.json").read_text()[:300]
        ),
        [RUN],
        "as JSON",
    ),
    "metrics in Latin-1": (
        file_with("run/metrics.json", b'{"arch": "\xe9"}'),
        [RUN],
        "UnicodeDecodeError",
    ),
    "metrics of a list": (
        file_with("run/metrics.json", b"[1, 2]"),
        [RUN],
        "got a list",
    ),
    "metrics without end": (
        file_with("run/metrics.json", b"[" * 1_000_000),
        [RUN],
        "more than 100 deep",
    ),
    "nested metrics": (
        file_with("run/metrics.json", b'{"a":' * 101 + b"1" + b"}" * 101),
        [RUN],
        "more than 100 deep",
    ),
    "huge metrics": (
        sparse("run/metrics.json", (1 << 26) + 1),
        [RUN],
        "at most 67108864 bytes",
    ),
    "metrics of a pipe": (pipe("run/metrics.json"), [RUN], "a special file"),
    "no seed": (metrics_with(seed=...), [RUN], "seed: expected", "got None"),
    "a seed of text": (metrics_with(seed="1"), [RUN], "seed", "got '1'"),
    "a seed of truth": (metrics_with(seed=True), [RUN], "seed", "got True"),
    "no data": (
        metrics_with(data=None),
        [RUN],
        "data: expected an object",
    ),
    "weights elsewhere": (
        metrics_with(weights="../other/last.keras"),
        [RUN],
        "weights: expected best.keras or last.keras, got '../other/last.keras'",
    ),
    "terminal codes": (
        metrics_with(versions={"keras": "\x1b[2J"}),
        [RUN],
        "printable text",
    ),
    "unknown recipe": (setting_with("recipe", magic=1), [RUN], "magic"),
    "recipe out of range": (setting_with("recipe", zoom=7), [RUN], "zoom"),
    "a test set made harmless": (
        metrics_with(protocol="split", selected_on_test=True),
        [RUN],
        "as in its recipe",
    ),
    "no network": (moved_network, [RUN], "the run's network, last.keras"),
    "networks for other images": (
        for_other_images,
        ["--run=run,small", "--data=few.npz"],
        "small: expected a network for images (28, 28, 1)",
        "(20, 20, 1)",
    ),
    "other data": (
        lambda place: scoring_helpers.finished_run(
            place / "mine", shutil.copy(place / "few.npz", place / "mine.npz")
        ),
        ["--run=run,mine"],
        "trained on different data",
    ),
}

BAD_NETWORK = {
    "of another architecture": (of_another_arch, "expected wide900k", "pool2m"),
    "cut": (truncated, "expected a network saved as .keras"),
    "text": (file_with("run/last.keras", b"weights"), "another kind of file"),
    "a pipe": (pipe("run/last.keras"), "the run's network"),
    "code": (config_with(a_lambda), "keras.layers.Lambda"),
    "too many units": (config_with(huge_units), "7.85e+11 parameters"),
    "too large pictures": (config_with(huge_input), "9e+08 values"),
    "pictures of any size": (
        config_with(unknown_input),
        "expected an integer, got None",
    ),
    "no chain": (config_with(past_flatten), "not a chain of layers"),
    "no layers": (config_with(lambda layers: layers.clear()), "last.keras"),
    "deep": (rewritten(nested), "more than 100 deep"),
    "a file of code": (rewritten(members_added), "a zip of", "evil.py"),
    "without weights": (rewritten(no_weights), "a zip of"),
    "packed": (
        rewritten(lambda parts: None, zipfile.ZIP_DEFLATED),
        "a compressed",
    ),
    "diverged": (weights_with(with_nan), "got other numbers for 100"),
    "huge in chunks": (weights_with(lazily_huge), "no plain array"),
    "huge at the end": (weights_with(late_huge), "4000000", "bytes in a file"),
    "another file's bytes": (weights_with(external_data), "no plain array"),
    "another file's array": (weights_with(external_link), "behind a link"),
    "a soft link": (weights_with(soft_link), "behind a link"),
    "a circle": (weights_with(circle), "there twice"),
    "text for weights": (weights_with(strings), "no plain array"),
}

BAD_DATA = {
    "gone": (no_change, "--data=gone", "gone: expected an .npz file, a folder"),
    "text": (file_with("a.txt", b"7"), "--data=a.txt", "type '.txt'"),
    "a pickle": (
        npz_with(x_test=np.array([{"a": 1}], object)),
        "--data=bad.npz",
        "dtype object",
    ),
    "labels of others": (
        npz_with(y_test=FEW.labels + 1),
        "--data=bad.npz",
        "the network's labels, 0 to 9; got label 10",
    ),
    "other images": (
        npz_with(x_test=FEW.images[:, :20]),
        "--data=bad.npz",
        "(28, 28, 1); got (20, 28, 1)",
    ),
    "no test part": (train_part_alone, "--data=bad.npz", "x_test, y_test"),
    "fewer labels": (npz_with(y_test=[1, 2]), "--data=bad.npz", "100 labels"),
    "cut": (
        lambda place: (place / "bad.npz").write_bytes(
            (place / "few.npz").read_bytes()[:9999]
        ),
        "--data=bad.npz",
        "undamaged",
    ),
    "nothing": (cleared, DIGITS, "got an empty folder"),
    "half of IDX": (
        file_with("digits/t10k-labels-idx1-ubyte", b""),
        DIGITS,
        "t10k-images-idx3-ubyte",
    ),
    "class by name": (file_with("digits/seven/7.png", b""), DIGITS, "'seven'"),
    "class too high": (file_with("digits/10/7.png", b""), DIGITS, "'10'"),
    "class as 07": (file_with("digits/07/7.png", b""), DIGITS, "'07'"),
    "class as ٧": (file_with("digits/٧/7.png", b""), DIGITS, "named 0, 1"),
    "class below 0": (file_with("digits/-1/7.png", b""), DIGITS, "'-1'"),
    "file beside": (file_with("digits/list.csv", b""), DIGITS, "the file 'lis"),
    "file as class": (
        lambda place: [
            shutil.rmtree(place / "digits" / "7"),
            (place / "digits" / "7").write_text(""),
        ],
        DIGITS,
        "the file '7'",
    ),
    "class without": (
        lambda place: (
            (place / "digits" / "8").mkdir(exist_ok=True)
            or [f.unlink() for f in (place / "digits" / "8").iterdir()]
        ),
        DIGITS,
        "digits/8: expected at least one picture",
    ),
    "folder within": (
        lambda place: (place / "digits" / "7" / "more").mkdir(),
        DIGITS,
        "digits/7/more: expected a regular file; got a folder",
    ),
    "link out": (link("digits/7/b.png", "../../a.png"), DIGITS, "a link to"),
    "class out": (link("digits/3x", "/etc"), DIGITS, "'3x'"),
    "linked class": (
        lambda place: [
            shutil.rmtree(place / "digits" / "7"),
            (place / "digits" / "7").symlink_to(place / "run"),
        ],
        DIGITS,
        "a file inside digits; got a link",
    ),
    "link to nowhere": (link("digits/7/b.png", "gone"), DIGITS, "7/b.png"),
    "link to itself": (link("digits/7/b.png", "b.png"), DIGITS, "7/b.png"),
    "class in class": (link("digits/7/b", "../.."), DIGITS, "a link to"),
    "pipe": (pipe("digits/7/b.png"), DIGITS, "7/b.png", "a special file"),
}

GRADIENT = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
BAD_PICTURE = {
    "empty": (file_with("b.png", b""), "an empty file"),
    "text": (file_with("b.png", b"a seven"), "got a file of another kind"),
    "svg": (file_with("b.png", b"<svg/>"), "PNG, JPEG, BMP, GIF, TIFF, PPM"),
    "postscript": (
        file_with(
            "b.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
        ),
        "another kind",
    ),
    "of another format": (saved("b.png", GRADIENT, format="ICO"), "another"),
    "network": (lambda p: shutil.copy("run/last.keras", "b.png"), "another"),
    "cut": (file_with("b.png", cut_png), "b.png: expected a picture"),
    "huge by its header": (
        file_with("b.png", png(60_000, 60_000, b"")),
        "3600000000 pixels",
    ),
    "large by its header": (
        file_with("b.png", png(6000, 6000, b"")),
        "at most 33554432 pixels; got one of 6000x6000",
    ),
    "larger by its header": (
        file_with("b.png", png(5000, 5000, bytes(1000))),
        "truncated",
    ),
    "without width": (file_with("b.png", png(0, 28, bytes(28))), "b.png"),
    "a bomb of text": (
        file_with("b.png", png_with_text(200 << 20)),
        "b.png: expected a picture",
    ),
    "pgm that lies": (
        file_with("b.pgm", b"P5 5000 5000 255\n" + bytes(100)),
        "b.pgm: expected a picture",
    ),
    "huge pgm": (
        file_with("b.pgm", b"P5 99999 99999 255\n"),
        "9999800001 pixels",
    ),
    "endless pgm": (file_with("b.pgm", b"P2 9 9 255\n" + b"1 " * 9), "b.pgm"),
    "huge gif": (
        file_with(
            "b.gif",
            b"GIF89a"
            + struct.pack("<HHBBB", 9000, 9000, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 9, 9, 0)
            + b"\x02\x01\x44\0;",
        ),
        "at most 33554432 pixels; got one of 9000x9000",
    ),
    "huge bmp": (
        file_with(
            "b.bmp",
            b"BM"
            + struct.pack("<IHHI", 54, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 9, 1, 8, *[0] * 6),
        ),
        "b.bmp",
    ),
    "huge file": (sparse("b.png", (1 << 26) + 1), "at most 67108864 bytes"),
    "of floats": (
        saved("b.tif", GRADIENT.astype(np.float32)),
        "floating-point pixels",
    ),
    "below 0": (
        saved("b.tif", GRADIENT.astype(np.int32) - 50),
        "values from -50 to 49",
    ),
    "white": (saved("b.png", np.full((90, 90), 255, np.uint8)), "255 to 255"),
    "hardly grey": (saved("b.png", GRADIENT // 10), "a digit that stands out"),
    "clear": (saved("b.png", np.zeros((9, 9, 4), np.uint8)), "0 to 0"),
    "gone": (no_change, "b.png"),
    "a folder": (lambda place: (place / "b.png").mkdir(), "got a folder"),
    "a pipe": (pipe("b.png"), "a special file"),
}

USAGE = {
    "no pictures": (predict, [RUN], "expected 1 to 10000 pictures"),
    "an address": (predict, [RUN, "http://a/b.png"], "http:/a/b.png"),
    "a picture for evaluate": (evaluate, [RUN, "a.png"], "got the argument"),
    "not once": (evaluate, [RUN, "--tta=0"], "tta", "[1, 1000]"),
    "too often": (evaluate, [RUN, "--tta=1e9"], "tta"),
    "fewer than none": (evaluate, [RUN, "--hardest=-1"], "hardest"),
    "seed": (evaluate, [RUN, "--tta_seed=-1"], "tta_seed"),
    "out in use": (evaluate, [RUN, "--out=run"], "a new or an empty folder"),
    "out is a file": (evaluate, [RUN, "--out=a.png/b"], "not a folder"),
    "as they are": (
        predict,
        [RUN, "--nonormalize_pictures", "b.png"],
        "a picture of 28x28, taken as it is; got one of 100x100",
    ),
}


def refuse(place, binary, arguments, words):
    before = helpers.files(place / "run")
    status, out, err = scoring_helpers.call(
        binary, *arguments, files=binary is predict
    )
    assert status in (1, 2), out + err
    assert out == ""
    assert err.startswith("error: ") and err.endswith("\n")
    line = err[:-1]
    assert line.isprintable() and len(line) < 6000, err
    assert all(word in line for word in words), err
    assert helpers.files(place / "run") == before


@pytest.mark.parametrize("name", BAD_RUN)
def test_bad_run(place, name):
    change, arguments, *words = BAD_RUN[name]
    change(place)
    refuse(place, evaluate, arguments, words)


@pytest.mark.parametrize("name", BAD_NETWORK)
def test_bad_network(place, name):
    change, *words = BAD_NETWORK[name]
    change(place)
    refuse(place, evaluate, [RUN, "--data=few.npz"], words)


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(place, name):
    change, argument, *words = BAD_DATA[name]
    change(place)
    refuse(place, evaluate, [RUN, argument], words)


@pytest.mark.parametrize("name", BAD_PICTURE)
def test_bad_picture(place, name):
    """Between two good ones, alone, and in a class' folder."""
    change, *words = BAD_PICTURE[name]
    change(place)
    (bad,) = [*place.glob("b.*"), place / "b.png"][:1]
    refuse(place, predict, [RUN, "a.png", bad.name, "a.png"], words)
    if bad.is_file():
        bad.rename(place / "digits" / "7" / bad.name)
        refuse(place, evaluate, [RUN, DIGITS], words)


@pytest.mark.parametrize("name", USAGE)
def test_bad_command_line(place, name):
    binary, arguments, *words = USAGE[name]
    Image.fromarray(GRADIENT).save(place / "b.png")
    refuse(place, binary, arguments, words)


def test_a_recipe_without_augmentation_has_no_versions(place):
    of_a_lazy_recipe(place)
    refuse(place, evaluate, ["--run=still", "--tta=2"], ["tta: expected 1"])


def test_pictures_for_a_network_of_another_size(place):
    """MNIST's convention is of another size, so the picture is scaled."""
    for_other_images(place)
    status, out, err = scoring_helpers.call(
        predict, "--run=small", "a.png", files=True
    )
    assert status == 0, err
    assert "scaled to fit" in " ".join(out.split())
    refuse(
        place,
        predict,
        ["--run=small", "--nonormalize_pictures", "a.png"],
        ["20x20", "28x28"],
    )


def test_there_are_enough():
    counts = map(len, (BAD_RUN, BAD_NETWORK, BAD_DATA, BAD_PICTURE, USAGE))
    assert sum(counts) >= 100
