"""Tables from the files in results/: the README's, and results/README.md.

Accuracies are printed in percent and differences in percentage points. ± is
the standard deviation over seeds, with n - 1 in the denominator. Intervals are
of the mean difference of pairs with the same seed, by Student's t at 95 %. One
seed has no deviation and one pair no interval.
"""

import csv
import dataclasses
import pathlib
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from result_files import ABOUT, EXPERIMENTS, QUICK, RUNS, TRIALS
from result_records import (
    MAX_BYTES,
    EnsembleRecord,
    Result,
    ResultError,
    ScoreRecord,
)
from scipy import stats

from mnistpipe import recipes
from mnistpipe.data import files
from mnistpipe.evaluation import scoring
from mnistpipe.recipes import RunOptions, documented
from mnistpipe.runs import backends, summary
from mnistpipe.runs.record import RunRecord

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
PROTOCOLS = recipes.specs(RunOptions)["validation"].choices
_FIGURES = ("validation", "test", "honest", "watched", "plain")
Row = Mapping[str, str]  # cells by heading


def grouped(results: Iterable[Result]) -> list[pd.DataFrame]:
    """Groups results that differ by seed only, in the order of the recipes.

    Returns:
      Frames with one row per result, in the order of seeds: the result and the
      figures that the tables show. A figure that was not measured is NaN.
    """
    frame = pd.DataFrame(map(_row, sorted(results, key=_order)))
    if frame.empty:
        return []
    frame = frame.astype(dict.fromkeys(_FIGURES, float))
    return [group for _, group in frame.groupby("identity", sort=False)]


def _order(result: Result) -> tuple[Any, ...]:
    recipe = result.record.recipe
    return (
        recipes.ARCHS.index(recipe.arch),
        recipe.stem != "printed",
        PROTOCOLS.index(result.record.options.validation),
        result.identity,
        result.seeds,
    )


def _row(result: Result) -> dict[str, Any]:
    record, plain, honest, watched = result.record, None, None, None
    if isinstance(record, ScoreRecord):
        plain = np.mean([member.plain.accuracy for member in record.members])
    else:
        honest = record.honest_accuracy
        figures = [figure for figure in record.watched if figure is not None]
        watched = max(figures, default=None)
    return {
        "result": result,
        "identity": result.identity,
        "seed": result.seeds[0],
        "validation": result.accuracy("validation"),
        "test": result.accuracy("test"),
        "honest": honest,
        "watched": watched,
        "plain": plain,
        "seconds": result.content.get("seconds"),
        "machine": made_with(result),
    }


def in_folder(results: Mapping[str, Result], folder: str) -> list[Result]:
    """The results in runs, quick or experiments/<name>."""
    return [
        r for path, r in results.items() if path.rpartition("/")[0] == folder
    ]


# Cells


def markdown(rows: Sequence[Row]) -> str:
    """Returns a table whose cells cannot break the table; "" without rows."""
    if not rows:
        return ""
    lines = [
        [*rows[0]],
        ["---"] * len(rows[0]),
        *(row.values() for row in rows),
    ]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


class Notes(dict[str, str]):
    """Footnotes: a letter for each text."""

    def mark(self, text: str) -> str:
        """Returns the letter that stands for a text."""
        letters = dict(enumerate(string.ascii_lowercase))
        number = len(self)
        return self.setdefault(text, letters.get(number, f"a{number}"))

    def __str__(self) -> str:
        """A line for each note."""
        return "\n".join(f"- ({mark}) {text}" for text, mark in self.items())


def spread(shares: Iterable[float]) -> str:
    """Mean ± standard deviation in percent, without what was not measured."""
    percent = 100 * pd.Series(shares, dtype=float).dropna()
    if len(percent) < 2:
        return f"{percent.iloc[0]:.2f}" if len(percent) else "–"
    return f"{percent.mean():.3f} ± {percent.std():.3f}"


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by Student's t, of two or more values."""
    mean, quantile = (
        np.mean(differences),
        stats.t.ppf(0.975, len(differences) - 1),
    )
    half = quantile * stats.sem(differences)
    return mean - half, mean + half


def pairs(one: pd.DataFrame, two: pd.DataFrame, name: str) -> pd.Series:
    """Differences one - two, by seed, where both have the figure `name`."""
    first, second = (frame.set_index("seed")[name] for frame in (one, two))
    return (first - second).dropna()


def effect(differences: Sequence[float]) -> str:
    """The mean of paired differences, with its interval and the number."""
    n = len(differences)
    if not n:
        return "–"
    text = f"{100 * np.mean(differences):+.3f}"
    if n > 1:
        low, high = interval(differences)
        text += f" [{100 * low:+.3f}, {100 * high:+.3f}]"
    return f"{text} (n = {n})"


def times(group: pd.DataFrame, notes: Notes) -> str:
    """The mean time of a run on each machine."""
    means = group.groupby("machine", sort=False)["seconds"].mean()
    return ", ".join(
        f"{summary.duration(seconds)} ({notes.mark(machine)})"
        for machine, seconds in means.items()
    )


def made_with(result: Result) -> str:
    """Hardware and versions."""
    hardware = result.record.hardware
    machine = ", ".join([*hardware.gpus, hardware.processor()])
    return f"{machine}; {backends.summary(result.record.versions)}"


def protocol(result: Result) -> str:
    """The protocol's name, and what chose the weights."""
    record, name = result.record, f"`{result.record.options.validation}`"
    if record.test_set_chose:
        return f"{name}: **selected on the test set**"
    if record.selected_on_test:
        return f"{name}: last weights, which nothing chose"
    if record.options.validation == "none":
        return f"{name}: last weights"
    return f"{name}: {record.validation_examples:,} held out"


def title(result: Result) -> str:
    """The architecture, and its stem if that is not the default."""
    recipe = result.record.recipe
    stem = f", stem {recipe.stem}" * (recipe.stem != "printed")
    return f"`{recipe.arch}`{stem}"


def _size(result: Result) -> dict[str, str]:
    return {
        "parameters": f"{result.record.parameters:,}",
        "multiply-adds": f"{result.content['multiply_adds'] / 1e6:.1f} million",
    }


# Recipes


def runs_table(results: Sequence[Result]) -> str:
    """A row per recipe and protocol, and per unfinished run."""
    if not results:
        return "No run has been recorded yet."
    notes, rows = Notes(), []
    for group in grouped(results):
        unfinished = [result.record.interrupted for result in group.result]
        ended = group.drop(group.index[unfinished])
        if len(ended):
            accuracy = spread(ended.honest)
            rows.append(_recipe(ended, accuracy, str(len(ended)), notes))
        for index in group.index[unfinished]:
            begun = group.loc[[index]]
            n = f"seed {begun.seed.item()}"
            rows.append(_recipe(begun, _so_far(begun), n, notes))
    return (
        f"{markdown(rows)}\n\n"
        "Mean ± standard deviation over n seeds. The test images chose nothing"
        " for an\nhonest accuracy. The document seems to report the best epoch"
        " on the test set;\nits first score, whose protocol is not stated, is"
        " beside that figure. The times\ninclude validation and evaluation,"
        f" on\n\n{notes}"
    )


def _recipe(group: pd.DataFrame, accuracy: str, n: str, notes: Notes) -> Row:
    first = group.result.iloc[0]
    scores = documented.SCORES.get(first.record.arch)
    return {
        "recipe": title(first),
        "protocol": protocol(first),
        "honest test accuracy, %": accuracy,
        "n": n,
        "best epoch on the test set, %": spread(group.watched),
        "documented": f"{scores[0]:.2f}" if scores else "–",
        **_size(first),
        "time of a run": times(group, notes),
    }


def _so_far(begun: pd.DataFrame) -> str:
    """How far an unfinished run has trained."""
    record, validation = begun.result.item().record, begun.validation.item()
    text = f"not finished: {record.epochs_run} of {record.recipe.epochs} epochs"
    if np.isnan(validation):
        return text
    images = " (test images)" * record.selected_on_test
    return f"{text}, validation {100 * validation:.2f}{images}"


def every_run(results: Sequence[Result]) -> str:
    """A row per run, with the commit that trained."""
    notes, rows = Notes(), []
    for group in grouped(results):
        for index, result in group.result.items():
            record = result.record
            wrong = "–"
            if record.test_examples:
                wrong = str(record.test_examples - record.test_correct)
            weights = "last"
            if record.weights == "best.keras":
                weights = f"best epoch, {record.best_epoch + 1}"
            epochs = f"{record.epochs_run} of {record.recipe.epochs}"
            commits = [c[:10] + "+" * c.endswith("+") for c in record.commits]
            run = group.loc[[index]]
            rows.append(
                {
                    "recipe": title(result),
                    "protocol": protocol(result),
                    "seed": str(record.seed),
                    "test, %": spread(run.test),
                    "wrong": wrong,
                    "validation, %": spread(run.validation),
                    "epochs": epochs + ", not finished" * record.interrupted,
                    "weights": weights,
                    "time": times(run, notes),
                    "commit": ", ".join(commits) or "not recorded",
                }
            )
    return f"{markdown(rows)}\n\n{notes}" if rows else "None yet."


# Experiments


def changes(result: Result, base: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a result that are not those of `base`.

    Another architecture has another recipe and other layers: of those, only
    what differs from that recipe is told.
    """
    own = result.settings
    different = {k: v for k, v in own.items() if base.get(k) != v}
    if different.pop("data_fingerprint", None) and "data" not in different:
        different["data"] = f"{own['data']}, another"
    if "arch" in different:
        different.pop("network", None)
        known = dataclasses.asdict(recipes.recipe_for(own["arch"]))
        known["arch"] = None  # is told although it is the recipe's
        for name in [n for n in different if n in known]:
            if known[name] == different[name]:
                del different[name]
    return different


def label(different: Mapping[str, Any]) -> str:
    """Changed settings as NAME=VALUE."""
    texts = [
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in different.items()
    ]
    return f"`{' '.join(texts)}`" if texts else "as the recipe"


def _beyond_recipe(result: Result) -> dict[str, Any]:
    """The settings that are neither the recipe's nor the options' defaults."""
    recipe = recipes.recipe_for(result.record.arch)
    own = dataclasses.asdict(RunOptions()) | dataclasses.asdict(recipe)
    names = ("network", "data", "data_fingerprint")
    return changes(result, own | {n: result.settings[n] for n in names})


def baseline(
    arms: Sequence[pd.DataFrame], wanted: Mapping[str, Any]
) -> pd.DataFrame:
    """Returns the arm that the others are compared with.

    Args:
      arms: groups of runs.
      wanted: settings of the baseline. Without any, the arm with the fewest
        changes to its recipe is taken, and the first among several.

    Raises:
      ResultError: no arm, or several, have these settings.
    """
    first = [arm.result.iloc[0] for arm in arms]
    if not wanted:
        counts = [len(_beyond_recipe(result)) for result in first]
        return arms[counts.index(min(counts))]
    found = [
        arm
        for arm, result in zip(arms, first, strict=True)
        if wanted.items() <= result.settings.items()
    ]
    if len(found) != 1:
        raise ResultError(
            f"baseline: expected the settings of one arm, got {dict(wanted)},"
            f" which {len(found)} have"
        )
    return found[0]


def arms_of(results: Iterable[Result]) -> list[pd.DataFrame]:
    """Groups the runs of an experiment."""
    return grouped(r for r in results if isinstance(r.record, RunRecord))


def runs_effects(results: Sequence[Result], wanted: Mapping[str, Any]) -> str:
    """A row per arm: budget, accuracies, and differences to the baseline.

    Architectures that have several arms each have their own baseline, unless
    `wanted` says which settings the baseline has.
    """
    arms, notes, rows = arms_of(results), Notes(), []
    archs = [arm.result.iloc[0].record.arch for arm in arms]
    for arm, arch in zip(arms, archs, strict=True):
        rivals = [
            a for a, other in zip(arms, archs, strict=True) if other == arch
        ]
        several = len(rivals) > 1 and not wanted
        base = baseline(rivals if several else arms, wanted)
        first = arm.result.iloc[0]
        text = label(changes(first, base.result.iloc[0].settings))
        effects = [effect(pairs(arm, base, n)) for n in ("validation", "test")]
        if arm is base:
            text, effects = label(_beyond_recipe(first)), ["baseline"] * 2
        if arm is base or (several and len({*archs}) > 1):
            text = f"{title(first)}, {text}"
        record = first.record
        budget = f"{record.recipe.epochs} × {record.train_examples:,}"
        if begun := [r for r in arm.result if r.record.interrupted]:
            budget += (
                f", not finished: seed {_numbers(r.seeds[0] for r in begun)}"
            )
        rows.append(
            {
                "what differs": text,
                "budget": budget,
                "protocol": protocol(first),
                "seeds": _numbers(arm.seed),
                "validation, %": spread(arm.validation),
                "test, %": spread(arm.test),
                "time of a run": times(arm, notes),
                "Δ validation, points": effects[0],
                "Δ test, points": effects[1],
            }
        )
    return f"{markdown(rows)}\n\n{notes}" if rows else ""


def _numbers(numbers: Iterable[int], between: str = ", ") -> str:
    return between.join(map(str, numbers))


def networks(results: Sequence[Result]) -> str:
    """A row per network, if there are several: its layers."""
    firsts = [arm.result.iloc[0] for arm in arms_of(results)]
    rows = {
        first.network: {
            "network": title(first),
            "layers": first.network,
            **_size(first),
        }
        for first in firsts
    }
    return markdown([*rows.values()]) if len(rows) > 1 else ""


def scores_effects(results: Sequence[Result]) -> str:
    """A row per way of scoring, beside the same networks without it."""
    rows = []
    for group in grouped(
        r for r in results if isinstance(r.record, ScoreRecord)
    ):
        first = group.result.iloc[0]
        members, versions = len(first.seeds), first.record.tta.versions
        ways = [f"ensembles of {members}"] * (members > 1)
        ways += [f"--tta={versions}"] * (versions > 1)
        rows.append(
            {
                "networks": f"{title(first)}, {label(_beyond_recipe(first))}",
                "scored by": ", ".join(ways),
                "protocol": protocol(first),
                "seeds": "; ".join(
                    _numbers(r.seeds, "+") for r in group.result
                ),
                "without, test %": spread(group.plain),
                "with, test %": spread(group.test),
                "Δ test, points": effect(group.test - group.plain),
            }
        )
    return markdown(rows)


def ensembles(results: Sequence[Result]) -> str:
    """A row per ensemble of several recipes, above its networks alone."""
    found = [r for r in results if isinstance(r.record, EnsembleRecord)]
    rows = []
    for result in sorted(found, key=_order_of_ensembles):
        rows.append(_together(result))
        rows += map(_alone, grouped(result.record.networks))
    if not rows:
        return ""
    return (
        f"{markdown(rows)}\n\n"
        "An ensemble answers with the mean of its networks' probabilities. The"
        " rows below\neach ensemble show its networks alone, in the order of"
        " their seeds: plain, as\ntheir runs scored them, and with as many"
        " versions of each image as the ensemble.\nThe interval is Wilson's,"
        " for the choice of test images. The interval does not\ncover how"
        " trainings of one recipe differ."
    )


def _order_of_ensembles(result: Result) -> tuple[int, list[str], int]:
    """Puts the scores of the same networks side by side."""
    runs = sorted(one.stem_of_run for one in result.record.networks)
    return len(runs), runs, result.tta_versions


def _together(result: Result) -> Row:
    record, test = result.record, result.record.test
    chosen, of = record.selected_networks, len(record.networks)
    found = scoring.wilson(test.correct, test.examples)
    honest = f"{spread([test.accuracy])} [{_each([found.low, found.high])}]"
    protocols = "no network was selected on the test set"
    if chosen:
        protocols = f"**{chosen} of {of} networks selected on the test set**"
    return {
        "networks": f"**{of} networks together**",
        "protocol": protocols,
        "seeds": "–",
        "versions of each image": str(result.tta_versions),
        "plain, test %": "–",
        "honest test accuracy, %": "–" if chosen else honest,
        "wrong": f"{test.wrong} of {test.examples:,}",
    }


def _alone(group: pd.DataFrame) -> Row:
    first = group.result.iloc[0]
    different = _beyond_recipe(first)
    different.pop("validation", None)  # has its own column
    honest = _each(group.test)
    if first.record.test_set_chose:
        honest = "–"
    return {
        "networks": f"{title(first)}, {label(different)}",
        "protocol": protocol(first),
        "seeds": _numbers(group.seed),
        "versions of each image": str(first.tta_versions),
        "plain, test %": _each(group.plain),
        "honest test accuracy, %": honest,
        "wrong": _numbers(r.record.test.wrong for r in group.result),
    }


def _each(shares: Iterable[float]) -> str:
    return ", ".join(f"{100 * share:.2f}" for share in shares)


def about(folder: pathlib.Path) -> dict[str, Any]:
    """What a person wrote about an experiment; everything may be missing.

    Raises:
      ResultError: it has other fields than question, conclusion, baseline.
    """
    path = folder / ABOUT
    if not path.is_file():
        return {}
    written = files.read_object(path, "a question or conclusion", MAX_BYTES)
    kinds = {"question": str, "conclusion": str, "baseline": dict}
    for name, value in written.items():
        if type(value) is not kinds.get(name):
            raise ResultError(
                f"{path}: expected question and conclusion, texts, and"
                f" baseline, settings, got {name}: {value!r:.200}"
            )
    return written


def experiment(
    root: pathlib.Path, name: str, results: Mapping[str, Result]
) -> str:
    """Everything that is known about an experiment."""
    folder = f"{EXPERIMENTS}/{name}"
    found, written = in_folder(results, folder), about(root / folder)
    parts = [
        written.get("question", ""),
        runs_effects(found, written.get("baseline", {})),
        scores_effects(found),
        ensembles(found),
        networks(found),
        trials(root / folder / TRIALS),
        written.get("conclusion", ""),
    ]
    return "\n\n".join(part for part in parts if part)


def trials(path: pathlib.Path) -> str:
    """The table of trials that this package did not run, as in the file.

    Raises:
      ResultError: a row has more or fewer cells than the header.
    """
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    for row in rows:
        if len(row) != len(head):
            raise ResultError(
                f"{path}: expected rows of {len(head)} cells, got {row}"
            )
    return markdown([dict(zip(head, row, strict=True)) for row in rows])


def names(root: pathlib.Path) -> list[str]:
    """The names of the experiments."""
    return sorted(p.name for p in (root / EXPERIMENTS).glob("*") if p.is_dir())


def documented_and_quick(results: Mapping[str, Result]) -> list[Result]:
    """The results that the README shows."""
    return [*in_folder(results, RUNS), *in_folder(results, QUICK)]


def whole_text(root: pathlib.Path, results: Mapping[str, Result]) -> str:
    """The text of results/README.md."""
    shown = documented_and_quick(results)
    parts = [
        "# Results",
        "<!-- Made by `python tools/results.py table`; no number is typed. -->",
        "Every number here is computed from the JSON files beside this one, a"
        "\nfile per run or score: recipe, protocol, seed, versions, hardware,"
        "\ncommit, history. Accuracies in percent, ± their standard deviation"
        " over seeds;\nΔ are mean differences of pairs of one seed in"
        " percentage points, with\ntheir 95 % interval by Student's t, not"
        " corrected for how many there are.\nA commit with + was trained with"
        " changes to the package.",
        "## Recipes",
        runs_table(shown),
        "## Each run",
        every_run(shown),
        "## Experiments",
        "Validation images chose; the test set is given beside them and chose"
        "\nnothing, except where the protocol or the conclusion says so.",
    ]
    for name in names(root):
        parts += [f"### {name}", experiment(root, name, results)]
    if not names(root):
        parts.append("None yet.")
    return "\n\n".join(part for part in parts if part) + "\n"


def replaced(text: str, table: str) -> str:
    """Returns a README with the table between the two markers.

    Raises:
      ResultError: the markers are not there once each, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ResultError(f"README: expected {BEGIN} and {END}, once each")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
