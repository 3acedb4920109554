"""Kills small runs at random moments, and compares them with undisturbed runs.

python tools/kill_test.py --kills=20

The recipe has a plateau, early stopping, dropout and the best checkpoint, and
saves its state every few steps. Each run is killed by SIGKILL between its
first state and its end, every third run while it writes a file, and is then
resumed to the end. Weights, optimizer, best weights, the callbacks' memory and
history.csv are compared bit for bit. Half of the runs gather their input on
the host, half on the device. The seed and the result are printed.
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
    """Starts the trainer."""
    return subprocess.Popen(
        [sys.executable, "-m", "mnistpipe.main", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*arguments: str) -> None:
    """Runs the trainer to its end."""
    process = start(*arguments)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run failed:\n{errors}")


def newest(run: pathlib.Path) -> int:
    """The step of the newest state; -1 before the first state."""
    states = (run / checkpoint.FOLDER).glob("step-*")
    return max((int(p.name.split("-")[1]) for p in states), default=-1)


def unfinished(run: pathlib.Path) -> list[str]:
    """The names of files that are being written."""
    paths = [*run.glob(".new-*"), *(run / checkpoint.FOLDER).glob(".new-*")]
    return [path.name for path in paths]


def kill(
    process: subprocess.Popen,
    run: pathlib.Path,
    rng: random.Random,
    write: bool,
) -> str:
    """Kills a run at a random moment.

    Args:
      process: the run.
      run: its folder.
      rng: chooses the moment.
      write: whether to wait until a file is being written.

    Returns:
      The moment in words; "" if the run had ended before.
    """
    step, delay = rng.randrange(STEPS), rng.uniform(0, 0.2)
    while process.poll() is None and newest(run) < step:
        time.sleep(0.001)
    time.sleep(delay)
    while write and process.poll() is None and not unfinished(run):
        pass  # a write takes some milliseconds
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        return ""
    files = "".join(f", while writing {n[5:19]}" for n in unfinished(run)[:1])
    return f"after the state of step {newest(run)}{files}"


def differences(run: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Names what is not equal to the last bit."""
    (one, damaged), (two, _) = map(checkpoint.newest, (run, other))
    different = list(damaged)
    if (one.step, one.arrays.keys()) != (two.step, two.arrays.keys()):
        return [*different, f"step {one.step} for {two.step}"]
    different += [
        name
        for name, array in two.arrays.items()
        if one.arrays[name].tobytes() != array.tobytes()
    ]
    facts = ("memory", "stopped", "history")
    different += [
        name
        for name in facts
        if getattr(one.facts, name) != getattr(two.facts, name)
    ]
    texts = {(folder / "history.csv").read_bytes() for folder in (run, other)}
    return different + ["history.csv"] * (len(texts) > 1)


def survives(
    folder: pathlib.Path, path: str, number: int, rng: random.Random
) -> bool:
    """Says whether a killed and resumed run equals the undisturbed run."""
    moment, tries = "", 0
    while not moment:
        tries += 1
        run = folder / f"{path}-{number}-{tries}"
        process = start(*FLAGS, f"--input={path}", f"--run_dir={run}")
        moment = kill(process, run, rng, write=number % 3 == 0)
    finish(f"--resume={run}")
    different = differences(run, folder / path)
    outcome = ", ".join(different) or "same"
    print(f"{number + 1:3} {path:6} killed {moment}: {outcome}", flush=True)
    return not different


def main() -> None:
    """Runs the test; the exit status is 1 if a run differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for path in PATHS:
            finish(*FLAGS, f"--input={path}", f"--run_dir={folder / path}")
        same = sum(
            survives(folder, PATHS[number % 2], number, rng)
            for number in range(arguments.kills)
        )
    print(f"{same} of {arguments.kills} resumed runs are the same, bit for bit")
    sys.exit(same != arguments.kills)


if __name__ == "__main__":
    main()
