"""Which devices train, and what is said to fit into one."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import helpers
import pytest
import tensorflow as tf

from mnistpipe.networks import models
from mnistpipe.recipes import RunOptions
from mnistpipe.runs import summary
from mnistpipe.training import distribution, feeding, protocol

MIB = 2**20
GPU = "/device:GPU:0"


# Without a GPU, one device


def test_one_device_is_all_that_mirrored_finds():
    assert distribution.names() == ["/device:CPU:0"]
    for name in ("one", "mirrored"):
        assert distribution.number(name) == 1
        assert distribution.strategy(name) is tf.distribute.get_strategy()
    assert distribution.count() == 1
    assert distribution.training() == ["/device:CPU:0"]


def test_mirrored_on_one_device_just_works(tmp_path, monkeypatch):
    from mnistpipe.training import train

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


def test_tensorflow_tells_its_limits():
    """Of the CPU, since there is no GPU: the same call for both."""
    limits = distribution.memory_limits()
    assert limits["/device:CPU:0"] >= 256 * MIB
    assert distribution.free_memory() == {}


@pytest.mark.parametrize(
    ("size", "free", "path", "words"),
    [
        (1, {}, "host", "no GPU"),
        (45 * MIB, {GPU: 90 * MIB}, "device", "45.0 MiB are no more than 50%"),
        (
            45 * MIB + 1,
            {GPU: 90 * MIB},
            "host",
            "are more than 50% of the 90.0",
        ),
        # The least of several, all of which get a copy.
        (
            45 * MIB,
            {GPU: 9000 * MIB, "/device:GPU:1": 80 * MIB},
            "host",
            "80.0 MiB that are free on /device:GPU:1",
        ),
        (1, {GPU: None}, "host", "GPU:0 does not tell its memory"),
        (1, {GPU: 0}, "host", "0.0 MiB that are free"),
    ],
)
def test_the_images_go_where_they_fit(size, free, path, words):
    chosen, why = distribution.choose_input(size, free)
    assert chosen == path
    assert words in why
    assert why.startswith(f"input: {path}, since ") and "\n" not in why


class Gpu:
    name = GPU


@pytest.mark.parametrize(
    ("limits", "free"), [({GPU: 100}, {GPU: 70}), ({}, {GPU: None})]
)
def test_what_is_free_is_the_limit_without_what_is_taken(
    monkeypatch, limits, free
):
    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: [Gpu] * (kind == "GPU")
    )
    monkeypatch.setattr(
        tf.config.experimental, "get_memory_info", lambda name: {"current": 30}
    )
    monkeypatch.setattr(distribution, "memory_limits", lambda: limits)
    assert distribution.free_memory() == free


@pytest.mark.parametrize(
    ("asked", "free", "path"),
    [
        ("auto", 100 * MIB, "device"),
        ("auto", 1000, "host"),
        ("host", 100 * MIB, "host"),
        ("device", 1000, "device"),
        ("auto", None, "host"),  # without a GPU
    ],
)
def test_auto_says_what_it_chose(
    monkeypatch, capsys, tmp_path, asked, free, path
):
    """300 images of 784 bytes; what was asked for is not talked about."""
    cpu = "/device:CPU:0"
    monkeypatch.setattr(
        distribution, "free_memory", lambda: {} if free is None else {cpu: free}
    )
    digits = helpers.few_digits()
    options = RunOptions(validation_size=50, input=asked)
    feed = feeding.make_feed(
        helpers.quick_recipe(),
        options,
        helpers.tiny_network(helpers.quick_recipe(), (28, 28, 1), 10),
        protocol.split_rows(options, digits),
        10,
    )
    assert feed.path == path
    told = capsys.readouterr().err
    if asked == "auto" and free is not None:
        assert told.startswith(f"input: {path}, since the images' 0.2 MiB")
        assert told.count("\n") == 1
    else:
        assert told == ""


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
