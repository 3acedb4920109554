"""The binary as a user runs it: chief, workers, wrong command lines."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import helpers
import numpy as np
import pytest

from mnistpipe import data
from mnistpipe.recipes import RECIPES, RunOptions
from mnistpipe.sweep import settings, space
from mnistpipe.sweep.options import SweepOptions

ROOT = pathlib.Path(__file__).parents[1]
TUNE = (sys.executable, "-m", "mnistpipe.tune")
FAKE_TUNE = (sys.executable, str(ROOT / "tests" / "fake_tune.py"))


def start(*arguments, cwd, command=TUNE, **environment):
    return subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, cwd, **more):
    process = start(*arguments, cwd=cwd, **more)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def few_npz(tmp_path_factory):
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


def small(few_npz, **flags):
    flags = {
        "arch": "wide900k",
        "data": few_npz,
        "run_dir": "sweep",
        "train_examples": 100,
        "validation_size": 50,
        "epochs": 1,
        "search": "learning_rate,rotation",
        **flags,
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def rows(folder):
    return [
        json.loads(path.read_text())
        for path in sorted(folder.glob("trial_*/trial.json"))
    ]


@pytest.mark.slow
def test_threads_run_the_trainer(tmp_path, few_npz):
    """The trainer itself, two at a time."""
    folder = tmp_path / "sweep"
    process = start(*small(few_npz, workers=2, max_trials=3), cwd=tmp_path)
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert [row["status"] for row in rows(folder)] == ["COMPLETED"] * 3
    for path in folder.glob("trial_*/seed-0.log"):
        assert path.read_text().count("not measured, as asked") == 1
    for path in folder.glob("trial_*/seed-0/metrics.json"):
        metrics = json.loads(path.read_text())
        assert metrics["test_accuracy"] is None
        assert metrics["epochs_run"] == 1
    first = rows(folder)[0]["hyperparameters"]["values"]
    assert first == {"learning_rate": 1e-3, "rotation": 8.0}
    assert f"--flagfile={folder / 'best.cfg'}" in out
    assert "parallel coordinates" in (folder / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_chief_and_two_workers_one_killed(tmp_path, few_npz, free):
    """The worker dies in trial 3; the other worker takes over its trial."""
    folder = tmp_path / "sweep"
    address = f"--chief_address=127.0.0.1:{free}"
    chief = start(
        *small(few_npz, max_trials=8),
        *("--role=chief", address),
        cwd=tmp_path,
        command=FAKE_TUNE,
    )
    workers = {}
    try:
        wait_for((folder / "chief.secret").exists, chief)
        assert (folder / "chief.secret").stat().st_mode & 0o777 == 0o600
        for name in ("a", "b"):
            workers[name] = start(
                *("--role=worker", address, f"--worker_id={name}"),
                f"--run_dir={folder}",
                cwd=tmp_path,
                command=FAKE_TUNE,
                FAKE_TRAINER='{"3": "wait"}' if name == "a" else "{}",
            )
            if name == "a":
                wait_for((folder / "trial_3" / "starts").exists, chief)
                workers["a"].kill()
                (folder / "trial_3" / "go").touch()
        out, err = chief.communicate(timeout=120)
        assert chief.returncode == 0, err
        assert workers["b"].wait(60) == 0, workers["b"].communicate()
    finally:
        for process in (chief, *workers.values()):
            process.kill()
            process.communicate()
    assert "a has not been heard of for 2 s; the trial is handed out" in out
    assert [row["status"] for row in rows(folder)] == ["COMPLETED"] * 8
    for path in folder.glob("trial_*/starts"):
        assert path.read_text() == "fresh seed-0 1\n"
    assert len(list(folder.glob("trial_*/starts"))) == 8


@pytest.mark.slow
def test_ctrl_c_ends_trainings_and_the_same_command_goes_on(tmp_path, few_npz):
    """By SIGTERM: a pytest in the background of a shell ignores Ctrl-C."""
    folder = tmp_path / "sweep"
    flags = small(few_npz, workers=2, max_trials=3)
    process = start(
        *flags,
        cwd=tmp_path,
        command=FAKE_TUNE,
        FAKE_TRAINER='{"1": "wait"}',
    )
    try:
        wait_for((folder / "trial_1" / "starts").exists, process)
        process.terminate()
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("Interrupted; the same command")
    assert "Traceback" not in err
    status, _, err = run(*flags, cwd=tmp_path, command=FAKE_TUNE)
    assert status == 0, err
    assert [row["status"] for row in rows(folder)] == ["COMPLETED"] * 3
    begun = [path.read_text() for path in sorted(folder.glob("trial_*/starts"))]
    assert begun[0] == begun[2] == "fresh seed-0 1\n"
    assert begun[1] == "fresh seed-0 1\nresumed seed-0 1\n"


@pytest.fixture
def taken():
    """A port where somebody listens who is no chief."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


BAD = {
    "no arch": ([], ["arch", "pool2m"]),
    "unknown hyperparameter": (
        ["--arch=pool2m", "--search=rotate"],
        ["rotate", "learning_rate, schedule", "did you mean 'rotation'"],
    ),
    "empty range": (
        ["--arch=pool2m", "--space=empty.json"],
        ["zoom", "empty range 0.2 to 0.1"],
    ),
    "a budget below the document": (
        ["--arch=pool2m", "--max_parameters=2213609"],
        ["max_parameters", "at least 2213610", "got 2213609"],
    ),
    "no number of parameters": (
        ["--arch=pool2m", "--max_parameters=-1"],
        ["max_parameters", "an integer in", "-1"],
    ),
    "no file of ranges": (
        ["--arch=pool2m", "--space=gone.json"],
        ["gone.json"],
    ),
    "no JSON": (["--arch=pool2m", "--space=used/a"], ["used/a", "no JSON"]),
    "used folder": (["--arch=pool2m", "--run_dir=used"], ["used", "empty"]),
    "no trials": (["--arch=pool2m", "--max_trials=0"], ["max_trials"]),
    "no epochs": (["--arch=pool2m", "--epochs=0"], ["epochs", "at least 1"]),
    "no data": (["--arch=pool2m", "--data=gone.npz"], ["gone.npz"]),
    "too much held out": (
        ["--arch=pool2m", "--validation_size=59999"],
        ["59999"],
    ),
    "too many examples": (
        ["--arch=pool2m", "--train_examples=59999"],
        ["59999"],
    ),
    "a flag of the trainer alone": (["--arch=pool2m", "--zoom=0.2"], ["zoom"]),
    "bad address": (
        ["--arch=pool2m", "--role=chief", "--chief_address=here"],
        ["here", "host:port"],
    ),
    "port in use": (
        ["--arch=pool2m", "--role=chief", "--chief_address=127.0.0.1:{taken}"],
        ["a free port", "{taken}", "in use"],
    ),
    "no chief": (
        ["--role=worker", "--run_dir=used", "--chief_address=127.0.0.1:{free}"],
        ["expected a chief at 127.0.0.1:{free}", "nobody listens"],
    ),
    "no sweep": (
        [
            "--role=worker",
            "--run_dir=used",
            "--chief_address=127.0.0.1:{taken}",
        ],
        ["used", "no file sweep.json"],
    ),
    "no folder": (["--role=worker"], ["run_dir", "the sweep's folder"]),
    "a worker's own mind": (
        ["--role=worker", "--run_dir=used", "--max_trials=3"],
        ["max_trials", "run_dir, worker_id"],
    ),
    "a worker's name that is a path": (
        ["--role=worker", "--run_dir=used", "--worker_id=../chief"],
        ["../chief"],
    ),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_touches_nothing(
    tmp_path, taken, free, arguments, words
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "a").write_text("mine")
    (tmp_path / "empty.json").write_text('{"zoom": {"min": 0.2, "max": 0.1}}')
    before = helpers.files(tmp_path)
    ports = {"taken": taken, "free": free}
    status, out, err = run(
        *(text.format(**ports) for text in arguments), cwd=tmp_path
    )
    assert status in (1, 2)
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert all(word.format(**ports) in err for word in words), err
    assert helpers.files(tmp_path) == before
    assert not (tmp_path / "sweeps").exists()


def test_another_sweep_is_refused_by_name(tmp_path, few_npz):
    recipe = RECIPES["wide900k"].replace(epochs=1)
    options = RunOptions(
        data=str(few_npz), train_examples=100, validation_size=50, seed=1
    )
    made = settings.Settings(
        recipe,
        settings.trial_options(options),
        SweepOptions(max_trials=7),
        space.select(recipe, "learning_rate,rotation"),
        data.load(str(few_npz)).fingerprint,
    )
    settings.keep(tmp_path / "sweep", made)
    before = helpers.files(tmp_path)
    status, out, err = run(*small(few_npz), cwd=tmp_path)
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.endswith(": seed was 1, got 0; max_trials was 7, got 20")
    assert helpers.files(tmp_path) == before


def test_help_names_the_flags_and_loads_no_tensorflow(tmp_path):
    status, out, _ = run("--help", cwd=tmp_path)
    assert status == 0
    assert out.startswith("Searches near a documented recipe")
    for name in ("max_trials", "search", "chief_address", "run_dir", "epochs"):
        assert f"\n  --{name}\n" in out
    assert "--zoom\n" not in out
    code = (
        "import mnistpipe.tune, sys\n"
        "print({'tensorflow', 'keras', 'grpc', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
