"""A scorecard as text for a terminal: the score first, then the details.

Tables stay readable with many classes: beyond 20 classes the tables list only
the classes with the lowest recall and the most frequent confusions.
"""

from collections.abc import Mapping
from typing import Any

from mnistpipe.runs import summary
from mnistpipe.runs.record import Hardware

_MOST_CLASSES = 20  # of which a whole confusion matrix is printed
_NAME_LENGTH = 16


def text(scorecard: Mapping[str, Any]) -> str:
    """Returns the scorecard as text for people."""
    parts = [
        _head(scorecard),
        _per_class(scorecard),
        _confusion(scorecard),
        _calibration(scorecard["calibration"], scorecard["accuracy"]),
        _hardest_table(scorecard),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(scorecard: Mapping[str, Any]) -> str:
    test, members = scorecard["test"], scorecard["members"]
    rows = [
        ("accuracy", accuracy_text(scorecard)),
        ("protocol", scorecard["protocol"]),
    ]
    rows.append(
        (
            "test set",
            f"{test['name']}, {_images(test['examples'])}, "
            f"{test['preparation']}; SHA-256 {test['fingerprint'][:16]}…",
        )
    )
    if len(members) > 1:
        what = "networks, by the mean of their probabilities"
        rows.append(("ensemble", f"{len(members)} {what}"))
    rows += [("augmentation", tta_text(scorecard["tta"]))]
    for member in members:
        rows.append(("network", f"{member['run']}: {member['words']}"))
        if len(members) > 1:
            rows.append(("", f"alone {accuracy_text(member)}"))
    rows.append(
        (
            "scored with",
            summary.made_with(
                scorecard["versions"], Hardware(**scorecard["hardware"])
            ),
        )
    )
    return "\n".join(summary.row(name, text) for name, text in rows)


def accuracy_text(figures: Mapping[str, Any]) -> str:
    """Returns an accuracy with the number of images and the interval."""
    interval = figures["interval"]
    wrong = figures["examples"] - figures["correct"]
    return (
        f"{figures['accuracy']:.2%} of {_images(figures['examples'])} "
        f"({wrong:,} wrong), {interval['method']} interval "
        f"{interval['low']:.2%} to {interval['high']:.2%} at "
        f"{interval['level']:.0%}"
    )


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def tta_text(tta: Mapping[str, int]) -> str:
    """Says how many versions of each picture were averaged."""
    if tta["versions"] == 1:
        return "none: each picture once, unchanged"
    return (
        f"each picture unchanged and {tta['versions'] - 1} times with the"
        f" recipe's augmentation, seed {tta['seed']}"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def class_name(scorecard: Mapping[str, Any], label: int) -> str:
    """Returns the name of a class, or the number of a class without a name."""
    names = scorecard["test"].get("class_names") or []
    return names[label] if label < len(names) else str(label)


def _per_class(scorecard: Mapping[str, Any]) -> str:
    rows, title = scorecard["per_class"], "class"
    names = [class_name(scorecard, row["label"])[:_NAME_LENGTH] for row in rows]
    if len(rows) > _MOST_CLASSES:
        title = f"the {_MOST_CLASSES} classes with the lowest recall"
        rows = sorted(
            (row for row in rows if row["recall"] is not None),
            key=lambda row: row["recall"],
        )[:_MOST_CLASSES]
    width = max(len(title), *(len(name) for name in names))
    form = f"{{:>{width}}}{{:>10}}{{:>10}}{{:>10}}{{:>11}}{{:>10}}".format
    lines = [form(title, "images", "answers", "recall", "precision", "F1")]
    for row in rows:
        shares = (_share(row[name]) for name in ("recall", "precision", "f1"))
        counts = (f"{row['examples']:,}", f"{row['answers']:,}")
        lines.append(form(names[row["label"]], *counts, *shares))
    return "\n".join(lines)


def _confusion(scorecard: Mapping[str, Any]) -> str:
    matrix = scorecard["confusion"]
    if len(matrix) > _MOST_CLASSES:
        return _most_confused(scorecard)
    names = [
        class_name(scorecard, label)[:_NAME_LENGTH]
        for label in range(len(matrix))
    ]
    longest = max(len(name) for name in names)
    digits = max(len(str(n)) for row in matrix for n in row)
    width = max(4, longest + 1, digits + 1)
    left = max(len("label × answer"), longest)
    header = "".join(f"{name:>{width}}" for name in names)
    lines = [f"{'label × answer':>{left}}{header}"]
    for name, row in zip(names, matrix, strict=True):
        # Dots instead of zeros: the confusions stand out.
        cells = "".join(f"{n or '·':>{width}}" for n in row)
        lines.append(f"{name:>{left}}{cells}")
    return "\n".join(lines)


def _most_confused(scorecard: Mapping[str, Any]) -> str:
    """Lists the most frequent wrong answers, one line each."""
    pairs = [
        (count, label, answer)
        for label, row in enumerate(scorecard["confusion"])
        for answer, count in enumerate(row)
        if count and label != answer
    ]
    lines = [f"the {_MOST_CLASSES} most frequent confusions, label → answer"]
    for count, label, answer in sorted(pairs, key=lambda p: (-p[0], p[1:]))[
        :_MOST_CLASSES
    ]:
        names = (
            class_name(scorecard, n)[:_NAME_LENGTH] for n in (label, answer)
        )
        lines.append(f"{count:>6}  {' → '.join(names)}")
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


def _hardest_table(scorecard: Mapping[str, Any]) -> str:
    rows = scorecard["hardest"]
    if not rows:
        return ""
    names = {
        row[kind]: class_name(scorecard, row[kind])[:_NAME_LENGTH]
        for row in rows
        for kind in ("label", "answer")
    }
    width = max(7, *(len(name) + 2 for name in names.values()))
    form = f"{{:>15}}{{:>{width}}}{{:>{width}}}{{:>11}}{{:>10}}".format
    head = ("hardest   image", "label", "answer", "p(answer)", "p(label)")
    lines = [form(*head)]
    for row in rows:
        line = form(
            row["index"],
            names[row["label"]],
            names[row["answer"]],
            f"{row['probability_of_answer']:.4f}",
            f"{row['probability_of_label']:.4f}",
        )
        lines.append(line + (f"  {row['file']}" if "file" in row else ""))
    return "\n".join(lines)
