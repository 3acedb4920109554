"""results/: no file lacks its protocol, no table differs from the files."""

import copy
import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest
import scoring_helpers
from scipy import stats

from mnistpipe import data, evaluate, recipes
from mnistpipe.networks import architectures
from mnistpipe.recipes import flagfiles

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import result_files  # noqa: E402
import result_records  # noqa: E402
import result_tables  # noqa: E402
from result_records import ResultError, decode  # noqa: E402

import results  # noqa: E402

MNIST = "0ca25098011d851a9c1e34617f769a224ad1d0376acfbdabfc4476287a2eaa85"
NETWORKS = ROOT / "results" / result_files.NETWORKS
FILES = sorted(
    path
    for path in (ROOT / "results").rglob("*.json")
    if NETWORKS not in path.parents
)


def a_run(
    arch="wide900k",
    *,
    seed=0,
    correct=9960,
    val=0.99,
    epochs_run=None,
    protocol="split",
    options=(),
    **recipe,
):
    """A sound result; `recipe` are changes to the architecture's own."""
    recipe = recipes.recipe_for(arch).replace(**recipe)
    finished = epochs_run is None
    epochs = recipe.epochs if finished else epochs_run
    held_out = {"split": 5000, "none": 0, "test": 10_000}[protocol]
    history = {"loss": [0.5] * epochs}
    if held_out and epochs:
        history["val_accuracy"] = [0.5] * (epochs - 1) + [val]
    best = recipe.checkpoint == "best" and bool(held_out)
    parameters = architectures.parameters(recipe)
    kept = {
        "train_examples": 0,
        "validation": protocol,
        "validation_size": 5000,
        "input": "auto",
        **dict(options),
    }
    return {
        "kind": "run",
        "arch": arch,
        "protocol": protocol,
        "selected_on_test": protocol == "test",
        "seed": seed,
        "finished": finished,
        "epochs_run": epochs,
        "test": {
            "accuracy": correct / 10_000,
            "correct": correct,
            "examples": 10_000,
        }
        if finished
        else None,
        "validation": {"accuracy": val, "examples": held_out}
        if held_out and epochs
        else None,
        "weights": "best.keras" if best else "last.keras",
        "best_epoch": epochs - 1 if best else None,
        "parameters": parameters,
        "multiply_adds": 12_345_678,
        "train_examples": kept["train_examples"] or 60_000 - held_out,
        "validation_examples": held_out,
        "data": {
            "name": "mnist",
            "fingerprint": MNIST,
            "test_fingerprint": "t",
        },
        "seconds": 100.0,
        "fit_seconds": 90.0,
        "input": "host",
        "resumed_at_steps": [],
        "commits": ["0123456789" * 4],
        "versions": dict.fromkeys(
            ("mnistpipe", "python", "tensorflow", "keras", "numpy"), "1.0"
        ),
        "hardware": {"cpu": "an abacus", "cores": 2, "gpus": []},
        "recipe": dataclasses.asdict(recipe),
        "options": kept,
        "layers": [["conv 5x5 32", parameters, 12_345_678]],
        "history": history,
    }


def a_score(run, *, correct, tta=1, others=()):
    """A score of networks, with test-time augmentation or as an ensemble."""
    runs = [run, *others]
    of_runs = (
        *("kind", "seed", "finished", "epochs_run", "validation", "weights"),
        *("best_epoch", "seconds", "fit_seconds", "input", "history"),
        "resumed_at_steps",
    )
    count = {
        "accuracy": correct / 10_000,
        "correct": correct,
        "examples": 10_000,
    }
    return {
        **{name: v for name, v in run.items() if name not in of_runs},
        "kind": "score",
        "test": count,
        "tta": {"versions": tta, "seed": 0},
        "members": [
            {
                "result": decode(one).stem,
                "seed": one["seed"],
                "plain": one["test"],
                "alone": count,
                **{n: one[n] for n in ("commits", "versions", "hardware")},
            }
            for one in runs
        ],
    }


def an_ensemble(*scores, correct=9980):
    """A score of networks of several recipes, each of which has a score."""
    return {
        "kind": "ensemble",
        "test": {
            "accuracy": correct / 10_000,
            "correct": correct,
            "examples": 10_000,
        },
        "networks": sorted(scores, key=lambda score: decode(score).stem),
    }


def two_recipes(tta=10):
    """An ensemble that the test set did not choose: pool2m is not selected."""
    wide, pool = a_run(correct=9958), a_run("pool2m", protocol="test")
    return an_ensemble(
        a_score(wide, correct=9964, tta=tta),
        a_score(pool, correct=9971, tta=tta),
    )


def changed(result, field, value):
    """A copy with another value; `field` is a path with dots."""
    result = part = copy.deepcopy(result)
    *parents, name = [int(k) if k.isdigit() else k for k in field.split(".")]
    for parent in parents:
        part = part[parent]
    part[name] = value
    return result


def place(result, folder="runs"):
    return f"{folder}/{decode(result).stem}.json"


def add(result, root, experiment=""):
    return result_files.add(decode(result), root, experiment)


def read(root):
    """The files' content by place."""
    return {k: v.content for k, v in result_files.read(root).items()}


def added(root, *some, experiment=""):
    for result in some:
        add(result, root, experiment)
    return read(root)


def decoded(*some):
    return [decode(result) for result in some]


# The files that are there


def test_no_result_lacks_its_protocol():
    """Read on its own, not by the tool that wrote them."""
    for path in FILES:
        if path.name == "about.json":
            continue
        content = json.loads(path.read_text("utf-8"))
        for result in content.get("networks", [content]):
            assert result["protocol"] in ("split", "none", "test"), path
            assert result["protocol"] == result["options"]["validation"], path
            selected = result["protocol"] == "test"
            assert result["selected_on_test"] is selected, path
            assert result["versions"]["tensorflow"], path
            assert result["hardware"]["cpu"], path
            assert isinstance(result["commits"], list), path
            if result["kind"] == "run":
                assert isinstance(result["seed"], int), path
                assert {"loss"} <= result["history"].keys(), path
            for count in [result["test"]] * bool(result["test"]):
                expected = count["correct"] / count["examples"]
                assert count["accuracy"] == expected, path


def test_each_result_is_sound():
    result_files.read(ROOT / "results")


def test_recipes_results_are_of_the_networks_that_are_there():
    found = result_files.read(ROOT / "results")
    kinds = {
        (r.record.recipe.arch, r.record.recipe.stem): r
        for r in result_tables.documented_and_quick(found)
    }
    for (arch, stem), result in kinds.items():
        recipe = recipes.RECIPES[arch].replace(stem=stem)
        shaped = architectures.infer_shapes(recipe)
        for name in ("parameters", "multiply_adds"):
            assert result.content[name] == sum(
                getattr(one, name) for one in shaped
            )


def test_best_cfg_is_what_its_results_trained():
    """Paired seeds of each budget, and no other value differs."""
    file = flagfiles.read(str(ROOT / "flags" / "best.cfg"))
    assert architectures.parameters(file[0]) <= 500_000
    trained = {}
    for path in sorted((ROOT / "results/experiments/best").glob("*-seed*")):
        record = decode(json.loads(path.read_text("utf-8"))).record
        assert record.recipe.replace(epochs=file[0].epochs) == file[0], path
        assert record.options.validation == file[1].validation == "none"
        trained.setdefault(record.recipe.epochs, []).append(record.seed)
    assert {*trained} == {5, 15, 50}
    for epochs, seeds in trained.items():
        assert sorted(seeds) in ([0, 1], [0, 1, 2]), epochs
    assert len(trained[50]) == 3
    assert file[0].epochs == 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "run", sorted(NETWORKS.iterdir()), ids=lambda path: path.name
)
def test_a_kept_network_scores_what_its_result_says(run):
    """Another processor rounds differently, so one answer may differ."""
    status, out, err = scoring_helpers.call(evaluate, f"--run={run}", "--json")
    assert status == 0, err
    (result,) = (ROOT / "results" / "runs").glob(f"{run.name}-*.json")
    wanted = json.loads(result.read_text("utf-8"))["test"]["correct"]
    assert abs(json.loads(out)["correct"] - wanted) <= 1


def test_the_tables_are_up_to_date():
    old = results.outdated(ROOT)
    assert not old, f"python tools/results.py table would change {old}"


# What is no result


def test_the_embedded_data_are_known_by_their_fingerprint():
    assert data.load().fingerprint == MNIST


@pytest.mark.parametrize("protocol", ["split", "none", "test"])
@pytest.mark.parametrize("arch", recipes.ARCHS)
def test_a_sound_result_is_taken(arch, protocol):
    result = a_run(arch, protocol=protocol)
    folder = "runs" if arch in recipes.DOCUMENTED else "quick"
    assert result_files.folder_for(decode(result)) == folder
    result_files.check(result, place(result, folder))


@pytest.mark.parametrize("field", a_run().keys())
def test_no_field_may_be_missing(field):
    result = a_run()
    where = place(result)
    del result[field]
    with pytest.raises(ResultError, match=r"^runs/[^:]*: .*expected .*got"):
        result_files.check(result, where)


BAD = {
    "protocol": [
        ("protocol", "none"),
        ("protocol", "some"),
        ("protocol", None),
    ],
    "selection": [("selected_on_test", True)],
    "accuracy": [("test.accuracy", 0.9961), ("test.correct", 9961)],
    "no number": [("test.accuracy", float("nan")), ("seconds", float("inf"))],
    "type": [("seed", True), ("seed", "1"), ("best_epoch", 1.5)],
    "parameters": [("parameters", 887_531), ("multiply_adds", 1)],
    "layers": [("layers", [["conv 5x5 32", 5, 12_345_678]])],
    "history": [("epochs_run", 29), ("history", {}), ("history.loss", [0.5])],
    "finished": [("finished", False)],
    "validation": [("validation", None), ("validation.accuracy", 0.98)],
    "held out": [("validation_examples", 4000), ("train_examples", "all")],
    "path": [
        ("hardware.cpu", "/home/a/cpu"),
        ("data.name", "~/mnist"),
        ("input", r"C:\mnist"),
        ("versions.keras", "from /opt/keras"),
    ],
    "commit": [("commits", ["abc"]), ("commits", "abc")],
    "versions": [("versions", {"tensorflow": "1"})],
    "recipe": [("recipe.arch", "pool2m"), ("recipe.epochs", -1)],
    "unknown": [("run_dir", "x"), ("options.colour", 1), ("data.path", "x")],
}


@pytest.mark.parametrize(
    ("field", "value"), [case for cases in BAD.values() for case in cases]
)
def test_a_result_that_contradicts_itself_is_refused(field, value):
    where = place(a_run())
    with pytest.raises(ResultError, match=r"^runs/[^:]*: .*expected .*got"):
        result_files.check(changed(a_run(), field, value), where)


BAD_ENSEMBLE = {
    "kind": [("kind", "score"), ("kind", "run"), ("networks.0.kind", "run")],
    "networks": [
        ("networks", []),
        ("networks", {}),
        ("networks.0", None),
        ("networks.0", "score"),
        ("networks.0.layers", [1]),
    ],
    "nested": [("networks.0", two_recipes())],
    "accuracy": [("test.accuracy", 0.9981), ("test.correct", 9981)],
    "alone": [
        ("networks.0.test.correct", 9999),
        ("networks.0.members.0.alone.correct", 9999),
        (
            "networks.0.test",
            {"accuracy": 1.0, "correct": 10_000, "examples": 10_000},
        ),
    ],
    "plain": [("networks.1.members.0.plain.correct", 9999)],
    "examples": [
        ("test", {"accuracy": 0.5, "correct": 50, "examples": 100}),
    ],
    "protocol": [
        ("networks.0.protocol", "none"),
        ("networks.0.selected_on_test", False),
    ],
    "recipe": [
        ("networks.0.arch", "wide900k"),
        ("networks.0.recipe.checkpoint", "best"),
        ("networks.0.parameters", 1),
    ],
    "one network": [("networks.0.members", two_recipes()["networks"])],
    "seed": [("networks.1.members.0.seed", 1)],
    "result": [("networks.1.members.0.result", "wide900k-split-seed0")],
    "evaluation": [
        ("networks.1.tta.versions", 11),
        ("networks.1.tta.seed", 1),
        ("networks.1.commits", []),
        ("networks.1.hardware.cores", 3),
        ("networks.1.versions.keras", "2.0"),
    ],
    "test set": [("networks.1.data.test_fingerprint", "another")],
    "path": [("networks.0.hardware.cpu", "/home/a/cpu")],
    "unknown": [("run_dir", "x"), ("test.x", 1), ("networks.0.run_dir", "x")],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [case for cases in BAD_ENSEMBLE.values() for case in cases],
)
def test_an_ensemble_that_contradicts_itself_is_refused(field, value):
    sound = two_recipes()
    where = place(sound, "experiments/many")
    result_files.check(sound, where)
    words = r"^experiments/many/[^:]*: .*expected .*got"
    with pytest.raises(ResultError, match=words):
        result_files.check(changed(sound, field, value), where)


@pytest.mark.parametrize("field", two_recipes().keys())
def test_no_field_of_an_ensemble_may_be_missing(field):
    result = two_recipes()
    where = place(result, "experiments/many")
    del result[field]
    with pytest.raises(ResultError, match=r"^experiments/[^:]*: .*expected"):
        result_files.check(result, where)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([a_run(), a_run(seed=1)], "several recipes"),
        (
            [a_run(), a_run(options={"input": "device"}), a_run("pool2m")],
            "same recipe and seed: .*got .'wide900k-split-seed0",
        ),
    ],
)
def test_an_ensemble_has_different_networks(tmp_path, runs, words):
    scores = [a_score(run, correct=9960) for run in runs]
    with pytest.raises(ResultError, match=words):
        add(an_ensemble(*scores), tmp_path, "many")


def test_a_file_has_the_name_of_its_content(tmp_path):
    result = a_run()
    added(tmp_path, result)
    (file,) = tmp_path.rglob("*.json")
    file.rename(file.with_name("wide900k-split-seed0-0123456789.json"))
    with pytest.raises(ResultError, match="expected file runs/wide900k"):
        result_files.read(tmp_path)


def test_a_file_elsewhere_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ResultError, match="one elsewhere"):
        result_files.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 29}, r"epochs=29 \(the recipe has 30\)"),
        ({"options": {"train_examples": 500}}, "train_examples=500"),
    ],
)
def test_what_is_not_as_documented_is_an_experiment(tmp_path, changes, words):
    result = a_run(**changes)
    with pytest.raises(ResultError, match=f"experiment: .*{words}"):
        add(result, tmp_path)
    line = add(result, tmp_path, "short")
    assert line == f"{place(result, 'experiments/short')} written"
    # Nor by hand.
    (tmp_path / "runs").mkdir()
    (file,) = tmp_path.rglob("*.json")
    file.rename(tmp_path / "runs" / file.name)
    with pytest.raises(ResultError, match="expected --experiment=NAME"):
        result_files.read(tmp_path)


def test_other_data_are_an_experiment(tmp_path):
    result = a_run()
    result["data"] = {**result["data"], "fingerprint": "f", "name": "mnist"}
    with pytest.raises(ResultError, match="not MNIST"):
        add(result, tmp_path)


def test_another_stem_is_as_documented():
    result = a_run("strided400k", stem="3x3")
    assert result_files.folder_for(decode(result)) == "runs"


@pytest.mark.parametrize("name", ["../x", "A", "a/b", " "])
def test_an_experiment_has_a_plain_name(tmp_path, name):
    with pytest.raises(ResultError, match="experiment: expected a name"):
        add(a_run(), tmp_path, name)


# Writing


def test_a_file_is_what_was_measured(tmp_path):
    result = a_run()
    assert added(tmp_path, result) == {place(result): result}


def test_the_same_again_changes_nothing(tmp_path):
    added(tmp_path, a_run())
    assert add(a_run(), tmp_path).endswith("is there already")
    assert len(list(tmp_path.rglob("*.json"))) == 1


@pytest.mark.parametrize(
    "other",
    [
        a_run(correct=9970),
        {**a_run(), "seconds": 99.0},
        # On another path, which decides no more than the rounding.
        a_run(correct=9970, options={"input": "device"}),
    ],
)
def test_another_result_is_never_overwritten(tmp_path, other):
    added(tmp_path, a_run())
    with pytest.raises(ResultError, match="not there yet, got another"):
        add(other, tmp_path)
    assert read(tmp_path) == {place(a_run()): a_run()}


def test_the_end_of_a_run_takes_the_place_of_its_beginning(tmp_path):
    begun = a_run(epochs_run=3)
    begun["history"]["val_accuracy"] = [0.5] * 3
    begun["validation"]["accuracy"] = 0.5
    added(tmp_path, begun)
    stranger = a_run()
    stranger["history"]["loss"][0] = 0.4
    with pytest.raises(ResultError, match="different in"):
        add(stranger, tmp_path)
    assert added(tmp_path, a_run()) == {place(a_run()): a_run()}
    with pytest.raises(ResultError, match="different in"):
        add(begun, tmp_path)


def test_other_seeds_and_recipes_have_their_own_files(tmp_path):
    some = [
        a_run(seed=s, protocol=p) for s in (0, 1) for p in ("split", "none")
    ]
    assert len(added(tmp_path, *some)) == 4


def test_a_seed_counts_once(tmp_path):
    """Two files of one question would count twice in a mean."""
    one, two = a_run(), a_run(options={"input": "device"})
    added(tmp_path, one)
    (tmp_path / place(two)).write_text(result_files.text(two))
    with pytest.raises(ResultError, match="expected one result of a seed"):
        result_files.read(tmp_path)


def test_overlapping_ensembles_are_refused(tmp_path):
    runs = [a_run(seed=seed) for seed in range(4)]
    added(
        tmp_path,
        a_score(runs[0], correct=9970, others=[runs[1]]),
        a_score(runs[2], correct=9970, others=[runs[3]]),
        experiment="ensembles",
    )
    overlapping = a_score(runs[1], correct=9970, others=[runs[2]])
    with pytest.raises(ResultError, match="not there yet"):
        add(overlapping, tmp_path, "ensembles")


def test_an_ensemble_of_several_recipes_is_an_experiment(tmp_path):
    with pytest.raises(ResultError, match=r"experiment: .* a score"):
        add(two_recipes(), tmp_path)
    result = two_recipes()
    (where,) = added(tmp_path, result, experiment="many")
    assert where.startswith("experiments/many/ensemble2-tta10-")
    assert add(result, tmp_path, "many").endswith("is there already")
    with pytest.raises(ResultError, match="different in test;"):
        add(changed(result, "test", a_run()["test"]), tmp_path, "many")
    assert read(tmp_path) == {where: result}


def test_other_networks_and_versions_have_their_own_files(tmp_path):
    """Ensembles of several recipes are not averaged, so they may overlap."""
    scores = [
        a_score(a_run("wide900k", seed=seed), correct=9960) for seed in (0, 1)
    ] + [a_score(a_run("pool2m"), correct=9970)]
    some = [
        an_ensemble(*scores),
        an_ensemble(scores[0], scores[2]),
        an_ensemble(scores[1], scores[2]),
        two_recipes(tta=1),
        two_recipes(tta=10),
    ]
    assert len(added(tmp_path, *some, experiment="many")) == 5


def test_the_name_does_not_depend_on_the_order_of_the_networks():
    result = two_recipes()
    other = {**result, "networks": result["networks"][::-1]}
    assert decode(other).stem == decode(result).stem


# A run's own folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of one epoch, and what evaluate says of it."""
    folder = tmp_path_factory.mktemp("trained")
    npz = scoring_helpers.save_npz(folder / "few.npz")
    run = scoring_helpers.finished_run(
        folder / "run", npz, recipe={"epochs": 1}
    )
    status, out, err = scoring_helpers.call(
        evaluate, f"--run={run}", "--tta=3", "--json"
    )
    assert status == 0, err
    (folder / "card.json").write_text(out)
    return folder


def test_a_real_run_is_taken_without_its_paths(trained, tmp_path):
    metrics = json.loads((trained / "run" / "metrics.json").read_text())
    result = result_records.from_run(str(trained / "run"))
    with pytest.raises(ResultError, match="experiment"):
        result_files.add(result, tmp_path)
    (found,) = added(tmp_path, result.content, experiment="toy").values()
    (file,) = tmp_path.rglob("*.json")
    assert str(trained) not in file.read_text()
    assert found["test"]["accuracy"] == metrics["test_accuracy"]
    assert found["history"] == metrics["history"]
    best = metrics["history"]["val_accuracy"][metrics["best_epoch"]]
    assert found["validation"] == {"accuracy": best, "examples": 50}
    assert found["recipe"] == metrics["recipe"]
    assert found["commits"] == metrics["commits"]
    # 28 · 28 pixels to 10 classes, with biases.
    assert found["layers"] == [["flatten", 0, 0], ["dense 10", 7850, 7840]]
    assert (found["parameters"], found["multiply_adds"]) == (7850, 7840)


def test_an_evaluation_is_kept_beside_the_run_without_it(trained, tmp_path):
    metrics = json.loads((trained / "run" / "metrics.json").read_text())
    card = json.loads((trained / "card.json").read_text())
    result = result_records.from_evaluation(str(trained / "card.json"))
    (found,) = added(tmp_path, result.content, experiment="tta").values()
    (member,) = found["members"]
    assert member["plain"]["correct"] == metrics["test_correct"]
    assert found["test"]["correct"] == card["correct"]
    assert (found["protocol"], found["tta"]["versions"]) == ("split", 3)
    (group,) = result_tables.grouped([result])
    assert group.plain.item() == metrics["test_accuracy"]


def test_an_evaluation_of_several_recipes_holds_every_network(
    trained, tmp_path, capsys
):
    npz = trained / "few.npz"
    how = {"recipe": {"epochs": 1, "label_smoothing": 0.1}, "seed": 3}
    other = scoring_helpers.finished_run(tmp_path / "other", npz, **how)
    runs = (trained / "run", other)
    status, out, err = scoring_helpers.call(
        evaluate, f"--run={runs[0]},{runs[1]}", "--tta=3", "--json"
    )
    assert status == 0, err
    (tmp_path / "card.json").write_text(out)
    root, card = tmp_path / "checkout", json.loads(out)
    command = [f"--root={root}", "add", str(tmp_path / "card.json")]
    with pytest.raises(SystemExit):
        results.main(command)
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected --experiment=NAME" in line
    results.main([*command, "--experiment=many"])
    ((where, found),) = read(root / "results").items()
    assert capsys.readouterr().out == f"{where} written\n"
    text = (root / "results" / where).read_text()
    assert str(trained) not in text and str(tmp_path) not in text
    assert found["kind"] == "ensemble"
    counts = ("accuracy", "correct", "examples")
    assert found["test"] == {name: card[name] for name in counts}
    by_seed = {n["members"][0]["seed"]: n for n in found["networks"]}
    for run, member in zip(runs, card["members"], strict=True):
        metrics = json.loads((run / "metrics.json").read_text())
        network = by_seed.pop(metrics["seed"])
        assert network["test"] == {name: member[name] for name in counts}
        assert network["recipe"] == metrics["recipe"]
        assert network["tta"] == {"versions": 3, "seed": 0}
        (own,) = network["members"]
        assert own["plain"]["correct"] == metrics["test_correct"]
        assert own["result"] == result_records.from_run(str(run)).stem
    assert not by_seed


def test_what_is_no_evaluation_is_refused(trained, tmp_path):
    with pytest.raises(ResultError, match="without accuracy, correct"):
        result_records.from_evaluation(str(trained / "run" / "metrics.json"))
    card = json.loads((trained / "card.json").read_text())
    card["test"]["fingerprint"] = "another"
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ResultError, match=r"on this test set, got \w+-split"):
        result_records.from_evaluation(str(tmp_path / "card.json"))


@pytest.mark.parametrize(
    "damage",
    [
        {"members": []},
        {"members": None},
        {"members": ["a run"]},
        {
            "members": [
                {"run": None, "accuracy": 1, "correct": 1, "examples": 1}
            ]
        },
        {"members": [{"run": "runs/x"}]},
        {"test": None},
        {"test": {}},
    ],
)
def test_a_damaged_evaluation_is_refused_in_one_line(damage, trained, tmp_path):
    card = json.loads((trained / "card.json").read_text()) | damage
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(
        ResultError, match=r"card\.json: expected what evaluate"
    ):
        result_records.from_evaluation(str(tmp_path / "card.json"))


def test_layers_in_words():
    recipe = recipes.recipe_for("strided400k").replace(dropout=0.4)
    layers = architectures.describe(recipe)
    texts = [result_records.text_of(layer) for layer in layers]
    assert texts[:6] == [
        *("conv 2x2 32 dilated 2 valid", "norm", "conv 3x3 32 valid", "norm"),
        *("conv 5x5 32 stride 2", "dropout 0.4"),
    ]
    assert texts[-2:] == ["flatten", "dense 10"]


def test_recipes_results_have_the_layers_that_are_there():
    found = result_files.read(ROOT / "results")
    for result in result_tables.documented_and_quick(found):
        layers = architectures.describe(result.record.recipe)
        texts = [result_records.text_of(layer) for layer in layers]
        assert texts == [row[0] for row in result.content["layers"]]


# Figures


def test_spread_is_of_several_seeds(rng):
    shares = rng.uniform(0.99, 1, 5)
    mean, deviation = 100 * np.mean(shares), 100 * np.std(shares, ddof=1)
    assert result_tables.spread(list(shares)) == f"{mean:.3f} ± {deviation:.3f}"
    assert result_tables.spread([0.9971]) == "99.71"
    assert result_tables.spread([]) == "–"


def test_the_interval_is_that_of_a_paired_t_test(rng):
    one, two = rng.normal(0.99, 0.001, (2, 6))
    expected = stats.ttest_rel(one, two).confidence_interval(0.95)
    found = result_tables.interval(one - two)
    assert found == pytest.approx((expected.low, expected.high))
    mean = 100 * (np.mean(one) - np.mean(two))
    text = result_tables.effect(one - two)
    assert text.startswith(f"{mean:+.3f} [") and text.endswith("] (n = 6)")


def test_one_pair_has_no_interval():
    assert result_tables.effect([0.0012]) == "+0.120 (n = 1)"
    assert result_tables.effect([]) == "–"
    # t of one degree of freedom is 12.706; half of it, times 0.1.
    text = result_tables.effect([0.001, 0.002])
    assert text == "+0.150 [-0.485, +0.785] (n = 2)"


def test_pairs_are_of_one_seed():
    one = [a_run(seed=s, correct=9900 + 7 * s) for s in (3, 1, 2)]
    two = [a_run(seed=s, correct=9900) for s in (0, 1, 3)]
    two.append(a_run(seed=2, epochs_run=1))  # has no accuracy
    (one,), (two,) = (result_tables.grouped(decoded(*x)) for x in (one, two))
    found = result_tables.pairs(one, two, "test")
    assert found.to_dict() == pytest.approx({1: 0.0007, 3: 0.0021})


# Tables


def cells(table, row):
    line = table.splitlines()[2 + row]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_per_recipe_and_protocol():
    some = [a_run(seed=s, correct=c) for s, c in enumerate((9960, 9970, 9950))]
    some += [a_run(protocol="test", correct=9980), a_run("quick65k", seed=4)]
    table = result_tables.runs_table(decoded(*some))
    assert cells(table, 0) == [
        *("`wide900k`", "`split`: 5,000 held out", "99.600 ± 0.100", "3"),
        *("–", "99.63", "887,530", "12.3 million", "1 min 40 s (a)"),
    ]
    assert cells(table, 1)[1:6] == [
        *("`test`: **selected on the test set**", "–", "1"),
        *("99.00", "99.63"),
    ]
    assert cells(table, 2)[0] == "`quick65k`"
    assert cells(table, 2)[5] == "–"
    assert table.count("selected on the test set") == 1
    line = "- (a) 2 cores of an abacus; TensorFlow 1.0, Keras 1.0"
    assert table.count(line) == 1


def test_honest_and_selected_figures_are_told_apart():
    """One run gives both numbers if the test set was watched."""
    watched = a_run(correct=9950)
    watched["history"]["test_accuracy"] = [0.5, 0.9971, *[0.995] * 28]
    fixed = a_run("pool2m", protocol="test", correct=9967)
    fixed["history"]["val_accuracy"][3] = 0.9975
    table = result_tables.runs_table(decoded(watched, fixed))
    rows = {cells(table, place)[0]: cells(table, place) for place in (0, 1)}
    assert rows["`wide900k`"][2:6] == ["99.50", "1", "99.71", "99.63"]
    # A fixed schedule and the last weights: the test images chose nothing.
    assert rows["`pool2m`"][1:6] == [
        *("`test`: last weights, which nothing chose", "99.67", "1"),
        *("99.75", "99.65"),
    ]


def test_every_machine_has_its_time():
    some = [a_run(seed=0), a_run(seed=1), a_run(seed=2)]
    some[2] |= {"hardware": {"cpu": "b", "cores": 8, "gpus": ["a GPU"]}}
    some[1]["seconds"], some[2]["seconds"] = 110.0, 7.0
    table = result_tables.runs_table(decoded(*some))
    assert cells(table, 0)[-1] == "1 min 45 s (a), 7 s (b)"
    assert "- (b) a GPU, 8 cores of b; TensorFlow" in table


def test_an_unfinished_run_shows_no_accuracy():
    begun = a_run(seed=1, epochs_run=3, correct=9999, val=0.9876)
    table = result_tables.runs_table(decoded(a_run(), begun))
    assert cells(table, 0)[2:4] == ["99.60", "1"]
    assert cells(table, 1)[2:5] == [
        *("not finished: 3 of 30 epochs, validation 98.76", "seed 1", "–"),
    ]
    each = result_tables.every_run(decoded(a_run(), begun))
    assert cells(each, 1)[3:7] == ["–", "–", "98.76", "3 of 30, not finished"]


def test_an_unfinished_run_selected_on_test_says_so():
    begun = a_run(epochs_run=3, protocol="test")
    words = cells(result_tables.runs_table(decoded(begun)), 0)[2]
    assert words.endswith("validation 99.00 (test images)")


def test_stems_are_told_apart():
    some = [a_run("strided400k"), a_run("strided400k", stem="3x3")]
    table = result_tables.runs_table(decoded(*some))
    assert cells(table, 0)[0] == "`strided400k`"
    assert cells(table, 1)[0] == "`strided400k`, stem 3x3"


def test_the_effect_of_a_flag():
    some = [
        a_run("quick65k", seed=s, correct=9900 + s, val=0.990) for s in range(3)
    ] + [
        a_run("quick65k", seed=s, correct=9911 + s, val=0.992, ema_momentum=0.9)
        for s in range(3)
    ]
    table = result_tables.runs_effects(decoded(*some[::-1]), {})
    assert cells(table, 0)[0] == "`quick65k`, as the recipe"
    assert cells(table, 0)[1] == "5 × 55,000"
    assert cells(table, 0)[7:] == ["baseline", "baseline"]
    assert cells(table, 1)[0] == "`ema_momentum=0.9`"
    assert cells(table, 1)[7:] == [
        "+0.200 [+0.200, +0.200] (n = 3)",
        "+0.110 [+0.110, +0.110] (n = 3)",
    ]


def test_architectures_beside_the_one_that_is_named():
    short = {"epochs": 3, "schedule": "one_cycle", "batch_size": 128}
    some = [
        a_run(arch, correct=correct, **short)
        for arch, correct in (("pool2m", 9900), ("compact500k", 9920))
    ]
    table = result_tables.runs_effects(decoded(*some), {"arch": "compact500k"})
    assert cells(table, 0)[0] == "`arch=pool2m`"
    assert cells(table, 1)[0] == (
        "`compact500k`, `epochs=3 batch_size=128 schedule=one_cycle`"
    )
    assert cells(table, 0)[8] == "-0.200 (n = 1)"
    assert cells(table, 1)[7] == "baseline"
    with pytest.raises(ResultError, match=r"baseline: expected .* 0 have"):
        result_tables.runs_effects(decoded(*some), {"arch": "wide900k"})


def test_several_flags_on_several_architectures():
    some = [
        a_run(arch, correct=correct + 10 * bool(noise), epochs=3, noise=noise)
        for arch, correct in (("pool2m", 9900), ("compact500k", 9920))
        for noise in (0.0, 0.1)
    ]
    table = result_tables.runs_effects(decoded(*some), {})
    for first in (0, 2):
        assert cells(table, first)[7] == "baseline"
        assert "noise=0.1" in cells(table, first + 1)[0]
        assert cells(table, first + 1)[8] == "+0.100 (n = 1)"


def test_networks_of_one_name_are_told_apart():
    other = a_run(correct=9950)
    other["layers"] = [["conv 3x3 32", 887_530, 12_345_678]]
    assert len(result_tables.arms_of(decoded(a_run(), other))) == 2
    assert "`network=conv 3x3 32`" in result_tables.runs_effects(
        decoded(a_run(), other), {"network": "conv 5x5 32"}
    )
    assert "| conv 3x3 32 |" in result_tables.networks(decoded(a_run(), other))


def test_scores_beside_the_same_networks_without_them():
    runs = [a_run(seed=s, correct=9900 + 20 * s) for s in range(4)]
    some = [
        a_score(runs[0], correct=9930, others=[runs[1]]),
        a_score(runs[2], correct=9970, others=[runs[3]]),
        a_score(runs[0], correct=9905, tta=10),
    ]
    table = result_tables.scores_effects(decoded(*some))
    rows = {cells(table, n)[1]: cells(table, n) for n in range(2)}
    assert rows["--tta=10"][3:] == ["0", "99.00", "99.05", "+0.050 (n = 1)"]
    ensemble = rows["ensembles of 2"]
    assert ensemble[3] == "0+1; 2+3"
    # 99.30 - (99.00 + 99.20) / 2 and 99.70 - (99.40 + 99.60) / 2
    assert ensemble[6] == "+0.200 [+0.200, +0.200] (n = 2)"


def wilson(correct):
    """SciPy's interval, in percent."""
    found = stats.binomtest(correct, 10_000).proportion_ci(method="wilson")
    return f"[{100 * found.low:.2f}, {100 * found.high:.2f}]"


def test_an_ensemble_stands_above_its_networks():
    runs = [a_run(seed=s, correct=9950 + s) for s in (0, 1)]
    runs.append(a_run("pool2m", protocol="test", correct=9967))
    plain, more = (
        an_ensemble(
            *(
                a_score(r, correct=r["test"]["correct"] + n, tta=tta)
                for r in runs
            ),
            correct=9975 + n,
        )
        for n, tta in ((0, 1), (4, 10))
    )
    table = result_tables.ensembles(decoded(more, plain))
    head = [cell.strip() for cell in table.splitlines()[0].split("|")]
    assert head[5:8] == ["plain, test %", "honest test accuracy, %", "wrong"]
    protocols = "no network was selected on the test set"
    assert [cells(table, row) for row in range(6)] == [
        [
            *("**3 networks together**", protocols, "–", "1", "–"),
            *(f"99.75 {wilson(9975)}", "25 of 10,000"),
        ],
        [
            "`pool2m`, as the recipe",
            "`test`: last weights, which nothing chose",
            *("0", "1", "99.67", "99.67", "33"),
        ],
        [
            *("`wide900k`, as the recipe", "`split`: 5,000 held out", "0, 1"),
            *("1", "99.50, 99.51", "99.50, 99.51", "50, 49"),
        ],
        [
            *("**3 networks together**", protocols, "–", "10", "–"),
            *(f"99.79 {wilson(9979)}", "21 of 10,000"),
        ],
        [
            "`pool2m`, as the recipe",
            "`test`: last weights, which nothing chose",
            *("0", "10", "99.67", "99.71", "29"),
        ],
        [
            *("`wide900k`, as the recipe", "`split`: 5,000 held out", "0, 1"),
            *("10", "99.50, 99.51", "99.54, 99.55", "46, 45"),
        ],
    ]


def test_an_ensemble_with_a_selected_network_has_no_honest_accuracy():
    runs = [a_run(), a_run(seed=1, protocol="test")]
    result = an_ensemble(*(a_score(run, correct=9960) for run in runs))
    rows = [
        cells(result_tables.ensembles(decoded(result)), n) for n in (0, 1, 2)
    ]
    assert rows[0][1] == "**1 of 2 networks selected on the test set**"
    assert rows[0][5:] == ["–", "20 of 10,000"]
    assert rows[1][1] == "`split`: 5,000 held out"
    assert rows[2][1] == "`test`: **selected on the test set**"
    assert [row[5] for row in rows[1:]] == ["99.60", "–"]


def test_an_experiment_shows_its_ensembles(tmp_path):
    added(tmp_path, two_recipes(), experiment="many")
    text = result_tables.experiment(
        tmp_path, "many", result_files.read(tmp_path)
    )
    assert text.startswith("| networks | protocol | seeds |")
    assert text.count("networks together") == 1
    assert result_tables.ensembles(decoded(a_run())) == ""


# The files that are made


@pytest.fixture
def checkout(tmp_path):
    """A README with markers, and some results of each kind."""
    head, begin, end = "# a\n", result_tables.BEGIN, result_tables.END
    readme = f"{head}\n{begin}\nold\n{end}\n\nb\n"
    (tmp_path / "README.md").write_text(readme)
    root = tmp_path / "results"
    added(root, a_run(), a_run(protocol="test"), a_run("quick65k"))
    runs = [a_run(epochs=2, noise=n, seed=s) for n in (0, 0.1) for s in (0, 1)]
    added(root, *runs, experiment="noise")
    return tmp_path


def test_tables_are_written_and_checked(checkout, capsys):
    command = [f"--root={checkout}", "table"]
    with pytest.raises(SystemExit) as end:
        results.main([*command, "--check"])
    assert end.value.code == 1
    assert "README.md is not what the results make" in capsys.readouterr().out
    results.main(command)
    with pytest.raises(SystemExit) as end:
        results.main([*command, "--check"])
    assert not end.value.code
    readme = (checkout / "README.md").read_text()
    assert readme.startswith("# a\n") and readme.endswith("\n\nb\n")
    assert "old" not in readme and "99.60" in readme
    assert "selected on the test set" in readme
    assert "noise=0.1" in (checkout / "results" / "README.md").read_text()


@pytest.mark.parametrize("name", ["README.md", "results/README.md"])
def test_a_number_typed_by_hand_is_found(checkout, name):
    results.main([f"--root={checkout}", "table"])
    assert results.outdated(checkout) == []
    path = checkout / name
    path.write_text(path.read_text().replace("99.60", "99.61", 1))
    assert results.outdated(checkout) == [path]


def test_a_new_result_outdates_the_tables(checkout):
    results.main([f"--root={checkout}", "table"])
    added(checkout / "results", a_run(seed=1))
    assert len(results.outdated(checkout)) == 2


@pytest.mark.parametrize("text", ["", "{begin}", "{end}{begin}", "{begin}" * 2])
def test_markers_must_be_there_once(text):
    marks = {"begin": result_tables.BEGIN, "end": result_tables.END}
    with pytest.raises(ResultError, match="once each"):
        result_tables.replaced(text.format(**marks), "table")


def test_what_a_person_wrote_of_an_experiment(checkout):
    folder = checkout / "results" / "experiments" / "noise"
    about = {
        "question": "Does it help?",
        "conclusion": "It does.",
        "baseline": {"noise": 0.1},
    }
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "trials.csv").write_text("net,validation\na|b,99.1\n")
    found = result_files.read(checkout / "results")
    text = result_tables.experiment(checkout / "results", "noise", found)
    assert text.startswith("Does it help?") and text.endswith("It does.")
    assert "| `noise=0` |" in text
    assert "| a\\|b | 99.1 |" in text
    (folder / "about.json").write_text(json.dumps({"answer": "42"}))
    with pytest.raises(ResultError, match="expected question and conclusion"):
        result_tables.experiment(checkout / "results", "noise", found)


def test_errors_are_one_line(checkout, capsys):
    for command in (["effects", "none"], ["add", str(checkout / "no")]):
        with pytest.raises(SystemExit) as end:
            results.main([f"--root={checkout}", *command])
        assert end.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")


def test_effects_are_printed(checkout, capsys):
    results.main([f"--root={checkout}", "effects", "noise"])
    out = capsys.readouterr().out
    assert out.startswith("### noise") and "Δ validation, points" in out


def test_results_are_not_changed_by_reading(checkout):
    before = copy.deepcopy(read(checkout / "results"))
    results.written(checkout)
    assert read(checkout / "results") == before
