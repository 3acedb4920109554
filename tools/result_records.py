"""One result of results/: what its JSON holds, and where the figures come from.

A result describes one run (kind "run"), or finished networks that were scored
in another way than their runs scored them: with test-time augmentation or as
an ensemble. The networks of a "score" differ by seed only. An "ensemble" has
networks that differ by more, and holds a score of each network alone.
Accuracies are shares, times are in seconds, and a history has one number per
epoch. A result holds no path of a machine.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mnistpipe import safejson
from mnistpipe.data import files
from mnistpipe.errors import UserError
from mnistpipe.networks import layers, networkfile
from mnistpipe.recipes import Interval
from mnistpipe.runs import finished
from mnistpipe.runs.record import Count, Hardware, Provenance, RunRecord, Share

# Options that only say where and when a run happens. The seed is stored apart.
_WHERE = {"data", "run_dir", "resume", "save_every", "verbose", "seed"}
_WHERE |= {"evaluate_test", "watch_test"}
# Options that change a result by rounding only.
_ROUNDING = {"input", "jit_compile", "steps_per_execution", "strategy"}
# Fields of a record that a result holds under the same names.
_COMMON = {"arch", "protocol", "selected_on_test", "parameters", "recipe"}
_COMMON |= {"train_examples", "validation_examples", "commits", "versions"}
_COMMON |= {"hardware"}
_OF_RUN = {"seed", "epochs_run", "weights", "best_epoch", "fit_seconds"}
_OF_RUN |= {"input", "resumed_at_steps", "history"}
_OF_SCORE = {"test", "tta", "members"}
KINDS = ("run", "score", "ensemble")
MAX_BYTES = 1 << 26
_COUNTS = ("accuracy", "correct", "examples")
_DATA = ("name", "fingerprint", "test_fingerprint")
_SHAPING = ("conv", "dense", "pool", "global", "flatten")


class ResultError(UserError):
    """A result that is refused; the message is one line."""


@dataclasses.dataclass(frozen=True)
class TestScore:
    """How many test images were recognised."""

    accuracy: Share
    correct: Count
    examples: Annotated[int, Interval(1, 2**63 - 1)]

    def __post_init__(self) -> None:
        """Raises ValueError if the accuracy contradicts the counts."""
        if self.accuracy != self.correct / self.examples:
            raise ValueError(
                f"accuracy: expected {self.correct} / {self.examples}, got"
                f" {self.accuracy}"
            )

    @property
    def wrong(self) -> int:
        """The number of test images that were not recognised."""
        return self.examples - self.correct


@dataclasses.dataclass(frozen=True)
class Tta:
    """Test-time augmentation: versions of each image, and their seed."""

    versions: Annotated[int, Interval(1, 2**31)]
    seed: Count


@dataclasses.dataclass(frozen=True)
class Member:
    """One network of a score.

    Attributes:
      result: the name of its run's result.
      seed: the run's seed.
      plain: what the run scored.
      alone: what the network scores alone, with test-time augmentation.
      commits: of the training, as in the run's record, like the following.
      versions: of the packages, by name.
      hardware: of the machine.
    """

    result: str
    seed: Count
    plain: TestScore
    alone: TestScore
    commits: tuple[str, ...]
    versions: Mapping[str, str]
    hardware: Hardware


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRecord(Provenance):
    """A score of networks that differ by seed only."""

    test: TestScore
    tta: Tta
    members: tuple[Member, ...]


@dataclasses.dataclass(frozen=True)
class EnsembleRecord:
    """A score of networks that differ by more than the seed.

    Attributes:
      test: what the networks score together.
      networks: what each network scores alone, as results of kind "score".
    """

    test: TestScore
    networks: "tuple[Result, ...]"

    @property
    def selected_networks(self) -> int:
        """The number of networks that the test images can have influenced."""
        return sum(one.record.test_set_chose for one in self.networks)


Record = RunRecord | ScoreRecord | EnsembleRecord


@dataclasses.dataclass(frozen=True)
class Result:
    """The JSON of a result, and the record that the JSON describes."""

    content: Mapping[str, Any]
    record: Record

    @property
    def seeds(self) -> list[int]:
        """The seed of the run, or of each network that was scored."""
        if isinstance(self.record, EnsembleRecord):
            return [seed for one in self.record.networks for seed in one.seeds]
        if isinstance(self.record, ScoreRecord):
            return [member.seed for member in self.record.members]
        return [self.record.seed]

    @property
    def tta_versions(self) -> int:
        """The number of versions of each test image that were averaged."""
        if isinstance(self.record, EnsembleRecord):
            return self.record.networks[0].tta_versions
        is_score = isinstance(self.record, ScoreRecord)
        return self.record.tta.versions if is_score else 1

    def accuracy(self, name: str) -> float | None:
        """The accuracy on the test or validation images, if measured."""
        return (self.content.get(name) or {}).get("accuracy")

    @property
    def network(self) -> str:
        """The layers that shape the network of a run or score, in one line."""
        texts = [row[0] for row in self.content["layers"]]
        return ", ".join(t for t in texts if t.split()[0] in _SHAPING)

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """What changes a run or score of one seed by more than rounding."""
        recipe, options = self.record.recipe, self.record.options
        unused = _WHERE | _ROUNDING | {*recipe.unused_fields()}
        if options.validation != "split":
            unused.add("validation_size")
        values = dataclasses.asdict(recipe) | dataclasses.asdict(options)
        return {
            "network": self.network,
            "data": self.record.data.name,
            "data_fingerprint": self.record.data.fingerprint,
            **{name: v for name, v in values.items() if name not in unused},
        }

    @functools.cached_property
    def identity(self) -> str:
        """A text that is the same for results that should be averaged."""
        if isinstance(self.record, EnsembleRecord):
            pairs = [(one.identity, one.seeds) for one in self.record.networks]
            return json.dumps(sorted(pairs))
        own: dict[str, Any] = {"settings": self.settings}
        if isinstance(self.record, ScoreRecord):
            own |= {"tta": self.record.tta.versions, "of": len(self.seeds)}
        return json.dumps(own, sort_keys=True)

    @property
    def stem(self) -> str:
        """The name of the file, without .json.

        The name ends with a hash of the settings and seeds, not of figures:
        there is one file for one question.
        """
        tta = f"-tta{self.tta_versions}"
        if isinstance(self.record, EnsembleRecord):
            asked = sorted(one.stem for one in self.record.networks)
            return f"ensemble{len(asked)}{tta}-{_digest(asked)}"
        if isinstance(self.record, ScoreRecord):
            return self._stem(tta, {"tta": self.content["tta"]})
        return self.stem_of_run

    @property
    def stem_of_run(self) -> str:
        """The stem of the run's result, if the result has one seed."""
        return self._stem("", {})

    def _stem(self, end: str, more: Mapping[str, Any]) -> str:
        names = ("recipe", "options", "layers", "data")
        asked = {name: self.content[name] for name in names}
        asked |= {"seeds": self.seeds, **more}
        ends = sorted({min(self.seeds), max(self.seeds)})
        mark = f"seed{'to'.join(map(str, ends))}{end}"
        protocol = self.record.options.validation
        return f"{self.record.arch}-{protocol}-{mark}-{_digest(asked)}"


def _digest(asked: Any) -> str:
    text = json.dumps(asked, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:10]


def decode(
    content: Any, name: str = "result", kinds: Sequence[str] = KINDS
) -> Result:
    """Returns the result that parsed JSON describes.

    Recipe fields that are newer than the result are off.

    Raises:
      ResultError: one line that begins with `name`: a field has a wrong type,
        or is out of range.
    """
    kind = content.get("kind") if isinstance(content, dict) else None
    try:
        if kind not in kinds:
            raise ValueError(
                f"kind: expected {' or '.join(kinds)}, got {kind!r:.80}"
            )
        if kind != "ensemble":
            _check_layers(content.get("layers"))
        record = _RECORDS[kind](content)
    except ValueError as error:
        raise ResultError(f"{name}: {error}") from None
    return Result(content, record)


def _check_layers(rows: Any) -> None:
    if not isinstance(rows, list) or any(
        not isinstance(row, list) or [*map(type, row)] != [str, int, int]
        for row in rows
    ):
        raise ValueError(
            "layers: expected rows of a text, parameters and multiply-adds,"
            f" got {rows!r:.80}"
        )


def _run(content: Mapping[str, Any]) -> RunRecord:
    given = {
        **_with_seed(content, content.get("seed")),
        "interrupted": not safejson.decode(
            bool, content.get("finished"), "finished"
        ),
        "duration_seconds": content.get("seconds"),
    }
    if content.get("test") is not None:
        test = safejson.decode(TestScore, content["test"], "test")
        given |= {f"test_{name}": getattr(test, name) for name in _COUNTS}
    return RunRecord.from_json(given)


def _score(content: Mapping[str, Any]) -> ScoreRecord:
    members = content.get("members")
    seeds = [
        member.seed
        for member in safejson.decode(tuple[Member, ...], members, "members")
    ]
    if not seeds:
        raise ValueError("members: expected at least one, got none")
    return ScoreRecord.from_json(_with_seed(content, seeds[0]))


def _ensemble(content: Mapping[str, Any]) -> EnsembleRecord:
    networks = content.get("networks")
    if not isinstance(networks, list) or not networks:
        raise ValueError(f"networks: expected scores, got {networks!r:.80}")
    return EnsembleRecord(
        safejson.decode(TestScore, content.get("test"), "test"),
        tuple(
            decode(one, f"networks[{number}]", ("score",))
            for number, one in enumerate(networks)
        ),
    )


_RECORDS = {"run": _run, "score": _score, "ensemble": _ensemble}


def _with_seed(content: Mapping[str, Any], seed: Any) -> dict[str, Any]:
    """Puts the seed where a run's record has it: with the other options."""
    options = content.get("options")
    if isinstance(options, dict):
        options = {**options, "seed": seed}
    return {**content, "seed": seed, "options": options}


def describe(
    record: RunRecord | ScoreRecord, rows: Sequence[Sequence[str | int]]
) -> dict[str, Any]:
    """Returns the JSON of a result, which `decode` reads.

    Args:
      record: what is described.
      rows: for each layer a text, its parameters and its multiply-adds.
    """
    facts, is_run = record.to_json(), isinstance(record, RunRecord)
    kept = _COMMON | (_OF_RUN if is_run else _OF_SCORE)
    content = {
        "kind": "score",
        **{name: value for name, value in facts.items() if name in kept},
        "multiply_adds": sum(row[2] for row in rows),
        "data": {name: facts["data"][name] for name in _DATA},
        "options": {
            name: value
            for name, value in facts["options"].items()
            if name not in _WHERE
        },
        "layers": rows,
    }
    if not is_run:
        return content
    content |= {
        "kind": "run",
        "finished": not record.interrupted,
        "seconds": record.duration_seconds,
        "test": None,
        "validation": None,
    }
    if record.test_accuracy is not None:
        content["test"] = {name: facts[f"test_{name}"] for name in _COUNTS}
    figures, epoch = record.history.get("val_accuracy"), record.judged_epoch
    if figures and epoch is not None:
        examples = record.validation_examples
        content["validation"] = {
            "accuracy": figures[epoch],
            "examples": examples,
        }
    return content


def from_run(path: str, commit: str = "") -> Result:
    """Reads the result of a run from the run's folder.

    Args:
      path: the folder. A run that Ctrl-C or SIGTERM ended has results too.
      commit: the commit that trained, for a run that could not record it.

    Raises:
      UserError: the folder has no run, or a figure is missing.
    """
    run = finished.read(path)
    record, saved = run.record, networkfile.read(run.network)
    if commit and not record.commits:
        record = dataclasses.replace(record, commits=(commit,))
    # The saved network counts: its architecture may have changed since then.
    shaped = layers.infer_shapes(
        [one for one, _ in saved.layers], saved.sizes.shape
    )
    rows = [[text_of(s.layer), s.parameters, s.multiply_adds] for s in shaped]
    return decode(json.loads(json.dumps(describe(record, rows))), path)


def text_of(layer: layers.Layer) -> str:
    """Describes a layer in a few words, such as "conv 3x3 32 valid"."""
    match layer:
        case layers.Conv(kernel_size=size, strides=strides, dilation_rate=rate):
            text = f"conv {size}x{size} {layer.filters}"
            text += f" stride {strides}" * (strides > 1)
            text += f" dilated {rate}" * (rate > 1)
            return text + " valid" * (layer.padding == "valid")
        case layers.Dense(units=units):
            return f"dense {units}"
        case layers.Dropout(rate=rate):
            return f"dropout {rate}"
        case layers.Activation(activation=activation):
            return activation
    names = {
        layers.BatchNorm: "norm",
        layers.MaxPool: "pool",
        layers.GlobalPool: "global pool",
        layers.Flatten: "flatten",
    }
    return names[type(layer)]


def from_evaluation(path: str) -> Result:
    """Reads the result of an evaluation from its JSON and its runs' folders.

    Raises:
      UserError: the file is no evaluation, a run's folder is gone, or the
        runs cannot be compared with the evaluation.
    """
    scored = files.read_object(pathlib.Path(path), "an evaluation", MAX_BYTES)
    wanted = {"members", "tta", "test", "versions", "hardware", *_COUNTS}
    if missing := sorted(wanted - {*scored}):
        raise ResultError(
            f"{path}: expected what evaluate --json prints, got JSON without"
            f" {', '.join(missing)}"
        )
    _check_evaluation(scored, path)
    runs = [from_run(member["run"]) for member in scored["members"]]
    for run in runs:
        own = run.record.data.test_fingerprint
        if not run.content["test"] or own != scored["test"]["fingerprint"]:
            raise ResultError(
                f"{path}: expected runs that were scored on this test set, got"
                f" {run.stem}"
            )
    members = [
        {
            "result": run.stem,
            "plain": run.content["test"],
            "alone": _counts(member),
            **{
                name: run.content[name]
                for name in ("seed", "commits", "versions", "hardware")
            },
        }
        for run, member in zip(runs, scored["members"], strict=True)
    ]
    if all(run.settings == runs[0].settings for run in runs):
        members.sort(key=lambda member: member["seed"])
        return decode(_scored(scored, runs[0], _counts(scored), members), path)
    networks = [
        _scored(scored, run, member["alone"], [member])
        for run, member in zip(runs, members, strict=True)
    ]
    content = {
        "kind": "ensemble",
        "test": _counts(scored),
        "networks": sorted(networks, key=lambda one: decode(one, path).stem),
    }
    return decode(content, path)


def _check_evaluation(scored: Mapping[str, Any], path: str) -> None:
    members, test = scored["members"], scored["test"]
    names = {"run", *_COUNTS}
    if (
        not isinstance(members, list)
        or not members
        or not all(isinstance(one, dict) and names <= {*one} for one in members)
        or not all(isinstance(one["run"], str) for one in members)
        or not isinstance(test, dict)
        or "fingerprint" not in test
    ):
        raise ResultError(
            f"{path}: expected what evaluate --json prints, got other members"
            " or another test"
        )


def _counts(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in _COUNTS}


def _scored(
    scored: Mapping[str, Any],
    run: Result,
    test: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns the JSON of kind "score" for networks like that of `run`."""
    shared = _COMMON | {"multiply_adds", "data", "options", "layers"}
    return {
        **{n: v for n, v in run.content.items() if n in shared},
        "kind": "score",
        "test": test,
        "tta": scored["tta"],
        "members": members,
        "commits": scored.get("commits", []),
        "versions": scored["versions"],
        "hardware": scored["hardware"],
    }
