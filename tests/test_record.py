"""RunRecord: written and read alike, checked, and its words."""

import dataclasses
import json

import pytest
from test_report import RECORD, UNSCORED, record_with

from mnistpipe.data import DataError
from mnistpipe.recipes import RECIPES
from mnistpipe.runs import record, summary
from mnistpipe.runs.record import ClassScore, Provenance, RunRecord

FULL = record_with(
    {"watch_test": True},
    recipe=RECIPES["strided400k"].replace(epochs=3),
    epochs_run=3,
    best_epoch=2,
    history={
        "loss": (0.5, None, 0.1),
        "test_accuracy": (0.99, 0.9971, 0.9971),
    },
    per_class=(ClassScore(0, 0, 0, None), ClassScore(1, 9, 8, 8 / 9)),
    resumed_at_steps=(3,),
)


def test_reading_gives_what_was_written():
    for one in (RECORD, FULL, record_with(**UNSCORED)):
        text = json.dumps(one.to_json(), allow_nan=False)
        assert RunRecord.from_json(json.loads(text)) == one


def test_what_is_not_finite_becomes_null():
    one = dataclasses.replace(
        FULL,
        test_loss=float("nan"),
        history={"loss": (1.0, float("inf"), float("nan"))},
    )
    content = one.to_json()
    assert content["test_loss"] is None
    assert content["history"]["loss"] == [1.0, None, None]


# As version 28ad15a wrote them, before these fields existed.
NEWER = ("hardware", "commits", "input", "devices", "steps", "per_class")


def test_older_files_get_defaults():
    content = RECORD.to_json()
    for name in NEWER:
        del content[name]
    del content["recipe"]["precision"], content["options"]["watch_test"]
    del content["data"]["test_fingerprint"]
    old = RunRecord.from_json(content)
    assert (old.input, old.devices, old.commits) == ("host", 1, ())
    assert old.recipe == RECORD.recipe
    assert old.own_test("any") is None
    assert summary.summary(old)


def test_a_newer_key_is_ignored():
    assert RunRecord.from_json({**RECORD.to_json(), "new": 1}) == RECORD


def change(path, value):
    """The record's JSON with one value changed, by its dotted path."""
    content = json.loads(json.dumps(FULL.to_json()))
    *folders, name = path.split(".")
    place = content
    for folder in folders:
        place = place[int(folder) if isinstance(place, list) else folder]
    if value is ...:
        del place[name]
    else:
        place[int(name) if isinstance(place, list) else name] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("parameters", "9", "parameters: expected an integer, got '9'"),
        ("parameters", True, "parameters: expected an integer, got True"),
        ("parameters", -1, "parameters: expected a number in [0, "),
        ("parameters", 2**63, "parameters: expected a number in [0, "),
        ("parameters", ..., "parameters: expected a value, got none"),
        ("weights", "../x.keras", "best.keras or last.keras, got '../x"),
        ("weights", ["last.keras"], "weights: expected best.keras or"),
        ("best_epoch", 3, "best_epoch: expected one of 3 epochs, got 3"),
        ("best_epoch", None, "expected the epoch of best.keras"),
        ("best_epoch", 1.5, "best_epoch: expected an integer, got 1.5"),
        ("epochs_run", 4, "history.loss: expected a figure for each of 4"),
        ("interrupted", 0, "interrupted: expected true or false, got 0"),
        ("history", [], "history: expected an object, got []"),
        ("history.loss", {"0": 1}, "history.loss: expected a list"),
        ("history.loss.0", "1", "history.loss: expected a finite number"),
        ("history.loss.0", 10**400, "expected a finite number, got 1000"),
        ("history.loss.0", float("nan"), "a finite number, got nan"),
        ("history.\x1b[2J", [1, 2, 3], "expected printable text"),
        ("test_accuracy", 1.1, "test_accuracy: expected a number in [0, 1]"),
        ("test_accuracy", None, "test scores: expected all of them or none"),
        ("test_correct", 10001, "test_correct: expected at most 10000"),
        ("per_class.0", 7, "per_class: expected an object, got 7"),
        ("per_class.1.correct", 0.5, "per_class.correct: expected an int"),
        ("resumed_at_steps.0", -3, "resumed_at_steps: expected a number in"),
        ("fit_seconds", float("inf"), "fit_seconds: expected a finite"),
        ("duration_seconds", 1e300, "duration_seconds: expected a number in"),
        ("versions.keras", "\x1b]0;x\x07", "versions.keras: expected print"),
        ("versions", "3", "versions: expected an object, got '3'"),
        ("hardware.cores", "2", "hardware.cores: expected an integer"),
        ("hardware.gpus.0", 2, "hardware.gpus: expected printable text"),
        ("commits", "abc", "commits: expected a list, got 'abc'"),
        ("devices", 0, "devices: expected a number in [1, "),
        ("input", "elsewhere", "input: expected host or device"),
        ("data.name", "a\nb", "data.name: expected printable text"),
        ("data", None, "data: expected an object, got None"),
        ("run_dir", "a\x00", "run_dir: expected printable text"),
        ("recipe", None, "recipe: expected an object"),
        ("recipe.zoom", 7, "recipe: expected fields that this version"),
        ("recipe.magic", 7, "recipe: expected fields that this version"),
        ("options.seed", -7, "options: expected fields that this version"),
        ("selected_on_test", True, "selected_on_test: expected False, as in"),
        ("seed", True, "seed: expected 7, as in its recipe and options"),
        ("arch", "pool2m", "arch: expected 'strided400k', as in its recipe"),
    ],
)
def test_what_a_run_would_not_write_is_refused(path, value, words):
    with pytest.raises(ValueError) as error:
        RunRecord.from_json(change(path, value))
    assert words in str(error.value)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("content", [None, [], 3, "x", {}])
def test_no_record_at_all_is_refused(content):
    with pytest.raises(ValueError, match="expected an object"):
        RunRecord.from_json(content)


def test_a_file_is_one_line_of_error(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(change("parameters", -1)))
    with pytest.raises(DataError, match=r"metrics.json: expected values as"):
        record.read(path)


def test_a_provenance_is_part_of_a_record():
    names = [field.name for field in dataclasses.fields(Provenance)]
    begun = Provenance(**{name: getattr(RECORD, name) for name in names})
    assert Provenance.from_json(RECORD.to_json()) == begun
    assert begun.to_json().items() <= RECORD.to_json().items()


def test_the_best_watched_epoch_cannot_be_mistaken_for_the_score():
    assert FULL.best_watched_epoch == 1  # the first of equals
    words = (
        "the best epoch on the test set, as the document seems to have chosen:"
        " 99.71% (epoch 2); the run's own score is 99.51%"
    )
    assert FULL.best_watched() == words
    assert words in " ".join(summary.summary(FULL).split())
    assert RECORD.best_watched_epoch is None
    assert RECORD.best_watched() == ""
    # Without a documented score nobody has chosen so.
    quick = dataclasses.replace(FULL, recipe=RECIPES["quick65k"])
    assert quick.best_watched().startswith("the best epoch on the test set: 99")
    nothing = dataclasses.replace(FULL, history={"test_accuracy": (None,) * 3})
    assert nothing.best_watched() == ""


@pytest.mark.parametrize(
    ("arch", "validation", "chose"),
    [
        ("strided400k", "test", True),  # best epoch and plateau
        ("pool2m", "test", False),  # fixed schedule, last weights
        ("strided400k", "split", False),
    ],
)
def test_the_honest_score_is_one_that_the_test_set_did_not_choose(
    arch, validation, chose
):
    one = record_with({"validation": validation}, recipe=RECIPES[arch])
    assert one.test_set_chose == chose
    assert one.honest_accuracy == (None if chose else 0.9951)
    assert one.selected_on(one.data.test_fingerprint) == chose
    assert ("selected on the test set" in one.protocol()) == chose
    watched = validation == "test" and not chose
    assert ("test images, which chose nothing" in one.protocol()) == watched


@pytest.mark.parametrize(
    ("changes", "epochs", "finished"),
    [
        ({}, None, True),
        ({}, 100, True),
        ({}, 101, False),
        ({"interrupted": True}, None, False),
        ({"epochs_run": 60}, 200, True),  # stopped early, so it stays so
        ({"epochs_run": 60, "interrupted": True}, 200, False),
    ],
)
def test_finished(changes, epochs, finished):
    assert record_with(**changes).finished(epochs) == finished


def test_the_network_of_the_judged_epoch():
    assert RECORD.judged_epoch == 41
    assert record_with(weights="last.keras").judged_epoch == 99
    untrained = record_with(weights="last.keras", best_epoch=None, epochs_run=0)
    assert untrained.judged_epoch is None
    assert record_with(weights="last.keras").which_weights() == "last weights"
