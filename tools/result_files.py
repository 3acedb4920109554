"""The files in results/: what a result holds, and that nothing is missing.

    runs/                 documented recipes, trained as documented
    quick/                this project's own recipes, likewise
    experiments/<name>/   anything else, to be compared with its neighbours

A result is of one run (kind "run"), or of finished networks scored otherwise
than the run scored them: by test-time augmentation, as an ensemble (kind
"score"). Accuracies are shares, times seconds, histories one number per epoch.
It holds no path, since it is read on other machines.
"""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnistpipe import data, recipes, safejson
from mnistpipe.errors import UserError
from mnistpipe.networks import architectures
from mnistpipe.recipes import Recipe, RunOptions
from mnistpipe.runs import finished, runfolder

RUNS, QUICK, EXPERIMENTS = "runs", "quick", "experiments"
ABOUT, TRIALS = "about.json", "trials.csv"
PROTOCOLS = recipes.specs(RunOptions)["validation"].choices

# Options that say where and when, and no more; the seed has its own place.
_LEFT_OUT = {f.name for f in dataclasses.fields(RunOptions)} & {
    *("data", "run_dir", "resume", "save_every", "verbose", "evaluate_test"),
    *("seed", "watch_test"),
}
# Options that decide the result by its rounding only.
_ROUNDING = ("input", "jit_compile", "steps_per_execution", "strategy")

_SHARE = {"accuracy": float, "examples": int}
_COUNT = {**_SHARE, "correct": int}
_MADE_BY = {
    "commits": [str],
    "versions": {str: str},
    "hardware": {"cpu": str, "cores": (int, None), "gpus": [str]},
}
_COMMON = {
    "kind": str,
    "arch": str,
    "protocol": str,
    "selected_on_test": bool,
    "test": (_COUNT, None),
    "parameters": int,
    "multiply_adds": int,
    "train_examples": int,
    "validation_examples": int,
    "data": {"name": str, "fingerprint": str, "test_fingerprint": str},
    **_MADE_BY,
    "recipe": {str: (int, float, str, bool)},
    "options": {str: (int, float, str, bool)},
    "layers": [[(str, int)]],
}
_SHAPES: dict[str, dict[str, Any]] = {
    "run": {
        **_COMMON,
        "seed": int,
        "finished": bool,
        "epochs_run": int,
        "weights": str,
        "best_epoch": (int, None),
        "validation": (_SHARE, None),
        "seconds": float,
        "fit_seconds": float,
        "input": str,
        "resumed_at_steps": [int],
        "history": {str: [(float, None)]},
    },
    "score": {
        **_COMMON,
        "tta": {"versions": int, "seed": int},
        "members": [
            {
                "result": str,
                "seed": int,
                "plain": _COUNT,
                "alone": _COUNT,
                **_MADE_BY,
            }
        ],
    },
}
_PATH = re.compile(r"(?:^|[\s'\"=(])(?:/(?!physical_device)|~/|[A-Za-z]:[\\/])")
_COMMIT = re.compile(r"[0-9a-f]{40}\+?")


class ResultError(UserError):
    """A result that cannot be taken; the message is one line."""


def from_run(path: str, commit: str = "") -> dict[str, Any]:
    """The result of a run, from its folder.

    Args:
      path: the folder; Ctrl-C or SIGTERM leave one with all figures, too.
      commit: that trained, if the run could not find it out itself.

    Raises:
      UserError: it is no run's folder, or lacks something.
    """
    run = finished.read(path)
    metrics = run.record.to_json()
    commits = metrics.get("commits") or ([commit] if commit else [])
    layers = _layers(run)
    return {
        "kind": "run",
        "arch": metrics["arch"],
        "protocol": metrics["protocol"],
        "selected_on_test": metrics["selected_on_test"],
        "seed": metrics["seed"],
        "finished": not metrics["interrupted"],
        "epochs_run": metrics["epochs_run"],
        "test": _test(metrics),
        "validation": _validation(metrics),
        "weights": metrics["weights"],
        "best_epoch": metrics["best_epoch"],
        "parameters": metrics["parameters"],
        "multiply_adds": sum(row[2] for row in layers),
        "train_examples": metrics["train_examples"],
        "validation_examples": metrics["validation_examples"],
        "data": {
            name: metrics["data"][name]
            for name in ("name", "fingerprint", "test_fingerprint")
        },
        "seconds": metrics.get("duration_seconds"),
        "fit_seconds": metrics.get("fit_seconds"),
        "input": metrics.get("input"),
        "resumed_at_steps": metrics.get("resumed_at_steps"),
        "commits": commits,
        "versions": metrics["versions"],
        "hardware": metrics.get("hardware"),
        "recipe": metrics["recipe"],
        "options": {
            name: value
            for name, value in metrics["options"].items()
            if name not in _LEFT_OUT
        },
        "layers": layers,
        "history": metrics.get("history"),
    }


def _test(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    if metrics.get("test_accuracy") is None:
        return None
    return {
        "accuracy": metrics["test_accuracy"],
        "correct": metrics.get("test_correct"),
        "examples": metrics.get("test_examples"),
    }


def _validation(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of the weights that count, on the images that were held out."""
    figures = (metrics.get("history") or {}).get("val_accuracy")
    if not figures:
        return None
    place = -1
    if metrics["weights"] == runfolder.BEST:
        place = metrics["best_epoch"]
    return {
        "accuracy": figures[place],
        "examples": metrics["validation_examples"],
    }


def _layers(run: finished.FinishedRun) -> list[list[Any]]:
    """Words, parameters and multiply-adds of the layers of a run's network.

    They are read from the network that was trained, since what a name stands
    for in models.py may have changed since.
    """
    from mnistpipe.networks import models

    network = models.load(run.network)
    return [
        [_words(layer), layer.count_params(), models.multiply_adds(layer)]
        for layer in network.layers[1:]
    ]


def _words(layer: Any) -> str:
    config, kind = layer.get_config(), type(layer).__name__
    if kind == "Conv2D":
        size = "x".join(map(str, config["kernel_size"]))
        marks = [f"conv {size} {config['filters']}"]
        if max(config["strides"]) > 1:
            marks.append(f"stride {max(config['strides'])}")
        if max(config["dilation_rate"]) > 1:
            marks.append(f"dilated {max(config['dilation_rate'])}")
        if config["padding"] == "valid":
            marks.append("valid")
        return " ".join(marks)
    if kind == "Dense":
        return f"dense {config['units']}"
    if kind == "Activation":
        return str(config["activation"])
    if kind == "Dropout":
        return f"dropout {config['rate']}"
    return {
        "BatchNormalization": "norm",
        "MaxPooling2D": "pool",
        "GlobalAveragePooling2D": "global pool",
        "Flatten": "flatten",
    }.get(kind, kind)


def network(result: Mapping[str, Any]) -> str:
    """The layers that give a network its shape, in one line."""
    shown = ("conv", "dense", "pool", "global", "flatten")
    words = [row[0] for row in result["layers"]]
    return ", ".join(word for word in words if word.split()[0] in shown)


def from_card(path: str) -> dict[str, Any]:
    """The result of an evaluation, from its JSON and its runs' folders.

    Raises:
      UserError: it is no evaluation, its runs' folders have gone, or it has
        nothing to compare with what the runs scored themselves.
    """
    card = _read_card(pathlib.Path(path))
    runs = [from_run(member["run"]) for member in card["members"]]
    first = runs[0]
    for run in runs:
        if settings(run) != settings(first):
            raise ResultError(f"{path}: expected runs that differ by seed only")
        if run["test"] is None or (
            run["data"]["test_fingerprint"] != card["test"]["fingerprint"]
        ):
            raise ResultError(
                f"{path}: expected runs that were scored on this test set"
            )
    members = [
        {
            "result": stem(run),
            "seed": run["seed"],
            "plain": run["test"],
            "alone": {name: member[name] for name in _COUNT},
            **{name: run[name] for name in _MADE_BY},
        }
        for run, member in zip(runs, card["members"], strict=True)
    ]
    return {
        **{name: first[name] for name in _COMMON},
        "kind": "score",
        "test": {name: card[name] for name in _COUNT},
        "tta": card["tta"],
        "members": sorted(members, key=lambda member: member["seed"]),
        "commits": card.get("commits", []),
        "versions": card["versions"],
        "hardware": card["hardware"],
    }


_CARD = {
    *("members", "tta", "test", "versions", "hardware"),
    *("accuracy", "correct", "examples"),
}


def _read_card(path: pathlib.Path) -> dict[str, Any]:
    card = _parsed(path)
    missing = sorted(_CARD - card.keys())
    if missing:
        raise ResultError(
            f"{path}: expected what evaluate --json prints, came one without "
            f"{', '.join(missing)}"
        )
    return card


def recipe_of(result: Mapping[str, Any]) -> Recipe:
    """The recipe; fields that are newer than the result are off."""
    return Recipe(**result["recipe"])


def settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """All that makes two runs of one seed differ, by more than rounding."""
    recipe = recipe_of(result)
    options = dataclasses.asdict(RunOptions(**result["options"]))
    unused = {*_LEFT_OUT, *_ROUNDING, *recipe.unused_fields()}
    if options["validation"] != "split":
        unused.add("validation_size")
    return {
        "network": network(result),
        "data": result["data"]["name"],
        "data_fingerprint": result["data"]["fingerprint"],
        **{
            name: value
            for name, value in (dataclasses.asdict(recipe) | options).items()
            if name not in unused
        },
    }


def honest(result: Mapping[str, Any]) -> float | None:
    """The test accuracy of a run, if the test images chose nothing."""
    selected = result["selected_on_test"]
    if result["test"] is None or (
        selected and recipe_of(result).reads_validation()
    ):
        return None
    return result["test"]["accuracy"]


def best_on_test(result: Mapping[str, Any]) -> float | None:
    """The accuracy of a run's best epoch on the test images, if recorded."""
    history = result["history"]
    own = history.get("val_accuracy", []) if result["selected_on_test"] else []
    figures = history.get("test_accuracy") or own
    return max((f for f in figures if f is not None), default=None)


def seeds(result: Mapping[str, Any]) -> list[int]:
    """Of the run, or of the members of the ensemble."""
    if result["kind"] == "run":
        return [result["seed"]]
    return [member["seed"] for member in result["members"]]


def identity(result: Mapping[str, Any]) -> str:
    """The same for results that should be averaged."""
    own = {"settings": settings(result)}
    if result["kind"] == "score":
        own |= {"tta": result["tta"]["versions"], "of": len(seeds(result))}
    return json.dumps(own, sort_keys=True)


def stem(result: Mapping[str, Any]) -> str:
    """The name of a result's file, without .json.

    Its end is a hash of what was asked for, none of what came out: one file
    for one question.
    """
    asked = {
        name: result[name] for name in ("recipe", "options", "layers", "data")
    }
    asked["seeds"] = seeds(result)
    mark = f"seed{'to'.join(map(str, _ends(seeds(result))))}"
    if result["kind"] == "score":
        asked["tta"] = result["tta"]
        mark += f"-tta{result['tta']['versions']}"
    text = json.dumps(asked, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()[:10]
    return f"{result['arch']}-{result['protocol']}-{mark}-{digest}"


def _ends(numbers: Sequence[int]) -> list[int]:
    return sorted({min(numbers), max(numbers)})


def folder_for(result: Mapping[str, Any], experiment: str = "") -> str:
    """Where under results/ it belongs.

    Raises:
      ResultError: it is no documented run, so that an experiment is needed.
    """
    if experiment:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", experiment):
            raise ResultError(
                "experiment: expected a name of a-z, 0-9, - and _, came "
                f"{experiment!r}"
            )
        return f"{EXPERIMENTS}/{experiment}"
    different = _not_as_documented(result)
    if different:
        raise ResultError(
            "experiment: expected --experiment=NAME for what is no run of an "
            f"unchanged recipe, came none, and {', '.join(different)}"
        )
    return RUNS if result["arch"] in recipes.DOCUMENTED else QUICK


def _not_as_documented(result: Mapping[str, Any]) -> list[str]:
    """What keeps a result from being one of its recipe as it stands."""
    if result["kind"] != "run":
        return ["a score"]
    recipe = recipe_of(result)
    own = recipes.recipe_for(recipe.arch).replace(stem=recipe.stem)
    different = [
        f"{name}={value} (the recipe has {getattr(own, name)})"
        for name, value in dataclasses.asdict(recipe).items()
        if value != getattr(own, name)
    ]
    if result["options"]["train_examples"]:
        different.append(f"train_examples={result['train_examples']}")
    if result["data"]["fingerprint"] != _mnist():
        different.append(f"data {result['data']['name']}, not MNIST")
    if result["parameters"] != architectures.parameters(recipe):
        different.append(
            f"{result['parameters']} parameters (the recipe's network has "
            f"{architectures.parameters(recipe)})"
        )
    if result["finished"] and result["test"] is None:
        different.append("no test accuracy")
    return different


@functools.cache
def _mnist() -> str:
    return data.load().fingerprint


def check(result: Any, place: str) -> None:
    """Refuses a result that lacks something or contradicts itself.

    Args:
      result: parsed JSON.
      place: of its file, as `runs/NAME.json`.

    Raises:
      ResultError: the first thing that is wrong, in one line.
    """
    kind = result.get("kind") if isinstance(result, dict) else None
    if kind not in _SHAPES:
        raise _wrong(place, f"a kind of {', '.join(_SHAPES)}", repr(kind))
    for wrong in _misfits(result, _SHAPES[kind], "result"):
        raise _wrong(place, *wrong)
    for path in _strings(result):
        if _PATH.search(path):
            raise _wrong(place, "no path of a machine", repr(path))
    try:
        options = RunOptions(**result["options"])
        expected = {**_facts(result, options), "file": f"{stem(result)}.json"}
    except (TypeError, UserError) as error:
        raise _wrong(place, "a recipe and options", str(error)) from None
    for name, value in expected.items():
        came = {**result, "file": pathlib.Path(place).name}.get(name)
        if came != value:
            raise _wrong(place, f"{name} {value}", repr(came))
    {"run": _check_run, "score": _check_score}[kind](result, place)
    folder = pathlib.PurePath(place).parent
    if folder.parts[0] != EXPERIMENTS and folder_for(result) != str(folder):
        raise _wrong(place, f"one in {folder_for(result)}", str(folder))


def _wrong(place: str, expected: str, came: str) -> ResultError:
    return ResultError(f"{place}: expected {expected}, came {came[:300]}")


def _misfits(value: Any, shape: Any, name: str) -> Iterator[tuple[str, str]]:
    """What does not have its shape: expected and came."""
    if isinstance(shape, tuple):
        tried = [list(_misfits(value, one, name)) for one in shape]
        if all(tried):
            yield tried[0][0]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{name}, a list", repr(value)
            return
        for item in value:
            yield from _misfits(item, shape[0], name)
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{name}, an object", repr(value)
            return
        free = shape.get(str)
        if free is None and value.keys() != shape.keys():
            missing = sorted(shape.keys() - value.keys())
            unknown = sorted(value.keys() - shape.keys())
            yield f"{name} with {missing}", f"one with {unknown} instead"
            return
        for key, item in value.items():
            yield from _misfits(item, free or shape[key], key)
    elif not _is_a(value, shape):
        words = "nothing" if shape is None else f"of type {shape.__name__}"
        yield f"{name} {words}", repr(value)


def _is_a(value: Any, kind: type | None) -> bool:
    if kind is None or value is None:
        return value is kind
    if isinstance(value, bool):  # which Python takes for an int
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        items = value
        if isinstance(value, dict):
            items = [*value.keys(), *value.values()]
        for item in items:
            yield from _strings(item)


def _facts(result: Mapping[str, Any], options: RunOptions) -> dict[str, Any]:
    """What follows from other fields."""
    held_out = {"split": options.validation_size, "none": 0}
    return {
        "arch": recipe_of(result).arch,
        "protocol": options.validation,
        "selected_on_test": options.validation == "test",
        "parameters": sum(row[1] for row in result["layers"]),
        "multiply_adds": sum(row[2] for row in result["layers"]),
        "validation_examples": held_out.get(
            options.validation, result["validation_examples"]
        ),
        "train_examples": options.train_examples or result["train_examples"],
    }


def _check_made_by(result: Mapping[str, Any], place: str) -> None:
    wanted = {"mnistpipe", "python", "tensorflow", "keras", "numpy"}
    missing = sorted(wanted - result["versions"].keys())
    if missing:
        raise _wrong(place, "all versions", f"none of {', '.join(missing)}")
    for commit in result["commits"]:
        if not _COMMIT.fullmatch(commit):
            raise _wrong(place, "a commit of 40 digits", commit)


def _check_count(count: Mapping[str, Any] | None, place: str) -> None:
    if count and count["accuracy"] != count["correct"] / count["examples"]:
        raise _wrong(place, "accuracy = correct / examples", str(dict(count)))


def _check_run(result: Mapping[str, Any], place: str) -> None:
    _check_made_by(result, place)
    _check_count(result["test"], place)
    history, epochs = result["history"], result["epochs_run"]
    lengths = {len(figures) for figures in history.values()} or {0}
    if lengths != {epochs} or (epochs and "loss" not in history):
        raise _wrong(place, f"a history of {epochs} epochs", f"{lengths}")
    validated = "val_accuracy" in history
    if epochs and validated != (result["protocol"] != "none"):
        raise _wrong(place, "a protocol as its history", result["protocol"])
    metrics = {**result, "history": history}
    if result["validation"] != _validation(metrics):
        raise _wrong(place, f"validation {_validation(metrics)}", "another")
    recipe = recipe_of(result)
    stops = recipe.early_stopping_patience > 0
    whole = epochs == recipe.epochs or (stops and epochs < recipe.epochs)
    if result["finished"] and not whole:
        raise _wrong(place, f"{recipe.epochs} epochs, finished", f"{epochs}")
    if result["test"] and not result["finished"]:
        raise _wrong(place, "no test accuracy, not finished", "one")


def _check_score(result: Mapping[str, Any], place: str) -> None:
    _check_made_by(result, place)
    _check_count(result["test"], place)
    members = result["members"]
    if len(members) < 2 and result["tta"]["versions"] < 2:
        raise _wrong(place, "an ensemble or --tta above 1", "neither")
    if len(set(seeds(result))) < len(members):
        raise _wrong(place, "each seed once", str(seeds(result)))
    for member in members:
        _check_made_by(member, place)
        for name in ("plain", "alone"):
            _check_count(member[name], place)
            if member[name]["examples"] != result["test"]["examples"]:
                raise _wrong(place, "one test set", f"{member[name]}")


def text(result: Mapping[str, Any]) -> str:
    """JSON with a line for each list or small object, to be read and diffed."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict | list) and len(json.dumps(value)) > 60:
            inner = [
                (f"{json.dumps(k)}: " if isinstance(value, dict) else "")
                + json.dumps(value[k] if isinstance(value, dict) else k)
                for k in value
            ]
            ends = "{}" if isinstance(value, dict) else "[]"
            body = ",\n".join(f"    {line}" for line in inner)
            words = f"{ends[0]}\n{body}\n  {ends[1]}"
        else:
            words = json.dumps(value)
        lines.append(f"  {json.dumps(name)}: {words}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def add(
    result: dict[str, Any], root: pathlib.Path, experiment: str = ""
) -> str:
    """Writes a result, unless it is there; says what was done, in a line.

    Raises:
      ResultError: it is not sound, or another result has its place.
    """
    folder = folder_for(result, experiment)
    place = f"{folder}/{stem(result)}.json"
    check(result, place)
    rivals = {
        other_place: other
        for other_place, other in read(root).items()
        if _beside(place, other_place) and _same_question(result, other)
    }
    for other_place, other in rivals.items():
        if other == json.loads(text(result)):
            return f"{other_place} is there already"
        if not _goes_on(result, other):
            names = [n for n in result if result[n] != other.get(n)]
            raise ResultError(
                f"{other_place}: expected a result that is not there yet, came"
                f" another of the same settings and seed, different in"
                f" {', '.join(names)}; remove the file to replace it"
            )
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    with runfolder.replacing(path) as beside:
        beside.write_text(text(result), encoding="utf-8")
    for other_place in rivals.keys() - {place}:
        (root / other_place).unlink()
    return f"{place} written"


def _beside(place: str, other: str) -> bool:
    """Whether two files are in one folder."""
    return pathlib.PurePath(place).parent == pathlib.PurePath(other).parent


def _same_question(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether both are of the same settings and of a seed in common.

    Overlapping ensembles are not independent, so of these there is one, too.
    """
    common = set(seeds(one)) & set(seeds(two))
    return bool(common) and (
        (one["kind"], identity(one)) == (two["kind"], identity(two))
    )


def _goes_on(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether it is the same run, which had not been finished."""
    return (
        old["kind"] == "run"
        and not old["finished"]
        and new["epochs_run"] >= old["epochs_run"]
        and all(
            new["history"].get(name, [])[: len(figures)] == figures
            for name, figures in old["history"].items()
        )
    )


def read(root: pathlib.Path) -> dict[str, dict[str, Any]]:
    """All results by place, checked, each alone and beside the others.

    Raises:
      ResultError: one of them is not sound, or two are of one question.
    """
    results = {}
    for path in sorted(root.rglob("*.json")):
        place = path.relative_to(root).as_posix()
        if path.name == ABOUT:
            continue
        result = _parsed(path)
        if not re.fullmatch(
            rf"({RUNS}|{QUICK}|{EXPERIMENTS}/[a-z0-9_-]+)/[^/]+", place
        ):
            raise _wrong(
                place,
                f"a result in {RUNS}, {QUICK} or {EXPERIMENTS}/<name>",
                "one elsewhere",
            )
        check(result, place)
        for other_place, other in results.items():
            if _beside(place, other_place) and _same_question(result, other):
                raise _wrong(place, "one result of a seed", other_place)
        results[place] = result
    return results


def _parsed(path: pathlib.Path) -> dict[str, Any]:
    try:
        parsed = safejson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultError(
            f"{path}: expected a result as JSON, came {error}"
        ) from None
    if not isinstance(parsed, dict):
        raise ResultError(f"{path}: expected a result, came a list or a word")
    return parsed
