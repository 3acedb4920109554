"""Makes the pictures that README.md and docs/ show, from the real thing.

python tools/docs_pictures.py
python tools/docs_pictures.py --run=runs/X    # report.png and demo.png too

Writes docs/pictures/augmented.png: digits under recipe 1's augmentation;
docs/pictures/transforms-*.png: every transform (docs_transforms.py); and
docs/pictures/curve.png: accuracies of each epoch of the first documented recipe
that has a finished run in results/runs whose test set was watched. With a run,
Chromium photographs its report and the demo page while a seven is drawn on it;
that needs the extras `demo` and `browser`.
"""

import argparse
import io
import itertools
import json
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import docs_transforms
from matplotlib.figure import Figure

from mnistpipe import data
from mnistpipe.evaluation import preview
from mnistpipe.evaluation.preview_options import PreviewOptions
from mnistpipe.recipes import RECIPES

ROOT = pathlib.Path(__file__).resolve().parents[1]
ARCH = "strided400k"  # recipe 1
DIGITS = [str(digit) for digit in range(10)]


def write_augmented(path: pathlib.Path) -> None:
    """Draws five digits, each with ten augmented versions."""
    options = PreviewOptions(examples=5, draws=10, out=str(path))
    digits = data.load().train
    chosen = preview.of_each_class(digits, options.examples, DIGITS)
    composes = preview.composes({"arch": ARCH}, options)
    preview.write(chosen, composes, options)


def find_run(results: pathlib.Path) -> pathlib.Path:
    """Returns the run that the curve shows, with the lowest seed.

    Raises:
      ValueError: there is none.
    """
    paths = sorted(results.glob("*-split-*.json"))
    found: dict[tuple[int, int], pathlib.Path] = {}
    for path in paths:
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["finished"] and "test_accuracy" in run["history"]:
            found[list(RECIPES).index(run["arch"]), run["seed"]] = path
    if not found:
        raise ValueError(
            "expected a finished, watched run in results/runs, got "
            f"{len(paths)} other runs"
        )
    return found[min(found)]


def write_curve(path: pathlib.Path, out: pathlib.Path) -> None:
    """Draws training, validation and watched test accuracy by epoch."""
    run = json.loads(path.read_text(encoding="utf-8"))
    figure = Figure(figsize=(7, 3.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, label in (
        ("accuracy", "training"),
        ("val_accuracy", "5,000 held out"),
        ("test_accuracy", "test set, which chose nothing"),
    ):
        percent = [100 * value for value in run["history"][name]]
        axes.plot(range(1, len(percent) + 1), percent, label=label)
    axes.set_ylim(98, 100)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %")
    axes.set_title(f"{run['arch']}, seed {run['seed']}", fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, format="png")


def write_pages(run: pathlib.Path, folder: pathlib.Path) -> None:
    """Photographs the report of a run, and the demo with a seven drawn."""
    size = {"width": 1000, "height": 1150}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    flags = (f"--run={run}", f"--port={port}")
    demo = subprocess.Popen([sys.executable, "-m", "mnistpipe.demo", *flags])
    try:
        report = (run / "report.html").resolve().as_uri()
        photograph(report, size, folder / "report.png", lambda page: None)
        wait_for(address)
        size["height"] = 760
        photograph(address, size, folder / "demo.png", draw_a_seven)
    finally:
        demo.terminate()
        demo.wait()


def wait_for(address: str) -> None:
    """Returns when a page answers."""
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    sys.exit(f"error: {address} does not answer")


def photograph(
    address: str,
    size: dict[str, int],
    path: pathlib.Path,
    act: Callable[[Any], None],
) -> None:
    """Saves what Chromium shows of a page, in at most 64 colours."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=size)
        page.goto(address)
        act(page)
        content = page.screenshot()
        browser.close()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(64).save(path, optimize=True)


def draw_a_seven(page: Any) -> None:
    """Draws on the demo's pad with the mouse, and waits for the answer."""
    pad = page.locator("#pad canvas").last
    pad.wait_for()
    page.wait_for_timeout(2000)  # until the brush is chosen
    box = pad.bounding_box()
    corners = [(0.35, 0.25), (0.65, 0.25), (0.48, 0.8)]
    places = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"])
        for x, y in corners
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    for _, place in itertools.pairwise(places):
        page.mouse.move(*place, steps=12)
    page.mouse.up()
    page.wait_for_function(
        "document.querySelector('#steady').innerText.includes('%')"
    )


def main(argv: list[str] | None = None) -> None:
    """Writes all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=pathlib.Path, help="a finished run")
    arguments = parser.parse_args(argv)
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    write_augmented(folder / "augmented.png")
    docs_transforms.write_sheets(folder)
    write_curve(find_run(ROOT / "results" / "runs"), folder / "curve.png")
    if arguments.run:
        write_pages(arguments.run, folder)


if __name__ == "__main__":
    main()
