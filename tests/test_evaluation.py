"""Scores against numbers worked out by hand."""

import math

import helpers
import keras
import numpy as np
import pytest
from scipy import stats

from mnistpipe.evaluation import answers, scorecard_text, scoring

PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]],
    np.float32,
)


def test_scores_by_hand():
    scores = scoring.score(PROBABILITIES, np.array([0, 1, 1, 2]))
    assert (scores.examples, scores.correct) == (4, 3)
    assert scores.accuracy == 0.75
    loss = -sum(map(math.log, (0.7, 0.8, 0.25, 0.6))) / 4
    assert scores.loss == pytest.approx(loss, rel=1e-6)
    assert [(c.examples, c.correct) for c in scores.per_class] == [
        (1, 1),
        (2, 1),
        (1, 1),
    ]
    assert [c.accuracy for c in scores.per_class] == [1.0, 0.5, 1.0]


def test_a_class_without_examples_has_no_accuracy():
    scores = scoring.score(PROBABILITIES, np.array([0, 1, 0, 1]))
    assert scores.per_class[2].accuracy is None
    assert scores.accuracy == 0.75
    assert math.isfinite(scores.loss)


def test_an_answer_that_is_not_a_number_is_wrong():
    broken = PROBABILITIES.copy()
    broken[0] = np.nan  # whose argmax is 0, the right class
    scores = scoring.score(broken, np.array([0, 1, 0, 2]))
    assert scores.correct == 3
    assert math.isnan(scores.loss)


def test_loss_is_keras_cross_entropy():
    rng = np.random.default_rng(7)
    raw = rng.random((200, 10)).astype(np.float32) + 1e-3
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    labels = rng.integers(0, 10, 200)
    keras_loss = keras.losses.SparseCategoricalCrossentropy()
    scores = scoring.score(probabilities, labels)
    expected = float(keras_loss(labels, probabilities))
    assert scores.loss == pytest.approx(expected, rel=1e-5)


def test_every_picture_is_scored_once_whatever_the_batches(monkeypatch):
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    test = helpers.few_digits().test
    pictures = test.images.astype(np.float32) / 255
    monkeypatch.setattr(scoring, "BATCH_SIZE", 33)  # does not divide 100
    scores = scoring.evaluate(network, pictures, test.labels)
    assert scores.examples == 100
    assert scores.accuracy == helpers.accuracy(network, test)


@pytest.mark.parametrize(
    ("correct", "examples"),
    [(0, 1), (1, 1), (0, 50), (50, 50), (9972, 10_000), (9999, 10_000)],
)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_wilson_is_scipy_s(correct, examples, level):
    interval = scoring.wilson(correct, examples, level)
    expected = stats.binomtest(correct, examples).proportion_ci(
        level, method="wilson"
    )
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= interval.low <= correct / examples <= interval.high <= 1
    assert interval.method == "Wilson score" and interval.level == level


def made_up(rng, count=500, classes=4):
    probabilities = rng.dirichlet(np.full(classes, 0.3), count)
    labels = np.array([rng.choice(classes, p=p) for p in probabilities])
    return probabilities, labels


def test_classes_and_confusion_by_counting(rng):
    probabilities, labels = made_up(rng)
    answers = probabilities.argmax(axis=1)
    matrix = scoring.confusion(probabilities, labels)
    details = scoring.per_class(probabilities, labels)
    for label in range(4):
        for answer in range(4):
            both = np.sum((labels == label) & (answers == answer))
            assert matrix[label, answer] == both
        hits = matrix[label, label]
        detail = details[label]
        assert detail.examples == np.sum(labels == label)
        assert detail.answers == np.sum(answers == label)
        assert detail.recall == pytest.approx(hits / detail.examples)
        assert detail.precision == pytest.approx(hits / detail.answers)
        f1 = 2 * hits / (detail.examples + detail.answers)
        assert detail.f1 == pytest.approx(f1)


def test_a_class_that_nobody_has_or_answers_has_no_shares():
    details = scoring.per_class(PROBABILITIES[:2], np.array([0, 0]))
    assert (details[0].recall, details[0].precision) == (0.5, 1.0)
    assert (details[1].recall, details[1].precision) == (None, 0.0)
    assert details[2].recall is details[2].precision is details[2].f1 is None


def test_calibration_by_its_definition(rng):
    probabilities, labels = made_up(rng)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    found = scoring.calibration(probabilities, labels, bins=10)
    error, rows = 0.0, []
    for low in range(10):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += inside.mean() * gap
            rows.append((inside.sum(), confidence[inside].mean()))
    assert found.error == pytest.approx(error)
    assert found.confidence == pytest.approx(confidence.mean())
    assert [row.examples for row in found.bins] == [n for n, _ in rows]
    assert [row.confidence for row in found.bins] == pytest.approx(
        [mean for _, mean in rows]
    )
    # Labels drawn from the probabilities: as well calibrated as can be.
    assert found.error < 0.1
    # Answers that are sure and wrong: the worst there is.
    sure = np.eye(4)[(labels + 1) % 4]
    assert scoring.calibration(sure, labels).error == 1.0
    assert scoring.calibration(np.eye(4)[labels], labels).error == 0.0


def test_the_hardest_are_those_of_least_probability(rng):
    probabilities, labels = made_up(rng, 50)
    found = scoring.hardest(probabilities, labels, 50)
    own = [probabilities[i, labels[i]] for i in found]
    assert own == sorted(own) and sorted(found) == list(range(50))
    assert len(scoring.hardest(probabilities, labels, 0)) == 0


# Text with many classes, or with names


def a_card(matrix, names=()):
    """The parts of a scorecard that the tables read."""
    matrix = np.asarray(matrix)
    return {
        "confusion": matrix.tolist(),
        "test": {"class_names": list(names)},
        "per_class": [
            {
                "label": label,
                "examples": int(row.sum()),
                "answers": int(matrix[:, label].sum()),
                "recall": row[label] / row.sum(),
                "precision": 1.0,
                "f1": 1.0,
            }
            for label, row in enumerate(matrix)
        ],
        "hardest": [],
    }


def test_a_hundred_classes_stay_readable():
    matrix = np.diag(np.full(100, 50))
    matrix[7, 93], matrix[93, 7], matrix[2, 3] = 9, 4, 1
    card = a_card(matrix, [f"class{n}" for n in range(100)])
    lines = scorecard_text._confusion(card).splitlines()
    assert max(map(len, lines)) <= 79
    assert [line.split(maxsplit=1) for line in lines[1:]] == [
        ["9", "class7 → class93"],
        ["4", "class93 → class7"],
        ["1", "class2 → class3"],
    ]
    classes = scorecard_text._per_class(card).splitlines()
    assert len(classes) == 21 and max(map(len, classes)) <= 100
    assert classes[1].split()[0] == "class7"  # 50 of 59


def test_class_names_head_the_matrix():
    card = a_card([[5, 1], [0, 4]], ["cat", "dog"])
    head, cat, dog = scorecard_text._confusion(card).splitlines()
    assert head.split()[-2:] == ["cat", "dog"]
    assert cat.split() == ["cat", "5", "1"] and dog.split() == ["dog", "·", "4"]
    # A card of an older version has no names.
    del card["test"]["class_names"]
    assert scorecard_text._confusion(card).splitlines()[1].split()[0] == "0"


@pytest.mark.parametrize("count", [3, 100])
def test_predictions_show_names_and_the_likeliest_of_many(count):
    shares = np.full(count, 0.1 / (count - 1))
    shares[2] = 0.9
    row = {"file": "a.png", "class": 2, "probabilities": shares.tolist()}
    found = {
        "answers": [row],
        "class_names": [f"kind{n}" for n in range(count)],
    }
    table = answers._likeliest if count > 12 else answers._table
    head, line = table(found)
    if count == 3:
        words = "picture class p(kind0) p(kind1) p(kind2)"
        assert head.split() == words.split()
        assert line.split() == ["a.png", "kind2", "0.0500", "0.0500", "0.9000"]
    else:
        assert line.startswith("a.png    kind2 0.9000, kind0 0.0010")
        assert len(line) < 100
