"""Folders of pictures as data to train on: classes, sizes, colours, labels."""

import numpy as np
import pytest
import scoring_helpers
from PIL import Image

from mnistpipe import data, evaluate, predict
from mnistpipe.data import folders, pictures


def save(folder, pixels, name="a.png"):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)


def fill(folder, counts, shape=(12, 10, 3), rng=None):
    """Random pictures, `counts` of each class."""
    rng = rng or np.random.default_rng(0)
    for name, count in counts.items():
        for index in range(count):
            pixels = rng.integers(0, 256, shape, np.uint8)
            save(folder / name, pixels, f"{index:03}.png")


def test_train_and_test_folders_with_class_names(tmp_path):
    fill(tmp_path / "pets/train", {"dog": 4, "cat": 3})
    fill(tmp_path / "pets/test", {"cat": 2})
    pets = data.load(tmp_path / "pets")
    assert pets.class_names == ("cat", "dog") and pets.classes == 2
    assert pets.train.labels.tolist() == [0] * 3 + [1] * 4
    assert pets.test.labels.tolist() == [0, 0]
    assert pets.train.images.shape == (7, 12, 10, 3)
    first = Image.open(tmp_path / "pets/train/cat/000.png")
    np.testing.assert_array_equal(pets.train.images[0], np.asarray(first))
    # The same test set, as evaluate reads it.
    test = data.load_test(
        tmp_path / "pets",
        shape=(12, 10, 3),
        class_names=pets.class_names,
        preparation=pets.preparation,
    )
    assert test.fingerprint == pets.test_fingerprint
    assert test.class_names == ("cat", "dog")


def test_whole_numbers_are_ordered_as_numbers(tmp_path):
    fill(tmp_path, {str(number): 2 for number in (10, 9, 2)})
    assert data.load(tmp_path).class_names == ("2", "9", "10")


def test_without_a_test_folder_a_tenth_is_held_out(tmp_path):
    fill(tmp_path, {"a": 40, "b": 20})
    one, two = data.load(tmp_path), data.load(tmp_path)
    assert len(one.train) == 54 and len(one.test) == 6
    assert np.bincount(one.test.labels).tolist() == [4, 2]
    assert one.fingerprint == two.fingerprint
    whole = np.concatenate([one.train.images, one.test.images])
    assert len(np.unique(whole.reshape(60, -1), axis=0)) == 60


def test_the_most_frequent_size_and_colour_if_any_is(tmp_path):
    fill(tmp_path, {"a": 12}, (8, 9))
    fill(tmp_path, {"b": 10}, (20, 30))
    assert data.load(tmp_path).train.images.shape[1:] == (8, 9, 1)
    save(tmp_path / "b", np.zeros((8, 9, 3), np.uint8), "colour.png")
    assert data.load(tmp_path).train.images.shape[1:] == (8, 9, 3)


def test_a_picture_of_another_size_keeps_its_aspect(tmp_path):
    """A white rectangle on red: its place and size, computed by hand."""
    pixels = np.full((20, 40, 3), (200, 0, 0), np.uint8)
    pixels[5:15, 10:30] = 255
    save(tmp_path, pixels)
    fitted = pictures.read_fitted(tmp_path / "a.png", (10, 10, 3))
    # 20 x 40 becomes 5 x 10, in rows 2 to 6 or 3 to 7 of 10.
    white = fitted.min(axis=2) > 128
    assert fitted.shape == (10, 10, 3) and fitted.dtype == np.uint8
    rows, columns = np.nonzero(white)
    assert np.ptp(rows) + 1 in (2, 3) and np.ptp(columns) + 1 in (5, 6)
    assert abs(rows.mean() - 4.5) <= 0.5 and abs(columns.mean() - 4.5) <= 0.5
    assert (fitted[0] == (200, 0, 0)).all() and (fitted[-1, :, 0] == 200).all()
    np.testing.assert_array_equal(
        pictures.read_fitted(tmp_path / "a.png", (20, 40, 3)), pixels
    )


def test_sixteen_bits_in_a_colour_set(tmp_path):
    save(tmp_path, np.full((4, 4), 257 * 99, np.uint16))
    fitted = pictures.read_fitted(tmp_path / "a.png", (4, 4, 3))
    assert (fitted == 99).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: fill(f, {"a": 3}), "2 to 1000 classes; got 1"),
        (lambda f: fill(f, {"a": 1, "b": 4}), "test set: expected .*got"),
        (lambda f: (f / "b.txt").write_text("x"), "IDX|idx"),
    ],
)
def test_bad_folders_are_one_line(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(data.DataError, match=words) as error:
        data.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_beside_the_classes_is_refused(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(data.DataError, match=r"one per class; got the file"):
        data.load(tmp_path)


def test_a_damaged_picture_is_named(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "b" / "000.png").write_bytes(b"no picture")
    with pytest.raises(data.DataError, match=r"b/000\.png: expected a picture"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("shape", "trained_on", "normalize", "expected"),
    [
        ((28, 28, 1), "as stored", True, folders.NORMALIZED),
        ((28, 28, 1), folders.FITTED, True, folders.FITTED),
        ((32, 32, 3), "as stored", True, folders.FITTED),
        ((28, 28, 1), "as stored", False, folders.AS_IT_IS),
    ],
)
def test_pictures_are_prepared_as_the_training_data_were(
    shape, trained_on, normalize, expected
):
    assert folders.preparation_for(shape, trained_on, normalize) == expected


# Labels as other libraries store them


@pytest.mark.parametrize("kind", ["column", "one-hot", "one-hot floats"])
def test_labels_of_two_dimensions(tmp_path, rng, kind):
    labels = np.arange(12) % 3
    stored = {
        "column": labels[:, None],
        "one-hot": np.eye(3, dtype=np.uint8)[labels],
        "one-hot floats": np.eye(3, dtype=np.float32)[labels],
    }[kind]
    images = rng.integers(0, 256, (12, 4, 4), np.uint8)
    save_to = tmp_path / "a.npz"
    np.savez(
        save_to, x_train=images, y_train=stored, x_test=images, y_test=stored
    )
    np.testing.assert_array_equal(data.load(save_to).train.labels, labels)


@pytest.mark.parametrize(
    "row", [[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0], [1, np.nan, 0]]
)
def test_rows_that_are_not_one_hot_are_refused(tmp_path, row):
    labels = np.eye(3)[np.arange(12) % 3]
    labels[5] = row
    images = np.zeros((12, 4, 4), np.uint8)
    path = tmp_path / "a.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(data.DataError, match="one-hot labels"):
        data.load(path)


def test_a_run_on_pictures_of_ones_own(tmp_path):
    """Trained, evaluated and asked without a flag about sizes or colours."""
    rng = np.random.default_rng(1)
    fill(tmp_path / "pets/train", {"dog": 9, "cat": 9}, rng=rng)
    fill(tmp_path / "pets/test", {"dog": 4, "cat": 3}, (24, 20, 3), rng=rng)
    run = scoring_helpers.finished_run(
        tmp_path / "run",
        tmp_path / "pets",
        recipe={"epochs": 1, "batch_size": 4},
        validation_size=4,
    )
    status, out, err = scoring_helpers.call(evaluate, f"--run={run}")
    assert status == 0, err
    assert "of 7 images" in out and "scaled to fit" in " ".join(out.split())
    names = [line.split()[0] for line in out.splitlines() if line.split()]
    assert names.count("cat") == 2 and names.count("dog") == 2  # two tables
    picture = tmp_path / "pets/test/cat/000.png"
    status, out, err = scoring_helpers.call(
        predict, f"--run={run}", picture, files=True
    )
    assert status == 0, err
    assert out.split()[:4] == ["picture", "class", "p(cat)", "p(dog)"]
    # Pictures in folders named by the classes, as the training data were.
    status, out, err = scoring_helpers.call(
        evaluate, f"--run={run}", f"--data={tmp_path / 'pets/test'}"
    )
    assert status == 0 and "of 7 images" in out, err
