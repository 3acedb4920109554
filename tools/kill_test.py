"""Kills a small run again and again, and compares each with one left alone.

python tools/kill_test.py --kills=20

Real digits, a recipe with plateau, early stopping, dropout and best
checkpoint, its state saved every few steps. Each run is killed by SIGKILL at
a random moment between its first state and its end, every third one while
a file is being written, and resumed to the end. Weights, optimizer, best
weights, the callbacks' memory and history.csv are then compared bit for bit.
Half of them take their input on the host, half on the device. Prints the seed
and the figure.
"""

import argparse
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from mnistpipe.training import checkpoint

FLAGS = (
    "--arch=wide900k",
    "--train_examples=1500",
    "--validation_size=300",
    "--batch_size=50",
    "--epochs=4",
    "--plateau_monitor=val_loss",
    "--plateau_patience=1",
    "--learning_rate=0.004",
    "--early_stopping_patience=3",
    "--save_every=4",
    "--verbose=0",
    "--evaluate_test=false",
    "--seed=1",
)
STEPS = 120  # 4 epochs of 30
PATHS = ("host", "device")


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mnistpipe.main", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run failed:\n{errors}")


def states(run: pathlib.Path, begins: str = "step-") -> list[str]:
    folder = run / checkpoint.FOLDER
    return [path.name for path in folder.glob(f"{begins}*")]


def step(run: pathlib.Path) -> int:
    """Of the newest state; -1 before the first."""
    return max((int(name.split("-")[1]) for name in states(run)), default=-1)


def kill(
    process: subprocess.Popen,
    run: pathlib.Path,
    at: int,
    delay: float,
    writing: bool,
) -> str:
    """Kills a run; where that was, in words, or nothing if it had ended.

    Args:
      process: the run.
      run: its folder.
      at: the step whose state to wait for.
      delay: how much longer, in seconds.
      writing: whether to wait for the next file that is being written, too.
    """
    while process.poll() is None and step(run) < at:
        time.sleep(0.001)
    time.sleep(delay)
    while writing and process.poll() is None and not beside(run):
        pass  # a write takes some milliseconds
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        return ""
    words = f"after the state of step {step(run)}"
    written = beside(run)
    return f"{words}, while writing {written[0][5:19]}" if written else words


def beside(run: pathlib.Path) -> list[str]:
    return [path.name for path in run.glob(".new-*")] + states(run, ".new-")


def differences(run: pathlib.Path, other: pathlib.Path) -> list[str]:
    """What is not the same to the last bit."""
    (one, damaged), (two, _) = (
        checkpoint.newest(folder) for folder in (run, other)
    )
    different = list(damaged)
    if (one.step, one.arrays.keys()) != (two.step, two.arrays.keys()):
        return [*different, f"step {one.step} for {two.step}"]
    different += [
        name
        for name, array in two.arrays.items()
        if one.arrays[name].tobytes() != array.tobytes()
    ]
    different += [
        name
        for name in ("memory", "stopped", "history")
        if one.facts[name] != two.facts[name]
    ]
    files = [folder / "history.csv" for folder in (run, other)]
    if files[0].read_bytes() != files[1].read_bytes():
        different.append("history.csv")
    return different


def survives(
    folder: pathlib.Path, path: str, number: int, rng: random.Random
) -> bool:
    """Whether a run that is killed and resumed equals the whole one."""
    where, tries = "", 0
    while not where:  # it may have ended before
        tries += 1
        run = folder / f"{path}-{number}-{tries}"
        where = kill(
            start(*FLAGS, f"--input={path}", f"--run_dir={run}"),
            run,
            rng.randrange(STEPS),
            rng.uniform(0, 0.2),
            writing=number % 3 == 0,
        )
    finish(start(f"--resume={run}"))
    different = differences(run, folder / path)
    print(
        f"{number + 1:3} {path:6} killed {where}: "
        + (", ".join(different) or "same"),
        flush=True,
    )
    return not different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed
    seed = random.randrange(10**6) if seed is None else seed
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    same = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for path in PATHS:
            run = folder / path
            finish(start(*FLAGS, f"--input={path}", f"--run_dir={run}"))
        for number in range(arguments.kills):
            same += survives(folder, PATHS[number % 2], number, rng)
    print(f"{same} of {arguments.kills} resumed runs are the same, bit for bit")
    sys.exit(same != arguments.kills)


if __name__ == "__main__":
    main()
