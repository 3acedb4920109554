"""Which devices train, and what happens where memory is short."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import helpers
import keras
import pytest
import tensorflow as tf

from mnistpipe.networks import models
from mnistpipe.recipes import RecipeError, RunOptions
from mnistpipe.runs import summary
from mnistpipe.training import distribution, feeding, protocol, train

# Without a GPU, one device


def test_one_device_is_all_that_mirrored_finds():
    assert distribution.names() == ["/device:CPU:0"]
    for name in ("one", "mirrored"):
        assert distribution.number(name) == 1
        assert distribution.strategy(name) is tf.distribute.get_strategy()
    assert distribution.count() == 1
    assert distribution.training() == ["/device:CPU:0"]


def test_mirrored_on_one_device_just_works(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build", helpers.tiny_network)
    options = helpers.quick_options(tmp_path, strategy="mirrored")
    metrics = train.train(
        helpers.quick_recipe(epochs=1), options, helpers.few_digits()
    )
    assert metrics.devices == 1
    assert metrics.options.strategy == "mirrored"
    assert "devices" not in summary.summary(metrics)
    more = summary.summary(dataclasses.replace(metrics, devices=4))
    assert "input on the host of 4 devices" in " ".join(more.split())


# Memory


@pytest.mark.parametrize(
    ("asked", "gpu", "most", "path"),
    [
        ("auto", True, 300 * 784, "device"),
        ("auto", True, 300 * 784 - 1, "host"),
        ("auto", False, 300 * 784, "host"),
        ("host", True, 300 * 784, "host"),
        ("device", True, 1000, "device"),
    ],
)
def test_auto_takes_the_device_of_a_gpu_up_to_a_bound(
    monkeypatch, capsys, asked, gpu, most, path
):
    """300 images of 784 bytes, 50 of which validate."""
    monkeypatch.setattr(distribution, "has_gpu", lambda: gpu)
    monkeypatch.setattr(feeding, "_MOST_ON_DEVICE", most)
    options = RunOptions(validation_size=50, input=asked, jit_compile="off")
    assert make_feed(options).path == path
    told = capsys.readouterr().err
    if (asked, gpu, path) == ("auto", True, "host"):
        assert told.startswith("input: host, since the images have 0 MiB")
        assert told.count("\n") == 1
    else:
        assert told == ""


def make_feed(options):
    return feeding.make_feed(
        helpers.quick_recipe(),
        options,
        helpers.tiny_network(helpers.quick_recipe(), (28, 28, 1), 10),
        protocol.split_rows(options, helpers.few_digits()),
        10,
    )


def test_the_bound_is_a_gibibyte():
    assert feeding._MOST_ON_DEVICE == 2**30


BYTES = "OOM of 9\nbytes"
OOM = tf.errors.ResourceExhaustedError(None, None, BYTES)


@pytest.mark.parametrize(
    ("path", "place", "error"),
    [
        ("host", "fit", OOM),
        ("device", "fit", OOM),
        ("device", "constant", OOM),
        ("device", "constant", RuntimeError(f"RESOURCE_EXHAUSTED: {BYTES}")),
    ],
)
def test_too_little_memory_is_one_line_with_advice(
    monkeypatch, tmp_path, path, place, error
):
    """In the training, and while the images are put on the device."""

    def exhausted(*_, **__):
        raise error

    monkeypatch.setattr(models, "build", helpers.tiny_network)
    if place == "fit":
        monkeypatch.setattr(keras.Model, "fit", exhausted)
    else:
        monkeypatch.setattr(feeding.layers, "Resident", exhausted)
    options = helpers.quick_options(tmp_path / "run", input=path)
    with pytest.raises(RecipeError) as raised:
        train.train(helpers.quick_recipe(), options, helpers.few_digits())
    line = str(raised.value)
    assert "OOM of 9'" in line
    assert "smaller --batch_size" in line
    assert ("--input=host" in line) == (path == "device")
    assert "\n" not in line


# Two


@pytest.mark.slow
def test_two_devices():
    """In a process of its own: see two_devices.py."""
    tests = pathlib.Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--tb=short"]
    done = subprocess.run(
        [*command, str(tests / "two_devices.py")],
        cwd=tests.parent,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-500:]
