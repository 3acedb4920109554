"""The hardest examples of a scorecard in one PNG file."""

import pathlib
import textwrap
from collections.abc import Mapping
from typing import Any

from mnistpipe.data import TestSet
from mnistpipe.evaluation.scorecard_text import accuracy_text, class_name


def save(
    scorecard: Mapping[str, Any], test: TestSet, path: pathlib.Path
) -> None:
    """Draws the hardest examples of a scorecard into a PNG file."""
    # pyplot would choose a window system and keep every figure in memory.
    from matplotlib.figure import Figure

    rows = scorecard["hardest"]
    columns = min(10, len(rows))
    lines = -(-len(rows) // columns)
    size = (1.2 * max(5, columns), 1.6 * lines + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    for number, row in enumerate(rows, 1):
        axes = figure.add_subplot(lines, columns, number)
        image = test.examples.images[row["index"]]
        grey = image.shape[-1] == 1
        shown = image[..., 0] if grey else image[..., :3]
        axes.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=255)
        axes.set_axis_off()
        names = (
            class_name(scorecard, row[n])[:12] for n in ("label", "answer")
        )
        probability = f"{row['probability_of_label']:.3f}"
        axes.set_title(f"{' → '.join(names)}\n{probability}", fontsize=8)
    figure.suptitle(
        f"{test.name}: label → answer, probability of the label\n"
        + textwrap.fill(
            f"{accuracy_text(scorecard)}; {scorecard['protocol']}", 90
        ),
        fontsize=6,
    )
    figure.savefig(path, format="png", dpi=150)
