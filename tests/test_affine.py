"""RandomAffine: its matrix, its directions and units, its draws."""

import numpy as np
import pytest
import tensorflow as tf

from mnistpipe import pipeline
from mnistpipe.pipeline.transforms.affine import affine_matrix

NOTHING = {
    "rotation": 0.0,
    "shift_x": 0.0,
    "shift_y": 0.0,
    "shear": 0.0,
    "zoom_x": 1.0,
    "zoom_y": 1.0,
    "flip_x": False,
    "flip_y": False,
}


def drawn(**parameters):
    """One example's parameters, the others doing nothing."""
    values = {**NOTHING, **parameters}
    return {name: tf.constant([value]) for name, value in values.items()}


def keras_matrix(height, width, axes, *, p):
    """rotation·shift·shear·zoom about a centre, factor by factor, float64.

    In coordinates (x, y, 1) from the first pixel, as Keras multiplies it.
    """
    theta, sigma = np.radians(p["rotation"]), np.radians(p["shear"])
    rotation = [
        [np.cos(theta), -np.sin(theta), 0],
        [np.sin(theta), np.cos(theta), 0],
        [0, 0, 1],
    ]
    shift = [[1, 0, p["shift_x"]], [0, 1, p["shift_y"]], [0, 0, 1]]
    shear = [[1, -np.sin(sigma), 0], [0, np.cos(sigma), 0], [0, 0, 1]]
    zoom = np.diag([p["zoom_x"], p["zoom_y"], 1])
    x, y = (width - 1) / 2, (height - 1) / 2
    if axes == "keras":
        x, y = y, x
    there = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
    back = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    matrix = there @ rotation @ shift @ shear @ zoom @ back
    flip = np.eye(3)
    if p["flip_x"]:
        flip[0] = [-1, 0, width - 1]
    if p["flip_y"]:
        flip[1] = [0, -1, height - 1]
    return matrix @ flip


@pytest.mark.parametrize("axes", ["documented", "keras"])
@pytest.mark.parametrize("size", [(28, 28), (20, 33), (33, 20)])
def test_matrix_is_the_product_of_its_factors(rng, size, axes):
    height, width = size
    for _ in range(50):
        parameters = {
            "rotation": rng.uniform(-180, 180),
            "shift_x": rng.uniform(-9, 9),
            "shift_y": rng.uniform(-9, 9),
            "shear": rng.uniform(-40, 40),
            "zoom_x": rng.uniform(0.5, 2),
            "zoom_y": rng.uniform(0.5, 2),
            "flip_x": bool(rng.integers(2)),
            "flip_y": bool(rng.integers(2)),
        }
        matrix = affine_matrix(drawn(**parameters), height, width, axes)[0]
        expected = keras_matrix(height, width, axes, p=parameters)
        # Ours acts on (row, column) from the centre.
        for x, y in rng.uniform(0, 20, (5, 2)):
            centred = [y - (height - 1) / 2, x - (width - 1) / 2, 1]
            row, column = matrix.numpy().astype(float) @ centred
            source = expected @ [x, y, 1]
            np.testing.assert_allclose(
                [column + (width - 1) / 2, row + (height - 1) / 2],
                source[:2],
                rtol=0,
                atol=1e-4,
            )


def dot(row, column, size=(9, 13)):
    image = np.zeros((1, *size, 1), np.float32)
    image[0, row, column] = 1
    return image


def find(image):
    return np.unravel_index(np.argmax(image[0, ..., 0]), image.shape[1:3])


@pytest.mark.parametrize(
    ("arguments", "start", "end"),
    [
        # The shift moves along the axis that its name says, a fraction of
        # that axis' length: 13 columns, 9 rows.
        ({"width_shift": (2 / 13, 2 / 13)}, (4, 6), (4, 4)),
        ({"height_shift": (2 / 9, 2 / 9)}, (4, 6), (2, 6)),
        ({"width_shift": (3, 3), "shift_unit": "pixels"}, (4, 6), (4, 3)),
        # As Keras' class does it: the height's fraction, along the columns.
        (
            {"height_shift": (2 / 9, 2 / 9), "axes": "keras"},
            (4, 6),
            (4, 4),
        ),
        # Counter-clockwise: from the right of the centre to above it.
        ({"rotation": (90, 90)}, (4, 9), (1, 6)),
        # Above 1 the picture shrinks: 4 columns off the centre become 2.
        ({"zoom": (2, 2)}, (4, 10), (4, 8)),
    ],
)
def test_directions_and_units(arguments, start, end):
    transform = pipeline.Compose([pipeline.RandomAffine(**arguments)])
    key = pipeline.example_keys(0, 0, [0])
    moved = transform(dot(*start), key).numpy()
    assert find(moved) == end


def test_flips_are_exact(rng):
    images = rng.uniform(size=(400, 6, 7, 3)).astype(np.float32)
    keys = pipeline.example_keys(4, 0, np.arange(400))
    seen = set()
    flip = pipeline.RandomAffine(horizontal_flip=True, vertical_flip=True)
    moved = pipeline.Compose([flip])(images, keys).numpy()
    for image, result in zip(images, moved, strict=True):
        variants = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
        found = [n for n, v in enumerate(variants) if np.array_equal(v, result)]
        assert len(found) == 1
        seen.add(found[0])
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_zero_ranges_change_nothing(rng, dtype):
    images = rng.integers(0, 255, (3, 11, 8, 2)).astype(dtype)
    keys = pipeline.example_keys(0, 0, np.arange(3))
    for fill_mode in ("nearest", "constant", "reflect", "wrap"):
        still = pipeline.Compose([pipeline.RandomAffine(fill_mode=fill_mode)])
        np.testing.assert_array_equal(still(images, keys), images)


def test_draws_fill_their_ranges():
    transform = pipeline.RandomAffine(
        rotation=10,
        width_shift=0.1,
        height_shift=(0.0, 0.2),
        shear=5,
        zoom=(0.8, 1.1),
        horizontal_flip=True,
    )
    count, (height, width) = 100_000, (20, 30)
    rng = pipeline.Draws(pipeline.example_keys(0, 0, np.arange(count)), 0)
    values = transform.draw(rng, (height, width, 1))
    ranges = {
        "rotation": (-10, 10),
        "shift_x": (-3, 3),
        "shift_y": (0, 4),
        "shear": (-5, 5),
        "zoom_x": (0.8, 1.1),
        "zoom_y": (0.8, 1.1),
    }
    for name, (low, high) in ranges.items():
        value = values[name].numpy()
        span = high - low
        assert low <= value.min() < low + 1e-3 * span
        assert high - 1e-3 * span < value.max() <= high
        error = span / np.sqrt(12 * count)
        assert abs(value.mean() - (low + high) / 2) < 5 * error
        assert abs(value.std() - span / np.sqrt(12)) < 5 * error
    columns = [values[name].numpy().astype(float) for name in ranges]
    columns.append(values["flip_x"].numpy().astype(float))
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 / np.sqrt(count)
    assert abs(columns[-1].mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    assert not values["flip_y"].numpy().any()


def test_keep_aspect_zooms_both_axes_alike():
    rng = pipeline.Draws(pipeline.example_keys(0, 0, np.arange(50)), 0)
    alike = pipeline.RandomAffine(zoom=0.3, keep_aspect=True)
    apart = pipeline.RandomAffine(zoom=0.3)
    values = alike.draw(rng, (8, 8, 1))
    np.testing.assert_array_equal(values["zoom_x"], values["zoom_y"])
    values = apart.draw(rng, (8, 8, 1))
    assert not np.any(values["zoom_x"] == values["zoom_y"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotation": float("nan")}, "rotation .* Received: nan"),
        ({"rotation": (5, -5)}, "low <= high"),
        ({"rotation": (1, 2, 3)}, "rotation"),
        ({"rotation": "10"}, "rotation .* Received: '10'"),
        ({"shear": 95}, r"shear .* \[-89.0, 89.0\]"),
        ({"zoom": 1.0}, "zoom below 1"),
        ({"zoom": (0.0, 2.0)}, "zoom below 1, or"),
        ({"width_shift": float("inf")}, "width_shift"),
        ({"width_shift": 3}, r"width_shift .* \[-1.0, 1.0\]"),
        ({"horizontal_flip": 0.5}, "horizontal_flip to be True or False"),
        ({"keep_aspect": 3}, "keep_aspect to be True or False"),
        ({"fill_mode": "mirror"}, "nearest, constant, reflect, wrap"),
        ({"interpolation": "cubic"}, "bilinear, nearest"),
        ({"shift_unit": "mm"}, "fraction, pixels"),
        ({"axes": "xy"}, "documented, keras"),
        ({"fill_value": float("nan")}, "fill_value"),
        ({"probability": 1.5}, r"probability .* \[0.0, 1.0\]"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        pipeline.RandomAffine(**arguments)
    assert "\n" not in str(error.value)
