"""Training on JAX and on PyTorch, each in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import helpers
import keras
import numpy as np
import pytest
import test_resume

from mnistpipe.errors import UserError
from mnistpipe.networks import models
from mnistpipe.recipes import RunOptions
from mnistpipe.runs import backends, finished
from mnistpipe.training import train

HERE = pathlib.Path(__file__).parent
KERAS_2 = not hasattr(keras, "Variable")


def installed(backend: str):
    """The backend, left out where it cannot be had."""
    reason = ""
    if KERAS_2:
        reason = "Keras 2 has no other backends"
    elif importlib.util.find_spec(backend) is None:
        reason = f"{backend} is not installed: pip install mnistpipe[{backend}]"
    skip = pytest.mark.skipif(bool(reason), reason=reason)
    return pytest.param(backend, marks=skip)


BACKENDS = [installed("jax"), installed("torch")]


def in_process(backend: str, *command: str, cwd: pathlib.Path = HERE, **more):
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(
                [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
            ),
            **more,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def save_networks(folder: pathlib.Path, rng: np.random.Generator) -> None:
    """Narrow ones, with weights unlike those that they start from.

    But near to them: large answers before the softmax would turn the last
    bits, in which processors differ too, into visible parts of a probability.
    """
    folder.mkdir()
    pictures = rng.random((7, 28, 28, 1), np.float32)
    np.save(folder / "pictures.npy", pictures)
    for arch in ("strided400k", "quick65k"):
        network = helpers.network(arch, width=0.25)
        network.set_weights(
            [
                w * rng.uniform(0.8, 1.2, w.shape) + 0.02 * rng.random(w.shape)
                for w in network.get_weights()
            ]
        )
        network.save(folder / f"{arch}.keras")
        np.save(folder / f"{arch}.npy", network(pictures).numpy())


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_trains(tmp_path, rng, backend, monkeypatch):
    save_networks(tmp_path / "saved", rng)
    done = in_process(
        backend,
        *("-m", "pytest", "-q", "-n0", "--tb=short", "-p", "no:cacheprovider"),
        *("--rootdir", str(HERE), "backend_checks.py"),
        MNISTPIPE_BACKEND_FOLDER=str(tmp_path),
        # Most of the time is the compiler's.
        XLA_FLAGS="--xla_backend_optimization_level=0",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # And TensorFlow does not go on with what that has left.
    monkeypatch.setattr(models, "build", test_resume.small_network)
    options = helpers.quick_options(
        tmp_path / "run", resume=str(tmp_path / "run"), input="auto"
    )
    words = rf"got backend tensorflow \(the run has {backend}\)"
    with pytest.raises(UserError, match=words):
        train.train(
            finished.read(str(tmp_path / "run")).record.recipe,
            options.replace(evaluate_test=False),
            helpers.few_digits(),
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_programs_run(tmp_path, backend):
    def run(program, *flags):
        done = in_process(
            backend,
            *("-m", f"mnistpipe.{program}", *flags),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = run(
        "main",
        *("--arch=wide900k", "--width=0.25", "--epochs=1", "--batch_size=100"),
        *("--train_examples=1000", "--validation_size=100", "--verbose=2"),
        *("--run_dir=run", "--input=host"),
    )
    version = importlib.import_module(backend).__version__
    assert f"Keras {keras.__version__} on {backend} {version}" in told
    scores = run("evaluate", "--run=run")
    accuracy = finished.read(str(tmp_path / "run")).record.test_accuracy
    assert f"{100 * accuracy:.2f}" in scores


def check_one_line(done, words):
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]  # TensorFlow 2.15 has logged before
    assert line.startswith("error: KERAS_BACKEND: expected tensorflow, jax or")
    assert words in line
    assert done.returncode == 1
    assert not done.stdout


def test_a_backend_that_does_not_exist_is_one_line(tmp_path):
    done = in_process(
        "abacus", "-m", "mnistpipe.main", "--arch=pool2m", cwd=tmp_path
    )
    check_one_line(done, "got abacus")
    assert not list(tmp_path.iterdir())


def test_a_backend_that_is_not_installed_is_one_line(monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'jax'", name="jax")

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(UserError, match="got jax, which is not installed"):
        backends.load()


def test_what_else_is_missing_stays_loud(monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'rich'", name="rich")

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(ModuleNotFoundError, match="rich"):
        backends.load()


def test_a_backend_that_keras_did_not_take_is_refused(monkeypatch):
    """Keras 2 has no others and says nothing."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match=r"got jax, and Keras .* took tensor"):
        backends.load()


@pytest.mark.parametrize("value", ["", "tensorflow"])
def test_tensorflow_is_what_there_is(monkeypatch, value):
    monkeypatch.setenv("KERAS_BACKEND", value)
    assert backends.load() == backends.name() == "tensorflow"
    assert backends.versions() == {"backend": "tensorflow"}


@pytest.mark.parametrize("option", ["auto", "host", "device"])
def test_under_tensorflow_everything_stays_as_asked(option):
    options = RunOptions(input=option)
    assert backends.settle(options) is options


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"tensorflow": "2.21.0", "keras": "3.15.1"}, ""),  # an old run
        (
            {"tensorflow": "2.21.0", "keras": "3.15.1", "backend": "jax"}
            | {"jax": "0.10.2"},
            " on jax 0.10.2",
        ),
    ],
)
def test_words(versions, words):
    assert (
        backends.summary(versions) == f"TensorFlow 2.21.0, Keras 3.15.1{words}"
    )


@pytest.mark.slow
def test_a_resumed_run_without_a_backend_was_tensorflows(tmp_path, monkeypatch):
    """Those of before there was a choice."""
    monkeypatch.setattr(models, "build", test_resume.small_network)
    provenance = train.provenance
    now = provenance.versions()
    old = {name: now[name] for name in now.keys() - {"backend"}}
    recipe = helpers.quick_recipe(epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "versions", lambda: old)
        test_resume.run(tmp_path, recipe)
    metrics = test_resume.go_on(tmp_path, recipe.replace(epochs=2))
    assert metrics.versions["backend"] == "tensorflow"
