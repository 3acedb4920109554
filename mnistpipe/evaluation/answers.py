"""Predictions for pictures without labels, and how they were made."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnistpipe.evaluation import prediction, scorecard_text
from mnistpipe.evaluation.options import PredictionOptions
from mnistpipe.runs import provenance, summary
from mnistpipe.runs.finished import FinishedRun
from mnistpipe.runs.record import Hardware

_MOST_COLUMNS = 12  # more classes do not get a column each
_NAME_LENGTH = 16


def answer(
    runs: Sequence[FinishedRun],
    images: np.ndarray,
    files: Sequence[str],
    options: PredictionOptions,
    preparation: str,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Returns the mean of the runs' probabilities, with what produced it.

    Args:
      runs: the networks that answer.
      images: uint8 [N, H, W, C].
      files: the file of each image.
      options: how many versions of each image are averaged.
      preparation: how the images were prepared, for people.
      class_names: in the order of labels.

    Returns:
      JSON types.
    """
    found = [
        probabilities
        for _, probabilities in prediction.each(
            runs, images, options.tta, options.tta_seed
        )
    ]
    mean = np.mean(found, axis=0)
    return {
        "answers": [
            {
                "file": file,
                "class": int(row.argmax()),
                "probability": float(row.max()),
                "probabilities": row.tolist(),
            }
            for file, row in zip(files, mean, strict=True)
        ],
        "preparation": preparation,
        "class_names": list(class_names),
        "tta": {"versions": options.tta, "seed": options.tta_seed},
        "members": [run.facts() for run in runs],
        "versions": provenance.versions(),
        "hardware": dataclasses.asdict(provenance.hardware()),
    }


def text(found: Mapping[str, Any]) -> str:
    """Returns a line per picture, and lines about the networks."""
    many = len(found["class_names"]) > _MOST_COLUMNS
    lines = _likeliest(found) if many else _table(found)
    facts = [
        *(
            ("network", f"{member['run']}: {member['words']}")
            for member in found["members"]
        ),
        ("pictures", found["preparation"]),
        ("augmentation", scorecard_text.tta_text(found["tta"])),
        (
            "made with",
            summary.made_with(found["versions"], Hardware(**found["hardware"])),
        ),
    ]
    return "\n".join([*lines, "", *(summary.row(*fact) for fact in facts)])


def _table(found: Mapping[str, Any]) -> list[str]:
    """Prints the probabilities of all classes, a column for each class."""
    rows = found["answers"]
    names = [name[:_NAME_LENGTH] for name in found["class_names"]]
    file = max(len("picture"), *(len(row["file"]) for row in rows))
    own = max(len("class"), *(len(name) for name in names))
    columns = [max(6, len(f"p({name})")) for name in names]
    header = "".join(
        f"  {f'p({name})':>{width}}"
        for name, width in zip(names, columns, strict=True)
    )
    lines = [f"{'picture':<{file}}  {'class':>{own}}{header}"]
    for row in rows:
        cells = "".join(
            f"  {p:>{width}.4f}"
            for p, width in zip(row["probabilities"], columns, strict=True)
        )
        name = names[row["class"]]
        lines.append(f"{row['file']:<{file}}  {name:>{own}}{cells}")
    return lines


def _likeliest(found: Mapping[str, Any]) -> list[str]:
    """Lists the five most probable classes of each picture."""
    rows = found["answers"]
    names = [name[:_NAME_LENGTH] for name in found["class_names"]]
    file = max(len("picture"), *(len(row["file"]) for row in rows))
    lines = [f"{'picture':<{file}}  likeliest classes"]
    for row in rows:
        shares = np.array(row["probabilities"])
        best = np.argsort(-shares, kind="stable")[:5]
        cells = ", ".join(f"{names[k]} {shares[k]:.4f}" for k in best)
        lines.append(f"{row['file']:<{file}}  {cells}")
    return lines


def to_json(found: Mapping[str, Any]) -> str:
    """Returns the predictions as JSON; a NaN or an infinity is an error."""
    return json.dumps(found, indent=2, allow_nan=False)
