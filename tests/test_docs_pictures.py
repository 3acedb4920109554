"""tools/docs_pictures.py still makes the pictures that are shown."""

import pathlib
import sys

import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import docs_pictures  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
COMPACT = next((ROOT / "results" / "runs").glob("compact500k-split-*.json"))


def size(path: pathlib.Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize("path", sorted(PICTURES.iterdir()), ids=str)
def test_pictures_are_small(path):
    assert path.suffix == ".png"
    assert path.stat().st_size < 200_000


def test_the_digits_are_made_again(tmp_path):
    docs_pictures.write_augmented(tmp_path / "augmented.png")
    assert size(tmp_path / "augmented.png") == size(PICTURES / "augmented.png")


def test_the_curve_is_made_again(tmp_path):
    run = docs_pictures.find_run(ROOT / "results" / "runs")
    # A picture is shown if, and only if, recipe 1 has been trained.
    assert (PICTURES / "curve.png").exists() == (run is not None), (
        "run tools/docs_pictures.py"
    )
    docs_pictures.write_curve(run or COMPACT, tmp_path / "curve.png")
    assert size(tmp_path / "curve.png") == (700, 320)
    if run:
        assert size(PICTURES / "curve.png") == (700, 320)
