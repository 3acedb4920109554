"""The demo: the same answers as evaluate, bounds, and a real browser."""

import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import browser
import helpers
import numpy as np
import pytest
import scoring_helpers
from PIL import Image

from mnistpipe import data, evaluate
from mnistpipe.data import folders
from mnistpipe.errors import UserError
from mnistpipe.evaluation.prediction import Predictor
from mnistpipe.networks import models
from mnistpipe.runs import finished
from mnistpipe.serving import drawing

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    npz = scoring_helpers.save_npz(folder / "few.npz")
    return scoring_helpers.finished_run(
        folder / "run",
        npz,
        build=models.build,
        recipe={"epochs": 1, "width": 0.25},
    )


@pytest.fixture(scope="module")
def answerer(run, tmp_path_factory):
    return drawing.Answerer(
        [Predictor(finished.read(str(run)))],
        (28, 28, 1),
        DIGITS,
        folders.NORMALIZED,
        20,
        tmp_path_factory.mktemp("drawings"),
    )


def large(digit, ink=(30, 40, 110)):
    """A digit as somebody else draws it: large, coloured, on white."""
    strength = np.asarray(Image.fromarray(digit).resize((200, 200))) / 255
    mixed = 255 + strength[..., None] * (np.array(ink) - 255)
    return np.rint(mixed).astype(np.uint8)


def test_a_folder_of_digits_gets_the_same_answers_as_evaluate(
    run, answerer, tmp_path
):
    test = helpers.few_digits().test
    for index in range(40):
        path = tmp_path / "set" / str(test.labels[index]) / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(large(test.images[index, ..., 0])).save(path)
    status, out, err = scoring_helpers.call(
        evaluate,
        *(f"--run={run}", f"--data={tmp_path / 'set'}", "--json"),
        "--hardest=40",
    )
    assert status == 0, err
    rows = {row["file"]: row for row in json.loads(out)["hardest"]}
    assert len(rows) == 40
    for file, row in rows.items():
        pixels = np.asarray(Image.open(tmp_path / "set" / file))
        shares = answerer.answer(pixels).probabilities[0]
        assert shares.argmax() == row["answer"]
        assert shares[row["label"]] == pytest.approx(
            row["probability_of_label"], abs=1e-6
        )


def test_what_a_drawing_gives(answerer):
    digit = helpers.few_digits().test.images[0, ..., 0]
    answer = answerer.answer(large(digit))
    assert answer.shown.shape == (28, 28, 1)
    assert answer.probabilities.sum() == pytest.approx(1)
    assert 0 <= answer.steady[0] <= 1
    # Black ink on a transparent pad is black on white.
    alpha = np.zeros((*digit.shape, 4), np.uint8)
    alpha[..., 3] = digit
    opaque = np.repeat(255 - digit[..., None], 3, axis=2)
    np.testing.assert_array_equal(
        answerer.answer(alpha).shown, answerer.answer(opaque).shown
    )


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((10_000, 10_000), np.uint8),
        np.zeros((0, 5), np.uint8),
        np.zeros((5, 5), np.float32),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros(7, np.uint8),
        np.full((50, 50, 3), 255, np.uint8),  # blank
    ],
    ids=lambda p: f"{p.shape}{p.dtype}",
)
def test_hostile_drawings_are_one_line(answerer, pixels):
    with pytest.raises(UserError) as error:
        answerer.answer(pixels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["../7", "/etc", "7/../../x", "", "seven", "07", "7\n"]
)
def test_a_label_that_is_no_class_is_refused(answerer, name):
    with pytest.raises(UserError, match="label: expected one of 0"):
        answerer.save(np.zeros((9, 9), np.uint8), name)
    assert not list(answerer.save_to.rglob("*.png"))


def test_a_missing_extra_is_one_line(run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\n_f = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'gradio' else _f(n, *a)\n"
    )
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "mnistpipe.demo", f"--run={run}"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode and "extra `demo`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# A real browser


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """(address, folder of drawings) of a demo in a process of its own."""
    pytest.importorskip("gradio", reason="the extra `demo` is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    drawings = tmp_path_factory.mktemp("saved") / "drawings"
    log = drawings.parent / "log.txt"
    command = [
        *(sys.executable, "-m", "mnistpipe.demo", f"--run={run}"),
        *(f"--port={port}", f"--save_to={drawings}"),
    ]
    with open(log, "w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            # A shell in the background has its children ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).read()
            break
        except OSError:
            alive = process.poll() is None and time.monotonic() < deadline
            assert alive, log.read_text()
            time.sleep(0.3)
    yield address, drawings
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def draw_a_seven(page, touch=False):
    """A seven by mouse events, or by a finger."""
    pad = page.locator("#pad canvas").last
    pad.wait_for()
    pad.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)  # Gradio sets its canvas up
    box = pad.bounding_box()
    points = [(0.3, 0.25), (0.5, 0.25), (0.7, 0.25), (0.6, 0.5), (0.45, 0.8)]
    places = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"])
        for x, y in points
    ]
    if touch:
        touch_along(page, places)
        return
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()


def touch_along(page, places):
    session = page.context.new_cdp_session(page)

    def send(kind, points):
        session.send(
            "Input.dispatchTouchEvent",
            {
                "type": kind,
                "touchPoints": [{"x": x, "y": y} for x, y in points],
            },
        )

    send("touchStart", [places[0]])
    for start, end in itertools.pairwise(places):
        for step in np.linspace(0, 1, 9)[1:]:
            point = tuple(
                a + step * (b - a) for a, b in zip(start, end, strict=True)
            )
            send("touchMove", [point])
    send("touchEnd", [])


@pytest.mark.slow
@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "touch"])
def test_a_browser_draws_reads_saves_and_evaluates(served, run, touch):
    address, drawings = served
    before = set(drawings.rglob("*.png"))
    phone = {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
        "is_mobile": True,
    }
    with browser.page(**(phone if touch else {})) as (page, problems):
        page.goto(address)
        draw_a_seven(page, touch)
        page.wait_for_function(
            "document.querySelector('#steady').innerText.includes('%')",
            timeout=30_000,
        )
        answer = page.locator("#answer0").inner_text()
        assert answer.count("%") == 10
        page.locator("#name label", has_text="7").click()
        page.locator("#save").click()
        page.wait_for_function(
            "document.querySelector('#saved').innerText.includes('Saved 7/')",
            timeout=30_000,
        )
    assert not [one for one in problems if one.startswith("request")], problems
    (saved,) = set(drawings.rglob("*.png")) - before
    shown = data.load_test(drawings).examples.images
    assert shown.shape[1:] == (28, 28, 1) and saved.parent.name == "7"
    status, out, err = scoring_helpers.call(
        evaluate, f"--run={run}", f"--data={pathlib.Path(drawings)}", "--json"
    )
    assert status == 0, err
    assert json.loads(out)["examples"] == len(before) + 1
