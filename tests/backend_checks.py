"""What test_backends.py has a process with another KERAS_BACKEND check.

    KERAS_BACKEND=jax MNISTPIPE_BACKEND_FOLDER=… pytest -n0 backend_checks.py

The folder is test_backends.py's: `saved/` in it has networks, pictures and
TensorFlow's answers; `run` is left there for it.
"""

import os
import pathlib
import signal

import helpers
import keras
import numpy as np
import pytest
import test_resume

from mnistpipe import pipeline
from mnistpipe.errors import UserError
from mnistpipe.networks import models
from mnistpipe.pipeline import layers
from mnistpipe.training import interrupts, state

BACKEND = os.environ["KERAS_BACKEND"]
FOLDER = pathlib.Path(os.environ["MNISTPIPE_BACKEND_FOLDER"])
# Two steps an epoch; something to remember, and averages of the weights.
RECIPE = helpers.quick_recipe(
    epochs=3,
    batch_size=125,
    learning_rate=0.01,
    noise=0.05,
    plateau_monitor="val_loss",
    plateau_patience=1,
    early_stopping_monitor="val_loss",
    early_stopping_patience=3,
    ema_momentum=0.5,
)


def small_network(recipe, shape, classes) -> keras.Model:
    """PyTorch's dropout has a generator that is not saved."""
    pictures = keras.Input(tuple(shape))
    x = keras.layers.Flatten()(pictures)
    x = keras.layers.Dense(16, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    if BACKEND != "torch":
        x = keras.layers.Dropout(0.3)(x)
    x = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(pictures, x, name=recipe.arch)


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", small_network)
        yield


# By auto, the host path.
PATHS = ("auto", "device") if BACKEND == "jax" else ("auto",)


@pytest.fixture(scope="module")
def reference():
    return test_resume.Reference(FOLDER / "run", RECIPE, input="auto")


@pytest.fixture(scope="module")
def references(reference):
    """The reference of each path; on a CPU, auto takes the host's."""
    return {"auto": reference} | {
        path: test_resume.Reference(FOLDER / path, RECIPE, input=path)
        for path in PATHS[1:]
    }


def test_it_computes_and_says_so(reference):
    assert keras.backend.backend() == BACKEND
    versions = reference.metrics.versions
    assert versions["backend"] == BACKEND
    assert versions[BACKEND].split("+")[0].replace(".", "").isdigit()
    assert reference.metrics.input == "host"


def test_it_learns(reference):
    losses = reference.metrics.history["loss"]
    assert len(losses) == RECIPE.epochs
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize("input", PATHS)
def test_a_run_killed_within_an_epoch_goes_on_to_the_same_bits(
    tmp_path, references, capsys, input
):
    path = references[input].killed_at(tmp_path / "run", 3)
    metrics = test_resume.go_on(path, RECIPE, input=input)
    references[input].check(path, metrics)
    assert metrics.resumed_at_steps == (3,)
    not_promised = "not promised with PyTorch" in capsys.readouterr().err
    assert not_promised == (BACKEND == "torch")


@pytest.mark.skipif(len(PATHS) == 1, reason="this backend has one path")
def test_both_paths_end_with_the_same_bits(references):
    """Weights, moments and dropout's generator after six steps."""
    host, device = (references[path] for path in PATHS)
    assert device.metrics.input == "device"
    for name, array in host.state.arrays.items():
        np.testing.assert_array_equal(device.state.arrays[name], array, name)


@pytest.fixture
def listening():
    """A shell that starts a test in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_an_interrupted_run_goes_on_to_the_same_bits(
    tmp_path, reference, monkeypatch
):
    """From its epoch's end. Nor did saving the reference change a bit.

    Where a step leaves no weights, Ctrl-C waits for the next one.
    """
    begin = state.StateCallback.on_train_batch_begin

    def interrupted(self, batch, logs=None):
        begin(self, batch, logs)
        if (self.epoch, batch) == (1, 0):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(state.StateCallback, "on_train_batch_begin", interrupted)
        metrics = test_resume.run(tmp_path, RECIPE, input="auto")
    assert metrics.interrupted
    assert metrics.steps == (3 if BACKEND == "jax" else 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    kept = models.load(tmp_path / "last.keras").get_weights()
    assert all(np.isfinite(array).all() for array in kept)
    metrics = test_resume.go_on(tmp_path, RECIPE, input="auto")
    reference.check(tmp_path, metrics)
    assert metrics.resumed_at_steps == (2,)


@pytest.mark.parametrize(
    "path", sorted((FOLDER / "saved").glob("*.keras")), ids=lambda p: p.stem
)
def test_a_saved_network_answers_as_under_tensorflow(path):
    pictures = np.load(FOLDER / "saved" / "pictures.npy")
    expected = np.load(path.with_suffix(".npy"))
    assert expected.std() > 0.01  # else anything would agree
    answers = models.load(path).predict(pictures, verbose=0)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-5)


def test_what_needs_tensorflow_is_refused(tmp_path):
    refused = {"strategy": ("mirrored", "expected one")}
    if BACKEND == "torch":
        refused["input"] = ("device", "expected auto or host")
        refused["steps_per_execution"] = (2, "expected 1")
    for option, (value, words) in refused.items():
        with pytest.raises(UserError, match=f"{option}: {words} with KERAS"):
            test_resume.run(tmp_path / "run", **{option: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(BACKEND == "jax", reason="the layers run in JAX")
def test_layers_that_need_another_backend_are_refused():
    rescale = pipeline.Rescale(1 / 255)
    with pytest.raises(ValueError, match="to be tensorflow or jax"):
        layers.Augment(rescale, seed=1)
    with pytest.raises(ValueError, match="to be tensorflow or jax"):
        images = np.zeros((1, 8, 8, 1), np.uint8)
        layers.Resident(images, pipeline.Compose([rescale]))


@pytest.mark.usefixtures("listening")
def test_an_interrupt_after_the_last_step_is_not_lost():
    with pytest.raises(KeyboardInterrupt), interrupts.between_batches():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
