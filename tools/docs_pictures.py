"""Makes the pictures that README.md and docs/ show, from the real thing.

python tools/docs_pictures.py

Writes docs/pictures/augmented.png: digits under recipe 1's augmentation; and
docs/pictures/curve.png: recipe 1's accuracy in each epoch, from the run in
results/runs. A curve without such a run is left out, and a line says so.
"""

import json
import pathlib
import sys

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


def main() -> None:
    """Writes all pictures."""
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


if __name__ == "__main__":
    main()
