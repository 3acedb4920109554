"""The summary: no accuracy without its protocol and test set's size."""

import dataclasses

import pytest

from mnistpipe import recipes
from mnistpipe.recipes import RECIPES, RunOptions, documented
from mnistpipe.runs import summary
from mnistpipe.runs.record import DataIdentity, Hardware, RunRecord

RECORD = RunRecord(
    recipe=RECIPES["strided400k"],
    options=RunOptions(seed=7),
    parameters=403562,
    train_examples=55000,
    validation_examples=5000,
    data=DataIdentity("mnist"),
    versions={
        "mnistpipe": "0.1.0",
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "python": "3.11.7",
    },
    hardware=Hardware("a processor", 2, ("a GPU",)),
    run_dir="runs/x",
    weights="best.keras",
    best_epoch=41,
    epochs_run=100,
    interrupted=False,
    duration_seconds=3725.2,
    images_per_second=1234.5,
    test_accuracy=0.9951,
    test_examples=10000,
    test_correct=9951,
)
UNSCORED = {"test_accuracy": None, "test_examples": None, "test_correct": None}


def record_with(options=(), **changes):
    options = RECORD.options.replace(**dict(options))
    return dataclasses.replace(RECORD, options=options, **changes)


def summary_of(record):
    """On one line, since the lines' ends are not the point."""
    return " ".join(summary.summary(record).split())


def test_summary_says_what_was_measured_and_how():
    text = summary_of(RECORD)
    for words in (
        "strided400k, stem printed, 403,562 parameters",
        "99.51% of 10,000 images (49 wrong), weights of the best epoch, 42",
        "split: 5,000 training images held out",
        "test set read once, at the end",
        "99.72% of the 10,000 MNIST test images",
        "100 of 100 epochs of 55,000 images of mnist in 1 h 2 min",
        "1,234 images/s",
        "seed 7",
        "TensorFlow 2.21.0",
        "2 cores of a processor, a GPU",
        "runs/x",
    ):
        assert words in text


def test_protocol_stands_next_to_the_accuracy():
    lines = summary.summary(RECORD).splitlines()
    names = [line[:15].strip() for line in lines]
    names = [name for name in names if name]
    assert names[names.index("test accuracy") + 1] == "protocol"
    assert max(map(len, lines)) < 80


def test_selection_on_the_test_set_is_said():
    chosen = record_with({"validation": "test"})
    assert "selected on the test set" in summary_of(chosen)
    assert "selected on the test set" not in summary_of(RECORD)


def test_documented_scores_are_of_mnist_alone():
    other = record_with(data=DataIdentity("fashion-mnist"))
    assert "documented" not in summary_of(other)


def test_no_validation_is_said():
    chosen = record_with({"validation": "none"}, validation_examples=0)
    assert "none: no images held out" in summary_of(chosen)


def test_an_interrupted_run_shows_no_accuracy():
    text = summary_of(record_with(interrupted=True, **UNSCORED))
    assert "not measured: the run was interrupted" in text
    assert "99.51" not in text
    assert "test set not read" in text


def test_a_run_that_left_the_test_set_alone_says_so():
    text = summary_of(record_with(**UNSCORED))
    assert "not measured, as asked: --evaluate_test=false" in text
    assert "test set not read" in text


def test_only_one_architecture_has_a_stem():
    assert "stem" not in summary_of(record_with(recipe=RECIPES["pool2m"]))


def test_each_recipe_has_its_documented_scores():
    assert documented.SCORES == {
        "strided400k": (99.72, 98.93),
        "pool2m": (99.65, 98.81),
        "compact500k": (99.79, 98.79),
        "wide900k": (99.63, 98.79),
    }
    assert list(documented.SCORES) == list(recipes.DOCUMENTED)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.4, "in 3 s,"), (61, "in 1 min 1 s,"), (7200, "in 2 h 0 min,")],
)
def test_durations(seconds, words):
    assert words in summary_of(record_with(duration_seconds=seconds))


def test_a_resumed_run_says_so():
    assert "resumed" not in summary_of(RECORD)
    text = summary_of(record_with(resumed_at_steps=(120, 860)))
    assert "seed 7, resumed at step 120, 860" in text


def test_the_opening_has_what_its_figures_need():
    text = " ".join(summary.opening(RECORD).split())
    assert "strided400k, 55,000 images of mnist, seed 7" in text
    assert "split: 5,000 training images held out; test set read once" in text
    assert "TensorFlow 2.21.0" in text
    selected = summary.opening(record_with({"validation": "test"}))
    assert "test: selected on the test set" in selected
    unread = record_with({"evaluate_test": False}, **UNSCORED)
    assert "test set not read" in summary.opening(unread)
    watched = record_with({"watch_test": True})
    text = " ".join(summary.opening(watched).split())
    assert "test set scored after each epoch, and chose nothing" in text
