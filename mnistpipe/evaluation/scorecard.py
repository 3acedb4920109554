"""The scorecard of an evaluation: every figure, and how it was measured.

A scorecard is a dict of JSON types. `score` computes the scorecard, and `write`
keeps it in a folder with its text and a sheet of the hardest examples.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnistpipe.data import TestSet
from mnistpipe.evaluation import (
    prediction,
    scorecard_text,
    scoring,
    sheet,
)
from mnistpipe.evaluation.options import EvaluationOptions
from mnistpipe.runs import provenance, runfolder
from mnistpipe.runs.finished import FinishedRun

TEXT, JSON, SHEET = "evaluation.txt", "evaluation.json", "hardest.png"


def score(
    runs: Sequence[FinishedRun], test: TestSet, options: EvaluationOptions
) -> dict[str, Any]:
    """Scores the runs, each and together, on a test set."""
    labels = test.examples.labels
    members, answers = [], []
    for run, probabilities in prediction.each(
        runs, test.examples.images, options.tta, options.tta_seed
    ):
        answers.append(probabilities)
        members.append(
            {**_accuracy(probabilities, labels), **_member(run, test)}
        )
    mean = np.mean(answers, axis=0)
    return {
        **_accuracy(mean, labels),
        "loss": scoring.score(mean, labels).loss,
        "selected_on_test": any(m["selected_on_this_test"] for m in members),
        "protocol": protocol(members),
        "test": {
            "name": test.name,
            "data": options.data
            or runs[0].record.options.data
            or "embedded MNIST",
            "examples": len(labels),
            "fingerprint": test.fingerprint,
            "preparation": test.preparation,
            "class_names": list(test.class_names),
        },
        "tta": {"versions": options.tta, "seed": options.tta_seed},
        "members": members,
        "versions": provenance.versions(),
        "hardware": dataclasses.asdict(provenance.hardware()),
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


def _member(run: FinishedRun, test: TestSet) -> dict[str, Any]:
    return {
        **run.facts(),
        "own_test": run.record.own_test(test.fingerprint),
        "selected_on_this_test": run.record.selected_on(test.fingerprint),
    }


def protocol(members: Sequence[Mapping[str, Any]]) -> str:
    """Says in words which images chose epoch and learning rate."""
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


def to_json(scorecard: Mapping[str, Any]) -> str:
    """Returns the scorecard as JSON; a NaN or an infinity is an error."""
    return json.dumps(scorecard, indent=2, allow_nan=False)


def write(
    scorecard: Mapping[str, Any], test: TestSet, folder: pathlib.Path
) -> None:
    """Writes text, JSON and sheet, each atomically."""
    with runfolder.replacing(folder / TEXT) as beside:
        beside.write_text(
            f"{scorecard_text.text(scorecard)}\n", encoding="utf-8"
        )
    with runfolder.replacing(folder / JSON) as beside:
        beside.write_text(f"{to_json(scorecard)}\n", encoding="utf-8")
    if scorecard["hardest"]:
        with runfolder.replacing(folder / SHEET) as beside:
            sheet.save(scorecard, test, beside)
