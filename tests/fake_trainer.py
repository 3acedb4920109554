"""Stands in for the trainer: takes its flags, answers at once.

The accuracy is best at a learning rate of 2e-3 and a rotation of 14, and grows
with the epochs. FAKE_TRAINER, a JSON object, has trials by number do something
else: "kill", "fail", "diverge", "wait" (for a file `go` in the trial's folder),
"refuse" (to resume). `starts` in the trial's folder has a line per start.
"""

import json
import math
import os
import pathlib
import signal
import sys
import time

from mnistpipe.cli import flags
from mnistpipe.recipes import Recipe, RunOptions, flagfiles
from mnistpipe.runs.record import DataIdentity, RunRecord

FLAGS = [argument for argument in sys.argv[1:] if "--resume" not in argument]
(RESUMED,) = [a[9:] for a in sys.argv if a.startswith("--resume=")] or [""]


def main() -> None:
    if RESUMED:
        FLAGS.insert(0, f"--flagfile={RESUMED}/flags.cfg")
        FLAGS.append(f"--run_dir={RESUMED}")
    flags.define(Recipe)
    flags.define(RunOptions)
    flags.parse(["fake", *FLAGS])
    recipe = flags.read(Recipe)
    options = flags.read(RunOptions)
    assert options.evaluate_test is False
    assert options.validation == "split"
    folder = pathlib.Path(options.run_dir)
    trial = folder.parent
    with open(trial / "starts", "a") as starts:
        how = "resumed" if RESUMED else "fresh"
        starts.write(f"{how} {folder.name} {recipe.epochs}\n")
    behave = json.loads(os.environ.get("FAKE_TRAINER", "{}"))
    wanted = behave.get(str(int(trial.name.partition("_")[2])), "")
    if wanted == "refuse" and RESUMED:
        sys.exit("error: another version of TensorFlow")
    folder.mkdir(exist_ok=True)
    text = flagfiles.text(recipe, options)
    (folder / "flags.cfg").write_text(text)
    if wanted == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "fail":
        print("Traceback: this and that\nerror: no such luck\n")
        sys.exit(3)
    while wanted == "wait" and not (trial / "go").exists():
        time.sleep(0.02)
    (folder / "metrics.json").write_text(json.dumps(metrics(recipe, options)))
    if wanted == "diverge":
        kept = metrics(recipe, options)
        kept["history"]["loss"][-1] = None
        (folder / "metrics.json").write_text(json.dumps(kept))


def metrics(recipe, options) -> dict:
    accuracy = (
        0.95
        - 0.02 * abs(math.log10(recipe.learning_rate / 2e-3))
        - 0.001 * abs(recipe.rotation - 14)
        - 0.05 / recipe.epochs
        + 0.001 * options.seed
    )
    history = {
        "loss": [0.3] * recipe.epochs,
        "accuracy": [accuracy] * recipe.epochs,
        "val_loss": [1 - accuracy] * recipe.epochs,
        "val_accuracy": [accuracy] * recipe.epochs,
    }
    return RunRecord(
        recipe=recipe,
        options=options,
        parameters=1,
        train_examples=50_000,
        validation_examples=options.validation_size,
        data=DataIdentity("few"),
        versions={},
        weights="last.keras",
        best_epoch=None,
        epochs_run=recipe.epochs,
        interrupted=False,
        history=history,
        duration_seconds=1.5,
    ).to_json()


if __name__ == "__main__":
    main()
