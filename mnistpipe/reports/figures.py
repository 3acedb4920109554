"""The figures of reports: matplotlib drawings as SVG, pictures as PNG.

Every function returns markup that stands in an HTML page as it is. Text that
comes from a run (names of runs and classes) is drawn by matplotlib, which
escapes it.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
History = Mapping[str, Sequence[float | None]]
Figure = Any  # matplotlib's, which is imported only when something is drawn


def _figure(width: float, height: float) -> Any:
    # Not pyplot, which would choose a window system and keep every figure.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Any, title: str) -> str:
    """Draws a matplotlib figure as an inline SVG element.

    Args:
      figure: a matplotlib Figure.
      title: what a screen reader says; plain words without markup.
    """
    import matplotlib

    buffer = io.StringIO()
    # Text stays text: smaller, and it can be selected. The salt makes the
    # same figure give the same bytes.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": title}
    with matplotlib.rc_context(settings):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Identifiers are global in a page that holds several figures.
    mark = re.sub(r"\W", "", title)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{mark}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def picture(pixels: np.ndarray, scale: int = 1) -> str:
    """Encodes uint8 [H, W] or [H, W, C] as a data URL of a PNG.

    Args:
      pixels: grey or RGB, 0 to 255.
      scale: side of the square, in pixels, that each pixel becomes.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    size = (image.width * scale, image.height * scale)
    buffer = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST).save(
        buffer, "PNG", optimize=True
    )
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/png;base64,{encoded}"


def tile(pictures: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Lays uint8 [N, H, W, C] out in rows, on a light grey ground.

    Returns:
      uint8 [rows·(H+gap)-gap, columns·(W+gap)-gap] or, of 3 channels, RGB.
    """
    count, height, width, channels = pictures.shape
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + gap), columns * (width + gap), channels),
        200,
        np.uint8,
    )
    for place, pixels in enumerate(pictures):
        row, column = divmod(place, columns)
        top, left = row * (height + gap), column * (width + gap)
        sheet[top : top + height, left : left + width] = pixels
    sheet = sheet[:-gap, :-gap]
    return sheet[..., 0] if channels == 1 else sheet[..., :3]


def to_uint8(pictures: np.ndarray) -> np.ndarray:
    """Float pictures of about 0 to 1 as uint8; values beyond are clipped."""
    return np.rint(np.clip(pictures, 0, 1) * 255).astype(np.uint8)


def curves(histories: Mapping[str, History]) -> str:
    """Loss, accuracy and learning rate of one or several runs by epoch."""
    figure = _figure(11, 3.4)
    panels = (
        ("loss", ("loss", "val_loss", "test_loss")),
        ("accuracy, %", ("accuracy", "val_accuracy", "test_accuracy")),
        ("learning rate", ("learning_rate",)),
    )
    for axes, (label, names) in zip(figure.subplots(1, 3), panels, strict=True):
        for colour, (run, history) in zip(
            COLOURS * len(histories), histories.items(), strict=False
        ):
            _lines(axes, label, names, colour, run, history, len(histories))
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)
        axes.set_title(label, fontsize=10)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=7)
    return svg(figure, "loss, accuracy and learning rate by epoch")


_STYLES = {"val": "-", "test": ":"}
_MARKERS = {"val": "o", "test": "s"}  # of a single epoch, which has no line
_WORDS = {"val": "validation", "test": "test (watched)"}


def _lines(
    axes: Any,
    label: str,
    names: Sequence[str],
    colour: str,
    run: str,
    history: History,
    runs: int,
) -> None:
    for name in names:
        values = np.array(history.get(name, ()), float)
        if not values.size:
            continue
        part = name.partition("_")[0] if name != "learning_rate" else ""
        words = _WORDS.get(part, "training")
        if "%" in label:
            values = 100 * values
        axes.plot(
            np.arange(1, len(values) + 1),
            values,
            _STYLES.get(part, "--" if part else "-"),
            color=colour,
            label=f"{run}: {words}" if runs > 1 else words,
            marker=_MARKERS.get(part, "x") if len(values) == 1 else None,
        )
    if label == "loss":
        axes.set_yscale("log")
    if "%" in label and axes.lines:
        # The last points matter: begin where the worst curve has recovered.
        lows = [np.nanquantile(line.get_ydata(), 0.15) for line in axes.lines]
        axes.set_ylim(bottom=min(lows) - 0.2, top=100.05)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """A confusion matrix as SVG, drawn by `confusion_figure`."""
    return svg(confusion_figure(matrix, names), "confusion matrix")


def confusion_figure(
    matrix: Sequence[Sequence[int]], names: Sequence[str]
) -> Figure:
    """A confusion matrix; the colour shows the wrong answers only."""
    counts = np.array(matrix)
    side = min(9.0, 2.5 + 0.35 * len(counts))
    figure = _figure(side, side)
    axes = figure.subplots()
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1, wrong.max()))
    if len(counts) <= 20:
        for row, column in np.argwhere(counts > 0):
            axes.text(
                *(column, row, str(counts[row, column])),
                ha="center",
                va="center",
                fontsize=7,
                color="w" if wrong[row, column] > wrong.max() / 2 else "k",
            )
        short = [name[:12] for name in names]
        axes.set_xticks(range(len(names)), short, fontsize=8, rotation=90)
        axes.set_yticks(range(len(names)), short, fontsize=8)
    axes.set_xlabel("answer")
    axes.set_ylabel("label")
    return figure


def calibration(bins: Sequence[Mapping[str, float]]) -> str:
    """Accuracy beside mean confidence; the area shows how many examples."""
    figure = _figure(4.2, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], ":", color="#888")
    counts = np.array([row["examples"] for row in bins], float)
    axes.scatter(
        [row["confidence"] for row in bins],
        [row["accuracy"] for row in bins],
        s=20 + 200 * counts / max(1.0, counts.max(initial=1.0)),
        color=COLOURS[0],
        alpha=0.7,
    )
    axes.set_xlabel("mean confidence")
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.3)
    return svg(figure, "calibration")


def against_objective(
    points: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    objective: str,
    documented: int | None,
) -> str:
    """The objective against each hyperparameter of a sweep's trials.

    Args:
      points: one mapping per trial: hyperparameters and `objective`.
      names: of the hyperparameters.
      objective: its name.
      documented: the position of the documented point, marked red, if any.
    """
    columns = min(3, max(1, len(names)))
    rows = -(-len(names) // columns)
    figure = _figure(3.6 * columns, 2.6 * rows)
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    values = [point[objective] for point in points]
    for axes, name in zip(panels, names, strict=False):
        where = [point[name] for point in points]
        if any(isinstance(value, str) for value in where):
            where = [str(value) for value in where]
        elif min(where) > 0 and max(where) > 20 * min(where):
            axes.set_xscale("log")
        axes.plot(where, values, "o", color=COLOURS[0], alpha=0.7)
        if documented is not None:
            axes.plot(
                where[documented], values[documented], "D", color=COLOURS[1]
            )
        axes.set_xlabel(name, fontsize=8)
        axes.set_ylabel(objective, fontsize=8)
        axes.grid(alpha=0.3)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return svg(figure, "objective against each hyperparameter")


def parallel_coordinates(
    points: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    objective: str,
    documented: int | None,
) -> str:
    """One line per trial across all hyperparameters; the colour is the score.

    The arguments are those of `against_objective`.
    """
    from matplotlib import colormaps

    axes_names = [*names, objective]
    figure = _figure(max(6.0, 1.3 * len(axes_names)), 3.6)
    axes = figure.subplots()
    heights = np.stack([_heights(points, name) for name in axes_names])
    for place in range(len(points)):
        axes.plot(
            heights[:, place],
            color=colormaps["viridis"](heights[-1, place]),
            linewidth=3 if place == documented else 1.2,
            linestyle="--" if place == documented else "-",
            alpha=0.8,
        )
    for position, name in enumerate(axes_names):
        axes.axvline(position, color="#999", linewidth=0.8)
        for height, text in _ends(points, name):
            axes.text(position, height, text, fontsize=6, ha="center")
    axes.set_xticks(range(len(axes_names)), axes_names, fontsize=7, rotation=20)
    axes.set_yticks([])
    axes.set_ylim(-0.12, 1.12)
    return svg(figure, "parallel coordinates of all trials")


def _heights(points: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Each trial's place on one axis, from 0 to 1."""
    values = [point[name] for point in points]
    if any(isinstance(value, str) for value in values):
        order = sorted({str(value) for value in values})
        numbers = np.array([order.index(str(v)) for v in values], float)
    else:
        numbers = np.array(values, float)
    span = np.ptp(numbers)
    return (numbers - numbers.min()) / span if span else numbers * 0 + 0.5


def _ends(
    points: Sequence[Mapping[str, Any]], name: str
) -> list[tuple[float, str]]:
    """What stands at the lower and the upper end of an axis."""
    values = [point[name] for point in points]
    if any(isinstance(value, str) for value in values):
        order = sorted({str(value) for value in values})
        texts = (order[0], order[-1])
    else:
        texts = (f"{min(values):.4g}", f"{max(values):.4g}")
    return [(-0.09, texts[0]), (1.04, texts[1])]
