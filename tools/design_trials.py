"""Trains candidates for an architecture, and adds a row for each to a CSV file.

python tools/design_trials.py FOLDER --seeds=1,2 c5vp-32,c3-64,c3p-96,c3-128,g

A network is a list of layers. ck-n is a convolution of k×k with n filters.
After k, v leaves out the padding, s2 is a stride of 2, and p pools before the
BatchNorm and ReLU of every convolution. p alone is max-pooling with the
recipe's dropout, g is global average pooling, f flattens. The output layer
follows.

The folder has the flagfile trial.cfg, and gets trials.csv. The test set is not
read. Rows that are in the file already are not trained again.
"""

import argparse
import csv
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Callable

from mnistpipe import data
from mnistpipe.errors import UserError
from mnistpipe.networks import architectures
from mnistpipe.networks.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Layer,
    MaxPool,
)
from mnistpipe.recipes import Recipe, RunOptions, flagfiles
from mnistpipe.runs import backends

_CONV = re.compile(r"c(\d)(v?)(s2)?(p?)-(\d+)")


def network(text: str) -> Callable[[Recipe], list[Layer]]:
    """Returns an architecture from its layers' names.

    Raises:
      SystemExit: a name is none of those above.
    """

    def layers(recipe: Recipe) -> list[Layer]:
        made: list[Layer] = []
        for n, name in enumerate(text.split(","), 1):
            if name in ("p", "g", "f"):
                if name == "p":
                    made.append(MaxPool(f"pool{n}"))
                    made.append(Dropout(f"dropout{n}", recipe.dropout))
                else:
                    end = GlobalPool if name == "g" else Flatten
                    made.append(end(f"end{n}"))
                continue
            found = _CONV.fullmatch(name)
            if not found:
                raise SystemExit(
                    f"error: expected c3-32, p, g or f; got {name}"
                )
            size, unpadded, strided, pooled, filters = found.groups()
            conv = Conv(
                f"conv{n}",
                int(filters),
                int(size),
                strides=2 if strided else 1,
                padding="valid" if unpadded else "same",
                use_bias=False,
            )
            made.append(conv)
            if pooled:
                made.append(MaxPool(f"pool{n}"))
            made.append(BatchNorm(f"norm{n}", recipe.batchnorm_momentum))
            made.append(Activation(f"relu{n}", "relu"))
        return [*made, Dropout("last", recipe.output_dropout)]

    return layers


def trial(text: str, recipe: Recipe, options: RunOptions) -> dict[str, object]:
    """Trains one network, and returns its row."""
    from mnistpipe.training import train

    architectures.ARCHITECTURES[recipe.arch] = network(text)
    shaped = architectures.infer_shapes(recipe)
    with tempfile.TemporaryDirectory() as folder:
        options = options.replace(
            run_dir=f"{folder}/run", evaluate_test=False, verbose=0
        )
        began = time.process_time()
        record = train.train(recipe, options, data.load())
        used = time.process_time() - began
    return {
        "net": text,
        "seed": options.seed,
        "epochs": recipe.epochs,
        "batch": recipe.batch_size,
        "rate": recipe.learning_rate,
        "precision": recipe.precision,
        "validation %": f"{100 * record.history['val_accuracy'][-1]:.2f}",
        "validation loss": f"{record.history['val_loss'][-1]:.4f}",
        "parameters": sum(one.parameters for one in shaped),
        "million multiply-adds": (
            f"{sum(one.multiply_adds for one in shaped) / 1e6:.1f}"
        ),
        "CPU seconds": f"{used:.0f}",
    }


def main() -> None:
    """Trains what is not in the file yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("nets", nargs="+")
    parser.add_argument("--seeds", default="1")
    given = parser.parse_args()
    out = given.folder / "trials.csv"
    try:
        recipe, options = flagfiles.read(str(given.folder / "trial.cfg"))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    backends.load()
    rows: list[dict[str, object]] = []
    if out.exists():
        with out.open(newline="") as file:
            rows = [*csv.DictReader(file)]
    done = {(row["net"], int(str(row["seed"]))) for row in rows}
    for seed in map(int, given.seeds.split(",")):
        for text in given.nets:
            if (text, seed) in done:
                continue
            rows.append(trial(text, recipe, options.replace(seed=seed)))
            print(*rows[-1].values(), flush=True)
            with out.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
