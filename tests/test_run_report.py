"""report.html: what it shows, that it needs nothing else, hostile text."""

import json
import re

import browser
import helpers
import numpy as np
import pytest
import scoring_helpers

from mnistpipe import data, report
from mnistpipe.networks import models
from mnistpipe.reports import figures, run_report, tensorboard
from mnistpipe.reports.options import ReportOptions
from mnistpipe.runs import predictions, record, runfolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of two epochs with a small network."""
    folder = tmp_path_factory.mktemp("report")
    npz = scoring_helpers.save_npz(folder / "few.npz")
    run = scoring_helpers.finished_run(
        folder / "run",
        npz,
        build=models.build,
        recipe={"epochs": 2, "width": 0.25},
        watch_test=True,
    )
    run_report.write(run, record.read(run / runfolder.METRICS))
    return run


def call(*arguments):
    return scoring_helpers.call(report, *arguments, options=ReportOptions)


def page_of(folder):
    return run_report.html(
        {folder.name: (folder, record.read(folder / runfolder.METRICS))}
    )


def test_what_a_report_shows(run):
    text = (run / "report.html").read_text("utf-8")
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{metrics['test_accuracy']:.2%} of 100 test images" in text
    assert "95 % interval" in text and "50 training images held out" in text
    for heading in (
        *("Curves", "Answers on the test set", "Hardest examples"),
        *("A batch as the network saw it", "Network", "How to repeat"),
    ):
        assert f"<h2>{heading}" in text
    assert "--arch=wide900k" in text and "--watch_test=true" in text
    assert (run / "report.html").stat().st_size < 3_000_000


def test_the_figures_are_those_of_the_saved_answers(run):
    """Confusions and hardest examples, computed here from the file."""
    few = helpers.few_digits()
    shares = np.load(run / predictions.NAME)
    assert shares.dtype == np.float32 and shares.shape == (100, 10)
    own = shares[np.arange(100), few.test.labels]
    text = page_of(run)
    alt = re.findall(r'alt="test image (\d+)"', text)
    assert [int(n) for n in alt] == np.argsort(own, kind="stable")[:20].tolist()
    worst = int(np.argmin(own))
    words = f"{few.test.labels[worst]} → {shares[worst].argmax()}"
    assert words in text and f"{own[worst]:.4f}" in text


def test_without_its_sources_a_section_is_left_out(run, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    text = (run / "metrics.json").read_text()
    (bare / "metrics.json").write_text(text)
    assert "Hardest examples" not in page_of(bare)
    (bare / predictions.NAME).write_bytes(b"no array")
    assert "Hardest examples" not in page_of(bare)
    np.save(bare / predictions.NAME, np.ones((3, 3), np.float32))
    page = page_of(bare)
    assert "Hardest examples" not in page and "Curves" in page


def test_several_runs_side_by_side(run, tmp_path):
    out = tmp_path / "both.html"
    copy = tmp_path / "other"
    copy.mkdir()
    (copy / "metrics.json").write_bytes((run / "metrics.json").read_bytes())
    status, _, err = call(f"--run={run},{copy}", f"--out={out}")
    assert status == 0, err
    assert "Runs side by side" in out.read_text("utf-8")
    status, _, err = call(f"--run={run},{copy}", f"--out={out}")
    assert status and "expected a new page" in err and err.count("\n") == 1
    nowhere = tmp_path / "nowhere" / "page.html"
    status, _, err = call(f"--run={run},{copy}", f"--out={nowhere}")
    assert status and "expected a page that can be written" in err
    assert str(nowhere) in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "expected --run or --sweep, got neither"),
        (("--run=a", "--sweep=b"), "got both"),
        (("--run=a,b",), "expected --out"),
        (("--run=nothing",), "with metrics.json; got no such folder"),
    ],
)
def test_wrong_flags_are_one_line(flags, words):
    status, _, err = call(*flags)
    assert status and words in err and err.count("\n") == 1


def test_text_of_a_stranger_is_escaped(run, tmp_path):
    """Every text field of metrics.json that the page shows holds HTML."""
    evil = "<script>window.evil=1</script>"
    hostile = tmp_path / "x"
    hostile.mkdir()
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["data"]["name"] = evil
    metrics["hardware"] |= {"cpu": evil, "gpus": [evil]}
    metrics["versions"] = dict.fromkeys(metrics["versions"], evil)
    metrics["commits"] = [evil]
    (hostile / "metrics.json").write_text(json.dumps(metrics))
    page = page_of(hostile)
    assert evil not in page and "&lt;script&gt;window.evil" in page
    named = run_report.html(
        {evil: (hostile, record.read(hostile / "metrics.json"))}
    )
    assert evil not in named


def test_figures_escape_names():
    svg = figures.confusion([[1, 2], [0, 3]], ["<b>", "&amp"])
    assert "<b>" not in svg and "&lt;b&gt;" in svg
    svg = figures.curves({"<i>": {"loss": [1.0]}, "b": {"loss": [2.0]}})
    assert "<i>" not in svg


def test_epochs_are_counted_in_whole_numbers():
    svg = figures.curves({"a": {"loss": [0.5], "val_loss": [0.6]}})
    texts = re.findall(r">([\d.]+)</text>", svg)
    assert "1" in texts and not {"0.96", "1.00", "1.04"} & set(texts)


def test_pictures_are_tiled_and_encoded(rng):
    """Read back by Pillow, beside the layout written out."""
    import base64
    import io

    from PIL import Image

    pictures = rng.integers(0, 256, (3, 4, 5, 1), np.uint8)
    sheet = figures.tile(pictures, 2, gap=1)
    assert sheet.shape == (9, 11)
    np.testing.assert_array_equal(sheet[:4, 6:], pictures[1, ..., 0])
    np.testing.assert_array_equal(sheet[5:, :5], pictures[2, ..., 0])
    url = figures.picture(sheet, 2)
    content = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    read = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read[::2, ::2], sheet)
    floats = figures.to_uint8(np.array([-1.0, 0.0, 0.5, 1.0, 2.0]))
    assert floats.tolist() == [0, 0, 128, 255, 255]


def test_a_browser_opens_the_page_without_a_network(run):
    with browser.page(offline=True) as (page, problems):
        page.goto((run / "report.html").as_uri())
        assert page.locator("svg").count() == 3
        images = page.locator("img").all()
        assert len(images) == 21
        assert all(
            one.evaluate("image => image.naturalWidth") > 0 for one in images
        )
        page.locator("button.copy").click()
        # wait_for_function evaluates text, which the page's policy forbids.
        page.locator("button.copy:text-is('copied')").wait_for()
    assert not problems


def test_tables_sort(tmp_path):
    from mnistpipe.reports import page as pages

    text = pages.render(
        "sweep.html",
        title="t",
        summary="s",
        best_flagfile="",
        against="",
        objective="o",
        columns=["trial", "score"],
        rows=[
            {"cells": ["1", "0.9"], "documented": True},
            {"cells": ["2", "0.95"], "documented": False},
            {"cells": ["3", "0.5"], "documented": False},
        ],
    )
    (tmp_path / "s.html").write_text(text, "utf-8")
    with browser.page(offline=True) as (page, problems):
        page.goto((tmp_path / "s.html").as_uri())
        for order in (["2", "1", "3"], ["3", "1", "2"]):
            page.locator("th").nth(1).click()
            first = page.locator("tbody td:first-child").all_text_contents()
            assert first == order
    assert not problems


def test_data_of_the_report_must_be_those_of_the_run(run, tmp_path):
    """Other data under the same path are not shown."""
    one = record.read(run / "metrics.json")
    assert run_report.digits_of(one) is not None
    other = scoring_helpers.save_npz(
        tmp_path / "other.npz", x_test=helpers.few_digits().test.images[::-1]
    )
    assert data.load(other).fingerprint != one.data.fingerprint
    moved = one.options.replace(data=str(other))
    import dataclasses

    assert run_report.digits_of(dataclasses.replace(one, options=moved)) is None


def test_tensorboard_gets_pictures_and_hyperparameters(run, tmp_path):
    """Read back by TensorBoard's own reader."""
    from tensorboard.backend.event_processing import event_accumulator

    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("metrics.json", predictions.NAME):
        (folder / name).write_bytes((run / name).read_bytes())
    one = record.read(folder / runfolder.METRICS)
    tensorboard.write(folder, one, run_report.digits_of(one))
    events = event_accumulator.EventAccumulator(
        str(folder / runfolder.TENSORBOARD), size_guidance={"tensors": 0}
    )
    events.Reload()
    tags = events.Tags()["tensors"]
    for name in ("batch", "hardest", "confusion"):
        assert f"report/{name}" in tags
        width, _, *pictures = events.Tensors(f"report/{name}")[
            0
        ].tensor_proto.string_val
        assert int(width) > 100 and pictures[0].startswith(b"\x89PNG")
    plugins = events.summary_metadata
    assert any(
        meta.plugin_data.plugin_name == "hparams" for meta in plugins.values()
    )
