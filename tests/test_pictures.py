"""Pictures in files: MNIST comes back, in any colour, depth and polarity."""

import io

import helpers
import numpy as np
import pytest
from PIL import Image

from mnistpipe import data
from mnistpipe.data import folders, pictures


def digits(count=40):
    return helpers.mnist().test.images[:count, ..., 0]


def enlarged(digit, scale=5, margins=((25, 60), (10, 90))):
    """White on black, float from 0 to 1, as big as other people's."""
    side = scale * digit.shape[0]
    large = Image.fromarray(digit).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return np.pad(np.asarray(large) / 255, margins)


def painted(strength, paper, ink):
    paper, ink = np.array(paper), np.array(ink)
    mixed = paper * (1 - strength[..., None]) + ink * strength[..., None]
    return np.rint(mixed).astype(np.uint8)


def save(path, pixels, **how):
    Image.fromarray(pixels).save(path, **how)
    return path


def far_off(picture, digit):
    """Mean distance in grey levels, and how well they correlate."""
    a, b = picture[..., 0].astype(float), digit.astype(float)
    return np.abs(a - b).mean(), np.corrcoef(a.ravel(), b.ravel())[0, 1]


def apart(a, b):
    """Mean distance after the best of 9 shifts.

    The smallest difference may move a mass from 13.49 to 13.51, and with it
    the whole digit by one pixel.
    """
    shifts = [
        np.roll(b.astype(int), (row, column), axis=(0, 1))
        for row in (-1, 0, 1)
        for column in (-1, 0, 1)
    ]
    return min(np.abs(a.astype(int) - moved).mean() for moved in shifts)


def test_every_digit_of_mnist_keeps_the_convention_and_stays():
    kept = [pictures.keeps_convention(d) for d in digits(500)]
    assert all(kept)


def test_a_png_of_mnist_comes_back_unchanged(tmp_path):
    for digit in digits(10):
        path = save(tmp_path / "a.png", digit)
        np.testing.assert_array_equal(
            pictures.read_picture(path)[..., 0], digit
        )


def test_the_convention_holds_whatever_the_picture_was():
    """By its definition, computed here in another way."""
    for digit in digits():
        large = np.rint(255 * (1 - enlarged(digit))).astype(np.uint8)
        result = pictures.normalize(large)
        assert result.shape == (28, 28) and result.dtype == np.uint8
        ys, xs = np.nonzero(result)
        longer = max(ys.max() - ys.min(), xs.max() - xs.min()) + 1
        assert 19 <= longer <= 20
        mass = result / result.sum()
        grid = np.arange(28)
        centre = (mass.sum(1) @ grid, mass.sum(0) @ grid)
        np.testing.assert_allclose(centre, 14, atol=0.51)
        assert result.max() == 255
        assert np.median(result) == 0
        # Once is enough.
        again = pictures.normalize(result)
        assert apart(again, result) < 2


LOOKS = {
    "black on white": ((255, 255, 255), (0, 0, 0)),
    "white on black": ((0, 0, 0), (255, 255, 255)),
    "blue on cream": ((250, 240, 200), (30, 40, 110)),
    "yellow on green": ((20, 80, 40), (250, 240, 60)),
    "pencil": ((235, 235, 235), (150, 150, 150)),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "ppm"])
def test_digits_come_back_from_every_look_and_format(tmp_path, look, suffix):
    for digit in digits(4):
        pixels = painted(enlarged(digit), *LOOKS[look])
        path = save(tmp_path / f"a.{suffix}", pixels)
        distance, correlation = far_off(pictures.read_picture(path), digit)
        assert distance < 14 and correlation > 0.9


def test_either_polarity_gives_the_same(rng):
    for digit in digits(10):
        grey = np.rint(255 * enlarged(digit)).astype(np.uint8)
        np.testing.assert_array_equal(
            pictures.normalize(grey), pictures.normalize(255 - grey)
        )


def test_size_does_not_matter():
    for digit in digits(10):
        small, large = (
            pictures.normalize(
                np.rint(255 * enlarged(digit, scale)).astype(np.uint8)
            )
            for scale in (4, 12)
        )
        assert apart(small, large) < 5


def test_noise_does_not_move_the_digit(rng):
    for digit in digits(10):
        clean = 220 - 170 * enlarged(digit)
        noisy = clean + rng.normal(0, 5, clean.shape)
        a, b = (
            pictures.normalize(np.clip(x, 0, 255).astype(np.uint8))
            for x in (clean, noisy)
        )
        assert apart(a, b) < 8  # two different digits: about 40


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", "png"),
        ("L", "png"),
        ("P", "png"),
        ("P", "gif"),
        ("LA", "png"),
        ("RGBA", "png"),
        ("CMYK", "jpg"),
        ("CMYK", "tif"),
        ("YCbCr", "jpg"),
        ("I;16", "png"),
        ("I;16", "tif"),
        ("I", "pgm"),
    ],
)
def test_every_kind_of_pixel(tmp_path, mode, suffix):
    digit = digits(1)[0]
    strength = 1 - enlarged(digit)
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.rint(65535 * strength).astype(np.uint16))
    else:
        image = Image.fromarray(np.rint(255 * strength).astype(np.uint8))
        image = image.convert(mode)
    path = tmp_path / f"a.{suffix}"
    image.save(path)
    distance, correlation = far_off(pictures.read_picture(path), digit)
    assert distance < 14 and correlation > 0.9


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_paper(tmp_path, ink):
    """Only the alpha channel shows the digit."""
    digit = digits(1)[0]
    alpha = np.rint(255 * enlarged(digit)).astype(np.uint8)
    pixels = np.dstack([np.full((*alpha.shape, 3), ink, np.uint8), alpha])
    path = save(tmp_path / "a.png", pixels)
    distance, correlation = far_off(pictures.read_picture(path), digit)
    assert distance < 14 and correlation > 0.9


def test_exif_orientation(tmp_path):
    digit = digits(1)[0]
    upright = np.rint(255 * enlarged(digit)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    turned = save(tmp_path / "turned.png", np.rot90(upright), exif=exif)
    plain = save(tmp_path / "plain.png", upright)
    np.testing.assert_array_equal(
        pictures.read_picture(turned), pictures.read_picture(plain)
    )


def test_aspect_is_kept():
    tall = np.zeros((300, 300), np.uint8)
    tall[50:250, 100:150] = 255
    ys, xs = np.nonzero(pictures.normalize(tall) > 127)
    assert (np.ptp(ys) + 1, np.ptp(xs) + 1) == (20, 5)


def test_a_hair_and_a_dot_fit_in():
    for rows, columns in [((10, 190), (7, 8)), ((5, 6), (5, 6))]:
        grey = np.zeros((200, 200), np.uint8)
        grey[slice(*rows), slice(*columns)] = 200
        assert pictures.normalize(grey).max() == 255


def test_a_mass_far_off_the_middle_stays_in_the_picture():
    foot = np.zeros((200, 200), np.uint8)
    foot[20:180, 60:62] = 255  # a hair
    foot[150:180, 60:140] = 255  # with a heavy foot
    result = pictures.normalize(foot)
    assert np.count_nonzero(result.any(axis=1)) == 20


def test_a_big_picture_is_averaged_down_first():
    digit = digits(1)[0]
    grey = np.rint(255 * enlarged(digit, 160, ((0, 0), (0, 0))))
    result = pictures.normalize(grey.astype(np.uint8))[..., None]
    distance, correlation = far_off(result, digit)
    assert distance < 14 and correlation > 0.9


def test_as_it_is(tmp_path, rng):
    colours = rng.integers(0, 256, (9, 7, 3), np.uint8)
    path = save(tmp_path / "a.png", colours)
    np.testing.assert_array_equal(pictures.read_as_is(path, (9, 7, 3)), colours)
    grey = save(tmp_path / "b.png", colours[..., 0])
    np.testing.assert_array_equal(
        pictures.read_as_is(grey, (9, 7, 1))[..., 0], colours[..., 0]
    )
    with pytest.raises(
        data.DataError, match=r"28x28, taken as it is; got.*9x7"
    ):
        pictures.read_as_is(grey, (28, 28, 1))


def write_folder(folder, count=30):
    """The first test digits, as PNGs in a folder per class."""
    test = helpers.few_digits().test
    for index in range(count):
        place = folder / str(test.labels[index])
        place.mkdir(parents=True, exist_ok=True)
        save(place / f"{index:03}.png", test.images[index, ..., 0])
    return folder, test.images[:count], test.labels[:count]


def test_a_folder_of_pictures(tmp_path):
    folder, images, labels = write_folder(tmp_path / "mine")
    (folder / ".DS_Store").write_text("hidden")
    (folder / "0" / "Thumbs.db").write_text("hidden as well")
    test = data.load_test(folder)
    order = np.lexsort([np.arange(len(labels)), labels])
    np.testing.assert_array_equal(test.examples.images, images[order])
    np.testing.assert_array_equal(test.examples.labels, labels[order])
    assert test.files == tuple(f"{labels[i]}/{i:03}.png" for i in order)
    assert test.name == "mine"
    assert "MNIST's convention" in test.preparation
    as_is = data.load_test(folder, preparation=folders.AS_IT_IS)
    assert as_is.fingerprint == test.fingerprint
    assert as_is.preparation == folders.AS_IT_IS


def test_a_class_may_be_missing(tmp_path):
    folder, *_ = write_folder(tmp_path / "mine")
    for file in (folder / "3").iterdir():
        file.unlink()
    (folder / "3").rmdir()
    assert 3 not in data.load_test(folder).examples.labels


def test_links_inside_the_folder_are_followed(tmp_path):
    folder, *_ = write_folder(tmp_path / "mine", 5)
    before = len(data.load_test(folder).examples)
    first = next((folder / "7").iterdir())
    (folder / "7" / "again.png").symlink_to(first)
    assert len(data.load_test(folder).examples) == before + 1


def test_the_test_part_alone_of_npz_and_idx(tmp_path):
    few = helpers.few_digits()
    np.savez(tmp_path / "a.npz", x_test=few.test.images, y_test=few.test.labels)
    test = data.load_test(tmp_path / "a.npz")
    np.testing.assert_array_equal(test.examples.images, few.test.images)
    assert test.fingerprint == few.test_fingerprint
    folder = tmp_path / "idx"
    folder.mkdir()
    head = bytes([0, 0, 8, 3, 0, 0, 0, 100, 0, 0, 0, 28, 0, 0, 0, 28])
    (folder / "t10k-images-idx3-ubyte").write_bytes(
        head + few.test.images.tobytes()
    )
    (folder / "t10k-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1, 0, 0, 0, 100])
        + few.test.labels.astype(np.uint8).tobytes()
    )
    assert data.load_test(folder).fingerprint == test.fingerprint


def test_the_embedded_test_set():
    test = data.load_test(None)
    assert test.name == "mnist" and len(test.examples) == 10_000
    assert test.fingerprint == helpers.mnist().test_fingerprint
    assert test.fingerprint != helpers.mnist().fingerprint


def test_as_many_files_as_there_may_be(tmp_path, monkeypatch):
    folder, *_ = write_folder(tmp_path / "mine", 12)
    monkeypatch.setattr(folders, "MAX_FILES", 12)
    assert len(data.load_test(folder).examples) == 12
    monkeypatch.setattr(folders, "MAX_FILES", 11)
    with pytest.raises(data.DataError, match=r"at most 11 pictures.*got 12"):
        data.load_test(folder)
    monkeypatch.setattr(folders, "MAX_FILES", 1)
    with pytest.raises(data.DataError, match="at most 1 files"):
        data.load_test(folder)


def test_no_more_of_a_file_is_read_than_its_bound(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", digits(1)[0])
    size = path.stat().st_size
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", size)
    pictures.read_picture(path)
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", size - 1)
    with pytest.raises(data.DataError, match=r"at most .* bytes; got a larger"):
        pictures.read_picture(path)


def test_pixels_are_counted_before_they_are_decoded(tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("decoded")

    path = save(tmp_path / "a.png", digits(1)[0])
    monkeypatch.setattr(pictures, "MAX_PIXELS", 28 * 28 - 1)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(data.DataError, match=r"at most 783 pixels.*28x28"):
        pictures.read_picture(path)


def test_damaged_bytes_give_a_picture_or_one_line(tmp_path, rng):
    """Flipped, cut and prefixed: 100 of each format."""
    refused = 0
    for suffix in ("png", "jpeg", "bmp", "gif", "tiff", "ppm"):
        buffer = io.BytesIO()
        pixels = painted(enlarged(digits(1)[0], 2), *LOOKS["blue on cream"])
        Image.fromarray(pixels).save(buffer, suffix)
        content = np.frombuffer(buffer.getvalue(), np.uint8)
        for _ in range(100):
            bad = content.copy()
            # Headers are where it matters.
            places = rng.integers(0, min(len(bad), 400), 3)
            bad[places] = rng.integers(0, 256, 3)
            bad = bad[: rng.integers(len(bad) // 2, 2 * len(bad))]
            path = tmp_path / "bad"
            path.write_bytes(bad.tobytes())
            try:
                assert pictures.read_picture(path).shape == (28, 28, 1)
            except data.DataError as error:
                refused += 1
                assert str(error).isprintable()
    assert refused > 100
