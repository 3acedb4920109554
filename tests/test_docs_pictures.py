"""tools/docs_pictures.py still makes the pictures that are shown."""

import inspect
import pathlib
import shutil
import sys

import numpy as np
import pytest
import scoring_helpers
from PIL import Image

from mnistpipe import pipeline
from mnistpipe.networks import models
from mnistpipe.reports import run_report
from mnistpipe.runs import record

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import docs_pictures  # noqa: E402
import docs_transforms  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"


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


def test_every_transform_has_a_picture():
    exported = {
        name
        for name in pipeline.__all__
        if inspect.isclass(getattr(pipeline, name))
        and issubclass(getattr(pipeline, name), pipeline.Transform)
    }
    shown = {
        type(transform).__name__
        for sheet in docs_transforms.SHEETS.values()
        for transform in sheet
    }
    assert not shown & docs_transforms.WITHOUT_PICTURE
    assert shown | docs_transforms.WITHOUT_PICTURE == exported - {"Transform"}


def test_the_sheets_are_those_of_the_tool(tmp_path):
    names = {f"transforms-{name}.png" for name in docs_transforms.SHEETS}
    assert names == {path.name for path in PICTURES.glob("transforms-*.png")}
    # The cells of one sheet; drawing all takes as long as several tests.
    choices = {"choices": docs_transforms.SHEETS["choices"]}
    docs_transforms.write_sheets(tmp_path, choices)
    made, kept = (
        np.asarray(Image.open(folder / "transforms-choices.png").convert("L"))
        for folder in (tmp_path, PICTURES)
    )
    assert made.shape == kept.shape
    # Fonts may differ by version; the pictures come from the same keys.
    assert np.mean(np.abs(made.astype(float) - kept)) < 8


def test_the_curve_is_made_again(tmp_path):
    run = docs_pictures.find_run(ROOT / "results" / "runs")
    docs_pictures.write_curve(run, tmp_path / "curve.png")
    assert size(tmp_path / "curve.png") == size(PICTURES / "curve.png")


@pytest.mark.slow
def test_the_pages_are_photographed_again(tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    for name in ("gradio", "playwright"):
        pytest.importorskip(name, reason=f"{name} is not installed (extras)")
    npz = scoring_helpers.save_npz(tmp_path / "few.npz")
    run = scoring_helpers.finished_run(
        tmp_path / "run",
        npz,
        build=models.build,
        recipe={"epochs": 1, "width": 0.25},
    )
    run_report.write(run, record.read(run / "metrics.json"))
    out = tmp_path / "pictures"
    out.mkdir()
    docs_pictures.write_pages(run, out)
    for name in ("report.png", "demo.png"):
        assert size(out / name) == size(PICTURES / name)
