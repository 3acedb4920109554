"""The files in results/: how results are checked, added and read.

    runs/                 documented recipes, trained as documented
    quick/                this project's own recipes, trained as they stand
    experiments/<name>/   all other results, to be compared with each other
    networks/<run>/       trained networks, in their run folders; not results

A file is found damaged if describing its record again gives another content.
"""

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from result_records import (
    MAX_BYTES,
    Record,
    Result,
    ResultError,
    decode,
    describe,
)

from mnistpipe import data, recipes
from mnistpipe.data import files
from mnistpipe.networks import architectures
from mnistpipe.runs import runfolder
from mnistpipe.runs.record import RunRecord

RUNS, QUICK, EXPERIMENTS = "runs", "quick", "experiments"
NETWORKS = "networks"
ABOUT, TRIALS = "about.json", "trials.csv"

_NAME = r"[a-z0-9][a-z0-9_-]*"
_FILE_NAME = re.compile(rf"({RUNS}|{QUICK}|{EXPERIMENTS}/{_NAME})/[^/]+")
# A path at the start of a string or word; TensorFlow's GPUs have such names.
_PATH = re.compile(r"[\s'\"=(](?:/(?!physical_device)|~/|[A-Za-z]:[\\/])")
_COMMIT = re.compile(r"[0-9a-f]{40}\+?")
_VERSIONS = ("mnistpipe", "python", "tensorflow", "keras", "numpy")


def folder_for(result: Result, experiment: str = "") -> str:
    """Returns the folder of a result, below results/.

    Raises:
      ResultError: the result is no documented run and has no experiment.
    """
    if experiment:
        if not re.fullmatch(_NAME, experiment):
            raise ResultError(
                "experiment: expected a name of a-z, 0-9, - and _, got "
                f"{experiment!r}"
            )
        return f"{EXPERIMENTS}/{experiment}"
    if different := ", ".join(_deviations(result)):
        raise ResultError(
            "experiment: expected --experiment=NAME, since this is no run of an"
            f" unchanged recipe, got none: {different}"
        )
    return RUNS if result.record.arch in recipes.DOCUMENTED else QUICK


def _deviations(result: Result) -> Iterator[str]:
    """Yields what distinguishes a result from a run of an unchanged recipe."""
    record = result.record
    if not isinstance(record, RunRecord):
        yield "a score"
        return
    recipe = record.recipe
    own = recipes.recipe_for(recipe.arch).replace(stem=recipe.stem)
    for name, value in dataclasses.asdict(recipe).items():
        if value != getattr(own, name):
            yield f"{name}={value} (the recipe has {getattr(own, name)})"
    if record.options.train_examples:
        yield f"train_examples={record.train_examples}"
    if record.data.fingerprint != _mnist():
        yield f"data {record.data.name}, not MNIST"
    wanted = architectures.parameters(recipe)
    if record.parameters != wanted:
        yield f"parameters={record.parameters} (the recipe has {wanted})"
    if not record.interrupted and record.test_accuracy is None:
        yield "no test accuracy"


@functools.cache
def _mnist() -> str:
    return data.load().fingerprint


def check(content: Any, file_name: str) -> Result:
    """Returns the result that parsed JSON describes, if the result is sound.

    Args:
      content: parsed JSON.
      file_name: the path below results/, as `runs/NAME.json`.

    Raises:
      ResultError: one line: a field is missing, wrong or contradictory.
    """
    result = decode(content, file_name)
    folder = pathlib.PurePath(file_name).parent
    for name, expected, got in _all_facts(result):
        if json.dumps(expected, sort_keys=True) != json.dumps(
            got, sort_keys=True
        ):
            text = f"{name}: expected {expected}, got {got}"
            raise ResultError(f"{file_name}: {text[:300]}")
    wanted = f"{folder}/{result.stem}.json"
    if folder.parts[0] != EXPERIMENTS:
        wanted = f"{folder_for(result)}/{result.stem}.json"
    if file_name != wanted:
        raise ResultError(f"{file_name}: expected file {wanted}, got this name")
    return result


Facts = Iterator[tuple[str, Any, Any]]  # name, expected, got


def _all_facts(result: Result) -> Facts:
    if result.content["kind"] == "run":
        parts = (_described, _facts, _run_facts)
    elif result.content["kind"] == "score":
        parts = (_described, _facts, _score_facts, _several)
    else:
        parts = (_ensemble_facts,)
    for part in parts:
        yield from part(result)


def _described(result: Result) -> Facts:
    content, absent = result.content, "no such field"
    again = describe(result.record, content["layers"])
    for name in ("recipe", "options"):  # newer fields are off
        again[name] = {field: again[name].get(field) for field in content[name]}
    for name in again | content:
        yield name, again.get(name, absent), content.get(name, absent)


def _facts(result: Result) -> Facts:
    record, options = result.record, result.record.options
    rows, total = result.content["layers"], record.validation_examples
    held_out = {"split": options.validation_size, "none": 0}
    yield "parameters", sum(row[1] for row in rows), record.parameters
    yield "validation_examples", held_out.get(options.validation, total), total
    if options.train_examples:
        yield "train_examples", options.train_examples, record.train_examples
    nameless = [n for n, v in result.content["data"].items() if not v]
    yield "data without a value", [], nameless
    for made in (record, *getattr(record, "members", ())):
        missing = [name for name in _VERSIONS if name not in made.versions]
        yield "versions that are missing", [], missing
        wrong = [c for c in made.commits if not _COMMIT.fullmatch(c)]
        yield "commits without 40 digits", [], wrong
    paths = _PATH.findall(json.dumps(result.content))
    yield "paths of a machine", [], paths


def _run_facts(result: Result) -> Facts:
    record, recipe = result.record, result.record.recipe
    epochs, figures = record.epochs_run, record.history
    validated = record.options.validation != "none"
    if epochs:
        yield "history with loss", True, "loss" in figures
        yield "history with val_accuracy", validated, "val_accuracy" in figures
    if result.content["validation"]:
        lacking = result.accuracy("validation") is None
        yield "validation without a number", False, lacking
    if record.interrupted:
        yield "test of an unfinished run", None, record.test_accuracy
    elif not recipe.early_stopping_patience or epochs > recipe.epochs:
        yield "epochs of a finished run", recipe.epochs, epochs


def _score_facts(result: Result) -> Facts:
    record, seeds = result.record, result.seeds
    yield "seeds", sorted(set(seeds)), sorted(seeds)
    for member in record.members:
        for score in (member.plain, member.alone):
            yield "test examples", record.test.examples, score.examples


def _several(result: Result) -> Facts:
    several = len(result.seeds) > 1 or result.tta_versions > 1
    yield "several members or versions", True, several


def _ensemble_facts(result: Result) -> Facts:
    content, record = result.content, result.record
    networks = record.networks
    yield "fields", ["kind", "networks", "test"], sorted(content)
    yield "test", dataclasses.asdict(record.test), content["test"]
    for number, one in enumerate(networks):
        for name, expected, got in _network_facts(one, networks[0]):
            yield f"networks[{number}]: {name}", expected, got
        yield "test examples", record.test.examples, one.record.test.examples
    same = [one for one in networks if one.settings == networks[0].settings]
    yield "several recipes", True, len(same) < len(networks)
    trained = [(one.identity, one.seeds) for one in networks]
    twice = [
        one.stem_of_run
        for number, one in enumerate(networks)
        if trained[number] in trained[:number]
    ]
    yield "networks of the same recipe and seed", [], twice


def _network_facts(one: Result, first: Result) -> Facts:
    """Compares a network of an ensemble with itself and the first network."""
    for part in (_described, _facts, _score_facts):
        yield from part(one)
    yield "networks", 1, len(one.record.members)
    (member,) = one.content["members"]
    yield "result", one.stem_of_run, member["result"]
    yield "alone", one.content["test"], member["alone"]
    for name in ("tta", "commits", "versions", "hardware"):
        yield name, first.content[name], one.content[name]
    own = one.record.data.test_fingerprint
    yield "test set", first.record.data.test_fingerprint, own


def text(content: Mapping[str, Any]) -> str:
    """Returns JSON with a line for each item of a long list or object."""
    fields = []
    for name, value in content.items():
        shown = json.dumps(value)
        if isinstance(value, dict | list) and len(shown) > 60:
            items = map(json.dumps, value)
            if isinstance(value, dict):
                items = (
                    f"{json.dumps(k)}: {json.dumps(value[k])}" for k in value
                )
            inner = ",\n    ".join(items)
            shown = f"{shown[0]}\n    {inner}\n  {shown[-1]}"
        fields.append(f"  {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def add(result: Result, root: pathlib.Path, experiment: str = "") -> str:
    """Writes a result unless it is there; returns a line that says so.

    Raises:
      ResultError: the result is not sound, or another file answers the same
        question and is not the beginning of the same run.
    """
    file_name = f"{folder_for(result, experiment)}/{result.stem}.json"
    content = check(result.content, file_name).content
    rivals = {
        other: old
        for other, old in read(root).items()
        if _questions(file_name, result) & _questions(other, old)
    }
    for other, old in rivals.items():
        if old.content == content:
            return f"{other} is there already"
        if not _continues(result.record, old.record):
            names = [n for n in content if content[n] != old.content.get(n)]
            raise ResultError(
                f"{other}: expected a result that is not there yet, got another"
                f" of the same settings and seed, different in"
                f" {', '.join(names)}; remove the file to replace it"
            )
    path = root / file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    with runfolder.replacing(path) as beside:
        beside.write_text(text(content), encoding="utf-8")
    for other in rivals.keys() - {file_name}:
        (root / other).unlink()
    return f"{file_name} written"


def _questions(file_name: str, result: Result) -> set[tuple[str, str, int]]:
    """Folder, settings and seeds, which only one file may have.

    Ensembles that share a member are not independent of each other.
    """
    folder = file_name.rpartition("/")[0]
    return {(folder, result.identity, seed) for seed in result.seeds}


def _continues(new: Record, old: Record) -> bool:
    """Says whether `new` is the run `old`, trained further."""
    return (
        isinstance(new, RunRecord)
        and isinstance(old, RunRecord)
        and old.interrupted
        and new.epochs_run >= old.epochs_run
        and all(
            new.history.get(name, ())[: len(figures)] == figures
            for name, figures in old.history.items()
        )
    )


def read(root: pathlib.Path) -> dict[str, Result]:
    """Reads and checks all results; the keys are paths below `root`.

    Raises:
      ResultError: a result is not sound, or two answer one question.
    """
    results: dict[str, Result] = {}
    taken: dict[tuple[str, str, int], str] = {}
    for path in sorted(root.rglob("*.json")):
        file_name = path.relative_to(root).as_posix()
        if path.name == ABOUT or file_name.startswith(f"{NETWORKS}/"):
            continue
        if not _FILE_NAME.fullmatch(file_name):
            raise ResultError(
                f"{file_name}: expected a result in {RUNS}, {QUICK} or"
                f" {EXPERIMENTS}/<name>, got one elsewhere"
            )
        results[file_name] = check(
            files.read_object(path, "a result", MAX_BYTES), file_name
        )
        for question in _questions(file_name, results[file_name]):
            if question in taken:
                raise ResultError(
                    f"{file_name}: expected one result of a seed, got"
                    f" {taken[question]} too"
                )
            taken[question] = file_name
    return results
