"""Tables from the files in results/: the README's, and results/README.md.

Accuracies are printed in percent, differences in percentage points. ± is the
standard deviation over seeds (n - 1 in the denominator), of one seed there is
none; intervals are of the mean difference of pairs with the same seed, by
Student's t at 95 %, and of one pair there is none.
"""

import csv
import dataclasses
import json
import math
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import result_files
from result_files import EXPERIMENTS, QUICK, RUNS, ResultError
from scipy import stats

from mnistpipe import recipes
from mnistpipe.recipes import documented
from mnistpipe.runs import backends, summary

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_LEVEL = 0.95
Result = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Paired:
    """The mean of differences, and its interval if there are several."""

    mean: float
    n: int
    low: float | None
    high: float | None

    def __str__(self) -> str:
        words = f"{100 * self.mean:+.3f}"
        if self.low is None:
            return words
        return f"{words} [{100 * self.low:+.3f}, {100 * self.high:+.3f}]"


def paired(differences: Sequence[float]) -> Paired:
    """Their mean with its 95 % interval by Student's t."""
    n, mean = len(differences), statistics.fmean(differences)
    if n == 1:
        return Paired(mean, n, None, None)
    error = statistics.stdev(differences) / math.sqrt(n)
    half = float(stats.t.ppf((1 + _LEVEL) / 2, n - 1)) * error
    return Paired(mean, n, mean - half, mean + half)


def spread(shares: Sequence[float]) -> str:
    """Mean ± standard deviation in percent; of one, the one."""
    if not shares:
        return "–"
    mean = 100 * statistics.fmean(shares)
    if len(shares) == 1:
        return f"{mean:.2f}"
    return f"{mean:.3f} ± {100 * statistics.stdev(shares):.3f}"


def accuracies(results: Iterable[Result], name: str) -> list[float]:
    """Of the results that have one; `name` is test or validation."""
    return [r[name]["accuracy"] for r in results if r.get(name)]


def grouped(results: Iterable[Result]) -> list[list[Result]]:
    """Results that differ by seed only, together; in the recipes' order."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result_files.identity(result), []).append(result)
    return sorted(
        (sorted(g, key=result_files.seeds) for g in groups.values()),
        key=lambda g: (
            recipes.ARCHS.index(g[0]["arch"]),
            g[0]["recipe"].get("stem") != "printed",
            result_files.PROTOCOLS.index(g[0]["protocol"]),
            result_files.identity(g[0]),
        ),
    )


def in_folder(results: Mapping[str, Result], folder: str) -> list[Result]:
    """Those of runs, quick or experiments/<name>."""
    return [
        result
        for place, result in results.items()
        if pathlib.PurePath(place).parent == pathlib.PurePath(folder)
    ]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; no cell may break it."""
    lines = [list(head), ["---"] * len(head), *rows]
    cells = [[str(c).replace("|", "\\|") for c in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


class Notes:
    """Footnotes: what numbers were made with, each once, under a letter."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def mark(self, words: str) -> str:
        """The letter that stands for these words."""
        if words not in self._words:
            self._words.append(words)
        place = self._words.index(words)
        return chr(ord("a") + place) if place < 26 else f"a{place}"

    def text(self) -> str:
        """All of them, a line each."""
        return "\n".join(
            f"- ({self.mark(words)}) {words}" for words in self._words
        )


def made_with(result: Result) -> str:
    """Hardware and versions."""
    hardware = result["hardware"]
    where = f"{hardware['cores']} cores of {hardware['cpu']}"
    if hardware["gpus"]:
        where = f"{', '.join(hardware['gpus'])}, {where}"
    return f"{where}; {backends.summary(result['versions'])}"


def protocol(result: Result) -> str:
    """The protocol's name, and what the number is not worth."""
    name = f"`{result['protocol']}`"
    if result["selected_on_test"]:
        if not result_files.recipe_of(result).reads_validation():
            return f"{name}: last weights, which nothing chose"
        return f"{name}: **selected on the test set**"
    if result["protocol"] == "none":
        return f"{name}: last weights"
    return f"{name}: {result['validation_examples']:,} held out"


def title(result: Result) -> str:
    """The architecture, and its stem if it is not the default."""
    stem = result["recipe"].get("stem", "printed")
    return f"`{result['arch']}`" + (f", stem {stem}" * (stem != "printed"))


def times(group: Sequence[Result], notes: Notes) -> str:
    """The mean time of a run, by what it ran on."""
    by_machine: dict[str, list[float]] = {}
    for result in group:
        by_machine.setdefault(made_with(result), []).append(result["seconds"])
    return ", ".join(
        f"{summary.duration(statistics.fmean(seconds))} ({notes.mark(words)})"
        for words, seconds in by_machine.items()
    )


def runs_table(results: Sequence[Result]) -> str:
    """A row per recipe and protocol, beside the documented score."""
    if not results:
        return "No run has been recorded yet."
    notes, rows = Notes(), []
    for group in grouped(results):
        done = [result for result in group if result["finished"]]
        if done:
            rows.append(_row(done, notes))
        rows += [_unfinished(r, notes) for r in group if not r["finished"]]
    head = ("recipe", "protocol", "honest test accuracy, %", "n")
    more = (
        *("best epoch on the test set, %", "documented", "parameters"),
        *("multiply-adds", "time of a run"),
    )
    return "\n\n".join(
        [
            markdown([*head, *more], rows),
            "Mean ± standard deviation over n seeds. The test images chose"
            " nothing for an\nhonest accuracy. The document seems to report"
            " the best epoch on the test set;\nits first score, whose protocol"
            " is not stated, is beside that figure. The times\ninclude"
            " validation and evaluation, on\n\n" + notes.text(),
        ]
    )


def _row(group: Sequence[Result], notes: Notes) -> list[str]:
    first = group[0]
    honest = [result_files.honest(result) for result in group]
    selected = [result_files.best_on_test(result) for result in group]
    return [
        title(first),
        protocol(first),
        spread([score for score in honest if score is not None]),
        str(len(group)),
        spread([score for score in selected if score is not None]),
        _documented(first),
        f"{first['parameters']:,}",
        _millions(first["multiply_adds"]),
        times(group, notes),
    ]


def _unfinished(result: Result, notes: Notes) -> list[str]:
    """No accuracy, but how far it came."""
    words = (
        f"not finished: {result['epochs_run']} of"
        f" {result['recipe']['epochs']} epochs"
    )
    return [
        title(result),
        protocol(result),
        words + _so_far(result),
        f"seed {result['seed']}",
        spread([best for best in [result_files.best_on_test(result)] if best]),
        _documented(result),
        f"{result['parameters']:,}",
        _millions(result["multiply_adds"]),
        times([result], notes),
    ]


def _so_far(result: Result) -> str:
    if not result["validation"]:
        return ""
    words = ", validation {:.2f}".format(100 * result["validation"]["accuracy"])
    return words + " (test images)" * result["selected_on_test"]


def _documented(result: Result) -> str:
    scores = documented.SCORES.get(result["arch"])
    return f"{scores[0]:.2f}" if scores else "–"


def _millions(number: int) -> str:
    return f"{number / 1e6:.1f} million"


def every_run(results: Sequence[Result]) -> str:
    """A row per run, with what it was made from."""
    notes, rows = Notes(), []
    for result in (r for group in grouped(results) for r in group):
        test, validation = result["test"], result["validation"]
        epochs = f"{result['epochs_run']} of {result['recipe']['epochs']}"
        rows.append(
            [
                title(result),
                protocol(result),
                str(result["seed"]),
                f"{100 * test['accuracy']:.2f}" if test else "–",
                f"{test['examples'] - test['correct']}" if test else "–",
                f"{100 * validation['accuracy']:.2f}" if validation else "–",
                epochs + ", not finished" * (not result["finished"]),
                _weights(result),
                times([result], notes),
                _commits(result),
            ]
        )
    if not rows:
        return "None yet."
    head = ("recipe", "protocol", "seed", "test, %", "wrong", "validation, %")
    more = ("epochs", "weights", "time", "commit")
    return f"{markdown([*head, *more], rows)}\n\n{notes.text()}"


def _weights(result: Result) -> str:
    if result["weights"] == "best.keras":
        return f"best epoch, {result['best_epoch'] + 1}"
    return "last"


def _commits(result: Result) -> str:
    short = [c[:10] + "+" * c.endswith("+") for c in result["commits"]]
    return ", ".join(short) or "not recorded"


# Experiments


def changes(result: Result, base: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a result that are not those of `base`.

    An architecture brings its own recipe and its own layers: of those, only
    what differs from that recipe is told beside the name.
    """
    own = result_files.settings(result)
    different = {k: v for k, v in own.items() if base.get(k) != v}
    if different.pop("data_fingerprint", None) and "data" not in different:
        different["data"] = f"{own['data']}, another"
    if "arch" in different:
        different.pop("network", None)
        recipe = dataclasses.asdict(recipes.recipe_for(own["arch"]))
        different = {
            name: value
            for name, value in different.items()
            if name == "arch" or name not in recipe or recipe[name] != value
        }
    return different


def label(different: Mapping[str, Any]) -> str:
    """Changes in words."""
    words = [f"{name}={_value(value)}" for name, value in different.items()]
    return f"`{' '.join(words)}`" if words else "as the recipe"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _own(result: Result) -> dict[str, Any]:
    """What a recipe and a run's options are unless told otherwise."""
    recipe = recipes.recipe_for(result["arch"])
    return {
        **dataclasses.asdict(recipes.RunOptions()),
        **dataclasses.asdict(recipe),
        **{
            name: value
            for name, value in result_files.settings(result).items()
            if name in ("network", "data", "data_fingerprint")
        },
    }


def baseline(
    arms: Sequence[Sequence[Result]], wanted: Mapping[str, Any]
) -> Sequence[Result]:
    """The arm that the others are compared with.

    Args:
      arms: groups of runs.
      wanted: settings that it has; if none, the one with the fewest changes
        to its recipe, and among those the first.

    Raises:
      ResultError: no arm, or several, have these settings.
    """
    if not wanted:
        return min(arms, key=lambda arm: len(changes(arm[0], _own(arm[0]))))
    found = [
        arm
        for arm in arms
        if wanted.items() <= result_files.settings(arm[0]).items()
    ]
    if len(found) != 1:
        raise ResultError(
            f"baseline: expected the settings of one arm, came {dict(wanted)},"
            f" which {len(found)} have"
        )
    return found[0]


def pairs(
    one: Sequence[Result], two: Sequence[Result], name: str
) -> list[float]:
    """Differences one - two of the runs of the same seed that have both."""
    others = {r["seed"]: r for r in two if r[name]}
    return [
        r[name]["accuracy"] - others[r["seed"]][name]["accuracy"]
        for r in one
        if r[name] and r["seed"] in others
    ]


def effect(differences: Sequence[float]) -> str:
    """A paired difference in words, with the number of pairs."""
    if not differences:
        return "–"
    found = paired(differences)
    return f"{found} (n = {found.n})"


def arms_of(results: Sequence[Result]) -> list[list[Result]]:
    """The runs of an experiment, in arms that differ by more than a seed."""
    return grouped(r for r in results if r["kind"] == "run")


def runs_effects(results: Sequence[Result], wanted: Mapping[str, Any]) -> str:
    """A row per arm: budget, accuracies, and differences to the baseline.

    Within an architecture that has several arms, the baseline is one of them
    unless `wanted` says which.
    """
    arms, notes = arms_of(results), Notes()
    rows = []
    for arm in arms:
        rivals = [a for a in arms if a[0]["arch"] == arm[0]["arch"]]
        several = len(rivals) > 1 and not wanted
        base = baseline(rivals if several else arms, wanted)
        settings = result_files.settings(base[0])
        if arm is base:
            words = f"{title(arm[0])}, {label(changes(arm[0], _own(arm[0])))}"
            effects = ["baseline", "baseline"]
        else:
            words = label(changes(arm[0], settings))
            if several and len({a[0]["arch"] for a in arms}) > 1:
                words = f"{title(arm[0])}, {words}"
            effects = [
                effect(pairs(arm, base, name))
                for name in ("validation", "test")
            ]
        rows.append([words, *_figures(arm, notes), *effects])
    head = ("what differs", "budget", "protocol", "seeds", "validation, %")
    more = (
        "test, %",
        "time of a run",
        "Δ validation, points",
        "Δ test, points",
    )
    if not rows:
        return ""
    return f"{markdown([*head, *more], rows)}\n\n{notes.text()}"


def _figures(arm: Sequence[Result], notes: Notes) -> list[str]:
    first = arm[0]
    epochs = first["recipe"]["epochs"]
    unfinished = [r["seed"] for r in arm if not r["finished"]]
    words = f"{epochs} × {first['train_examples']:,}"
    if unfinished:
        words += f", not finished: seed {', '.join(map(str, unfinished))}"
    return [
        words,
        protocol(first),
        ", ".join(str(r["seed"]) for r in arm),
        spread(accuracies(arm, "validation")),
        spread(accuracies(arm, "test")),
        times(arm, notes),
    ]


def networks(results: Sequence[Result]) -> str:
    """A row per network: what it consists of."""
    found = {}
    for arm in arms_of(results):
        first = arm[0]
        found[result_files.network(first)] = [
            title(first),
            result_files.network(first),
            f"{first['parameters']:,}",
            _millions(first["multiply_adds"]),
        ]
    if len(found) < 2:
        return ""
    head = ("network", "layers", "parameters", "multiply-adds")
    return markdown(head, found.values())


def plain(score: Result) -> float:
    """The mean accuracy of a score's networks, alone and without TTA."""
    return statistics.fmean(m["plain"]["accuracy"] for m in score["members"])


def scores_effects(results: Sequence[Result]) -> str:
    """A row per way of scoring, beside the same networks without it."""
    rows = []
    for group in grouped(r for r in results if r["kind"] == "score"):
        first = group[0]
        count, versions = len(first["members"]), first["tta"]["versions"]
        way = [f"ensembles of {count}"] * (count > 1)
        way += [f"--tta={versions}"] * (versions > 1)
        own = label(changes(first, _own(first)))
        rows.append(
            [
                f"{title(first)}, {own}",
                ", ".join(way),
                protocol(first),
                "; ".join(_seeds(score) for score in group),
                spread([plain(score) for score in group]),
                spread(accuracies(group, "test")),
                effect([s["test"]["accuracy"] - plain(s) for s in group]),
            ]
        )
    if not rows:
        return ""
    head = ("networks", "scored by", "protocol", "seeds", "without, test %")
    return markdown([*head, "with, test %", "Δ test, points"], rows)


def _seeds(score: Result) -> str:
    return "+".join(map(str, result_files.seeds(score)))


def about(folder: pathlib.Path) -> dict[str, Any]:
    """What a person wrote of an experiment: all of it may be missing.

    Raises:
      ResultError: it has other fields than question, conclusion, baseline.
    """
    path = folder / result_files.ABOUT
    if not path.is_file():
        return {}
    try:
        written = json.loads(path.read_text("utf-8"))
        kinds = {"question": str, "conclusion": str, "baseline": dict}
        for name, value in written.items():
            if not isinstance(value, kinds[name]):
                raise ValueError(f"{name}: {value!r}")
    except (AttributeError, KeyError, ValueError) as error:
        raise ResultError(
            f"{path}: expected question and conclusion, texts, and baseline,"
            f" settings, came {error}"
        ) from None
    return written


def experiment(
    root: pathlib.Path, name: str, results: Mapping[str, Result]
) -> str:
    """All that is known of an experiment."""
    folder = f"{EXPERIMENTS}/{name}"
    found, written = in_folder(results, folder), about(root / folder)
    parts = [
        written.get("question", ""),
        runs_effects(found, written.get("baseline", {})),
        scores_effects(found),
        networks(found),
        trials(root / folder / result_files.TRIALS),
        written.get("conclusion", ""),
    ]
    return "\n\n".join(part for part in parts if part)


def trials(path: pathlib.Path) -> str:
    """Trials outside of the package, by their own columns."""
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    for row in rows:
        if len(row) != len(head):
            raise ResultError(
                f"{path}: expected rows of {len(head)} cells, came {row}"
            )
    return markdown(head, rows)


def names(root: pathlib.Path) -> list[str]:
    """Of the experiments."""
    folder = root / EXPERIMENTS
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def documented_and_quick(results: Mapping[str, Result]) -> list[Result]:
    """What the README shows."""
    return [*in_folder(results, RUNS), *in_folder(results, QUICK)]


def whole_text(root: pathlib.Path, results: Mapping[str, Result]) -> str:
    """What results/README.md says."""
    shown = documented_and_quick(results)
    parts = [
        "# Results",
        "<!-- Made by `python tools/results.py table`; no number is typed. -->",
        "Every number here is computed from the JSON files beside this one, a"
        "\nfile per run: recipe, protocol, seed, versions, hardware, commit,"
        "\nhistory. Accuracies in percent, ± their standard deviation over"
        " seeds;\nΔ are mean differences of pairs of one seed in percentage"
        " points, with\ntheir 95 % interval by Student's t, not corrected for"
        " how many there are.\nA commit with + was trained with changes to"
        " the package.",
        "## Recipes",
        runs_table(shown),
        "## Each run",
        every_run(shown),
        "## Experiments",
        "Validation images chose; the test set is given beside them and chose"
        "\nnothing, except where the protocol says so.",
    ]
    for name in names(root):
        parts += [f"### {name}", experiment(root, name, results)]
    if not names(root):
        parts.append("None yet.")
    return "\n\n".join(part for part in parts if part) + "\n"


def replaced(text: str, table: str) -> str:
    """A README with the table between its two markers.

    Raises:
      ResultError: the markers are not there once each, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before + after:
        raise ResultError(f"README: expected {BEGIN} and {END}, once each")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
