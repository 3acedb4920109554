"""What was trained and what came out: kept in results/, shown in the README.

python tools/results.py add runs/X runs/Y            # a recipe as it stands
python tools/results.py add runs/Z --experiment=ema  # anything else
python tools/results.py add scores/evaluation.json --experiment=tta
python tools/results.py table                        # README, results/README
python tools/results.py table --check                # are they up to date?
python tools/results.py effects ema                  # paired differences

`add` takes folders of runs, interrupted ones too, and what `evaluate` wrote
about some; it copies what produced the numbers and leaves paths out. A result
is never overwritten, except by the end of a run that was not finished. The
folder experiments/<name>/ may hold an about.json with "question", "conclusion"
(texts) and "baseline" (settings of the arm to compare with), and a trials.csv.
"""

import argparse
import os
import pathlib
import sys

import result_files
import result_tables

from mnistpipe.errors import UserError
from mnistpipe.runs import runfolder

ROOT = pathlib.Path(__file__).resolve().parents[1]


def add(arguments: argparse.Namespace) -> None:
    root = arguments.root / "results"
    for path in arguments.paths:
        if path.endswith(".json"):
            result = result_files.from_card(path)
        else:
            result = result_files.from_run(path, arguments.commit)
        print(result_files.add(result, root, arguments.experiment))


def written(root: pathlib.Path) -> dict[pathlib.Path, str]:
    """The files that are made from the results, and their text."""
    results = result_files.read(root / "results")
    shown = result_tables.documented_and_quick(results)
    readme = root / "README.md"
    table = result_tables.runs_table(shown)
    return {
        readme: result_tables.replaced(readme.read_text("utf-8"), table),
        root / "results" / "README.md": result_tables.whole_text(
            root / "results", results
        ),
    }


def outdated(root: pathlib.Path) -> list[pathlib.Path]:
    """Of these files, those that are not what the results make."""
    return [
        path
        for path, text in written(root).items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]


def table(arguments: argparse.Namespace) -> None:
    old = outdated(arguments.root)
    for path in old:
        print(f"{path.relative_to(arguments.root)}", end=" ")
        print("is not what the results make" if arguments.check else "written")
    if arguments.check:
        sys.exit(bool(old))
    for path, text in written(arguments.root).items():
        path.parent.mkdir(exist_ok=True)
        with runfolder.replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")


def effects(arguments: argparse.Namespace) -> None:
    root = arguments.root / "results"
    results, known = result_files.read(root), result_tables.names(root)
    for name in arguments.names or known:
        if name not in known:
            raise result_files.ResultError(
                f"expected one of {', '.join(known) or 'none'}, came {name}"
            )
        print(
            f"### {name}\n\n{result_tables.experiment(root, name, results)}\n"
        )


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--root", type=pathlib.Path, default=ROOT, help="the checkout"
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("add", help="keep results")
    one.add_argument("paths", nargs="+", help="folders of runs, or evaluations")
    one.add_argument("--experiment", default="", help="where it belongs")
    one.add_argument(
        "--commit", default="", help="of a run that could not record its own"
    )
    one.set_defaults(command=add)
    one = commands.add_parser("table", help="rewrite the tables")
    one.add_argument("--check", action="store_true", help="write nothing")
    one.set_defaults(command=table)
    one = commands.add_parser("effects", help="print paired differences")
    one.add_argument("names", nargs="*", help="of experiments; none is all")
    one.set_defaults(command=effects)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    # As in main.py: errors of CUDA where there is no GPU are nobody's.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        arguments.command(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
