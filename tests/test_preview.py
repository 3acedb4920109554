"""The previews: what is shown, what is written, what is refused."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mnistpipe import data, pipeline
from mnistpipe.evaluation import preview as previewing
from mnistpipe.evaluation.preview_options import PreviewOptions
from mnistpipe.pipeline import previews
from mnistpipe.recipes import RecipeError

AUGMENT = pipeline.Compose(
    [
        pipeline.RandomAffine(rotation=(20, 30), width_shift=0.1),
        pipeline.Rescale(1 / 255),
        pipeline.GaussianNoise(0.05),
    ]
)


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (3, 12, 12, 1), np.uint8)


def test_a_column_shows_an_epoch_of_the_seed(images):
    grid = previews.grid(AUGMENT, images, seed=5, columns=2, captions=True)
    assert grid.pictures.shape == (3, 3, 12, 12, 1)
    np.testing.assert_allclose(grid.pictures[:, 0], images / 255, atol=1e-6)
    for epoch in range(2):
        keys = pipeline.example_keys(5, epoch, np.arange(3))
        expected = np.clip(AUGMENT(images, keys).numpy(), 0, 1)
        np.testing.assert_allclose(
            grid.pictures[:, 1 + epoch], expected, atol=1e-5
        )
        degrees = AUGMENT.draw(keys, (12, 12, 1))[0]["rotation"].numpy()
        for row in range(3):
            caption = grid.captions[row][1 + epoch]
            assert f"rotation {degrees[row]:.1f}°" in caption
            assert "shift_x" in caption and "shear" not in caption
    assert [row[0] for row in grid.captions] == [""] * 3


def test_a_list_or_one_transform_is_shown_as_its_compose(images):
    affine = pipeline.RandomAffine(rotation=20)
    shown = previews.grid(pipeline.Compose([affine]), images, columns=2)
    for same in ([affine], affine, {"": [affine]}):
        pictures = previews.grid(same, images, columns=2).pictures
        np.testing.assert_array_equal(pictures, shown.pictures)
    with pytest.raises(TypeError, match="Expected a Compose, a Transform or"):
        previews.grid(lambda images: images, images)


def test_strengths_are_shown_side_by_side_by_the_same_keys(images):
    none = pipeline.Compose([])
    turned = pipeline.Compose([pipeline.RandomAffine(rotation=(90, 90))])
    grid = previews.grid({"none": none, "turned": turned}, images, columns=1)
    assert grid.titles == {1: "none", 2: "turned"}
    np.testing.assert_array_equal(grid.pictures[:, 0], grid.pictures[:, 1])
    np.testing.assert_allclose(
        grid.pictures[:, 2],
        np.rot90(grid.pictures[:, 0], axes=(1, 2)),
        atol=1e-4,
    )


def test_masks_are_contours_that_move_with_their_pictures(images):
    masks = np.zeros((3, 12, 12), np.uint8)
    masks[:, 2:5, 2:5] = 1
    figure = pipeline.preview(
        pipeline.Compose([pipeline.RandomAffine(rotation=(90, 90))]),
        images,
        pipeline.example_keys(0, 0, np.arange(3)),
        masks=masks,
        names=("a", "b", "c"),
    )
    (axes,) = figure.axes
    # Three rows, the untouched column and one draw.
    assert len(axes.collections) == 6
    boxes = [
        np.ptp(path.vertices, axis=0)
        for contour in axes.collections
        for path in contour.get_paths()
    ]
    np.testing.assert_allclose(boxes, 3, atol=0.1)
    texts = {text.get_text() for text in axes.texts}
    assert {"a", "b", "c"} <= texts


@pytest.mark.parametrize(
    "transform",
    [
        pipeline.Resize((10, 14)),
        pipeline.RandomCrop((10, 14)),
        pipeline.RandomAffine(rotation=20, output_size=(10, 14)),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_a_transform_that_changes_the_size(images, transform):
    masks = np.ones((3, 12, 12), np.uint8)
    augment = pipeline.Compose([pipeline.Resize((16, 16)), transform])
    grid = previews.grid(augment, images, columns=2, masks=masks)
    assert grid.pictures.shape == (3, 3, 10, 14, 1)
    assert grid.masks.shape == (3, 3, 10, 14)
    same = pipeline.Compose([])
    with pytest.raises(ValueError, match=r"of one size.* 'b' \(10, 14\)"):
        previews.grid({"a": same, "b": augment}, images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((2, 8, 8, 2))}, "with 1 or 3 channels"),
        ({"keys": np.zeros((2, 2), np.int32)}, "Expected keys uint32"),
        ({"columns": 0}, "Expected columns"),
        ({"masks": np.zeros((5, 8, 8))}, "Expected masks"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    arguments = {"images": np.zeros((2, 8, 8, 1), np.uint8), **changes}
    with pytest.raises(ValueError, match=message):
        pipeline.preview(AUGMENT, **arguments)


def test_the_classes_are_shown_in_turn():
    labels = np.array([1, 1, 0, 2, 0])
    examples = data.Examples(np.arange(5).reshape(5, 1, 1, 1), labels)
    chosen = previewing.of_each_class(examples, 4, ["x", "y", "z"])
    assert chosen.index.tolist() == [2, 0, 3, 4]
    assert chosen.names == ("x", "y", "z", "x")


@pytest.mark.parametrize(
    ("flags", "format_name", "frames"),
    [
        ({"sweep": "rotation:0,20", "captions": True}, "PNG", 1),
        ({"animate": True, "out": "x.gif"}, "GIF", 2),
        ({"animate": True, "out": "x.apng", "captions": True}, "PNG", 2),
    ],
)
def test_what_is_written(
    flags, format_name, frames, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = PreviewOptions(draws=2, **flags)
    chosen = previewing.Chosen(images, np.arange(3), ("a", "b", "c"))
    composes = previewing.composes({"arch": "pool2m"}, options)
    previewing.write(chosen, composes, options)
    with Image.open(io.BytesIO(options.path.read_bytes())) as picture:
        assert picture.format == format_name
        assert getattr(picture, "n_frames", 1) == frames
        if frames == 2:  # the frames differ
            first = np.asarray(picture.convert("RGB")).copy()
            picture.seek(1)
            assert np.any(first != np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"sweep": "rotations:1"}, "one of the names rotation, width_shift"),
        ({"sweep": "rotation"}, "expected NAME:VALUE"),
        ({"sweep": "rotation:1,x"}, "sweep of rotation: expected a number"),
        ({"out": "x.jpg"}, "ends in .png, got 'x.jpg'"),
        ({"draws": 100, "examples": 100}, "at most 2000 pictures"),
    ],
)
def test_wrong_options_are_one_line(flags, message):
    with pytest.raises(RecipeError, match=message) as caught:
        PreviewOptions(**flags)
    assert "\n" not in str(caught.value)


def run(*arguments, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mnistpipe.preview", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--arch=nothing",), 2, "arch"),
        (("--arch=pool2m", "--data=x.npz"), 1, "x.npz"),
        (("--arch=pool2m", "--examples=3", "a.png"), 2, "got both"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, status, message, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == status
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_shows_pictures_in_files(images, tmp_path):
    for row, image in enumerate(images):
        large = Image.fromarray(image[..., 0]).resize((60, 60))
        large.save(tmp_path / f"{row}.png")
    names = [f"{row}.png" for row in range(3)]
    done = run(
        "--flagfile=flags.cfg", "--nonormalize_pictures", *names, cwd=tmp_path
    )
    assert done.returncode == 2  # the flagfile does not exist
    done = run(
        "--arch=pool2m",
        "--draws=2",
        "--nonormalize_pictures",
        *names,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "preview.png: 3 examples\n"
    with Image.open(tmp_path / "preview.png") as picture:
        assert picture.format == "PNG"


def test_a_choice_is_captioned_without_what_its_members_drew():
    """As many members as pictures: the list has the length of a parameter."""
    augment = pipeline.Compose(
        [pipeline.OneOf([pipeline.Invert(), pipeline.GaussianNoise(9.0)])]
    )
    images = np.full((1, 8, 8, 3), 100, np.uint8)
    grid = previews.grid(augment, images, seed=1, columns=2, captions=True)
    keys = pipeline.example_keys(1, np.arange(2), np.zeros(2, np.int64))
    (drawn,) = augment.draw(keys, (8, 8, 3))
    chosen = [f"choice {int(number)}" for number in drawn["choice"]]
    assert grid.captions == [["", *chosen]]
