"""What networks say of pictures without labels, and where it came from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnistpipe.evaluation import prediction, scorecard
from mnistpipe.evaluation.options import PredictionOptions
from mnistpipe.runs import provenance, summary
from mnistpipe.runs.finished import FinishedRun


def answer(
    runs: Sequence[FinishedRun],
    images: np.ndarray,
    files: Sequence[str],
    options: PredictionOptions,
    preparation: str,
) -> dict[str, Any]:
    """The mean of the runs' probabilities for uint8 [N, H, W, C]."""
    mean = 0
    for _, probabilities in prediction.each(
        runs, images, options.tta, options.tta_seed
    ):
        mean = mean + probabilities / len(runs)
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
        "tta": {"versions": options.tta, "seed": options.tta_seed},
        "members": [{**run.origin(), "words": run.words()} for run in runs],
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }


def text(found: Mapping[str, Any]) -> str:
    """A line per picture, then who answered."""
    rows = found["answers"]
    width = max(len("picture"), *(len(row["file"]) for row in rows))
    classes = range(len(rows[0]["probabilities"]))
    header = "".join(f"{f'p({label})':>8}" for label in classes)
    lines = [f"{'picture':<{width}}  class{header}"]
    for row in rows:
        cells = "".join(f"{p:>8.4f}" for p in row["probabilities"])
        lines.append(f"{row['file']:<{width}}{row['class']:>7}{cells}")
    facts = [
        *(
            ("network", f"{member['run']}: {member['words']}")
            for member in found["members"]
        ),
        ("pictures", found["preparation"]),
        ("augmentation", scorecard.tta_words(found["tta"])),
        ("made with", summary.made_with(found)),
    ]
    return "\n".join([*lines, "", *(summary.row(*fact) for fact in facts)])


def to_json(found: Mapping[str, Any]) -> str:
    """The whole of it."""
    return json.dumps(found, indent=2, allow_nan=False)
