"""What an evaluation says: the numbers, each with where it came from.

`score` makes one dict of JSON's types, `text` what a person reads of it,
`write` both and a sheet of the hardest examples into a folder.
"""

import dataclasses
import json
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnistpipe.data import TestSet
from mnistpipe.evaluation import prediction, scoring
from mnistpipe.evaluation.options import EvaluationOptions
from mnistpipe.runs import provenance, runfolder, summary
from mnistpipe.runs.finished import FinishedRun

TEXT, JSON, SHEET = "evaluation.txt", "evaluation.json", "hardest.png"


def score(
    runs: Sequence[FinishedRun], test: TestSet, options: EvaluationOptions
) -> dict[str, Any]:
    """Scores the runs, each and together, on a test set."""
    labels = test.examples.labels
    members, total = [], 0
    for run, probabilities in prediction.each(
        runs, test.examples.images, options.tta, options.tta_seed
    ):
        total = total + probabilities
        members.append(
            {**_accuracy(probabilities, labels), **_origin(run, test)}
        )
    mean = total / len(runs)
    return {
        **_accuracy(mean, labels),
        "loss": scoring.score(mean, labels).loss,
        "selected_on_test": any(m["selected_on_this_test"] for m in members),
        "protocol": protocol(members),
        "test": {
            "name": test.name,
            "data": options.data or runs[0].data or "embedded MNIST",
            "examples": len(labels),
            "fingerprint": test.fingerprint,
            "preparation": test.preparation,
        },
        "tta": {"versions": options.tta, "seed": options.tta_seed},
        "members": members,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
        "commits": provenance.commits(),
        "per_class": [
            dataclasses.asdict(one) for one in scoring.per_class(mean, labels)
        ],
        "confusion": scoring.confusion(mean, labels).tolist(),
        "calibration": dataclasses.asdict(scoring.calibration(mean, labels)),
        "hardest": _hardest(mean, test, options.hardest),
    }


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    scores = scoring.score(probabilities, labels)
    interval = scoring.wilson(scores.correct, scores.examples)
    return {
        "accuracy": scores.accuracy,
        "correct": scores.correct,
        "examples": scores.examples,
        "interval": dataclasses.asdict(interval),
    }


def _origin(run: FinishedRun, test: TestSet) -> dict[str, Any]:
    return {
        **run.origin(),
        "words": run.words(),
        "own_test": run.own_test(test.fingerprint),
        "selected_on_this_test": run.selected_on(test.fingerprint),
    }


def protocol(members: Sequence[Mapping[str, Any]]) -> str:
    """What the number is worth, in words; no accuracy goes without."""
    selected = [m["run"] for m in members if m["selected_on_this_test"]]
    if selected:
        return (
            "selected on the test set: these images were the validation "
            f"images of {', '.join(selected)}"
        )
    if all(m["own_test"] for m in members):
        return "the test set of the data trained on, which chose nothing"
    if any(m["own_test"] is None for m in members):
        return (
            "the images chose nothing; whether they are the test set of the "
            "data trained on was not recorded"
        )
    return (
        "other data than trained on, which chose nothing; whether pictures "
        "are among the training images is not known"
    )


def _hardest(
    probabilities: np.ndarray, test: TestSet, count: int
) -> list[dict[str, Any]]:
    rows = []
    labels = test.examples.labels
    for index in scoring.hardest(probabilities, labels, count):
        answer = int(probabilities[index].argmax())
        label = int(labels[index])
        row = {
            "index": int(index),
            "label": label,
            "answer": answer,
            "probability_of_answer": float(probabilities[index, answer]),
            "probability_of_label": float(probabilities[index, label]),
        }
        if test.files:
            row["file"] = test.files[index]
        rows.append(row)
    return rows


def text(card: Mapping[str, Any]) -> str:
    """The evaluation for people: the number, then what is behind it."""
    parts = [
        _head(card),
        _per_class(card["per_class"]),
        _confusion(card["confusion"]),
        _calibration(card["calibration"], card["accuracy"]),
        _hardest_table(card["hardest"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(card: Mapping[str, Any]) -> str:
    test, members = card["test"], card["members"]
    rows = [("accuracy", accuracy_words(card)), ("protocol", card["protocol"])]
    rows.append(
        (
            "test set",
            f"{test['name']}, {test['examples']:,} images, "
            f"{test['preparation']}; SHA-256 {test['fingerprint'][:16]}…",
        )
    )
    if len(members) > 1:
        what = "networks, by the mean of their probabilities"
        rows.append(("ensemble", f"{len(members)} {what}"))
    rows += [("augmentation", tta_words(card["tta"]))]
    for member in members:
        rows.append(("network", f"{member['run']}: {member['words']}"))
        if len(members) > 1:
            rows.append(("", f"alone {accuracy_words(member)}"))
    rows.append(("scored with", summary.made_with(card)))
    return "\n".join(summary.row(name, words) for name, words in rows)


def accuracy_words(figures: Mapping[str, Any]) -> str:
    """An accuracy with the number of images and its interval."""
    interval = figures["interval"]
    wrong = figures["examples"] - figures["correct"]
    return (
        f"{figures['accuracy']:.2%} of {figures['examples']:,} images "
        f"({wrong:,} wrong), {interval['method']} interval "
        f"{interval['low']:.2%} to {interval['high']:.2%} at "
        f"{interval['level']:.0%}"
    )


def tta_words(tta: Mapping[str, int]) -> str:
    """How many versions of a picture were averaged."""
    if tta["versions"] == 1:
        return "none: each picture once, as it is"
    return (
        f"each picture as it is and {tta['versions'] - 1} times by the recipe's"
        f" augmentation, seed {tta['seed']}"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _per_class(rows: Sequence[Mapping[str, Any]]) -> str:
    form = "{:>5}{:>10}{:>10}{:>10}{:>11}{:>10}".format
    lines = [form("class", "images", "answers", "recall", "precision", "F1")]
    for row in rows:
        shares = (_share(row[name]) for name in ("recall", "precision", "f1"))
        counts = (f"{row['examples']:,}", f"{row['answers']:,}")
        lines.append(form(row["label"], *counts, *shares))
    return "\n".join(lines)


def _confusion(matrix: Sequence[Sequence[int]]) -> str:
    width = max(4, *(len(str(n)) + 1 for row in matrix for n in row))
    header = "".join(f"{label:>{width}}" for label in range(len(matrix)))
    lines = [f"label × answer{header}"]
    for label, row in enumerate(matrix):
        # Zeros would hide the confusions.
        cells = "".join(f"{n or '·':>{width}}" for n in row)
        lines.append(f"{label:>14}{cells}")
    return "\n".join(lines)


def _calibration(figures: Mapping[str, Any], accuracy: float) -> str:
    lines = [
        f"expected calibration error {figures['error']:.4f}, 15 bins; mean "
        f"confidence {figures['confidence']:.2%}, accuracy {accuracy:.2%}",
        "     confidence    images      mean  accuracy",
    ]
    for row in figures["bins"]:
        lines.append(
            f"  {row['low']:.3f} – {row['high']:.3f}{row['examples']:>10,}"
            f"{row['confidence']:>10.2%}{row['accuracy']:>10.2%}"
        )
    return "\n".join(lines)


def _hardest_table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    lines = ["hardest   image  label  answer  p(answer)  p(label)"]
    for row in rows:
        file = f"  {row['file']}" if "file" in row else ""
        lines.append(
            f"{row['index']:>15}{row['label']:>7}{row['answer']:>8}"
            f"{row['probability_of_answer']:>11.4f}"
            f"{row['probability_of_label']:>10.4f}{file}"
        )
    return "\n".join(lines)


def to_json(card: Mapping[str, Any]) -> str:
    """The whole of it; no number is NaN or infinite."""
    return json.dumps(card, indent=2, allow_nan=False)


def write(card: Mapping[str, Any], test: TestSet, folder: pathlib.Path) -> None:
    """Writes text, JSON and sheet, each whole or not at all."""
    with runfolder.replacing(folder / TEXT) as beside:
        beside.write_text(f"{text(card)}\n", encoding="utf-8")
    with runfolder.replacing(folder / JSON) as beside:
        beside.write_text(f"{to_json(card)}\n", encoding="utf-8")
    if card["hardest"]:
        with runfolder.replacing(folder / SHEET) as beside:
            sheet(card, test, beside)


def sheet(card: Mapping[str, Any], test: TestSet, path: pathlib.Path) -> None:
    """Draws the hardest examples, with label, answer and probability."""
    # No pyplot: that would choose a window system and keep every figure.
    from matplotlib.figure import Figure

    rows = card["hardest"]
    columns = min(10, len(rows))
    lines = -(-len(rows) // columns)
    size = (1.2 * max(5, columns), 1.6 * lines + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    for place, row in enumerate(rows, 1):
        axes = figure.add_subplot(lines, columns, place)
        image = test.examples.images[row["index"]]
        grey = image.shape[-1] == 1
        shown = image[..., 0] if grey else image[..., :3]
        axes.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=255)
        axes.set_axis_off()
        words = f"{row['label']} → {row['answer']}"
        chance = f"{row['probability_of_label']:.3f}"
        axes.set_title(f"{words}\n{chance}", fontsize=8)
    figure.suptitle(
        f"{test.name}: label → answer, probability of the label\n"
        + textwrap.fill(f"{accuracy_words(card)}; {card['protocol']}", 90),
        fontsize=6,
    )
    figure.savefig(path, format="png", dpi=150)
