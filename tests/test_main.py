"""The binary as a user runs it: one good run, many wrong command lines."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import helpers
import numpy as np
import pytest
from absl import flags as absl_flags

from mnistpipe.cli import flags
from mnistpipe.recipes import Recipe, RunOptions

ROOT = pathlib.Path(__file__).parents[1]
QUICK = (
    "--arch=wide900k",
    "--batch_size=50",
    "--train_examples=200",
    "--validation_size=50",
    "--verbose=0",
)


def start(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "mnistpipe.main", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main(*arguments, cwd):
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def few_npz(tmp_path_factory):
    """A data file of a few digits, so that the test set is read quickly."""
    digits = helpers.few_digits()
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(
        path,
        x_train=digits.train.images,
        y_train=digits.train.labels,
        x_test=digits.test.images,
        y_test=digits.test.labels,
    )
    return path


def test_a_run_says_what_came_out(tmp_path, few_npz):
    status, out, err = main(
        *QUICK, "--epochs=1", f"--data={few_npz}", cwd=tmp_path
    )
    assert status == 0, err
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("wide900k-")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert f"{metrics['test_accuracy']:.2%} of 100 images" in out
    assert "split: 50 training images held out" in out
    assert f"runs/{folder.name}" in out
    # The flagfile is the whole run again.
    values = absl_flags.FlagValues()
    flags.define(Recipe, flag_values=values)
    flags.define(RunOptions, flag_values=values)
    values(["main", f"--flagfile={folder / 'flags.cfg'}"])
    recipe = flags.read(Recipe, values)
    options = flags.read(RunOptions, values)
    assert vars(recipe) == metrics["recipe"]
    assert vars(options) == {**metrics["options"], "data": str(few_npz)}


def test_a_stopped_run_keeps_its_folder(tmp_path, few_npz):
    """By SIGTERM: a pytest in the background of a shell ignores Ctrl-C."""
    process = start(
        *QUICK,
        "--epochs=100000",
        "--early_stopping_patience=0",
        f"--data={few_npz}",
        "--run_dir=run",
        cwd=tmp_path,
    )
    history = tmp_path / "run" / "history.csv"
    try:
        while process.poll() is None and not (
            history.exists() and history.stat().st_size
        ):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("Interrupted: ")
    assert "not measured" in out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    assert metrics["steps"] >= 3
    assert (tmp_path / "run" / "last.keras").exists()
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "interrupted, not scored" in report


# test_cli.py has the flags and values that are refused before `main`.
BAD = {
    "unknown arch": (
        ["--arch=pool3m"],
        ["pool3m", "strided400k, pool2m, compact500k, wide900k"],
    ),
    "no arch": ([], ["arch", "pool2m"]),
    "positional argument": (["--arch=pool2m", "extra"], ["extra"]),
    "unknown flag": (["--arch=pool2m", "--batchsize=64"], ["batchsize"]),
    "zoom": (["--arch=pool2m", "--zoom=1.5"], ["zoom", "1.5"]),
    "no data": (["--arch=pool2m", "--data=gone.npz"], ["gone.npz"]),
    "truncated data": (["--arch=pool2m", "--data=half.npz"], ["half.npz"]),
    "data of another kind": (["--arch=pool2m", "--data=used/a"], ["used/a"]),
    "used folder": (["--arch=pool2m", "--run_dir=used"], ["used", "empty"]),
    "file for a folder": (
        ["--arch=pool2m", "--run_dir=used/a/run"],
        ["used/a", "not a folder"],
    ),
    "no flagfile": (["--flagfile=gone.cfg"], ["gone.cfg"]),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_touches_nothing(
    tmp_path, few_npz, arguments, words
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a").write_text("mine")
    whole = few_npz.read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    before = helpers.files(tmp_path)
    status, out, err = main(*arguments, cwd=tmp_path)
    assert status in (1, 2)
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err
    assert helpers.files(tmp_path) == before
    assert not (tmp_path / "runs").exists()
