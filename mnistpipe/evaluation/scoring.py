"""Scores of a network on labelled pictures.

Pictures are float32 [N, H, W, C] as the network was trained on them, without
the random part of the augmentation; labels are int64 [N] in [0, classes);
probabilities are float [N, classes] whose rows add up to 1.
"""

import dataclasses
import math
import statistics
from typing import Any

import numpy as np

from mnistpipe.runs.record import ClassScore

BATCH_SIZE = 500  # large enough to keep the cores busy, small enough for memory


@dataclasses.dataclass(frozen=True)
class Scores:
    """Accuracy and mean cross-entropy (nats, no label smoothing)."""

    examples: int
    correct: int
    accuracy: float
    loss: float
    per_class: tuple[ClassScore, ...]


def predict(network: Any, pictures: np.ndarray) -> np.ndarray:
    """Returns a network's probabilities, float32 [N, classes]."""
    return network.predict(pictures, batch_size=BATCH_SIZE, verbose=0)


def evaluate(network: Any, pictures: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores a network on labelled pictures."""
    return score(predict(network, pictures), labels)


def score(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores probabilities float [N, classes] against labels int [N].

    A network that diverged answers NaN. Such an answer counts as wrong, and
    the loss becomes NaN.
    """
    classes = probabilities.shape[1]
    answered = np.isfinite(probabilities).all(axis=1)
    right = answered & (probabilities.argmax(axis=1) == labels)
    examples = np.bincount(labels, minlength=classes)
    correct = np.bincount(labels[right], minlength=classes)
    return Scores(
        examples=len(labels),
        correct=int(correct.sum()),
        accuracy=float(correct.sum() / len(labels)),
        loss=_cross_entropy(probabilities, labels),
        per_class=tuple(
            ClassScore(label, int(n), int(c), float(c / n) if n else None)
            for label, (n, c) in enumerate(zip(examples, correct, strict=True))
        ),
    )


def _cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    # Imported here, since the import of scikit-learn takes a second.
    from sklearn import metrics

    if not np.isfinite(probabilities).all():
        return float("nan")
    classes = range(probabilities.shape[1])
    return float(metrics.log_loss(labels, probabilities, labels=list(classes)))


@dataclasses.dataclass(frozen=True)
class Interval:
    """A confidence interval of an accuracy."""

    method: str
    level: float
    low: float
    high: float


def wilson(correct: int, examples: int, level: float = 0.95) -> Interval:
    """Returns the confidence interval of an accuracy for a choice of pictures.

    Wilson's score interval (1927) stays inside [0, 1] and keeps its level for
    accuracies near 1, where the normal approximation fails. With p = correct /
    n and the normal quantile z, the interval is

        (p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)

    The interval does not cover how trainings of one recipe differ.
    """
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    share, noise = correct / examples, z * z / examples
    middle = (share + noise / 2) / (1 + noise)
    half = (
        z
        * math.sqrt(share * (1 - share) / examples + noise / (4 * examples))
        / (1 + noise)
    )
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Interval("Wilson score", level, low, high)


@dataclasses.dataclass(frozen=True)
class ClassDetail:
    """The figures of one class; a ratio with denominator 0 is None."""

    label: int
    examples: int
    answers: int
    recall: float | None
    precision: float | None
    f1: float | None


def per_class(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[ClassDetail, ...]:
    """Returns recall, precision and F1 of each class."""
    from sklearn import metrics

    classes = range(probabilities.shape[1])
    answers = probabilities.argmax(axis=1)
    precision, recall, f1, examples = metrics.precision_recall_fscore_support(
        labels, answers, labels=list(classes), zero_division=np.nan
    )

    def share(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    return tuple(
        ClassDetail(
            label=label,
            examples=int(examples[label]),
            answers=int(np.count_nonzero(answers == label)),
            recall=share(recall[label]),
            precision=share(precision[label]),
            f1=share(f1[label]),
        )
        for label in classes
    )


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts the answers (columns) to each label (rows), int64 [C, C]."""
    from sklearn import metrics

    classes = list(range(probabilities.shape[1]))
    answers = probabilities.argmax(axis=1)
    return metrics.confusion_matrix(labels, answers, labels=classes)


@dataclasses.dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]."""

    low: float
    high: float
    examples: int
    confidence: float  # mean
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The calibration of a network: its confidence beside its accuracy.

    Attributes:
      error: expected calibration error, the mean over all examples of their
        bin's |accuracy - confidence| (Guo et al. 2017, "On calibration of
        modern neural networks").
      confidence: mean probability of the answers.
      bins: the reliability table; bins without examples are left out.
    """

    error: float
    confidence: float
    bins: tuple[Bin, ...]


def calibration(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> Calibration:
    """Compares confidence with accuracy, in bins of equal width."""
    from sklearn.calibration import calibration_curve

    # Averages of float32 may exceed 1 in the last bit.
    confidence = np.clip(probabilities.max(axis=1), 0, 1)
    right = probabilities.argmax(axis=1) == labels
    accuracies, means = calibration_curve(
        right, confidence, pos_label=True, n_bins=bins, strategy="uniform"
    )
    edges = np.linspace(0, 1, bins + 1)
    # The same bins as scikit-learn's, which does not return the counts.
    counts = np.bincount(
        np.searchsorted(edges[1:-1], confidence), minlength=bins
    )
    table = tuple(
        Bin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            examples=int(counts[index]),
            confidence=float(mean),
            accuracy=float(accuracy),
        )
        for index, mean, accuracy in zip(
            np.flatnonzero(counts), means, accuracies, strict=True
        )
    )
    gaps = sum(b.examples * abs(b.accuracy - b.confidence) for b in table)
    return Calibration(
        gaps / len(labels), float(confidence.mean()), tuple(table)
    )


def hardest(
    probabilities: np.ndarray, labels: np.ndarray, count: int
) -> np.ndarray:
    """Returns the examples whose own class has the lowest probability.

    Returns:
      int64 [count], the lowest probability first.
    """
    own = probabilities[np.arange(len(labels)), labels]
    return np.argsort(own, kind="stable")[:count]
