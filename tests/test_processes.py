"""One training on several processes: options, parts of batches, failures."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mnistpipe import pipeline
from mnistpipe.errors import UserError
from mnistpipe.processes import launcher as launcher_module
from mnistpipe.processes.options import ProcessOptions
from mnistpipe.runs import record
from mnistpipe.training import checkpoint

ROOT = pathlib.Path(__file__).parents[1]
NO_JAX = "jax is not installed: pip install mnistpipe[jax]"
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jaxlib") is None, reason=NO_JAX
)
ADDRESS = "127.0.0.1:4321"


@pytest.mark.parametrize(
    "given, environ, expected",
    [
        ({}, {}, (0, -1)),
        # Inside a job of Slurm, but not asked for.
        ({}, {"SLURM_NTASKS": "8", "SLURM_PROCID": "3"}, (0, -1)),
        ({"processes": 4}, {}, (4, -1)),
        ({"processes": 4, "process": 3, "coordinator": ADDRESS}, {}, (4, 3)),
        (
            {"coordinator": ADDRESS},
            {"SLURM_NTASKS": "8", "SLURM_PROCID": "3"},
            (8, 3),
        ),
        (
            {"coordinator": ADDRESS, "processes": 2},
            {"JOB_COMPLETION_INDEX": "1"},
            (2, 1),
        ),
        (
            {"coordinator": ADDRESS},
            # The processes of mpirun inherit those of Slurm's batch script.
            {
                **{"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
                **{"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
            },
            (2, 1),
        ),
    ],
)
def test_number_and_place(given, environ, expected):
    settled = ProcessOptions(**given).settled(environ)
    assert (settled.processes, settled.process) == expected
    assert settled.several == (expected[0] > 1)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"process": 1}, "expected --coordinator=host:port beside --process=1"),
        ({"coordinator": "host"}, "expected host:port .* got host"),
        ({"coordinator": "host:99999", "processes": 2}, "port of 1 to 65535"),
        ({"coordinator": ADDRESS}, "processes: .* OMPI_.*SIZE or SLURM_NTASKS"),
        ({"coordinator": ADDRESS, "processes": 2}, "process: .*SLURM_PROCID"),
        (
            {"coordinator": ADDRESS, "processes": 1, "process": 0},
            "expected at least 2 beside --coordinator, got 1",
        ),
        (
            {"coordinator": ADDRESS, "processes": 2, "process": 2},
            "one of 0 to 1 for 2 processes, got 2",
        ),
    ],
)
def test_what_does_not_say_which_process_is_refused(given, words):
    with pytest.raises(UserError, match=words) as error:
        ProcessOptions(**given).settled({})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("parts", [2, 4])
def test_the_parts_of_a_batch_are_the_batch(rng, parts):
    """Bit for bit, in the short last batch of an epoch, too."""
    images = rng.integers(0, 256, (44, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(44)
    augment = [pipeline.RandomAffine(rotation=20), pipeline.GaussianNoise(3.0)]

    def batches(**part):
        stream = pipeline.Stream(44, 16, seed=3, **part)
        dataset = pipeline.host_dataset(
            images, labels, stream, augment, epochs=2
        )
        return [*dataset.as_numpy_iterator()]

    whole = batches()
    split = [batches(part=(i, parts)) for i in range(parts)]
    assert [len(y) for _, y in whole] == [16, 16, 12] * 2
    for step, (pictures, targets) in enumerate(whole):
        own = [batches[step] for batches in split]
        # Each process computes its share only.
        assert {len(y) for _, y in own} == {len(targets) // parts}
        np.testing.assert_array_equal(
            np.concatenate([x for x, _ in own]), pictures
        )
        np.testing.assert_array_equal(
            np.concatenate([y for _, y in own]), targets
        )


@pytest.mark.parametrize(
    "part, words",
    [
        ((2, 2), r"0 <= i < n. Received: \(2, 2\)"),
        ((0, 3), "3 equal parts. Received: batches of 16, .* of 12"),
        ((0, 8), "8 equal parts. Received: batches of 16, .* of 12"),
    ],
)
def test_unequal_parts_are_refused(part, words):
    with pytest.raises(ValueError, match=words):
        pipeline.Stream(44, 16, part=part)


def command(*flags):
    return [sys.executable, "-m", "mnistpipe.main", *flags]


def environment(**more):
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **more,
    }


def test_another_backend_is_refused(tmp_path):
    done = subprocess.run(
        command("--arch=quick65k", "--processes=2", f"--run_dir={tmp_path}/x"),
        env=environment(KERAS_BACKEND="torch"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "expected KERAS_BACKEND=jax" in line
    assert not any(tmp_path.iterdir())


LAUNCHED = """
import sys
from mnistpipe.processes import launcher
from mnistpipe.processes.options import ProcessOptions

launcher.require = lambda *_: None  # The child needs no JAX.
sys.orig_argv = [sys.executable, "-c", sys.argv[1]]
sys.exit(launcher.run(ProcessOptions(processes=2)))
"""
CHILD = """
import pathlib, signal, sys, tempfile, time

def say(text):
    print(text, file=sys.stderr, flush=True)

"""


def launched(child):
    """Starts the launcher with two processes that run some other code."""
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHED, CHILD + child],
        env=environment(KERAS_BACKEND=""),
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_second_signal_ends_all_processes():
    # The processes wait, so that the launcher takes the signals first.
    child = (
        "signal.signal(signal.SIGTERM, lambda *_: say('noted'))\n"
        "time.sleep(1)\nsay('ready')\ntime.sleep(60)"
    )
    with launched(child) as launcher:
        assert launcher.stderr.readline() == "ready\n"
        launcher.send_signal(signal.SIGINT)
        assert launcher.stderr.readline() == "noted\n"
        launcher.send_signal(signal.SIGINT)
        (line,) = launcher.stderr.read().split("\n", 1)[1].splitlines()
    assert "Ended at once; --resume goes on" in line
    assert launcher.returncode == 130


def test_a_line_of_a_log_hides_no_error():
    child = (
        "say('I0000 00:00:1.2 3 coordination_service.cc:2] Initializing')\n"
        "say('error: wrong')\nsys.exit(2)"
    )
    with launched(child) as launcher:
        assert launcher.stderr.read() == "error: wrong\n"
    assert launcher.returncode == 2


def test_temporary_files_of_a_killed_process_are_removed():
    child = (
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "(folder / 'file').write_text('')\nsay(folder)\n"
        "signal.raise_signal(signal.SIGKILL)"
    )
    with launched(child) as launcher:
        folder, _ = launcher.stderr.read().splitlines()
    assert launcher.returncode == 1
    assert not pathlib.Path(folder).parent.exists()
    assert pathlib.Path(folder).parents[1].exists()


FLAGS = (
    *("--arch=quick65k", "--width=0.25", "--epochs=2", "--batch_size=100"),
    *("--train_examples=540", "--validation_size=100", "--watch_test"),
    *("--save_every=2", "--verbose=2"),
)


@pytest.fixture(scope="module")
def jax_environment():
    return environment(
        KERAS_BACKEND="jax",
        # Most of the time is the compiler's.
        XLA_FLAGS="--xla_backend_optimization_level=0",
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory, jax_environment):
    """The folder of a run on two processes."""
    path = tmp_path_factory.mktemp("pair") / "run"
    done = subprocess.run(
        command(*FLAGS, "--processes=2", f"--run_dir={path}"),
        env=jax_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "of 2 devices" in done.stdout
    return path


def last_arrays(path):
    saved, damaged = checkpoint.newest(path)
    assert saved and not damaged
    return saved.arrays


@needs_jax
def test_two_processes_train_as_one(tmp_path, pair, jax_environment):
    subprocess.run(
        command(*FLAGS, f"--run_dir={tmp_path}/run"),
        env=jax_environment,
        capture_output=True,
        check=True,
    )
    one = record.read(tmp_path / "run" / "metrics.json")
    two = record.read(pair / "metrics.json")
    assert two.devices == 2
    assert one.history.keys() == two.history.keys()
    for name, figures in one.history.items():
        # Adam amplifies the rounding of sums in another order.
        np.testing.assert_allclose(
            two.history[name], figures, atol=2e-2, rtol=0, err_msg=name
        )
    np.testing.assert_allclose(
        two.history["loss"][0], one.history["loss"][0], rtol=1e-4
    )
    assert abs(one.test_accuracy - two.test_accuracy) < 0.02
    assert two.history["test_accuracy"][-1] == pytest.approx(two.test_accuracy)


@needs_jax
def test_a_killed_process_ends_all_and_the_run_goes_on(
    tmp_path, pair, jax_environment
):
    path = tmp_path / "run"
    launcher = subprocess.Popen(
        command(*FLAGS, "--processes=2", f"--run_dir={path}"),
        env=jax_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 300
        while not [*path.glob("state/step-000000004-*")]:
            assert time.monotonic() < until and launcher.poll() is None
            time.sleep(0.02)
        (victim,) = (
            int(entry.name)
            for entry in pathlib.Path("/proc").glob("[0-9]*")
            if is_process_1(entry, launcher.pid)
        )
        os.kill(victim, signal.SIGKILL)
        _, told = launcher.communicate(timeout=40)
    finally:
        launcher.kill()
    assert launcher.returncode == 1
    (line,) = told.splitlines()
    assert "process 1 was ended by SIGKILL" in line

    # Without the launcher's choices, as on two hosts.
    address = f"127.0.0.1:{launcher_module._free_port()}"
    resume = (f"--resume={path}", f"--coordinator={address}", "--processes=2")
    other = subprocess.Popen(
        command(*resume, "--process=1"),
        env=jax_environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        done = subprocess.run(
            # The run folder may be named twice, as without a group.
            command(*resume, "--process=0", f"--run_dir={path}"),
            env=jax_environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "test accuracy" in done.stdout
        assert "test accuracy" not in other.communicate(timeout=40)[0]
        assert other.returncode == 0
    finally:
        other.kill()
    for name, array in last_arrays(pair).items():
        np.testing.assert_array_equal(last_arrays(path)[name], array, name)


def is_process_1(entry, parent):
    try:
        status = (entry / "stat").read_text().rpartition(")")[2].split()
        told = (entry / "environ").read_text()
    except OSError:
        return False
    return int(status[1]) == parent and "MNISTPIPE_PROCESS=1 " in told


@needs_jax
def test_parts_of_unequal_size_are_refused_in_one_line(
    tmp_path, jax_environment
):
    done = subprocess.run(
        command(
            *FLAGS,
            *("--batch_size=99", "--processes=2", f"--run_dir={tmp_path}/run"),
        ),
        env=jax_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: batch_size: expected a multiple of the 2 devices of all "
        "processes, such as 98 or 100, got 99"
    ]
    assert not (tmp_path / "run").exists()


@needs_jax
def test_other_flags_end_all_in_one_line(tmp_path, jax_environment):
    address = f"127.0.0.1:{launcher_module._free_port()}"
    flags = (*FLAGS, "--processes=2", f"--coordinator={address}")
    started = [
        subprocess.Popen(
            command(*flags, f"--process={place}", f"--seed={place}"),
            env=jax_environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in range(2)
    ]
    try:
        for process in started:
            (line,) = process.communicate(timeout=120)[1].splitlines()
            assert "of process 0 on every process, got others" in line
            assert process.returncode == 1
    finally:
        for process in started:
            process.kill()
    assert not [*tmp_path.glob("runs/*")]
