"""Runs killed at any moment end as if they never had been, to the last bit."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys

import helpers
import keras
import numpy as np
import pytest

from mnistpipe.errors import UserError
from mnistpipe.networks import models
from mnistpipe.recipes import (
    ADDONS,
    RECIPES,
    Recipe,
    RunOptions,
    addons,
    flagfiles,
    specs,
)
from mnistpipe.runs import runfolder
from mnistpipe.runs.runfolder import RunFolder
from mnistpipe.training import callbacks, checkpoint, resume, train

ROOT = pathlib.Path(__file__).parents[1]
STEPS = 3  # of an epoch: 250 examples, the last batch short
EPOCHS = 3
# A plateau that halves the learning rate after each epoch without progress,
# early stopping that has something to remember, and the best epoch kept.
RECIPE = helpers.quick_recipe(
    epochs=EPOCHS,
    batch_size=90,
    noise=0.05,
    rotation=0,
    width_shift=0,
    height_shift=0,
    shear=0,
    zoom=0,
    learning_rate=0.1,
    plateau_monitor="val_loss",
    plateau_patience=1,
    early_stopping_monitor="val_loss",
    early_stopping_patience=3,
)


BUILD = models.build


def small_network(recipe, shape, classes) -> keras.Model:
    """One of each layer that has a state of its own."""
    pictures = keras.Input(tuple(shape))
    x = keras.layers.Flatten()(pictures)
    x = keras.layers.Dense(16, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(pictures, x, name=recipe.arch)


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", small_network)
        yield


def run(path, recipe=RECIPE, digits=None, **options):
    # The test images cost more than the few steps, and are read at the end.
    options = {"evaluate_test": False, **options}
    options = helpers.quick_options(path, **options)
    return train.train(recipe, options, digits or helpers.few_digits())


def go_on(path, recipe=RECIPE, **options):
    return run(path, recipe, resume=str(path), **options)


def last_state(path):
    saved, damaged = checkpoint.newest(path)
    assert not damaged
    return saved


class Reference:
    """An uninterrupted run with the state after each of its steps."""

    def __init__(self, path, recipe=RECIPE, **options):
        self.path = path
        self.recipe = recipe
        self.options = options
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "KEEP", 1000)
            self.metrics = run(path, recipe, save_every=1, **options)
        self.state = last_state(path)

    def killed_at(self, path, step, **beside):
        """A folder such as a kill leaves it after some step."""
        (path / "state").mkdir(parents=True)
        (file,) = (self.path / "state").glob(f"step-{step:09}-*")
        shutil.copy(file, path / "state")
        shutil.copy(self.path / "flags.cfg", path)
        for name, content in beside.items():
            (path / name).write_text(content)
        return path

    def check(self, path, metrics):
        """Everything that a run leaves, beside this one's."""
        saved = last_state(path)
        assert saved.step == self.state.step
        assert saved.arrays.keys() == self.state.arrays.keys()
        for name, array in self.state.arrays.items():
            np.testing.assert_array_equal(saved.arrays[name], array, name)
        for name in ("memory", "stopped", "history"):
            assert getattr(saved.facts, name) == getattr(self.state.facts, name)
        history = (self.path / "history.csv").read_bytes()
        assert (path / "history.csv").read_bytes() == history
        for name in ("best.keras", "last.keras"):
            check_same_weights(path / name, self.path / name)
        told = {"resumed_at_steps", "options", "run_dir"}
        now, whole = metrics.to_json(), self.metrics.to_json()
        told |= {n for n in now if "second" in n}
        for name in now.keys() - told:
            assert now[name] == whole[name], name
        assert not list(path.rglob(".new-*"))


def check_same_weights(one, other):
    assert one.exists() == other.exists()
    if one.exists():
        for a, b in zip(
            *(models.load(path).get_weights() for path in (one, other)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Reference(tmp_path_factory.mktemp("host") / "run")


@pytest.mark.slow
def test_mixed_precision_goes_on_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build", BUILD)
    recipe = RECIPES["wide900k"].replace(
        precision="mixed_bfloat16", width=0.25, epochs=1, batch_size=50
    )
    reference = Reference(tmp_path / "whole", recipe)
    path = reference.killed_at(tmp_path / "killed", 3)
    reference.check(path, go_on(path, recipe))


def test_the_recipe_has_something_to_remember(host):
    """Otherwise these tests would show nothing."""
    rates = host.metrics.history["learning_rate"]
    assert len(set(rates)) > 1
    memories = [
        checkpoint.read(path).facts.memory
        for path in sorted((host.path / "state").iterdir())
    ]
    assert all(vars(memories[-1]).values())
    assert any(m.EarlyStopping and m.EarlyStopping.wait for m in memories)
    assert host.state.step == EPOCHS * STEPS
    assert any(n.startswith("best/") for n in host.state.arrays)
    generators = [
        array
        for name, array in host.state.arrays.items()
        if name.startswith("network/") and array.dtype.kind in "iu"
    ]
    assert len(generators) == 1


@pytest.mark.slow
@pytest.mark.parametrize("step", range(EPOCHS * STEPS))
def test_from_every_step_to_the_same_end(tmp_path, host, step):
    """With other networks lying about, of epochs that are yet to come."""
    path = host.killed_at(
        tmp_path / "run",
        step,
        **{"best.keras": "later", "history.csv": "epoch,acc\n0,1\n1,0."},
    )
    metrics = go_on(path)
    host.check(path, metrics)
    assert metrics.resumed_at_steps == (step,)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A learning rate that changes at every step, averages of the weights."""
    recipe = helpers.quick_recipe(
        epochs=EPOCHS,
        batch_size=90,
        learning_rate=0.01,
        schedule="one_cycle",
        ema_momentum=0.8,
    )
    return Reference(tmp_path_factory.mktemp("averaged") / "run", recipe)


@pytest.mark.slow
@pytest.mark.parametrize("step", range(EPOCHS * STEPS))
def test_averages_and_rates_by_step_go_on(tmp_path, averaged, step):
    path = averaged.killed_at(tmp_path / "run", step)
    averaged.check(path, go_on(path, averaged.recipe))


def test_a_schedule_by_step_keeps_its_number_of_epochs(tmp_path, averaged):
    path = averaged.killed_at(tmp_path / "run", 3)
    longer = averaged.recipe.replace(epochs=EPOCHS + 1)
    with pytest.raises(UserError, match="on which one_cycle depends"):
        go_on(path, longer)


def test_saving_changes_no_bit(tmp_path, host):
    metrics = run(tmp_path)
    host.check(tmp_path, metrics)
    assert metrics.resumed_at_steps == ()


def test_states_are_saved_when_they_should_be(tmp_path, host, monkeypatch):
    monkeypatch.setattr(checkpoint, "KEEP", 1000)
    run(tmp_path / "epochs")
    run(tmp_path / "steps", save_every=2)
    assert steps_of(tmp_path / "epochs") == [0, 3, 6, 9]
    assert steps_of(tmp_path / "steps") == [0, 2, 3, 5, 6, 8, 9]


def steps_of(path):
    return sorted(
        int(file.name.split("-")[1]) for file in (path / "state").iterdir()
    )


def test_the_newest_two_are_kept(tmp_path):
    run(tmp_path, save_every=1)
    assert steps_of(tmp_path) == [8, 9]


def test_the_finished_run_has_nothing_to_do(host, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(host.path, path)
    assert resume.finished(RunFolder(path), RECIPE).epochs_run == EPOCHS
    assert not resume.finished(RunFolder(path), RECIPE.replace(epochs=9))
    # Killed while it was tested: only that is done again.
    (path / "metrics.json").unlink()
    (path / "last.keras").unlink()
    assert not resume.finished(RunFolder(path), RECIPE)
    host.check(path, go_on(path))


def test_a_run_that_stopped_early_stays_stopped(tmp_path, monkeypatch):
    recipe = RECIPE.replace(early_stopping_patience=1, epochs=20)
    whole = Reference(tmp_path / "whole", recipe)
    epochs = whole.metrics.epochs_run
    assert epochs < 20
    stopped = whole.killed_at(tmp_path / "run", epochs * STEPS)
    whole.check(stopped, go_on(stopped, recipe))
    more = recipe.replace(epochs=30)
    assert resume.finished(RunFolder(whole.path), more)
    before = whole.killed_at(tmp_path / "before", epochs * STEPS - 2)
    whole.check(before, go_on(before, recipe))


def test_the_device_path(tmp_path):
    """Compiled, several steps in a call, and a recipe without validation."""
    options = {
        "input": "device",
        "steps_per_execution": 5,
        "validation": "none",
        "evaluate_test": True,
    }
    recipe = RECIPE.replace(batch_size=30, epochs=2, rotation=10)
    whole = Reference(tmp_path / "whole", recipe, **options)
    assert steps_of(whole.path) == [0, 5, 10, 15, 20]
    assert not (whole.path / "best.keras").exists()
    for step in (5, 10):
        path = whole.killed_at(tmp_path / str(step), step)
        whole.check(path, go_on(path, recipe, **options))


@pytest.mark.slow
def test_the_compiled_device_path(tmp_path):
    recipe = RECIPE.replace(
        schedule="epoch_decay",
        decay_factor=0.5,
        early_stopping_patience=0,
        epochs=2,
        # Keras 2's Nadam counts in Python as well.
        optimizer="adamax" if not hasattr(keras, "Variable") else "nadam",
    )
    options = {"input": "device", "jit_compile": "on"}
    whole = Reference(tmp_path / "whole", recipe, **options)
    path = whole.killed_at(tmp_path / "run", 2)
    whole.check(path, go_on(path, recipe, **options))


@pytest.mark.parametrize("name", ADDONS)
def test_other_optimizers(tmp_path, name):
    """Some have memory of their own; Lookahead goes back after six steps."""
    recipe = RECIPE.replace(
        optimizer=name, learning_rate=1.0, early_stopping_patience=0
    )
    if name == "lookahead":  # a rate that is a function, and not a variable
        recipe = recipe.replace(schedule="one_cycle")
    if reason := addons.lack(recipe):
        pytest.skip(reason)
    whole = Reference(tmp_path / "whole", recipe)
    if name == "lamb":  # a rate that a plateau lowered before the last epoch
        assert whole.metrics.history["learning_rate"][-1] < 1
    for step in (5, 7):
        path = whole.killed_at(tmp_path / str(step), step)
        whole.check(path, go_on(path, recipe))


def test_auto_goes_on_where_the_run_was(tmp_path):
    """And not where this machine would be by itself."""
    run(tmp_path, RECIPE.replace(epochs=1), input="auto")
    saved = last_state(tmp_path)
    assert saved.facts.input == "host"
    facts = dataclasses.replace(saved.facts, input="device")
    shutil.rmtree(tmp_path / "state")
    checkpoint.write(tmp_path, checkpoint.State(3, facts, saved.arrays))
    metrics = go_on(tmp_path, RECIPE.replace(epochs=2), input="auto")
    assert metrics.input == "device"


def test_more_epochs_are_those_of_a_longer_run(tmp_path, host):
    longer = RECIPE.replace(epochs=EPOCHS + 1)
    reference = Reference(tmp_path / "reference", longer)
    path = tmp_path / "run"
    shutil.copytree(host.path, path)
    metrics = go_on(path, longer, save_every=2, verbose=0)
    reference.check(path, metrics)
    assert "--epochs=4\n" in (path / "flags.cfg").read_text()


# Kills


class Killed(BaseException):
    """Nothing in the code under test catches it."""


def die_at(patch, number):
    """Dies before the n-th file is put in its place, and tidies nothing up."""
    calls, replace, unlink = [], os.replace, pathlib.Path.unlink

    def dying_replace(source, target):
        calls.append(target)
        if len(calls) == number:
            raise Killed
        replace(source, target)

    def unlinking_alive(path, missing_ok=False):
        if len(calls) < number:
            unlink(path, missing_ok=missing_ok)

    patch.setattr(runfolder.os, "replace", dying_replace)
    patch.setattr(pathlib.Path, "unlink", unlinking_alive)


def snapshots(path, folder):
    """Runs, and copies what a kill leaves before each file is in its place.

    Returns:
      The copies, by number and name of the file that is still beside it, cut
      off in every other one.
    """
    replace, copies = os.replace, {}

    def copying_replace(source, target):
        copy = folder / str(len(copies))
        shutil.copytree(path, copy)
        if len(copies) % 2:
            cut(copy / pathlib.Path(source).relative_to(path))
        copies[copy] = pathlib.Path(target).name
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runfolder.os, "replace", copying_replace)
        run(path, RECIPE.replace(epochs=2), save_every=2)
    return copies


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "run"
    return Reference(path, RECIPE.replace(epochs=2))


@pytest.mark.slow
def test_killed_before_each_file_is_in_its_place(tmp_path, short):
    copies = snapshots(tmp_path / "whole", tmp_path)
    names = [name.rpartition("-")[0] or name for name in copies.values()]
    assert names == [
        *("flags.cfg", "step-000000000", "history.csv"),
        *("step-000000002", "best.keras", "step-000000003"),
        *("step-000000005", "best.keras", "step-000000006"),
        *("last.keras", "metrics.json"),
    ]
    nothing, *begun = copies
    with pytest.raises(UserError, match=r"has no flags\.cfg"):
        go_on(nothing, short.recipe)
    for path in begun:
        short.check(path, go_on(path, short.recipe, save_every=2))


@pytest.mark.slow
def test_a_resumed_run_may_be_killed_again(tmp_path, short):
    path, recipe = tmp_path / "run", short.recipe
    for number in (5, 6, 6):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            die_at(patch, number)
            again = str(path) if path.exists() else ""
            run(path, recipe, save_every=1, resume=again)
    metrics = go_on(path, recipe)
    short.check(path, metrics)
    assert metrics.resumed_at_steps == (1, 3, 5)


# SIGKILL by the process itself, so that no test hangs on timing: right before
# some state is in its place, its file whole and synced beside.
KILL = """
import os, signal, sys
from mnistpipe.runs import runfolder
from mnistpipe.runs.runfolder import RunFolder
replace = os.replace
def killing(source, target):
    if target.name.startswith("step-{step:09}"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
runfolder.os.replace = killing
"""
SMALL = """
import pathlib
import test_resume
test_resume.models.build = test_resume.small_network
test_resume.run(pathlib.Path({path!r}), save_every=1)
"""
MAIN = """
from mnistpipe import main
from mnistpipe.cli import app, flags
from mnistpipe.recipes import Recipe, RunOptions
flags.define(Recipe)
flags.define(RunOptions)
app.run(main.main)
"""


def python(*arguments, limit=None):
    """Status, output and errors of a process."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # the binary sets it

    def limited():
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=limited,
        timeout=300,
    )
    return process.returncode, process.stdout, process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 6])
def test_sigkill_while_a_state_is_written(tmp_path, host, step):
    path = tmp_path / "run"
    code = KILL.format(step=step) + SMALL.format(path=str(path))
    status, _, err = python("-c", code)
    assert status == -signal.SIGKILL, err
    assert len(list(path.rglob(".new-*"))) == 1
    metrics = go_on(path)
    host.check(path, metrics)
    assert metrics.resumed_at_steps == (step - 1,)


# A full disk


@contextlib.contextmanager
def full_disk(step):
    """From some state on, its file may not grow beyond a few KB."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    write = checkpoint.write

    def limited(run, saved):
        if saved.step >= step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
        try:
            write(run, saved)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write", limited)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 2, 3])
def test_a_full_disk_is_one_line_and_the_last_state_survives(
    tmp_path, short, step
):
    with full_disk(step), pytest.raises(UserError) as error:
        run(tmp_path, short.recipe, save_every=1)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "File too large" in str(error.value)
    assert not list(tmp_path.rglob(".new-*"))
    if step:
        assert last_state(tmp_path).step == step - 1
    short.check(tmp_path, go_on(tmp_path, short.recipe))


# Damage


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.fixture
def damaged(tmp_path, short):
    """A killed run with the states of the steps 4 and 5."""
    path = short.killed_at(tmp_path / "run", 4)
    (newest,) = (short.path / "state").glob("step-000000005-*")
    return path, pathlib.Path(shutil.copy(newest, path / "state"))


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_newest_state_falls_back(damaged, short, damage, capsys):
    path, newest = damaged
    damage(newest)
    metrics = go_on(path, short.recipe)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"state/{newest.name} is damaged" in lines[0]
    assert "going on from the one before, of step 4" in lines[0]
    assert metrics.resumed_at_steps == (4,)
    short.check(path, metrics)


def test_nothing_but_damage_is_refused(damaged, short):
    path, _ = damaged
    for file in (path / "state").iterdir():
        flip(file)
    check_refused(path, "expected a whole state, got none", short.recipe)


def forge(folder, content):
    """A file with the checksum that it should have."""
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = folder / f"step-{99:09}-{digest}.npz"
    path.write_bytes(content)
    return path


class Explosive:
    def __reduce__(self):
        return os._exit, (7,)


@pytest.mark.parametrize("kind", ["pickle", "zip bomb", "rubbish", "claims"])
def test_a_forged_state_runs_no_code_and_takes_no_memory(tmp_path, kind):
    buffer = io.BytesIO()
    facts = np.frombuffer(b'{"step": 99}', np.uint8)
    if kind == "pickle":
        np.savez(buffer, facts=np.array([Explosive()], object))
    elif kind == "zip bomb":
        np.savez_compressed(buffer, facts=facts, zeros=np.zeros(10_000_000))
    elif kind == "rubbish":
        buffer.write(b"rubbish")
    else:
        np.savez(buffer, facts=facts, big=np.zeros(1111, np.uint8))
        claim = buffer.getvalue().replace(b"(1111,)", b"(9e9,  )")
        buffer = io.BytesIO(claim)
    with pytest.raises(checkpoint.DamagedError, match="not a saved state"):
        checkpoint.read(forge(tmp_path, buffer.getvalue()))


def test_a_state_of_another_network_is_refused(tmp_path, short):
    saved = short.state
    arrays = {**saved.arrays, "network/000": np.zeros((3, 3), np.float32)}
    path = short.killed_at(tmp_path / "run", 0)
    checkpoint.discard_after(path, None)
    checkpoint.write(path, checkpoint.State(saved.step, saved.facts, arrays))
    with pytest.raises(UserError, match="expected network variables"):
        go_on(path, short.recipe)


# States of strangers


def forged(path, change):
    """Changes the facts of a killed run's only state, checksum and all."""
    (file,) = (path / "state").iterdir()
    with np.load(file) as content:
        arrays = dict(content)
    facts = json.loads(arrays.pop("facts").tobytes())
    change(facts)
    step = facts["step"]
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    np.savez(buffer, facts=text, **arrays)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    file.unlink()
    (path / "state" / f"step-{step:09}-{digest}.npz").write_bytes(
        buffer.getvalue()
    )
    return path


def fact(name, value):
    """Sets a fact by its dotted path."""

    def change(facts):
        *above, last = name.split(".")
        for key in above:
            facts = facts[key]
        facts[last] = value

    return change


FORGED = [
    ("memory.CSVLogger", {"filename": "x", "keys": ["a"]}, "CSVLogger"),
    ("memory.SaveBest.filepath", "elsewhere/x", "filepath"),
    ("memory.EarlyStopping.__class__", 1, "__class__"),
    ("memory.EarlyStopping", [], "expected an object"),
    ("memory.SaveBest.best", "1e9", "expected a number, got"),
    ("memory.SaveBest.best_epoch", 7, "expected one of 1 epochs, got 7"),
    ("memory.ReduceLROnPlateau.wait", -1, "expected a number in"),
    ("memory.ReduceLROnPlateau.wait", 1.5, "expected an integer"),
    ("memory.ReduceLROnPlateau.wait", True, "expected an integer"),
    ("memory", None, "memory: expected an object"),
    ("stopped", "no", "stopped: expected true or false"),
    ("history", {"loss": ["a"]}, "history.loss: expected a number"),
    ("history", {"loss": [1.0, 2.0, 3.0]}, "as many figures as history_file"),
    ("history_file", "epoch\n=cmd|'/C calc'!A0\n", "a table of numbers"),
    ("history_file", "#!/bin/sh\nrm -rf x\n", "a table of numbers"),
    ("history_file", None, "a table of numbers"),
    ("seconds", float("nan"), "seconds: expected a finite number"),
    ("seconds", -1, "seconds: expected a number in"),
    ("resumed", [1, -2], "resumed: expected a number in"),
    ("resumed", "12", "resumed: expected a list"),
    ("commits", ["\x1b[2J"], "commits: expected printable text"),
    ("versions.keras", 3, "versions.keras: expected printable text"),
    ("hardware", [], "hardware: expected an object"),
    ("data.fingerprint", None, "data.fingerprint: expected printable"),
    ("input", "/dev/sda", "input: expected host or device"),
    ("devices", 0, "devices: expected a number in"),
    ("recipe.epochs", -4, "recipe: expected fields that this version"),
    ("options", None, "options: expected an object"),
]


@pytest.mark.parametrize(("name", "value", "words"), FORGED)
def test_facts_that_no_training_writes_are_refused(
    tmp_path, short, name, value, words
):
    """One line, and nothing is written."""
    path = forged(short.killed_at(tmp_path / "run", 3), fact(name, value))
    check_refused(path, re.escape(words), short.recipe)
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_step_that_the_history_does_not_have_is_refused(tmp_path, short):
    path = forged(short.killed_at(tmp_path / "run", 3), fact("step", 10**6))
    with pytest.raises(UserError, match="the figures of 333333 epochs"):
        go_on(path, short.recipe)


def as_fifo(path):
    (file,) = (path / "state").iterdir()
    file.unlink()
    os.mkfifo(file)


def as_folder(path):
    (file,) = (path / "state").iterdir()
    file.unlink()
    file.mkdir()
    (path / "last.keras").write_text("a result")


def tensorboard_file(path):
    (path / "tensorboard").write_text("")


def state_file(path):
    shutil.rmtree(path / "state")
    (path / "state").write_text("")


def state_link(path):
    (path / "state").rename(path.parent / "elsewhere")
    (path / "state").symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (as_fifo, "expected a whole state, .*read as a file"),
        (as_folder, "expected a saved state beside last.keras"),
        (tensorboard_file, "expected tensorboard to be a folder, got a file"),
        (state_file, "expected state to be a folder, got a file"),
        (state_link, "expected state to be a folder, got a link"),
    ],
)
def test_what_lies_where_a_state_should_be(tmp_path, short, change, words):
    path = short.killed_at(tmp_path / "run", 3)
    change(path)
    with pytest.raises(UserError, match=words) as error:
        go_on(path, short.recipe)
    assert "\n" not in str(error.value)


# Refusals


def check_refused(path, words, recipe, **changes):
    before = helpers.files(path)
    with pytest.raises(UserError, match=words) as error:
        go_on(path, recipe, **changes)
    assert "\n" not in str(error.value)
    assert helpers.files(path) == before


# Something else for every field that the recipe's result hangs on.
OTHER = {
    int: lambda value: value + 1,
    float: lambda value: value / 2 + 0.01,
    bool: lambda value: not value,
    str: lambda value: "other",
}
FIELDS = {**specs(Recipe), **specs(RunOptions)}
FREE = {"run_dir", "resume", "save_every", "verbose", "data"}


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - FREE))
def test_whatever_differs_is_named(tmp_path, name):
    """From the command line, beside the run's flagfile."""
    recipe, options = RECIPES["strided400k"], RunOptions()
    run = {**vars(recipe), **vars(options)}
    spec = FIELDS[name]
    value = OTHER[spec.kind](run[name])
    if spec.choices:
        value = next(c for c in spec.choices if c != run[name])
    if name == "epochs":
        value = run[name] - 1
    text = flagfiles.text(recipe, options)
    (tmp_path / "flags.cfg").write_text(text)
    with pytest.raises(UserError) as error:
        resume.settings(RunFolder(tmp_path), {name: value})
    assert f"got {name}={value} (the run has {run[name]}" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_agrees_or_may_differ_is_taken(tmp_path):
    recipe, options = RECIPES["strided400k"], RunOptions(seed=3)
    text = flagfiles.text(recipe, options)
    (tmp_path / "flags.cfg").write_text(text)
    given = {"epochs": 200, "save_every": 7, "verbose": 2, "data": "x.npz"}
    path = str(tmp_path)
    settings = resume.settings(
        RunFolder(tmp_path), {**given, "seed": 3, "noise": 0.05}
    )
    given.pop("epochs")
    expected = options.replace(run_dir=path, resume=path, **given)
    assert settings == (recipe.replace(epochs=200), expected)
    assert resume.settings(RunFolder(tmp_path), {}) == (
        recipe,
        options.replace(run_dir=path, resume=path),
    )
    with pytest.raises(UserError, match="run_dir: expected none"):
        resume.settings(RunFolder(tmp_path), {"run_dir": "elsewhere"})


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.98])
def test_a_damaged_flagfile_is_named_as_such(tmp_path, share):
    text = flagfiles.text(RECIPES["strided400k"], RunOptions())
    path = tmp_path / "flags.cfg"
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(UserError) as error:
        resume.settings(RunFolder(tmp_path), {})
    assert f"got a damaged {path}: " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_state_from_before_a_field_existed_has_its_default(tmp_path, short):
    """As commit 28ad15a wrote it, which knew no precision."""

    def older(facts):
        del facts["recipe"]["precision"], facts["options"]["watch_test"]

    path = forged(short.killed_at(tmp_path / "run", 3), older)
    half = short.recipe.replace(precision="mixed_bfloat16")
    check_refused(path, "precision=.*the run has float32", half)
    short.check(path, go_on(path, short.recipe))


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ({"beta_1": 0.5}, {}, r"got beta_1=0.5 \(the run has 0.9\)"),
        ({"epochs": 1}, {}, "epochs=1 .the run has 2, which can only be"),
        ({}, {"seed": 2}, r"seed=2 \(the run has 1\)"),
        ({"noise": 0.0}, {"validation_size": 51}, "noise=0.0.* validation_"),
    ],
)
def test_a_changed_flagfile_differs_from_the_state(
    tmp_path, short, recipe, options, words
):
    path = short.killed_at(tmp_path / "run", 3)
    check_refused(path, words, short.recipe.replace(**recipe), **options)


def test_other_data_are_refused(tmp_path, short):
    path = short.killed_at(tmp_path / "run", 3)
    other = dataclasses.replace(helpers.few_digits(), fingerprint="other")
    check_refused(
        path,
        r"data few of fingerprint other \(the run has few of 300 100\)",
        short.recipe,
        digits=other,
    )


@pytest.mark.parametrize("name", ["mnistpipe", "tensorflow", "keras"])
def test_other_versions_are_refused(tmp_path, short, monkeypatch, name):
    versions = {**train.provenance.versions(), name: "0.0.1"}
    monkeypatch.setattr(train.provenance, "versions", lambda: versions)
    path = short.killed_at(tmp_path / "run", 3)
    check_refused(path, rf"got {name} 0.0.1 \(the run has", short.recipe)


def test_another_machine_is_pointed_out(tmp_path, short, monkeypatch, capsys):
    hardware = dataclasses.replace(train.provenance.hardware(), cpu="abacus")
    monkeypatch.setattr(train.provenance, "hardware", lambda: hardware)
    path = short.killed_at(tmp_path / "run", 6)
    go_on(path, short.recipe)
    (line,) = capsys.readouterr().err.splitlines()
    assert "the same bits are not promised with cpu abacus" in line


def test_a_run_that_is_still_going_is_refused(tmp_path, short):
    path = short.killed_at(tmp_path / "run", 3)
    with RunFolder(path).locked():
        check_refused(path, "still going", short.recipe)


def test_results_without_a_state_are_refused(tmp_path, short):
    path = short.killed_at(tmp_path / "run", 3, **{"metrics.json": "{}"})
    shutil.rmtree(path / "state")
    check_refused(path, "a saved state beside metrics.json", short.recipe)


def test_killed_before_the_first_state_it_starts_anew(tmp_path, short, capsys):
    path = short.killed_at(tmp_path / "run", 0)
    shutil.rmtree(path / "state")
    short.check(path, go_on(path, short.recipe))
    assert "starts anew" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(tmp_path, short, monkeypatch):
    def interrupt(self, epoch, logs=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.EpochScalars, "on_epoch_end", interrupt)
        assert run(tmp_path, short.recipe, save_every=2).interrupted
    assert not resume.finished(RunFolder(tmp_path), short.recipe)
    metrics = go_on(tmp_path, short.recipe)
    assert metrics.resumed_at_steps == (2,)
    short.check(tmp_path, metrics)


# The command line


def main(*arguments, **options):
    return python("-m", "mnistpipe.main", *arguments, **options)


@pytest.mark.slow
def test_the_command_line(tmp_path):
    """Disk full, then killed, then ended, then nothing left to do."""
    digits = helpers.few_digits()
    np.savez(
        tmp_path / "few.npz",
        x_train=digits.train.images,
        y_train=digits.train.labels,
        x_test=digits.test.images,
        y_test=digits.test.labels,
    )
    path = tmp_path / "run"
    flags = (
        *("--arch=wide900k", "--batch_size=50", "--epochs=3", "--seed=1"),
        *("--validation_size=50", "--verbose=0", "--save_every=2"),
        f"--data={tmp_path / 'few.npz'}",
    )
    status, out, err = main(*flags, f"--run_dir={path}", limit=1_000_000)
    assert (status, out) == (1, "")
    assert "File too large" in err.splitlines()[-1]
    assert "Traceback" not in err

    again = f"--resume={path}"
    code = KILL.format(step=7) + MAIN
    status, _, err = python("-c", code, again)
    assert status == -signal.SIGKILL, err
    assert (path / "best.keras").exists()

    status, out, err = main(again, "--noise=0.5")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "noise=0.5 (the run has 0.0)" in err

    status, out, err = main(again, "--arch=wide900k", "--save_every=5")
    assert status == 0, err
    metrics = json.loads((path / "metrics.json").read_text())
    assert f"{metrics['test_accuracy']:.2%} of 100 images" in out
    before = helpers.files(path)
    status, out, err = main(again)
    assert (status, err) == (0, "")
    assert "finished; nothing is left to do" in out
    assert helpers.files(path) == before
