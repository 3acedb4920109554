"""What the old library's own tests ask for, with only the import changed.

keras-preprocessing, and later keras.preprocessing.image, had tests of their
own. Each test here states one behaviour that they check through public names.
Every test runs with Keras' own module, too, which shows that the behaviour is
the old one.
"""

import inspect
import os
import types

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from replayed_keras import UTILITIES, keras_image

from mnistpipe.pipeline import image as ours

KERAS = types.SimpleNamespace(**{**vars(keras_image), **UTILITIES})
EVERYTHING = {
    "featurewise_center": True,
    "samplewise_center": True,
    "featurewise_std_normalization": True,
    "samplewise_std_normalization": True,
    "zca_whitening": True,
    "rotation_range": 90.0,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 0.5,
    "zoom_range": 0.2,
    "channel_shift_range": 0.0,
    "brightness_range": (1, 5),
    "fill_mode": "nearest",
    "cval": 0.5,
    "horizontal_flip": True,
    "vertical_flip": True,
    "interpolation_order": 1,
}
CHANNELS_LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
PICTURES = 24

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=[ours, KERAS], ids=["ours", "keras"])
def image(request):
    return request.param


@pytest.fixture
def pictures(rng):
    """[24, 10, 10, 3] in [0, 255)."""
    spread = rng.uniform(size=(PICTURES, 10, 10, 1)) * 191
    return (rng.uniform(size=(PICTURES, 10, 10, 3)) * spread).astype("float32")


@pytest.fixture
def folder(pictures, tmp_path):
    """24 pictures in two classes with folders below folders."""
    for i, picture in enumerate(pictures):
        places = ["", "subfolder-1", "subfolder-2", "subfolder-1/sub"]
        place = tmp_path / f"class-{i % 2}" / places[i % 4]
        place.mkdir(parents=True, exist_ok=True)
        mode = ["RGB", "RGBA", "L"][i % 3]
        picture = Image.fromarray(picture.astype(np.uint8)).convert(mode)
        picture.save(place / f"image-{i}.png")
    return tmp_path


@pytest.fixture
def table(folder):
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*.png"))
    frame = pd.DataFrame({"filename": names})
    frame["class"] = [name.split(os.sep)[0] for name in names]
    frame["path"] = [str(folder / name) for name in names]
    return frame


# -- functions ----------------------------------------------------------------


def test_random_functions_keep_the_shape(image):
    x = np.random.random((2, 28, 28))
    for moved in (
        image.random_rotation(x, 45),
        image.random_shift(x, 1, 1),
        image.random_shear(x, 20),
        image.random_zoom(x, (5, 5)),
        image.random_channel_shift(x, 20),
        image.apply_channel_shift(x, 2, 2),
        image.apply_affine_transform(x, 2),
    ):
        assert moved.shape == x.shape
    np.testing.assert_allclose(image.random_zoom(x, (1, 1)), x)


def test_half_a_right_angle_of_a_full_square_is_a_diamond(image):
    turned = image.apply_affine_transform(
        np.ones((3, 3, 3)), theta=45, fill_mode="constant", **CHANNELS_LAST
    )
    diamond = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_allclose(turned, np.repeat(diamond[..., None], 3, 2))


def test_a_right_angle_turns_about_the_centre(image):
    corner = np.array([[0, 1], [0, 0]])[..., None]
    turned = image.apply_affine_transform(corner, theta=90, **CHANNELS_LAST)
    np.testing.assert_allclose(turned[..., 0], [[1, 0], [0, 0]])


@pytest.mark.parametrize("channel_axis", [0, 2])
@pytest.mark.parametrize("swapped", [False, True])
def test_translations(image, channel_axis, swapped):
    point = np.zeros((3, 4), int)
    point[1, 1] = 1
    row_axis, col_axis = (1, 2) if channel_axis == 0 else (0, 1)
    if swapped:  # rows are called columns
        row_axis, col_axis = col_axis, row_axis
    for name, step, moved in (
        ("tx", 1, np.roll(point, -1, 1)),
        ("tx", -1, np.roll(point, 1, 1)),
        ("ty", 1, np.roll(point, -1, 0)),
        ("ty", -1, np.roll(point, 1, 0)),
    ):
        if swapped:
            name = {"tx": "ty", "ty": "tx"}[name]
        result = image.apply_affine_transform(
            np.expand_dims(point, channel_axis),
            row_axis=row_axis,
            col_axis=col_axis,
            channel_axis=channel_axis,
            **{name: step},
        )
        np.testing.assert_array_equal(result.squeeze(), moved)
        assert result.dtype == point.dtype


@pytest.mark.parametrize("value", [128, 1024, -1024])
def test_brightness_of_one_keeps_a_picture_or_stretches_it(image, value):
    picture = np.ones((1, 1, 3)) * value
    np.testing.assert_array_equal(
        image.random_brightness(picture, [1, 1], False), picture
    )
    np.testing.assert_array_equal(
        image.random_brightness(picture, [1, 1], True), np.zeros((1, 1, 3))
    )


WRONG_CALLS = [
    lambda image, x: image.random_zoom(0, zoom_range=[0]),
    lambda image, x: image.random_zoom(x, (0, 0, 0)),
    lambda image, x: image.random_brightness(0, [0]),
    lambda image, x: image.apply_affine_transform(x, 1, row_axis=0),
    lambda image, x: image.apply_affine_transform(x, 1, row_axis=3),
    lambda image, x: image.apply_affine_transform(x[0], 1),
    lambda image, x: image.apply_affine_transform(
        x, 1, row_axis=0, col_axis=2, channel_axis=1
    ),
]


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_errors_of_the_functions_are_those_of_keras(call):
    errors = []
    for image in (ours, KERAS):
        with pytest.raises(ValueError) as error:
            call(image, np.zeros((2, 4, 4)))
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    "arguments",
    [{"fill_mode": "mirror"}, {"order": 3}, {"cval": "black"}],
    ids=repr,
)
def test_what_the_functions_do_not_have_is_one_line(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"Expected {name} .*, got .*") as e:
        ours.apply_affine_transform(np.zeros((1, 4, 4)), 3, **arguments)
    assert "\n" not in str(e.value)


# -- functions beside Keras', value by value ----------------------------------

FUNCTIONS = {
    "random_rotation": (40,),
    "random_shift": (0.3, 0.2),
    "random_shear": (30,),
    "random_zoom": ((0.6, 1.5),),
    "random_channel_shift": (30,),
    "apply_channel_shift": (-25.5,),
}


def agrees(result, expected, span):
    assert result.shape == expected.shape and result.dtype == expected.dtype
    tolerance = 1e-3 * span if result.dtype.kind == "f" else 1
    far = np.abs(result.astype(float) - expected) > tolerance
    assert np.mean(far) < 0.01


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_of_keras(name, rng):
    arguments = FUNCTIONS[name]
    layouts = [
        ((3, 11, 14), {"channel_axis": 0}),
        ((11, 14, 3), {"channel_axis": 2}),
    ]
    for shape, layout in layouts:
        for place, dtype in enumerate(("float32", "float64", "uint8")):
            x = rng.uniform(0, 255, shape).astype(dtype)
            given = dict(layout)
            if "channel_shift" not in name:
                given["fill_mode"] = ["constant", "wrap", "reflect"][place]
                given["interpolation_order"] = place % 2
                if layout["channel_axis"] == 2:
                    given |= CHANNELS_LAST
            if name == "apply_channel_shift":
                given.pop("interpolation_order", None)
            elif "channel_shift" in name and dtype == "uint8":
                continue  # integers plus floats: Keras' result is float
            results = []
            for image in (ours, KERAS):
                np.random.seed(place)
                results.append(
                    getattr(image, name)(x.copy(), *arguments, **given)
                )
            agrees(*results, 255)


@pytest.mark.parametrize("bounds", [(0, 255), (0, 1), (-40, 300)])
def test_brightness_functions_are_those_of_keras(rng, bounds):
    x = rng.uniform(*bounds, (6, 5, 3)).astype("float32")
    for scale in (False, True):
        np.testing.assert_array_equal(
            ours.apply_brightness_shift(x, 1.4, scale),
            KERAS.apply_brightness_shift(x, 1.4, scale),
        )
    results = []
    for image in (ours, KERAS):
        np.random.seed(1)
        results.append(image.random_brightness(x, (0.3, 1.8)))
    np.testing.assert_array_equal(*results)


def test_every_public_name_and_argument_is_there():
    names = [name for name in FUNCTIONS if name != "apply_channel_shift"]
    names += ["apply_affine_transform", "apply_brightness_shift"]
    names += ["apply_channel_shift", "random_brightness", *UTILITIES]
    names += ["NumpyArrayIterator", "DirectoryIterator", "DataFrameIterator"]
    for name in names:
        mine = inspect.signature(getattr(ours, name)).parameters
        real = inspect.signature(getattr(KERAS, name)).parameters
        assert list(mine) == list(real), name
        for argument, parameter in real.items():
            assert mine[argument].default == parameter.default
    for name in UTILITIES:
        assert getattr(ours, name) is UTILITIES[name]
    assert set(names) <= set(ours.__all__)


# -- the class ----------------------------------------------------------------


def test_wrong_data_and_wrong_splits_are_errors(image):
    generator = image.ImageDataGenerator(**EVERYTHING)
    with pytest.raises(ValueError):
        generator.fit(np.random.random((3, 10, 10)))
    with pytest.raises(ValueError):
        generator.flow(np.arange(32))
    generator.flow(np.random.random((32, 10, 10, 5)))  # warns only
    for arguments in (
        {"validation_split": 5},
        {"brightness_range": 0.1},
        {"data_format": "unknown"},
        {"zoom_range": (2.0, 2.0, 2.0)},
    ):
        with pytest.raises(ValueError):
            image.ImageDataGenerator(**arguments)
    image.ImageDataGenerator(zoom_range=(2.0, 2.0))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_fit_takes_grey_and_colour_in_both_layouts(image, data_format):
    generator = image.ImageDataGenerator(
        **EVERYTHING | {"zoom_range": (0.2, 0.2), "brightness_range": None},
        data_format=data_format,
    )
    for size, channels in ((8, 3), (8, 1), (4, 1)):  # more pictures than pixels
        shape = [32, size, size]
        place = 3 if data_format == "channels_last" else 1
        shape.insert(place, channels)
        generator.fit(np.random.random(shape), augment=channels == 3)
        assert generator.mean.size == channels
        pixels = channels * size**2
        assert generator.zca_whitening_matrix.shape == (pixels, pixels)


def test_flow_and_standardize_with_everything_on(image, pictures):
    generator = image.ImageDataGenerator(**EVERYTHING)
    generator.fit(pictures, augment=True)
    batch = np.array([generator.random_transform(x) for x in pictures[:4]])
    assert generator.standardize(batch).shape == batch.shape
    x, y = next(generator.flow(pictures, np.arange(PICTURES), batch_size=3))
    assert x.shape == (3, *pictures.shape[1:]) and y.shape == (3,)


def test_fit_rescales_first(image, pictures):
    arguments = {"rescale": 1.0 / 255, "featurewise_center": True}
    generator = image.ImageDataGenerator(
        **arguments, featurewise_std_normalization=True
    )
    generator.fit(pictures)
    batch = next(generator.flow(pictures, batch_size=PICTURES))
    assert abs(np.mean(batch)) < 1e-3 and abs(1 - np.std(batch)) < 1e-3
    generator = image.ImageDataGenerator(**arguments, zca_whitening=True)
    generator.fit(pictures)
    assert np.abs(next(generator.flow(pictures, batch_size=24))).max() <= 10


def test_given_parameters_are_applied(image):
    generator = image.ImageDataGenerator(fill_mode="constant")
    x = np.random.random((32, 32, 3))
    for name, flipped in (
        ("flip_vertical", x[::-1]),
        ("flip_horizontal", x[:, ::-1]),
    ):
        np.testing.assert_allclose(
            generator.apply_transform(x, {name: True}), flipped, rtol=1e-6
        )


def test_seeds_draw_all_parameters_anew(image):
    drawing = {**EVERYTHING, "channel_shift_range": 0.1}
    generator = image.ImageDataGenerator(**drawing)
    first, second = (
        generator.get_random_transform((2, 28, 28), seed) for seed in (1, 2)
    )
    for name in ("theta", "tx", "ty", "shear", "zx", "zy", "brightness"):
        assert first[name] != 0 and first[name] != second[name]
    name = "channel_shift_intensity"
    assert first[name] != second[name]
    neutral = image.ImageDataGenerator().get_random_transform((2, 28, 28), 1)
    assert {neutral[name] for name in ("theta", "tx", "ty", "shear")} == {0}
    assert neutral["zx"] == neutral["zy"] == 1
    assert neutral["brightness"] is None and neutral[name] is None


# -- iterators over arrays ----------------------------------------------------


def test_an_empty_iterator_has_empty_indices(image):
    for batch_size in (0, 32):
        iterator = image.Iterator(0, batch_size, False, 0)
        assert next(iterator.index_generator).size == 0


def test_array_iterators(image, pictures, tmp_path):
    generator = image.ImageDataGenerator(horizontal_flip=True)
    numbers = np.arange(PICTURES)
    common = {"batch_size": 3, "save_to_dir": str(tmp_path)}

    def first(x, y=numbers, shuffle=False, **arguments):
        return next(
            image.NumpyArrayIterator(
                x, y, generator, shuffle=shuffle, **common | arguments
            )
        )

    x, y = first(pictures)
    assert x.shape == pictures[:3].shape and list(y) == [0, 1, 2]
    x, y, w = first(pictures, sample_weight=numbers + 1)
    assert list(y) == [0, 1, 2] and list(w) == [1, 2, 3]
    x, y = first(pictures, shuffle=True, seed=42)
    assert list(y) != [0, 1, 2]
    x = first(pictures, None)
    assert type(x) is np.ndarray and x.shape == pictures[:3].shape
    one, two = np.random.random(PICTURES), np.random.random((PICTURES, 3, 3))
    for misc, y in ((one, numbers), ([one, two], numbers), ([one, two], None)):
        x = first((pictures, misc), y)
        x = x if y is None else x[0]
        assert type(x) is list and x[0].shape == pictures[:3].shape
        np.testing.assert_array_equal(x[1], one[:3])
        if len(x) == 3:
            np.testing.assert_array_equal(x[2], two[:3])
    assert any(tmp_path.iterdir())


def test_sequences_shuffle_again_at_the_end_of_an_epoch(image, pictures):
    flow = image.ImageDataGenerator().flow(
        pictures, np.arange(PICTURES), batch_size=5, seed=123
    )
    assert len(flow) == 5
    _, y = flow[0]
    flow.on_epoch_end()
    _, again = flow[0]
    assert list(y) != list(range(5)) and list(y) != list(again)


def test_nearest_interpolation_keeps_the_labels(image):
    labels = np.array([[2, 2, 0, 2], [1, 3, 2, 3], [2, 1, 0, 1], [3, 1, 0, 2]])
    generator = image.ImageDataGenerator(
        rotation_range=90.0, interpolation_order=0
    )
    flow = generator.flow(labels[None, ..., None], seed=123)
    assert set(np.unique(next(flow))) <= set(np.unique(labels))


def test_lengths_that_differ_and_sorted_labels_are_errors(image, pictures):
    generator = image.ImageDataGenerator(validation_split=0.5)
    numbers = np.arange(PICTURES)
    longer = np.random.random((PICTURES + 1, 3, 3))
    for x, y, subset, message in (
        ((pictures, longer), numbers, None, "All of the arrays in"),
        (pictures, longer, None, "`x` (images tensor) and `y` (labels) "),
        (
            pictures,
            numbers // 12,
            "validation",
            "Training and validation subsets have different number of "
            "classes after the split",
        ),
        (pictures, numbers, "foo", ""),
    ):
        with pytest.raises(ValueError) as error:
            generator.flow(x, y, subset=subset)
        assert message in str(error.value)
    for subset in ("training", "validation"):
        flow = generator.flow(pictures, numbers % 2, subset=subset)
        assert len(np.unique(flow[0][1])) == 2


# -- iterators over files -----------------------------------------------------


def zeros(picture):
    assert picture.shape == (26, 26, 3) and type(picture) is np.ndarray
    return np.zeros_like(picture)


SMALL = {"target_size": (26, 26), "batch_size": 5}


def check_sequence(flow, classes):
    assert len(flow) == 5
    x, y = flow[1]
    assert x.shape == (5, 26, 26, 3) and y.shape == (5, classes)
    assert (flow[4][0] == 0).all()
    with pytest.raises(ValueError):
        flow[14]


def test_folders(image, folder):
    generator = image.ImageDataGenerator(preprocessing_function=zeros)
    flow = generator.flow_from_directory(str(folder), **SMALL)
    names = {str(p.relative_to(folder)) for p in folder.rglob("*.png")}
    assert len(flow.class_indices) == 2 and len(flow.classes) == PICTURES
    assert set(flow.filenames) == names
    check_sequence(flow, 2)
    for arguments in (
        {"color_mode": "cmyk"},
        {"class_mode": "output"},
        {"subset": "foo"},
    ):
        with pytest.raises(ValueError):
            generator.flow_from_directory(str(folder), **arguments)


@pytest.mark.parametrize(("split", "train"), [(0.25, 18), (0.4, 16)])
def test_subsets_of_folders_and_tables(image, folder, table, split, train):
    generator = image.ImageDataGenerator(validation_split=split)
    for make, source in (
        (generator.flow_from_directory, [str(folder)]),
        (generator.flow_from_dataframe, [table, str(folder)]),
    ):
        first = make(*source, subset="training")
        second = make(*source, subset="validation")
        if split == 0.4 and len(source) == 2:
            train = 15  # of the table as a whole, not of each class
        assert (first.samples, second.samples) == (train, PICTURES - train)
        assert len(first.class_indices) == 2
        assert not set(first.filenames) & set(second.filenames)


def test_pictures_as_targets_are_a_copy(image, folder, table):
    generator = image.ImageDataGenerator()
    for flow in (
        generator.flow_from_directory(str(folder), class_mode="input"),
        generator.flow_from_dataframe(
            table, str(folder), y_col=None, class_mode="input"
        ),
    ):
        x, y = next(flow)
        np.testing.assert_array_equal(x, y)
        y[0, 0, 0, 0] += 1
        assert x[0, 0, 0, 0] != y[0, 0, 0, 0]


def test_tables(image, folder, table):
    x, y = next(image.DataFrameIterator(table, str(folder)))
    assert isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    generator = image.ImageDataGenerator(preprocessing_function=zeros)
    by_path = generator.flow_from_dataframe(table, x_col="path", **SMALL)
    assert set(by_path.filenames) == set(table["path"])
    check_sequence(generator.flow_from_dataframe(table, folder, **SMALL), 2)
    sparse = image.ImageDataGenerator().flow_from_dataframe(
        table, folder, shuffle=False, class_mode="sparse"
    )
    _, y = next(sparse)
    np.testing.assert_array_equal(y, [int(c[-1]) for c in table["class"]])
    for arguments in ({"color_mode": "cmyk"}, {"class_mode": "output"}):
        with pytest.raises(ValueError):
            generator.flow_from_dataframe(table, folder, **arguments)
    with pytest.warns(DeprecationWarning):
        generator.flow_from_dataframe(table, folder, has_ext=True)


def test_tables_leave_out_files_that_are_not_there(image, folder, table):
    missing = pd.DataFrame({"filename": ["test.jpp", "test.jpg"]})
    longer = pd.concat([table, missing], ignore_index=True)
    for validate, count in ((True, PICTURES), (False, PICTURES + 2)):
        flow = image.ImageDataGenerator().flow_from_dataframe(
            longer,
            str(folder),
            class_mode="input",
            validate_filenames=validate,
        )
        assert len(flow.filenames) == count


def test_tables_with_weights(image, folder, table):
    table["weight"] = [2, 5] * (PICTURES // 2)
    arguments = {"y_col": None, "class_mode": "input", "batch_size": 5}
    flow = image.ImageDataGenerator().flow_from_dataframe(
        table, str(folder), shuffle=False, weight_col="weight", **arguments
    )
    _, _, weights = next(flow)
    np.testing.assert_array_equal(weights, [2, 5, 2, 5, 2])
    table["weight"] = ["2", "5"] * (PICTURES // 2)
    with pytest.raises(TypeError):
        image.ImageDataGenerator().flow_from_dataframe(
            table, weight_col="weight", **arguments
        )


def test_tables_with_several_labels(image, folder, table):
    table["class"] = [["b", "a"], "b", ["c"]] + ["a", ["a", "b"], ["b"]] * 7
    flow = image.ImageDataGenerator().flow_from_dataframe(
        table, str(folder), shuffle=False
    )
    _, y = next(flow)
    np.testing.assert_array_equal(y[:3], [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert set(np.unique(y)) == {0, 1}


def test_tables_with_numbers(image, folder, table):
    table["one"] = np.random.uniform(size=PICTURES)
    table["two"] = list(np.random.uniform(size=(PICTURES, 2, 2, 1)))
    arguments = {"directory": str(folder), "shuffle": False, "batch_size": 3}
    make = image.ImageDataGenerator().flow_from_dataframe
    _, y = next(make(table, y_col="one", class_mode="raw", **arguments))
    np.testing.assert_array_equal(y, table["one"][:3])
    outputs = ["one", "two"]
    flow = make(table, y_col=outputs, class_mode="multi_output", **arguments)
    _, y = next(flow)
    assert type(y) is list and y[1].shape == (3, 2, 2, 1)
    np.testing.assert_array_equal(y[1], np.array(table["two"].tolist())[:3])
    with pytest.raises(TypeError):
        make(table, y_col="one", class_mode="multi_output", **arguments)


def test_files_give_back_the_arrays(image, rng, tmp_path):
    x = rng.integers(0, 256, (10, 8, 3)).astype(np.uint8)
    path = tmp_path / "x.png"
    image.save_img(path, x, scale=False)
    np.testing.assert_array_equal(image.img_to_array(image.load_img(path)), x)
    assert image.load_img(path, target_size=(5, 4)).size == (4, 5)
    grey = image.load_img(path, color_mode="grayscale")
    first = image.img_to_array(grey, data_format="channels_first")
    assert first.shape == (1, 10, 8)
    with pytest.raises(ValueError):
        image.load_img(path, target_size=(5, 4), interpolation="unsupported")
    with pytest.raises(ValueError):
        image.array_to_img(np.zeros((10, 8, 5)))


def test_smart_resize_is_keras_own():
    x = np.random.random((20, 40, 3))
    assert ours.smart_resize(x, size=(10, 5)).shape == (10, 5, 3)
    with pytest.raises(ValueError):
        ours.smart_resize(x, size=(10, 5, 3))
