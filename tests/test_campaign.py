"""tools/campaign.py: a list of runs that continues after any stop."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scoring_helpers

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import campaign  # noqa: E402


def command(folder, *more):
    return [
        *(sys.executable, str(ROOT / "tools" / "campaign.py")),
        *(str(folder / "list.txt"), f"--runs={folder / 'runs'}", *more),
    ]


@pytest.fixture
def listed(tmp_path):
    """A list of one long run on few digits, and of one that cannot start."""
    npz = scoring_helpers.save_npz(tmp_path / "few.npz")
    (tmp_path / "list.txt").write_text(
        f"good --arch=quick65k --epochs=12 --data={npz}"
        " --validation_size=50 --save_every=1\n\n"
        "# a comment\nbad --arch=quick65k --epochs=-1\n"
    )
    return tmp_path


@pytest.mark.slow
def test_a_stopped_campaign_continues_where_it_stopped(listed):
    log, history = listed / "runs/good.log", listed / "runs/good/history.csv"
    first = subprocess.Popen(command(listed, "--jobs=1"))
    deadline = time.monotonic() + 200
    while not (history.exists() and len(history.read_text().split()) > 2):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 130
    epochs = len(history.read_text().split()) - 1
    assert 1 <= epochs < 12, log.read_text()
    second = subprocess.run(
        command(listed, "--jobs=2"), capture_output=True, text=True, timeout=300
    )
    assert second.returncode == 1  # the other line of the list
    lines = [line.split(maxsplit=1)[1] for line in second.stdout.splitlines()]
    assert "good  resumed" in lines and "good  finished" in lines
    (failure,) = [line for line in lines if line.startswith("bad  error")]
    assert "expected an integer in [0, 1000000]" in failure
    metrics = json.loads((listed / "runs/good/metrics.json").read_text())
    assert metrics["epochs_run"] == 12 and metrics["resumed_at_steps"]
    assert np.isfinite(metrics["history"]["loss"]).all()


def test_the_list_of_the_documented_recipes(tmp_path):
    jobs = campaign.read_list(ROOT / "tools" / "campaign.txt")
    assert len(jobs) == 12
    for job in jobs:
        arch, protocol, seed = job.name.split("-")
        assert job.flags == (
            f"--arch={arch}",
            f"--seed={seed.removeprefix('seed')}",
            "--watch_test",
        )
        assert protocol == "split"
        assert f"--run_dir={tmp_path / job.name}" in job.command(tmp_path)
        (tmp_path / job.name).mkdir()
        (tmp_path / job.name / "flags.cfg").touch()
        assert f"--resume={tmp_path / job.name}" in job.command(tmp_path)


@pytest.mark.parametrize("text", ["a --x\na --y\n", "../a --x\n"])
def test_a_list_with_a_wrong_name_is_refused(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(SystemExit, match=r"error: .*expected one folder"):
        campaign.read_list(tmp_path / "list.txt")


def test_a_missing_list_is_one_line(tmp_path):
    done = subprocess.run(
        command(tmp_path), capture_output=True, text=True, env=os.environ
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: expected a list")
