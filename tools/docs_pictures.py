"""Makes the pictures that README.md and docs/ show, from the real thing.

python tools/docs_pictures.py
python tools/docs_pictures.py --run=runs/X    # report.png and demo.png too

Writes docs/pictures/augmented.png: digits under recipe 1's augmentation; and
docs/pictures/curve.png: recipe 1's accuracy in each epoch, from the run in
results/runs. A curve without such a run is left out, and a line says so. With
a run, Chromium photographs its report and the demo page while a seven is drawn
on it; that needs the extras `demo` and `browser`.
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

from matplotlib.figure import Figure

from mnistpipe import data
from mnistpipe.evaluation import preview
from mnistpipe.evaluation.preview_options import PreviewOptions

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


def find_run(results: pathlib.Path) -> pathlib.Path | None:
    """Returns the finished run of recipe 1 with the lowest seed."""
    runs = {}
    for path in sorted(results.glob(f"{ARCH}-split-*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["finished"]:
            runs[run["seed"]] = path
    return runs[min(runs)] if runs else None


def write_curve(run: pathlib.Path, path: pathlib.Path) -> None:
    """Draws training and validation accuracy against the epoch."""
    history = json.loads(run.read_text(encoding="utf-8"))["history"]
    figure = Figure(figsize=(7, 3.2), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, label in (("accuracy", "training"), ("val_accuracy", "held out")):
        percent = [100 * value for value in history[name]]
        axes.plot(range(1, len(percent) + 1), percent, label=label)
    axes.set_ylim(97, 100)
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %")
    axes.set_title(f"{ARCH}, {run.stem}", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, format="png")


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
    run = find_run(ROOT / "results" / "runs")
    if run is None:
        print(
            f"No finished run of {ARCH} is in results/runs: no curve.png",
            file=sys.stderr,
        )
    else:
        write_curve(run, folder / "curve.png")
    if arguments.run:
        write_pages(arguments.run, folder)


if __name__ == "__main__":
    main()
