"""Keeps the results of trainings in results/, and makes tables of them.

python tools/results.py add runs/X runs/Y            # a recipe as it stands
python tools/results.py add runs/Z --experiment=ema  # anything else
python tools/results.py add scores/evaluation.json --experiment=tta
python tools/results.py table                        # README, results/README
python tools/results.py table --check                # are they up to date?
python tools/results.py effects ema                  # paired differences

`add` takes run folders, also of interrupted runs, and what `evaluate` wrote
about finished runs: with test-time augmentation, or as an ensemble, whose
networks may have different recipes.
`add` copies what produced the numbers, without paths, and never overwrites a
result, except the beginning of the same run. The folder experiments/<name>/
may hold an about.json with "question", "conclusion" (texts) and "baseline"
(settings of the arm to compare with), and a trials.csv. The tables need the
extra `test` (pandas, SciPy).
"""

import argparse
import os
import pathlib
import sys

import result_files
import result_records
import result_tables

from mnistpipe.errors import UserError
from mnistpipe.runs import runfolder

ROOT = pathlib.Path(__file__).resolve().parents[1]


def add(arguments: argparse.Namespace) -> None:
    """Stores run folders and evaluations."""
    root = arguments.root / "results"
    for path in arguments.paths:
        if path.endswith(".json"):
            result = result_records.from_evaluation(path)
        else:
            result = result_records.from_run(path, arguments.commit)
        print(result_files.add(result, root, arguments.experiment))


def written(root: pathlib.Path) -> dict[pathlib.Path, str]:
    """Returns the files that are made from the results, with their text."""
    folder, readme = root / "results", root / "README.md"
    results = result_files.read(folder)
    table = result_tables.runs_table(
        result_tables.documented_and_quick(results)
    )
    return {
        readme: result_tables.replaced(readme.read_text("utf-8"), table),
        folder / "README.md": result_tables.whole_text(folder, results),
    }


def outdated(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files whose text is not what the results make."""
    return [
        path
        for path, text in written(root).items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]


def table(arguments: argparse.Namespace) -> None:
    """Writes the tables, or says which are out of date."""
    state = "is not what the results make" if arguments.check else "written"
    old = outdated(arguments.root)
    for path in old:
        print(path.relative_to(arguments.root), state)
    if arguments.check:
        sys.exit(bool(old))
    for path, text in written(arguments.root).items():
        path.parent.mkdir(exist_ok=True)
        with runfolder.replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")


def effects(arguments: argparse.Namespace) -> None:
    """Prints experiments."""
    root = arguments.root / "results"
    results, known = result_files.read(root), result_tables.names(root)
    for name in arguments.names or known:
        if name not in known:
            raise result_records.ResultError(
                f"expected one of {', '.join(known) or 'none'}, got {name}"
            )
        text = result_tables.experiment(root, name, results)
        print(f"### {name}\n\n{text}\n")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--root", type=pathlib.Path, default=ROOT, help="the checkout"
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("add", help="store results")
    one.add_argument("paths", nargs="+", help="run folders, or evaluations")
    one.add_argument("--experiment", default="", help="the experiment's name")
    one.add_argument(
        "--commit", default="", help="for a run that recorded no commit"
    )
    one.set_defaults(command=add)
    one = commands.add_parser("table", help="rewrite the tables")
    one.add_argument("--check", action="store_true", help="write nothing")
    one.set_defaults(command=table)
    one = commands.add_parser("effects", help="print paired differences")
    one.add_argument("names", nargs="*", help="experiments; all by default")
    one.set_defaults(command=effects)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs one command; an error is one line."""
    arguments = parse(argv)
    # Without a GPU, CUDA's errors say nothing to the user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        arguments.command(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
