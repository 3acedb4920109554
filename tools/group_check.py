"""Trainings on several processes beside a training on one, and killed ones.

    python tools/group_check.py equality   # 1, 2 and 4 processes, float64
    python tools/group_check.py losses     # the first steps, float32
    python tools/group_check.py kills --kills=10 --seed=1
    python tools/group_check.py speed      # images/s of 1 and 2 processes

Each section starts the real command, `python -m mnistpipe.main`, with JAX, on
the embedded MNIST, and compares the saved states.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from mnistpipe.recipes import RECIPES
from mnistpipe.training import checkpoint

STEPS = 32
MAIN = (sys.executable, "-m", "mnistpipe.main")


def environment() -> dict[str, str]:
    """Returns the variables of a training with JAX."""
    return {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def in_float64(folder: pathlib.Path) -> dict[str, str]:
    """Returns the variables with which losses and metrics are float64."""
    (folder / "keras.json").write_text('{"floatx": "float64"}')
    return {
        **environment(),
        "JAX_ENABLE_X64": "1",
        "KERAS_HOME": str(folder),
    }


def main_in_float64() -> None:
    """Runs `mnistpipe.main` with networks in float64.

    Keras' BatchNormalization computes in the common type of the picture and
    float32, which Keras takes to be float32 for float64, too.
    """
    from keras.src import backend

    from mnistpipe import main
    from mnistpipe.cli import app, flags
    from mnistpipe.networks import models
    from mnistpipe.processes.options import ProcessOptions
    from mnistpipe.recipes import Recipe, RunOptions

    common, layer = backend.result_type, models._keras_layer
    backend.result_type = lambda *types: (
        "float64" if "float64" in types else common(*types)
    )
    models._keras_layer = lambda one, dtype: layer(one, "float64")
    for options in (Recipe, RunOptions, ProcessOptions):
        flags.define(options)
    sys.argv.pop(1)
    app.run(main.main)


def command(run: pathlib.Path, processes: int, *flags: str) -> list[str]:
    """Returns the flags of a short training."""
    return [
        *flags,
        *(f"--run_dir={run}", f"--processes={processes}"),
        *("--width=0.25", f"--train_examples={100 * STEPS}", "--epochs=1"),
        *("--batch_size=100", "--validation_size=400"),
        *("--evaluate_test=false", "--verbose=2"),
    ]


def state(run: pathlib.Path) -> checkpoint.State:
    """Returns the last state of a run."""
    saved, damaged = checkpoint.newest(run)
    assert saved and not damaged, (run, damaged)
    return saved


def difference(one: pathlib.Path, other: pathlib.Path) -> float:
    """Returns the largest difference between weights of two runs."""
    first, second = state(one), state(other)
    assert first.step == second.step, (first.step, second.step)
    return max(
        float(np.abs(array - second.arrays[name]).max(initial=0))
        for name, array in first.arrays.items()
        if name.startswith("network/") and array.dtype.kind == "f"
    )


def same_bits(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Returns whether two runs ended with the same arrays."""
    first, second = state(one), state(other)
    return first.arrays.keys() == second.arrays.keys() and all(
        np.array_equal(array, second.arrays[name])
        for name, array in first.arrays.items()
    )


def equality(folder: pathlib.Path, archs: list[str]) -> None:
    """Prints how far weights differ after 32 steps on 1, 2 and 4 processes.

    The run "2 x 2" has two processes of two devices each.
    """
    env = in_float64(folder)
    two_devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    for arch in archs:
        runs = {}
        for name in ("1", "2", "2 again", "4", "2 x 2"):
            runs[name] = folder / f"{arch}-{name.replace(' ', '-')}"
            subprocess.run(
                [
                    *(sys.executable, __file__, "float64"),
                    *command(runs[name], int(name[0]), f"--arch={arch}"),
                ],
                env={**env, **(two_devices if name == "2 x 2" else {})},
                stdout=subprocess.DEVNULL,
                check=True,
            )
        differences = ", ".join(
            f"{name} processes by {difference(runs['1'], runs[name]):.1e}"
            for name in ("2", "4", "2 x 2")
        )
        twice = same_bits(runs["2"], runs["2 again"])
        devices = same_bits(runs["4"], runs["2 x 2"])
        print(
            f"{arch}: after {state(runs['1']).step} steps in float64 weights "
            f"differ from those of 1 process: {differences}; same bits: 2 "
            f"processes twice {twice}, 4 and 2 x 2 {devices}",
            flush=True,
        )


def losses(folder: pathlib.Path, archs: list[str]) -> None:
    """Prints how far the losses of the first 5 steps differ in float32.

    Each of the 5 epochs has one batch, so the history has the loss of each
    step.
    """
    env = environment()
    for arch in archs:
        found = {}
        for processes in (1, 2, 4):
            run = folder / f"{arch}-losses-{processes}"
            subprocess.run(
                [
                    *(*MAIN, *command(run, processes, f"--arch={arch}")),
                    *("--train_examples=100", "--epochs=5"),
                    "--validation=none",
                ],
                env=env,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            metrics = json.loads((run / "metrics.json").read_text())
            found[processes] = np.array(metrics["history"]["loss"])
        differences = ", ".join(
            f"{processes} processes by "
            f"{np.abs(found[processes] - found[1]).max():.1e}"
            for processes in (2, 4)
        )
        print(
            f"{arch}: the losses of {len(found[1])} steps in float32 differ "
            f"from those of 1 process: {differences}",
            flush=True,
        )


def kills(
    folder: pathlib.Path, number: int, seed: int, processes: int, name: str
) -> None:
    """Ends one process at a random moment, resumes, and compares the end."""
    env = environment()
    draw = random.Random(seed)
    flags = ("--arch=quick65k", "--save_every=5")
    reference = folder / "reference"
    started = time.monotonic()
    subprocess.run(
        [*MAIN, *command(reference, processes, *flags)],
        env=env,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    whole = time.monotonic() - started
    print(f"{processes} processes, uninterrupted: {whole:.0f} s", flush=True)
    for count in range(number):
        run, place = folder / f"kill-{count}", count % processes
        log = folder / "log"
        with log.open("w") as file:
            launcher = subprocess.Popen(
                [*MAIN, *command(run, processes, *flags)],
                env=env,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        moment = draw.uniform(0.2, 0.95) * whole
        time.sleep(moment)
        victim = _child(launcher.pid, place)
        if victim:
            os.kill(victim, signal.Signals[name])
        began = time.monotonic()
        status = launcher.wait(60)
        ended = time.monotonic() - began
        if (run / "flags.cfg").exists():
            again = [f"--resume={run}", f"--processes={processes}"]
        else:
            shutil.rmtree(run, ignore_errors=True)
            again = command(run, processes, *flags)
        subprocess.run(
            [*MAIN, *again], env=env, capture_output=True, check=True
        )
        print(
            f"kill {count}, process {place} after {moment:.0f} s: status "
            f"{status} after {ended:.1f} s, "
            f"{len(log.read_text().splitlines())} line(s), resumed to the "
            f"{'same' if same_bits(reference, run) else 'OTHER'} bits",
            flush=True,
        )


def _child(launcher: int, place: int) -> int | None:
    """Returns the process ID of a launcher's child."""
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            told = (path / "environ").read_text()
        except OSError:
            continue
        if int(fields[1]) == launcher and f"MNISTPIPE_PROCESS={place} " in told:
            return int(path.name)
    return None


def speed(folder: pathlib.Path, rounds: int) -> None:
    """Prints images/s, CPU time and bytes sent of 1 and 2 processes, by turns.

    There are as many cores as processes. The figures are those of 11 epochs
    less those of 1 epoch, so that neither the start nor the compilation counts,
    except for the differences between two compilations. One process with
    batches of half the size shows what a process of two pays for its small
    share alone, without the other one.
    """
    env = environment()
    cores = sorted(os.sched_getaffinity(0))
    for count in range(rounds):
        for processes, batch in ((1, 100), (1, 50), (2, 100)):
            figures = []
            for epochs in (1, 11):
                run = folder / f"speed-{count}-{processes}-{batch}-{epochs}"
                flags = (
                    *(f"--epochs={epochs}", f"--batch_size={batch}"),
                    "--validation=none",
                )
                before = np.array(_used())
                os.sched_setaffinity(0, cores[:processes])  # of children, too
                subprocess.run(
                    [
                        *(*MAIN, *command(run, processes, "--arch=wide900k")),
                        *flags,
                    ],
                    env=env,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
                metrics = json.loads((run / "metrics.json").read_text())
                used = np.array(_used()) - before
                figures.append([metrics["fit_seconds"], *used])
            seconds, cpu, sent = np.subtract(figures[1], figures[0])
            images = 10 * 100 * STEPS
            print(
                f"round {count}, {processes} process(es), batches of {batch}: "
                f"{images / seconds:.0f} images/s, {1e3 * cpu / images:.2f} ms "
                f"of CPU an image, {sent * batch / images:,.0f} bytes a step",
                flush=True,
            )


def _used() -> tuple[float, float]:
    """Returns the CPU seconds of all children, and bytes sent on loopback."""
    times = os.times()
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    (loopback,) = (line for line in lines if line.strip().startswith("lo:"))
    sent = float(loopback.partition(":")[2].split()[8])
    return times.children_user + times.children_system, sent


def main() -> None:
    """Runs one section."""
    if sys.argv[1:2] == ["float64"]:
        main_in_float64()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "section", choices=("equality", "losses", "kills", "speed")
    )
    parser.add_argument("--archs", default=",".join(RECIPES))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--signal", default="SIGKILL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if given.section == "equality":
            equality(folder, given.archs.split(","))
        elif given.section == "losses":
            losses(folder, given.archs.split(","))
        elif given.section == "kills":
            kills(
                folder, given.kills, given.seed, given.processes, given.signal
            )
        else:
            speed(folder, given.rounds)


if __name__ == "__main__":
    main()
