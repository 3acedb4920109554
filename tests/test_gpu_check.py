"""The GPU's check, on whatever there is; its figures are not looked at."""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from mnistpipe.recipes import RECIPES

ROOT = pathlib.Path(__file__).parents[1]
QUICK = next(arch for arch in RECIPES if arch.startswith("quick"))
sys.path.insert(0, str(ROOT / "tools"))
import gpu_check  # noqa: E402

GPU = bool(tf.config.list_physical_devices("GPU"))
JAX = importlib.util.find_spec("jaxlib") is not None and hasattr(
    keras, "Variable"
)
FIRST = {
    "tensorflow": [
        ("device", True),
        ("host", False),
        ("ImageDataGenerator", False),
    ],
    "jax": [("device", True), ("host", True), ("ImageDataGenerator", True)],
}

pytestmark = pytest.mark.slow  # all tests share one long measurement


def run(folder, backend, *flags):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "gpu_check.py", *flags],
        cwd=folder,
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), os.environ.get("PYTHONPATH", "")]
            ),
            # Most of the time is the compiler's.
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "gpu_check.json").read_text())


@pytest.fixture(
    scope="module",
    params=[
        "tensorflow",
        pytest.param(
            "jax",
            marks=pytest.mark.skipif(not JAX, reason="jax is not installed"),
        ),
    ],
)
def backend(request):
    return request.param


@pytest.fixture(scope="module")
def checked(tmp_path_factory, backend):
    return run(
        *(tmp_path_factory.mktemp("check"), backend),
        *(f"--arch={QUICK}", "--width=0.25", "--train_examples=250"),
        *("--most=3", "--steps=2", "--seconds=0", "--minutes=100"),
    )


def test_it_says_on_what_its_figures_were_taken(checked, backend):
    told, found = checked
    assert found["versions"]["backend"] == backend
    assert found["gpu"] == GPU
    assert ("No GPU was found: these are a CPU's figures" in told) != GPU
    assert found["note"] in told
    assert {"tensorflow", "keras", "mnistpipe"} <= found["versions"].keys()
    assert found["hardware"]["cores"] >= 1


def test_it_measures_every_path(checked, backend):
    told, found = checked
    rows = found["throughput"]
    paths = [(row["path"], row["xla"]) for row in rows]
    assert paths == FIRST[backend]
    # Of 250 examples in batches; several steps in a call divide the epoch.
    per_epoch = math.ceil(250 / rows[0]["batch_size"])
    assert per_epoch > 1
    assert [row["steps_per_call"] for row in rows] == [per_epoch, 1, 1]
    for row in rows:
        assert row["images_per_second"] > 0
        assert row["rounds"] >= 4
        assert (row["bytes_peak"] is not None) == GPU
        assert f"{row['images_per_second']:,.0f}" in told
    assert found["left_out"] == []


def test_it_compares_the_paths(checked):
    _, found = checked
    shown = found["pictures"]
    assert shown["pictures"] > 250
    assert shown["largest_difference"] <= shown["tolerance"] == 1e-5
    assert shown["share_beyond"] == 0
    learned = found["losses"]
    assert len(learned["host"]) == len(learned["device"]) == 20
    assert learned["host"][-1] < learned["host"][0]
    assert learned["largest_difference"] < 1e-4 * (100 if GPU else 1)


def test_it_times_an_epoch_and_a_recipe(checked):
    told, found = checked
    epoch = found["epoch"]
    assert epoch["measured"]
    assert epoch["images"] == 250
    assert epoch["seconds"] > 0
    expected = epoch["recipe_epochs"] * epoch["seconds"]
    assert epoch["recipe_seconds"] == pytest.approx(expected)
    assert "(measured)" in told


def test_without_time_it_says_what_it_left_out():
    options = gpu_check.parse([f"--arch={QUICK}", "--minutes=0"])
    found = gpu_check.check(gpu_check.Checks(options))
    assert found["pictures"] is found["losses"] is found["epoch"] is None
    assert found["throughput"] == []
    assert len(found["left_out"]) == 9 + 3
    (line,) = gpu_check.conclusions(found)
    words = f"no time for: pictures, losses, {QUICK}/device/True/True"
    assert line.startswith(words)
