"""Evaluating finished runs, against the same numbers computed here."""

import gc
import json
import math
import pathlib
import subprocess
import sys
import weakref

import helpers
import numpy as np
import pytest
import scoring_helpers
from PIL import Image

from mnistpipe import evaluate, pipeline
from mnistpipe.evaluation import prediction
from mnistpipe.networks import augmentation, models

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return scoring_helpers.save_npz(tmp_path_factory.mktemp("data") / "few.npz")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, few):
    """Two runs, each with its own seed, and one selected on the test set."""
    folder = tmp_path_factory.mktemp("runs")
    for name, how in {
        "a": {"seed": 1},
        "b": {"seed": 2},
        "t": {"seed": 3, "validation": "test"},
    }.items():
        scoring_helpers.finished_run(folder / name, few, **how)
    return folder


def evaluated(*arguments):
    status, out, err = scoring_helpers.call(evaluate, *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def answers(run, pictures):
    return models.load(run / "last.keras").predict(pictures, verbose=0)


def few_pictures():
    test = helpers.few_digits().test
    return test.images.astype(np.float32) / 255, test.labels


def test_the_numbers_are_those_computed_here(runs):
    pictures, labels = few_pictures()
    expected = answers(runs / "a", pictures)
    card = evaluated(f"--run={runs / 'a'}", "--hardest=5")
    right = expected.argmax(axis=1) == labels
    assert card["accuracy"] == right.mean()
    assert (card["correct"], card["examples"]) == (right.sum(), 100)
    matrix = np.zeros((10, 10), int)
    for label, answer in zip(labels, expected.argmax(axis=1), strict=True):
        matrix[label, answer] += 1
    assert card["confusion"] == matrix.tolist()
    own = expected[np.arange(100), labels]
    assert [row["index"] for row in card["hardest"]] == (
        np.argsort(own)[:5].tolist()
    )
    hardest = card["hardest"][0]
    assert hardest["label"] == labels[hardest["index"]]
    assert hardest["probability_of_label"] == pytest.approx(own.min(), rel=1e-5)
    loss = -np.log(own).mean()
    assert card["loss"] == pytest.approx(loss, rel=1e-5)
    assert card["interval"]["low"] < card["accuracy"]
    assert card["interval"]["high"] > card["accuracy"]


def test_no_number_without_its_protocol(runs):
    card = evaluated(f"--run={runs / 'a'}")
    assert card["examples"] == card["test"]["examples"] == 100
    assert card["test"]["fingerprint"] == (
        helpers.few_digits().test_fingerprint
    )
    assert set(card["versions"]) >= {"tensorflow", "keras", "mnistpipe"}
    assert card["hardware"]["cores"]
    (member,) = card["members"]
    assert member["seed"] == 1 and member["protocol"] == "split"
    assert member["trained_with"] == card["versions"]
    assert member["own_test"] and not card["selected_on_test"]
    status, text, _ = scoring_helpers.call(evaluate, f"--run={runs / 'a'}")
    assert status == 0
    words = " ".join(text.split())
    for part in (
        "of 100 images",
        "Wilson score interval",
        "chose nothing",
        "seed 1, protocol split (50 training images held out)",
        f"Keras {card['versions']['keras']}",
    ):
        assert part in words


def test_selected_on_the_test_set_is_said(runs, tmp_path):
    card = evaluated(f"--run={runs / 't'}")
    assert card["selected_on_test"] is True
    _, text, _ = scoring_helpers.call(evaluate, f"--run={runs / 't'}")
    assert "selected on the test set" in text
    # One such run among several spoils the ensemble.
    both = evaluated(f"--run={runs / 'a'},{runs / 't'}")
    assert both["selected_on_test"] and str(runs / "t") in both["protocol"]
    assert str(runs / "a") not in both["protocol"]
    # Other pictures did not select it.
    digits = helpers.few_digits()
    other = scoring_helpers.save_npz(
        tmp_path / "other.npz",
        x_test=digits.train.images[:50],
        y_test=digits.train.labels[:50],
    )
    card = evaluated(f"--run={runs / 't'}", f"--data={other}")
    assert card["selected_on_test"] is False
    assert "not known" in card["protocol"]


def test_an_ensemble_is_the_mean_of_probabilities(runs):
    pictures, labels = few_pictures()
    each = [answers(runs / name, pictures) for name in "ab"]
    mean = sum(each) / 2
    card = evaluated(f"--run={runs / 'a'},{runs / 'b'}/", "--hardest=100")
    assert card["accuracy"] == (mean.argmax(axis=1) == labels).mean()
    for row in card["hardest"]:
        assert row["probability_of_label"] == pytest.approx(
            mean[row["index"], row["label"]], rel=1e-5
        )
    alone = [(one.argmax(axis=1) == labels).mean() for one in each]
    assert [member["accuracy"] for member in card["members"]] == alone
    assert [member["seed"] for member in card["members"]] == [1, 2]


def test_augmentation_at_test_time(runs):
    """The picture itself and two others, by the recipe's own transforms."""
    test = helpers.few_digits().test
    augment = augmentation.compose(helpers.quick_recipe())
    versions = [test.images / np.float32(255)]
    for version in (1, 2):
        keys = pipeline.example_keys(7, version, np.arange(100))
        versions.append(augment(test.images, keys).numpy())
    mean = sum(answers(runs / "a", p) for p in versions) / 3
    card = evaluated(
        f"--run={runs / 'a'}", "--tta=3", "--tta_seed=7", "--hardest=100"
    )
    assert card["tta"] == {"versions": 3, "seed": 7}
    for row in card["hardest"]:
        assert row["probability_of_label"] == pytest.approx(
            mean[row["index"], row["label"]], rel=1e-4
        )
    other = evaluated(f"--run={runs / 'a'}", "--tta=3", "--tta_seed=8")
    assert other["loss"] != card["loss"]


def test_pieces_and_batches_change_nothing(runs, monkeypatch):
    whole = evaluated(f"--run={runs / 'a'}", "--tta=2")
    monkeypatch.setattr(prediction, "_VALUES", 33 * 28 * 28)
    parts = evaluated(f"--run={runs / 'a'}", "--tta=2")
    assert parts["confusion"] == whole["confusion"]
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)


def test_one_network_in_memory_at_a_time(runs, monkeypatch):
    alive = []

    def load(path, _load=models.load):
        gc.collect()
        assert not any(network() for network in alive), "still in memory"
        network = _load(path)
        alive.append(weakref.ref(network))
        return network

    monkeypatch.setattr(models, "load", load)
    evaluated(f"--run={runs / 'a'},{runs / 'b'},{runs / 't'}")
    assert len(alive) == 3


def test_what_is_written(runs, tmp_path):
    before = helpers.files(runs)
    out = tmp_path / "new" / "scores"
    status, text, err = scoring_helpers.call(
        evaluate, f"--run={runs / 'a'}", f"--out={out}", "--hardest=7"
    )
    assert status == 0, err
    assert (out / "evaluation.txt").read_text() == text
    card = json.loads((out / "evaluation.json").read_text())
    assert card["accuracy"] == evaluated(f"--run={runs / 'a'}")["accuracy"]
    with Image.open(out / "hardest.png") as sheet:
        assert sheet.format == "PNG" and min(sheet.size) > 100
    assert len(list(out.iterdir())) == 3
    assert helpers.files(runs) == before


def test_pictures_in_folders(runs, tmp_path):
    """The same digits as files: the same answers, and the files' names."""
    test = helpers.few_digits().test
    for index, label in enumerate(test.labels):
        place = tmp_path / "digits" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(255 - test.images[index, ..., 0])
        image.resize((140, 140), Image.Resampling.NEAREST).save(
            place / f"{index}.png"
        )
    stored = evaluated(f"--run={runs / 'a'}")
    read = evaluated(f"--run={runs / 'a'}", f"--data={tmp_path / 'digits'}")
    assert "MNIST's convention" in read["test"]["preparation"]
    assert read["hardest"][0]["file"].endswith(".png")
    assert read["loss"] == pytest.approx(stored["loss"], abs=0.05)


def test_the_own_data_must_not_have_changed(tmp_path):
    npz = scoring_helpers.save_npz(tmp_path / "mine.npz")
    run = scoring_helpers.finished_run(tmp_path / "run", npz)
    digits = helpers.few_digits()
    scoring_helpers.save_npz(
        npz, x_test=digits.test.images[:9], y_test=digits.test.labels[:9]
    )
    status, _, err = scoring_helpers.call(evaluate, f"--run={run}")
    assert status == 1 and "got another in mine" in err
    assert len(err.splitlines()) == 1
    assert evaluated(f"--run={run}", f"--data={npz}")["examples"] == 9


def test_a_run_that_does_not_know_its_test_set(runs, tmp_path):
    """Selected on the test set as far as anybody knows."""
    for name, selected in (("a", False), ("t", True)):
        run = tmp_path / name
        run.mkdir()
        (run / "last.keras").write_bytes(
            (runs / name / "last.keras").read_bytes()
        )
        metrics = json.loads((runs / name / "metrics.json").read_text())
        del metrics["data"]["test_fingerprint"]
        (run / "metrics.json").write_text(json.dumps(metrics))
        card = evaluated(f"--run={run}")
        assert card["selected_on_test"] is selected
    assert "not recorded" in evaluated(f"--run={tmp_path / 'a'}")["protocol"]


def test_as_a_process_of_its_own(runs):
    """JSON alone on stdout; --help at once, without TensorFlow."""
    command = [sys.executable, "-m", "mnistpipe.evaluate"]
    done = subprocess.run(
        [*command, f"--run={runs / 'a'}", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert math.isfinite(json.loads(done.stdout)["accuracy"])
    code = (
        "import sys, mnistpipe.evaluate, mnistpipe.predict\nprint(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout.split()
    assert not {"tensorflow", "keras", "sklearn", "matplotlib"} & set(loaded)
