"""The drop-in's iterators over files, beside Keras' own."""

import keras
import numpy as np
import pandas as pd
import PIL
import pytest
import tensorflow as tf
from PIL import Image
from replayed_keras import Real

from mnistpipe.pipeline.generator import ImageDataGenerator

CLASSES = {"cats": 5, "dogs": 4, "eels": 3}
PLAIN = {"shuffle": False, "batch_size": 5, "target_size": (12, 10)}


@pytest.fixture
def folder(rng, tmp_path):
    """Pictures of several sizes, modes and formats, and what is none."""
    for name, count in CLASSES.items():
        (tmp_path / name / "more").mkdir(parents=True)
        (tmp_path / name / "notes.txt").write_text("no picture")
        for i in range(count):
            size = (int(rng.integers(8, 30)), int(rng.integers(8, 30)))
            mode = ["RGB", "L", "RGBA"][i % 3]
            shape = (*size, {"RGB": 3, "L": 1, "RGBA": 4}[mode])
            values = rng.integers(0, 256, shape).astype(np.uint8)
            image = Image.fromarray(values.squeeze(), mode)
            place = tmp_path / name / ("more" if i == 1 else "")
            image.save(place / f"{i}.{'PNG' if mode == 'RGBA' else 'bmp'}")
    (tmp_path / "readme.png").write_text("beside the classes: not read")
    return tmp_path


@pytest.fixture
def table(folder):
    rows = [
        (str(path.relative_to(folder)), path.relative_to(folder).parts[0])
        for path in sorted(folder.glob("*/*.*"))
        if path.suffix != ".txt"
    ]
    table = pd.DataFrame(rows, columns=["filename", "class"])
    table["weight"] = np.arange(len(table)) / 10
    table["height"] = np.arange(len(table)) * 1.5
    table["several"] = [
        [name, "old"] if i % 2 else [name]
        for i, name in enumerate(table["class"])
    ]
    return table


def same_iterators(ours, theirs, batches=4):
    for name in ("n", "samples", "filenames", "filepaths", "class_mode"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("image_shape", "target_size", "color_mode", "data_format"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("directory", "split", "subset", "interpolation", "dtype"):
        assert getattr(ours, name) == getattr(theirs, name), name
    if hasattr(theirs, "class_indices"):
        assert ours.class_indices == theirs.class_indices
        np.testing.assert_equal(ours.classes, theirs.classes)
    assert len(ours) == len(theirs)
    for _ in range(batches):
        mine, real = next(ours), next(theirs)
        assert type(mine) is type(real)
        mine, real = tf.nest.flatten(mine), tf.nest.flatten(real)
        for a, b in zip(mine, real, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"class_mode": "binary", "classes": ["dogs", "cats"]},
        {"class_mode": "sparse", "color_mode": "grayscale"},
        {"class_mode": "input", "color_mode": "rgba"},
        {"class_mode": None, "interpolation": "bilinear"},
        {"keep_aspect_ratio": True, "interpolation": "lanczos"},
        {"subset": "training"},
        {"subset": "validation", "follow_links": True},
    ],
    ids=repr,
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_folders_are_read_as_keras_reads_them(
    folder, capsys, arguments, data_format
):
    made = {"validation_split": 0.4, "data_format": data_format}
    ours, theirs = (
        kind(**made).flow_from_directory(str(folder), **PLAIN, **arguments)
        for kind in (ImageDataGenerator, Real)
    )
    assert ours.num_classes == theirs.num_classes
    mine, real = capsys.readouterr().out.splitlines()
    assert mine == real
    same_iterators(ours, theirs)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"classes": ["eels", "cats"]},
        {"y_col": "several"},
        {"y_col": "several", "classes": ["old", "dogs"]},
        {"class_mode": "sparse", "weight_col": "weight"},
        {"class_mode": "binary", "classes": ["eels", "cats"]},
        {"class_mode": "input", "subset": "training"},
        {"class_mode": None, "subset": "validation"},
        {"class_mode": "raw", "y_col": "height"},
        {"class_mode": "raw", "y_col": ["height", "weight"]},
        {"class_mode": "multi_output", "y_col": ["height", "class"]},
        {"validate_filenames": False, "color_mode": "grayscale"},
    ],
    ids=repr,
)
def test_tables_are_read_as_keras_reads_them(folder, table, capsys, arguments):
    before = table.copy()
    ours, theirs = (
        kind(validation_split=0.3).flow_from_dataframe(
            table, str(folder), **PLAIN, **arguments
        )
        for kind in (ImageDataGenerator, Real)
    )
    mine, real = capsys.readouterr().out.splitlines()
    assert mine == real
    same_iterators(ours, theirs)
    pd.testing.assert_frame_equal(table, before)


def test_names_that_are_no_pictures_are_left_out(folder, table):
    absolute = table.assign(
        filename=[str(folder / name) for name in table["filename"]]
    )
    absolute.loc[2, "filename"] = str(folder / "missing.png")
    absolute.loc[4, "filename"] = str(folder / "cats" / "notes.txt")
    with pytest.warns(UserWarning, match="Left out 2 names"):
        ours = ImageDataGenerator().flow_from_dataframe(absolute, **PLAIN)
    with pytest.warns(UserWarning):
        theirs = Real().flow_from_dataframe(absolute, **PLAIN)
    same_iterators(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_mode": "one"}, "class_mode to be one of binary, .*'one'"),
        ({"class_mode": "binary"}, "Expected 2 classes.*got 3"),
        ({"class_mode": "multi_output"}, "y_col to be a list"),
        ({"class_mode": "sparse", "y_col": "height"}, "to hold strings"),
        ({"y_col": "height"}, "strings, lists or tuples"),
        ({"x_col": "height"}, "to hold strings"),
        ({"weight_col": "class"}, "'class' to be numeric"),
        ({"color_mode": "cmyk"}, "color_mode to be one of grayscale, rgb"),
        ({"subset": "test"}, "subset to be one of training, validation"),
        ({"shade": 1}, "unexpected keyword argument 'shade'"),
    ],
)
def test_a_bad_table_is_one_line(folder, table, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message) as e:
        ImageDataGenerator().flow_from_dataframe(table, folder, **arguments)
    assert "\n" not in str(e.value)


def test_arguments_that_keras_gave_up(folder, table):
    with pytest.deprecated_call():
        flow = ImageDataGenerator().flow_from_dataframe(
            table, folder, has_ext=True
        )
    assert flow.n == sum(CLASSES.values()) - len(CLASSES)
    with pytest.deprecated_call():
        ImageDataGenerator().flow_from_dataframe(
            table, folder, y_col="height", class_mode="other"
        )


def test_a_folder_of_no_pictures(tmp_path, capsys):
    flow = ImageDataGenerator().flow_from_directory(tmp_path)
    assert "Found 0 images belonging to 0 classes." in capsys.readouterr().out
    assert len(flow) == 0
    with pytest.raises(ValueError, match="at least one image"):
        next(flow)


def test_files_give_the_pictures_that_arrays_give(folder):
    generator = ImageDataGenerator(
        rotation_range=30, rescale=1 / 255, horizontal_flip=True
    )
    size = {"target_size": (16, 14), "color_mode": "grayscale"}
    common = {"seed": 3, "batch_size": 5}
    files = generator.flow_from_directory(folder, **size, **common)
    plain = ImageDataGenerator().flow_from_directory(
        folder, **size, shuffle=False, batch_size=files.n
    )
    arrays = generator.flow(*next(plain), **common)
    for batch in files.dataset(2):
        x, y = next(files)
        expected = next(arrays)
        for a, b, c in zip((x, y), expected, batch, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


def cut_short(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [cut_short, lambda data: b"", bytes.upper])
def test_a_file_that_cannot_be_read_is_named(tmp_path, rng, damage):
    path = tmp_path / "cats" / "0.png"
    path.parent.mkdir()
    values = rng.integers(0, 256, (30, 30, 3)).astype(np.uint8)
    Image.fromarray(values).save(path)
    path.write_bytes(damage(path.read_bytes()))
    flow = ImageDataGenerator().flow_from_directory(
        tmp_path, target_size=(30, 30)
    )
    with pytest.raises(PIL.UnidentifiedImageError, match=str(path)) as error:
        next(flow)
    assert "\n" not in str(error.value)
    with pytest.raises(OSError):  # scripts that skip broken files catch it
        next(Real().flow_from_directory(tmp_path, target_size=(30, 30)))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        next(flow)


def test_a_script_that_trains_from_folders(folder, tmp_path_factory):
    saved = tmp_path_factory.mktemp("saved")
    generator = ImageDataGenerator(
        rescale=1.0 / 255, shear_range=0.2, validation_split=0.25
    )
    arguments = {"target_size": (12, 10), "batch_size": 4, "seed": 1}
    train = generator.flow_from_directory(
        folder, subset="training", save_to_dir=saved, **arguments
    )
    valid = generator.flow_from_directory(
        folder, subset="validation", **arguments
    )
    assert train.samples + valid.samples == sum(CLASSES.values())
    model = keras.Sequential(
        [
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(train.num_classes, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        train,
        steps_per_epoch=train.samples // train.batch_size,
        epochs=2,
        validation_data=valid,
        validation_steps=1,
        verbose=0,
    )
    assert any(saved.iterdir())
    test = ImageDataGenerator(rescale=1.0 / 255).flow_from_directory(
        folder, target_size=(12, 10), shuffle=False, class_mode=None
    )
    test.reset()
    predicted = np.argmax(model.predict(test, verbose=0), axis=1)
    names = {number: name for name, number in train.class_indices.items()}
    assert len([names[number] for number in predicted]) == len(test.filenames)
