"""Space, settings, trials, search and what comes out, with a fake trainer."""

import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import threading
import time

import fake_trainer
import helpers
import numpy as np
import pytest
from absl import flags as absl_flags

from mnistpipe import recipes
from mnistpipe.cli import flags
from mnistpipe.errors import UserError
from mnistpipe.recipes import (
    ARCHS,
    RECIPES,
    Recipe,
    RecipeError,
    RunOptions,
    flagfiles,
)
from mnistpipe.reports import sweep_report
from mnistpipe.runs.record import RunRecord
from mnistpipe.sweep import report, results, roles, settings, space, trials
from mnistpipe.sweep.options import SweepOptions
from mnistpipe.sweep.settings import Settings, SweepError

FAKE = pathlib.Path(__file__).with_name("fake_trainer.py")
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Sets what the fake trainer does in which trial."""
    monkeypatch.setattr(trials, "TRAINER", (sys.executable, str(FAKE)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda **trial: monkeypatch.setenv(
        "FAKE_TRAINER",
        json.dumps({name.strip("_"): what for name, what in trial.items()}),
    )


def make(search="learning_rate,rotation", arch="wide900k", **sweep):
    recipe = RECIPES[arch].replace(epochs=sweep.pop("epochs", 2))
    return Settings(
        recipe,
        settings.trial_options(RunOptions(seed=sweep.pop("seed", 0))),
        SweepOptions(**{"max_trials": 4, **sweep}),
        space.select(recipe, search),
        "0123",
    )


def sweep(folder, made):
    """What `tune` does after its flags; returns the trials."""
    assert roles.run(folder, made, made.sweep) == 0
    return results.collect(folder, made)


def starts(folder):
    return [
        (path.parent.name, *line.split())
        for path in sorted(folder.glob("trial_*/starts"))
        for line in path.read_text().splitlines()
    ]


# The space.


@pytest.mark.parametrize("arch", ARCHS)
def test_the_neighbourhood_holds_the_documented_point(arch):
    recipe = RECIPES[arch]
    axes = space.derive(recipe)
    assert set(axes) == {
        *("learning_rate", "schedule", "batch_size", "label_smoothing"),
        *("dropout", "output_dropout", "rotation", "width_shift"),
        *("height_shift", "shear", "zoom", "noise", "optimizer", "width"),
    }
    for name, axis in axes.items():
        value = getattr(recipe, name)
        assert axis.documented == value
        if axis.choices:
            assert value in axis.choices
            assert len(set(axis.choices)) == len(axis.choices) > 1
        else:
            assert axis.low <= value <= axis.high
            assert axis.low < axis.high
    assert axes["learning_rate"].log
    assert space.recipe_at(recipe, space.documented_point(axes)) == recipe


@pytest.mark.parametrize("arch", ARCHS)
def test_every_point_is_a_flagfile_that_the_trainer_takes(arch, rng, tmp_path):
    recipe = RECIPES[arch]
    axes = space.derive(recipe)
    for _ in range(100):
        values = {
            name: axis.choices[rng.integers(len(axis.choices))]
            if axis.choices
            else rng.choice([axis.low, rng.uniform(axis.low, axis.high)])
            for name, axis in axes.items()
        }
        point = space.recipe_at(recipe, values, epochs=7)
        path = tmp_path / "flags.cfg"
        path.write_text(flagfiles.text(point))
        assert recipe_in(path) == point
        assert point.epochs == 7
        for name, value in values.items():
            assert getattr(point, name) == value


def recipe_in(path):
    return flags_in(path, Recipe)


def flags_in(path, cls):
    flag_values = absl_flags.FlagValues()
    flags.define(Recipe, flag_values=flag_values)
    flags.define(RunOptions, flag_values=flag_values)
    flags.parse(["", f"--flagfile={path}"], flag_values)
    return flags.read(cls, flag_values)


def test_another_schedule_brings_its_documented_parameters():
    point = space.recipe_at(RECIPES["pool2m"], {"schedule": "plateau"})
    assert (point.plateau_monitor, point.plateau_patience) == (
        "val_accuracy",
        3,
    )
    assert point.decay_factor == RECIPES["pool2m"].decay_factor  # has no effect
    decay = space.recipe_at(RECIPES["wide900k"], {"schedule": "epoch_decay"})
    assert decay.decay_factor == 0.9
    own = space.recipe_at(
        RECIPES["wide900k"], {"schedule": "epoch_decay", "decay_factor": 0.7}
    )
    assert own.decay_factor == 0.7


def test_keras_tuners_own_values_are_no_fields():
    values = {"rotation": 3, "tuner/epochs": 9, "tuner/round": 0}
    point = space.recipe_at(RECIPES["pool2m"], values)
    assert point == RECIPES["pool2m"].replace(rotation=3)


def test_ranges_of_a_file_take_the_place_of_the_derived_ones(tmp_path):
    ranges = {
        "rotation": {"min": 0, "max": 30},
        "beta_1": {"min": 0.8, "max": 0.95, "log": True},
        "batch_size": [32, 48],
        "horizontal_flip": [True],
    }
    path = tmp_path / "space.json"
    path.write_text(json.dumps(ranges))
    recipe = RECIPES["pool2m"]
    axes = space.select(recipe, "", space.read(str(path)))
    assert set(axes) == {*space.derive(recipe), "beta_1", "horizontal_flip"}
    assert axes["rotation"] == space.Axis(10, 0, 30)
    assert axes["beta_1"] == space.Axis(0.9, 0.8, 0.95, log=True)
    # The documented value always belongs to the choices.
    assert axes["batch_size"].choices == (32, 48, 64)
    assert axes["horizontal_flip"].choices == (True, False)
    again = space.from_json(json.loads(json.dumps(space.to_json(axes))), recipe)
    assert again == axes
    assert set(space.select(recipe, "beta_1, zoom", ranges)) == {
        "beta_1",
        "zoom",
    }


BAD_RANGES = {
    "unknown": ({"rotaton": [1]}, ["rotaton", "did you mean 'rotation'"]),
    "the budget": ({"epochs": [1, 2]}, ["epochs", "batch_size"]),
    "no range": ({"zoom": 0.1}, ["zoom", '"min"', "0.1"]),
    "half a range": ({"zoom": {"min": 0.1}}, ["zoom", '"max"']),
    "more than a range": (
        {"zoom": {"min": 0, "max": 0.1, "step": 1}},
        ["step"],
    ),
    "empty": ({"zoom": {"min": 0.2, "max": 0.1}}, ["empty range 0.2 to 0.1"]),
    "a point": ({"zoom": {"min": 0.2, "max": 0.2}}, ["empty range 0.2 to 0.2"]),
    "no choices": ({"optimizer": []}, ["optimizer", "got none"]),
    "no choice": ({"optimizer": ["sgd"]}, ["adam, adamax, nadam", "sgd"]),
    "names as range": ({"optimizer": {"min": 1, "max": 2}}, ["optimizer"]),
    "beyond": ({"zoom": {"min": 0.2, "max": 1.5}}, ["zoom", "1.5"]),
    "logarithm of 0": (
        {"noise": {"min": 0.01, "max": 0.1, "log": True}},
        ["noise", "0.0, the documented value"],
    ),
    "odd logarithm": (
        {"noise": {"min": 0.01, "max": 0.1, "log": "yes"}},
        ["noise", "yes"],
    ),
    "half an image": ({"batch_size": [32, 1.5]}, ["batch_size", "1.5"]),
}


@pytest.mark.parametrize(
    ("ranges", "words"), BAD_RANGES.values(), ids=BAD_RANGES.keys()
)
def test_bad_ranges_are_one_line(ranges, words):
    with pytest.raises(RecipeError) as caught:
        space.select(RECIPES["pool2m"], "", ranges)
    message = str(caught.value)
    assert message.startswith("space: ")
    assert len(message.splitlines()) == 1
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("search", "word"),
    [("rotate", "did you mean 'rotation'"), (",", "''"), ("zoom,arch", "arch")],
)
def test_unknown_names_list_those_that_exist(search, word):
    with pytest.raises(RecipeError) as caught:
        space.select(RECIPES["pool2m"], search)
    names = ", ".join(space.derive(RECIPES["pool2m"]))
    assert names in str(caught.value) and word in str(caught.value)


# The largest network by default.
BUDGETS = {
    "strided400k": 403_562,
    "pool2m": 2_213_610,
    "compact500k": 500_000,
    "wide900k": 887_530,
    "quick65k": 64_794,
}


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("arch", ARCHS)
def test_widths_stay_within_the_budget(arch, given):
    """Counted in the networks themselves."""
    most = BUDGETS[arch] * 3 // 2 if given else BUDGETS[arch]
    budget = space.Budget(most if given else 0)
    choices = space.select(RECIPES[arch], budget=budget)["width"].choices
    counts = {
        width: helpers.network(arch, width=width).count_params()
        for width in (0.5, 0.625, 0.75, 0.875, 1, 1.125, 1.25, 1.375, 1.5)
    }
    assert choices == tuple(w for w in counts if counts[w] <= most)
    wider = given or arch == "compact500k"
    assert (choices[-1] > 1) == wider and choices[-1] >= 1


def test_a_budget_is_of_the_data_and_of_the_stems():
    recipe = RECIPES["pool2m"]
    # 7 x 7 pixels reach the first Dense of the documented network, 12 x 12 here
    large = space.Budget(3_000_000, (48, 48, 3), 5)
    with pytest.raises(RecipeError, match=r"max_parameters: .*got 3000000"):
        space.select(recipe, "width", budget=large)
    large = space.Budget(0, (48, 48, 3), 5)
    assert space.select(recipe, "width", budget=large)["width"].choices == (
        *(0.5, 0.625, 0.75, 0.875, 1.0),
    )
    recipe = RECIPES["strided400k"]
    stems = {"stem": ["3x3"]}
    assert "stem" in space.select(recipe, "stem", stems)
    with pytest.raises(RecipeError, match=r"at least 403722.*got 403562"):
        space.select(recipe, "stem", stems, space.Budget(403_562))


@pytest.mark.parametrize("ranges", [[0.5, 2], {"min": 0.5, "max": 2}])
def test_widths_asked_for_beyond_the_budget_are_refused(ranges):
    recipe, ranges = RECIPES["wide900k"], {"width": ranges}
    count = helpers.network("wide900k", width=2).count_params()
    with pytest.raises(RecipeError) as caught:
        space.select(recipe, "", ranges, space.Budget(count - 1))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert f"at most {count - 1} " in message and f"makes {count}" in message
    axes = space.select(recipe, "", ranges, space.Budget(count))
    assert axes["width"] == space.from_json(ranges, recipe)["width"]
    # What is not searched does not matter.
    space.select(recipe, "zoom", ranges)


# The settings.


def test_settings_survive_their_file(tmp_path):
    made = make(tuner="hyperband", seeds_per_trial=3, seed=2**63 - 1)
    assert settings.keep(tmp_path / "new", made) is False
    assert settings.keep(tmp_path / "new", made) is True
    assert settings.load(tmp_path / "new") == made


def test_changed_settings_are_refused_by_name(tmp_path):
    folder = tmp_path / "sweep"
    settings.keep(folder, make())
    before = (folder / settings.SETTINGS).read_bytes()
    with pytest.raises(SweepError) as caught:
        settings.keep(folder, make("rotation,zoom", max_trials=5, seed=1))
    message = str(caught.value)
    assert "max_trials was 4, got 5" in message
    assert "seed was 0, got 1" in message
    assert 'search was "learning_rate,rotation", got "rotation,zoom"' in message
    assert "space of" not in message
    assert (folder / settings.SETTINGS).read_bytes() == before
    wider = make()
    axes = {**wider.axes, "rotation": space.Axis(8.0, 0.0, 99.0)}
    wider = Settings(
        wider.recipe, wider.run, wider.sweep, axes, wider.fingerprint
    )
    with pytest.raises(
        SweepError, match=r'space of rotation was {.*"max": 99\.0'
    ):
        settings.keep(folder, wider)
    # Where it runs is free to change.
    settings.keep(folder, make(workers=2, role="chief", worker_id="a"))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="already holds files"):
        settings.keep(tmp_path, make())
    with pytest.raises(SweepError, match=r"no file sweep\.json"):
        settings.load(tmp_path)


BAD_SETTINGS = {
    "empty": "",
    "truncated": "{",
    "no names": "{}",
    "a list": "[]",
    "parts that are no objects": '{"recipe": 1, "run": 2}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_damaged_settings_are_refused_in_one_line(tmp_path, text):
    made = make()
    settings.keep(tmp_path / "sweep", made)
    (tmp_path / "sweep" / settings.SETTINGS).write_text(text)
    for read in (
        lambda: settings.load(tmp_path / "sweep"),
        lambda: settings.keep(tmp_path / "sweep", made),
    ):
        with pytest.raises(SweepError) as caught:
            read()
        (line,) = str(caught.value).splitlines()
        assert "sweep.json is damaged" in line and "new folder" in line


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("recipe", "rotation", "7"),
        ("recipe", "arch", "../x"),
        ("run", "resume", 3),
        ("run", "seed", -1),
        ("sweep", "max_trials", 1e9),
        ("data", "fingerprint", None),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(tmp_path, part, name, value):
    content = make().to_json()
    content[part][name] = value
    (tmp_path / settings.SETTINGS).write_text(json.dumps(content))
    with pytest.raises(SweepError, match=r"sweep\.json is damaged") as caught:
        settings.load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_trial_leaves_the_test_set_alone():
    options = settings.trial_options(RunOptions(validation="test", seed=3))
    assert options.validation == "split"
    assert options.evaluate_test is False
    assert options.seed == 3


# One trial.


def run_trial(folder, recipe=None, seeds=(0,), previous=None):
    recipe = recipe or RECIPES["wide900k"].replace(epochs=2)
    options = settings.trial_options(RunOptions())
    return trials.run_trial(
        folder, recipe, options, seeds, "val_accuracy", previous
    )


def test_a_trial_is_the_mean_of_its_seeds_and_run_once(tmp_path):
    folder = tmp_path / "trial_1"
    figures = run_trial(folder, seeds=(4, 5, 6))
    single = run_trial(tmp_path / "trial_2", seeds=(5,))
    assert figures == pytest.approx(single)
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["figures"] == figures
    assert outcome["validation_examples"] == 15000
    assert outcome["seconds"] == 4.5
    assert run_trial(folder, seeds=(4, 5, 6)) == figures
    assert [(how, name) for _, how, name, _ in starts(tmp_path)][:3] == [
        ("fresh", "seed-4"),
        ("fresh", "seed-5"),
        ("fresh", "seed-6"),
    ]
    assert len(starts(tmp_path)) == 4


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("kill", "killed by SIGKILL"),
        ("fail", "ended with status 3: error: no such luck"),
        ("diverge", "diverged: the loss was not finite in epoch 2"),
    ],
)
def test_a_trial_that_fails_says_why(fake, tmp_path, what, reason):
    fake(_7=what)
    with pytest.raises(trials.TrialFailedError) as caught:
        run_trial(tmp_path / "trial_7")
    assert str(caught.value) == reason
    outcome = json.loads((tmp_path / "trial_7" / "outcome.json").read_text())
    assert outcome["reason"] == reason


def test_the_epoch_that_counts_is_judged():
    history = {"loss": [3.0, 2.0, 1.0], "val_accuracy": [0.5, 0.8, 0.7]}
    recipe = RECIPES["wide900k"].replace(epochs=3)
    kept = fake_trainer.metrics(recipe, RunOptions())
    kept |= {"history": history, "weights": "last.keras", "best_epoch": 1}
    last = RunRecord.from_json(kept)
    assert trials.judged(last, "val_accuracy")["val_accuracy"] == 0.7
    best = RunRecord.from_json(kept | {"weights": "best.keras"})
    assert trials.judged(best, "val_accuracy")["val_accuracy"] == 0.8
    history["val_loss"] = [1.0, 1.0, None]
    last = RunRecord.from_json(kept)
    with pytest.raises(
        trials.TrialFailedError, match="val_loss was not finite"
    ):
        trials.judged(last, "val_loss")


def test_a_damaged_record_is_trained_again(tmp_path):
    folder = tmp_path / "trial_1"
    figures = run_trial(folder)
    path = folder / "seed-0" / "metrics.json"
    path.write_text(
        path.read_text().replace('"epochs_run": 2', '"epochs_run": "2"')
    )
    assert run_trial(folder) == figures
    assert [how for _, how, *_ in starts(tmp_path)] == ["fresh", "resumed"]


def test_an_interrupted_training_goes_on_from_its_own_state(fake, tmp_path):
    folder = tmp_path / "trial_1"
    fake(_1="kill")
    with pytest.raises(trials.TrialFailedError):
        run_trial(folder)
    fake()
    run_trial(folder)
    assert [how for _, how, *_ in starts(tmp_path)] == ["fresh", "resumed"]
    assert not list(folder.glob("*.cut-*"))


def test_what_cannot_be_gone_on_from_is_set_aside(fake, tmp_path):
    folder = tmp_path / "trial_1"
    (folder / "seed-0").mkdir(parents=True)  # killed before its flagfile
    (folder / "seed-0" / "half").write_text("a file")
    run_trial(folder)
    assert (folder / "seed-0.cut-1" / "half").exists()
    (folder / "seed-0" / "metrics.json").unlink()
    fake(_1="refuse")
    run_trial(folder)
    assert (folder / "seed-0.cut-2" / "flags.cfg").exists()
    assert [how for _, how, *_ in starts(tmp_path)] == [
        "fresh",
        "resumed",
        "fresh",
    ]


def test_a_promoted_trial_goes_on_from_the_earlier_ones_state(tmp_path):
    recipe = RECIPES["wide900k"].replace(epochs=2)
    run_trial(tmp_path / "trial_1", recipe)
    before = (tmp_path / "trial_1" / "seed-0" / "metrics.json").read_bytes()
    longer = recipe.replace(epochs=6)
    run_trial(tmp_path / "trial_2", longer, previous=tmp_path / "trial_1")
    assert starts(tmp_path) == [
        ("trial_1", "fresh", "seed-0", "2"),
        ("trial_2", "resumed", "seed-0", "6"),
    ]
    after = (tmp_path / "trial_1" / "seed-0" / "metrics.json").read_bytes()
    assert after == before


def test_the_training_of_a_killed_worker_is_waited_for(fake, tmp_path):
    """The worker dies, its training goes on, another worker takes over."""
    fake(_1="wait")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import pathlib, test_sweeps as t\n"
        "t.trials.TRAINER = (sys.executable, str(t.FAKE))\n"
        "t.run_trial(pathlib.Path(sys.argv[2]))"
    )
    folder = tmp_path / "trial_1"
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(FAKE.parent), str(folder)]
    )
    while not (folder / "starts").exists() and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.wait()
    found = []
    second = threading.Thread(target=lambda: found.append(run_trial(folder)))
    second.start()
    second.join(0.5)
    assert second.is_alive()  # the orphan holds the trial
    (folder / "go").touch()
    second.join(30)
    assert found[0]["val_accuracy"] > 0.8
    assert len(starts(tmp_path)) == 1


# The search.


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_the_documented_point_comes_first_at_full_budget(tuner, tmp_path):
    trials_of = {"random": 4, "bayesian": 6, "hyperband": 14}[tuner]
    made = make(tuner=tuner, max_trials=trials_of, epochs=9)
    rows = sweep(tmp_path / "sweep", made)
    assert len(rows) == trials_of
    assert all(row.status == "completed" for row in rows)
    assert rows[0].documented and rows[0].epochs == 9
    assert rows[0].values == space.documented_point(made.axes)
    assert results.recipe_of(rows[0], made) == made.recipe
    for row in rows:
        for name, axis in made.axes.items():
            assert axis.low <= row.values[name] <= axis.high
    budgets = {row.epochs for row in rows}
    assert budgets == ({1, 3, 9} if tuner == "hyperband" else {9})
    assert len(starts(tmp_path / "sweep")) == trials_of
    if tuner == "hyperband":  # nine of one epoch, three of three, one of nine
        how = [line[1] for line in starts(tmp_path / "sweep")]
        assert how.count("resumed") == 4
    assert results.best(rows, made).epochs == 9


def test_the_same_seed_gives_the_same_points(tmp_path):
    first, again, other = (
        [row.values for row in sweep(tmp_path / name, make(seed=seed))]
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == again
    assert first[0] == other[0] and first[1:] != other[1:]


def test_trials_that_fail_end_nothing_else(fake, tmp_path, capsys):
    fake(_1="kill", _2="fail", _3="diverge", _4="kill")
    rows = sweep(tmp_path / "sweep", make(max_trials=6))
    assert [row.status for row in rows] == [
        "completed",
        *["failed"] * 4,
        "completed",
    ]
    assert rows[1].reason == "killed by SIGKILL"
    out, err = capsys.readouterr()
    assert "ended with status 3: error: no such luck" in out
    assert "4 of 6 trials failed" in out
    assert "Traceback (most recent call last)" not in out + err


def test_without_the_documented_point_there_is_no_comparison(fake, tmp_path):
    fake(_0="fail")
    made = make(max_trials=2)
    rows = sweep(tmp_path / "sweep", made)
    assert "did not finish: no comparison" in results.comparison(rows, made)


def test_a_sweep_without_any_result_ends_with_an_error(fake, tmp_path, capsys):
    fake(_0="fail", _1="fail")
    made = make(max_trials=2)
    assert roles.run(tmp_path / "sweep", made, made.sweep) == 1
    assert "No trial was completed" in capsys.readouterr().out


class Stop(BaseException):
    """As if the process ended."""


@pytest.mark.slow
@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_an_interrupted_sweep_goes_on(tuner, tmp_path, monkeypatch):
    """Stopped in its first trial, and again in the third."""
    made = make(tuner=tuner, max_trials=6, epochs=3)
    folder = tmp_path / "sweep"
    original = trials.run_trial
    for stop in (0, 2):

        def run(path, *arguments, stop=stop, **more):
            if int(path.name.partition("_")[2]) == stop:
                raise Stop
            return original(path, *arguments, **more)

        monkeypatch.setattr(trials, "run_trial", run)
        with pytest.raises(Stop):
            roles.run(folder, made, made.sweep)
    monkeypatch.setattr(trials, "run_trial", original)
    rows = sweep(folder, made)
    assert [int(row.trial) for row in rows] == list(range(6))
    assert all(row.status == "completed" for row in rows)
    assert rows[0].values == space.documented_point(made.axes)
    assert len(starts(folder)) == 6
    # Once more: it is over, and nothing is trained.
    assert sweep(folder, made) == rows
    assert len(starts(folder)) == 6


def test_two_processes_cannot_run_one_sweep(tmp_path):
    made = make()
    folder = tmp_path / "sweep"
    settings.keep(folder, made)
    with (
        roles._only_one(folder / "lock", "it"),
        pytest.raises(SweepError, match=f"found process {os.getpid()}$"),
    ):
        roles.run(folder, made, made.sweep)


@pytest.mark.parametrize(
    "address",
    ["", "8790", "host", "host:", "host:0", "host:65536", "host:x", "::1:80"],
)
def test_bad_addresses(address):
    with pytest.raises(SweepError, match="expected host:port"):
        roles.parse_address(address)


def test_addresses():
    assert roles.parse_address("10.0.0.1:80") == ("10.0.0.1", 80)


# What comes out.


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished sweep: (its folder, its settings)."""
    folder = tmp_path_factory.mktemp("sweep") / "it"
    made = make("learning_rate,rotation,optimizer", max_trials=6)
    patch = pytest.MonkeyPatch()
    patch.setattr(trials, "TRAINER", (sys.executable, str(FAKE)))
    patch.setenv("PYTHONPATH", str(ROOT))
    patch.setenv("FAKE_TRAINER", '{"3": "kill"}')
    sweep(folder, made)
    patch.undo()
    return folder, made


def test_the_report_marks_the_documented_point_and_names_failures(finished):
    folder, made = finished
    page = sweep_report.html(folder)
    rows = results.collect(folder, made)
    assert page.count('<tr class="documented">') == 1
    assert "killed by SIGKILL" in page and page.count("<svg") == 2
    for row in rows:
        if row.status == "completed":
            assert f"<td>{row.figures['val_accuracy']:.4f}</td>" in page
    best = results.best(rows, made)
    recipe = results.recipe_of(best, made)
    assert f"--learning_rate={recipe.learning_rate:g}"[:22] in page


def test_the_csv_has_every_trial(finished):
    folder, made = finished
    with open(folder / "sweep.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = results.collect(folder, made)
    assert [line["trial"] for line in lines] == [row.trial for row in rows]
    assert lines[3]["reason"] == "killed by SIGKILL"
    assert lines[3]["val_accuracy"] == ""
    assert float(lines[1]["rotation"]) == rows[1].values["rotation"]
    assert float(lines[1]["val_accuracy"]) == rows[1].figures["val_accuracy"]


def test_the_best_flagfile_is_the_best_trial(finished):
    folder, made = finished
    rows = results.collect(folder, made)
    done = [row for row in rows if row.status == "completed"]
    best = max(done, key=lambda row: row.figures["val_accuracy"])
    assert results.best(rows, made) == best
    recipe = recipe_in(folder / "best.cfg")
    assert recipe == results.recipe_of(best, made)
    assert recipe == recipe_in(folder / f"trial_{best.trial}" / "flags.cfg")
    options = flags_in(folder / "best.cfg", RunOptions)
    assert options == RunOptions()  # it is scored on the test images
    assert "--epochs=30" in (folder / "best.cfg").read_text()


def test_less_of_a_loss_is_better(tmp_path):
    made = make(objective="val_loss", max_trials=5)
    rows = sweep(tmp_path / "sweep", made)
    least = min(rows, key=lambda row: row.figures["val_loss"])
    assert results.best(rows, made) == least


def test_the_plot_is_a_picture(finished):
    from PIL import Image

    folder, _ = finished
    with Image.open(folder / "sweep.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 200


def test_tensorboard_finds_points_and_figures(finished):
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    folder, made = finished
    rows = results.collect(folder, made)
    for row in rows:
        path = folder / "tensorboard" / f"trial_{row.trial}"
        if row.status == "failed":
            assert not path.exists()
            continue
        events = event_accumulator.EventAccumulator(str(path))
        events.Reload()
        content = events.summary_metadata[
            "_hparams_/session_start_info"
        ].plugin_data.content
        kept = plugin_data_pb2.HParamsPluginData.FromString(content)
        point = kept.session_start_info.hparams
        assert point["rotation"].number_value == row.values["rotation"]
        assert point["optimizer"].string_value == row.values["optimizer"]
        assert set(events.Tags()["tensors"]) >= set(row.figures)


def test_the_comparison_says_by_how_much_and_whether_by_chance(finished):
    folder, made = finished
    rows = results.collect(folder, made)
    text = results.comparison(rows, made)
    best = results.best(rows, made).figures["val_accuracy"]
    gain = best - rows[0].figures["val_accuracy"]
    assert f"In accuracy {gain:+.2%}, which " in text
    assert "best of 4 other points" in text and "n = 5,000" in text


@pytest.mark.parametrize("others", [1, 5, 20])
def test_chance_alone_seldom_exceeds_the_bound(others, rng):
    """Simulated: equal networks, each on its own images, the best picked."""
    examples, accuracy, repeats = 5000, 0.99, 20_000
    shape = (repeats, others + 1)
    drawn = rng.binomial(examples, accuracy, shape) / examples
    best, first = drawn[:, 1:].max(axis=1), drawn[:, 0]
    bounds = [
        results.noise(b, f, examples, others)[0]
        for b, f in zip(best, first, strict=True)
    ]
    share = np.mean(best - first > bounds)
    error = math.sqrt(0.05 * 0.95 / repeats)
    # Bonferroni's bound; the others share the documented point's chance.
    assert 0.01 < share < 0.05 + 4 * error + 0.005, share


def test_a_second_column_for_the_running(finished):
    _, made = finished
    row = results.Row("2", "running", "", {}, 2, {}, 0, None)
    assert report.table_row(row, made, None) == "    2  running"


# Memory.


@pytest.mark.slow
def test_memory_does_not_grow_with_the_trials(tmp_path):
    """Of the sweep's process, after 20 tiny trials and after 3."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import pathlib, test_sweeps as t\n"
        "t.trials.TRAINER = (sys.executable, str(t.FAKE))\n"
        "t.print_memory_after_each(pathlib.Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(FAKE.parent), str(tmp_path / "sweep")],
        capture_output=True,
        text=True,
        check=True,
    )
    memory = [
        int(line.split()[1])
        for line in done.stdout.splitlines()
        if line.startswith("memory ")
    ]
    assert len(memory) == 20
    assert memory[19] <= 1.1 * memory[2], memory


def print_memory_after_each(folder):
    reporter = report.Reporter.__call__

    def call(self, trial_id):
        reporter(self, trial_id)
        (row,) = (
            row
            for row in results.collect(self._folder, self._settings)
            if row.trial == trial_id
        )
        if row.status != "running":
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            print(f"memory {pages * os.sysconf('SC_PAGE_SIZE')}", flush=True)

    report.Reporter.__call__ = call
    sweep(folder, make(max_trials=20))


def test_every_field_of_the_options_is_checked():
    for name, value in {
        "tuner": "grid",
        "max_trials": -1,
        "objective": "accuracy",
        "seeds_per_trial": 0,
        "workers": -1,
        "role": "boss",
    }.items():
        with pytest.raises(RecipeError, match=f"^{name}: expected"):
            SweepOptions(**{name: value})
    with pytest.raises(RecipeError, match="max_trials: expected at least 1"):
        SweepOptions(max_trials=0)
    assert SweepOptions(max_trials=0, tuner="hyperband").max_trials == 0
    assert not set(recipes.specs(SweepOptions)) & {
        *recipes.specs(RunOptions),
        *recipes.specs(recipes.Recipe),
    }
